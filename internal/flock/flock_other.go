//go:build !unix

package flock

import (
	"errors"
	"os"
)

// Try fails.
func Try(*os.File, bool) (bool, error) { return false, errors.ErrUnsupported }

// Share fails.
func Share(*os.File) error { return errors.ErrUnsupported }
