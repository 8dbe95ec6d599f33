package shards

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"

	"golang.org/x/image/tiff"

	"sower/schemas"
)

// maxFrames bounds the walk over a TIFF's directories, which a loop among them would make endless.
const maxFrames = maxElements

// tiffFrame makes frame n of a TIFF (Adobe's TIFF 6.0 of 1992) a file of its own. Codes are made from BMP and not from
// TIFF, and a frame cannot be told from its neighbours by bytes alone, so this is the one place where a reader decodes: the result is a BMP of
// the frame's pixels, without alpha, the same bytes wherever it is made.
func tiffFrame(name string, data []byte, n int, limit int64) ([]byte, *Fault) {
	bad := func(r schemas.Reason, format string, args ...any) ([]byte, *Fault) {
		return nil, fault(r, "%s, frame %d: "+format, append([]any{name, n}, args...)...)
	}
	at, err := frameOffset(data, n)
	if err != nil {
		return bad(schemas.NoImage, "%v", err)
	}
	var out []byte
	var reason schemas.Reason
	err = guard(func() error {
		r := &frameReader{data: data}
		copy(r.head[:], data[:8])
		order(data).PutUint32(r.head[4:], at)
		size, err := tiff.DecodeConfig(io.NewSectionReader(r, 0, int64(len(data))))
		if err != nil {
			return err
		}
		if size.Width <= 0 || size.Height <= 0 || int64(size.Width) > limit/3/int64(size.Height) {
			reason = schemas.TooLarge
			return fmt.Errorf("%dx%d pixels are more than %d bytes", size.Width, size.Height, limit)
		}
		m, err := tiff.Decode(io.NewSectionReader(r, 0, int64(len(data))))
		if err != nil {
			return err
		}
		out, err = bitmap(m)
		return err
	})
	var unsupported tiff.UnsupportedError
	switch {
	case err == nil:
		return out, nil
	case reason != "":
		return bad(reason, "%v", err)
	case errors.As(err, &unsupported) || errors.Is(err, errDepth):
		return bad(schemas.UnsupportedFormat, "%v", err)
	}
	return bad(schemas.Undecodable, "%v", err)
}

func order(data []byte) binary.ByteOrder {
	if data[0] == 'M' {
		return binary.BigEndian
	}
	return binary.LittleEndian
}

// frameOffset finds the n-th directory.
func frameOffset(data []byte, n int) (uint32, error) {
	if len(data) < 8 || string(data[:4]) != "II*\x00" && string(data[:4]) != "MM\x00*" {
		return 0, errors.New("not a TIFF file")
	}
	b := order(data)
	at := b.Uint32(data[4:])
	for i := 0; ; i++ {
		if at == 0 || i > maxFrames {
			return 0, fmt.Errorf("the file has %d frames", i)
		}
		if int64(at)+2 > int64(len(data)) {
			return 0, fmt.Errorf("the directory of frame %d stands behind the end of the file", i)
		}
		if i == n {
			return at, nil
		}
		next := int64(at) + 2 + 12*int64(b.Uint16(data[at:]))
		if next+4 > int64(len(data)) {
			return 0, fmt.Errorf("the directory of frame %d is cut off", i)
		}
		at = b.Uint32(data[next:])
	}
}

// frameReader is a TIFF whose header names another first directory.
type frameReader struct {
	data []byte
	head [8]byte
}

func (r *frameReader) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off >= int64(len(r.data)) {
		return 0, io.EOF
	}
	n := copy(p, r.data[off:])
	if off < int64(len(r.head)) {
		copy(p, r.head[off:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

var errDepth = errors.New("pixels of other than 8 bits a channel")

// bitmap writes pixels as a BMP of 24 bits.
func bitmap(m image.Image) ([]byte, error) {
	w, h := m.Bounds().Dx(), m.Bounds().Dy()
	stride := (3*w + 3) &^ 3
	const head = 14 + 40
	var b bytes.Buffer
	b.WriteString("BM")
	for _, v := range []any{uint32(head + stride*h), uint32(0), uint32(head), uint32(40), int32(w), int32(h), uint16(1), uint16(24),
		uint32(0), uint32(stride * h), uint32(2835), uint32(2835), uint32(0), uint32(0)} {
		binary.Write(&b, binary.LittleEndian, v) // to memory: never fails
	}
	var pix []byte
	var from, step int
	switch m := m.(type) {
	case *image.RGBA:
		pix, from, step = m.Pix, m.Stride, 4
	case *image.NRGBA:
		pix, from, step = m.Pix, m.Stride, 4
	case *image.Gray:
		pix, from, step = m.Pix, m.Stride, 1
	case *image.Paletted:
		pix, from, step = m.Pix, m.Stride, 0
	default:
		return nil, errDepth
	}
	row := make([]byte, stride)
	for y := h - 1; y >= 0; y-- {
		for x := range w {
			bgr := row[3*x : 3*x+3]
			switch step {
			case 4:
				p := pix[y*from+4*x:]
				bgr[0], bgr[1], bgr[2] = p[2], p[1], p[0]
			case 1:
				p := pix[y*from+x]
				bgr[0], bgr[1], bgr[2] = p, p, p
			default:
				r, g, bl, _ := m.(*image.Paletted).Palette[pix[y*from+x]].RGBA()
				bgr[0], bgr[1], bgr[2] = byte(bl>>8), byte(g>>8), byte(r>>8)
			}
		}
		b.Write(row)
	}
	return b.Bytes(), nil
}
