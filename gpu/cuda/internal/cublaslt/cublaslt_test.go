//go:build cuda && linux && cgo

package cublaslt

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unsafe"

	"gorgonia.org/cu"
	"sower/gpu/cuda/internal/ext"
	"sower/gpu/cuda/internal/fakecuda"
)

func TestMain(m *testing.M) { fakecuda.Main(m) }

// open is the library on the first device with a stream.
func open(t testing.TB) (*Library, cu.Stream) {
	t.Helper()
	fakecuda.Need(t)
	if err := Available(); err != nil {
		if fakecuda.Real() {
			t.Skip(err)
		}
		t.Fatal(err)
	}
	d, err := cu.GetDevice(0)
	if err != nil {
		t.Fatal(err)
	}
	primary, err := d.RetainPrimaryCtx()
	if err != nil {
		t.Fatal(err)
	}
	c := ext.On(primary)
	var s cu.Stream
	if err := c.Do(func() (err error) { s, err = cu.MakeStream(cu.NonBlocking); return err }); err != nil {
		t.Fatal(err)
	}
	name, err := d.Name()
	if err != nil {
		t.Fatal(err)
	}
	l, err := Open(c, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(l.Close(), c.Do(s.Destroy), d.ReleasePrimaryCtx()); err != nil {
			t.Error(err)
		}
	})
	return l, s
}

// f16 rounds to the nearest float16 for values that are normal there, to even on ties.
func f16(v float32) uint16 {
	b := math.Float32bits(v)
	if v == 0 {
		return uint16(b >> 16)
	}
	b += 0xfff + b>>13&1
	return uint16(b>>16&0x8000 | (b>>13)&0x3ffff - 112<<10)
}

func fromF16(h uint16) float32 {
	if h&0x7fff == 0 {
		return 0
	}
	return math.Float32frombits(uint32(h&0x8000)<<16 | (uint32(h&0x7fff)<<13 + 112<<23))
}

func bf16(v float32) uint16 {
	b := math.Float32bits(v)
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}

func fromBF16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// upload puts values on the device in a type and replaces them by what that type holds of them.
func upload(t testing.TB, l *Library, v []float32, typ Type) uint64 {
	t.Helper()
	var raw []byte
	for i := range v {
		switch typ {
		case F16:
			h := f16(v[i])
			v[i] = fromF16(h)
			raw = append(raw, byte(h), byte(h>>8))
		case BF16:
			h := bf16(v[i])
			v[i] = fromBF16(h)
			raw = append(raw, byte(h), byte(h>>8))
		default:
			b := math.Float32bits(v[i])
			raw = append(raw, byte(b), byte(b>>8), byte(b>>16), byte(b>>24))
		}
	}
	p, err := l.context.MemAlloc(len(raw))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.context.MemFree(p); err != nil {
			t.Error(err)
		}
	})
	if err := l.context.CopyHtoD(p, unsafe.Pointer(&raw[0]), len(raw)); err != nil {
		t.Fatal(err)
	}
	return p
}

func download(t testing.TB, l *Library, p uint64, n int, typ Type) []float32 {
	t.Helper()
	size := 2
	if typ == F32 {
		size = 4
	}
	raw := make([]byte, n*size)
	if err := l.context.CopyDtoH(unsafe.Pointer(&raw[0]), p, len(raw)); err != nil {
		t.Fatal(err)
	}
	v := make([]float32, n)
	for i := range v {
		switch typ {
		case F16:
			v[i] = fromF16(uint16(raw[2*i]) | uint16(raw[2*i+1])<<8)
		case BF16:
			v[i] = fromBF16(uint16(raw[2*i]) | uint16(raw[2*i+1])<<8)
		default:
			v[i] = *(*float32)(unsafe.Pointer(&raw[4*i]))
		}
	}
	return v
}

func random(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.IntN(64)-32) / 32
	}
	return v
}

