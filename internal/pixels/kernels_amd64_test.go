//go:build amd64 && linux && !purego

package pixels

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"unsafe"
)

// arena hands out memory that begins or ends at a page that must not be touched, so that a kernel which reads or writes
// outside its slices crashes.
type arena struct {
	t     testing.TB
	atEnd bool
}

func (a arena) bytes(n int) []byte {
	page := syscall.Getpagesize()
	size := max(1, (n+page-1)/page) * page
	m, err := syscall.Mmap(-1, 0, size+2*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { syscall.Munmap(m) })
	for _, guard := range [][]byte{m[:page], m[page+size:]} {
		if err := syscall.Mprotect(guard, syscall.PROT_NONE); err != nil {
			a.t.Fatal(err)
		}
	}
	if a.atEnd {
		return m[page+size-n : page+size : page+size]
	}
	return m[page : page+n : page+n]
}

func (a arena) words(n int) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(a.bytes(2*n)))), n)
}

// fill writes one of several kinds of extreme or random samples.
func fill(b []byte, kind int, r *rand.Rand) []byte {
	for i := range b {
		switch kind % 4 {
		case 0:
			b[i] = byte(r.Uint32())
		case 1:
			b[i] = byte(-(r.Uint32() & 1)) // 0 or 255
		case 2:
			b[i] = 255
		case 3:
			b[i] = 0
		}
	}
	return b
}

// everyKernel runs f with assembly for both ends of memory, all kinds of samples and lengths from least on.
func everyKernel(t *testing.T, least int, f func(a arena, n, kind int, r *rand.Rand)) {
	if !avx2 {
		t.Skip("no AVX2")
	}
	r := rand.New(rand.NewPCG(5, 6))
	for n := least; n < 140; n++ {
		a := arena{t, n%2 == 0}
		for kind := range 4 {
			f(a, n, kind, r)
			a.atEnd = !a.atEnd
		}
	}
}

func same[T comparable](t *testing.T, n, kind int, got, want []T) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("length %d, kind %d:\n%v, plain\n%v", n, kind, got, want)
	}
}

func TestColorKernels(t *testing.T) {
	for name, f := range map[string][2]func(o, y, u, v []byte){
		"ycc": {yccRow, yccPlain}, "webp": {webpColorRow, webpColorPlain},
	} {
		t.Run(name, func(t *testing.T) {
			everyKernel(t, 1, func(a arena, n, kind int, r *rand.Rand) {
				y, u, v := fill(a.bytes(n), kind, r), fill(a.bytes(n), kind, r), fill(a.bytes(n), kind, r)
				got, want := a.bytes(3*n), make([]byte, 3*n)
				f[0](got, y, u, v)
				f[1](want, y, u, v)
				same(t, n, kind, got, want)
			})
			// Every triple of samples.
			const n = 256
			y, u, v := make([]byte, n), make([]byte, n), make([]byte, n)
			for i := range y {
				y[i] = byte(i)
			}
			got, want := make([]byte, 3*n), make([]byte, 3*n)
			for i := range 1 << 16 {
				for j := range u {
					u[j], v[j] = byte(i), byte(i>>8)
				}
				f[0](got, y, u, v)
				f[1](want, y, u, v)
				if !bytes.Equal(got, want) {
					t.Fatalf("u %d, v %d", byte(i), i>>8)
				}
				if testing.Short() {
					y, u, v = y[:32], u[:32], v[:32]
					got, want = got[:96], want[:96]
				}
			}
		})
	}
}

