// Command mkinput writes WebDataset shards for benchmarks: real JPEGs of a given size, or bytes that no one decodes.
//
//	go run ./internal/bench/mkinput --out DIR --count 50000 --shards 50 --bytes 20480      # for --model null
//	go run ./internal/bench/mkinput --out DIR --count 20000 --shards 20 --size 512x384     # pictures
//
// The output is a function of the flags alone.
package main

import (
	"archive/tar"
	"bytes"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"log"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// distinct is how many different pictures there are; they repeat.
const distinct = 200

func main() {
	out := flag.String("out", "", "folder for the shards")
	count := flag.Int("count", 10000, "pairs")
	shards := flag.Int("shards", 10, "files")
	size := flag.Int("bytes", 20480, "bytes of an image that is not decoded")
	picture := flag.String("size", "", "WIDTHxHEIGHT: real JPEGs, 4:2:0, quality 80")
	flag.Parse()
	if *out == "" || *count < 1 || *shards < 1 {
		log.Fatal("mkinput: --out is missing, or --count or --shards below 1")
	}
	images := make([][]byte, distinct)
	for i := range images {
		if *picture == "" {
			r := rand.New(rand.NewPCG(uint64(i), 1))
			images[i] = make([]byte, *size)
			for j := range images[i] {
				images[i][j] = byte(r.Uint32())
			}
			continue
		}
		var w, h int
		if _, err := fmt.Sscanf(*picture, "%dx%d", &w, &h); err != nil {
			log.Fatalf("mkinput: --size %q: %v", *picture, err)
		}
		images[i] = photo(w, h, uint64(i))
	}
	if err := os.MkdirAll(*out, 0o755); err != nil {
		log.Fatal(err)
	}
	for s := range *shards {
		if err := shard(filepath.Join(*out, fmt.Sprintf("%05d.tar", s)), s, *count*s / *shards, *count*(s+1) / *shards, images); err != nil {
			log.Fatal(err)
		}
	}
}

func shard(name string, s, from, to int, images [][]byte) error {
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

// photo is a picture with the smooth areas, edges and grain of a photograph.
func photo(w, h int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	im := image.NewRGBA(image.Rect(0, 0, w, h))
	fx, fy, cx, cy := 2+5*r.Float64(), 2+5*r.Float64(), r.Float64()*float64(w), r.Float64()*float64(h)
	for y := range h {
		for x := range w {
			a := math.Sin(fx*float64(x)/float64(w)*math.Pi) * math.Cos(fy*float64(y)/float64(h)*math.Pi)
			d := math.Hypot(float64(x)-cx, float64(y)-cy) / float64(w)
			v := 128 + 70*a + 12*r.NormFloat64()
			if d < 0.2 {
				v = 255 - v
			}
			clip := func(f float64) uint8 { return uint8(max(0, min(255, f))) }
			im.SetRGBA(x, y, color.RGBA{clip(v), clip(v*0.8 + 60*d), clip(255 - v*0.6), 255})
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, im, &jpeg.Options{Quality: 80}); err != nil {
		log.Fatal(err)
	}
	return b.Bytes()
}
