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
		disp := 0
		if m[1] != "" {
			disp, _ = strconv.Atoi(m[1])
		}
		factor, _ := strconv.Atoi(m[3])
		dst, _ := strconv.Atoi(m[4])
		base, ok := registers[m[2]]
		if !ok {
			return fmt.Errorf("bf16: no number for register %s in %q", m[2], line)
		}
		fmt.Fprintf(&out, "\t// VDPBF16PS.BCST %s(%s), Z%d, Z%d\n\t%s\n", m[1], m[2], factor, dst, directives(vdpbf16ps(disp, base, factor, dst)))
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}

var multiplyAdd = regexp.MustCompile(`^\s+VFMADD231PS\.BCST\s+(-?\d*)\((\w+)\), Z(\d+), Z(\d+)`)

// registers are the numbers of the registers that need no SIB byte as a base.
var registers = map[string]int{"AX": 0, "CX": 1, "DX": 2, "BX": 3, "BP": 5, "SI": 6, "DI": 7, "R8": 8, "R9": 9, "R10": 10, "R11": 11,
	"R13": 13, "R14": 14, "R15": 15}

// vdpbf16ps encodes "VDPBF16PS Zdst, Zfactor, disp(base){1to16}".
func vdpbf16ps(disp, base, factor, dst int) []byte {
	not := func(x, bit int) byte { return byte(^x>>bit) & 1 }
	code := []byte{0x62,
		not(dst, 3)<<7 | 1<<6 | not(base, 3)<<5 | not(dst, 4)<<4 | 2,
		byte(^factor&15)<<3 | 1<<2 | 2,
		2<<5 | 1<<4 | not(factor, 4)<<3,
		0x52}
	reg := byte(dst&7) << 3
	if disp%4 == 0 && -128 <= disp/4 && disp/4 < 128 { // in units of the broadcast element
		return append(code, 1<<6|reg|byte(base&7), byte(disp/4))
	}
	return append(code, 2<<6|reg|byte(base&7), byte(disp), byte(disp>>8), byte(disp>>16), byte(disp>>24))
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
