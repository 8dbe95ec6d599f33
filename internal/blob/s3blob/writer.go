package s3blob

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"sower/internal/blob/driver"
	"sower/internal/blob/readahead"
	"sower/internal/blob/wire"
)

const (
	// firstPart is the size up to which an object is sent in one request at Commit, and of the first parts of larger ones.
	firstPart = 8 << 20
	// doubleAfter is how many parts have one size: an upload has 10,000 at most.
	doubleAfter = 1000
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Create notes what is there now: Commit replaces that and nothing else.
func (b *bucket) Create(ctx context.Context, name string) (driver.Writer, error) {
	if n := len(b.folder) + len(name); n > longestName {
		return nil, fmt.Errorf("a name of %d bytes, the service takes %d at most", n, longestName)
	}
	w := &writer{b: b, name: name, ctx: ctx, part: firstPart}
	h, err := b.head(ctx, name)
	switch {
	case err == nil:
		w.match = h.ETag
	case errors.Is(err, fs.ErrNotExist):
		w.noneMatch = aws.String("*")
	default:
		return nil, err
	}
	return w, nil
}

// writer collects what is written and begins a multipart upload when that becomes much.
type writer struct {
	b                *bucket
	name             string
	ctx              context.Context
	match, noneMatch *string // the condition

	buf    bytes.Buffer // the part at hand
	part   int
	upload *string // of a multipart upload, nil as long as buf has everything
	parts  []types.CompletedPart
	size   int64
	sum    uint32
	err    error
	done   bool
}

func (w *writer) Write(p []byte) (int, error) {
	if w.done {
		return 0, fs.ErrClosed
	}
	n := 0
	for n < len(p) && w.err == nil {
		if w.buf.Len() == w.part {
			if w.err = w.send(); w.err != nil {
				break
			}
		}
		m := min(len(p)-n, w.part-w.buf.Len())
		w.buf.Write(p[n : n+m])
		n += m
	}
	w.size += int64(n)
	w.sum = crc32.Update(w.sum, castagnoli, p[:n])
	return n, w.err
}

func encode(sum uint32) *string {
	return aws.String(base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum)))
}

// send sends the part at hand.
func (w *writer) send() error {
	ctx := wire.Operation(w.ctx)
	if w.upload == nil {
		out, err := w.b.c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &w.b.name, Key: w.b.key(w.name), ContentType: aws.String("application/octet-stream"),
			ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c, ChecksumType: types.ChecksumTypeFullObject})
		if err != nil {
			return w.b.failure(w.ctx, err)
		}
		w.upload = out.UploadId
	}
	number := aws.Int32(int32(len(w.parts) + 1))
	sum := encode(readahead.Sum(w.buf.Bytes()))
	out, err := w.b.c.UploadPart(ctx, &s3.UploadPartInput{Bucket: &w.b.name, Key: w.b.key(w.name), UploadId: w.upload, PartNumber: number,
		Body: bytes.NewReader(w.buf.Bytes()), ChecksumCRC32C: sum})
	if err != nil {
		return w.b.failure(w.ctx, err)
	}
	w.parts = append(w.parts, types.CompletedPart{ETag: out.ETag, PartNumber: number, ChecksumCRC32C: sum})
	w.buf.Reset()
	if len(w.parts)%doubleAfter == 0 {
		w.part *= 2
	}
	return nil
}

func (w *writer) Commit() error {
	if w.done {
		return fmt.Errorf("commit after the write had ended: %w", fs.ErrClosed)
	}
	err := w.err
	if err == nil {
		err = w.ctx.Err()
	}
	if err == nil && w.upload != nil {
		err = w.send()
	}
	if err != nil {
		return errors.Join(err, w.Abort())
	}
	w.done = true
	if err = w.commit(true); status(err) == http.StatusNotImplemented {
		err = w.commit(false) // a store without conditional writes: the last writer wins
	}
	if err == nil {
		return nil
	}
	if w.ctx.Err() != nil {
		return errors.Join(w.ctx.Err(), w.abandon())
	}
	return w.afterFailure(err)
}

func (w *writer) commit(conditional bool) (err error) {
	match, noneMatch := w.match, w.noneMatch
	if !conditional {
		match, noneMatch = nil, nil
	}
	ctx := wire.Operation(w.ctx)
	if w.upload == nil {
		_, err = w.b.c.PutObject(ctx, &s3.PutObjectInput{Bucket: &w.b.name, Key: w.b.key(w.name), Body: bytes.NewReader(w.buf.Bytes()),
			ContentType: aws.String("application/octet-stream"), ChecksumCRC32C: encode(w.sum), IfMatch: match, IfNoneMatch: noneMatch})
		return err
	}
	_, err = w.b.c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: &w.b.name, Key: w.b.key(w.name), UploadId: w.upload,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: w.parts}, ChecksumCRC32C: encode(w.sum), ChecksumType: types.ChecksumTypeFullObject,
		MpuObjectSize: &w.size, IfMatch: match, IfNoneMatch: noneMatch})
	return err
}

// afterFailure looks whether the object is there in spite of an error: the answer was lost, or another attempt at the same
// piece of work has put the same bytes there, and all is well. Else the error stands.
func (w *writer) afterFailure(err error) error {
	there, lookErr := w.same()
	abandoned := w.abandon()
	if there {
		return nil
	}
	if s := status(err); s != http.StatusPreconditionFailed && s != http.StatusConflict {
		return errors.Join(w.b.failure(w.ctx, err), abandoned)
	}
	return errors.Join(fmt.Errorf("%w: %w; %d bytes were to be written: is another run at work in this folder?", driver.ErrConflict, lookErr, w.size), abandoned)
}

// same reads what is there and compares it with what was written. An ETag would not do: whether it is a digest, and of what,
// depends on the store and on how the object is encrypted.
func (w *writer) same() (bool, error) {
	r, err := w.b.Open(w.ctx, w.name)
	if err != nil {
		return false, err
	}
	defer r.Close()
	if r.Size() != w.size {
		return false, fmt.Errorf("there are %d bytes", r.Size())
	}
	sum := uint32(0)
	p := make([]byte, 1<<20)
	for at := int64(0); at < w.size; at += int64(len(p)) {
		n, err := r.ReadAt(p[:min(int64(len(p)), w.size-at)], at)
		if int64(n) < min(int64(len(p)), w.size-at) {
			return false, err
		}
		sum = crc32.Update(sum, castagnoli, p[:n])
	}
	if sum != w.sum {
		return false, fmt.Errorf("there are as many bytes with CRC-32C %08x, not %08x", sum, w.sum)
	}
	return true, nil
}

func (w *writer) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	w.buf = bytes.Buffer{}
	return w.abandon()
}

// abandonPatience is how long the end of an upload is tried after its context is gone. What stays is Sweep's.
const abandonPatience = 10 * time.Second

// abandon ends a multipart upload, whose parts would cost money for ever.
func (w *writer) abandon() error {
	if w.upload == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(wire.Operation(context.WithoutCancel(w.ctx)), abandonPatience)
	defer cancel()
	_, err := w.b.c.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &w.b.name, Key: w.b.key(w.name), UploadId: w.upload})
	if status(err) == http.StatusNotFound {
		return nil
	}
	return err
}
