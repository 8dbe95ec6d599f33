package pixels

import (
	"fmt"
)

// jpegDecoder reads one JPEG stream. Reference: ITU-T T.81 for the format; where the standard
// leaves freedom (inverse DCT, chroma upsampling, colour arithmetic, what to do with damaged data)
// it does what libjpeg-turbo does by default, because that is what Pillow runs.
//
// Two paths share the scan code. A sequential file with all components in one scan is transformed
// block by block as it is read. Anything else (progressive, or one scan per component) collects
// the coefficients of the whole picture first.
type jpegDecoder struct {
	data []byte
	pos  int // next byte that no marker or entropy decoder has taken

	width, height int
	progressive   bool
	sawFrame      bool
	comps         []component
	maxH, maxV    int

	quant    [4]quantTable
	dc, ac   [4]huffTable
	interval int // restart interval in MCUs, 0 for none

	jfif, adobe    bool
	adobeTransform byte

	pending byte // a marker that ended entropy-coded data and is not acted on yet
	scans   int

	bits         bitReader
	scan         scanHeader
	eobRun       int
	insufficient bool // the current segment ran out of data
	toGo         int  // MCUs before the next restart
	nextRestart  byte
	lastGoodRow  int // last MCU row that began with data left, as libjpeg's block smoothing wants it

	block   coefBlock
	natural [64]int16
	rows    [4][]byte
	sums    []uint16

	planeMem []byte
	coefMem  []int16
	mapMem   []uint64
	rowMem   []byte
}

// component is one colour plane.
type component struct {
	id       byte
	h, v     int // sampling factors
	tq       byte
	latched  bool // quant holds the table that was current at the component's first scan
	quant    [64]uint16
	width    int // real samples: ceil(W*h/maxH)
	height   int
	blocksX  int // blocks that hold real samples
	blocksY  int
	stride   int // padded blocks per row (a whole number of MCUs)
	padY     int
	dcPred   int32
	coefs    []int16  // multi-scan files: 64 per block in natural order, stride x padY blocks
	nonzero  []uint64 // progressive: which AC coefficients of a block are not 0, by zigzag position
	plane    []byte   // 8*stride bytes per row, 8*padY rows
	bitsLeft [64]int8 // progressive: the point transform reached per coefficient, -1 for never seen
	bitsPrev [64]int8 // the same before the last scan
	hs, vs   int      // upsampling factors
}

func (d *jpegDecoder) heldBytes() int {
	return cap(d.planeMem) + 2*cap(d.coefMem) + 8*cap(d.mapMem) + cap(d.rowMem)
}

func (d *jpegDecoder) errorf(kind error, f string, args ...any) error {
	return fmt.Errorf("pixels: jpeg: "+f+": %w", append(args, kind)...)
}

func isJPEG(data []byte) bool {
	return len(data) >= 3 && data[0] == 0xff && data[1] == 0xd8 && data[2] == 0xff
}

func jpegHeader(data []byte) (width, height int, err error) {
	d := jpegDecoder{}
	d.reset(data)
	if err := d.readToScan(); err != nil {
		return 0, 0, err
	}
	return d.width, d.height, nil
}

// reset makes d ready for a new file and keeps its memory.
func (d *jpegDecoder) reset(data []byte) {
	*d = jpegDecoder{
		data: data, comps: d.comps[:0], sums: d.sums, rows: d.rows,
		planeMem: d.planeMem, coefMem: d.coefMem, mapMem: d.mapMem, rowMem: d.rowMem,
	}
}

func decodeJPEG(s *scratch, data []byte, maxPixels int64) error {
	d := &s.jpeg
	d.reset(data)
	if err := d.readToScan(); err != nil {
		return err
	}
	if err := checkArea("jpeg", d.width, d.height, maxPixels); err != nil {
		return err
	}
	if err := d.checkFrame(); err != nil {
		return err
	}
	multi := d.progressive || d.scan.n < len(d.comps)
	d.layOut(multi)
	if !d.progressive {
		d.standardTables()
	}
	if multi {
		if err := d.readAllScans(); err != nil {
			return err
		}
		d.transformAll()
	} else {
		if err := d.startScan(); err != nil {
			return err
		}
		if err := d.decodeOnePass(); err != nil {
			return err
		}
		if err := d.readTail(); err != nil {
			return err
		}
	}
	d.output(s.rgb(d.width, d.height))
	return nil
}

