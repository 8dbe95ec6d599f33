// Package fetch brings models, adapters and tokenizers from object stores to this machine, where they can be mapped: once a
// machine, whichever processes ask, into a cache that is named by what the store says the files are.
package fetch

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"sower/internal/blob"
)

// Choice picks, of the names of a folder's files, those that are fetched.
type Choice func(names []string) []string

// kinds are the files that models, adapters and tokenizers consist of. What else lies in their folders, such as weights for
// other frameworks, is not fetched; a folder of shards that is named by mistake is not, either.
var kinds = []string{".json", ".txt", ".model", ".jinja", ".safetensors", ".bin", ".pt", ".pth", ".gguf"}

// Weights takes what a model needs to be opened; beside safetensors, not the same weights in other forms.
func Weights(names []string) []string {
	safetensors := slices.ContainsFunc(names, func(n string) bool { return n == "model.safetensors" || n == "model.safetensors.index.json" })
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool {
		switch ext := path.Ext(n); ext {
		case ".bin", ".pt", ".pth":
			return safetensors
		default:
			return !slices.Contains(kinds, ext)
		}
	})
}

// Vocabulary takes what a tokenizer needs: no weights. A GGUF file counts where there is no other vocabulary.
func Vocabulary(names []string) []string {
	other := slices.ContainsFunc(names, func(n string) bool {
		return n == "tokenizer.json" || n == "tokenizer.model" || n == "vocab.json" || n == "vocab.txt"
	})
	return slices.DeleteFunc(Weights(names), func(n string) bool {
		switch path.Ext(n) {
		case ".safetensors", ".bin", ".pt", ".pth":
			return true
		case ".gguf":
			return other
		}
		return false
	})
}

// process is what main has said.
var process struct {
	sync.Mutex
	ctx  context.Context
	note func(string)
}

// Setup gives the context whose end interrupts downloads, and a function that gets a line for the user about long ones.
func Setup(ctx context.Context, note func(string)) {
	process.Lock()
	defer process.Unlock()
	process.ctx, process.note = ctx, note
}

func settings() (context.Context, func(string, ...any)) {
	process.Lock()
	defer process.Unlock()
	ctx, note := process.ctx, process.note
	if ctx == nil {
		ctx = context.Background()
	}
	return ctx, func(format string, args ...any) {
		if note != nil {
			note(fmt.Sprintf(format, args...))
		}
	}
}

// Remote reports whether an argument is a URL that must be fetched before its files can be mapped.
func Remote(arg string) bool {
	scheme, _ := blob.SplitScheme(arg)
	return scheme != "" && scheme != "file"
}

// Local is the path at which the file, or the files of the folder, that arg names are on this machine. A path stays as it is,
// as does a word that is neither; a URL is fetched unless the cache has it. Of a folder, the files that lie directly in it and
// that choose takes (nil: all) are fetched. A folder stays as it is as long as this process lives.
func Local(arg string, choose Choice) (string, error) {
	scheme, rest := blob.SplitScheme(arg)
	switch scheme {
	case "":
		return arg, nil
	case "file":
		return rest, nil
	}
	ctx, note := settings()
	p, err := local(ctx, arg, choose, note)
	if err != nil {
		return "", fmt.Errorf("fetch %s: %w", arg, err)
	}
	return p, nil
}

// mostFiles is more than any model's folder has.
const mostFiles = 10_000

// rounds is how often a folder may change under a download before it is given up.
const rounds = 3

func local(ctx context.Context, arg string, choose Choice, note func(string, ...any)) (string, error) {
	c, err := openCache()
	if err != nil {
		return "", err
	}
	for range rounds {
		w, err := look(ctx, arg, choose)
		if err != nil {
			return "", err
		}
		p, err := c.get(ctx, w, note)
		w.bucket.Close()
		if !errors.Is(err, errChanged) {
			return p, err
		}
	}
	return "", fmt.Errorf("%w %d times in a row: is somebody writing there?", errChanged, rounds)
}

var errChanged = errors.New("files were replaced while they were fetched")

// wanted are the files of one argument as the store describes them.
type wanted struct {
	arg    string
	bucket *blob.Bucket // that they lie in, by name
	files  []blob.Info
	single bool // a file, not a folder
	bytes  int64
	key    string
}

// look asks the store what an argument stands for.
func look(ctx context.Context, arg string, choose Choice) (*wanted, error) {
	scheme, rest := blob.SplitScheme(arg)
	parent, name := path.Split(strings.TrimRight(rest, "/"))
	if parent != "" && !strings.HasSuffix(arg, "/") {
		b, err := blob.OpenBucket(ctx, scheme+"://"+strings.TrimRight(parent, "/"))
		if err != nil {
			return nil, err
		}
		i, err := b.Stat(ctx, name)
		if err == nil {
			return complete(&wanted{arg: arg, bucket: b, files: []blob.Info{i}, single: true}), nil
		}
		b.Close()
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	b, err := blob.OpenBucket(ctx, scheme+"://"+strings.TrimRight(rest, "/"))
	if err != nil {
		return nil, err
	}
	w := &wanted{arg: arg, bucket: b}
	found := map[string]blob.Info{}
	var names []string
	for i, err := range b.Walk(ctx, "", func(string) bool { return false }) {
		if err != nil {
			b.Close()
			return nil, err
		}
		if len(names) == mostFiles {
			b.Close()
			return nil, fmt.Errorf("a folder of more than %d files: is that a model?", mostFiles)
		}
		if !strings.HasPrefix(i.Name, ".") {
			names = append(names, i.Name)
			found[i.Name] = i
		}
	}
	if len(names) == 0 {
		b.Close()
		return nil, fmt.Errorf("neither a file nor a folder with files in it: %w", fs.ErrNotExist)
	}
	all := names
	if choose != nil {
		names = choose(names)
	}
	for _, n := range names {
		if err := blob.CheckName(n); err != nil || path.Base(n) != n {
			b.Close()
			return nil, fmt.Errorf("a file is named %q: %w", n, blob.ErrUnsafeName)
		}
		w.files = append(w.files, found[n])
	}
	if len(w.files) == 0 {
		b.Close()
		return nil, fmt.Errorf("no file of use among its %d (%s, …)", len(all), strings.Join(all[:min(len(all), 5)], ", "))
	}
	return complete(w), nil
}

// complete sums sizes, and names the cache's entry after where the files are and what the store says they are.
func complete(w *wanted) *wanted {
	slices.SortFunc(w.files, func(a, b blob.Info) int { return cmp.Compare(a.Name, b.Name) })
	h := sha256.New()
	fmt.Fprintln(h, strings.TrimRight(w.bucket.URL(), "/"), w.single)
	for _, f := range w.files {
		fmt.Fprintf(h, "%q %d %q\n", f.Name, f.Size, f.Tag)
		w.bytes += f.Size
	}
	w.key = hex.EncodeToString(h.Sum(nil)[:16])
	return w
}

// same reports whether the store still has the files as they were found.
func (w *wanted) same(ctx context.Context) error {
	for _, f := range w.files {
		i, err := w.bucket.Stat(ctx, f.Name)
		if errors.Is(err, fs.ErrNotExist) || err == nil && i.Tag != f.Tag {
			return fmt.Errorf("%s: %w", f.Name, errChanged)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// worthANote is the size from which on a download is spoken of.
const worthANote = 64 << 20

// rate is how often a long download says how far it is.
const rate = 10 * time.Second
