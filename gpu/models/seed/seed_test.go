package seed_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"sower/gpu"
	"sower/gpu/checkpoint"
	"sower/gpu/models/seed"
)

// result is what must not depend on how images are batched.
type result struct {
	codes []uint16
	z     []float32
}

// embed computes n images in one pass, whatever batch Encode would choose.
func embed(t *testing.T, dev *gpu.Device, m *seed.Model, rgb []byte, n int) result {
	t.Helper()
	c := m.Config()
	r := result{make([]uint16, n*c.Queries), make([]float32, n*c.Queries*c.CodeWidth)}
	ids := make([]int32, n*c.Queries)
	p := dev.NewPass(gpu.Inference)
	z := m.Embed(p, p.Bytes(rgb, n, c.ImageSize, c.ImageSize, 3))
	p.ReadF32(z, r.z)
	p.ReadI32(m.Quantize(p, z), ids)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for i, id := range ids {
		r.codes[i] = uint16(id)
	}
	return r
}

// odd is a configuration whose sizes fit neither tiles nor vectors.
func odd() seed.Config {
	c := seed.Tiny()
	c.ImageSize, c.ViTWidth, c.ViTMLP, c.ViTDepth = 70, 68, 150, 2
	c.QFormerWidth, c.QFormerMLP, c.Codes = 52, 99, 301
	return c
}

// TestCodesDoNotDependOnTheBatch wants the same bits of z alone, in 7 and in 32, and with 1, 2 and 8 threads.
func TestCodesDoNotDependOnTheBatch(t *testing.T) {
	for name, c := range map[string]seed.Config{"tiny": seed.Tiny(), "odd": odd()} {
		t.Run(name, func(t *testing.T) { checkBatches(t, c, 32, []int{1, 7, 32}, []int{1, 2, 8}) })
	}
}

// TestFullCodesDoNotDependOnTheBatch does so with a few images at the published size.
func TestFullCodesDoNotDependOnTheBatch(t *testing.T) {
	needsFull(t)
	c := seed.Published()
	c.ViTDepth, c.QFormerDepth = 2, 2 // the same shapes, sooner
	checkBatches(t, c, 3, []int{1, 3}, []int{1, 8})
}

func checkBatches(t *testing.T, c seed.Config, n int, batches, threads []int) {
	rgb := noise(c, n)
	var want result
	for _, count := range threads {
		dev := open(t, "cpu", gpu.Options{Threads: count})
		m := load(t, dev, seed.StandIn(c, 1), c, seed.Encode)
		if want.z == nil {
			want = embed(t, dev, m, rgb, n)
			if distinct(want.codes) < 8 {
				t.Fatalf("only %d codes differ: the test would not see much", distinct(want.codes))
			}
		}
		for _, b := range batches {
			for i := 0; i < n; i += b {
				k := min(b, n-i)
				got := embed(t, dev, m, rgb[i*c.ImageBytes():(i+k)*c.ImageBytes()], k)
				each := c.Queries * c.CodeWidth
				if !slices.Equal(bits(got.z), bits(want.z[i*each:(i+k)*each])) {
					t.Errorf("%d threads, batch %d, images from %d: other bits of z", count, b, i)
				}
				if !slices.Equal(got.codes, want.codes[i*c.Queries:(i+k)*c.Queries]) {
					t.Errorf("%d threads, batch %d, images from %d: other codes", count, b, i)
				}
			}
		}
		codes, finite := make([]uint16, n*c.Queries), make([]bool, n)
		if err := m.Encode(rgb, n, codes, finite); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(codes, want.codes) {
			t.Errorf("%d threads: Encode gives other codes", count)
		}
	}
}

func distinct(codes []uint16) int {
	seen := map[uint16]bool{}
	for _, c := range codes {
		seen[c] = true
	}
	return len(seen)
}

// TestConcurrentCallers encodes from many goroutines at once.
func TestConcurrentCallers(t *testing.T) {
	c := seed.Tiny()
	dev := open(t, "cpu", gpu.Options{Threads: 2})
	m := load(t, dev, seed.StandIn(c, 1), c, seed.Encode|seed.Detokenize)
	const n = 6
	rgb := noise(c, n)
	run := func() ([]uint16, []float32) {
		codes, finite, out := make([]uint16, n*c.Queries), make([]bool, n), make([]float32, n*c.ImageEmbed)
		if err := m.Encode(rgb, n, codes, finite); err != nil {
			t.Error(err)
		}
		if err := m.Detokenize(codes, n, out); err != nil {
			t.Error(err)
		}
		return codes, out
	}
	codes, out := run()
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for range 3 {
				gotCodes, gotOut := run()
				if !slices.Equal(gotCodes, codes) || !slices.Equal(bits(gotOut), bits(out)) {
					t.Error("another caller's work shows in the results")
				}
			}
		})
	}
	callers.Wait()
	if allocs := testing.AllocsPerRun(5, func() { _ = m.Encode(rgb[:c.ImageBytes()], 1, codes[:c.Queries], make([]bool, 1)) }); allocs > 3 { // the flags, and two steps of Layers
		t.Errorf("Encode allocates %v times in the steady state", allocs)
	}
}

