//go:build !linux

package weights

import (
	"os"
	"time"
)

// identityOf is only the time of the last write here.
func identityOf(info os.FileInfo) (number uint64, changed time.Time) { return 0, info.ModTime() }
