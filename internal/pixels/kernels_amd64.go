//go:build amd64 && !purego

package pixels

import "golang.org/x/sys/cpu"

// avx2 says that the processor and the operating system have what the kernels need. Tests turn it off to run the plain
// path. Both give the same bytes.
var avx2 = cpu.X86.HasAVX2

// fourRows makes four output rows of the horizontal pass from four source rows; ax is packed for it.
func fourRows(dst []byte, dstStride int, src []byte, srcStride int, ax *axis) {
	_, _ = dst[:3*dstStride+3*ax.out], src[:3*srcStride+3*ax.in]
	resizeRowsAVX2(ax.out, &dst[0], dstStride, &src[0], srcStride, &ax.start[0], &ax.parts[0], ax.span)
}

// sumColumns makes an output row of the vertical pass, 32 bytes or more, from taps rows of src.
func sumColumns(dst, src []byte, stride int, parts []int16, taps int) {
	_, _ = src[:(taps-1)*stride+len(dst)], parts[:4*((taps+1)/2)]
	resizeColumnsAVX2(len(dst), &dst[:32][0], &src[0], stride, &parts[0], taps)
}

// inverse writes the samples of a block of coefficients. nonzero is its map of coefficients that are not 0, or 0 if
// that is not known.
func inverse(dst []byte, stride int, coefs *[64]int16, quant *[64]uint16, nonzero uint64) {
	if !avx2 {
		inversePlain(dst, stride, coefs, quant, nonzero)
		return
	}
	_ = dst[:7*stride+8]
	inverseAVX2(&dst[0], stride, &coefs[0], &quant[0])
}

// sumRows writes 3*near + far.
func sumRows(sums []uint16, near, far []byte) {
	n := len(near)
	if !avx2 || n < 16 {
		sumRowsPlain(sums, near, far)
		return
	}
	_, _ = sums[:n], far[:n]
	sumRowsAVX2(n, &sums[0], &near[0], &far[0])
}

// doubleSums doubles a row of at least three vertical sums (3*near + far) and divides by 16.
func doubleSums(buf []byte, s []uint16) {
	n := len(s) - 2 // the first and the last one have one neighbour
	if !avx2 || n < 16 {
		doubleSumsPlain(buf, s)
		return
	}
	buf = buf[:2*len(s)]
	doubleSumsEnds(buf, s)
	doubleSumsAVX2(n, &buf[2], &s[1])
}

// doubleRow doubles a row of at least three samples: 3:1 of the nearer and the farther one.
func doubleRow(buf, s []byte) {
	n := len(s) - 2
	if !avx2 || n < 16 {
		doubleRowPlain(buf, s)
		return
	}
	buf = buf[:2*len(s)]
	doubleRowEnds(buf, s)
	doubleRowAVX2(n, &buf[2], &s[1])
}

// yccRow converts a row of YCbCr to RGB.
func yccRow(o, y, cb, cr []byte) {
	n := len(y)
	if !avx2 || n < 32 {
		yccPlain(o, y, cb, cr)
		return
	}
	_, _, _ = o[:3*n], cb[:n], cr[:n]
	yccRowAVX2(n, &o[0], &y[0], &cb[0], &cr[0])
}

// webpColorRow converts a row of WebP's YUV to RGB.
func webpColorRow(o, y, u, v []byte) {
	n := len(y)
	if !avx2 || n < 32 {
		webpColorPlain(o, y, u, v)
		return
	}
	_, _, _ = o[:3*n], u[:n], v[:n]
	colorWebPAVX2(n, &o[0], &y[0], &u[0], &v[0])
}

// webpBetween makes the samples between neighbours of two chroma rows, 2*(len(near)-1) of them.
func webpBetween(o, near, far []byte) {
	n := len(near) - 1
	if !avx2 || n < 16 {
		webpBetweenPlain(o, near, far)
		return
	}
	_, _ = o[:2*n], far[:n+1]
	upsampleWebPAVX2(n, &o[0], &near[0], &far[0])
}

// paethRow undoes the Paeth filter in the first pixels of a row and returns how many bytes that were.
func paethRow(row, above []byte, step int) int {
	n := (len(row) - 4) / step
	if !avx2 || step != 3 && step != 4 || n < 1 {
		return 0
	}
	_ = above[:len(row)]
	paethAVX2(n, &row[0], &above[0], step)
	return n * step
}
