package shards_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"math"
	"strings"
	"testing"

	"sower/internal/shards"
	"sower/internal/shards/shardtest"
	"sower/schemas"
)

// doc and img are the Pairs that a document consists of.
func doc(key, elements string) shardtest.Want { return shardtest.Want{Key: key, Elements: elements} }

func img(key string, position int32, data []byte) shardtest.Want {
	return shardtest.Want{Key: key, Position: position, Image: data}
}

func noImg(key string, position int32, r schemas.Reason, detail string) shardtest.Want {
	return shardtest.Want{Key: key, Position: position, Reject: r, Detail: detail}
}

func badDoc(key string, r schemas.Reason, detail string) shardtest.Want {
	return shardtest.Want{Key: key, Reject: r, Detail: detail}
}

func TestMMC4(t *testing.T) {
	key := func(n int) string { return fmt.Sprintf("d/s/%09d", n) }
	info := func(name string, at int) string {
		return fmt.Sprintf(`{"image_name":%q,"raw_url":"http://x/%s","matched_text_index":%d,"matched_sim":0.25,"face_detections":null}`, name, name, at)
	}
	line := func(texts string, images ...string) string {
		return fmt.Sprintf(`{"url":"http://x","text_list":[%s],"image_info":[%s],"similarity_matrix":[[0.1]],"could_have_url_duplicate":0}`, texts, strings.Join(images, ","))
	}
	files := map[string][]byte{"d/s_images/a.jpg": jpg1, "d/s_images/b.jpg": jpg2, "d/s_images/empty.jpg": {}, "d/c.png": png1}
	c := func(name, text string, want ...shardtest.Want) shardtest.Case {
		objects := map[string][]byte{"d/s.jsonl": []byte(text)}
		for n, p := range files {
			objects[n] = p
		}
		return shardtest.Case{Name: name, Objects: objects, Source: "d/s.jsonl", Want: want}
	}
	archive := func(name string) shardtest.Case {
		return shardtest.Case{Name: name, Source: "d/s.jsonl", Objects: map[string][]byte{"d/s.jsonl": []byte(line(`"x"`, info("a.jpg", 0), info("b.jpg", 0), info("no.jpg", 0))),
			"d/s.tar": tarOf(t, file("deep/a.jpg", jpg1), file("b.jpg", jpg2), file("b.jpg", jpg1))},
			Want: []shardtest.Want{img(key(0), 0, jpg1), img(key(0), 1, jpg2), noImg(key(0), 2, schemas.NoImage, "s.tar"), doc(key(0), `interleaved 0 1 2 "x"`)}}
	}
	cut := archive("archive cut off")
	cut.Objects["d/s.tar"] = cut.Objects["d/s.tar"][:1024+512+512+100]
	cut.Want = []shardtest.Want{img(key(0), 0, jpg1), noImg(key(0), 1, schemas.UnreadableSource, "cut off"), noImg(key(0), 2, schemas.UnreadableSource, "damaged"), doc(key(0), `interleaved 0 1 2 "x"`)}
	if len(jpg1) > 1024 {
		t.Fatalf("%d bytes", len(jpg1))
	}
	b64 := base64.StdEncoding.EncodeToString(jpg1)
	many := make([]string, 1000)
	wants := make([]shardtest.Want, 1000, 1001)
	elements := "interleaved"
	for i := range many {
		many[i], wants[i] = info("a.jpg", 0), img(key(0), int32(i), jpg1)
		elements += fmt.Sprint(" ", i)
	}
	first := img(key(0), 0, jpg2)
	first.Metadata = `{"face_detections":null,"image_name":"b.jpg","matched_sim":0.25,"matched_text_index":1,"raw_url":"http://x/b.jpg"}`
	last := doc(key(0), `interleaved "zero" 0 1 "one" 2 "two"`)
	last.Metadata = `{"_skipped":["similarity_matrix"],"could_have_url_duplicate":0,"url":"http://x"}`
	shardtest.Run(t, format(t, "mmc4"), []shardtest.Case{
		c("order", line(`"zero","one","two"`, info("a.jpg", 2), info("b.jpg", 1), info("a.jpg", 1)), first, img(key(0), 1, jpg1), img(key(0), 2, jpg1), last),
		c("no images", line(`"a",""`)+"\n\n"+line(`"b"`), doc(key(0), `interleaved "a" ""`), doc(key(1), `interleaved "b"`)),
		c("missing images", line(`"x"`, info("no.jpg", 0), info("empty.jpg", 0), info("../c.png", 0), info("/etc/passwd", 0), info("b.jpg", 0)),
			noImg(key(0), 0, schemas.NoImage, "no.jpg"), noImg(key(0), 1, schemas.NoImage, "0 bytes"), noImg(key(0), 2, schemas.UnsafeName, ".."),
			noImg(key(0), 3, schemas.UnsafeName, ""), img(key(0), 4, jpg2), doc(key(0), `interleaved 0 1 2 3 4 "x"`)),
		c("no name", line(`"x"`, `{"matched_text_index":0}`, `{"image_base64":"`+b64+`","matched_text_index":0}`, `{"image_base64":"%","matched_text_index":0}`),
			noImg(key(0), 0, schemas.NoImage, "image_name"), img(key(0), 1, jpg1), noImg(key(0), 2, schemas.Undecodable, "base64"), doc(key(0), `interleaved 0 1 2 "x"`)),
		c("a thousand images", line(`"x"`, many...), append(wants, doc(key(0), elements+` "x"`))...),
		c("hostile", strings.Join([]string{line(`"x"`, info("a.jpg", 1)), line(`"x"`, info("a.jpg", -1)), line(`"x"`, `{"image_name":"a.jpg","matched_text_index":1e9}`),
			line(`"x"`, `{"image_name":"a.jpg"}`), line(`"x"`, `7`), line(`"x",null`), `{"text_list":"x","image_info":[]}`, `{"text_list":[]}`,
			`{"text_list":[],"image_info":[]}`, `[]`, `{"image_info":[`, "{\"text_list\":[\"\xff\"],\"image_info\":[]}",
			line(`"` + strings.Repeat("y", 1<<20+1) + `"`), line(strings.Repeat(`"",`, 70000) + `""`), line(`"ok"`)}, "\n"),
			badDoc(key(0), schemas.UnreadableSource, "matched_text_index 1 of 1"), badDoc(key(1), schemas.UnreadableSource, "-1"), badDoc(key(2), schemas.UnreadableSource, "1e9"),
			badDoc(key(3), schemas.UnreadableSource, "matched_text_index"), badDoc(key(4), schemas.UnreadableSource, "image 0"), badDoc(key(5), schemas.UnreadableSource, "text 1"),
			badDoc(key(6), schemas.UnreadableSource, "no list"), badDoc(key(7), schemas.MissingColumn, "image_info"), badDoc(key(8), schemas.NoImage, "neither"),
			badDoc(key(9), schemas.UnreadableSource, "JSON"), badDoc(key(10), schemas.UnreadableSource, "JSON"), badDoc(key(11), schemas.TextNotUTF8, ""),
			badDoc(key(12), schemas.TooLarge, "text 0"), badDoc(key(13), schemas.TooLarge, "70001 texts"), doc(key(14), `interleaved "ok"`)),
		archive("archive"), cut,
		{Name: "gzip", Objects: map[string][]byte{"d/s.jsonl.gz": shardtest.Gzip([]byte(line(`"x"`, info("a.jpg", 0)))), "d/s_images/a.jpg": jpg1}, Source: "d/s.jsonl.gz",
			Want: []shardtest.Want{img(key(0), 0, jpg1), doc(key(0), `interleaved 0 "x"`)}},
	})
}

