package pixels

import (
	"encoding/binary"
	"fmt"
)

// BMP: the headers and pixel layouts that Pillow's BmpImagePlugin opens, run-length coding
// included.

func bmpErrorf(kind error, f string, args ...any) error {
	return fmt.Errorf("pixels: bmp: "+f+": %w", append(args, kind)...)
}

func isBMP(data []byte) bool { return len(data) >= 2 && data[0] == 'B' && data[1] == 'M' }

// bmpFile describes the pixels of a file.
type bmpFile struct {
	width, height int
	topDown       bool
	bits          int // per pixel in the file
	stride        int
	rle           int // 0 none, 4 or 8
	offset        int
	indexed       bool
	colors        [256][3]byte
	// For direct colour: how to get red, green and blue from the pixel as a little-endian number.
	shift  [3]uint
	widths [3]uint // bits per channel, 8 for whole bytes
}

const (
	bmpRaw       = 0
	bmpRLE8      = 1
	bmpRLE4      = 2
	bmpBitfields = 3
)

// bmpMasks lists the channel masks that Pillow accepts; everything else it refuses. The fourth mask
// counts for 32 bits only.
var bmpMasks = map[int][][4]uint32{
	32: {
		{0xff0000, 0xff00, 0xff, 0}, {0xff000000, 0xff0000, 0xff00, 0}, {0xff000000, 0xff00, 0xff, 0},
		{0xff000000, 0xff0000, 0xff00, 0xff}, {0xff, 0xff00, 0xff0000, 0xff000000},
		{0xff0000, 0xff00, 0xff, 0xff000000}, {0xff000000, 0xff00, 0xff, 0xff0000}, {0, 0, 0, 0},
	},
	24: {{0xff0000, 0xff00, 0xff, 0}},
	16: {{0xf800, 0x7e0, 0x1f, 0}, {0x7c00, 0x3e0, 0x1f, 0}},
}

func readBMP(data []byte) (*bmpFile, error) {
	if len(data) < 18 {
		return nil, bmpErrorf(ErrTruncated, "header of %d bytes", len(data))
	}
	le := binary.LittleEndian
	offset := int64(le.Uint32(data[10:]))
	size := int64(le.Uint32(data[14:]))
	if size != 12 && size != 40 && size != 52 && size != 56 && size != 64 && size != 108 && size != 124 {
		return nil, bmpErrorf(ErrFormat, "header type %d", size)
	}
	if int64(len(data)) < 14+size {
		return nil, bmpErrorf(ErrTruncated, "header of %d bytes", len(data))
	}
	h := data[18 : 14+size]
	at := int(14 + size)
	f := &bmpFile{}
	var compression uint32
	var colors int64
	padding := 4
	var masks [4]uint32
	if size == 12 {
		f.width, f.height, f.bits = int(le.Uint16(h)), int(le.Uint16(h[2:])), int(le.Uint16(h[6:]))
		padding = 3
	} else {
		f.topDown = h[7] == 0xff
		f.width, f.height = int(le.Uint32(h)), int(le.Uint32(h[4:]))
		if f.topDown {
			f.height = 1<<32 - f.height
		}
		f.bits = int(le.Uint16(h[10:]))
		compression = le.Uint32(h[12:])
		colors = int64(le.Uint32(h[28:]))
		if compression == bmpBitfields {
			switch {
			case len(h) >= 48:
				for i := range 3 {
					masks[i] = le.Uint32(h[36+4*i:])
				}
				if len(h) >= 52 {
					masks[3] = le.Uint32(h[48:])
				}
			case len(data)-at < 12:
				return nil, bmpErrorf(ErrTruncated, "colour masks")
			default:
				for i := range 3 {
					masks[i] = le.Uint32(data[at+4*i:])
				}
				at += 12
			}
		}
	}
	if f.width > 1<<31-1 || f.height > 1<<31-1 {
		return nil, bmpErrorf(ErrCorrupt, "size %dx%d", f.width, f.height)
	}
	if colors == 0 {
		colors = 1 << min(f.bits, 40)
	}
	if offset == 14+size && f.bits <= 8 {
		offset += int64(padding) * colors
	}
	f.stride = (f.width*f.bits + 31) >> 3 &^ 3
	switch f.bits {
	case 1, 4, 8:
		f.indexed = true
	case 16:
		f.setMasks([4]uint32{0x7c00, 0x3e0, 0x1f})
	case 24, 32:
		f.setMasks([4]uint32{0xff0000, 0xff00, 0xff})
	default:
		return nil, bmpErrorf(ErrFormat, "%d bits per pixel", f.bits)
	}
	switch compression {
	case bmpRaw:
	case bmpBitfields:
		if f.bits != 32 {
			masks[3] = 0
		}
		known := false
		for _, m := range bmpMasks[f.bits] {
			known = known || m == masks
		}
		if !known {
			return nil, bmpErrorf(ErrFormat, "channel masks %08x with %d bits", masks, f.bits)
		}
		if masks != [4]uint32{} {
			f.setMasks(masks)
		}
	case bmpRLE8:
		f.rle = 8
	case bmpRLE4:
		f.rle = 4
	default:
		return nil, bmpErrorf(ErrFormat, "compression %d", compression)
	}
	if f.indexed {
		if colors > 65536 {
			return nil, bmpErrorf(ErrFormat, "palette of %d colours", colors)
		}
		end := min(len(data), at+padding*int(colors))
		if !f.readPalette(data[at:end], int(colors), padding) {
			return nil, bmpErrorf(ErrCorrupt, "palette of %d colours", colors)
		}
		at = end
	}
	f.offset = at
	if offset != 0 {
		f.offset = int(offset)
	}
	if f.rle != 0 && !f.indexed {
		return nil, bmpErrorf(ErrFormat, "run lengths with %d bits per pixel", f.bits)
	}
	return f, nil
}

