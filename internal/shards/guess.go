package shards

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"sower/internal/blob"
)

// formatByExt maps the extensions that say what a file is to the format that reads it.
var formatByExt = map[string]string{
	"tar": "webdataset", "tar.gz": "webdataset", "tgz": "webdataset",
	"parquet": "parquet", "pq": "parquet",
	"jsonl": "jsonl", "ndjson": "jsonl", "jsonl.gz": "jsonl", "ndjson.gz": "jsonl",
	"csv": "csv", "csv.gz": "csv", "tsv": "tsv", "tsv.gz": "tsv",
	"jpg": "folder", "jpeg": "folder", "png": "folder", "webp": "folder", "gif": "folder", "bmp": "folder",
}

// shardExt is the extension of a file's name as formatByExt has it, with the one before .gz.
func shardExt(name string) string {
	base := strings.ToLower(path.Base(name))
	stem, ext := cutExt(base)
	if ext == "gz" {
		_, inner := cutExt(stem)
		return inner + ".gz"
	}
	return ext
}

// sniff says which format the first bytes of a file look like; arg is what the user called it.
func sniff(ctx context.Context, b *blob.Bucket, name, arg string) (string, error) {
	r, err := b.Open(ctx, name)
	if err != nil {
		return "", err
	}
	defer r.Close()
	p := make([]byte, tarBlock)
	n, err := r.ReadAt(p, 0)
	if err != nil && err != io.EOF {
		return "", err
	}
	p = p[:n]
	switch {
	case bytes.HasPrefix(p, []byte("PAR1")):
		return "parquet", nil
	case n == tarBlock && checksumOK((*[tarBlock]byte)(p)):
		return "webdataset", nil
	case bytes.HasPrefix(bytes.TrimLeft(bytes.TrimPrefix(p, utf8BOM), " \r\n"), []byte("{")):
		return "jsonl", nil
	case bytes.HasPrefix(bytes.TrimLeft(bytes.TrimPrefix(p, utf8BOM), " \t\r\n"), []byte("[")):
		return "llava", nil // the only format that is an array
	case bytes.HasPrefix(p, []byte("\xff\xd8\xff")), bytes.HasPrefix(p, []byte("\x89PNG\r\n")), bytes.HasPrefix(p, []byte("GIF8")),
		bytes.HasPrefix(p, []byte("BM")), len(p) >= 12 && string(p[:4]) == "RIFF" && string(p[8:12]) == "WEBP":
		return "folder", nil
	}
	return "", fmt.Errorf("%s: cannot tell its format from its name or its first bytes; say which with --format (have: %s)%s",
		arg, strings.Join(Formats(), ", "), compressedHint(p))
}

// documents says which format of documents a file is of, when a reader of pairs would take it, too; else "".
func documents(ctx context.Context, b *blob.Bucket, info blob.Info, base string) (string, error) {
	src, bad, err := openSource(ctx, &Options{Root: b}, Source{Name: info.Name, Size: info.Size, Tag: info.Tag})
	if err != nil || bad != nil {
		return "", err
	}
	defer src.Close()
	for _, name := range Formats() {
		f, ok := formats[name].(documentFormat)
		if ok && slices.Contains(f.bases(), base) && f.guess(src, base) {
			return name, src.err
		}
	}
	return "", src.err
}

// isOf says whether a file's extension is one that files of a format have.
func isOf(format, ext string) bool {
	if formatByExt[ext] == format {
		return true
	}
	f, ok := formats[format].(documentFormat)
	return ok && slices.ContainsFunc(f.bases(), func(base string) bool {
		return base == formatByExt[ext] || base == strings.TrimSuffix(ext, ".gz")
	})
}

// errMixed marks folders and wildcards that hold files of several formats.
var errMixed = errors.New("files of several formats")

// selection is what is read of the files that a folder or a wildcard stands for.
type selection struct {
	files  []found
	notes  []string
	format string
}

// choose picks the files to read. All must be of one format: a JSONL beside tars may be an index, a second copy or more
// data, and only the user can say. What is known to go with others (img2dataset's reports, captions, metadata) is left
// out and counted.
func choose(pattern string, files []found, format string) (selection, error) {
	var sel selection
	stems := map[string]bool{} // tars without extension, and folders with images
	for _, f := range files {
		switch formatByExt[shardExt(f.info.Name)] {
		case "webdataset":
			stems[f.info.Name[:len(f.info.Name)-len(shardExt(f.info.Name))-1]] = true
		case "folder":
			stems[path.Dir(f.info.Name)] = true
		}
	}
	byFormat := map[string][]found{}
	images := false
	for _, f := range files {
		images = images || formatByExt[shardExt(f.info.Name)] == "folder"
	}
	ignored := map[string]int{}
	reports, metadata := 0, 0
	for _, f := range files {
		ext := shardExt(f.info.Name)
		name := formatByExt[ext]
		if format != "" && isOf(format, ext) {
			name = format
		}
		stem, _ := cutExt(f.info.Name)
		switch {
		case name == "parquet" && stems[stem] && format != "parquet":
			reports++
		case images && isMetadataName(f.info.Name) && format != name:
			metadata++
		case name == "":
			ignored[ext]++
		default:
			byFormat[name] = append(byFormat[name], f)
		}
	}
	switch {
	case format != "" && len(byFormat[format]) > 0:
		sel.format = format
	case format != "": // the files' names do not say so, but the user does
		sel.format = format
		byFormat = map[string][]found{format: files}
		ignored = nil
	case len(byFormat) > 1:
		var have []string
		for _, n := range slices.Sorted(maps.Keys(byFormat)) {
			have = append(have, fmt.Sprintf("%d %s (%s)", len(byFormat[n]), n, byFormat[n][0].info.Name))
		}
		return sel, fmt.Errorf("%s: %w: %s; name what to read with a wildcard such as *.tar, or with --format", pattern, errMixed, strings.Join(have, ", "))
	case len(byFormat) == 0:
		return sel, fmt.Errorf("%s: %d files, none of a format that is read (have: %s)", pattern, len(files), strings.Join(Formats(), ", "))
	default:
		for n := range byFormat {
			sel.format = n
		}
	}
	sel.files = byFormat[sel.format]
	delete(byFormat, sel.format)
	note := func(n int, what string) {
		if n > 0 {
			sel.notes = append(sel.notes, fmt.Sprintf("%s: %d %s", pattern, n, what))
		}
	}
	note(reports, "Parquet files not read: they describe the tar or folder of the same name, as img2dataset writes them")
	if sel.format == "folder" {
		note(metadata, "metadata files joined to their images")
	} else {
		note(metadata, "metadata files not read")
	}
	for _, n := range slices.Sorted(maps.Keys(byFormat)) {
		note(len(byFormat[n]), n+" files not read, as --format says")
	}
	for _, ext := range slices.Sorted(maps.Keys(ignored)) {
		what := "files without extension not read"
		switch {
		case ext != "" && sel.format == "folder" && (oneOf(textExts, ext) >= 0 || ext == "json"):
			what = "." + ext + " files joined to the images of the same name, where there is one"
		case ext != "":
			what = "." + ext + " files not read"
		}
		note(ignored[ext], what)
	}
	return sel, nil
}
