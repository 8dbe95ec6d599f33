package shards

import (
	"bufio"
	"io"
)

// byteStream is what a walker walks on: a window over ranged reads, or a decompressor.
type byteStream interface {
	// readFull reads len(p) bytes and moves on; io.EOF at the end, io.ErrUnexpectedEOF in the middle.
	readFull(p []byte) (int, error)
	// skip moves on n bytes; passing the end is io.ErrUnexpectedEOF.
	skip(n int64) error
	offset() int64
	// left is the number of bytes to the end, or -1 when only reading tells.
	left() int64
}

// window is a byteStream over ranged reads. It reads ahead, so that the headers of small neighbouring members come in one
// request, and jumps over what is skipped.
type window struct {
	src   *source
	off   int64 // next byte to give
	end   int64
	buf   []byte // bytes of the source from bufAt on
	bufAt int64
	ahead int
}

func newWindow(src *source, start, end int64, ahead int) *window {
	return &window{src: src, off: start, end: min(end, src.size), ahead: ahead}
}

func (w *window) offset() int64 { return w.off }
func (w *window) left() int64   { return max(w.end-w.off, 0) }

func (w *window) skip(n int64) error {
	if n > w.left() {
		return io.ErrUnexpectedEOF
	}
	w.off += n
	return nil
}

func (w *window) readFull(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if w.left() == 0 {
		return 0, io.EOF
	}
	short := false
	if int64(len(p)) > w.left() {
		p, short = p[:w.left()], true
	}
	n := 0
	if at := w.off - w.bufAt; at >= 0 && at < int64(len(w.buf)) {
		n = copy(p, w.buf[at:])
	}
	if n < len(p) {
		if len(p)-n >= w.ahead { // large bodies go straight to their place
			if _, err := w.src.ReadAt(p[n:], w.off+int64(n)); err != nil {
				return n, err
			}
		} else {
			from := w.off + int64(n)
			size := int(min(int64(w.ahead), w.end-from))
			if cap(w.buf) < size {
				w.buf = make([]byte, w.ahead)
			}
			w.buf, w.bufAt = w.buf[:size], from
			if _, err := w.src.ReadAt(w.buf, from); err != nil {
				w.buf = w.buf[:0]
				return n, err
			}
			copy(p[n:], w.buf)
		}
	}
	w.off += int64(len(p))
	if short {
		return len(p), io.ErrUnexpectedEOF
	}
	return len(p), nil
}

// pipe is a byteStream over a decompressor.
type pipe struct {
	r   *bufio.Reader
	off int64
}

func (p *pipe) offset() int64 { return p.off }
func (p *pipe) left() int64   { return -1 }

func (p *pipe) readFull(b []byte) (int, error) {
	n, err := io.ReadFull(p.r, b)
	p.off += int64(n)
	return n, err
}

func (p *pipe) skip(n int64) error {
	m, err := io.CopyN(io.Discard, p.r, n)
	p.off += m
	if err == io.EOF && m < n {
		err = io.ErrUnexpectedEOF
	}
	return err
}
