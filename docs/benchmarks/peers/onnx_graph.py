"""The encoder as an ONNX file, built node by node, so that it is the same whatever version of an exporter is there.

"plain" has standard operators only, in the forms that exporters write and engines look for. "fused" has ONNX Runtime's
own operators where it has one for several of the plain ones, that is, what onnxruntime.transformers makes of such models.
Both read the same data file. From bytes [N S S 3] to vectors [N Q D]; the nearest code is searched outside.
"""

import os
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

import model

ALIGN = 65536  # offsets that engines can map whatever the system's page size
MICROSOFT = "com.microsoft"


class Graph:
    def __init__(self, table, data_name, fused):
        self.table, self.data_name, self.fused = table, data_name, fused
        self.nodes, self.tensors, self.names = [], [], set()

    def op(self, kind, *inputs, outputs=1, domain="", **attributes):
        """-> name of the output, or names if there is more than one; "" leaves one out."""
        base = f"{kind}_{len(self.nodes)}"
        out = [f"{base}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), out, name=base, domain=domain, **attributes))
        return out[0] if outputs == 1 else out

    def constant(self, value):
        value = np.asarray(value)
        name = f"c.{value.dtype}.{value.tobytes().hex()}.{'x'.join(map(str, value.shape))}"
        if name not in self.names:
            self.names.add(name)
            self.tensors.append(onnx.numpy_helper.from_array(value, name))
        return name

    def ints(self, *values):
        return self.constant(np.array(values, np.int64))

    def weight(self, name):
        if name not in self.names:
            self.names.add(name)
            offset, shape = self.table[name]
            t = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
            for k, v in (("location", self.data_name), ("offset", offset), ("length", 4 * int(np.prod(shape)))):
                t.external_data.add(key=k, value=str(v))
            self.tensors.append(t)
        return name

    def product(self, x, name):
        return self.op("MatMul", x, self.weight(name + ".weight"))

    def linear(self, x, name):
        return self.op("Add", self.product(x, name), self.weight(name + ".bias"))

    def norm(self, x, name, eps):
        return self.op("LayerNormalization", x, self.weight(name + ".weight"), self.weight(name + ".bias"), axis=-1, epsilon=eps)

    def add_norm(self, x, dense, product, name, eps):
        """x + (PRODUCT + DENSE's bias) -> the sum's norm, and the sum"""
        if not self.fused:
            total = self.op("Add", x, self.op("Add", product, self.weight(dense + ".bias")))
            return self.norm(total, name, eps), total
        normed, _, _, total = self.op("SkipLayerNormalization", product, x, self.weight(name + ".weight"),
                                      self.weight(name + ".bias"), self.weight(dense + ".bias"), outputs=4, domain=MICROSOFT,
                                      epsilon=eps)
        return normed, total

    def gelu(self, x, name):
        y = self.product(x, name)
        if self.fused:
            return self.op("BiasGelu", y, self.weight(name + ".bias"), domain=MICROSOFT)
        return self.op("Gelu", self.op("Add", y, self.weight(name + ".bias")))

    def attend(self, q, k, v, bias, heads, width, causal=None):
        """q, k, v [N T E], without their bias [3E]; CAUSAL is their number if each sees only those before it."""
        if self.fused:
            return self.op("MultiHeadAttention", q, k, v, self.weight(bias), domain=MICROSOFT, num_heads=heads,
                           unidirectional=int(causal is not None))
        d = width // heads
        parts = self.op("Split", self.weight(bias), outputs=3, axis=0, num_outputs=3)
        split = lambda x, b, perm: self.op("Transpose", self.op("Reshape", self.op("Add", x, b), self.ints(0, 0, heads, d)),
                                           perm=perm)
        q, k, v = split(q, parts[0], (0, 2, 1, 3)), split(k, parts[1], (0, 2, 3, 1)), split(v, parts[2], (0, 2, 1, 3))
        scores = self.op("Mul", self.op("MatMul", q, k), self.constant(np.float32(d**-0.5)))
        if causal is not None:
            scores = self.op("Add", scores, self.constant(np.triu(np.full((causal, causal), -np.inf, np.float32), 1)))
        y = self.op("Transpose", self.op("MatMul", self.op("Softmax", scores, axis=-1), v), perm=(0, 2, 1, 3))
        return self.op("Reshape", y, self.ints(0, 0, width))

    def self_attend(self, x, name, bias, heads, width, causal=None):
        """One matrix for q, k and v."""
        q, k, v = self.op("Split", self.product(x, name), outputs=3, axis=-1, num_outputs=3)
        return self.attend(q, k, v, bias, heads, width, causal)


def stored(c, w):
    """name -> function that gives the array as the graph wants it: matrices [in out], those of q, k and v in one."""
    out = {}

    def take(name, make):
        out[name] = make

    fused = {}
    for i in range(c["vit_depth"]):
        a = f"visual_encoder.blocks.{i}.attn."
        take(a + "qkv.bias", lambda a=a: np.concatenate([w[a + "q_bias"], np.zeros_like(w[a + "q_bias"]), w[a + "v_bias"]]))
        fused |= dict.fromkeys((a + "q_bias", a + "v_bias"))
    for i in range(c["depth"]):
        for kind in ("attention", "crossattention")[:1 + (i % 2 == 0)]:
            a = f"Qformer.bert.encoder.layer.{i}.{kind}.self."
            q, k, v = (a + part for part in ("query", "key", "value"))
            join = lambda kind, *names: np.concatenate([w[n + kind] for n in names])
            take(a + "qkv.bias", lambda n=(q, k, v): join(".bias", *n))
            if kind == "attention":
                take(a + "qkv.weight", lambda n=(q, k, v): join(".weight", *n).T)
            else:
                take(a + "kv.weight", lambda n=(k, v): join(".weight", *n).T)
                take(a + "query.weight", lambda q=q: w[q + ".weight"].T)
            fused |= dict.fromkeys(n + part for n in (q, k, v) for part in (".weight", ".bias"))
    for name, value in w.items():
        if name not in fused and name != "quantize.embedding.weight":
            take(name, (lambda v=value: v.T) if value.ndim == 2 else (lambda v=value: v))
    return out


def build(c, table, data_name, fused):
    g = Graph(table, data_name, fused)
    w, n, side = c["vit_width"], c["width"], c["image_size"]
    x = g.op("Div", g.op("Cast", "images", to=TensorProto.FLOAT), g.constant(np.float32(255)))
    x = g.op("Div", g.op("Sub", x, g.constant(model.MEAN)), g.constant(model.STD))
    x = g.op("Transpose", x, perm=(0, 3, 1, 2))
    v = "visual_encoder."
    x = g.op("Conv", x, g.weight(v + "patch_embed.proj.weight"), g.weight(v + "patch_embed.proj.bias"),
             kernel_shape=(c["patch"],) * 2, strides=(c["patch"],) * 2)
    x = g.op("Transpose", g.op("Reshape", x, g.ints(0, w, -1)), perm=(0, 2, 1))
    count = g.op("Shape", "images", start=0, end=1)
    repeated = lambda t, *shape: g.op("Expand", t, g.op("Concat", count, g.ints(*shape), axis=0))
    x = g.op("Add", g.op("Concat", repeated(g.weight(v + "cls_token"), 1, w), x, axis=1), g.weight(v + "pos_embed"))
    y = g.norm(x, v + "blocks.0.norm1", 1e-6)
    for i in range(c["vit_depth"]):
        b = f"{v}blocks.{i}."
        y = g.self_attend(y, b + "attn.qkv", b + "attn.qkv.bias", c["vit_heads"], w)
        y, x = g.add_norm(x, b + "attn.proj", g.product(y, b + "attn.proj"), b + "norm2", 1e-6)
        y = g.product(g.gelu(y, b + "mlp.fc1"), b + "mlp.fc2")
        after = (f"{v}blocks.{i + 1}.norm1", 1e-6) if i + 1 < c["vit_depth"] else ("ln_vision", 1e-5)
        y, x = g.add_norm(x, b + "mlp.fc2", y, *after)
    h = repeated(g.norm(g.weight("query_tokens"), "Qformer.bert.embeddings.LayerNorm", 1e-12), c["queries"], n)
    for i in range(c["depth"]):
        b = f"Qformer.bert.encoder.layer.{i}."
        for kind in ("attention", "crossattention")[:1 + (i % 2 == 0)]:
            a = b + kind + ".self."
            if kind == "attention":
                z = g.self_attend(h, a + "qkv", a + "qkv.bias", c["heads"], n, c["queries"])
            else:
                key, value = g.op("Split", g.product(y, a + "kv"), outputs=2, axis=-1, num_outputs=2)
                z = g.attend(g.product(h, a + "query"), key, value, a + "qkv.bias", c["heads"], n)
            dense = b + kind + ".output.dense"
            h, _ = g.add_norm(h, dense, g.product(z, dense), b + kind + ".output.LayerNorm", 1e-12)
        z, dense = g.gelu(h, b + "intermediate_query.dense"), b + "output_query.dense"
        h, _ = g.add_norm(h, dense, g.product(z, dense), b + "output_query.LayerNorm", 1e-12)
    z = g.linear(g.op("Tanh", g.linear(h, "encode_task_layer.0")), "encode_task_layer.2")
    g.nodes.append(helper.make_node("Identity", [z], ["vectors"], name="vectors"))
    graph = helper.make_graph(
        g.nodes, "seed_encoder", [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", side, side, 3])],
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["N", c["queries"], c["code_width"]])], g.tensors)
    sets = [helper.make_opsetid("", 20)] + ([helper.make_opsetid(MICROSOFT, 1)] if fused else [])
    return helper.make_model(graph, opset_imports=sets, ir_version=9), g.names


