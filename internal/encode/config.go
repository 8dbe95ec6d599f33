// Package encode does the work of one unit without knowing about Beam: read pairs, filter, decode and resize, hand the
// pixels to the resident model, and write codes and rejects in input order. The DoFn around it is glue.
package encode

import (
	"cmp"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"sower/internal/pixels"
	"sower/schemas"
)

// Filters reject rows that are readable but unwanted. The zero value of a field switches it off.
type Filters struct {
	MinSide       int     // smaller side of the image, in pixels
	MaxAspect     float64 // longer side over shorter side
	MinSimilarity float64 // image-text similarity in the metadata; rows without one pass
	RequireText   bool    // a caption that is not blank
	MaxText       int     // characters of the caption
	Dedup         bool    // same image bytes and text earlier in the unit
}

// Limits bound what one row may cost.
type Limits struct {
	MaxPixels     int64 // of one image, from its header
	MaxImageBytes int64 // of one encoded image
}

// Config is everything that a worker needs; it travels in a DoFn's exported fields, so nothing may hide elsewhere.
type Config struct {
	RunID string // finds the launcher's counters when it is this process

	Input     string // root that plan sources are relative to
	ImageRoot string // root of image paths inside tables; "" is the table's folder
	Output    string
	Plan      string // plan file in Output
	Units     int

	ImageColumn, TextColumn, KeyColumn string

	// Documents says that the plan has a format of documents, so that units have a part of them. MissingImage is
	// DropElement, the default where it is "", or DropDocument.
	Documents    bool
	MissingImage string

	Model    string // --model argument, opened anew on each worker and checked against Identity
	Device   string
	Threads  int // of the device, 0 is all
	Batch    int // images a call of the model, 0 lets the model choose
	Identity schemas.Identity

	Filters Filters
	Limits  Limits
	// MaxFailureRate stops the run when that share of the last 1,000 rows failed; 1 never does.
	MaxFailureRate float64
}

// DefaultLimits are those of the command line.
func DefaultLimits() Limits {
	return Limits{MaxPixels: pixels.DefaultMaxPixels, MaxImageBytes: 256 << 20}
}

// Options are the settings that change the rows, as they stand in the identity.
func (c *Config) Options() map[string]string {
	o := map[string]string{}
	text := func(name, v string) {
		if v != "" {
			o[name] = v
		}
	}
	number := func(name string, v float64) {
		if v != 0 {
			o[name] = strconv.FormatFloat(v, 'f', -1, 64)
		}
	}
	text("image_column", c.ImageColumn)
	text("text_column", c.TextColumn)
	text("key_column", c.KeyColumn)
	if c.ImageRoot != "" {
		o["image_root"] = path.Base(filepath.ToSlash(c.ImageRoot)) // absolute paths are no part of an identity
	}
	number("min_side", float64(c.Filters.MinSide))
	number("max_aspect", c.Filters.MaxAspect)
	number("min_similarity", c.Filters.MinSimilarity)
	number("max_text", float64(c.Filters.MaxText))
	if c.Filters.RequireText {
		o["require_text"] = "true"
	}
	if c.Filters.Dedup {
		o["dedup"] = "true"
	}
	if c.Documents || c.MissingImage == DropDocument {
		o["missing_image"] = cmp.Or(c.MissingImage, DropElement)
	}
	number("max_pixels", float64(c.Limits.MaxPixels))
	number("max_image_bytes", float64(c.Limits.MaxImageBytes))
	return o
}

// ParseOptions sets what Options wrote down, but for the image root, of which only the last element is there.
func (c *Config) ParseOptions(options map[string]string) error {
	var errs []error
	number := func(name, s string) float64 {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil {
			errs = append(errs, fmt.Errorf("encode: option %s=%q is no number", name, s))
		}
		return v
	}
	for name, v := range options {
		switch name {
		case "image_column":
			c.ImageColumn = v
		case "text_column":
			c.TextColumn = v
		case "key_column":
			c.KeyColumn = v
		case "image_root":
		case "min_side":
			c.Filters.MinSide = int(number(name, v))
		case "max_aspect":
			c.Filters.MaxAspect = number(name, v)
		case "min_similarity":
			c.Filters.MinSimilarity = number(name, v)
		case "max_text":
			c.Filters.MaxText = int(number(name, v))
		case "require_text":
			c.Filters.RequireText = v == "true"
		case "dedup":
			c.Filters.Dedup = v == "true"
		case "missing_image":
			c.MissingImage = v
		case "max_pixels":
			c.Limits.MaxPixels = int64(number(name, v))
		case "max_image_bytes":
			c.Limits.MaxImageBytes = int64(number(name, v))
		default:
			errs = append(errs, fmt.Errorf("encode: option %s=%q is of a later version", name, v))
		}
	}
	return errors.Join(errs...)
}

// Validate names every setting that cannot work, all at once.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("encode: "+format, args...)) }
	if c.Input == "" {
		bad("--input is missing: a folder, files, or a pattern such as 'shards/{00000..00063}.tar'")
	}
	if c.Output == "" {
		bad("--output is missing: the folder for the corpus")
	}
	if c.Filters.MinSide < 0 {
		bad("--min-side %d: want 0 (off) or pixels", c.Filters.MinSide)
	}
	if a := c.Filters.MaxAspect; a != 0 && !(a >= 1) {
		bad("--max-aspect %v: want 0 (off) or at least 1 (longer side over shorter)", a)
	}
	if s := c.Filters.MinSimilarity; s < -1 || s > 1 || s != s {
		bad("--min-similarity %v: want 0 (off) or at most 1", s)
	}
	if c.Filters.MaxText < 0 {
		bad("--max-text %d: want 0 (off) or characters", c.Filters.MaxText)
	}
	if r := c.MaxFailureRate; !(r > 0 && r <= 1) {
		bad("--max-failure-rate %v: want more than 0 and at most 1 (1 never stops)", r)
	}
	if c.Limits.MaxPixels <= 0 || c.Limits.MaxImageBytes <= 0 {
		bad("--max-pixels %d, --max-image-bytes %d: want more than 0", c.Limits.MaxPixels, c.Limits.MaxImageBytes)
	}
	if m := c.MissingImage; m != "" && m != DropElement && m != DropDocument {
		bad("--missing-image %q: want %s or %s", m, DropElement, DropDocument)
	}
	if _, err := pixels.ParseFilter(c.Identity.Resize); err != nil {
		bad("--resize: %w", err)
	}
	if c.Threads < 0 || c.Batch < 0 {
		bad("--threads %d, --batch %d: want 0 (choose) or more", c.Threads, c.Batch)
	}
	if strings.Contains(c.Plan, "..") || c.Units < 0 {
		bad("plan %q of %d units", c.Plan, c.Units)
	}
	return errors.Join(errs...)
}
