package progress

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// Total is what a run has to do, as far as it is known before.
type Total struct {
	Rows  int64 // 0 if unknown
	Bytes int64
	Units int
	Noun  string // of the rows; "images" if empty
}

// Show reports a run until the returned function is called.
func Show(w io.Writer, what string, r *Run, total Total) (stop func()) {
	began := time.Now()
	return Lines(w, func() string { return Line(what, r.Snapshot(), total, time.Since(began)) })
}

// Lines writes what line returns until the returned function is called: in place on a terminal, else a line every ten seconds.
func Lines(w io.Writer, line func() string) (stop func()) {
	every, live := 10*time.Second, false
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		every, live = 500*time.Millisecond, true
	}
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if live {
					fmt.Fprintf(w, "\r\x1b[K%s", line())
				} else {
					fmt.Fprintln(w, line())
				}
			case <-quit:
				if live {
					fmt.Fprint(w, "\r\x1b[K")
				}
				return
			}
		}
	}()
	return sync.OnceFunc(func() { close(quit); <-done })
}

// Line is one state of a run in words: done and total, rate, time left, rejects. Rows that earlier runs committed count
// as done but not towards the rate.
func Line(what string, s Snapshot, total Total, elapsed time.Duration) string {
	var b strings.Builder
	share, known, noun := 0.0, total.Rows, cmp.Or(total.Noun, "images")
	if total.Rows > 0 {
		share = float64(s.Rows) / float64(total.Rows)
		fmt.Fprintf(&b, "%s %s/%s %s", what, Thousands(s.Rows), Thousands(total.Rows), noun)
	} else {
		if total.Units > 0 {
			share = float64(s.Units) / float64(total.Units)
		}
		if total.Bytes > 0 { // finished rows tell more than finished units while these are few
			share = max(share, float64(s.Bytes)/float64(total.Bytes))
		}
		fmt.Fprintf(&b, "%s %s %s", what, Thousands(s.Rows), noun)
		if share > 0.005 {
			known = int64(float64(s.Rows)/share + 0.5)
			fmt.Fprintf(&b, " of about %s", Thousands(known))
		}
	}
	fmt.Fprintf(&b, "  %.0f%%", 100*min(share, 1))
	fresh := s.Rows - s.ResumedRows
	if secs := elapsed.Seconds(); secs > 0.5 && fresh > 0 {
		rate := float64(fresh) / secs
		fmt.Fprintf(&b, "  %s %s/s", Rate(rate), noun)
		if known > s.Rows {
			fmt.Fprintf(&b, "  %s left", Span(float64(known-s.Rows)/rate))
		}
	}
	if n := s.RejectedTotal(); n > 0 {
		fmt.Fprintf(&b, "  %s rejected", Thousands(n))
	}
	return b.String()
}

// Thousands writes 1234567 as 1,234,567.
func Thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Rate writes images per second with three digits where that matters.
func Rate(r float64) string {
	switch {
	case r >= 100:
		return Thousands(int64(r + 0.5))
	case r >= 10:
		return fmt.Sprintf("%.1f", r)
	}
	return fmt.Sprintf("%.2f", r)
}

// Span writes seconds as a person says them: 42s, 3m10s, 5h02m, 3d4h.
func Span(seconds float64) string {
	n := int64(seconds + 0.5)
	switch {
	case n < 60:
		return fmt.Sprintf("%ds", n)
	case n < 3600:
		return fmt.Sprintf("%dm%02ds", n/60, n%60)
	case n < 86400:
		return fmt.Sprintf("%dh%02dm", n/3600, n/60%60)
	}
	return fmt.Sprintf("%dd%dh", n/86400, n/3600%24)
}

// Size writes bytes in binary units.
func Size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
