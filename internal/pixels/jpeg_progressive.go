package pixels

import "math/bits"

// startProgressive checks the parameters of a progressive scan and records what precision each
// coefficient reaches, which block smoothing asks later. An order of scans that makes no sense is
// only a warning to libjpeg, and so it is nothing here.
func (d *jpegDecoder) startProgressive() error {
	s := &d.scan
	bad := s.al > 13 || s.ah != 0 && s.al != s.ah-1
	if s.ss == 0 {
		bad = bad || s.se != 0
	} else {
		bad = bad || s.ss > s.se || s.se > 63 || s.n != 1
	}
	if bad {
		return d.errorf(ErrCorrupt, "scan %d: spectral selection %d..%d, approximation %d to %d, %d components",
			d.scans, s.ss, s.se, s.ah, s.al, s.n)
	}
	for _, ci := range s.comp[:s.n] {
		c := &d.comps[ci]
		for k := min(s.ss, 1); k <= max(s.se, 9); k++ {
			if d.scans > 1 {
				c.bitsPrev[k] = c.bitsLeft[k]
			} else {
				c.bitsPrev[k] = 0
			}
		}
		for k := s.ss; k <= s.se; k++ {
			c.bitsLeft[k] = int8(s.al)
		}
	}
	d.eobRun = 0
	return nil
}

// progressiveReader returns the block reader of the current scan (T.81 annex G).
func (d *jpegDecoder) progressiveReader() func(c *component, i, at int) {
	switch s := &d.scan; {
	case s.ss == 0 && s.ah == 0:
		return d.readDCFirst
	case s.ss == 0:
		return d.readDCRefine
	case s.ah == 0:
		return d.readACFirst
	}
	return d.readACRefine
}

func (d *jpegDecoder) readDCFirst(c *component, i, at int) {
	r := &d.bits
	if r.n < 32 {
		r.fill()
	}
	if s := uint(r.code(&d.dc[d.scan.dcTab[i]]) & 15); s > 0 {
		c.dcPred += extend(r.take(s), s)
	}
	c.block(at)[0] = int16(c.dcPred << uint(d.scan.al))
}

func (d *jpegDecoder) readDCRefine(c *component, _, at int) {
	if d.bits.bit() {
		c.block(at)[0] |= 1 << uint(d.scan.al)
	}
}

func (d *jpegDecoder) readACFirst(c *component, _, at int) {
	if d.eobRun > 0 {
		d.eobRun--
		return
	}
	r, ac, b := &d.bits, &d.ac[d.scan.acTab[0]], c.block(at)
	al, se := uint(d.scan.al), d.scan.se
	nonzero := c.nonzero[at]
	for k := d.scan.ss; k <= se; k++ {
		if r.n < 32 {
			r.fill()
		}
		e := ac.look[r.acc>>(64-lookBits)]
		if e == 0 {
			e = ac.long(r.acc)
		}
		if e.size() == 0 {
			r.acc <<= e.length()
			r.n -= int(e.length())
			if e.run() < 15 {
				d.eobRun = 1<<uint(e.run()) + int(r.take(uint(e.run()))) - 1
				break
			}
			k += 15
			continue
		}
		k += e.run()
		nonzero = c.setCoef(b, nonzero, k, int16(e.value(r.acc)<<al))
		r.acc <<= e.total()
		r.n -= int(e.total())
	}
	c.nonzero[at] = nonzero
}

// setCoef sets a coefficient by its zigzag position and returns the updated map of those that are not 0.
func (c *component) setCoef(b *[64]int16, nonzero uint64, k int, v int16) uint64 {
	k = min(k, 63)
	b[naturalOrder[k]] = v
	nonzero &^= 1 << k
	if v != 0 {
		nonzero |= 1 << k
	}
	return nonzero
}

// readACRefine visits only the coefficients that are not 0, by the block's map of them.
func (d *jpegDecoder) readACRefine(c *component, _, at int) {
	r, ac, b := &d.bits, &d.ac[d.scan.acTab[0]], c.block(at)
	plus := int16(1) << uint(d.scan.al)
	minus := -plus
	k, se := d.scan.ss, d.scan.se
	nonzero := c.nonzero[at]
	if d.eobRun == 0 {
		for ; k <= se; k++ {
			if r.n < 32 {
				r.fill()
			}
			e := r.code(ac)
			run, s := int(e>>4), e&15
			value := int16(0)
			if s != 0 {
				// Sizes other than 1 are damage; libjpeg goes on as if it were 1.
				value = minus
				if r.take(1) != 0 {
					value = plus
				}
			} else if run < 15 {
				d.eobRun = 1<<uint(run) + int(r.take(uint(run)))
				break
			}
			// Pass run zero coefficients and correct every other one on the way.
			for {
				zeros := bits.TrailingZeros64(nonzero >> uint(k))
				if zeros > run || k+zeros > se {
					k = min(k+run, se+1)
					break
				}
				k += zeros
				run -= zeros
				d.correct(&b[naturalOrder[k]], plus)
				k++
			}
			if value != 0 {
				nonzero = c.setCoef(b, nonzero, k, value)
			}
		}
		c.nonzero[at] = nonzero
	}
	if d.eobRun > 0 {
		for m := nonzero >> uint(k) << uint(k) & (2<<uint(se) - 1); m != 0; m &= m - 1 {
			d.correct(&b[naturalOrder[bits.TrailingZeros64(m)]], plus)
		}
		d.eobRun--
	}
}

// correct reads the correction bit of a coefficient that is not zero.
func (d *jpegDecoder) correct(v *int16, plus int16) {
	if d.bits.bit() && *v&plus == 0 {
		if *v >= 0 {
			*v += plus
		} else {
			*v -= plus
		}
	}
}
