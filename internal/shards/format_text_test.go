package shards_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"sower/internal/blob"
	_ "sower/internal/blob/all"
	"sower/internal/shards"
	"sower/internal/shards/shardtest"
	"sower/schemas"
)

func TestJSONL(t *testing.T) {
	b64 := base64.StdEncoding.EncodeToString(jpg1)
	objects := func(text string) map[string][]byte {
		return map[string][]byte{"d/a.jsonl": []byte(text), "d/i/1.jpg": jpg1, "d/2.png": png1, "d/empty.jpg": {}, "other.jpg": jpg2}
	}
	c := func(name, text string, want ...shardtest.Want) shardtest.Case {
		return shardtest.Case{Name: name, Objects: objects(text), Source: "d/a.jsonl", Want: want}
	}
	opt := func(c shardtest.Case, o shards.Options) shardtest.Case { c.Options = o; return c }
	key := func(n int) string { return fmt.Sprintf("d/a/%09d", n) }
	one := func(r schemas.Reason, detail string) shardtest.Want {
		return shardtest.Want{Key: key(0), Reject: r, Detail: detail}
	}
	if err := openMem(t, "mem://jsonl-images").WriteAll(t.Context(), "deep/x.jpg", jpg2); err != nil {
		t.Fatal(err)
	}

	shardtest.Run(t, format(t, "jsonl"), []shardtest.Case{
		c("paths", `{"image":"i/1.jpg","caption":"one","id":7,"n":1.50,"z":{"b":1,"a":[]}}`+"\n"+`{"key":"k2","file_name":"./2.png","text":"two"}`+"\n",
			shardtest.Want{Key: "7", Image: jpg1, Text: "one", Metadata: `{"image":"i/1.jpg","n":1.50,"z":{"a":[],"b":1}}`},
			shardtest.Want{Key: "k2", Image: png1, Text: "two", Metadata: `{"file_name":"./2.png"}`}),
		c("crlf, bom, blank lines, no end", "\xef\xbb\xbf{\"image\":\"2.png\"}\r\n\r\n  \n{\"image\":\"i/1.jpg\"}",
			shardtest.Want{Key: key(0), Image: png1}, shardtest.Want{Key: key(1), Image: jpg1}),
		c("base64", `{"image_base64":"`+b64+`"}`+"\n"+`{"image":"data:image/jpeg;base64,`+b64+`","txt":"t"}`+"\n"+`{"image":"`+b64+`"}`+"\n"+`{"image":{"bytes":"`+b64+`","path":"x"}}`,
			shardtest.Want{Key: key(0), Image: jpg1}, shardtest.Want{Key: key(1), Image: jpg1, Text: "t"}, shardtest.Want{Key: key(2), Image: jpg1}, shardtest.Want{Key: key(3), Image: jpg1}),
		c("base64 broken", `{"b64":"!!!!"}`, one(schemas.Undecodable, "base64")),
		c("data url not base64", `{"image":"data:text/html,hello"}`, one(schemas.Undecodable, "data URL")),
		opt(c("base64 large", `{"b64":"`+b64+`"}`, one(schemas.TooLarge, "more than 100")), shards.Options{MaxImageBytes: 100}),
		opt(c("file large", `{"image":"i/1.jpg"}`, one(schemas.TooLarge, "more than 100")), shards.Options{MaxImageBytes: 100}),
		c("null then next alias", `{"image":null,"path":"2.png"}`, shardtest.Want{Key: key(0), Image: png1}),
		c("outside", `{"image":"../other.jpg","key":"k"}`+"\n"+`{"image":"/etc/passwd"}`+"\n"+`{"image":"i/../../other.jpg"}`+"\n"+`{"image":"i\\1.jpg"}`,
			shardtest.Want{Key: "k", Reject: schemas.UnsafeName}, shardtest.Want{Key: key(1), Reject: schemas.UnsafeName},
			shardtest.Want{Key: key(2), Reject: schemas.UnsafeName}, shardtest.Want{Key: key(3), Reject: schemas.UnsafeName}),
		c("inside after all", `{"image":"i/../2.png"}`, shardtest.Want{Key: key(0), Image: png1}),
		c("missing file", `{"image":"nope.jpg"}`, one(schemas.NoImage, "nope.jpg")),
		c("empty file", `{"image":"empty.jpg"}`, one(schemas.NoImage, "0 bytes")),
		c("url", `{"image":"https://x/a.jpg"}`, one(schemas.NoImage, "downloaded")),
		c("no image", `{"caption":"c","id":"x"}`, shardtest.Want{Key: "x", Reject: schemas.NoImage}),
		c("image is a list", `{"image":["a.jpg"]}`, one(schemas.NoImage, "no path")),
		c("broken lines", "{\"image\":\n[1]\nnull\nhello\n{}{}\n{\"image\":\"2.png\"}\n", one(schemas.UnreadableSource, "JSON"),
			shardtest.Want{Key: key(1), Reject: schemas.UnreadableSource, Detail: "no JSON object: array"}, shardtest.Want{Key: key(2), Reject: schemas.UnreadableSource},
			shardtest.Want{Key: key(3), Reject: schemas.UnreadableSource}, shardtest.Want{Key: key(4), Reject: schemas.UnreadableSource}, shardtest.Want{Key: key(5), Image: png1}),
		c("not utf-8", "{\"image\":\"2.png\",\"caption\":\"caf\xe9\",\"key\":\"k\"}", shardtest.Want{Key: "k", Reject: schemas.TextNotUTF8}),
		c("lone surrogate", `{"image":"2.png","caption":"\ud800"}`, shardtest.Want{Key: key(0), Image: png1, Text: "\ufffd"}),
		c("huge line", `{"image":"2.png"}`+"\n"+strings.Repeat("x", 65<<20)+"\n"+`{"image":"2.png"}`, shardtest.Want{Key: key(0), Image: png1},
			shardtest.Want{Key: key(1), Reject: schemas.TooLarge}, shardtest.Want{Key: key(2), Image: png1}),
		c("long field", `{"image":"2.png","x":"`+strings.Repeat("y", 70000)+`","text":"`+strings.Repeat("z", 70000)+`"}`,
			shardtest.Want{Key: key(0), Image: png1, Text: strings.Repeat("z", 70000), Metadata: `{"_skipped":["x"],"image":"2.png"}`}),
		c("list of captions", `{"image":"2.png","caption":["a","b"]}`, shardtest.Want{Key: key(0), Image: png1, Text: "a", Metadata: `{"caption":["a","b"],"image":"2.png"}`}),
		opt(c("columns", `{"pic":"2.png","image":"i/1.jpg","alt":"a","uid":"u"}`+"\n"+`{"uid":"v","alt":""}`+"\n"+`{"pic":"2.png","uid":"w"}`+"\n"+`{"pic":"2.png","alt":null,"uid":"x"}`+"\n"+`{"pic":"2.png","alt":"a"}`,
			shardtest.Want{Key: "u", Image: png1, Text: "a"}, shardtest.Want{Key: "v", Reject: schemas.MissingColumn, Detail: "pic"},
			shardtest.Want{Key: "w", Reject: schemas.MissingColumn, Detail: "alt"}, shardtest.Want{Key: "x", Image: png1},
			shardtest.Want{Key: key(4), Reject: schemas.MissingColumn, Detail: "uid"}), shards.Options{ImageColumn: "pic", TextColumn: "alt", KeyColumn: "uid"}),
		opt(c("image root", `{"image":"x.jpg"}`+"\n"+`{"image":"mem://jsonl-images/deep/x.jpg"}`+"\n"+`{"image":"../y.jpg"}`, shardtest.Want{Key: key(0), Image: jpg2},
			shardtest.Want{Key: key(1), Image: jpg2}, shardtest.Want{Key: key(2), Reject: schemas.UnsafeName}), shards.Options{ImageRoot: "mem://jsonl-images/deep"}),
		{Name: "gzip", Objects: map[string][]byte{"a.jsonl.gz": shardtest.Gzip([]byte("{\"image\":\"2.png\"}\n{\"image\":\"2.png\"}")), "2.png": png1}, Source: "a.jsonl.gz",
			Want: []shardtest.Want{{Key: "a/000000000", Image: png1}, {Key: "a/000000001", Image: png1}}},
		{Name: "gzip cut", Objects: map[string][]byte{"a.jsonl.gz": shardtest.Gzip([]byte(strings.Repeat("{\"image\":\"2.png\"}\n", 2)))[:25:25], "2.png": png1}, Source: "a.jsonl.gz",
			Want: []shardtest.Want{{Key: "a/000000000", Reject: schemas.UnreadableSource, Detail: "lost"}}},
		c("empty file of lines", ""),
	})
}