// Every form against a product in float64: types, transposed operands, bias, residual, gaps between rows, batches.
func TestProducts(t *testing.T) {
	l, s := open(t)
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name string
		kind Kind
		m    int
		beta float32
	}{
		{"float32", Kind{N: 24, K: 40}, 17, 0},
		{"float16", Kind{N: 64, K: 32, In: F16, Out: F16}, 33, 0},
		{"bfloat16, bias and residual", Kind{N: 64, K: 32, In: BF16, Out: BF16, Bias: true, BiasType: BF16}, 9, 1},
		{"float16 to float32", Kind{N: 32, K: 48, In: F16, Out: F32}, 16, 0},
		{"bias, residual, gaps", Kind{N: 20, K: 36, Bias: true, LdX: 40, LdW: 48, LdY: 24}, 5, 0.5},
		{"w as [K,N]", Kind{N: 24, K: 16, WT: true}, 7, 0},
		{"x as [K,M]", Kind{N: 24, K: 16, XT: true, LdX: 8}, 8, 1},
		{"both", Kind{N: 24, K: 16, XT: true, WT: true, LdX: 12}, 11, 0},
		{"batch", Kind{N: 8, K: 16, In: F16, Out: F16, Batch: 3, StrideX: 16 * 8, StrideW: 8 * 16, StrideY: 8 * 8}, 8, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := c.kind
			shape := k.shape(c.m)
			batch := max(k.Batch, 1)
			rowsX, rowsW := c.m, k.N
			if k.XT {
				rowsX = k.K
			}
			if k.WT {
				rowsW = k.K
			}
			ldx, ldw, ldy := int(shape.ldx), int(shape.ldw), int(shape.ldy)
			x, w := random(r, max(k.StrideX*batch, rowsX*ldx)), random(r, max(k.StrideW*batch, rowsW*ldw))
			res, bias := random(r, max(k.StrideY*batch, c.m*ldy)), random(r, k.N)
			px, pw, pr := upload(t, l, x, k.In), upload(t, l, w, k.In), upload(t, l, res, k.Out)
			py := upload(t, l, make([]float32, len(res)), k.Out)
			p, err := l.Plan(k, c.m, 1<<20)
			if err != nil {
				if fakecuda.Real() && Unsupported(err) {
					t.Skip(err)
				}
				t.Fatal(err)
			}
			defer p.Close()
			o := Operands{X: px, W: pw, Y: py, Residual: pr, Alpha: 1.5, Beta: c.beta}
			if k.Bias {
				o.Bias = upload(t, l, bias, k.BiasType)
			}
			if p.Workspace > 0 {
				o.Workspace = upload(t, l, make([]float32, p.Workspace), F32)
			}
			if err := errors.Join(p.Run(o, s), l.context.StreamSync(s)); err != nil {
				t.Fatal(err)
			}
			y := download(t, l, py, len(res), k.Out)
			tolerance := map[Type]float64{F32: 1e-5, F16: 1.0 / 1024, BF16: 1.0 / 128}[k.Out]
			for b := range batch {
				for i := range c.m {
					for j := range k.N {
						want := 0.0
						for e := range k.K {
							ix, iw := b*k.StrideX+i*ldx+e, b*k.StrideW+j*ldw+e
							if k.XT {
								ix = b*k.StrideX + e*ldx + i
							}
							if k.WT {
								iw = b*k.StrideW + e*ldw + j
							}
							want += float64(x[ix]) * float64(w[iw])
						}
						at := b*k.StrideY + i*ldy + j
						want = 1.5*want + float64(c.beta)*float64(res[at])
						if k.Bias {
							want += float64(bias[j])
						}
						if got := float64(y[at]); math.Abs(got-want) > tolerance*max(1, math.Abs(want)) {
							t.Fatalf("batch %d, %d,%d: %g, want %g", b, i, j, got, want)
						}
					}
				}
			}
		})
	}
}