func TestOBELICS(t *testing.T) {
	type urls struct {
		Images   []*string `parquet:"images,list"`
		Texts    []*string `parquet:"texts,list"`
		Metadata string    `parquet:"metadata"`
		General  string    `parquet:"general_metadata"`
	}
	type binary struct {
		ID     int64    `parquet:"id"`
		Images [][]byte `parquet:"images,list"`
		Texts  []string `parquet:"texts,list"`
	}
	type picture struct {
		Bytes []byte  `parquet:"bytes,optional"`
		Path  *string `parquet:"path,optional"`
	}
	type embedded struct {
		Key    string    `parquet:"key"`
		Images []picture `parquet:"images,list"`
		Texts  []*string `parquet:"texts,list"`
	}
	type other struct {
		A []int64 `parquet:"images,list"`
		B string  `parquet:"texts"`
	}
	key := func(n int) string { return fmt.Sprintf("d/a/%09d", n) }
	url := "http://x/a.jpg"
	hashed := fmt.Sprintf("%x.jpg", sha1.Sum([]byte(url)))
	c := func(name string, p []byte, want ...shardtest.Want) shardtest.Case {
		return shardtest.Case{Name: name, Objects: map[string][]byte{"d/a.parquet": p, "d/1.jpg": jpg1}, Source: "d/a.parquet", Want: want}
	}
	opt := func(c shardtest.Case, o shards.Options) shardtest.Case { c.Options = o; return c }
	if err := openMem(t, "mem://obelics-images").WriteAll(t.Context(), hashed, jpg2); err != nil {
		t.Fatal(err)
	}
	if err := openMem(t, "mem://obelics-tar").WriteAll(t.Context(), "deep/all.tar", tarOf(t, file(hashed, png1))); err != nil {
		t.Fatal(err)
	}
	x, y := ptr("x"), ptr("y")
	whole := shardtest.Parquet(1, urls{[]*string{nil, ptr(url), nil}, []*string{x, nil, y}, `[null,{"alt":"a"},null]`, `{"url":"p"}`}, urls{Texts: []*string{x}, Images: []*string{nil}})
	last := doc(key(0), `interleaved "x" 0 "y"`)
	last.Metadata = `{"general_metadata":{"url":"p"},"metadata":[null,{"alt":"a"},null]}`
	found := img(key(0), 0, jpg2)
	found.Metadata = `{"url":"http://x/a.jpg"}`
	two := shardtest.Parquet(0, binary{7, [][]byte{jpg1, {}}, []string{"", "t"}}, binary{8, [][]byte{{}}, []string{"u"}})
	twoRows := []shardtest.Want{img("7", 0, jpg1), doc("7", `interleaved 0 "t"`), doc("8", `interleaved "u"`)}
	many := embedded{Key: "m"}
	wants := make([]shardtest.Want, 1000, 1001)
	elements := "interleaved"
	for i := range 1000 {
		p := shardtest.JPEG(8, 8, uint32(i))
		many.Images, many.Texts, wants[i] = append(many.Images, picture{Bytes: p}), append(many.Texts, nil), img("m", int32(i), p)
		elements += fmt.Sprint(" ", i)
	}
	pair := func(image, text *string) urls { return urls{Images: []*string{image}, Texts: []*string{text}} }
	shardtest.Run(t, format(t, "obelics"), []shardtest.Case{
		c("urls", whole, noImg(key(0), 0, schemas.NoImage, "downloaded first"), last, doc(key(1), `interleaved "x"`)),
		opt(c("urls by hash", whole, found, last, doc(key(1), `interleaved "x"`)), shards.Options{ImageRoot: "mem://obelics-images"}),
		opt(c("urls by hash in a tar", whole, img(key(0), 0, png1), last, doc(key(1), `interleaved "x"`)), shards.Options{ImageRoot: "mem://obelics-tar/deep/all.tar"}),
		c("bytes", two, twoRows...),
		opt(c("columns", two, badDoc("7", schemas.MissingColumn, `"pics"`), badDoc("8", schemas.MissingColumn, `"pics"`)), shards.Options{ImageColumn: "pics"}),
		opt(c("too large", two, noImg("7", 0, schemas.TooLarge, "bytes"), twoRows[1], twoRows[2]), shards.Options{MaxImageBytes: 100}),
		c("structs", shardtest.Parquet(0, embedded{"k", []picture{{}, {jpg1, nil}, {nil, ptr("1.jpg")}, {nil, ptr("../1.jpg")}}, []*string{x, nil, nil, nil}}),
			img("k", 0, jpg1), img("k", 1, jpg1), noImg("k", 2, schemas.UnsafeName, ""), doc("k", `interleaved "x" 0 1 2`)),
		c("a thousand images", shardtest.Parquet(0, many), append(wants, doc("m", elements))...),
		c("hostile", shardtest.Parquet(2, pair(nil, nil), pair(x, y), urls{Images: []*string{x}}, urls{Texts: []*string{x, y}, Images: []*string{nil}}, urls{}, pair(nil, ptr("\xff")),
			pair(nil, ptr(strings.Repeat("z", 1<<20+1))), pair(nil, ptr("ok"))),
			badDoc(key(0), schemas.UnreadableSource, "neither"), badDoc(key(1), schemas.UnreadableSource, "both"), badDoc(key(2), schemas.UnreadableSource, "0 texts beside 1"),
			badDoc(key(3), schemas.UnreadableSource, "2 texts beside 1"), badDoc(key(4), schemas.NoImage, "neither"), badDoc(key(5), schemas.TextNotUTF8, ""),
			badDoc(key(6), schemas.TooLarge, "text 0"), doc(key(7), `interleaved "ok"`)),
		c("other types", shardtest.Parquet(0, other{[]int64{1}, "x"}), badDoc(key(0), schemas.MissingColumn, "images")),
		c("a long list", shardtest.Parquet(0, urls{Images: make([]*string, 70000), Texts: make([]*string, 70000)}), badDoc(key(0), schemas.TooLarge, "70000")),
		c("not parquet", bytes.Repeat([]byte("hello "), 50), badDoc("", schemas.UnreadableSource, "")),
		c("cut", whole[:len(whole)-100], badDoc("", schemas.UnreadableSource, "")),
	})
}

