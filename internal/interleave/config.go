package interleave

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"sower/schemas"
)

// Input is one --codes or --text.
type Input struct {
	URL    string // folder of a corpus, or root of text files
	Weight float64
	// Text inputs have lines of JSON with the text in Field, or plain lines.
	Text  bool
	Field string
}

// Config is everything that a worker needs; it travels in a DoFn's exported fields.
type Config struct {
	RunID  string
	Inputs []Input
	Output string
	Plan   string // plan file in Output
	Units  int

	Tokenizer, Rules string // as text.Open takes them; opened anew on each worker and checked against Vocabulary
	Identity         schemas.Identity
	Vocabulary       schemas.Vocabulary

	Templates  []string
	ImageFirst float64
	Swap       float64
	MaxImages  int
	NoBOS      bool
	NoEOS      bool
	Context    int
	Overlong   Overlong // "" leaves it to the templates
	Pack       bool
	Validation float64 // share of documents
	Seed       uint64
}

// Options are the settings that change the rows, as they stand in the identity.
func (c *Config) Options() map[string]string {
	f := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	o := map[string]string{
		"tokenizer":   c.Vocabulary.Digest,
		"rules":       c.Vocabulary.Rules,
		"image_first": f(c.ImageFirst),
		"context":     strconv.Itoa(c.Context),
		"pack":        strconv.FormatBool(c.Pack),
		"validation":  f(c.Validation),
		"seed":        strconv.FormatUint(c.Seed, 10),
	}
	if chosen, err := Choose(c.Templates); err == nil {
		for kind, t := range chosen {
			o["template_"+string(kind)] = t.Name()
		}
	}
	set := func(name string, on bool, value string) {
		if on {
			o[name] = value
		}
	}
	set("swap", c.Swap != 0, f(c.Swap))
	set("max_images", c.MaxImages != 0, strconv.Itoa(c.MaxImages))
	set("bos", c.NoBOS, "false")
	set("eos", c.NoEOS, "false")
	set("overlong", c.Overlong != "", string(c.Overlong))
	for i, in := range c.Inputs {
		kind := "codes"
		if in.Text {
			kind = "text"
			set(fmt.Sprintf("input_%d_field", i), in.Field != "", in.Field)
		}
		o[fmt.Sprintf("input_%d", i)] = kind + ":" + f(in.Weight)
	}
	return o
}

// Validate names every setting that cannot work, all at once.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("interleave: "+format, args...)) }
	if len(c.Inputs) == 0 {
		bad("no input: give --codes, --text or both")
	}
	for _, in := range c.Inputs {
		if !(in.Weight > 0) || math.IsInf(in.Weight, 0) || in.Weight > 1000 {
			bad("weight %v of %s: want more than 0 and at most 1000", in.Weight, in.URL)
		}
	}
	if c.Output == "" {
		bad("--output is missing: the folder for the sequences")
	}
	least := int(c.Vocabulary.ImageLength) + 2
	if c.Context < max(least, 8) {
		bad("--context %d: want at least %d, which an image with BOS and EOS takes", c.Context, max(least, 8))
	}
	share := func(name string, v float64) {
		if !(v >= 0 && v <= 1) {
			bad("%s %v: want 0 to 1", name, v)
		}
	}
	share("--image-first", c.ImageFirst)
	share("--swap", c.Swap)
	if !(c.Validation >= 0 && c.Validation < 1) {
		bad("--validation %v: want 0 to less than 1", c.Validation)
	}
	if c.MaxImages < 0 {
		bad("--max-images %d: want 0 (no limit) or more", c.MaxImages)
	}
	if _, err := ParseOverlong(string(c.Overlong)); err != nil {
		errs = append(errs, err)
	}
	if _, err := Choose(c.Templates); err != nil {
		errs = append(errs, err)
	}
	if strings.Contains(c.Plan, "..") {
		bad("plan %q", c.Plan)
	}
	return errors.Join(errs...)
}

// ParseInput cuts PATH[:WEIGHT]; a path may hold colons, so only a number after the last one is a weight.
func ParseInput(arg string) (path string, weight float64, err error) {
	if i := strings.LastIndexByte(arg, ':'); i > 0 {
		if w, e := strconv.ParseFloat(arg[i+1:], 64); e == nil {
			if !(w > 0) {
				return "", 0, fmt.Errorf("interleave: weight %q of %s: want more than 0", arg[i+1:], arg[:i])
			}
			return arg[:i], w, nil
		}
	}
	return arg, 1, nil
}
