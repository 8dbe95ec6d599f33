package pixels

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
func (d *jpegDecoder) progressiveReader() func(c *component, i int, b *[64]int16) {
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

func (d *jpegDecoder) readDCFirst(c *component, i int, b *[64]int16) {
	r := &d.bits
	if r.n < 32 {
		r.fill()
	}
	if s := uint(r.code(&d.dc[d.scan.dcTab[i]]) & 15); s > 0 {
		c.dcPred += extend(r.take(s), s)
	}
	b[0] = int16(c.dcPred << uint(d.scan.al))
}

func (d *jpegDecoder) readDCRefine(_ *component, _ int, b *[64]int16) {
	if d.bits.bit() {
		b[0] |= 1 << uint(d.scan.al)
	}
}

func (d *jpegDecoder) readACFirst(_ *component, _ int, b *[64]int16) {
	if d.eobRun > 0 {
		d.eobRun--
		return
	}
	r, ac := &d.bits, &d.ac[d.scan.acTab[0]]
	al, se := uint(d.scan.al), d.scan.se
	for k := d.scan.ss; k <= se; k++ {
		if r.n < 32 {
			r.fill()
		}
		e := r.code(ac)
		run, s := int(e>>4), uint(e&15)
		if s == 0 {
			if run < 15 {
				d.eobRun = 1<<uint(run) + int(r.take(uint(run))) - 1
				return
			}
			k += 15
			continue
		}
		k += run
		b[naturalOrder[k]] = int16(extend(r.take(s), s) << al)
	}
}

func (d *jpegDecoder) readACRefine(_ *component, _ int, b *[64]int16) {
	r, ac := &d.bits, &d.ac[d.scan.acTab[0]]
	plus := int16(1) << uint(d.scan.al)
	minus := -plus
	k, se := d.scan.ss, d.scan.se
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
			for k <= se {
				v := &b[naturalOrder[k]]
				if *v != 0 {
					d.correct(v, plus)
				} else {
					run--
					if run < 0 {
						break
					}
				}
				k++
			}
			if value != 0 {
				b[naturalOrder[k]] = value
			}
		}
	}
	if d.eobRun > 0 {
		for ; k <= se; k++ {
			if v := &b[naturalOrder[k]]; *v != 0 {
				d.correct(v, plus)
			}
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
