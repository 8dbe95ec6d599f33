"""Trains the small vocabularies of this folder, with settings that published ones do not have.

    python3 make_vocabularies.py FIXTURES [gguf]        needs tokenizers, sentencepiece, gguf; FIXTURES has the set "tokenizers"

Writes json/*.json (tokenizer.json files), sp/*.model and gguf/*.gguf; with "gguf" those alone. The text is this project's own. WordPiece training
breaks ties at random, so a second run gives other files, and make_golden.py has to run after it.
"""

import io
import json
import random
import sys
import tempfile
from pathlib import Path

import gguf
import sentencepiece
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).parent
FIXTURES = Path(sys.argv[1])
THINGS = "cat dog horse bird farmer sower boat train kite lantern teapot violin chair bridge clock bottle garden mountain bear owl swan field barley seeds".split()
LOOKS = "small large red green blue golden wooden broken bright quiet sleeping running smiling ancient frozen wet tall narrow".split()
PROSE = """The sower walks the field with a bag of seeds and throws them by the handful.
Don't count the birds, she said; count what they leave behind! Wasn't it 12,345 seeds? No: exactly 12,346.
for i in range(10):
    print(i, x[i] ** 2)  # indented code
Le café était fermé à cause de la neige ; l'élève naïve a oublié son garçon à l'hôtel.
Die Gärtnerin pflückt Äpfel und süße Birnen über dem Fluß; das Mädchen grüßt schön.
Сеятель вышел в поле сеять семена. Кошка спит на окне.
种子 在 田野 里 发芽。 一只 猫 坐在 窗边。
種をまく人が畑を歩く。 한국어 텍스트 नमस्ते
aab abab aabb abba  bab   aaab""".split("\n")


def corpus():
    rng = random.Random(4)
    out = []
    for _ in range(1200):
        a, b = rng.choice(LOOKS), rng.choice(LOOKS)
        s = f"a {a} {rng.choice(THINGS)} behind the {b} {rng.choice(THINGS)}"
        out.append(rng.choice([f"A photo of {s}.", s, f"There is {s}, isn't there?", f"{rng.randint(0, 99999)}  {s}"]))
    return out + PROSE * 10


BYTES = [f"<0x{b:02X}>" for b in range(256)]


def save(name, tok, change=None):
    doc = json.loads(tok.to_str())
    if change:
        change(doc)
        Tokenizer.from_str(json.dumps(doc))
    (HERE / "json" / f"{name}.json").write_text(json.dumps(doc, ensure_ascii=False, separators=(",", ":")) + "\n")


def added(content, **flags):
    return {"id": -1, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False} | flags


ODD = [added("<tok>"), added("<tok><tok>", special=True), added("LEFT", lstrip=True), added("right", rstrip=True), added("both", lstrip=True, rstrip=True),
       added("word", single_word=True), added("photo of", normalized=True), added("ab", single_word=True, normalized=True), added("<img>"), added("</img>", special=True)]


def put_added(doc, tokens):
    """Numbers them as the library will."""
    size = len(doc["model"]["vocab"])
    have = {t["content"] for t in doc["added_tokens"]}
    for t in tokens:
        if t["content"] in have:
            continue
        at = doc["model"]["vocab"].get(t["content"]) if isinstance(doc["model"]["vocab"], dict) else None
        doc["added_tokens"].append(t | {"id": size if at is None else at})
        size += at is None


def byte_level(name, size, prefix=False, regex=True, digits=False, change=None):
    tok = Tokenizer(models.BPE())
    last = pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), last]) if digits else last
    tok.decoder = decoders.ByteLevel()
    tok.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=size, special_tokens=["<s>", "</s>"], show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    save(name, tok, change)


def drop_letters(doc):
    """Bytes without a letter: unknown."""
    m = doc["model"]
    gone = {c for c in m["vocab"] if len(c) == 1 and c in "ĀāqzXZêç¿ĊÂ"}
    keep = [t for t in m["vocab"] if not gone & set(t)]
    m["vocab"] = {"<unk>": 0} | {t: i + 1 for i, t in enumerate(keep)}
    m["merges"] = [x for x in m["merges"] if not gone & set("".join(x))]
    m["unk_token"], m["fuse_unk"] = "<unk>", True
    doc["added_tokens"] = []
    put_added(doc, ODD)