// One algorithm a kind, for every number of rows, and none that splits its sums.
func TestPinned(t *testing.T) {
	l, _ := open(t)
	k := Kind{N: 64, K: 64, In: F16, Out: F16}
	all, err := l.Candidates(k, 100, 1<<25)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		t.Logf("algorithm %d: tile %d, stages %d, workspace %d, waves %g", a.ID, a.Tile, a.Stages, a.Workspace, a.Waves)
		if a.splits > 1 || a.reduction != 0 {
			t.Error("sums are split")
		}
	}
	var chosen Algorithm
	for i, m := range []int{7, 1, 128, 5000} {
		p, err := l.Plan(k, m, 1<<25)
		if err != nil {
			t.Fatal(err)
		}
		p.Close()
		a, ok := l.Pinned(k)
		if !ok || i > 0 && a.Data != chosen.Data {
			t.Errorf("%d rows changed the algorithm", m)
		}
		chosen = a
	}
	if last := all[len(all)-1]; last.Data != chosen.Data {
		l.Pin(k, last)
		if a, _ := l.Pinned(k); a.Data != last.Data {
			t.Error("Pin did not take")
		}
	}
}

func TestTune(t *testing.T) {
	l, s := open(t)
	k := Kind{N: 64, K: 32, In: F16, Out: F16}
	const workspace = 1 << 16
	o := Operands{X: upload(t, l, make([]float32, 40*32), F16), W: upload(t, l, make([]float32, 64*32), F16), Y: upload(t, l, make([]float32, 40*64), F16),
		Alpha: 1, Workspace: upload(t, l, make([]float32, workspace/4), F32)}
	timings, err := l.Tune(k, 40, o, workspace, s)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range timings {
		t.Logf("%d, tile %d: %g ms", v.ID, v.Tile, v.Milliseconds)
	}
	if a, ok := l.Pinned(k); !ok || a.Data != timings[0].Data || len(timings) < 2 && !fakecuda.Real() {
		t.Error("the fastest is not pinned")
	}
	if got := download(t, l, o.Y, 40*64, F16); got[0] != 0 || got[40*64-1] != 0 {
		t.Error("zeros times zeros:", got[0])
	}
}

