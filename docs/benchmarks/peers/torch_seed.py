"""PyTorch as a peer: the SEED-2 encoder as a PyTorch user would write it to be fast. See README.md."""

import os
import sys

import protocol

args = protocol.arguments(__doc__, ("eager", "onednn", "compile", "compile-max"), ("f32", "bf16"))

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

import model  # noqa: E402


def heads(x, n, parts):
    """[B T parts*E] -> parts of [B n T E/n]"""
    return x.view(*x.shape[:2], parts, n, -1).permute(2, 0, 3, 1, 4).unbind(0)


def merge(x):
    return x.transpose(1, 2).flatten(2)


class Block(nn.Module):
    """Pre-norm block of the ViT."""

    def __init__(self, n, n_heads, mlp):
        super().__init__()
        self.n_heads = n_heads
        self.norm1, self.norm2 = nn.LayerNorm(n, 1e-6), nn.LayerNorm(n, 1e-6)
        self.qkv, self.proj = nn.Linear(n, 3 * n), nn.Linear(n, n)
        self.fc1, self.fc2 = nn.Linear(n, mlp), nn.Linear(mlp, n)

    def forward(self, x):
        x = x + self.proj(merge(F.scaled_dot_product_attention(*heads(self.qkv(self.norm1(x)), self.n_heads, 3))))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Attention(nn.Module):
    """Post-norm attention of the Q-Former: to itself, causal, with one matrix for q, k and v; or to the picture, with one
    for k and v."""

    def __init__(self, n, n_heads, source=None):
        super().__init__()
        self.n_heads, self.cross = n_heads, source is not None
        if self.cross:
            self.q, self.kv = nn.Linear(n, n), nn.Linear(source, 2 * n)
        else:
            self.qkv = nn.Linear(n, 3 * n)
        self.out, self.norm = nn.Linear(n, n), nn.LayerNorm(n, 1e-12)

    def forward(self, h, features):
        if self.cross:
            (q,), (k, v) = heads(self.q(h), self.n_heads, 1), heads(self.kv(features), self.n_heads, 2)
        else:
            q, k, v = heads(self.qkv(h), self.n_heads, 3)
        return self.norm(self.out(merge(F.scaled_dot_product_attention(q, k, v, is_causal=not self.cross))) + h)


class Layer(nn.Module):
    def __init__(self, c, cross):
        super().__init__()
        n = c["width"]
        self.attention = Attention(n, c["heads"])
        self.cross = Attention(n, c["heads"], c["vit_width"]) if cross else None
        self.up, self.down, self.norm = nn.Linear(n, c["mlp"]), nn.Linear(c["mlp"], n), nn.LayerNorm(n, 1e-12)

    def forward(self, h, features):
        h = self.attention(h, features)
        if self.cross is not None:
            h = self.cross(h, features)
        return self.norm(self.down(F.gelu(self.up(h))) + h)


