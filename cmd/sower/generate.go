package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sower/gpu"
	"sower/gpu/checkpoint"
	"sower/gpu/models/lm"
	"sower/internal/base"
	"sower/internal/draw"
	"sower/internal/generate"
)

type generateOptions struct {
	device    deviceFlags
	config    generate.Config
	prompt    string
	promptIDs string
	image     bool
	imageFile string
	model     string
	template  string
	count     int
	picture   string
	run       generate.Run
	stops     []string
	scores    string
	pipeline  runFlags
	input     string
	output    string
}

func newGenerate() *cobra.Command {
	o := generateOptions{count: 1, run: generate.Run{Tokens: 128}}
	cmd := &cobra.Command{
		Use:   "generate --base MODEL --prompt TEXT",
		Short: "Continue a text, make the codes of an image, or describe an image",
		Long: `Generate continues a prompt by a language model, with an adapter of sower tune or of PEFT, or as it is.

--image makes images: after the prompt come exactly the codes of an image, whatever the scores say, and they are printed, one
image a line. --image-file describes a picture, which --model encodes; it has to be the one that encoded the corpus. Both lay the
prompt out as the corpus of the adapter was (--template). Images in other text are always whole, too.

With --input, every row of a corpus is one: --image makes codes of its text; without, its codes get a text (--prompt, if any, is a
question behind each image). --output is a code table again, which sower interleave and sower detokenize read. A run that
was interrupted goes on where it was.

The best token is taken, unless --temperature says to draw; the same command draws the same.`,
		Example: `  sower generate --base SmolLM2.gguf --prompt 'The capital of France is' --tokens 20
  sower generate --base SmolLM2.gguf --adapter adapter/ --prompt 'a red bird' --image
  sower generate --base SmolLM2.gguf --adapter adapter/ --prompt 'a red bird' --image --count 4 --temperature 1 --top-p 0.9 --json
  sower generate --base SmolLM2.gguf --adapter adapter/ --prompt 'a red bird' --image --picture bird.png --model mini
  sower generate --base SmolLM2.gguf --adapter adapter/ --image-file bird.png --model seed2/
  sower generate --base SmolLM2.gguf --adapter adapter/ --input corpus --image --output imagined`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "base"); err != nil {
				return err
			}
			if err := o.validate(cmd); err != nil {
				return usageError{err}
			}
			if o.input != "" {
				return o.corpus(cmd)
			}
			return o.execute(cmd)
		},
	}
	fs := cmd.Flags()
	fs.SortFlags = false
	fs.StringVarP(&o.config.Base, "base", "b", "", base.Usage)
	fs.StringVarP(&o.config.Adapter, "adapter", "a", "", "folder that sower tune wrote, or any PEFT folder of LoRA (for text alone)")
	fs.StringVarP(&o.prompt, "prompt", "p", "", "text to continue, to make an image of, or to ask about an image")
	fs.BoolVar(&o.image, "image", false, "make the codes of an image")
	fs.StringVar(&o.imageFile, "image-file", "", "picture to describe")
	fs.StringVarP(&o.model, "model", "m", "", "weights that encode --image-file or draw --picture, as sower encode takes them")
	fs.StringVar(&o.picture, "picture", "", "draw what --image makes to this PNG file (models with a painter, such as mini: small and rough)")
	fs.StringVar(&o.template, "template", "", "layout of the prompt of images and captions: "+strings.Join(generate.Templates, ", ")+"; default: that of the adapter's corpus")
	fs.StringVarP(&o.config.Tokenizer, "tokenizer", "t", "", "folder or file of a tokenizer; default: the adapter's, or else the base's")
	fs.IntVarP(&o.run.Tokens, "tokens", "n", o.run.Tokens, "tokens of a text at most")
	fs.StringArrayVar(&o.stops, "stop", nil, "text that ends the answer and is left out; repeat for several")
	fs.IntVar(&o.count, "count", o.count, "how many answers")
	fs.Float64Var(&o.run.Temperature, "temperature", 0, "0 takes the best token; 1 draws by the model's probabilities, more is wilder")
	fs.Float64Var(&o.run.TopP, "top-p", 1, "draw from the best tokens that have this share of the probability")
	fs.Uint64Var(&o.run.Seed, "seed", 0, "of all draws")
	fs.StringVarP(&o.input, "input", "i", "", "corpus of sower encode, in place of --prompt: each row is one")
	fs.StringVarP(&o.output, "output", "o", "", "folder for the rows of --input")
	fs.StringVar(&o.promptIDs, "prompt-ids", "", "the prompt as ids, separated by spaces or as a JSON list, in place of --prompt; answers are ids, too")
	fs.StringVar(&o.scores, "scores", "", "write the scores behind each token of the prompt to this safetensors file and stop")
	o.device.register(fs)
	o.device.registerPrecision(fs)
	o.pipeline.register(fs)
	fs.Lookup("json").Usage = "print JSON"
	fs.Lookup("batch").Usage = "rows of --input continued side by side; 0 chooses (results do not depend on it)"
	hide(fs, "prompt-ids", "scores")
	return cmd
}

