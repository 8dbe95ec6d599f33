"""The SEED-2 encoder in PyTorch on this GPU, eager and compiled, from bytes to codes on the device: the peer of BenchmarkEncode.

The model and its stand-in weights are those of docs/benchmarks/peers/torch_seed.py. That script runs as it is imported, so its
definitions are taken from its text. Prints a line of JSON a figure, behind the word FIRSTRUN.
"""

import argparse
import ast
import json
import os
import sys
import time
from pathlib import Path

PEERS = Path(__file__).resolve().parents[3] / "docs" / "benchmarks" / "peers"
sys.path.insert(0, str(PEERS))


def figure(**values):
    print("FIRSTRUN " + json.dumps(values), flush=True)


def definitions(names, space):
    tree = ast.parse((PEERS / "torch_seed.py").read_text())
    tree.body = [n for n in tree.body if getattr(n, "name", None) in names]
    assert {n.name for n in tree.body} == set(names)
    exec(compile(tree, "torch_seed.py", "exec"), space)
    return space


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--device", default="cuda")
    p.add_argument("--config", default="seed2")
    p.add_argument("--precisions", default="f16,bf16")
    p.add_argument("--batches", default="128,1,8,32,256,2,4,16,64")
    p.add_argument("--compiled", default="128,1,32", help="batches for torch.compile, f16 only")
    p.add_argument("--seconds", type=float, default=90, help="nothing new begins after that")
    p.add_argument("--codes", help="folder for the codes of the made-up pictures")
    args = p.parse_args()
    begin = time.perf_counter()
    left = lambda: args.seconds - (time.perf_counter() - begin)
    try:
        import numpy as np
        import torch
    except ImportError as e:
        print(f"SKIPPED: {e}")
        sys.exit(3)
    if args.device == "cuda" and not torch.cuda.is_available():
        print(f"SKIPPED: PyTorch {torch.__version__} sees no GPU")
        sys.exit(3)
    import torch.nn.functional as F
    from torch import nn

    import model

    space = definitions(("heads", "merge", "Block", "Attention", "Layer", "Encoder", "Whole", "load"),
                        {"torch": torch, "F": F, "nn": nn, "model": model})
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    c, gpu = model.CONFIGS[args.config], args.device == "cuda"
    w = model.weights(args.config, 0, model.cache_folder(None), len(os.sched_getaffinity(0)))
    figure(figure="torch", version=torch.__version__, device=torch.cuda.get_device_name() if gpu else "cpu", config=args.config,
           weights_seconds=round(time.perf_counter() - begin, 2))
    batches = [int(n) for n in args.batches.split(",")]
    pictures = torch.from_numpy(model.pictures(0, max(batches), c["image_size"])).to(args.device)
    sync = torch.cuda.synchronize if gpu else lambda: None

    @torch.inference_mode()
    def rate(run, n):
        x, times = pictures[:n], []
        for _ in range(3):
            run(x)
        sync()
        start = time.perf_counter()
        while len(times) < 3 or len(times) < 20 and time.perf_counter() - start < 0.5:
            t = time.perf_counter()
            run(x)
            sync()
            times.append(time.perf_counter() - t)
        return sorted(times)[len(times) // 2]

    def measure(run, mode, precision, n):
        f = {"figure": "torch encode", "mode": mode, "precision": precision, "images": n}
        try:
            start = time.perf_counter()
            s = rate(run, n)
            figure(**f, milliseconds=1e3 * s, images_per_second=n / s, with_compilation_seconds=round(time.perf_counter() - start, 1))
        except Exception as e:  # out of memory, no compiler: the other figures still count
            figure(**f, error=f"{type(e).__name__}: {e}"[:300])

    for name in args.precisions.split(","):
        dtype = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}[name]
        with torch.device("meta"):  # PyTorch's own random weights would take longer than ours
            encoder = space["Encoder"](c)
        encoder = encoder.to_empty(device=args.device).to(dtype).eval()
        space["load"](encoder, w)
        whole = space["Whole"](c, encoder, torch.from_numpy(w["quantize.embedding.weight"].copy())).to(args.device).eval()
        if args.codes:
            with torch.inference_mode():
                n = min(128, len(pictures))
                codes = torch.cat([whole(pictures[i:i + 32]) for i in range(0, n, 32)]).cpu().numpy().ravel()
            Path(args.codes, f"codes-torch-{name}.json").write_text(json.dumps({"images": n, "queries": c["queries"], "codes": np.asarray(codes).tolist()}))
        first, rest = batches[:1], batches[1:]
        for n in first:
            measure(whole, "eager", name, n)
        if name == "f16" and args.compiled:
            import torch._dynamo.config as dynamo
            dynamo.recompile_limit, dynamo.fail_on_recompile_limit_hit = 64, True
            compiled = torch.compile(whole, dynamic=False)
            for n in (int(v) for v in args.compiled.split(",")):
                if left() > 25:
                    measure(compiled, "compile", name, n)
                else:
                    figure(figure="torch encode", mode="compile", precision=name, images=n, error="no time left")
        for n in rest:
            if left() > 3:
                measure(whole, "eager", name, n)
        del whole, encoder


main()
