package pixels

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"io"

	"golang.org/x/image/vp8"
	"golang.org/x/image/vp8l"
)

// WebP: the container is read here, the bit streams by golang.org/x/image, the step from planes to
// RGB again here with libwebp's arithmetic. Alpha is skipped: Pillow drops it without blending. Of
// an animation the first frame is placed on a transparent black canvas, which is what libwebp's
// animation decoder shows before anything is blended.

func webpErrorf(kind error, f string, args ...any) error {
	return fmt.Errorf("pixels: webp: "+f+": %w", append(args, kind)...)
}

func isWebP(data []byte) bool {
	return len(data) >= 16 && string(data[:4]) == "RIFF" && string(data[8:12]) == "WEBP" &&
		string(data[12:15]) == "VP8"
}

// webpFile is the first frame of a file.
type webpFile struct {
	width, height int // canvas
	x, y          int // of the frame on the canvas
	w, h          int // frame
	stream        []byte
	lossless      bool
}

// webpChunk takes one RIFF chunk off b.
func webpChunk(b []byte) (id string, body, rest []byte, err error) {
	if len(b) < 8 {
		return "", nil, nil, webpErrorf(ErrTruncated, "chunk header")
	}
	n := int64(binary.LittleEndian.Uint32(b[4:]))
	if n > int64(len(b)-8) {
		return "", nil, nil, webpErrorf(ErrTruncated, "chunk %q has %d bytes of %d", b[:4], len(b)-8, n)
	}
	end := 8 + int(n)
	return string(b[:4]), b[8:end], b[min(len(b), end+int(n&1)):], nil
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

// readWebP finds the first frame.
func readWebP(data []byte) (*webpFile, error) {
	n := int64(binary.LittleEndian.Uint32(data[4:]))
	if n < 4 {
		return nil, webpErrorf(ErrCorrupt, "RIFF size %d", n)
	}
	if n+8 > int64(len(data)) {
		return nil, webpErrorf(ErrTruncated, "%d bytes of %d", len(data), n+8)
	}
	b := data[12 : 8+n]
	f := &webpFile{}
	extended, animated := false, false
	frameW, frameH := 0, 0 // what the container says about the frame
	for {
		id, body, rest, err := webpChunk(b)
		if err != nil {
			return nil, err
		}
		b = rest
		switch id {
		case "VP8X":
			if len(body) < 10 {
				return nil, webpErrorf(ErrCorrupt, "VP8X chunk of %d bytes", len(body))
			}
			extended, animated = true, body[0]&2 != 0
			f.width, f.height = uint24(body[4:])+1, uint24(body[7:])+1
			frameW, frameH = f.width, f.height
		case "ANMF":
			if !animated {
				continue
			}
			if len(body) < 16 {
				return nil, webpErrorf(ErrCorrupt, "ANMF chunk of %d bytes", len(body))
			}
			f.x, f.y = 2*uint24(body), 2*uint24(body[3:])
			frameW, frameH = uint24(body[6:])+1, uint24(body[9:])+1
			if f.x+frameW > f.width || f.y+frameH > f.height {
				return nil, webpErrorf(ErrCorrupt, "frame %dx%d at %d,%d on a canvas of %dx%d",
					frameW, frameH, f.x, f.y, f.width, f.height)
			}
			b = body[16:]
			animated = false // the stream chunks of the frame follow
		case "VP8 ", "VP8L":
			if animated {
				continue
			}
			f.stream, f.lossless = body, id == "VP8L"
			if err := f.streamSize(); err != nil {
				return nil, err
			}
			if !extended {
				f.width, f.height = f.w, f.h
			} else if f.w != frameW || f.h != frameH {
				return nil, webpErrorf(ErrCorrupt, "stream of %dx%d in a frame of %dx%d", f.w, f.h, frameW, frameH)
			}
			return f, nil
		}
	}
}

// streamSize reads the frame's size from the head of its bit stream.
func (f *webpFile) streamSize() error {
	s := f.stream
	if f.lossless {
		if len(s) < 5 {
			return webpErrorf(ErrTruncated, "lossless stream of %d bytes", len(s))
		}
		v := binary.LittleEndian.Uint32(s[1:])
		if s[0] != 0x2f || v>>29 != 0 {
			return webpErrorf(ErrCorrupt, "lossless signature")
		}
		f.w, f.h = int(v&0x3fff)+1, int(v>>14&0x3fff)+1
		return nil
	}
	if len(s) < 10 {
		return webpErrorf(ErrTruncated, "lossy stream of %d bytes", len(s))
	}
	if s[0]&1 != 0 || s[3] != 0x9d || s[4] != 0x01 || s[5] != 0x2a {
		return webpErrorf(ErrCorrupt, "lossy key frame signature")
	}
	f.w, f.h = int(binary.LittleEndian.Uint16(s[6:])&0x3fff), int(binary.LittleEndian.Uint16(s[8:])&0x3fff)
	if f.w == 0 || f.h == 0 {
		return webpErrorf(ErrCorrupt, "size %dx%d", f.w, f.h)
	}
	return nil
}

func webpHeader(data []byte) (width, height int, err error) {
	f, err := readWebP(data)
	if err != nil {
		return 0, 0, err
	}
	return f.width, f.height, nil
}

func decodeWebP(s *scratch, data []byte, maxPixels int64) error {
	f, err := readWebP(data)
	if err != nil {
		return err
	}
	if err := checkArea("webp", f.width, f.height, maxPixels); err != nil {
		return err
	}
	var lossless *image.NRGBA
	var lossy *image.YCbCr
	if f.lossless {
		im, err := vp8l.Decode(bytes.NewReader(f.stream))
		if err != nil {
			return webpStreamError("lossless", err)
		}
		lossless = im.(*image.NRGBA)
	} else {
		d := vp8.NewDecoder()
		d.Init(bytes.NewReader(f.stream), len(f.stream))
		if _, err := d.DecodeFrameHeader(); err != nil {
			return webpStreamError("lossy", err)
		}
		if lossy, err = d.DecodeFrame(); err != nil {
			return webpStreamError("lossy", err)
		}
	}
	out := s.rgb(f.width, f.height)
	if f.w != f.width || f.h != f.height {
		clear(out)
	}
	if lossless != nil {
		for y := range f.h {
			o := out[3*((f.y+y)*f.width+f.x):][:3*f.w]
			p := lossless.Pix[y*lossless.Stride:]
			for x := range f.w {
				o[3*x], o[3*x+1], o[3*x+2] = p[4*x], p[4*x+1], p[4*x+2]
			}
		}
		return nil
	}
	webpColor(out[3*(f.y*f.width+f.x):], 3*f.width, lossy, f.w, f.h)
	return nil
}

func webpStreamError(kind string, err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return webpErrorf(ErrTruncated, "%s stream", kind)
	}
	return fmt.Errorf("pixels: webp: %s stream: %v: %w", kind, err, ErrCorrupt)
}

