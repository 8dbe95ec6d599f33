// Package pixels decodes pictures and resizes them byte for byte as Pillow does, so that a model
// which was trained behind Pillow sees the very same input.
//
// JPEG has its own decoder (entropy decoding, inverse DCT, upsampling, colour) that follows
// libjpeg-turbo's default path; WebP takes its planes from golang.org/x/image and converts them
// with libwebp's arithmetic; PNG, GIF and BMP follow Pillow's readers. docs/numerics.md lists what is
// exact, what is not, and which release was the reference.
//
// The one thing that surprises: EXIF orientation is not applied and alpha is dropped without
// blending, because Image.open(...).convert("RGB") does neither.
package pixels

//go:generate sh -c "cd gen && go run . -out ../kernels_amd64.s -stubs ../stubs_amd64.go -pkg pixels"

import (
	"errors"
	"fmt"
	"sync"
)

// Filter is a resize filter of Pillow.
type Filter string

// The filters that Resize and Prepare know.
const (
	Bicubic  Filter = "bicubic"  // Image.BICUBIC: support 2, a = -0.5
	Bilinear Filter = "bilinear" // Image.BILINEAR: support 1, a triangle
)

// ParseFilter turns a configuration word into a Filter. Unknown words are an error that names the
// known ones.
func ParseFilter(s string) (Filter, error) {
	switch f := Filter(s); f {
	case Bicubic, Bilinear:
		return f, nil
	}
	return "", fmt.Errorf("pixels: unknown filter %q (have: %s, %s)", s, Bicubic, Bilinear)
}

// Limits bound what Decode and Prepare accept. Both are checked before memory for pixels is taken.
type Limits struct {
	// MaxPixels is the largest width*height. Zero means DefaultMaxPixels. A picture needs up to
	// 13 bytes per pixel while it is decoded (progressive JPEG without subsampling).
	MaxPixels int64
	// MaxBytes is the largest encoded size. Zero means DefaultMaxBytes.
	MaxBytes int64
}

const (
	// DefaultMaxPixels is the area above which Pillow raises DecompressionBombError: twice
	// Image.MAX_IMAGE_PIXELS, which is a quarter of a GiB of RGB.
	DefaultMaxPixels = 2 * (1024 * 1024 * 1024 / 4 / 3)
	// DefaultMaxBytes bounds the encoded file (256 MiB); Pillow has no such limit.
	DefaultMaxBytes = 256 << 20
)

// Kinds of failure. Every error of this package matches exactly one of them with errors.Is.
var (
	ErrFormat    = errors.New("unsupported or unknown format") // not a picture, or a kind that is not read here
	ErrCorrupt   = errors.New("damaged image")
	ErrTruncated = errors.New("image ends early")
	ErrTooLarge  = errors.New("image over the limit")
)

// Header is what Sniff learns without decoding pixels.
type Header struct {
	Format        string // "jpeg", "png", "webp", "gif" or "bmp"
	Width, Height int    // pixels
}

// Image is packed 8-bit RGB: Pix[3*(y*Width+x)+c], c = 0 red, 1 green, 2 blue.
type Image struct {
	Pix           []byte
	Width, Height int
	Format        string // as in Header
}

// format is one kind of file: how to tell it, how to read its header, how to decode it.
// decode appends nothing and allocates through s.rgb, so that Prepare can reuse memory.
type format struct {
	name   string
	match  func(data []byte) bool
	header func(data []byte) (width, height int, err error)
	decode func(s *scratch, data []byte, maxPixels int64) error
}

var formats = []format{
	{"jpeg", isJPEG, jpegHeader, decodeJPEG},
	{"png", isPNG, pngHeader, decodePNG},
	{"webp", isWebP, webpHeader, decodeWebP},
	{"gif", isGIF, gifHeader, decodeGIF},
	{"bmp", isBMP, bmpHeader, decodeBMP},
}

func lookup(data []byte) (*format, error) {
	for i := range formats {
		if formats[i].match(data) {
			return &formats[i], nil
		}
	}
	if len(data) == 0 {
		return nil, fmt.Errorf("pixels: empty file: %w", ErrTruncated)
	}
	return nil, fmt.Errorf("pixels: first bytes %q: %w", data[:min(len(data), 8)], ErrFormat)
}

// Sniff names the format and reads width and height from the header. It decodes nothing.
// The size is Pillow's Image.open(...).size, before any limit.
func Sniff(data []byte) (Header, error) {
	f, err := lookup(data)
	if err != nil {
		return Header{}, err
	}
	w, h, err := f.header(data)
	if err != nil {
		return Header{}, err
	}
	return Header{f.name, w, h}, nil
}