// checkFrame refuses what libjpeg refuses once it has the first scan header.
func (d *jpegDecoder) checkFrame() error {
	const maxSide = 65500 // libjpeg's JPEG_MAX_DIMENSION
	if d.width > maxSide || d.height > maxSide {
		return d.errorf(ErrFormat, "size %dx%d, libjpeg reads sides up to %d", d.width, d.height, maxSide)
	}
	d.maxH, d.maxV = 1, 1
	for i := range d.comps {
		c := &d.comps[i]
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 {
			return d.errorf(ErrCorrupt, "component %d: sampling factors %dx%d", i, c.h, c.v)
		}
		d.maxH, d.maxV = max(d.maxH, c.h), max(d.maxV, c.v)
	}
	for i := range d.comps {
		c := &d.comps[i]
		if d.maxH%c.h != 0 || d.maxV%c.v != 0 {
			return d.errorf(ErrFormat, "component %d: sampling %dx%d of %dx%d is not a whole ratio", i, c.h, c.v, d.maxH, d.maxV)
		}
		c.hs, c.vs = d.maxH/c.h, d.maxV/c.v
	}
	return nil
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// layOut computes the geometry of every component and takes memory for planes and coefficients.
func (d *jpegDecoder) layOut(coefs bool) {
	mcusX, mcusY := ceilDiv(d.width, 8*d.maxH), ceilDiv(d.height, 8*d.maxV)
	total := 0
	for i := range d.comps {
		c := &d.comps[i]
		c.width, c.height = ceilDiv(d.width*c.h, d.maxH), ceilDiv(d.height*c.v, d.maxV)
		c.blocksX, c.blocksY = ceilDiv(d.width*c.h, 8*d.maxH), ceilDiv(d.height*c.v, 8*d.maxV)
		c.stride, c.padY = mcusX*c.h, mcusY*c.v
		total += c.stride * c.padY
		for k := range c.bitsLeft {
			c.bitsLeft[k], c.bitsPrev[k] = -1, -1
		}
	}
	d.planeMem = sized(d.planeMem, 64*total)
	if coefs {
		d.coefMem = sized(d.coefMem, 64*total)
		clear(d.coefMem)
		d.mapMem = sized(d.mapMem, total)
		clear(d.mapMem)
	}
	at := 0
	for i := range d.comps {
		c := &d.comps[i]
		n := 64 * c.stride * c.padY
		c.plane = d.planeMem[at:][:n:n]
		if coefs {
			c.coefs = d.coefMem[at:][:n:n]
			c.nonzero = d.mapMem[at/64:][: n/64 : n/64]
		}
		at += n
	}
}

// block is the coefficients of one block of a multi-scan file.
func (c *component) block(at int) *[64]int16 { return (*[64]int16)(c.coefs[64*at:]) }

// readAllScans reads scan after scan up to the end-of-image marker, as libjpeg does before it
// gives out the first row of a multi-scan file. A file without that marker is truncated.
func (d *jpegDecoder) readAllScans() error {
	for {
		if err := d.startScan(); err != nil {
			return err
		}
		if err := d.decodeScan(); err != nil {
			return err
		}
		more, err := d.nextScan()
		if err != nil {
			return err
		}
		if !more {
			return nil
		}
	}
}

// readTail looks at what follows the only scan of a sequential file. libjpeg reads on to the
// end-of-image marker there and fails on damage, but the end of the data is no failure any more.
func (d *jpegDecoder) readTail() error {
	more, err := d.nextScan()
	switch {
	case err != nil && isTruncated(err):
		return nil
	case err != nil:
		return err
	case more:
		return d.errorf(ErrCorrupt, "a second scan after one with all components")
	}
	return nil
}
