package pixels

// maxScans bounds the passes over the picture that a small file can ask for. Real files have at
// most a few dozen; libjpeg has no bound.
const maxScans = 500

// startScan checks the scan that d.scan describes, as libjpeg's start_input_pass does, and makes
// ready to decode it.
func (d *jpegDecoder) startScan() error {
	s := &d.scan
	if d.scans > maxScans {
		return d.errorf(ErrCorrupt, "more than %d scans", maxScans)
	}
	if s.n > 1 {
		blocks := 0
		for _, ci := range s.comp[:s.n] {
			blocks += d.comps[ci].h * d.comps[ci].v
		}
		if blocks > 10 {
			return d.errorf(ErrCorrupt, "scan %d: %d blocks per unit, at most 10", d.scans, blocks)
		}
	}
	for _, ci := range s.comp[:s.n] {
		c := &d.comps[ci]
		c.dcPred = 0
		if c.latched {
			continue
		}
		if c.tq > 3 || !d.quant[c.tq].set {
			return d.errorf(ErrCorrupt, "scan %d: no quantization table %d", d.scans, c.tq)
		}
		c.latched, c.quant = true, d.quant[c.tq].q
	}
	if d.progressive {
		if err := d.startProgressive(); err != nil {
			return err
		}
	}
	needDC := !d.progressive || s.ss == 0 && s.ah == 0
	needAC := !d.progressive || s.ss > 0
	for i := range s.n {
		if err := d.needTable(&d.dc, s.dcTab[i], "DC", needDC); err != nil {
			return err
		}
		if err := d.needTable(&d.ac, s.acTab[i], "AC", needAC); err != nil {
			return err
		}
	}
	d.bits = bitReader{}
	d.bits.start(d.data, d.pos, 0)
	d.insufficient = false
	d.toGo, d.nextRestart = d.interval, 0
	return nil
}

func (d *jpegDecoder) needTable(tables *[4]huffTable, id uint8, kind string, needed bool) error {
	if !needed {
		return nil
	}
	if id > 3 || !tables[id].defined {
		return d.errorf(ErrCorrupt, "scan %d: no %s Huffman table %d", d.scans, kind, id)
	}
	if !tables[id].build(kind == "DC") {
		return d.errorf(ErrCorrupt, "scan %d: %s Huffman table %d is no prefix code", d.scans, kind, id)
	}
	return nil
}

// endScan hands the stream back to the marker reader.
func (d *jpegDecoder) endScan() error {
	if d.bits.eof {
		return d.errorf(ErrTruncated, "scan %d: data ends without a marker", d.scans)
	}
	d.pos, d.pending = d.bits.pos, d.bits.marker
	return nil
}

// restart begins the next restart segment. If the marker found is not the expected one it follows
// libjpeg's jpeg_resync_to_restart: skip markers that seem old, leave those that seem to come
// later (the segment then decodes as missing), and take any other restart marker for the right one.
func (d *jpegDecoder) restart() error {
	d.pos, d.pending = d.bits.pos, d.bits.marker
	m, err := d.nextMarker()
	if err != nil {
		return err
	}
	want := d.nextRestart
	d.nextRestart = (want + 1) & 7
	keep := false
	for m != mRST0+want && !keep {
		ahead := (m - mRST0 - want) & 7
		switch {
		case m >= mSOF0 && (m < mRST0 || m > mRST7):
			keep = true
		case m >= mRST0 && (ahead == 1 || ahead == 2):
			keep = true
		case m >= mRST0 && ahead < 6:
			m = mRST0 + want
		default:
			if m, err = d.nextMarker(); err != nil {
				return err
			}
		}
	}
	if !keep {
		m = 0
		d.insufficient = false
	}
	d.bits.start(d.data, d.pos, m)
	for _, ci := range d.scan.comp[:d.scan.n] {
		d.comps[ci].dcPred = 0
	}
	d.eobRun = 0
	d.toGo = d.interval
	return nil
}

// beginMCU does what comes before each MCU: the restart that is due.
func (d *jpegDecoder) beginMCU() error {
	if d.interval == 0 {
		return nil
	}
	if d.toGo == 0 {
		if err := d.restart(); err != nil {
			return err
		}
	}
	d.toGo--
	return nil
}

// decodeOnePass reads the only scan of a sequential file and transforms every block at once.
func (d *jpegDecoder) decodeOnePass() error {
	mcusX, mcusY := ceilDiv(d.width, 8*d.maxH), ceilDiv(d.height, 8*d.maxV)
	if len(d.comps) == 1 {
		// One component means one block per MCU whatever its factors are.
		mcusX, mcusY = d.comps[0].blocksX, d.comps[0].blocksY
	}
	for my := range mcusY {
		for mx := range mcusX {
			if d.interval != 0 {
				if err := d.beginMCU(); err != nil {
					return err
				}
			}
			for i, ci := range d.scan.comp[:d.scan.n] {
				c := &d.comps[ci]
				dc, ac := &d.dc[d.scan.dcTab[i]], &d.ac[d.scan.acTab[i]]
				h, v := c.h, c.v
				if d.scan.n == 1 {
					h, v = 1, 1
				}
				for by := range v {
					for bx := range h {
						b := &d.block
						if !d.insufficient {
							d.readBlock(b, c, dc, ac)
						}
						at := 8 * ((my*v+by)*8*c.stride + mx*h + bx)
						b.transform(c.plane[at:], 8*c.stride, &c.quant)
					}
				}
			}
			if d.bits.pad > 0 && d.bits.overrun() {
				d.insufficient = true
			}
		}
		if d.bits.eof {
			return d.endScan()
		}
	}
	return d.endScan()
}

