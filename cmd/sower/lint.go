package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"sower/internal/lint"
	"sower/internal/progress"
	"sower/internal/shards"
	"sower/schemas"
)

func newLint() *cobra.Command {
	o := lint.Options{}
	var format, images string
	var asJSON, strict bool
	cmd := &cobra.Command{
		Use:   "lint INPUT…",
		Short: "Look for malformed shards before money is spent",
		Long: `Lint reads an input as encode would, without its pixels: archives that cannot be read, keys that come again or whose files do not
stand side by side, rows without image or caption, columns that are missing, gaps in the numbering of shards, shards and images that are
unlike the others. It names shard, row and byte.

Headers and texts are read of every row, and headers and ends of a sample of the images (--images). It exits with 1 when a run would
lose rows; warnings alone are no failure, unless --strict.`,
		Example: `  sower lint 'shards/{00000..00063}.tar'
  sower lint data.jsonl --image-column file --images 100
  sower lint 'gs://bucket/laion/*.tar' --images all --json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errorf("lint: INPUT is missing: files, folders or quoted patterns, as encode's --input takes")}
			}
			switch n, err := strconv.Atoi(images); {
			case images == "all":
				o.Images = -1
			case err != nil || n < 0:
				return usageError{errorf("lint: --images %q: want a number, or all", images)}
			default:
				o.Images = n
			}
			if format != "" {
				if _, err := shards.Lookup(format); err != nil {
					return usageError{err}
				}
			}
			o.Shards.ImageRoot = absolute(o.Shards.ImageRoot)
			in, err := shards.Resolve(cmd.Context(), args, format)
			if err != nil {
				return err
			}
			defer in.Root.Close()
			for _, n := range in.Notes {
				fmt.Fprintln(cmd.ErrOrStderr(), "note:", n)
			}
			if f, ok := cmd.ErrOrStderr().(*os.File); ok && term.IsTerminal(int(f.Fd())) {
				total := in.Bytes()
				o.Progress = func(n int, bytes int64) {
					fmt.Fprintf(f, "\r\x1b[Klint %d/%d shards, %s of %s", n, len(in.Sources), progress.Size(bytes), progress.Size(total))
					if n == len(in.Sources) {
						fmt.Fprint(f, "\r\x1b[K")
					}
				}
			}
			r, err := lint.Input(cmd.Context(), in, o)
			if err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), r)
			} else {
				printLint(cmd, r)
			}
			if err == nil && (r.Errors > 0 || strict && r.Warnings > 0) {
				err = errorf("lint: %s errors, %s warnings", progress.Thousands(r.Errors), progress.Thousands(r.Warnings))
			}
			return err
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVar(&images, "images", "1000", "images to look at, spread over the shards: a number, or all")
	fs.StringVar(&format, "format", "", "input format, guessed if not given: "+strings.Join(shards.Formats(), ", "))
	fs.StringVar(&o.Shards.ImageColumn, "image-column", "", "as encode's")
	fs.StringVar(&o.Shards.TextColumn, "text-column", "", "as encode's")
	fs.StringVar(&o.Shards.KeyColumn, "key-column", "", "as encode's")
	fs.StringVar(&o.Shards.ImageRoot, "image-root", "", "as encode's")
	fs.BoolVar(&o.RequireText, "require-text", false, "a missing caption is an error")
	fs.Int64Var(&o.MaxPixels, "max-pixels", 0, "as encode's; 0 is its default")
	fs.IntVar(&o.Show, "show", 10, "problems of a kind to list; all are counted")
	fs.IntVar(&o.Parallelism, "parallelism", 8, "shards looked at at a time")
	fs.BoolVar(&strict, "strict", false, "fail for warnings, too")
	fs.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// printLint lists problems, then their counts.
func printLint(cmd *cobra.Command, r *lint.Report) {
	w := cmd.OutOrStdout()
	listed := map[lint.Kind]int64{}
	kinds := []lint.Kind{lint.KeyNotAdjacent, lint.DuplicateKey, lint.NoCaption, lint.NoRows, lint.Gap, lint.UnlikelySize, lint.UnlikelyImage, lint.NoEnd, lint.SameImage, lint.Storage}
	for _, reason := range schemas.Reasons {
		kinds = append(kinds, lint.Kind(reason))
	}
	for _, p := range r.Problems {
		fmt.Fprintln(w, p)
		listed[p.Kind]++
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, k := range kinds {
		if n := r.Counts[k]; n > 0 {
			fmt.Fprintf(t, "  %s\t%s\t", k, progress.Thousands(n))
			if more := n - listed[k]; more > 0 {
				fmt.Fprintf(t, "%s not listed (--show)", progress.Thousands(more))
			}
			fmt.Fprintln(t)
		}
	}
	t.Flush()
	fmt.Fprintf(w, "%d shards, %s: %s rows", r.Sources, progress.Size(r.Bytes), progress.Thousands(r.Rows))
	if r.Documents > 0 {
		fmt.Fprintf(w, ", %s documents", progress.Thousands(r.Documents))
	}
	fmt.Fprintf(w, ", %s with a caption; %s images looked at: ", progress.Thousands(r.Captions), progress.Thousands(r.Images))
	if r.Errors+r.Warnings == 0 {
		fmt.Fprintln(w, "all is well")
		return
	}
	fmt.Fprintf(w, "%s errors, %s warnings\n", progress.Thousands(r.Errors), progress.Thousands(r.Warnings))
	if r.KeysCompared < r.Rows {
		fmt.Fprintf(w, "keys were compared across shards among the first %s\n", progress.Thousands(r.KeysCompared))
	}
}