func TestUpsampleKernels(t *testing.T) {
	everyKernel(t, 3, func(a arena, n, kind int, r *rand.Rand) {
		near, far := fill(a.bytes(n), kind, r), fill(a.bytes(n), kind>>1, r)
		sums, sumsWant := a.words(n), make([]uint16, n)
		sumRows(sums, near, far)
		sumRowsPlain(sumsWant, near, far)
		same(t, n, kind, sums, sumsWant)

		got, want := a.bytes(2*n), make([]byte, 2*n)
		doubleSums(got, sums)
		doubleSumsPlain(want, sums)
		same(t, n, kind, got, want)

		doubleRow(got, near)
		doubleRowPlain(want, near)
		same(t, n, kind, got, want)

		got, want = a.bytes(2*n-2), make([]byte, 2*n-2)
		webpBetween(got, near, far)
		webpBetweenPlain(want, near, far)
		same(t, n, kind, got, want)
	})
}

// checkInverse compares the inverse DCT of one block.
func checkInverse(t testing.TB, a arena, coefs *[64]int16, quant *[64]uint16) {
	t.Helper()
	const stride = 11
	got, want := a.bytes(7*stride+8), make([]byte, 7*stride+8)
	inverse(got, stride, coefs, quant, 0)
	inversePlain(want, stride, coefs, quant, 0)
	if !bytes.Equal(got, want) {
		t.Fatalf("%v, plain %v for coefficients %v, quantizers %v", got, want, *coefs, *quant)
	}
}

func TestInverseKernel(t *testing.T) {
	if !avx2 {
		t.Skip("no AVX2")
	}
	r := rand.New(rand.NewPCG(7, 8))
	extremes := []int16{-1 << 15, -1<<15 + 1, -1, 1, 1<<15 - 1, 8191, -8192, 1 << 14, -1 << 14}
	for n := range 20000 {
		var coefs [64]int16
		var quant [64]uint16
		reach := []int{1, 8, 16, 64}[n%4]
		bits := n / 4 % 16
		for range 1 + r.IntN(reach) {
			at := r.IntN(reach)
			if n%3 == 0 {
				coefs[at] = extremes[r.IntN(len(extremes))]
			} else {
				coefs[at] = int16(r.Uint32()) >> bits
			}
		}
		for i := range quant {
			switch n / 64 % 4 {
			case 0:
				quant[i] = 1
			case 1:
				quant[i] = uint16(1 + r.IntN(255))
			case 2:
				quant[i] = uint16(r.Uint32())
			case 3:
				quant[i] = uint16(r.Uint32()) & 1
			}
		}
		// Few distinct pages: a mapping per block would be slow.
		if n%16 == 0 {
			checkInverse(t, arena{t, n%32 == 0}, &coefs, &quant)
			continue
		}
		var got, want [64]byte
		inverse(got[:], 8, &coefs, &quant, 0)
		inversePlain(want[:], 8, &coefs, &quant, 0)
		if got != want {
			t.Fatalf("%v, plain %v for coefficients %v, quantizers %v", got, want, coefs, quant)
		}
	}
}

// FuzzInverse compares the inverse DCT with its plain form for any coefficients and quantizers.
func FuzzInverse(f *testing.F) {
	f.Add([]byte{0, 0x80, 1, 0, 0xff, 0x7f, 0xff, 0xff})
	f.Add(bytes.Repeat([]byte{0xff, 0x7f, 1, 0}, 64))
	f.Fuzz(func(t *testing.T, data []byte) {
		var coefs [64]int16
		var quant [64]uint16
		for i := range 64 {
			if len(data) < 4 {
				break
			}
			coefs[i] = int16(binary.LittleEndian.Uint16(data))
			quant[i] = binary.LittleEndian.Uint16(data[2:])
			data = data[4:]
		}
		var got, want [64]byte
		inverse(got[:], 8, &coefs, &quant, 0)
		inversePlain(want[:], 8, &coefs, &quant, 0)
		if got != want {
			t.Fatalf("%v, plain %v", got, want)
		}
	})
}

