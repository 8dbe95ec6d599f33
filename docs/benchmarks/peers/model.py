"""What all peers share: the sizes, the stand-in weights and their cache, the pixels, the nearest code."""

import hashlib
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

PARITY = Path(__file__).resolve().parents[2] / "parity"
sys.path.insert(0, str(PARITY))
import hashweights  # noqa: E402

MEAN = np.array((0.48145466, 0.4578275, 0.40821073), np.float32)
STD = np.array((0.26862954, 0.26130258, 0.27577711), np.float32)

# The same figures as docs/parity/seed_torch.py, whose dataclass would need PyTorch; check_peers.py compares the shapes.
CONFIGS = {
    "seed2": dict(image_size=224, patch=14, vit_width=1408, vit_depth=39, vit_heads=16, vit_mlp=6144, queries=32, width=768,
                  depth=12, heads=12, mlp=3072, codes=8192, code_width=32),
    "tiny": dict(image_size=56, patch=14, vit_width=64, vit_depth=3, vit_heads=4, vit_mlp=160, queries=32, width=48,
                 depth=4, heads=4, mlp=96, codes=512, code_width=32),
}
WARM_UP = 1 << 32  # the number of the first picture of the warm-up, which no session's count reaches


def shapes(c):
    """name -> shape of every weight the encoder reads, by the published names."""
    out, v, n = {}, "visual_encoder.", c["vit_width"]

    def linear(name, n_in, n_out):
        out[name + ".weight"], out[name + ".bias"] = (n_out, n_in), (n_out,)

    def norm(name, width):
        out[name + ".weight"], out[name + ".bias"] = (width,), (width,)

    out[v + "patch_embed.proj.weight"], out[v + "patch_embed.proj.bias"] = (n, 3, c["patch"], c["patch"]), (n,)
    out[v + "cls_token"] = (1, 1, n)
    out[v + "pos_embed"] = (1, (c["image_size"] // c["patch"])**2 + 1, n)
    for i in range(c["vit_depth"]):
        b = f"{v}blocks.{i}."
        norm(b + "norm1", n)
        out[b + "attn.q_bias"] = out[b + "attn.v_bias"] = (n,)
        out[b + "attn.qkv.weight"] = (3 * n, n)
        linear(b + "attn.proj", n, n)
        norm(b + "norm2", n)
        linear(b + "mlp.fc1", n, c["vit_mlp"])
        linear(b + "mlp.fc2", c["vit_mlp"], n)
    norm("ln_vision", n)
    h = c["width"]
    out["query_tokens"] = (1, c["queries"], h)
    norm("Qformer.bert.embeddings.LayerNorm", h)
    for i in range(c["depth"]):
        b = f"Qformer.bert.encoder.layer.{i}."
        for kind, source in (("attention", h), ("crossattention", n))[:1 + (i % 2 == 0)]:
            linear(b + kind + ".self.query", h, h)
            linear(b + kind + ".self.key", source, h)
            linear(b + kind + ".self.value", source, h)
            linear(b + kind + ".output.dense", h, h)
            norm(b + kind + ".output.LayerNorm", h)
        linear(b + "intermediate_query.dense", h, c["mlp"])
        linear(b + "output_query.dense", c["mlp"], h)
        norm(b + "output_query.LayerNorm", h)
    linear("encode_task_layer.0", h, h)
    linear("encode_task_layer.2", h, c["code_width"])
    out["quantize.embedding.weight"] = (c["codes"], c["code_width"])
    return out


def cache_folder(given):
    folder = Path(given) if given else Path(tempfile.gettempdir()) / "sower-peers"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def cache_key(config, seed, *more):
    """A file name part. Besides config and seed it has a digest of the rule and the shapes (and MORE, texts), so that
    a file from before a change of those is not taken for a good one."""
    text = (PARITY / "hashweights.py").read_text() + repr(list(shapes(CONFIGS[config]).items())) + "".join(more)
    return f"{config}-{seed}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def weights(config, seed, folder, threads):
    """name -> float32 array, views of one file in FOLDER that is made if it is not there. 4.4 GB at full size."""
    table = shapes(CONFIGS[config])
    file = folder / f"weights-{cache_key(config, seed)}.npy"
    sizes = {name: int(np.prod(shape)) for name, shape in table.items()}
    starts = dict(zip(sizes, np.cumsum([0, *sizes.values()])))
    if not file.exists():
        # Under another name until whole: a peer that is stopped, or runs beside another, leaves no half file.
        part = file.with_name(f"{file.stem}.{os.getpid()}.part.npy")
        try:
            out = np.lib.format.open_memmap(part, mode="w+", dtype=np.float32, shape=(sum(sizes.values()),))

            def fill(name):
                out[starts[name]:starts[name] + sizes[name]] = hashweights.tensor(name, table[name], seed).ravel()

            with ThreadPoolExecutor(threads) as pool:  # numpy lets go of the interpreter in loops this long
                list(pool.map(fill, table))
            out.flush()
            os.replace(part, file)
        finally:
            part.unlink(missing_ok=True)
    flat = np.load(file, mmap_mode="c")  # PyTorch warns of arrays that cannot be written; writes would not reach the file
    return {name: flat[starts[name]:starts[name] + sizes[name]].reshape(table[name]) for name in table}


GOLDEN, M1, M2 = (np.uint64(x) for x in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def mix(x):
    """splitmix64's last step, of an array of uint64, which it overwrites."""
    x ^= x >> np.uint64(30)
    x *= M1
    x ^= x >> np.uint64(27)
    x *= M2
    x ^= x >> np.uint64(31)
    return x


def picture(number, size):
    """uint8 [size size 3] by the rule in README.md."""
    start = mix(np.array([number], np.uint64) * GOLDEN + GOLDEN)
    return (mix(start + np.arange(size * size * 3, dtype=np.uint64) * GOLDEN) >> np.uint64(56)).astype(np.uint8).reshape(
        size, size, 3)


def pictures(first, count, size):
    """uint8 [count size size 3]"""
    return np.stack([picture(first + i, size) for i in range(count)])


class Codebook:
    """Nearest row by squared distance, in float32. The vector's own square is the same for all rows and left out."""

    def __init__(self, rows):
        self.rows_t = np.ascontiguousarray(rows.T)
        self.squares = (rows**2).sum(1)

    def nearest(self, z):
        """z float32 [B Q D] -> int [B Q]"""
        d = z.reshape(-1, z.shape[-1]) @ self.rows_t
        d *= -2
        d += self.squares
        return d.argmin(1).reshape(z.shape[:2])
