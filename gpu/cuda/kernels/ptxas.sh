#!/bin/bash
# Assembles every module with NVIDIA's ptxas, which needs neither a toolkit nor a GPU, and prints registers, stack and spills by kernel:
# ./ptxas.sh [/path/to/ptxas], or $PTXAS, or the one on PATH. Fails on an error or a spill. The program comes with the PyPI wheel
# nvidia-cuda-nvcc-cu12 (unzip, chmod +x).
set -eu
ptxas=${1:-${PTXAS:-$(command -v ptxas || true)}}
if [ -z "$ptxas" ]; then
	echo "ptxas.sh: no ptxas: give its path, set PTXAS, or unzip the wheel nvidia-cuda-nvcc-cu12" >&2
	exit 2
fi
cd "$(dirname "$0")"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
bad=0
printf '%-8s %-24s %9s %7s %8s %7s\n' target kernel registers stack spilled shared
for f in *.ptx; do
	targets="sm_80 sm_90"
	if grep -q '^\.target sm_90a' "$f"; then targets=sm_90a; fi
	for t in $targets; do
		if ! "$ptxas" -v -arch="$t" "$f" -o /dev/null >"$log" 2>&1; then
			cat "$log" >&2
			exit 1
		fi
		grep -i 'warning' "$log" || true
		awk -v target="$t" '
			/Compiling entry function/ { split($0, p, "\x27"); name = p[2] }
			/bytes stack frame/ { if (!(name in stack)) { stack[name] = $1; spill[name] = $5 + $9 } }
			/Used [0-9]+ registers/ {
				match($0, /Used [0-9]+/); regs = substr($0, RSTART + 5, RLENGTH - 5)
				smem = 0; if (match($0, /[0-9]+ bytes smem/)) { smem = substr($0, RSTART, RLENGTH); sub(/ .*/, "", smem) }
				printf "%-8s %-24s %9d %7d %8d %7d\n", target, name, regs, stack[name], spill[name], smem
				if (spill[name] > 0) bad = 1
			}
			END { exit bad }' "$log" || bad=1
	done
done
if [ "$bad" != 0 ]; then
	echo "ptxas.sh: a kernel spills registers" >&2
	exit 1
fi
