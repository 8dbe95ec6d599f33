// Package lint looks at an input before money is spent on it: what encode would reject before it decodes anything, keys that come
// again, captions that are missing, gaps in the numbering of shards, files and images that are unlike the others. It reads headers,
// texts and a sample of the images, and holds no shard in memory.
package lint

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"sower/internal/pixels"
	"sower/internal/shards"
)

// Severity says what a problem costs.
type Severity string

const (
	// Error is a row, a shard or a file that a run would lose.
	Error Severity = "error"
	// Warning is what is unlikely to be meant.
	Warning Severity = "warning"
)

// Kind names what is wrong. Beside these there are the reasons of rejects (schemas.Reason), all of them errors.
type Kind string

const (
	KeyNotAdjacent Kind = "key_not_adjacent" // the files of one sample do not stand side by side: each half is a sample of its own
	DuplicateKey   Kind = "duplicate_key"    // the key of an earlier sample, of this shard or of another
	NoCaption      Kind = "no_caption"       // a pair without text, or with a blank one
	NoRows         Kind = "no_rows"          // a file without any sample
	Gap            Kind = "gap"              // numbers missing among the names of shards
	UnlikelySize   Kind = "unlikely_size"    // a shard more than ten times smaller or larger than the median
	UnlikelyImage  Kind = "unlikely_image"   // a few pixels, a strip, or hardly any bytes
	NoEnd          Kind = "no_end"           // an image or archive without its end marker: cut off, or followed by something else
	SameImage      Kind = "same_image"       // the bytes of another image of the sample: a stand-in for what was not there
	Storage        Kind = "storage"          // the store failed
)

// Options say what is looked at.
type Options struct {
	Shards shards.Options // Root and WantImage are set here
	// Images is how many images are looked at in all, spread over the shards; -1 means all, 0 none.
	Images int
	// RequireText makes a missing caption an error.
	RequireText bool
	MaxPixels   int64 // 0 is the decoder's own limit
	// Show is how many problems of a kind are listed, 10 if 0; all are counted. Parallelism is shards at a time, 8 if 0.
	Show, Parallelism int
	// Progress, if not nil, is called after each shard.
	Progress func(shards int, bytes int64)
}

// Problem is one thing that was found.
type Problem struct {
	Kind     Kind     `json:"kind"`
	Severity Severity `json:"severity"`
	Source   string   `json:"source"`
	Row      int64    `json:"row"`    // -1 for the whole file
	Offset   int64    `json:"offset"` // byte in the file (after decompression), -1 where there is none
	Detail   string   `json:"detail"`
}

func (p Problem) String() string {
	s := fmt.Sprintf("%s: %s: %s", p.Severity, p.Kind, p.Source)
	if p.Row >= 0 {
		s += fmt.Sprintf(" row %d", p.Row)
	}
	if p.Offset >= 0 {
		s += fmt.Sprintf(" byte %d", p.Offset)
	}
	return s + ": " + p.Detail
}

// Report is what was looked at and what was found.
type Report struct {
	Sources   int   `json:"sources"`
	Bytes     int64 `json:"bytes"`
	Rows      int64 `json:"rows"`
	Documents int64 `json:"documents,omitempty"`
	Captions  int64 `json:"captions"`
	Images    int64 `json:"images"` // looked at
	// Counts are all problems by kind, Problems the first of each.
	Counts   map[Kind]int64 `json:"counts"`
	Problems []Problem      `json:"problems"`
	Errors   int64          `json:"errors"`
	Warnings int64          `json:"warnings"`
	// KeysCompared is how many rows took part in the search for keys that other shards have, too; fewer than Rows in large inputs.
	KeysCompared int64 `json:"keys_compared"`
}

// finding collects what one shard, or the input as a whole, has.
type finding struct {
	report Report
	show   int
	keys   []keyPlace // of rows, each key once, for comparing with other shards
	images []seenImage
}

type keyPlace struct {
	key, source string
	row, offset int64
}

type seenImage struct {
	sum         [32]byte
	source      string
	row, offset int64
}

func (f *finding) problem(p Problem) {
	r := &f.report
	if r.Counts == nil {
		r.Counts = map[Kind]int64{}
	}
	r.Counts[p.Kind]++
	if p.Severity == Error {
		r.Errors++
	} else {
		r.Warnings++
	}
	if r.Counts[p.Kind] <= int64(f.show) {
		r.Problems = append(r.Problems, p)
	}
}

// add takes over what a shard has; shards come in order, so that the report does not depend on which was faster.
func (f *finding) add(s *finding) {
	r := &f.report
	r.Sources += s.report.Sources
	r.Bytes += s.report.Bytes
	r.Rows += s.report.Rows
	r.Documents += s.report.Documents
	r.Captions += s.report.Captions
	r.Images += s.report.Images
	r.Errors += s.report.Errors
	r.Warnings += s.report.Warnings
	listed := map[Kind]int64{}
	for _, p := range s.report.Problems {
		if listed[p.Kind]++; r.Counts[p.Kind]+listed[p.Kind] <= int64(f.show) {
			r.Problems = append(r.Problems, p)
		}
	}
	for k, n := range s.report.Counts {
		r.Counts[k] += n
	}
}

// Input looks at an input. An error means that it was interrupted; what is wrong with the input stands in the report.
func Input(ctx context.Context, in *shards.Input, o Options) (*Report, error) {
	if o.Show <= 0 {
		o.Show = 10
	}
	if o.Parallelism <= 0 {
		o.Parallelism = 8
	}
	if o.MaxPixels <= 0 {
		o.MaxPixels = pixels.DefaultMaxPixels
	}
	o.Shards.Root = in.Root
	all := &finding{show: o.Show, report: Report{Counts: map[Kind]int64{}, Problems: []Problem{}}}
	all.names(in.Sources)
	keys := newKeys()
	// Shards are looked at side by side and reported in order; a window of them is in work.
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(o.Parallelism)
	results := make(chan chan *finding, 4*o.Parallelism)
	var merged sync.WaitGroup
	merged.Add(1)
	go func() {
		defer merged.Done()
		for c := range results {
			f := <-c
			if f == nil {
				continue
			}
			all.add(f)
			keys.compare(f, all)
			if o.Progress != nil {
				o.Progress(all.report.Sources, all.report.Bytes)
			}
		}
	}()
	for i, s := range in.Sources {
		if gctx.Err() != nil {
			break
		}
		c := make(chan *finding, 1)
		results <- c
		images := max(o.Images, 0) // the shard's part of them
		images = images*(i+1)/len(in.Sources) - images*i/len(in.Sources)
		g.Go(func() error {
			defer close(c)
			f, err := source(gctx, s, o, images)
			if err == nil {
				c <- f
			}
			return err
		})
	}
	err := g.Wait()
	close(results)
	merged.Wait()
	if err == nil {
		err = context.Cause(ctx) // also where it ended before the first shard
	}
	if err != nil {
		return nil, err
	}
	keys.images(all)
	all.report.KeysCompared = keys.n
	slices.SortStableFunc(all.report.Problems, func(a, b Problem) int {
		if a.Severity != b.Severity { // errors first; otherwise in order of input
			return map[Severity]int{Error: -1, Warning: 1}[a.Severity]
		}
		return 0
	})
	return &all.report, nil
}
