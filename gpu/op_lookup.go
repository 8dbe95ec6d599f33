package gpu

import "fmt"

// Patches cuts images [B S S 3] of U8 into squares of patch x patch pixels, row by row and left to right, and returns
// them as rows [B P 3·patch·patch], each ordered as channel, row, column (the order of a convolution's weight). Byte v of
// channel c becomes table[c][v]; table is F32 [3 256].
func (p *Pass) Patches(images, table *Tensor, patch int) *Tensor {
	if !p.want("patches", U8, images) || !p.want("patches", F32, table) {
		return placeholder
	}
	if images.rank != 4 || images.Dim(1) != images.Dim(2) || images.Dim(3) != 3 || table.Len() != 3*256 ||
		patch < 1 || images.Dim(1)%patch != 0 {
		return p.fail("patches", fmt.Errorf("want images [B S S 3], S a multiple of %d, and a table [3 256]", patch), images, table)
	}
	n, size := images.Dim(0), images.Dim(1)
	side := size / patch
	y := p.alloc("patches", F32, n, side*side, 3*patch*patch)
	if p.err == nil {
		p.fail("patches", p.stream.Patches(y.view(), images.view(), table.view(), n, size, patch), images)
	}
	return y
}

// Lookup returns the rows of table [K C], which may be packed, that ids [..] name: [.. C]. An id outside the table is an error.
func (p *Pass) Lookup(table, ids *Tensor) *Tensor {
	if !table.Packed() && !p.want("lookup", F32, table) || !p.want("lookup", I32, ids) {
		return placeholder
	}
	if table.rank != 2 || ids.rank >= maxRank {
		return p.fail("lookup", fmt.Errorf("want a table [K C] and ids of up to %d axes", maxRank-1), table, ids)
	}
	var dims [maxRank]int
	n := copy(dims[:], ids.Shape())
	dims[n] = table.cols()
	y := p.alloc("lookup", F32, dims[:n+1]...)
	if p.err != nil {
		return placeholder
	}
	if table.Packed() {
		p.fail("lookup", p.stream.LookupMatrix(y.view(), table.matrix, ids.view()), table, ids)
		return y
	}
	p.fail("lookup", p.stream.Lookup(y.view(), table.view(), ids.view(), table.cols()), table, ids)
	if p.tracks(y, table) {
		p.note("lookup", y, func(dy *Tensor) error {
			rows := make([]int32, dy.rows())
			for i := range rows {
				rows[i] = int32(i)
			}
			from := p.IDs(rows, len(rows))
			if p.err != nil {
				return nil // kept in the pass
			}
			return p.addRows(table, dy, ids, from)
		})
	}
	return y
}

// Nearest returns, for each row z of x [.. C], the number of the row E of a packed table [K C] with the least squared
// distance (|z|²+|E|²) - 2·z·E, the lowest number on ties: I32 [..]. norms [K] holds |E|². Rows that are not finite get
// some number.
func (p *Pass) Nearest(x, table, norms *Tensor) *Tensor {
	if !p.want("nearest", F32, x, norms) {
		return placeholder
	}
	if !table.Packed() || table.cols() != x.cols() || norms.Len() != table.Dim(0) || x.rank < 2 {
		return p.fail("nearest", fmt.Errorf("want x [.. C], a packed table [K C] and norms [K]"), x, table, norms)
	}
	y := p.alloc("nearest", I32, x.dims[:x.rank-1]...)
	if p.err == nil {
		p.fail("nearest", p.stream.Nearest(y.view(), x.view(), table.matrix, norms.view()), x, table)
	}
	return y
}
