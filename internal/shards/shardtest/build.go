// Package shardtest builds small inputs in memory and holds the suite that every format of package shards passes.
package shardtest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"testing"

	"github.com/parquet-go/parquet-go"

	"sower/internal/blob"
	"sower/internal/blob/memblob"
)

// File is one part of a sample: its extension (without the first dot) and its bytes.
type File struct {
	Ext  string
	Data []byte
}

// Sample is one sample of a tar: its files follow each other under the name Key.Ext.
type Sample struct {
	Key   string
	Files []File
}

// Captioned is the usual sample: a JPEG and a caption.
func Captioned(key string, image []byte, caption string) Sample {
	return Sample{key, []File{{"jpg", image}, {"txt", []byte(caption)}}}
}

// Tar packs samples as a WebDataset shard. It panics on what cannot be packed, as a test wants.
func Tar(samples ...Sample) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, s := range samples {
		for _, f := range s.Files {
			h := &tar.Header{Name: s.Key + "." + f.Ext, Size: int64(len(f.Data)), Mode: 0o644, Typeflag: tar.TypeReg}
			if err := w.WriteHeader(h); err != nil {
				panic(fmt.Sprintf("shardtest: %s: %v", h.Name, err))
			}
			if _, err := w.Write(f.Data); err != nil {
				panic(fmt.Sprintf("shardtest: %s: %v", h.Name, err))
			}
		}
	}
	if err := w.Close(); err != nil {
		panic(fmt.Sprintf("shardtest: %v", err))
	}
	return b.Bytes()
}

// Gzip compresses p.
func Gzip(p []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(p)
	w.Close()
	return b.Bytes()
}

// picture is a small pattern that differs for every seed.
func picture(w, h int, seed uint32) image.Image {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.Set(x, y, color.RGBA{uint8(x*7 + int(seed)), uint8(y*11 + int(seed>>8)), uint8((x^y)*5 + int(seed*31)), 255})
		}
	}
	return m
}

// JPEG is a w by h picture that differs for every seed.
func JPEG(w, h int, seed uint32) []byte {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, picture(w, h, seed), nil); err != nil {
		panic(fmt.Sprintf("shardtest: %v", err))
	}
	return b.Bytes()
}

// PNG is a w by h picture that differs for every seed.
func PNG(w, h int, seed uint32) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, picture(w, h, seed)); err != nil {
		panic(fmt.Sprintf("shardtest: %v", err))
	}
	return b.Bytes()
}

// Parquet writes rows of any Parquet-tagged struct, rowsPerGroup to a row group (0: all in one).
func Parquet[Row any](rowsPerGroup int, rows ...Row) []byte {
	var b bytes.Buffer
	w := parquet.NewGenericWriter[Row](&b, parquet.PageBufferSize(4096))
	for i, r := range rows {
		if rowsPerGroup > 0 && i > 0 && i%rowsPerGroup == 0 {
			if err := w.Flush(); err != nil {
				panic(fmt.Sprintf("shardtest: %v", err))
			}
		}
		if _, err := w.Write([]Row{r}); err != nil {
			panic(fmt.Sprintf("shardtest: %v", err))
		}
	}
	if err := w.Close(); err != nil {
		panic(fmt.Sprintf("shardtest: %v", err))
	}
	return b.Bytes()
}

// Img2DatasetRow has the columns that img2dataset writes with output_format=parquet.
type Img2DatasetRow struct {
	URL            string  `parquet:"url,optional"`
	Caption        *string `parquet:"caption,optional"`
	Key            string  `parquet:"key,optional"`
	Status         string  `parquet:"status,optional"`
	ErrorMessage   *string `parquet:"error_message,optional"`
	Width          *int32  `parquet:"width,optional"`
	Height         *int32  `parquet:"height,optional"`
	OriginalWidth  *int32  `parquet:"original_width,optional"`
	OriginalHeight *int32  `parquet:"original_height,optional"`
	EXIF           *string `parquet:"exif,optional"`
	SHA256         *string `parquet:"sha256,optional"`
	JPG            []byte  `parquet:"jpg,optional"`
	TXT            *string `parquet:"txt,optional"`
}

// HuggingFaceRow has an image column as the datasets library writes it.
type HuggingFaceRow struct {
	Image struct {
		Bytes []byte  `parquet:"bytes,optional"`
		Path  *string `parquet:"path,optional"`
	} `parquet:"image,optional"`
	Text  *string `parquet:"text,optional"`
	Label int64   `parquet:"label,optional"`
}

// HuggingFace makes a row of a datasets table.
func HuggingFace(image []byte, path, text string, label int64) HuggingFaceRow {
	var r HuggingFaceRow
	r.Image.Bytes, r.Image.Path, r.Text, r.Label = image, &path, &text, label
	return r
}

// Store is a bucket in memory with these objects.
func Store(tb testing.TB, objects map[string][]byte) *blob.Bucket {
	tb.Helper()
	b := memblob.New()
	for name, data := range objects {
		if err := b.WriteAll(tb.Context(), name, data); err != nil {
			tb.Fatal(err)
		}
	}
	return b
}
