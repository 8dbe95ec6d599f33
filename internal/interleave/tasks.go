package interleave

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"sower/internal/blob"
	"sower/internal/progress"
)

// tasks are those of this process, by configuration: bundles of a run share one, and with it the tokenizer and its caches.
var tasks struct {
	sync.Mutex
	byConfig map[string]*Task
}

// GetTask returns the process's task for a configuration.
func GetTask(ctx context.Context, cfg Config) (*Task, error) {
	key, err := json.Marshal(cfg)
	if err != nil {
		return nil, fmt.Errorf("interleave: configuration: %w", err)
	}
	tasks.Lock()
	defer tasks.Unlock()
	if t := tasks.byConfig[string(key)]; t != nil {
		return t, nil
	}
	t, err := newTask(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if tasks.byConfig == nil {
		tasks.byConfig = map[string]*Task{}
	}
	tasks.byConfig[string(key)] = t
	return t, nil
}

// Forget closes the stores of a run's tasks in this process.
func Forget(runID string) {
	tasks.Lock()
	defer tasks.Unlock()
	for k, t := range tasks.byConfig {
		if t.cfg.RunID == runID {
			t.close()
			delete(tasks.byConfig, k)
		}
	}
}

func newTask(ctx context.Context, cfg Config) (t *Task, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	t = &Task{cfg: cfg, run: progress.Lookup(cfg.RunID)}
	defer func() {
		if err != nil {
			t.close()
		}
	}()
	words, err := OpenWords(cfg.Tokenizer, cfg.Rules, int(cfg.Vocabulary.K), int(cfg.Vocabulary.ImageLength)-2)
	if err != nil {
		return nil, err
	}
	if words.Vocabulary != cfg.Vocabulary {
		return nil, fmt.Errorf("interleave: tokenizer %s on this worker is another than the run was planned with (%.12s, want %.12s): put the same files there",
			cfg.Tokenizer, words.Vocabulary.Digest, cfg.Vocabulary.Digest)
	}
	if t.templates, err = Choose(cfg.Templates); err != nil {
		return nil, err
	}
	t.builder = Builder{Words: words, ImageFirst: cfg.ImageFirst, Swap: cfg.Swap, MaxImages: cfg.MaxImages, Seed: cfg.Seed, BOS: !cfg.NoBOS, EOS: !cfg.NoEOS}
	for _, in := range cfg.Inputs {
		b, err := blob.OpenBucket(ctx, in.URL)
		if err != nil {
			return nil, err
		}
		t.inputs = append(t.inputs, b)
	}
	t.output, err = blob.OpenBucket(ctx, cfg.Output)
	return t, err
}

func (t *Task) close() {
	for _, b := range t.inputs {
		b.Close()
	}
	if t.output != nil {
		t.output.Close()
	}
}
