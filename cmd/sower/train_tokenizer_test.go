package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"image"
	"image/png"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/internal/demo"
	"sower/internal/golden"
	"sower/internal/trainer"
	"sower/internal/weights"
)

// littleRecipe trains in a second what can hardly tell a picture from another, by every step of the way.
const littleRecipe = `{
  "model": {"image_size": 32, "patch_size": 8, "vit_width": 32, "vit_depth": 2, "vit_heads": 2, "vit_mlp": 64, "queries": 32, "qformer_width": 32, "qformer_depth": 2,
    "qformer_heads": 2, "qformer_mlp": 64, "cross_every": 2, "codes": 64, "code_width": 8, "decode_depth": 1, "decode_heads": 2, "decode_mlp": 64, "image_embed": 16,
    "text": {"vocab": 1, "positions": 16, "embed": 16}, "painter": {"depth": 1, "coarse": 8}},
  "source": 40, "vocabulary": {"min_count": 2, "drop_unknown": true}, "augment": {"min_area": 0.5, "ratio": 1.3333, "flip": true, "word_drop": 0.3},
  "first": {"steps": 16, "steps_per_round": 4, "batch": 16, "rate": 1e-3, "warmup": 3, "schedule": "steps", "beta1": 0.9, "beta2": 0.98, "decay": 0.05, "clip": 1,
    "smoothing": 0.1, "picture": 20, "vit": true, "alone": 6, "pictures": 8, "temp": 0.07, "temp_min": 0.02, "temp_max": 0.5},
  "second": {"steps": 16, "steps_per_round": 8, "batch": 16, "rate": 1e-3, "warmup": 3, "schedule": "steps", "beta1": 0.9, "beta2": 0.98, "decay": 0, "clip": 1,
    "commit": 0.25, "vq": 5, "rec": 2, "image": 0.5, "picture": 20, "codebook": "data", "restart": 4, "until": 0.8},
  "shuffle_bytes": 1000000000, "seed": 3}`

// clipArt writes the bundled pictures and a recipe, and returns their folder.
func clipArt(t testing.TB, recipe string) string {
	t.Helper()
	dir := t.TempDir()
	b, err := blob.OpenBucket(t.Context(), filepath.Join(dir, "in"))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := demo.Write(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, "recipe.json", []byte(recipe))
	return dir
}

func trainArgs(dir, out string, more ...string) []string {
	return append([]string{"train-tokenizer", "-q", "-i", filepath.Join(dir, "in", "*.tar"), "-c", filepath.Join(dir, "recipe.json"), "-o", out}, more...)
}

// modelHashes are those of the files that a run is for.
func modelHashes(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := hashes(t, dir)
	for name := range all {
		if strings.HasSuffix(name, "commit.json") || name == "run.json" || name == "README.md" {
			delete(all, name) // they have times, and how the run was cut
		}
	}
	return all
}

// TestTrainTokenizer trains twice, once on one thread: the same bytes. Another seed, or another cut into rounds, is another run.
func TestTrainTokenizer(t *testing.T) {
	dir := clipArt(t, littleRecipe)
	a, b, c := filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c")
	must(t, trainArgs(dir, a)...)
	must(t, trainArgs(dir, b, "--threads", "1", "--parallelism", "1")...)
	same(t, "again", modelHashes(t, b), modelHashes(t, a))
	must(t, trainArgs(dir, c, "--seed", "4")...)
	if x, y := hashes(t, a)["model.safetensors"], hashes(t, c)["model.safetensors"]; x == y || x == "" {
		t.Error("another seed gives the same model")
	}
	if text := must(t, trainArgs(dir, a)...); !strings.Contains(text, "finished already") {
		t.Errorf("a finished run says\n%s", text)
	}
	if _, stderr, code := sower(t, trainArgs(dir, a, "--seed", "9")...); code != exitRefused || !strings.Contains(stderr, "recipe") {
		t.Errorf("another seed into the same folder: %d %s", code, stderr)
	}
	// Rounds of another length are the same training.
	writeFile(t, dir, "recipe.json", []byte(strings.Replace(strings.Replace(littleRecipe, `"steps_per_round": 4`, `"steps_per_round": 16`, 1), `"steps_per_round": 8`, `"steps_per_round": 4`, 1)))
	d := filepath.Join(dir, "d")
	must(t, trainArgs(dir, d)...)
	for _, name := range []string{"model.safetensors", "text.safetensors", "vocab.txt", "config.json"} {
		if x, y := hashes(t, a)[name], hashes(t, d)[name]; x != y || x == "" {
			t.Errorf("%s depends on how the run is cut into rounds", name)
		}
	}
	// The folder is a model like any other.
	out := filepath.Join(dir, "corpus")
	must(t, "encode", "-q", "-i", filepath.Join(dir, "in"), "-o", out, "-m", a)
	if m := readManifest(t, out); m.Counts.Encoded != 64 || m.Identity.Codes != 64 {
		t.Errorf("%+v", m.Counts)
	}
	checkEvaluation(t, dir, a)
	for _, folder := range []string{a, filepath.Join(a, "prepared"), filepath.Join(dir, "evaluation")} {
		must(t, "validate", folder)
		must(t, "inspect", folder)
	}
	if text := must(t, "inspect", a); !strings.Contains(text, "second stage, 16 steps") {
		t.Errorf("%s", text)
	}
	// Converted, it is the same model, with its text tower and words.
	converted := filepath.Join(dir, "converted")
	must(t, "model", "convert", a, converted)
	for _, name := range []string{"model.safetensors", "text.safetensors", "vocab.txt", "config.json"} {
		if x, y := hashes(t, a)[name], hashes(t, converted)[name]; x != y {
			t.Errorf("%s is another one after conversion", name)
		}
	}
}