// webpColor converts 4:2:0 planes to rows of RGB, stride bytes apart.
func webpColor(out []byte, stride int, m *image.YCbCr, w, h int) {
	cw, ch := (w+1)/2, (h+1)/2
	u, v := make([]byte, w+1), make([]byte, w+1)
	for y := range h {
		near := y / 2
		far := max(0, min(ch-1, near-1+y&1*2))
		webpUpsample(u, m.Cb[near*m.CStride:][:cw], m.Cb[far*m.CStride:][:cw], w)
		webpUpsample(v, m.Cr[near*m.CStride:][:cw], m.Cr[far*m.CStride:][:cw], w)
		webpColorRow(out[y*stride:][:3*w], m.Y[y*m.YStride:][:w], u[:w], v[:w])
	}
}

func webpColorPlain(o, y, u, v []byte) {
	u, v = u[:len(y)], v[:len(y)]
	for x, l := range y {
		luma := int32(l) * 19077 >> 8
		cb, cr := int32(u[x]), int32(v[x])
		o[0] = clampWebP(luma + cr*26149>>8 - 14234)
		o[1] = clampWebP(luma - cb*6419>>8 - cr*13320>>8 + 8708)
		o[2] = clampWebP(luma + cb*33050>>8 - 17685)
		o = o[3:]
	}
}

// clampWebP drops the 6 fractional bits of libwebp's colour arithmetic and clamps.
func clampWebP(v int32) byte {
	if uint32(v) < 1<<14 {
		return byte(v >> 6)
	}
	return byte(^(v >> 31))
}

// webpUpsample makes w chroma samples between two chroma rows with weights 9:3:3:1, in the
// order of roundings that libwebp's fancy upsampler has.
func webpUpsample(o, near, far []byte, w int) {
	n := len(near)
	far = far[:n]
	o[0] = byte((3*int(near[0]) + int(far[0]) + 2) >> 2)
	webpBetween(o[1:], near, far)
	if w&1 == 0 {
		o[w-1] = byte((3*int(near[n-1]) + int(far[n-1]) + 2) >> 2)
	}
}

func webpBetweenPlain(o, near, far []byte) {
	far = far[:len(near)]
	a, c := int(near[0]), int(far[0])
	for i := 1; i < len(near); i++ {
		b, d := int(near[i]), int(far[i])
		sum := a + b + c + d + 8
		o[2*i-2] = byte(((sum+2*(b+c))>>3 + a) >> 1)
		o[2*i-1] = byte(((sum+2*(a+d))>>3 + b) >> 1)
		a, c = b, d
	}
}