// scratch holds the memory that decoding and resizing need, to be used again by the next picture.
type scratch struct {
	pix    []byte // decoded RGB, 3*w*h
	w, h   int
	jpeg   jpegDecoder
	resize resizer
	index  []byte // palette indices of GIF and BMP, inflated PNG rows
}

// rgb sets the picture size and returns memory for its pixels; the contents are undefined.
func (s *scratch) rgb(w, h int) []byte {
	s.w, s.h = w, h
	s.pix = sized(s.pix, 3*w*h)
	return s.pix
}

// sized returns a slice of length n, in b's memory if it fits. The contents are undefined.
func sized[T any](b []T, n int) []T {
	if cap(b) < n {
		return make([]T, n)
	}
	return b[:n]
}

// keepBytes bounds what one pooled scratch may hold on to, so that one huge picture does not pin
// its memory for the life of the process.
const keepBytes = 64 << 20

var scratches = sync.Pool{New: func() any { return new(scratch) }}

func (s *scratch) release() {
	if cap(s.pix)+cap(s.index)+s.jpeg.heldBytes()+s.resize.heldBytes() > keepBytes {
		return
	}
	s.jpeg.data, s.jpeg.bits = nil, bitReader{}
	scratches.Put(s)
}

// decode fills s.pix, s.w, s.h. The limits are checked before anything of the picture's size is
// allocated: the byte limit on data, the pixel limit by each format as soon as it knows the size.
func (s *scratch) decode(data []byte, l Limits) (string, error) {
	if l.MaxBytes == 0 {
		l.MaxBytes = DefaultMaxBytes
	}
	if l.MaxPixels == 0 {
		l.MaxPixels = DefaultMaxPixels
	}
	if int64(len(data)) > l.MaxBytes {
		return "", fmt.Errorf("pixels: %d bytes, limit %d: %w", len(data), l.MaxBytes, ErrTooLarge)
	}
	f, err := lookup(data)
	if err != nil {
		return "", err
	}
	return f.name, f.decode(s, data, l.MaxPixels)
}

// checkArea compares width*height with the limit. what names the format for the error text.
func checkArea(what string, w, h int, maxPixels int64) error {
	if w <= 0 || h <= 0 {
		return fmt.Errorf("pixels: %s: size %dx%d: %w", what, w, h, ErrCorrupt)
	}
	if int64(w) > maxPixels/int64(h) {
		return fmt.Errorf("pixels: %s: size %dx%d, limit %d pixels: %w", what, w, h, maxPixels, ErrTooLarge)
	}
	return nil
}

// Decode reads a picture as Pillow's Image.open(...).convert("RGB") does and returns it in memory
// of its own. Of animations it takes the first frame. Errors match one of ErrFormat, ErrCorrupt,
// ErrTruncated and ErrTooLarge.
func Decode(data []byte, l Limits) (*Image, error) {
	s := scratches.Get().(*scratch)
	defer s.release()
	name, err := s.decode(data, l)
	if err != nil {
		return nil, err
	}
	im := &Image{Pix: s.pix, Width: s.w, Height: s.h, Format: name}
	s.pix = nil
	return im, nil
}

// Resize returns im at width x height as Pillow's im.resize((width, height), filter) does: two
// fixed-point passes, horizontal first, each rounding to 8 bits. A picture that already has the
// size is copied. It panics on a size below 1 or an unknown filter, which are programming errors.
func Resize(im *Image, width, height int, f Filter) *Image {
	out := &Image{Pix: make([]byte, 3*width*height), Width: width, Height: height, Format: im.Format}
	s := scratches.Get().(*scratch)
	defer s.release()
	s.resize.run(out.Pix, im.Pix, im.Width, im.Height, width, height, f)
	return out
}

// Prepare decodes data and resizes it to size x size into dst, which must hold 3*size*size bytes
// (packed RGB as in Image). It returns the picture's own width and height and takes its working
// memory from a pool, so that a loop over many pictures allocates almost nothing. Errors are
// Decode's; dst is then unchanged.
func Prepare(dst []byte, data []byte, size int, f Filter, l Limits) (width, height int, err error) {
	if len(dst) != 3*size*size {
		panic(fmt.Sprintf("pixels: prepare: dst has %d bytes, want %d for size %d", len(dst), 3*size*size, size))
	}
	s := scratches.Get().(*scratch)
	defer s.release()
	if _, err := s.decode(data, l); err != nil {
		return 0, 0, err
	}
	s.resize.run(dst, s.pix, s.w, s.h, size, size, f)
	return s.w, s.h, nil
}
