package pixels

// Tables of the YCbCr to RGB conversion of JFIF (ITU-R BT.601, full range) in 16-bit fixed point.
var crToR, cbToB, crToG, cbToG = func() (r, b, gr, gb [256]int32) {
	for i := range r {
		x := int32(i - 128)
		r[i] = (91881*x + 1<<15) >> 16  // 1.40200
		b[i] = (116130*x + 1<<15) >> 16 // 1.77200
		gr[i] = -46802 * x              // 0.71414
		gb[i] = -22554*x + 1<<15        // 0.34414
	}
	return r, b, gr, gb
}()

func clampByte(v int32) byte {
	if uint32(v) > 255 {
		return byte(^(v >> 31))
	}
	return byte(v)
}

// colorSpace says how the planes relate to RGB.
type colorSpace int

const (
	spaceGray colorSpace = iota
	spaceRGB
	spaceYCC
	spaceCMYK
	spaceYCCK
)

// space guesses the colour space from the markers as libjpeg does.
func (d *jpegDecoder) space() colorSpace {
	switch len(d.comps) {
	case 1:
		return spaceGray
	case 4:
		if d.adobe && d.adobeTransform != 0 {
			return spaceYCCK
		}
		return spaceCMYK
	}
	switch {
	case d.jfif:
		return spaceYCC
	case d.adobe:
		if d.adobeTransform == 0 {
			return spaceRGB
		}
		return spaceYCC
	case d.comps[0].id == 'R' && d.comps[1].id == 'G' && d.comps[2].id == 'B':
		return spaceRGB
	}
	return spaceYCC
}

// output upsamples and converts the planes row by row into out, 3*width*height bytes.
func (d *jpegDecoder) output(out []byte) {
	w := d.width
	total, widest := 0, 0
	for i := range d.comps {
		total += d.comps[i].width * d.comps[i].hs
		widest = max(widest, d.comps[i].width)
	}
	d.rowMem = sized(d.rowMem, total)
	d.sums = sized(d.sums, widest)
	var bufs [4][]byte
	at := 0
	for i := range d.comps {
		n := d.comps[i].width * d.comps[i].hs
		bufs[i] = d.rowMem[at:][:n:n]
		at += n
	}
	space := d.space()
	for y := range d.height {
		for i := range d.comps {
			d.rows[i] = d.comps[i].upsample(y, bufs[i], d.sums)[:w]
		}
		o := out[3*w*y:][:3*w]
		switch space {
		case spaceGray:
			grayRow(o, d.rows[0])
		case spaceRGB:
			planarRow(o, d.rows[0], d.rows[1], d.rows[2])
		case spaceYCC:
			yccRow(o, d.rows[0], d.rows[1], d.rows[2])
		case spaceCMYK:
			planarRow(o, d.rows[0], d.rows[1], d.rows[2])
			cmykRow(o, d.rows[3], 0)
		case spaceYCCK:
			yccRow(o, d.rows[0], d.rows[1], d.rows[2])
			cmykRow(o, d.rows[3], 255)
		}
	}
}

func grayRow(o, y []byte) {
	for _, v := range y {
		o[0], o[1], o[2] = v, v, v
		o = o[3:]
	}
}

func planarRow(o, a, b, c []byte) {
	b, c = b[:len(a)], c[:len(a)]
	for i, v := range a {
		o[0], o[1], o[2] = v, b[i], c[i]
		o = o[3:]
	}
}

func yccPlain(o, y, cb, cr []byte) {
	cb, cr = cb[:len(y)], cr[:len(y)]
	for i, v := range y {
		u, w := cb[i], cr[i]
		l := int32(v)
		r, g, b := l+crToR[w], l+(cbToG[u]+crToG[w])>>16, l+cbToB[u]
		if len(o) < 3 {
			break
		}
		if uint32(r|g|b) > 255 {
			o[0], o[1], o[2] = clampByte(r), clampByte(g), clampByte(b)
		} else {
			o[0], o[1], o[2] = byte(r), byte(g), byte(b)
		}
		o = o[3:]
	}
}

// cmykRow turns a row of inks into RGB in place. Pillow takes every four-component JPEG to be
// inverted as Adobe writes it (0 is full ink), marker or not: after undoing that, and the
// 255 - RGB of YCCK (flip = 255), its CMYK to RGB is nk - c*nk/255 with nk = 255 - black.
func cmykRow(o, k []byte, flip byte) {
	for _, kv := range k {
		nk := int32(kv) // 255 - (255 - k)
		for i := range 3 {
			ink := int32(255 - (o[i] ^ flip))
			t := ink*nk + 128
			o[i] = clampByte(nk - (t>>8+t)>>8)
		}
		o = o[3:]
	}
}
