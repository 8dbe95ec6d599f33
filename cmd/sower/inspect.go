package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/internal/launch"
	"sower/internal/plan"
	"sower/internal/progress"
	"sower/internal/shards"
	"sower/schemas"
)

func newInspect() *cobra.Command {
	var rows int
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "inspect CORPUS",
		Short:   "Say what a corpus, an adapter or a tokenizer holds, what made it and whether it is finished",
		Example: "  sower inspect corpus\n  sower inspect corpus --rows 10\n  sower inspect corpus --json",
		Args:    oneArg("CORPUS, the folder that sower encode wrote"),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := openFolder(cmd.Context(), absolute(args[0]), "corpus")
			if err != nil {
				return err
			}
			defer b.Close()
			if m, err := launch.ReadManifest(cmd.Context(), b); err == nil && (m.Pipeline == "tune" || m.Pipeline == "train-tokenizer") {
				var r interface{ print(io.Writer) }
				if m.Pipeline == "tune" {
					r, err = inspectAdapter(cmd.Context(), b, m)
				} else {
					r, err = inspectTokenizer(cmd.Context(), b, m)
				}
				if err != nil {
					return err
				}
				if asJSON {
					return writeJSON(cmd.OutOrStdout(), r)
				}
				r.print(cmd.OutOrStdout())
				return nil
			}
			r, err := inspect(cmd.Context(), b, rows)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(cmd.OutOrStdout(), r)
			}
			r.print(cmd)
			return nil
		},
	}
	cmd.Flags().IntVar(&rows, "rows", 3, "rows to show")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// report is what inspect finds out.
type report struct {
	Folder   string            `json:"folder"`
	Finished bool              `json:"finished"`
	Pipeline string            `json:"pipeline,omitempty"`
	Identity *schemas.Identity `json:"identity,omitempty"`
	Units    int               `json:"units"`
	Done     int               `json:"units_done"`
	Rows     int64             `json:"rows"`
	Rejects  int64             `json:"rejects"`
	Reasons  map[string]int64  `json:"reasons"`
	Bytes    int64             `json:"bytes"`
	// Documents are nil where the corpus has none; Rejects and Reasons are the images'.
	Documents *schemas.DocumentCounts `json:"documents,omitempty"`
	Codes     *codeUsage              `json:"codes,omitempty"`
	// Splits and Vocabulary are those of a sequence corpus; its Reasons are those of rows that were not used.
	Splits     map[string]*splitUsage `json:"splits,omitempty"`
	Vocabulary *schemas.Vocabulary    `json:"vocabulary,omitempty"`
	Examples   []example              `json:"examples,omitempty"`
}

type codeUsage struct {
	Total    int64 `json:"total"`
	Distinct int64 `json:"distinct"`
	Of       int64 `json:"of"`
}

type example struct {
	Key   string   `json:"key"`
	Text  *string  `json:"text"`
	Codes []uint16 `json:"codes"`
}