// edited is a Source with some things changed.
type edited struct {
	checkpoint.Source
	shapes map[string][]int // nil: the tensor is missing
	value  map[string]float32
}

func (e edited) Find(name string) (checkpoint.Info, bool) {
	info, ok := e.Source.Find(name)
	if shape, changed := e.shapes[name]; changed {
		info.Shape = shape
		return info, ok && shape != nil
	}
	return info, ok
}

func (e edited) Read(name string, offset int, dst []float32) error {
	err := e.Source.Read(name, offset, dst)
	if v, changed := e.value[name]; changed && offset == 0 {
		dst[0] = v
	}
	return err
}

func TestLoadNamesEverythingWrong(t *testing.T) {
	c := seed.Tiny()
	src := edited{Source: seed.StandIn(c, 0), shapes: map[string][]int{
		"visual_encoder.blocks.2.attn.qkv.weight": {192, 60},
		"visual_encoder.blocks.1.attn.v_bias":     nil,
		"visual_encoder.pos_embed":                {1, 26, c.ViTWidth},
		"quantize.embedding.weight":               nil,
		"blocks_image.1.mlp.fc2.bias":             {7},
		"pos_embed":                               nil, // of no use here
	}}
	_, err := seed.Load(open(t, "cpu", gpu.Options{}), src, c, seed.Encode|seed.Detokenize)
	if err == nil {
		t.Fatal("loaded")
	}
	for _, want := range []string{
		`load "visual_encoder.blocks.2.attn.qkv.weight": shape [192 60], want [192 64]`,
		`load "visual_encoder.blocks.1.attn.v_bias": the checkpoint has no such tensor`,
		`load "visual_encoder.pos_embed": a table of 26 positions, want 17, for the class token and 16 patches of an image of 56`,
		`load "quantize.embedding.weight": the checkpoint has no such tensor`,
		`load "blocks_image.1.mlp.fc2.bias": shape [7], want [48]`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q:\n%v", want, err)
		}
	}
	if n := strings.Count(err.Error(), "\n"); n > 5 {
		t.Errorf("the error has %d lines:\n%v", n+1, err)
	}
	src.shapes = map[string][]int{"distill_image_proj.bias": nil, "pos_embed": nil}
	load(t, open(t, "cpu", gpu.Options{}), src, c, seed.Encode) // the encoder alone does not need it
}

// TestNotFinite gives one weight a value that only bright images carry over the end of float32: those are flagged, and
// their neighbours do not notice.
func TestNotFinite(t *testing.T) {
	c := seed.Tiny()
	m := load(t, open(t, "cpu", gpu.Options{}), edited{Source: seed.StandIn(c, 0),
		value: map[string]float32{"visual_encoder.patch_embed.proj.weight": 3e38}}, c, seed.Encode)
	const n = 3
	rgb := make([]byte, n*c.ImageBytes())
	for i, brightness := range []byte{120, 255, 120} {
		for j := range c.ImageBytes() {
			rgb[i*c.ImageBytes()+j] = brightness
		}
	}
	codes, finite := make([]uint16, n*c.Queries), make([]bool, n)
	for i := range codes {
		codes[i] = 9
	}
	if err := m.Encode(rgb, n, codes, finite); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(finite, []bool{true, false, true}) {
		t.Errorf("finite is %v, want the second to be false", finite)
	}
	first, second, third := codes[:c.Queries], codes[c.Queries:2*c.Queries], codes[2*c.Queries:]
	if distinct(second) != 1 || second[0] != 0 {
		t.Errorf("codes of the image that is not finite are %v, want zeros", second)
	}
	if !slices.Equal(first, third) || distinct(first) < 2 {
		t.Errorf("equal images have codes %v and %v", first, third)
	}
}

func TestCallErrors(t *testing.T) {
	c := seed.Tiny()
	m := load(t, open(t, "cpu", gpu.Options{}), seed.StandIn(c, 0), c, seed.Detokenize)
	codes := make([]uint16, 2*c.Queries)
	codes[c.Queries+3] = uint16(c.Codes)
	for want, err := range map[string]error{
		"seed: encode: the model was loaded without its encoder":               m.Encode(nil, 0, nil, nil),
		"seed: detokenize: code 3 of image 1 is 512, want less than 512":       m.Detokenize(codes, 2, make([]float32, 2*c.ImageEmbed)),
		"seed: detokenize 2 images: 64 codes and room for 1 values, want 64 a": m.Detokenize(codes, 2, make([]float32, 1)),
	} {
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error is %v, want %q…", err, want)
		}
	}
	if _, err := seed.Load(open(t, "cpu", gpu.Options{}), seed.StandIn(c, 0), c, 0); err == nil {
		t.Error("loaded no parts")
	}
}

