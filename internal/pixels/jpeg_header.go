package pixels

import "errors"

// JPEG markers (T.81 table B.1) that this decoder acts on.
const (
	mTEM   = 0x01
	mSOF0  = 0xc0
	mSOF1  = 0xc1
	mSOF2  = 0xc2
	mSOF3  = 0xc3
	mDHT   = 0xc4
	mJPG   = 0xc8
	mSOF9  = 0xc9
	mSOF10 = 0xca
	mDAC   = 0xcc
	mSOF15 = 0xcf
	mRST0  = 0xd0
	mRST7  = 0xd7
	mSOI   = 0xd8
	mEOI   = 0xd9
	mSOS   = 0xda
	mDQT   = 0xdb
	mDNL   = 0xdc
	mDRI   = 0xdd
	mAPP0  = 0xe0
	mAPP14 = 0xee
	mAPP15 = 0xef
	mCOM   = 0xfe
)

// naturalOrder maps zigzag positions to row-major ones. The 16 entries past the end catch run
// lengths that overshoot in damaged data; libjpeg puts those coefficients in the last place.
var naturalOrder = [128]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
	63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 63,
}

type quantTable struct {
	set bool
	q   [64]uint16 // natural order
}

// scanHeader is one SOS segment.
type scanHeader struct {
	n              int // components in the scan
	comp           [4]int
	dcTab, acTab   [4]uint8
	ss, se, ah, al int
}

func isTruncated(err error) bool { return errors.Is(err, ErrTruncated) }

// nextMarker skips to the next marker and returns its code. Anything that is not a marker,
// including stuffed FF 00, is passed over, and so are fill bytes.
func (d *jpegDecoder) nextMarker() (byte, error) {
	if m := d.pending; m != 0 {
		d.pending = 0
		return m, nil
	}
	p := d.pos
	for {
		for p < len(d.data) && d.data[p] != 0xff {
			p++
		}
		for p < len(d.data) && d.data[p] == 0xff {
			p++
		}
		if p >= len(d.data) {
			d.pos = len(d.data)
			return 0, d.errorf(ErrTruncated, "no end-of-image marker")
		}
		p++
		if m := d.data[p-1]; m != 0 {
			d.pos = p
			return m, nil
		}
	}
}

// segment returns the payload of the marker segment at d.pos and moves past it.
func (d *jpegDecoder) segment(marker byte) ([]byte, error) {
	if len(d.data)-d.pos < 2 {
		return nil, d.errorf(ErrTruncated, "segment %02x at byte %d", marker, d.pos)
	}
	n := int(d.data[d.pos])<<8 | int(d.data[d.pos+1])
	if n < 2 && marker < mAPP0 && marker != mDNL && marker != mDAC {
		return nil, d.errorf(ErrCorrupt, "segment %02x at byte %d has length %d", marker, d.pos, n)
	}
	// In segments that are skipped both Pillow and libjpeg take such a length for 2.
	end := d.pos + max(n, 2)
	if end > len(d.data) {
		return nil, d.errorf(ErrTruncated, "segment %02x at byte %d has %d bytes of %d", marker, d.pos, len(d.data)-d.pos, n)
	}
	seg := d.data[d.pos+2 : end]
	d.pos = end
	return seg, nil
}

