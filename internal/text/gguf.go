package text

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
)

// A GGUF file begins with "GGUF", a version, two counts and the metadata: keys with values of some type. The layout is in
// docs/gguf.md of ggml-org/ggml. Only the keys tokenizer.ggml.* are kept.

const (
	ggufUint32  = 4
	ggufInt32   = 5
	ggufFloat32 = 6
	ggufBool    = 7
	ggufString  = 8
	ggufArray   = 9

	maxGGUFKey   = 1 << 16
	maxGGUFPairs = 1 << 20
	maxGGUFToken = 1 << 16
)

// ggufWidth is the size of a scalar by its type.
var ggufWidth = map[uint32]int64{0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}

type ggufReader struct {
	r    *bufio.Reader
	left int64 // bytes of the file that are not read yet: no count may promise more
	err  error
}

func (g *ggufReader) bytes(n int64) []byte {
	if g.err != nil {
		return nil
	}
	if n < 0 || n > g.left {
		g.err = fmt.Errorf("cut off: %d bytes wanted, %d left", n, g.left)
		return nil
	}
	p := make([]byte, n)
	_, g.err = io.ReadFull(g.r, p)
	g.left -= n
	return p
}

func (g *ggufReader) skip(n int64) {
	if g.err != nil {
		return
	}
	if n < 0 || n > g.left {
		g.err = fmt.Errorf("cut off: %d bytes wanted, %d left", n, g.left)
		return
	}
	_, g.err = io.CopyN(io.Discard, g.r, n)
	g.left -= n
}

func (g *ggufReader) u32() uint32 {
	if p := g.bytes(4); g.err == nil {
		return binary.LittleEndian.Uint32(p)
	}
	return 0
}

func (g *ggufReader) u64() uint64 {
	if p := g.bytes(8); g.err == nil {
		return binary.LittleEndian.Uint64(p)
	}
	return 0
}

func (g *ggufReader) string(limit uint64) string {
	n := g.u64()
	if g.err == nil && n > limit {
		g.err = fmt.Errorf("string of %d bytes, more than %d", n, limit)
	}
	return string(g.bytes(int64(n)))
}

// count reads the length of an array whose elements take at least width bytes each.
func (g *ggufReader) count(width int64, limit uint64) int {
	n := g.u64()
	if g.err == nil && (n > limit || int64(n)*width > g.left) {
		g.err = fmt.Errorf("array of %d elements: more than %d, or than the file holds", n, limit)
	}
	if g.err != nil {
		return 0
	}
	return int(n)
}

func (g *ggufReader) skipValue(kind uint32) {
	if w, ok := ggufWidth[kind]; ok {
		g.skip(w)
		return
	}
	switch kind {
	case ggufString:
		n := g.u64()
		if n > math.MaxInt64 {
			n = math.MaxInt64
		}
		g.skip(int64(n))
	case ggufArray:
		of := g.u32()
		if w, ok := ggufWidth[of]; ok {
			g.skip(int64(g.count(w, math.MaxInt64/16)) * w)
			return
		}
		if of != ggufString {
			g.fail(fmt.Errorf("array of type %d", of))
			return
		}
		for range g.count(8, math.MaxInt64/16) {
			if g.skipValue(ggufString); g.err != nil {
				return
			}
		}
	default:
		g.fail(fmt.Errorf("value of type %d", kind))
	}
}

func (g *ggufReader) fail(err error) {
	if g.err == nil {
		g.err = err
	}
}

func (g *ggufReader) want(kind uint32, kinds ...uint32) {
	for _, k := range kinds {
		if k == kind {
			return
		}
	}
	g.fail(fmt.Errorf("value of type %d, want %v", kind, kinds))
}

func (g *ggufReader) strings(limit uint64) []string {
	g.want(g.u32(), ggufString)
	n := g.count(8, maxVocab)
	var list []string
	total := 0
	for range n {
		if g.err != nil {
			return nil
		}
		s := g.string(limit)
		if total += len(s); total > maxFile {
			g.fail(fmt.Errorf("strings of more than %d bytes", maxFile))
		}
		list = append(list, s)
	}
	return list
}

func (g *ggufReader) words(kinds ...uint32) []uint32 {
	g.want(g.u32(), kinds...)
	p := g.bytes(int64(g.count(4, maxVocab)) * 4)
	list := make([]uint32, len(p)/4)
	for i := range list {
		list[i] = binary.LittleEndian.Uint32(p[4*i:])
	}
	return list
}

