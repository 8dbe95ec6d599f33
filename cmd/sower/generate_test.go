package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sower/internal/golden"
	"sower/internal/shards/shardtest"
	"sower/schemas"
)

// reply is what --json prints.
type reply struct {
	PromptIDs []int32 `json:"prompt_ids"`
	Answers   []struct {
		IDs, Codes []int32
		Text       string
		Finish     string
	}
}

func ask(t testing.TB, args ...string) reply {
	t.Helper()
	var r reply
	if err := json.Unmarshal([]byte(must(t, append([]string{"generate", "--json"}, args...)...)), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// copyFiles copies the files of a folder.
func copyFiles(t testing.TB, dst, src string, names ...string) {
	t.Helper()
	for _, n := range names {
		p, err := os.ReadFile(filepath.Join(src, n))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, dst, n, p)
	}
}

// tunedFolder is a fixture adapter as sower tune leaves one: with its tokenizer and a manifest.
func tunedFolder(t testing.TB, set, tokenizer string, options map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	copyFiles(t, dir, filepath.Join(golden.Fixtures(t, set), "tuned"), "adapter_config.json", "adapter_model.safetensors")
	copyFiles(t, dir, filepath.Join(golden.Fixtures(t, "tokenizers"), tokenizer), "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
	bos := map[string]int32{"llama-bpe": 1, "opt-bpe": 2}[tokenizer]
	m := schemas.Manifest{Version: schemas.ManifestVersion, Pipeline: "tune", Identity: schemas.Identity{Tokenizer: "seed2", ImageSize: 56, Codes: 512, CodesPerImage: 32, Resize: "bicubic", Options: options},
		Vocabulary: &schemas.Vocabulary{Tokenizer: tokenizer, Rules: "hf", Offset: 1000, K: 512, Begin: 1512, End: 1513, Pad: -1, BOS: bos, EOS: 2, Unk: -1, Length: 1514, ImageLength: 34}}
	p, err := m.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, dir, schemas.ManifestName, p)
	return dir
}

func numbers(ids []int32) string { return strings.Trim(fmt.Sprint(ids), "[]") }

// TestGenerateGreedy compares whole command lines with transformers' greedy generation.
func TestGenerateGreedy(t *testing.T) {
	for _, set := range []string{"llama-tiny", "opt-tiny"} {
		dir := golden.Fixtures(t, set)
		want := golden.Open(t, filepath.Join(dir, "expected.safetensors"))
		for i := range 2 {
			prompt, output := want.Int32s(fmt.Sprintf("generate.%d.prompt", i)), want.Int32s(fmt.Sprintf("generate.%d.output", i))
			got := ask(t, "--base", dir, "--prompt-ids", numbers(prompt), "--tokens", fmt.Sprint(len(output)))
			if !slices.Equal(got.PromptIDs, prompt) || !slices.Equal(got.Answers[0].IDs, output) || got.Answers[0].Finish != "length" {
				t.Errorf("%s, prompt %d: got %+v, want %v", set, i, got.Answers, output)
			}
			if line := must(t, "generate", "--base", dir, "--prompt-ids", numbers(prompt), "-n", "3"); line != numbers(output[:3])+"\n" {
				t.Errorf("%s, prompt %d: %q", set, i, line)
			}
		}
	}
}

// TestGenerateImages checks that images are whole and in range for every seed and every adapter, and that a command repeats itself.
func TestGenerateImages(t *testing.T) {
	for _, c := range []struct{ set, base, tokenizer string }{
		{"lora-llama-tiny", "llama-tiny", "llama-bpe"}, {"lora-opt-tiny-tokens", "opt-tiny", "opt-bpe"}, {"lora-seed-tiny", "llama-tiny-mha", "llama-bpe"},
	} {
		t.Run(c.set, func(t *testing.T) {
			base, adapter := golden.Fixtures(t, c.base), tunedFolder(t, c.set, c.tokenizer, nil)
			args := []string{"--base", base, "--adapter", adapter, "--prompt", "a red bird", "--image"}
			seen := map[string]bool{}
			for seed := range 8 {
				drawn := append(slices.Clone(args), "--temperature", "3", "--top-p", []string{"1", "0.7"}[seed%2], "--count", "5", "--seed", fmt.Sprint(seed))
				r := ask(t, drawn...)
				if last := r.PromptIDs[len(r.PromptIDs)-1]; last != 1512 || len(r.Answers) != 5 {
					t.Fatalf("%d answers to a prompt that ends in %d", len(r.Answers), last)
				}
				for _, a := range r.Answers {
					if len(a.Codes) != 32 || len(a.IDs) != 33 || a.IDs[32] != 1513 || a.Finish != "image" || slices.Min(a.Codes) < 0 || slices.Max(a.Codes) > 511 {
						t.Errorf("seed %d: %+v", seed, a)
					}
					seen[fmt.Sprint(a.Codes)] = true
				}
				if seed == 0 {
					again := ask(t, append(drawn, "--threads", "1")...)
					if fmt.Sprint(again) != fmt.Sprint(r) {
						t.Error("the same command drew something else")
					}
				}
			}
			if len(seen) != 40 {
				t.Errorf("%d of 40 images differ", len(seen))
			}
			line := strings.Fields(must(t, append([]string{"generate"}, args...)...))
			if greedy := ask(t, args...); len(line) != 32 || strings.Join(line, " ") != numbers(greedy.Answers[0].Codes) {
				t.Errorf("%v, but as JSON %v", line, greedy.Answers[0].Codes)
			}
		})
	}
}

// TestGenerateText checks that images inside of text are whole, what a stop does, and that a row does not depend on the others.
func TestGenerateText(t *testing.T) {
	base, adapter := golden.Fixtures(t, "llama-tiny"), tunedFolder(t, "lora-llama-tiny", "llama-bpe", nil)
	args := []string{"--base", base, "--adapter", adapter, "--prompt", "a photo of", "--temperature", "2"}
	images := 0
	for seed := range 6 {
		r := ask(t, append(slices.Clone(args), "--count", "20", "--tokens", "60", "--seed", fmt.Sprint(seed))...)
		for _, a := range r.Answers {
			for i := 0; i < len(a.IDs); i++ {
				switch id := a.IDs[i]; {
				case id >= 1000 && id != 1512:
					t.Fatalf("token %d outside of an image: %v", id, a.IDs)
				case id == 1512:
					if i+33 >= len(a.IDs) || a.IDs[i+33] != 1513 || slices.Min(a.IDs[i+1:i+33]) < 1000 || slices.Max(a.IDs[i+1:i+33]) > 1511 {
						t.Fatalf("broken image at %d: %v", i, a.IDs)
					}
					images++
					i += 33
				}
			}
		}
	}
	if images == 0 {
		t.Error("no image in 120 texts: nothing was tested")
	}
	all := ask(t, append(slices.Clone(args), "--count", "3", "--tokens", "12")...)
	if one := ask(t, append(slices.Clone(args), "--tokens", "12")...); !slices.Equal(one.Answers[0].IDs, all.Answers[0].IDs) {
		t.Errorf("alone %v, beside others %v", one.Answers[0].IDs, all.Answers[0].IDs)
	}
	text := all.Answers[0].Text
	if printed := must(t, append([]string{"generate", "--tokens", "12"}, args...)...); printed != text+"\n" {
		t.Errorf("printed %q, as JSON %q", printed, text)
	}
	stop := text[len(text)/2 : len(text)/2+2]
	for _, c := range [][]string{{"--json"}, nil} {
		printed := must(t, slices.Concat([]string{"generate", "--tokens", "12", "--stop", stop}, args, c)...)
		want := text[:strings.Index(text, stop)]
		if c != nil {
			var r reply
			if err := json.Unmarshal([]byte(printed), &r); err != nil {
				t.Fatal(err)
			}
			if r.Answers[0].Finish != "stop" {
				t.Errorf("finish %q", r.Answers[0].Finish)
			}
			printed = r.Answers[0].Text + "\n"
		}
		if printed != want+"\n" {
			t.Errorf("--stop %q in %q: got %q, want %q", stop, text, printed, want)
		}
	}
}

// TestGenerateCaption describes a picture and refuses weights that did not make the codes of the corpus.
func TestGenerateCaption(t *testing.T) {
	base := golden.Fixtures(t, "llama-tiny")
	digest := strings.Fields(strings.SplitAfter(must(t, "model", "inspect", tiny), "encodes: yes, weights")[1])[0]
	adapter := tunedFolder(t, "lora-llama-tiny", "llama-bpe", map[string]string{"codes_weights": digest, "template_pair": "seed1"})
	dir := t.TempDir()
	file := writeFile(t, dir, "bird.jpg", shardtest.JPEG(40, 30, 7))
	args := []string{"--base", base, "--adapter", adapter, "--image-file", file, "--model", tiny, "--tokens", "8"}
	r := ask(t, args...)
	if at := slices.Index(r.PromptIDs, 1512); at != 1 || r.PromptIDs[0] != 1 || r.PromptIDs[34] != 1513 || len(r.PromptIDs) < 36 {
		t.Fatalf("prompt %v, want BOS, an image and a text", r.PromptIDs)
	}
	in := filepath.Join(t.TempDir(), "codes")
	must(t, "encode", "-q", "-i", dir, "-o", in, "-m", tiny)
	rows, _ := readAll(t, in)
	for i, c := range rows[0].Codes {
		if r.PromptIDs[2+i]-1000 != int32(c) {
			t.Fatalf("codes %v, sower encode gives %v", r.PromptIDs[2:34], rows[0].Codes)
		}
	}
	for _, id := range r.Answers[0].IDs {
		if id >= 1000 {
			t.Errorf("an image token in a caption: %v", r.Answers[0].IDs)
		}
	}
	if printed := must(t, append([]string{"generate"}, args...)...); strings.TrimSpace(printed) != r.Answers[0].Text {
		t.Errorf("printed %q, as JSON %q", printed, r.Answers[0].Text)
	}
	for _, template := range []string{"caption", "conversation"} {
		with := ask(t, append(slices.Clone(args), "--template", template, "--prompt", "what is this")...)
		if len(with.PromptIDs) < 37 || !slices.Contains(with.PromptIDs, 1513) {
			t.Errorf("%s: prompt %v", template, with.PromptIDs)
		}
	}
	args[7] = "standin:tiny:1"
	if _, stderr, code := sower(t, append([]string{"generate"}, args...)...); code != exitFailed || !strings.Contains(stderr, "weights that made the codes") {
		t.Errorf("other weights: exit code %d: %s", code, stderr)
	}
}

// TestGenerateArguments checks that wrong arguments say what is wrong and what to do.
func TestGenerateArguments(t *testing.T) {
	base, foreign := golden.Fixtures(t, "llama-tiny"), filepath.Join(golden.Fixtures(t, "lora-llama-tiny"), "tuned")
	tuned := tunedFolder(t, "lora-llama-tiny", "llama-bpe", nil)
	half := t.TempDir()
	copyFiles(t, half, foreign, "adapter_config.json")
	dir := t.TempDir()
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"generate --prompt x", exitUsage, "--base is missing"},
		{"generate --base BASE", exitUsage, "--prompt is missing"},
		{"generate --base BASE --prompt x stray", exitUsage, "quotes"},
		{"generate --base BASE --prompt x --image --image-file y.png --model m", exitUsage, "give one of them"},
		{"generate --base BASE --image-file y.png", exitUsage, "--image-file needs --model"},
		{"generate --base BASE --prompt x --model m", exitUsage, "both are missing"},
		{"generate --base BASE --prompt x --prompt-ids 1", exitUsage, "give one of them"},
		{"generate --base BASE --prompt-ids 1,2", exitUsage, "is no id"},
		{"generate --base BASE --prompt-ids 5000", exitUsage, "0 to 1513"},
		{"generate --base BASE --prompt x --temperature -1", exitUsage, "--temperature -1"},
		{"generate --base BASE --prompt x --top-p 1.5", exitUsage, "--top-p 1.5"},
		{"generate --base BASE --prompt x --top-p 0", exitUsage, "--temperature 0 takes"},
		{"generate --base BASE --prompt x --tokens 0", exitUsage, "--tokens 0"},
		{"generate --base BASE --prompt x --count 0", exitUsage, "--count 0"},
		{"generate --base BASE --prompt x --image --template poem", exitUsage, "have: caption"},
		{"generate --base BASE --prompt x --template caption", exitUsage, "leave it out"},
		{"generate --base BASE --prompt x --precision f8", exitUsage, "--precision"},
		{"generate --base BASE --prompt x", exitFailed, "--tokenizer FOLDER"},
		{"generate --base BASE --prompt-ids 1 --image", exitFailed, "give --adapter FOLDER"},
		{"generate --base BASE --prompt-ids 1 --tokens 100000", exitFailed, "less --tokens"},
		{"generate --base nowhere --prompt x", exitFailed, "no such file or folder"},
		{"generate --base standin:big:0 --prompt x", exitFailed, "standin:tiny:N"},
		{"generate --base BASE --adapter nowhere --prompt x", exitFailed, "has no adapter_config.json"},
		{"generate --base BASE --adapter HALF --prompt x", exitFailed, "has no adapter_model.safetensors"},
		{"generate --base BASE --adapter FOREIGN --prompt-ids 1 --image", exitFailed, "_manifest.json"},
		{"generate --base OPT --adapter TUNED --prompt x", exitFailed, "does not fit --base"},
		{"generate --base BASE --adapter FOREIGN --prompt-ids 1 --tokens 3", exitOK, ""},
		{"generate --base standin:tiny:0 --prompt x --tokens 3", exitOK, ""},
		{"generate --base BASE --adapter TUNED --image-file nowhere.png --model standin:tiny:0", exitFailed, "nowhere.png"},
		{"generate --base BASE --adapter TUNED --image-file nowhere.png --model standin:seed2:0", exitFailed, "32 of 512"},
		{"generate --base BASE --adapter TUNED --image-file nowhere.png --model null", exitFailed, "no weights"},
		{"merge --base BASE --adapter TUNED", exitUsage, "--output is missing"},
		{"merge --base BASE --output OUT", exitUsage, "--adapter is missing"},
		{"merge --base BASE --adapter TUNED --output OUT --dtype f8", exitUsage, "want keep, f32, f16 or bf16"},
		{"merge --base BASE --adapter TUNED --output TUNED --force", exitUsage, "give another folder"},
		{"merge --base BASE --adapter TUNED --output TUNED/adapter_config.json", exitUsage, "is a file"},
		{"merge --base BASE --adapter TUNED --output HALF", exitFailed, "not empty"},
		{"merge --base BASE --adapter HALF --output OUT", exitFailed, "has no adapter_model.safetensors"},
		{"merge --base OPT --adapter TUNED --output OUT", exitFailed, "does not fit --base"},
	} {
		args := strings.Fields(strings.NewReplacer("BASE", base, "OPT", golden.Fixtures(t, "opt-tiny"), "FOREIGN", foreign, "HALF", half, "TUNED", tuned, "OUT", filepath.Join(dir, "out")).Replace(c.args))
		stdout, stderr, code := sower(t, args...)
		if code != c.code || !strings.Contains(stdout+stderr, c.want) {
			t.Errorf("sower %s: exit code %d, want %d with %q\n%s%s", c.args, code, c.code, c.want, stdout, stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "out")); err == nil {
		t.Error("a refused command made its output folder")
	}
}

