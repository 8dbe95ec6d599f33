package pixels

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

// TestManyScans: a small file that asks for pass after pass over a large picture ends soon.
func TestManyScans(t *testing.T) {
	base := picture(t, "s420_prog.jpg")
	sof := bytes.Index(base, []byte{0xff, mSOF2})
	sos := bytes.Index(base, []byte{0xff, mSOS})
	data := bytes.Clone(base[:sos])
	copy(data[sof+5:], []byte{0x0c, 0, 0x0c, 0}) // 3072 x 3072
	first := base[sos:][:14]
	for range 5000 {
		data = append(data, first...)
		data = append(data, 0x55)
	}
	data = append(data, 0xff, mEOI)
	start := time.Now()
	_, err := Decode(data, Limits{})
	if !errors.Is(err, ErrCorrupt) {
		t.Errorf("error %v, want ErrCorrupt", err)
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("took %v", d)
	}
}

// TestHuffmanTables: codes that are no prefix codes are refused, standard ones are accepted.
func TestHuffmanTables(t *testing.T) {
	for i, s := range standardCodes {
		var h huffTable
		h.define(s.counts[:], s.symbols)
		if !h.build(i < 2) {
			t.Errorf("standard table %d refused", i)
		}
	}
	for name, counts := range map[string][16]uint8{
		"three codes of one bit": {3},
		"all ones":               {2},
		"too many in all":        {0, 255, 255},
		"overfull later":         {1, 1, 3},
	} {
		var h huffTable
		h.define(counts[:], nil)
		if h.build(false) {
			t.Errorf("%s: accepted", name)
		}
	}
	var h huffTable
	h.define([]byte{0, 1, 15: 0}, []byte{16})
	if h.build(true) {
		t.Error("a DC size of 16 bits was accepted")
	}
}

// TestTransforms compares the two plain forms of the inverse DCT where both are exact.
func TestTransforms(t *testing.T) {
	im := noise(8, 8, 7)
	for n := range 200 {
		var a [64]int32
		cols, below := uint8(0), false
		for i := range 1 + n%40 {
			at := int(im.Pix[(n+i)%192]) % 64
			v := int32(im.Pix[(3*n+7*i)%192]) - 128
			a[at] = v
			if v != 0 && at >= 8 {
				cols |= 1 << (at & 7)
				below = true
			}
		}
		b := a
		var pa, pb [64]byte
		transformColumns(&a, cols)
		transformRows(&a, pa[:], 8)
		transformWide(&b, below, pb[:], 8)
		if pa != pb {
			t.Fatalf("block %d: %v and %v", n, pa, pb)
		}
	}
}