// readBlock decodes one sequential block into b, which must be empty.
// Damaged data cannot fail here: a pattern that is no code counts as symbol 0, and positions past
// the end of the block go to the last one.
func (d *jpegDecoder) readBlock(b *coefBlock, c *component, dc, ac *huffTable) {
	r := &d.bits
	if r.n < 32 {
		r.fill()
	}
	if s := uint(r.code(dc) & 15); s > 0 {
		c.dcPred += extend(r.take(s), s)
	}
	b.v[0] = int16(c.dcPred)
	nonzero := uint64(0)
	acc, n := r.acc, r.n
	for k := 1; k < 64; k++ {
		if n < 32 {
			// The common case of fill, with everything in registers.
			w, ok := r.eight()
			if ok {
				acc |= w >> uint(n&63)
				r.pos += (63 - n) >> 3
				n |= 56
			} else {
				r.acc, r.n = acc, n
				r.fillSlow()
				acc, n = r.acc, r.n
			}
		}
		e := ac.look[acc>>(64-lookBits)]
		if e == 0 {
			e = ac.long(acc)
		}
		at := acc
		acc <<= e.total()
		n -= int(e.total())
		k += e.run()
		if e.size() == 0 {
			if e.run() != 15 {
				break
			}
			continue
		}
		to := naturalOrder[k&127] & 63
		b.v[to] = int16(e.value(at))
		nonzero |= 1 << to
	}
	r.acc, r.n = acc, n
	b.nonzero = nonzero
}

// decodeScan reads one scan of a multi-scan file into the coefficient arrays.
func (d *jpegDecoder) decodeScan() error {
	s := &d.scan
	read := d.readCoefs
	if d.progressive {
		read = d.progressiveReader()
	}
	if s.n == 1 {
		c := &d.comps[s.comp[0]]
		for y := range c.blocksY {
			for x := 0; x < c.blocksX; x++ {
				if d.exhausted() {
					return d.endScan()
				}
				if n := d.emptyRun(c.blocksX - x); n > 0 {
					d.lastGoodRow = y / c.v
					x += n - 1
					continue
				}
				if !d.insufficient {
					d.lastGoodRow = y / c.v
				}
				if err := d.beginMCU(); err != nil {
					return err
				}
				if !d.insufficient {
					read(c, 0, y*c.stride+x)
					d.insufficient = d.bits.overrun()
				}
			}
			if d.bits.eof {
				break
			}
		}
		return d.endScan()
	}
	mcusX, mcusY := ceilDiv(d.width, 8*d.maxH), ceilDiv(d.height, 8*d.maxV)
	for my := range mcusY {
		for mx := range mcusX {
			if d.exhausted() {
				return d.endScan()
			}
			if !d.insufficient {
				d.lastGoodRow = my
			}
			if err := d.beginMCU(); err != nil {
				return err
			}
			if d.insufficient {
				continue
			}
			for i, ci := range s.comp[:s.n] {
				c := &d.comps[ci]
				for by := range c.v {
					at := (my*c.v+by)*c.stride + mx*c.h
					for bx := range c.h {
						read(c, i, at+bx)
					}
				}
			}
			d.insufficient = d.bits.overrun()
		}
		if d.bits.eof {
			break
		}
	}
	return d.endScan()
}

// exhausted reports whether the rest of the scan cannot change anything: its data is used up and no
// restart will bring more.
func (d *jpegDecoder) exhausted() bool { return d.insufficient && d.interval == 0 }

// emptyRun passes over up to n blocks that an end-of-band run of a first AC scan leaves as they
// are, and returns how many. A few bits can cover 32767 blocks, so this must not cost time per block.
func (d *jpegDecoder) emptyRun(n int) int {
	if d.eobRun == 0 || d.insufficient || d.scan.ah != 0 {
		return 0
	}
	n = min(n, d.eobRun)
	if d.interval != 0 {
		n = min(n, d.toGo)
		d.toGo -= n
	}
	d.eobRun -= n
	return n
}

// readCoefs decodes one sequential block without dequantizing it. i is the component's place in
// the scan.
func (d *jpegDecoder) readCoefs(c *component, i, at int) {
	r, b := &d.bits, c.block(at)
	if r.n < 32 {
		r.fill()
	}
	if s := uint(r.code(&d.dc[d.scan.dcTab[i]]) & 15); s > 0 {
		c.dcPred += extend(r.take(s), s)
	}
	b[0] = int16(c.dcPred)
	ac := &d.ac[d.scan.acTab[i]]
	for k := 1; k < 64; k++ {
		if r.n < 32 {
			r.fill()
		}
		e := r.code(ac)
		s := uint(e & 15)
		k += int(e >> 4)
		if s == 0 {
			if e != 0xf0 {
				break
			}
			continue
		}
		b[naturalOrder[k]] = int16(extend(r.take(s), s))
	}
}