// TestFirstStage trains another second stage on a first one that is there: the bytes of a run that trained both.
func TestFirstStage(t *testing.T) {
	dir := clipArt(t, littleRecipe)
	a, both, adopted := filepath.Join(dir, "a"), filepath.Join(dir, "both"), filepath.Join(dir, "adopted")
	must(t, trainArgs(dir, a)...)
	writeFile(t, dir, "recipe.json", []byte(strings.Replace(littleRecipe, `"steps": 16, "steps_per_round": 8`, `"steps": 24, "steps_per_round": 8`, 1)))
	must(t, trainArgs(dir, both)...)
	must(t, trainArgs(dir, adopted, "--first-stage", a)...)
	same(t, "with the first stage of another run", modelHashes(t, adopted), modelHashes(t, both))
	if x, y := hashes(t, a)["model.safetensors"], hashes(t, both)["model.safetensors"]; x == y {
		t.Error("a longer second stage gives the same model")
	}
	must(t, trainArgs(dir, adopted, "--first-stage", a)...) // finished already
	for _, c := range []struct {
		name, want string
		args       []string
	}{
		{"another seed", "options.recipe.seed: 3 → 9", []string{"--first-stage", a, "--seed", "9"}},
		{"no such folder", "no such folder", []string{"--first-stage", filepath.Join(dir, "nothing")}},
		{"no first stage", "has no first stage", []string{"--first-stage", filepath.Join(dir, "in")}},
	} {
		if _, text, code := sower(t, trainArgs(dir, filepath.Join(dir, "refused"), append(c.args, "--overwrite")...)...); code != exitFailed || !strings.Contains(text, c.want) {
			t.Errorf("%s: exit code %d\n%s", c.name, code, text)
		}
	}
	// One whose last round is not there.
	if err := os.Remove(filepath.Join(a, "stage1", "rounds", "0003", "commit.json")); err != nil {
		t.Fatal(err)
	}
	if _, text, code := sower(t, trainArgs(dir, filepath.Join(dir, "refused"), "--first-stage", a, "--overwrite")...); code != exitFailed || !strings.Contains(text, "is not finished") {
		t.Errorf("an unfinished one: exit code %d\n%s", code, text)
	}
}

