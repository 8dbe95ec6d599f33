package checkpoint

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"sort"
)

// Entry is one tensor to write: its description in the file and where its values come from. Values are converted to
// DType, which must be F32, F16 or BF16 (round to nearest even).
type Entry struct {
	Info
	From     Source
	FromName string // its name in From, where that differs from Info.Name
}

// WriteSafetensors writes tensors in the given order with sorted metadata. Bytes are a function of the arguments alone.
func WriteSafetensors(w io.Writer, tensors []Entry, metadata map[string]string) error {
	head := []byte("{")
	comma := func() {
		if len(head) > 1 {
			head = append(head, ',')
		}
	}
	put := func(key string, v any) error {
		comma()
		k, err := json.Marshal(key)
		if err != nil {
			return err
		}
		p, err := json.Marshal(v)
		head = append(append(append(head, k...), ':'), p...)
		return err
	}
	if len(metadata) > 0 {
		if err := put("__metadata__", metadata); err != nil { // encoding/json sorts map keys
			return err
		}
	}
	at := 0
	for _, t := range tensors {
		n := t.Len() * t.DType.Size()
		shape := t.Shape
		if shape == nil {
			shape = []int{}
		}
		err := put(t.Name, struct {
			DType   DType  `json:"dtype"`
			Shape   []int  `json:"shape"`
			Offsets [2]int `json:"data_offsets"`
		}{t.DType, shape, [2]int{at, at + n}})
		if err != nil {
			return err
		}
		at += n
	}
	head = append(head, '}')
	for len(head)%8 != 0 {
		head = append(head, ' ')
	}
	out := bufio.NewWriterSize(w, 1<<20)
	if err := binary.Write(out, binary.LittleEndian, uint64(len(head))); err != nil {
		return err
	}
	if _, err := out.Write(head); err != nil {
		return err
	}
	values := make([]float32, 1<<16)
	raw := make([]byte, 0, 4<<16)
	for _, t := range tensors {
		for from, n := 0, t.Len(); from < n; from += len(values) {
			part := values[:min(len(values), n-from)]
			if err := t.From.Read(cmp.Or(t.FromName, t.Name), from, part); err != nil {
				return err
			}
			raw = raw[:0]
			for _, v := range part {
				switch t.DType {
				case F32:
					raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
				case F16:
					raw = binary.LittleEndian.AppendUint16(raw, floatToHalf(v))
				case BF16:
					raw = binary.LittleEndian.AppendUint16(raw, floatToBfloat(v))
				default:
					return fmt.Errorf("checkpoint: write %q: element type %s, want F32, F16 or BF16", t.Name, t.DType)
				}
			}
			if _, err := out.Write(raw); err != nil {
				return err
			}
		}
	}
	return out.Flush()
}

// SortEntries orders tensors by their name in the file.
func SortEntries(t []Entry) {
	sort.Slice(t, func(i, j int) bool { return t[i].Name < t[j].Name })
}

// floatToHalf rounds to the nearest binary16, ties to even; overflow gives infinity.
func floatToHalf(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000: // NaN stays NaN
		return sign | 0x7e00
	case b >= 0x477ff000: // rounds to 65536 or more
		return sign | 0x7c00
	case b < 0x38800000: // subnormal half: the float adder rounds at 2^-24 for us
		v := math.Float32frombits(b) + 0.5
		return sign | uint16(math.Float32bits(v)-0x3f000000)
	}
	b += 0xfff + b>>13&1
	return sign | uint16((b-(112<<23))>>13)
}

func floatToBfloat(f float32) uint16 {
	b := math.Float32bits(f)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}