// readPalette sets the colours. Pillow drops a palette that is a plain grey ramp and then reads the
// pixels as mode L, or as 1-bit data if there are at most two colours, whatever the header says.
// It reports whether the palette has a size that Pillow takes.
func (f *bmpFile) readPalette(p []byte, n, padding int) bool {
	gray := true
	for i := range n {
		want := byte(i)
		if n == 2 && i == 1 {
			want = 255
		}
		if i > 255 || len(p) < padding*i+3 || p[padding*i] != want || p[padding*i+1] != want || p[padding*i+2] != want {
			gray = false
			break
		}
	}
	for i := range f.colors {
		if at := padding * i; gray {
			f.colors[i] = [3]byte{byte(i), byte(i), byte(i)}
		} else if i < n && len(p) >= at+3 {
			f.colors[i] = [3]byte{p[at+2], p[at+1], p[at]}
		}
	}
	if !gray {
		return len(p) <= 256*padding
	}
	if f.rle != 0 {
		return true
	}
	f.bits = 8
	if n <= 2 {
		f.bits = 1
		f.colors[1] = [3]byte{255, 255, 255}
	}
	return true
}

func (f *bmpFile) setMasks(m [4]uint32) {
	for i := range 3 {
		f.shift[i], f.widths[i] = 0, 0
		for v := m[i]; v&1 == 0; v >>= 1 {
			f.shift[i]++
		}
		for v := m[i] >> f.shift[i]; v&1 != 0; v >>= 1 {
			f.widths[i]++
		}
	}
}

func bmpHeader(data []byte) (width, height int, err error) {
	f, err := readBMP(data)
	if err != nil {
		return 0, 0, err
	}
	return f.width, f.height, nil
}

func decodeBMP(s *scratch, data []byte, maxPixels int64) error {
	f, err := readBMP(data)
	if err != nil {
		return err
	}
	if err := checkArea("bmp", f.width, f.height, maxPixels); err != nil {
		return err
	}
	if f.offset > len(data) {
		return bmpErrorf(ErrTruncated, "pixels at byte %d of %d", f.offset, len(data))
	}
	src := data[f.offset:]
	stride, bits := f.stride, f.bits
	if f.rle != 0 {
		s.index = sized(s.index, f.width*f.height)
		if !f.runLengths(s.index, src, f.offset) {
			return bmpErrorf(ErrCorrupt, "run lengths end before the picture is full")
		}
		src, stride, bits = s.index, f.width, 8
	}
	need := (f.width*bits + 7) / 8
	if need > stride {
		return bmpErrorf(ErrCorrupt, "rows of %d bytes, want %d", stride, need)
	}
	if len(src) < (f.height-1)*stride+need {
		return bmpErrorf(ErrTruncated, "%d bytes of pixels, want %d", len(src), f.height*stride)
	}
	out := s.rgb(f.width, f.height)
	for y := range f.height {
		row := src[y*stride:][:need]
		to := f.height - 1 - y
		if f.topDown {
			to = y
		}
		f.expand(out[3*f.width*to:][:3*f.width], row, bits)
	}
	return nil
}

// expand converts one row.
func (f *bmpFile) expand(o, row []byte, bits int) {
	if f.indexed {
		mask := byte(1<<bits - 1)
		for x := range f.width {
			at := x * bits
			v := row[at>>3] >> (8 - bits - at&7) & mask
			copy(o[3*x:3*x+3], f.colors[v][:])
		}
		return
	}
	size := bits / 8
	for x := range f.width {
		v := uint32(0)
		for i, b := range row[x*size:][:size] {
			v |= uint32(b) << (8 * i)
		}
		for c := range 3 {
			n := f.widths[c]
			g := v >> f.shift[c] & (1<<n - 1)
			o[3*x+c] = byte(g * 255 / (1<<n - 1))
		}
	}
}

// runLengths decodes RLE4 and RLE8 as Pillow does. at is the file position of src, which matters
// because literal runs are padded to even positions. It reports whether every pixel was set.
func (f *bmpFile) runLengths(out, src []byte, at int) bool {
	n, x, p := 0, 0, 0
	put := func(v byte) {
		if n < len(out) {
			out[n] = v
		}
		n++
	}
	for n < len(out) {
		if len(src)-p < 2 {
			break
		}
		count, v := int(src[p]), src[p+1]
		p += 2
		if count > 0 {
			if x+count > f.width {
				count = max(0, f.width-x)
			}
			for i := range count {
				switch {
				case f.rle == 8:
					put(v)
				case i%2 == 0:
					put(v >> 4)
				default:
					put(v & 15)
				}
			}
			x += count
			continue
		}
		switch v {
		case 0:
			for n%f.width != 0 {
				put(0)
			}
			x = 0
		case 1:
			return false
		case 2:
			if len(src)-p < 2 {
				return false
			}
			skip := min(len(out)-n, int(src[p])+int(src[p+1])*f.width)
			p += 2
			for range skip {
				put(0)
			}
			x = n % f.width
		default:
			count := min(len(out)-n, int(v))
			size := count
			if f.rle == 4 {
				size = (count + 1) / 2
			}
			if len(src)-p < size {
				return false
			}
			for i := range count {
				switch {
				case f.rle == 8:
					put(src[p+i])
				case i%2 == 0:
					put(src[p+i/2] >> 4)
				default:
					put(src[p+i/2] & 15)
				}
			}
			p += size
			x += int(v)
			if (at+p)%2 != 0 {
				p++
			}
		}
	}
	return n >= len(out)
}
