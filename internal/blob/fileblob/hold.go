package fileblob

import (
	"os"

	"sower/internal/blob/driver"
	"sower/internal/flock"
)

// Hold implements driver.Holder by a lock on the root folder itself, which leaves no file behind, is let go by the system when the process
// ends, however it ends, and is not passed on to processes that it starts. Network file systems may refuse it: then nobody is kept out.
func (b *bucket) Hold() (release func(), err error) {
	if err := makeFolder(b.root); err != nil {
		return nil, err
	}
	f, err := os.Open(b.root)
	if err != nil {
		return nil, err
	}
	held, err := flock.Try(f, false)
	if err == nil && !held {
		f.Close()
		return nil, driver.ErrHeld
	}
	return func() { f.Close() }, nil
}
