package shards_test

import (
	"strings"
	"testing"

	"sower/internal/shards"
	"sower/internal/shards/shardtest"
	"sower/schemas"
)

func TestFolder(t *testing.T) {
	s := func(text string) []byte { return []byte(text) }
	c := func(name, source string, objects map[string][]byte, want shardtest.Want) shardtest.Case {
		return shardtest.Case{Name: name, Source: source, Objects: objects, Want: []shardtest.Want{want}}
	}
	opt := func(c shardtest.Case, o shards.Options) shardtest.Case { c.Options = o; return c }
	files := map[string][]byte{
		"a.jpg": jpg1, "a.txt": s("cap\n"), "a.json": s(`{"x":1}`), "a.npy": s("\xff"),
		"b.jpg": jpg1, "b.png": png1, "b.txt": s("both"), "a.b.jpg": jpg2, "empty.jpg": nil, "page.jpg": html,
		"bad.jpg": jpg1, "bad.json": s("{"), "latin.jpg": jpg1, "latin.txt": s("\xe9"),
	}
	jsonl := map[string][]byte{
		"train/metadata.jsonl": s("\xef\xbb\xbf{\"file_name\":\"x/1.jpg\",\"text\":\"one\",\"n\":1}\n\n{\"file_name\":\"2.jpg\",\"caption\":\"two\"}\n{\"file_name\":\"../up.jpg\"}\n{\"file_name\":\"latin.jpg\",\"text\":\"\xe9\"}\n"),
		"train/x/1.jpg":        jpg1, "train/2.jpg": jpg2, "train/3.jpg": png1, "train/latin.jpg": jpg1, "up.jpg": jpg1,
	}
	broken := map[string][]byte{"metadata.jsonl": s("{\"file_name\":\"1.jpg\",\"text\":\"one\"}\n{\"file_name\n"), "1.jpg": jpg1, "2.jpg": jpg2}
	csv := map[string][]byte{"metadata.csv": s("file_name,text,id\n\"1.jpg\",\"a \"\"b\"\"\nc\",7\n2.jpg,x\n"), "1.jpg": jpg1, "2.jpg": jpg2}
	shardtest.Run(t, format(t, "folder"), []shardtest.Case{
		c("sidecars", "a.jpg", files, shardtest.Want{Key: "a", Image: jpg1, Text: "cap", Metadata: `{"x":1}`}),
		c("dot in the name", "a.b.jpg", files, shardtest.Want{Key: "a.b", Image: jpg2}),
		c("two of one name", "b.png", files, shardtest.Want{Key: "b.png", Image: png1, Text: "both"}),
		c("two of one name, the other", "b.jpg", files, shardtest.Want{Key: "b.jpg", Image: jpg1, Text: "both"}),
		c("empty", "empty.jpg", files, shardtest.Want{Key: "empty", Reject: schemas.NoImage, Detail: "0 bytes"}),
		c("html", "page.jpg", files, shardtest.Want{Key: "page", Image: html}),
		c("json broken", "bad.jpg", files, shardtest.Want{Key: "bad", Reject: schemas.UnreadableSource, Detail: "bad.json"}),
		c("caption not utf-8", "latin.jpg", files, shardtest.Want{Key: "latin", Reject: schemas.TextNotUTF8}),
		opt(c("large", "a.jpg", files, shardtest.Want{Key: "a", Reject: schemas.TooLarge}), shards.Options{MaxImageBytes: 100}),
		c("metadata.jsonl above", "train/x/1.jpg", jsonl, shardtest.Want{Key: "train/x/1", Image: jpg1, Text: "one", Metadata: `{"n":1}`}),
		c("metadata.jsonl beside", "train/2.jpg", jsonl, shardtest.Want{Key: "train/2", Image: jpg2, Text: "two"}),
		c("no entry", "train/3.jpg", jsonl, shardtest.Want{Key: "train/3", Image: png1}),
		c("entry not utf-8", "train/latin.jpg", jsonl, shardtest.Want{Key: "train/latin", Reject: schemas.TextNotUTF8}),
		c("entry from below", "up.jpg", jsonl, shardtest.Want{Key: "up", Image: jpg1}),
		c("broken metadata, own entry", "1.jpg", broken, shardtest.Want{Key: "1", Image: jpg1, Text: "one"}),
		c("broken metadata, no entry", "2.jpg", broken, shardtest.Want{Key: "2", Reject: schemas.UnreadableSource, Detail: "first at byte 35"}),
		opt(c("metadata.csv", "1.jpg", csv, shardtest.Want{Key: "7", Image: jpg1, Text: "a \"b\"\nc"}), shards.Options{KeyColumn: "id"}),
		c("metadata.csv, short record", "2.jpg", csv, shardtest.Want{Key: "2", Reject: schemas.UnreadableSource, Detail: "2 fields"}),
	})
}

// TestFolderRemembers reads many folders, more than are remembered, twice.
func TestFolderRemembers(t *testing.T) {
	objects := map[string][]byte{}
	for i := range 40 {
		dir := strings.Repeat("d", i+1)
		objects[dir+"/1.jpg"], objects[dir+"/1.txt"] = jpg1, []byte(dir)
	}
	b := shardtest.Store(t, objects)
	o := &shards.Options{Root: b}
	for range 2 {
		for i := range 40 {
			dir := strings.Repeat("d", i+1)
			rows := shardtest.Read(t, format(t, "folder"), o, shardtest.Source(t, b, dir+"/1.jpg"), 1)
			if *rows[0].Text != dir {
				t.Errorf("%s: got caption %q", dir, *rows[0].Text)
			}
		}
	}
}

func FuzzFolder(f *testing.F) {
	f.Add([]byte(`{"x":1}`), []byte("caption"), []byte("{\"file_name\":\"a.jpg\",\"text\":\"t\"}\n"), []byte("file_name,text\na.jpg,\"x\"\n"))
	f.Fuzz(func(t *testing.T, json, txt, jsonl, csv []byte) {
		b := shardtest.Store(t, map[string][]byte{"a.jpg": {1}, "a.json": json, "a.txt": txt, "metadata.jsonl": jsonl, "d/a.jpg": {1}, "d/metadata.csv": csv})
		for _, name := range []string{"a.jpg", "d/a.jpg"} {
			if n := len(shardtest.Read(t, format(t, "folder"), &shards.Options{Root: b}, shardtest.Source(t, b, name), 1)); n != 1 {
				t.Errorf("%s: %d rows, want 1", name, n)
			}
		}
	})
}
