package fetch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sower/internal/flock"
)

// Environment variables of the cache.
const (
	FolderVariable = "SOWER_CACHE"      // its folder; default: sower/fetched in the user's cache folder
	SizeVariable   = "SOWER_CACHE_SIZE" // bytes, or with K, M, G or T at the end; default 64G
)

const (
	defaultLimit = 64 << 30
	// reserve is what is left free on the disk.
	reserve = 1 << 30
	lockExt = ".lock"
	part    = ".part-"
)

// cache is a folder with, for every key, a folder KEY of files, whole or not there, and a file KEY.lock: shared by
// processes that use the entry, held alone by the one that fetches or deletes it. The lock file's time is that of the last use.
type cache struct {
	dir   string
	limit int64
}

func openCache() (*cache, error) {
	c := &cache{dir: os.Getenv(FolderVariable), limit: defaultLimit}
	if text := os.Getenv(SizeVariable); text != "" {
		var err error
		if c.limit, err = parseSize(text); err != nil {
			return nil, fmt.Errorf("%s %q: want bytes, or a number with K, M, G or T", SizeVariable, text)
		}
	}
	if c.dir == "" {
		user, err := os.UserCacheDir()
		if err != nil { // workers in containers may have no home
			user = filepath.Join(os.TempDir(), fmt.Sprintf("sower-%d", os.Getuid()))
		}
		c.dir = filepath.Join(user, "sower", "fetched")
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w; set %s to a folder that can be written", err, FolderVariable)
	}
	return c, nil
}

func parseSize(text string) (int64, error) {
	shift := 0
	upper := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(text), "B"), "I")
	if n := len(upper); n > 0 {
		if i := strings.IndexByte("KMGT", upper[n-1]); i >= 0 {
			shift, upper = 10*(i+1), upper[:n-1]
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(upper), 10, 64)
	if err != nil || n < 0 || n > 1<<62>>shift {
		return 0, errors.New("no size")
	}
	return n << shift, nil
}

// inUse are the locks that this process holds until it ends, by their files' names.
var inUse struct {
	sync.Mutex
	by map[string]*os.File
}

func keep(name string, lock *os.File) {
	inUse.Lock()
	defer inUse.Unlock()
	if inUse.by[name] != nil {
		lock.Close()
		return
	}
	if inUse.by == nil {
		inUse.by = map[string]*os.File{}
	}
	inUse.by[name] = lock
}

func (c *cache) path(w *wanted) string {
	p := filepath.Join(c.dir, w.key)
	if w.single {
		p = filepath.Join(p, w.files[0].Name)
	}
	return p
}

// get gives the path of an entry, which it fetches if need be.
func (c *cache) get(ctx context.Context, w *wanted, note func(string, ...any)) (string, error) {
	entry := filepath.Join(c.dir, w.key)
	said := false
	for {
		lock, alone, err := acquire(entry+lockExt, exists(entry))
		if err != nil {
			return "", err
		}
		switch {
		case lock == nil: // somebody fetches or deletes it
			if !said {
				note("waiting for another process that fetches %s", w.arg)
				said = true
			}
			select {
			case <-ctx.Done():
				return "", ctx.Err()
			case <-time.After(100 * time.Millisecond):
			}
			continue
		case exists(entry):
			now := time.Now()
			_ = os.Chtimes(entry+lockExt, now, now)
			if alone {
				err = flock.Share(lock)
			}
			if err == nil {
				keep(entry, lock)
				return c.path(w), nil
			}
		case alone:
			if err = c.fill(ctx, w, entry, note); err == nil {
				err = flock.Share(lock)
			}
			if err == nil {
				keep(entry, lock)
				return c.path(w), nil
			}
		}
		// A shared lock on an entry that has been deleted meanwhile: once more, alone.
		lock.Close()
		if err != nil {
			return "", err
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// acquire locks a file without waiting: shared, or alone. It gives nil where another process is in the way. A lock on a file
// that was deleted between opening and locking it locks nothing, and is tried again.
func acquire(name string, shared bool) (lock *os.File, alone bool, err error) {
	for {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, false, err
		}
		ok, err := flock.Try(f, shared)
		if err != nil || !ok {
			f.Close()
			return nil, false, err
		}
		mine, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, false, err
		}
		if there, err := os.Stat(name); err == nil && os.SameFile(mine, there) {
			return f, !shared, nil
		}
		f.Close()
	}
}

// fill fetches an entry. The lock is held alone.
func (c *cache) fill(ctx context.Context, w *wanted, entry string, note func(string, ...any)) error {
	temp := filepath.Join(c.dir, part+filepath.Base(entry))
	if err := os.RemoveAll(temp); err != nil { // what a killed process left
		return err
	}
	if err := c.makeRoom(w.bytes); err != nil {
		return err
	}
	if err := os.Mkdir(temp, 0o700); err != nil {
		return err
	}
	err := download(ctx, w, temp, note)
	if err == nil {
		err = w.same(ctx)
	}
	if err == nil {
		err = syncFolder(temp)
	}
	if err == nil {
		err = os.Rename(temp, entry)
	}
	if err == nil {
		err = syncFolder(c.dir)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(temp))
	}
	return nil
}

// entry of the cache, as found on the disk.
type entry struct {
	path string
	size int64
	used time.Time
}

func (c *cache) entries() (all []entry, total int64, err error) {
	list, err := os.ReadDir(c.dir)
	if err != nil {
		return nil, 0, err
	}
	for _, e := range list {
		if !e.IsDir() {
			continue
		}
		x := entry{path: filepath.Join(c.dir, e.Name())}
		files, err := os.ReadDir(x.path)
		if err != nil {
			continue // deleted meanwhile
		}
		for _, f := range files {
			if i, err := f.Info(); err == nil {
				x.size += i.Size()
			}
		}
		if i, err := os.Stat(x.lock()); err == nil {
			x.used = i.ModTime()
		}
		total += x.size
		all = append(all, x)
	}
	slices.SortFunc(all, func(a, b entry) int { return a.used.Compare(b.used) })
	return all, total, nil
}

// lock is the entry's lock file, also of one whose download was cut short.
func (e entry) lock() string {
	return filepath.Join(filepath.Dir(e.path), strings.TrimPrefix(filepath.Base(e.path), part)) + lockExt
}

// makeRoom deletes entries, the one whose last use is longest ago first, until need bytes fit below the limit and on the
// disk. Entries that a process uses stay. Only a full disk is an error: a model larger than the limit is fetched all the same.
func (c *cache) makeRoom(need int64) error {
	all, total, err := c.entries()
	if err != nil {
		return err
	}
	for _, e := range all {
		free, known := freeSpace(c.dir)
		if total+need <= c.limit && (!known || free >= need+reserve) {
			return nil
		}
		if e.delete() {
			total -= e.size
		}
	}
	if free, known := freeSpace(c.dir); known && free < need+reserve {
		return fmt.Errorf("%s has %s free, %s are needed, and %s stay free: set %s to a folder on a larger disk", c.dir, size(free), size(need), size(reserve), FolderVariable)
	}
	return nil
}

// delete removes an entry that nobody uses.
func (e entry) delete() bool {
	lock, _, err := acquire(e.lock(), false)
	if err != nil || lock == nil {
		return false
	}
	defer lock.Close()
	if err := os.RemoveAll(e.path); err != nil {
		return false
	}
	_ = os.Remove(e.lock())
	return true
}

func size(n int64) string {
	for _, u := range []struct {
		name  string
		shift int
	}{{"TiB", 40}, {"GiB", 30}, {"MiB", 20}} {
		if n >= 1<<u.shift {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(int64(1)<<u.shift), u.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
