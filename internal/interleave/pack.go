package interleave

import (
	"cmp"
	"math/bits"
	"slices"
)

// pack puts sequences into rows of at most context ids by best fit decreasing: the longest first, each into the row with the
// least room that still holds it. lengths are of the sequences in their final order; the result lists, for each row, the
// indices of its sequences in ascending order, and rows are in the order of their first sequence. It depends on lengths alone.
func pack(lengths []int, context int) [][]int {
	order := make([]int, len(lengths))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(lengths[b], lengths[a]) })
	var rows [][]int
	open := newRooms(context)
	for _, i := range order {
		n := lengths[i]
		room, row := open.take(n)
		if row < 0 {
			room, row = context, len(rows)
			rows = append(rows, nil)
		}
		rows[row] = append(rows[row], i)
		if left := room - n; left > 0 {
			open.put(left, row)
		}
	}
	for _, r := range rows {
		slices.Sort(r)
	}
	slices.SortFunc(rows, func(a, b []int) int { return cmp.Compare(a[0], b[0]) })
	return rows
}

// rooms keeps rows by the room that they have left, with a bitmap over the sizes that occur.
type rooms struct {
	bySize [][]int
	bitmap []uint64
}

func newRooms(context int) *rooms {
	return &rooms{bySize: make([][]int, context+1), bitmap: make([]uint64, context/64+1)}
}

func (r *rooms) put(size, row int) {
	r.bySize[size] = append(r.bySize[size], row)
	r.bitmap[size/64] |= 1 << (size % 64)
}

// take removes a row with the least room that is at least n; row is -1 if there is none.
func (r *rooms) take(n int) (size, row int) {
	for w := n / 64; w < len(r.bitmap); w++ {
		word := r.bitmap[w]
		if w == n/64 {
			word &= ^uint64(0) << (n % 64)
		}
		if word == 0 {
			continue
		}
		size = w*64 + bits.TrailingZeros64(word)
		list := r.bySize[size]
		row = list[len(list)-1]
		r.bySize[size] = list[:len(list)-1]
		if len(list) == 1 {
			r.bitmap[w] &^= 1 << (size % 64)
		}
		return size, row
	}
	return 0, -1
}