func TestExportImport(t *testing.T) {
	l, _ := open(t)
	kinds := []Kind{{N: 64, K: 64, In: F16, Out: F16}, {N: 32, K: 48, In: BF16, Out: BF16, Bias: true, BiasType: BF16}, {N: 16, K: 32, WT: true, LdY: 32}}
	for _, k := range kinds {
		if _, err := l.Plan(k, 16, 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	var text, again bytes.Buffer
	if err := l.Export(&text); err != nil {
		t.Fatal(err)
	}
	fresh := &Library{context: l.context, handle: l.handle, gpu: l.gpu, pins: map[Kind]Algorithm{}}
	if err := fresh.Import(bytes.NewReader(text.Bytes())); err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds {
		a, _ := l.Pinned(k)
		if b, ok := fresh.Pinned(k); !ok || b.Data != a.Data || b.Workspace != a.Workspace {
			t.Errorf("%+v: %+v, want %+v", k, b, a)
		}
	}
	if err := fresh.Export(&again); err != nil || again.String() != text.String() {
		t.Errorf("a second export differs: %v\n%s\n%s", err, text.String(), again.String())
	}
	for name, bad := range map[string]string{
		"another GPU":     strings.Replace(text.String(), "gpu \"", "gpu \"Not ", 1),
		"another version": strings.Replace(text.String(), "library 1", "library 2", 1),
	} {
		if err := fresh.Import(strings.NewReader(bad)); !errors.Is(err, ErrOtherMachine) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, bad := range map[string]string{
		"nothing":       "",
		"a short line":  text.String() + "64 64 f16\n",
		"a wrong type":  strings.Replace(text.String(), "f16", "f8", 1),
		"short hex":     text.String()[:text.Len()-3] + "\n",
		"a wrong form":  strings.Replace(text.String(), " nt ", " xt ", 1),
		"split sums":    strings.Replace(text.String(), "0000000100000000000000", "0000000400000000000000", 1),
		"not this file": "{}",
	} {
		none := &Library{context: l.context, gpu: l.gpu, pins: map[Kind]Algorithm{}}
		if name == "split sums" && fakecuda.Real() {
			continue // the stand-in's own format
		}
		if err := none.Import(strings.NewReader(bad)); err == nil || len(none.pins) != 0 {
			t.Errorf("%s: %v, %d pinned", name, err, len(none.pins))
		}
	}
}

func TestRefusals(t *testing.T) {
	l, s := open(t)
	if _, err := l.Plan(Kind{N: 0, K: 4}, 1, 0); err == nil {
		t.Error("a product without columns")
	}
	if _, err := l.Plan(Kind{N: 8, K: 8, In: F16, Out: BF16}, 8, 1<<20); !Unsupported(err) {
		t.Error("float16 to bfloat16:", err)
	}
	p, err := l.Plan(Kind{N: 16, K: 16, Bias: true}, 4, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(Operands{X: 1, W: 1, Y: 1, Alpha: 1}, s); err == nil {
		t.Error("a bias was left out")
	}
	p.Close()
}

func TestMissingLibrary(t *testing.T) {
	fakecuda.NeedFake(t)
	if fakecuda.InChild(t) {
		err := Available()
		t.Log(err)
		if err == nil || Version() != 0 || !strings.Contains(err.Error(), "/nonexistent/libcublasLt.so.13") || !strings.Contains(err.Error(), "/nonexistent/libcublasLt.so.12") {
			t.Error("what was tried is not said")
		}
		return
	}
	if out, err := fakecuda.Child(t, t.Name(), "CUBLASLT_DIR=/nonexistent"); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// With SOWER_TEST_CUBLASLT=folder NVIDIA's own library is opened: all symbols must be there. It needs a GPU for more.
func TestRealLibrary(t *testing.T) {
	fakecuda.NeedFake(t)
	if fakecuda.InChild(t) {
		if err := Available(); err != nil {
			t.Fatal(err)
		}
		d, _ := cu.GetDevice(0)
		c, err := d.RetainPrimaryCtx()
		if err != nil {
			t.Fatal(err)
		}
		_, err = Open(ext.On(c), "none")
		t.Logf("%s, version %d; a handle without a GPU: %v", Path(), Version(), err)
		// Descriptors, layouts and preferences are made and set without a handle: what is refused is the handle.
		l := &Library{context: ext.On(c)}
		_, err = l.Candidates(Kind{N: 64, K: 32, In: F16, Out: F16, Bias: true, BiasType: F32, Batch: 2, StrideX: 64, StrideW: 64, StrideY: 64}, 16, 1<<20)
		if !errors.Is(err, Error(1)) && !errors.Is(err, ErrNoAlgorithm) {
			t.Error("descriptors:", err)
		}
		t.Log("candidates without a handle:", err)
		return
	}
	folder := os.Getenv("SOWER_TEST_CUBLASLT")
	if folder == "" {
		t.Skip("SOWER_TEST_CUBLASLT names no folder with NVIDIA's library")
	}
	out, err := fakecuda.Child(t, t.Name(), "CUBLASLT_DIR="+folder)
	t.Logf("%v\n%s", err, out)
	if err != nil {
		t.Fail()
	}
}

// With SOWER_TEST_CUDA_INCLUDE=folder:folder lt.h is compared with NVIDIA's header.
func TestHeader(t *testing.T) {
	folders := os.Getenv("SOWER_TEST_CUDA_INCLUDE")
	if folders == "" {
		t.Skip("SOWER_TEST_CUDA_INCLUDE names no folders with NVIDIA's headers")
	}
	args := []string{"-fsyntax-only", "-D__CUDA_FP16_H__", "-D__CUDA_BF16_H__"}
	for _, f := range filepath.SplitList(folders) {
		args = append(args, "-I"+f)
	}
	for _, file := range []string{"check/check_lt.c", "../libcuda/gen/check_toolkit.c"} {
		if out, err := exec.Command("cc", append(args, "-Wno-deprecated-declarations", file)...).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
}
