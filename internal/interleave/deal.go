package interleave

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/internal/shards"
	"sower/schemas"
)

const (
	// rangeRows and rangeBytes are what is read at a time; small ranges mix the parts of an input well.
	rangeRows  = 8192
	rangeBytes = 4 << 20
	// textBytesPerToken is about what a token of text takes, for sizing files only.
	textBytesPerToken = 3
)

// Range is a part of an input, with about how many ids it becomes.
type Range struct {
	Row    schemas.PlanRow
	Tokens int64
}

// CodeRanges lists the ranges of the code table that m is the manifest of. Tables with documents are read by whole parts.
func CodeRanges(ctx context.Context, b *blob.Bucket, m *schemas.Manifest, input int, weight float64) ([]Range, error) {
	codesPerImage := m.Identity.CodesPerImage
	// A corpus that was made again is the same if its bytes are, whatever its files' times say.
	digests := map[string]string{}
	for _, f := range m.Files {
		digests[f.Path] = f.SHA256[:min(16, len(f.SHA256))]
	}
	parts, err := corpus.Parts(ctx, b, "data")
	if err != nil {
		return nil, err
	}
	documents, err := corpus.Parts(ctx, b, "documents")
	if err != nil {
		return nil, err
	}
	if len(documents) > 0 && len(documents) != len(parts) {
		return nil, fmt.Errorf("interleave: %s: %d parts in data/, %d in documents/", b.URL(), len(parts), len(documents))
	}
	var out []Range
	for i, p := range parts {
		footer, err := corpus.ReadFooter(ctx, b, p.Name)
		if err != nil {
			return nil, err
		}
		rows, texts := footer.Rows, footer.ColumnBytes("text")
		size, tag := p.Size, digests[p.Name]
		if len(documents) > 0 {
			want := strings.Replace(p.Name, "data/", "documents/", 1)
			if documents[i].Name != want {
				return nil, fmt.Errorf("interleave: %s: %s has no %s", b.URL(), p.Name, want)
			}
			footer, err := corpus.ReadFooter(ctx, b, want)
			if err != nil {
				return nil, err
			}
			n := footer.Rows
			texts += footer.ColumnBytes("elements.list.element.text")
			size += documents[i].Size
			tag += " " + digests[want]
			if rows+n > 0 { // documents that lost all their images have no rows in the code table
				tokens := rows*int64(codesPerImage+2) + texts/textBytesPerToken + 2*n
				row := schemas.PlanRow{Source: SourceName(input, p.Name), Format: FormatDocuments, Size: size, Tag: tag, End: rows, Bytes: size, Rows: -1}
				out = append(out, repeat(weight, Range{row, tokens})...)
			}
			continue
		}
		for from := int64(0); from < rows; from += rangeRows {
			to := min(from+rangeRows, rows)
			share := float64(to-from) / float64(rows)
			out = append(out, repeat(weight, Range{
				schemas.PlanRow{Source: SourceName(input, p.Name), Format: FormatPairs, Size: size, Tag: tag, Start: from, End: to, FirstRow: from, Bytes: int64(share * float64(size)), Rows: to - from},
				(to-from)*int64(codesPerImage+4) + int64(share*float64(texts))/textBytesPerToken})...)
		}
	}
	return out, nil
}

// TextRanges lists the ranges of a file of lines.
func TextRanges(input int, weight float64, s shards.Source) []Range {
	var out []Range
	for from := int64(0); from < s.Size; from += rangeBytes {
		to := min(from+rangeBytes, s.Size)
		out = append(out, repeat(weight, Range{schemas.PlanRow{Source: SourceName(input, s.Name), Format: FormatText, Size: s.Size, Tag: s.Tag, Start: from, End: to, Bytes: to - from, Rows: -1},
			(to - from) / textBytesPerToken})...)
	}
	return out
}

// repeat lists a range once for each reading that its weight asks for.
func repeat(weight float64, r Range) []Range {
	var out []Range
	for n := range int(math.Ceil(weight)) {
		r.Row.Repeat = int32(n)
		out = append(out, r)
	}
	// The last reading may use a part of the records only.
	if part := weight - math.Floor(weight); part > 0 {
		out[len(out)-1].Tokens = int64(float64(r.Tokens) * part)
	}
	return out
}

// Deal permutes ranges by the seed and deals them to units of about fileTokens ids each. The number of units follows from the
// input alone.
func Deal(ranges []Range, seed uint64, fileTokens int64) []schemas.PlanRow {
	var tokens int64
	for _, r := range ranges {
		tokens += r.Tokens
	}
	units := min(max(1, int((tokens+fileTokens-1)/fileTokens)), max(1, len(ranges)))
	key := func(r *Range) uint64 {
		return hash(seed, "deal", fmt.Sprintf("%s\x00%d", r.Row.Source, r.Row.Start), int(r.Row.Repeat))
	}
	slices.SortFunc(ranges, func(a, b Range) int {
		if c := cmp.Compare(key(&a), key(&b)); c != 0 {
			return c
		}
		return cmp.Or(strings.Compare(a.Row.Source, b.Row.Source), cmp.Compare(a.Row.Start, b.Row.Start), cmp.Compare(a.Row.Repeat, b.Row.Repeat))
	})
	rows := make([]schemas.PlanRow, 0, len(ranges))
	// Each range goes to the unit that has the least so far: ranges differ in size, files should not.
	load := make([]int64, units)
	for _, r := range ranges {
		least := 0
		for u := range load {
			if load[u] < load[least] {
				least = u
			}
		}
		load[least] += max(r.Tokens, 1)
		r.Row.Unit = int32(least)
		rows = append(rows, r.Row)
	}
	slices.SortStableFunc(rows, func(a, b schemas.PlanRow) int { return cmp.Compare(a.Unit, b.Unit) })
	return rows
}
