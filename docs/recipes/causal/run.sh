#!/bin/sh
# The causal question in miniature: docs/recipes/causal/run.sh PAIRS OUT [SEEDS]
# PAIRS is the folder that docs/recipes/mini/clipart wrote (mini/run.sh makes it); SEEDS are numbers, "0 1 2" by default.
# For each seed and both kinds of queries: a tokenizer, a corpus of its codes, a language model of that corpus from nothing, and what each
# is worth on held-out pairs. About ten minutes each on two cores; interrupted, it goes on where it was.
set -eu
pairs=$1 out=$2 seeds=${3:-0 1 2}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
(cd "$here/../../.." && go build -o "$out/sower" ./cmd/sower && go build -o "$out/table" ./docs/recipes/table)
sower=$out/sower
cp "$here/small.json" "$out/causal.json"
sed 's/"queries": 32,/"queries": 32, "bidirectional": true,/' "$here/small.json" >"$out/bidirectional.json"
for seed in $seeds; do
	for kind in causal bidirectional; do
		to=$out/$kind-$seed
		mkdir -p "$to"
		[ -f "$to/language.json" ] && continue
		"$sower" train-tokenizer --input "$pairs/train-*.tar" --config "$out/$kind.json" --seed "$seed" --output "$to/model"
		"$sower" evaluate retrieval --input "$pairs/held-*.tar" --model "$to/model" --seen "$pairs/train-*.tar" --json >"$to/retrieval.json"
		"$sower" encode --input "$pairs/train-*.tar" --model "$to/model" --output "$to/codes"
		"$sower" encode --input "$pairs/held-*.tar" --model "$to/model" --output "$to/held"
		"$sower" interleave --codes "$to/codes" --tokenizer bytes --context 256 --image-first 0 --validation 0.02 --output "$to/sequences"
		# Everything is trained: adapters of full rank on one layer, which tune wants, and the rest whole.
		"$sower" tune --corpus "$to/sequences" --base "standin:tiny:$seed" --output "$to/adapter" --seed "$seed" \
			--rank 96 --alpha 96 --targets o_proj \
			--saved embed_tokens,q_proj,k_proj,v_proj,gate_proj,up_proj,down_proj,input_layernorm,post_attention_layernorm,model.norm,lm_head \
			--batch-rows 64 --micro-tokens 6144 --steps 400 --steps-per-round 100 --rate 3e-3 --warmup 40
		"$sower" evaluate language --codes "$to/held" --base "standin:tiny:$seed" --adapter "$to/adapter" --model "$to/model" \
			--baseline "$to/codes" --seen "$pairs/train-*.tar" --json >"$to/language.json.new"
		mv "$to/language.json.new" "$to/language.json"
	done
done
"$out/table" "$out" causal bidirectional
