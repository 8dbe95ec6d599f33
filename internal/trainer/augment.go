package trainer

import (
	"math"
	"math/rand/v2"
)

// drawing is the generator of one sample of one step: what is drawn follows from these numbers, however samples are shared out.
func drawing(seed uint64, step, sample int) *rand.Rand {
	return rand.New(rand.NewPCG(seed, uint64(step)<<20|uint64(sample)))
}

// crop writes a random part of a picture [S0 S0 3] as [S S 3]: its area, the ratio of its sides, its place and whether it is mirrored
// are drawn; pixels between samples are bilinear, and those beyond the edge the edge's.
func crop(dst, src []byte, size, source int, a Augment, r *rand.Rand) {
	area := a.MinArea + (1-a.MinArea)*r.Float64()
	ratio := math.Exp((2*r.Float64() - 1) * math.Log(a.Ratio))
	w, h := min(math.Sqrt(area*ratio), 1), min(math.Sqrt(area/ratio), 1)
	left, top := r.Float64()*(1-w), r.Float64()*(1-h)
	mirrored := r.Float64() < 0.5 && a.Flip
	columns, rows := taps(size, source, left, w, mirrored), taps(size, source, top, h, false)
	for y, v := range rows {
		for x, u := range columns {
			for c := range 3 {
				at := func(row, column int) float64 { return float64(src[(row*source+column)*3+c]) }
				upper := at(v.from, u.from)*(1-u.share) + at(v.from, u.to)*u.share
				lower := at(v.to, u.from)*(1-u.share) + at(v.to, u.to)*u.share
				dst[(y*size+x)*3+c] = byte(upper*(1-v.share) + lower*v.share + 0.5)
			}
		}
	}
}

// tap is a place between two pixels.
type tap struct {
	from, to int
	share    float64 // of to
}

// taps are the places of size samples along a side of which they see the part [at, at+length), as shares.
func taps(size, source int, at, length float64, mirrored bool) []tap {
	out := make([]tap, size)
	for i := range out {
		x := min(max((at+length*(float64(i)+0.5)/float64(size))*float64(source)-0.5, 0), float64(source-1))
		from := int(x)
		t := tap{from, min(from+1, source-1), x - float64(from)}
		if mirrored {
			out[size-1-i] = t
		} else {
			out[i] = t
		}
	}
	return out
}

// dropWords leaves out a share of the words; one stays.
func dropWords(words []int32, share float64, r *rand.Rand) []int32 {
	if share == 0 || len(words) == 0 {
		return words
	}
	var kept []int32
	for _, w := range words {
		if r.Float64() >= share {
			kept = append(kept, w)
		}
	}
	if len(kept) == 0 {
		kept = append(kept, words[r.IntN(len(words))])
	}
	return kept
}
