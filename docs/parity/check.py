"""Compares `sower encode` and `sower detokenize` with PyTorch, from outside, for any seed and any pictures; see README.md."""

import argparse
import json
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import hashweights
import seed_torch

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
READ = """import json, sys, pyarrow.parquet as p
print(json.dumps(p.ParquetDataset(sys.argv[1]).read(columns=sys.argv[2:]).to_pylist()))"""


def generated(seed):
    """(kind, image) of pictures that photos are not."""
    g = np.random.default_rng(seed)
    noise = lambda *shape: g.integers(0, 256, shape, np.uint8)
    ramp = np.linspace(g.integers(0, 256, 3), g.integers(0, 256, 3), 640).astype(np.uint8)
    dot = np.zeros((300, 200, 3), np.uint8)
    dot[150, 100] = 255
    arrays = {"black.png": np.zeros((64, 80, 3), np.uint8), "white.jpg": np.full((333, 500, 3), 255, np.uint8),
              "noise.png": noise(97, 61, 3), "noise.bmp": noise(224, 224, 3), "gradient.png": np.tile(ramp, (480, 1, 1)),
              "gradient.jpg": np.tile(ramp[:, None], (1, 100, 1)), "wide.png": noise(7, 3000, 3), "line.png": noise(4000, 1, 3),
              "pixel.png": noise(1, 1, 3), "checks.gif": np.indices((201, 199)).sum(0).astype(np.uint8) % 2 * 255,
              "alpha.png": noise(50, 70, 4), "grey.jpg": noise(40, 40), "dot.webp": dot}
    return [(name, Image.fromarray(a)) for name, a in arrays.items()]


def table(folder, column, part="data"):
    """key -> column, of all parts."""
    out = subprocess.run([args.pyarrow, "-c", READ, folder / part, "key", column], check=True, capture_output=True)
    return {r["key"]: r[column] for r in json.loads(out.stdout)}


