package shards

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sower/internal/blob"
	"sower/internal/blob/driver"
)

// paged is a store of names alone that gives them in pages of a thousand, one after another, and skips a refused folder that reaches
// beyond a page.
type paged struct {
	driver.Bucket
	names         []string
	pages         atomic.Int64
	now, together atomic.Int64
	fail          string
}

var errPage = errors.New("the store fails")

func (p *paged) List(ctx context.Context, prefix string) iter.Seq2[driver.Info, error] {
	return p.Walk(ctx, prefix, func(string) bool { return true })
}

func (p *paged) page() {
	p.pages.Add(1)
	p.together.Store(max(p.together.Load(), p.now.Add(1)))
	time.Sleep(200 * time.Microsecond)
	p.now.Add(-1)
}

func (p *paged) Walk(ctx context.Context, prefix string, enter func(string) bool) iter.Seq2[driver.Info, error] {
	return func(yield func(driver.Info, error) bool) {
		left, refused := 0, ""
		for _, name := range p.names {
			if !strings.HasPrefix(name, prefix) || left == 0 && refused != "" && strings.HasPrefix(name, refused) {
				continue
			}
			if left == 0 {
				if ctx.Err() != nil {
					yield(driver.Info{}, ctx.Err())
					return
				}
				p.page()
				left = 1000
			}
			left--
			if p.fail != "" && strings.HasPrefix(name, p.fail) {
				yield(driver.Info{}, errPage)
				return
			}
			if refused != "" && strings.HasPrefix(name, refused) {
				continue
			}
			if refused = blob.RefusedFolder(name, prefix, enter); refused != "" {
				continue
			}
			if !yield(driver.Info{Name: name}, ctx.Err()) {
				return
			}
		}
	}
}

// TestListing holds every way of listing to a plain one: the same files in the same order, in fewer steps one after another where the
// files lie in some large folders.
func TestListing(t *testing.T) {
	folders := func(n, each int, format string) (names []string) {
		for f := range n {
			for i := range each {
				names = append(names, fmt.Sprintf(format, f, i))
			}
		}
		return names
	}
	all := func(string) bool { return true }
	for _, c := range []struct {
		name     string
		names    []string
		start    string
		enter    func(string) bool
		together bool  // folders are listed side by side
		pages    int64 // at most
	}{
		{"few", folders(3, 1000, "in/%02d/%05d.tar"), "in/", nil, false, 5},
		{"one flat folder", folders(1, 30_000, "in/%02d/%05d.tar"), "in/", all, false, 55},
		{"large folders", append([]string{"in/00.tar"}, folders(30, 2000, "in/%02d/%05d.tar")...), "in/", all, true, 30 + 35 + 65},
		{"below one folder", append(folders(30, 1000, "in/deep/er/%02d/%05d.tar"), "in/readme"), "in/", nil, true, 120},
		{"many small folders", folders(3000, 10, "in/%04d/%05d.tar"), "in/", all, false, 55},
		{"folders that are not entered", folders(30, 1000, "in/%02d/%05d.tar"), "in/", func(f string) bool { return !strings.HasSuffix(f, "7/") }, true, 100},
		{"a part of a name", folders(40, 1000, "in/%02d/%05d.tar"), "in/1", all, false, 15},
		{"a flat folder below others", append(folders(1, 30_000, "in/deep/%02d/%05d.tar"), "in/readme"), "in/", all, false, 60},
		{"nothing", nil, "in/", nil, false, 1},
	} {
		p := &paged{names: c.names}
		b := blob.New("paged", p)
		var want []blob.Info
		for info, err := range b.Walk(context.Background(), c.start, c.enter) {
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, info)
		}
		p.pages.Store(0)
		p.together.Store(0)
		got, err := list(context.Background(), b, c.start, c.enter)
		if err != nil || len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %d files, want %d (%v)", c.name, len(got), len(want), err)
		}
		if n := p.together.Load(); n > 1 != c.together || p.pages.Load() > c.pages {
			t.Errorf("%s: %d pages, want at most %d; %d at a time", c.name, p.pages.Load(), c.pages, n)
		}
	}
	p := &paged{names: folders(30, 1000, "in/%02d/%05d.tar"), fail: "in/29/"}
	if _, err := list(context.Background(), blob.New("paged", p), "in/", nil); !errors.Is(err, errPage) {
		t.Errorf("a store that fails: %v", err)
	}
}
