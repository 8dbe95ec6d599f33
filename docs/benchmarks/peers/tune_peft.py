"""LoRA training and generation with Hugging Face transformers and PEFT, in float32 on the CPU, for `sower bench tune --against`.

    sower bench tune --base MODEL.gguf --against 'python3 docs/benchmarks/peers/tune_peft.py --base MODEL.gguf --threads 2'

MODEL is a .gguf file (its matrices are widened to float32) or a Hugging Face folder. The protocol is README.md's with tokens
in place of images: for each line N it trains one step on a made-up sequence of N tokens and answers {"images": N,
"seconds": …, "peak_bytes": …, "generate_tokens_per_second": …}; the step is forward with the loss over all tokens, backward,
clipping and AdamW, as the Trainer does it, without its data loading and logging.
"""

import argparse
import json
import os
import resource
import sys
import time

BEGIN = time.perf_counter()


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--base", required=True)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--rank", type=int, default=16)
    p.add_argument("--new-tokens", type=int, default=32)
    p.add_argument("--attention", default="sdpa", choices=("sdpa", "eager"))
    args = p.parse_args()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(args.threads)
    reply = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints goes to stderr

    import peft
    import torch
    import transformers

    torch.set_num_threads(args.threads)
    torch.set_float32_matmul_precision("highest")
    torch.manual_seed(0)
    folder, gguf = os.path.split(args.base) if args.base.endswith(".gguf") else (args.base, None)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder or ".", gguf_file=gguf, dtype=torch.float32, attn_implementation=args.attention)
    vocabulary = model.config.vocab_size

    @torch.inference_mode()
    def generate():
        best, prompt = 0.0, torch.randint(vocabulary, (1, 32))
        for _ in range(3):
            start = time.perf_counter()
            model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=args.new_tokens, min_new_tokens=args.new_tokens, do_sample=False,
                           pad_token_id=0)
            best = max(best, args.new_tokens / (time.perf_counter() - start))
        return best

    model.eval()
    generated = generate()
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = peft.get_peft_model(model, peft.LoraConfig(r=args.rank, lora_alpha=2 * args.rank, target_modules=targets, task_type="CAUSAL_LM"))
    model.train()
    trained = [q for q in model.parameters() if q.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.05)

    def step(n):
        ids = torch.randint(vocabulary, (1, n))
        start = time.perf_counter()
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - start

    def say(d):
        reply.write(json.dumps(d) + "\n")
        reply.flush()

    def peak():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    step(64)
    say({"ready": True, "name": "transformers + PEFT", "version": f"{transformers.__version__} + {peft.__version__}, torch {torch.__version__}", "precision": "f32",
         "threads": args.threads, "flags": f"attention {args.attention}, {sum(q.numel() for q in trained)} trained", "load_seconds": round(time.perf_counter() - BEGIN, 3)})
    warm = set()
    for line in sys.stdin:
        n = int(line)
        if n not in warm:  # allocates and chooses kernels
            step(n)
            warm.add(n)
        seconds = step(n)
        say({"images": n, "seconds": round(seconds, 6), "peak_bytes": peak(), "generate_tokens_per_second": round(generated, 3)})


main()
