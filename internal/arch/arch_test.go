// Package arch holds the repository's shape to its rules: dependencies point down, Beam stays at the rim, and nothing
// outside the repository is spoken of.
package arch

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const module = "sower/"

// rules say what a folder may import of this module, by longest prefix. Only the folders under beam may import Beam.
var rules = []struct {
	folder string
	may    []string
	beam   bool
	// stdlib means no module but the standard library.
	stdlib bool
}{
	{folder: "schemas", stdlib: true},
	{folder: "gpu", may: []string{"gpu", "schemas"}},
	{folder: "internal", may: []string{"internal", "gpu", "schemas"}},
	{folder: "internal/blob", may: []string{"internal/blob", "internal/flock"}},
	{folder: "internal/flock", may: []string{}},
	{folder: "internal/pixels", may: []string{}},
	{folder: "internal/shards", may: []string{"internal/shards", "internal/blob", "schemas"}},
	{folder: "transforms", may: []string{"transforms", "internal", "gpu", "schemas"}, beam: true},
	{folder: "runners", may: []string{"runners", "internal", "schemas"}, beam: true},
	{folder: "pipelines", may: []string{"pipelines", "transforms", "internal", "gpu", "schemas"}, beam: true},
	{folder: "docs", may: []string{"internal"}}, // programs of recipes
	{folder: "cmd", may: []string{"runners", "pipelines", "transforms", "internal", "gpu", "schemas"}, beam: true},
}

func below(p, folder string) bool { return p == folder || strings.HasPrefix(p, folder+"/") }

func TestDependenciesPointDown(t *testing.T) {
	root := filepath.Join("..", "..")
	files := 0
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := filepath.ToSlash(strings.TrimPrefix(file, root+string(filepath.Separator)))
		if d.IsDir() {
			// Hidden folders, data, and nested modules (the generators) have no packages of this module.
			if strings.HasPrefix(d.Name(), ".") && file != root || d.Name() == "testdata" {
				return fs.SkipDir
			}
			if _, err := os.Stat(filepath.Join(file, "go.mod")); err == nil && file != root {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") {
			return nil
		}
		files++
		check(t, file, rel)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 50 {
		t.Errorf("only %d files looked at: is the root right?", files)
	}
}

func check(t *testing.T, file, rel string) {
	t.Helper()
	best := -1
	for i, r := range rules {
		if below(path.Dir(rel), r.folder) && (best < 0 || len(r.folder) > len(rules[best].folder)) {
			best = i
		}
	}
	if best < 0 {
		t.Errorf("%s lies in no folder that internal/arch knows: give it a rule", rel)
		return
	}
	rule := rules[best]
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, imp := range f.Imports {
		p, _ := strconv.Unquote(imp.Path.Value)
		local, isLocal := strings.CutPrefix(p, module)
		switch {
		case strings.HasPrefix(p, "github.com/apache/beam/"):
			if !rule.beam {
				t.Errorf("%s imports Beam; %s must not", rel, rule.folder)
			}
		case isLocal:
			if strings.HasSuffix(file, "_test.go") && (local == "internal/golden" || strings.HasSuffix(local, "test") || below(local, "internal/blob")) {
				continue // fixtures and suites are for every package's tests
			}
			ok := false
			for _, m := range rule.may {
				ok = ok || below(local, m)
			}
			if !ok && !below(local, rule.folder) {
				t.Errorf("%s imports %s; %s may import %v", rel, p, rule.folder, rule.may)
			}
		case rule.stdlib && strings.Contains(strings.SplitN(p, "/", 2)[0], "."):
			t.Errorf("%s imports %s; %s may import the standard library only", rel, p, rule.folder)
		}
	}
}
