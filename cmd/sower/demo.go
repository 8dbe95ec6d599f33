package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"sower/internal/blob"
	"sower/internal/demo"
	"sower/internal/encode"
)

func newDemo() *cobra.Command {
	limits := encode.DefaultLimits()
	var dir string
	o := encodeOptions{model: "standin:tiny:0", resize: "bicubic", unitBytes: 256 << 10, maxPixels: limits.MaxPixels, maxBytes: sizeFlag(limits.MaxImageBytes)}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Encode 64 bundled pictures, as a first look",
		Long: `Demo writes two bundled shards of public-domain clip art into --output, encodes them with small stand-in weights and shows
what came out. It needs nothing but this program.`,
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
			corpus, err := blob.OpenBucket(ctx, absolute(o.output))
			if err != nil {
				return err
			}
			defer corpus.Close()
			r, err := inspect(ctx, corpus, 4)
			if err != nil {
				return err
			}
			fmt.Fprintf(out, "\nThe first rows:\n")
			printExamples(out, r.Examples)
			fmt.Fprintf(out, `
These weights are a stand-in made by a fixed rule: the codes are exact (every machine makes the same) but meaningless.
With the published weights the same command gives the published codes; docs/weights.md says where to get them.

Parquet for any tool:  %s
Its input:             %s (%d shards)
More:                  sower inspect %s, sower encode --help
`, filepath.Join(o.output, "data"), filepath.Join(dir, "shards"), len(names), o.output)
			return nil
		},
	}
	cmd.Flags().StringVarP(&dir, "output", "o", "sower-demo", "folder for shards and corpus")
	o.device.register(cmd.Flags())
	o.run.register(cmd.Flags())
	cmd.Flags().Lookup("overwrite").Hidden = true
	return cmd
}
