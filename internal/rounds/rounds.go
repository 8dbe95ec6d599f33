// Package rounds runs training in rounds that are committed, for any kind of model: what a worker did in a round is a file, a commit
// makes the workers' files one state, and the next round begins with that. It knows nothing of what is trained.
//
// With one worker a round is plain training, and how a run is cut into rounds does not change a bit of it. With W workers, each
// has a share of a round's steps, all from the state that the round began with, and keeps optimizer moments of its own; the commit
// averages the parameters, in the order of workers and in float64 (local SGD, arXiv 1805.09767). An outer step with Nesterov momentum
// beyond the average (DiLoCo, arXiv 2311.08105) is there for rounds of hundreds of steps a worker.
//
// A round is a function of the commit before, so that a run that was killed goes on at the last commit and ends with the same bytes.
package rounds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"sower/internal/blob"
)

// Plan is how a run is cut.
type Plan struct {
	Folder               string // of the rounds in the output folder, with a slash at its end, or ""
	Identity             string // of the run, as JSON
	Steps, StepsPerRound int
	Workers              int
	// ValidateEvery is the number of rounds between validations; 0 does not validate. The last round always is.
	ValidateEvery            int
	OuterRate, OuterMomentum float64
}

// Rounds is the number of commits.
func (p *Plan) Rounds() int { return (p.Steps + p.StepsPerRound - 1) / p.StepsPerRound }

// Range is the steps [from, to) of a round.
func (p *Plan) Range(round int) (from, to int) {
	return round * p.StepsPerRound, min((round+1)*p.StepsPerRound, p.Steps)
}

// Learner is what is trained, on a device of this process. S is what a step measured, V a validation.
type Learner[S, V any] interface {
	// Initial is the state that a run begins with, moments and all.
	Initial() *State
	// Load puts a state on the device; without moments those of the optimizer become 0. Save copies it from there.
	Load(*State) error
	Save() (*State, error)
	// Train takes a worker's steps of a round from the state that is loaded.
	Train(ctx context.Context, round, worker int) (steps []S, seconds float64, err error)
	// Validate measures the state that is loaded; less is better.
	Validate(ctx context.Context) (v *V, loss float64, err error)
}

// Report is what a worker did in a round.
type Report[S any] struct {
	Round  int    `json:"round"`
	Worker int    `json:"worker"`
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
	Steps  []S    `json:"steps"`
	// Seconds are those of training; they are no part of what a run is.
	Seconds float64 `json:"seconds"`
}

// Commit ends a round: its file commit.json, written last, makes the round part of the run.
type Commit[S, V any] struct {
	Round    int    `json:"round"`
	Identity string `json:"identity"`
	// State is the file that the next round begins with, SHA256 its digest.
	State      string      `json:"state"`
	SHA256     string      `json:"sha256"`
	Workers    []Report[S] `json:"workers"`
	Validation *V          `json:"validation,omitempty"`
	// Best is the round with the least validation loss so far, this one included; -1 without validation.
	Best     int     `json:"best"`
	BestLoss float64 `json:"best_loss"`
}

func (p *Plan) folder(round int) string { return fmt.Sprintf("%srounds/%04d/", p.Folder, round) }

// CommitFile is the file that makes a round part of a run.
func (p *Plan) CommitFile(round int) string { return p.folder(round) + "commit.json" }

func (p *Plan) workerFile(round, worker int) string {
	return fmt.Sprintf("%sworker-%04d.safetensors", p.folder(round), worker)
}

func (p *Plan) averageFile(round int) string { return p.folder(round) + "average.safetensors" }

// maxCommit bounds commit.json.
const maxCommit = 256 << 20

