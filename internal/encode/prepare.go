package encode

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"sower/internal/pairs"
	"sower/internal/pixels"
	"sower/internal/progress"
	"sower/internal/shards"
	"sower/schemas"
)

// prepare hashes, filters, decodes and resizes one row and hands its pixels to the model.
func (w *Worker) prepare(ctx context.Context, it *item) {
	defer close(it.prepared)
	began := time.Now()
	it.sum = sha256.Sum256(it.pair.Image)
	if w.engine == nil {
		it.pair.Image = nil
		w.spend(progress.Prepare, began)
		return
	}
	if it.known != nil && it.known.SHA256 == it.sum {
		w.reuse(it)
		w.spend(progress.Prepare, began)
		return
	}
	rgb := w.engine.Buffer()
	if it.fault = w.decode(ctx, it, rgb); it.fault != nil {
		w.engine.Discard(rgb)
		w.spend(progress.Prepare, began)
		return
	}
	it.pair.Image = nil // the encoded bytes are done with: a long queue holds 150 KB an image
	w.spend(progress.Prepare, began)
	it.codes = w.engine.Submit(ctx, rgb)
}

// reuse takes the codes of the same bytes from an earlier corpus of the same identity. That these bytes decode is known; the
// filters look at metadata, too, which may be other than it was.
func (w *Worker) reuse(it *item) {
	header, err := pixels.Sniff(it.pair.Image)
	it.pair.Image = nil
	if err != nil {
		it.fault = pairs.Fault(err)
		return
	}
	if it.fault = w.filterSize(it, header.Width, header.Height); it.fault != nil {
		return
	}
	it.width, it.height, it.reused = int(it.known.Width), int(it.known.Height), true
}

// decode fills rgb, [S S 3], or says why it cannot.
func (w *Worker) decode(ctx context.Context, it *item, rgb []byte) (fault *shards.Fault) {
	defer func() {
		if p := recover(); p != nil { // a decoder's slip on hostile bytes costs the row, not the process
			fault = &shards.Fault{Reason: schemas.Undecodable, Detail: fmt.Sprintf("decoder panicked: %v", p)}
		}
	}()
	if int64(len(it.pair.Image)) > w.cfg.Limits.MaxImageBytes {
		return &shards.Fault{Reason: schemas.TooLarge, Detail: fmt.Sprintf("%d bytes, the limit is %d (--max-image-bytes)", len(it.pair.Image), w.cfg.Limits.MaxImageBytes)}
	}
	header, err := pixels.Sniff(it.pair.Image)
	if err != nil {
		return pairs.Fault(err)
	}
	if f := w.filterSize(it, header.Width, header.Height); f != nil {
		return f
	}
	var need int64
	if area := int64(header.Width) * int64(header.Height); area <= w.cfg.Limits.MaxPixels { // else refused below, before memory is taken
		need = min(3*area, decodeMemory)
	}
	if err := pool.memory.Acquire(ctx, need); err != nil {
		return &shards.Fault{Reason: schemas.Undecodable, Detail: err.Error(), Retryable: true} // the unit is being abandoned
	}
	defer pool.memory.Release(need)
	it.width, it.height, err = pixels.Prepare(rgb, it.pair.Image, w.cfg.Identity.ImageSize, w.filter,
		pixels.Limits{MaxPixels: w.cfg.Limits.MaxPixels, MaxBytes: w.cfg.Limits.MaxImageBytes})
	if err != nil {
		return pairs.Fault(err)
	}
	return nil
}

