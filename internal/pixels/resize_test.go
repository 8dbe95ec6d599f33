package pixels

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"testing"
)

// fixCRC sets the checksum of a PNG chunk given from its type on.
func fixCRC(chunk []byte) {
	binary.BigEndian.PutUint32(chunk[len(chunk)-4:], crc32.ChecksumIEEE(chunk[:len(chunk)-4]))
}

func noise(w, h int, seed uint64) *Image {
	r := rand.New(rand.NewPCG(seed, 1))
	im := &Image{Pix: make([]byte, 3*w*h), Width: w, Height: h}
	for i := range im.Pix {
		im.Pix[i] = byte(r.Uint32())
	}
	return im
}

// plainResize is the resize without pairs: one sum per sample, pass by pass.
func plainResize(im *Image, ow, oh int, f Filter) *Image {
	pass := func(im *Image, ow, oh int) *Image {
		if ow == im.Width && oh == im.Height {
			return im
		}
		out := &Image{Pix: make([]byte, 3*ow*oh), Width: ow, Height: oh}
		var ax axis
		horizontal := ow != im.Width
		if horizontal {
			ax.set(im.Width, ow, f)
		} else {
			ax.set(im.Height, oh, f)
		}
		for y := range oh {
			for x := range ow {
				for c := range 3 {
					i := x
					if !horizontal {
						i = y
					}
					sum := int64(1) << (weightBits - 1)
					for j := range ax.count[i] {
						px, py := ax.first[i]+j, y
						if !horizontal {
							px, py = x, ax.first[i]+j
						}
						sum += ax.weights[i*ax.taps+j] * int64(im.Pix[3*(py*im.Width+px)+c])
					}
					out.Pix[3*(y*ow+x)+c] = byte(max(0, min(255, sum>>weightBits)))
				}
			}
		}
		return out
	}
	if verticalFirst(im.Width, im.Height, ow, oh) {
		return pass(pass(im, im.Width, oh), ow, oh)
	}
	return pass(pass(im, ow, im.Height), ow, oh)
}

func TestResizeAgainstPlain(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 300 {
		w, h, ow, oh := 1+r.IntN(60), 1+r.IntN(60), 1+r.IntN(60), 1+r.IntN(60)
		switch i % 10 {
		case 0:
			ow = w
		case 1:
			oh = h
		case 2:
			h = 200
		}
		f := []Filter{Bicubic, Bilinear}[i%2]
		im := noise(w, h, uint64(i))
		if got, want := Resize(im, ow, oh, f), plainResize(im, ow, oh, f); !bytes.Equal(got.Pix, want.Pix) {
			t.Errorf("%s %dx%d to %dx%d differs", f, w, h, ow, oh)
		}
	}
}

// TestResizeConstant: the weights of every output sum to one, so a flat picture stays flat.
func TestResizeConstant(t *testing.T) {
	for _, v := range []byte{0, 1, 127, 254, 255} {
		im := &Image{Pix: bytes.Repeat([]byte{v}, 3*50*41), Width: 50, Height: 41}
		for _, f := range []Filter{Bicubic, Bilinear} {
			for _, s := range [][2]int{{1, 1}, {7, 9}, {50, 20}, {33, 41}, {120, 77}} {
				for i, got := range Resize(im, s[0], s[1], f).Pix {
					if got != v {
						t.Fatalf("%s to %v: sample %d is %d, want %d", f, s, i, got, v)
					}
				}
			}
		}
	}
}

// TestResizeIdentity: the same size is a copy in other memory.
func TestResizeIdentity(t *testing.T) {
	im := noise(13, 9, 1)
	got := Resize(im, 13, 9, Bilinear)
	if !bytes.Equal(got.Pix, im.Pix) || &got.Pix[0] == &im.Pix[0] {
		t.Error("no copy")
	}
}

// TestPairSumsFit checks the bound that lets two sums share a 64-bit integer.
func TestPairSumsFit(t *testing.T) {
	for _, f := range []Filter{Bicubic, Bilinear} {
		for in := 1; in < 400; in += 7 {
			for out := 1; out < 400; out += 11 {
				var ax axis
				ax.set(in, out, f)
				for i := range out {
					sum := int64(0)
					for _, k := range ax.weights[i*ax.taps:][:ax.count[i]] {
						sum += max(k, -k)
					}
					if 255*sum+1<<weightBits >= 1<<31 {
						t.Fatalf("%s %d to %d: weights of %d sum to %d", f, in, out, i, sum)
					}
				}
			}
		}
	}
}
