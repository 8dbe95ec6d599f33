package weights

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"

	"sower/gpu/checkpoint"
	"sower/gpu/models/seed"
)

// digests are those that this process has computed, by model, stamp and part: a launcher and its workers open the same model.
var digests sync.Map

// grain is how old files must be to be remembered: one that was written just now could be written again within the grain
// of the file system's clock, and look the same.
var grain = 2 * time.Second

// stamp describes the files of a folder as they are now: it changes when one of them is replaced or written to.
type stamp struct {
	text   string
	newest time.Time // of the files' last changes
}

// stampOf reads the sizes, numbers and times of a folder's files.
func stampOf(dir string) (stamp, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return stamp{}, fmt.Errorf("model: %w", err)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return stamp{}, fmt.Errorf("model: %w", err)
	}
	var s stamp
	var b strings.Builder
	fmt.Fprintln(&b, abs)
	for _, e := range entries {
		info, err := os.Stat(filepath.Join(dir, e.Name())) // of what a link leads to
		if err != nil {
			continue // not a file that could be read
		}
		number, changed := identityOf(info)
		if changed.After(s.newest) {
			s.newest = changed
		}
		fmt.Fprintf(&b, "%s %d %d %d %d\n", e.Name(), info.Size(), info.ModTime().UnixNano(), changed.UnixNano(), number)
	}
	s.text = b.String()
	return s, nil
}

// Digest is the identity of the weights that make codes. The first time it reads every tensor, some seconds for the full
// size; then the user's cache folder remembers it for as long as the files stay as they are.
func (m *Model) Digest() (string, error) { return m.sum("encoder", m.Config.Encoder()) }

// DetokenizerDigest is the identity of the weights that turn codes into embeddings.
func (m *Model) DetokenizerDigest() (string, error) {
	return m.sum("detokenizer", m.Config.Detokenizer())
}

// KnownDigest is the identity of those weights that the model of a configuration uses, whichever are there.
func (m *Model) KnownDigest(c seed.Config) (string, error) {
	var known []seed.Param
	for _, p := range c.Params() {
		if _, ok := m.Source.Find(p.Name); ok {
			known = append(known, p)
		}
	}
	if len(known) == 0 {
		return "", fmt.Errorf("model: %s has no tensor of this model", m.Arg)
	}
	return m.sum("known "+fmt.Sprint(len(known)), known)
}

func (m *Model) sum(what string, params []seed.Param) (string, error) {
	if m.IsNull() {
		return Null, nil
	}
	key := [3]string{m.Arg, m.stamp.text, what}
	if d, ok := digests.Load(key); ok {
		return d.(string), nil
	}
	if err := m.check(params); err != nil {
		return "", err
	}
	file := m.remembered(what)
	if d := recall(file); d != "" {
		digests.Store(key, d)
		return d, nil
	}
	names := make([]string, len(params))
	for i, p := range params {
		names[i] = p.Name
	}
	sort.Strings(names)
	began := time.Now()
	d, err := checkpoint.Digest(m.Source, names)
	if err != nil {
		return "", err
	}
	digests.Store(key, d)
	if file != "" && began.Sub(m.stamp.newest) > grain {
		remember(file, d)
	}
	return d, nil
}

// remembered is the file of the user's cache folder that holds a digest of these very files, or "".
func (m *Model) remembered(what string) string {
	dir, err := os.UserCacheDir()
	if err != nil || m.stamp.text == "" {
		return ""
	}
	config, err := json.Marshal(m.Config)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s", what, config, m.stamp.text))
	return filepath.Join(dir, "sower", "digests", hex.EncodeToString(sum[:16]))
}

// recall reads a remembered digest; what is no digest counts as none.
func recall(file string) string {
	if file == "" {
		return ""
	}
	text, err := os.ReadFile(file)
	d := strings.TrimSpace(string(text))
	if raw, bad := hex.DecodeString(d); err != nil || bad != nil || len(raw) != sha256.Size {
		return ""
	}
	return d
}

// remember writes a digest down, whole or not at all. It only saves time, so that failing costs nothing but that.
func remember(file, digest string) {
	dir := filepath.Dir(file)
	if os.MkdirAll(dir, 0o755) != nil {
		return
	}
	f, err := os.CreateTemp(dir, ".new-")
	if err != nil {
		return
	}
	_, err = fmt.Fprintln(f, digest)
	if closed := f.Close(); err != nil || closed != nil || os.Rename(f.Name(), file) != nil {
		os.Remove(f.Name())
	}
}
