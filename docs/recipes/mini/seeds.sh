#!/bin/sh
# What mini is worth, over seeds: docs/recipes/mini/seeds.sh PAIRS OUT [SEEDS]
# PAIRS is the folder that docs/recipes/mini/clipart wrote (run.sh makes it); SEEDS are numbers, "0 1 2" by default. Trains the recipe with each
# seed, and once (seed 0, no pictures) with the published rule for the codebook, which collapses at this size; then a table of means. About forty
# minutes a seed on two cores; interrupted, it goes on where it was.
set -eu
pairs=$1 out=$2 seeds=${3:-0 1 2}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
(cd "$here/../../.." && go build -o "$out/sower" ./cmd/sower && go build -o "$out/table" ./docs/recipes/table)
sed 's/"codebook": "data", "restart": 25, "until": 0.8/"codebook": "uniform"/' "$here/../causal/small.json" >"$out/published.json"
measure() { # KIND SEED RECIPE
	to=$out/$1-$2
	[ -f "$to/retrieval.json" ] && return
	mkdir -p "$to"
	"$out/sower" train-tokenizer --input "$pairs/train-*.tar" --validation "$pairs/held-00000.tar" --config "$3" --seed "$2" --output "$to/model"
	"$out/sower" evaluate retrieval --input "$pairs/held-*.tar" --model "$to/model" --seen "$pairs/train-*.tar" --json >"$to/retrieval.json.new"
	mv "$to/retrieval.json.new" "$to/retrieval.json"
}
for seed in $seeds; do measure mini "$seed" "$here/mini.json"; done
measure published 0 "$out/published.json"
"$out/table" "$out" mini published