// TestGenerateSmolLM2 compares with a published model. SOWER_SMOLLM2 names the file, which the fixture set says where to get.
func TestGenerateSmolLM2(t *testing.T) {
	path := os.Getenv("SOWER_SMOLLM2")
	if path == "" {
		t.Skip("SOWER_SMOLLM2 does not name the GGUF file of SmolLM2-135M-Instruct")
	}
	p, err := os.ReadFile(filepath.Join(golden.Fixtures(t, "smollm2"), "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	var want struct {
		Prompts []struct {
			Text, Output string
			IDs          []int32
			OutputIDs    []int32 `json:"output_ids"`
		}
	}
	if err := json.Unmarshal(p, &want); err != nil {
		t.Fatal(err)
	}
	for _, e := range want.Prompts {
		r := ask(t, "--base", path, "--prompt", e.Text, "--tokens", fmt.Sprint(len(e.OutputIDs)))
		if a := r.Answers[0]; !slices.Equal(r.PromptIDs, e.IDs) || !slices.Equal(a.IDs, e.OutputIDs) || a.Text != strings.TrimSuffix(e.Output, "<|im_end|>") {
			t.Errorf("%q: got %v %q, want %v %q", e.Text, a.IDs, a.Text, e.OutputIDs, e.Output)
		}
	}
}
