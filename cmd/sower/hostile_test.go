package main

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"sower/internal/shards/shardtest"
)

// pngHeader is a PNG that declares a size and has no pixels.
func pngHeader(width, height uint32) []byte {
	ihdr := []byte("IHDR")
	ihdr = binary.BigEndian.AppendUint32(ihdr, width)
	ihdr = binary.BigEndian.AppendUint32(ihdr, height)
	ihdr = append(ihdr, 8, 2, 0, 0, 0)
	p := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), ihdr...)
	return binary.BigEndian.AppendUint32(p, crc32.ChecksumIEEE(ihdr))
}

// rawTar packs members as they are, unsafe names included.
func rawTar(members ...[2]string) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		if err := w.WriteHeader(&tar.Header{Name: m[0], Size: int64(len(m[1])), Mode: 0o644}); err != nil {
			panic(err)
		}
		if _, err := w.Write([]byte(m[1])); err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// TestHostileInputs is the table of what becomes of bad input: every row of it is in the corpus or in the rejects.
func TestHostileInputs(t *testing.T) {
	jpg := string(shardtest.JPEG(40, 30, 1))
	png := string(shardtest.PNG(30, 40, 2))
	pair := func(image string) []byte { return rawTar([2]string{"a.jpg", image}, [2]string{"a.txt", "caption"}) }
	good := shardtest.Tar(shardtest.Captioned("x", []byte(jpg), "one"), shardtest.Captioned("y", []byte(jpg), "two"))
	parquet := shardtest.Parquet(2, shardtest.Img2DatasetRow{Key: "k1", JPG: []byte(jpg)}, shardtest.Img2DatasetRow{Key: "k2"}, shardtest.Img2DatasetRow{Key: "k3", JPG: []byte("no picture")})
	progressive := append([]byte(jpg[:len(jpg)/2]), 0xff, 0xd9)

	cases := []struct {
		name string
		file string
		data []byte
		want string // "encoded reason:count …" in the order of the names
	}{
		{"truncated JPEG", "a.tar", pair(jpg[:len(jpg)/2]), "0 truncated:1"},
		{"JPEG cut in its header", "a.tar", pair(jpg[:30]), "0 truncated:1"},
		{"JPEG closed early", "a.tar", pair(string(progressive)), "0 truncated:1"},
		{"zero-byte image", "a.tar", pair(""), "0 no_image:1"},
		{"HTML named .jpg", "a.tar", pair("<!DOCTYPE html><html>not found</html>"), "0 unsupported_format:1"},
		{"text named .jpg", "a.tar", pair("hello"), "0 unsupported_format:1"},
		{"SVG named .jpg", "a.tar", pair("<svg xmlns='http://www.w3.org/2000/svg'/>"), "0 unsupported_format:1"},
		{"PNG of 100000x100000", "a.tar", pair(string(pngHeader(100000, 100000)) + "\x00\x00\x00\x08IDAT12345678"), "0 too_large:1"},
		{"PNG of 0x10", "a.tar", pair(string(pngHeader(0, 10))), "0 undecodable:1"},
		{"PNG without pixels", "a.tar", pair(string(pngHeader(10, 10))), "0 truncated:1"},
		{"PNG cut", "a.tar", pair(png[:len(png)-40]), "0 truncated:1"},
		{"PNG with a damaged stream", "a.tar", pair(png[:60] + "????" + png[64:]), "0 undecodable:1"},
		{"PNG named .jpg", "a.tar", pair(png), "1"},
		{"junk after the image", "a.tar", pair(jpg + strings.Repeat("junk", 100)), "1"},
		{"GIF header alone", "a.tar", pair("GIF89a\x01\x00\x01\x00"), "0 truncated:1"},
		{"WebP header alone", "a.tar", pair("RIFF\x10\x00\x00\x00WEBPVP8 "), "0 truncated:1"},
		{"BMP that promises 2 GB", "a.tar", pair("BM\xff\xff\xff\x7f\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00\xff\xff\x00\x00\xff\xff\x00\x00\x01\x00\x18\x00"), "0 truncated:1"},
		{"traversal name", "a.tar", rawTar([2]string{"../../etc/a.jpg", jpg}), "0 unsafe_name:1"},
		{"absolute name", "a.tar", rawTar([2]string{"/etc/a.jpg", jpg}), "0 unsafe_name:1"},
		{"duplicate keys", "a.tar", append(good[:len(good)-1024], good...), "4"},
		{"caption not UTF-8", "a.tar", rawTar([2]string{"a.jpg", jpg}, [2]string{"a.txt", "caf\xe9"}), "0 text_not_utf8:1"},
		{"key not UTF-8", "a.tar", rawTar([2]string{"caf\xe9.jpg", jpg}), "1"},
		{"broken JSON sidecar", "a.tar", rawTar([2]string{"a.jpg", jpg}, [2]string{"a.json", `{"caption":`}), "0 unreadable_source:1"},
		{"sample without image", "a.tar", rawTar([2]string{"a.txt", "alone"}, [2]string{"b.jpg", jpg}), "1 no_image:1"},
		{"tar cut in a body", "a.tar", good[:len(good)-2600], "1 unreadable_source:1"},
		{"tar cut in a header", "a.tar", good[:700], "0 unreadable_source:1"},
		{"HTML named .tar", "a.tar", []byte("<html>" + strings.Repeat("x", 2000)), "0 unreadable_source:1"},
		{"empty .tar", "a.tar", nil, "0 unreadable_source:1"},
		{"gzip cut", "a.tar.gz", shardtest.Gzip(good)[:200], "0 unreadable_source:1"},
		{"gzip of nonsense", "a.tar.gz", shardtest.Gzip([]byte(strings.Repeat("nonsense", 200))), "0 unreadable_source:1"},
		{"Parquet with a null and a bad image", "a.parquet", parquet, "1 no_image:1 unsupported_format:1"},
		{"Parquet cut", "a.parquet", parquet[:len(parquet)-20], "0 unreadable_source:1"},
		{"Parquet with a damaged page", "a.parquet", damaged(parquet), "0 unreadable_source:2 unsupported_format:1"},
		{"HTML named .parquet", "a.parquet", []byte("<html>"), "0 unreadable_source:1"},
		{"JSONL with a bad line", "a.jsonl", []byte("{\"image_base64\":\"" + b64(jpg) + "\"}\nnot json\n{\"image\":\"../../etc/passwd\"}\n{\"image\":\"gone.jpg\"}\n{\"image_base64\":\"!!!\"}\n"),
			"1 no_image:1 undecodable:1 unreadable_source:1 unsafe_name:1"},
		{"CSV with an open quote", "a.csv", []byte("image,caption\n\"gone.jpg,x\n1,2\n"), "0 unreadable_source:1"},
		{"CSV without an image column", "a.csv", []byte("caption,size\nx,1\ny,2\n"), "0 missing_column:2"},
	}
	if len(cases) < 25 {
		t.Fatalf("%d hostile inputs", len(cases))
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			writeFile(t, dir, "in/"+c.file, c.data)
			out := filepath.Join(dir, "out")
			must(t, "encode", "-q", "-i", filepath.Join(dir, "in", c.file), "-o", out, "-m", tiny, "--max-failure-rate", "1")
			rows, rejects := readAll(t, out)
			counts := readManifest(t, out).Counts
			if int64(len(rows)) != counts.Encoded || int64(len(rejects)) != counts.RejectedTotal() || counts.Check() != nil {
				t.Errorf("manifest %+v, files hold %d and %d", counts, len(rows), len(rejects))
			}
			var parts []string
			for reason, n := range counts.Rejected {
				parts = append(parts, fmt.Sprintf("%s:%d", reason, n))
			}
			sort.Strings(parts)
			got := strings.Join(append([]string{fmt.Sprint(len(rows))}, parts...), " ")
			for _, r := range rejects {
				if r.Detail == "" || r.Source == "" {
					t.Errorf("a reject that does not say what or where: %+v", r)
				}
			}
			if got != c.want {
				t.Errorf("%s, want %s; rejects %+v", got, c.want, rejects)
			}
		})
	}
}

