#!/bin/sh
# Trains the mini tokenizer from nothing: docs/recipes/mini/run.sh OUT
# Needs Debian's packages openclipart-png and openclipart-svg. Forty minutes or so on two cores; interrupted, it goes on where it was.
set -eu
out=$1
root=$(cd "$(dirname "$0")/../../.." && pwd)
art=/usr/share/openclipart
[ -d $art/png ] && [ -d $art/svg ] || { echo "install openclipart-png and openclipart-svg" >&2; exit 1; }
cd "$root"
mkdir -p "$out"
[ -f "$out/pairs/held-00000.tar" ] || go run ./docs/recipes/mini/clipart $art/png $art/svg "$out/pairs"
go build -o "$out/sower" ./cmd/sower
"$out/sower" train-tokenizer --input "$out/pairs/train-*.tar" --validation "$out/pairs/held-00000.tar" \
	--config docs/recipes/mini/mini.json --output "$out/model"
"$out/sower" model convert "$out/model" "$out/mini" --dtype f16 --force # what internal/mini embeds
"$out/sower" evaluate retrieval --input "$out/pairs/held-00000.tar" --model "$out/mini" --seen "$out/pairs/train-*.tar" \
	--picture "$out/grid.png" --nearest "$out/nearest.png" --page "$out/report.html"
