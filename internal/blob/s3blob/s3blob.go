// Package s3blob stores objects in S3 and stores that speak its protocol: s3://bucket or s3://bucket/folder. An object appears
// whole when its upload ends, under a condition on what was there when the write began, so that neither a lost answer nor a
// second writer can tear or undo it. Readers are pinned to the ETag that they opened.
package s3blob

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"sower/internal/blob"
	"sower/internal/blob/driver"
	"sower/internal/blob/readahead"
	"sower/internal/blob/wire"
)

func init() {
	blob.Register("s3", func(_ context.Context, url string) (driver.Bucket, error) { return open(url) })
}

// longestName is the service's limit for a key, in bytes of UTF-8.
const longestName = 1024

func open(url string) (*bucket, error) {
	name, folder, err := blob.SplitBucket(url)
	if err != nil {
		return nil, err
	}
	c, err := client()
	if err != nil {
		return nil, err
	}
	return &bucket{c: c, name: name, folder: folder}, nil
}

// bucket is a folder of a bucket; folder is "" or ends in a slash.
type bucket struct {
	c      *s3.Client
	name   string
	folder string
}

func (b *bucket) key(name string) *string { return aws.String(b.folder + name) }

// status is the HTTP status that an error came with, or 0.
func status(err error) int {
	var r *awshttp.ResponseError
	if errors.As(err, &r) {
		return r.HTTPStatusCode()
	}
	return 0
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// failure turns the service's answers into the errors that drivers promise.
func (b *bucket) failure(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case code(err) == "NoSuchBucket":
		return fmt.Errorf("there is no bucket %q: create it, or look at its spelling (%w)", b.name, err)
	case status(err) == http.StatusNotFound:
		return fmt.Errorf("%w (%w)", fs.ErrNotExist, err)
	case status(err) == http.StatusForbidden || status(err) == http.StatusUnauthorized:
		return fmt.Errorf("not allowed: the account needs s3:GetObject, PutObject, DeleteObject, ListBucket and AbortMultipartUpload on bucket %q (%w)", b.name, err)
	case status(err) == http.StatusMovedPermanently || code(err) == "AuthorizationHeaderMalformed":
		return fmt.Errorf("bucket %q is in another region: set AWS_REGION to it (%w)", b.name, err)
	case strings.Contains(err.Error(), "get credentials") || strings.Contains(err.Error(), "get identity"):
		return fmt.Errorf("no credentials for s3:// (set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or use a machine with a role; docs/storage.md): %w", err)
	}
	return err
}

func (b *bucket) List(ctx context.Context, prefix string) iter.Seq2[driver.Info, error] {
	return b.Walk(ctx, prefix, func(string) bool { return true })
}

// Walk implements driver.Walker. A listing is one sequence in order of name, so that a refused folder that reaches beyond
// the page at hand is passed over by asking for what comes after it. No more pages are asked for than List asks for.
func (b *bucket) Walk(ctx context.Context, prefix string, enter func(folder string) bool) iter.Seq2[driver.Info, error] {
	return func(yield func(driver.Info, error) bool) {
		in := &s3.ListObjectsV2Input{Bucket: &b.name, Prefix: b.key(prefix), EncodingType: types.EncodingTypeUrl}
		ctx := wire.Operation(ctx)
		refused := ""
		for {
			if err := ctx.Err(); err != nil {
				yield(driver.Info{}, err)
				return
			}
			page, err := b.c.ListObjectsV2(ctx, in)
			if err != nil {
				yield(driver.Info{}, b.failure(ctx, err))
				return
			}
			for _, o := range page.Contents {
				if err := ctx.Err(); err != nil {
					yield(driver.Info{}, err)
					return
				}
				// Encoded, because XML has no place for some bytes that keys may have.
				key, err := url.QueryUnescape(aws.ToString(o.Key))
				if err != nil || !strings.HasPrefix(key, b.folder) {
					yield(driver.Info{}, fmt.Errorf("the listing has the impossible key %q", aws.ToString(o.Key)))
					return
				}
				if strings.HasSuffix(key, "/") {
					continue // what consoles and mounts put down for a folder
				}
				i := driver.Info{Name: key[len(b.folder):], Size: aws.ToInt64(o.Size), ModTime: aws.ToTime(o.LastModified), Tag: aws.ToString(o.ETag)}
				if refused != "" && strings.HasPrefix(i.Name, refused) {
					continue
				}
				if refused = blob.RefusedFolder(i.Name, prefix, enter); refused != "" {
					continue
				}
				if !yield(i, nil) {
					return
				}
			}
			if !aws.ToBool(page.IsTruncated) {
				return
			}
			in.ContinuationToken = page.NextContinuationToken
			if refused != "" {
				in.ContinuationToken, in.StartAfter = nil, b.key(refused+"\U0010FFFF") // the last of its names
			}
		}
	}
}

