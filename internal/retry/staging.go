package retry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"golang.org/x/sync/errgroup"

	"sower/internal/blob"
	"sower/internal/corpus"
	"sower/internal/encode"
	"sower/internal/launch"
	"sower/internal/plan"
	"sower/schemas"
)

// workFolder holds the work file of a retry in the staging folder.
const workFolder = "_work"

// transfers is how many files are read or copied at a time by the launcher.
const transfers = 16

// WorkName is the file of the task's rows in the staging folder. It is named by all that decides what is staged: the rows, the new
// plan and the times of its files.
func (t *Task) WorkName(now *plan.Plan) string {
	h := sha256.New()
	e := json.NewEncoder(h)
	for _, r := range t.Rows {
		e.Encode(r)
	}
	for _, r := range now.Rows {
		e.Encode([]any{r.Source, r.Size, r.Tag})
	}
	io.WriteString(h, now.Digest)
	return workFolder + "/" + hex.EncodeToString(h.Sum(nil)) + ".parquet"
}

// Clear makes the staging folder ready for a task: what another one left is deleted, what this one left stays.
func Clear(ctx context.Context, staging *blob.Bucket, work string) error {
	if _, err := staging.Sweep(ctx, ""); err != nil {
		return err
	}
	_, err := staging.Stat(ctx, work)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return empty(ctx, staging)
}

// Discard deletes what an abandoned retry left.
func Discard(ctx context.Context, staging *blob.Bucket) error {
	if _, err := staging.Sweep(ctx, ""); err != nil {
		return err
	}
	return empty(ctx, staging)
}

// empty deletes everything in the staging folder, the manifest first: from then on nothing is to be put in place.
func empty(ctx context.Context, staging *blob.Bucket) error {
	if err := staging.Delete(ctx, schemas.ManifestName); err != nil {
		return err
	}
	var names []string
	for info, err := range staging.List(ctx, "") {
		if err != nil {
			return err
		}
		names = append(names, info.Name)
	}
	return launch.Delete(ctx, staging, names)
}

// WriteWork writes the rows of a task.
func (t *Task) WriteWork(ctx context.Context, staging *blob.Bucket, name string) error {
	part, err := corpus.Create[schemas.RetryRow](ctx, staging, name, nil)
	if err != nil {
		return err
	}
	defer part.Abort()
	for _, r := range t.Rows {
		if err := part.Append(r, 64+16*len(r.Ranges)+128*len(r.Parts)); err != nil {
			return err
		}
	}
	_, err = part.Commit()
	return err
}

// Staged reports whether a retry is computed and waits to be put in place.
func Staged(ctx context.Context, staging *blob.Bucket) (*schemas.Manifest, error) {
	m, err := launch.ReadManifest(ctx, staging)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return m, err
}

// Install puts what was staged in place: parts, plan, card and, last, the manifest. The corpus has no manifest meanwhile, so that nobody
// takes it for whole. Killed anywhere, it is called again and does the rest. What would have fewer images than the corpus is thrown
// away with ErrLoss, unless allowLoss.
func Install(ctx context.Context, b, staging *blob.Bucket, allowLoss bool) (*schemas.Manifest, error) {
	m, err := launch.ReadManifest(ctx, staging)
	if err != nil {
		return nil, err
	}
	if err := m.Counts.Check(); err != nil {
		return nil, err
	}
	was, err := launch.ReadManifest(ctx, b)
	switch {
	case err == nil && was.Counts.Encoded > m.Counts.Encoded && !allowLoss:
		return nil, errors.Join(fmt.Errorf("retry: %w: it has %d images with codes and would have %d", encode.ErrLoss, was.Counts.Encoded, m.Counts.Encoded), empty(ctx, staging))
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if err := launch.Sweep(ctx, b); err != nil {
		return nil, err
	}
	if err := b.Delete(ctx, schemas.ManifestName); err != nil {
		return nil, err
	}
	listed := map[string]schemas.File{}
	for _, f := range m.Files {
		listed[f.Path] = f
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(transfers)
	for info, err := range staging.List(gctx, "") {
		if err != nil {
			return nil, errors.Join(err, g.Wait())
		}
		f, part := listed[info.Name]
		folder := path.Dir(info.Name)
		if !part && folder != plan.Folder && folder != "." || info.Name == schemas.ManifestName {
			continue
		}
		g.Go(func() error { return copyFile(gctx, staging, b, info.Name, f.SHA256) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	keep := func(name string) bool { _, ok := listed[name]; return ok }
	for _, folder := range []string{"data", "documents", "rejects"} {
		if err := deleteOthers(ctx, b, folder, keep); err != nil {
			return nil, err
		}
	}
	if err := deleteOthers(ctx, b, plan.Folder, func(name string) bool { return name == plan.Folder+"/"+m.Identity.Plan+".parquet" }); err != nil {
		return nil, err
	}
	if err := launch.Whole(ctx, b, m); err != nil {
		return nil, err
	}
	if err := copyFile(ctx, staging, b, schemas.ManifestName, ""); err != nil {
		return nil, err
	}
	return m, empty(ctx, staging)
}

func deleteOthers(ctx context.Context, b *blob.Bucket, folder string, keep func(string) bool) error {
	parts, err := corpus.Parts(ctx, b, folder)
	if err != nil {
		return err
	}
	var names []string
	for _, p := range parts {
		if !keep(p.Name) {
			names = append(names, p.Name)
		}
	}
	return launch.Delete(ctx, b, names)
}

// copyFile copies an object of one store to the same name in another, and checks its digest if it is given.
func copyFile(ctx context.Context, from, to *blob.Bucket, name, sum string) error {
	r, err := from.Open(ctx, name)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := to.Create(ctx, name)
	if err != nil {
		return err
	}
	defer w.Abort()
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(w, h), io.NewSectionReader(r, 0, r.Size())); err != nil {
		return fmt.Errorf("retry: copy %s: %w", name, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); sum != "" && got != sum {
		return fmt.Errorf("retry: %s has SHA-256 %.16s…, its manifest says %.16s…: it was damaged since; delete the folder %s and retry", blob.Join(from.URL(), name), got, sum, strings.TrimRight(from.URL(), "/"))
	}
	if err := w.Commit(); err != nil {
		return fmt.Errorf("retry: copy %s: %w", name, err)
	}
	return nil
}
