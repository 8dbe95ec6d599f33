"""Writes ../unicode.bin: how the Rust tokenizers library classes every code point.

    python3 make_unicode.py            needs tokenizers (made with 0.23.3)

The library joins three Unicode tables of different age (Oniguruma's for \\p{L}, \\p{N} and \\s, the standard library's for
numeric characters, an old crate's for punctuation and marks), so no single Unicode version gives its answers.
File: runs of equal flags from U+0000 up, each as a varint length and a byte of flags:
1 letter, 2 number, 4 space, 8 punctuation of BERT, 16 dropped as an accent by BERT, 32 dropped as control by BERT, 64 numeric,
128 unassigned for a regular expression.
"""

from pathlib import Path

from tokenizers import Regex, normalizers, pre_tokenizers

gone = [(1, r"\p{L}"), (2, r"\p{N}"), (4, r"\s")]
split = [(f, pre_tokenizers.Split(Regex(r), "removed")) for f, r in gone] + [(8, pre_tokenizers.Punctuation(behavior="removed"))]
unassigned = normalizers.Replace(Regex(r"\p{Cn}"), "")
digits = pre_tokenizers.Digits(individual_digits=True)
accents = normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
clean = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)


def flags(c):
    s = chr(c)
    f = sum(f for f, p in split if not p.pre_tokenize_str(s))
    f += 16 * (accents.normalize_str(s) == "") + 32 * (clean.normalize_str(s) == "")
    f += 128 * (unassigned.normalize_str(s) == "")
    return f + 64 * (len(digits.pre_tokenize_str("a" + s)) == 2)


out, n, last = bytearray(), 0, None
for c in range(0x110001):
    f = None if c == 0x110000 else 0 if 0xD800 <= c < 0xE000 else flags(c)
    if n and f != last:
        while n > 127:
            out.append(n & 127 | 128)
            n >>= 7
        out += bytes([n, last])
        n = 0
    n, last = n + 1, f
Path(__file__).parent.parent.joinpath("unicode.bin").write_bytes(out)
print(len(out))