func (b *bucket) head(ctx context.Context, name string) (*s3.HeadObjectOutput, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(b.folder)+len(name) > longestName {
		return nil, fmt.Errorf("%w (names have %d bytes at most)", fs.ErrNotExist, longestName)
	}
	h, err := b.c.HeadObject(wire.Operation(ctx), &s3.HeadObjectInput{Bucket: &b.name, Key: b.key(name), ChecksumMode: types.ChecksumModeEnabled})
	return h, b.failure(ctx, err)
}

func (b *bucket) Stat(ctx context.Context, name string) (driver.Info, error) {
	h, err := b.head(ctx, name)
	if err != nil {
		return driver.Info{}, err
	}
	return driver.Info{Name: name, Size: aws.ToInt64(h.ContentLength), ModTime: aws.ToTime(h.LastModified), Tag: aws.ToString(h.ETag)}, nil
}

// held is the size up to which an object is read when it is opened: it takes one request, and survives replacement.
const held = 256 << 10

func (b *bucket) Open(ctx context.Context, name string) (driver.Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(b.folder)+len(name) > longestName {
		return nil, fmt.Errorf("%w (names have %d bytes at most)", fs.ErrNotExist, longestName)
	}
	first, out, err := b.start(ctx, name)
	if status(err) == http.StatusRequestedRangeNotSatisfiable {
		return b.openEmpty(ctx, name)
	}
	if err != nil {
		return nil, b.failure(ctx, err)
	}
	size := int64(len(first))
	if r := aws.ToString(out.ContentRange); r != "" { // bytes 0-262143/TOTAL
		if size, err = strconv.ParseInt(r[strings.LastIndexByte(r, '/')+1:], 10, 64); err != nil {
			return nil, fmt.Errorf("impossible Content-Range %q", r)
		}
	}
	if int64(len(first)) != min(size, held) {
		return nil, fmt.Errorf("%d bytes came of the first %d", len(first), min(size, held))
	}
	sum, summed := crcOf(out.ChecksumCRC32C, out.ChecksumType)
	if got := readahead.Sum(first); summed && size <= held && got != sum {
		return nil, fmt.Errorf("%w (CRC-32C %08x, want %08x)", readahead.ErrChecksum, got, sum)
	}
	etag := out.ETag
	object := readahead.Object{Size: size, CRC32C: sum, Unsummed: !summed,
		Late:  func(ctx context.Context) (uint32, bool, error) { return b.late(ctx, name, etag) },
		Fetch: func(ctx context.Context, p []byte, off int64) error { return b.fetch(ctx, name, etag, p, off) }}
	return readahead.New(ctx, object, first), nil
}

// start reads the first bytes of an object.
func (b *bucket) start(ctx context.Context, name string) (first []byte, out *s3.GetObjectOutput, err error) {
	ctx = wire.Operation(ctx)
	for n := 1; ; n++ {
		out, err = b.c.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.name, Key: b.key(name), Range: aws.String(fmt.Sprintf("bytes=0-%d", held-1)), ChecksumMode: types.ChecksumModeEnabled})
		if err != nil {
			return nil, nil, err
		}
		first, err = io.ReadAll(out.Body)
		out.Body.Close()
		if err == nil || ctx.Err() != nil || n == wire.Attempts {
			return first, out, err
		}
	}
}

