package tensors

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"testing"

	"sower/gpu/checkpoint"
	"sower/internal/blob"
	_ "sower/internal/blob/all"
)

// TestWrite reads back what was written, by its digest; what was interrupted leaves nothing.
func TestWrite(t *testing.T) {
	b, err := blob.OpenBucket(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	info := checkpoint.Info{Name: "w", DType: checkpoint.F32, Shape: []int{3, 2}}
	src, err := checkpoint.Values([]checkpoint.Info{info}, [][]float32{{1, 2, 3, 4, 5, 6}})
	if err != nil {
		t.Fatal(err)
	}
	entries := []checkpoint.Entry{{Info: info, From: src}}
	digest, err := Write(t.Context(), b, "a.safetensors", entries, PyTorch)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.ReadAll(t.Context(), "a.safetensors", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(raw); hex.EncodeToString(sum[:]) != digest {
		t.Errorf("digest %s, the file has %x", digest, sum)
	}
	back, meta, err := checkpoint.ParseSafetensors("a", raw)
	if err != nil || meta["format"] != "pt" {
		t.Fatal(meta, err)
	}
	got := make([]float32, 6)
	if err := back.Read("w", 0, got); err != nil || got[5] != 6 {
		t.Error(got, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Write(ended, b, "b.safetensors", entries, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := b.Stat(t.Context(), "b.safetensors"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something is there: %v", err)
	}
}