func TestLLaVA(t *testing.T) {
	key := func(n int) string { return fmt.Sprintf("d/a/%09d", n) }
	files := map[string][]byte{"d/i/1.jpg": jpg1, "d/2.png": png1}
	of := func(file, name, text string, want ...shardtest.Want) shardtest.Case {
		objects := map[string][]byte{file: []byte(text)}
		for n, p := range files {
			objects[n] = p
		}
		return shardtest.Case{Name: name, Objects: objects, Source: file, Want: want}
	}
	c := func(name, text string, want ...shardtest.Want) shardtest.Case {
		return of("d/a.json", name, text, want...)
	}
	opt := func(c shardtest.Case, o shards.Options) shardtest.Case { c.Options = o; return c }
	one := `{"id":"a","image":"i/1.jpg","conversations":[{"from":"human","value":"<image>\nWhat is it?"},{"from":"gpt","value":"A \"pattern\" [of] {colours}."}],"model":"x"}`
	oneRows := []shardtest.Want{img("a", 0, jpg1), doc("a", `conversation user:0 user:"What is it?" assistant:"A \"pattern\" [of] {colours}."`)}
	text := `{"id":2,"conversations":[{"from":"system","value":"s"},{"from":"human","value":""}]}`
	textRow := doc("2", `conversation system:"s" user:""`)
	turns := func(image, value string) string {
		return fmt.Sprintf(`{"image":%s,"conversations":[{"from":"human","value":%q}]}`, image, value)
	}
	oneRows[1].Metadata = `{"model":"x"}`
	shardtest.Run(t, format(t, "llava"), []shardtest.Case{
		c("array", "\xef\xbb\xbf [\n  "+one+",\n  "+text+"\n]\n", append(oneRows, textRow)...),
		c("lines", one+"\n"+text, append(oneRows, textRow)...),
		of("d/a.json.gz", "gzip", string(shardtest.Gzip([]byte("["+one+"]"))), oneRows...),
		c("empty array", " [ ] "), c("nothing", ""),
		c("many", "["+strings.Repeat(text+",", 300)+text+"]", func() (w []shardtest.Want) {
			for range 301 {
				w = append(w, textRow)
			}
			return w
		}()...),
		c("several images", "["+turns(`["2.png","i/1.jpg"]`, "first <image>\nthen\n<image>")+"]",
			img(key(0), 0, png1), img(key(0), 1, jpg1), doc(key(0), `conversation user:"first " user:0 user:"then" user:1`)),
		c("one marker alone", "["+turns(`"2.png"`, "<image>")+"]", img(key(0), 0, png1), doc(key(0), `conversation user:0`)),
		c("markers", "["+turns(`"2.png"`, "none")+","+turns(`"2.png"`, "<image><image>")+","+turns(`null`, "<image>")+","+turns(`[]`, "x")+"]",
			badDoc(key(0), schemas.UnreadableSource, "0 <image> markers, 1 images"), badDoc(key(1), schemas.UnreadableSource, "2 <image> markers, 1 images"),
			badDoc(key(2), schemas.UnreadableSource, "1 <image> markers, 0 images"), doc(key(3), `conversation user:"x"`)),
		c("images", "["+turns(`"../a.json"`, "<image>")+","+turns(`"no.jpg"`, "<image>")+","+turns(`7`, "<image>")+","+turns(`""`, "<image>")+"]",
			noImg(key(0), 0, schemas.UnsafeName, ""), doc(key(0), "conversation user:0"), noImg(key(1), 0, schemas.NoImage, "no.jpg"), doc(key(1), "conversation user:0"),
			noImg(key(2), 0, schemas.NoImage, "no path"), doc(key(2), "conversation user:0"), noImg(key(3), 0, schemas.NoImage, ""), doc(key(3), "conversation user:0")),
		c("turns", `[{"conversations":7},{"conversations":[7]},{"conversations":[{"from":"human"}]},{"id":"x"},7,null,[],{"conversations":[]},{"conversations":null}]`,
			badDoc(key(0), schemas.UnreadableSource, "no list"), badDoc(key(1), schemas.UnreadableSource, "turn 0"), badDoc(key(2), schemas.UnreadableSource, "turn 0"),
			badDoc("x", schemas.MissingColumn, "conversations"), badDoc(key(4), schemas.UnreadableSource, "JSON"), badDoc(key(5), schemas.UnreadableSource, ""),
			badDoc(key(6), schemas.UnreadableSource, ""), badDoc(key(7), schemas.NoImage, "neither"), badDoc(key(8), schemas.NoImage, "neither")),
		c("commas", "["+text+",,"+text+",]", textRow, badDoc(key(1), schemas.UnreadableSource, ""), textRow, badDoc(key(3), schemas.UnreadableSource, "")),
		c("cut off", "["+text+","+text[:20], textRow, badDoc(key(1), schemas.UnreadableSource, "does not end")),
		c("not closed", "["+text+",", textRow, badDoc(key(1), schemas.UnreadableSource, "does not end")),
		c("data behind", "["+text+"] x", textRow, badDoc(key(1), schemas.UnreadableSource, "more comes")),
		c("bracket too many", "["+text+"}]", badDoc(key(0), schemas.UnreadableSource, "JSON")),
		opt(c("columns", `[{"pic":"2.png","talk":[{"from":"gpt","value":"<image>x"}],"uid":"u"},{"id":"v"}]`, img("u", 0, png1), doc("u", `conversation assistant:0 assistant:"x"`),
			badDoc(key(1), schemas.MissingColumn, "uid")), shards.Options{ImageColumn: "pic", TextColumn: "talk", KeyColumn: "uid"}),
	})
}