// earlyError looks into a segment that the data cuts short. libjpeg reads segments byte by byte and
// so meets some damage before it meets the end; after the only scan of a file that decides between
// failure and success.
func (d *jpegDecoder) earlyError(m byte, err error) error {
	rest := d.data[min(d.pos+2, len(d.data)):]
	switch {
	case m <= mSOF15 && m != mDHT && m != mDAC && d.sawFrame && len(rest) >= 6:
		return d.errorf(ErrCorrupt, "second frame header at byte %d", d.pos-2)
	case m == mSOS && len(rest) >= 1:
		n := int(rest[0])
		if n < 1 || n > 4 || int(d.data[d.pos])<<8|int(d.data[d.pos+1]) != 6+2*n {
			return d.errorf(ErrCorrupt, "scan header for %d components at byte %d", n, d.pos-2)
		}
	case m == mDQT:
		for len(rest) > 0 {
			if rest[0]&15 > 3 {
				return d.errorf(ErrCorrupt, "quantization table %d", rest[0]&15)
			}
			size := 65
			if rest[0]>>4 != 0 {
				size = 129
			}
			rest = rest[min(size, len(rest)):]
		}
	case m == mDHT && len(rest) >= 17:
		n := 0
		for _, c := range rest[1:17] {
			n += int(c)
		}
		if n > 256 || len(rest) >= 17+n && rest[0]&^0x13 != 0 {
			return d.errorf(ErrCorrupt, "Huffman table %02x with %d codes", rest[0], n)
		}
	}
	return err
}

// readToScan reads everything before the first scan, and that scan's header.
func (d *jpegDecoder) readToScan() error {
	d.pos = 2
	more, err := d.nextScan()
	if err != nil {
		return err
	}
	if !more {
		return d.errorf(ErrCorrupt, "end of image before any scan")
	}
	return nil
}

// nextScan acts on marker segments up to the next scan header (true) or the end of the image.
func (d *jpegDecoder) nextScan() (bool, error) {
	for {
		m, err := d.nextMarker()
		if err != nil {
			return false, err
		}
		switch {
		case m == mEOI:
			return false, nil
		case m == mSOI:
			return false, d.errorf(ErrCorrupt, "second start-of-image marker at byte %d", d.pos-2)
		case m == mTEM && d.scans > 0, m >= mRST0 && m <= mRST7:
			continue // Pillow's own header reader knows no TEM
		case m < mSOF0, m > mAPP15 && m != mCOM, m == mJPG, m > mDRI && m < mAPP0:
			return false, d.errorf(ErrCorrupt, "unknown marker %02x at byte %d", m, d.pos-2)
		}
		seg, err := d.segment(m)
		if err != nil {
			return false, d.earlyError(m, err)
		}
		switch m {
		case mSOS:
			return true, d.readSOS(seg)
		case mDHT:
			err = d.readDHT(seg)
		case mDQT:
			err = d.readDQT(seg)
		case mDAC:
			// Of no use to Huffman coding, but libjpeg checks it.
			for i := 0; i < len(seg); i += 2 {
				if i+1 == len(seg) || seg[i] > 31 || seg[i] < 16 && seg[i+1]&15 > seg[i+1]>>4 {
					return false, d.errorf(ErrCorrupt, "arithmetic conditioning at byte %d", d.pos-len(seg)+i)
				}
			}
		case mDRI:
			if len(seg) != 2 {
				return false, d.errorf(ErrCorrupt, "restart interval of %d bytes", len(seg))
			}
			d.interval = int(seg[0])<<8 | int(seg[1])
		case mAPP0:
			if len(seg) >= 14 && string(seg[:5]) == "JFIF\x00" {
				d.jfif = true
			}
		case mAPP14:
			if len(seg) >= 12 && string(seg[:5]) == "Adobe" {
				d.adobe, d.adobeTransform = true, seg[11]
			}
		default:
			if m <= mSOF15 && m != mDAC {
				err = d.readSOF(m, seg)
			}
		}
		if err != nil {
			return false, err
		}
	}
}

