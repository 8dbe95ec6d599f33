package llama

import "math"

// frequencies returns the angle by which channels i and i + D/2 of a head turn from position to position: theta^(-2i/D),
// scaled. Like Hugging Face's, they are float32.
//
// linear (arXiv 2306.15595) divides them by factor. llama3 leaves wavelengths below original/high as they are, divides
// those above original/low by factor, and goes from one to the other smoothly in between.
func (c Config) frequencies() []float32 {
	f := make([]float32, c.HeadDim/2)
	r := c.RopeScaling
	for i := range f {
		v := 1 / float64(float32(math.Pow(c.RopeTheta, float64(2*i)/float64(c.HeadDim))))
		v = float64(float32(v))
		switch {
		case r == nil || r.RopeType == "default" || r.RopeType == "":
		case len(r.FreqFactors) > 0:
			v /= float64(r.FreqFactors[i])
		case r.RopeType == "linear":
			v /= r.Factor
		default:
			wavelength := 2 * math.Pi / v
			switch {
			case wavelength < r.OriginalMaxPositionEmbeddings/r.HighFreqFactor:
			case wavelength > r.OriginalMaxPositionEmbeddings/r.LowFreqFactor:
				v /= r.Factor
			default:
				smooth := (r.OriginalMaxPositionEmbeddings/wavelength - r.LowFreqFactor) / (r.HighFreqFactor - r.LowFreqFactor)
				v = float64((1-smooth)*v/r.Factor) + float64(smooth*v)
			}
		}
		f[i] = float32(v)
	}
	return f
}

// rotations returns cosine and sine of the angles of positions 0 to n-1: [n D/2] each. Angles are products of float32, as in
// Hugging Face's code, which matters at high positions.
func (c Config) rotations(n int) (cos, sin []float32) {
	f := c.frequencies()
	cos, sin = make([]float32, 0, n*len(f)), make([]float32, 0, n*len(f))
	for p := range n {
		for _, v := range f {
			angle := float64(float32(p) * v)
			cos, sin = append(cos, float32(math.Cos(angle))), append(sin, float32(math.Sin(angle)))
		}
	}
	return cos, sin
}
