//go:build cuda && linux && cgo

package cublaslt

// #include "lt.h"
import "C"

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"gorgonia.org/cu"
)

// Type is an element type, numbered as in package kernels.
type Type uint8

// Element types.
const (
	F32 Type = iota
	F16
	BF16
)

var libraryTypes = [...]C.int{F32: C.LT_R_32F, F16: C.LT_R_16F, BF16: C.LT_R_16BF}

func (t Type) String() string { return [...]string{"f32", "f16", "bf16"}[t] }

// Kind is a product without its number of rows: what an algorithm is chosen by.
type Kind struct {
	N, K    int
	In, Out Type // of x and w; of y and the residual
	// Bias means that a bias is added, of BiasType; for 16-bit products the library takes one of the output's type only.
	Bias     bool
	BiasType Type
	// XT takes x as [K,M], WT takes w as [K,N].
	XT, WT bool
	// LdX, LdW, LdY are the elements from row to row, 0 for rows without gaps. They count as part of the kind because the
	// alignment of rows decides what an algorithm can read. LdX of a transposed x is at least M and has to be given.
	LdX, LdW, LdY int
	// Batch products, when more than 1, lie StrideX, StrideW and StrideY elements apart.
	Batch                     int
	StrideX, StrideW, StrideY int
}

// ErrNoAlgorithm says that the library offers no algorithm for a product, or none that keeps rows independent of M.
var ErrNoAlgorithm = errors.New("cublasLt: no algorithm without split sums")

// Algorithm is the library's description of a way to compute a product.
type Algorithm struct {
	Data      [8]uint64
	Workspace int     // bytes
	Waves     float32 // how often the blocks fill the GPU
	// What the description says, for tables of measurements.
	ID, Tile, Stages, Cluster, Swizzle, Custom int

	splits, reduction uint32
}

// referenceRows is the number of rows at which algorithms are looked for: large, as in a batch of images, and fixed, so
// that the choice does not depend on which batch comes first.
const referenceRows = 4112

func (k Kind) shape(m int) C.lt_shape {
	s := C.lt_shape{m: C.int64_t(m), n: C.int64_t(k.N), k: C.int64_t(k.K), ldx: C.int64_t(k.LdX), ldw: C.int64_t(k.LdW), ldy: C.int64_t(k.LdY),
		batch: C.int64_t(max(k.Batch, 1)), stride_x: C.int64_t(k.StrideX), stride_w: C.int64_t(k.StrideW), stride_y: C.int64_t(k.StrideY),
		in: libraryTypes[k.In], out: libraryTypes[k.Out], bias: -1}
	if k.Bias {
		s.bias = libraryTypes[k.BiasType]
	}
	if s.ldx == 0 {
		s.ldx = s.k
	}
	if s.ldw == 0 {
		s.ldw = s.k
	}
	if s.ldy == 0 {
		s.ldy = s.n
	}
	if k.XT {
		s.x_transposed = 1
		if k.LdX == 0 {
			s.ldx = s.m
		}
	}
	if k.WT {
		s.w_transposed = 1
		if k.LdW == 0 {
			s.ldw = s.n
		}
	}
	return s
}

// Candidates returns the algorithms that the library's heuristic proposes for m rows with at most that many bytes of
// workspace, best first, without those whose sums are split (split K, stream K).
func (l *Library) Candidates(k Kind, m, workspace int) ([]Algorithm, error) {
	var results [64]C.lt_heuristic
	var found C.int
	s := k.shape(m)
	err := check(C.lt_candidates(l.ctx(), l.handle, &s, C.size_t(workspace), &results[0], C.int(len(results)), &found))
	if errors.Is(err, Error(15)) || (err == nil && found == 0) {
		return nil, ErrNoAlgorithm
	}
	if err != nil {
		return nil, err
	}
	var out []Algorithm
	for _, r := range results[:found] {
		a := Algorithm{Workspace: int(r.workspace), Waves: float32(r.waves)}
		for i := range a.Data {
			a.Data[i] = uint64(r.algo.data[i])
		}
		if r.state != 0 || a.read() != nil || a.splits > 1 || a.reduction != 0 {
			continue
		}
		out = append(out, a)
	}
	if len(out) == 0 {
		return nil, ErrNoAlgorithm
	}
	return out, nil
}

func (a *Algorithm) c() C.lt_algo {
	var c C.lt_algo
	for i, v := range a.Data {
		c.data[i] = C.uint64_t(v)
	}
	return c
}

