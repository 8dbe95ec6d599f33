package main

// packRow needs no transposition: the tile takes single lanes of a, so 4 steps of one row may stay together.
func (g *gen) packRow() {
	g.kernel("packRowNEON", 0, "k4 int, src, dst *float32, rows int", "packs a row of 4·k4 elements into its places of [k4][rows][4].")
	const n, src, dst, rows = "R0", "R1", "R2", "R3"
	g.param("k4", n)
	g.param("src", src)
	g.param("dst", dst)
	g.param("rows", rows)
	g.line("LSL $4, %s, %s", rows, rows)
	g.label("groups")
	g.line("FMOVQ (%s), F0", src)
	g.line("FMOVQ F0, (%s)", dst)
	g.line("ADD $16, %s", src)
	g.line("ADD %s, %s", rows, dst)
	g.line("SUBS $1, %s, %s", n, n)
	g.line("BNE groups")
	g.end()
}

func (g *gen) packCols() {
	g.kernel("packCols16NEON", 0, "k int, src *float32, stride int, dst *float32, width int",
		"copies k rows of 16 elements, stride apart, into 16 columns of a panel [k][width].")
	const n, src, stride, dst, width = "R0", "R1", "R2", "R3", "R4"
	g.param("k", n)
	g.param("src", src)
	g.param("stride", stride)
	g.param("dst", dst)
	g.param("width", width)
	g.line("LSL $2, %s, %s", stride, stride)
	g.line("LSL $2, %s, %s", width, width)
	g.label("rows")
	g.line("FLDPQ (%s), (F0, F1)", src)
	g.line("FLDPQ 32(%s), (F2, F3)", src)
	g.line("FSTPQ (F0, F1), (%s)", dst)
	g.line("FSTPQ (F2, F3), 32(%s)", dst)
	g.line("ADD %s, %s", stride, src)
	g.line("ADD %s, %s", width, dst)
	g.line("SUBS $1, %s, %s", n, n)
	g.line("BNE rows")
	g.end()
}

// square turns the 4x4 elements of registers r to r+3 around, with t to t+3 as scratch memory.
func (g *gen) square(r, t reg) {
	g.raw(trn1.on(t, r, r+1))
	g.raw(trn2.on(t+1, r, r+1))
	g.raw(trn1.on(t+2, r+2, r+3))
	g.raw(trn2.on(t+3, r+2, r+3))
	g.raw(zip1.on(r, t, t+2))
	g.raw(zip1.on(r+1, t+1, t+3))
	g.raw(zip2.on(r+2, t, t+2))
	g.raw(zip2.on(r+3, t+1, t+3))
}

// transpose brings PyTorch's weights [out][in] into panels [in][width of out], 8x8 elements at a time.
func (g *gen) transpose() {
	g.kernel("transpose8NEON", 0, "blocks int, src *float32, stride int, dst *float32, width int",
		"reads 8 rows of 8·blocks elements, stride apart, and writes element k of row r to dst[width·k+r].")
	const n, stride, dst, width = "R0", "R2", "R3", "R4"
	rows := []string{"R1", "R5", "R6", "R7", "R8", "R9", "R10", "R11"}
	g.param("blocks", n)
	g.param("src", rows[0])
	g.param("stride", stride)
	g.param("dst", dst)
	g.param("width", width)
	g.line("LSL $2, %s, %s", stride, stride)
	g.line("LSL $2, %s, %s", width, width)
	for i, r := range rows[1:] {
		g.line("ADD %s, %s, %s", stride, rows[i], r)
	}
	g.label("blocks")
	for i, r := range rows { // V0 to V7: the left half of the columns; V8 to V15: the right
		g.line("FMOVQ (%s), F%d", r, i)
		g.line("FMOVQ 16(%s), F%d", r, 8+i)
		g.line("ADD $32, %s", r)
	}
	for half := reg(0); half < 16; half += 8 {
		g.square(half, 16)
		g.square(half+4, 20)
		for i := half; i < half+4; i++ {
			g.line("FSTPQ (F%d, F%d), (%s)", i, i+4, dst)
			g.line("ADD %s, %s", width, dst)
		}
	}
	g.line("SUBS $1, %s, %s", n, n)
	g.line("BNE blocks")
	g.end()
}

// packTransposed packs rows that are the columns of its source, as weight gradients need them.
func (g *gen) packTransposed() {
	g.kernel("packColumns4NEON", 0, "k4 int, src *float32, stride int, dst *float32, rows int",
		"reads 4·k4 rows of 4 elements, stride apart, and packs the 4 columns as 4 rows into their places of [k4][rows][4].")
	const n, src, stride, dst, rows = "R0", "R1", "R2", "R3", "R4"
	g.param("k4", n)
	g.param("src", src)
	g.param("stride", stride)
	g.param("dst", dst)
	g.param("rows", rows)
	g.line("LSL $2, %s, %s", stride, stride)
	g.line("LSL $4, %s, %s", rows, rows)
	g.label("groups")
	for i := range 4 {
		g.line("FMOVQ (%s), F%d", src, i)
		g.line("ADD %s, %s", stride, src)
	}
	g.square(0, 4)
	g.line("FSTPQ (F0, F1), (%s)", dst)
	g.line("FSTPQ (F2, F3), 32(%s)", dst)
	g.line("ADD %s, %s", rows, dst)
	g.line("SUBS $1, %s, %s", n, n)
	g.line("BNE groups")
	g.end()
}
