package training

import (
	"math"
	"runtime"
	"sync"

	"sower/gpu/models/seed"
)

// pictureLoss compares drawn pictures with wanted ones: the mean squared error, plus those of the differences to the right and to the
// lower neighbour, which keep edges:
//
//	MSE(got, want) + MSE(∂x got, ∂x want) + MSE(∂y got, ∂y want)
//
// want is bytes of B pictures [S S 3] of which v/255 counts. The parts of the painter come in, and the gradients to them, times
// weight, take their places. Pictures are summed in their order, however many are worked on at a time.
func pictureLoss(v *seed.Canvas, size int, coarse, patches []float32, want []byte, weight float64) float64 {
	pixels := v.Pixels()
	n := len(want) / pixels
	nc, np := len(coarse)/n, len(patches)/n
	sums := make([]float64, n)
	var wait sync.WaitGroup
	workers := min(n, runtime.GOMAXPROCS(0))
	for w := range workers {
		wait.Go(func() {
			got, d := make([]float32, pixels), make([]float32, pixels)
			for i := w; i < n; i += workers {
				v.Draw(got, coarse[i*nc:(i+1)*nc], patches[i*np:(i+1)*np])
				sums[i] = pictureTerms(got, want[i*pixels:(i+1)*pixels], d, size, n, weight)
				v.DrawGrad(coarse[i*nc:(i+1)*nc], patches[i*np:(i+1)*np], d)
			}
		})
	}
	wait.Wait()
	loss := 0.0
	for _, s := range sums {
		loss += s
	}
	return loss
}

// pictureTerms is one picture's share of the loss of n; d is its gradient, times weight.
func pictureTerms(got []float32, want []byte, d []float32, size, n int, weight float64) float64 {
	for ch := range 3 { // the difference, in place; want is [S S 3], got [3 S S]
		for at := range size * size {
			got[ch*size*size+at] -= float32(want[3*at+ch]) / 255
		}
	}
	whole := 1 / float64(n*len(got))
	edges := 1 / float64(n*3*size*(size-1))
	loss, cw, ce := 0.0, float32(2*whole*weight), float32(2*edges*weight)
	for i, e := range got {
		loss += whole * float64(e) * float64(e)
		d[i] = cw * e
	}
	for ch := range 3 {
		for y := range size {
			row := (ch*size + y) * size
			for x := range size {
				i := row + x
				if x+1 < size {
					e := got[i+1] - got[i]
					loss += edges * float64(e) * float64(e)
					d[i+1] += ce * e
					d[i] -= ce * e
				}
				if y+1 < size {
					e := got[i+size] - got[i]
					loss += edges * float64(e) * float64(e)
					d[i+size] += ce * e
					d[i] -= ce * e
				}
			}
		}
	}
	return loss
}

// PSNR is the peak signal-to-noise ratio in dB of a drawn picture [3 S S], clamped to 0…1, against bytes [S S 3].
func PSNR(got []float32, want []byte) float64 {
	n, sum := len(got)/3, 0.0
	for i, v := range got {
		e := float64(min(max(v, 0), 1)) - float64(want[3*(i%n)+i/n])/255
		sum += e * e
	}
	return -10 * math.Log10(max(sum/float64(len(got)), 1e-10))
}