// read fills in what the description says of itself. An attribute that an older library does not know stays zero, but the
// two that tell split sums must be there.
func (a *Algorithm) read() error {
	c := a.c()
	get := func(attribute C.int) (uint32, error) {
		var v C.uint32_t
		err := check(C.lt_attribute(&c, attribute, &v))
		return uint32(v), err
	}
	var err1, err2 error
	a.splits, err1 = get(C.LT_ALGO_SPLITK)
	a.reduction, err2 = get(C.LT_ALGO_REDUCTION)
	for _, f := range []struct {
		to        *int
		attribute C.int
	}{{&a.ID, C.LT_ALGO_ID}, {&a.Tile, C.LT_ALGO_TILE}, {&a.Stages, C.LT_ALGO_STAGES}, {&a.Cluster, C.LT_ALGO_CLUSTER}, {&a.Swizzle, C.LT_ALGO_SWIZZLE}, {&a.Custom, C.LT_ALGO_CUSTOM}} {
		v, _ := get(f.attribute)
		*f.to = int(v)
	}
	return errors.Join(err1, err2)
}

// Pin makes a the algorithm of every later plan of the kind, such as the fastest of its candidates.
func (l *Library) Pin(k Kind, a Algorithm) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pins[k] = a
}

// Pinned returns the algorithm of a kind, if one was chosen.
func (l *Library) Pinned(k Kind) (Algorithm, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, ok := l.pins[k]
	return a, ok
}

// choose returns the pinned algorithm of a kind. Without one it pins the heuristic's first that also does small products.
func (l *Library) choose(k Kind, workspace int) (Algorithm, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a, ok := l.pins[k]; ok {
		return a, nil
	}
	rows := referenceRows
	if k.XT && k.LdX != 0 {
		rows = k.LdX // x holds no more than that
	}
	all, err := l.Candidates(k, rows, workspace)
	if err != nil {
		return Algorithm{}, err
	}
	for _, a := range all {
		if l.good(k, rows, workspace, a) {
			l.pins[k] = a
			return a, nil
		}
	}
	return Algorithm{}, ErrNoAlgorithm
}

// good reports whether an algorithm also does a few rows, up to most.
func (l *Library) good(k Kind, most, workspace int, a Algorithm) bool {
	for _, m := range []int{1, 32, 257} {
		if m > most {
			break
		}
		p, err := l.make(k, m, a)
		good := err == nil && p.Workspace <= workspace
		p.Close()
		if !good {
			return false
		}
	}
	return true
}

// Plan is a product of given sizes, ready to run. Run may be called from several goroutines; the work is ordered by stream.
type Plan struct {
	Kind      Kind
	M         int
	Workspace int // bytes that Run needs
	library   *Library

	mu sync.Mutex // the bias is set before each run
	c  C.lt_plan
}

// Plan makes a plan for m rows, with the algorithm of its kind and at most that many bytes of workspace. Unsupported holds
// of its error when the library cannot do the product; who then takes another way should take it for every m of the kind.
func (l *Library) Plan(k Kind, m, workspace int) (*Plan, error) {
	if m <= 0 || k.N <= 0 || k.K <= 0 {
		return nil, fmt.Errorf("cublasLt: a product of %d x %d x %d", m, k.N, k.K)
	}
	a, err := l.choose(k, workspace)
	if err != nil {
		return nil, err
	}
	p, err := l.make(k, m, a)
	if err != nil {
		return nil, fmt.Errorf("algorithm %d, tile %d, at %d x %d x %d: %w", a.ID, a.Tile, m, k.N, k.K, err)
	}
	if p.Workspace > workspace {
		p.Close()
		return nil, fmt.Errorf("cublasLt: %d x %d x %d needs a workspace of %d bytes, %d are allowed: %w", m, k.N, k.K, p.Workspace, workspace, ErrNoAlgorithm)
	}
	return p, nil
}

// make checks the algorithm for m rows and describes the product to the library.
func (l *Library) make(k Kind, m int, a Algorithm) (*Plan, error) {
	p := &Plan{Kind: k, M: m, library: l}
	s, algo := k.shape(m), a.c()
	err := check(C.lt_make(l.ctx(), l.handle, &s, &algo, &p.c))
	p.Workspace = int(p.c.workspace)
	return p, err
}

// Operands are the addresses of a product in device memory, multiples of 16.
type Operands struct {
	X, W, Y uint64
	Bias    uint64 // N values; given exactly when the kind has a bias
	// Residual is added Beta times, in the layout of Y; it may be Y itself. Beta 0 leaves it out.
	Residual    uint64
	Alpha, Beta float32
	Workspace   uint64 // at least the plan's Workspace bytes, a multiple of 256
}

// Run enqueues y = Alpha·x·wᵀ + bias + Beta·residual on s. It does not allocate and may be captured.
func (p *Plan) Run(o Operands, s cu.Stream) error {
	if (o.Bias != 0) != p.Kind.Bias {
		return errors.New("cublasLt: a bias is missing or too many")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return check(C.lt_run(p.library.ctx(), p.library.handle, &p.c, C.float(o.Alpha), C.uint64_t(o.W), C.uint64_t(o.X), C.float(o.Beta),
		C.uint64_t(o.Residual), C.uint64_t(o.Y), C.uint64_t(o.Bias), C.uint64_t(o.Workspace), C.size_t(p.Workspace), *(*unsafe.Pointer)(unsafe.Pointer(&s))))
}

// Close gives the plan's descriptors back.
func (p *Plan) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	C.lt_drop(&p.c)
}
