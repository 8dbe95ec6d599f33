package pixels

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

// reference is testdata/expected.json, which testdata/make_reference.py writes.
type reference struct {
	Pillow string              `json:"pillow"`
	Files  map[string]expected `json:"files"`
}

type expected struct {
	Size   [2]int            `json:"size"`
	RGB    string            `json:"rgb"`
	Resize map[string]string `json:"resize"`
	Error  string            `json:"error"`
	Kind   string            `json:"kind"`
}

func readReference(t testing.TB, path string) reference {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r reference
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func digest(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}

// kindOf names the one sentinel that err matches.
func kindOf(err error) string {
	kinds := map[string]error{"format": ErrFormat, "corrupt": ErrCorrupt, "truncated": ErrTruncated, "too large": ErrTooLarge}
	found := ""
	for name, e := range kinds {
		if errors.Is(err, e) {
			found += name
		}
	}
	return found
}

// stricter lists committed files that Pillow opens and this package refuses, with the reason.
var stricter = map[string]string{
	"arithmetic.jpg": "arithmetic coding is not read",
}

// check compares one file with the reference and returns what differs.
func check(data []byte, want expected) error {
	im, err := Decode(data, Limits{})
	if want.Error != "" {
		switch {
		case err == nil:
			return fmt.Errorf("decoded, the reference says %q", want.Error)
		case want.Kind != "" && kindOf(err) != want.Kind:
			return fmt.Errorf("error %q, want kind %q", err, want.Kind)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	if h, err := Sniff(data); err != nil || h.Width != im.Width || h.Height != im.Height || h.Format != im.Format {
		return fmt.Errorf("sniff: %v %v, decode says %s %dx%d", h, err, im.Format, im.Width, im.Height)
	}
	if im.Width != want.Size[0] || im.Height != want.Size[1] {
		return fmt.Errorf("size: %dx%d, want %v", im.Width, im.Height, want.Size)
	}
	if digest(im.Pix) != want.RGB {
		return fmt.Errorf("stage decode: pixels differ")
	}
	for key, sum := range want.Resize {
		name, dims, _ := strings.Cut(key, " ")
		var w, h int
		if n, _ := fmt.Sscanf(dims, "%dx%d", &w, &h); n == 1 {
			h = w
		}
		if digest(Resize(im, w, h, Filter(name)).Pix) != sum {
			return fmt.Errorf("stage resize %s: pixels differ", key)
		}
		if w == h {
			dst := make([]byte, 3*w*h)
			if _, _, err := Prepare(dst, data, w, Filter(name), Limits{}); err != nil || digest(dst) != sum {
				return fmt.Errorf("stage prepare %s: pixels differ (error %v)", key, err)
			}
		}
	}
	return nil
}

// TestReference compares every committed picture with what Pillow made of it, stage by stage.
func TestReference(t *testing.T) {
	r := readReference(t, filepath.Join("testdata", "expected.json"))
	t.Logf("reference: Pillow %s, %d files", r.Pillow, len(r.Files))
	for name, want := range r.Files {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join("testdata", "pictures", name))
			if err != nil {
				t.Fatal(err)
			}
			err = check(data, want)
			if why, ok := stricter[name]; ok {
				if err == nil {
					t.Errorf("agrees with the reference now; drop it from the list (%s)", why)
				}
				return
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// TestReferenceDir compares a folder that make_reference.py --random wrote and reports counts.
// It is for authoring; CI has no such folder.
func TestReferenceDir(t *testing.T) {
	dir := os.Getenv("PIXELS_REFERENCE")
	if dir == "" {
		t.Skip("PIXELS_REFERENCE names no folder")
	}
	r := readReference(t, filepath.Join(dir, "expected.json"))
	names := make([]string, 0, len(r.Files))
	for n := range r.Files {
		names = append(names, n)
	}
	sort.Strings(names)
	good, bad := map[string]int{}, map[string]int{}
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		class := name[:1] + filepath.Ext(name)
		if r.Files[name].Error != "" {
			class += " refused"
		}
		if err := check(data, r.Files[name]); err != nil {
			bad[class]++
			if bad[class] <= 12 {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		good[class]++
	}
	t.Logf("agree: %v; differ: %v", good, bad)
}
