// Clipart makes WebDataset shards of the public-domain pictures of Debian's packages openclipart-png and openclipart-svg: the training
// and the held-out pairs of the mini tokenizer.
//
//	go run ./docs/recipes/mini/clipart /usr/share/openclipart/png /usr/share/openclipart/svg OUT
//
// OUT/openclipart-*.tar are the first 64 of the held-out ones, which sower demo carries. OUT/train-*.tar and OUT/held-*.tar have a PNG of 80 x 80 pixels on white and a caption of each picture. What is in them:
//
//   - A picture that lies in several folders is one; the words of all its folders count.
//   - Of pictures whose names differ in digits alone at most 16 are taken, in the order of the CRC-32 of the name.
//   - Blank ones and ones of the same pixels as an earlier one are left out.
//   - The caption is the words of the file name, the title (unless more than 5 pictures have it), subjects and folders, each once, without
//     the author's name and words that say nothing, at most 24.
//   - Held out are those whose CRC-32 ends in a digit of 0.
package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/draw"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sower/internal/pixels"
)

const (
	size      = 80   // pixels a side
	familyCap = 16   // pictures whose names differ in digits alone
	perShard  = 1000 // pairs
	demoPairs = 64   // in two shards
)

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: clipart PNG_FOLDER SVG_FOLDER OUT")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, "clipart:", err)
		os.Exit(1)
	}
}

// picture is one file and the names that lead to it, without extension.
type picture struct {
	file  string
	names []string
	meta  metadata
}

// pair is what goes into a shard.
type pair struct {
	key, caption string
	png          []byte
}

func run(pngs, svgs, out string) error {
	pictures, err := list(pngs)
	if err != nil {
		return err
	}
	titles := map[string]int{}
	for i := range pictures {
		pictures[i].meta = read(filepath.Join(svgs, pictures[i].names[0]+".svg"))
		titles[pictures[i].meta.title]++
	}
	slices.SortFunc(pictures, func(a, b picture) int { return cmp.Compare(crc(a.names[0]), crc(b.names[0])) })
	root, err := filepath.EvalSymlinks(pngs)
	if err != nil {
		return err
	}
	family, seen, dropped := map[string]int{}, map[string]bool{}, map[string]int{}
	split := map[bool][]pair{}
	for _, p := range pictures {
		rel, err := filepath.Rel(root, p.file)
		if err != nil {
			return err
		}
		key := strings.TrimSuffix(filepath.ToSlash(rel), ".png")
		kind := withoutDigits(key)
		if family[kind]++; family[kind] > familyCap {
			dropped["of a large family"]++
			continue
		}
		rgb, err := thumbnail(p.file)
		switch {
		case err != nil:
			dropped["unreadable"]++
			continue
		case blank(rgb):
			dropped["blank"]++
			continue
		case seen[string(rgb)]:
			dropped["of the same pixels"]++
			continue
		}
		seen[string(rgb)] = true
		title := p.meta.title
		if titles[title] > 5 {
			title = ""
		}
		text := caption(key, title, p.meta, folders(p.names))
		if text == "" {
			dropped["without a caption"]++
			continue
		}
		raw, err := encode(rgb)
		if err != nil {
			return err
		}
		held := crc(key)%10 == 0
		split[held] = append(split[held], pair{key, text, raw})
	}
	for held, name := range map[bool]string{false: "train", true: "held"} {
		if err := write(out, name, split[held], perShard); err != nil {
			return err
		}
	}
	if err := write(out, "openclipart", split[true][:min(len(split[true]), demoPairs)], demoPairs/2); err != nil {
		return err
	}
	fmt.Printf("%d pictures: %d for training, %d held out", len(pictures), len(split[false]), len(split[true]))
	for _, why := range []string{"of a large family", "unreadable", "blank", "of the same pixels", "without a caption"} {
		fmt.Printf("; %d %s", dropped[why], why)
	}
	fmt.Println()
	return nil
}

func crc(s string) uint32 { return crc32.ChecksumIEEE([]byte(s)) }

// list finds the pictures, in order of their first name.
func list(root string) ([]picture, error) {
	byFile := map[string]*picture{}
	var order []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".png" {
			return err
		}
		file, err := filepath.EvalSymlinks(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if byFile[file] == nil {
			byFile[file] = &picture{file: file}
			order = append(order, file)
		}
		byFile[file].names = append(byFile[file].names, strings.TrimSuffix(filepath.ToSlash(rel), ".png"))
		return nil
	})
	if err == nil && len(order) == 0 {
		err = errors.New("no pictures in " + root + ": install openclipart-png and openclipart-svg")
	}
	out := make([]picture, len(order))
	for i, f := range order {
		out[i] = *byFile[f]
	}
	return out, err
}

// withoutDigits replaces every run of digits by #.
func withoutDigits(s string) string {
	var b strings.Builder
	in := false
	for _, r := range s {
		digit := r >= '0' && r <= '9'
		switch {
		case !digit:
			b.WriteRune(r)
		case !in:
			b.WriteByte('#')
		}
		in = digit
	}
	return b.String()
}

// thumbnail is a picture on white, squashed to size x size [size size 3].
func thumbnail(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	im, err := png.Decode(f)
	if err != nil {
		return nil, err
	}
	b := im.Bounds()
	flat := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	draw.Draw(flat, flat.Bounds(), image.White, image.Point{}, draw.Src)
	draw.Draw(flat, flat.Bounds(), im, b.Min, draw.Over)
	rgb := make([]byte, 0, 3*b.Dx()*b.Dy())
	for i := 0; i < len(flat.Pix); i += 4 {
		rgb = append(rgb, flat.Pix[i], flat.Pix[i+1], flat.Pix[i+2])
	}
	return pixels.Resize(&pixels.Image{Pix: rgb, Width: b.Dx(), Height: b.Dy()}, size, size, pixels.Bicubic).Pix, nil
}

// blank reports whether pixels hardly differ: a standard deviation below 2.
func blank(rgb []byte) bool {
	sum, squares := 0.0, 0.0
	for _, v := range rgb {
		sum += float64(v)
		squares += float64(v) * float64(v)
	}
	n := float64(len(rgb))
	return squares/n-sum/n*sum/n < 4
}

func encode(rgb []byte) ([]byte, error) {
	im := image.NewNRGBA(image.Rect(0, 0, size, size))
	for i := range size * size {
		copy(im.Pix[4*i:], rgb[3*i:3*i+3])
		im.Pix[4*i+3] = 255
	}
	var b bytes.Buffer
	err := png.Encode(&b, im)
	return b.Bytes(), err
}

// write makes shards in which nothing depends on when or by whom.
func write(out, name string, pairs []pair, perShard int) error {
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	for i := 0; i*perShard < len(pairs); i++ {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for n, p := range pairs[i*perShard : min((i+1)*perShard, len(pairs))] {
			stem := fmt.Sprintf("%06d", i*perShard+n)
			for _, f := range []struct {
				ext  string
				data []byte
			}{{"png", p.png}, {"txt", []byte(p.caption)}, {"json", fmt.Appendf(nil, "{\"picture\":%q}", p.key)}} {
				if err := w.WriteHeader(&tar.Header{Name: stem + "." + f.ext, Mode: 0o644, Size: int64(len(f.data)), ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}); err != nil {
					return err
				}
				if _, err := w.Write(f.data); err != nil {
					return err
				}
			}
		}
		if err := w.Close(); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(out, fmt.Sprintf("%s-%05d.tar", name, i)), b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	return nil
}
