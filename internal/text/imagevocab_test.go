package text

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sower/internal/golden"
)

func TestExtend(t *testing.T) {
	root := golden.Fixtures(t, "tokenizers")
	for _, c := range []struct {
		path, rules string
		k           int
		offset      int32
		own         bool
	}{
		{"bytes", "", 512, 259, false},
		{"bytes", "", 1 << 16, 259, false},
		{filepath.Join(root, "opt-bpe"), "hf", 512, 1000, true},
		{filepath.Join(root, "llama-bpe"), "seed", 512, 1000, true},
		{filepath.Join(root, "llama-bpe", "tokenizer.model"), "", 8192, 1000, false},
		{filepath.Join(root, "bert-wordpiece"), "", 512, 788, false},
	} {
		l := open(t, c.path, c.rules)
		m, err := Extend(l, c.k)
		if err != nil {
			t.Fatal(err)
		}
		if m.Offset != c.offset || m.Begin != c.offset+int32(c.k) || m.End != m.Begin+1 || !m.Contiguous() || m.Vocab().Size != int(m.End)+1 {
			t.Errorf("%s: offset %d, begin %d, end %d, size %d", c.path, m.Offset, m.Begin, m.End, m.Vocab().Size)
		}
		if same := m.Vocab().Digest == l.Vocab().Digest; same != c.own {
			t.Errorf("%s: digest the same: %v", c.path, same)
		}
		codes := make([]uint16, ImageCodes)
		for i := range codes {
			codes[i] = uint16(i * (c.k - 1) / (ImageCodes - 1))
		}
		ids, err := m.AppendImage(nil, codes)
		if err != nil || len(ids) != ImageBlock || ids[0] != m.Begin || ids[33] != m.End {
			t.Fatalf("%v, %v", ids, err)
		}
		text := imageBegin
		for i, id := range ids[1:33] {
			code, ok := m.ImageCode(id)
			if name, _ := m.Token(id); !ok || code != int(codes[i]) || name != imageToken(code) || m.ImageID(code) != id {
				t.Errorf("id %d: code %d, token %q", id, code, name)
			}
			text += imageToken(code)
		}
		if got := m.Encode(nil, text+imageEnd); !slices.Equal(got, ids) {
			t.Errorf("%s: as text: %v, want %v", c.path, got, ids)
		}
		if _, err := m.AppendImage(nil, codes[:31]); err == nil {
			t.Error("31 codes: no error")
		}
		if codes[3] = uint16(c.k); c.k < 1<<16 {
			if got, err := m.AppendImage(ids[:1], codes); err == nil || len(got) != 1 {
				t.Errorf("code %d of %d: %v", codes[3], c.k, err)
			}
		}
		if _, ok := m.ImageCode(m.Begin); ok {
			t.Error("<img> is no code")
		}
	}
}

// withTokens is a tokenizer that has some tokens at given ids.
type withTokens struct {
	Tokenizer
	ids map[string]int32
}

func (w withTokens) ID(token string) (int32, bool) { id, ok := w.ids[token]; return id, ok }

func TestExtendOwnIDs(t *testing.T) {
	ids := map[string]int32{"<img_00000>": 50, "<img_00001>": 9, "<img_00002>": 51, "<img>": 7, "</img>": 60}
	m, err := Extend(withTokens{Bytes(), ids}, 3)
	if err != nil {
		t.Fatal(err)
	}
	if m.Contiguous() || m.ImageID(1) != 9 || m.Begin != 7 || m.End != 60 {
		t.Errorf("%+v", m)
	}
	if code, ok := m.ImageCode(51); !ok || code != 2 {
		t.Errorf("code %d, %v", code, ok)
	}
	delete(ids, "<img_00001>")
	if _, err := Extend(withTokens{Bytes(), ids}, 3); err == nil || !strings.Contains(err.Error(), `"<img_00001>" is missing`) {
		t.Error(err)
	}
	for _, k := range []int{0, -1, 1<<16 + 1} {
		if _, err := Extend(Bytes(), k); err == nil {
			t.Errorf("%d codes: no error", k)
		}
	}
}
