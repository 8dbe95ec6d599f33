package main

import (
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"
)

// gradients writes n PNG files of colour gradients.
func gradients(t *testing.T, n int) (files []string) {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		im := image.NewRGBA(image.Rect(0, 0, 40+i, 60))
		for p := range 60 * (40 + i) {
			x, y := p%(40+i), p/(40+i)
			im.Set(x, y, color.RGBA{uint8(x * 5), uint8(y * (3 + i)), uint8(x * y), 255})
		}
		name := filepath.Join(dir, string(rune('a'+i))+".png")
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := png.Encode(f, im); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		files = append(files, name)
	}
	return files
}

// agree of two back ends of one arithmetic finds every code equal, and counts add up whatever it compares.
func TestAgree(t *testing.T) {
	files := gradients(t, 3)
	out, _, code := sower(t, append([]string{"agree", "-m", "standin:tiny:0", "--a", "float32@cpu", "--b", "float32@plain", "--json"}, files...)...)
	var a agreement
	if err := json.Unmarshal([]byte(out), &a); err != nil || code != exitOK {
		t.Fatalf("exit %d, %v\n%s", code, err, out)
	}
	if len(a.Images) != 3 || a.Codes != 3*len(a.Positions) || a.Equal != a.Codes {
		t.Errorf("%+v", a)
	}
	r := &agreement{Images: []imageAgreed{{First: -1}, {First: -1}}}
	r.compare([]uint16{1, 2, 3, 4, 5, 6}, []uint16{1, 2, 9, 4, 8, 6}, 3)
	if r.Equal != 4 || r.Images[0].First != 2 || r.Images[1].First != 1 || r.Images[1].Equal != 2 || r.Positions[0] != 2 || r.Positions[1] != 1 || r.Positions[2] != 1 {
		t.Errorf("%+v", r)
	}
}
