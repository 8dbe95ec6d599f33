package pixels

import (
	"encoding/binary"
	"fmt"
)

// GIF: the first frame as Pillow shows it. The canvas is the logical screen, grown to the frame's
// far corner; outside the frame it holds the transparent index, or 0 without one (not the
// background colour of the header).

func gifErrorf(kind error, f string, args ...any) error {
	return fmt.Errorf("pixels: gif: "+f+": %w", append(args, kind)...)
}

func isGIF(data []byte) bool {
	return len(data) >= 6 && (string(data[:6]) == "GIF87a" || string(data[:6]) == "GIF89a")
}

// gifFile is the first frame of a file.
type gifFile struct {
	width, height  int // canvas
	x0, y0, x1, y1 int // frame
	interlaced     bool
	transparent    int    // palette index, -1 for none
	palette        []byte // nil for grey
	bits           int    // LZW literal size
	rest           []byte // sub-blocks of the pixels
}

// gifPalette returns p, or nil if it says no more than the grey ramp; Pillow opens such files as
// mode L.
func gifPalette(p []byte) []byte {
	for i, v := range p {
		if int(v) != i/3 {
			return p
		}
	}
	return nil
}

// readGIF reads the blocks up to the first frame's pixels.
func readGIF(data []byte) (*gifFile, error) {
	if len(data) < 13 {
		return nil, gifErrorf(ErrTruncated, "header of %d bytes", len(data))
	}
	f := &gifFile{transparent: -1}
	f.width, f.height = int(binary.LittleEndian.Uint16(data[6:])), int(binary.LittleEndian.Uint16(data[8:]))
	at := 13
	// table takes a colour table of the size that flags give.
	table := func(flags byte) ([]byte, error) {
		n := 3 << (flags&7 + 1)
		if len(data)-at < n {
			return nil, gifErrorf(ErrTruncated, "colour table at byte %d", at)
		}
		at += n
		return gifPalette(data[at-n : at]), nil
	}
	if data[10]&0x80 != 0 {
		p, err := table(data[10])
		if err != nil {
			return nil, err
		}
		f.palette = p
	}
	for at < len(data) && data[at] != ';' {
		switch data[at] {
		case '!':
			if len(data)-at < 3 {
				return nil, gifErrorf(ErrTruncated, "extension at byte %d", at)
			}
			label := data[at+1]
			at += 2
			for first := true; ; first = false {
				if at >= len(data) {
					return nil, gifErrorf(ErrTruncated, "extension %02x", label)
				}
				n := int(data[at])
				if n == 0 {
					at++
					break
				}
				if len(data)-at < 1+n {
					return nil, gifErrorf(ErrTruncated, "extension %02x", label)
				}
				if label == 0xf9 && first && n >= 4 && data[at+1]&1 != 0 {
					f.transparent = int(data[at+4])
				}
				at += 1 + n
			}
		case ',':
			if len(data)-at < 10 {
				return nil, gifErrorf(ErrTruncated, "frame header at byte %d", at)
			}
			b := data[at+1:]
			f.x0, f.y0 = int(binary.LittleEndian.Uint16(b)), int(binary.LittleEndian.Uint16(b[2:]))
			f.x1, f.y1 = f.x0+int(binary.LittleEndian.Uint16(b[4:])), f.y0+int(binary.LittleEndian.Uint16(b[6:]))
			f.width, f.height = max(f.width, f.x1), max(f.height, f.y1)
			f.interlaced = b[8]&0x40 != 0
			flags := b[8]
			at += 10
			if flags&0x80 != 0 {
				p, err := table(flags)
				if err != nil {
					return nil, err
				}
				f.palette = p
			}
			if at >= len(data) {
				return nil, gifErrorf(ErrTruncated, "frame at byte %d", at)
			}
			f.bits, f.rest = int(data[at]), data[at+1:]
			return f, nil
		default:
			at++
		}
	}
	if at >= len(data) {
		return nil, gifErrorf(ErrTruncated, "no frame")
	}
	return nil, gifErrorf(ErrCorrupt, "no frame")
}

func gifHeader(data []byte) (width, height int, err error) {
	f, err := readGIF(data)
	if err != nil {
		return 0, 0, err
	}
	return f.width, f.height, nil
}