// TestLLaVAHugeElement keeps an element that is not held from hiding its neighbours.
func TestLLaVAHugeElement(t *testing.T) {
	text := `{"id":2,"conversations":[{"from":"human","value":"x"}]}`
	huge := `{"id":"h","conversations":[{"from":"human","value":"` + strings.Repeat("x", 64<<20) + `"}]}`
	got := fuzzRead(t, "llava", "a.json", []byte("["+text+","+huge+","+text+"]"))
	if len(got) != 3 || got[0].Doc == nil || got[1].Reject == nil || got[1].Reject.Reason != schemas.TooLarge || got[2].Doc == nil {
		t.Errorf("%d rows", len(got))
	}
}

func TestEdit(t *testing.T) {
	type magicBrush struct {
		ID     string         `parquet:"img_id"`
		Source shardPicture   `parquet:"source_img"`
		Mask   shardPicture   `parquet:"mask_img"`
		Text   *string        `parquet:"instruction,optional"`
		Target shardPicture   `parquet:"target_img"`
		More   map[string]int `parquet:"-"`
	}
	type paths struct {
		Key    string `parquet:"key"`
		Source []byte `parquet:"before"`
		Text   string `parquet:"edit_prompt"`
		Target string `parquet:"after"`
	}
	key := func(n int) string { return fmt.Sprintf("d/a/%09d", n) }
	p := func(data []byte) shardPicture { return shardPicture{Bytes: data} }
	c := func(name, file string, data []byte, want ...shardtest.Want) shardtest.Case {
		return shardtest.Case{Name: name, Objects: map[string][]byte{file: data, "d/1.jpg": jpg1, "d/2.png": png1}, Source: file, Want: want}
	}
	opt := func(c shardtest.Case, o shards.Options) shardtest.Case { c.Options = o; return c }
	triple := `edit source:0 instruction:"do" target:1`
	first := doc(key(0), triple)
	first.Metadata = `{"img_id":"7"}`
	table := shardtest.Parquet(1, magicBrush{"7", p(jpg1), p(png1), ptr("do"), p(jpg2), nil}, magicBrush{"8", p(nil), p(nil), ptr("do"), p(jpg2), nil}, magicBrush{"9", p(jpg1), p(nil), nil, p(jpg2), nil},
		magicBrush{"10", p(jpg1), p(nil), ptr("\xff"), p(jpg2), nil})
	b64 := base64.StdEncoding.EncodeToString(bytes.Repeat(jpg1, 200))
	shardtest.Run(t, format(t, "edit"), []shardtest.Case{
		c("parquet", "d/a.parquet", table, img(key(0), 0, jpg1), img(key(0), 1, jpg2), first, noImg(key(1), 0, schemas.NoImage, "null"), img(key(1), 1, jpg2), doc(key(1), triple),
			badDoc(key(2), schemas.UnreadableSource, "instruction"), badDoc(key(3), schemas.TextNotUTF8, "")),
		c("paths", "d/a.parquet", shardtest.Parquet(0, paths{"k", jpg1, "do", "2.png"}), img("k", 0, jpg1), img("k", 1, png1), doc("k", triple)),
		opt(c("columns", "d/a.parquet", table, badDoc(key(0), schemas.MissingColumn, "nope"), badDoc(key(1), schemas.MissingColumn, "nope"), badDoc(key(2), schemas.MissingColumn, "nope"),
			badDoc(key(3), schemas.MissingColumn, "nope")), shards.Options{ImageColumn: "source_img;nope"}),
		opt(c("one image column", "d/a.parquet", table[:len(table):len(table)], badDoc(key(0), schemas.MissingColumn, "source;target"), badDoc(key(1), schemas.MissingColumn, ""),
			badDoc(key(2), schemas.MissingColumn, ""), badDoc(key(3), schemas.MissingColumn, "")), shards.Options{ImageColumn: "source_img"}),
		c("lines", "d/a.jsonl", []byte(`{"id":"k","input_image":"1.jpg","edit":"do","output_image":"2.png","n":1}`+"\n"+
			`{"source_image":{"bytes":null,"path":"2.png"},"instruction":"do","target_image":"data:image/jpeg;base64,`+b64+`"}`+"\n"+
			`{"source_image":"1.jpg","target_image":"1.jpg"}`+"\n"+`{"source_image":"1.jpg","instruction":"do"}`+"\n"+`{"source_image":null,"instruction":7,"target_image":"/x"}`+"\n7"),
			img("k", 0, jpg1), img("k", 1, png1), doc("k", triple), img(key(1), 0, png1), img(key(1), 1, bytes.Repeat(jpg1, 200)), doc(key(1), triple),
			badDoc(key(2), schemas.MissingColumn, "instruction"), badDoc(key(3), schemas.MissingColumn, "target"),
			noImg(key(4), 0, schemas.NoImage, ""), noImg(key(4), 1, schemas.UnsafeName, ""), doc(key(4), `edit source:0 instruction:"7" target:1`), badDoc(key(5), schemas.UnreadableSource, "")),
		c("nothing", "d/a.jsonl", nil),
		c("cut", "d/a.parquet", table[:len(table)-9], badDoc("", schemas.UnreadableSource, "")),
	})
}

