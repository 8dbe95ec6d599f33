package pixels

import (
	"fmt"
	"math"
)

// Pillow resamples 8-bit pictures in fixed point: weights are rounded to 22 fractional bits, sums
// start at one half and are clamped to 0..255 after each of the two passes. The weights are
// computed in float64 in the same order as Pillow does; products are wrapped in float64() because
// Go may otherwise fuse them with the addition (arm64, GOAMD64=v3) and round once instead of twice.
//
// Both passes work on two samples per 64-bit integer, one in the low and one in the high half:
// (a + b<<32) * k summed over the taps is exactly sumA + sumB<<32, and both sums fit in 32 bits
// (255 times the sum of |weights|, at most 1.4 for bicubic, times 2^22 is below 2^31).

const weightBits = 32 - 8 - 2

// axis holds the weights of one direction: output i sums the sources first[i]..first[i]+count[i]-1
// with weights[i*taps:].
type axis struct {
	in, out int
	filter  Filter
	taps    int
	first   []int
	count   []int
	weights []int64

	// The same for the vector kernels, see pack.
	packed bool
	span   int // taps per output, even
	start  []int32
	parts  []int16
}

func cubic(x float64) float64 {
	const a = -0.5
	x = math.Abs(x)
	if x < 1 {
		return float64(float64(float64(float64((a+2)*x)-(a+3))*x)*x) + 1
	}
	if x < 2 {
		return float64((float64((float64((x-5)*x)+8)*x) - 4) * a)
	}
	return 0
}

func triangle(x float64) float64 {
	x = math.Abs(x)
	if x < 1 {
		return 1 - x
	}
	return 0
}

// kernel returns the filter's function and the radius outside which it is zero.
func (f Filter) kernel() (k func(float64) float64, radius float64) {
	switch f {
	case Bicubic:
		return cubic, 2
	case Bilinear:
		return triangle, 1
	}
	panic(fmt.Sprintf("pixels: resize: unknown filter %q", f))
}

// set computes the weights unless they are still those of the last picture, which in a batch of
// equal sizes saves the whole work.
func (ax *axis) set(in, out int, f Filter) {
	if ax.in == in && ax.out == out && ax.filter == f {
		return
	}
	ax.in, ax.out, ax.filter, ax.packed = in, out, f, false
	kernel, radius := f.kernel()
	scale := float64(in) / float64(out)
	wide := max(scale, 1) // reducing widens the kernel to the source step
	support := float64(radius * wide)
	ax.taps = int(math.Ceil(support))*2 + 1
	ax.first, ax.count = sized(ax.first, out), sized(ax.count, out)
	ax.weights = sized(ax.weights, out*ax.taps)
	k := make([]float64, ax.taps)
	step := 1 / wide
	for i := range out {
		center := float64((float64(i) + 0.5) * scale)
		lo := max(int(center-support+0.5), 0)
		n := min(int(center+support+0.5), in) - lo
		sum := 0.0
		for j := range n {
			k[j] = kernel(float64((float64(j+lo) - center + 0.5) * step))
			sum += k[j]
		}
		for j := range n {
			v := k[j]
			if sum != 0 {
				v /= sum
			}
			v = float64(v * (1 << weightBits))
			if v < 0 {
				ax.weights[i*ax.taps+j] = int64(int32(-0.5 + v))
			} else {
				ax.weights[i*ax.taps+j] = int64(int32(0.5 + v))
			}
		}
		ax.first[i], ax.count[i] = lo, n
	}
}

// resizer is the working memory of one resize.
type resizer struct {
	h, v axis
	pair []uint64 // one pair of source rows, 3*w
	mid  []uint64 // rows after the horizontal pass: byte j in the low half, byte j+half in the high half
	acc  []int64
	rows []byte // rows between the passes that are not kept in pairs
}

func (r *resizer) heldBytes() int {
	return 8*(cap(r.pair)+cap(r.mid)+cap(r.acc)+cap(r.h.weights)+cap(r.v.weights)) + cap(r.rows) +
		2*(cap(r.h.parts)+cap(r.v.parts))
}

