package tune

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"sower/internal/blob"
)

// Step is what one step of training measured; it is a row of metrics.parquet.
type Step struct {
	Round  int32 `json:"round" parquet:"round"`
	Worker int32 `json:"worker" parquet:"worker"`
	Step   int64 `json:"step" parquet:"step"`
	// Losses are means over targets, in nats: all, those that are text, those that are image tokens; the last two are 0 without any.
	Loss      float64 `json:"loss" parquet:"loss"`
	TextLoss  float64 `json:"text_loss" parquet:"text_loss"`
	ImageLoss float64 `json:"image_loss" parquet:"image_loss"`
	// Norm is that of all gradients before clipping.
	Norm    float64 `json:"gradient_norm" parquet:"gradient_norm"`
	Rate    float64 `json:"learning_rate" parquet:"learning_rate"`
	Tokens  int64   `json:"tokens" parquet:"tokens"`
	Targets int64   `json:"targets" parquet:"targets"`
}

// Report is what a worker did in a round.
type Report struct {
	Round  int    `json:"round"`
	Worker int    `json:"worker"`
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
	Steps  []Step `json:"steps"`
	// Seconds are those of training; they are no part of what a run is.
	Seconds float64 `json:"seconds"`
}

// Validation is the mean loss of the validation rows, by kind of target.
type Validation struct {
	Loss      float64 `json:"loss"`
	TextLoss  float64 `json:"text_loss"`
	ImageLoss float64 `json:"image_loss"`
	Targets   int64   `json:"targets"`
}

// Commit ends a round: its file commit.json, written last, makes the round part of the run.
type Commit struct {
	Round    int    `json:"round"`
	Identity string `json:"identity"`
	// State is the file that the next round begins with, SHA256 its digest.
	State      string      `json:"state"`
	SHA256     string      `json:"sha256"`
	Workers    []Report    `json:"workers"`
	Validation *Validation `json:"validation,omitempty"`
	// Best is the round with the least validation loss so far, this one included; -1 without validation.
	Best     int     `json:"best"`
	BestLoss float64 `json:"best_loss"`
}

func roundFolder(round int) string { return fmt.Sprintf("rounds/%04d/", round) }

func commitFile(round int) string { return roundFolder(round) + "commit.json" }

func workerFile(round, worker int) string {
	return fmt.Sprintf("%sworker-%04d.safetensors", roundFolder(round), worker)
}

func averageFile(round int) string { return roundFolder(round) + "average.safetensors" }

// maxCommit bounds commit.json.
const maxCommit = 256 << 20

// ReadCommit reads the commit of a round; an error that matches fs.ErrNotExist says that there is none.
func ReadCommit(ctx context.Context, b *blob.Bucket, c *Config, round int) (*Commit, error) {
	raw, err := b.ReadAll(ctx, commitFile(round), maxCommit)
	if err != nil {
		return nil, err
	}
	var m Commit
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("tune: %s: %w", commitFile(round), err)
	}
	if id := c.Identity.JSON(); m.Identity != id {
		return nil, fmt.Errorf("tune: %s is of another run than this one: choose another --output, or start again with --overwrite", commitFile(round))
	}
	return &m, nil
}

// Done is the number of rounds that are committed.
func Done(ctx context.Context, b *blob.Bucket, c *Config) (int, error) {
	for r := range c.Rounds() {
		_, err := b.Stat(ctx, commitFile(r))
		if errors.Is(err, fs.ErrNotExist) {
			return r, nil
		}
		if err != nil {
			return 0, err
		}
	}
	return c.Rounds(), nil
}