func decodeGIF(s *scratch, data []byte, maxPixels int64) error {
	f, err := readGIF(data)
	if err != nil {
		return err
	}
	if err := checkArea("gif", f.width, f.height, maxPixels); err != nil {
		return err
	}
	if f.x0 >= f.x1 || f.y0 >= f.y1 {
		return gifErrorf(ErrCorrupt, "frame of %dx%d", f.x1-f.x0, f.y1-f.y0)
	}
	s.index = sized(s.index, f.width*f.height)
	fill := byte(max(f.transparent, 0))
	for i := range s.index {
		s.index[i] = fill
	}
	if err := f.lzw(s.index); err != nil {
		return err
	}
	var colors [256][3]byte
	for i := range colors {
		switch {
		case f.palette == nil:
			colors[i] = [3]byte{byte(i), byte(i), byte(i)}
		case 3*i+3 <= len(f.palette):
			colors[i] = [3]byte(f.palette[3*i:])
		}
	}
	out := s.rgb(f.width, f.height)
	for i, v := range s.index {
		c := &colors[v]
		o := out[3*i : 3*i+3 : 3*i+3]
		o[0], o[1], o[2] = c[0], c[1], c[2]
	}
	return nil
}

const (
	gifMaxBits = 12
	gifTable   = 1 << gifMaxBits
)

// lzw decodes the frame into canvas. It stops when the last row is full, whatever follows.
func (f *gifFile) lzw(canvas []byte) error {
	if f.bits > gifMaxBits {
		return gifErrorf(ErrCorrupt, "LZW literals of %d bits", f.bits)
	}
	var (
		suffix [gifTable]byte
		prefix [gifTable]uint16
		stack  [gifTable]byte
		acc    uint64
		have   int
		block  []byte
		rest   = f.rest
		rows   = f.rowOrder()
		w      = f.x1 - f.x0
		row    = 0
		x      = 0
	)
	clearCode := 1 << f.bits
	next, size := clearCode+2, f.bits+1
	lastCode, lastData := -1, byte(0)
	line := canvas[rows[0]*f.width+f.x0:][:w]
	for {
		for have < size {
			if len(block) == 0 {
				if len(rest) < 1 || len(rest) < 1+int(rest[0]) {
					return gifErrorf(ErrTruncated, "row %d of %d", row, len(rows))
				}
				block, rest = rest[1:1+int(rest[0])], rest[1+int(rest[0]):]
				continue
			}
			acc |= uint64(block[0]) << have
			have += 8
			block = block[1:]
		}
		code := int(acc) & (1<<size - 1)
		acc >>= size
		have -= size
		switch code {
		case clearCode:
			next, size, lastCode = clearCode+2, f.bits+1, -1
			continue
		case clearCode + 1:
			return gifErrorf(ErrTruncated, "end code in row %d of %d", row, len(rows))
		}
		top := len(stack)
		c := code
		if lastCode < 0 {
			if code > clearCode {
				return gifErrorf(ErrCorrupt, "LZW code %d after a clear", code)
			}
		} else {
			if code > next {
				return gifErrorf(ErrCorrupt, "LZW code %d of %d", code, next)
			}
			if code == next {
				top--
				stack[top] = lastData
				c = lastCode
			}
			for c >= clearCode {
				if top <= 1 || c >= gifTable {
					return gifErrorf(ErrCorrupt, "LZW string of code %d", code)
				}
				top--
				stack[top] = suffix[c]
				c = int(prefix[c])
			}
			if next < gifTable {
				suffix[next], prefix[next] = byte(c), uint16(lastCode)
				if next == 1<<size-1 && size < gifMaxBits {
					size++
				}
				next++
			}
		}
		lastData, lastCode = byte(c), code
		top--
		stack[top] = byte(c)
		for p := stack[top:]; len(p) > 0; {
			n := copy(line[x:], p)
			p = p[n:]
			x += n
			if x == w {
				x = 0
				row++
				if row == len(rows) {
					return nil
				}
				line = canvas[rows[row]*f.width+f.x0:][:w]
			}
		}
	}
}

// rowOrder lists the canvas rows in the order they come in the file.
func (f *gifFile) rowOrder() []int {
	h := f.y1 - f.y0
	rows := make([]int, 0, h)
	if !f.interlaced {
		for y := range h {
			rows = append(rows, f.y0+y)
		}
		return rows
	}
	for _, p := range [4][2]int{{0, 8}, {4, 8}, {2, 4}, {1, 2}} {
		for y := p[0]; y < h; y += p[1] {
			rows = append(rows, f.y0+y)
		}
	}
	return rows
}
