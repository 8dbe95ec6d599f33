package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// shape is a kind of tile: its largest number of rows, the lanes of a vector, and the names of its kernels.
type shape struct {
	name    string
	heights []int // rows of the variants, largest first; any number of rows is a sum of them
	lanes   int   // of a vector; a panel of B is two vectors wide
	wide    bool  // AVX-512
	what    string
}

// The tiles. The largest leaves room in the register file for two vectors of B and some elements of A: 6·2+4 = 16 of
// AVX2, 12·2+6 = 30 of 32 of AVX-512.
var shapes = []shape{
	{"AVX2", []int{6, 4, 2, 1}, 8, false, "elements"},
	{"AVX512", []int{12, 8, 4, 2, 1}, 16, true, "elements"},
	{"BF16", []int{12, 8, 4, 2, 1}, 16, true, "pairs of bfloat16"},
}

func tiles() {
	for _, s := range shapes {
		for _, rows := range s.heights {
			for vectors := 2; vectors > 0; vectors-- {
				tile(s, rows, vectors)
			}
		}
	}
}

// tile is the heart of every matrix product: rows x vectors accumulators, one vector of B each, and broadcasts of A. With
// AVX2 the 12 accumulators of the largest cover the latency of the two FMA ports (2 ports x 4 cycles = 8 in flight); the
// 24 of AVX-512 do so on processors with two ports of that width, too. Every output is a chain of fused multiply-adds in
// the order of k, whatever its row, column, tile or vector length: AVX2 and AVX-512 give the same bits.
//
// A step of k is 32 bits of a and of each lane of b: an element, or a pair of bfloat16 whose kernel is the same but for
// the instruction (see bf16.go).
func tile(s shape, rows, vectors int) {
	cols := s.lanes * vectors
	name := fmt.Sprintf("tile%s%dx%d", s.name, rows, cols)
	TEXT(name, NOSPLIT, "func(k4 int, a, b, c *float32, stride int, accumulate bool, next *float32)")
	Doc(fmt.Sprintf("%s computes c (+)= a·b for %d rows, %d columns and 4·k4 steps of %s; a is packed [k4][%d][4], b", name, rows,
		cols, s.what, rows), fmt.Sprintf("[4·k4][%d], the rows of c lie stride elements apart. next, is what to fetch meanwhile: 64·k4 bytes of the next panel of b.",
		2*s.lanes))
	Pragma("noescape")
	k := Load(Param("k4"), GP64())
	a := Load(Param("a"), GP64())
	b := Load(Param("b"), GP64())
	c := Load(Param("c"), GP64())
	stride := Load(Param("stride"), GP64())
	next := Load(Param("next"), GP64())
	SHLQ(Imm(2), stride)
	vector := func() VecVirtual {
		if s.wide {
			return ZMM()
		}
		return YMM()
	}
	size := 4 * s.lanes
	at := GP64()
	MOVQ(c, at)
	for i := range rows {
		PREFETCHT0(Mem{Base: at})
		PREFETCHT0(Mem{Base: at, Disp: 4*cols - 4})
		if i < rows-1 {
			ADDQ(stride, at)
		}
	}
	acc := make([][]VecVirtual, rows)
	for i := range acc {
		for range vectors {
			v := vector()
			if s.wide {
				VPXORD(v, v, v)
			} else {
				VXORPS(v, v, v)
			}
			acc[i] = append(acc[i], v)
		}
	}
	var bs []VecVirtual
	for range vectors {
		bs = append(bs, vector())
	}
	broadcast := []VecVirtual{vector(), vector()}
	if s.wide {
		broadcast = append(broadcast, vector(), vector())
	}

	Label("steps")
	lines := (16*rows + 63) / 64
	for step := range 4 {
		for j, v := range bs {
			VMOVUPS(Mem{Base: b, Disp: step*2*size + j*size}, v)
		}
		for i := range rows {
			// Not the broadcasts that AVX-512 has within multiply-adds: those load once for each of the two, and some
			// processors load no more than one vector a cycle.
			v := broadcast[i%len(broadcast)]
			VBROADCASTSS(Mem{Base: a, Disp: i*16 + step*4}, v)
			for j, w := range bs {
				VFMADD231PS(w, v, acc[i][j])
			}
		}
		if step == 3 {
			// Weights come from memory once an image. A panel that is only asked for when it is needed makes the first tile wait;
			// one line in four steps asks for all of it in time.
			PREFETCHT1(Mem{Base: next})
			ADDQ(Imm(64), next)
		}
		if step < lines {
			PREFETCHT0(Mem{Base: a, Disp: 8*16*rows + step*64})
		}
	}
	ADDQ(U32(16*rows), a)
	ADDQ(U32(8*size), b)
	DECQ(k)
	JNZ(LabelRef("steps"))

	MOVQ(c, at)
	accumulate := Load(Param("accumulate"), GP8())
	TESTB(accumulate, accumulate)
	JZ(LabelRef("store"))
	for i := range rows {
		for j, v := range acc[i] {
			VADDPS(Mem{Base: at, Disp: j * size}, v, v)
		}
		if i < rows-1 {
			ADDQ(stride, at)
		}
	}
	Label("store")
	for i := range rows {
		for j, v := range acc[i] {
			VMOVUPS(v, Mem{Base: c, Disp: j * size})
		}
		if i < rows-1 {
			ADDQ(stride, c)
		}
	}
	VZEROUPPER()
	RET()
}

// peaks are chains of multiply-adds on registers alone: what the processor can do at best, for benchmarks.
func peaks() {
	for _, s := range shapes {
		TEXT("peak"+s.name, NOSPLIT, "func(n int, x *float32)")
		Doc(fmt.Sprintf("peak%s runs n rounds of 24 multiply-adds of %d lanes of %s, 12 of them in flight; x[0] is a factor, x[1] gets a sum.", s.name, s.lanes, s.what))
		Pragma("noescape")
		n := Load(Param("n"), GP64())
		x := Load(Param("x"), GP64())
		var acc []VecVirtual
		factor := VecVirtual(YMM())
		if s.wide {
			factor = ZMM()
		}
		VBROADCASTSS(Mem{Base: x}, factor)
		for range 12 {
			if s.wide {
				v := ZMM()
				VPXORD(v, v, v)
				acc = append(acc, v)
			} else {
				v := YMM()
				VXORPS(v, v, v)
				acc = append(acc, v)
			}
		}
		Label("rounds")
		for range 2 {
			for _, v := range acc {
				VFMADD231PS(factor, factor, v)
			}
		}
		DECQ(n)
		JNZ(LabelRef("rounds"))
		for _, v := range acc[1:] {
			VADDPS(v, acc[0], acc[0])
		}
		VMOVSS(acc[0].AsX(), Mem{Base: x, Disp: 4})
		VZEROUPPER()
		RET()
	}
}
