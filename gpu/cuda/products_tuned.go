//go:build cuda && linux && cgo

package cuda

import (
	"errors"
	"sync"

	"sower/gpu/cuda/internal/cublaslt"
	"sower/gpu/cuda/internal/ext"
	"sower/gpu/cuda/kernels"
)

// way is how a product of 16-bit operands is computed: by cublasLt, by the kernels for Hopper, or, both nil, by those for
// any GPU. It follows from the sizes of a row, the types and the device, never from the number of rows or from where
// operands lie: ways differ in the last bits.
type way struct {
	plan   *cublaslt.Plan
	hopper *kernels.Product
}

// leastTuned is the number of rows of a weight, and of its columns, from which on the tuned ways pay.
const leastTuned = 64

// way chooses for a product whose operands are not in place yet.
func (s *stream) way(p *kernels.ProductArgs) way {
	d := s.dev
	if p.N < leastTuned || p.K < leastTuned {
		return way{}
	}
	if d.lt != nil && d.gemm != gemmOwn && d.gemm != gemmMMA {
		if plan := d.plan(p); plan != nil {
			return way{plan: plan}
		}
	}
	if d.capability == hopperCapability && d.gemm != gemmMMA {
		return way{hopper: hopperTile(p)}
	}
	return way{}
}

// hopperTile is the kernel with wide tiles, unless these have more than a fifth to compute beyond the matrix than narrow
// ones have.
func hopperTile(p *kernels.ProductArgs) *kernels.Product {
	all := &kernels.HopperF16
	if p.B.Type == kernels.BF16 {
		all = &kernels.HopperBF16
	}
	n := int(p.N)
	if 5*roundUp(n, all[0].TileN) > 6*roundUp(n, all[1].TileN) {
		return &all[1]
	}
	return &all[0]
}

var tensorTypes = map[uint32]int{kernels.F16: ext.TensorF16, kernels.BF16: ext.TensorBF16}

func (s *stream) multiplyHopper(p *kernels.ProductArgs, k *kernels.Product) error {
	args, kk := kernels.HopperArgs{ProductArgs: *p}, int(p.K)
	return s.launchHopper(&args, k, mapped{p.A.Ptr, p.A.Type, int(p.M), kk, int(p.ARow) * 2}, mapped{p.B.Ptr, p.B.Type, int(p.N), kk, int(p.BRow) * 2})
}

// mapped is an operand as bulk copies see it: [rows cols] of a 16-bit type, rows so many bytes apart.
type mapped struct {
	ptr               uint64
	typ               uint32
	rows, cols, apart int
}

// launchHopper describes the operands of a product to the bulk copies and launches it.
func (s *stream) launchHopper(args *kernels.HopperArgs, k *kernels.Product, a, b mapped) error {
	for _, m := range []struct {
		to *[128]byte
		mapped
		box int
	}{{&args.AMap, a, kernels.HopperRows}, {&args.BMap, b, k.TileN}} {
		made, err := s.dev.ctx.TensorMap2D(m.ptr, tensorTypes[m.typ], m.rows, m.cols, m.apart, m.box, kernels.HopperDepth, ext.Swizzle128)
		if err != nil {
			return s.dev.failed(err)
		}
		*m.to = made
	}
	blocks := min(s.dev.sms, k.Blocks(int(args.M), int(args.N)))
	return run(s, k.Kernel, [3]uint32{uint32(blocks), 1, 1}, k.Threads, k.Shared, args)
}

// ltWorkspace is how much scratch memory an algorithm of cublasLt may ask for.
const ltWorkspace = 32 << 20

// plans are those of cublasLt by product and number of rows; nil where the library has none.
type plans struct {
	mu  sync.Mutex
	all map[planKey]*cublaslt.Plan
}

type planKey struct {
	kind cublaslt.Kind
	m    int
}

func (p *plans) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, plan := range p.all {
		if plan != nil {
			plan.Close()
		}
	}
	p.all = nil
}

// plan is cublasLt's for a product, or nil if its rows of C do not begin at multiples of 16 bytes or the library declines.
func (d *device) plan(p *kernels.ProductArgs) *cublaslt.Plan {
	if int(p.CRow)*kernels.Size(p.C.Type)%16 != 0 {
		return nil
	}
	in := cublaslt.Type(p.B.Type)
	key := planKey{cublaslt.Kind{N: int(p.N), K: int(p.K), In: in, Out: cublaslt.Type(p.C.Type), LdX: roundUp(int(p.K), 8),
		LdW: int(p.BRow), LdY: int(p.CRow)}, int(p.M)}
	d.plans.mu.Lock()
	defer d.plans.mu.Unlock()
	plan, ok := d.plans.all[key]
	if !ok {
		plan, err := d.lt.Plan(key.kind, key.m, ltWorkspace)
		if err != nil {
			plan = nil // another way does it
		}
		if d.plans.all == nil {
			d.plans.all = map[planKey]*cublaslt.Plan{}
		}
		d.plans.all[key] = plan
		return plan
	}
	return plan
}

// sumBytes is how much scratch memory a product by cublasLt needs for its sums: none where C itself takes them.
func sumBytes(p *kernels.ProductArgs) int {
	if p.C.Ptr%16 == 0 {
		return 0
	}
	return int(p.M) * int(p.CRow) * kernels.Size(p.C.Type)
}

// multiplyLt has cublasLt compute the sums alone: its epilogues round otherwise than the separate operations do, and its
// GELU is another function. What follows is one more pass.
func (s *stream) multiplyLt(p *kernels.ProductArgs, plan *cublaslt.Plan, rest uint64) error {
	if p.ARow != int64(plan.Kind.LdX) {
		return errors.New("cuda: a product's operand lies otherwise than planned")
	}
	work := rest
	sums := p.C
	if sumBytes(p) > 0 {
		sums.Ptr = rest + uint64(plan.Workspace)
		if plan.Workspace%16 != 0 {
			return errors.New("cuda: cublasLt wants an odd number of bytes of workspace")
		}
	}
	err := plan.Run(cublaslt.Operands{X: p.A.Ptr, W: p.B.Ptr, Y: sums.Ptr, Alpha: 1, Workspace: work}, s.s)
	if err != nil {
		return s.dev.failed(err)
	}
	if sums == p.C && p.Bias.Ptr == 0 && p.F == 0 && p.Residual.Ptr == 0 {
		return nil
	}
	args := kernels.FinishRowsArgs{ProductArgs: *p}
	args.A, args.ARow = sums, p.CRow
	return run(s, kernels.FinishRows, eights(int(p.M), int(p.N)), flatThreads, 0, &args)
}
