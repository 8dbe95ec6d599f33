"""Writes rope.json: frequencies of rotated channels by the published formulas of Hugging Face (modeling_rope_utils.py:
_compute_default_rope_parameters, _compute_linear_scaling_rope_parameters, _compute_llama3_parameters), in float32 with numpy.

    python3 make_rope.py > rope.json
"""

import json

import numpy as np

f32 = np.float32


def frequencies(theta, dim, scaling):
    exponent = np.arange(0, dim, 2, dtype=np.int64).astype(f32) / f32(dim)
    inv = f32(1) / np.power(f32(theta), exponent)
    if scaling is None:
        return inv
    factor = f32(scaling["factor"])
    if scaling["rope_type"] == "linear":
        return inv / factor
    low, high, old = f32(scaling["low_freq_factor"]), f32(scaling["high_freq_factor"]), f32(scaling["original_max_position_embeddings"])
    wavelength = f32(2 * np.pi) / inv
    scaled = np.where(wavelength > old / low, inv / factor, inv)
    smooth = (old / wavelength - low) / (high - low)
    smoothed = (f32(1) - smooth) * scaled / factor + smooth * scaled
    medium = ~(wavelength < old / high) & ~(wavelength > old / low)
    return np.where(medium, smoothed, scaled)


LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
cases = [
    dict(rope_theta=10000.0, head_dim=16, rope_scaling=None),
    dict(rope_theta=10000.0, head_dim=128, rope_scaling={"rope_type": "linear", "factor": 4.0}),
    dict(rope_theta=500000.0, head_dim=128, rope_scaling=LLAMA3),
    dict(rope_theta=500000.0, head_dim=64, rope_scaling=LLAMA3 | {"factor": 32.0}),
]
for c in cases:
    c["frequencies"] = [float(v) for v in frequencies(c["rope_theta"], c["head_dim"], c["rope_scaling"])]
print(json.dumps(cases, indent=1))
