package generate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sower/gpu"
	"sower/gpu/models/lm"
)

// Row is a prompt to continue.
type Row struct {
	Prompt []int32
	Mode   Mode
	// Stream numbers the row for the sampler: rows of the same stream, prompt and seed are the same.
	Stream uint64
}

// Run says how rows are continued.
type Run struct {
	Sampler
	// Tokens is how many tokens a row gets at most; an image always has as many as it needs.
	Tokens int
	// Token, if any, sees each token as it comes, and may end its row.
	Token func(row int, id int32) (stop bool)
}

// Result is what was added to a row, the token that ended it included.
type Result struct {
	IDs    []int32
	Finish Finish
}

// Generate continues rows side by side. A row's result does not depend on the others.
func (g *Generator) Generate(ctx context.Context, rows []Row, o Run) ([]Result, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	d, err := g.decoder(rows, &o)
	if err != nil {
		return nil, err
	}
	defer d.cache.Close()
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		running, err := d.step(&o)
		if err != nil {
			return nil, fmt.Errorf("generate: %w", err)
		}
		if !running {
			return d.results, nil
		}
	}
}

// decoder is rows of equal length, the shorter ones padded on the left.
type decoder struct {
	m        lm.Model
	rows     []Row
	ids      [][]int32 // with the padding
	start    []int     // first column of each row's prompt
	grammars []*grammar
	cache    *lm.Cache
	results  []Result
}

func (g *Generator) decoder(rows []Row, o *Run) (*decoder, error) {
	if len(rows) == 0 {
		return nil, errors.New("generate: no rows")
	}
	longest, added := 0, 0
	d := &decoder{m: g.Model, rows: rows, results: make([]Result, len(rows))}
	for i, r := range rows {
		switch {
		case len(r.Prompt) == 0:
			return nil, fmt.Errorf("generate: prompt %d is empty and the tokenizer has no BOS: give a text to begin with", i)
		case r.Mode == Image && g.Vocabulary == nil:
			return nil, g.noImages()
		case r.Mode != Image && o.Tokens < 1:
			return nil, fmt.Errorf("generate: --tokens %d: want at least 1", o.Tokens)
		}
		gr := newGrammar(r.Mode, g.Vocabulary, g.EOS, o.Tokens)
		d.grammars = append(d.grammars, gr)
		longest, added = max(longest, len(r.Prompt)), max(added, gr.left)
	}
	if limit := g.Model.Sizes().Positions; longest+added > limit {
		return nil, fmt.Errorf("generate: a prompt of %d tokens and %d new ones, but the model has %d positions: give a shorter prompt or less --tokens", longest, added, limit)
	}
	for _, r := range rows {
		pad := longest - len(r.Prompt)
		d.start = append(d.start, pad)
		d.ids = append(d.ids, append(make([]int32, pad, longest+added), r.Prompt...))
	}
	var err error
	d.cache, err = lm.NewCache(g.Model, len(rows), longest+added)
	return d, err
}

// step adds a token to each row that has not ended, and says whether one is left.
func (d *decoder) step(o *Run) (running bool, err error) {
	scores, err := d.scores()
	if err != nil {
		return false, err
	}
	v := len(scores) / len(d.rows)
	for r := range d.rows {
		res, next := &d.results[r], int32(0) // of a row that has ended, which no other sees
		if res.Finish == "" {
			s := scores[r*v : (r+1)*v]
			d.grammars[r].mask(s)
			if next, err = o.choose(s, d.rows[r].Stream, uint64(len(res.IDs))); err != nil {
				return false, err
			}
			res.IDs = append(res.IDs, next)
			res.Finish = d.grammars[r].accept(next)
			if o.Token != nil && o.Token(r, next) && res.Finish != AtEOS {
				res.Finish = AtStop
			}
			running = running || res.Finish == ""
		}
		d.ids[r] = append(d.ids[r], next)
	}
	return running, nil
}

// scores runs what the cache does not hold yet and returns the scores of each row's next token: [B V].
func (d *decoder) scores() ([]float32, error) {
	from, n, rows := d.cache.Len(), len(d.ids[0]), len(d.rows)
	b := &lm.Batch{B: rows, T: n - from}
	last := make([]int32, rows)
	for r, ids := range d.ids {
		b.IDs = append(b.IDs, ids[from:]...)
		for t := from; t < n; t++ {
			b.Positions = append(b.Positions, int32(max(t-d.start[r], -1)))
			b.Starts = append(b.Starts, int32(d.start[r]))
		}
		last[r] = int32((r+1)*b.T - 1)
	}
	p := d.m.Device().NewPass(gpu.Inference)
	h := d.m.Hidden(p, b, d.cache)
	if b.T > 1 {
		h = p.Lookup(p.Reshape(h, rows*b.T, h.Dim(-1)), p.IDs(last, rows))
	}
	logits := p.Logits(h, d.m.Head())
	scores := make([]float32, logits.Len())
	p.ReadF32(logits, scores)
	return scores, p.Close()
}

// Scores returns the scores behind every token of a prompt: [T V].
func (g *Generator) Scores(prompt []int32) (scores []float32, vocabulary int, err error) {
	if len(prompt) == 0 {
		return nil, 0, errors.New("generate: scores of an empty prompt: give a text or ids")
	}
	p := g.Model.Device().NewPass(gpu.Inference)
	logits := p.Logits(g.Model.Hidden(p, &lm.Batch{B: 1, T: len(prompt), IDs: prompt}, nil), g.Model.Head())
	scores = make([]float32, logits.Len())
	p.ReadF32(logits, scores)
	if err := p.Close(); err != nil {
		return nil, 0, fmt.Errorf("generate: %w", err)
	}
	return scores, len(scores) / len(prompt), nil
}

// ends reports whether a token ends a text.
func (g *Generator) ends(id int32) bool { return slices.Contains(g.EOS, id) }
