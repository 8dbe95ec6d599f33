package main

import (
	"html"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
)

// metadata is what a picture's SVG says about it.
type metadata struct {
	title, creator string
	subjects       []string
}

var (
	work    = regexp.MustCompile(`(?s)<(?:\w+:)?Work\b.*?</(?:\w+:)?Work>`)
	title   = regexp.MustCompile(`(?s)<dc:title\b[^>]*>(.*?)</dc:title>`)
	creator = regexp.MustCompile(`(?s)<dc:creator\b[^>]*>(.*?)</dc:creator>`)
	subject = regexp.MustCompile(`(?s)<dc:subject>(.*?)</dc:subject>`)
	item    = regexp.MustCompile(`(?s)<rdf:li[^>]*>(.*?)</rdf:li>`)
	tag     = regexp.MustCompile(`<[^>]+>`)
	word    = regexp.MustCompile(`[a-z]+|[0-9]+`)
	debris  = regexp.MustCompile(`(?i)^(hash|0x)`)
	number  = regexp.MustCompile(`^0[0-9]$`)
)

// nothing are words that say nothing about a picture.
var nothing = strings.Fields("hash clipart svg png jpg icon icons theme collection part of the by a an and in on to for with x mimetypes mime " +
	"unsorted special symbols and various ffffff")

// read takes the RDF block of an SVG; a file without one has no metadata.
func read(file string) (m metadata) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return m
	}
	block := work.FindString(strings.ToValidUTF8(string(raw), "\uFFFD"))
	plain := func(pattern *regexp.Regexp) string {
		if found := pattern.FindStringSubmatch(block); found != nil {
			return strings.TrimSpace(html.UnescapeString(tag.ReplaceAllString(found[1], " ")))
		}
		return ""
	}
	m.title, m.creator = plain(title), plain(creator)
	if found := subject.FindStringSubmatch(block); found != nil {
		for _, s := range item.FindAllStringSubmatch(found[1], -1) {
			if !debris.MatchString(s[1]) {
				m.subjects = append(m.subjects, s[1])
			}
		}
	}
	return m
}

func words(s string) []string { return word.FindAllString(strings.ToLower(s), -1) }

// caption is words of the file name, then of the title, the subjects and the folders.
func caption(key, title string, m metadata, folders []string) string {
	var author []string
	for _, w := range words(m.creator) {
		if len(w) > 2 {
			author = append(author, w)
		}
	}
	byAuthor := func(w string) bool { // file names carry a cut author's name
		return len(w) > 2 && slices.ContainsFunc(author, func(a string) bool { return strings.HasPrefix(a, w) })
	}
	list := slices.DeleteFunc(words(path.Base(key)), byAuthor)
	if n := len(list); n > 1 && number.MatchString(list[n-1]) {
		list = list[:n-1]
	}
	list = append(list, words(title)...)
	for _, s := range append(slices.Clone(m.subjects), folders...) {
		list = append(list, words(s)...)
	}
	var out []string
	for _, w := range list {
		if !slices.Contains(nothing, w) && !slices.Contains(author, w) && !slices.Contains(out, w) {
			out = append(out, w)
		}
	}
	return strings.Join(out[:min(len(out), 24)], " ")
}

// folders are those that a picture lies in, in order.
func folders(names []string) []string {
	var out []string
	for _, n := range names {
		out = append(out, path.Dir(n))
	}
	slices.Sort(out)
	return slices.Compact(out)
}
