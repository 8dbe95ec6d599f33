package interleave

import "fmt"

// Overlong is what becomes of a layout that does not fit the context.
type Overlong string

// The ways to deal with over-long sequences. An image is never cut.
const (
	Split    Overlong = "split"    // at element edges; a text longer than the context (with its BOS) is cut into contexts
	Truncate Overlong = "truncate" // texts are shortened from their end, images that do not fit are left out
	DropLong Overlong = "drop"
)

// ParseOverlong reads --overlong; "" leaves it to the template.
func ParseOverlong(s string) (Overlong, error) {
	switch o := Overlong(s); o {
	case "", Split, Truncate, DropLong:
		return o, nil
	}
	return "", fmt.Errorf("interleave: --overlong %q: want split, truncate or drop", s)
}

// Sequence is one training sequence.
type Sequence struct {
	IDs []int32
	// Masked are the spans [from, to) without loss, ascending; the first id always is.
	Masked [][2]int32
	Images []int32 // offsets of <img>
	Keys   []string
}

// fit cuts a layout into sequences of at most context ids; none when it may not be cut.
func fit(pieces []Piece, context int, mode Overlong) [][]Piece {
	if size(pieces) <= context {
		return [][]Piece{pieces}
	}
	switch mode {
	case Split:
		return split(pieces, context)
	case Truncate:
		if t := truncate(pieces, context); t != nil {
			return [][]Piece{t}
		}
	}
	return nil
}

// size is the number of ids.
func size(pieces []Piece) int {
	n := 0
	for _, p := range pieces {
		n += len(p.IDs)
	}
	return n
}

func split(pieces []Piece, context int) [][]Piece {
	var out [][]Piece
	var cur []Piece
	used := 0
	flush := func() {
		if len(cur) > 0 {
			out = append(out, cur)
		}
		cur, used = nil, 0
	}
	for _, p := range pieces {
		if p.Image && len(p.IDs) > context {
			return nil // not even one image fits
		}
		if used+len(p.IDs) > context {
			if p.Mark && used > 0 { // an EOS of its own teaches nothing: its sequence would have no label
				break
			}
			if used > 0 && onlyMarks(cur) && !p.Image { // a BOS goes with the head of its text, however long that is
				head := p
				head.IDs = p.IDs[:context-used]
				cur = append(cur, head)
				p.IDs = p.IDs[context-used:]
			}
			flush()
		}
		for len(p.IDs) > context {
			head := p
			head.IDs = p.IDs[:context]
			out = append(out, []Piece{head})
			p.IDs = p.IDs[context:]
		}
		cur = append(cur, p)
		used += len(p.IDs)
	}
	flush()
	kept := out[:0]
	for _, s := range out {
		if teaches(s) {
			kept = append(kept, s)
		}
	}
	return kept
}

func onlyMarks(pieces []Piece) bool {
	for _, p := range pieces {
		if !p.Mark {
			return false
		}
	}
	return true
}

// truncate keeps BOS and EOS, the images that fit, and as much of each text, in order, as the rest has room for; nil when
// nothing with loss but marks is left: an EOS right behind a question would teach to say nothing.
func truncate(pieces []Piece, context int) []Piece {
	keep := make([]int, len(pieces)) // ids of each piece that stay
	room := context
	take := func(i, n int) {
		keep[i] = n
		room -= n
	}
	for i, p := range pieces {
		if p.Mark {
			take(i, len(p.IDs))
		}
	}
	for i, p := range pieces {
		if p.Image && len(p.IDs) <= room {
			take(i, len(p.IDs))
		}
	}
	content := false
	var out []Piece
	for i, p := range pieces {
		if !p.Mark && !p.Image {
			take(i, max(0, min(len(p.IDs), room)))
		}
		if keep[i] == 0 {
			continue
		}
		content = content || !p.Mark && p.Loss
		p.IDs = p.IDs[:keep[i]]
		out = append(out, p)
	}
	if room < 0 || !content || !teaches(out) {
		return nil
	}
	return out
}

// teaches reports whether a sequence has a label: an id with loss that is not its first.
func teaches(pieces []Piece) bool {
	for i, p := range pieces {
		if p.Loss && (i > 0 && len(p.IDs) > 0 || len(p.IDs) > 1) {
			return true
		}
	}
	return false
}

// join makes a sequence of pieces.
func join(pieces []Piece) Sequence {
	s := Sequence{IDs: make([]int32, 0, size(pieces))}
	for _, p := range pieces {
		from := int32(len(s.IDs))
		if p.Image {
			s.Images = append(s.Images, from)
			s.Keys = append(s.Keys, p.Key)
		}
		s.IDs = append(s.IDs, p.IDs...)
		if to := int32(len(s.IDs)); !p.Loss {
			s.mask(from, to)
		} else if from == 0 {
			s.mask(0, 1)
		}
	}
	return s
}

func (s *Sequence) mask(from, to int32) {
	if k := len(s.Masked); k > 0 && s.Masked[k-1][1] == from {
		s.Masked[k-1][1] = to
		return
	}
	s.Masked = append(s.Masked, [2]int32{from, to})
}

// Ignore is the label without loss.
const Ignore = -100

// labels appends the labels of a sequence.
func (s *Sequence) labels(dst []int32) []int32 {
	at := len(dst)
	dst = append(dst, s.IDs...)
	for _, m := range s.Masked {
		for i := m[0]; i < m[1]; i++ {
			dst[at+int(i)] = Ignore
		}
	}
	return dst
}
