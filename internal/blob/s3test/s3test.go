// Package s3test is an S3 store inside of a test, behind a door that can break requests. It knows what package s3blob asks for:
// objects with conditions, ranges and checksums, listings in pages, and multipart uploads.
package s3test

import (
	"cmp"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sower/internal/blob/faulttest"
)

// Server is the store. The process's s3:// URLs go to it until the test ends.
type Server struct {
	faulttest.Door
	// Unconditional makes the store refuse conditional writes as not implemented.
	Unconditional bool
	// Page is how many keys a listing has at most; 0 is 1000.
	Page int

	mu      sync.Mutex
	buckets map[string]map[string]*object
	uploads map[string]*upload
	serial  int
}

type object struct {
	data     []byte
	etag     string
	modified time.Time
	crc      string // of the whole object, "" where it was uploaded without
}

type upload struct {
	bucket, key string
	crc         bool
	parts       map[int][]byte
}

// New starts a store with empty buckets.
func New(t testing.TB, buckets ...string) *Server {
	t.Helper()
	s := &Server{buckets: map[string]map[string]*object{}, uploads: map[string]*upload{}}
	s.Service, s.Classify = http.HandlerFunc(s.serve), classify
	for _, b := range buckets {
		s.CreateBucket(b)
	}
	for name, value := range map[string]string{"AWS_ENDPOINT_URL_S3": s.Open(t), "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"} {
		t.Setenv(name, value)
	}
	return s
}

// CreateBucket adds an empty bucket.
func (s *Server) CreateBucket(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buckets[name] = map[string]*object{}
}

// Put stores an object, beside the door.
func (s *Server) Put(bucket, key string, data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(bucket, key, data, false)
}

// Uploads is how many multipart uploads have neither ended nor been aborted.
func (s *Server) Uploads() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.uploads)
}

func (s *Server) put(bucket, key string, data []byte, crc bool) *object {
	s.serial++
	sum := md5.Sum(data)
	o := &object{data: data, modified: time.Now(), etag: fmt.Sprintf("%q", hex.EncodeToString(sum[:])+"-"+strconv.Itoa(s.serial))}
	if crc {
		o.crc = checksum(data)
	}
	s.buckets[bucket][key] = o
	return o
}

func checksum(p []byte) string {
	sum := crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli))
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, sum))
}

func classify(r *http.Request) (q faulttest.Request) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	q.Object = bucket + "/" + key
	q.Upload = r.Method == http.MethodPut || r.Method == http.MethodPost
	q.List = r.Method == http.MethodGet && key == ""
	q.Read = r.Method == http.MethodGet && key != ""
	q.Stat = r.Method == http.MethodHead
	switch {
	case q.Upload || q.List:
		q.Class = 'A'
	case q.Read || q.Stat:
		q.Class = 'B'
	default:
		q.Class = 'F'
	}
	return q
}

type apiError struct {
	XMLName xml.Name `xml:"Error"`
	Code    string
	Message string
	status  int
}

func refuse(status int, code string) *apiError {
	return &apiError{Code: code, Message: "by the stand-in", status: status}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client is gone
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if s.buckets[bucket] == nil {
		s.refused(w, r, refuse(404, "NoSuchBucket"))
		return
	}
	q := r.URL.Query()
	var refused *apiError
	switch {
	case r.Method == http.MethodGet && key == "" && q.Has("uploads"):
		s.listUploads(w, bucket, q)
	case r.Method == http.MethodGet && key == "":
		s.list(w, bucket, q)
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		refused = s.get(w, r, bucket, key)
	case r.Method == http.MethodPut && q.Has("uploadId"):
		refused = s.putPart(w, r, q, body)
	case r.Method == http.MethodPut:
		if refused = s.condition(r, bucket, key); refused == nil {
			if want := r.Header.Get("X-Amz-Checksum-Crc32c"); want != "" && want != checksum(body) {
				refused = refuse(400, "BadDigest")
				break
			}
			w.Header().Set("ETag", s.put(bucket, key, body, r.Header.Get("X-Amz-Checksum-Crc32c") != "").etag)
		}
	case r.Method == http.MethodPost && q.Has("uploads"):
		s.serial++
		id := fmt.Sprint("upload-", s.serial)
		s.uploads[id] = &upload{bucket: bucket, key: key, parts: map[int][]byte{}, crc: r.Header.Get("X-Amz-Checksum-Type") == "FULL_OBJECT"}
		answer(w, struct {
			XMLName          xml.Name `xml:"InitiateMultipartUploadResult"`
			Bucket, UploadId string
			Key              string
		}{Bucket: bucket, Key: key, UploadId: id})
	case r.Method == http.MethodPost && q.Has("uploadId"):
		refused = s.complete(w, r, bucket, key, q.Get("uploadId"), body)
	case r.Method == http.MethodDelete && q.Has("uploadId"):
		if s.uploads[q.Get("uploadId")] == nil {
			refused = refuse(404, "NoSuchUpload")
			break
		}
		delete(s.uploads, q.Get("uploadId"))
		w.WriteHeader(204)
	case r.Method == http.MethodDelete:
		delete(s.buckets[bucket], key)
		w.WriteHeader(204)
	default:
		refused = refuse(405, "MethodNotAllowed")
	}
	if refused != nil {
		s.refused(w, r, refused)
	}
}

func (s *Server) refused(w http.ResponseWriter, r *http.Request, e *apiError) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(e.status)
	if r.Method != http.MethodHead {
		xml.NewEncoder(w).Encode(e)
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/xml")
	io.WriteString(w, xml.Header)
	xml.NewEncoder(w).Encode(v)
}

