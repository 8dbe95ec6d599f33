//go:build cuda && linux && cgo

package cuda

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"sower/gpu"
	"sower/gpu/cuda/internal/ext"
	"sower/gpu/cuda/kernels"
	"sower/gpu/driver"
)

// activations is a stream with buffers of the device's precision, aligned as those of a model are.
type activations struct {
	*testing.T
	*stream
	random *rand.Rand
}

func newActivations(t *testing.T, p gpu.Precision) *activations {
	s, err := opened(t, p).newStream()
	if err != nil {
		t.Fatal(err)
	}
	a := &activations{t, s, rand.New(rand.NewPCG(3, 4))}
	t.Cleanup(func() { a.must(errors.Join(s.Sync(), s.Close())) })
	return a
}

func (a *activations) must(err error) {
	a.Helper()
	if err != nil {
		a.Fatal(err)
	}
}

func (a *activations) values(n int, scale float64) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(a.random.NormFloat64() * scale)
	}
	return v
}

func (a *activations) put(v []float32) driver.View {
	view := a.empty(len(v))
	a.must(a.WriteF32(view, v))
	return view
}

func (a *activations) empty(n int) driver.View {
	buf, err := a.dev.Alloc(driver.Activation, n)
	a.must(err)
	a.Cleanup(buf.Free)
	return driver.View{Buf: buf, N: n}
}

func (a *activations) get(v driver.View) []float32 {
	out := make([]float32, v.N)
	a.must(a.ReadF32(out, v))
	return out
}

// TestWays runs one layer by each way to multiply, large enough for every tile: against float64, rows alone against all of them,
// and the fused layer against its operations.
func TestWays(t *testing.T) {
	for _, choice := range []string{gemmOwn, gemmLt, gemmMMA} {
		for _, precision := range []gpu.Precision{gpu.FP16, gpu.BF16} {
			t.Run(fmt.Sprint(choice, " ", precision), func(t *testing.T) {
				t.Setenv("SOWER_CUDA_GEMM", choice)
				a := newActivations(t, precision)
				const m, n, k = 1300, 1304, 72
				weights, x := a.values(n*k, 0.1), a.values(m*k, 1)
				w, err := a.dev.NewMatrix(n, k, driver.Weight)
				a.must(err)
				t.Cleanup(w.Free)
				a.must(w.SetRows(0, weights))
				in, bias, residual := a.put(x), a.put(a.values(n, 1)), a.put(a.values(m*n, 1))
				in32, bias32, residual32 := a.get(in), a.get(bias), a.get(residual)

				fused, apart := a.empty(m*n), a.empty(m*n)
				a.must(a.Linear(fused, in, m, w, bias, driver.GELU, true, residual))
				a.must(a.MatMul(apart, n, in, m, w))
				a.must(a.Add(apart, apart, bias))
				a.must(a.Apply(driver.GELU, apart, apart))
				a.must(a.Add(apart, apart, residual))
				all := a.get(fused)
				if !slices.Equal(all, a.get(apart)) {
					t.Error("the fused layer has other bits than its operations")
				}
				for _, row := range []int{0, 700, m - 1} {
					one := a.empty(n)
					a.must(a.Linear(one, driver.View{Buf: in.Buf, Off: row * k, N: k}, 1, w, bias, driver.GELU, true,
						driver.View{Buf: residual.Buf, Off: row * n, N: n}))
					if !slices.Equal(a.get(one), all[row*n:][:n]) {
						t.Errorf("row %d alone has other bits", row)
					}
					for j := 0; j < n; j += 7 {
						sum := 0.0
						for i := range k {
							sum += float64(in32[row*k+i]) * float64(weights[j*k+i])
						}
						sum += float64(bias32[j])
						want := sum*math.Erfc(-sum/math.Sqrt2)/2 + float64(residual32[row*n+j])
						if d := math.Abs(want - float64(all[row*n+j])); !(d < 0.06) {
							t.Fatalf("row %d column %d is %g, want %g", row, j, all[row*n+j], want)
						}
					}
				}
			})
		}
	}
}

// TestWideAttention runs the image model's attention, whose keys and values take more shared memory than a block has without
// asking, on tensor cores, against the kernel for any operands.
func TestWideAttention(t *testing.T) {
	for _, precision := range []gpu.Precision{gpu.FP16, gpu.BF16} {
		a := newActivations(t, precision)
		for _, width := range []int{64, 88, 128} {
			const batch, heads, tokens = 2, 3, 257
			row := heads * width
			args := driver.AttentionArgs{Batch: batch, Heads: heads, Tq: tokens, Tk: tokens, Width: width, Scale: float32(1 / math.Sqrt(float64(width)))}
			for _, to := range []*driver.Strided{&args.Q, &args.K, &args.V} {
				*to = driver.Strided{Buf: a.put(a.values(batch*tokens*row, 1)).Buf, Batch: tokens * row, Head: width, Row: row}
			}
			y, plain := a.empty(batch*tokens*row), a.empty(batch*tokens*row)
			args.Y = args.Q
			args.Y.Buf = y.Buf
			probe := attentionArgs(args)
			if attentionMMA(&probe) == nil {
				t.Fatalf("no kernel on tensor cores for width %d", width)
			}
			a.must(a.Attention(args))
			args.Y.Buf = plain.Buf
			general := attentionArgs(args)
			general.Y, general.YBatch, general.YHead, general.YRow = refStrided(args.Y), int64(tokens*row), int64(width), int64(row)
			a.must(run(a.stream, kernels.Attention, attentionGrid(batch*heads, tokens, width), kernels.AttentionThreads, 0, &general))
			got, want := a.get(y), a.get(plain)
			for i, w := range want {
				if d := math.Abs(float64(got[i] - w)); !(d < 0.01) {
					t.Fatalf("%v, width %d: element %d is %g, want %g", precision, width, i, got[i], w)
				}
			}
		}
	}
}

// TestTensorMaps pins what hopper.cu takes for granted of the argument struct.
func TestTensorMaps(t *testing.T) {
	if n := len(ext.TensorMap{}); n != len(kernels.HopperArgs{}.AMap) {
		t.Errorf("a tensor map has %d bytes", n)
	}
}
