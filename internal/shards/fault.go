package shards

import (
	"fmt"
	"unicode/utf8"

	"sower/schemas"
)

func fault(r schemas.Reason, format string, args ...any) *Fault {
	return &Fault{Reason: r, Detail: printable(fmt.Sprintf(format, args...))}
}

// maxDetail keeps a reject's free text short: it may quote hostile input.
const maxDetail = 500

// printable makes any bytes fit a UTF-8 column: those that are not UTF-8 become \xNN, and a long text is cut.
func printable(s string) string {
	s = escapeInvalid(s)
	if len(s) <= maxDetail {
		return s
	}
	cut := maxDetail
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// escapeInvalid writes each byte of s that is not part of valid UTF-8 as \xNN, so that names stay apart and readable.
func escapeInvalid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b []byte
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			b = fmt.Appendf(b, `\x%02x`, s[i])
		} else {
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return string(b)
}

// cleanKey bounds a key and makes it valid UTF-8.
func cleanKey(s string) string {
	const max = 4096
	if len(s) > max {
		s = s[:max]
	}
	return escapeInvalid(s)
}