// damaged breaks the first data page of a Parquet file.
func damaged(p []byte) []byte {
	q := append([]byte(nil), p...)
	for i := 20; i < 60 && i < len(q); i++ {
		q[i] ^= 0x5a
	}
	return q
}

// TestEveryRowIsAccountedFor mixes good and bad rows at random, in all formats of one run.
func TestEveryRowIsAccountedFor(t *testing.T) {
	kinds := []struct {
		image func(n uint32) []byte
		good  bool
	}{
		{func(n uint32) []byte { return shardtest.JPEG(12+int(n%20), 14, n) }, true},
		{func(n uint32) []byte { return shardtest.PNG(9, 10+int(n%9), n) }, true},
		{func(n uint32) []byte { j := shardtest.JPEG(30, 30, n); return j[:len(j)*2/3] }, false},
		{func(n uint32) []byte { return []byte("<html>") }, false},
		{func(n uint32) []byte { return nil }, false},
		{func(n uint32) []byte { return pngHeader(60000, 60000) }, false},
	}
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 1))
		dir, rows, good := t.TempDir(), 0, 0
		for f := range 4 {
			var samples []shardtest.Sample
			for i := range r.IntN(60) {
				k := kinds[r.IntN(len(kinds))]
				samples = append(samples, shardtest.Captioned(fmt.Sprintf("%d-%d", f, i), k.image(r.Uint32()), "text"))
				rows++
				if k.good {
					good++
				}
			}
			data := shardtest.Tar(samples...)
			name := fmt.Sprintf("in/%d.tar", f)
			if f == 3 {
				data, name = shardtest.Gzip(data), name+".gz"
			}
			writeFile(t, dir, name, data)
		}
		out := filepath.Join(dir, "out")
		must(t, "encode", "-q", "-i", filepath.Join(dir, "in"), "-o", out, "-m", tiny, "--max-failure-rate", "1", "--unit-bytes", fmt.Sprint(4096+r.IntN(40000)), "--parallelism", fmt.Sprint(1+r.IntN(4)))
		encoded, rejects := readAll(t, out)
		if len(encoded) != good || len(encoded)+len(rejects) != rows {
			t.Errorf("seed %d: %d rows in, %d good: %d encoded, %d rejected", seed, rows, good, len(encoded), len(rejects))
		}
		seen := map[string]bool{}
		for _, e := range encoded {
			seen[fmt.Sprint(e.Source, e.Row)] = true
		}
		for _, e := range rejects {
			seen[fmt.Sprint(e.Source, e.Row)] = true
		}
		if len(seen) != rows {
			t.Errorf("seed %d: %d rows, %d distinct (source, row)", seed, rows, len(seen))
		}
	}
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
