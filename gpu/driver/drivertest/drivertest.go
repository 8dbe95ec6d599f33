// Package drivertest is the definition of a correct back end: every operation of package driver against float64, at sizes
// that do not fit tiles and vectors, and the rule that a row's bits depend on nothing but the row. A back end's test is
//
//	func TestDriver(t *testing.T) { drivertest.Run(t, dev) }
package drivertest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"sower/gpu/driver"
)

// Option changes what the suite does.
type Option int

// Activations keeps operands and results in buffers of driver.Activation, as package gpu keeps the tensors of a pass: on a
// device opened for 16 bits, operands are rounded first and results may be off by half a unit more. Biases, weights of norms,
// tables, parameters, their gradients, logits and losses stay driver.F32. Without it all is driver.F32.
const Activations Option = 1

// Run runs the suite on a device. Results are allowed the rounding of float32 arithmetic in any order.
func Run(t *testing.T, dev driver.Device, options ...Option) { run(t, dev, float32bits, options) }

// RunBFloat16 runs the suite on a device opened for bfloat16: operands of products are rounded to it before they are
// compared, and then the same rounding is allowed.
func RunBFloat16(t *testing.T, dev driver.Device, options ...Option) {
	run(t, dev, bfloat16bits, options)
}

// RunFloat16 is RunBFloat16 for float16.
func RunFloat16(t *testing.T, dev driver.Device, options ...Option) {
	run(t, dev, float16bits, options)
}

func run(t *testing.T, dev driver.Device, narrow format, options []Option) {
	kept, stored := driver.F32, float32bits
	if slices.Contains(options, Activations) {
		kept, stored = driver.Activation, narrow
	}
	for _, c := range []struct {
		name string
		run  func(*suite)
	}{
		{"Transfers", transfers},
		{"MatMul", matMul},
		{"SetRows", setRows},
		{"BatchMatMul", batchMatMul},
		{"Linear", linear},
		{"Dense", dense},
		{"Attention", attention},
		{"Add", add},
		{"Apply", apply},
		{"LayerNorm", layerNorm},
		{"Softmax", softmax},
		{"Lookup", lookup},
		{"Nearest", nearest},
		{"Patches", patches},
		{"NotFinite", notFinite},
		{"MatMulInput", matMulInput},
		{"TransposedProducts", transposedProducts},
		{"RowSums", rowSums},
		{"ApplyGrad", applyGrad},
		{"NormGrads", normGrads},
		{"SoftmaxGrad", softmaxGrad},
		{"CrossEntropy", crossEntropy},
		{"AttentionGrad", attentionGrad},
		{"AdamW", adamW},
	} {
		t.Run(c.name, func(t *testing.T) {
			stream, err := dev.NewStream()
			if err != nil {
				t.Fatal(err)
			}
			s := &suite{T: t, dev: dev, narrow: narrow.round, kept: kept, stored: stored, Stream: stream, random: rand.New(rand.NewPCG(1, 2))}
			c.run(s)
			s.must(stream.Sync())
			s.must(stream.Close())
		})
	}
}

// suite is one test with a stream; buffers that it makes are freed at the end.
type suite struct {
	*testing.T
	driver.Stream
	dev    driver.Device
	narrow func(float32) float32 // rounds operands of products; nil if they are float32
	kept   driver.DType          // of operands and results
	stored format                // what the device makes of that
	random *rand.Rand
	before int // elements of a buffer before the next view; 0: by turns
	made   int // views so far
}

func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// fails wants an error of an operation, at once or from the next Sync.
func (s *suite) fails(what string, err error) {
	s.Helper()
	if err == nil {
		err = s.Sync()
	}
	if err == nil {
		s.Errorf("%s is no error", what)
	}
}

// values are n numbers of about normal distribution, as operands and results are stored.
func (s *suite) values(n int) []float32 { return s.round(s.parameters(n)) }

// parameters are n numbers of about normal distribution, in float32.
func (s *suite) parameters(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(s.random.NormFloat64())
	}
	return v
}

// round makes of v, in place, what is stored of it.
func (s *suite) round(v []float32) []float32 {
	if s.stored.round != nil {
		for i, x := range v {
			v[i] = s.stored.round(x)
		}
	}
	return v
}

// empty is a view of n elements of an operand or result that begins in the middle of a buffer full of NaN, so that what an
// operation forgets to write shows. Some views begin where vectors do and others do not: bits must not depend on that.
func (s *suite) empty(n int) driver.View {
	s.Helper()
	return s.emptyAs(s.kept, n)
}

func (s *suite) emptyAs(t driver.DType, n int) driver.View {
	s.Helper()
	const after = 5
	before := s.before
	if before == 0 {
		before = [...]int{3, 16, 1, 32, 8}[s.made%5]
		s.made++
	}
	buf, err := s.dev.Alloc(t, before+n+after)
	s.must(err)
	s.Cleanup(buf.Free)
	poison := make([]float32, before+n+after)
	for i := range poison {
		poison[i] = float32(math.NaN())
	}
	s.must(s.WriteF32(driver.View{Buf: buf, N: len(poison)}, poison))
	return driver.View{Buf: buf, Off: before, N: n}
}

