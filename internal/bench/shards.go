package bench

import (
	"archive/tar"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// distinct is how many different pictures WriteShards makes; they repeat.
const distinct = 200

// Shape is what the images of made-up shards are: photographs of a size, or, where Width is 0, bytes that no one decodes.
type Shape struct{ Width, Height, Bytes int }

// WriteShards writes count pairs as WebDataset shards. They are a function of the arguments alone.
func WriteShards(dir string, count, shards int, s Shape) error {
	images := make([][]byte, min(distinct, count))
	for i := range images {
		if s.Width > 0 {
			images[i] = Photo(s.Width, s.Height, uint64(i))
			continue
		}
		r := rand.New(rand.NewPCG(uint64(i), 1))
		images[i] = make([]byte, s.Bytes)
		for j := range images[i] {
			images[i][j] = byte(r.Uint32())
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	for i := range shards {
		if err := writeShard(filepath.Join(dir, fmt.Sprintf("%05d.tar", i)), i, count*i/shards, count*(i+1)/shards, images); err != nil {
			return fmt.Errorf("bench: %w", err)
		}
	}
	return nil
}

func writeShard(name string, s, from, to int, images [][]byte) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	w := tar.NewWriter(f)
	for n := from; n < to; n++ {
		key := fmt.Sprintf("%05d%06d", s, n-from)
		for _, m := range []struct {
			ext  string
			data []byte
		}{{"jpg", images[n%len(images)]}, {"txt", fmt.Appendf(nil, "picture number %d of a benchmark", n)}} {
			if err := w.WriteHeader(&tar.Header{Name: key + "." + m.ext, Size: int64(len(m.data)), Mode: 0o644}); err != nil {
				return err
			}
			if _, err := w.Write(m.data); err != nil {
				return err
			}
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return f.Close()
}
