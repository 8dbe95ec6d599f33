//go:build !unix

package fetch

import (
	"errors"
	"os"
)

func tryLock(*os.File, bool) (bool, error) { return false, errNoLocks }
func share(*os.File) error                 { return errNoLocks }
func freeSpace(string) (int64, bool)       { return 0, false }
func syncFolder(string) error              { return nil }

var errNoLocks = errors.New("this system has no file locks that the cache could use: copy the files and give a local folder")
