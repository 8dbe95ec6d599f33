package cpu

import (
	"fmt"
	"math"

	"sower/gpu/driver"
)

// The gradients as loops, in float64 inside.

func (plainStream) MatMulInput(dx, dy driver.View, stride, m int, w driver.Matrix, accumulate bool) error {
	weight := w.(*plainMatrix)
	to, from := floats(dx), floats(dy)
	for i := range m {
		for k := range weight.cols {
			sum := 0.0
			if accumulate {
				sum = float64(to[i*weight.cols+k])
			}
			for j := range weight.rows {
				sum += float64(from[i*stride+j]) * float64(weight.values[j*weight.cols+k])
			}
			to[i*weight.cols+k] = float32(sum)
		}
	}
	return nil
}

func (memory) SumRows(y, x driver.View, cols int) error {
	to, from := floats(y), floats(x)
	for i := 0; i < len(from); i += cols {
		addPlain(to, to, from[i:i+cols])
	}
	return nil
}

// slope is the derivative of an elementwise function.
func slope(f driver.Func, x float64) float64 {
	switch f {
	case driver.GELU:
		return math.Erfc(-x/math.Sqrt2)/2 + x*math.Exp(-x*x/2)/math.Sqrt(2*math.Pi)
	case driver.Tanh:
		t := math.Tanh(x)
		return 1 - t*t
	case driver.SiLU:
		s := 1 / (1 + math.Exp(-x))
		return s * (1 + x*(1-s))
	}
	if x > 0 {
		return 1
	}
	return 0
}

func applyGradPlain(f driver.Func, dx, dy, x []float32) {
	for i, v := range x {
		dx[i] = float32(float64(dy[i]) * slope(f, float64(v)))
	}
}

func (plainStream) ApplyGrad(f driver.Func, dx, dy, x driver.View) error {
	applyGradPlain(f, floats(dx), floats(dy), floats(x))
	return nil
}

func (memory) LayerNormGrad(dx, dweight, dbias, dy, x, weight driver.View, cols int, eps float32) error {
	to, from, in := floats(dx), floats(dy), floats(x)
	for i := 0; i < len(in); i += cols {
		x, dy := in[i:i+cols], from[i:i+cols]
		var dw, db []float32
		if dweight.Buf != nil {
			dw = floats(dweight)
		}
		if dbias.Buf != nil {
			db = floats(dbias)
		}
		layerNormGradPlain(to[i:i+cols], dy, x, floats(weight), dw, db, eps)
	}
	return nil
}

// layerNormGradPlain is the gradient of one row. Those of weight and bias are added to, or left out where they are nil.
func layerNormGradPlain(dx, dy, x, weight, dweight, dbias []float32, eps float32) {
	mean, factor := meanAndFactor(x, eps)
	if dweight != nil {
		for j, v := range x {
			dweight[j] += float32(float64(dy[j]) * (float64(v) - mean) * factor)
		}
	}
	if dbias != nil {
		addPlain(dbias, dbias, dy)
	}
	normGradRow(dx, dy, x, weight, mean, factor, true)
}

func meanAndFactor(x []float32, eps float32) (mean, factor float64) {
	for _, v := range x {
		mean += float64(v)
	}
	mean /= float64(len(x))
	variance := 0.0
	for _, v := range x {
		variance += (float64(v) - mean) * (float64(v) - mean)
	}
	return mean, 1 / math.Sqrt(variance/float64(len(x))+float64(eps))
}

// normGradRow writes the gradient of (x-mean)·factor·weight to x: with g = dy·weight and n = (x-mean)·factor,
// factor·(g - mean(g) - n·mean(g·n)); without the mean of g where the norm subtracts none.
func normGradRow(dx, dy, x, weight []float32, mean, factor float64, centered bool) {
	sum, along, n := 0.0, 0.0, float64(len(x))
	for i, v := range x {
		g := float64(dy[i]) * float64(weight[i])
		sum += g
		along += g * (float64(v) - mean) * factor
	}
	if !centered {
		sum = 0
	}
	for i, v := range x {
		g := float64(dy[i]) * float64(weight[i])
		dx[i] = float32(factor * (g - sum/n - (float64(v)-mean)*factor*along/n))
	}
}

