package drivertest

import "math"

// format is a way to keep numbers.
type format struct {
	round func(float32) float32 // nil: float32 itself
	half  float64               // half a unit in the last place, as a share of a number at most
	least float64               // half of the least number above 0
	most  float64               // no larger numbers than this
}

var (
	float32bits  = format{most: math.MaxFloat32}
	bfloat16bits = format{bfloat16, 1.0 / 256, 1e-40, 3e38}
	float16bits  = format{float16, 1.0 / 2048, 1.0 / (1 << 25), 65504}
)

func bfloat16(x float32) float32 {
	u := math.Float32bits(x)
	return math.Float32frombits((u + 0x7fff + u>>16&1) &^ 0xffff)
}

// float16 rounds to 11 bits of mantissa, the last of them 2^-24 at least; the values here are below its largest.
func float16(x float32) float32 {
	_, exponent := math.Frexp(float64(x))
	unit := math.Ldexp(1, max(exponent-11, -24))
	return float32(math.RoundToEven(float64(x)/unit) * unit)
}
