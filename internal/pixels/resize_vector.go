package pixels

// The resize with vector kernels. They multiply in 16 bits, so each weight is kept in two parts, high<<16 + low with a
// signed low part; the sums of both parts are exact modulo 2^32, and the whole sum fits in 32 bits (resize.go).

// pack lays the weights out for a kernel, unless they are already. The one of the horizontal pass sums span pixels for
// every output, 6 or more; near the right edge they begin further left than the taps do, with weights of zero. It
// needs rows of at least so many pixels. The one of the vertical pass takes rows as they are counted.
func (ax *axis) pack(horizontal bool) bool {
	if ax.packed {
		return !horizontal || ax.span <= ax.in
	}
	ax.packed = true
	most, right := 0, ax.in
	for _, n := range ax.count {
		most = max(most, n)
	}
	ax.span = (most + 1) &^ 1
	if horizontal {
		ax.span = max(ax.span, 6)
		if ax.span > ax.in {
			return false
		}
		right = ax.in - ax.span
	}
	ax.start = sized(ax.start, ax.out)
	ax.parts = sized(ax.parts, 2*ax.span*ax.out)
	clear(ax.parts)
	for i, first := range ax.first {
		start := min(first, right)
		ax.start[i] = int32(start)
		parts := ax.parts[2*ax.span*i:][:2*ax.span]
		for j, w := range ax.weights[i*ax.taps:][:ax.count[i]] {
			at := first - start + j
			low := int16(w)
			parts[at/2*4+at%2] = low
			parts[at/2*4+at%2+2] = int16((w - int64(low)) >> 16)
		}
	}
	return true
}

// rowsByFour runs the horizontal pass over n rows, n >= 4. Rows that do not make four are done together with some that
// were done before.
func (r *resizer) rowsByFour(dst, src []byte, n int) {
	in, out := 3*r.h.in, 3*r.h.out
	for y := 0; y < n; y += 4 {
		y := min(y, n-4)
		fourRows(dst[out*y:], out, src[in*y:], in, &r.h)
	}
}

// columns makes output row y of the vertical pass; rows[0] is row first of the source.
func (r *resizer) columns(dst, rows []byte, first, y int) {
	n, v := len(dst), &r.v
	sumColumns(dst, rows[n*(v.first[y]-first):], n, v.parts[2*v.span*y:], v.count[y])
}

// bothByVector runs both passes, horizontal first. The rows of the horizontal pass are made shortly before the
// vertical one reads them.
func (r *resizer) bothByVector(dst, src []byte, y0, y1 int) {
	in, out := 3*r.h.in, 3*r.h.out
	n := y1 - y0
	r.rows = sized(r.rows, out*n)
	src = src[in*y0:]
	done := 0
	for y := range r.v.out {
		for need := r.v.first[y] + r.v.count[y] - y0; done < need; {
			at := min(done, n-4)
			fourRows(r.rows[out*at:], out, src[in*at:], in, &r.h)
			done = at + 4
		}
		r.columns(dst[out*y:][:out], r.rows, y0, y)
	}
}
