package main

// These are the kernels of ../rows.go, with sums in the same 8 lanes.

func (g *gen) add() {
	g.kernel("addNEON", frame(3), "n int, a, b, y *float32", "writes a + b; y may be a or b.")
	const n, a, b, y = "R0", "R1", "R2", "R3"
	g.param("n", n)
	g.param("a", a)
	g.param("b", b)
	g.param("y", y)
	g.row("add", n, []pointer{{reg: a, in: true}, {reg: b, in: true}, {reg: y, out: true}}, func(p []string, _ string) {
		v, w := g.load(p[0]), g.load(p[1])
		g.into(v, fadd, v, w)
		g.drop(w)
		g.store(v, p[2])
	})
	g.end()
}

// softmax subtracts the largest element first, so nothing overflows; the scale of attention is folded in.
func (g *gen) softmax() {
	g.kernel("softmaxNEON", frame(1), "n int, x *float32, scale float32", "replaces x by exp(scale·(x-max))/sum, scale > 0, within "+
		"4 + |scale·(x-max)| units in the last place where that exceeds 1e-36: the bits of AVX2.")
	const n, x, p = "R0", "R1", "R2"
	g.param("n", n)
	g.param("x", x)
	g.line("MOVD $%s(SB), %s", table, constantsAt)
	scale := g.octet()
	g.line("FMOVS scale+%d(FP), F%d", g.offsets["scale"], scale.lo)
	g.broadcast(scale)

	lowest := g.bits(0xff800000) // -Inf
	most := g.copyOf(lowest)
	g.line("MOVD %s, %s", x, p)
	g.row("most", n, []pointer{{reg: p, in: true}}, func(p []string, mask string) {
		v := g.load(p[0])
		if mask != "" {
			m := g.load(mask)
			g.into(m, bsl, v, lowest)
			g.drop(v)
			v = m
		}
		g.into(most, fmax, most, v)
		g.drop(v)
	})
	g.drop(lowest)
	g.across(most, fmax)

	sum := g.zero()
	g.line("MOVD %s, %s", x, p)
	g.row("exp", n, []pointer{{reg: p, in: true, out: true}}, func(p []string, mask string) {
		v := g.load(p[0])
		g.into(v, fsub, v, most)
		g.into(v, fmul, v, scale)
		v = g.exp(v)
		if mask != "" {
			m := g.load(mask)
			g.into(v, and, v, m)
			g.drop(m)
		}
		g.into(sum, fadd, sum, v)
		g.store(v, p[0])
	})
	g.across(sum, fadd)

	one := g.float(1)
	g.into(one, fdiv, one, sum)
	g.line("MOVD %s, %s", x, p)
	g.row("divide", n, []pointer{{reg: p, in: true, out: true}}, func(p []string, _ string) {
		v := g.load(p[0])
		g.into(v, fmul, v, one)
		g.store(v, p[0])
	})
	g.end()
}

// layerNorm reads a row three times (it stays in the L1 cache): mean, then the variance around that mean, then the
// result. A one-pass variance would lose digits when the mean is large.
func (g *gen) layerNorm() {
	g.kernel("layerNormNEON", frame(4), "n int, x, weight, bias, y *float32, eps float32",
		"writes (x-mean)/sqrt(variance+eps)·weight + bias for one row; y may be x. It gives the bits of AVX2.")
	const n, x, weight, bias, y, p = "R0", "R1", "R2", "R3", "R4", "R5"
	for _, q := range [][2]string{{"n", n}, {"x", x}, {"weight", weight}, {"bias", bias}, {"y", y}} {
		g.param(q[0], q[1])
	}
	g.line("MOVD $%s(SB), %s", table, constantsAt)
	count := g.octet()
	g.line("SCVTFS %s, F%d", n, count.lo)
	g.broadcast(count)

	mean := g.zero()
	g.line("MOVD %s, %s", x, p)
	g.row("mean", n, []pointer{{reg: p, in: true}}, func(p []string, _ string) {
		v := g.load(p[0])
		g.into(mean, fadd, mean, v)
		g.drop(v)
	})
	g.across(mean, fadd)
	g.into(mean, fdiv, mean, count)

	factor := g.zero()
	g.line("MOVD %s, %s", x, p)
	g.row("variance", n, []pointer{{reg: p, in: true}}, func(p []string, mask string) {
		v := g.load(p[0])
		g.into(v, fsub, v, mean)
		if mask != "" {
			m := g.load(mask)
			g.into(v, and, v, m)
			g.drop(m)
		}
		g.into(factor, fmla, v, v)
		g.drop(v)
	})
	g.across(factor, fadd)
	g.into(factor, fdiv, factor, count)
	eps := g.octet()
	g.line("FMOVS eps+%d(FP), F%d", g.offsets["eps"], eps.lo)
	g.broadcast(eps)
	g.into(factor, fadd, factor, eps)
	g.to(factor, fsqrt, factor)
	one := g.float(1)
	g.into(factor, fdiv, one, factor)
	g.drop(eps, one)

	g.row("apply", n, []pointer{{reg: x, in: true}, {reg: weight, in: true}, {reg: bias, in: true}, {reg: y, out: true}},
		func(p []string, _ string) {
			v, w, b := g.load(p[0]), g.load(p[1]), g.load(p[2])
			g.into(v, fsub, v, mean)
			g.into(v, fmul, v, factor)
			g.into(b, fmla, v, w)
			g.drop(v, w)
			g.store(b, p[3])
		})
	g.end()
}