func checkEvaluation(t *testing.T, dir, model string) {
	var r struct {
		Images    int
		Retrieval struct {
			Gallery   int
			Embedding struct {
				ImageToText map[string]float64 `json:"image_to_text"`
			}
			Prefixes []map[string]float64
		}
		Usage          struct{ Used, Dead int }
		Reconstruction struct {
			Cosine     float64
			PSNR, SSIM *float64
		}
	}
	grid, page, kept := filepath.Join(dir, "grid.png"), filepath.Join(dir, "report.html"), filepath.Join(dir, "evaluation")
	text := must(t, "evaluate", "retrieval", "-q", "--json", "-i", filepath.Join(dir, "in"), "-m", model, "--min-words", "1", "--picture", grid, "--page", page, "-o", kept)
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	if r.Images != 64 || r.Retrieval.Gallery < 10 || r.Usage.Used+r.Usage.Dead != 64 || len(r.Retrieval.Prefixes) != 7 || r.Reconstruction.PSNR == nil || r.Retrieval.Embedding.ImageToText["at_10"] <= 0 {
		t.Errorf("%s", text)
	}
	raw, err := os.ReadFile(grid)
	if err != nil {
		t.Fatal(err)
	}
	if im, err := png.Decode(bytes.NewReader(raw)); err != nil || im.Bounds().Dx() != 16*34-2 || im.Bounds().Dy() != 3*2*34-2 {
		t.Errorf("grid: %v", err)
	}
	html, err := os.ReadFile(page)
	if err != nil || !bytes.Contains(html, []byte("<svg")) || !bytes.Contains(html, []byte("data:image/png;base64,")) {
		t.Errorf("page of %d bytes, %v", len(html), err)
	}
	for _, name := range []string{"report.json", "report.html", "_manifest.json", "README.md"} {
		if _, err := os.Stat(filepath.Join(kept, name)); err != nil {
			t.Error(err)
		}
	}
	if _, stderr, code := sower(t, "evaluate", "retrieval", "-q", "-i", filepath.Join(dir, "in"), "-m", tiny); code != exitFailed || !strings.Contains(stderr, "text tower") {
		t.Errorf("a model without a text tower: %d %s", code, stderr)
	}
	if text := must(t, "evaluate", "codes", "-q", "-i", filepath.Join(dir, "in"), "-m", tiny); !strings.Contains(text, "perplexity") {
		t.Errorf("%s", text)
	}
}

// TestTeacher learns the embeddings of a folder: other ones than those of the first stage, the same whenever it is done, and all of them.
func TestTeacher(t *testing.T) {
	dir := clipArt(t, littleRecipe)
	at := func(name string) string { return filepath.Join(dir, name) }
	must(t, trainArgs(dir, at("own"))...)
	must(t, "encode", "-q", "-i", at("in"), "-o", at("codes"), "-m", at("own"))
	must(t, "detokenize", "-q", "--codes", at("codes"), "-o", at("embeddings"), "-m", at("own"))
	must(t, trainArgs(dir, at("taught"), "--teacher", at("embeddings"))...)
	must(t, trainArgs(dir, at("again"), "--teacher", at("embeddings"), "--threads", "1")...)
	own, taught := modelHashes(t, at("own")), modelHashes(t, at("taught"))
	same(t, "again", modelHashes(t, at("again")), taught)
	if own["model.safetensors"] == taught["model.safetensors"] || own["text.safetensors"] != taught["text.safetensors"] {
		t.Error("a teacher must change the second stage, and nothing of the first")
	}
	// A part is missing, a folder has no tables, and embeddings are of another width.
	must(t, "encode", "-q", "-i", at("in/openclipart-00000.tar"), "-o", at("half"), "-m", "mini")
	must(t, "detokenize", "-q", "--codes", at("half"), "-o", at("wide"), "-m", "mini")
	must(t, "encode", "-q", "-i", at("in/openclipart-00000.tar"), "-o", at("fewer"), "-m", at("own"))
	must(t, "detokenize", "-q", "--codes", at("fewer"), "-o", at("less"), "-m", at("own"))
	for _, c := range []struct{ teacher, want string }{
		{"wide", "an embedding of 64 numbers"}, {"in", "no Parquet file"}, {"nowhere", "no such file"}, {"less", "no embedding of"}, {"codes", "an embedding of 0 numbers"},
	} {
		if _, stderr, code := sower(t, trainArgs(dir, at("bad-"+c.teacher), "--teacher", at(c.teacher))...); code == 0 || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit code %d: %s", c.teacher, code, stderr)
		}
		if _, err := os.Stat(at("bad-" + c.teacher + "/stage1")); err == nil {
			t.Errorf("%s: the first stage was trained before anybody looked", c.teacher)
		}
	}
	if _, stderr, code := sower(t, trainArgs(dir, at("taught"))...); code != exitRefused || !strings.Contains(stderr, "teacher") {
		t.Errorf("without its teacher into the same folder: exit code %d: %s", code, stderr)
	}
	writeFile(t, dir, "recipe.json", []byte(strings.Replace(littleRecipe, `"image_embed": 16`, `"image_embed": 24`, 1)))
	if _, stderr, code := sower(t, trainArgs(dir, at("none"))...); code != exitUsage || !strings.Contains(stderr, "give a --teacher") {
		t.Errorf("no teacher of that width: exit code %d: %s", code, stderr)
	}
}

