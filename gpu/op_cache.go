package gpu

import "fmt"

// Append writes x [B T E] into rows at to at+T of each sequence of cache [B N E], made by NewTensor, and returns a view of
// the first at+T rows: [B at+T E], keys or values of all tokens so far. Only CausalAttention takes such a view, as k or v.
// It is the one operation that changes an operand: a cache is state, and therefore for passes of inference.
func (p *Pass) Append(cache, x *Tensor, at int) *Tensor {
	if !p.want("append", F32, cache, x) {
		return placeholder
	}
	if p.training() {
		return p.fail("append", fmt.Errorf("a cache has no gradients; use an inference pass, or no cache"), cache, x)
	}
	if cache.rank != 3 || x.rank != 3 || cache.Dim(0) != x.Dim(0) || cache.Dim(2) != x.Dim(2) || at < 0 || at+x.Dim(1) > cache.Dim(1) {
		return p.fail("append", fmt.Errorf("%d rows at %d do not fit", x.Dim(1), at), cache, x)
	}
	b, n, t, e := x.Dim(0), cache.Dim(1), x.Dim(1), x.Dim(2)
	dst := cache.view()
	dst.Off, dst.N = dst.Off+at*e, dst.N-at*e
	p.fail("append", p.stream.Copy(dst, n*e, x.view(), t*e, b, t*e), cache, x)
	y := p.header()
	*y = *cache
	y.grad, y.needs, y.parameter = nil, false, false
	y.dims[1] = at + t
	y.batch = n * e
	return y
}
