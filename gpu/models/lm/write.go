package lm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"sower/gpu/checkpoint"
)

// Write makes a model folder that transformers reads: config.json and model.safetensors, tensor by tensor. Element types stay,
// save that float64 becomes float32 and blocks of GGUF files float16. The folder may exist; files in it are replaced.
func (c *Checkpoint) Write(dir string) error {
	if err := c.write(dir); err != nil {
		return fmt.Errorf("lm: write %s: %w", dir, err)
	}
	return nil
}

func (c *Checkpoint) write(dir string) error {
	if bytes.Contains(c.Config, []byte(`"freq_factors"`)) {
		return errors.New("the model comes from a GGUF file with frequency factors, which config.json cannot say")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var entries []checkpoint.Entry
	for _, info := range c.Source.Tensors() {
		switch {
		case !info.DType.Float() || c.Tied() && info.Name == "lm_head.weight":
			continue
		case info.DType == checkpoint.F64:
			info.DType = checkpoint.F32
		case info.DType.Size() == 0:
			info.DType = checkpoint.F16
		}
		entries = append(entries, checkpoint.Entry{Info: info, From: c.Source})
	}
	var config bytes.Buffer
	if err := json.Indent(&config, c.Config, "", "  "); err != nil {
		return err
	}
	config.WriteByte('\n')
	return errors.Join(
		WriteFile(filepath.Join(dir, "model.safetensors"), func(w io.Writer) error {
			return checkpoint.WriteSafetensors(w, entries, map[string]string{"format": "pt"})
		}),
		WriteFile(filepath.Join(dir, "config.json"), func(w io.Writer) error {
			_, err := w.Write(config.Bytes())
			return err
		}))
}

// WriteFile writes a file under another name first, so that no reader sees a part of it.
func WriteFile(path string, write func(w io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part*")
	if err != nil {
		return err
	}
	err = errors.Join(write(f), f.Chmod(0o644))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