// crcOf reads a checksum of a whole object. Those of multipart uploads can be sums of the parts' sums, which say nothing here.
func crcOf(text *string, kind types.ChecksumType) (uint32, bool) {
	p, err := base64.StdEncoding.DecodeString(aws.ToString(text))
	if err != nil || len(p) != 4 || kind == types.ChecksumTypeComposite {
		return 0, false
	}
	return binary.BigEndian.Uint32(p), true
}

// openEmpty opens an object that has no bytes to ask for.
func (b *bucket) openEmpty(ctx context.Context, name string) (driver.Reader, error) {
	h, err := b.head(ctx, name)
	if err != nil {
		return nil, err
	}
	if n := aws.ToInt64(h.ContentLength); n != 0 {
		return nil, fmt.Errorf("%w (%d bytes now, none a moment ago)", driver.ErrReplaced, n)
	}
	return readahead.New(ctx, readahead.Object{}, nil), nil
}

// fetch reads a range of the object with this ETag. An answer that breaks off is taken up where it ended.
func (b *bucket) fetch(ctx context.Context, name string, etag *string, p []byte, off int64) error {
	ctx = wire.Operation(ctx)
	for failures := 0; len(p) > 0; {
		out, err := b.c.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.name, Key: b.key(name), IfMatch: etag, Range: aws.String(fmt.Sprintf("bytes=%d-%d", off, off+int64(len(p))-1))})
		if s := status(err); s == http.StatusPreconditionFailed || s == http.StatusNotFound || s == http.StatusRequestedRangeNotSatisfiable {
			return fmt.Errorf("%w (%w)", driver.ErrReplaced, err)
		}
		if err != nil {
			return b.failure(ctx, err)
		}
		if out.ContentRange == nil && (off != 0 || aws.ToInt64(out.ContentLength) != int64(len(p))) {
			out.Body.Close()
			return errors.New("the store does not serve ranges")
		}
		n, err := io.ReadFull(out.Body, p)
		out.Body.Close()
		if p, off = p[n:], off+int64(n); n > 0 {
			failures = 0
		}
		if failures++; err != nil && (ctx.Err() != nil || failures == wire.Attempts) {
			return b.failure(ctx, err)
		}
	}
	return nil
}

// late asks for the checksum of the object with this ETag, because ranged reads do not bring it. One that was replaced has none any more.
func (b *bucket) late(ctx context.Context, name string, etag *string) (sum uint32, ok bool, err error) {
	h, err := b.head(ctx, name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && aws.ToString(h.ETag) != aws.ToString(etag) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	sum, ok = crcOf(h.ChecksumCRC32C, h.ChecksumType)
	return sum, ok, nil
}

func (b *bucket) Delete(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := b.c.DeleteObject(wire.Operation(ctx), &s3.DeleteObjectInput{Bucket: &b.name, Key: b.key(name)})
	if err = b.failure(ctx, err); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Sweep ends the multipart uploads that killed writers left: they are no objects, but the service keeps their parts and
// charges for them until somebody ends them.
func (b *bucket) Sweep(ctx context.Context, prefix string) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	ctx = wire.Operation(ctx)
	in := &s3.ListMultipartUploadsInput{Bucket: &b.name, Prefix: b.key(prefix), EncodingType: types.EncodingTypeUrl}
	n := 0
	for {
		page, err := b.c.ListMultipartUploads(ctx, in)
		if err != nil {
			return n, b.failure(ctx, err)
		}
		for _, u := range page.Uploads {
			key, err := url.QueryUnescape(aws.ToString(u.Key))
			if err != nil {
				return n, fmt.Errorf("the listing of uploads has the impossible key %q", aws.ToString(u.Key))
			}
			_, err = b.c.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b.name, Key: &key, UploadId: u.UploadId})
			if err != nil && status(err) != http.StatusNotFound {
				return n, b.failure(ctx, err)
			}
			n++
		}
		if !aws.ToBool(page.IsTruncated) {
			return n, nil
		}
		in.KeyMarker, in.UploadIdMarker = page.NextKeyMarker, page.NextUploadIdMarker
	}
}

// Close leaves the client to the process's other buckets.
func (b *bucket) Close() error { return nil }
