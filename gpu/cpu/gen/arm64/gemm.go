package main

import "fmt"

// lanes of a vector, and columns of a panel of b.
const lanes, width = 4, 16

// tiles are of the sizes of AVX2's, so that packing is the same.
func (g *gen) tiles() {
	for _, rows := range []int{6, 4, 2, 1} {
		for _, cols := range []int{width, width / 2} {
			g.tile(rows, cols)
		}
	}
}

// tile is the heart of every matrix product. The largest has 24 accumulators, which cover the latency of four FMA pipes
// (4 pipes x 4 cycles = 16 in flight), a vector of 4 steps for each of the 6 rows of a, whose lanes are factors without
// further instructions, and leaves 2 registers for b. Every output is a chain of fused multiply-adds in the order of k:
// the bits of AVX2.
func (g *gen) tile(rows, cols int) {
	g.kernel(fmt.Sprintf("tileNEON%dx%d", rows, cols), 0, "k4 int, a, b, c *float32, stride int, accumulate bool, next *float32",
		fmt.Sprintf("computes c (+)= a·b for %d rows, %d columns and 4·k4 steps; a is packed [k4][%d][4], b [4·k4][%d], the rows of c lie "+
			"stride elements apart. next is what to fetch meanwhile: 64·k4 bytes of the next panel of b.", rows, cols, rows, width))
	const k, a, b, c, stride, next, accumulate, at = "R0", "R1", "R2", "R3", "R4", "R5", "R6", "R7"
	for _, p := range [][2]string{{"k4", k}, {"a", a}, {"b", b}, {"c", c}, {"stride", stride}, {"next", next}} {
		g.param(p[0], p[1])
	}
	g.line("LSL $2, %s, %s", stride, stride)
	vectors := cols / lanes
	acc := func(row, j int) reg { return reg(row*vectors + j) }
	first := reg(rows * vectors) // after the accumulators: a, then b
	factors := first + reg(rows)
	pairs := (32 - int(factors)) / 2 // of registers for b
	eachRow := func(f func(row int)) {
		g.line("MOVD %s, %s", c, at)
		for row := range rows {
			f(row)
			if row < rows-1 {
				g.line("ADD %s, %s", stride, at)
			}
		}
	}
	eachRow(func(int) { g.line("PRFM (%s), PLDL1KEEP", at) })
	for r := range first {
		g.raw(eor.on(r, r, r))
	}
	g.label("steps")
	for row := 0; row < rows; row += 2 {
		if row+1 < rows {
			g.line("FLDPQ %d(%s), (F%d, F%d)", 16*row, a, first+reg(row), first+reg(row+1))
		} else {
			g.line("FMOVQ %d(%s), F%d", 16*row, a, first+reg(row))
		}
	}
	turn := 0
	for step := range lanes {
		for j := 0; j < vectors; j += 2 {
			lo := factors + reg(turn%min(pairs, 4)*2)
			turn++
			g.line("FLDPQ %d(%s), (F%d, F%d)", 4*(step*width+j*lanes), b, lo, lo+1)
			for row := range rows {
				g.raw(fmlaLane(acc(row, j), lo, first+reg(row), step))
				g.raw(fmlaLane(acc(row, j+1), lo+1, first+reg(row), step))
			}
		}
	}
	g.line("PRFM (%s), PLDL2KEEP", next)
	g.line("ADD $64, %s", next)
	g.line("ADD $%d, %s", 16*rows, a)
	g.line("ADD $%d, %s", 4*lanes*width, b)
	g.line("SUBS $1, %s, %s", k, k)
	g.line("BNE steps")

	g.line("MOVBU accumulate+%d(FP), %s", g.offsets["accumulate"], accumulate)
	g.line("CBZ %s, store", accumulate)
	eachRow(func(row int) {
		for j := 0; j < vectors; j += 2 {
			g.line("FLDPQ %d(%s), (F%d, F%d)", 16*j, at, factors, factors+1)
			g.raw(fadd.on(acc(row, j), factors, acc(row, j)))
			g.raw(fadd.on(acc(row, j+1), factors+1, acc(row, j+1)))
		}
	})
	g.label("store")
	eachRow(func(row int) {
		for j := 0; j < vectors; j += 2 {
			g.line("FSTPQ (F%d, F%d), %d(%s)", acc(row, j), acc(row, j+1), 16*j, at)
		}
	})
	g.end()
}

// peak is chains of multiply-adds on registers alone: what the processor can do at best, for benchmarks.
func (g *gen) peak() {
	const chains = 24
	g.kernel("peakNEON", 0, "n int, x *float32", fmt.Sprintf("runs n rounds of %d multiply-adds of 4 lanes, all of them independent; x[0] is "+
		"a factor, x[1] gets a sum.", chains))
	const n, x, factor = "R0", "R1", reg(chains)
	g.param("n", n)
	g.param("x", x)
	g.line("FMOVS (%s), F%d", x, factor)
	g.line("VDUP V%d.S[0], V%d.S4", factor, factor)
	for r := range reg(chains) {
		g.raw(eor.on(r, r, r))
	}
	g.label("rounds")
	for r := range reg(chains) {
		g.raw(fmla.on(r, factor, factor))
	}
	g.line("SUBS $1, %s, %s", n, n)
	g.line("BNE rounds")
	for r := reg(1); r < chains; r++ {
		g.raw(fadd.on(0, 0, r))
	}
	g.line("FMOVS F0, 4(%s)", x)
	g.end()
}
