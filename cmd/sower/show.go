package main

import (
	"fmt"
	"io"
	"strings"
)

// printExamples shows rows as a person wants to see them.
func printExamples(w io.Writer, rows []example) {
	for _, e := range rows {
		text := "(no caption)"
		if e.Text != nil {
			text = fmt.Sprintf("%q", shorten(strings.TrimSpace(*e.Text), 60))
		}
		var codes []string
		for _, c := range e.Codes[:min(8, len(e.Codes))] {
			codes = append(codes, fmt.Sprint(c))
		}
		more := ""
		if n := len(e.Codes) - len(codes); n > 0 {
			more = fmt.Sprintf(" … %d more", n)
		}
		fmt.Fprintf(w, "  %s  %s\n      <img %s%s>\n", e.Key, text, strings.Join(codes, " "), more)
	}
}

// shorten cuts a text to n characters.
func shorten(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}