def ignoring(doc):
    doc["model"]["ignore_merges"] = True
    vocab = doc["model"]["vocab"]
    for w in ["zzzzqqqxx", "ĠKoschka", "unhappily", "Ġ..."]:
        vocab[w] = len(vocab)
    put_added(doc, ODD)


def sp_like(name, size, byte_fallback=None, fuse=True, unk="<unk>", scheme=None, split=False, change=None):
    """scheme None: the normalizer Prepend and Replace; else Metaspace."""
    tok = Tokenizer(models.BPE(unk_token=unk, fuse_unk=fuse, byte_fallback=byte_fallback is not None))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    if scheme:
        tok.normalizer = normalizers.Sequence([])
        tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split)
    special = [unk] if unk else []
    tok.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tok.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=size, special_tokens=special + (byte_fallback or []), show_progress=False, limit_alphabet=90, max_token_length=9))

    def both(doc):
        if scheme:
            doc["normalizer"] = None
        doc["added_tokens"] = [t for t in doc["added_tokens"] if not t["content"].startswith("<0x")]
        put_added(doc, ODD)
        if change:
            change(doc)
    save(name, tok, both)


def word_piece(name, normalizer, size=400, **model):
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]", **model))
    tok.normalizer, tok.pre_tokenizer, tok.decoder = normalizer, pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    tok.train_from_iterator(corpus(), trainers.WordPieceTrainer(vocab_size=size, special_tokens=["[UNK]", "[PAD]"], show_progress=False))
    save(name, tok, lambda doc: put_added(doc, ODD + [added("<TOK>", normalized=True), added("café", normalized=True)]))


def unigram(name, byte_fallback=False, scheme="always", split=True):
    tok = Tokenizer(models.Unigram())
    tok.pre_tokenizer, tok.decoder = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=split), decoders.Metaspace(prepend_scheme=scheme)
    tok.train_from_iterator(corpus(), trainers.UnigramTrainer(vocab_size=400, unk_token="<unk>", special_tokens=["<unk>", "<s>"], show_progress=False))

    def change(doc):
        # The library reads numbers of 17 digits with an error in the last place, which may decide between equal cuts.
        doc["model"]["vocab"] = [[t, round(score, 9)] for t, score in doc["model"]["vocab"]]
        if byte_fallback:
            doc["model"]["vocab"] += [[b, -20.5] for b in BYTES]
            doc["model"]["byte_fallback"] = True
        put_added(doc, ODD)
    save(name, tok, change)


# A small table of rewritings: the library's own (nmt_nfkc) has 240 KB.
RULES = {"ﬁ": "fi", "e\u0301": "é", "é\u0301": "É!", "\u00a0": " ", "\u3000": " ", "\u2003": "  ", "\t": " ", "\u200b": "", "...": "…", "…": "..", "Ａ": "A", "ｆ": "f", "Ⅻ": "XII",
         "½": " 1/2", "İ": "i", "ŁÓ": "lo", "猫": "cat ", "種子": "seeds"}


def sp(name, rules=False, **options):
    if rules:
        with tempfile.NamedTemporaryFile("w", suffix=".tsv", delete=False) as f:
            for old, new in RULES.items():
                f.write(" ".join(f"{ord(c):X}" for c in old) + "\t" + " ".join(f"{ord(c):X}" for c in new) + "\n")
        options["normalization_rule_tsv"] = f.name
    buffer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(corpus()), model_writer=buffer, num_threads=1, minloglevel=2,
                                             **({"vocab_size": 500, "character_coverage": 0.99, "hard_vocab_limit": False} | options))
    (HERE / "sp" / f"{name}.model").write_bytes(buffer.getvalue())


def write_gguf(name, architecture, **keys):
    w = gguf.GGUFWriter(HERE / "gguf" / f"{name}.gguf", architecture)
    w.add_name("tiny")
    for k, v in keys.items():
        if k.endswith("_id") and not hasattr(w, "add_" + k):
            w.add_uint32(f"tokenizer.ggml.{k}", v)
        else:
            getattr(w, "add_" + k)(v)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


