"""Compares the codes of every peer, one after the other, with those of docs/parity/seed_torch.py; see README.md.

Float32 peers must give the same codes wherever the margin, (second - first) / first squared distance to the codebook, is
at least --margin. Of bfloat16 peers the share of equal codes is printed and nothing demanded.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import model

HERE = Path(__file__).resolve().parent
PEERS = {f"{file.split('_')[0]}-{mode}-{precision}": (file, mode, precision) for file, modes, precisions in (
    ("torch_seed.py", ("eager", "onednn", "compile", "compile-max"), ("f32", "bf16")),
    ("onnx_seed.py", ("plain", "fused"), ("f32",)),
    ("openvino_seed.py", ("onnx",), ("f32", "bf16"))) for mode in modes for precision in precisions
    if (mode, precision) != ("onednn", "bf16")}
# README.md has the same figures, for who writes the rule in another language.
FIRST_BYTES = {0: bytes.fromhex("48a7b363a8c925c7436091661a158d90"), 1: bytes.fromhex("cd4637e1266a835c418737e05b29ff58")}


def plain_byte(number, i):
    """The rule of the pixels once more, in whole numbers without numpy."""
    mask, golden = (1 << 64) - 1, int(model.GOLDEN)

    def mix(x):
        x ^= x >> 30
        x = x * int(model.M1) & mask
        x ^= x >> 27
        x = x * int(model.M2) & mask
        return x ^ x >> 31

    return mix((mix((number + 1) * golden & mask) + i * golden) & mask) >> 56


def check_rule():
    for number, want in FIRST_BYTES.items():
        got = model.picture(number, 224).tobytes()
        assert got[:16] == want == bytes(plain_byte(number, i) for i in range(16)), got[:16].hex()
        assert got[-1] == plain_byte(number, len(got) - 1)
    assert model.picture(model.WARM_UP, 56).tobytes()[:4] == bytes(plain_byte(model.WARM_UP, i) for i in range(4))


def reference(args, cache):
    """Codes and margins [N Q] of seed_torch.py; kept in the cache, because full size takes seconds a picture."""
    sys.path.insert(0, str(model.PARITY))
    text = (model.PARITY / "seed_torch.py").read_text() + (HERE / "model.py").read_text()
    key = model.cache_key(args.config, args.seed, hashlib.sha256(text.encode()).hexdigest())
    file = cache / f"reference-{key}-{args.images}.json"
    if not file.exists():
        import torch
        import seed_torch

        torch.set_num_threads(args.threads)
        w, used = model.weights(args.config, args.seed, cache, args.threads), set()

        def weight(name, *shape):
            assert w[name].shape == shape, f"{name}: {w[name].shape} here, {shape} in seed_torch.py"
            used.add(name)
            return torch.from_numpy(w[name])

        config = seed_torch.TINY if args.config == "tiny" else seed_torch.SEED2
        codes, margins = [], []
        with torch.no_grad():
            for i in range(args.images):
                x = torch.from_numpy(model.picture(i, config.image_size)).float() / 255
                x = (x - torch.from_numpy(model.MEAN)) / torch.from_numpy(model.STD)
                c, m = seed_torch.SEED(config, weight).encode(x.permute(2, 0, 1)[None].contiguous())
                codes += c.tolist()
                margins += m.tolist()
        assert used == set(w), "a weight that seed_torch.py does not use"
        part = file.with_suffix(f".{os.getpid()}.part")
        part.write_text(json.dumps({"codes": codes, "margins": margins}))
        os.replace(part, file)
    d = json.loads(file.read_text())
    return np.array(d["codes"]), np.array(d["margins"])


def ask(args, cache, file, mode, precision):
    """-> the ready line, the codes, the seconds of each reply"""
    command = [sys.executable, HERE / file, "--mode", mode, "--precision", precision, "--threads", args.threads, "--config",
               args.config, "--seed", args.seed, "--cache", cache]
    with subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          stderr=None if args.verbose else subprocess.DEVNULL) as p:
        line = lambda: json.loads(p.stdout.readline() or '{"died": true}')
        ready, codes, seconds = line(), [], []
        while ready.get("ready") and len(codes) < args.images:
            n = min(args.batch, args.images - len(codes))
            p.stdin.write(f"{n}\n")
            p.stdin.flush()
            d = line()
            if "died" in d:
                break
            assert d["images"] == n == len(d["codes"]) and d["seconds"] > 0
            codes += d["codes"]
            seconds.append(d["seconds"])
        p.stdin.close()
        rest = p.stdout.read()
    if p.returncode or rest or len(codes) < args.images:
        raise RuntimeError(f"exit status {p.returncode}, {len(codes)} codes; --verbose shows its messages")
    return ready, np.array(codes), seconds


p = argparse.ArgumentParser(description=__doc__)
p.add_argument("peers", nargs="*", default=list(PEERS), help="default: all; of " + " ".join(PEERS))
p.add_argument("--config", default="tiny", choices=model.CONFIGS)
p.add_argument("--seed", type=int, default=0)
p.add_argument("--images", type=int, default=16)
p.add_argument("--batch", type=int, default=1, help="images a request")
p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
p.add_argument("--margin", type=float, default=1e-3)
p.add_argument("--cache")
p.add_argument("--verbose", action="store_true", help="let the peers' messages through")
args = p.parse_args()
check_rule()
cache = model.cache_folder(args.cache)
want, margin = reference(args, cache)
near, failed = margin < args.margin, False
swapped = np.mean(want == np.roll(want, 1, 0))
print(f"{args.config} seed {args.seed}: {args.images} images, {want.size} codes, {near.sum()} of them near ties; "
      f"{swapped:.0%} equal with images swapped", flush=True)
for peer in args.peers:
    begin = time.perf_counter()
    try:
        ready, got, seconds = ask(args, cache, *PEERS[peer])
    except RuntimeError as e:
        print(f"{peer}: FAILED, {e}", flush=True)
        failed = True
        continue
    other, strict = got != want, peer.endswith("-f32")
    bad = int((other & ~near).sum())
    failed |= strict and bad > 0
    print(f"{peer}: {(~other).mean():.2%} equal, {int((other & near).sum())} near ties and {bad} others differ"
          f"{' FAILED' if strict and bad else ''}; least {min(seconds):.3f} s a request, load {ready['load_seconds']:.0f} s, "
          f"all {time.perf_counter() - begin:.0f} s; {ready['name']} {ready['version']} {ready['precision']}", flush=True)
print("FAILED" if failed else "passed")
sys.exit(failed)
