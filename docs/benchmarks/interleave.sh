#!/usr/bin/env bash
# Measures sower interleave on this machine: pairs a second with the BPE of fixture opt-bpe, unpacked and packed, and peak
# anonymous memory.
#
#   docs/benchmarks/interleave.sh [ROWS ...]      default: 1000000
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CGO_ENABLED=0
go build -o "$work/sower" ./cmd/sower
go build -o "$work/mkcodes" ./internal/bench/mkcodes
for rows in ${*:-1000000}; do
	"$work/mkcodes" --out "$work/codes" --rows "$rows" --codes 512 # the fixture has image words for 512 codes
	for flags in "" "--pack"; do
		rm -rf "$work/out"
		# shellcheck disable=SC2086 # flags are words
		"$work/sower" interleave -q --json --codes "$work/codes" -o "$work/out" --tokenizer testdata/fixtures/tokenizers/opt-bpe $flags >"$work/summary" &
		pid=$! most=0
		while now=$(awk '/^RssAnon/ {print $2}' "/proc/$pid/status" 2>/dev/null) && [ -n "$now" ]; do
			[ "$now" -gt "$most" ] && most=$now
			sleep 0.1
		done
		wait $pid
		rate=$(awk -F'[:, ]+' '/"rows_per_second"/ {print $3}' "$work/summary")
		units=$(awk -F'[:, ]+' '/"units"/ {print $3}' "$work/summary")
		printf '%s pairs%s: %s pairs/s, %s files of each split, %s kB anonymous memory, %s of Parquet\n' \
			"$rows" "${flags:+ packed}" "$rate" "$units" "$most" "$(du -sh "$work/out/data" | cut -f1)"
	done
	rm -rf "$work/codes"
done
