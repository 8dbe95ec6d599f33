#!/bin/bash
# Runs the kernels on the CPU against float64: cputest/test.sh [first letters of a test or of a program]
set -eu
cd "$(dirname "$0")"
cxx=${CLANGXX:-clang++-19}
flags=(-std=c++20 -O1 -ffp-contract=off -pthread -Wall -Wno-unused-function -Wno-unknown-pragmas -Wno-pass-failed)
case $(uname -m) in x86_64) flags+=(-mfma -mf16c -mavx2) ;; esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
./build.sh "$work/libsowerkernels.so" &
pids=($!)
shared=() programs=()
for f in main.cc *_test.cc; do
	"$cxx" "${flags[@]}" -c "$f" -o "$work/$f.o" &
	pids+=($!)
	# A test with a main of its own is a program of its own.
	if [ "$f" != main.cc ] && grep -q '^int main' "$f"; then programs+=("$work/$f.o"); else shared+=("$work/$f.o"); fi
done
for p in "${pids[@]}"; do wait "$p"; done
link() { "$cxx" -pthread "$@" -L"$work" -lsowerkernels -Wl,-rpath,"$work"; }
link "${shared[@]}" -o "$work/test"
run=("$work/test")
for p in "${programs[@]}"; do
	case $(basename "$p") in "${1-}"*) ;; *) continue ;; esac
	link "$p" -o "$p.test"
	run+=("$p.test")
done
# All programs at once; what each says, in order.
pids=() failed=0
for p in "${run[@]}"; do
	"$p" "$@" >"$p.log" 2>&1 &
	pids+=($!)
done
for i in "${!run[@]}"; do
	wait "${pids[i]}" || failed=1
	cat "${run[i]}.log"
done
exit $failed
