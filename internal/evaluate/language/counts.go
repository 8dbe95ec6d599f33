package language

import "math"

// Counts are how often each code is used at each place: what can be known of codes without looking at caption or image.
type Counts struct {
	places [][]float64
	images float64
}

// NewCounts begins with none, of images of so many codes out of k.
func NewCounts(perImage, k int) *Counts {
	c := &Counts{places: make([][]float64, perImage)}
	for i := range c.places {
		c.places[i] = make([]float64, k)
	}
	return c
}

// Add counts an image. Codes beyond those of NewCounts are not counted.
func (c *Counts) Add(codes []uint16) {
	for place, code := range codes[:min(len(codes), len(c.places))] {
		if int(code) < len(c.places[place]) {
			c.places[place][code]++
		}
	}
	c.images++
}

// Bits is what a code costs at a place, with a half added to every count: codes that were never seen there are possible, too.
func (c *Counts) Bits(place int, code uint16) float64 {
	k := float64(len(c.places[place]))
	return -math.Log2((c.places[place][code] + 0.5) / (c.images + 0.5*k))
}
