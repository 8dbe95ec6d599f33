package pixels

import "encoding/binary"

// lookBits is the width of the direct lookup: most codes of real files are at most this long.
const lookBits = 10

// A codeEntry is what a code stands for: its symbol, its length, and the length together with the extra bits that a
// symbol of a sequential scan asks for. One shift by the latter leads to the next code.
type codeEntry uint32

func newEntry(symbol uint8, length uint) codeEntry {
	return codeEntry(symbol)<<16 | codeEntry(length)<<8 | codeEntry(length+uint(symbol&15))
}

func (e codeEntry) symbol() uint8 { return uint8(e >> 16) }
func (e codeEntry) run() int      { return int(e >> 20) }
func (e codeEntry) size() uint    { return uint(e>>16) & 15 }
func (e codeEntry) length() uint  { return uint(e>>8) & 63 }
func (e codeEntry) total() uint   { return uint(e) & 63 }

// value is the signed number in the extra bits, T.81 figure F.12. acc begins with the code; the size is not 0.
func (e codeEntry) value(acc uint64) int32 {
	s := e.size()
	t := acc << e.length()
	// All ones below s when the top bit is 0, which marks a negative value.
	return int32(t>>(-s&63)) + int32(^int64(t)>>63)&(-1<<s+1)
}

// huffTable decodes one Huffman code. look answers codes up to lookBits long and is 0 for longer ones, which are found
// by comparing with the largest code of each length.
type huffTable struct {
	defined bool
	counts  [16]uint8
	symbols [256]uint8

	built  bool
	look   [1 << lookBits]codeEntry
	limit  [18]int32 // limit[l]: largest code of l bits, -1 for none; [17] ends every search
	offset [17]int32 // index of a code's symbol minus the code
}

func (t *huffTable) define(counts, symbols []byte) {
	t.defined, t.built = true, false
	copy(t.counts[:], counts)
	t.symbols = [256]uint8{}
	copy(t.symbols[:], symbols)
}

// build derives the tables. It reports whether the code lengths make a legal prefix code without
// an all-ones code, and for DC tables whether all symbols are sizes of at most 15 bits.
func (t *huffTable) build(isDC bool) bool {
	n := 0
	for _, c := range t.counts {
		n += int(c)
	}
	if n > 256 {
		return false
	}
	if isDC {
		for _, s := range t.symbols[:n] {
			if s > 15 {
				return false
			}
		}
	}
	if t.built {
		return true
	}
	t.look = [1 << lookBits]codeEntry{}
	code, p := int32(0), int32(0)
	for l := 1; l <= 16; l++ {
		c := int32(t.counts[l-1])
		t.limit[l] = -1
		if c > 0 {
			t.offset[l] = p - code
			if l <= lookBits {
				for i := range c {
					at := int(code+i) << (lookBits - l)
					if at+1<<(lookBits-l) > len(t.look) {
						return false
					}
					for k := range 1 << (lookBits - l) {
						t.look[at+k] = newEntry(t.symbols[p+i], uint(l))
					}
				}
			}
			p += c
			code += c
			t.limit[l] = code - 1
			if code >= 1<<l {
				return false
			}
		}
		code <<= 1
	}
	t.limit[17] = 0xfffff
	t.built = true
	return true
}

// bitReader holds up to 64 bits of entropy-coded data, the next one in the top bit of acc. When a
// marker ends the data it supplies zeros without end and counts them in pad.
type bitReader struct {
	acc  uint64
	n    int // bits in acc, pad ones included
	pad  int
	data []byte
	pos  int
	// marker is the code that ended the data, 0 while none was met. eof: the file ended instead.
	marker byte
	eof    bool
}

// start begins a segment at pos. marker is one that was met before and still stands.
func (b *bitReader) start(data []byte, pos int, marker byte) {
	*b = bitReader{data: data, pos: pos, marker: marker, eof: b.eof}
}

// overrun reports whether pad bits were consumed.
func (b *bitReader) overrun() bool { return b.n < b.pad }

// fill makes at least 48 bits available. The common case takes eight bytes at once.
func (b *bitReader) fill() {
	if w, ok := b.eight(); ok {
		b.acc |= w >> uint(b.n&63)
		b.pos += (63 - b.n) >> 3
		b.n |= 56
		return
	}
	b.fillSlow()
}

// eight returns the next eight bytes, if they are there and none of them needs a look.
func (b *bitReader) eight() (w uint64, ok bool) {
	if b.pos > len(b.data)-8 {
		return 0, false
	}
	w = binary.BigEndian.Uint64(b.data[b.pos:])
	// A byte of w is ff where ^w has a zero byte.
	return w, (^w-0x0101010101010101)&w&0x8080808080808080 == 0 && b.marker == 0
}