// condition checks If-Match and If-None-Match of a write.
func (s *Server) condition(r *http.Request, bucket, key string) *apiError {
	match, none := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
	if s.Unconditional && (match != "" || none != "") {
		return refuse(501, "NotImplemented")
	}
	o := s.buckets[bucket][key]
	if none == "*" && o != nil || match != "" && (o == nil || o.etag != match) {
		return refuse(412, "PreconditionFailed")
	}
	return nil
}

func (s *Server) get(w http.ResponseWriter, r *http.Request, bucket, key string) *apiError {
	o := s.buckets[bucket][key]
	if o == nil {
		return refuse(404, "NoSuchKey")
	}
	if m := r.Header.Get("If-Match"); m != "" && m != o.etag {
		return refuse(412, "PreconditionFailed")
	}
	h := w.Header()
	h.Set("ETag", o.etag)
	h.Set("Last-Modified", o.modified.UTC().Format(http.TimeFormat))
	from, to, status := 0, len(o.data), 200
	if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &to); n == 2 {
		if from >= len(o.data) {
			return refuse(416, "InvalidRange")
		}
		to, status = min(to+1, len(o.data)), 206
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(o.data)))
	}
	if o.crc != "" && r.Header.Get("X-Amz-Checksum-Mode") != "" && to-from == len(o.data) { // a part has none
		h.Set("X-Amz-Checksum-Crc32c", o.crc)
		h.Set("X-Amz-Checksum-Type", "FULL_OBJECT")
	}
	h.Set("Content-Length", strconv.Itoa(to-from))
	w.WriteHeader(status)
	if r.Method == http.MethodGet {
		w.Write(o.data[from:to])
	}
	return nil
}

func (s *Server) putPart(w http.ResponseWriter, r *http.Request, q url.Values, body []byte) *apiError {
	u := s.uploads[q.Get("uploadId")]
	n, err := strconv.Atoi(q.Get("partNumber"))
	switch {
	case u == nil:
		return refuse(404, "NoSuchUpload")
	case err != nil || n < 1 || n > 10000:
		return refuse(400, "InvalidArgument")
	}
	if want := r.Header.Get("X-Amz-Checksum-Crc32c"); want != "" && want != checksum(body) {
		return refuse(400, "BadDigest")
	}
	u.parts[n] = body
	w.Header().Set("ETag", fmt.Sprintf("%q", fmt.Sprint("part-", n)))
	return nil
}

func (s *Server) complete(w http.ResponseWriter, r *http.Request, bucket, key, id string, body []byte) *apiError {
	u := s.uploads[id]
	if u == nil {
		return refuse(404, "NoSuchUpload")
	}
	if e := s.condition(r, bucket, key); e != nil {
		return e
	}
	var list struct {
		Part []struct{ PartNumber int }
	}
	if err := xml.Unmarshal(body, &list); err != nil || len(list.Part) == 0 {
		return refuse(400, "MalformedXML")
	}
	var data []byte
	for i, p := range list.Part {
		part, ok := u.parts[p.PartNumber]
		if !ok || i > 0 && p.PartNumber <= list.Part[i-1].PartNumber {
			return refuse(400, "InvalidPart")
		}
		if i+1 < len(list.Part) && len(part) < 5<<20 {
			return refuse(400, "EntityTooSmall")
		}
		data = append(data, part...)
	}
	if want := r.Header.Get("X-Amz-Checksum-Crc32c"); want != "" && want != checksum(data) {
		return refuse(400, "BadDigest")
	}
	if want := r.Header.Get("X-Amz-Mp-Object-Size"); want != "" && want != strconv.Itoa(len(data)) {
		return refuse(400, "InvalidRequest")
	}
	delete(s.uploads, id)
	o := s.put(bucket, key, data, u.crc)
	answer(w, struct {
		XMLName           xml.Name `xml:"CompleteMultipartUploadResult"`
		Bucket, Key, ETag string
	}{Bucket: bucket, Key: key, ETag: o.etag})
	return nil
}

func (s *Server) list(w http.ResponseWriter, bucket string, q url.Values) {
	type content struct {
		Key, ETag, LastModified string
		Size                    int
	}
	var out struct {
		XMLName               xml.Name `xml:"ListBucketResult"`
		Name, EncodingType    string
		IsTruncated           bool
		KeyCount              int
		Contents              []content
		NextContinuationToken string `xml:",omitempty"`
	}
	out.Name, out.EncodingType = bucket, "url"
	after := cmp.Or(q.Get("continuation-token"), q.Get("start-after"))
	for _, k := range slices.Sorted(maps.Keys(s.buckets[bucket])) {
		if !strings.HasPrefix(k, q.Get("prefix")) || k <= after {
			continue
		}
		if len(out.Contents) == cmp.Or(s.Page, 1000) {
			out.IsTruncated = true
			break
		}
		o := s.buckets[bucket][k]
		out.Contents = append(out.Contents, content{url.QueryEscape(k), o.etag, o.modified.UTC().Format("2006-01-02T15:04:05.000Z"), len(o.data)})
		out.NextContinuationToken = k
	}
	if !out.IsTruncated {
		out.NextContinuationToken = ""
	}
	out.KeyCount = len(out.Contents)
	answer(w, out)
}

func (s *Server) listUploads(w http.ResponseWriter, bucket string, q url.Values) {
	type one struct{ Key, UploadId string }
	var out struct {
		XMLName      xml.Name `xml:"ListMultipartUploadsResult"`
		EncodingType string
		IsTruncated  bool
		Upload       []one
	}
	out.EncodingType = "url"
	for _, id := range slices.Sorted(maps.Keys(s.uploads)) {
		if u := s.uploads[id]; u.bucket == bucket && strings.HasPrefix(u.key, q.Get("prefix")) {
			out.Upload = append(out.Upload, one{url.QueryEscape(u.key), id})
		}
	}
	answer(w, out)
}
