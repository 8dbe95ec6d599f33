"""The SEED-2 image tokenizer in plain PyTorch operations: SEED (arXiv:2307.08041) as of SEED-LLaMA (arXiv:2310.01218).

A ViT (arXiv:2010.11929) with EVA-CLIP's weights (arXiv:2303.15389) sees the picture; a Q-Former (BLIP-2,
arXiv:2301.12597) with causal self-attention makes 32 queries of it; each takes the nearest row of a codebook
(arXiv:1711.00937). De-tokenizing turns 32 codes into the image embedding that an unCLIP decoder (arXiv:2204.06125) draws.

Parameter names are those of the published files. Shapes: B pictures, P = patches + 1, W ViT width, Q queries, H Q-Former
width, D code width, K codes.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Config:
    image_size: int = 224
    patch: int = 14
    vit_width: int = 1408
    vit_depth: int = 39
    vit_heads: int = 16
    vit_mlp: int = 6144
    queries: int = 32
    width: int = 768
    depth: int = 12
    heads: int = 12
    mlp: int = 3072
    codes: int = 8192
    code_width: int = 32
    decode_depth: int = 4
    decode_heads: int = 12
    decode_mlp: int = 3072
    image_embed: int = 1024


SEED2 = Config()
TINY = Config(image_size=56, vit_width=64, vit_depth=3, vit_heads=4, vit_mlp=160, width=48, depth=4, heads=4, mlp=96,
              codes=512, decode_depth=2, decode_heads=4, decode_mlp=192, image_embed=40)


class SEED:
    def __init__(self, config: Config, weight):
        """weight: (name, *shape) -> tensor; asked at every use, so the uses below also tell all shapes."""
        self.c, self.w = config, weight

    def linear(self, x, name, n_out, bias=True):
        return F.linear(x, self.w(name + ".weight", n_out, x.shape[-1]), self.w(name + ".bias", n_out) if bias else None)

    def norm(self, x, name, eps):
        n = x.shape[-1]
        return F.layer_norm(x, (n,), self.w(name + ".weight", n), self.w(name + ".bias", n), eps)

    def attend(self, q, k, v, heads, mask=None):
        """[B T E] each -> [B Tq E]; scores by 1/sqrt(E/heads)."""
        q, k, v = (t.view(*t.shape[:2], heads, -1).transpose(1, 2) for t in (q, k, v))
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        return ((scores if mask is None else scores + mask).softmax(-1) @ v).transpose(1, 2).flatten(2)

    def block(self, x, b, heads, mlp, qkv_bias):
        """Pre-norm transformer block."""
        n = x.shape[-1]
        qkv = F.linear(self.norm(x, b + "norm1", 1e-6), self.w(b + "attn.qkv.weight", 3 * n, n), qkv_bias)
        x = x + self.linear(self.attend(*qkv.chunk(3, -1), heads), b + "attn.proj", n)
        return x + self.linear(F.gelu(self.linear(self.norm(x, b + "norm2", 1e-6), b + "mlp.fc1", mlp)), b + "mlp.fc2", n)

    def vision(self, pixels):
        """pixels [B 3 S S], normalized -> [B P W]; the keys have no bias, and no norm follows."""
        c, v, n = self.c, "visual_encoder.", self.c.vit_width
        x = F.conv2d(pixels, self.w(v + "patch_embed.proj.weight", n, 3, c.patch, c.patch),
                     self.w(v + "patch_embed.proj.bias", n), stride=c.patch).flatten(2).transpose(1, 2)
        x = torch.cat([self.w(v + "cls_token", 1, 1, n).expand(len(x), -1, -1), x], 1)
        x = x + self.w(v + "pos_embed", 1, x.shape[1], n)
        for i in range(c.vit_depth):
            b = f"{v}blocks.{i}."
            q = self.w(b + "attn.q_bias", n)
            bias = torch.cat([q, torch.zeros_like(q), self.w(b + "attn.v_bias", n)])
            x = self.block(x, b, c.vit_heads, c.vit_mlp, bias)
        return x

    def causal(self, features):
        """features [B P W] -> [B Q H]; every second layer, from the first, also attends to the features."""
        c, n = self.c, self.c.width
        mask = features.new_full((c.queries, c.queries), float("-inf")).triu(1)
        h = self.norm(self.w("query_tokens", 1, c.queries, n), "Qformer.bert.embeddings.LayerNorm", 1e-12)
        h = h.expand(len(features), -1, -1)
        for i in range(c.depth):
            b = f"Qformer.bert.encoder.layer.{i}."
            for kind in ("attention", "crossattention")[:1 + (i % 2 == 0)]:
                a, source, m = (b + kind, h, mask) if kind == "attention" else (b + kind, features, None)
                y = self.attend(self.linear(h, a + ".self.query", n), self.linear(source, a + ".self.key", n),
                                self.linear(source, a + ".self.value", n), c.heads, m)
                h = self.norm(self.linear(y, a + ".output.dense", n) + h, a + ".output.LayerNorm", 1e-12)
            y = self.linear(F.gelu(self.linear(h, b + "intermediate_query.dense", c.mlp)), b + "output_query.dense", n)
            h = self.norm(y + h, b + "output_query.LayerNorm", 1e-12)
        return h

    def encode(self, pixels):
        """-> codes [B Q], nearest row by squared distance; and [B Q] of how near a tie each is: (second - first) / first,
        distances in float64."""
        c = self.c
        x = self.causal(self.norm(self.vision(pixels), "ln_vision", 1e-5))
        z = self.linear(torch.tanh(self.linear(x, "encode_task_layer.0", c.width)), "encode_task_layer.2", c.code_width)
        e, flat = self.w("quantize.embedding.weight", c.codes, c.code_width), z.flatten(0, 1)
        d = (flat**2).sum(1, keepdim=True) + (e**2).sum(1) - 2 * (flat @ e.t())
        exact = torch.stack([((e.double() - one.double())**2).sum(1).topk(2, largest=False).values for one in flat])
        margin = (exact[:, 1] - exact[:, 0]) / exact[:, 0]
        return d.argmin(1).view(z.shape[:2]), margin.view(z.shape[:2])

    def detokenize(self, codes):
        """codes [B Q] -> image embedding [B image_embed]."""
        c = self.c
        x = self.w("quantize.embedding.weight", c.codes, c.code_width)[codes]
        x = self.linear(torch.tanh(self.linear(x, "decode_task_layer.0", c.code_width)), "decode_task_layer.2", c.width)
        x = x + self.w("pos_embed_image", 1, c.queries, c.width)
        for i in range(c.decode_depth):
            b = f"blocks_image.{i}."
            x = self.block(x, b, c.decode_heads, c.decode_mlp, self.w(b + "attn.qkv.bias", 3 * c.width))
        for i, n in ((0, 256), (2, 128), (4, 32)):
            x = self.linear(x, f"image_down.{i}", n, bias=False)
            x = F.relu(x) if i < 4 else x
        return self.linear(x.flatten(1), "distill_image_proj", c.image_embed)
