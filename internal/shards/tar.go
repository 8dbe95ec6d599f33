package shards

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Formats: POSIX.1-2017 pax "pax Interchange Format", GNU tar manual "Basic Tar Format". A walker of our own, because
// splitting needs the offset at which a member's first header block stands (archive/tar keeps it to itself), because a
// member's body must not be read to learn where the next begins, and because damage is reported with its offset.

const (
	tarBlock = 512
	// maxTarExtension bounds a pax header or a GNU long name, which must be held in memory.
	maxTarExtension = 1 << 20
)

// damage says where and how a file stops making sense.
type damage struct {
	off      int64
	what     string
	afterEnd bool // behind a proper end of the archive: the sample before it is whole
}

func (d *damage) Error() string { return fmt.Sprintf("byte %d: %s", d.off, d.what) }

type memberKind int

const (
	memberFile   memberKind = iota
	memberLink              // hard or symbolic link: a name without content
	memberSparse            // a file whose content is stored with holes, which is not read
	memberOther             // folder, device, pipe, volume label
)

func (k memberKind) String() string { return [...]string{"file", "link", "sparse file", "no file"}[k] }

// tarMember is one entry of an archive.
type tarMember struct {
	name  string // as stored
	kind  memberKind
	start int64 // offset of its first header block, extension headers included
	body  int64 // offset of its content
	size  int64 // bytes of content as stored
}

// tarWalker yields the members of an archive in order. After an error it is finished.
type tarWalker struct {
	s       byteStream
	rest    int64 // bytes of the current member's content not read yet
	padding int64
}

// next moves to the next member: io.EOF at the end of the archive, *damage where it cannot go on.
func (w *tarWalker) next() (tarMember, error) {
	if err := w.finish(); err != nil {
		return tarMember{}, err
	}
	var (
		m       tarMember
		longPAX map[string]string
		long    string
		ended   bool
		block   [tarBlock]byte
	)
	m.start = -1
	for {
		at := w.s.offset()
		n, err := w.s.readFull(block[:])
		if err == io.EOF || err == io.ErrUnexpectedEOF && allZero(block[:n]) {
			if m.start >= 0 {
				return m, &damage{off: at, what: "the archive ends after an extension header"}
			}
			return m, io.EOF
		}
		if ended && errors.Is(err, gzip.ErrHeader) {
			return m, io.EOF // what follows a whole stream with a whole archive is padding, as gzip and tar see it too
		}
		if err != nil {
			if err = w.damaged(at, err, "header"); ended {
				err = &damage{off: at, what: err.Error(), afterEnd: true}
			}
			return m, err
		}
		if allZero(block[:]) {
			if m.start >= 0 {
				return m, &damage{off: at, what: "the archive ends after an extension header"}
			}
			// Two blocks of zeros end an archive, yet archives joined end to end are common: going on finds the second.
			ended = true
			continue
		}
		if !checksumOK(&block) {
			what := "no tar header here"
			if at == 0 {
				what = "not a tar archive" + compressedHint(block[:])
			} else if ended {
				what = "data after the end of the archive that is no tar header"
			}
			return m, &damage{off: at, what: what, afterEnd: ended}
		}
		if m.start < 0 {
			m.start = at
		}
		size, ok := tarNumber(block[124:136])
		if !ok || size < 0 {
			return m, &damage{off: at, what: fmt.Sprintf("impossible member size %q", block[124:136])}
		}
		typeflag := block[156]
		switch typeflag {
		case 'x', 'X', 'L', 'K', 'g':
			if typeflag == 'x' || typeflag == 'X' || typeflag == 'L' {
				if size > maxTarExtension {
					return m, &damage{off: at, what: fmt.Sprintf("extension header of %d bytes, more than %d", size, maxTarExtension)}
				}
				p := make([]byte, size)
				if n, err := w.s.readFull(p); err != nil {
					return m, w.damaged(at+tarBlock+int64(n), err, "extension header")
				}
				if typeflag == 'L' {
					long, _, _ = strings.Cut(string(p), "\x00")
				} else if longPAX, ok = paxRecords(p); !ok {
					return m, &damage{off: at, what: "malformed pax header"}
				}
				w.rest, w.padding = 0, pad(size)
			} else {
				// Global defaults and link targets change nothing that is read here.
				w.rest, w.padding = size, pad(size)
			}
			if err := w.finish(); err != nil {
				return m, err
			}
			if typeflag == 'g' && longPAX == nil && long == "" {
				m.start = -1 // belongs to no member
			}
			continue
		}
		m.name, m.kind = tarName(&block), tarKind(typeflag)
		if long != "" {
			m.name = long
		}
		for k, v := range longPAX {
			switch k {
			case "path":
				m.name = v
			case "size":
				if size, err = strconv.ParseInt(v, 10, 64); err != nil || size < 0 {
					return m, &damage{off: at, what: fmt.Sprintf("impossible member size %.40q", v)}
				}
			}
			if strings.HasPrefix(k, "GNU.sparse.") && m.kind == memberFile {
				m.kind = memberSparse
			}
		}
		if v := longPAX["GNU.sparse.name"]; v != "" {
			m.name = v
		}
		if m.kind == memberFile && strings.HasSuffix(m.name, "/") {
			m.kind = memberOther // a folder in archives older than POSIX
		}
		if typeflag >= '1' && typeflag <= '6' {
			size = 0 // links, devices and folders have no content whatever the field says
		}
		if typeflag == 'S' && block[482] != 0 {
			// The map of a sparse file goes on in blocks of its own, each of which says whether one more follows.
			for more := byte(1); more != 0; more = block[504] {
				if _, err := w.s.readFull(block[:]); err != nil {
					return m, w.damaged(w.s.offset(), err, "sparse map")
				}
			}
		}
		m.size, m.body = size, w.s.offset()
		w.rest, w.padding = size, pad(size)
		return m, nil
	}
}