def sower(seed, resize, work):
    """Makes pictures and has sower encode them -> rows of origin, RGB bytes as the model sees them, codes,
    embedding; and how many pictures it rejected, none of which preview may show."""
    rng = random.Random(f"{args.model} {seed} {resize}")
    made = generated(rng.getrandbits(32))
    made = rng.sample(made, min(len(made), args.count // 2))
    found = rng.sample(pictures, args.count - len(made))
    source, origin = work / "in", {}
    source.mkdir()
    for i, (name, image) in enumerate(made):
        origin[f"{i:04d}"] = name
        image.save(source / f"{i:04d}{Path(name).suffix}")
    for i, file in enumerate(found, len(made)):
        origin[f"{i:04d}"] = file.name
        shutil.copyfile(file, source / f"{i:04d}{file.suffix.lower()}")
    files = sorted(source.iterdir())
    if resize == "bilinear":  # one filter from a tar, the other from a folder
        with tarfile.open(work / "in.tar", "w") as tar:
            for f in files:
                tar.add(f, f.name)
    call = lambda *a, check=True: subprocess.run([args.sower, *map(str, a)], check=check, stdout=subprocess.DEVNULL)
    model = f"standin:{args.model}:{seed}"
    call("preview", *files, "--output", work / "seen", "--size", config.image_size, "--resize", resize, check=False)
    call("encode", "-q", "--input", source if resize == "bicubic" else work / "in.tar", "--output", work / "codes",
         "--model", model, "--resize", resize)
    call("detokenize", "-q", "--codes", work / "codes", "--output", work / "embeddings", "--model", model)
    codes, embeddings = table(work / "codes", "codes"), table(work / "embeddings", "embedding")
    rejects = table(work / "codes", "reason", part="rejects")
    for k, reason in rejects.items():
        print(f"  seed {seed}, {resize} {origin[k]}: sower rejects it: {reason}")
    seen = {f.stem: np.asarray(Image.open(f).convert("RGB")) for f in (work / "seen").iterdir()}
    assert sorted(codes) == sorted(embeddings) == sorted(seen) and sorted([*codes, *rejects]) == sorted(origin)
    return [(f"{resize} {origin[k]}", seen[k], codes[k], embeddings[k]) for k in sorted(codes)], len(rejects)


def weights(seed, dtype):
    made = {}

    def weight(name, *shape):
        if name not in made:
            made[name] = torch.from_numpy(hashweights.tensor(name, shape, seed)).to(dtype)
        return made[name]
    return weight


@torch.no_grad()
def compare(seed, rows, dtype=torch.float32):
    """-> PyTorch's codes and margins [N Q], and its embeddings [N E] of sower's codes."""
    model = seed_torch.SEED(config, weights(seed, dtype))
    codes, margins, embeddings = [], [], []
    for lo in range(0, len(rows), args.batch):
        part = rows[lo:lo + args.batch]
        x = torch.from_numpy(np.stack([r[1] for r in part])).to(dtype) / 255
        x = ((x - torch.tensor(MEAN, dtype=dtype)) / torch.tensor(STD, dtype=dtype)).permute(0, 3, 1, 2).contiguous()
        c, m = model.encode(x)
        codes.append(c), margins.append(m)
        embeddings.append(model.detokenize(torch.tensor([r[2] for r in part])).double())
    return (torch.cat(t).numpy() for t in (codes, margins, embeddings))


p = argparse.ArgumentParser(description=__doc__)
p.add_argument("--sower", default="sower", help="the binary")
p.add_argument("--pictures", required=True, type=Path, help="folder, searched with its folders, of pictures to sample from")
p.add_argument("--model", default="tiny", choices=("tiny", "seed2"))
p.add_argument("--seeds", type=int, nargs="+", default=range(20))
p.add_argument("--count", type=int, default=64, help="pictures a seed and filter, up to 13 of them generated")
p.add_argument("--batch", type=int, default=16, help="pictures in one call of PyTorch")
p.add_argument("--margin", type=float, default=1e-3, help="codes must be equal where the margin is larger")
p.add_argument("--error", type=float, default=1e-4, help="largest relative error that embeddings may have")
p.add_argument("--float64", action="store_true", help="also count how far sower and PyTorch float32 are from PyTorch float64")
p.add_argument("--torch-seed", type=int, help="give PyTorch other weights, to see that the check can fail")
p.add_argument("--pyarrow", default=sys.executable, help="a Python that has pyarrow, if this one has not")
args = p.parse_args()
config = seed_torch.TINY if args.model == "tiny" else seed_torch.SEED2
pictures = sorted(f for f in args.pictures.rglob("*") if f.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"))
total = {}


def line(title, d):
    print(f"{title}: {d['pictures']} pictures and {d['rejected']} rejected, {d['codes']} codes: {d['equal']} equal, "
          f"{d['near']} under the margin ({d['near differ']} differ), {d['differ']} differ over it; "
          f"embeddings' largest relative error {d['error']:.1e}", flush=True)


for seed in args.seeds:
    rows, rejected = [], 0
    for resize in ("bicubic", "bilinear"):  # sower first, and out of memory again before PyTorch starts
        with tempfile.TemporaryDirectory() as work:
            more, n = sower(seed, resize, Path(work))
        rows, rejected = rows + more, rejected + n
    got, vectors = np.array([r[2] for r in rows]), np.array([r[3] for r in rows])
    relative = lambda a, b: np.nan_to_num(np.abs(a - b).max(1) / np.abs(b).max(1), nan=np.inf)  # max() would drop a NaN
    want, margin, embedding = compare(seed if args.torch_seed is None else args.torch_seed, rows)
    other, near, error = got != want, margin <= args.margin, relative(vectors, embedding)
    for i, q in np.argwhere(other):
        print(f"  seed {seed}, {rows[i][0]}, query {q}: sower {got[i, q]}, PyTorch {want[i, q]}, margin {margin[i, q]:.1e}")
    d = {"pictures": len(rows), "rejected": rejected, "codes": got.size, "equal": int((~other).sum()), "near": int(near.sum()),
         "near differ": int((other & near).sum()), "differ": int((other & ~near).sum()), "error": float(error.max())}
    swapped = np.mean(got == np.roll(want, len(rows) // 2, 0))  # how much agreement means: that with another picture's codes
    line(f"{args.model} seed {seed} ({len(np.unique(got))} distinct codes, {swapped:.0%} equal with pictures swapped)", d)
    if args.float64:
        exact, _, vector = compare(seed, rows, torch.float64)
        d["sower64"], d["torch64"] = int((got != exact).sum()), int((want != exact).sum())
        d["sower error64"], d["torch error64"] = (float(relative(v, vector).max()) for v in (vectors, embedding))
    for k, n in d.items():
        total[k] = max(total.get(k, 0), n) if "error" in k else total.get(k, 0) + n
line("all", total)
if args.float64:
    print(f"against float64: sower {total['sower64']} codes and {total['sower error64']:.1e}, "
          f"PyTorch float32 {total['torch64']} codes and {total['torch error64']:.1e}")
ok = total["differ"] == 0 and total["error"] <= args.error
print("passed" if ok else "FAILED")
sys.exit(not ok)