// validate names what cannot work, before anything is loaded.
func (o *generateOptions) validate(cmd *cobra.Command) error {
	given := func(name string) bool { return cmd.Flags().Changed(name) }
	switch {
	case o.image && o.imageFile != "":
		return errorf("generate: --image makes an image and --image-file describes one: give one of them")
	case o.imageFile != "" && o.model == "":
		return errorf("generate: --image-file needs --model: the weights that encoded the corpus of the adapter")
	case o.imageFile == "" && o.picture == "" && o.model != "":
		return errorf("generate: --model encodes the picture of --image-file, or draws --picture; both are missing")
	case o.picture != "" && (!o.image || o.input != "" || o.model == ""):
		return errorf("generate: --picture draws what --image makes of one prompt, with the painter of --model: give --image and --model, and no --input")
	case given("prompt") && given("prompt-ids"):
		return errorf("generate: --prompt and --prompt-ids: give one of them")
	case o.imageFile != "" && given("prompt-ids"):
		return errorf("generate: --image-file with --prompt-ids: give a text as --prompt, or no prompt")
	case (o.input == "") != (o.output == ""):
		return errorf("generate: --input and --output belong together: a corpus, and the folder for what is made of its rows")
	case o.input != "" && (o.imageFile != "" || given("prompt-ids") || o.scores != "" || o.count != 1):
		return errorf("generate: --input makes one answer of each row: leave --image-file, --count and --scores out")
	case o.input != "" && o.image && given("prompt"):
		return errorf("generate: --input with --image makes images of the rows' texts: leave --prompt out")
	case o.input == "" && o.imageFile == "" && !given("prompt") && !given("prompt-ids"):
		return errorf("generate: --prompt is missing: the text to continue, or of which --image makes an image")
	case o.template != "" && !slices.Contains(generate.Templates, o.template):
		return errorf("generate: --template %q (have: %s)", o.template, strings.Join(generate.Templates, ", "))
	case o.template != "" && !o.image && o.imageFile == "" && o.input == "":
		return errorf("generate: --template lays out prompts of images and captions: give --image or --image-file, or leave it out")
	case o.count < 1 || o.count > 1024:
		return errorf("generate: --count %d: want 1 to 1024", o.count)
	case o.run.Tokens < 1:
		return errorf("generate: --tokens %d: want at least 1", o.run.Tokens)
	case slices.Contains(o.stops, ""):
		return errorf("generate: --stop is empty: it would end every answer before it begins")
	case given("top-p") && o.run.TopP == 0:
		return errorf("generate: --top-p 0: want more than 0 and at most 1; --temperature 0 takes the best token")
	}
	if _, err := gpu.ParsePrecision(o.device.precision); err != nil {
		return errorf("generate: --precision: %w", err)
	}
	return o.run.Validate()
}

// answer is one of the answers, as --json prints it.
type answer struct {
	IDs    []int32         `json:"ids"`
	Codes  []int32         `json:"codes,omitempty"`
	Text   string          `json:"text"`
	Finish generate.Finish `json:"finish"`
}

func (o *generateOptions) execute(cmd *cobra.Command) error {
	ctx := cmd.Context()
	o.config.IDs = o.promptIDs != ""
	dev, g, err := openGenerator(cmd, &o.device, o.config)
	if err != nil {
		return err
	}
	defer dev.Close()
	defer g.Close()
	prompt, mode, err := o.ask(g, dev)
	if err != nil {
		return err
	}
	if o.scores != "" {
		return o.writeScores(g, prompt)
	}
	rows, words := make([]generate.Row, o.count), make([]*generate.Words, o.count)
	for i := range rows {
		rows[i] = generate.Row{Prompt: prompt, Mode: mode, Stream: uint64(i)}
		if g.Tokenizer != nil && mode != generate.Image {
			before := prompt
			if o.imageFile != "" {
				before = nil // a caption is a text of its own
			}
			words[i] = generate.NewWords(g.Tokenizer.Decode, before, o.stops)
		}
	}
	out := cmd.OutOrStdout()
	live := !o.pipeline.json && o.count == 1 && words[0] != nil && o.promptIDs == ""
	began := false
	show := func(s string) { // as it comes; a caption without the space before it
		if o.imageFile != "" && !began {
			s = strings.TrimLeft(s, " ")
		}
		began = began || s != ""
		io.WriteString(out, s)
	}
	run := o.run
	run.Token = func(row int, id int32) bool {
		if words[row] == nil || slices.Contains(g.EOS, id) {
			return false
		}
		stop := words[row].Add(id)
		if live {
			show(words[row].Fresh(false))
		}
		return stop
	}
	results, err := g.Generate(ctx, rows, run)
	if err != nil {
		return err
	}
	if live {
		show(words[0].Fresh(true))
		fmt.Fprintln(out)
		return nil
	}
	if err := o.print(out, g, prompt, results, words); err != nil || o.picture == "" {
		return err
	}
	return o.draw(g, dev, results)
}

