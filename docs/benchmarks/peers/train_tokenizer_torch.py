"""Steps of training the tokenizer in PyTorch, in float32 on the CPU, for `sower bench train-tokenizer --against`.

    sower bench train-tokenizer --config docs/recipes/mini/mini.json --against 'python3 docs/benchmarks/peers/train_tokenizer_torch.py --threads 2'

The protocol is README.md's with pairs in place of images: for each line N it takes one step on the next N pairs, from bytes
and ids to updated parameters, and answers {"images": N, "seconds": …, "loss": …, "peak_bytes": …}. No step is taken before
the first line, so that losses can be compared; the caller leaves the first ones out of its times. --step says which:

    contrast    first stage, image-text contrast, vision transformer trained if the recipe says so
    pictures    the same with the painter's term
    codes       second stage with the painter's term, on embeddings of the frozen Q-Former, which are not timed

Weights are the stand-in's, by docs/parity/hashweights.py. Pictures are README.md's; the text of a picture whose bytes are b is
2 + b[0] mod (positions - 1) tokens, token j being (256·b[2j+1] + b[2j+2]) mod V. There is no dropout, and learning rates stand still.
"""

import argparse
import json
import math
import os
import resource
import sys
import time

BEGIN = time.perf_counter()
BERT, VIT = "Qformer.bert.", "visual_encoder."

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("--recipe", required=True, help="what sower train-tokenizer takes as --config")
p.add_argument("--step", required=True, choices=("contrast", "pictures", "codes"))
p.add_argument("--mode", default="eager", choices=("eager", "compile"))
p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
p.add_argument("--vocabulary", type=int, required=True)
p.add_argument("--rate", type=float, required=True)
p.add_argument("--seed", type=int, default=1, help="of the stand-in weights")
args = p.parse_args()
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = str(args.threads)
reply = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)  # whatever a library prints goes to stderr

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

import model  # noqa: E402

torch.set_num_threads(args.threads)
torch.set_float32_matmul_precision("highest")
with open(args.recipe) as file:
    recipe = json.load(file)
c, first, second = recipe["model"], recipe["first"], recipe["second"]
stage = second if args.step == "codes" else first
VOCABULARY, POSITIONS = args.vocabulary, c["text"]["positions"]
QUERIES, H, GRID = c["queries"], c["qformer_width"], c["image_size"] // c["patch_size"]
COARSE = c["painter"]["coarse"]


