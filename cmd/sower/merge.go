package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"sower/internal/base"
	"sower/internal/blob"
	"sower/internal/generate"
	"sower/internal/progress"
	"sower/internal/weights"
)

type mergeOptions struct {
	config        generate.Merge
	output, dtype string
	force         bool
}

func newMerge() *cobra.Command {
	var o mergeOptions
	cmd := &cobra.Command{
		Use:   "merge --base MODEL --adapter FOLDER --output FOLDER",
		Short: "Fold an adapter into its base and write a plain model",
		Long: `Merge adds the low-rank changes of an adapter to the weights of its base, in float32, puts the modules and token rows that were
trained whole in their places, and writes a Hugging Face folder that needs no adapter: config.json with the grown vocabulary,
model.safetensors (in files of at most 4 GB, with an index), the tokenizer, and generation_config.json where the base has it.

Tensor by tensor: the model is never in memory.`,
		Example: `  sower merge --base SmolLM2.gguf --adapter adapter/ --output merged/
  sower merge --base llama-2-7b/ --adapter adapter/ --output merged/ --dtype bf16`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "base", "adapter", "output"); err != nil {
				return err
			}
			return o.execute(cmd)
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVarP(&o.config.Base, "base", "b", "", base.Usage)
	fs.StringVarP(&o.config.Adapter, "adapter", "a", "", "folder that sower tune wrote, or any PEFT folder of LoRA")
	fs.StringVarP(&o.output, "output", "o", "", "folder for the model")
	fs.StringVar(&o.dtype, "dtype", "keep", "element type: keep (that of each tensor of the base, f16 for a quantized one), f32, f16 or bf16")
	fs.BoolVar(&o.force, "force", false, "write into a folder that is not empty; a model that it holds is deleted")
	return cmd
}

func (o *mergeOptions) execute(cmd *cobra.Command) error {
	ctx := cmd.Context()
	var err error
	if o.config.DType, err = weights.ParseDType(o.dtype); err != nil {
		return usageError{errorf("merge: --dtype %q: want keep, f32, f16 or bf16", o.dtype)}
	}
	if sameFolder(o.output, o.config.Base) || sameFolder(o.output, o.config.Adapter) {
		return usageError{errorf("merge: --output %s is the folder of --base or --adapter, whose files would be replaced while they are read; give another folder", o.output)}
	}
	if st, err := os.Stat(o.output); err == nil && !st.IsDir() {
		return usageError{errorf("merge: --output %s is a file: give a folder", o.output)}
	}
	if entries, err := os.ReadDir(o.output); err == nil && len(entries) > 0 && !o.force {
		return errorf("merge: --output %s is not empty: choose another folder, or --force to replace the model in it", o.output)
	}
	out, err := blob.OpenBucket(ctx, absolute(o.output))
	if err != nil {
		return err
	}
	defer out.Close()
	m, err := generate.WriteMerged(ctx, out, o.config)
	if err != nil {
		return err
	}
	for _, n := range m.Notes {
		fmt.Fprintln(cmd.ErrOrStderr(), "note:", n)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "wrote %s: %d tensors, %s, %s tokens: %s\n", o.output, m.Tensors, progress.Size(m.Bytes), progress.Thousands(int64(m.Rows)), strings.Join(m.Files, ", "))
	return nil
}