def ggufs():
    normal, unknown, control, user, byte = (getattr(gguf.TokenType, t) for t in ("NORMAL", "UNKNOWN", "CONTROL", "USER_DEFINED", "BYTE"))
    opt = FIXTURES / "tokenizers" / "opt-bpe"
    vocab = json.loads((opt / "vocab.json").read_text())
    tokens = sorted(vocab, key=vocab.get)
    write_gguf("gpt2", "gpt2", tokenizer_model="gpt2", tokenizer_pre="gpt-2", token_list=tokens,
               token_types=[control if t in ("</s>", "<pad>") else normal for t in tokens],
               token_merges=(opt / "merges.txt").read_text().split("\n")[1:-1], bos_token_id=2, eos_token_id=2, pad_token_id=1, add_bos_token=True)
    p = sentencepiece.SentencePieceProcessor(model_file=str(FIXTURES / "tokenizers" / "llama-bpe" / "tokenizer.model"))
    n = range(p.get_piece_size())
    write_gguf("llama", "llama", tokenizer_model="llama", tokenizer_pre="default", token_list=[p.id_to_piece(i) for i in n], token_scores=[p.get_score(i) for i in n],
               token_types=[unknown if p.is_unknown(i) else control if p.is_control(i) else byte if p.is_byte(i) else normal for i in n],
               bos_token_id=1, eos_token_id=2, unk_token_id=0, add_bos_token=True)
    words = (FIXTURES / "tokenizers" / "bert-wordpiece" / "vocab.txt").read_text().split("\n")[:-1]
    phantom = [t if t[0] == "[" and t[-1] == "]" else t[2:] if t.startswith("##") else "▁" + t for t in words]
    write_gguf("bert", "bert", tokenizer_model="bert", token_list=phantom, token_types=[control if t[0] == "[" and t[-1] == "]" else normal for t in phantom],
               unk_token_id=1, cls_token_id=2, sep_token_id=3, pad_token_id=0, mask_token_id=4)


def main():
    for d in ("json", "sp", "gguf"):
        (HERE / d).mkdir(exist_ok=True)
    ggufs()
    if sys.argv[2:] == ["gguf"]:
        return
    byte_level("bytes-prefix", 400, prefix=True, change=lambda d: put_added(d, ODD))
    byte_level("bytes-whole", 500, regex=False, change=lambda d: put_added(d, ODD))
    byte_level("bytes-digits", 420, digits=True)
    byte_level("bytes-unknown", 450, change=drop_letters)
    byte_level("bytes-ignore-merges", 420, change=ignoring)
    sp_like("sp-unknown-fused", 350)
    sp_like("sp-unknown-single", 350, fuse=False)
    sp_like("sp-no-unknown", 350, unk=None)
    sp_like("sp-bytes", 650, byte_fallback=BYTES)
    sp_like("sp-some-bytes", 500, byte_fallback=BYTES[:0xE0])
    sp_like("metaspace-always-split", 400, scheme="always", split=True)
    sp_like("metaspace-first", 650, byte_fallback=BYTES, scheme="first")
    sp_like("metaspace-never", 400, scheme="never")
    word_piece("wordpiece-lower", normalizers.BertNormalizer())
    word_piece("wordpiece-cased", normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False), max_input_chars_per_word=6)
    word_piece("wordpiece-accents", normalizers.BertNormalizer(strip_accents=False, lowercase=True))
    unigram("unigram")
    unigram("unigram-bytes", byte_fallback=True, scheme="first", split=False)
    sp("unigram-rules", rules=True)
    sp("unigram-identity-bytes", normalization_rule_name="identity", byte_fallback=True, remove_extra_whitespaces=False, vocab_size=700)
    sp("unigram-user", user_defined_symbols=["<tok>", "ab", "photo of", "猫"], rules=True, add_dummy_prefix=False)
    sp("bpe-rules", rules=True, model_type="bpe")
    sp("bpe-identity", model_type="bpe", normalization_rule_name="identity")
    sp("bpe-user", model_type="bpe", user_defined_symbols=["<tok>", "ab", "photo of", "▁▁"], normalization_rule_name="identity", remove_extra_whitespaces=False, byte_fallback=True, vocab_size=700,
       allow_whitespace_only_pieces=True, split_by_whitespace=False)


main()