func (memory) RMSNormGrad(dx, dweight, dy, x, weight driver.View, cols int, eps float32) error {
	to, from, in := floats(dx), floats(dy), floats(x)
	for i := 0; i < len(in); i += cols {
		x, dy := in[i:i+cols], from[i:i+cols]
		var dw []float32
		if dweight.Buf != nil {
			dw = floats(dweight)
		}
		rmsNormGradRow(to[i:i+cols], dy, x, floats(weight), dw, eps)
	}
	return nil
}

// rmsNormGradRow is layerNormGradPlain for the norm by the root of the mean square.
func rmsNormGradRow(dx, dy, x, weight, dweight []float32, eps float32) {
	factor := rmsFactor(x, eps)
	if dweight != nil {
		for j, v := range x {
			dweight[j] += float32(float64(dy[j]) * float64(v) * factor)
		}
	}
	normGradRow(dx, dy, x, weight, 0, factor, false)
}

func (memory) SoftmaxGrad(dx, dy, y driver.View, cols int, scale float32) error {
	to, from, p := floats(dx), floats(dy), floats(y)
	for i := 0; i < len(p); i += cols {
		softmaxGradPlain(to[i:i+cols], from[i:i+cols], p[i:i+cols], scale)
	}
	return nil
}

func softmaxGradPlain(dx, dy, y []float32, scale float32) {
	sum := 0.0
	for i, v := range y {
		sum += float64(v) * float64(dy[i])
	}
	for i, v := range y {
		dx[i] = float32(float64(scale) * float64(v) * (float64(dy[i]) - sum))
	}
}

func (plainStream) GateGrad(dg, du, dy, g, u driver.View) error {
	gateGradPlain(floats(dg), floats(du), floats(dy), floats(g), floats(u))
	return nil
}

func gateGradPlain(dg, du, dy, g, u []float32) {
	for i, v := range g {
		s := 1 / (1 + math.Exp(-float64(v)))
		d, w := float64(dy[i]), float64(u[i])
		du[i] = float32(d * float64(v) * s)
		dg[i] = float32(d * w * s * (1 + float64(v)*(1-s)))
	}
}

// attendPlain computes one head's scores of one query as probabilities, in float64, and returns the range of keys that it sees.
func attendPlain(a driver.AttentionArgs, batch, head, i int, p []float64) (from, to int) {
	q, k := strided(a.Q, batch, head)[i*a.Q.Row:], strided(a.K, batch, a.KeyHead(head))
	to = a.Tk
	if a.Causal {
		to = a.Tk - a.Tq + i + 1
	}
	if a.Starts.Buf != nil {
		from = min(max(0, int(ids(a.Starts)[batch*a.Tq+i])), to)
	}
	most, sum := math.Inf(-1), 0.0
	for j := from; j < to; j++ {
		p[j] = float64(a.Scale) * dot(q[:a.Width], k[j*a.K.Row:])
		most = max(most, p[j])
	}
	for j := from; j < to; j++ {
		p[j] = math.Exp(p[j] - most)
		sum += p[j]
	}
	for j := from; j < to; j++ {
		p[j] /= sum
	}
	return from, to
}

func (s plainStream) Attention(a driver.AttentionArgs) error {
	if s.bf16 {
		for _, operand := range []*driver.Strided{&a.Q, &a.K, &a.V} {
			operand.Buf = &buffer{f: rounded(operand.Buf.(*buffer).f, true)}
		}
	}
	p := make([]float64, a.Tk)
	for batch := range a.Batch {
		for head := range a.Heads {
			v, y := strided(a.V, batch, a.KeyHead(head)), strided(a.Y, batch, head)
			for i := range a.Tq {
				from, to := attendPlain(a, batch, head, i, p)
				for d := range a.Width {
					sum := 0.0
					for j := from; j < to; j++ {
						sum += p[j] * float64(v[j*a.V.Row+d])
					}
					y[i*a.Y.Row+d] = float32(sum)
				}
			}
		}
	}
	return nil
}

