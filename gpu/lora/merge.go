package lora

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"

	"sower/gpu/checkpoint"
	"sower/gpu/models/lm"
)

// merged is a base model with an adapter folded in. Only the adapter is in memory.
type merged struct {
	checkpoint.Source
	list    []checkpoint.Info
	changes map[string]*change
}

// change is what an adapter does to one tensor of the base.
type change struct {
	info  checkpoint.Info // after it
	old   checkpoint.Info
	whole []float32 // in its place
	// rows [·, width] replace those of these ids, ascending.
	ids  []int32
	rows []float32
	// W + scale·(B·A): a [r in], b [out r].
	a, b  []float32
	r     int
	scale float32
}

// Merge folds an adapter into its base: W + Alpha/R·B·A in float32, saved modules and trained rows in their places. The
// result loads like any model, with its grown vocabulary, and Write makes a folder of it, in which the base's element types are
// kept. Closing it closes the base; the folder may be closed before.
func Merge(base *lm.Checkpoint, f *Folder) (*lm.Checkpoint, error) {
	m := &merged{Source: base.Source, changes: map[string]*change{}}
	for _, info := range f.list {
		if err := m.add(base, f, info); err != nil {
			return nil, fmt.Errorf("lora: merge into %s: %w", base.Path, err)
		}
	}
	rows := 0
	for _, info := range base.Source.Tensors() {
		if base.Tied() && info.Name == "lm_head.weight" {
			continue // the embedding's second name
		}
		if c := m.changes[info.Name]; c != nil {
			info = c.info
		}
		if strings.HasSuffix(info.Name, "embed_tokens.weight") {
			rows = info.Shape[0]
		}
		m.list = append(m.list, info)
	}
	sort.Slice(m.list, func(i, j int) bool { return m.list[i].Name < m.list[j].Name })
	var config map[string]json.RawMessage
	err := json.Unmarshal(base.Config, &config)
	if err == nil {
		config["vocab_size"], err = json.Marshal(rows)
	}
	c := *base
	c.Source = m
	if err == nil {
		c.Config, err = json.Marshal(config)
	}
	if err != nil {
		return nil, fmt.Errorf("lora: merge into %s: config: %w", base.Path, err)
	}
	return &c, nil
}

// add notes what one tensor of the adapter does.
func (m *merged) add(base *lm.Checkpoint, f *Folder, info checkpoint.Info) error {
	if strings.HasSuffix(info.Name, ".lora_B.weight") {
		return nil // with its A
	}
	if path, ok := strings.CutSuffix(info.Name, ".lora_A.weight"); ok {
		return m.addProduct(f, path, info)
	}
	name, tokens := strings.CutSuffix(info.Name, tokenSuffix)
	if tokens {
		name += ".weight"
	} else if name == "lm_head.weight" && base.Tied() {
		for _, other := range f.list {
			if strings.HasSuffix(other.Name, "embed_tokens.weight") {
				return sameTensors(f, other.Name, name)
			}
		}
		return fmt.Errorf("the adapter has a head of its own, but the model ties it to the embedding; untie it first")
	}
	old, ok := m.Source.Find(name)
	if !ok || len(old.Shape) != len(info.Shape) || len(info.Shape) == 0 || !slices.Equal(old.Shape[1:], info.Shape[1:]) {
		return fmt.Errorf("the adapter has %v, the base %v", info, old)
	}
	c := &change{info: old, old: old}
	var err error
	if tokens {
		if c.rows, err = f.values(info.Name, info.Shape); err != nil {
			return err
		}
		c.ids = slices.Sorted(slices.Values(f.tokens(info.Name)))
		if last := int(c.ids[len(c.ids)-1]) + 1; last > old.Shape[0] {
			first, _ := slices.BinarySearch(c.ids, int32(old.Shape[0]))
			if last-old.Shape[0] != len(c.ids)-first {
				return fmt.Errorf("%s does not have all tokens from %d to %d", info.Name, old.Shape[0], last-1)
			}
			c.info.Shape = []int{last, old.Shape[1]}
		}
	} else {
		c.info.Shape = info.Shape
		c.whole = make([]float32, info.Len())
		err = f.Read(info.Name, 0, c.whole)
	}
	m.changes[name] = c
	return err
}

func (m *merged) addProduct(f *Folder, path string, a checkpoint.Info) error {
	name := path + ".weight"
	old, ok := m.Source.Find(name)
	b, both := f.Find(path + ".lora_B.weight")
	r := f.Config.R
	if !ok || !both || len(old.Shape) != 2 || !slices.Equal(a.Shape, []int{r, old.Shape[1]}) || !slices.Equal(b.Shape, []int{old.Shape[0], r}) {
		return fmt.Errorf("the adapter has %v and %v of rank %d, the base %v", a, b, r, old)
	}
	c := &change{info: old, old: old, r: r, scale: float32(f.Config.Scale()), a: make([]float32, a.Len()), b: make([]float32, b.Len())}
	m.changes[name] = c
	if err := f.Read(a.Name, 0, c.a); err != nil {
		return err
	}
	return f.Read(b.Name, 0, c.b)
}

func (m *merged) Tensors() []checkpoint.Info { return m.list }

func (m *merged) Find(name string) (checkpoint.Info, bool) {
	if c := m.changes[name]; c != nil {
		return c.info, true
	}
	return m.Source.Find(name)
}

func (m *merged) Read(name string, offset int, dst []float32) error {
	c := m.changes[name]
	if c == nil {
		return m.Source.Read(name, offset, dst)
	}
	if offset < 0 || offset+len(dst) > c.info.Len() {
		return fmt.Errorf("lora: read %q: elements %d to %d of %d", name, offset, offset+len(dst), c.info.Len())
	}
	if c.whole != nil {
		copy(dst, c.whole[offset:])
		return nil
	}
	if n := min(len(dst), c.old.Len()-offset); n > 0 {
		if err := m.Source.Read(name, offset, dst[:n]); err != nil {
			return err
		}
	}
	for width := c.info.Shape[1]; len(dst) > 0; {
		row, col := offset/width, offset%width
		part := dst[:min(width-col, len(dst))]
		c.apply(part, row, col)
		dst, offset = dst[len(part):], offset+len(part)
	}
	return nil
}

// apply changes a part of one row.
func (c *change) apply(part []float32, row, col int) {
	width := c.info.Shape[1]
	if c.a == nil {
		if i, ok := slices.BinarySearch(c.ids, int32(row)); ok {
			copy(part, c.rows[i*width+col:])
		}
		return
	}
	sum := make([]float32, len(part))
	for k, f := range c.b[row*c.r : (row+1)*c.r] {
		for j, v := range c.a[k*width+col:][:len(part)] {
			sum[j] += float32(f * v)
		}
	}
	for j, v := range sum {
		part[j] += float32(c.scale * v)
	}
}
