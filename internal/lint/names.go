package lint

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"sower/internal/shards"
)

// family is a set of shards whose names differ in one number.
type family struct {
	name    string // with # for the number
	numbers []int64
	width   int
	sizes   []int64
	sources []string
	total   int64 // of names that end in -of-N, else -1
}

// leastFamily is how many shards make a numbering.
const leastFamily = 3

// names looks at the names and sizes of all shards.
func (f *finding) names(sources []shards.InputSource) {
	for _, fam := range families(sources) {
		f.gaps(fam)
		f.sizes(fam)
	}
}

// families sorts shards by name without one of its numbers: of several numbers in a name it is the one in which most shards
// differ.
func families(sources []shards.InputSource) []*family {
	count := map[string]int{}
	for _, s := range sources {
		for _, r := range digitRuns(s.Name) {
			count[s.Name[:r[0]]+"#"+s.Name[r[1]:]]++
		}
	}
	byName := map[string]*family{}
	var order []*family
	for _, s := range sources {
		best, at := "", [2]int{}
		for _, r := range digitRuns(s.Name) {
			if name := s.Name[:r[0]] + "#" + s.Name[r[1]:]; best == "" || count[name] > count[best] {
				best, at = name, r
			}
		}
		if best == "" || s.Format == "folder" { // pictures, whose numbers mean nothing
			continue
		}
		n, err := strconv.ParseInt(s.Name[at[0]:at[1]], 10, 64)
		if err != nil {
			continue
		}
		fam := byName[best]
		if fam == nil {
			fam = &family{name: best, width: at[1] - at[0], total: -1}
			if rest, ok := strings.CutPrefix(s.Name[at[1]:], "-of-"); ok {
				if runs := digitRuns(rest); len(runs) > 0 && runs[0][0] == 0 {
					if v, err := strconv.ParseInt(rest[:runs[0][1]], 10, 64); err == nil {
						fam.total = v
					}
				}
			}
			byName[best] = fam
			order = append(order, fam)
		}
		fam.numbers = append(fam.numbers, n)
		fam.sizes = append(fam.sizes, s.Size)
		fam.sources = append(fam.sources, s.Name)
	}
	return slices.DeleteFunc(order, func(f *family) bool { return len(f.numbers) < leastFamily && f.total < 0 })
}

// digitRuns are the runs of digits in the last element of a path, at most eight.
func digitRuns(name string) (runs [][2]int) {
	base := len(name) - len(path.Base(name))
	for i := base; i < len(name) && len(runs) < 8; {
		if name[i] < '0' || name[i] > '9' {
			i++
			continue
		}
		j := i
		for j < len(name) && name[j] >= '0' && name[j] <= '9' {
			j++
		}
		runs = append(runs, [2]int{i, j})
		i = j
	}
	return runs
}

// gaps finds numbers that are missing. Names that are numbered at random, with less than half of the numbers there, have none.
func (f *finding) gaps(fam *family) {
	numbers := slices.Clone(fam.numbers)
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	first, last := numbers[0], numbers[len(numbers)-1]
	if fam.total > 0 { // part-00003-of-00064: all of 0…63, or 1…64
		if first > 1 {
			first = 0
		}
		last = max(last, first+fam.total-1)
	}
	missing := last - first + 1 - int64(len(numbers))
	if missing <= 0 || missing > int64(len(numbers)) && fam.total < 0 {
		return
	}
	var spans []string
	at := first
	span := func(to int64) { // numbers [at, to) are missing
		switch {
		case to == at+1:
			spans = append(spans, fmt.Sprintf("%0*d", fam.width, at))
		case to > at:
			spans = append(spans, fmt.Sprintf("%0*d…%0*d", fam.width, at, fam.width, to-1))
		}
	}
	for _, n := range numbers {
		span(n)
		at = n + 1
	}
	span(last + 1)
	more := ""
	if n := len(spans); n > 10 {
		spans, more = spans[:10], fmt.Sprintf(" and %d more", n-10)
	}
	f.problem(Problem{Gap, Warning, fam.name, -1, -1, fmt.Sprintf("%d of %d numbers are missing: %s%s", missing, last-first+1, strings.Join(spans, ", "), more)})
}

// sizes finds shards that are unlike the others. The last one of a writer is often small, so it may be.
func (f *finding) sizes(fam *family) {
	if len(fam.sizes) < 4 {
		return
	}
	sorted := slices.Clone(fam.sizes)
	slices.Sort(sorted)
	median := sorted[len(sorted)/2]
	last := slices.Max(fam.numbers)
	for i, size := range fam.sizes {
		small := size < median/10 && fam.numbers[i] != last
		if small || size/10 > median {
			f.problem(Problem{UnlikelySize, Warning, fam.sources[i], -1, -1, fmt.Sprintf("%d bytes, the median of %s is %d", size, fam.name, median)})
		}
	}
}
