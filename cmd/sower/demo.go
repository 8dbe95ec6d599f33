package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"sower/internal/blob"
	"sower/internal/demo"
	"sower/internal/encode"
	"sower/internal/evaluate"
	"sower/internal/launch"
	"sower/internal/mini"
)

func newDemo() *cobra.Command {
	limits := encode.DefaultLimits()
	var dir string
	o := encodeOptions{model: mini.Name, resize: "bicubic", unitBytes: 256 << 10, maxPixels: limits.MaxPixels, maxBytes: sizeFlag(limits.MaxImageBytes)}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "From 64 bundled pictures to a tuned toy model, as a first look",
		Long: `Demo writes two bundled shards of public-domain clip art into --output, encodes them with the bundled tokenizer, draws what the codes say,
lays codes and captions out as training sequences, tunes a toy language model on them and has it make an image. It needs nothing but this
program.`,
		Example: "  sower demo\n  sower demo --output DIR",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, out := cmd.Context(), cmd.OutOrStdout()
			input, err := blob.OpenBucket(ctx, filepath.Join(absolute(dir), "shards"))
			if err != nil {
				return err
			}
			defer input.Close()
			names, err := demo.Write(ctx, input)
			if err != nil {
				return err
			}
			o.input = []string{filepath.Join(dir, "shards", "*.tar")}
			o.output = filepath.Join(dir, "corpus")
			o.run.overwrite = true // the demo's own folder: a second look should look like the first
			if !o.run.json {
				fmt.Fprintf(out, "$ sower encode --input '%s' --output %s --model %s --unit-bytes 256KiB\n", o.input[0], o.output, o.model)
			}
			if err := o.execute(cmd); err != nil || o.run.json {
				return err
			}
			if err := demoPictures(cmd, &o, dir); err != nil {
				return err
			}
			sequences := defaultInterleave()
			sequences.run = o.run
			sequences.codes, sequences.output = []string{o.output}, filepath.Join(dir, "sequences")
			sequences.config.Context, sequences.config.Pack, sequences.config.Validation = 512, true, 0.05
			fmt.Fprintf(out, "\n$ sower interleave --codes %s --output %s --context 512 --pack --validation 0.05\n", o.output, sequences.output)
			if err := sequences.execute(cmd); err != nil {
				return err
			}
			fmt.Fprintf(out, "\n$ sower show %s --rows 1\n", sequences.output)
			written, err := blob.OpenBucket(ctx, absolute(sequences.output))
			if err != nil {
				return err
			}
			defer written.Close()
			m, err := launch.ReadManifest(ctx, written)
			if err != nil {
				return err
			}
			if _, err := showSequences(ctx, out, written, m, "train", 1, false); err != nil {
				return err
			}
			if err := demoTune(cmd, &o, sequences.output, filepath.Join(dir, "adapter")); err != nil {
				return err
			}
			fmt.Fprintf(out, `
The tokenizer is a small one that Sower trained on clip art of this kind (docs/recipes/mini): pictures of 64 pixels, whose codes keep shape, colour and
often the subject. With the published weights the same commands give the published codes; docs/weights.md says where to get them. The language
model is made by rule and knows 64 captions by heart: give tune a real one.

Pictures and their codes:   %s
Nearest by codes:           %s
An image that was made:     %s
Codes, one row an image:    %s
Training sequences:         %s
Adapter:                    %s
Their input:                %s (%d shards)
More:                       sower inspect %s, sower validate %s, sower --help
`, filepath.Join(dir, "codes.png"), filepath.Join(dir, "nearest.png"), filepath.Join(dir, "imagined.png"), filepath.Join(o.output, "data"), filepath.Join(sequences.output, "data"), filepath.Join(dir, "adapter"), filepath.Join(dir, "shards"), len(names), o.output, sequences.output)
			return nil
		},
	}
	cmd.Flags().StringVarP(&dir, "output", "o", "sower-demo", "folder for shards and corpus")
	o.device.register(cmd.Flags())
	o.device.registerPrecision(cmd.Flags())
	o.run.register(cmd.Flags())
	cmd.Flags().Lookup("overwrite").Hidden = true
	return cmd
}

// demoPictures draws what the codes of the demo's pictures say, and which pictures are near by them.
func demoPictures(cmd *cobra.Command, o *encodeOptions, dir string) error {
	e := defaultEvaluate()
	e.run, e.device = o.run, o.device
	e.input, e.model, e.pictures = o.input, o.model, 32
	e.picture, e.nearest = filepath.Join(dir, "codes.png"), filepath.Join(dir, "nearest.png")
	fmt.Fprintf(cmd.OutOrStdout(), "\n$ sower evaluate reconstruction --input '%s' --model %s --picture %s --nearest %s\n", o.input[0], o.model, e.picture, e.nearest)
	return e.execute(cmd, func(*evaluate.Report) error { return nil })
}

// demoTune tunes a language model made by rule on the demo's sequences and has it make the codes of an image.
func demoTune(cmd *cobra.Command, o *encodeOptions, sequences, adapter string) error {
	out := cmd.OutOrStdout()
	t := defaultTune()
	t.run, t.device = o.run, o.device
	c := &t.config
	c.Corpus, c.Base, c.Output = sequences, "standin:tiny:0", adapter
	c.Saved, c.Steps, c.StepsPerRound, c.BatchRows, c.Warmup, c.Rate = []string{"embed_tokens", "lm_head"}, 120, 40, 2, 10, 4e-3
	fmt.Fprintf(out, "\n$ sower tune --corpus %s --base %s --output %s --saved embed_tokens,lm_head --steps 120 --steps-per-round 40 --batch-rows 2 --warmup 10 --rate 4e-3\n", sequences, c.Base, adapter)
	if err := t.execute(cmd); err != nil {
		return err
	}
	picture := filepath.Join(filepath.Dir(adapter), "imagined.png")
	args := []string{"--base", c.Base, "--adapter", adapter, "--prompt", "globe earth geography planet world", "--image", "--picture", picture, "--model", o.model}
	fmt.Fprintf(out, "\n$ sower generate --base %s --adapter %s --prompt 'globe earth geography planet world' --image --picture %s --model %s\n", c.Base, adapter, picture, o.model)
	g := newGenerate()
	g.SetArgs(args)
	g.SetOut(out)
	g.SetErr(cmd.ErrOrStderr())
	g.SilenceUsage, g.SilenceErrors = true, true
	return g.ExecuteContext(cmd.Context())
}
