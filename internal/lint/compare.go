package lint

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/maphash"
	"slices"
)

// maxCompared bounds the keys that are compared across shards, at some 40 bytes each.
const maxCompared = 8 << 20

// keys remembers the keys and images of the shards so far.
type keys struct {
	seed    maphash.Seed
	seen    map[uint64]int32 // hash of a key to its shard
	sources []string
	n       int64
	same    map[[32]byte]*repeated
}

// repeated is an image that was seen, and how often.
type repeated struct {
	first seenImage
	count int64
}

func newKeys() *keys {
	return &keys{seed: maphash.MakeSeed(), seen: map[uint64]int32{}, same: map[[32]byte]*repeated{}}
}

// compare looks for keys of a shard that an earlier shard has. A shard of which all keys come again is one line, not thousands.
func (k *keys) compare(f, all *finding) {
	if len(f.keys) == 0 {
		return
	}
	at := int32(len(k.sources))
	k.sources = append(k.sources, f.keys[0].source)
	again, first, with := int64(0), keyPlace{}, ""
	for _, p := range f.keys {
		if k.n >= maxCompared {
			break
		}
		k.n++
		h := maphash.String(k.seed, p.key)
		if other, ok := k.seen[h]; !ok {
			k.seen[h] = at
		} else if other != at {
			if again++; again == 1 {
				first, with = p, k.sources[other]
			}
		}
	}
	if again > 0 {
		all.problem(Problem{DuplicateKey, Warning, first.source, first.row, first.offset,
			fmt.Sprintf("%d of %d keys are those of other shards as well, first %q, which is in %s", again, len(f.keys), first.key, with)})
	}
	for _, i := range f.images {
		if r := k.same[i.sum]; r != nil {
			r.count++
		} else {
			k.same[i.sum] = &repeated{first: i, count: 1}
		}
	}
}

// leastRepeats is how often the same bytes must come before they are a stand-in rather than a picture that was posted twice.
const leastRepeats = 3

// images reports those that came again and again.
func (k *keys) images(all *finding) {
	var out []*repeated
	for _, r := range k.same {
		if r.count >= leastRepeats {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b *repeated) int {
		return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.first.source, b.first.source), cmp.Compare(a.first.row, b.first.row))
	})
	for _, r := range out {
		all.problem(Problem{SameImage, Warning, r.first.source, r.first.row, r.first.offset,
			fmt.Sprintf("%d of %d images have these bytes (SHA-256 %s…)", r.count, all.report.Images, hex.EncodeToString(r.first.sum[:6]))})
	}
}

// unended says what of an image's end is missing, "" for nothing. Bytes behind a marker are common and harmless; so is one marker
// within the last of them.
func unended(format string, p []byte) string {
	tail := p[max(0, len(p)-1024):]
	switch format {
	case "jpeg":
		if !bytes.Contains(tail, []byte{0xff, 0xd9}) {
			return "a JPEG without an end marker in its last bytes: cut off, or something follows it"
		}
	case "png":
		if !bytes.Contains(tail, []byte("IEND")) {
			return "a PNG without its IEND chunk in its last bytes: cut off, or something follows it"
		}
	case "gif":
		if !bytes.Contains(tail, []byte{';'}) {
			return "a GIF without its trailer in its last bytes: cut off, or something follows it"
		}
	case "webp":
		if len(p) >= 12 {
			if want := int64(binary.LittleEndian.Uint32(p[4:])) + 8; want > int64(len(p)) {
				return fmt.Sprintf("a WebP of %d bytes that says it has %d", len(p), want)
			}
		}
	case "bmp":
		if len(p) >= 14 {
			if want := int64(binary.LittleEndian.Uint32(p[2:])); want > int64(len(p)) {
				return fmt.Sprintf("a BMP of %d bytes that says it has %d", len(p), want)
			}
		}
	}
	return ""
}
