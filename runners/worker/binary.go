package worker

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
)

// BinaryOption is the pipeline option with the SHA-256 of the program that a job was submitted with. Where it is set, a worker that
// is another program refuses to work: its functions may have the same names and do something else.
const BinaryOption = "sower_worker_sha256"

// Digest is the SHA-256 of a program's file.
func Digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("digest of %s: %w", path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// sameBinary refuses to work for a job of another program.
func (j *job) sameBinary() error {
	want := j.options.Options[BinaryOption]
	if want == "" {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("this program's own file is not known: %w", err)
	}
	have, err := Digest(self)
	if err != nil {
		return err
	}
	if have != want {
		return fmt.Errorf("%s is another build (SHA-256 %.12s…) than the program that submitted the job (%.12s…): put the same file on every machine", self, have, want)
	}
	return nil
}
