package gpu

import (
	"errors"
	"fmt"

	"sower/gpu/driver"
)

// Ignored is the label of a target that does not count.
const Ignored = driver.Ignored

// Head turns the last hidden states of a language model into scores of tokens: the rows of Weight [V C], packed, or a
// parameter, and in place of some of its rows, or beyond its last, trained ones.
type Head struct {
	Weight *Tensor
	Rows   *Tensor // [N C], or nil
	IDs    []int32 // the tokens of Rows, ascending; those beyond Weight follow it without a gap
}

// vocabulary is the number of tokens, and says what is wrong with a head.
func (h *Head) vocabulary() (int, error) {
	v := h.Weight.Dim(0)
	if h.Rows == nil {
		return v, nil
	}
	if len(h.IDs) != h.Rows.Dim(0) || h.Rows.Dim(1) != h.Weight.Dim(1) {
		return 0, fmt.Errorf("a head [%d %d] with %d trained rows %v", v, h.Weight.Dim(1), len(h.IDs), h.Rows.Shape())
	}
	for i, id := range h.IDs {
		if i > 0 && id <= h.IDs[i-1] || id < 0 || int(id) > v {
			return 0, fmt.Errorf("token %d of a trained row: want ascending ones without a gap behind %d", id, h.Weight.Dim(0))
		}
		v = max(v, int(id)+1)
	}
	return v, nil
}

// run is a range of trained rows that stand for consecutive tokens.
type run struct{ row, id, n int }

func (h *Head) runs() []run {
	var list []run
	for i, id := range h.IDs {
		if last := len(list) - 1; h.Rows != nil && last >= 0 && list[last].id+list[last].n == int(id) {
			list[last].n++
		} else if h.Rows != nil {
			list = append(list, run{i, int(id), 1})
		}
	}
	return list
}

// Logits returns the scores h·Wᵀ of all tokens: x [.. C] → [.. V].
func (p *Pass) Logits(x *Tensor, h *Head) *Tensor {
	v, err := p.checkHead("logits", x, h)
	if err != nil {
		return p.fail("logits", err, x, h.Weight)
	}
	if p.err != nil {
		return placeholder
	}
	shape := append([]int{}, x.Shape()...)
	shape[len(shape)-1] = v
	y := p.alloc("logits", F32, shape...)
	if p.err == nil {
		p.fail("logits", p.logits(y.view(), x.view(), x.rows(), v, h), x)
	}
	return y
}

func (p *Pass) checkHead(op string, x *Tensor, h *Head) (int, error) {
	if !p.want(op, F32, x) || h.Rows != nil && !p.want(op, F32, h.Rows) || !h.Weight.Packed() && !p.want(op, F32, h.Weight) {
		return 0, nil
	}
	if h.Weight.cols() != x.cols() {
		return 0, fmt.Errorf("want hidden states [.. %d]", h.Weight.cols())
	}
	return h.vocabulary()
}

// logits writes the scores of m rows, v apart.
func (p *Pass) logits(y, x driver.View, m, v int, h *Head) error {
	c := h.Weight.cols()
	var err error
	if h.Weight.Packed() {
		err = p.stream.MatMul(y, v, x, m, h.Weight.matrix)
	} else {
		err = p.stream.BatchMatMul(driver.BatchMatMul{C: driver.Strided{Buf: y.Buf, Off: y.Off, Row: v}, A: driver.Strided{Buf: x.Buf, Off: x.Off, Row: c},
			B: driver.Strided{Buf: h.Weight.buf, Off: h.Weight.off, Row: c}, Batch: 1, Heads: 1, M: m, N: h.Weight.Dim(0), K: c, TransposeB: true})
	}
	for _, r := range h.runs() {
		if err == nil {
			err = p.stream.BatchMatMul(driver.BatchMatMul{C: driver.Strided{Buf: y.Buf, Off: y.Off + r.id, Row: v}, A: driver.Strided{Buf: x.Buf, Off: x.Off, Row: c},
				B: driver.Strided{Buf: h.Rows.buf, Off: h.Rows.off + r.row*c, Row: c}, Batch: 1, Heads: 1, M: m, N: r.n, K: c, TransposeB: true})
		}
	}
	return err
}

// logitElements bounds the scores that are in memory at a time.
const logitElements = 1 << 24

