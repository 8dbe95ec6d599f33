package manifest

import (
	"fmt"
	"strings"

	"sower/schemas"
)

// counts is the place in a card's template where the counts go.
const counts = "%COUNTS%"

// Card fills the counts into a card. The text depends on the rows alone, not on the run that made them.
func Card(template string, c schemas.Counts) string {
	var t strings.Builder
	fmt.Fprintf(&t, "| rows | count |\n| --- | ---: |\n| in | %d |\n| encoded | %d |\n", c.In, c.Encoded)
	for _, r := range schemas.Reasons {
		if n := c.Rejected[string(r)]; n > 0 {
			fmt.Fprintf(&t, "| rejected: %s | %d |\n", r, n)
		}
	}
	return strings.ReplaceAll(template, counts, t.String())
}