// fillSlow takes byte after byte, removes stuffing and stops at a marker. Several ff followed by 0
// count as one ff, as libjpeg has it.
func (b *bitReader) fillSlow() {
	for b.n <= 56 {
		if b.marker == 0 && !b.eof {
			if b.pos >= len(b.data) {
				b.eof = true
				continue
			}
			c := b.data[b.pos]
			if c == 0xff {
				p := b.pos + 1
				for p < len(b.data) && b.data[p] == 0xff {
					p++
				}
				if p >= len(b.data) {
					b.eof = true
					continue
				}
				b.pos = p + 1
				if m := b.data[p]; m != 0 {
					b.marker = m
					continue
				}
			} else {
				b.pos++
			}
			b.acc |= uint64(c) << uint(56-b.n)
			b.n += 8
			continue
		}
		// Pad bits are zero already: acc is empty below n.
		b.pad += 64 - b.n
		b.n = 64
	}
}

// take consumes k bits, 0 <= k <= 16, which must be available.
func (b *bitReader) take(k uint) int32 {
	v := int32(b.acc >> 1 >> (63 - k))
	b.acc <<= k
	b.n -= int(k)
	return v
}

// bit consumes one bit, filling if needed.
func (b *bitReader) bit() bool {
	if b.n < 1 {
		b.fill()
	}
	v := int64(b.acc) < 0
	b.acc <<= 1
	b.n--
	return v
}

// code consumes one Huffman code and returns its symbol; 17 bits must be available. A bit pattern
// that is no code consumes 17 bits and counts as symbol 0, as in libjpeg.
func (b *bitReader) code(t *huffTable) uint8 {
	if e := t.look[b.acc>>(64-lookBits)]; e != 0 {
		b.acc <<= e.length()
		b.n -= int(e.length())
		return e.symbol()
	}
	return b.longCode(t)
}

func (b *bitReader) longCode(t *huffTable) uint8 {
	e := t.long(b.acc)
	b.acc <<= e.length()
	b.n -= int(e.length())
	return e.symbol()
}

// long finds the code at the top of acc, which is longer than lookBits.
func (t *huffTable) long(acc uint64) codeEntry {
	l := lookBits + 1
	for int32(acc>>uint(64-l)) > t.limit[l] {
		l++
	}
	if l > 16 {
		return newEntry(0, uint(l))
	}
	return newEntry(t.symbols[uint8(int32(acc>>uint(64-l))+t.offset[l])], uint(l))
}

// extend turns s extra bits into a signed value (T.81 figure F.12), s >= 1.
func extend(v int32, s uint) int32 {
	// All ones below s when the top bit of v is 0, which marks a negative value.
	return v + ((v>>(s-1))-1)&(-1<<s+1)
}

// standardTables supplies the tables of T.81 annex K for ids 0 and 1 where the file defines none:
// frames of motion JPEG leave them out.
func (d *jpegDecoder) standardTables() {
	for i, t := range []*huffTable{&d.dc[0], &d.dc[1], &d.ac[0], &d.ac[1]} {
		if !t.defined {
			t.define(standardCodes[i].counts[:], standardCodes[i].symbols)
		}
	}
}

var standardCodes = [4]struct {
	counts  [16]uint8
	symbols []byte
}{
	{[16]uint8{0, 1, 5, 1, 1, 1, 1, 1, 1}, []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
	{[16]uint8{0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1}, []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
	{[16]uint8{0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7d}, []byte(
		"\x01\x02\x03\x00\x04\x11\x05\x12\x21\x31\x41\x06\x13\x51\x61\x07\x22\x71\x14\x32\x81\x91\xa1\x08\x23\x42\xb1\xc1\x15\x52\xd1\xf0" +
			"\x24\x33\x62\x72\x82\x09\x0a\x16\x17\x18\x19\x1a\x25\x26\x27\x28\x29\x2a\x34\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48\x49" +
			"\x4a\x53\x54\x55\x56\x57\x58\x59\x5a\x63\x64\x65\x66\x67\x68\x69\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x83\x84\x85\x86\x87\x88\x89" +
			"\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3\xc4\xc5" +
			"\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda\xe1\xe2\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa")},
	{[16]uint8{0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77}, []byte(
		"\x00\x01\x02\x03\x11\x04\x05\x21\x31\x06\x12\x41\x51\x07\x61\x71\x13\x22\x32\x81\x08\x14\x42\x91\xa1\xb1\xc1\x09\x23\x33\x52\xf0" +
			"\x15\x62\x72\xd1\x0a\x16\x24\x34\xe1\x25\xf1\x17\x18\x19\x1a\x26\x27\x28\x29\x2a\x35\x36\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48" +
			"\x49\x4a\x53\x54\x55\x56\x57\x58\x59\x5a\x63\x64\x65\x66\x67\x68\x69\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x82\x83\x84\x85\x86\x87" +
			"\x88\x89\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3" +
			"\xc4\xc5\xc6\xc7\xc8\xc9\xca\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda\xe2\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa")},
}