// CrossEntropy returns the losses of rows of hidden states x [.. C]: scale·-log softmax(x·Wᵀ)[label], [rows], 0 where the
// label is Ignored. Scores are computed for some rows at a time and never kept; when training, so are the gradients,
// which is why only Backward of the sum of the losses is possible.
func (p *Pass) CrossEntropy(x *Tensor, h *Head, labels []int32, scale float32) *Tensor {
	v, err := p.checkHead("cross entropy", x, h)
	if err == nil && p.err == nil && len(labels) != x.rows() {
		err = fmt.Errorf("%d labels, want one for each of %d rows", len(labels), x.rows())
	}
	if err != nil {
		return p.fail("cross entropy", err, x, h.Weight)
	}
	rows := x.rows()
	// Losses and scores are float32 wherever activations are less: a softmax over a vocabulary needs it.
	loss, targets := p.allocAs("cross entropy", F32, F32, rows), p.IDs(labels, len(labels))
	step := min(rows, max(1, logitElements/max(v, 1)))
	scores := p.allocAs("cross entropy", F32, F32, step, max(v, 1))
	var dx *Tensor
	track := p.tracks(loss, x, h.Rows, h.Weight)
	if track && x.needs {
		dx = p.alloc("gradient", F32, x.Shape()...)
	}
	if p.err != nil {
		return placeholder
	}
	c := x.cols()
	for r := 0; r < rows; r += step {
		m := min(step, rows-r)
		part := func(t *Tensor, width int) driver.View {
			return driver.View{Buf: t.buf, Off: t.off + r*width, N: m * width}
		}
		logits := driver.View{Buf: scores.buf, Off: scores.off, N: m * v}
		err := p.logits(logits, part(x, c), m, v, h)
		if err == nil {
			err = p.stream.CrossEntropy(driver.CrossEntropyArgs{Loss: part(loss, 1), Logits: logits, Labels: part(targets, 1), Cols: v, Scale: scale})
		}
		if err == nil && track {
			var into driver.View
			if dx != nil {
				into = part(dx, c)
			}
			err = p.headGrad(into, part(x, c), logits, m, v, h)
		}
		if err != nil {
			return p.fail("cross entropy", err, x, h.Weight)
		}
	}
	p.release(scores)
	if track {
		p.note("cross entropy", loss, func(dy *Tensor) error {
			given := make([]float32, dy.Len())
			if err := p.stream.ReadF32(given, dy.view()); err != nil {
				return err
			}
			for _, g := range given {
				if g != 1 {
					return errors.New("only the gradient of the sum of the losses can be had; choose another scale instead")
				}
			}
			if dx == nil {
				return nil
			}
			return p.take(x, dx)
		})
	}
	return loss
}

// headGrad adds the gradients of the head's parameters and writes that of the hidden states, of m rows of gradients of
// scores, v apart.
func (p *Pass) headGrad(dx, x, dlogits driver.View, m, v int, h *Head) error {
	c := h.Weight.cols()
	at := func(view driver.View, off, row int) driver.Strided {
		return driver.Strided{Buf: view.Buf, Off: view.Off + off, Row: row}
	}
	// d is where the gradients of parameters are added: the transposed product of scores and hidden states.
	parameter := func(t *Tensor, row, column, n int) error {
		if !t.parameter {
			return nil
		}
		return p.stream.BatchMatMul(driver.BatchMatMul{C: at(t.grad.view(), row*c, c), A: at(dlogits, column, v), B: at(x, 0, c), Batch: 1, Heads: 1,
			M: n, N: c, K: m, TransposeA: true, Accumulate: true})
	}
	runs := h.runs()
	for _, r := range runs {
		if err := parameter(h.Rows, r.row, r.id, r.n); err != nil {
			return err
		}
		if dx.Buf != nil {
			// First of all these, into 0; the rest is added below.
			if r == runs[0] {
				if err := p.stream.WriteF32(dx, make([]float32, dx.N)); err != nil {
					return err
				}
			}
			if err := p.stream.BatchMatMul(driver.BatchMatMul{C: at(dx, 0, c), A: at(dlogits, r.id, v), B: at(h.Rows.view(), r.row*c, c), Batch: 1, Heads: 1,
				M: m, N: c, K: r.n, Accumulate: true}); err != nil {
				return err
			}
		}
		// What a trained row replaces has no share in the scores.
		if n := min(r.n, h.Weight.Dim(0)-r.id); n > 0 {
			zero := p.alloc("gradient", F32, n)
			if p.err != nil {
				return nil // kept in the pass
			}
			err := errors.Join(p.stream.WriteF32(zero.view(), make([]float32, n)),
				p.stream.Copy(driver.View{Buf: dlogits.Buf, Off: dlogits.Off + r.id, N: dlogits.N - r.id}, v, zero.view(), 0, m, n))
			p.release(zero)
			if err != nil {
				return err
			}
		}
	}
	if err := parameter(h.Weight, 0, 0, h.Weight.Dim(0)); err != nil || dx.Buf == nil {
		return err
	}
	if h.Weight.Packed() {
		return p.stream.MatMulInput(dx, dlogits, v, m, h.Weight.matrix, len(runs) > 0)
	}
	return p.stream.BatchMatMul(driver.BatchMatMul{C: at(dx, 0, c), A: at(dlogits, 0, v), B: at(h.Weight.view(), 0, c), Batch: 1, Heads: 1, M: m, N: c,
		K: h.Weight.Dim(0), Accumulate: len(runs) > 0})
}
