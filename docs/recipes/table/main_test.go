package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sower/internal/evaluate"
	"sower/internal/evaluate/language"
)

// TestWrite makes a table of means and deviations, and refuses what is not finished.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	put := func(kind string, seed int, bits float64) {
		folder := filepath.Join(dir, fmt.Sprintf("%s-%d", kind, seed))
		baseline := 8.0
		reports := map[string]any{
			"language.json":  language.Report{Bits: bits, Baseline: &baseline, ByPlace: make([]float64, 32)},
			"retrieval.json": evaluate.Report{Retrieval: &evaluate.Retrieval{Prefixes: []evaluate.Prefix{{Codes: 1, Embedding: 2}, {Codes: 32, Embedding: bits}}}},
		}
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, r := range reports {
			p, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(folder, name), p, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	put("causal", 0, 4)
	put("causal", 1, 6)
	both := []string{"causal", "bidirectional"}
	var out bytes.Buffer
	if err := write(&out, dir, both); err == nil || !strings.Contains(err.Error(), "bidirectional") {
		t.Errorf("one kind is missing: %v", err)
	}
	put("bidirectional", 0, 3)
	out.Reset()
	if err := write(&out, dir, both); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| | causal (2) | bidirectional (1) |", "| language model, bits a code | 5.00 ± 1.41 | 3.00 |", "| k | 1 | 32 |", "| causal, embedding | 2.0 | 5.0 |"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "PSNR") {
		t.Errorf("a row that nobody has a value for:\n%s", out.String())
	}
	// Without a language model.
	psnr := 17.25
	put("mini", 0, 1)
	p, err := json.Marshal(evaluate.Report{Retrieval: &evaluate.Retrieval{Share: 0.9}, Reconstruction: evaluate.Reconstruction{PSNR: &psnr}})
	if err := errors.Join(err, os.WriteFile(filepath.Join(dir, "mini-0/retrieval.json"), p, 0o644), os.Remove(filepath.Join(dir, "mini-0/language.json"))); err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if err := write(&out, dir, []string{"mini"}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "| drawn pictures: PSNR, dB | 17.2 |") || strings.Contains(out.String(), "caption") {
		t.Errorf("%s", out.String())
	}
}
