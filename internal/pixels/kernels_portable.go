//go:build !amd64 || purego

package pixels

const avx2 = false

func fourRows([]byte, int, []byte, int, *axis) { panic("pixels: no vector kernels") }

func sumColumns(_, _ []byte, _ int, _ []int16, _ int) { panic("pixels: no vector kernels") }

func inverse(dst []byte, stride int, coefs *[64]int16, quant *[64]uint16, nonzero uint64) {
	inversePlain(dst, stride, coefs, quant, nonzero)
}

func sumRows(sums []uint16, near, far []byte) { sumRowsPlain(sums, near, far) }

func doubleSums(buf []byte, s []uint16) { doubleSumsPlain(buf, s) }

func doubleRow(buf, s []byte) { doubleRowPlain(buf, s) }

func yccRow(o, y, cb, cr []byte) { yccPlain(o, y, cb, cr) }

func webpColorRow(o, y, u, v []byte) { webpColorPlain(o, y, u, v) }

func webpBetween(o, near, far []byte) { webpBetweenPlain(o, near, far) }

func paethRow(_, _ []byte, _ int) int { return 0 }