// encodedPNG is a small picture.
func encodedPNG(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 48, 48))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestTrainValidation measures rounds on pairs that are not trained on, which changes nothing of the model. Its second stage draws half of each batch.
func TestTrainValidation(t *testing.T) {
	dir := clipArt(t, strings.Replace(littleRecipe, `"picture": 20, "codebook"`, `"picture": 20, "pictures": 8, "codebook"`, 1))
	at := func(name string) string { return filepath.Join(dir, name) }
	args := func(out string, more ...string) []string {
		return append([]string{"train-tokenizer", "-q", "-i", at("in/openclipart-00000.tar"), "-c", at("recipe.json"), "-o", at(out)}, more...)
	}
	held := []string{"--validation", at("in/openclipart-00001.tar"), "--validation-rows", "20", "--validate-every", "2"}
	must(t, args("alone")...)
	text := must(t, args("measured", held...)...)
	if !strings.Contains(text, "held out, 20 pairs: mean recall by embedding") {
		t.Errorf("%s", text)
	}
	must(t, args("again", append(held, "--threads", "1")...)...)
	same(t, "again", modelHashes(t, at("again")), modelHashes(t, at("measured")))
	for _, name := range []string{"model.safetensors", "text.safetensors", "vocab.txt"} {
		if hashes(t, at("alone"))[name] != hashes(t, at("measured"))[name] {
			t.Errorf("%s is another one when rounds are measured", name)
		}
	}
	// 4 rounds and 2 of them, every second is measured.
	b, err := blob.OpenBucket(t.Context(), at("measured"))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var steps []int64
	err = corpus.Read(t.Context(), b, trainer.MetricsFile, func(m trainer.Metric) error {
		if m.ValidationLoss == nil {
			return nil
		}
		steps = append(steps, m.Step.Step)
		if first := m.Stage == 1; *m.ValidationLoss <= 0 || *m.ValidationRecall < 0 || *m.ValidationRecall > 100 || first == (m.ValidationRecallCodes != nil) || first != (m.ValidationContrast != nil) {
			t.Errorf("%+v", m)
		}
		return nil
	})
	if err != nil || !slices.Equal(steps, []int64{7, 15, 15}) {
		t.Errorf("measured after steps %v, %v", steps, err)
	}
	if text := must(t, "inspect", at("measured")); !strings.Contains(text, "not trained on") {
		t.Errorf("%s", text)
	}
	if card, err := os.ReadFile(at("measured/README.md")); err != nil || !strings.Contains(string(card), "among 20 pairs not trained on") {
		t.Errorf("%s", card)
	}
	// Pictures without captions measure nothing, which is found before the first step.
	writeFile(t, at("bare"), "a.png", encodedPNG(t))
	bare := args("wordless", "--validation", at("bare"))
	if _, stderr, code := sower(t, bare...); code != exitFailed || !strings.Contains(stderr, "0 pairs with captions of known words") {
		t.Errorf("no captions: exit code %d: %s", code, stderr)
	}
	if _, err := os.Stat(at("wordless/stage1")); err == nil {
		t.Error("the first stage was begun before anybody looked")
	}
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{args("alone", held...), exitRefused, "validation"},
		{args("both", "--validation", at("in")), exitUsage, "openclipart-00000.tar is in --input and in --validation"},
		{args("few", "--validation", at("in/openclipart-00001.tar"), "--validation-rows", "1"), exitUsage, "--validation-rows 1"},
	} {
		if _, stderr, code := sower(t, c.args...); code != c.code || !strings.Contains(stderr, c.want) {
			t.Errorf("%v: exit code %d: %s", c.args, code, stderr)
		}
	}
}

