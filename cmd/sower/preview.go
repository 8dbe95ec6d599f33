package main

import (
	"errors"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"sower/internal/blob"
	"sower/internal/pixels"
)

type previewOptions struct {
	output, resize string
	size           int
	maxPixels      int64
}

func newPreview() *cobra.Command {
	var o previewOptions
	cmd := &cobra.Command{
		Use:   "preview IMAGE... --output FOLDER",
		Short: "Write images exactly as the model sees them",
		Long: `Preview decodes and squashes images as encode does and writes what the model would get as PNG: <stem>.png, or
<stem>.<ext>.png where two images have the same stem. No model is needed.`,
		Example: "  sower preview photos/* --output seen/ --resize bicubic",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError{errorf("preview: no images given")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := need(cmd, "output"); err != nil {
				return err
			}
			return o.execute(cmd, args)
		},
	}
	cmd.Flags().StringVarP(&o.output, "output", "o", "", "folder for the PNG files")
	cmd.Flags().StringVar(&o.resize, "resize", "bicubic", "bicubic or bilinear")
	cmd.Flags().Int64Var(&o.maxPixels, "max-pixels", pixels.DefaultMaxPixels, "refuse images of more pixels, by their header")
	cmd.Flags().IntVar(&o.size, "size", 224, "width and height of the result, in pixels")
	return cmd
}

func (o *previewOptions) execute(cmd *cobra.Command, files []string) error {
	filter, err := pixels.ParseFilter(o.resize)
	if err != nil {
		return usageError{err}
	}
	if o.size < 1 || o.size > 4096 {
		return usageError{errorf("preview: --size %d: want 1 to 4096", o.size)}
	}
	out, err := blob.OpenBucket(cmd.Context(), absolute(o.output))
	if err != nil {
		return err
	}
	defer out.Close()
	names := previewNames(files)
	var failed []error
	for i, f := range files {
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		if err := o.one(cmd, out, f, names[i], filter); err != nil {
			failed = append(failed, err)
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: %v\n", f, err)
		}
	}
	fmt.Fprintf(cmd.OutOrStdout(), "wrote %d of %d images to %s\n", len(files)-len(failed), len(files), o.output)
	if len(failed) > 0 {
		return errorf("preview: %d of %d images failed", len(failed), len(files))
	}
	return nil
}

func (o *previewOptions) one(cmd *cobra.Command, out *blob.Bucket, file, name string, filter pixels.Filter) error {
	st, err := os.Stat(file)
	if err != nil {
		return err
	}
	if st.IsDir() {
		return errors.New("is a folder: give the images in it")
	}
	if st.Size() > pixels.DefaultMaxBytes {
		return fmt.Errorf("%d bytes, more than %d", st.Size(), pixels.DefaultMaxBytes)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	im := image.NewNRGBA(image.Rect(0, 0, o.size, o.size))
	rgb := make([]byte, 3*o.size*o.size)
	if _, _, err := pixels.Prepare(rgb, data, o.size, filter, pixels.Limits{MaxPixels: o.maxPixels}); err != nil {
		return err
	}
	for i := range o.size * o.size {
		copy(im.Pix[4*i:], rgb[3*i:3*i+3])
		im.Pix[4*i+3] = 255
	}
	w, err := out.Create(cmd.Context(), name)
	if err != nil {
		return err
	}
	defer w.Abort()
	if err := png.Encode(w, im); err != nil {
		return err
	}
	return w.Commit()
}

// previewNames gives each file <stem>.png, <stem>.<ext>.png where stems collide, and a number where even that does.
func previewNames(files []string) []string {
	stems := map[string]int{}
	stem := func(f string) string {
		b := filepath.Base(f)
		return strings.TrimSuffix(b, filepath.Ext(b))
	}
	for _, f := range files {
		stems[stem(f)]++
	}
	used := map[string]int{}
	names := make([]string, len(files))
	for i, f := range files {
		name := stem(f)
		if stems[name] > 1 {
			name = filepath.Base(f)
		}
		if n := used[name]; n > 0 {
			used[name]++
			name = fmt.Sprintf("%s.%d", name, n+1)
		} else {
			used[name] = 1
		}
		names[i] = name + ".png"
	}
	return names
}
