package main

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// bf16 turns the multiply-adds of the kernels whose names hold BF16 into VDPBF16PS: dst += lower·lower + upper·upper of
// pairs of bfloat16, which neither avo nor Go's assembler know. Both instructions take the same operands, so that only the
// bytes are written in place of the name. See Intel's Software Developer's Manual, volume 2, "EVEX encoding" and
// "VDPBF16PS" (EVEX.512.F3.0F38.W0 52 /r).
func bf16(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	inside := false
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "TEXT ") {
			inside = strings.Contains(line, "BF16")
		}
		m := multiplyAdd.FindStringSubmatch(line)
		if !inside || m == nil {
			out.WriteString(line)
			continue
		}
		var z [3]int
		for i := range z {
			z[i], _ = strconv.Atoi(m[i+1])
		}
		fmt.Fprintf(&out, "\t%s // VDPBF16PS Z%d, Z%d, Z%d\n", directives(vdpbf16ps(z[0], z[1], z[2])), z[0], z[1], z[2])
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}

var multiplyAdd = regexp.MustCompile(`^\s+VFMADD231PS\s+Z(\d+), Z(\d+), Z(\d+)`)

// vdpbf16ps encodes "VDPBF16PS Zb, Za, Zdst" in the order of Go's assembler.
func vdpbf16ps(b, a, dst int) []byte {
	not := func(x, bit int) byte { return byte(^x>>bit) & 1 }
	return []byte{0x62,
		not(dst, 3)<<7 | not(b, 4)<<6 | not(b, 3)<<5 | not(dst, 4)<<4 | 2,
		byte(^a&15)<<3 | 1<<2 | 2,
		2<<5 | not(a, 4)<<3,
		0x52,
		3<<6 | byte(dst&7)<<3 | byte(b&7)}
}

// directives writes bytes in the fewest lines of Go's assembler.
func directives(code []byte) string {
	var parts []string
	for len(code) > 0 {
		switch {
		case len(code) >= 4:
			parts = append(parts, fmt.Sprintf("LONG $0x%02x%02x%02x%02x", code[3], code[2], code[1], code[0]))
			code = code[4:]
		case len(code) >= 2:
			parts = append(parts, fmt.Sprintf("WORD $0x%02x%02x", code[1], code[0]))
			code = code[2:]
		default:
			parts = append(parts, fmt.Sprintf("BYTE $0x%02x", code[0]))
			code = code[1:]
		}
	}
	return strings.Join(parts, "; ")
}
