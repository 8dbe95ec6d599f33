package drivertest

import (
	"sower/gpu/driver"
)

func lookup(s *suite) {
	const rows, cols = 11, 5
	table := s.parameters(rows * cols)
	chosen := []int32{10, 0, 3, 3, 7}
	y := s.empty(len(chosen) * cols)
	s.must(s.Lookup(y, s.putF32(table), s.putIDs(chosen), cols))
	var want []float32
	for _, id := range chosen {
		want = append(want, table[int(id)*cols:][:cols]...)
	}
	s.same("rows", s.get(y), s.round(want))
}

func nearest(s *suite) {
	for _, c := range [][3]int{{1, 1, 1}, {5, 17, 3}, {32, 512, 32}, {33, 1000, 8}, {64, 513, 300}} {
		n, k, d := c[0], c[1], c[2]
		table, x := s.parameters(k*d), s.values(n*d)
		// Equal rows, far apart, and vectors that lie on them: ties go to the lowest number.
		copy(table[(k-1)*d:], table[(k/3)*d:][:d])
		copy(x[(n-1)*d:], table[(k-1)*d:])
		x = s.round(x)
		norms := make([]float32, k)
		for i, v := range table {
			norms[i/d] += v * v
		}
		packed, lengths := s.packed(k, d, table, true), s.putF32(norms)
		run := func(x []float32) []int32 {
			ids := s.putIDs(make([]int32, len(x)/d))
			s.must(s.Nearest(ids, s.put(x), packed, lengths))
			return s.getIDs(ids)
		}
		got := run(x)
		if got[n-1] != int32(k/3) {
			s.Fatalf("%v: a tie of %d and %d went to %d", c, k/3, k-1, got[n-1])
		}
		for i := range n {
			// Where every step is rounded to float16, as the published float16 tokenizer does, each of two distances may be off
			// by half a unit of squares, products, sum and difference.
			scale := 0.0
			if s.stored.half == float16bits.half {
				for q := range d {
					scale += float64(x[i*d+q]) * float64(x[i*d+q]) * 16 * s.stored.half
				}
			}
			distance := func(row int) float64 {
				sum := 0.0
				for q := range d {
					e := float64(x[i*d+q]) - float64(table[row*d+q])
					sum += e * e
				}
				return sum
			}
			best := 0
			for row := range k {
				if distance(row) < distance(best) {
					best = row
				}
			}
			if int(got[i]) != best && distance(int(got[i])) > distance(best)*(1+1e-4)+1e-4+scale {
				s.Fatalf("%v: row %d is nearest to %d, want %d", c, i, got[i], best)
			}
			if alone := run(x[i*d : (i+1)*d]); alone[0] != got[i] {
				s.Fatalf("%v: row %d is nearest to %d alone and %d among others", c, i, alone[0], got[i])
			}
		}
	}
}

func patches(s *suite) {
	const n, size, patch = 2, 6, 3
	image := make([]byte, n*size*size*3)
	for i := range image {
		image[i] = byte(s.random.Uint32())
	}
	table := s.parameters(3 * 256)
	buf, err := s.dev.Alloc(driver.U8, len(image))
	s.must(err)
	defer buf.Free()
	view := driver.View{Buf: buf, N: len(image)}
	s.must(s.WriteU8(view, image))
	y := s.empty(len(image))
	s.must(s.Patches(y, view, s.putF32(table), n, size, patch))
	got, table := s.get(y), s.round(table)
	const side = size / patch
	for i := range n {
		for p := range side * side {
			for c := range 3 {
				for r := range patch {
					for q := range patch {
						pixel := image[((i*size+p/side*patch+r)*size+p%side*patch+q)*3+c]
						at := (((i*side*side+p)*3+c)*patch+r)*patch + q
						if got[at] != table[c*256+int(pixel)] {
							s.Fatalf("image %d, patch %d, channel %d, row %d, column %d is %g, want %g", i, p, c, r, q,
								got[at], table[c*256+int(pixel)])
						}
					}
				}
			}
		}
	}
}
