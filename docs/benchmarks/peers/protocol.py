"""The process that `sower bench` talks to: arguments, the ready line, the loop. README.md states the protocol.

Imported before numpy and the engines, because some of them read the number of threads from the environment, once.
"""

import argparse
import json
import os
import re
import sys
import time

BEGIN = time.perf_counter()
# What of the CPU decides which kernels an engine takes.
RELEVANT = ("fma avx2 avx_vnni avx512f avx512bw avx512vl avx512_vnni avx512_bf16 avx512_fp16 amx_tile amx_int8 amx_bf16 "
            "asimd asimddp asimdhp i8mm bf16 svebf16 sve sve2").split()


def arguments(doc, modes, precisions):
    p = argparse.ArgumentParser(description=doc)
    p.add_argument("--mode", default=modes[0], choices=modes)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--config", default="seed2", choices=("seed2", "tiny"))
    p.add_argument("--seed", type=int, default=0, help="of the stand-in weights")
    p.add_argument("--precision", default="f32", choices=precisions)
    p.add_argument("--cache", help="folder for weights and graphs; default: sower-peers in the system's temporary folder")
    args = p.parse_args()
    if args.threads < 1 or not 0 <= args.seed < 1 << 64:
        p.error("--threads must be at least 1 and --seed from 0 to 2^64-1")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = str(args.threads)
    # The protocol keeps the real stdout; whatever a library prints goes to stderr instead.
    global reply
    reply = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return args


def cpu():
    text = open("/proc/cpuinfo").read() if os.path.exists("/proc/cpuinfo") else ""
    line = lambda *keys: next((m[1] for k in keys if (m := re.search(rf"^{k}\s*:\s*(.*)$", text, re.M))), "")
    have = line("flags", "Features").split()
    return line("model name"), " ".join(f for f in RELEVANT if f in have)


def say(d):
    reply.write(json.dumps(d) + "\n")
    reply.flush()


def serve(args, name, version, precision, flags, prepare, encode):
    """prepare(batch): makes ready for a batch size, before each request and untimed -> whether that was work, so that it
    needs a new warm-up; encode(pictures): uint8 [N S S 3] -> int [N Q]."""
    from model import CONFIGS, WARM_UP, pictures

    size, ready = CONFIGS[args.config]["image_size"], set()

    def ready_for(n):
        # The first run of a size allocates and may compile; only later ones say how fast the engine is.
        if prepare(n) or n not in ready:
            encode(pictures(WARM_UP, n, size))
            ready.add(n)

    ready_for(1)
    model, have = cpu()
    say({"ready": True, "name": name, "version": version, "precision": precision, "threads": args.threads, "flags": flags,
         "cpu": model, "cpu_flags": have, "load_seconds": round(time.perf_counter() - BEGIN, 3)})
    done = 0
    for line in sys.stdin:
        if not re.fullmatch(r"[0-9]{1,6}\s*", line) or (n := int(line)) < 1:
            sys.exit(f"not a number of images: {line!r}")
        ready_for(n)
        x = pictures(done, n, size)
        done += n
        start = time.perf_counter()
        codes = encode(x)
        seconds = time.perf_counter() - start
        say({"images": n, "seconds": round(seconds, 6), "codes": codes.tolist()})