func openMem(t testing.TB, url string) *blob.Bucket {
	t.Helper()
	b, err := blob.OpenBucket(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCSV(t *testing.T) {
	c := func(name, text string, want ...shardtest.Want) shardtest.Case {
		return shardtest.Case{Name: name, Objects: map[string][]byte{"a.csv": []byte(text), "1.jpg": jpg1, "2.png": png1, "1 \"x\".jpg": jpg2}, Source: "a.csv", Want: want}
	}
	opt := func(c shardtest.Case, o shards.Options) shardtest.Case { c.Options = o; return c }
	key := func(n int) string { return fmt.Sprintf("a/%09d", n) }
	shardtest.Run(t, format(t, "csv"), []shardtest.Case{
		c("plain", "image,caption,n\n1.jpg,one,007\n2.png,two,\n", shardtest.Want{Key: key(0), Image: jpg1, Text: "one", Metadata: `{"image":"1.jpg","n":"007"}`},
			shardtest.Want{Key: key(1), Image: png1, Text: "two", Metadata: `{"image":"2.png","n":""}`}),
		c("quotes", "\xef\xbb\xbfid,\"path\",text\r\na,1.jpg,\"line\r\nbreak, and \"\"quote\"\"\"\r\n\r\nb,\"1 \"\"x\"\".jpg\",it\"s\r\nc,2.png,\"ab\"cd\r\n",
			shardtest.Want{Key: "a", Image: jpg1, Text: "line\r\nbreak, and \"quote\""}, shardtest.Want{Key: "b", Image: jpg2, Text: "it\"s"}, shardtest.Want{Key: "c", Image: png1, Text: "abcd"}),
		c("quote never closed", "image,text\n1.jpg,\"open\n2.png,two\n2.png,three", shardtest.Want{Key: key(0), Reject: schemas.UnreadableSource, Detail: "byte 17: the quote"}),
		c("quote never closed in the header", "image,\"text\n1.jpg,a\n2.png,b\n", shardtest.Want{Key: key(0), Reject: schemas.UnreadableSource, Detail: "header"}),
		c("other number of fields", "image,text\n1.jpg\n1.jpg,a,b\n1.jpg,ok\n", shardtest.Want{Key: key(0), Reject: schemas.UnreadableSource, Detail: "1 fields"},
			shardtest.Want{Key: key(1), Reject: schemas.UnreadableSource, Detail: "3 fields"}, shardtest.Want{Key: key(2), Image: jpg1, Text: "ok"}),
		c("no image column", "id,text\nx,a\n", shardtest.Want{Key: "x", Reject: schemas.MissingColumn, Detail: `"text"`}),
		opt(c("column asked for", "id,image\nx,1.jpg\n", shardtest.Want{Key: "x", Reject: schemas.MissingColumn, Detail: `"pic"`}), shards.Options{ImageColumn: "pic"}),
		c("not utf-8", "image,text,id\n1.jpg,caf\xe9,x\n", shardtest.Want{Key: "x", Reject: schemas.TextNotUTF8, Detail: "text"}),
		c("columns of one name", "image,a,a,\n1.jpg,1,2,3\n", shardtest.Want{Key: key(0), Image: jpg1, Metadata: `{"a":"1","a#2":"2","column 4":"3","image":"1.jpg"}`}),
		c("header alone", "image,text\n"), c("header without line break", "image,text"), c("nothing", ""), c("blank lines alone", "\n\r\n\n"),
		c("empty path", "image,text\n,t\n", shardtest.Want{Key: key(0), Reject: schemas.NoImage, Detail: "empty"}),
	})
	shardtest.Run(t, format(t, "tsv"), []shardtest.Case{
		{Name: "quotes are characters", Source: "a.tsv", Objects: map[string][]byte{"a.tsv": []byte("caption\tpath\n\"open\t1.jpg\na, b\t2.png\n"), "1.jpg": jpg1, "2.png": png1},
			Want: []shardtest.Want{{Key: key(0), Image: jpg1, Text: `"open`}, {Key: key(1), Image: png1, Text: "a, b"}}},
	})
}

// TestTextSplits makes random files of quotes, delimiters and line ends: the rows must not depend on the split.
func TestTextSplits(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, name := range []string{"csv", "tsv", "jsonl"} {
		for range 300 {
			p := []byte("image,text\n")
			for range rng.IntN(200) {
				p = append(p, "\"\",,\t\n\nab\r{}"[rng.IntN(12)])
			}
			fuzzRead(t, name, "a", p)
		}
	}
}

func FuzzJSONL(f *testing.F) {
	f.Add([]byte("{\"image\":\"a.jpg\",\"id\":1}\n\n{\"b64\":\"aGVsbG8=\",\"text\":[\"x\"]}\r\n{"))
	f.Add([]byte("\xef\xbb\xbf{\"image\":\"data:;base64,AAAA\",\"key\":\"\xff\"}"))
	f.Fuzz(func(t *testing.T, p []byte) { fuzzRead(t, "jsonl", "a.jsonl", p) })
}

func FuzzTable(f *testing.F) {
	f.Add([]byte("id,b64,text\n1,aGVsbG8=,\"a\nb\"\n2,\"\",x\n\"3"))
	f.Add([]byte("b64\ttext\naGVsbG8=\t\"a\n\n\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		fuzzRead(t, "csv", "a.csv", p)
		fuzzRead(t, "tsv", "a.tsv", p)
	})
}
