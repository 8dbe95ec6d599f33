package schemas

import (
	"encoding/json"
	"fmt"
	"maps"
	"sort"
)

// ManifestName is the file that is written last and alone proves that a run succeeded.
const ManifestName = "_manifest.json"

// ManifestVersion numbers the manifest's own layout.
const ManifestVersion = 1

// File is one committed output file.
type File struct {
	Path   string `json:"path"` // relative to the output folder
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // hexadecimal
}

// Counts account for every row: In = Encoded + the sum over Rejected. Of inputs of several images a row is an image; the
// documents have their own counts.
type Counts struct {
	In       int64            `json:"in"`
	Encoded  int64            `json:"encoded"`
	Rejected map[string]int64 `json:"rejected"` // by reason
	// Split and Truncated are those of Encoded that were too long for one sequence: cut into several, or without a part of
	// their texts (and images that had no room).
	Split     int64 `json:"split,omitempty"`
	Truncated int64 `json:"truncated,omitempty"`
	// Documents is nil where the input has none.
	Documents *DocumentCounts `json:"documents,omitempty"`
}

// DocumentCounts account for every document: In = Written + the sum over Rejected.
type DocumentCounts struct {
	In      int64 `json:"in"`
	Written int64 `json:"written"`
	// Incomplete are those of the written that lost an image (--missing-image drop-element).
	Incomplete int64            `json:"incomplete"`
	Rejected   map[string]int64 `json:"rejected"` // by reason
}

func total(byReason map[string]int64) (n int64) {
	for _, v := range byReason {
		n += v
	}
	return n
}

// RejectedTotal sums over the reasons.
func (c *DocumentCounts) RejectedTotal() int64 { return total(c.Rejected) }

// Reject counts a document that is not written.
func (c *DocumentCounts) Reject(r Reason) {
	c.In++
	if c.Rejected == nil {
		c.Rejected = map[string]int64{}
	}
	c.Rejected[string(r)]++
}

func (c *DocumentCounts) check() error {
	if c.In != c.Written+c.RejectedTotal() || c.Incomplete > c.Written {
		return fmt.Errorf("schemas: %d documents in, but %d written (%d of them incomplete) and %d rejected: documents are missing",
			c.In, c.Written, c.Incomplete, c.RejectedTotal())
	}
	return nil
}

// RejectedTotal sums over the reasons.
func (c Counts) RejectedTotal() int64 { return total(c.Rejected) }

// Check is the accounting that every run ends with.
func (c Counts) Check() error {
	if c.In != c.Encoded+c.RejectedTotal() {
		return fmt.Errorf("schemas: %d rows in, but %d encoded and %d rejected: rows are missing", c.In, c.Encoded, c.RejectedTotal())
	}
	if c.Split+c.Truncated > c.Encoded {
		return fmt.Errorf("schemas: %d rows split and %d truncated of %d", c.Split, c.Truncated, c.Encoded)
	}
	if c.Documents != nil {
		return c.Documents.check()
	}
	return nil
}

// Add merges other into c.
func (c *Counts) Add(other Counts) {
	c.In += other.In
	c.Encoded += other.Encoded
	c.Split += other.Split
	c.Truncated += other.Truncated
	if c.Rejected == nil {
		c.Rejected = map[string]int64{}
	}
	for k, v := range other.Rejected {
		c.Rejected[k] += v
	}
	if d := other.Documents; d != nil {
		if c.Documents == nil {
			c.Documents = new(DocumentCounts)
		}
		c.Documents.add(*d)
	}
}

