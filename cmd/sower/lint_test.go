package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLint(t *testing.T) {
	in := pictures(t, 3, 20)
	text := must(t, "lint", in)
	if !strings.Contains(text, "3 shards") || !strings.Contains(text, "60 rows, 60 with a caption; 60 images looked at: all is well") {
		t.Errorf("%s", text)
	}
	if err := os.Truncate(filepath.Join(in, "00001.tar"), 12292); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, code := sower(t, "lint", filepath.Join(in, "*.tar"))
	if code != exitFailed || !strings.Contains(stdout, "error: unreadable_source: 00001.tar row") || !strings.Contains(stdout, "byte ") || !strings.Contains(stderr, "1 errors") {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
	stdout, _, code = sower(t, "lint", "--json", in)
	v := decodeJSON(t, stdout)
	if code != exitFailed || v["errors"].(float64) != 1 || v["counts"].(map[string]any)["unreadable_source"].(float64) != 1 {
		t.Errorf("exit code %d\n%s", code, stdout)
	}
	// Warnings fail where that is asked for.
	if err := os.Remove(filepath.Join(in, "00001.tar")); err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"00003.tar", "00005.tar"} {
		writeFile(t, in, name, tarOf(10+i, 20))
	}
	args := []string{"lint", in}
	if _, _, code := sower(t, args...); code != exitOK {
		t.Errorf("warnings: exit code %d", code)
	}
	if stdout, _, code := sower(t, append(args, "--strict")...); code != exitFailed || !strings.Contains(stdout, "gap") {
		t.Errorf("strict: exit code %d\n%s", code, stdout)
	}
	for _, bad := range [][]string{{"lint"}, {"lint", in, "--images", "some"}, {"lint", in, "--format", "zip"}} {
		if _, _, code := sower(t, bad...); code != exitUsage {
			t.Errorf("%v: exit code %d", bad, code)
		}
	}
}
