package trainer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"

	"sower/gpu/models/seed/training"
	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/schemas"
)

// sample is a prepared row in memory.
type sample struct {
	rgb     []byte // [S0 S0 3]
	words   []int32
	teacher []float32 // nil without one
}

// data gives the batches of a run: which rows, which crops and which words follow from seed and step alone. In an epoch the parts
// are permuted and taken in groups that fit into memory; the rows of a group are permuted together. Rows beyond the last whole batch of
// a group wait for another epoch.
type data struct {
	bucket *blob.Bucket
	parts  []schemas.File
	texts  *Texts
	recipe *Recipe
	rows   int64
	// teacher, if any, has an embedding of every row.
	teacher *Teacher

	epochs []int // batches of epoch i, as far as was asked
	batch  int
	// The group in memory.
	epoch, group int
	order        []int
	samples      []sample
}

func newData(b *blob.Bucket, parts []schemas.File, texts *Texts, r *Recipe, batch int) (*data, error) {
	d := &data{bucket: b, parts: parts, texts: texts, recipe: r, batch: batch, epoch: -1}
	for _, f := range parts {
		d.rows += f.Rows
	}
	if d.rows < int64(batch) {
		return nil, fmt.Errorf("trainer: %d prepared pairs, a batch has %d: give more input, or a smaller batch", d.rows, batch)
	}
	return d, nil
}

// groups are the parts of an epoch, as indices, in the order of training.
func (d *data) groups(epoch int) (out [][]int) {
	order := rand.New(rand.NewPCG(d.recipe.Seed, uint64(epoch)<<1)).Perm(len(d.parts))
	perRow := int64(3*d.recipe.Source*d.recipe.Source + 256)
	if d.teacher != nil {
		perRow += 4 * int64(d.teacher.width)
	}
	bytes := int64(0)
	for i, p := range order {
		size := d.parts[p].Rows * perRow
		if i == 0 || bytes+size > d.recipe.ShuffleBytes {
			out, bytes = append(out, nil), 0
		}
		out[len(out)-1] = append(out[len(out)-1], p)
		bytes += size
	}
	return out
}

// batches is the number of whole batches of a group.
func (d *data) batches(group []int) int {
	n := int64(0)
	for _, p := range group {
		n += d.parts[p].Rows
	}
	return int(n) / d.batch
}

// find is where the batch of a step lies.
func (d *data) find(step int) (epoch, group, at int, err error) {
	for epoch = 0; ; epoch++ {
		if epoch == len(d.epochs) {
			total := 0
			for _, g := range d.groups(epoch) {
				total += d.batches(g)
			}
			if total == 0 {
				return 0, 0, 0, fmt.Errorf("trainer: no group of parts has a whole batch of %d: raise shuffle_bytes (now %d)", d.batch, d.recipe.ShuffleBytes)
			}
			d.epochs = append(d.epochs, total)
		}
		if step < d.epochs[epoch] {
			break
		}
		step -= d.epochs[epoch]
	}
	for group, g := range d.groups(epoch) {
		n := d.batches(g)
		if step < n {
			return epoch, group, step, nil
		}
		step -= n
	}
	panic("trainer: an epoch is shorter than its groups")
}

// load reads a group into memory unless it is there.
func (d *data) load(ctx context.Context, epoch, group int) error {
	if d.epoch == epoch && d.group == group {
		return nil
	}
	groups := d.groups(epoch)
	// One group is the same rows in every epoch, in the order of parts; only their permutation differs.
	if !(len(groups) == 1 && d.samples != nil) {
		d.samples, d.epoch = nil, -1
		var places []place
		parts := groups[group]
		if len(groups) == 1 {
			parts = make([]int, len(d.parts))
			for i := range parts {
				parts[i] = i
			}
		}
		for _, p := range parts {
			err := corpus.Read(ctx, d.bucket, d.parts[p].Path, func(r schemas.PreparedRow) error {
				if want := 3 * d.recipe.Source * d.recipe.Source; len(r.RGB) != want {
					return fmt.Errorf("trainer: %s: a picture of %d bytes, want %d: prepare again with --overwrite", d.parts[p].Path, len(r.RGB), want)
				}
				s := sample{rgb: r.RGB}
				if r.Text != nil {
					s.words = d.texts.Words(*r.Text)
				}
				d.samples, places = append(d.samples, s), append(places, place{r.Source, r.Row})
				return nil
			})
			if err != nil {
				return err
			}
		}
		if d.teacher != nil {
			taught, err := d.teacher.Take(ctx, places)
			if err != nil {
				d.samples = nil
				return err
			}
			for i, v := range taught {
				d.samples[i].teacher = v
			}
		}
	}
	d.order = rand.New(rand.NewPCG(d.recipe.Seed, uint64(epoch)<<32|uint64(group)<<1|1)).Perm(len(d.samples))
	d.epoch, d.group = epoch, group
	return nil
}

// take makes the batch of a step: crops of pictures, and texts with some of their words.
func (d *data) take(ctx context.Context, step int, texts bool) (training.Batch, error) {
	epoch, group, at, err := d.find(step)
	if err != nil {
		return training.Batch{}, err
	}
	if err := d.load(ctx, epoch, group); err != nil {
		return training.Batch{}, err
	}
	size, source := d.recipe.Model.ImageSize, d.recipe.Source
	each := 3 * size * size
	b := training.Batch{RGB: make([]byte, d.batch*each)}
	if texts {
		b.Texts = make([][]int32, d.batch)
	}
	var wait sync.WaitGroup
	threads := runtime.GOMAXPROCS(0)
	for t := range threads {
		wait.Go(func() {
			for i := t; i < d.batch; i += threads {
				s := &d.samples[d.order[at*d.batch+i]]
				r := drawing(d.recipe.Seed, step, i)
				crop(b.RGB[i*each:(i+1)*each], s.rgb, size, source, d.recipe.Augment, r)
				if texts {
					b.Texts[i] = d.texts.Frame(dropWords(s.words, d.recipe.Augment.WordDrop, r))
				}
			}
		})
	}
	wait.Wait()
	if d.teacher != nil {
		b.Teacher = make([]float32, 0, d.batch*d.teacher.width)
		for i := range d.batch {
			b.Teacher = append(b.Teacher, d.samples[d.order[at*d.batch+i]].teacher...)
		}
	}
	return b, nil
}
