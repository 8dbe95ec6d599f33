package cpu

import "fmt"

// The sizes of a tile, fixed by the 16 vector registers of AVX2; see gen/gemm.go.
const (
	tileRows = 6
	tileCols = 16
)

// matrix is a weight [rows][cols] as panels of 16 rows: [rows/16][k4][16], k4 = cols rounded up to a multiple of 4. What
// is beyond rows and cols is 0.
type matrix struct {
	rows, cols, k4 int
	panels         []float32
}

func newMatrix(rows, cols int) *matrix {
	k4 := roundUp(cols, 4)
	return &matrix{rows: rows, cols: cols, k4: k4, panels: aligned(roundUp(rows, tileCols) * k4)}
}

func (m *matrix) SetRows(row int, data []float32) error {
	if row%tileCols != 0 {
		return fmt.Errorf("cpu: set rows from row %d, want a multiple of %d", row, tileCols)
	}
	n := len(data) / m.cols
	if n%tileCols != 0 && row+n != m.rows {
		return fmt.Errorf("cpu: set %d rows, want a multiple of %d or all to the end", n, tileCols)
	}
	for r := 0; r < n; r += tileCols {
		packTransposed(m.panels[(row+r)*m.k4:][:tileCols*m.k4], data[r*m.cols:], m.cols, min(tileCols, n-r), m.cols)
	}
	return nil
}

func (m *matrix) Free() { m.panels = nil }

// packTransposed packs up to 16 rows of k elements, stride apart, into a panel [k4][16] whose columns they become.
func packTransposed(panel, src []float32, stride, rows, k int) {
	r := 0
	for ; r+8 <= rows; r += 8 {
		done := transposeEight(panel[r:], src[r*stride:], stride, k)
		for ; done < k; done++ {
			for q := r; q < r+8; q++ {
				panel[done*tileCols+q] = src[q*stride+done]
			}
		}
	}
	for ; r < rows; r++ {
		for i, v := range src[r*stride:][:k] {
			panel[i*tileCols+r] = v
		}
	}
	if rows < tileCols {
		for i := range k {
			clear(panel[i*tileCols+rows : (i+1)*tileCols])
		}
	}
	clear(panel[k*tileCols:])
}

// packStraight packs k rows of up to 16 elements, stride apart, into a panel [k4][16].
func packStraight(panel, src []float32, stride, cols, k int) {
	if cols < tileCols || !packColumns(panel, src, stride, k) {
		for i := range k {
			to := panel[i*tileCols:][:tileCols]
			clear(to[copy(to, src[i*stride:][:cols]):])
		}
	}
	clear(panel[k*tileCols:])
}

// packRows packs rows of k elements, stride apart, into [rows/6][k4/4][6][4], zeros beyond rows and k. dst has room for
// whole groups of 6.
func packRows(dst, src []float32, stride, rows, k int) {
	k4 := roundUp(k, 4)
	for r := 0; r < rows; r += tileRows {
		to := dst[r*k4:][:tileRows*k4]
		if rows-r >= tileRows {
			done := packSixRows(to, src[r*stride:], stride, k)
			for q := range tileRows {
				packRow(to, src[(r+q)*stride:][:k], q, done, k4)
			}
			continue
		}
		clear(to)
		for q := range rows - r {
			packRow(to, src[(r+q)*stride:][:k], q, 0, k4)
		}
	}
}

// packRow packs one row from element i on, as row q of its group.
func packRow(to, row []float32, q, i, k4 int) {
	for ; i < k4; i += 4 {
		group := to[i*tileRows+q*4:][:4]
		clear(group[copy(group, row[min(i, len(row)):]):])
	}
}

func roundUp(x, m int) int { return (x + m - 1) / m * m }

// tilePortable is tile in Go, 2 x 4 outputs at a time: as many as keep their sums in registers.
func tilePortable(k4 int, a, b, c []float32, stride int, accumulate bool) {
	for r := 0; r < tileRows; r += 2 {
		for j := 0; j < tileCols; j += 4 {
			var c00, c01, c02, c03, c10, c11, c12, c13 float32
			for s := range k4 {
				a0, a1 := a[s*24+r*4:][:4], a[s*24+r*4+4:][:4]
				for q := range 4 {
					x, y := a0[q], a1[q]
					v := b[(s*4+q)*tileCols+j:][:4]
					c00 += x * v[0]
					c01 += x * v[1]
					c02 += x * v[2]
					c03 += x * v[3]
					c10 += y * v[0]
					c11 += y * v[1]
					c12 += y * v[2]
					c13 += y * v[3]
				}
			}
			to0, to1 := c[r*stride+j:][:4], c[(r+1)*stride+j:][:4]
			if accumulate {
				c00, c01, c02, c03 = to0[0]+c00, to0[1]+c01, to0[2]+c02, to0[3]+c03
				c10, c11, c12, c13 = to1[0]+c10, to1[1]+c11, to1[2]+c12, to1[3]+c13
			}
			to0[0], to0[1], to0[2], to0[3] = c00, c01, c02, c03
			to1[0], to1[1], to1[2], to1[3] = c10, c11, c12, c13
		}
	}
}
