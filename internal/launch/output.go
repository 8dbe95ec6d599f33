// Package launch prepares an output folder for a run and looks at what became of it: it refuses to mix, finds out what
// is done already, sweeps what a killed run left, and takes nothing but the manifest as proof of success.
package launch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sync/errgroup"

	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/internal/plan"
	"sower/schemas"
)

// folders are all that a run writes beside manifest and card; overwriting deletes their parts and nothing else.
var folders = []string{"data", "documents", "rejects", plan.Folder}

// top are the names and folders beside them where a killed run can leave a temporary file. The rest of the output folder
// may be the user's and of any size: it is not walked.
var top = []string{schemas.ManifestName, "README.md", "croissant.json", "tokenizer/"}

// RetryFolder is where a retry makes new parts before it puts them in place.
const RetryFolder = "_retry"

// RefusedError says that the output folder holds something that this run must not be mixed with.
type RefusedError struct {
	Output string
	What   string   // what is there
	Fields []string // what differs
	// Foreign says that no run of Sower made it, so that --overwrite is no way out.
	Foreign bool
}

func (e *RefusedError) Error() string {
	s := fmt.Sprintf("%s %s", e.Output, e.What)
	for i, f := range e.Fields {
		if i == 12 {
			s += fmt.Sprintf("\n    … and %d more", len(e.Fields)-i)
			break
		}
		s += "\n    " + f
	}
	if e.Foreign {
		return s + "\nChoose another --output, or delete them yourself."
	}
	return s + "\nChoose another --output, go back to the old settings, or start again with --overwrite (which deletes the old corpus)."
}

// Hold keeps an output folder for this run until release is called or the process ends: two runs in one folder would sweep away each other's
// temporary files, or overwrite under each other. Folders of object stores are not kept.
func Hold(ctx context.Context, out *blob.Bucket) (release func(), err error) {
	release, err = out.Hold(ctx)
	if errors.Is(err, blob.ErrHeld) {
		return nil, fmt.Errorf("%s: %w: wait until it has ended, or stop it; then run this command again", out.URL(), blob.ErrHeld)
	}
	return release, err
}

