package pixels

// Block smoothing: when a progressive file stops before its low frequencies are complete, libjpeg
// estimates the first AC coefficients of each block from the DC values of the 5x5 blocks around it
// (in the spirit of T.81 annex K.8). libjpeg-turbo has done so by default since 2.1, and Pillow
// shows such files that way.

// smoothBits is the number of leading zigzag coefficients that decide about smoothing.
const smoothBits = 10

// smoothingApplies reports whether libjpeg would smooth: every component has its DC and non-zero
// divisors, and some early AC coefficient is not known to full precision.
func (d *jpegDecoder) smoothingApplies() bool {
	if !d.progressive {
		return false
	}
	useful := false
	for i := range d.comps {
		c := &d.comps[i]
		if !c.latched || c.bitsLeft[0] < 0 {
			return false
		}
		for k := range smoothBits {
			if c.quant[naturalOrder[k]] == 0 {
				return false
			}
			if k > 0 && c.bitsLeft[k] != 0 {
				useful = true
			}
		}
	}
	return useful
}

// A smoothing kernel weighs the 5x5 neighbouring DC values, row by row.
type smoothKernel [25]int32

// Kernels for blocks whose AC coefficients are all unknown: the DC value itself (at index 0) and
// the nine estimates by zigzag position.
var dcOnlyKernels = [smoothBits]smoothKernel{
	{-2, -6, -8, -6, -2, -6, 6, 42, 6, -6, -8, 42, 152, 42, -8, -6, 6, 42, 6, -6, -2, -6, -8, -6, -2},
	{-1, -1, 0, 1, 1, -3, 13, 0, -13, 3, -3, 38, 0, -38, 3, -3, 13, 0, -13, 3, -1, -1, 0, 1, 1},
	{-1, -3, -3, -3, -1, -1, 13, 38, 13, -1, 0, 0, 0, 0, 0, 1, -13, -38, -13, 1, 1, 3, 3, 3, 1},
	{0, 0, 1, 0, 0, 0, 2, 7, 2, 0, 0, -5, -14, -5, 0, 0, 2, 7, 2, 0, 0, 0, 1, 0, 0},
	{-1, 0, 0, 0, 1, 0, 9, 0, -9, 0, 0, 0, 0, 0, 0, 0, -9, 0, 9, 0, 1, 0, 0, 0, -1},
	{0, 0, 0, 0, 0, 0, 2, -5, 2, 0, 1, 7, -14, 7, 1, 0, 2, -5, 2, 0, 0, 0, 0, 0, 0},
	{0, 0, 0, 0, 0, 0, 1, 0, -1, 0, 0, 2, 0, -2, 0, 0, 1, 0, -1, 0, 0, 0, 0, 0, 0},
	{0, 0, 0, 0, 0, 0, 1, -3, 1, 0, 0, 0, 0, 0, 0, 0, -1, 3, -1, 0, 0, 0, 0, 0, 0},
	{0, 0, 0, 0, 0, 0, 1, 0, -1, 0, 0, -3, 0, 3, 0, 0, 1, 0, -1, 0, 0, 0, 0, 0, 0},
	{0, 0, 0, 0, 0, 0, 1, 2, 1, 0, 0, 0, 0, 0, 0, 0, -1, -2, -1, 0, 0, 0, 0, 0, 0},
}

// Kernels for blocks where some AC coefficients have arrived; only five are estimated then.
var partialKernels = [6]smoothKernel{
	1: {10: -7, 11: 50, 13: -50, 14: 7},
	2: {2: -7, 7: 50, 17: -50, 22: 7},
	3: {2: -1, 7: 13, 12: -24, 17: 13, 22: -1},
	4: {1: -1, 3: 1, 5: -1, 6: 10, 8: -10, 9: 1, 15: 1, 16: -10, 18: 10, 19: -1, 21: 1, 23: -1},
	5: {10: -1, 11: 13, 12: -24, 13: 13, 14: -1},
}

func (k *smoothKernel) apply(dc *[25]int32) int64 {
	sum := int32(0)
	for i, w := range k {
		sum += w * dc[i]
	}
	return int64(sum)
}

// transformSmooth is the smoothing form of the inverse DCT over one component.
func (d *jpegDecoder) transformSmooth(c *component) {
	rowsMCU := c.padY / c.v
	for my := range rowsMCU {
		rows := c.v
		if my == rowsMCU-1 {
			rows = (c.blocksY-1)%c.v + 1
		}
		bits := &c.bitsLeft
		if my > d.lastGoodRow {
			bits = &c.bitsPrev // the last scan did not get this far
		}
		// libjpeg counts rows with the height of the current MCU row, so that above the last one
		// the padding rows of interleaved scans count as neighbours. They do here, too.
		total := rows * rowsMCU
		for by := range rows {
			y := my*c.v + by
			at := my*rows + by
			var near [5]int
			near[2] = y
			near[1], near[3] = y, y
			if at > 0 {
				near[1] = y - 1
			}
			near[0] = near[1]
			if at > 1 {
				near[0] = y - 2
			}
			if at < total-1 {
				near[3] = y + 1
			}
			near[4] = near[3]
			if at < total-2 {
				near[4] = y + 2
			}
			d.smoothRow(c, y, &near, bits)
		}
	}
}

// smoothRow transforms block row y; near are the block rows of the five window rows.
func (d *jpegDecoder) smoothRow(c *component, y int, near *[5]int, bits *[64]int8) {
	dcOnly := true
	for _, b := range bits[1:smoothBits] {
		dcOnly = dcOnly && b == -1
	}
	kernels := partialKernels[:]
	if dcOnly {
		kernels = dcOnlyKernels[:]
	}
	last := c.blocksX - 1
	for x := range c.blocksX {
		var dc [25]int32
		for r, row := range near {
			for k := range 5 {
				col := max(0, min(last, x+k-2))
				dc[5*r+k] = int32(c.coefs[64*(row*c.stride+col)])
			}
		}
		d.natural = [64]int16(c.coefs[64*(y*c.stride+x):])
		w := &d.natural
		q0 := int64(c.quant[0])
		for k := 1; k < len(kernels); k++ {
			pos := naturalOrder[k]
			al := bits[k]
			if al == 0 || w[pos] != 0 {
				continue
			}
			w[pos] = int16(estimate(q0*kernels[k].apply(&dc), int64(c.quant[pos]), al))
		}
		if dcOnly {
			w[0] = int16(estimate(q0*kernels[0].apply(&dc), q0, -1))
		}
		inverse(c.plane[8*(y*8*c.stride+x):], 8*c.stride, w, &c.quant, 0)
	}
}

// estimate divides num/256 by the quantizer, rounding half away from zero, and keeps the result
// below the bits that are known to be zero.
func estimate(num, q int64, al int8) int32 {
	size := num
	if num < 0 {
		size = -num
	}
	v := int32((q<<7 + size) / (q << 8))
	if al > 0 && v >= 1<<uint(al) {
		v = 1<<uint(al) - 1
	}
	if num < 0 {
		v = -v
	}
	return v
}
