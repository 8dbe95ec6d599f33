"""The rule of the stand-in weights `standin:seed2:N` and `standin:tiny:N`: each element is a function of the tensor's
name, the element's index and the seed, so that any language can make the same weights and no file travels.

For tensor NAME and seed S, in 64-bit arithmetic that wraps around:
    base = fnv1a64(NAME as UTF-8) XOR (S * 0x9E3779B97F4A7C15)
    r_i  = splitmix64(base + i * 0x9E3779B97F4A7C15)        i = row-major index
    u_i  = (r_i >> 40) * 2^-23 - 1                          24 bits, exact in float32, in [-1, 1)
    w_i  = float32(offset + scale * u_i)                    in float64, rounded once
with splitmix64(x): x ^= x >> 30; x *= 0xBF58476D1CE4E5B9; x ^= x >> 27; x *= 0x94D049BB133111EB; x ^= x >> 31.
"""

import numpy as np

GOLDEN = 0x9E3779B97F4A7C15
MASK = (1 << 64) - 1


def fnv1a64(name: str) -> int:
    h = 0xCBF29CE484222325
    for b in name.encode():
        h = ((h ^ b) * 0x100000001B3) & MASK
    return h


def spread(name: str, shape) -> tuple:
    """(offset, scale). The gains keep the 32 queries apart: with equal ones a random Q-Former gives all the same code."""
    if len(shape) == 1:
        return (1.0, 0.1) if name.endswith("weight") else (0.0, 0.02)  # a norm, else a bias
    if name == "quantize.embedding.weight":
        return 0.0, 2.0
    if name == "query_tokens":
        return 0.0, 1.0
    if "cls_token" in name or "pos_embed" in name:
        return 0.0, 0.05
    gain = 1.0
    if name == "encode_task_layer.2.weight" or name.endswith((".self.query.weight", ".self.key.weight")):
        gain = 3.0
    elif name.endswith((".output.dense.weight", ".output_query.dense.weight")):
        gain = 0.25
    return 0.0, gain * float(np.sqrt(3.0 / np.prod(shape[1:])))


def tensor(name: str, shape, seed: int) -> np.ndarray:
    """float32 [shape]."""
    offset, scale = spread(name, shape)
    base = np.uint64(fnv1a64(name) ^ ((seed * GOLDEN) & MASK))
    out = np.empty(int(np.prod(shape)), np.float32)
    for lo in range(0, out.size, 1 << 22):
        x = base + np.arange(lo, min(lo + (1 << 22), out.size), dtype=np.uint64) * np.uint64(GOLDEN)
        x ^= x >> np.uint64(30)
        x *= np.uint64(0xBF58476D1CE4E5B9)
        x ^= x >> np.uint64(27)
        x *= np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
        out[lo:lo + x.size] = offset + scale * ((x >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1)
    return out.reshape(shape)