// Round trains a worker's share of a round and writes what came of it, or finds that it did so already.
func Round(ctx context.Context, c Config, round, worker int) (*Report, error) {
	t, err := open(ctx, c)
	if err != nil {
		return nil, err
	}
	t.Lock()
	defer t.Unlock()
	name, id := workerFile(round, worker), c.Identity.JSON()
	if _, err := t.out.Stat(ctx, name); err == nil {
		s, meta, err := readState(ctx, t.out, name, "", t.names, t.shapes)
		if err != nil || meta["identity"] != id {
			return nil, errors.Join(fmt.Errorf("tune: %s is of another run, or damaged: delete it, or start again with --overwrite", name), err)
		}
		var r Report
		if err := json.Unmarshal([]byte(meta["report"]), &r); err != nil {
			return nil, fmt.Errorf("tune: %s: %w", name, err)
		}
		r.File, r.SHA256 = name, s.digest
		return &r, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	before, err := t.before(ctx, &c, round, worker)
	if err != nil {
		return nil, err
	}
	if err := t.load(before); err != nil {
		return nil, err
	}
	r, err := t.train(ctx, &c, round, worker)
	if err != nil {
		return nil, err
	}
	after, err := t.save(true)
	if err != nil {
		return nil, err
	}
	seconds := r.Seconds
	r.Seconds = 0 // the file's bytes follow from the run
	report, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	r.Seconds, r.File = seconds, name
	r.SHA256, err = after.write(ctx, t.out, name, map[string]string{"identity": id, "report": string(report)})
	return r, err
}

// before is the state that a worker begins a round with: the commit before, and its own moments.
func (t *trainer) before(ctx context.Context, c *Config, round, worker int) (*State, error) {
	if round == 0 {
		return t.initial, nil
	}
	m, err := ReadCommit(ctx, t.out, c, round-1)
	if err != nil {
		return nil, err
	}
	s, _, err := readState(ctx, t.out, m.State, m.SHA256, t.names, t.shapes)
	if err != nil || c.Workers == 1 {
		return s, err
	}
	i := slices.IndexFunc(m.Workers, func(r Report) bool { return r.Worker == worker })
	if i < 0 {
		return nil, fmt.Errorf("tune: round %d has no worker %d", round-1, worker)
	}
	own, _, err := readState(ctx, t.out, m.Workers[i].File, m.Workers[i].SHA256, t.names, t.shapes)
	if err != nil {
		return nil, err
	}
	own.Values = s.Values
	return own, nil
}

// End makes a round of what its workers made, and commits it.
func End(ctx context.Context, c Config, round int, reports []Report) (*Commit, error) {
	t, err := open(ctx, c)
	if err != nil {
		return nil, err
	}
	t.Lock()
	defer t.Unlock()
	if m, err := ReadCommit(ctx, t.out, &c, round); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	reports, err = inOrder(reports, round, c.Workers)
	if err != nil {
		return nil, err
	}
	m := &Commit{Round: round, Identity: c.Identity.JSON(), State: reports[0].File, SHA256: reports[0].SHA256, Workers: reports, Best: -1}
	var after *State
	if c.Workers == 1 {
		after, _, err = readState(ctx, t.out, m.State, m.SHA256, t.names, t.shapes)
	} else {
		after, err = t.average(ctx, &c, round, reports)
		if err == nil {
			m.State = averageFile(round)
			m.SHA256, err = after.write(ctx, t.out, m.State, map[string]string{"identity": m.Identity})
		}
	}
	if err != nil {
		return nil, err
	}
	var last *Commit
	if round > 0 {
		if last, err = ReadCommit(ctx, t.out, &c, round-1); err != nil {
			return nil, err
		}
		m.Best, m.BestLoss = last.Best, last.BestLoss
	}
	if len(c.Validation) > 0 && c.ValidationRows > 0 && ((round+1)%c.ValidateEvery == 0 || round == c.Rounds()-1) {
		if err := t.load(after); err != nil {
			return nil, err
		}
		if m.Validation, err = t.validate(ctx, &c); err != nil {
			return nil, err
		}
		if m.Best < 0 || m.Validation.Loss < m.BestLoss {
			m.Best, m.BestLoss = round, m.Validation.Loss
		}
		live(c.RunID).validated(m.Validation)
	}
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, err
	}
	if err := t.out.WriteAll(ctx, commitFile(round), append(text, '\n')); err != nil {
		return nil, err
	}
	return m, t.prune(ctx, m, last)
}

// inOrder sorts reports by worker and makes sure that each is there; a runner may have tried one twice.
func inOrder(reports []Report, round, workers int) ([]Report, error) {
	out := make([]Report, workers)
	seen := make([]bool, workers)
	for _, r := range reports {
		if r.Round != round || r.Worker < 0 || r.Worker >= workers {
			return nil, fmt.Errorf("tune: a report of worker %d in round %d, want round %d of %d workers", r.Worker, r.Round, round, workers)
		}
		out[r.Worker], seen[r.Worker] = r, true
	}
	if i := slices.Index(seen, false); i >= 0 {
		return nil, fmt.Errorf("tune: worker %d of round %d did not report: run again to finish it", i, round)
	}
	return out, nil
}

func (t *trainer) average(ctx context.Context, c *Config, round int, reports []Report) (*State, error) {
	before := t.initial
	if round > 0 {
		m, err := ReadCommit(ctx, t.out, c, round-1)
		if err != nil {
			return nil, err
		}
		if before, _, err = readState(ctx, t.out, m.State, m.SHA256, t.names, t.shapes); err != nil {
			return nil, err
		}
	} else {
		before = &State{Names: before.Names, Shapes: before.Shapes, Values: before.Values}
	}
	var workers []*State
	for _, r := range reports {
		s, _, err := readState(ctx, t.out, r.File, r.SHA256, t.names, t.shapes)
		if err != nil {
			return nil, err
		}
		workers = append(workers, s)
	}
	return outer(before, workers, c.OuterRate, c.OuterMomentum), nil
}

// prune deletes the tensors that no later round and no result needs: those of the round before last's, unless it is the best.
func (t *trainer) prune(ctx context.Context, m, last *Commit) error {
	if last == nil {
		return nil
	}
	drop := func(old *Commit) error {
		files := []string{}
		for _, r := range old.Workers {
			if r.File != old.State || old.Round != m.Best {
				files = append(files, r.File)
			}
		}
		if old.Round != m.Best && !slices.Contains(files, old.State) {
			files = append(files, old.State)
		}
		for _, f := range files {
			if err := t.out.Delete(ctx, f); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return nil
	}
	if err := drop(last); err != nil {
		return err
	}
	if last.Best >= 0 && last.Best != m.Best && last.Best != last.Round { // the best so far is not any more
		old, err := t.out.ReadAll(ctx, commitFile(last.Best), maxCommit)
		if err != nil {
			return err
		}
		var c Commit
		if err := json.Unmarshal(old, &c); err != nil {
			return err
		}
		return drop(&c)
	}
	return nil
}
