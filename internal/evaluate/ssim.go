package evaluate

// ssimWindow is the side of the windows that are compared, in pixels.
const ssimWindow = 8

// ssim is the structural similarity (Wang et al., 2004) of a drawn picture [3 S S], clamped to 0…1, and bytes [S S 3], both in grey, over
// uniform windows at every place.
func ssim(got []float32, want []byte, size int) float64 {
	n := size * size
	a, b := make([]float64, n), make([]float64, n)
	for i := range n {
		for c, weight := range [3]float64{0.299, 0.587, 0.114} {
			a[i] += weight * float64(min(max(got[c*n+i], 0), 1))
			b[i] += weight * float64(want[3*i+c]) / 255
		}
	}
	const c1, c2 = 0.01 * 0.01, 0.03 * 0.03
	w := min(ssimWindow, size)
	sum, places := 0.0, 0
	for y := 0; y+w <= size; y++ {
		for x := 0; x+w <= size; x++ {
			var sa, sb, aa, bb, ab float64
			for r := range w {
				for i := (y+r)*size + x; i < (y+r)*size+x+w; i++ {
					sa, sb = sa+a[i], sb+b[i]
					aa, bb, ab = aa+a[i]*a[i], bb+b[i]*b[i], ab+a[i]*b[i]
				}
			}
			k := float64(w * w)
			ma, mb := sa/k, sb/k
			sum += (2*ma*mb + c1) * (2*(ab/k-ma*mb) + c2) / ((ma*ma + mb*mb + c1) * (aa/k - ma*ma + bb/k - mb*mb + c2))
			places++
		}
	}
	return sum / float64(places)
}