def files(config, seed, folder, threads, fused):
    """-> path of the ONNX file in FOLDER, made if it is not there, and the codebook's rows."""
    c = model.CONFIGS[config]
    w = model.weights(config, seed, folder, threads)
    stem = f"onnx-{model.cache_key(config, seed, Path(__file__).read_text())}"
    make = stored(c, w)
    table, at = {}, 0
    for name, f in make.items():
        table[name] = (at, f().shape if w.get(name) is None else w[name].T.shape if w[name].ndim == 2 else w[name].shape)
        at += -(-4 * int(np.prod(table[name][1])) // ALIGN) * ALIGN
    data, file = folder / f"{stem}.data", folder / f"{stem}-{'fused' if fused else 'plain'}.onnx"
    part = folder / f"{stem}.{os.getpid()}.part"
    try:
        if not data.exists():
            with open(part, "wb") as out:
                for name, f in make.items():
                    out.seek(table[name][0])
                    out.write(np.ascontiguousarray(f()).data)
                out.truncate(at)
            os.replace(part, data)
        if not file.exists():
            proto, used = build(c, table, data.name, fused)
            assert set(table) <= used, "a weight that the graph does not use"
            part.write_bytes(proto.SerializeToString())
            os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)
    return file, w["quantize.embedding.weight"].copy()
