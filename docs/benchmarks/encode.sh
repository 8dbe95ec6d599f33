#!/usr/bin/env bash
# Measures sower encode on this machine: pipeline alone, with decoding, memory, full size. Prints one table row a figure.
#
#   docs/benchmarks/encode.sh [null|pool|memory|full|rows ...]      default: all; needs 6 GB of disk in $TMPDIR
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CGO_ENABLED=0
go build -o "$work/sower" ./cmd/sower
go build -o "$work/mkinput" ./internal/bench/mkinput
parts=${*:-null pool memory full rows}

field() { awk -F'[:, ]+' -v k="\"$1\"" '$2 == k {print $3; exit}'; }
encode() { rm -rf "$work/out"; "$work/sower" encode -q --json -i "$1" -o "$work/out" -m "$2" "${@:3}"; }

# peak PID: the largest anonymous memory of a process while it lives, in kB
peak() {
	local most=0 now
	while now=$(awk '/^RssAnon/ {print $2}' "/proc/$1/status" 2>/dev/null) && [ -n "$now" ]; do
		[ "$now" -gt "$most" ] && most=$now
		sleep 0.05
	done
	echo "$most"
}

for part in $parts; do
	case $part in
	null)
		"$work/mkinput" --out "$work/null" --count 50000 --shards 50 --bytes 20480
		cat "$work"/null/*.tar >/dev/null # from the page cache
		for i in 1 2 3; do
			echo "null model, 50,000 pairs of 20 KiB: $(encode "$work/null" null | field rows_per_second) pairs/s"
		done
		rm -rf "$work/null"
		;;
	pool)
		go test ./internal/encode -run '^$' -bench 'Prepare|Unit' -benchtime 2000x -count 3 | grep -E 'pictures/s'
		;;
	memory)
		for n in 20000 200000; do
			"$work/mkinput" --out "$work/mem" --count "$n" --shards $((n / 2000)) --size 64x48
			rm -rf "$work/out"
			"$work/sower" encode -q -i "$work/mem" -o "$work/out" -m standin:tiny:0 --parallelism 2 --unit-bytes 1MiB >/dev/null &
			echo "anonymous memory, $n pairs, 2 branches, $(ls "$work/mem" | wc -l) shards: $(peak $!) kB"
			wait
			"$work/sower" inspect "$work/out" --rows 0 | sed -n 2p
			rm -rf "$work/mem"
		done
		;;
	full)
		"$work/mkinput" --out "$work/full" --count 20 --shards 1 --size 512x384
		encode "$work/full" standin:seed2:0 | grep -E '"(seconds|rows_per_second|encode|prepare)"'
		;;
	rows)
		"$work/mkinput" --out "$work/rows" --count 20000 --shards 4 --bytes 2048
		encode "$work/rows" null >/dev/null
		"$work/sower" inspect "$work/out" --rows 0 | sed -n 2p
		;;
	*)
		echo "unknown part $part" >&2
		exit 2
		;;
	esac
done
