package bench

import (
	"bytes"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
)

// Photo is a JPEG, 4:2:0, quality 80, with the smooth areas, edges and grain of a photograph.
func Photo(w, h int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	im := image.NewRGBA(image.Rect(0, 0, w, h))
	fx, fy, cx, cy := 2+5*r.Float64(), 2+5*r.Float64(), r.Float64()*float64(w), r.Float64()*float64(h)
	for y := range h {
		for x := range w {
			a := math.Sin(fx*float64(x)/float64(w)*math.Pi) * math.Cos(fy*float64(y)/float64(h)*math.Pi)
			d := math.Hypot(float64(x)-cx, float64(y)-cy) / float64(w)
			v := 128 + 70*a + 12*r.NormFloat64()
			if d < 0.2 {
				v = 255 - v
			}
			clip := func(f float64) uint8 { return uint8(max(0, min(255, f))) }
			im.SetRGBA(x, y, color.RGBA{clip(v), clip(v*0.8 + 60*d), clip(255 - v*0.6), 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, im, &jpeg.Options{Quality: 80}); err != nil {
		panic(err) // bytes.Buffer does not fail, and the size is a caller's constant
	}
	return b.Bytes()
}
