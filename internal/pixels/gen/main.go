// Gen writes the x86-64 assembly of package pixels. Run it with "go generate" in internal/pixels; the result is committed,
// so that building Sower needs neither this program nor avo.
//
// It is a module of its own: avo stays out of Sower's dependencies.
//
// All kernels are integer arithmetic and give the bits of their plain Go twins for every input. None reads or writes
// outside the elements that its description names.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("amd64,!purego")
	resizeRows()
	resizeColumns()
	inverse()
	sumRows()
	doubleSums()
	doubleRow()
	upsampleWebP()
	ycc()
	colorWebP()
	paeth()
	Generate()
}

// in applies an instruction to operands in the order of Intel's manuals, first source first, and returns the result.
func in(f func(...Op), a, b Op) VecVirtual {
	d := YMM()
	f(b, a, d)
	return d
}

// Vectors of constants, made once each and used as memory operands.
var constants = map[string]Mem{}

func data(name string, size int, put func(offset int)) Mem {
	m, ok := constants[name]
	if !ok {
		m = GLOBL(name, RODATA|NOPTR)
		for at := 0; at < 32; at += size {
			put(at)
		}
		constants[name] = m
	}
	return m
}

// words is v in all 16 lanes, pairs is (a, b) in all 8 pairs of lanes, dwords is v in all 8 lanes of 32 bits.
func words(v int) Mem {
	return data(fmt.Sprintf("words_%04x", uint16(v)), 2, func(at int) { DATA(at, U16(uint16(v))) })
}

func pairs(a, b int) Mem {
	v := uint32(uint16(a)) | uint32(uint16(b))<<16
	return data(fmt.Sprintf("pairs_%08x", v), 4, func(at int) { DATA(at, U32(v)) })
}

func dwords(v int) Mem {
	return data(fmt.Sprintf("dwords_%08x", uint32(v)), 4, func(at int) { DATA(at, U32(uint32(v))) })
}

// shuffle is the mask of VPSHUFB that moves byte from[i] to place i of both halves; -1 gives zero.
func shuffle(name string, from [16]int) Mem {
	return data(name, 1, func(at int) { DATA(at, U8(uint8(from[at%16]))) })
}

func zero() VecVirtual {
	z := YMM()
	VPXOR(z, z, z)
	return z
}

// chunks runs body for offsets 0, size, 2·size and so on; the last chunk ends at n, over elements that were done before
// if need be. n is at least size, body reads nothing that it wrote.
func chunks(label string, n GPVirtual, size uint8, body func(offset GPVirtual)) {
	offset, last := GP64(), GP64()
	XORQ(offset, offset)
	MOVQ(n, last)
	SUBQ(Imm(uint64(size)), last)
	Label(label)
	body(offset)
	ADDQ(Imm(uint64(size)), offset)
	CMPQ(offset, last)
	JLE(LabelRef(label))
	CMPQ(offset, n)
	JGE(LabelRef(label + "Done"))
	MOVQ(last, offset)
	JMP(LabelRef(label))
	Label(label + "Done")
	VZEROUPPER()
	RET()
}

func arg(name string) GPVirtual { return Load(Param(name), GP64()).(GPVirtual) }