func (plainStream) AttentionGrad(a driver.AttentionGradArgs) error {
	p := make([]float64, a.Tk)
	group := 1
	if a.KVHeads > 0 {
		group = a.Heads / a.KVHeads
	}
	dk, dv := make([]float64, a.Tk*a.Width), make([]float64, a.Tk*a.Width)
	for batch := range a.Batch {
		for head := range a.Heads {
			kv := a.KeyHead(head)
			q, k, v := strided(a.Q, batch, head), strided(a.K, batch, kv), strided(a.V, batch, kv)
			dy, dq := strided(a.DY, batch, head), strided(a.DQ, batch, head)
			if head%group == 0 {
				clear(dk)
				clear(dv)
			}
			for i := range a.Tq {
				from, to := attendPlain(a.AttentionArgs, batch, head, i, p)
				dp, mean := make([]float64, a.Tk), 0.0
				for j := from; j < to; j++ {
					for d := range a.Width {
						dv[j*a.Width+d] += p[j] * float64(dy[i*a.DY.Row+d])
						dp[j] += float64(dy[i*a.DY.Row+d]) * float64(v[j*a.V.Row+d])
					}
					mean += p[j] * dp[j]
				}
				for d := range a.Width {
					sum := 0.0
					for j := from; j < to; j++ {
						ds := float64(a.Scale) * p[j] * (dp[j] - mean)
						sum += ds * float64(k[j*a.K.Row+d])
						dk[j*a.Width+d] += ds * float64(q[i*a.Q.Row+d])
					}
					dq[i*a.DQ.Row+d] = float32(sum)
				}
			}
			if head%group == group-1 {
				toK, toV := strided(a.DK, batch, kv), strided(a.DV, batch, kv)
				for j := range a.Tk {
					for d := range a.Width {
						toK[j*a.DK.Row+d], toV[j*a.DV.Row+d] = float32(dk[j*a.Width+d]), float32(dv[j*a.Width+d])
					}
				}
			}
		}
	}
	return nil
}

func (plainStream) CrossEntropy(a driver.CrossEntropyArgs) error {
	for i, label := range ids(a.Labels) {
		row := floats(a.Logits)[i*a.Cols:][:a.Cols]
		if err := checkLabel(i, label, a.Cols); err != nil {
			return err
		}
		if label == driver.Ignored {
			clear(row)
			floats(a.Loss)[i] = 0
			continue
		}
		most, sum := math.Inf(-1), 0.0
		for _, v := range row {
			most = max(most, float64(v))
		}
		for _, v := range row {
			sum += math.Exp(float64(v) - most)
		}
		floats(a.Loss)[i] = float32(float64(a.Scale) * (most + math.Log(sum) - float64(row[label])))
		for j, v := range row {
			row[j] = float32(float64(a.Scale) * math.Exp(float64(v)-most) / sum)
		}
		row[label] -= a.Scale
	}
	return nil
}

func checkLabel(i int, label int32, cols int) error {
	if label != driver.Ignored && (label < 0 || int(label) >= cols) {
		return fmt.Errorf("cpu: cross entropy: label %d of row %d, want less than %d or %d", label, i, cols, driver.Ignored)
	}
	return nil
}

func (memory) SumSquares(x driver.View) (float64, error) {
	sum := 0.0
	for _, v := range floats(x) {
		sum += float64(v) * float64(v)
	}
	return sum, nil
}

func (memory) AdamW(a driver.AdamWArgs) error {
	adamW(floats(a.P), floats(a.G), floats(a.M), floats(a.V), a)
	return nil
}

func adamW(p, g, m, v []float32, a driver.AdamWArgs) {
	t := float64(a.Step)
	keep, scale := 1-a.Rate*a.Decay, a.GradScale
	rate, root := a.Rate/(1-math.Pow(a.Beta1, t)), 1/math.Sqrt(1-math.Pow(a.Beta2, t))
	for i := range p {
		d := float64(g[i]) * scale
		m1 := a.Beta1*float64(m[i]) + (1-a.Beta1)*d
		v1 := a.Beta2*float64(v[i]) + (1-a.Beta2)*d*d
		m[i], v[i] = float32(m1), float32(v1)
		p[i] = float32(float64(p[i])*keep - rate*m1/(math.Sqrt(v1)*root+a.Eps))
	}
}