type shardPicture struct {
	Bytes []byte  `parquet:"bytes,optional"`
	Path  *string `parquet:"path,optional"`
}

func TestGuessDocuments(t *testing.T) {
	type lists struct {
		Images []*string `parquet:"images,list"`
		Texts  []*string `parquet:"texts,list"`
	}
	files := map[string][]byte{
		"mmc4/a.jsonl":     []byte(`{"text_list":[],"image_info":[]}`),
		"mmc4/a.tar":       shardtest.Tar(),
		"obelics/a.pq":     shardtest.Parquet(0, lists{}),
		"pairs/a.pq":       shardtest.Parquet(0, shardtest.HuggingFace(jpg1, "a", "b", 1)),
		"pairs/b.jsonl":    []byte(`{"image":"x","caption":"y"}`),
		"pairs/c.tar":      shardtest.Tar(shardtest.Captioned("a", jpg1, "x")),
		"mint/a.tar":       shardtest.Tar(shardtest.Sample{Key: "k", Files: []shardtest.File{{Ext: "json", Data: []byte(`{"texts":["x"],"images":[null]}`)}}}),
		"llava/a.json":     []byte(`[{}]`),
		"llava/b.jsonl":    []byte(`{"conversations":[{"from":"human","value":"x"}]}`),
		"edit/a.jsonl":     []byte(`{"source_img":"a","instruction":"b","target_img":"c"}`),
		"many/a.jsonl":     []byte(`{"text_list":[],"image_info":[]}`),
		"many/img/1.jpg":   jpg1,
		"many/b.jsonl.gz":  nil,
		"many/other.txt":   nil,
		"many/b.tar":       shardtest.Tar(),
		"llavadir/a.json":  []byte("[]"),
		"llavadir/x/1.jpg": jpg1,
	}
	b := openMem(t, "mem://guess-documents")
	for name, p := range files {
		if err := b.WriteAll(t.Context(), name, p); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		arg, format, want string
		files             int
	}{
		{"mmc4/*.jsonl", "", "mmc4", 1}, {"mmc4/a.jsonl", "", "mmc4", 1}, {"mmc4/a.jsonl", "jsonl", "jsonl", 1}, {"obelics", "", "obelics", 1}, {"pairs/a.pq", "", "parquet", 1},
		{"pairs/b.jsonl", "", "jsonl", 1}, {"pairs/c.tar", "", "webdataset", 1}, {"mint", "", "mint1t", 1}, {"mint/a.tar", "webdataset", "webdataset", 1}, {"llava/a.json", "", "llava", 1},
		{"llava/b.jsonl", "", "llava", 1}, {"edit/*", "", "edit", 1}, {"many", "mmc4", "mmc4", 2}, {"llavadir", "llava", "llava", 1},
	} {
		in, err := shards.Resolve(t.Context(), []string{"mem://guess-documents/" + c.arg}, c.format)
		if err != nil {
			t.Errorf("%s: %v", c.arg, err)
			continue
		}
		if len(in.Sources) != c.files || in.Sources[0].Format != c.want {
			t.Errorf("%s --format %q: %v, want %d files of %s", c.arg, c.format, in.Sources, c.files, c.want)
		}
		if guessed := c.format == "" && shards.HasDocuments(c.want); guessed && c.want != "llava" && !strings.Contains(strings.Join(in.Notes, "\n"), "read as documents") {
			t.Errorf("%s: no note: %q", c.arg, in.Notes)
		}
	}
}

