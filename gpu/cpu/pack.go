package cpu

import "math"

// Packing lays operands out in the order in which tiles read them. Rows of the first factor: groups of h rows, each
// [steps/4][h][4]; the group that begins at row r begins at element r·steps. Columns of the second: panels
// [steps][width]. What is beyond k and beyond the last column is 0.

// packer packs for one kind of kernels. Its scratch memory holds rows on their way to bfloat16.
type packer struct {
	*kernels
	scratch []float32
}

// rows packs rows of k elements, stride apart.
func (p *packer) rows(dst, src []float32, stride, rows, k int) {
	steps := p.steps(k)
	for r := 0; r < rows; {
		h := p.height(rows - r)
		for q := range h {
			p.row(dst[r*steps+q*4:], src[(r+q)*stride:][:k], h, steps)
		}
		r += h
	}
}

// row packs one row into its places of a group of h.
func (p *packer) row(dst, row []float32, h, steps int) {
	if p.pairs {
		row = p.narrowed(row)
	}
	for i := packRow(dst, row, h); i < steps; i += 4 {
		group := dst[i*h:][:4]
		clear(group[copy(group, row[min(i, len(row)):]):])
	}
}

// columnsAsRows packs the first rows columns of src [k][·] as rows.
func (p *packer) columnsAsRows(dst, src []float32, stride, rows, k int) {
	if p.pairs {
		panic("cpu: columns as rows in bfloat16") // gradients are float32
	}
	steps := p.steps(k)
	for r := 0; r < rows; {
		h := p.height(rows - r)
		to := dst[r*steps:][:h*steps]
		q := 0
		for ; q < h && h >= 4; q += 4 {
			q = min(q, h-4) // the last four again, rather than what is left of them one by one
			done := packFourColumns(to[q*4:], src[r+q:], stride, k, h)
			for i := done; i < steps; i++ {
				for c := range 4 {
					v := float32(0)
					if i < k {
						v = src[i*stride+r+q+c]
					}
					to[(i/4*h+q+c)*4+i%4] = v
				}
			}
		}
		for ; q < h; q++ {
			for i := range steps {
				v := float32(0)
				if i < k {
					v = src[i*stride+r+q]
				}
				to[(i/4*h+q)*4+i%4] = v
			}
		}
		r += h
	}
}

// panels packs n columns of b [k][·] from column j0 on, or n rows of b [·][k] from row j0 on.
func (p *packer) panels(dst, b []float32, stride, j0, n, k int, transposed bool) {
	steps := p.steps(k)
	for j := 0; j < n; j += p.width {
		panel, w := dst[j*steps:][:p.width*steps], min(p.width, n-j)
		if transposed {
			p.transposed(panel, b[(j0+j)*stride:], stride, w, k)
		} else {
			p.straight(panel, b[j0+j:], stride, w, k)
		}
	}
}

// transposed packs up to width rows of k elements, stride apart, into a panel whose columns they become.
func (p *packer) transposed(panel, src []float32, stride, rows, k int) {
	if p.pairs {
		words := (k + 1) / 2
		narrow := p.room(rows * words)
		for r := range rows {
			narrowRow(narrow[r*words:][:words], src[r*stride:][:k])
		}
		src, stride, k = narrow, words, words
	}
	r, width := 0, p.width
	for ; r+8 <= rows; r += 8 {
		done := transposeEight(panel[r:], src[r*stride:], stride, k, width)
		for ; done < k; done++ {
			for q := r; q < r+8; q++ {
				panel[done*width+q] = src[q*stride+done]
			}
		}
	}
	for ; r < rows; r++ {
		for i, v := range src[r*stride:][:k] {
			panel[i*width+r] = v
		}
	}
	if rows < width {
		for i := range k {
			clear(panel[i*width+rows : (i+1)*width])
		}
	}
	clear(panel[k*width:])
}

// straight packs k rows of up to width elements, stride apart, into a panel.
func (p *packer) straight(panel, src []float32, stride, cols, k int) {
	width, steps := p.width, k
	if p.pairs {
		steps = (k + 1) / 2
	}
	c := 0
	for ; c+16 <= cols; c += 16 {
		if p.pairs {
			done := pairColumns(panel[c:], src[c:], stride, k/2, width)
			p.pair(panel[c:], src[c:], stride, done, steps, k, 16)
			continue
		}
		if !packColumns(panel[c:], src[c:], stride, k, width) {
			for i := range k {
				copy(panel[i*width+c:][:16], src[i*stride+c:])
			}
		}
	}
	if p.pairs {
		p.pair(panel[c:], src[c:], stride, 0, steps, k, cols-c)
	} else {
		for i := range k {
			copy(panel[i*width+c:], src[i*stride+c:][:cols-c])
		}
	}
	if cols < width {
		for i := range steps {
			clear(panel[i*width+cols : (i+1)*width])
		}
	}
	clear(panel[steps*width:])
}

// pair writes pairs of rows, from step i on, to cols columns of a panel as bfloat16.
func (p *packer) pair(panel, src []float32, stride, i, steps, k, cols int) {
	for ; i < steps; i++ {
		for c := range cols {
			word := uint32(bfloat16(src[2*i*stride+c]))
			if 2*i+1 < k {
				word |= uint32(bfloat16(src[(2*i+1)*stride+c])) << 16
			}
			panel[i*p.width+c] = math.Float32frombits(word)
		}
	}
}

// narrowed is a row in bfloat16, two elements in one.
func (p *packer) narrowed(row []float32) []float32 {
	words := p.room((len(row) + 1) / 2)
	narrowRow(words, row)
	return words
}

func (p *packer) room(n int) []float32 {
	if cap(p.scratch) < n {
		p.scratch = aligned(n)
	}
	return p.scratch[:n]
}
