package main

import "fmt"

// Go's assembler knows the loads and stores of vector registers, but few of their floating point instructions. Those are
// written as words, encoded as in the Arm Architecture Reference Manual for A-profile (DDI 0487), section C4.1, "Data
// Processing -- Scalar Floating-Point and Advanced SIMD". All are on 4 lanes of 32 bits, or on 16 bytes where lanes do
// not matter.

// reg is the number of a vector register.
type reg int

func (r reg) String() string { return fmt.Sprintf("V%d", int(r)) }

// word is an instruction and how the manual writes it.
type word struct {
	code uint32
	text string
}

// three is an instruction on three registers.
type three struct {
	name, lanes string
	code        uint32
}

// threeSame is of the class "Advanced SIMD three same": 0 Q U 01110 size 1 Rm opcode 1 Rn Rd.
func threeSame(name, lanes string, u, size, opcode uint32) three {
	return three{name, lanes, 1<<30 | u<<29 | 0b01110<<24 | size<<22 | 1<<21 | opcode<<11 | 1<<10}
}

// permute is of the class "Advanced SIMD permute": 0 Q 001110 size 0 Rm 0 opcode 10 Rn Rd.
func permute(name, lanes string, size, opcode uint32) three {
	return three{name, lanes, 1<<30 | 0b001110<<24 | size<<22 | opcode<<12 | 0b10<<10}
}

var (
	fadd  = threeSame("FADD", "4S", 0, 0b00, 0b11010)
	fsub  = threeSame("FSUB", "4S", 0, 0b10, 0b11010)
	fmul  = threeSame("FMUL", "4S", 1, 0b00, 0b11011)
	fdiv  = threeSame("FDIV", "4S", 1, 0b00, 0b11111)
	fmla  = threeSame("FMLA", "4S", 0, 0b00, 0b11001) // d += n·m, rounded once
	fmls  = threeSame("FMLS", "4S", 0, 0b10, 0b11001) // d -= n·m
	fmax  = threeSame("FMAX", "4S", 0, 0b00, 0b11110) // of a number and NaN: NaN
	fmin  = threeSame("FMIN", "4S", 0, 0b10, 0b11110)
	fcmgt = threeSame("FCMGT", "4S", 1, 0b10, 0b11100) // all bits where n > m
	add   = threeSame("ADD", "4S", 0, 0b10, 0b10000)
	and   = threeSame("AND", "16B", 0, 0b00, 0b00011)
	bic   = threeSame("BIC", "16B", 0, 0b01, 0b00011) // n and not m
	orr   = threeSame("ORR", "16B", 0, 0b10, 0b00011)
	eor   = threeSame("EOR", "16B", 1, 0b00, 0b00011)
	bsl   = threeSame("BSL", "16B", 1, 0b01, 0b00011) // d selects: n where set, else m
	trn1  = permute("TRN1", "4S", 0b10, 0b010)        // even elements of n and m, in turns
	trn2  = permute("TRN2", "4S", 0b10, 0b110)        // odd elements
	zip1  = permute("ZIP1", "2D", 0b11, 0b011)        // lower halves of n and m
	zip2  = permute("ZIP2", "2D", 0b11, 0b111)        // upper halves
)

func (o three) on(d, n, m reg) word {
	return word{o.code | uint32(m)<<16 | uint32(n)<<5 | uint32(d), fmt.Sprintf("%s %v.%s, %v.%s, %v.%s", o.name, d, o.lanes, n, o.lanes, m, o.lanes)}
}

// two is an instruction on two registers, perhaps with a constant.
type two struct {
	name, tail string
	code       uint32
}

// twoMisc is of the class "Advanced SIMD two-register miscellaneous": 0 Q U 01110 size 10000 opcode 10 Rn Rd.
func twoMisc(name, tail string, u, size, opcode uint32) two {
	return two{name, tail, 1<<30 | u<<29 | 0b01110<<24 | size<<22 | 0b10000<<17 | opcode<<12 | 0b10<<10}
}

var (
	frintn = twoMisc("FRINTN", "", 0, 0b00, 0b11000) // to nearest, ties to even
	fcvtns = twoMisc("FCVTNS", "", 0, 0b00, 0b11010) // to int32, likewise
	fabs   = twoMisc("FABS", "", 0, 0b10, 0b01111)
	fneg   = twoMisc("FNEG", "", 1, 0b10, 0b01111)
	fsqrt  = twoMisc("FSQRT", "", 1, 0b10, 0b11111)
	cmlt   = twoMisc("CMLT", ", #0", 0, 0b10, 0b01010) // all bits where the sign bit is set
	rev64  = twoMisc("REV64", "", 0, 0b10, 0b00000)    // swaps neighbours
	// SHL is of the class "Advanced SIMD shift by immediate": 0 Q U 011110 immh:immb opcode 1 Rn Rd, with 32 + shift.
	shl23 = two{"SHL", ", #23", 1<<30 | 0b011110<<23 | (32+23)<<16 | 0b01010<<11 | 1<<10}
)

func (o two) on(d, n reg) word {
	return word{o.code | uint32(n)<<5 | uint32(d), fmt.Sprintf("%s %v.4S, %v.4S%s", o.name, d, n, o.tail)}
}

// fmlaLane is d += n·m[lane], of the class "Advanced SIMD vector x indexed element": 0 Q U 01111 size L M Rm opcode H 0 Rn
// Rd; the lane is H:L, and M:Rm any register.
func fmlaLane(d, n, m reg, lane int) word {
	h, l := uint32(lane)>>1, uint32(lane)&1
	return word{1<<30 | 0b01111<<24 | 0b10<<22 | l<<21 | uint32(m)<<16 | 0b0001<<12 | h<<11 | uint32(n)<<5 | uint32(d),
		fmt.Sprintf("FMLA %v.4S, %v.4S, %v.S[%d]", d, n, m, lane)}
}

// swapHalves is EXT #8 of a register with itself, of the class "Advanced SIMD extract": 0 Q 101110 op2 0 Rm 0 imm4 0 Rn Rd.
func swapHalves(d, n reg) word {
	return word{1<<30 | 0b101110<<24 | uint32(n)<<16 | 8<<11 | uint32(n)<<5 | uint32(d), fmt.Sprintf("EXT %v.16B, %v.16B, %v.16B, #8", d, n, n)}
}
