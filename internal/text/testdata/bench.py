"""Encoding speed on one core, Hugging Face's Rust tokenizers and this package side by side, on the same lines.

    python3 bench.py FIXTURES [TEXT]        needs tokenizers and go; FIXTURES has the set "tokenizers"

Without TEXT: English prose that comes with Python (pydoc's topics), then captions made here. Besides the fixtures'
vocabularies of 1,000 tokens, three of 16,000 are trained on the text. The number of ids must agree. Each side makes 5 passes;
"first" is the first, with empty caches, "best" the best. One Python call a line for "line"; "batch" is encode_batch, which
has no such cost; both with parallelism off.
"""

import os
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"], os.environ["RAYON_NUM_THREADS"] = "false", "1"
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers  # noqa: E402

FIXTURES = Path(sys.argv[1]) / "tokenizers"
HERE = Path(__file__).parent


def prose():
    import pydoc_data.topics
    return "\n".join(pydoc_data.topics.topics.values())


def captions():
    rng = random.Random(1)
    words = re.findall(r"[a-z]{3,}", prose().lower())
    return "\n".join("A photo of a " + " ".join(rng.choice(words) for _ in range(rng.randint(4, 12))) + "." for _ in range(20000))


def train(folder, lines):
    sizes = {"vocab_size": 16000, "show_progress": False}
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.train_from_iterator(lines, trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **sizes))
    t.save(str(folder / "byte-bpe.json"))
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.pre_tokenizer = pre_tokenizers.Metaspace(split=True)
    byte = [f"<0x{b:02X}>" for b in range(256)]
    t.train_from_iterator(lines, trainers.BpeTrainer(special_tokens=["<unk>"] + byte, **sizes))
    t.add_special_tokens(["<unk>"])
    t.pre_tokenizer = None  # trained on words, used on lines, as LLaMA's
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.save(str(folder / "sp-bpe.json"))
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer, t.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    t.train_from_iterator(lines, trainers.WordPieceTrainer(special_tokens=["[UNK]"], **sizes))
    t.save(str(folder / "wordpiece.json"))
    return [folder / n for n in ("byte-bpe.json", "sp-bpe.json", "wordpiece.json")]


def passes(run):
    times = []
    for _ in range(5):
        start = time.perf_counter()
        n = run()
        times.append(time.perf_counter() - start)
    return times[0], min(times), n


def main():
    texts = {"prose": prose(), "captions": captions()} if len(sys.argv) < 3 else {sys.argv[2]: Path(sys.argv[2]).read_text()}
    for name, text in texts.items():
        lines = text.split("\n")
        size = len(text.encode()) / 1e6
        with tempfile.TemporaryDirectory() as d:
            folder = Path(d) / "trained"
            folder.mkdir()
            files = [FIXTURES / f for f in ("opt-bpe/tokenizer.json", "llama-bpe/tokenizer.json", "llama-bpe/tokenizer-legacy.json", "bert-wordpiece/tokenizer.json")] + train(folder, lines) + [HERE / "json" / "unigram.json"]
            Path(d, "text").write_text(text)
            env = os.environ | {"GOMAXPROCS": "1", "SOWER_TEXT_BENCH": d + "/text", "SOWER_TEXT_BENCH_VOCABULARIES": ":".join(map(str, files))}
            go = subprocess.run(["go", "test", "-run", "^$", "-bench", "BenchmarkEncode", "-benchtime", "5x", "."], cwd=HERE.parent, env=env, capture_output=True, text=True, check=True).stdout
            print(f"{name}: {size:.1f} MB, {len(lines)} lines; MB/s; load {os.getloadavg()[0]:.1f}")
            print(f"{'':36}{'hf line':>9}{'hf batch':>9}{'first':>7}{'go':>9}{'first':>7}   go / best hf")
            for f in files:
                key = f"{f.parent.name}/{f.name}"
                row = next(r for r in go.split("\n") if r.startswith(f"BenchmarkEncode/{key}"))
                mb, first, ids = (float(re.search(r"([\d.e+]+) " + unit, row)[1]) for unit in ("MB/s", "first-MB/s", "ids"))
                t = Tokenizer.from_file(str(f))
                a0, a, n = passes(lambda: sum(len(t.encode(s, add_special_tokens=False).ids) for s in lines))
                t = Tokenizer.from_file(str(f))
                b0, b, k = passes(lambda: sum(len(e.ids) for e in t.encode_batch(lines, add_special_tokens=False)))
                assert n == k == ids, (key, n, k, ids)
                print(f"{key:36}{size / a:9.2f}{size / b:9.2f}{max(size / a0, size / b0):7.2f}{mb:9.2f}{first:7.2f}{mb * min(a, b) / size:12.1f}x")


main()