func (d *jpegDecoder) readSOF(m byte, seg []byte) error {
	switch {
	case m == mSOF3:
		return d.errorf(ErrFormat, "lossless coding")
	case m == mSOF9, m == mSOF10:
		return d.errorf(ErrFormat, "arithmetic coding")
	case m > mSOF2:
		return d.errorf(ErrFormat, "coding process SOF%d", m-mSOF0)
	case d.sawFrame:
		return d.errorf(ErrCorrupt, "second frame header at byte %d", d.pos-len(seg)-4)
	case len(seg) < 6:
		return d.errorf(ErrCorrupt, "frame header of %d bytes", len(seg))
	case seg[0] != 8:
		return d.errorf(ErrFormat, "%d bits per sample, only 8 are read", seg[0])
	}
	d.sawFrame, d.progressive = true, m == mSOF2
	d.height = int(seg[1])<<8 | int(seg[2])
	d.width = int(seg[3])<<8 | int(seg[4])
	n := int(seg[5])
	if n != 1 && n != 3 && n != 4 {
		return d.errorf(ErrFormat, "%d components", n)
	}
	if d.width == 0 || d.height == 0 {
		return d.errorf(ErrCorrupt, "size %dx%d", d.width, d.height)
	}
	if len(seg) != 6+3*n {
		return d.errorf(ErrCorrupt, "frame header of %d bytes for %d components", len(seg), n)
	}
	for i := range n {
		s := seg[6+3*i:]
		d.comps = append(d.comps, component{id: s[0], h: int(s[1] >> 4), v: int(s[1] & 15), tq: s[2]})
	}
	return nil
}

func (d *jpegDecoder) readDQT(seg []byte) error {
	for len(seg) > 0 {
		wide, id := seg[0]>>4 != 0, seg[0]&15
		size := 64
		if wide {
			size = 128
		}
		if id > 3 {
			return d.errorf(ErrCorrupt, "quantization table %d", id)
		}
		if len(seg) < 1+size {
			return d.errorf(ErrCorrupt, "quantization table %d of %d bytes", id, len(seg)-1)
		}
		t := &d.quant[id]
		t.set = true
		for k := range 64 {
			if wide {
				t.q[naturalOrder[k]] = uint16(seg[1+2*k])<<8 | uint16(seg[2+2*k])
			} else {
				t.q[naturalOrder[k]] = uint16(seg[1+k])
			}
		}
		seg = seg[1+size:]
	}
	return nil
}

func (d *jpegDecoder) readDHT(seg []byte) error {
	for len(seg) > 16 {
		class, id := seg[0]>>4, seg[0]&15
		n := 0
		for _, c := range seg[1:17] {
			n += int(c)
		}
		if n > 256 || n > len(seg)-17 || class > 1 || id > 3 {
			return d.errorf(ErrCorrupt, "Huffman table class %d id %d with %d codes in %d bytes", class, id, n, len(seg)-17)
		}
		t := &d.dc[id]
		if class == 1 {
			t = &d.ac[id]
		}
		t.define(seg[1:17], seg[17:17+n])
		seg = seg[17+n:]
	}
	if len(seg) != 0 {
		return d.errorf(ErrCorrupt, "%d bytes after the Huffman tables", len(seg))
	}
	return nil
}

func (d *jpegDecoder) readSOS(seg []byte) error {
	if !d.sawFrame {
		return d.errorf(ErrCorrupt, "scan before a frame header")
	}
	d.scans++
	if len(seg) < 1 {
		return d.errorf(ErrCorrupt, "scan %d: empty header", d.scans)
	}
	n := int(seg[0])
	if n < 1 || n > 4 || len(seg) != 4+2*n {
		return d.errorf(ErrCorrupt, "scan %d: header of %d bytes for %d components", d.scans, len(seg), n)
	}
	s := scanHeader{n: n}
	for i := range n {
		id := seg[1+2*i]
		c := -1
		// libjpeg looks only at components from the scan position on.
		for j := i; j < len(d.comps); j++ {
			if d.comps[j].id == id {
				c = j
				break
			}
		}
		for j := range i {
			if s.comp[j] == c {
				c = -1
			}
		}
		if c < 0 {
			return d.errorf(ErrCorrupt, "scan %d: no component %d", d.scans, id)
		}
		s.comp[i] = c
		s.dcTab[i], s.acTab[i] = seg[2+2*i]>>4, seg[2+2*i]&15
	}
	t := seg[1+2*n:]
	s.ss, s.se, s.ah, s.al = int(t[0]), int(t[1]), int(t[2]>>4), int(t[2]&15)
	d.scan = s
	return nil
}
