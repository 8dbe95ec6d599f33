package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"sower/internal/progress"
	"sower/internal/validate"
)

func newValidate() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "validate FOLDER",
		Short: "Check every file and row of a corpus",
		Long: `Validate reads a corpus of encode, detokenize or interleave, or an adapter of tune, as a stranger would: files, sizes and digests against the
manifest, schemas, identities, and every row: codes in range, images whole, labels, lengths, positions. It names file and row of
what is wrong, and exits with 1 if anything is.`,
		Example: "  sower validate corpus\n  sower validate train --json",
		Args:    oneArg("FOLDER, which encode, detokenize, interleave or tune wrote"),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := openFolder(cmd.Context(), absolute(args[0]), "folder")
			if err != nil {
				return err
			}
			defer b.Close()
			var show func(done, of int)
			if f, ok := cmd.ErrOrStderr().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
				show = func(done, of int) {
					fmt.Fprintf(f, "\r\x1b[Kvalidate %d/%d files", done, of)
					if done == of {
						fmt.Fprint(f, "\r\x1b[K")
					}
				}
			}
			r, err := validate.Corpus(cmd.Context(), b, show)
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if asJSON {
				if err := writeJSON(w, r); err != nil {
					return err
				}
			} else {
				for _, p := range r.Problems {
					fmt.Fprintln(w, p)
				}
				if more := r.Total - len(r.Problems); more > 0 {
					fmt.Fprintf(w, "… and %s more\n", progress.Thousands(int64(more)))
				}
				fmt.Fprintf(w, "%s: %d files, %s rows, %s: ", args[0], r.Files, progress.Thousands(r.Rows), progress.Size(r.Bytes))
				if r.OK() {
					fmt.Fprintln(w, "all is well")
				} else {
					fmt.Fprintf(w, "%s problems\n", progress.Thousands(int64(r.Total)))
				}
			}
			if !r.OK() {
				return errorf("validate: %d problems in %s", r.Total, args[0])
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}