// Prepare makes the output folder ready for a run of plan p with identity id. It returns the manifest of an earlier run
// when there is nothing left to do.
func Prepare(ctx context.Context, out *blob.Bucket, p *plan.Plan, id schemas.Identity, overwrite bool) (*schemas.Manifest, error) {
	if overwrite {
		if err := wipe(ctx, out); err != nil {
			return nil, err
		}
	}
	switch _, err := out.Stat(ctx, RetryFolder+"/"+schemas.ManifestName); {
	case err == nil:
		return nil, fmt.Errorf("%s holds a retry that is not in place yet: run sower retry --codes %s first", out.URL(), out.URL())
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	done, err := finished(ctx, out, p, id)
	if err != nil || done != nil {
		return done, err
	}
	old, err := plan.Read(ctx, out)
	if err != nil {
		return nil, err
	}
	parts, err := corpus.Parts(ctx, out, "data")
	if err != nil {
		return nil, err
	}
	switch {
	case old == nil && len(parts) > 0:
		return nil, &RefusedError{Output: out.URL(), Foreign: true, What: fmt.Sprintf("holds %d files in data/ but no plan: they are not of a run that can be resumed", len(parts))}
	case old != nil:
		if err := sameAsBefore(ctx, out, old, p, id, parts); err != nil {
			return nil, err
		}
	}
	if err := Sweep(ctx, out); err != nil {
		return nil, err
	}
	if old == nil {
		return nil, p.Write(ctx, out)
	}
	return nil, nil
}

// Sweep removes the temporary files that a killed run left in an output folder.
func Sweep(ctx context.Context, out *blob.Bucket) error {
	for _, f := range folders {
		if _, err := out.Sweep(ctx, f+"/"); err != nil {
			return err
		}
	}
	for _, name := range top {
		if _, err := out.Sweep(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// finished returns the manifest if the run it describes is this one and its files are all there. A manifest whose files
// are not there is removed: it proves nothing any more.
func finished(ctx context.Context, out *blob.Bucket, p *plan.Plan, id schemas.Identity) (*schemas.Manifest, error) {
	m, err := ReadManifest(ctx, out)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	diff := m.Identity.Diff(id)
	if old, err := plan.Read(ctx, out); err == nil && old != nil {
		diff = append(diff, plan.Changes(old, p)...)
	}
	if len(diff) > 0 {
		return nil, &RefusedError{Output: out.URL(), What: "holds a finished corpus that was made with other settings or from other input:", Fields: diff}
	}
	switch err := Whole(ctx, out, m); {
	case errors.Is(err, ErrNotWhole):
		return nil, out.Delete(ctx, schemas.ManifestName)
	case err != nil:
		return nil, err
	}
	return m, nil
}

// ErrNotWhole marks a corpus that lacks files which its manifest lists.
var ErrNotWhole = errors.New("the corpus is not whole")

// Whole checks that the files of a manifest are there with their sizes. Who reads a corpus calls it first: parts that are gone
// would be rows that are lost without a word.
func Whole(ctx context.Context, b *blob.Bucket, m *schemas.Manifest) error {
	sizes, err := listed(ctx, b, m)
	if err != nil {
		return err
	}
	for _, f := range m.Files {
		info, there := sizes[f.Path]
		if !there {
			var err error
			if info, err = b.Stat(ctx, f.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			there = err == nil
		}
		switch {
		case !there:
			return fmt.Errorf("%w: %s is missing, %s lists it with %d rows; run the command that made it again", ErrNotWhole, blob.Join(b.URL(), f.Path), schemas.ManifestName, f.Rows)
		case info.Size != f.Bytes:
			return fmt.Errorf("%w: %s has %d bytes, %s says %d; run the command that made it again", ErrNotWhole, blob.Join(b.URL(), f.Path), info.Size, schemas.ManifestName, f.Bytes)
		}
	}
	return nil
}

// leastListed is how many files a folder must have for a listing to be cheaper than asking for each.
const leastListed = 50

// listed lists the folders in which a manifest has many files.
func listed(ctx context.Context, b *blob.Bucket, m *schemas.Manifest) (map[string]blob.Info, error) {
	count := map[string]int{}
	for _, f := range m.Files {
		count[path.Dir(f.Path)]++
	}
	out := map[string]blob.Info{}
	for folder, n := range count {
		if n < leastListed || folder == "." {
			continue
		}
		for info, err := range b.List(ctx, folder+"/") {
			if err != nil {
				return nil, err
			}
			out[info.Name] = info
		}
	}
	return out, nil
}

// deletions is how many files are deleted at a time.
const deletions = 16

// Delete removes files, the order being of no matter.
func Delete(ctx context.Context, b *blob.Bucket, names []string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(deletions)
	for _, name := range names {
		g.Go(func() error { return b.Delete(ctx, name) })
	}
	return g.Wait()
}

// sameAsBefore compares an unfinished run with this one.
func sameAsBefore(ctx context.Context, out *blob.Bucket, old, now *plan.Plan, id schemas.Identity, parts []blob.Info) error {
	fields := plan.Changes(old, now)
	for _, part := range parts {
		footer, err := corpus.ReadFooter(ctx, out, part.Name)
		if errors.Is(err, corpus.ErrDamaged) {
			continue // its unit will be done again
		}
		if err != nil {
			return err
		}
		var mixed *corpus.MixedError
		if err := corpus.SameIdentity(part.Name, footer, id); errors.As(err, &mixed) {
			fields = append(mixed.Fields, fields...)
		} else if err != nil {
			return err
		}
		break // all parts of a folder share an identity: each was checked when it was written
	}
	if len(fields) > 0 {
		return &RefusedError{Output: out.URL(), What: "holds an unfinished run with other settings or other input:", Fields: fields}
	}
	return nil
}

// wipe deletes what runs write, the manifest first: from then on nothing claims to be whole.
// Where neither manifest nor plan says that a run made them, files are somebody's and are left alone.
func wipe(ctx context.Context, out *blob.Bucket) error {
	plans, err := corpus.Parts(ctx, out, plan.Folder)
	if err != nil {
		return err
	}
	_, err = out.Stat(ctx, schemas.ManifestName)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil && len(plans) == 0 {
		for _, f := range folders {
			parts, err := corpus.Parts(ctx, out, f)
			if err != nil {
				return err
			}
			if len(parts) > 0 {
				return &RefusedError{Output: out.URL(), Foreign: true, What: fmt.Sprintf("holds %s and more that no run of Sower vouches for "+
					"(no %s, no plan): --overwrite deletes corpora alone", parts[0].Name, schemas.ManifestName)}
			}
		}
		return nil
	}
	for _, name := range []string{RetryFolder + "/" + schemas.ManifestName, schemas.ManifestName} {
		if err := out.Delete(ctx, name); err != nil {
			return err
		}
	}
	var staged []string
	for info, err := range out.List(ctx, RetryFolder+"/") {
		if err != nil {
			return err
		}
		staged = append(staged, info.Name)
	}
	if err := Delete(ctx, out, staged); err != nil {
		return err
	}
	for _, f := range folders {
		parts, err := corpus.Parts(ctx, out, f)
		if err != nil {
			return err
		}
		var names []string
		for _, p := range parts {
			names = append(names, p.Name)
		}
		if err := Delete(ctx, out, names); err != nil {
			return err
		}
	}
	return nil
}

// ReadManifest reads the manifest of an output folder; errors.Is(err, fs.ErrNotExist) when there is none.
func ReadManifest(ctx context.Context, out *blob.Bucket) (*schemas.Manifest, error) {
	p, err := out.ReadAll(ctx, schemas.ManifestName, 1<<30)
	if err != nil {
		return nil, err
	}
	m, err := schemas.ParseManifest(p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; if it is damaged, delete it and run the command that made the corpus again (what is committed stays)",
			blob.Join(out.URL(), schemas.ManifestName), err)
	}
	return m, nil
}

// ErrUnfinished is the result of a run that ended without a manifest.
var ErrUnfinished = errors.New("the run ended without a manifest: it is not finished; run the same command again to finish it")

// Verify reads the manifest that a run has just written and checks that it is this run's and adds up.
func Verify(ctx context.Context, out *blob.Bucket, id schemas.Identity) (*schemas.Manifest, error) {
	m, err := ReadManifest(ctx, out)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrUnfinished
	}
	if err != nil {
		return nil, err
	}
	if diff := m.Identity.Diff(id); len(diff) > 0 {
		return nil, fmt.Errorf("the manifest is another run's: %s", strings.Join(diff, "; "))
	}
	if err := m.Counts.Check(); err != nil {
		return nil, err
	}
	var rows int64
	for _, f := range m.Files {
		if strings.HasPrefix(f.Path, "data/") {
			rows += f.Rows
		}
	}
	// A record of interleave may become several sequences, or share a packed row.
	if m.Pipeline != "interleave" && rows != m.Counts.Encoded {
		return nil, fmt.Errorf("the manifest counts %d encoded rows, its files hold %d", m.Counts.Encoded, rows)
	}
	return m, nil
}