func TestValidate(t *testing.T) {
	for name, change := range map[string]func(*seed.Config){
		"vit_width is 66, want a multiple of vit_heads, 4":         func(c *seed.Config) { c.ViTWidth = 66 },
		"qformer_width is 50, want a multiple of decode_heads, 4":  func(c *seed.Config) { c.QFormerWidth = 50 },
		"image_size is 57, want a multiple of patch_size, 14":      func(c *seed.Config) { c.ImageSize = 57 },
		"codes is 65537, want at most 65536":                       func(c *seed.Config) { c.Codes = 65537 },
		"cross_every is 0, want 1 or more":                         func(c *seed.Config) { c.CrossEvery = 0 },
		"queries is -3, want 1 or more\nseed: config: codes is 0,": func(c *seed.Config) { c.Queries, c.Codes = -3, 0 },
	} {
		c := seed.Tiny()
		change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "seed: config: "+name) {
			t.Errorf("error is %v, want %q", err, name)
		}
	}
	for _, c := range []seed.Config{seed.Published(), seed.Tiny()} {
		if err := c.Validate(); err != nil {
			t.Error(err)
		}
	}
	if c, err := seed.ParseConfig([]byte(`{"vit_depth": 7, "model_type": "seed"}`)); err != nil || c.ViTDepth != 7 || c.ViTWidth != 1408 {
		t.Errorf("a config of one size is %+v, %v", c, err)
	}
}

// TestParams counts what the published files hold: 881 tensors but one integer buffer, 1,149,998,528 numbers, of them
// 985,894,528 in 511 tensors of the vision transformer.
func TestParams(t *testing.T) {
	c := seed.Published()
	count, total, vit, vitTotal := 0, 0, 0, 0
	names := map[string]bool{}
	for _, p := range c.Params() {
		n := checkpoint.Info{Shape: p.Shape}.Len()
		count++
		total += n
		if strings.HasPrefix(p.Name, "visual_encoder.") {
			vit++
			vitTotal += n
		}
		if names[p.Name] {
			t.Errorf("%s is listed twice", p.Name)
		}
		names[p.Name] = true
	}
	if count != 880 || total != 1149998528 || vit != 511 || vitTotal != 985894528 {
		t.Errorf("%d tensors of %d numbers, %d of %d in the vision transformer", count, total, vit, vitTotal)
	}
	for _, p := range append(c.Encoder(), c.Detokenizer()...) {
		if !names[p.Name] {
			t.Errorf("%s is used but not listed", p.Name)
		}
	}
	_, tinyConfig, src := tiny(t)
	for _, p := range tinyConfig.Params() {
		if info, ok := src.Find(p.Name); !ok || !slices.Equal(info.Shape, p.Shape) {
			t.Errorf("the fixture has %v, want %s %v", info, p.Name, p.Shape)
		}
	}
	if got, want := fmt.Sprint(tinyConfig), fmt.Sprint(seed.Tiny()); got != want {
		t.Errorf("the fixture's sizes are %s, those of Tiny %s", got, want)
	}
}

// TestCausal changes the last query: of a causal model no other embedding changes, of a bidirectional one all do.
func TestCausal(t *testing.T) {
	for _, both := range []bool{false, true} {
		c := seed.Tiny()
		c.Bidirectional = both
		dev := open(t, "cpu", gpu.Options{})
		causal := func(src checkpoint.Source) []float32 {
			m := load(t, dev, src, c, seed.Encode)
			p := dev.NewPass(gpu.Inference)
			h := m.CausalQueries(p, m.Vision(p, p.Bytes(noise(c, 1), 1, c.ImageSize, c.ImageSize, 3)))
			out := make([]float32, h.Len())
			p.ReadF32(h, out)
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			return out
		}
		src := seed.StandIn(c, 3)
		const name = "query_tokens"
		queries := make([]float32, c.Queries*c.QFormerWidth)
		if err := src.Read(name, 0, queries); err != nil {
			t.Fatal(err)
		}
		for i := range c.QFormerWidth {
			queries[(c.Queries-1)*c.QFormerWidth+i] += float32(i%5) - 2
		}
		changed, err := checkpoint.Values([]checkpoint.Info{{Name: name, Shape: []int{1, c.Queries, c.QFormerWidth}}}, [][]float32{queries})
		if err != nil {
			t.Fatal(err)
		}
		a, b := causal(src), causal(checkpoint.Union(checkpoint.Prefixed{Source: changed}, checkpoint.Prefixed{Source: src}))
		first := slices.Equal(a[:(c.Queries-1)*c.QFormerWidth], b[:(c.Queries-1)*c.QFormerWidth])
		last := slices.Equal(a[(c.Queries-1)*c.QFormerWidth:], b[(c.Queries-1)*c.QFormerWidth:])
		if first == both || last {
			t.Errorf("bidirectional %v: the others unchanged %v, the last unchanged %v", both, first, last)
		}
	}
}
