package shards

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"sower/schemas"
)

// The extensions of a sample's files, in order of preference (docs/conventions.md §1). All are compared in any case.
var (
	imageExts   = []string{"jpg", "jpeg", "png", "webp", "gif", "bmp"}
	textExts    = []string{"txt", "text", "caption"}
	jsonCaption = []string{"caption", "top_caption"}
)

// splitMember cuts a member's name at the first dot after the last slash: the stem names the sample, the rest the part.
// ok is false for names that are no part of a sample: no extension, or a hidden file.
func splitMember(name string) (stem, ext string, ok bool) {
	for strings.HasPrefix(name, "./") {
		name = name[2:]
	}
	slash := strings.LastIndexByte(name, '/')
	dot := strings.IndexByte(name[slash+1:], '.')
	if dot <= 0 || slash+1+dot+1 == len(name) {
		return "", "", false
	}
	dot += slash + 1
	return name[:dot], strings.ToLower(name[dot+1:]), true
}

// unsafeName says whether a name would leave the folder it is unpacked in, on any system.
func unsafeName(name string) bool {
	if strings.HasPrefix(name, "/") || strings.HasPrefix(name, `\`) || strings.Contains(name, "\x00") {
		return true
	}
	return slices.Contains(strings.FieldsFunc(name, func(r rune) bool { return r == '/' || r == '\\' }), "..")
}

// maxMembers is how many parts of one sample are told apart; no real one comes near it.
const maxMembers = 4096

// sample collects the files of one sample and makes a Pair of them.
type sample struct {
	o        *Options
	stem     string
	captions []string        // JSON fields that hold the caption where no file does
	exts     map[string]bool // parts seen: a part that comes twice begins the next sample

	image     *imagePart
	fallbacks []string // parts that end in an image's extension while none is named exactly so
	text      *string
	textRank  int
	meta      fields
	metaBytes int64
	hasJSON   bool
	bad       *Fault // what is wrong beside the image; the first stands
	unsafe    string
	start     int64 // offset of its first file, -1 where that says nothing
	skip      bool  // the image is not read
}

// imagePart is the best candidate for the sample's image so far: bytes, or why there are none.
type imagePart struct {
	ext  string
	rank int
	data []byte
	bad  *Fault
}

func newSample(o *Options, stem string) *sample {
	return &sample{o: o, stem: stem, captions: jsonCaption, exts: map[string]bool{}, meta: fields{}, start: -1}
}

// belongs says whether a member with this stem and part continues the sample.
func (s *sample) belongs(stem, ext string) bool { return stem == s.stem && !s.exts[ext] }

// part is one file of a sample.
type part struct {
	name string // for messages
	ext  string // lower case
	size int64
	// content reads the file. It is called at most once, and only when size is within the limit for its kind.
	content func() ([]byte, error)
	// missing says why there is no content although there is a name, such as a link in an archive.
	missing string
}

const exactRanks = 100 // ranks below are aliases as such, ranks from here on names that only end in one

// imageRank is the preference of ext as the image, lower is better, -1 for none.
func (s *sample) imageRank(ext string) int {
	if c := s.o.ImageColumn; c != "" {
		return slices.IndexFunc(strings.Split(c, ";"), func(a string) bool { return strings.EqualFold(a, ext) })
	}
	if i := slices.Index(imageExts, ext); i >= 0 {
		return i
	}
	if i := strings.LastIndexByte(ext, '.'); i >= 0 && slices.Contains(imageExts, ext[i+1:]) {
		return exactRanks
	}
	return -1
}

func (s *sample) textRankOf(ext string) int {
	if c := s.o.TextColumn; c != "" {
		if strings.EqualFold(c, ext) {
			return 0
		}
		return -1
	}
	return slices.Index(textExts, ext)
}

// add takes one more file. Errors are those of content.
func (s *sample) add(p part) error {
	if len(s.exts) < maxMembers {
		s.exts[p.ext] = true
	}
	if rank := s.imageRank(p.ext); rank >= 0 {
		return s.addImage(p, rank)
	}
	rank := s.textRankOf(p.ext)
	if rank < 0 && p.ext != "json" {
		return s.addOther(p)
	}
	limit := int64(maxTextBytes)
	if rank < 0 {
		limit = maxJSONBytes
	}
	if p.missing != "" {
		s.fault(fault(schemas.UnreadableSource, "%s is a %s", p.name, p.missing))
		return nil
	}
	if p.size > limit {
		s.fault(fault(schemas.TooLarge, "%s is %d bytes, more than %d", p.name, p.size, limit))
		return nil
	}
	data, err := p.content()
	if err != nil {
		return err
	}
	if rank < 0 {
		m, bad := decodeSidecar(p.name, data)
		s.fault(bad)
		s.hasJSON = bad == nil
		for _, k := range slices.Sorted(maps.Keys(m)) {
			s.meta.set(k, m[k])
		}
		return nil
	}
	text, bad := decodeText(p.name, data)
	s.fault(bad)
	if bad == nil {
		switch {
		case s.text == nil:
			s.text, s.textRank = &text, rank
		case rank < s.textRank:
			s.meta.set(textExts[s.textRank], *s.text)
			s.text, s.textRank = &text, rank
		default:
			s.meta.set(p.ext, text)
		}
	}
	return nil
}

func (s *sample) addImage(p part, rank int) error {
	if rank == exactRanks {
		s.fallbacks = append(s.fallbacks[:min(len(s.fallbacks), 4)], p.ext)
	}
	if s.image != nil && s.image.rank <= rank {
		s.meta.skip(p.ext)
		return nil
	}
	if s.image != nil {
		s.meta.skip(s.image.ext)
	}
	s.image = &imagePart{ext: p.ext, rank: rank}
	switch {
	case p.missing != "":
		s.image.bad = fault(schemas.NoImage, "%s is a %s", p.name, p.missing)
	case p.size == 0:
		s.image.bad = fault(schemas.NoImage, "%s has 0 bytes", p.name)
	case p.size > s.o.maxImageBytes():
		s.image.bad = fault(schemas.TooLarge, "%s is %d bytes, more than %d", p.name, p.size, s.o.maxImageBytes())
	default:
		if s.skip {
			return nil
		}
		data, err := p.content()
		if err != nil {
			return err
		}
		s.image.data = data
	}
	return nil
}

// addOther keeps small text files as metadata under their extension.
func (s *sample) addOther(p part) error {
	if p.missing != "" || p.size > maxFieldBytes || s.metaBytes+p.size > maxMetadataBytes {
		s.meta.skip(p.ext)
		return nil
	}
	data, err := p.content()
	if err != nil {
		return err
	}
	if !utf8.Valid(data) {
		s.meta.skip(p.ext)
		return nil
	}
	s.metaBytes += p.size
	if path.Ext("."+p.ext) == ".json" {
		if v, err := decodeJSON(data); err == nil {
			s.meta.set(p.ext, v)
			return nil
		}
	}
	s.meta.set(p.ext, strings.TrimRight(string(data), "\r\n"))
	return nil
}

func (s *sample) fault(f *Fault) {
	if s.bad == nil {
		s.bad = f
	}
}

// pair ends the sample. Several faults are reported as the first of: name, image, JSON or text, columns asked for.
func (s *sample) pair(source string, row int64) Pair {
	p := Pair{Key: cleanKey(s.stem), Source: source, Row: row, Offset: s.start}
	asked := s.bad
	if s.hasJSON || s.bad == nil {
		if c := s.o.KeyColumn; c != "" {
			if key, ok := s.meta.takeKey(c, nil); ok {
				p.Key = key
			} else if asked == nil {
				asked = fault(schemas.MissingColumn, "no JSON field %q with a key", c)
			}
		}
	}
	if c := s.o.TextColumn; c != "" && s.text == nil {
		if _, _, ok := s.meta.lookup(c, true); !ok && asked == nil {
			asked = fault(schemas.MissingColumn, "no .%s file and no JSON field %q", c, c)
		}
	}
	p.Text = s.meta.takeText(s.o.TextColumn, s.captions, s.text)
	switch {
	case s.unsafe != "":
		p.Reject = fault(schemas.UnsafeName, "member %q leaves its folder", s.unsafe)
	case s.image == nil && s.o.ImageColumn != "":
		p.Reject = fault(schemas.MissingColumn, "no .%s file in the sample", s.o.ImageColumn)
	case s.image == nil:
		p.Reject = fault(schemas.NoImage, "no image file in the sample")
	case s.image.rank == exactRanks && len(s.fallbacks) > 1:
		p.Reject = fault(schemas.NoImage, "no file is named exactly %s.jpg or alike, and several end so (%s): name one with the image column",
			s.stem, strings.Join(s.fallbacks, ", "))
	case s.image.bad != nil:
		p.Reject = s.image.bad
	default:
		p.Reject = asked
	}
	if p.Reject == nil {
		var err error
		if p.Metadata, err = s.meta.encode(); err != nil {
			p.Reject = fault(schemas.UnreadableSource, "metadata: %v", err)
		}
	}
	if p.Reject != nil {
		p.Text, p.Metadata = nil, ""
		return p
	}
	p.Image = s.image.data
	return p
}

// lost is the pair that stands for a sample and all after it in a damaged source.
func lost(source, key string, row int64, why error) Pair {
	at := int64(-1)
	var d *damage
	if errors.As(why, &d) {
		at = d.off
	}
	return Pair{Key: cleanKey(key), Source: source, Row: row, Offset: at,
		Reject: fault(schemas.UnreadableSource, "%s", fmt.Sprint(why))}
}
