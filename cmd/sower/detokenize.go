package main

import (
	"cmp"
	"iter"
	"os"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/spf13/cobra"

	"sower/internal/blob"
	"sower/internal/detokenize"
	"sower/internal/plan"
	"sower/internal/shards"
	"sower/internal/weights"
	pipeline "sower/pipelines/detokenize"
	"sower/schemas"
	"sower/transforms/manifest"
)

type detokenizeOptions struct {
	run                  runFlags
	device               deviceFlags
	codes, output, model string
}

func newDetokenize() *cobra.Command {
	var o detokenizeOptions
	cmd := &cobra.Command{
		Use:   "detokenize --codes CORPUS --output FOLDER --model WEIGHTS",
		Short: "Turn codes into image embeddings",
		Long: `Detokenize reads the code table of a finished corpus and writes the embedding that each row's codes stand for: the vector
that unCLIP Stable Diffusion 2.1 decodes to a picture (1024 values for the published sizes). The weights must be those
that made the codes.`,
		Example: "  sower detokenize --codes corpus --output embeddings/ --model weights/",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "codes", "output", "model"); err != nil {
				return err
			}
			return o.execute(cmd)
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&o.codes, "codes", "", "folder that sower encode wrote")
	fs.StringVarP(&o.output, "output", "o", "", "folder for the embeddings")
	fs.StringVarP(&o.model, "model", "m", "", weights.Usage)
	o.device.register(fs)
	o.run.register(fs)
	return cmd
}

func (o *detokenizeOptions) execute(cmd *cobra.Command) error {
	ctx := cmd.Context()
	if err := o.run.begin(cmd, o.device.device, argument{"codes", o.codes}, argument{"output", o.output}, argument{"model", o.model}); err != nil {
		return err
	}
	cfg := detokenize.Config{RunID: newRunID(), Codes: absolute(o.codes), Output: absolute(o.output), Model: absoluteModel(o.model), Device: o.device.device, Threads: o.device.threads}
	if err := cfg.Validate(); err != nil {
		return usageError{err}
	}
	if sameFolder(o.codes, o.output) {
		return usageError{errorf("detokenize: --output %s is the corpus of --codes: its files would be mixed or, with --overwrite, deleted; give another folder", o.output)}
	}
	in, source, err := openMade(ctx, "--codes", o.codes, "encode", "generate")
	if err != nil {
		return err
	}
	defer in.Close()
	model, err := weights.Open(cfg.Model)
	if err != nil {
		return err
	}
	defer model.Close()
	if err := sameWeights(o.codes, source, model); err != nil {
		return err
	}
	digest, err := model.DetokenizerDigest()
	if err != nil {
		return err
	}
	pl, err := plan.Build(codeParts(source), 1, nil) // a unit a part
	if err != nil {
		return err
	}
	out, err := blob.OpenBucket(ctx, cfg.Output)
	if err != nil {
		return err
	}
	defer out.Close()
	cfg.Plan, cfg.Units = pl.Name(), pl.Units
	cfg.Identity = source.Identity
	cfg.Identity.Weights, cfg.Identity.Plan = digest, pl.Digest
	cfg.Identity.Options = map[string]string{"codes_weights": source.Identity.Weights, "codes_plan": source.Identity.Plan}
	cfg.Model = cmp.Or(o.run.onWorkers, cfg.Model)
	m := schemas.Manifest{Version: schemas.ManifestVersion, Tool: tool(), Pipeline: "detokenize", Identity: cfg.Identity, Units: pl.Units,
		Model: o.model, Input: []string{o.codes}, Command: os.Args, Runner: o.run.runner}
	return o.run.launch(cmd, &job{
		what: "detokenize", id: cfg.RunID, out: out, plan: pl, manifest: m,
		build: func(s beam.Scope, branches int, mo manifest.Options) error {
			return pipeline.Build(s, pipeline.Options{Config: cfg, Branches: branches, Manifest: mo})
		},
		forget: func() {},
	})
}

// sameWeights refuses a model that did not make the codes.
func sameWeights(codes string, m *schemas.Manifest, model *weights.Model) error {
	if m.Identity.Tokenizer != model.Tokenizer() || m.Identity.Codes != model.Config.Codes || m.Identity.CodesPerImage != model.Config.Queries {
		return errorf("--codes %s was made by %s with %d codes an image of %d, --model %s is %s with %d of %d", codes, m.Identity.Tokenizer, m.Identity.CodesPerImage,
			m.Identity.Codes, model.Arg, model.Tokenizer(), model.Config.Queries, model.Config.Codes)
	}
	if encodes, _ := model.Check(); encodes != nil {
		return nil // a folder with the de-tokenizer alone: its codebook cannot be compared
	}
	digest, err := model.Digest()
	if err != nil {
		return err
	}
	if digest != m.Identity.Weights {
		return errorf("--codes %s was made by weights %.12s, --model %s has %.12s: give the weights that made the codes", codes, m.Identity.Weights, model.Arg, digest)
	}
	return nil
}

// codeParts lists the parts of a code table as ranges of a plan: those that the manifest names, whatever else lies there.
func codeParts(m *schemas.Manifest) iter.Seq2[shards.Range, error] {
	return func(yield func(shards.Range, error) bool) {
		for _, f := range m.Files { // sorted by path
			if !strings.HasPrefix(f.Path, "data/") {
				continue
			}
			// No tag: a corpus that was written again with the same bytes is the same.
			if !yield(shards.Range{Source: shards.Source{Name: f.Path, Size: f.Bytes}, Format: detokenize.Format, End: -1, Bytes: f.Bytes, Rows: f.Rows}, nil) {
				return
			}
		}
	}
}