// anyAxis has random weights whose sums just fit in 32 bits.
func anyAxis(in, out int, r *rand.Rand) axis {
	ax := axis{in: in, out: out, taps: 1 + r.IntN(min(in, 15))}
	for range out {
		n := 1 + r.IntN(ax.taps)
		ax.count = append(ax.count, n)
		ax.first = append(ax.first, r.IntN(in-n+1))
		weights := make([]int64, ax.taps)
		most := (1<<31 - 1<<(weightBits-1) - 1) / 255 / n
		for i := range n {
			if weights[i] = int64(r.IntN(2*most+1) - most); r.IntN(3) == 0 {
				weights[i] = int64([]int{most, -most}[r.IntN(2)])
			}
		}
		ax.weights = append(ax.weights, weights...)
	}
	return ax
}

func TestResizeKernels(t *testing.T) {
	everyKernel(t, 1, func(a arena, n, kind int, r *rand.Rand) {
		in := 1 + r.IntN(40)
		res := resizer{h: anyAxis(in, n, r)}
		src := fill(a.bytes(4*3*in), kind, r)
		if res.h.pack(true) {
			got, want := a.bytes(4*3*n), make([]byte, 4*3*n)
			fourRows(got, 3*n, src, 3*in, &res.h)
			row := func(b []byte, w, y int) []byte { return b[3*w*y:][:3*w] }
			for y := 0; y < 4; y += 2 {
				res.horizontal(row(want, n, y), row(want, n, y+1), row(src, in, y), row(src, in, y+1))
			}
			same(t, n, kind, got, want)
		}

		rows, outRows := 1+r.IntN(30), 1+r.IntN(5)
		res.v = anyAxis(rows, outRows, r)
		src = fill(a.bytes(rows*3*n), kind, r)
		got, want := a.bytes(outRows*3*n), make([]byte, outRows*3*n)
		res.verticalBytes(got, src, n)
		avx2 = false
		res.verticalBytes(want, src, n)
		avx2 = true
		same(t, n, kind, got, want)
	})
}

func TestPaethKernel(t *testing.T) {
	everyKernel(t, 1, func(a arena, n, kind int, r *rand.Rand) {
		for step := 1; step <= 8; step++ {
			row, above := fill(a.bytes(n), kind, r), fill(a.bytes(n), kind>>1, r)
			want := bytes.Clone(row)
			paethPlain(row, above, step, paethRow(row, above, step))
			paethPlain(want, above, step, 0)
			same(t, n, kind, row, want)
		}
	})
}

// TestPlainPath runs the reference pictures and the resize tests without assembly.
func TestPlainPath(t *testing.T) {
	if !avx2 {
		t.Skip("no AVX2")
	}
	avx2 = false
	defer func() { avx2 = true }()
	t.Run("Resize", TestResizeAgainstPlain)
	if testing.Short() {
		t.Skip("the pictures take long under the race detector")
	}
	t.Run("Reference", TestReference)
	t.Run("Reuse", TestPrepareReuse)
}

// FuzzPaths decodes and resizes with and without assembly: damaged pictures must come out the same, too.
func FuzzPaths(f *testing.F) {
	if !avx2 {
		f.Skip("no AVX2")
	}
	for _, name := range []string{"q75.jpg", "s420_prog.jpg", "restart_1_2x2_prog.jpg", "png_c2_d8_adam7.png", "webp_q40.webp"} {
		f.Add(picture(f, name), uint8(20), uint8(30))
	}
	f.Fuzz(func(t *testing.T, data []byte, w, h uint8) {
		run := func(vector bool) (*Image, *Image) {
			avx2 = vector
			defer func() { avx2 = true }()
			im, err := Decode(data, Limits{MaxPixels: 1 << 16})
			if err != nil {
				return &Image{}, &Image{}
			}
			return im, Resize(im, 1+int(w), 1+int(h), Bicubic)
		}
		a, small := run(true)
		b, smallPlain := run(false)
		if !bytes.Equal(a.Pix, b.Pix) || !bytes.Equal(small.Pix, smallPlain.Pix) {
			t.Fatalf("%dx%d to %dx%d differs", a.Width, a.Height, 1+int(w), 1+int(h))
		}
	})
}
