package progress

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"sower/schemas"
)

func TestLine(t *testing.T) {
	for _, c := range []struct {
		name    string
		s       Snapshot
		total   Total
		elapsed time.Duration
		want    string
	}{
		{"start", Snapshot{}, Total{Rows: 1000}, 100 * time.Millisecond, "encode 0/1,000 images  0%"},
		{"middle", Snapshot{Rows: 250, Rejected: map[schemas.Reason]int64{schemas.NoImage: 7}}, Total{Rows: 1000}, 10 * time.Second,
			"encode 250/1,000 images  25%  25.0 images/s  30s left  7 rejected"},
		{"resumed rows are no speed", Snapshot{Rows: 900, ResumedRows: 850, Resumed: 8}, Total{Rows: 1000}, 10 * time.Second,
			"encode 900/1,000 images  90%  5.00 images/s  20s left"},
		{"rows unknown, by units", Snapshot{Rows: 600, Units: 3}, Total{Units: 4}, 10 * time.Second, "encode 600 images of about 800  75%  60.0 images/s  3s left"},
		{"rows unknown, by bytes", Snapshot{Rows: 600, Bytes: 50}, Total{Units: 4, Bytes: 100}, 10 * time.Second, "encode 600 images of about 1,200  50%  60.0 images/s  10s left"},
		{"end", Snapshot{Rows: 1000}, Total{Rows: 1000}, time.Second, "encode 1,000/1,000 images  100%  1,000 images/s"},
	} {
		if got := Line("encode", c.s, c.total, c.elapsed); got != c.want {
			t.Errorf("%s:\n%s\n%s", c.name, got, c.want)
		}
	}
}

func TestWords(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1234: "-1,234"} {
		if got := Thousands(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	for s, want := range map[float64]string{0: "0s", 59.6: "1m00s", 190: "3m10s", 3600: "1h00m", 18120: "5h02m", 273600: "3d4h"} {
		if got := Span(s); got != want {
			t.Errorf("%v: %s, want %s", s, got, want)
		}
	}
	for n, want := range map[int64]string{12: "12 B", 2048: "2.0 KiB", 16 << 20: "16.0 MiB", 5 << 40: "5.0 TiB"} {
		if got := Size(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

// TestFailureWindow holds the ring to a plain count over the last rows; filters are no failures.
func TestFailureWindow(t *testing.T) {
	r := Start(context.Background(), t.Name())
	defer Forget(t.Name())
	var fates []bool
	for i := range 3500 {
		reason := schemas.Reason("")
		switch {
		case i%7 == 0 || i > 2000 && i%2 == 0:
			reason = schemas.Truncated
		case i%5 == 0:
			reason = schemas.TooSmall
		}
		fates = append(fates, reason == schemas.Truncated)
		rate, of := r.Row(reason)
		last := fates[max(0, len(fates)-1000):]
		failed := 0
		for _, f := range last {
			if f {
				failed++
			}
		}
		if of != len(last) || rate != float64(failed)/float64(len(last)) {
			t.Fatalf("row %d: %v of %d, want %d of %d", i, rate, of, failed, len(last))
		}
	}
	s := r.Snapshot()
	if s.Rows != 3500 || s.Encoded+s.RejectedTotal() != 3500 {
		t.Errorf("%+v", s)
	}
}

func TestShowWritesLinesElsewhere(t *testing.T) {
	var b bytes.Buffer
	stop := Show(&b, "encode", Start(context.Background(), t.Name()), Total{Rows: 1})
	stop()
	stop()
	if strings.Contains(b.String(), "\r") {
		t.Errorf("control characters for a file: %q", b.String())
	}
	Forget(t.Name())
}

func TestDrain(t *testing.T) {
	r := Start(context.Background(), t.Name())
	defer Forget(t.Name())
	done := r.Working()
	if r.Drain(10 * time.Millisecond) {
		t.Error("a busy worker counts as idle")
	}
	done()
	done()
	if !r.Drain(time.Second) {
		t.Error("an idle worker counts as busy")
	}
	if Lookup(t.Name()) != r {
		t.Error("lookup finds another run")
	}
}