// clamp8 ends a sum: drops the fraction and clamps.
func clamp8(v int32) byte {
	v >>= weightBits
	if uint32(v) > 255 {
		return byte(^(v >> 31))
	}
	return byte(v)
}

// split takes a pair of sums apart. The low sum may be negative, which borrowed from the high half.
func split(s int64) (lo, hi int32) {
	lo = int32(s)
	return lo, int32((s - int64(lo)) >> 32)
}

const halfPair = 1<<(weightBits-1) + 1<<(weightBits-1+32)

// verticalFirst tells the order of the passes, which shows in the last bit because each pass rounds.
// Pillow 13.0 goes vertical first where the height loses more than twice as many pixels as the
// width does (python-pillow/Pillow#9549); releases before it always went horizontal first.
func verticalFirst(w, h, ow, oh int) bool {
	return h > oh && h-oh > 2*(w-ow)
}

// run resizes src (w x h packed RGB) into dst (ow x oh).
func (r *resizer) run(dst, src []byte, w, h, ow, oh int, f Filter) {
	if ow < 1 || oh < 1 {
		panic(fmt.Sprintf("pixels: resize to %dx%d", ow, oh))
	}
	src = src[:3*w*h]
	switch {
	case ow == w && oh == h:
		f.kernel() // for its check of f
		copy(dst, src)
	case oh == h:
		r.h.set(w, ow, f)
		r.allRows(dst, src, w, ow, h)
	case ow == w:
		r.v.set(h, oh, f)
		r.verticalBytes(dst, src, w)
	case verticalFirst(w, h, ow, oh):
		r.h.set(w, ow, f)
		r.v.set(h, oh, f)
		r.rows = sized(r.rows, 3*w*oh)
		r.verticalBytes(r.rows, src, w)
		r.allRows(dst, r.rows, w, ow, oh)
	default:
		r.h.set(w, ow, f)
		r.v.set(h, oh, f)
		r.horizontalFirst(dst, src, w)
	}
}

// allRows runs the horizontal pass over n rows, two at a time.
func (r *resizer) allRows(dst, src []byte, w, ow, n int) {
	if avx2 && n >= 4 && r.h.pack(true) {
		r.rowsByFour(dst, src, n)
		return
	}
	for y := 0; y < n; y += 2 {
		z := min(y+1, n-1) // an odd last row is paired with itself
		r.horizontal(dst[3*ow*y:][:3*ow], dst[3*ow*z:][:3*ow], src[3*w*y:][:3*w], src[3*w*z:][:3*w])
	}
}

// horizontalFirst runs both passes. Between them the rows are kept in pairs for vertical.
func (r *resizer) horizontalFirst(dst, src []byte, w int) {
	ow, oh := r.h.out, r.v.out
	y0, y1 := r.v.first[0], r.v.first[oh-1]+r.v.count[oh-1] // the source rows that are read
	if avx2 && 3*ow >= 32 && y1-y0 >= 4 && r.h.pack(true) && r.v.pack(false) {
		r.bothByVector(dst, src, y0, y1)
		return
	}
	half := (3*ow + 1) / 2
	r.mid = sized(r.mid, half*(y1-y0))
	r.rows = sized(r.rows, 2*3*ow)
	a, b := r.rows[:3*ow:3*ow], r.rows[3*ow:]
	for y := y0; y < y1; y += 2 {
		z := min(y+1, y1-1)
		r.horizontal(a, b, src[3*w*y:][:3*w], src[3*w*z:][:3*w])
		packRow(r.mid[half*(y-y0):][:half], a)
		packRow(r.mid[half*(z-y0):][:half], b)
	}
	r.acc = sized(r.acc, half)
	for y := range oh {
		r.vertical(dst[3*ow*y:][:3*ow], half, r.v.first[y]-y0, r.v.weights[y*r.v.taps:][:r.v.count[y]])
	}
}

