package trainer

import (
	"bytes"
	"encoding/json"
)

// strict decodes JSON and refuses keys that nothing reads: a misspelt setting would be a default without a word.
func strict(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(into)
}