// filterText applies the filters that need no pixels. Of an image in a document that is its similarity alone: its texts are
// the document's.
func (w *Worker) filterText(it *item) {
	if it.isDocument() {
		w.filterDocument(it)
		return
	}
	if it.fault != nil {
		return
	}
	f, text := &w.cfg.Filters, ""
	if it.pair.Document != nil {
		w.filterSimilarity(it)
		return
	}
	if it.pair.Text != nil {
		text = *it.pair.Text
	}
	if f.RequireText && strings.TrimSpace(text) == "" {
		it.fault = &shards.Fault{Reason: schemas.NoText, Detail: "no caption (--require-text)"}
		return
	}
	if n := utf8.RuneCountInString(text); f.MaxText > 0 && n > f.MaxText {
		it.fault = &shards.Fault{Reason: schemas.TextTooLong, Detail: fmt.Sprintf("%d characters, the limit is %d (--max-text)", n, f.MaxText)}
		return
	}
	w.filterSimilarity(it)
}

func (w *Worker) filterSimilarity(it *item) {
	least := w.cfg.Filters.MinSimilarity
	if least == 0 {
		return
	}
	if s, ok := similarity(it.pair.Metadata); ok && s < least {
		it.fault = &shards.Fault{Reason: schemas.Similarity, Detail: fmt.Sprintf("similarity %v, the least is %v (--min-similarity)", s, least)}
	}
}

// filterSize applies --min-side and --max-aspect to the sizes that the metadata states, else to the picture's own: shards
// made by img2dataset hold pictures that were resized already.
func (w *Worker) filterSize(it *item, width, height int) *shards.Fault {
	f := &w.cfg.Filters
	if f.MinSide == 0 && f.MaxAspect == 0 {
		return nil
	}
	if mw, mh, ok := statedSize(it.pair.Metadata); ok {
		width, height = mw, mh
	}
	if side := min(width, height); side < f.MinSide {
		return &shards.Fault{Reason: schemas.TooSmall, Detail: fmt.Sprintf("%dx%d pixels, the smaller side must be %d (--min-side)", width, height, f.MinSide)}
	}
	if f.MaxAspect > 0 && float64(max(width, height)) > f.MaxAspect*float64(min(width, height)) {
		return &shards.Fault{Reason: schemas.Aspect, Detail: fmt.Sprintf("%dx%d pixels, the sides may differ by a factor of %v (--max-aspect)", width, height, f.MaxAspect)}
	}
	return nil
}

// fields decodes a row's metadata, which the readers made: a JSON object or nothing.
func fields(metadata string) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if metadata == "" || json.Unmarshal([]byte(metadata), &m) != nil {
		return nil
	}
	return m
}

// number reads a JSON number, or a string that holds one.
func number(raw json.RawMessage) (float64, bool) {
	s := strings.Trim(string(raw), `"`)
	v, err := strconv.ParseFloat(s, 64)
	return v, err == nil && v == v
}

// similarity finds the image-text similarity under the names in use: the largest of all_similarities, else similarity,
// else score, else MMC4's matched_sim.
func similarity(metadata string) (float64, bool) {
	m := fields(metadata)
	var all []float64
	if json.Unmarshal(m["all_similarities"], &all) == nil && len(all) > 0 {
		best := all[0]
		for _, v := range all[1:] {
			best = max(best, v)
		}
		return best, true
	}
	for _, name := range []string{"similarity", "score", "SCORE", "matched_sim"} {
		if v, ok := number(m[name]); ok {
			return v, true
		}
	}
	return 0, false
}

// statedSize finds the picture's size under the names in use: width, WIDTH, original_width, resolution[0], and the like.
func statedSize(metadata string) (width, height int, ok bool) {
	m := fields(metadata)
	for _, names := range [][2]string{{"width", "height"}, {"WIDTH", "HEIGHT"}, {"original_width", "original_height"}} {
		a, okA := number(m[names[0]])
		b, okB := number(m[names[1]])
		if okA && okB && a >= 1 && b >= 1 && a < 1<<31 && b < 1<<31 {
			return int(a), int(b), true
		}
	}
	var r []float64
	if json.Unmarshal(m["resolution"], &r) == nil && len(r) == 2 && r[0] >= 1 && r[1] >= 1 && r[0] < 1<<31 && r[1] < 1<<31 {
		return int(r[0]), int(r[1]), true
	}
	return 0, 0, false
}