def shapes():
    """name -> shape of every parameter, by the published names."""
    s, w, patch = {}, c["vit_width"], 3 * c["patch_size"]**2

    def linear(name, out, inner, bias=True):
        s[name + ".weight"] = (out, inner)
        if bias:
            s[name + ".bias"] = (out,)

    def norm(name, width):
        s[name + ".weight"] = s[name + ".bias"] = (width,)

    def block(b, width, mlp, split):
        norm(b + "norm1", width)
        linear(b + "attn.qkv", 3 * width, width, not split)
        if split:
            s[b + "attn.q_bias"] = s[b + "attn.v_bias"] = (width,)
        linear(b + "attn.proj", width, width)
        norm(b + "norm2", width)
        linear(b + "mlp.fc1", mlp, width)
        linear(b + "mlp.fc2", width, mlp)

    s[VIT + "cls_token"], s[VIT + "pos_embed"] = (1, 1, w), (1, GRID**2 + 1, w)
    linear(VIT + "patch_embed.proj", w, patch)
    s[VIT + "patch_embed.proj.weight"] = (w, 3, c["patch_size"], c["patch_size"])
    for i in range(c["vit_depth"]):
        block(f"{VIT}blocks.{i}.", w, c["vit_mlp"], True)
    norm("ln_vision", w)
    s["query_tokens"] = (1, QUERIES, H)
    e = BERT + "embeddings."
    norm(e + "LayerNorm", H)
    s[e + "word_embeddings.weight"], s[e + "position_embeddings.weight"] = (VOCABULARY, H), (POSITIONS, H)
    for i in range(c["qformer_depth"]):
        b = f"{BERT}encoder.layer.{i}."
        for kind, source in (("attention", H), ("crossattention", w))[:1 + (i % c["cross_every"] == 0)]:
            for name, inner in (("self.query", H), ("self.key", source), ("self.value", source), ("output.dense", H)):
                linear(f"{b}{kind}.{name}", H, inner)
            norm(f"{b}{kind}.output.LayerNorm", H)
        for kind in ("", "_query"):
            linear(f"{b}intermediate{kind}.dense", c["qformer_mlp"], H)
            linear(f"{b}output{kind}.dense", H, c["qformer_mlp"])
            norm(f"{b}output{kind}.LayerNorm", H)
    linear("vision_proj", c["text"]["embed"], H)
    linear("text_proj", c["text"]["embed"], H)
    linear("encode_task_layer.0", H, H)
    linear("encode_task_layer.2", c["code_width"], H)
    s["quantize.embedding.weight"] = (c["codes"], c["code_width"])
    linear("decode_task_layer.0", c["code_width"], c["code_width"])
    linear("decode_task_layer.2", H, c["code_width"])
    for branch in ("", "_image"):
        s["pos_embed" + branch] = (1, QUERIES, H)
        for i in range(c["decode_depth"]):
            block(f"blocks{branch}.{i}.", H, c["decode_mlp"], False)
    for i, out, inner in ((0, 256, H), (2, 128, 256), (4, 32, 128)):
        linear(f"image_down.{i}", out, inner, False)
    linear("distill_image_proj", c["image_embed"], QUERIES * 32)
    s["pixel.mix.weight"], s["pixel.pos_embed"] = (GRID**2, QUERIES), (1, GRID**2, H)
    linear("pixel.down", 32, H)
    linear("pixel.coarse", 3 * COARSE**2, 32 * QUERIES)
    for i in range(c["painter"]["depth"]):
        block(f"pixel.blocks.{i}.", H, c["decode_mlp"], False)
    norm("pixel.norm", H)
    linear("pixel.out", patch, H)
    return s


def trained(name):
    """Whether this step trains a parameter, as gpu/models/seed/training says."""
    if name.startswith(VIT):
        return args.step != "codes" and first["vit"]
    if name.startswith("pixel."):
        return args.step != "contrast"
    if args.step == "pictures" and name.startswith(("encode_task", "decode_task", "pos_embed_image", "blocks_image")):
        return True
    return name.startswith((BERT, "ln_vision", "query_tokens", "vision_proj", "text_proj", "temp")) == (args.step != "codes")


w = {k: torch.from_numpy(model.hashweights.tensor(k, shape, args.seed)) for k, shape in shapes().items()}
w["temp"] = torch.tensor(first["temp"])
for k, v in w.items():
    v.requires_grad_(trained(k))
MEAN, STD = (torch.from_numpy(x).view(1, 3, 1, 1) for x in (model.MEAN, model.STD))


def linear(x, name):
    return F.linear(x, w[name + ".weight"], w.get(name + ".bias"))


def norm(x, name, eps):
    return F.layer_norm(x, x.shape[-1:], w[name + ".weight"], w[name + ".bias"], eps)


def attend(q, k, v, heads, mask=None, causal=False):
    q, k, v = (t.view(t.shape[0], t.shape[1], heads, -1).transpose(1, 2) for t in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal).transpose(1, 2).flatten(2)


def block(x, b, heads):
    """Pre-norm. The vision transformer's keys have no bias."""
    bias = w.get(b + "attn.qkv.bias")
    if bias is None:
        q = w[b + "attn.q_bias"]
        bias = torch.cat([q, torch.zeros_like(q), w[b + "attn.v_bias"]])
    qkv = F.linear(norm(x, b + "norm1", 1e-6), w[b + "attn.qkv.weight"], bias)
    x = x + linear(attend(*qkv.chunk(3, -1), heads), b + "attn.proj")
    return x + linear(F.gelu(linear(norm(x, b + "norm2", 1e-6), b + "mlp.fc1")), b + "mlp.fc2")


