package tune

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sower/internal/blob"
	"sower/internal/card"
	"sower/internal/corpus"
	"sower/internal/rounds"
	"sower/schemas"
)

// MetricsFile has a row for each step.
const MetricsFile = "metrics.parquet"

// metric is a row of metrics.parquet.
type metric struct {
	Step
	// TokensPerSecond is the rate of the worker in that round.
	TokensPerSecond float64 `parquet:"tokens_per_second"`
	// Validation losses are those of the round's end, on its last step; null elsewhere.
	ValidationLoss      *float64 `parquet:"validation_loss,optional"`
	ValidationTextLoss  *float64 `parquet:"validation_text_loss,optional"`
	ValidationImageLoss *float64 `parquet:"validation_image_loss,optional"`
}

// maxFile bounds a file that is copied in memory.
const maxFile = 64 << 30

// Finish writes what a finished run leaves: the last adapter as a PEFT folder, the best one in best/, the tokenizer, metrics and
// card, and the manifest, which is last.
func Finish(ctx context.Context, c Config, m schemas.Manifest) error {
	t, err := open(ctx, c)
	if err != nil {
		return err
	}
	t.Lock()
	defer t.Unlock()
	var commits []*Commit
	for r := range c.Rounds() {
		commit, err := ReadCommit(ctx, t.out, &c, r)
		if err != nil {
			return fmt.Errorf("tune: round %d is not committed: %w", r, err)
		}
		commits = append(commits, commit)
	}
	// A worker that was killed while the run went on without it left its temporary files.
	if _, err := t.out.Sweep(ctx, ""); err != nil {
		return err
	}
	last := commits[len(commits)-1]
	var files []string
	add := func(list []string, err error) error {
		files = append(files, list...)
		return err
	}
	if err := add(t.export(ctx, last, "")); err != nil {
		return err
	}
	if best := last.Best; best >= 0 {
		if err := add(t.export(ctx, commits[best], "best/")); err != nil {
			return err
		}
	}
	if err := add(t.tokenizer(ctx)); err != nil {
		return err
	}
	if err := add(t.metrics(ctx, &c, commits)); err != nil {
		return err
	}
	slices.Sort(files)
	m.Files = nil
	for _, name := range files {
		f, err := corpus.Describe(ctx, t.out, name)
		if err != nil {
			return err
		}
		m.Files = append(m.Files, f)
	}
	m.Counts = schemas.Counts{In: int64(c.Steps) * int64(c.BatchRows), Encoded: int64(c.Steps) * int64(c.BatchRows)}
	finished := time.Now().UTC()
	m.Finished = finished.Format(time.RFC3339)
	if began, err := time.Parse(time.RFC3339Nano, m.Started); err == nil {
		m.Seconds = float64(finished.Sub(began).Milliseconds()) / 1000
	}
	results := card.Tuned{Base: c.Base, Steps: c.Steps, Rounds: len(commits), Parameters: t.size(), Best: last.Best}
	results.Loss = lastStep(last).Loss
	for _, commit := range commits {
		if v := commit.Validation; v != nil {
			results.Validation = append(results.Validation, card.TunedRound{Round: commit.Round, Loss: v.Loss, Text: v.TextLoss, Image: v.ImageLoss})
		}
	}
	if err := t.out.WriteAll(ctx, "README.md", card.Tune(&m, results)); err != nil {
		return err
	}
	text, err := m.Marshal()
	if err != nil {
		return err
	}
	return t.out.WriteAll(ctx, schemas.ManifestName, text)
}

func lastStep(c *Commit) Step {
	var s Step
	for _, w := range c.Workers {
		for _, one := range w.Steps {
			if one.Step >= s.Step {
				s = one
			}
		}
	}
	return s
}

// size is the number of trained elements.
func (t *trainer) size() (n int) {
	for _, v := range t.initial.Values {
		n += len(v)
	}
	return n
}

// export writes a commit's adapter as a PEFT folder and returns the names of its files.
func (t *trainer) export(ctx context.Context, m *Commit, folder string) ([]string, error) {
	s, _, err := rounds.ReadState(ctx, t.out, m.State, m.SHA256, t.initial)
	if err != nil {
		return nil, err
	}
	if err := t.load(s); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "sower-adapter-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := t.adapters.Write(dir); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		p, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		if err := t.out.WriteAll(ctx, folder+e.Name(), p); err != nil {
			return nil, err
		}
		names = append(names, folder+e.Name())
	}
	return names, nil
}

// tokenizer copies the corpus's extended tokenizer beside the adapter, where PEFT's users look for it.
func (t *trainer) tokenizer(ctx context.Context) ([]string, error) {
	var names []string
	for info, err := range t.corpus.List(ctx, "tokenizer/") {
		if err != nil {
			return nil, err
		}
		p, err := t.corpus.ReadAll(ctx, info.Name, maxFile)
		if err != nil {
			return nil, err
		}
		name := strings.TrimPrefix(info.Name, "tokenizer/")
		if err := t.out.WriteAll(ctx, name, p); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

// metrics writes a row for each step, in the order of steps.
func (t *trainer) metrics(ctx context.Context, c *Config, commits []*Commit) ([]string, error) {
	var rows []metric
	for _, m := range commits {
		first := len(rows)
		for _, w := range m.Workers {
			tokens := int64(0)
			for _, s := range w.Steps {
				tokens += s.Tokens
			}
			for _, s := range w.Steps {
				rows = append(rows, metric{Step: s, TokensPerSecond: float64(tokens) / max(w.Seconds, 1e-9)})
			}
		}
		slices.SortFunc(rows[first:], func(a, b metric) int { return cmp.Compare(a.Step.Step, b.Step.Step) })
		if v := m.Validation; v != nil && len(rows) > first {
			last := &rows[len(rows)-1]
			last.ValidationLoss, last.ValidationTextLoss, last.ValidationImageLoss = &v.Loss, &v.TextLoss, &v.ImageLoss
		}
	}
	p, err := corpus.Create[metric](ctx, t.out, MetricsFile, map[string]string{schemas.IdentityKey: c.Identity.JSON()})
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if err := p.Append(r, 128); err != nil {
			p.Abort()
			return nil, err
		}
	}
	if _, err := p.Commit(); err != nil {
		return nil, err
	}
	return []string{MetricsFile}, nil
}

// own are the names in the top folder that a run writes; the tokenizer's are those that its kinds have.
var own = []string{schemas.ManifestName, rounds.RunFile, MetricsFile, "README.md", "adapter_config.json", "adapter_model.safetensors", "tokenizer.json", "tokenizer_config.json",
	"special_tokens_map.json", "tokenizer.model", "added_tokens.json", "vocab.json", "merges.txt", "vocab.txt"}

// Wipe deletes a run and nothing else.
func Wipe(ctx context.Context, b *blob.Bucket) error {
	for info, err := range b.List(ctx, "") {
		if err != nil {
			return err
		}
		if slices.Contains(own, info.Name) || strings.HasPrefix(info.Name, "rounds/") || strings.HasPrefix(info.Name, "best/") {
			if err := b.Delete(ctx, info.Name); err != nil {
				return err
			}
		}
	}
	return nil
}
