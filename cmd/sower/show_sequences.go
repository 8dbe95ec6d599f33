package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/internal/launch"
	"sower/internal/text"
	"sower/schemas"
)

func newShow() *cobra.Command {
	var rows int
	var split string
	var ids bool
	cmd := &cobra.Command{
		Use:   "show CORPUS",
		Short: "Show training sequences as text, with images and labels marked",
		Long: `Show writes the first sequences of a corpus of interleave: texts as text, images as <img 17 4021 …>, what has no loss in
[square brackets]. Of a corpus of encode it shows the first rows.`,
		Example: "  sower show train --rows 5\n  sower show train --split validation --ids",
		Args:    oneArg("CORPUS, the folder that sower interleave wrote"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if rows < 0 {
				return usageError{errorf("show: --rows %d: want 0 or more", rows)}
			}
			ctx := cmd.Context()
			b, err := openFolder(ctx, absolute(args[0]), "corpus")
			if err != nil {
				return err
			}
			defer b.Close()
			m, err := launch.ReadManifest(ctx, b)
			if errors.Is(err, fs.ErrNotExist) {
				return errorf("show: %s has no %s: it is no finished corpus; finish it by running its command again", args[0], schemas.ManifestName)
			}
			if err != nil {
				return err
			}
			if m.Pipeline != "interleave" {
				r, err := inspect(ctx, b, rows)
				if err != nil {
					return err
				}
				printExamples(cmd.OutOrStdout(), r.Examples)
				return nil
			}
			shown, err := showSequences(ctx, cmd.OutOrStdout(), b, m, split, rows, ids)
			if err == nil && shown == 0 && rows > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "note: split %s has no rows\n", split)
			}
			return err
		},
	}
	cmd.Flags().IntVar(&rows, "rows", 5, "rows to show")
	cmd.Flags().StringVar(&split, "split", "train", "train or validation")
	cmd.Flags().BoolVar(&ids, "ids", false, "show ids instead of text")
	return cmd
}

// errEnough ends reading early.
var errEnough = errors.New("enough")

func showSequences(ctx context.Context, w io.Writer, b *blob.Bucket, m *schemas.Manifest, split string, rows int, ids bool) (shown int, err error) {
	if split != "train" && split != "validation" {
		return 0, usageError{errorf("show: --split %q: want train or validation", split)}
	}
	var t text.Tokenizer
	if !ids {
		if t, err = openWritten(ctx, b); err != nil {
			return 0, err
		}
	}
	one := func(inputIDs, labels, lengths []int32, keys []string) error {
		if shown == rows {
			return errEnough
		}
		shown++
		fmt.Fprintf(w, "%s, %d ids", strings.Join(keys[:min(3, len(keys))], ", "), len(inputIDs))
		if len(lengths) > 1 {
			fmt.Fprintf(w, ", %d sequences", len(lengths))
		}
		fmt.Fprintln(w)
		at := int32(0)
		for _, n := range lengths {
			fmt.Fprintf(w, "  %s\n", renderSequence(t, m.Vocabulary, inputIDs[at:at+n], labels[at:at+n]))
			at += n
		}
		return nil
	}
	parts, err := corpus.Parts(ctx, b, "data")
	if err != nil {
		return 0, err
	}
	for _, p := range parts {
		if !strings.HasPrefix(p.Name, "data/"+split+"-") {
			continue
		}
		if m.Identity.Options["pack"] == "true" {
			err = corpus.Read(ctx, b, p.Name, func(r schemas.PackedRow) error { return one(r.InputIDs, r.Labels, r.SequenceLengths, r.Keys) })
		} else {
			err = corpus.Read(ctx, b, p.Name, func(r schemas.SequenceRow) error { return one(r.InputIDs, r.Labels, []int32{r.Length}, r.Keys) })
		}
		if err != nil && !errors.Is(err, errEnough) {
			return shown, err
		}
		if shown == rows {
			break
		}
	}
	return shown, nil
}

// openWritten opens the tokenizer that a run left beside its sequences.
func openWritten(ctx context.Context, b *blob.Bucket) (text.Tokenizer, error) {
	if isURL(b.URL()) {
		return nil, errorf("show: %s: reading a tokenizer from an object store is not possible yet: use --ids", b.URL())
	}
	t, err := text.Open(blob.Join(b.URL(), "tokenizer"), text.Options{Rules: "hf"})
	if err != nil {
		return nil, errorf("show: the tokenizer beside the sequences cannot be read: %w: use --ids", err)
	}
	return t, nil
}

// renderSequence writes a sequence for eyes; t nil writes ids.
func renderSequence(t text.Tokenizer, v *schemas.Vocabulary, ids, labels []int32) string {
	var out strings.Builder
	masked := false
	mark := func(now bool) {
		if now != masked {
			out.WriteString(map[bool]string{true: "[", false: "]"}[now])
			masked = now
		}
	}
	var run []int32
	flush := func() {
		if len(run) > 0 {
			if t == nil {
				out.WriteString(strings.Trim(fmt.Sprint(run), "[]") + " ")
			} else {
				out.WriteString(strings.ReplaceAll(t.Decode(run), "\n", "⏎"))
			}
		}
		run = run[:0]
	}
	for i := 0; i < len(ids); i++ {
		if now := labels[i] == -100; now != masked {
			flush()
			mark(now)
		}
		id := ids[i]
		switch {
		case id == v.Begin && i+int(v.ImageLength) <= len(ids):
			flush()
			codes := ids[i+1 : i+int(v.ImageLength)-1]
			fmt.Fprintf(&out, "<img")
			for _, c := range codes[:min(4, len(codes))] {
				fmt.Fprintf(&out, " %d", c-v.Offset)
			}
			if len(codes) > 4 {
				out.WriteString(" …")
			}
			out.WriteString(">")
			i += int(v.ImageLength) - 1
		case t != nil && id == v.BOS && (i == 0 || id != v.EOS):
			flush()
			out.WriteString("‹BOS›")
		case t != nil && id == v.EOS:
			flush()
			out.WriteString("‹EOS›")
		case t != nil && id == v.Pad:
			flush()
			out.WriteString("‹PAD›")
		default:
			run = append(run, id)
		}
	}
	flush()
	mark(false)
	return strings.TrimSpace(out.String())
}
