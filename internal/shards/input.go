package shards

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/bmatcuk/doublestar/v4"

	"sower/internal/blob"
)

// Input is what --input named: files below one root, sorted, each once, with the format that reads it.
type Input struct {
	Root    *blob.Bucket // the folder that all patterns share before their first wildcard
	Sources []InputSource
	Notes   []string // what was found and is not read, for the user
}

// InputSource is a file and its format's name.
type InputSource struct {
	Source
	Format string
}

// Bytes is the size of all sources together.
func (in *Input) Bytes() (n int64) {
	for _, s := range in.Sources {
		n += s.Size
	}
	return n
}

// splitsAtOnce is how many sources are split at a time: each waits for a distant store, or for a disk, most of the time.
const splitsAtOnce = 16

// Ranges splits every source at about target bytes, in order. o.Root is taken from the input where it is nil.
func (in *Input) Ranges(ctx context.Context, o *Options, target int64) iter.Seq2[Range, error] {
	type split struct {
		ranges []Range
		err    error
	}
	return func(yield func(Range, error) bool) {
		opts := *o
		if opts.Root == nil {
			opts.Root = in.Root
		}
		ctx, cancel := context.WithCancel(ctx)
		var working sync.WaitGroup
		defer working.Wait()
		defer cancel()
		ahead := make(chan chan split, splitsAtOnce-1)
		working.Go(func() {
			defer close(ahead)
			for _, s := range in.Sources {
				one := make(chan split, 1)
				select {
				case ahead <- one:
				case <-ctx.Done():
					return
				}
				if r, ok := unsplit(s, target); ok {
					one <- split{ranges: []Range{r}}
					continue
				}
				working.Go(func() {
					f, err := Lookup(s.Format)
					if err != nil {
						one <- split{err: err}
						return
					}
					ranges, err := f.Split(ctx, &opts, s.Source, target)
					if err != nil {
						err = fmt.Errorf("shards: split %s: %w", s.Name, err)
					}
					one <- split{ranges, err}
				})
			}
		})
		for one := range ahead {
			r := <-one
			if r.err != nil {
				yield(Range{}, r.err)
				return
			}
			for _, r := range r.ranges {
				if !yield(r, nil) {
					return
				}
			}
		}
		if err := ctx.Err(); err != nil {
			yield(Range{}, err)
		}
	}
}

// unsplit is the one range of a small file of a format that does not say its rows before reading: a million shards need not be opened
// to be planned.
func unsplit(s InputSource, target int64) (Range, bool) {
	switch s.Format {
	case "webdataset", "mint1t", "jsonl", "csv", "tsv", "mmc4":
	default:
		return Range{}, false
	}
	if s.Size > target {
		return Range{}, false
	}
	r := Range{Source: s.Source, Format: s.Format, End: s.Size, Bytes: s.Size, Rows: -1}
	if ext := shardExt(s.Name); strings.HasSuffix(ext, ".gz") || ext == "tgz" {
		r.End = -1
	}
	return r, true
}

// Read yields the pairs of a range with the format that made it.
func Read(ctx context.Context, o *Options, r Range) iter.Seq2[Pair, error] {
	f, err := Lookup(r.Format)
	if err != nil {
		return func(yield func(Pair, error) bool) { yield(Pair{}, err) }
	}
	return f.Read(ctx, o, r)
}

// found is a file below the store, with its name from the store's own root.
type found struct {
	info   blob.Info
	format string
}

// pattern is one expanded argument: a name, or a glob, in a store.
type pattern struct {
	arg   string // as the user wrote it, braces expanded
	store string // "/" of the local file system, or scheme://host
	name  string // below the store, no slash in front; "" is the store itself
	glob  bool
}

