package trainer

import (
	"context"
	"fmt"
	"strings"

	"sower/internal/corpus"
	"sower/internal/pairs"
	"sower/internal/pixels"
	"sower/internal/shards"
	"sower/internal/units"
	"sower/schemas"
)

// Preparing is what a worker needs to prepare units: pairs become small pictures and captions.
type Preparing struct {
	RunID                              string
	Input, ImageRoot                   string
	ImageColumn, TextColumn, KeyColumn string
	Output, Plan                       string
	Units                              int
	Size                               int // side of the pictures, in pixels
	MaxPixels, MaxImageBytes           int64
	Identity                           schemas.Identity
}

// Validate names every setting that cannot work.
func (c *Preparing) Validate() error {
	if c.Input == "" || c.Output == "" || c.Size < 1 || strings.Contains(c.Plan, "..") {
		return fmt.Errorf("trainer: preparing %q into %q at %d pixels by plan %q", c.Input, c.Output, c.Size, c.Plan)
	}
	return nil
}

// Unit prepares one unit, or finds that it is done.
func (c *Preparing) Unit(ctx context.Context, unit int) (corpus.UnitInfo, error) {
	job := units.Job{RunID: c.RunID, Input: c.Input, Output: c.Output, Plan: c.Plan, Units: c.Units, Identity: c.Identity}
	return units.Do(ctx, job, unit, func(ctx context.Context, u *units.Unit[schemas.PreparedRow]) error {
		reader := pairs.Reader{Size: c.Size, Filter: pixels.Bicubic, Limits: pixels.Limits{MaxPixels: c.MaxPixels, MaxBytes: c.MaxImageBytes},
			Options: &shards.Options{Root: u.Input, ImageColumn: c.ImageColumn, TextColumn: c.TextColumn, KeyColumn: c.KeyColumn, ImageRoot: c.ImageRoot, MaxImageBytes: c.MaxImageBytes}}
		err := reader.Each(ctx, pairs.Ranges(u.Plan), func(r *pairs.Row) error {
			if r.Fault != nil {
				return u.Reject(r.Reject())
			}
			row := schemas.PreparedRow{Key: strings.ToValidUTF8(r.Key, "\uFFFD"), Source: strings.ToValidUTF8(r.Source, "\uFFFD"), Row: r.Row, Text: r.Text, RGB: r.RGB}
			return u.Row(row, len(r.RGB)+256)
		})
		if err != nil {
			return fmt.Errorf("trainer: unit %d: %w", unit, err)
		}
		return nil
	})
}
