package pixels

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func picture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "pictures", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseFilter(t *testing.T) {
	for _, s := range []string{"bicubic", "bilinear"} {
		if f, err := ParseFilter(s); err != nil || string(f) != s {
			t.Errorf("ParseFilter(%q) = %q, %v", s, f, err)
		}
	}
	if _, err := ParseFilter("lanczos"); err == nil {
		t.Error("lanczos was accepted")
	}
}

func TestSniff(t *testing.T) {
	for _, c := range []struct {
		file string
		want Header
	}{
		{"q75.jpg", Header{"jpeg", 61, 47}},
		{"png_up.png", Header{"png", 31, 40}},
		{"webp_q80.webp", Header{"webp", 61, 47}},
		{"webp_anim_offset.webp", Header{"webp", 40, 31}},
		{"bmp_24.bmp", Header{"bmp", 37, 21}},
		{"gif_no_trailer.gif", Header{"gif", 40, 30}},
		{"huge_declared.jpg", Header{"jpeg", 65535, 65535}},
	} {
		h, err := Sniff(picture(t, c.file))
		if err != nil || h != c.want {
			t.Errorf("%s: %v, %v; want %v", c.file, h, err, c.want)
		}
	}
}

// TestLimits checks that sizes over the limit are refused before memory is taken for them.
func TestLimits(t *testing.T) {
	huge := picture(t, "huge_declared.jpg")
	png := picture(t, "png_up.png")
	bigPNG := bytes.Clone(png)
	// A huge PNG header needs its checksum right; width and height 2^30.
	copy(bigPNG[16:], []byte{0x40, 0, 0, 0, 0x40, 0, 0, 0})
	fixCRC(bigPNG[12:33])
	gif := bytes.Clone(picture(t, "gif_no_trailer.gif"))
	copy(gif[6:], []byte{0xff, 0xff, 0xff, 0xff})
	bmp := bytes.Clone(picture(t, "bmp_24.bmp"))
	copy(bmp[18:], []byte{0, 0, 0, 0x10, 0, 0, 0, 0x10})
	webp := bytes.Clone(picture(t, "webp_anim_offset.webp"))
	copy(webp[24:], []byte{0xff, 0xff, 0x7f, 0xff, 0xff, 0x7f})
	for name, data := range map[string][]byte{"jpeg": huge, "png": bigPNG, "gif": gif, "bmp": bmp, "webp": webp} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(data, Limits{})
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: error %v, want ErrTooLarge", name, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: %d bytes were allocated", name, n)
		}
	}
	if _, err := Decode(picture(t, "q75.jpg"), Limits{MaxPixels: 61*47 - 1}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("MaxPixels: %v", err)
	}
	if _, err := Decode(picture(t, "q75.jpg"), Limits{MaxPixels: 61 * 47}); err != nil {
		t.Errorf("MaxPixels at the limit: %v", err)
	}
	if _, err := Decode(picture(t, "q75.jpg"), Limits{MaxBytes: 100}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("MaxBytes: %v", err)
	}
}

// TestPrepareReuse runs pictures of many sizes and kinds through the same pooled memory and
// compares with Decode and Resize.
func TestPrepareReuse(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "pictures", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 7, 64} {
		dst := make([]byte, 3*size*size)
		for i := len(files) - 1; i >= 0; i-- {
			data, err := os.ReadFile(files[i])
			if err != nil {
				t.Fatal(err)
			}
			im, err := Decode(data, Limits{})
			w, h, perr := Prepare(dst, data, size, Bicubic, Limits{})
			if (err == nil) != (perr == nil) || err != nil && err.Error() != perr.Error() {
				t.Fatalf("%s: decode says %v, prepare %v", files[i], err, perr)
			}
			if err != nil {
				continue
			}
			if w != im.Width || h != im.Height || !bytes.Equal(dst, Resize(im, size, size, Bicubic).Pix) {
				t.Errorf("%s: prepare differs from decode and resize", files[i])
			}
		}
	}
}

// TestPrepareParallel runs the pool from several goroutines; the race detector has work here.
func TestPrepareParallel(t *testing.T) {
	r := readReference(t, filepath.Join("testdata", "expected.json"))
	for _, name := range []string{"s420_prog.jpg", "bench_444_q95.jpg", "png_c6_d8.png", "webp_q80.webp", "gif_2.gif", "bmp_8.bmp", "truncated_half.jpg"} {
		data, want := picture(t, name), r.Files[name].Resize["bicubic 56"]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dst := make([]byte, 3*56*56)
			for range 20 {
				_, _, err := Prepare(dst, data, 56, Bicubic, Limits{})
				if (err == nil) != (want != "") || err == nil && digest(dst) != want {
					t.Fatalf("differs from the reference (error %v)", err)
				}
			}
		})
	}
}

// TestPrepareAllocations checks that a loop over pictures reuses its memory.
func TestPrepareAllocations(t *testing.T) {
	data, dst := picture(t, "bench_420_q75.jpg"), make([]byte, 3*224*224)
	n := testing.AllocsPerRun(20, func() {
		if _, _, err := Prepare(dst, data, 224, Bicubic, Limits{}); err != nil {
			t.Fatal(err)
		}
	})
	if n > 8 {
		t.Errorf("%v allocations per picture", n)
	}
}

// TestTruncations cuts files of each format at many places: an error of a known kind or a picture
// of the right size must come out.
func TestTruncations(t *testing.T) {
	for _, name := range []string{"q75.jpg", "s420_prog.jpg", "restart_1_2x2_prog.jpg", "png_c2_d8_adam7.png", "webp_q40.webp", "webp_lossless.webp", "gif_3.gif", "bmp_rle4.bmp", "bmp_8.bmp"} {
		data := picture(t, name)
		full, err := Decode(data, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; n < len(data); n += 1 + n/40 {
			im, err := Decode(data[:n], Limits{})
			if err == nil && (im.Width != full.Width || im.Height != full.Height) {
				t.Errorf("%s cut to %d: size %dx%d", name, n, im.Width, im.Height)
			}
			if err != nil && kindOf(err) == "" {
				t.Errorf("%s cut to %d: error of no kind: %v", name, n, err)
			}
		}
	}
}

// TestErrorKinds checks that every error of the committed set matches exactly one kind.
func TestErrorKinds(t *testing.T) {
	r := readReference(t, filepath.Join("testdata", "expected.json"))
	for name := range r.Files {
		_, err := Decode(picture(t, name), Limits{})
		if err == nil {
			continue
		}
		switch kindOf(err) {
		case "format", "corrupt", "truncated", "too large":
		default:
			t.Errorf("%s: %v matches %q", name, err, kindOf(err))
		}
	}
}

// FuzzDecode looks for panics, endless loops and pictures that contradict their header.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "pictures", "*"))
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		if len(data) < 4000 {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		im, err := Decode(data, Limits{MaxPixels: 1 << 18})
		if err != nil {
			if kindOf(err) == "" {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		if len(im.Pix) != 3*im.Width*im.Height {
			t.Fatalf("%d bytes for %dx%d", len(im.Pix), im.Width, im.Height)
		}
		h, err := Sniff(data)
		if err != nil || h.Width != im.Width || h.Height != im.Height {
			t.Fatalf("sniff %v, %v; decoded %dx%d", h, err, im.Width, im.Height)
		}
	})
}
