package kernels

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var include = regexp.MustCompile(`(?m)^[ \t]*#include "([^"/]*)"`)

// sources are what a .cu is made of, as build.sh lists them: headers by name, then the source.
func sources(t *testing.T, file string) []string {
	var headers []string
	for todo := []string{file}; len(todo) > 0; todo = todo[1:] {
		text, err := os.ReadFile(todo[0])
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range include.FindAllSubmatch(text, -1) {
			name := string(m[1])
			if !strings.HasSuffix(name, "_cpu.h") && !slices.Contains(headers, name) {
				headers, todo = append(headers, name), append(todo, name)
			}
		}
	}
	slices.Sort(headers)
	return append(headers, file)
}

// TestFresh compares the hash that a PTX begins with to the sources.
func TestFresh(t *testing.T) {
	files, err := filepath.Glob("*.cu")
	if err != nil || len(files) < 5 {
		t.Fatalf("sources: %v, %v", files, err)
	}
	for _, file := range files {
		h := sha256.New()
		for _, s := range sources(t, file) {
			text, err := os.ReadFile(s)
			if err != nil {
				t.Fatal(err)
			}
			h.Write(text)
		}
		text, err := PTX(strings.TrimSuffix(file, ".cu"))
		if err != nil {
			t.Error(err)
			continue
		}
		first, _, _ := strings.Cut(string(text), "\n")
		if want := "// sources sha256 " + hex.EncodeToString(h.Sum(nil)); first != want {
			t.Errorf("%s is not what the PTX was made of: run gpu/cuda/kernels/build.sh", file)
		}
	}
}

var entry = regexp.MustCompile(`(?m)^\.visible \.entry (\w+)\(\s*\.param \.align \d+ \.b8 \w+\[(\d+)\]\s*\)`)

// TestArguments compares the size of every argument struct with the PTX.
func TestArguments(t *testing.T) {
	found := map[Kernel]uintptr{}
	files, _ := filepath.Glob("*.ptx")
	for _, file := range files {
		module := strings.TrimSuffix(file, ".ptx")
		text, err := PTX(module)
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`(?m)^\.target sm_(80|90a)$`).Match(text) {
			t.Errorf("%s is for another target than sm_80 or sm_90a", file)
		}
		matches := entry.FindAllSubmatch(text, -1)
		if n := strings.Count(string(text), ".entry "); n != len(matches) {
			t.Errorf("%s: %d kernels, of which %d have one struct as argument", file, n, len(matches))
		}
		for _, m := range matches {
			size, _ := strconv.Atoi(string(m[2]))
			found[Kernel{module, string(m[1])}] = uintptr(size)
		}
	}
	for k, size := range Declared() {
		if got, ok := found[k]; !ok {
			t.Errorf("%s has no kernel %s", k.Module, k.Name)
		} else if got != size {
			t.Errorf("%s.%s takes %d bytes of arguments, the Go struct has %d", k.Module, k.Name, got, size)
		}
	}
	for k := range found {
		if _, ok := Declared()[k]; !ok {
			t.Errorf("%s.%s has no Go struct", k.Module, k.Name)
		}
	}
}

func TestErrorRecord(t *testing.T) {
	if _, _, _, found := (&ErrorRecord{}).Found(); found {
		t.Error("an empty record is an error")
	}
	r := ErrorRecord{Op: OpRotate, Inverted: ^(uint64(7)<<32 | uint64(0xffffffff)), Limit: 5}
	if op, position, id, found := r.Found(); op != "rotate" || position != 7 || id != -1 || !found {
		t.Error(op, position, id, found)
	}
}