func inspect(ctx context.Context, b *blob.Bucket, rows int) (*report, error) {
	r := &report{Folder: b.URL(), Reasons: map[string]int64{}}
	m, err := launch.ReadManifest(ctx, b)
	switch {
	case err == nil:
		r.Finished, r.Pipeline, r.Identity, r.Units = true, m.Pipeline, &m.Identity, m.Units
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	default:
		p, err := plan.Read(ctx, b)
		if err != nil {
			return nil, err
		}
		if p == nil {
			return nil, errorf("%s holds neither %s nor a plan: it is no corpus", b.URL(), schemas.ManifestName)
		}
		r.Units = p.Units
	}
	parts, err := corpus.Parts(ctx, b, "data")
	if err != nil {
		return nil, err
	}
	used := map[uint16]bool{}
	usage := &codeUsage{}
	for _, p := range parts {
		f, err := corpus.ReadFooter(ctx, b, p.Name)
		if err != nil {
			return nil, err
		}
		if !strings.HasPrefix(p.Name, "data/validation-") { // a unit of sequences has two files
			r.Done++
		}
		r.Rows += f.Rows
		r.Bytes += f.Bytes
		if r.Identity == nil {
			if id, err := schemas.ParseIdentity(f.Values[schemas.IdentityKey]); err == nil {
				r.Identity = &id
			}
		}
		switch table := tableOf(f); {
		case table == "sequences":
			if err := r.sequences(ctx, b, p.Name, f); err != nil {
				return nil, err
			}
			continue
		case table != "codes":
			continue
		}
		err = corpus.Read(ctx, b, p.Name, func(row schemas.CodeRow) error {
			usage.Total += int64(len(row.Codes))
			for _, c := range row.Codes {
				used[c] = true
			}
			if len(r.Examples) < rows {
				r.Examples = append(r.Examples, example{row.Key, row.Text, row.Codes})
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	if r.Splits != nil && m != nil {
		r.Reasons = m.Counts.Rejected
	}
	if usage.Total > 0 && r.Identity != nil {
		usage.Distinct, usage.Of = int64(len(used)), int64(r.Identity.Codes)
		r.Codes = usage
	}
	if r.Documents, err = inspectDocuments(ctx, b, m); err != nil {
		return nil, err
	}
	rejects, err := corpus.Parts(ctx, b, "rejects")
	if err != nil {
		return nil, err
	}
	for _, p := range rejects {
		err := corpus.Read(ctx, b, p.Name, func(row schemas.RejectRow) error {
			if row.Document != nil && row.Position == shards.DocumentPosition {
				if r.Documents != nil && m == nil {
					r.Documents.Reject(schemas.Reason(row.Reason))
				}
				return nil
			}
			r.Rejects++
			r.Reasons[row.Reason]++
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return r, nil
}

// inspectDocuments counts the documents: as the manifest says, else those that are there.
func inspectDocuments(ctx context.Context, b *blob.Bucket, m *schemas.Manifest) (*schemas.DocumentCounts, error) {
	if m != nil {
		return m.Counts.Documents, nil
	}
	parts, err := corpus.Parts(ctx, b, "documents")
	if err != nil || len(parts) == 0 {
		return nil, err
	}
	d := &schemas.DocumentCounts{}
	for _, p := range parts {
		f, err := corpus.ReadFooter(ctx, b, p.Name)
		if err != nil {
			return nil, err
		}
		d.Written += f.Rows
	}
	d.In = d.Written
	return d, nil
}

func (r *report) print(cmd *cobra.Command) {
	w := cmd.OutOrStdout()
	state := fmt.Sprintf("finished, %d units", r.Units)
	if !r.Finished {
		state = fmt.Sprintf("NOT finished: %d of %d units are committed; run the same command again", r.Done, r.Units)
	}
	fmt.Fprintf(w, "%s: %s\n", r.Folder, state)
	fmt.Fprintf(w, "  rows %s, rejects %s, %s in data/", progress.Thousands(r.Rows), progress.Thousands(r.Rejects), progress.Size(r.Bytes))
	if r.Rows > 0 {
		fmt.Fprintf(w, " (%.0f bytes a row)", float64(r.Bytes)/float64(r.Rows))
	}
	fmt.Fprintln(w)
	for _, reason := range slices.Sorted(maps.Keys(r.Reasons)) {
		if n := r.Reasons[reason]; n > 0 {
			fmt.Fprintf(w, "  not used: %s %s\n", reason, progress.Thousands(n))
		}
	}
	if d := r.Documents; d != nil {
		fmt.Fprintf(w, "  documents %s, rejects %s", progress.Thousands(d.Written), progress.Thousands(d.RejectedTotal()))
		if d.Incomplete > 0 {
			fmt.Fprintf(w, ", without some of their images %s", progress.Thousands(d.Incomplete))
		}
		fmt.Fprintln(w)
		for _, reason := range schemas.Reasons {
			if n := d.Rejected[string(reason)]; n > 0 {
				fmt.Fprintf(w, "  documents rejected: %s %s\n", reason, progress.Thousands(n))
			}
		}
	}
	if r.Identity != nil {
		fmt.Fprintf(w, "  made by %s\n", identityLine(*r.Identity))
		if len(r.Identity.Options) > 0 {
			var list []string
			for k, v := range r.Identity.Options {
				list = append(list, k+"="+v)
			}
			slices.Sort(list)
			fmt.Fprintf(w, "  options %s\n", strings.Join(list, " "))
		}
	}
	if c := r.Codes; c != nil {
		fmt.Fprintf(w, "  %s codes, %s distinct of %s\n", progress.Thousands(c.Total), progress.Thousands(c.Distinct), progress.Thousands(c.Of))
	}
	r.printSequences(w)
	printExamples(w, r.Examples)
}
