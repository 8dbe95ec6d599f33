package pixels

// line returns row y of the component's real samples; rows outside repeat the first or last one.
func (c *component) line(y int) []byte {
	y = max(0, min(c.height-1, y))
	return c.plane[y*8*c.stride:][:c.width]
}

// upsample returns full-resolution row y of the component. buf holds at least width*hs bytes and
// sums width values. The rules are libjpeg's "fancy upsampling": a triangle filter where a plane
// is halved in one or both directions, repetition for every other ratio and for planes of one or
// two columns. The rounding alternates so that no bias builds up.
func (c *component) upsample(y int, buf []byte, sums []uint16) []byte {
	switch {
	case c.hs == 1 && c.vs == 1:
		return c.line(y)
	case c.hs == 2 && c.vs == 1 && c.width > 2:
		doubleRow(buf, c.line(y))
		return buf
	case c.hs == 1 && c.vs == 2:
		near, far := c.line(y/2), c.line(y/2-1+y&1*2)
		blendRows(buf, near, far, uint16(1+y&1))
		return buf
	case c.hs == 2 && c.vs == 2 && c.width > 2:
		near, far := c.line(y/2), c.line(y/2-1+y&1*2)
		sums = sums[:len(near)]
		sumRows(sums, near, far)
		doubleSums(buf, sums)
		return buf
	case c.hs == 1:
		return c.line(y / c.vs)
	}
	at := 0
	for _, v := range c.line(y / c.vs) {
		for range c.hs {
			buf[at] = v
			at++
		}
	}
	return buf
}

func sumRowsPlain(sums []uint16, near, far []byte) {
	sums, far = sums[:len(near)], far[:len(near)]
	for i, v := range near {
		sums[i] = 3*uint16(v) + uint16(far[i])
	}
}

func doubleRowPlain(buf, s []byte) {
	buf = buf[:2*len(s)]
	doubleRowEnds(buf, s)
	left, mid := uint16(s[0]), uint16(s[1])
	out := buf[2:]
	for _, b := range s[2:] {
		right := uint16(b)
		if len(out) < 2 {
			break
		}
		out[0] = byte((3*mid + left + 1) >> 2)
		out[1] = byte((3*mid + right + 2) >> 2)
		out = out[2:]
		left, mid = mid, right
	}
}

// doubleRowEnds makes the two outputs of each end, where there is only one neighbour.
func doubleRowEnds(buf, s []byte) {
	n := len(s)
	buf[0] = s[0]
	buf[1] = byte((3*uint16(s[0]) + uint16(s[1]) + 2) >> 2)
	buf[2*n-2] = byte((3*uint16(s[n-1]) + uint16(s[n-2]) + 1) >> 2)
	buf[2*n-1] = s[n-1]
}

func doubleSumsPlain(buf []byte, s []uint16) {
	buf = buf[:2*len(s)]
	doubleSumsEnds(buf, s)
	left, mid := s[0], s[1]
	out := buf[2:]
	for _, right := range s[2:] {
		if len(out) < 2 {
			break
		}
		out[0] = byte((3*mid + left + 8) >> 4)
		out[1] = byte((3*mid + right + 7) >> 4)
		out = out[2:]
		left, mid = mid, right
	}
}

func doubleSumsEnds(buf []byte, s []uint16) {
	n := len(s)
	buf[0] = byte((4*s[0] + 8) >> 4)
	buf[1] = byte((3*s[0] + s[1] + 7) >> 4)
	buf[2*n-2] = byte((3*s[n-1] + s[n-2] + 8) >> 4)
	buf[2*n-1] = byte((4*s[n-1] + 7) >> 4)
}

// blendRows makes a row between two rows, 3:1.
func blendRows(buf, near, far []byte, bias uint16) {
	buf, far = buf[:len(near)], far[:len(near)]
	for i, v := range near {
		buf[i] = byte((3*uint16(v) + uint16(far[i]) + bias) >> 2)
	}
}
