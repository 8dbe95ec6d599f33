"""LoRA training of a LLaMA of 1.1 billion random parameters in PyTorch on this GPU: the peer of BenchmarkTune.

Hugging Face transformers with PEFT where both are installed, as the Trainer runs it with bf16=True (base in bfloat16, adapters
in float32 under autocast); with --plain, or without them, the same step in plain PyTorch.
"""

import argparse
import json
import sys
import time


def figure(**values):
    print("FIRSTRUN " + json.dumps(values), flush=True)


def hugging_face(torch, s, rank, device):
    import peft
    import transformers
    c = transformers.LlamaConfig(vocab_size=s[0], hidden_size=s[1], intermediate_size=s[2], num_hidden_layers=s[3], num_attention_heads=s[4],
                                 num_key_value_heads=s[5], max_position_embeddings=2048, rms_norm_eps=1e-5, tie_word_embeddings=False, use_cache=False)
    c._attn_implementation = "sdpa"
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        m = transformers.LlamaForCausalLM(c)
    torch.set_default_dtype(torch.float32)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    m = peft.get_peft_model(m, peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets, task_type="CAUSAL_LM")).to(device).train()
    return m, lambda ids: m(input_ids=ids, labels=ids).loss, f"transformers {transformers.__version__} + PEFT {peft.__version__}"


def plain(torch, s, rank, device):
    import torch.nn.functional as F
    from torch import nn
    vocabulary, width, mlp, layers, heads, kv = s
    bf16, half = torch.bfloat16, width // heads // 2

    class Linear(nn.Module):
        """A frozen matrix with an adapter beside it."""

        def __init__(self, n_in, n_out):
            super().__init__()
            self.w = nn.Parameter(torch.randn(n_out, n_in, device=device, dtype=bf16) * n_in**-0.5, requires_grad=False)
            self.a = nn.Parameter(torch.randn(rank, n_in, device=device) * n_in**-0.5)
            self.b = nn.Parameter(torch.zeros(n_out, rank, device=device))

        def forward(self, x):
            return F.linear(x, self.w) + 2 * F.linear(F.linear(x, self.a), self.b)

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.n1, self.n2 = (nn.RMSNorm(width, 1e-5, device=device, dtype=bf16).requires_grad_(False) for _ in range(2))
            self.q, self.o = Linear(width, width), Linear(width, width)
            self.k, self.v = Linear(width, 2 * half * kv), Linear(width, 2 * half * kv)
            self.gate, self.up, self.down = Linear(width, mlp), Linear(width, mlp), Linear(mlp, width)

        def forward(self, x, cos, sin):
            b, t, _ = x.shape
            h = self.n1(x)
            q, k, v = (p(h).view(b, t, -1, 2 * half).transpose(1, 2) for p in (self.q, self.k, self.v))
            turn = lambda z: torch.cat([z[..., :half] * cos - z[..., half:] * sin, z[..., half:] * cos + z[..., :half] * sin], -1)
            y = F.scaled_dot_product_attention(turn(q), turn(k), v, is_causal=True, enable_gqa=kv != heads)
            x = x + self.o(y.transpose(1, 2).reshape(b, t, width))
            h = self.n2(x)
            return x + self.down(F.silu(self.gate(h)) * self.up(h))

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = nn.Parameter(torch.randn(vocabulary, width, device=device, dtype=bf16) * 0.02, requires_grad=False)
            self.head = nn.Parameter(torch.randn(vocabulary, width, device=device, dtype=bf16) * width**-0.5, requires_grad=False)
            self.norm = nn.RMSNorm(width, 1e-5, device=device, dtype=bf16).requires_grad_(False)
            self.layers = nn.ModuleList(Layer() for _ in range(layers))

        def forward(self, ids):
            angle = torch.outer(torch.arange(ids.shape[1], device=device), 10000.0 ** (-torch.arange(half, device=device) / half))
            cos, sin, x = angle.cos().to(bf16), angle.sin().to(bf16), F.embedding(ids, self.embed)
            for l in self.layers:
                x = l(x, cos, sin)
            logits = F.linear(self.norm(x), self.head)[:, :-1].float()
            return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())

    m = Model()
    return m, m, f"plain PyTorch {torch.__version__}"


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--device", default="cuda")
    p.add_argument("--rows", type=int, default=4)
    p.add_argument("--tokens", type=int, default=1024)
    p.add_argument("--rank", type=int, default=16)
    p.add_argument("--tiny", action="store_true")
    p.add_argument("--plain", action="store_true")
    args = p.parse_args()
    try:
        import torch
    except ImportError as e:
        print(f"SKIPPED: {e}")
        sys.exit(3)
    if args.device == "cuda" and not torch.cuda.is_available():
        print(f"SKIPPED: PyTorch {torch.__version__} sees no GPU")
        sys.exit(3)
    sizes = (259, 96, 256, 2, 6, 2) if args.tiny else (32000, 2048, 5632, 22, 32, 4)  # as bench_tune_test.go
    torch.manual_seed(0)
    start, why = time.perf_counter(), ""
    if not args.plain:
        try:
            m, loss_of, name = hugging_face(torch, sizes, args.rank, args.device)
        except ImportError as e:
            args.plain, why = True, str(e)
    if args.plain:
        m, loss_of, name = plain(torch, sizes, args.rank, args.device)
    trained = [q for q in m.parameters() if q.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.05)
    load, sync, times = time.perf_counter() - start, torch.cuda.synchronize if args.device == "cuda" else lambda: None, []
    begin = time.perf_counter()
    while len(times) < 5 or len(times) < 22 and time.perf_counter() - begin < 8:
        ids = torch.randint(sizes[0], (args.rows, args.tokens), device=args.device)
        sync()
        t = time.perf_counter()
        with torch.autocast(args.device, torch.bfloat16):
            loss = loss_of(ids)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        sync()
        times.append(time.perf_counter() - t)
    s = sorted(times[2:])[len(times[2:]) // 2]
    figure(figure="tune", engine=name, precision="bfloat16", rows=args.rows, tokens=args.tokens, rank=args.rank, trained=sum(q.numel() for q in trained),
           load_seconds=load, milliseconds=1e3 * s, tokens_per_second=args.rows * args.tokens / s, steps=len(times), last_loss=loss.item(), note=why)


main()