// TestTrainTokenizerErrors names what is wrong, before anything is trained.
func TestTrainTokenizerErrors(t *testing.T) {
	dir := clipArt(t, littleRecipe)
	out := filepath.Join(dir, "out")
	for want, recipe := range map[string]string{
		"unknown field":              strings.Replace(littleRecipe, `"word_drop"`, `"word_dorp"`, 1),
		"vit_width":                  strings.Replace(littleRecipe, `"vit_width": 32`, `"vit_width": 33`, 1),
		"source 16":                  strings.Replace(littleRecipe, `"source": 40`, `"source": 16`, 1),
		"needs model.painter":        strings.Replace(littleRecipe, `, "painter": {"depth": 1, "coarse": 8}`, "", 1),
		"restart 5: want a divisor":  strings.Replace(littleRecipe, `"restart": 4`, `"restart": 5`, 1),
		`schedule "linear"`:          strings.Replace(littleRecipe, `"schedule": "steps"`, `"schedule": "linear"`, 1),
		"second: pictures 17":        strings.Replace(littleRecipe, `"picture": 20, "codebook"`, `"picture": 20, "pictures": 17, "codebook"`, 1),
		"temp 0.9 within":            strings.Replace(littleRecipe, `"temp": 0.07`, `"temp": 0.9`, 1),
		"--config: unexpected EOF":   "{",
		"no pretrained vision tower": strings.Replace(littleRecipe, `"vit": true, `, "", 1),
	} {
		writeFile(t, dir, "recipe.json", []byte(recipe))
		if _, stderr, code := sower(t, trainArgs(dir, out)...); code != exitUsage || !strings.Contains(stderr, want) {
			t.Errorf("want %q: %d %s", want, code, stderr)
		}
	}
	writeFile(t, dir, "recipe.json", []byte(strings.Replace(littleRecipe, `"batch": 16`, `"batch": 100`, 1)))
	if _, stderr, code := sower(t, trainArgs(dir, out)...); code != exitFailed || !strings.Contains(stderr, "a batch has 100") {
		t.Errorf("more pairs a batch than there are: %d %s", code, stderr)
	}
	if _, stderr, code := sower(t, trainArgs(dir, out, "--workers", "2")...); code != exitUsage || !strings.Contains(stderr, "restart") {
		t.Errorf("two workers that restart codes: %d %s", code, stderr)
	}
}

// TestTrainOnGivenVision trains with a vision transformer that is given, in its published form and alone, and stays as it is.
func TestTrainOnGivenVision(t *testing.T) {
	dir := clipArt(t, strings.NewReplacer(`"vit": true, `, "", `"image_size": 32, "patch_size": 8, "vit_width": 32, "vit_depth": 2, "vit_heads": 2, "vit_mlp": 64`,
		`"image_size": 56, "patch_size": 14, "vit_width": 64, "vit_depth": 3, "vit_heads": 4, "vit_mlp": 160`, `"source": 40`, `"source": 60`).Replace(littleRecipe))
	raw, err := os.ReadFile(filepath.Join(golden.Fixtures(t, "seed2-tiny"), "eva_vit_g.pth"))
	if err != nil {
		t.Fatal(err)
	}
	given, out := filepath.Join(dir, "vit"), filepath.Join(dir, "out")
	writeFile(t, given, "eva_vit_g.pth", raw)
	must(t, trainArgs(dir, out, "--init", given)...)
	m, err := weights.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	v, err := weights.OpenSome(given)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	const name = "visual_encoder.blocks.1.mlp.fc1.weight"
	a, b := make([]float32, 64*160), make([]float32, 64*160)
	if err := errors.Join(m.Source.Read(name, 0, a), v.Source.Read(name, 0, b)); err != nil || !slices.Equal(a, b) {
		t.Errorf("the vision transformer was changed, %v", err)
	}
	if _, err := weights.Open(given); err == nil {
		t.Error("a vision transformer alone is no model")
	}
}

// TestKillTrainTokenizer kills training at random moments and resumes it.
func TestKillTrainTokenizer(t *testing.T) {
	if testing.Short() {
		t.Skip("starts and kills processes")
	}
	dir := clipArt(t, littleRecipe)
	whole, killed := filepath.Join(dir, "whole"), filepath.Join(dir, "killed")
	began := time.Now()
	if out, err := process(trainArgs(dir, whole)...).CombinedOutput(); err != nil {
		t.Fatalf("undisturbed run: %v\n%s", err, out)
	}
	span := time.Since(began)
	seed := uint64(time.Now().UnixNano())
	t.Logf("an undisturbed run takes %v; seed %d", span.Round(time.Millisecond), seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for died := 0; died < setting(t, "SOWER_KILLS", 4); {
		cmd := process(trainArgs(dir, killed)...)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(r.Int64N(int64(span))), func() { cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		if err == nil {
			same(t, "finished between kills", modelHashes(t, killed), modelHashes(t, whole))
			if err := os.RemoveAll(killed); err != nil {
				t.Fatal(err)
			}
			continue
		}
		died++
	}
	if out, err := process(trainArgs(dir, killed)...).CombinedOutput(); err != nil {
		t.Fatalf("after kills: %v\n%s", err, out)
	}
	same(t, "after kills", modelHashes(t, killed), modelHashes(t, whole))
	for name := range leftovers(t, killed) {
		t.Errorf("%s is left over", name)
	}
}