// Subtract takes other, which c includes, out of c.
func (c *Counts) Subtract(other Counts) error {
	less := Counts{In: -other.In, Encoded: -other.Encoded, Split: -other.Split, Truncated: -other.Truncated, Rejected: negative(other.Rejected)}
	if d := other.Documents; d != nil {
		less.Documents = &DocumentCounts{In: -d.In, Written: -d.Written, Incomplete: -d.Incomplete, Rejected: negative(d.Rejected)}
	}
	sum := Counts{Rejected: map[string]int64{}}
	sum.Add(*c)
	sum.Add(less)
	none := func(_ string, n int64) bool { return n == 0 } // as if the reason had never come up
	maps.DeleteFunc(sum.Rejected, none)
	below := sum.In < 0 || sum.Encoded < 0 || anyBelow(sum.Rejected)
	if d := sum.Documents; d != nil {
		maps.DeleteFunc(d.Rejected, none)
		below = below || d.In < 0 || d.Written < 0 || d.Incomplete < 0 || anyBelow(d.Rejected)
	}
	if below {
		return fmt.Errorf("schemas: counts %+v do not include %+v", *c, other)
	}
	*c = sum
	return nil
}

func negative(m map[string]int64) map[string]int64 {
	out := map[string]int64{}
	for k, v := range m {
		out[k] = -v
	}
	return out
}

func anyBelow(m map[string]int64) bool {
	for _, v := range m {
		if v < 0 {
			return true
		}
	}
	return false
}

func (c *DocumentCounts) add(other DocumentCounts) {
	c.In += other.In
	c.Written += other.Written
	c.Incomplete += other.Incomplete
	if c.Rejected == nil {
		c.Rejected = map[string]int64{}
	}
	for k, v := range other.Rejected {
		c.Rejected[k] += v
	}
}

// Manifest is what a finished run leaves behind. Only Timings, Command, Started, Finished and Host-like facts differ
// between two runs of the same plan.
type Manifest struct {
	Version  int      `json:"version"`
	Tool     string   `json:"tool"`     // program and version
	Pipeline string   `json:"pipeline"` // "encode", "detokenize", …
	Identity Identity `json:"identity"`
	Units    int      `json:"units"`
	Counts   Counts   `json:"counts"`
	Files    []File   `json:"files"` // sorted by path
	// Vocabulary says what the ids of a sequence table mean.
	Vocabulary *Vocabulary `json:"vocabulary,omitempty"`
	// Model is the argument that named the weights, Input the patterns, Command the whole command line.
	Model   string   `json:"model"`
	Input   []string `json:"input"`
	Command []string `json:"command"`
	// Settings are there in corpora of encode.
	Settings *Settings `json:"settings,omitempty"`
	Runner   string    `json:"runner"`
	// Device is the GPU and the library of products of the launcher, which decide the last bits of 16-bit arithmetic; "" for a CPU.
	Device string `json:"device,omitempty"`
	// Reused counts the images whose codes a retry took from the corpus as it was, of those that it read again.
	Reused int64 `json:"reused,omitempty"`
	// Started and Finished are RFC 3339; Seconds is the wall time of the run that wrote the manifest, Resumed the number of
	// units that earlier runs had committed.
	Started  string  `json:"started"`
	Finished string  `json:"finished"`
	Seconds  float64 `json:"seconds"`
	Resumed  int     `json:"resumed"`
	// Stages are the seconds of work by stage, summed over all workers.
	Stages map[string]float64 `json:"stages,omitempty"`
}

// Settings are what a run of encode was told beside its identity: with both, retry reads the same input in the same cut. Local
// paths are absolute.
type Settings struct {
	Input     []string `json:"input"`
	Format    string   `json:"format,omitempty"` // "" was guessed
	ImageRoot string   `json:"image_root,omitempty"`
	UnitBytes int64    `json:"unit_bytes"`
	Model     string   `json:"model"`
}

// Marshal gives the file's bytes.
func (m *Manifest) Marshal() ([]byte, error) {
	sort.Slice(m.Files, func(i, j int) bool { return m.Files[i].Path < m.Files[j].Path })
	p, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("schemas: manifest: %w", err)
	}
	return append(p, '\n'), nil
}

// ParseManifest reads a manifest and refuses one of a later layout.
func ParseManifest(p []byte) (*Manifest, error) {
	m := new(Manifest)
	if err := json.Unmarshal(p, m); err != nil {
		return nil, fmt.Errorf("schemas: manifest is no JSON: %w", err)
	}
	if m.Version != ManifestVersion {
		return nil, fmt.Errorf("schemas: manifest has version %d, this program reads version %d", m.Version, ManifestVersion)
	}
	return m, nil
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