class Encoder(nn.Module):
    def __init__(self, c):
        super().__init__()
        w, n = c["vit_width"], c["width"]
        self.patch = nn.Conv2d(3, w, c["patch"], c["patch"])
        self.cls = nn.Parameter(torch.empty(1, 1, w))
        self.pos = nn.Parameter(torch.empty(1, (c["image_size"] // c["patch"])**2 + 1, w))
        self.blocks = nn.ModuleList(Block(w, c["vit_heads"], c["vit_mlp"]) for _ in range(c["vit_depth"]))
        self.ln_vision = nn.LayerNorm(w, 1e-5)
        self.queries = nn.Parameter(torch.empty(1, c["queries"], n))
        self.embed_norm = nn.LayerNorm(n, 1e-12)
        self.layers = nn.ModuleList(Layer(c, i % 2 == 0) for i in range(c["depth"]))
        self.task0, self.task2 = nn.Linear(n, n), nn.Linear(n, c["code_width"])

    def forward(self, pixels):
        """normalized pixels [B 3 S S] -> [B Q D]"""
        x = self.patch(pixels).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos
        for b in self.blocks:
            x = b(x)
        x = self.ln_vision(x)
        h = self.embed_norm(self.queries).expand(len(x), -1, -1)
        for layer in self.layers:
            h = layer(h, x)
        return self.task2(torch.tanh(self.task0(h)))


class Whole(nn.Module):
    """From bytes to codes. Normalization and distances stay float32 when the rest is bfloat16."""

    def __init__(self, c, encoder, rows):
        super().__init__()
        self.encoder, self.side = encoder, c["image_size"]
        self.register_buffer("mean", torch.from_numpy(model.MEAN))
        self.register_buffer("std", torch.from_numpy(model.STD))
        self.register_buffer("rows_t", rows.t().contiguous())
        self.register_buffer("squares", (rows**2).sum(1))

    def forward(self, x):
        x = ((x.float() / 255 - self.mean) / self.std).permute(0, 3, 1, 2).contiguous()
        z = self.encoder(x.to(self.encoder.cls.dtype)).float()
        d = torch.addmm(self.squares, z.flatten(0, 1), self.rows_t, alpha=-2)
        return d.argmin(1).view(z.shape[:2])


class Packed(nn.Module):
    """A linear layer by oneDNN, packed ahead. In float32 PyTorch's own goes to MKL, which is slow on other makers' CPUs;
    bfloat16 goes to oneDNN without this."""

    def __init__(self, linear):
        super().__init__()
        self.weight, self.bias = linear.weight.detach().to_mkldnn(), linear.bias.detach()
        linear.weight = None  # the copy in rows is not needed any more

    def forward(self, x):
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")


@torch.no_grad()
def load(encoder, w):
    """Copies, also where a view would do: weights in a mapped file could leave memory, and have small pages."""
    copied = set()

    def put(p, *names):
        parts = [torch.from_numpy(w[k].copy()) if k else torch.zeros(p.shape[0] // len(names)) for k in names]
        p.copy_((parts[0] if len(parts) == 1 else torch.cat(parts)).view(p.shape))
        copied.add(p)

    def linear(m, *names):
        put(m.weight, *(k + ".weight" for k in names))
        put(m.bias, *(k + ".bias" for k in names))

    v = "visual_encoder."
    linear(encoder.patch, v + "patch_embed.proj")
    put(encoder.cls, v + "cls_token")
    put(encoder.pos, v + "pos_embed")
    for i, m in enumerate(encoder.blocks):
        b = f"{v}blocks.{i}."
        for part in ("norm1", "norm2"):
            linear(getattr(m, part), b + part)
        put(m.qkv.weight, b + "attn.qkv.weight")
        put(m.qkv.bias, b + "attn.q_bias", None, b + "attn.v_bias")  # the keys have no bias
        for part, name in ((m.proj, "attn.proj"), (m.fc1, "mlp.fc1"), (m.fc2, "mlp.fc2")):
            linear(part, b + name)
    linear(encoder.ln_vision, "ln_vision")
    put(encoder.queries, "query_tokens")
    linear(encoder.embed_norm, "Qformer.bert.embeddings.LayerNorm")
    for i, m in enumerate(encoder.layers):
        b = f"Qformer.bert.encoder.layer.{i}."
        a = b + "attention."
        linear(m.attention.qkv, a + "self.query", a + "self.key", a + "self.value")
        if m.cross is not None:
            a = b + "crossattention."
            linear(m.cross.q, a + "self.query")
            linear(m.cross.kv, a + "self.key", a + "self.value")
        for part, name in ((m.attention, "attention"), (m.cross, "crossattention")):
            if part is not None:
                linear(part.out, f"{b}{name}.output.dense")
                linear(part.norm, f"{b}{name}.output.LayerNorm")
        linear(m.up, b + "intermediate_query.dense")
        linear(m.down, b + "output_query.dense")
        linear(m.norm, b + "output_query.LayerNorm")
    linear(encoder.task0, "encode_task_layer.0")
    linear(encoder.task2, "encode_task_layer.2")
    assert copied == set(encoder.parameters()), "a parameter without a weight"


def pin(precision):
    """Float32 must mean float32 -> the settings, in words."""
    torch.set_float32_matmul_precision("highest")
    said = ["float32_matmul_precision=highest"]
    for part in ("matmul", "conv"):
        b = getattr(torch.backends.mkldnn, part, None)
        if hasattr(b, "fp32_precision"):  # PyTorch from 2.9 on
            b.fp32_precision = "ieee"
            assert b.fp32_precision == "ieee"
            said.append(f"mkldnn.{part}.fp32_precision=ieee")
    assert torch.get_float32_matmul_precision() == "highest"
    said.append(f"mkldnn={torch.backends.mkldnn.is_available()}")
    said.append(f"mkl={torch.backends.mkl.is_available()}")
    said.append(f"capability={torch.backends.cpu.get_cpu_capability()}")
    if precision == "bf16":
        said.append(f"mkldnn_bf16={torch.ops.mkldnn._is_mkldnn_bf16_supported()}")
    return said


torch.set_num_threads(args.threads)
torch.set_num_interop_threads(1)
if (args.mode, args.precision) == ("onednn", "bf16"):
    sys.exit("--mode onednn is for float32: eager bf16 uses oneDNN already")
flags = pin(args.precision)
c, cache = model.CONFIGS[args.config], model.cache_folder(args.cache)
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache / "inductor"))
w = model.weights(args.config, args.seed, cache, args.threads)
dtype = torch.bfloat16 if args.precision == "bf16" else torch.float32
with torch.device("meta"):  # skips PyTorch's own random weights, which take longer than ours
    encoder = Encoder(c)
encoder = encoder.to(dtype).to_empty(device="cpu").eval()
load(encoder, w)
whole = Whole(c, encoder, torch.from_numpy(w["quantize.embedding.weight"].copy())).eval()
del w
dtypes = {p.dtype for p in encoder.parameters()}
assert dtypes == {dtype}, dtypes
run = whole
if args.mode == "onednn":
    flags.append("linear layers by torch.ops.mkldnn._linear_pointwise")
    for parent in list(encoder.modules()):
        for name, m in list(parent.named_children()):
            if isinstance(m, nn.Linear):
                setattr(parent, name, Packed(m))
if args.mode.startswith("compile"):
    import torch._dynamo.config as dynamo
    import torch._inductor.config as inductor
    # Freezing makes weights constants, which lets the compiler pack them for oneDNN or MKL ahead of time.
    inductor.freezing = True
    # Past its limit of batch sizes (8 if left) PyTorch would go on uncompiled, under the same name.
    dynamo.recompile_limit, dynamo.fail_on_recompile_limit_hit = 64, True
    flags.append("freezing")
    if args.mode == "compile-max":
        flags.append("max-autotune")
    run = torch.compile(whole, dynamic=False, **({"mode": "max-autotune"} if args.mode == "compile-max" else {}))


@torch.inference_mode()
def encode(x):
    return run(torch.from_numpy(x)).numpy()


seen = set()


def prepare(n):
    """A compiled function's first run compiles, and its second was seen to be slow as well; the third is the warm-up."""
    if args.mode.startswith("compile") and n not in seen:
        seen.add(n)
        for _ in range(2):
            encode(model.pictures(model.WARM_UP, n, c["image_size"]))
    return False


title = {"eager": "PyTorch eager", "onednn": "PyTorch eager oneDNN", "compile": "PyTorch compile",
         "compile-max": "PyTorch compile max-autotune"}[args.mode]
protocol.serve(args, title, torch.__version__, args.precision, "; ".join(flags), prepare, encode)
