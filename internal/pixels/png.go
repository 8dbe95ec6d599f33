package pixels

import (
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// The PNG reader follows Pillow's rather than image/png: checksums count only before the first
// IDAT (and for the compressed stream, if it ends with the last row), a missing IEND is no failure, a stream that ends properly but early leaves black rows,
// transparency is ignored, 16-bit samples lose their low byte, except that 16-bit grey is clipped at
// 255 (Pillow's mode I;16 is not scaled).

func pngErrorf(kind error, f string, args ...any) error {
	return fmt.Errorf("pixels: png: "+f+": %w", append(args, kind)...)
}

func isPNG(data []byte) bool {
	return len(data) >= 8 && string(data[:8]) == "\x89PNG\r\n\x1a\n"
}

// pngFile is what the chunks before the pixels say.
type pngFile struct {
	width, height int
	depth         int // bits per sample
	channels      int
	palette       bool // samples are palette indices
	alpha         bool
	interlaced    bool
	colors        [256][3]byte
	rest          []byte // from the first IDAT chunk on
}

// readPNG reads the chunks up to the first IDAT.
func readPNG(data []byte) (*pngFile, error) {
	f := &pngFile{} // colours that PLTE does not give are black
	seen := false
	for at := 8; ; {
		if len(data)-at < 8 {
			return nil, pngErrorf(ErrTruncated, "no IDAT chunk")
		}
		n := int64(binary.BigEndian.Uint32(data[at:]))
		kind := string(data[at+4 : at+8])
		if kind == "IDAT" {
			f.rest = data[at:]
			break
		}
		if kind == "IEND" {
			return nil, pngErrorf(ErrCorrupt, "no IDAT chunk")
		}
		if int64(len(data)-at) < 12+n {
			return nil, pngErrorf(ErrTruncated, "chunk %q at byte %d", kind, at)
		}
		body := data[at+8 : at+8+int(n)]
		if crc32.ChecksumIEEE(data[at+4:at+8+int(n)]) != binary.BigEndian.Uint32(data[at+8+int(n):]) {
			return nil, pngErrorf(ErrCorrupt, "chunk %q at byte %d: bad checksum", kind, at)
		}
		switch kind {
		case "IHDR":
			if err := f.readIHDR(body); err != nil {
				return nil, err
			}
			seen = true
		case "PLTE":
			for i := 0; i+3 <= len(body) && i < 3*256; i += 3 {
				f.colors[i/3] = [3]byte(body[i:])
			}
		}
		at += 12 + int(n)
	}
	if !seen {
		return nil, pngErrorf(ErrCorrupt, "no IHDR chunk")
	}
	return f, nil
}

func (f *pngFile) readIHDR(b []byte) error {
	if len(b) < 13 {
		return pngErrorf(ErrCorrupt, "IHDR of %d bytes", len(b))
	}
	w, h := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	if w == 0 || h == 0 || w > 1<<31-1 || h > 1<<31-1 {
		return pngErrorf(ErrCorrupt, "size %dx%d", w, h)
	}
	f.width, f.height = int(w), int(h)
	f.depth = int(b[8])
	depths := 0 // bit d is set if the colour type allows d bits
	switch b[9] {
	case 0:
		f.channels, depths = 1, 1<<1|1<<2|1<<4|1<<8|1<<16
	case 2:
		f.channels, depths = 3, 1<<8|1<<16
	case 3:
		f.channels, f.palette, depths = 1, true, 1<<1|1<<2|1<<4|1<<8
	case 4:
		f.channels, f.alpha, depths = 2, true, 1<<8|1<<16
	case 6:
		f.channels, f.alpha, depths = 4, true, 1<<8|1<<16
	}
	if f.depth > 16 || depths>>f.depth&1 == 0 {
		return pngErrorf(ErrFormat, "colour type %d with %d bits", b[9], f.depth)
	}
	if b[11] != 0 {
		return pngErrorf(ErrFormat, "filter method %d", b[11])
	}
	f.interlaced = b[12] != 0
	return nil
}

func pngHeader(data []byte) (width, height int, err error) {
	f, err := readPNG(data)
	if err != nil {
		return 0, 0, err
	}
	return f.width, f.height, nil
}

// idatReader gives out the bodies of consecutive IDAT chunks.
type idatReader struct {
	rest  []byte // from a chunk header on
	body  []byte
	short bool // the data ended inside the chunks
}

func (r *idatReader) Read(p []byte) (int, error) {
	for len(r.body) == 0 {
		if len(r.rest) < 8 {
			r.short = true
			return 0, io.EOF
		}
		if string(r.rest[4:8]) != "IDAT" {
			r.short = true
			return 0, io.EOF
		}
		n := int64(binary.BigEndian.Uint32(r.rest))
		r.body = r.rest[8:]
		if n < int64(len(r.body)) {
			r.body = r.body[:n]
		}
		r.rest = r.rest[8+len(r.body):]
		r.rest = r.rest[min(4, len(r.rest)):] // the checksum
	}
	n := copy(p, r.body)
	r.body = r.body[n:]
	return n, nil
}

// adam7 lists the passes of an interlaced picture: first column and row, steps.
var adam7 = [7]struct{ x, y, dx, dy int }{
	{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2},
}

func decodePNG(s *scratch, data []byte, maxPixels int64) error {
	f, err := readPNG(data)
	if err != nil {
		return err
	}
	if err := checkArea("png", f.width, f.height, maxPixels); err != nil {
		return err
	}
	idat := &idatReader{rest: f.rest}
	z, err := zlib.NewReader(idat)
	if err != nil {
		return f.streamError(idat, err)
	}
	defer z.Close()
	out := s.rgb(f.width, f.height)
	clear(out)
	passes := adam7[:]
	if !f.interlaced {
		passes = passes[6:]
	}
	bits := f.depth * f.channels
	step := max(1, bits/8) // the filter's distance to the pixel on the left
	for _, p := range passes {
		if !f.interlaced {
			p.x, p.y, p.dx, p.dy = 0, 0, 1, 1
		}
		w, h := ceilDiv(f.width-p.x, p.dx), ceilDiv(f.height-p.y, p.dy)
		if w <= 0 || h <= 0 {
			continue
		}
		n := 1 + (w*bits+7)/8
		s.index = sized(s.index, 2*n)
		row, above := s.index[:n], s.index[n:2*n]
		clear(above)
		for y := range h {
			if _, err := io.ReadFull(z, row); err != nil {
				if err == io.EOF {
					return nil // the stream ended properly: Pillow leaves the rest black
				}
				return f.streamError(idat, err)
			}
			if !unfilter(row[0], row[1:], above[1:], step) {
				return pngErrorf(ErrCorrupt, "filter %d", row[0])
			}
			o := out[3*((p.y+y*p.dy)*f.width+p.x):]
			f.expand(o, row[1:], w, 3*p.dx)
			row, above = above, row
		}
	}
	// The checksum of the stream counts if the stream ends with the last row and has one.
	if n, err := z.Read(s.index[:1]); n == 0 && err != io.EOF && !idat.short {
		return f.streamError(idat, err)
	}
	return nil
}

// streamError sorts a failure of the compressed stream into truncation and damage.
func (f *pngFile) streamError(r *idatReader, err error) error {
	if r.short || errors.Is(err, io.ErrUnexpectedEOF) {
		return pngErrorf(ErrTruncated, "pixel data")
	}
	return fmt.Errorf("pixels: png: pixel data: %v: %w", err, ErrCorrupt)
}

// unfilter undoes a row's filter in place.
func unfilter(kind byte, row, above []byte, step int) bool {
	above = above[:len(row)]
	switch kind {
	case 0:
	case 1:
		for i := step; i < len(row); i++ {
			row[i] += row[i-step]
		}
	case 2:
		for i, v := range above {
			row[i] += v
		}
	case 3:
		for i := range min(step, len(row)) {
			row[i] += above[i] / 2
		}
		for i := step; i < len(row); i++ {
			row[i] += byte((int(row[i-step]) + int(above[i])) / 2)
		}
	case 4:
		paethPlain(row, above, step, paethRow(row, above, step))
	default:
		return false
	}
	return true
}

// paethPlain undoes the Paeth filter from byte first on, which begins a pixel.
func paethPlain(row, above []byte, step, first int) {
	for i := first; i < min(step, len(row)); i++ {
		row[i] += above[i]
	}
	for i := max(first, step); i < len(row); i++ {
		a, b, c := int(row[i-step]), int(above[i]), int(above[i-step])
		pa, pb := b-c, a-c
		pc := pa + pb
		pa, pb, pc = max(pa, -pa), max(pb, -pb), max(pc, -pc)
		switch {
		case pa <= pb && pa <= pc:
			row[i] += byte(a)
		case pb <= pc:
			row[i] += byte(b)
		default:
			row[i] += byte(c)
		}
	}
}

// expand writes w pixels, stride bytes apart.
func (f *pngFile) expand(o, row []byte, w, stride int) {
	if f.depth == 8 && f.channels == 3 && stride == 3 {
		copy(o[:3*w], row)
		return
	}
	wide := f.depth / 8 // bytes per sample, the first one counts
	size := wide * f.channels
	switch {
	case f.depth < 8:
		scale := 255 / (1<<f.depth - 1)
		mask := byte(1<<f.depth - 1)
		for x := range w {
			at := x * f.depth
			v := row[at>>3] >> (8 - f.depth - at&7) & mask
			c := [3]byte{}
			if f.palette {
				c = f.colors[v]
			} else {
				g := byte(int(v) * scale)
				c = [3]byte{g, g, g}
			}
			copy(o[x*stride:][:3], c[:])
		}
	case f.palette:
		for x := range w {
			copy(o[x*stride:][:3], f.colors[row[x]][:])
		}
	case f.channels < 3:
		for x := range w {
			g := row[x*size]
			if size == 2 && !f.alpha {
				if g > 0 {
					g = 255
				} else {
					g = row[x*size+1]
				}
			}
			p := o[x*stride:][:3]
			p[0], p[1], p[2] = g, g, g
		}
	default:
		for x := range w {
			p, q := o[x*stride:][:3], row[x*size:][:size]
			p[0], p[1], p[2] = q[0], q[wide], q[2*wide]
		}
	}
}