// ReadCommit reads the commit of a round; an error that matches fs.ErrNotExist says that there is none.
func ReadCommit[S, V any](ctx context.Context, b *blob.Bucket, p *Plan, round int) (*Commit[S, V], error) {
	raw, err := b.ReadAll(ctx, p.CommitFile(round), maxCommit)
	if err != nil {
		return nil, err
	}
	var m Commit[S, V]
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("rounds: %s: %w", p.CommitFile(round), err)
	}
	if m.Identity != p.Identity {
		return nil, fmt.Errorf("rounds: %s is of another run than this one: choose another --output, or start again with --overwrite", p.CommitFile(round))
	}
	return &m, nil
}

// Done is the number of rounds that are committed.
func Done(ctx context.Context, b *blob.Bucket, p *Plan) (int, error) {
	for r := range p.Rounds() {
		_, err := b.Stat(ctx, p.CommitFile(r))
		if errors.Is(err, fs.ErrNotExist) {
			return r, nil
		}
		if err != nil {
			return 0, err
		}
	}
	return p.Rounds(), nil
}

// Round trains a worker's share of a round and writes what came of it, or finds that it did so already.
func Round[S, V any](ctx context.Context, out *blob.Bucket, p *Plan, l Learner[S, V], round, worker int) (*Report[S], error) {
	name := p.workerFile(round, worker)
	if _, err := out.Stat(ctx, name); err == nil {
		s, meta, err := ReadState(ctx, out, name, "", l.Initial())
		if err != nil || meta["identity"] != p.Identity {
			return nil, errors.Join(fmt.Errorf("rounds: %s is of another run, or damaged: delete it, or start again with --overwrite", name), err)
		}
		var r Report[S]
		if err := json.Unmarshal([]byte(meta["report"]), &r); err != nil {
			return nil, fmt.Errorf("rounds: %s: %w", name, err)
		}
		r.File, r.SHA256 = name, s.Digest
		return &r, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	before, err := beginning(ctx, out, p, l, round, worker)
	if err != nil {
		return nil, err
	}
	if err := l.Load(before); err != nil {
		return nil, err
	}
	r := &Report[S]{Round: round, Worker: worker}
	seconds := 0.0
	if r.Steps, seconds, err = l.Train(ctx, round, worker); err != nil {
		return nil, err
	}
	after, err := l.Save()
	if err != nil {
		return nil, err
	}
	report, err := json.Marshal(r) // without seconds: the file's bytes follow from the run
	if err != nil {
		return nil, err
	}
	r.Seconds, r.File = seconds, name
	r.SHA256, err = after.Write(ctx, out, name, map[string]string{"identity": p.Identity, "report": string(report)})
	return r, err
}

// beginning is the state that a worker begins a round with: the commit before, and its own moments.
func beginning[S, V any](ctx context.Context, out *blob.Bucket, p *Plan, l Learner[S, V], round, worker int) (*State, error) {
	if round == 0 {
		return l.Initial(), nil
	}
	m, err := ReadCommit[S, V](ctx, out, p, round-1)
	if err != nil {
		return nil, err
	}
	s, _, err := ReadState(ctx, out, m.State, m.SHA256, l.Initial())
	if err != nil || p.Workers == 1 {
		return s, err
	}
	i := slices.IndexFunc(m.Workers, func(r Report[S]) bool { return r.Worker == worker })
	if i < 0 {
		return nil, fmt.Errorf("rounds: round %d has no worker %d", round-1, worker)
	}
	own, _, err := ReadState(ctx, out, m.Workers[i].File, m.Workers[i].SHA256, l.Initial())
	if err != nil {
		return nil, err
	}
	own.Values = s.Values
	return own, nil
}

// End makes a round of what its workers made, and commits it.
func End[S, V any](ctx context.Context, out *blob.Bucket, p *Plan, l Learner[S, V], round int, reports []Report[S]) (*Commit[S, V], error) {
	if m, err := ReadCommit[S, V](ctx, out, p, round); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return m, err
	}
	reports, err := inOrder(reports, round, p.Workers)
	if err != nil {
		return nil, err
	}
	m := &Commit[S, V]{Round: round, Identity: p.Identity, State: reports[0].File, SHA256: reports[0].SHA256, Workers: reports, Best: -1}
	var after *State
	if p.Workers == 1 {
		after, _, err = ReadState(ctx, out, m.State, m.SHA256, l.Initial())
	} else {
		after, err = average(ctx, out, p, l, round, reports)
		if err == nil {
			m.State = p.averageFile(round)
			m.SHA256, err = after.Write(ctx, out, m.State, map[string]string{"identity": m.Identity})
		}
	}
	if err != nil {
		return nil, err
	}
	var last *Commit[S, V]
	if round > 0 {
		if last, err = ReadCommit[S, V](ctx, out, p, round-1); err != nil {
			return nil, err
		}
		m.Best, m.BestLoss = last.Best, last.BestLoss
	}
	if p.ValidateEvery > 0 && ((round+1)%p.ValidateEvery == 0 || round == p.Rounds()-1) {
		if err := l.Load(after); err != nil {
			return nil, err
		}
		loss := 0.0
		if m.Validation, loss, err = l.Validate(ctx); err != nil {
			return nil, err
		}
		if m.Best < 0 || loss < m.BestLoss {
			m.Best, m.BestLoss = round, loss
		}
	}
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return nil, err
	}
	if err := out.WriteAll(ctx, p.CommitFile(round), append(text, '\n')); err != nil {
		return nil, err
	}
	return m, prune(ctx, out, p, m, last)
}

