#!/usr/bin/env python3
"""Times Pillow and BenchmarkPrepare on the very same files, one after the other, in one run.

    python3 bench_pillow.py [ROUNDS]     # from anywhere inside the module; needs go and Pillow

Both decode a file from memory to RGB and resize it to 224x224 bicubic, on one thread. Each number
is the best of ROUNDS (default 5) rounds of about half a second, in ms per picture; the rounds of
the two alternate, so that a busy machine slows both.
"""

import glob
import io
import os
import re
import subprocess
import sys
import time

from PIL import Image, __version__, features

HERE = os.path.dirname(os.path.abspath(__file__))


def pillow(data):
    def once():
        Image.open(io.BytesIO(data)).convert("RGB").resize((224, 224), Image.Resampling.BICUBIC).tobytes()

    once()
    n, t0 = 0, time.perf_counter()
    while time.perf_counter() - t0 < 0.5:
        once()
        n += 1
    return (time.perf_counter() - t0) / n * 1e3


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    files = sorted(glob.glob(os.path.join(HERE, "pictures", "bench_*")))
    best = {os.path.basename(f): [1e9, 1e9] for f in files}
    env = dict(os.environ, GOMAXPROCS="1")
    for _ in range(rounds):
        for f in files:
            b = best[os.path.basename(f)]
            b[0] = min(b[0], pillow(open(f, "rb").read()))
        out = subprocess.run(
            ["go", "test", "-run", "^$", "-bench", "BenchmarkPrepare/bench_", "-benchtime", "500ms", "."],
            cwd=os.path.dirname(HERE), env=env, check=True, capture_output=True, text=True,
        ).stdout
        for name, ns in re.findall(r"BenchmarkPrepare/(\S+?)(?:-\d+)?\s+\d+\s+([\d.]+) ns/op", out):
            best[name][1] = min(best[name][1], float(ns) / 1e6)
    print(f"Pillow {__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}; best of {rounds}")
    print(f"{'file':26} {'Pillow ms':>10} {'here ms':>10} {'ratio':>6}")
    for name, (p, g) in best.items():
        print(f"{name:26} {p:10.2f} {g:10.2f} {g / p:6.2f}")


if __name__ == "__main__":
    main()
