#!/bin/bash
# Builds every kernel of the folder above for the CPU: cputest/build.sh libsowerkernels.so
set -eu
out=$(realpath -m "$1")
cd "$(dirname "$0")"
cxx=${CLANGXX:-clang++-19}
flags=(-std=c++17 -O2 -g1 -fPIC -fvisibility=hidden -ffp-contract=off -fno-math-errno -pthread -Wall -Wno-unused-function -Wno-unknown-pragmas -Wno-pass-failed)
case $(uname -m) in x86_64) flags+=(-mfma -mf16c -mavx2) ;; esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
pids=()
for f in emulator.cc ../*.cu; do
	"$cxx" -x c++ "${flags[@]}" -c "$f" -o "$work/$(basename "$f").o" &
	pids+=($!)
done
for p in "${pids[@]}"; do wait "$p"; done
"$cxx" -shared -pthread -o "$work/lib.so" "$work"/*.o
mv "$work/lib.so" "$out"
