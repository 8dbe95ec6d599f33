package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"

	"sower/internal/base"
	"sower/internal/corpus"
	"sower/internal/evaluate"
	"sower/internal/evaluate/language"
	"sower/internal/generate"
	"sower/internal/progress"
	"sower/internal/shards"
	"sower/internal/weights"
	"sower/schemas"
)

// evaluateLanguageOptions are the flags of sower evaluate language.
type evaluateLanguageOptions struct {
	device                 deviceFlags
	config                 generate.Config
	model, codes, baseline string
	seen                   []string
	pairs                  int
	unknown, json, quiet   bool
	measure                language.Options
}

func newEvaluateLanguage() *cobra.Command {
	o := evaluateLanguageOptions{}
	o.measure.Gallery = defaultEvaluate().gallery
	o.measure.Temperature = 1
	cmd := &cobra.Command{
		Use:   "language --codes CORPUS --base MODEL --adapter ADAPTER --model TOKENIZER",
		Short: "What a language model has learned of the codes",
		Long: `Runs a tuned language model on pairs that neither it nor the tokenizer has seen, and measures: how many bits a code costs behind the
caption and the codes before it; how often the model writes a whole image by itself where any token may follow <img>; and whether the images
that it makes of captions find them again, by what their codes give back.

--codes is what sower encode wrote of such pairs. Everything is computed in this process; a thousand pairs say enough (--pairs).`,
		Example: `  sower encode --input held.tar --output held --model my-tokenizer/
  sower evaluate language --codes held --base llama/ --adapter adapter/ --model my-tokenizer/ --baseline corpus --seen 'train-*.tar'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "codes", "base", "adapter", "model"); err != nil {
				return err
			}
			return o.execute(cmd)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&o.codes, "codes", "", "folder that sower encode wrote, of pairs that training did not see")
	f.StringVarP(&o.config.Base, "base", "b", "", base.Usage)
	f.StringVarP(&o.config.Adapter, "adapter", "a", "", "folder that sower tune wrote")
	f.StringVarP(&o.model, "model", "m", "", "tokenizer that made the codes, with its text tower: "+weights.Usage)
	f.IntVar(&o.pairs, "pairs", 1000, "rows of --codes at most, the first ones; 0 takes all")
	f.StringVar(&o.baseline, "baseline", "", "codes that the adapter was trained on: say what each code costs by how often it is used at each place, too")
	f.StringArrayVar(&o.seen, "seen", nil, "pairs of the training set: their captions are left out of the gallery")
	f.IntVar(&o.measure.Gallery.Most, "gallery", o.measure.Gallery.Most, "captions of the gallery at most")
	f.IntVar(&o.measure.Gallery.MinWords, "min-words", o.measure.Gallery.MinWords, "known words that a caption of the gallery has at least")
	f.BoolVar(&o.unknown, "keep-unknown", false, "words that the tokenizer does not know become [UNK] instead of being left out")
	f.StringVar(&o.measure.Template, "template", "", "layout of the prompt: "+strings.Join(generate.Templates, ", ")+"; default: that of the adapter's corpus")
	f.StringVarP(&o.config.Tokenizer, "tokenizer", "t", "", "folder or file of the text tokenizer; default: the adapter's, or else the base's")
	f.Float64Var(&o.measure.Temperature, "temperature", o.measure.Temperature, "of the images that are made: 0 takes the best code, 1 draws by the model's probabilities")
	f.Float64Var(&o.measure.TopP, "top-p", 1, "draw from the best codes that have this share of the probability")
	f.Uint64Var(&o.measure.Seed, "seed", 0, "of all draws")
	f.BoolVar(&o.json, "json", false, "print JSON")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "show no progress")
	o.device.register(f)
	o.device.registerPrecision(f)
	return cmd
}

func (o *evaluateLanguageOptions) execute(cmd *cobra.Command) error {
	ctx := cmd.Context()
	if err := o.measure.Sampler.Validate(); err != nil {
		return usageError{err}
	}
	source, rows, err := o.held(ctx)
	if err != nil {
		return err
	}
	dev, g, err := openGenerator(cmd, &o.device, o.config)
	if err != nil {
		return err
	}
	defer dev.Close()
	defer g.Close()
	w, err := g.OpenModel(absoluteModel(o.model))
	if err != nil {
		return err
	}
	defer w.Close()
	digest, err := w.Digest()
	if err != nil {
		return err
	}
	if source.Identity.Weights != digest {
		return errorf("evaluate: --codes %s was made by weights %.12s, --model %s has %.12s: give the tokenizer that made the codes", o.codes, source.Identity.Weights, o.model, digest)
	}
	if o.baseline != "" {
		if o.measure.Baseline, err = o.countCodes(ctx, source); err != nil {
			return err
		}
	}
	if o.measure.Gallery.Seen, err = captions(ctx, o.seen, "", &shards.Options{}); err != nil {
		return err
	}
	m, err := evaluate.Open(w, o.device.device, o.device.threads, !o.unknown)
	if err != nil {
		return err
	}
	defer m.Close()
	if !m.HasTexts() {
		return errorf("evaluate: --model %s has no text tower, which finds captions by codes: give a model of sower train-tokenizer", o.model)
	}
	if o.measure.Batch = o.device.batch; o.measure.Batch == 0 {
		o.measure.Batch = 32
	}
	var done, all atomic.Int64
	o.measure.Done = func(a, b int) { done.Store(int64(a)); all.Store(int64(b)) }
	if !o.quiet {
		stop := progress.Lines(cmd.ErrOrStderr(), func() string {
			return fmt.Sprintf("evaluate %s/%s steps  %d%%", progress.Thousands(done.Load()), progress.Thousands(all.Load()), 100*done.Load()/max(all.Load(), 1))
		})
		defer stop()
	}
	report, err := language.Measure(ctx, g, m, rows, o.measure)
	if err != nil {
		return err
	}
	if o.json {
		return writeJSON(cmd.OutOrStdout(), report)
	}
	_, err = fmt.Fprint(cmd.OutOrStdout(), report.Lines())
	return err
}

// eachCode reads a finished code table: first its manifest, then every row.
func eachCode(ctx context.Context, folder, flag string, begin func(*schemas.Manifest) error, row func(schemas.CodeRow) error) error {
	in, m, err := openMade(ctx, flag, folder, "encode")
	if err != nil {
		return err
	}
	defer in.Close()
	if err := begin(m); err != nil {
		return err
	}
	for _, f := range m.Files {
		if !strings.HasPrefix(f.Path, "data/") {
			continue
		}
		if err := corpus.Read(ctx, in, f.Path, row); err != nil {
			if errors.Is(err, errEnough) {
				return nil
			}
			return err
		}
	}
	return nil
}

// held reads the pairs of --codes.
func (o *evaluateLanguageOptions) held(ctx context.Context) (m *schemas.Manifest, rows []schemas.CodeRow, err error) {
	err = eachCode(ctx, o.codes, "--codes", func(source *schemas.Manifest) error { m = source; return nil }, func(r schemas.CodeRow) error {
		if rows = append(rows, r); len(rows) == o.pairs {
			return errEnough
		}
		return nil
	})
	return m, rows, err
}

// countCodes counts the codes of --baseline, which the weights of source must have made.
func (o *evaluateLanguageOptions) countCodes(ctx context.Context, source *schemas.Manifest) (c *language.Counts, err error) {
	err = eachCode(ctx, o.baseline, "--baseline", func(m *schemas.Manifest) error {
		if m.Identity.Weights != source.Identity.Weights {
			return errorf("evaluate: --baseline %s was made by weights %.12s, --codes by %.12s: give corpora of one tokenizer", o.baseline, m.Identity.Weights, source.Identity.Weights)
		}
		c = language.NewCounts(m.Identity.CodesPerImage, m.Identity.Codes)
		return nil
	}, func(r schemas.CodeRow) error { c.Add(r.Codes); return nil })
	return c, err
}