// content reads the current member's whole content, which the caller has found to be small enough.
func (w *tarWalker) content() ([]byte, error) {
	n := w.rest
	if left := w.s.left(); left >= 0 {
		if n > left {
			return nil, w.tooShort(left)
		}
		p := make([]byte, n)
		m, err := w.s.readFull(p)
		if err != nil && n > 0 {
			return nil, w.damaged(w.s.offset()+int64(m), err, "content")
		}
		w.rest = 0
		return p, nil
	}
	// The size is only a claim until the bytes have come: the buffer grows with what is there.
	var b bytes.Buffer
	p := make([]byte, min(n, 1<<20))
	for w.rest > 0 {
		c := p[:min(w.rest, int64(len(p)))]
		m, err := w.s.readFull(c)
		b.Write(c[:m])
		w.rest -= int64(m)
		if err != nil {
			return nil, w.damaged(w.s.offset(), err, "content")
		}
	}
	return b.Bytes(), nil
}

// finish skips what is left of the current member.
func (w *tarWalker) finish() error {
	at := w.s.offset()
	if left := w.s.left(); left >= 0 && w.rest > left {
		return w.tooShort(left)
	}
	if err := w.s.skip(w.rest); err != nil {
		return w.damaged(at, err, "content")
	}
	w.rest = 0
	// Writers that stop right after the last member leave its padding out, which loses nothing.
	if left := w.s.left(); left >= 0 && left < w.padding {
		w.padding = left
	}
	err := w.s.skip(w.padding)
	w.padding = 0
	if err != nil && err != io.ErrUnexpectedEOF {
		return w.damaged(at, err, "padding")
	}
	return nil
}

func (w *tarWalker) tooShort(left int64) error {
	return &damage{off: w.s.offset(), what: fmt.Sprintf("the archive is cut off: the member's content is %d bytes long, %d are left", w.rest, left)}
}

// damaged makes an end of file inside of something a *damage, and leaves other errors.
func (w *tarWalker) damaged(at int64, err error, what string) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return &damage{off: at, what: "the archive is cut off in a member's " + what}
	}
	return err
}

func pad(size int64) int64 { return -size & (tarBlock - 1) }

func allZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

// checksumOK checks a header block's sum, which some old writers took over signed bytes.
func checksumOK(b *[tarBlock]byte) bool {
	want, ok := tarNumber(b[148:156])
	if !ok {
		return false
	}
	var unsigned, signed int64
	for i, c := range b {
		if i >= 148 && i < 156 {
			c = ' '
		}
		unsigned += int64(c)
		signed += int64(int8(c))
	}
	return want == unsigned || want == signed
}

// tarNumber reads a numeric field: octal digits, or big-endian two's complement when the first bit is set.
func tarNumber(p []byte) (int64, bool) {
	if p[0]&0x80 != 0 {
		if p[0]&0x40 != 0 {
			return -1, true // a negative number, which no field here can be
		}
		v := int64(p[0] & 0x3f)
		for _, c := range p[1:] {
			if v >= 1<<54 {
				return 0, false
			}
			v = v<<8 | int64(c)
		}
		return v, true
	}
	s := string(bytes.Trim(p, " \x00"))
	if s == "" {
		return 0, true
	}
	v, err := strconv.ParseInt(s, 8, 64)
	return v, err == nil
}

// tarName joins the name fields of a header block.
func tarName(b *[tarBlock]byte) string {
	field := func(from, to int) string {
		s, _, _ := strings.Cut(string(b[from:to]), "\x00")
		return s
	}
	name := field(0, 100)
	if string(b[257:263]) == "ustar\x00" {
		end := 500
		if string(b[508:512]) == "tar\x00" { // the star program keeps times in the last bytes of the prefix
			end = 476
		}
		if prefix := field(345, end); prefix != "" {
			name = prefix + "/" + name
		}
	}
	return name
}

func tarKind(typeflag byte) memberKind {
	switch {
	case typeflag == '1' || typeflag == '2':
		return memberLink
	case typeflag == 'S':
		return memberSparse
	case typeflag >= '3' && typeflag <= '6' || typeflag >= 'A' && typeflag <= 'Z':
		return memberOther
	}
	return memberFile // POSIX: a type that a reader does not know is a regular file
}

// paxRecords parses "length key=value\n" records, where length counts the whole record.
func paxRecords(p []byte) (map[string]string, bool) {
	records := map[string]string{}
	for len(p) > 0 {
		digits, _, ok := bytes.Cut(p, []byte(" "))
		if !ok || len(digits) > 9 {
			return nil, false
		}
		n, err := strconv.Atoi(string(digits))
		if err != nil || n <= len(digits)+1 || n > len(p) || p[n-1] != '\n' {
			return nil, false
		}
		key, value, ok := strings.Cut(string(p[len(digits)+1:n-1]), "=")
		if !ok || key == "" {
			return nil, false
		}
		records[key] = value
		p = p[n:]
	}
	return records, true
}

// compressedHint names the compression of a file that is none of tar and gzip.
func compressedHint(p []byte) string {
	for magic, name := range map[string]string{"\x28\xb5\x2f\xfd": "zstd", "BZh": "bzip2", "\xfd7zXZ\x00": "xz", "PK\x03\x04": "zip"} {
		if bytes.HasPrefix(p, []byte(magic)) {
			return " (" + name + "; read are .tar and .tar.gz)"
		}
	}
	return ""
}