// fuzzDocuments reads a source beside which there are two images.
func fuzzDocuments(t *testing.T, name, file string, p []byte) {
	b := shardtest.Store(t, map[string][]byte{file: p, "a.jpg": []byte("image"), "b.jpg": []byte("other")})
	o := &shards.Options{Root: b, MaxImageBytes: 1 << 20}
	s := shardtest.Source(t, b, file)
	f := format(t, name)
	rows := shardtest.Read(t, f, o, s, math.MaxInt64)
	for _, target := range []int64{1, 60, 600} {
		shardtest.Same(t, fmt.Sprintf("split at %d", target), shardtest.Read(t, f, o, s, target), rows)
	}
}

func FuzzMMC4(f *testing.F) {
	f.Add([]byte(`{"text_list":["x","y"],"image_info":[{"image_name":"a.jpg","matched_text_index":1},{"image_base64":"aGk=","matched_text_index":0}],"id":7}` + "\n{}\n"))
	f.Fuzz(func(t *testing.T, p []byte) { fuzzDocuments(t, "mmc4", "a.jsonl", p) })
}

func FuzzLLaVA(f *testing.F) {
	f.Add([]byte(`[{"id":"a","image":["a.jpg","b.jpg"],"conversations":[{"from":"human","value":"<image>\n<image>x"},{"from":"gpt","value":"y\"]"}]}, {"x":[1,2]}]`))
	f.Add([]byte(`{"image":"a.jpg","conversations":[{"from":"gpt","value":"z\n<image>"}]}`))
	f.Fuzz(func(t *testing.T, p []byte) { fuzzDocuments(t, "llava", "a.json", p) })
}