// Resolve finds the files that patterns stand for: file names, folders, globs (*, ?, [a-z], and ** for any number of
// folders), and braces ({00000..00063}, {a,b}), all of one store. A hidden file must be named by a pattern with "/." in it.
//
// A file that is named and is not there is an error, and so is a pattern that matches nothing. The format is guessed by
// name, of named files also by content, unless format says it; whether they hold documents, by the content of the first. A folder or glob must hold files of one format besides
// what is known to go with them; files of different formats are read together when each is named by a pattern of its own.
func Resolve(ctx context.Context, patterns []string, format string) (*Input, error) {
	if len(patterns) == 0 {
		return nil, errors.New("shards: no input named")
	}
	if format != "" {
		if _, err := Lookup(format); err != nil {
			return nil, err
		}
	}
	var all []pattern
	for _, arg := range patterns {
		expanded, err := expandBraces(arg)
		if err != nil {
			return nil, fmt.Errorf("shards: input %w", err)
		}
		for _, e := range expanded {
			p, err := parsePattern(e)
			if err != nil {
				return nil, err
			}
			if len(all) > 0 && p.store != all[0].store {
				return nil, fmt.Errorf("shards: inputs in two stores, %s and %s: want one", all[0].arg, p.arg)
			}
			all = append(all, p)
		}
	}
	store, err := blob.OpenBucket(ctx, all[0].store)
	if err != nil {
		return nil, fmt.Errorf("shards: input: %w", err)
	}
	defer store.Close()
	r := resolver{ctx: ctx, store: store, format: format, files: map[string]found{}, looked: map[[2]string]string{}}
	if err := r.prefetch(all); err != nil {
		return nil, fmt.Errorf("shards: input: %w", err)
	}
	for _, p := range all {
		if err := r.add(p); err != nil {
			return nil, fmt.Errorf("shards: input %w", err)
		}
	}
	if n := len(r.missing); n > 0 {
		return nil, fmt.Errorf("shards: input: %s not there: %s", plural(n, "file is", "files are"), firstTen(r.missing))
	}
	if len(r.empty) > 0 {
		return nil, fmt.Errorf("shards: input: an empty folder, or neither a file nor a folder (a pipe, a socket): %s", firstTen(r.empty))
	}
	return r.input(all[0].store)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func firstTen(names []string) string {
	if n := len(names); n > 10 {
		return strings.Join(names[:10], ", ") + fmt.Sprintf(" and %d more", n-10)
	}
	return strings.Join(names, ", ")
}

func parsePattern(arg string) (pattern, error) {
	if arg == "" {
		return pattern{}, errors.New("shards: input: an empty name")
	}
	scheme, rest := blob.SplitScheme(arg)
	p := pattern{arg: arg, glob: strings.ContainsAny(arg, "*?[")}
	switch scheme {
	case "", "file":
		abs, err := filepath.Abs(filepath.FromSlash(rest))
		if err != nil {
			return pattern{}, fmt.Errorf("shards: input %s: %w", arg, err)
		}
		p.store, p.name = "/", strings.TrimPrefix(filepath.ToSlash(abs), "/")
	default:
		host, name, _ := strings.Cut(rest, "/")
		p.store = scheme + "://" + host
		if p.name = strings.TrimPrefix(path.Clean("/"+name), "/"); p.name == "." {
			p.name = ""
		}
	}
	return p, nil
}

// resolver collects the files of all patterns.
type resolver struct {
	ctx     context.Context
	store   *blob.Bucket
	format  string
	files   map[string]found // by name
	roots   []string         // folder before the first wildcard, per pattern
	missing []string
	empty   []string // folders without a file, and what is neither file nor folder
	notes   []string
	known   map[string]blob.Info // files that a listing told, of those that are named
	looked  map[[2]string]string // formats of documents found, by folder and format by name
}

// leastListed is how many files must be named in a folder for a listing to be cheaper than asking for each.
const leastListed = 100

// prefetch lists the folders in which many files are named, as of {00000..99999}.tar: a request tells a thousand of them.
func (r *resolver) prefetch(all []pattern) error {
	folders := map[string][]string{}
	for _, p := range all {
		if !p.glob && p.name != "" {
			dir := path.Dir(p.name)
			folders[dir] = append(folders[dir], p.name)
		}
	}
	for _, names := range folders {
		if len(names) < leastListed {
			continue
		}
		wanted := make(map[string]bool, len(names))
		for _, n := range names {
			wanted[n] = true
		}
		// Sorted, the first and the last name have what all begin with.
		first, last := slices.Min(names), slices.Max(names)
		n := 0
		for n < len(first) && n < len(last) && first[n] == last[n] {
			n++
		}
		others := 0
		for info, err := range r.store.Walk(r.ctx, first[:n], func(string) bool { return false }) {
			if err != nil {
				return err
			}
			if wanted[info.Name] {
				if r.known == nil {
					r.known = map[string]blob.Info{}
				}
				r.known[info.Name] = info
			} else if others++; others > 20*len(names)+10_000 {
				break // a folder of much else: the rest is asked for one by one
			}
		}
	}
	return nil
}

func (r *resolver) add(p pattern) error {
	if info, ok := r.known[p.name]; ok {
		return r.addFile(p, info)
	}
	if p.name != "" && (!p.glob || !strings.ContainsAny(p.name, "*?")) {
		// A name with a bracket in it is a name if there is such a file.
		info, err := r.store.Stat(r.ctx, p.name)
		if err == nil {
			return r.addFile(p, info)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if p.glob {
		return r.addGlob(p)
	}
	return r.addFolder(p)
}

func (r *resolver) addFile(p pattern, info blob.Info) error {
	f := found{info, r.format}
	if f.format == "" {
		f.format = formatByExt[shardExt(info.Name)]
	}
	if f.format == "" {
		var err error
		if f.format, err = sniff(r.ctx, r.store, info.Name, p.arg); err != nil {
			return err
		}
	}
	if r.format == "" {
		// One look for each folder: thousands of files may be named.
		key := [2]string{path.Dir(info.Name), f.format}
		d, known := r.looked[key]
		if !known {
			var err error
			if d, err = r.documents(p.arg, info, f.format); err != nil {
				return err
			}
			r.looked[key] = d
		}
		f.format = d
	}
	r.files[info.Name] = f
	r.roots = append(r.roots, path.Dir(info.Name))
	return nil
}

// documents is the format of a file that looks like pairs of this format by name and like documents by content.
func (r *resolver) documents(arg string, info blob.Info, format string) (string, error) {
	d, err := documents(r.ctx, r.store, info, format)
	if err != nil || d == "" {
		return format, err
	}
	r.notes = append(r.notes, fmt.Sprintf("%s: read as documents (%s), because of what %s holds; --format %s reads pairs", arg, d, path.Base(info.Name), format))
	return d, nil
}

func (r *resolver) addFolder(p pattern) error {
	prefix := p.name
	if prefix != "" {
		prefix += "/"
	}
	var files []found
	any, hidden := false, 0
	all, err := list(r.ctx, r.store, prefix, nil)
	if err != nil {
		return err
	}
	for _, info := range all {
		any = true
		if isHidden(info.Name[len(prefix):]) {
			hidden++
			continue
		}
		files = append(files, found{info: info})
	}
	if !any {
		if scheme, rest := blob.SplitScheme(p.arg); scheme == "" || scheme == "file" {
			if _, err := os.Stat(filepath.FromSlash(rest)); err == nil {
				r.empty = append(r.empty, p.arg)
				return nil
			}
		}
		r.missing = append(r.missing, p.arg)
		return nil
	}
	r.roots = append(r.roots, p.name)
	return r.choose(p.arg, files, hidden)
}

func (r *resolver) addGlob(p pattern) error {
	// Braces that are left are part of names; to doublestar they would be alternatives.
	glob := strings.NewReplacer("{", `\{`, "}", `\}`).Replace(p.name)
	if !doublestar.ValidatePattern(glob) {
		return fmt.Errorf("%s: malformed pattern", p.arg)
	}
	parts, globs := strings.Split(p.name, "/"), strings.Split(glob, "/")
	fixed := slices.IndexFunc(parts, func(s string) bool { return strings.ContainsAny(s, "*?[") })
	prefix := strings.Join(parts[:fixed], "/")
	folder := prefix
	if prefix != "" {
		prefix += "/"
	}
	// The name up to the first wildcard narrows the listing further.
	start := prefix + parts[fixed][:strings.IndexAny(parts[fixed], "*?[")]
	deep := slices.Index(parts, "**")
	enter := func(dir string) bool {
		names := strings.Split(strings.TrimSuffix(dir, "/"), "/")
		n := len(names)
		if deep >= 0 && n > deep {
			n = deep
		}
		if deep < 0 && n >= len(parts) {
			return false
		}
		ok, _ := doublestar.Match(strings.Join(globs[:n], "/"), strings.Join(names[:n], "/"))
		return ok
	}
	wantHidden := strings.Contains("/"+strings.Join(parts[fixed:], "/"), "/.")
	var files []found
	hidden := 0
	all, err := list(r.ctx, r.store, start, enter)
	if err != nil {
		return err
	}
	for _, info := range all {
		if ok, _ := doublestar.Match(glob, info.Name); !ok {
			continue
		}
		if !wantHidden && isHidden(info.Name[len(prefix):]) {
			hidden++
			continue
		}
		files = append(files, found{info: info})
	}
	if len(files) == 0 {
		return fmt.Errorf("%s: matches no file (* does not go into folders, ** does)", p.arg)
	}
	r.roots = append(r.roots, folder)
	return r.choose(p.arg, files, hidden)
}

func isHidden(name string) bool { return strings.HasPrefix(name, ".") || strings.Contains(name, "/.") }

func (r *resolver) choose(arg string, files []found, hidden int) error {
	if hidden > 0 {
		r.notes = append(r.notes, fmt.Sprintf("%s: %d hidden files not read", arg, hidden))
	}
	sel, err := choose(arg, files, r.format)
	if err != nil {
		return err
	}
	r.notes = append(r.notes, sel.notes...)
	if r.format == "" {
		first := slices.MinFunc(sel.files, func(a, b found) int { return cmp.Compare(a.info.Name, b.info.Name) })
		if sel.format, err = r.documents(arg, first.info, sel.format); err != nil {
			return err
		}
	}
	for _, f := range sel.files {
		if _, twice := r.files[f.info.Name]; !twice {
			f.format = sel.format
			r.files[f.info.Name] = f
		}
	}
	return nil
}

// input puts the files below their common root, in order.
func (r *resolver) input(store string) (*Input, error) {
	root := r.roots[0]
	for _, f := range r.roots[1:] {
		root = commonFolder(root, f)
	}
	if root == "." {
		root = ""
	}
	in := &Input{Notes: r.notes, Sources: make([]InputSource, 0, len(r.files))}
	var odd []string
	for name, f := range r.files {
		rel := strings.TrimPrefix(strings.TrimPrefix(name, root), "/")
		if blob.CheckName(rel) != nil || !utf8.ValidString(rel) {
			odd = append(odd, fmt.Sprintf("%q", rel))
		}
		in.Sources = append(in.Sources, InputSource{Source{Name: rel, Size: f.info.Size, Tag: f.info.Tag}, f.format})
	}
	if len(odd) > 0 {
		slices.Sort(odd)
		return nil, fmt.Errorf("shards: input: %s that cannot be written down (not UTF-8, or with a backslash), rename: %s",
			plural(len(odd), "name", "names"), firstTen(odd))
	}
	slices.SortFunc(in.Sources, func(a, b InputSource) int { return cmp.Compare(a.Name, b.Name) })
	url := store
	if root != "" {
		url = blob.Join(store, root)
	}
	var err error
	in.Root, err = blob.OpenBucket(r.ctx, url)
	return in, err
}

// commonFolder is the deepest folder that holds both.
func commonFolder(a, b string) string {
	if a == "." || b == "." {
		return ""
	}
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	n := 0
	for n < len(x) && n < len(y) && x[n] == y[n] {
		n++
	}
	return strings.Join(x[:n], "/")
}
