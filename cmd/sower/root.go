package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"sower/gpu"
)

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "sower",
		Short: "Turn image-text data into corpora of SEED tokens",
		Long: `Sower reads image-text pairs, encodes every image into 32 SEED codes and writes them as Parquet that any tool opens.

Exit codes: 0 done, 1 failed, 2 wrong arguments, 3 the output holds another corpus, 4 too many rows fail, 130 interrupted.
Interrupted and failed runs lose nothing that is committed: the same command again does the rest.`,
		Example: `  sower demo
  sower encode --input 'shards/{00000..00063}.tar' --output corpus --model weights/
  sower inspect corpus`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	// --device auto is settled before anything looks at it, and said.
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		f := cmd.Flags().Lookup("device")
		if f == nil || f.Value.String() != "auto" {
			return nil
		}
		name, why := gpu.Auto()
		fmt.Fprintf(cmd.ErrOrStderr(), "note: --device auto is %s: %s\n", name, why)
		if cmd.Annotations == nil {
			cmd.Annotations = map[string]string{}
		}
		cmd.Annotations[autoDevice] = name
		return f.Value.Set(name)
	}
	cobra.AddTemplateFunc("flagUsages", flagUsages)
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}",
		`{{flagUsages .LocalFlags false}}{{with flagUsages .LocalFlags true}}

Flags of other runners than local:
{{.}}{{end}}`, 1))
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(newEncode(), newRetry(), newLint(), newEstimate(), newDetokenize(), newModel(), newPreview(), newInspect(), newInterleave(), newTokenize(), newGenerate(), newMerge(), newShow(), newValidate(), newDemo(), newTune(), newTrainTokenizer(), newEvaluate(), newFlink(), newCancel(), newBench(), newAgree(), newDevices(), newDoctor(), newVersion())
	root.CompletionOptions.HiddenDefaultCmd = true
	return root
}

// noArgs refuses words that belong to no flag, which are usually a pattern that the shell expanded.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{errorf("%s: unexpected argument %q: put patterns in quotes, so that the shell leaves them alone, or repeat the flag", cmd.Name(), args[0])}
	}
	return nil
}
