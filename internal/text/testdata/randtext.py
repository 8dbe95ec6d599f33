"""The same random strings in Python and Go (random_test.go): text(seed, i) is the i-th of a seed."""

MASK = (1 << 64) - 1
WORDS = ["a", "cat", "The", "sower", "seeds", "don't", "they'll", "I'VE", "'s", "''re", "12,345", "7:45", "café", "Äpfel", "e\u0301", "ﬁ", "ß", "İ", "ŁÓDŹ", "ΑΣ",
         "猫", "种子", "田野", "Кошка", "한국", "नमस्ते", "🙂", "👩\u200d👧", "👍🏽", "\u200b", "\u0003", "\x1c", "\x1f", "\x85", "▁", "▁▁", "_", "!", "...", "(", ")", "$3.50", "x=1;",
         "<s>", "</s>", "<unk>", "<pad>", "[UNK]", "[MASK]", "<img>", "</img>", "<img_00000>", "<img_00007>", "<img_00012>", "<img_00015>", "<img", "_00012>", "<0x41>", "<0xE7>",
         "<tok>", "<TOK>", "LEFT", "right", "both", "word", "wordy", "ab", "aab", "photo of", "bridge", "\ufffd", "\ufffe", "Ⅻ½", "ｆｕｌｌ", "zzzzqqqxx", "\x00", "unhappily", "no token 3"]
GLUE = ["", "", "", "", " ", " ", " ", "  ", "   ", "\n", "\n\n", " \n", "\t", "\r\n", "\u00a0", "\u2003", "\u3000", "\u2028", "     "]
RANGES = [(0x20, 0x7F), (0x20, 0x7F), (0, 0x100), (0xA0, 0x250), (0x300, 0x370), (0x370, 0x600), (0x600, 0x1000), (0x1000, 0x2000), (0x2000, 0x2070), (0x2070, 0x3000),
          (0x3000, 0x3100), (0x4E00, 0xA000), (0xA000, 0xD7A4), (0xE000, 0xFB00), (0xFB00, 0x10000), (0x10000, 0x13000), (0x16000, 0x19000), (0x1D000, 0x1FB00), (0x20000, 0x2FA20),
          (0xE0000, 0xE0200), (0x61, 0x7B), (0x61, 0x64)]


class Rand:
    """splitmix64."""

    def __init__(self, seed):
        self.s = seed & MASK

    def next(self):
        self.s = (self.s + 0x9E3779B97F4A7C15) & MASK
        z = self.s
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def below(self, n):
        return self.next() % n


def text(seed, i):
    r = Rand(seed * 1000003 + i)
    out = []
    for _ in range(r.below(12)):
        k = r.below(4)
        if k < 2:
            out.append(WORDS[r.below(len(WORDS))])
        elif k == 2:
            lo, hi = RANGES[r.below(len(RANGES))]
            for _ in range(1 + r.below(6)):
                out.append(chr(lo + r.below(hi - lo)))
        out.append(GLUE[r.below(len(GLUE))])
    return "".join(out)
