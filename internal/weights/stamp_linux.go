package weights

import (
	"os"
	"syscall"
	"time"
)

// identityOf is a file's inode and the time of its last change, which no program can set back.
func identityOf(info os.FileInfo) (number uint64, changed time.Time) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino, time.Unix(int64(st.Ctim.Sec), int64(st.Ctim.Nsec))
	}
	return 0, info.ModTime()
}
