package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"sower/gpu/checkpoint"
	"sower/internal/blob"
	"sower/internal/progress"
	"sower/internal/weights"
)

func newModel() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "model",
		Short: "Look at weights, or convert them",
		Example: `  sower model inspect weights/
  sower model convert weights/ seed2/`,
		// A command without RunE answers a mistyped subcommand with its help and exit code 0.
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{errorf("model: unknown command %q: want inspect or convert", args[0])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newModelInspect(), newModelConvert())
	return cmd
}

func newModelInspect() *cobra.Command {
	var asJSON, all bool
	cmd := &cobra.Command{
		Use:     "inspect WEIGHTS",
		Short:   "Say what a --model holds, whether it can encode and detokenize, and its digest",
		Long:    "Inspect opens weights as every command does. WEIGHTS is:\n" + weights.Usage,
		Example: "  sower model inspect weights/\n  sower model inspect standin:tiny:0 --json",
		Args:    oneArg("WEIGHTS"),
		RunE: func(cmd *cobra.Command, args []string) error {
			m, err := weights.Open(args[0])
			if err != nil {
				return err
			}
			defer m.Close()
			if m.IsNull() && asJSON {
				return writeJSON(cmd.OutOrStdout(), map[string]any{"model": m.Arg, "kind": weights.Null, "encodes": false, "detokenizes": false})
			}
			if m.IsNull() {
				fmt.Fprintln(cmd.OutOrStdout(), "null: no weights; encode reads, hashes and writes without decoding")
				return nil
			}
			return inspectModel(cmd, m, asJSON, all)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVar(&all, "tensors", false, "list every tensor")
	return cmd
}

func inspectModel(cmd *cobra.Command, m *weights.Model, asJSON, all bool) error {
	types := map[checkpoint.DType]int{}
	params := 0
	tensors := m.Source.Tensors()
	used := map[string]bool{}
	for _, p := range m.Config.Params() {
		used[p.Name] = true
	}
	for _, t := range tensors {
		types[t.DType]++
		if used[t.Name] {
			params += t.Len()
		}
	}
	encodeErr, detokenizeErr := m.Check()
	digest, detok := "", ""
	var err error
	if encodeErr == nil {
		if digest, err = m.Digest(); err != nil {
			return err
		}
	}
	if detokenizeErr == nil {
		if detok, err = m.DetokenizerDigest(); err != nil {
			return err
		}
	}
	w := cmd.OutOrStdout()
	if asJSON {
		out := map[string]any{"model": m.Arg, "kind": m.Kind, "files": m.Files, "config": m.Config, "tensors": len(tensors), "element_types": types,
			"parameters_used": params, "unknown": m.Unknown, "notes": m.Notes, "encodes": encodeErr == nil, "detokenizes": detokenizeErr == nil,
			"weights": digest, "detokenizer_weights": detok}
		if all {
			out["list"] = tensors
		}
		return writeJSON(w, out)
	}
	fmt.Fprintf(w, "%s: %s", m.Arg, m.Kind)
	if len(m.Files) > 0 {
		fmt.Fprintf(w, " (%s)", strings.Join(m.Files, ", "))
	}
	c := m.Config
	fmt.Fprintf(w, "\n  image %dx%d, patches of %d; ViT %d x %d; Q-Former %d x %d; %d codes an image of %d\n", c.ImageSize, c.ImageSize, c.PatchSize,
		c.ViTDepth, c.ViTWidth, c.QFormerDepth, c.QFormerWidth, c.Queries, c.Codes)
	fmt.Fprintf(w, "  %d tensors (", len(tensors))
	sep := ""
	for _, t := range []checkpoint.DType{checkpoint.F64, checkpoint.F32, checkpoint.F16, checkpoint.BF16, checkpoint.I64, checkpoint.I32, checkpoint.I16, checkpoint.I8, checkpoint.U8, checkpoint.Bool} {
		if types[t] > 0 {
			fmt.Fprintf(w, "%s%d %s", sep, types[t], t)
			sep = ", "
		}
	}
	fmt.Fprintf(w, "), %s parameters of the tokenizer\n", progress.Thousands(int64(params)))
	yes := func(what string, err error, digest string) {
		if err == nil {
			fmt.Fprintf(w, "  %s: yes, weights %s\n", what, digest)
		} else {
			fmt.Fprintf(w, "  %s: no: %v\n", what, err)
		}
	}
	yes("encodes", encodeErr, digest)
	yes("detokenizes", detokenizeErr, detok)
	for _, n := range m.Notes {
		fmt.Fprintln(w, "  note:", n)
	}
	if all {
		for _, t := range tensors {
			mark := ""
			if !used[t.Name] {
				mark = "  (not used)"
			}
			fmt.Fprintf(w, "  %s%s\n", t, mark)
		}
	}
	return nil
}

func newModelConvert() *cobra.Command {
	var dtype string
	var force bool
	cmd := &cobra.Command{
		Use:   "convert WEIGHTS FOLDER",
		Short: "Write weights as config.json and model.safetensors",
		Long: `Convert writes the tensors of the tokenizer as a folder that opens without parsing pickles and with any tool. The weights
keep their digest, so codes made before and after may be mixed, unless --dtype rounds them.`,
		Example: "  sower model convert weights/ seed2/\n  sower model convert standin:tiny:0 tiny/ --dtype f16",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 2 {
				return usageError{errorf("model convert: %d arguments, want WEIGHTS and FOLDER", len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := weights.ParseDType(dtype)
			if err != nil {
				return usageError{err}
			}
			m, err := weights.Open(args[0])
			if err != nil {
				return err
			}
			defer m.Close()
			if entries, err := os.ReadDir(args[1]); err == nil && len(entries) > 0 && !force {
				return errorf("model convert: %s is not empty: choose another folder, or --force to write into it", args[1])
			}
			out, err := blob.OpenBucket(cmd.Context(), absolute(args[1]))
			if err != nil {
				return err
			}
			defer out.Close()
			files, err := m.Convert(cmd.Context(), out, d)
			if err != nil {
				return err
			}
			for _, n := range m.Notes {
				fmt.Fprintln(cmd.ErrOrStderr(), "note:", n)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "wrote %s: %s\n", args[1], strings.Join(files, ", "))
			return nil
		},
	}
	cmd.Flags().StringVar(&dtype, "dtype", "keep", "element type: keep, f32, f16 or bf16 (rounding changes the weights' digest, and some codes)")
	cmd.Flags().BoolVar(&force, "force", false, "write into a folder that is not empty")
	return cmd
}

// oneArg wants exactly one argument.
func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usageError{errorf("%s: %d arguments, want one: %s", cmd.Name(), len(args), what)}
		}
		return nil
	}
}
