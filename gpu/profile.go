package gpu

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"sower/gpu/driver"
)

// Profile adds up the time of operations by kind. Where a back end computes later than it is called, as a GPU's does, each
// operation is waited for, nothing is recorded, and all of it is slower than without; with several passes at a time it
// counts each one's waiting, too. The zero value is ready for Options.Profile.
type Profile struct {
	mu   sync.Mutex
	rows map[string]*OpTime
}

// OpTime is what one kind of operation took.
type OpTime struct {
	Op    string        `json:"op"`
	Calls int64         `json:"calls"`
	Time  time.Duration `json:"nanoseconds"`
	// FLOPs are the multiply-adds of matrix products, two each; 0 for other operations.
	FLOPs float64 `json:"flops,omitempty"`
}

// Table lists the operations so far, the longest first.
func (p *Profile) Table() []OpTime {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []OpTime
	for _, r := range p.rows {
		list = append(list, *r)
	}
	slices.SortFunc(list, func(a, b OpTime) int { return cmp.Or(cmp.Compare(b.Time, a.Time), cmp.Compare(a.Op, b.Op)) })
	return list
}

// Reset forgets what was counted.
func (p *Profile) Reset() {
	p.mu.Lock()
	p.rows = nil
	p.mu.Unlock()
}

// since adds an operation that began at start.
func (p *Profile) since(op string, start time.Time, multiplyAdds int) {
	d := time.Since(start)
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.rows[op]
	if r == nil {
		if p.rows == nil {
			p.rows = map[string]*OpTime{}
		}
		r = &OpTime{Op: op}
		p.rows[op] = r
	}
	r.Calls++
	r.Time += d
	r.FLOPs += 2 * float64(multiplyAdds)
}

// profiled is a stream with a clock.
type profiled struct {
	driver.Stream
	profile *Profile
	later   bool  // the stream computes later than it is called
	err     error // of an operation, found while it was waited for
}

// since adds an operation that began at start. It is made to be deferred.
func (s *profiled) since(op string, start time.Time, multiplyAdds int) {
	if s.later {
		if err := s.Stream.Sync(); s.err == nil {
			s.err = err
		}
	}
	s.profile.since(op, start, multiplyAdds)
}

// Sync returns what was found since the last one.
func (s *profiled) Sync() error {
	err := cmp.Or(s.err, s.Stream.Sync())
	s.err = nil
	return err
}

// profiledFused is one of a stream that fuses.
type profiledFused struct {
	profiled
	linear driver.Linear
}

// profiledDense is one of a stream that has layers in training, too.
type profiledDense struct {
	profiledFused
	dense driver.Dense
}

func (p *Profile) stream(s driver.Stream) driver.Stream {
	_, later := s.(driver.Graphs)
	one := profiled{Stream: s, profile: p, later: later}
	if linear, ok := s.(driver.Linear); ok {
		fused := profiledFused{one, linear}
		if dense, ok := s.(driver.Dense); ok {
			return &profiledDense{fused, dense}
		}
		return &fused
	}
	return &one
}

func (s *profiled) MatMul(y driver.View, stride int, x driver.View, m int, w driver.Matrix) error {
	defer s.since("matmul", time.Now(), m*min(stride, y.N)*(x.N/max(m, 1)))
	return s.Stream.MatMul(y, stride, x, m, w)
}

func (s *profiled) BatchMatMul(a driver.BatchMatMul) error {
	defer s.since("batch matmul", time.Now(), a.Batch*a.Heads*a.M*a.N*a.K)
	return s.Stream.BatchMatMul(a)
}

func (s *profiled) Add(y, a, b driver.View) error {
	defer s.since("add", time.Now(), 0)
	return s.Stream.Add(y, a, b)
}

func (s *profiled) Apply(f driver.Func, y, x driver.View) error {
	defer s.since(f.String(), time.Now(), 0)
	return s.Stream.Apply(f, y, x)
}

func (s *profiled) LayerNorm(y, x, weight, bias driver.View, cols int, eps float32) error {
	defer s.since("layer norm", time.Now(), 0)
	return s.Stream.LayerNorm(y, x, weight, bias, cols, eps)
}

func (s *profiled) Softmax(y, x driver.View, cols int, scale float32, causal int) error {
	defer s.since("softmax", time.Now(), 0)
	return s.Stream.Softmax(y, x, cols, scale, causal)
}

func (s *profiled) Lookup(y, table, ids driver.View, cols int) error {
	defer s.since("lookup", time.Now(), 0)
	return s.Stream.Lookup(y, table, ids, cols)
}

func (s *profiled) Nearest(ids, x driver.View, table driver.Matrix, norms driver.View) error {
	defer s.since("nearest code", time.Now(), x.N*norms.N)
	return s.Stream.Nearest(ids, x, table, norms)
}

func (s *profiled) Patches(y, images, table driver.View, n, size, patch int) error {
	defer s.since("patches", time.Now(), 0)
	return s.Stream.Patches(y, images, table, n, size, patch)
}

func (s *profiled) Copy(dst driver.View, dstStride int, src driver.View, srcStride int, rows, cols int) error {
	defer s.since("copy", time.Now(), 0)
	return s.Stream.Copy(dst, dstStride, src, srcStride, rows, cols)
}

func (s *profiledFused) Linear(y, x driver.View, m int, w driver.Matrix, bias driver.View, f driver.Func, apply bool,
	residual driver.View) error {
	op := "linear"
	switch {
	case apply:
		op += " + " + f.String()
	case residual.Buf != nil:
		op += " + residual"
	}
	defer s.since(op, time.Now(), m*(y.N/max(m, 1))*(x.N/max(m, 1)))
	return s.linear.Linear(y, x, m, w, bias, f, apply, residual)
}

func (s *profiled) Attention(a driver.AttentionArgs) error {
	defer s.since("attention", time.Now(), 2*a.Batch*a.Heads*a.Tq*a.Tk*a.Width)
	return s.Stream.Attention(a)
}