// openGenerator loads base and adapter onto a device of their own, and says what a user should know of them.
func openGenerator(cmd *cobra.Command, d *deviceFlags, cfg generate.Config) (*gpu.Device, *generate.Generator, error) {
	precision, err := gpu.ParsePrecision(d.precision)
	if err != nil {
		return nil, nil, usageError{errorf("--precision: %w", err)}
	}
	dev, err := gpu.Open(d.device, gpu.Options{Threads: d.threads, Precision: precision})
	if err != nil {
		return nil, nil, err
	}
	g, err := generate.Open(dev, cfg)
	if err != nil {
		return nil, nil, errors.Join(err, dev.Close())
	}
	for _, n := range g.Notes {
		fmt.Fprintln(cmd.ErrOrStderr(), "note:", n)
	}
	return dev, g, nil
}

// draw writes the generated images as a PNG.
func (o *generateOptions) draw(g *generate.Generator, dev *gpu.Device, results []generate.Result) error {
	m, err := g.OpenModel(o.model)
	if err != nil {
		return err
	}
	defer m.Close()
	var codes [][]uint16
	for _, r := range results {
		codes = append(codes, g.ImageCodes(r.IDs))
	}
	pictures, err := draw.Codes(dev, m, codes)
	if err != nil {
		return errorf("generate: --picture: %w", err)
	}
	sheet, err := draw.Sheet(m.Config.ImageSize, min(len(pictures), 8), pictures)
	if err != nil {
		return err
	}
	return os.WriteFile(o.picture, sheet, 0o644)
}

// ask makes the prompt.
func (o *generateOptions) ask(g *generate.Generator, dev *gpu.Device) (ids []int32, mode generate.Mode, err error) {
	template := o.template
	if template == "" {
		template = g.Template()
	}
	switch {
	case o.imageFile != "":
		codes, err := g.Codes(dev, o.model, o.imageFile)
		if err != nil {
			return nil, 0, err
		}
		ids, err = g.CaptionPrompt(template, codes, o.prompt)
		return ids, generate.Text, err
	case o.promptIDs != "":
		if ids, err = parseIDs(o.promptIDs); err != nil {
			return nil, 0, usageError{errorf("generate: --prompt-ids: %w", err)}
		}
		if n := g.Model.Sizes().Vocabulary; slices.ContainsFunc(ids, func(id int32) bool { return id < 0 || int(id) >= n }) {
			return nil, 0, usageError{errorf("generate: --prompt-ids: want ids from 0 to %d, the rows of the model", n-1)}
		}
		if !o.image {
			return ids, generate.Mixed, nil
		}
		if g.Vocabulary == nil {
			_, err = g.ImagePrompt(template, "")
			return nil, 0, err
		}
		return append(ids, g.Vocabulary.Begin), generate.Image, nil
	case o.image:
		ids, err = g.ImagePrompt(template, o.prompt)
		return ids, generate.Image, err
	}
	return g.TextPrompt(o.prompt), generate.Mixed, nil
}

// print writes the answers: codes of images, ids, or texts, a line each.
func (o *generateOptions) print(w io.Writer, g *generate.Generator, prompt []int32, results []generate.Result, words []*generate.Words) error {
	answers := make([]answer, len(results))
	for i, r := range results {
		a := &answers[i]
		a.IDs, a.Finish = r.IDs, r.Finish
		if o.image {
			for _, code := range g.ImageCodes(r.IDs) {
				a.Codes = append(a.Codes, int32(code))
			}
		}
		if words[i] != nil {
			a.Text = words[i].Text()
			if o.imageFile != "" {
				a.Text = strings.TrimSpace(a.Text)
			}
		}
	}
	if o.pipeline.json {
		return writeJSON(w, map[string]any{"prompt_ids": prompt, "answers": answers})
	}
	for _, a := range answers {
		var err error
		switch {
		case o.image:
			err = writeIDs(w, a.Codes, false)
		case o.promptIDs != "":
			err = writeIDs(w, a.IDs, false)
		default:
			_, err = fmt.Fprintln(w, a.Text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeScores writes what check.py compares (docs/peft): "ids" [T] and "scores" [T V].
func (o *generateOptions) writeScores(g *generate.Generator, prompt []int32) error {
	scores, vocabulary, err := g.Scores(prompt)
	if err != nil {
		return err
	}
	ids := make([]float32, len(prompt))
	for i, id := range prompt {
		ids[i] = float32(id) // below 2²⁴
	}
	list := []checkpoint.Info{{Name: "ids", DType: checkpoint.F32, Shape: []int{len(prompt)}}, {Name: "scores", DType: checkpoint.F32, Shape: []int{len(prompt), vocabulary}}}
	src, err := checkpoint.Values(list, [][]float32{ids, scores})
	if err != nil {
		return err
	}
	return lm.WriteFile(o.scores, func(w io.Writer) error {
		return checkpoint.WriteSafetensors(w, []checkpoint.Entry{{Info: list[0], From: src}, {Info: list[1], From: src}}, nil)
	})
}
