package shards

import (
	"fmt"
	"strconv"
	"strings"
)

// maxBraces bounds what one pattern may expand to.
const maxBraces = 2_000_000

// expandBraces writes out {a,b} and {00000..00063} as a shell does, nested ones too. Numbers keep their leading zeros;
// braces that hold neither a comma nor a range of numbers stay as they are.
func expandBraces(pattern string) ([]string, error) {
	open, close, ok := bracePair(pattern, 0)
	for ok {
		items, err := braceItems(pattern[open+1 : close])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", pattern, err)
		}
		if items != nil {
			return joinBraces(pattern, pattern[:open], items, pattern[close+1:])
		}
		open, close, ok = bracePair(pattern, open+1)
	}
	return []string{pattern}, nil
}

func joinBraces(pattern, head string, items []string, rest string) ([]string, error) {
	tails, err := expandBraces(rest)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, item := range items {
		inner, err := expandBraces(item)
		if err != nil {
			return nil, err
		}
		if len(all)+len(inner)*len(tails) > maxBraces {
			return nil, fmt.Errorf("%s: braces for more than %d names", pattern, maxBraces)
		}
		for _, i := range inner {
			for _, t := range tails {
				all = append(all, head+i+t)
			}
		}
	}
	return all, nil
}

// bracePair finds the next brace from at on and the one that closes it.
func bracePair(s string, at int) (open, close int, ok bool) {
	for open = at; open < len(s); open++ {
		if s[open] != '{' {
			continue
		}
		depth := 0
		for close = open; close < len(s); close++ {
			switch s[close] {
			case '{':
				depth++
			case '}':
				if depth--; depth == 0 {
					return open, close, true
				}
			}
		}
	}
	return 0, 0, false
}

// braceItems lists what a pair of braces stands for, nil if it is just a pair of braces.
func braceItems(body string) ([]string, error) {
	if from, to, ok := strings.Cut(body, ".."); ok {
		a, errA := strconv.ParseUint(from, 10, 62)
		b, errB := strconv.ParseUint(to, 10, 62)
		if errA == nil && errB == nil {
			width := 0
			if len(from) > 1 && from[0] == '0' || len(to) > 1 && to[0] == '0' {
				width = max(len(from), len(to))
			}
			n := max(a, b) - min(a, b) + 1
			if n > maxBraces {
				return nil, fmt.Errorf("braces for %d names, more than %d", n, maxBraces)
			}
			items := make([]string, 0, n)
			for i := range n {
				v := a + i
				if a > b {
					v = a - i
				}
				items = append(items, fmt.Sprintf("%0*d", width, v))
			}
			return items, nil
		}
	}
	var items []string
	depth, last := 0, 0
	for i := range len(body) {
		switch body[i] {
		case '{':
			depth++
		case '}':
			depth--
		case ',':
			if depth == 0 {
				items, last = append(items, body[last:i]), i+1
			}
		}
	}
	if last == 0 {
		return nil, nil
	}
	return append(items, body[last:]), nil
}
