package text

import (
	"encoding/binary"
	"errors"
	"strings"
	"unicode/utf8"
)

// charsmap is the table by which SentencePiece rewrites text before anything else: a double array (as darts-clone lays it
// out) from a prefix of the text to an offset in a list of strings that end in a zero byte.
type charsmap struct {
	units   []uint32
	strings string
}

func parseCharsmap(p []byte) (*charsmap, error) {
	if len(p) < 4 {
		return nil, errors.New("normalization table is cut off")
	}
	n := binary.LittleEndian.Uint32(p)
	if uint64(n) > uint64(len(p)-4) || n%4 != 0 || n == 0 {
		return nil, errors.New("normalization table is cut off or has an odd size")
	}
	c := &charsmap{units: make([]uint32, n/4), strings: string(p[4+n:])}
	for i := range c.units {
		c.units[i] = binary.LittleEndian.Uint32(p[4+4*i:])
	}
	if !utf8.ValidString(c.strings) || !strings.HasSuffix(c.strings, "\x00") {
		return nil, errors.New("normalization table: the strings are not UTF-8 that ends in a zero byte")
	}
	for _, u := range c.units {
		// A value is a unit whose highest bit is set: an offset that must lie inside the strings at the beginning of a character.
		if v := u &^ (1 << 31); u>>31 == 1 && (int64(v) >= int64(len(c.strings)) || !utf8.RuneStart(c.strings[v])) {
			return nil, errors.New("normalization table: a value lies outside the strings")
		}
	}
	return c, nil
}

func unitOffset(u uint32) uint32 { return u >> 10 << (u & (1 << 9) >> 6) }

// longest returns what the longest rule that begins s makes of its n bytes; n is 0 where there is none.
func (c *charsmap) longest(s string) (out string, n int) {
	const maxRules = 32 // as many as the library looks at
	pos := unitOffset(c.units[0])
	found := 0
	for i := 0; i < len(s) && found < maxRules; i++ {
		pos ^= uint32(s[i])
		if int64(pos) >= int64(len(c.units)) {
			break
		}
		u := c.units[pos]
		if u&(1<<31|0xFF) != uint32(s[i]) {
			break
		}
		pos ^= unitOffset(u)
		if u>>8&1 == 0 {
			continue
		}
		if int64(pos) >= int64(len(c.units)) || c.units[pos]>>31 == 0 {
			break
		}
		v := c.strings[c.units[pos]&^(1<<31):]
		out, n = v[:strings.IndexByte(v, 0)], i+1
		found++
	}
	return out, n
}
