#!/usr/bin/env python3
"""Compares Sower's language models and adapters with transformers and PEFT, from outside.

    python3 docs/peft/check.py --sower ./sower --base BASE --adapter ADAPTER [--batches trajectory.safetensors]

BASE is a Hugging Face folder or a .gguf file, ADAPTER a PEFT folder, by whomever it was written. For some prompts of ids:

  adapted   scores of PeftModel.from_pretrained(base, adapter) against `sower generate --adapter … --scores`
  merged    scores of transformers on the folder that `sower merge --dtype f32` wrote, without PEFT, against PeftModel's
  reloaded  scores of `sower generate` on that folder against PeftModel's
  greedy    ids of model.generate against those of `sower generate`; a difference counts only where the two best scores of
            PeftModel are further apart than --margin

It ends with exit code 1 if a largest difference, as a share of the largest score, is over --error. All in float32 on the CPU.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import torch
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM


def load(path):
    """A model in float32; of a GGUF file as transformers reads it."""
    kind = dict(dtype=torch.float32, attn_implementation="eager")
    if path.endswith(".gguf"):
        return AutoModelForCausalLM.from_pretrained(os.path.dirname(path) or ".", gguf_file=os.path.basename(path), **kind).eval()
    return AutoModelForCausalLM.from_pretrained(path, **kind).eval()


def adapter_rows(folder):
    """The vocabulary that an adapter needs, which no PEFT file says outright."""
    rows = 0
    with safe_open(os.path.join(folder, "adapter_model.safetensors"), "pt") as f:
        for key in f.keys():
            if key.endswith(("embed_tokens.weight", "lm_head.weight")) and "lora_" not in key:
                rows = max(rows, f.get_slice(key).get_shape()[0])
    with open(os.path.join(folder, "adapter_config.json")) as f:
        tokens = json.load(f).get("trainable_token_indices") or []
    for ids in tokens.values() if isinstance(tokens, dict) else [tokens]:
        rows = max([rows] + [i + 1 for i in ids])
    return rows


def prompts(args, rows):
    """Rows of the batches that are not padded, or numbers from a seed: each id is as likely."""
    if args.batches:
        t = load_file(args.batches)
        ids, mask = t["input_ids"].flatten(0, 1), t["attention_mask"].flatten(0, 1).bool()
        return [row[m].tolist() for row, m in zip(ids, mask)][: args.count]
    g = torch.Generator().manual_seed(args.seed)
    return [torch.randint(rows, (int(torch.randint(2, 40, (1,), generator=g)),), generator=g).tolist() for _ in range(args.count)]


class Sower:
    def __init__(self, program):
        self.program = program

    def run(self, *args):
        p = subprocess.run([self.program, *args], capture_output=True, text=True)
        if p.returncode:
            sys.exit(f"{' '.join([self.program, *args])}: exit code {p.returncode}\n{p.stderr}")
        return p.stdout

    def model(self, base, adapter=None):
        return ["--base", base] + (["--adapter", adapter] if adapter else [])

    def scores(self, model, ids, folder):
        out = os.path.join(folder, "scores.safetensors")
        self.run("generate", *model, "--prompt-ids", json.dumps(ids), "--scores", out)
        t = load_file(out)
        assert t["ids"].to(torch.int64).tolist() == ids
        return t["scores"]

    def greedy(self, model, ids, n):
        return json.loads(self.run("generate", *model, "--prompt-ids", json.dumps(ids), "--tokens", str(n), "--json"))["answers"][0]["ids"]


def scores(model, ids):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0].float()


def same_choices(model, ids, ours, margin, end):
    """Follows our ids with PEFT's scores: each must be the best, or as good as."""
    near = 0
    for at, id in enumerate(ours):
        s = scores(model, ids + ours[:at])[-1]
        if int(s.argmax()) != id:
            if float(s.max() - s[id]) > margin:
                return False, near
            near += 1
        if id in end:
            return at == len(ours) - 1, near
    return True, near


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--sower", default="./sower")
    a.add_argument("--base", required=True)
    a.add_argument("--adapter", required=True)
    a.add_argument("--batches", help="safetensors with input_ids and attention_mask [N B T]")
    a.add_argument("--count", type=int, default=8)
    a.add_argument("--seed", type=int, default=0)
    a.add_argument("--tokens", type=int, default=12, help="of greedy generation; the adapter must not have a manifest, which restricts choices")
    a.add_argument("--error", type=float, default=2e-5)
    a.add_argument("--margin", type=float, default=1e-3)
    args = a.parse_args()

    sower = Sower(args.sower)
    model = load(args.base)
    rows = adapter_rows(args.adapter)
    before = model.get_input_embeddings().weight.shape[0]
    if rows > before:
        model.resize_token_embeddings(rows, mean_resizing=False)
    model = PeftModel.from_pretrained(model, args.adapter).eval()
    rows = max(rows, before)
    print(f"{args.base} + {args.adapter}: {before} tokens, with the adapter {rows}")

    worst = {"adapted": (0.0, 0.0), "merged": (0.0, 0.0), "reloaded": (0.0, 0.0)}
    largest, chosen, near, right = 0.0, 0, 0, True
    manifest = os.path.exists(os.path.join(args.adapter, "_manifest.json"))
    end = model.generation_config.eos_token_id
    end = set(end if isinstance(end, list) else [end])
    with tempfile.TemporaryDirectory() as work:
        merged = os.path.join(work, "merged")
        print(" ", sower.run("merge", *sower.model(args.base, args.adapter), "--output", merged, "--dtype", "f32").strip().replace(merged, "merged/"))
        plain = load(merged)
        for ids in prompts(args, rows):
            want = scores(model, ids)
            top = float(want.abs().max())
            largest = max(largest, top)
            got = {"adapted": sower.scores(sower.model(args.base, args.adapter), ids, work), "merged": scores(plain, ids),
                   "reloaded": sower.scores(sower.model(merged), ids, work)}
            for name, s in got.items():
                assert s.shape == want.shape, (name, s.shape, want.shape)
                d = float((s - want).abs().max())
                worst[name] = max(worst[name], (d, d / top))
            if not manifest:
                ours = sower.greedy(sower.model(args.base, args.adapter), ids, args.tokens)
                ok, n = same_choices(model, ids, ours, args.margin, end)
                right, near, chosen = right and ok, near + n, chosen + len(ours)
    for name, (d, r) in worst.items():
        print(f"  {name:9} largest difference {d:.2e}, of scores up to {largest:.1f}: {r:.1e}")
    if not manifest:
        print(f"  greedy    {chosen} tokens {'equal' if right else 'DIFFER'}" + (f", {near} of them within the margin" if near else ""))
    if not right or max(r for _, r in worst.values()) > args.error:
        sys.exit("  over the bar")


if __name__ == "__main__":
    main()
