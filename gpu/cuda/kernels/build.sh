#!/bin/bash
# CUDA-language sources to PTX with Debian's clang 19, no CUDA toolkit: ./build.sh [name.cu …], all of them without names. OUT=folder
# writes elsewhere. The first line of a result holds the hash of what it was made of: the headers that a source includes, in the order of
# their names, then the source.
set -eu
cd "$(dirname "$0")"
cc=${CLANG:-clang-19}
flags=(-x cuda --cuda-device-only -nocudainc -nocudalib -std=c++17 -O3 -S -ffp-contract=off -Wall -Wno-unused-function -Wno-unknown-cuda-version -Wno-pass-failed)

# The headers of a source, those of its headers too; what only the CPU build reads is left out.
headers() {
	local list=" " todo=("$1") f h
	while [ ${#todo[@]} -gt 0 ]; do
		f=${todo[0]} todo=("${todo[@]:1}")
		for h in $(sed -n 's/^[ \t]*#include "\([^"/]*\)".*/\1/p' "$f" | grep -v '_cpu\.h$' || true); do
			case $list in *" $h "*) ;; *) list+="$h " todo+=("$h") ;; esac
		done
	done
	tr ' ' '\n' <<<"$list" | LC_ALL=C sort | sed '/^$/d'
}

[ $# -gt 0 ] || set -- *.cu
for f; do
	target=(--cuda-gpu-arch=sm_80 -Xclang -target-feature -Xclang +ptx78)
	case $f in hopper*) target=(--cuda-gpu-arch=sm_90a -Xclang -target-feature -Xclang +ptx80) ;; esac
	out=${OUT:-.}/${f%.cu}.ptx
	hash=$(cat $(headers "$f") "$f" | sha256sum | cut -d' ' -f1)
	"$cc" "${flags[@]}" "${target[@]}" "$f" -o "$out.tmp"
	{ echo "// sources sha256 $hash"; cat "$out.tmp"; } >"$out.new"
	rm "$out.tmp"
	mv "$out.new" "$out"
done
