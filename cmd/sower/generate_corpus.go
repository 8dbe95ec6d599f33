package main

import (
	"cmp"
	"os"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/spf13/cobra"

	"sower/gpu"
	"sower/internal/blob"
	"sower/internal/generate"
	"sower/internal/plan"
	pipeline "sower/pipelines/generate"
	"sower/schemas"
	"sower/transforms/manifest"
)

// corpus runs generate over the rows of --input.
func (o *generateOptions) corpus(cmd *cobra.Command) error {
	ctx := cmd.Context()
	if err := o.pipeline.begin(cmd, o.device.device, argument{"input", o.input}, argument{"output", o.output}, argument{"base", o.config.Base}, argument{"adapter", o.config.Adapter},
		argument{"tokenizer", o.config.Tokenizer}); err != nil {
		return err
	}
	if sameFolder(o.input, o.output) {
		return usageError{errorf("generate: --output %s is the corpus of --input: its files would be mixed or, with --overwrite, deleted; give another folder", o.output)}
	}
	b := generate.Batch{RunID: newRunID(), Input: absolute(o.input), Output: absolute(o.output), Base: absoluteModel(o.config.Base), Adapter: absolute(o.config.Adapter),
		Tokenizer: absoluteModel(o.config.Tokenizer), Template: o.template, Image: o.image, Prompt: o.prompt, Stops: o.stops, Tokens: o.run.Tokens, Sampler: o.run.Sampler,
		Rows: o.device.batch, Device: o.device.device, Threads: o.device.threads}
	if err := b.Validate(); err != nil {
		return usageError{err}
	}
	in, source, err := openMade(ctx, "--input", o.input, "encode", "generate")
	if err != nil {
		return err
	}
	defer in.Close()
	if b.Identity, err = o.identity(&b, source); err != nil {
		return err
	}
	pl, err := plan.Build(codeParts(source), 1, b.Identity.Options) // a unit a part
	if err != nil {
		return err
	}
	out, err := blob.OpenBucket(ctx, b.Output)
	if err != nil {
		return err
	}
	defer out.Close()
	b.Plan, b.Units, b.Identity.Plan = pl.Name(), pl.Units, pl.Digest
	b.Base = cmp.Or(o.pipeline.onWorkers, b.Base)
	m := schemas.Manifest{Version: schemas.ManifestVersion, Tool: tool(), Pipeline: "generate", Identity: b.Identity, Units: pl.Units, Model: o.config.Base, Input: []string{o.input},
		Command: os.Args, Runner: o.pipeline.runner}
	return o.pipeline.launch(cmd, &job{
		what: "generate", noun: "rows", id: b.RunID, out: out, plan: pl, manifest: m,
		build: func(s beam.Scope, branches int, mo manifest.Options) error {
			return pipeline.Build(s, pipeline.Options{Config: b, Branches: branches, Manifest: mo})
		},
		forget: func() { generate.Release(b) },
	})
}

// identity is that of the rows: their codes are those that the adapter was trained on, whoever made them.
func (o *generateOptions) identity(b *generate.Batch, source *schemas.Manifest) (id schemas.Identity, err error) {
	folder, tuned, err := generate.OpenAdapter(b.Adapter)
	if err != nil {
		return id, err
	}
	folder.Close()
	if tuned == nil || tuned.Vocabulary == nil {
		return id, errorf("generate: --adapter %s has no %s with a vocabulary, so that nothing says which of its tokens are images: give the folder that sower tune wrote", o.config.Adapter, schemas.ManifestName)
	}
	weights := tuned.Identity.Options["codes_weights"]
	s := source.Identity
	if !o.image && (s.Codes != int(tuned.Vocabulary.K) || s.CodesPerImage != int(tuned.Vocabulary.ImageLength)-2 || weights != "" && s.Weights != weights) {
		return id, errorf("--input %s has %d codes an image of %d by weights %.12s, the adapter was trained with %d of %d by %.12s: encode it with the --model of the adapter's corpus",
			o.input, s.CodesPerImage, s.Codes, s.Weights, tuned.Vocabulary.ImageLength-2, tuned.Vocabulary.K, weights)
	}
	base, err := generate.OpenBase(b.Base)
	if err != nil {
		return id, err
	}
	defer base.Close()
	digest, err := base.Digest()
	if err != nil {
		return id, err
	}
	if want := tuned.Identity.Weights; want != "" && want != digest {
		return id, errorf("generate: --base %s has weights %.12s, --adapter %s was trained on %.12s: give that base", o.config.Base, digest, o.config.Adapter, want)
	}
	adapter, err := generate.AdapterDigest(b.Adapter)
	if err != nil {
		return id, err
	}
	precision, err := gpu.ParsePrecision(o.device.precision)
	if err != nil {
		return id, err
	}
	if b.Template == "" {
		if b.Template = tuned.Identity.Options["template_pair"]; b.Template == "" {
			b.Template = generate.DefaultTemplate
		}
	}
	id = s // captions are of the input's codes
	if o.image {
		id = tuned.Identity
		id.Weights = weights
	}
	id.Precision, id.Options = precision.On(o.device.device), b.Settings(digest, adapter)
	id.Options["source_weights"], id.Options["source_plan"] = s.Weights, s.Plan
	return id, nil
}
