//go:build race

package seed_test

import "testing"

func needsFull(t testing.TB) {
	t.Helper()
	t.Skip("a model of the published size, under the race detector")
}
