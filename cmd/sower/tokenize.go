package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"sower/internal/text"
)

func newTokenize() *cobra.Command {
	var tokenizer, rules string
	var asJSON, decode, special bool
	cmd := &cobra.Command{
		Use:   "tokenize --tokenizer FOLDER < lines.txt",
		Short: "Turn lines of text into ids, or back",
		Long: `Tokenize reads lines from standard input and writes the ids of each, without BOS and EOS. With --decode it reads ids, as a
JSON list or separated by spaces, and writes text.`,
		Example: `  sower tokenize --tokenizer llama-folder/ --json < lines.txt
  echo 'a red bird' | sower tokenize | sower tokenize --decode`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := text.Open(tokenizer, text.Options{Rules: rules})
			if err != nil {
				return err
			}
			for _, w := range t.Warnings {
				fmt.Fprintln(cmd.ErrOrStderr(), "note:", w)
			}
			in, out := bufio.NewReaderSize(cmd.InOrStdin(), 1<<20), bufio.NewWriter(cmd.OutOrStdout())
			for n := 1; ; n++ {
				line, err := in.ReadString('\n')
				if err != nil && !errors.Is(err, io.EOF) {
					return err
				}
				if line == "" && err != nil {
					return out.Flush()
				}
				line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
				if decode {
					ids, err := parseIDs(line)
					if err != nil {
						return errorf("tokenize: line %d: %w", n, err)
					}
					fmt.Fprintln(out, t.Decode(ids))
					continue
				}
				ids := []int32{}
				if special {
					ids = append(ids, t.Vocab().Prefix...)
				}
				ids = t.Encode(ids, line)
				if special {
					ids = append(ids, t.Vocab().Suffix...)
				}
				if err := writeIDs(out, ids, asJSON); err != nil {
					return err
				}
			}
		},
	}
	fs := cmd.Flags()
	fs.StringVarP(&tokenizer, "tokenizer", "t", "bytes", "folder or file of a tokenizer, or bytes")
	fs.StringVar(&rules, "tokenizer-rules", "auto", "hf, seed or auto")
	fs.BoolVar(&asJSON, "json", false, "write JSON lists")
	fs.BoolVar(&decode, "decode", false, "read ids, write text")
	fs.BoolVar(&special, "special", false, "with what the tokenizer's own template puts around a text (BOS, [CLS] … [SEP])")
	return cmd
}

func writeIDs(w io.Writer, ids []int32, asJSON bool) error {
	if asJSON {
		p, err := json.Marshal(ids)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "%s\n", p)
		return err
	}
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = strconv.Itoa(int(id))
	}
	_, err := fmt.Fprintln(w, strings.Join(words, " "))
	return err
}

// parseIDs reads a JSON list, or numbers separated by spaces.
func parseIDs(line string) ([]int32, error) {
	var ids []int32
	if strings.HasPrefix(strings.TrimSpace(line), "[") {
		if err := json.Unmarshal([]byte(line), &ids); err != nil {
			return nil, fmt.Errorf("no list of ids: %w", err)
		}
		return ids, nil
	}
	for _, w := range strings.Fields(line) {
		n, err := strconv.ParseInt(w, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%q is no id", w)
		}
		ids = append(ids, int32(n))
	}
	return ids, nil
}