// inOrder sorts reports by worker and makes sure that each is there; a runner may have tried one twice.
func inOrder[S any](reports []Report[S], round, workers int) ([]Report[S], error) {
	out := make([]Report[S], workers)
	seen := make([]bool, workers)
	for _, r := range reports {
		if r.Round != round || r.Worker < 0 || r.Worker >= workers {
			return nil, fmt.Errorf("rounds: a report of worker %d in round %d, want round %d of %d workers", r.Worker, r.Round, round, workers)
		}
		out[r.Worker], seen[r.Worker] = r, true
	}
	if i := slices.Index(seen, false); i >= 0 {
		return nil, fmt.Errorf("rounds: worker %d of round %d did not report: run again to finish it", i, round)
	}
	return out, nil
}

func average[S, V any](ctx context.Context, out *blob.Bucket, p *Plan, l Learner[S, V], round int, reports []Report[S]) (*State, error) {
	before := l.Initial()
	if round > 0 {
		m, err := ReadCommit[S, V](ctx, out, p, round-1)
		if err != nil {
			return nil, err
		}
		if before, _, err = ReadState(ctx, out, m.State, m.SHA256, l.Initial()); err != nil {
			return nil, err
		}
	} else {
		before = &State{Names: before.Names, Shapes: before.Shapes, Values: before.Values}
	}
	var workers []*State
	for _, r := range reports {
		s, _, err := ReadState(ctx, out, r.File, r.SHA256, l.Initial())
		if err != nil {
			return nil, err
		}
		workers = append(workers, s)
	}
	return outer(before, workers, p.OuterRate, p.OuterMomentum), nil
}

// prune deletes the tensors that no later round and no result needs: those of the round before last's, unless it is the best.
func prune[S, V any](ctx context.Context, out *blob.Bucket, p *Plan, m, last *Commit[S, V]) error {
	if last == nil {
		return nil
	}
	drop := func(old *Commit[S, V]) error {
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
			if err := out.Delete(ctx, f); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return nil
	}
	if err := drop(last); err != nil {
		return err
	}
	if last.Best >= 0 && last.Best != m.Best && last.Best != last.Round { // the best so far is not any more
		old, err := out.ReadAll(ctx, p.CommitFile(last.Best), maxCommit)
		if err != nil {
			return err
		}
		var c Commit[S, V]
		if err := json.Unmarshal(old, &c); err != nil {
			return err
		}
		return drop(&c)
	}
	return nil
}