def vision(rgb):
    """rgb uint8 [B S S 3] -> features [B P W]"""
    pixels = (rgb.permute(0, 3, 1, 2).float() / 255 - MEAN) / STD
    x = F.conv2d(pixels, w[VIT + "patch_embed.proj.weight"], w[VIT + "patch_embed.proj.bias"], stride=c["patch_size"]).flatten(2).transpose(1, 2)
    x = torch.cat([w[VIT + "cls_token"].expand(len(x), -1, -1), x], 1) + w[VIT + "pos_embed"]
    for i in range(c["vit_depth"]):
        x = block(x, f"{VIT}blocks.{i}.", c["vit_heads"])
    return norm(x, "ln_vision", 1e-5)


def attention(h, source, a, mask=None, causal=False):
    """Post-norm, of the Q-Former."""
    y = attend(linear(h, a + ".self.query"), linear(source, a + ".self.key"), linear(source, a + ".self.value"), c["qformer_heads"], mask, causal)
    return norm(linear(y, a + ".output.dense") + h, a + ".output.LayerNorm", 1e-12)


def feed(h, b, kind):
    y = linear(F.gelu(linear(h, f"{b}intermediate{kind}.dense")), f"{b}output{kind}.dense")
    return norm(y + h, f"{b}output{kind}.LayerNorm", 1e-12)


def queries(features):
    """features [B P W] -> causal embeddings [B Q H]"""
    h = norm(w["query_tokens"], BERT + "embeddings.LayerNorm", 1e-12).expand(len(features), -1, -1)
    for i in range(c["qformer_depth"]):
        b = f"{BERT}encoder.layer.{i}."
        h = attention(h, h, b + "attention", causal=True)
        if i % c["cross_every"] == 0:
            h = attention(h, features, b + "crossattention")
        h = feed(h, b, "_query")
    return h


def text_vectors(ids, keep):
    """ids [B T], keep [B 1 1 T] bool -> [B E] of unit length, from the first token; cross-attention is left out."""
    e = BERT + "embeddings."
    h = norm(F.embedding(ids, w[e + "word_embeddings.weight"]) + w[e + "position_embeddings.weight"][:ids.shape[1]], e + "LayerNorm", 1e-12)
    for i in range(c["qformer_depth"]):
        b = f"{BERT}encoder.layer.{i}."
        h = feed(attention(h, h, b + "attention", mask=keep), b, "")
    return F.normalize(linear(h[:, 0], "text_proj"), dim=-1)


def image_vectors(causal):
    return F.normalize(linear(causal[:, -1], "vision_proj"), dim=-1)


def branch(y, suffix):
    y = y + w["pos_embed" + suffix]
    for i in range(c["decode_depth"]):
        y = block(y, f"blocks{suffix}.{i}.", c["decode_heads"])
    return y


def task(x, name):
    return linear(torch.tanh(linear(x, name + ".0")), name + ".2")


def paint(x):
    """x [B Q H] -> pixels [B 3 S S]: a coarse picture, enlarged, and patches."""
    size, patch = c["image_size"], c["patch_size"]
    coarse = linear(linear(x, "pixel.down").flatten(1), "pixel.coarse").view(-1, 3, COARSE, COARSE)
    coarse = F.interpolate(coarse, (size, size), mode="bilinear", align_corners=False)
    x = w["pixel.mix.weight"] @ x + w["pixel.pos_embed"]
    for i in range(c["painter"]["depth"]):
        x = block(x, f"pixel.blocks.{i}.", c["decode_heads"])
    x = linear(norm(x, "pixel.norm", 1e-6), "pixel.out").view(len(x), GRID, GRID, 3, patch, patch)
    return coarse + x.permute(0, 3, 1, 4, 2, 5).reshape(len(x), 3, size, size) + 0.5


def picture_loss(got, rgb):
    want = rgb.permute(0, 3, 1, 2).float() / 255
    dx, dy = (lambda t: t[..., 1:] - t[..., :-1]), (lambda t: t[..., 1:, :] - t[..., :-1, :])
    return F.mse_loss(got, want) + F.mse_loss(dx(got), dx(want)) + F.mse_loss(dy(got), dy(want))


