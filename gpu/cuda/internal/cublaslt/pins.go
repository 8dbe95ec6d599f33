//go:build cuda && linux && cgo

package cublaslt

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

const pinsHeader = "# cublasLt algorithms, form 1"

// ErrOtherMachine says that algorithms were chosen on another GPU or with another version of the library.
var ErrOtherMachine = errors.New("cublasLt: algorithms of another GPU or library version")

// Export writes the chosen algorithms as text: the GPU's name, the library's version, a line for each kind of product.
func (l *Library) Export(w io.Writer) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := make([]string, 0, len(l.pins))
	for k, a := range l.pins {
		lines = append(lines, fmt.Sprintf("%s %s", encodeKind(k), encodeAlgorithm(a)))
	}
	slices.Sort(lines)
	_, err := fmt.Fprintf(w, "%s\ngpu %s\nlibrary %d\n%s\n", pinsHeader, strconv.Quote(l.gpu), Version(), strings.Join(lines, "\n"))
	return err
}

// Import pins the algorithms of an earlier Export. Those of another GPU or library are refused with ErrOtherMachine, and
// nothing is pinned unless all of the text can be read.
func (l *Library) Import(r io.Reader) error {
	read := bufio.NewScanner(r)
	next := func() string { read.Scan(); return read.Text() }
	if h := next(); h != pinsHeader {
		return fmt.Errorf("cublasLt: these are no algorithms: %q", h)
	}
	if gpu, version := next(), next(); gpu != "gpu "+strconv.Quote(l.gpu) || version != fmt.Sprintf("library %d", Version()) {
		return fmt.Errorf("%w: %s, %s", ErrOtherMachine, gpu, version)
	}
	pins := map[Kind]Algorithm{}
	for read.Scan() {
		if read.Text() == "" {
			continue
		}
		k, a, err := decodePin(read.Text())
		if err != nil {
			return fmt.Errorf("cublasLt: algorithm %q: %w", read.Text(), err)
		}
		if err := a.read(); err != nil {
			return fmt.Errorf("cublasLt: algorithm %q: %w", read.Text(), err)
		}
		if a.splits > 1 || a.reduction != 0 {
			return fmt.Errorf("cublasLt: algorithm %q splits its sums", read.Text())
		}
		pins[k] = a
	}
	if err := read.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, a := range pins {
		l.pins[k] = a
	}
	return nil
}

// A kind in words: n k in out bias form ldx ldw ldy batch strides.
func encodeKind(k Kind) string {
	bias, form := "-", []byte("nt")
	if k.Bias {
		bias = k.BiasType.String()
	}
	if k.XT {
		form[0] = 't'
	}
	if k.WT {
		form[1] = 'n'
	}
	return fmt.Sprintf("%d %d %s %s %s %s %d %d %d %d %d %d %d", k.N, k.K, k.In, k.Out, bias, form, k.LdX, k.LdW, k.LdY, k.Batch, k.StrideX, k.StrideW, k.StrideY)
}

func encodeAlgorithm(a Algorithm) string {
	var raw [64]byte
	for i, v := range a.Data {
		for j := range 8 {
			raw[i*8+j] = byte(v >> (8 * j))
		}
	}
	return fmt.Sprintf("%d %s", a.Workspace, hex.EncodeToString(raw[:]))
}

func parseType(s string) (Type, error) {
	for _, t := range []Type{F32, F16, BF16} {
		if t.String() == s {
			return t, nil
		}
	}
	return 0, fmt.Errorf("type %q", s)
}

func decodePin(line string) (k Kind, a Algorithm, err error) {
	var in, out, bias, form, code string
	if _, err = fmt.Sscan(line, &k.N, &k.K, &in, &out, &bias, &form, &k.LdX, &k.LdW, &k.LdY, &k.Batch, &k.StrideX, &k.StrideW, &k.StrideY, &a.Workspace, &code); err != nil {
		return k, a, err
	}
	var errs [3]error
	k.In, errs[0] = parseType(in)
	k.Out, errs[1] = parseType(out)
	if bias != "-" {
		k.Bias = true
		k.BiasType, errs[2] = parseType(bias)
	}
	if err = errors.Join(errs[:]...); err != nil {
		return k, a, err
	}
	if len(form) != 2 || strings.Trim(form, "nt") != "" {
		return k, a, fmt.Errorf("form %q", form)
	}
	k.XT, k.WT = form[0] == 't', form[1] == 'n'
	raw, err := hex.DecodeString(code)
	if err != nil || len(raw) != 64 {
		return k, a, fmt.Errorf("%d bytes, not 64: %v", len(raw), err)
	}
	for i, b := range raw {
		a.Data[i/8] |= uint64(b) << (8 * (i % 8))
	}
	return k, a, nil
}
