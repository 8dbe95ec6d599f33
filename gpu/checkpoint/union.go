package checkpoint

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"runtime"
	"sort"
	"strings"
	"sync"
)

// union is several sources as one, each with a prefix before its names.
type union struct {
	list  []Info
	owner map[string]part
	parts []Source
}

type part struct {
	src  Source
	name string
}

// Prefixed is a source whose names get a prefix in a Union.
type Prefixed struct {
	Source
	Prefix string
}

// Union joins sources. Where two hold the same name, the first one is used. Closing it closes them all.
func Union(sources ...Prefixed) Source {
	u := &union{owner: map[string]part{}}
	for _, s := range sources {
		u.parts = append(u.parts, s.Source)
		for _, t := range s.Tensors() {
			name := s.Prefix + t.Name
			if _, taken := u.owner[name]; taken {
				continue
			}
			u.owner[name] = part{s.Source, t.Name}
			t.Name = name
			u.list = append(u.list, t)
		}
	}
	sort.Slice(u.list, func(i, j int) bool { return u.list[i].Name < u.list[j].Name })
	return u
}

func (u *union) Tensors() []Info { return u.list }

func (u *union) Find(name string) (Info, bool) {
	p, ok := u.owner[name]
	if !ok {
		return Info{}, false
	}
	i, ok := p.src.Find(p.name)
	i.Name = name
	return i, ok
}

func (u *union) Read(name string, offset int, dst []float32) error {
	p, ok := u.owner[name]
	if !ok {
		return fmt.Errorf("checkpoint: no tensor %q", name)
	}
	return p.src.Read(p.name, offset, dst)
}

func (u *union) Close() error {
	var first error
	for _, s := range u.parts {
		if err := s.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// Digest is the identity of the named tensors: SHA-256, in hexadecimal, over one line a tensor in name order of name,
// shape and the SHA-256 of its values as little-endian float32. It does not depend on file format, element type or
// what else the files hold, so a converted model keeps the identity of its original.
func Digest(s Source, names []string) (string, error) {
	names = append([]string(nil), names...)
	sort.Strings(names)
	lines := make([]string, len(names))
	errs := make([]error, len(names))
	next := make(chan int)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			values, raw := make([]float32, 1<<15), make([]byte, 4<<15)
			for i := range next {
				lines[i], errs[i] = digestOne(s, names[i], values, raw)
			}
		}()
	}
	for i := range names {
		next <- i
	}
	close(next)
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return "", err
		}
	}
	sum := sha256.Sum256([]byte(strings.Join(lines, "")))
	return hex.EncodeToString(sum[:]), nil
}

func digestOne(s Source, name string, values []float32, raw []byte) (string, error) {
	info, ok := s.Find(name)
	if !ok {
		return "", fmt.Errorf("checkpoint: digest: no tensor %q", name)
	}
	h := sha256.New()
	for from, n := 0, info.Len(); from < n; from += len(values) {
		p := values[:min(len(values), n-from)]
		if err := s.Read(name, from, p); err != nil {
			return "", err
		}
		for i, v := range p {
			binary.LittleEndian.PutUint32(raw[4*i:], math.Float32bits(v))
		}
		h.Write(raw[:4*len(p)])
	}
	return fmt.Sprintf("%s %v %x\n", name, info.Shape, h.Sum(nil)), nil
}