func FuzzEdit(f *testing.F) {
	f.Add([]byte(`{"source_image":"a.jpg","instruction":"do","target_image":"data:;base64,aGk="}` + "\n" + `{"before":"b.jpg","edit":1,"after":{"path":"a.jpg"}}`))
	f.Add(shardtest.Parquet(1, struct {
		S shardPicture `parquet:"source_img"`
		I string       `parquet:"instruction"`
		T string       `parquet:"target_img"`
	}{shardPicture{Bytes: []byte("x")}, "do", "a.jpg"}))
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) < 1<<16 {
			fuzzDocuments(t, "edit", "a.parquet", p)
		}
	})
}

func FuzzOBELICS(f *testing.F) {
	type row struct {
		Images []*string `parquet:"images,list"`
		Texts  []*string `parquet:"texts,list"`
		Meta   string    `parquet:"metadata"`
	}
	type bytesRow struct {
		Images []shardPicture `parquet:"images,list"`
		Texts  []*string      `parquet:"texts,list"`
	}
	f.Add(shardtest.Parquet(1, row{[]*string{ptr("a.jpg"), nil}, []*string{nil, ptr("x")}, "[]"}, row{}))
	f.Add(shardtest.Parquet(0, bytesRow{[]shardPicture{{Bytes: []byte("x")}, {}}, []*string{nil, ptr("x")}}))
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) < 1<<16 {
			fuzzDocuments(t, "obelics", "a.parquet", p)
		}
	})
}
