// Command mkcodes writes a finished code table of made-up rows, for benchmarks of interleave.
//
//	go run ./internal/bench/mkcodes --out DIR --rows 1000000
//
// Captions have 8 to 20 words with the frequencies of English; codes are even. The output is a function of the flags alone.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"sower/internal/blob"
	_ "sower/internal/blob/all"
	"sower/internal/corpus"
	"sower/internal/plan"
	"sower/schemas"
)

// words are picked with a probability that falls with their place.
var words = strings.Fields(`a of on in the with and man is to sitting two standing at people woman white up top next street table holding person
 large down riding tennis while red small train field his dog black young baseball cat plate front blue it near group walking for food that by
 from has water pizza green her game playing an some bathroom snow wooden yellow kitchen brown bus out phone room building horse boy girl skateboard
 grass over player orange clock umbrella tree beach background traffic giraffe motorcycle elephant surfboard photograph refrigerator sandwich`)

func main() {
	out := flag.String("out", "", "folder for the corpus")
	rows := flag.Int("rows", 1_000_000, "rows")
	perPart := flag.Int("part", 100_000, "rows of a part")
	k := flag.Int("codes", 8192, "size of the codebook")
	flag.Parse()
	if *out == "" || *rows < 1 || *perPart < 1 || *k < 1 || *k > 1<<16 {
		log.Fatal("mkcodes: --out is missing, or --rows, --part or --codes out of range")
	}
	dir, err := filepath.Abs(*out)
	if err != nil {
		log.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		log.Fatal(err)
	}
	if err := write(dir, *rows, *perPart, *k); err != nil {
		log.Fatal(err)
	}
}

func write(dir string, rows, perPart, k int) error {
	ctx := context.Background()
	b, err := blob.OpenBucket(ctx, dir)
	if err != nil {
		return err
	}
	defer b.Close()
	units := (rows + perPart - 1) / perPart
	id := schemas.Identity{Tokenizer: "seed2", Weights: "made up", ImageSize: 224, Codes: k, CodesPerImage: 32, Resize: "bicubic", Precision: "float32", NumericsVersion: schemas.NumericsVersion}
	var planned []schemas.PlanRow
	for u := range units {
		planned = append(planned, schemas.PlanRow{Unit: int32(u), Source: fmt.Sprintf("%05d.tar", u), Format: "webdataset", Rows: int64(min(perPart, rows-u*perPart))})
	}
	p, err := plan.Dealt(planned, nil)
	if err != nil {
		return err
	}
	id.Plan = p.Digest
	if err := p.Write(ctx, b); err != nil {
		return err
	}
	infos := make([]corpus.UnitInfo, units)
	errs := make([]error, units)
	limit := make(chan bool, 2)
	var wg sync.WaitGroup
	for u := range units {
		wg.Add(1)
		limit <- true
		go func() {
			defer wg.Done()
			infos[u], errs[u] = unit(ctx, b, id, u, units, u*perPart, min((u+1)*perPart, rows))
			<-limit
		}()
	}
	wg.Wait()
	m := schemas.Manifest{Version: schemas.ManifestVersion, Tool: "mkcodes", Pipeline: "encode", Identity: id, Units: units}
	for u := range units {
		if errs[u] != nil {
			return errs[u]
		}
		m.Counts.Add(infos[u].Counts)
		m.Files = append(m.Files, infos[u].Files...)
	}
	text, err := m.Marshal()
	if err != nil {
		return err
	}
	return b.WriteAll(ctx, schemas.ManifestName, text)
}

func unit(ctx context.Context, b *blob.Bucket, id schemas.Identity, u, units, from, to int) (corpus.UnitInfo, error) {
	w, err := corpus.CreateUnit[schemas.CodeRow](ctx, b, id, u, units, "key")
	if err != nil {
		return corpus.UnitInfo{}, err
	}
	defer w.Abort()
	r := rand.New(rand.NewPCG(uint64(u), 3))
	for n := from; n < to; n++ {
		row := schemas.CodeRow{Key: fmt.Sprintf("%09d", n), Source: fmt.Sprintf("%05d.tar", u), Row: int64(n - from), Codes: make([]uint16, 32), Width: 640, Height: 480}
		for i := range row.Codes {
			row.Codes[i] = uint16(r.IntN(id.Codes))
		}
		for i := range row.SHA256 {
			row.SHA256[i] = byte(r.Uint32())
		}
		var caption strings.Builder
		for i := range 8 + r.IntN(13) {
			if i > 0 {
				caption.WriteByte(' ')
			}
			f := r.Float64()
			caption.WriteString(words[int(f*f*float64(len(words)))])
		}
		caption.WriteByte('.')
		text := caption.String()
		row.Text = &text
		if err := w.Row(row, 200); err != nil {
			return corpus.UnitInfo{}, err
		}
	}
	return w.Commit()
}