// verticalBytes runs the vertical pass over a whole picture of width w.
func (r *resizer) verticalBytes(dst, src []byte, w int) {
	n := 3 * w
	if avx2 && n >= 32 && r.v.pack(false) {
		for y := range r.v.out {
			r.columns(dst[n*y:][:n], src, 0, y)
		}
		return
	}
	half := (n + 1) / 2
	r.acc = sized(r.acc, half)
	acc := r.acc
	for y := range r.v.out {
		for i := range acc {
			acc[i] = halfPair
		}
		for j, kv := range r.v.weights[y*r.v.taps:][:r.v.count[y]] {
			row := src[n*(r.v.first[y]+j):][:n]
			lo, hi := row[:half], row[half:]
			for i, v := range hi {
				acc[i] += (int64(lo[i]) | int64(v)<<32) * kv
			}
			if len(hi) < half {
				acc[half-1] += int64(lo[half-1]) * kv
			}
		}
		unpackSums(dst[n*y:][:n], acc)
	}
}

// packRow stores row as pairs: byte j below, byte j+half above.
func packRow(mid []uint64, row []byte) {
	half := len(mid)
	lo, hi := row[:half], row[half:]
	for j, v := range hi {
		mid[j] = uint64(lo[j]) | uint64(v)<<32
	}
	if len(hi) < half {
		mid[half-1] = uint64(lo[half-1])
	}
}

// horizontal makes two output rows from two source rows.
func (r *resizer) horizontal(oa, ob, a, b []byte) {
	r.pair = sized(r.pair, len(a))
	pair, b := r.pair, b[:len(a)]
	for i, v := range a {
		pair[i] = uint64(v) | uint64(b[i])<<32
	}
	ax := &r.h
	for x := range ax.out {
		k := ax.weights[x*ax.taps:][:ax.count[x]]
		p := pair[3*ax.first[x]:][:3*len(k)]
		var red, green, blue int64 = halfPair, halfPair, halfPair
		for len(k) >= 2 && len(p) >= 6 {
			k0, k1 := k[0], k[1]
			red += int64(p[0])*k0 + int64(p[3])*k1
			green += int64(p[1])*k0 + int64(p[4])*k1
			blue += int64(p[2])*k0 + int64(p[5])*k1
			k, p = k[2:], p[6:]
		}
		if len(k) > 0 && len(p) >= 3 {
			red += int64(p[0]) * k[0]
			green += int64(p[1]) * k[0]
			blue += int64(p[2]) * k[0]
		}
		qa, qb := oa[3*x:3*x+3:3*x+3], ob[3*x:3*x+3:3*x+3]
		lo, hi := split(red)
		qa[0], qb[0] = clamp8(lo), clamp8(hi)
		lo, hi = split(green)
		qa[1], qb[1] = clamp8(lo), clamp8(hi)
		lo, hi = split(blue)
		qa[2], qb[2] = clamp8(lo), clamp8(hi)
	}
}

// vertical makes one output row from len(k) packed rows starting at row first of r.mid. Four rows
// are added per sweep so that the sums are loaded and stored a quarter as often.
func (r *resizer) vertical(out []byte, half, first int, k []int64) {
	acc := r.acc[:half]
	for i := range acc {
		acc[i] = halfPair
	}
	rows := r.mid[first*half:]
	for len(k) >= 4 {
		p0, p1, p2, p3 := rows[:half], rows[half:][:half], rows[2*half:][:half], rows[3*half:][:half]
		k0, k1, k2, k3 := k[0], k[1], k[2], k[3]
		for i := range acc {
			acc[i] += int64(p0[i])*k0 + int64(p1[i])*k1 + int64(p2[i])*k2 + int64(p3[i])*k3
		}
		rows, k = rows[4*half:], k[4:]
	}
	for _, kv := range k {
		for i, v := range rows[:half] {
			acc[i] += int64(v) * kv
		}
		rows = rows[half:]
	}
	unpackSums(out, acc)
}

// unpackSums ends a row of paired sums.
func unpackSums(out []byte, acc []int64) {
	half := len(acc)
	lo, hi := out[:half], out[half:]
	for i := range hi {
		a, b := split(acc[i])
		lo[i], hi[i] = clamp8(a), clamp8(b)
	}
	if len(hi) < half {
		a, _ := split(acc[half-1])
		lo[half-1] = clamp8(a)
	}
}
