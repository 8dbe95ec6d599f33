package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestKnownWords compares with what binutils' assembler makes of the same instructions.
func TestKnownWords(t *testing.T) {
	for _, c := range []struct {
		got  word
		text string
		want uint32
	}{
		{fadd.on(1, 2, 31), "FADD V1.4S, V2.4S, V31.4S", 0x4e3fd441},
		{fsub.on(1, 2, 31), "FSUB V1.4S, V2.4S, V31.4S", 0x4ebfd441},
		{fmul.on(1, 2, 31), "FMUL V1.4S, V2.4S, V31.4S", 0x6e3fdc41},
		{fdiv.on(1, 2, 31), "FDIV V1.4S, V2.4S, V31.4S", 0x6e3ffc41},
		{fmla.on(1, 2, 31), "FMLA V1.4S, V2.4S, V31.4S", 0x4e3fcc41},
		{fmls.on(1, 2, 31), "FMLS V1.4S, V2.4S, V31.4S", 0x4ebfcc41},
		{fmax.on(1, 2, 31), "FMAX V1.4S, V2.4S, V31.4S", 0x4e3ff441},
		{fmin.on(1, 2, 31), "FMIN V1.4S, V2.4S, V31.4S", 0x4ebff441},
		{fcmgt.on(1, 2, 31), "FCMGT V1.4S, V2.4S, V31.4S", 0x6ebfe441},
		{add.on(1, 2, 31), "ADD V1.4S, V2.4S, V31.4S", 0x4ebf8441},
		{and.on(1, 2, 31), "AND V1.16B, V2.16B, V31.16B", 0x4e3f1c41},
		{bic.on(1, 2, 31), "BIC V1.16B, V2.16B, V31.16B", 0x4e7f1c41},
		{orr.on(1, 2, 31), "ORR V1.16B, V2.16B, V31.16B", 0x4ebf1c41},
		{eor.on(1, 2, 31), "EOR V1.16B, V2.16B, V31.16B", 0x6e3f1c41},
		{bsl.on(1, 2, 31), "BSL V1.16B, V2.16B, V31.16B", 0x6e7f1c41},
		{trn1.on(1, 2, 31), "TRN1 V1.4S, V2.4S, V31.4S", 0x4e9f2841},
		{trn2.on(1, 2, 31), "TRN2 V1.4S, V2.4S, V31.4S", 0x4e9f6841},
		{zip1.on(1, 2, 31), "ZIP1 V1.2D, V2.2D, V31.2D", 0x4edf3841},
		{zip2.on(1, 2, 31), "ZIP2 V1.2D, V2.2D, V31.2D", 0x4edf7841},
		{frintn.on(30, 17), "FRINTN V30.4S, V17.4S", 0x4e218a3e},
		{fcvtns.on(30, 17), "FCVTNS V30.4S, V17.4S", 0x4e21aa3e},
		{fabs.on(30, 17), "FABS V30.4S, V17.4S", 0x4ea0fa3e},
		{fneg.on(30, 17), "FNEG V30.4S, V17.4S", 0x6ea0fa3e},
		{fsqrt.on(30, 17), "FSQRT V30.4S, V17.4S", 0x6ea1fa3e},
		{cmlt.on(30, 17), "CMLT V30.4S, V17.4S, #0", 0x4ea0aa3e},
		{rev64.on(30, 17), "REV64 V30.4S, V17.4S", 0x4ea00a3e},
		{shl23.on(30, 17), "SHL V30.4S, V17.4S, #23", 0x4f37563e},
		{fmlaLane(3, 16, 31, 0), "FMLA V3.4S, V16.4S, V31.S[0]", 0x4f9f1203},
		{fmlaLane(3, 16, 15, 1), "FMLA V3.4S, V16.4S, V15.S[1]", 0x4faf1203},
		{fmlaLane(3, 16, 29, 2), "FMLA V3.4S, V16.4S, V29.S[2]", 0x4f9d1a03},
		{fmlaLane(3, 16, 7, 3), "FMLA V3.4S, V16.4S, V7.S[3]", 0x4fa71a03},
		{swapHalves(4, 21), "EXT V4.16B, V21.16B, V21.16B, #8", 0x6e1542a4},
	} {
		if c.got.code != c.want || c.got.text != c.text {
			t.Errorf("%q is 0x%08x, want %q, 0x%08x", c.got.text, c.got.code, c.text, c.want)
		}
	}
}

// TestAssembler lets binutils assemble every instruction of the committed kernels that is written as a word, if it is
// there.
func TestAssembler(t *testing.T) {
	as, err := exec.LookPath("aarch64-linux-gnu-as")
	if err != nil {
		t.Skip("no aarch64-linux-gnu-as (Debian: binutils-aarch64-linux-gnu)")
	}
	objcopy := strings.TrimSuffix(as, "as") + "objcopy"
	text, err := os.ReadFile("../../kernels_arm64.s")
	if err != nil {
		t.Fatal(err)
	}
	var source, want bytes.Buffer
	var lines []string
	for _, m := range regexp.MustCompile(`WORD \$0x([0-9a-f]{8}) // (.*)`).FindAllSubmatch(text, -1) {
		var code uint32
		fmt.Sscanf(string(m[1]), "%x", &code)
		want.Write([]byte{byte(code), byte(code >> 8), byte(code >> 16), byte(code >> 24)})
		fmt.Fprintf(&source, "%s\n", m[2])
		lines = append(lines, string(m[2]))
	}
	if len(lines) < 1000 {
		t.Fatalf("%d words found", len(lines))
	}
	dir := t.TempDir()
	object, raw := filepath.Join(dir, "a.o"), filepath.Join(dir, "a.bin")
	cmd := exec.Command(as, "-o", object, "-")
	cmd.Stdin = &source
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.Command(objcopy, "-O", "binary", "-j", ".text", object, raw).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range lines {
		if a, b := got[4*i:4*i+4], want.Bytes()[4*i:4*i+4]; !bytes.Equal(a, b) {
			t.Errorf("%s is % x, the assembler makes it % x", line, b, a)
		}
	}
}
