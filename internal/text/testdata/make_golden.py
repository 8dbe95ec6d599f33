"""Ids of the reference libraries for the random strings of randtext.py, as digests of 100 strings each.

    python3 make_golden.py json|sp|auto|old [FOLDERS] [--full DIR]

json  json/*.json by tokenizers                                → golden-json.json
sp    sp/*.model by sentencepiece, without added tokens        → golden-sp.json
auto  every folder in FOLDERS, which TestWriteFolders of the Go tests wrote (SOWER_TEXT_FOLDERS=FOLDERS), by AutoTokenizer
      of a recent transformers                                 → golden-auto.json
old   the fixture folders in FOLDERS by the slow classes of transformers 4.30.2, with which the published system worked
                                                               → golden-old.json
--full also writes every id to DIR, for finding a difference (SOWER_TEXT_FULL=DIR).
Go's tests (golden_test.go) compare: 6,000 strings for each vocabulary.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

from randtext import text

HERE = Path(__file__).parent
N, SEED = 6000, 1
TEXTS = [text(SEED, i) for i in range(N)]


def digests(ids):
    out = []
    for at in range(0, N, 100):
        h = hashlib.sha256("\n".join(" ".join(map(str, x)) for x in ids[at:at + 100]).encode())
        out.append(h.hexdigest()[:16])
    return out


def old_characters(s):
    return "".join(c for c in s if c < "\U00010000" and c not in "\u0cf3\u0ece")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("what", choices=["json", "sp", "auto", "old"])
    p.add_argument("folders", nargs="?", type=Path)
    p.add_argument("--full", type=Path)
    a = p.parse_args()
    versions, encoders = {}, {}
    if a.what == "json":
        import tokenizers
        versions["tokenizers"] = tokenizers.__version__
        for f in sorted((HERE / "json").glob("*.json")):
            t = tokenizers.Tokenizer.from_file(str(f))
            encoders[f.name] = lambda s, t=t: t.encode(s, add_special_tokens=False).ids
            # From 0.23 the library decodes an added token that is looked for after normalization to its normalized text.
            if all(t.id_to_token(x["id"]) == x["content"] for x in json.loads(f.read_text())["added_tokens"]):
                encoders[f.name].decode = lambda ids, t=t: t.decode(ids, skip_special_tokens=False)
    elif a.what == "sp":
        import sentencepiece
        versions["sentencepiece"] = sentencepiece.__version__
        for f in sorted((HERE / "sp").glob("*.model")):
            encoders[f.name] = sentencepiece.SentencePieceProcessor(model_file=str(f)).encode
    elif a.what == "auto":
        import transformers
        transformers.logging.set_verbosity_error()
        versions["transformers"] = transformers.__version__
        for f in sorted(a.folders.iterdir()):
            t = transformers.AutoTokenizer.from_pretrained(f)
            encoders[f.name] = lambda s, t=t: t.encode(s, add_special_tokens=False)
            meta = json.loads((f / "tokenizer_config.json").read_text())
            for role, token in meta.items():
                if role.endswith("_token"):
                    assert getattr(t, role) == token, (f, role)
            print(f.name, len(t), {r: getattr(t, r + "_id") for r in ("bos_token", "eos_token", "pad_token", "unk_token")})
    else:
        import transformers
        versions["transformers"] = transformers.__version__
        for name, cls in (("llama-bpe", "LlamaTokenizer"), ("opt-bpe", "GPT2Tokenizer"), ("bert-wordpiece", "BertTokenizer")):
            t = getattr(transformers, cls).from_pretrained(a.folders / name)
            # BertTokenizer asks the interpreter's Unicode tables. Below U+10000 version 15, which Go 1.26 has, adds two characters to 14.
            only = old_characters if name == "bert-wordpiece" else str
            encoders[name] = lambda s, t=t, only=only: t.encode(only(s), add_special_tokens=False)
    doc = {"versions": versions, "strings": N, "seed": SEED, "ids": {}, "decoded": {}}
    for name, encode in encoders.items():
        ids = [encode(s) for s in TEXTS]
        doc["ids"][name] = digests(ids)
        texts = None
        if hasattr(encode, "decode"):
            texts = [encode.decode(x) for x in ids]
            doc["decoded"][name] = hashlib.sha256("\n".join(texts).encode()).hexdigest()
        if a.full:
            a.full.mkdir(exist_ok=True)
            (a.full / f"{a.what}-{name}.json").write_text(json.dumps({"ids": ids, "decoded": texts}))
        print(name, sum(map(len, ids)), "ids", file=sys.stderr)
    body = json.dumps(doc, separators=(",", ":"))
    (HERE / f"golden-{a.what}.json").write_text(body.replace('],"', '],\n"') + "\n")


main()
