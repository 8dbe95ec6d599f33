package golden

import (
	"os"
	"path/filepath"
	"testing"
)

// TestFixturesByEnvironment uses the named folder alone: what it lacks is skipped, though the repository has it.
func TestFixturesByEnvironment(t *testing.T) {
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "some"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOWER_FIXTURES", root)
	if got := Fixtures(t, "some"); got != filepath.Join(root, "some") {
		t.Errorf("the set is at %s", got)
	}
	skipped := false
	t.Run("missing", func(t *testing.T) {
		defer func() { skipped = t.Skipped() }()
		Fixtures(t, "seed2-tiny")
	})
	if !skipped {
		t.Error("a missing set was not skipped")
	}
}

func TestOpen(t *testing.T) {
	f := Open(t, filepath.Join(Fixtures(t, "seed2-tiny"), "expected.safetensors"))
	codes, shape := f.Int32s("codes"), f.Shape("codes")
	if len(shape) != 2 || len(codes) != shape[0]*shape[1] || f.Metadata["weights"] == "" {
		t.Errorf("%d codes of shape %v, metadata %v", len(codes), shape, f.Metadata)
	}
}