def contrast(image, text):
    s = image @ text.t() / w["temp"]
    target = torch.arange(len(s))
    return (F.cross_entropy(s, target, label_smoothing=first["smoothing"]) + F.cross_entropy(s.t(), target, label_smoothing=first["smoothing"])) / 2


def first_loss(rgb, ids, keep):
    with torch.set_grad_enabled(first["vit"]):
        features = vision(rgb)
    causal = queries(features)
    loss = contrast(image_vectors(causal), text_vectors(ids, keep))
    if args.step == "pictures":
        n = first["pictures"]
        loss = loss + first["picture"] * picture_loss(paint(branch(task(task(causal[:n], "encode_task_layer"), "decode_task_layer"), "_image")), rgb[:n])
    return loss


def second_loss(rgb, causal):
    with torch.no_grad():
        teacher = image_vectors(causal) * math.sqrt(c["text"]["embed"])
    z, book = task(causal, "encode_task_layer"), w["quantize.embedding.weight"]
    with torch.no_grad():
        flat = z.flatten(0, 1)
        codes = ((flat**2).sum(1, keepdim=True) + (book**2).sum(1) - 2 * flat @ book.t()).argmin(1).view(z.shape[:2])
    e = F.embedding(codes, book)
    vq = F.mse_loss(z, e.detach()) + second["commit"] * F.mse_loss(e, z.detach())
    y = task(z + (e - z).detach(), "decode_task_layer")
    rec = (1 - F.cosine_similarity(branch(y, ""), causal, dim=-1)).mean()
    x = branch(y, "_image")
    down = linear(F.relu(linear(F.relu(linear(x, "image_down.0")), "image_down.2")), "image_down.4")
    image = F.mse_loss(linear(down.flatten(1), "distill_image_proj"), teacher)
    return second["vq"] * vq + second["rec"] * rec + second["image"] * image + second["picture"] * picture_loss(paint(x), rgb)


def decays(k):
    return w[k].dim() > 1 and not any(part in k for part in ("bias", "ln", "bn"))


names = [k for k in w if w[k].requires_grad]
params = [w[k] for k in names]
optimizer = torch.optim.AdamW([{"params": [w[k] for k in names if decays(k)], "weight_decay": stage["decay"]},
                               {"params": [w[k] for k in names if not decays(k)], "weight_decay": 0.0}],
                              lr=args.rate, betas=(stage["beta1"], stage["beta2"]), eps=1e-8, fused=True)
loss_of = second_loss if args.step == "codes" else first_loss
if args.mode == "compile":
    loss_of = torch.compile(loss_of, dynamic=False)


def inputs(start, n):
    rgb = model.pictures(start, n, c["image_size"])
    if args.step == "codes":
        rgb = torch.from_numpy(rgb)
        with torch.no_grad():
            return rgb, queries(vision(rgb))
    ids, keep = np.zeros((n, POSITIONS), np.int64), np.zeros((n, 1, 1, POSITIONS), bool)
    for i, b in enumerate(rgb.reshape(n, -1).astype(np.int64)):
        t = 2 + b[0] % (POSITIONS - 1)
        ids[i, :t], keep[i, 0, 0, :t] = (256 * b[1:2 * t:2] + b[2:2 * t + 1:2]) % VOCABULARY, True
    return torch.from_numpy(rgb), torch.from_numpy(ids), torch.from_numpy(keep)


def step(batch):
    start = time.perf_counter()
    loss = loss_of(*batch)
    loss.backward()
    if stage["clip"]:
        torch.nn.utils.clip_grad_norm_(params, stage["clip"])
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss.item(), time.perf_counter() - start


def say(d):
    reply.write(json.dumps(d) + "\n")
    reply.flush()


say({"ready": True, "name": f"PyTorch {args.mode}", "version": torch.__version__, "precision": "f32", "threads": args.threads,
     "flags": f"{sum(v.numel() for v in params)} trained; capability={torch.backends.cpu.get_cpu_capability()}", "load_seconds": round(time.perf_counter() - BEGIN, 3)})
done = 0
for line in sys.stdin:
    n = int(line)
    batch = inputs(done, n)
    done += n
    loss, seconds = step(batch)
    say({"images": n, "seconds": round(seconds, 6), "loss": loss, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024})