// ggufVocab is what the keys tokenizer.ggml.* hold.
type ggufVocab struct {
	model, pre     string
	tokens, merges []string
	scores         []uint32 // float32 bits
	types          []uint32
	special        map[string]int32 // role → id
	addBOS, addEOS *bool
	addSpacePrefix *bool
	removeExtra    bool
}

func parseGGUF(r io.Reader, size int64) (*ggufVocab, error) {
	g := &ggufReader{r: bufio.NewReaderSize(r, 1<<16), left: size}
	if magic := g.bytes(4); g.err != nil || string(magic) != "GGUF" {
		return nil, errors.New("not a GGUF file")
	}
	if v := g.u32(); g.err == nil && v != 2 && v != 3 {
		return nil, fmt.Errorf("version %d is not supported (have: 2, 3)", v)
	}
	g.u64() // number of tensors
	pairs := g.u64()
	if g.err == nil && pairs > maxGGUFPairs {
		return nil, fmt.Errorf("%d metadata keys, more than %d", pairs, maxGGUFPairs)
	}
	v := &ggufVocab{special: map[string]int32{}}
	for range pairs {
		key := g.string(maxGGUFKey)
		kind := g.u32()
		if g.err == nil {
			v.read(g, key, kind)
		}
		if g.err != nil {
			return nil, fmt.Errorf("key %q: %w", key, g.err)
		}
	}
	if g.err != nil {
		return nil, g.err
	}
	if v.model == "" || len(v.tokens) == 0 {
		return nil, errors.New("no vocabulary (tokenizer.ggml.model, tokenizer.ggml.tokens)")
	}
	if len(v.scores) != 0 && len(v.scores) != len(v.tokens) || len(v.types) != 0 && len(v.types) != len(v.tokens) {
		return nil, fmt.Errorf("%d tokens, %d scores, %d types", len(v.tokens), len(v.scores), len(v.types))
	}
	return v, nil
}

var ggufRoles = map[string]string{
	"tokenizer.ggml.bos_token_id": "bos_token", "tokenizer.ggml.eos_token_id": "eos_token", "tokenizer.ggml.unknown_token_id": "unk_token",
	"tokenizer.ggml.padding_token_id": "pad_token", "tokenizer.ggml.seperator_token_id": "sep_token", "tokenizer.ggml.cls_token_id": "cls_token",
	"tokenizer.ggml.mask_token_id": "mask_token",
}

func (v *ggufVocab) read(g *ggufReader, key string, kind uint32) {
	if role, ok := ggufRoles[key]; ok {
		g.want(kind, ggufUint32, ggufInt32)
		if id := int32(g.u32()); id >= 0 {
			v.special[role] = id
		}
		return
	}
	flag := func() *bool {
		g.want(kind, ggufBool)
		p := g.bytes(1)
		b := len(p) == 1 && p[0] != 0
		return &b
	}
	text := func() string {
		g.want(kind, ggufString)
		return g.string(maxGGUFToken)
	}
	array := func() bool { g.want(kind, ggufArray); return g.err == nil }
	switch key {
	case "tokenizer.ggml.model":
		v.model = text()
	case "tokenizer.ggml.pre":
		v.pre = text()
	case "tokenizer.ggml.tokens":
		if array() {
			v.tokens = g.strings(maxGGUFToken)
		}
	case "tokenizer.ggml.merges":
		if array() {
			v.merges = g.strings(maxGGUFToken)
		}
	case "tokenizer.ggml.scores":
		if array() {
			v.scores = g.words(ggufFloat32)
		}
	case "tokenizer.ggml.token_type":
		if array() {
			v.types = g.words(ggufInt32, ggufUint32)
		}
	case "tokenizer.ggml.add_bos_token":
		v.addBOS = flag()
	case "tokenizer.ggml.add_eos_token":
		v.addEOS = flag()
	case "tokenizer.ggml.add_space_prefix":
		v.addSpacePrefix = flag()
	case "tokenizer.ggml.remove_extra_whitespaces":
		v.removeExtra = *flag()
	default:
		g.skipValue(kind)
	}
}

func (l *Loaded) readGGUF(path string, seed bool) (*spec, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	v, err := parseGGUF(f, info.Size())
	if err != nil {
		return nil, err
	}
	l.Kind = "gguf " + v.model
	return v.spec(seed)
}