func (s *suite) put(v []float32) driver.View {
	s.Helper()
	view := s.empty(len(v))
	s.must(s.WriteF32(view, v))
	return view
}

// putF32 is put for what stays float32.
func (s *suite) putF32(v []float32) driver.View {
	s.Helper()
	view := s.emptyAs(driver.F32, len(v))
	s.must(s.WriteF32(view, v))
	return view
}

func (s *suite) putIDs(v []int32) driver.View {
	s.Helper()
	buf, err := s.dev.Alloc(driver.I32, len(v)+1)
	s.must(err)
	s.Cleanup(buf.Free)
	view := driver.View{Buf: buf, Off: 1, N: len(v)}
	s.must(s.WriteI32(view, v))
	return view
}

func (s *suite) get(v driver.View) []float32 {
	s.Helper()
	out := make([]float32, v.N)
	s.must(s.ReadF32(out, v))
	return out
}

func (s *suite) getIDs(v driver.View) []int32 {
	s.Helper()
	out := make([]int32, v.N)
	s.must(s.ReadI32(out, v))
	return out
}

// matrix packs rows x cols values.
func (s *suite) matrix(rows, cols int, v []float32) driver.Matrix {
	s.Helper()
	return s.packed(rows, cols, v, false)
}

func (s *suite) packed(rows, cols int, v []float32, exact bool) driver.Matrix {
	s.Helper()
	kind := driver.Weight
	if exact {
		kind = driver.Exact
	}
	m, err := s.dev.NewMatrix(rows, cols, kind)
	s.must(err)
	s.Cleanup(m.Free)
	s.must(m.SetRows(0, v))
	return m
}

// near fails if what was stored and want differ by more than bound times the largest |want|, and half a unit of what the
// device stores.
func (s *suite) near(what string, got []float32, want []float64, bound float64) {
	s.Helper()
	s.nearF32(what, got, want, bound+s.stored.half)
}

// nearF32 is near for a result that stays float32.
func (s *suite) nearF32(what string, got []float32, want []float64, bound float64) {
	s.Helper()
	most := 0.0
	for _, w := range want {
		most = max(most, math.Abs(w))
	}
	for i, w := range want {
		if d := math.Abs(float64(got[i]) - w); !(d <= bound*most) {
			s.Fatalf("%s: element %d is %g, want %g: off by %.2g of the largest, allowed %.2g", what, i, got[i], w, d/most, bound)
		}
	}
}

// same fails unless the bits are equal.
func (s *suite) same(what string, got, want []float32) {
	s.Helper()
	if len(got) != len(want) {
		s.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			s.Fatalf("%s: element %d is %g, want the same bits as %g", what, i, got[i], want[i])
		}
	}
}

// rowwise fails if an operation on rows gives a row other bits alone, or among fewer rows, than among all.
func (s *suite) rowwise(what string, cols int, x, y []float32, run func(x []float32) []float32) {
	s.Helper()
	rows := len(x) / cols
	width := len(y) / rows
	for _, part := range [][2]int{{0, 1}, {rows - 1, rows}, {rows / 2, rows/2 + 1}, {rows / 3, rows}} {
		if part[0] < part[1] && part[1] <= rows {
			s.same(fmt.Sprintf("%s: rows %d to %d of %d alone", what, part[0], part[1], rows), run(x[part[0]*cols:part[1]*cols]),
				y[part[0]*width:part[1]*width])
		}
	}
}

func transfers(s *suite) {
	x := s.values(101)
	v := s.put(x)
	s.same("read", s.get(v), x)
	part := driver.View{Buf: v.Buf, Off: v.Off + 7, N: 13}
	s.same("read a part", s.get(part), x[7:20])

	buf, err := s.dev.Alloc(driver.U8, 9)
	s.must(err)
	defer buf.Free()
	bytes := driver.View{Buf: buf, Off: 2, N: 5}
	s.must(s.WriteU8(bytes, []byte("sower")))
	got := make([]byte, 5)
	s.must(s.ReadU8(got, bytes))
	if string(got) != "sower" {
		s.Errorf("bytes came back as %q", got)
	}

	table := s.parameters(10)
	row := s.empty(len(table))
	s.must(s.Copy(row, 0, s.putF32(table), 0, 1, len(table)))
	s.same("copy of a parameter", s.get(row), s.round(table))

	y := s.empty(3 * 10)
	s.must(s.Copy(y, 10, v, 20, 3, 10))
	s.same("copy", s.get(y), append(append(append([]float32{}, x[:10]...), x[20:30]...), x[40:50]...))
	for _, size := range [][2]int{{1, 70001}, {3, 20011}} { // more than one thread's share
		rows, cols := size[0], size[1]
		from := s.values(rows * (cols + 5))
		to := s.put(make([]float32, rows*(cols+3)))
		s.must(s.Copy(to, cols+3, s.put(from), cols+5, rows, cols))
		want := make([]float32, rows*(cols+3))
		for r := range rows {
			copy(want[r*(cols+3):], from[r*(cols+5):][:cols])
		}
		s.same(fmt.Sprintf("copy of %v", size), s.get(to), want)
	}
	s.must(s.Copy(y, 10, v, 0, 3, 10))
	s.same("copy of one row", s.get(y), append(append(append([]float32{}, x[:10]...), x[:10]...), x[:10]...))
}
