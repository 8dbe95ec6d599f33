#!/usr/bin/env python3
"""Writes the pictures of this folder and expected.json, what Pillow makes of them.

    python3 make_reference.py                 # the committed set, into this folder
    python3 make_reference.py --random 5000 DIR [SEED]   # a large random set for one comparison
    python3 make_reference.py --damaged 5000 DIR [SEED]  # the same with bytes changed anywhere
    PIXELS_REFERENCE=DIR go test -run TestReferenceDir ./internal/pixels

Every input is made here from procedural pictures with fixed seeds. The expected values come from
the Pillow that runs the script; its version and those of its codecs are recorded in expected.json.
The committed set was made with Pillow 13.0.0 (libjpeg-turbo 3.2.0, libwebp 1.6.0). Some samplings
and scan scripts need cjpeg (Debian: libjpeg-turbo-progs).

expected.json maps each file to {"size": [w, h], "rgb": SHA-256 of the RGB pixels, "resize":
{"bicubic 224": SHA-256, ...}} or to {"error": what Pillow said}. "kind" is the error that the Go
package gives by contract: format, corrupt, truncated, too large; it is there for hostile files.
"""

import hashlib
import io
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import warnings
import zlib

import numpy as np
import PIL
from PIL import Image, features

warnings.simplefilter("ignore")
FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def picture(w, h, seed=0, noise=12):
    """A gradient with shapes and noise, uint8 RGB (h, w, 3)."""
    rng = np.random.RandomState(seed)
    y, x = np.mgrid[0:h, 0:w].astype(np.float64)
    a = np.stack([255 * x / max(w - 1, 1), 255 * y / max(h - 1, 1), 255 * (x + y) / max(w + h - 2, 1)], -1)
    for _ in range(5):
        cx, cy = rng.uniform(0, w), rng.uniform(0, h)
        r = rng.uniform(0.05, 0.35) * max(w, h, 4)
        colour = rng.randint(0, 256, 3)
        if rng.rand() < 0.5:
            m = (x - cx) ** 2 + (y - cy) ** 2 < r * r
        else:
            m = (abs(x - cx) < r) & (abs(y - cy) < r * 0.6)
        a[m] = colour
    a += rng.normal(0, noise, a.shape)
    return np.clip(a, 0, 255).astype(np.uint8)


def pil(w, h, seed=0, noise=12, mode="RGB"):
    return Image.fromarray(picture(w, h, seed, noise)).convert(mode)


def saved(im, fmt, **kw):
    b = io.BytesIO()
    try:
        im.save(b, fmt, **kw)
    except OSError:  # Pillow's buffer is too small for some optimized tiny files
        b = io.BytesIO()
        im.save(b, fmt, **(kw | {"optimize": False, "progressive": False}))
    return b.getvalue()


def cjpeg(im, *args):
    with tempfile.TemporaryDirectory() as d:
        p = os.path.join(d, "a.ppm")
        im.save(p)
        scripts = []
        for i, a in enumerate(args):
            if "\n" in a or ";" in a:  # a scan script
                s = os.path.join(d, "scans%d" % i)
                open(s, "w").write(a)
                a = s
            scripts.append(a)
        return subprocess.run(["cjpeg", *scripts, p], check=True, capture_output=True).stdout


def segments(jpg):
    """Yields (marker, start, end) of the segments before the first scan."""
    at = 2
    while True:
        m, n = jpg[at + 1], struct.unpack(">H", jpg[at + 2 : at + 4])[0]
        yield m, at, at + 2 + n
        if m == 0xDA:
            return
        at += 2 + n


def without(jpg, marker):
    out = jpg
    for m, a, b in reversed(list(segments(jpg))):
        if m == marker:
            out = out[:a] + out[b:]
    return out


def patched(data, at, *values):
    b = bytearray(data)
    b[at : at + len(values)] = bytes(values)
    return bytes(b)


def segment_at(jpg, marker):
    return next(a for m, a, b in segments(jpg) if m == marker)


def png(w, h, depth, kind, rows, interlace=0, chunks=()):
    """A PNG from raw rows (filter byte included), with chunks before IDAT."""

    def chunk(t, b):
        return struct.pack(">I", len(b)) + t + b + struct.pack(">I", zlib.crc32(t + b))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, depth, kind, 0, 0, interlace))
        + b"".join(chunk(t, b) for t, b in chunks)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def png_random(rng, w, h, depth, kind, interlace, chunks=()):
    """A PNG of one colour type, its samples from a picture, with every filter type in its rows."""
    ch = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    a = picture(w, h, rng.randrange(1 << 20)).astype(np.uint32)
    a = np.concatenate([a, a[:, :, :1][:, ::-1]], 2)[:, :, :ch]
    if depth == 16:
        a = a * 257 + rng.randrange(200)
        a = np.minimum(a, 65535)
    else:
        a = a >> (8 - depth)
    raw = b""
    for x0, y0, dx, dy in ADAM7 if interlace else [(0, 0, 1, 1)]:
        s = a[y0::dy, x0::dx]
        if s.shape[0] == 0 or s.shape[1] == 0:
            continue
        prev = None
        for row in s:
            v = row.reshape(-1)
            if depth == 16:
                b = v.astype(">u2").tobytes()
            elif depth == 8:
                b = v.astype(np.uint8).tobytes()
            else:
                bits = "".join(format(int(i), "0%db" % depth) for i in v)
                bits += "0" * (-len(bits) % 8)
                b = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
            f = rng.randrange(5)
            raw += bytes([f]) + filtered(f, b, prev or bytes(len(b)), max(1, depth * ch // 8))
            prev = b
    if kind == 3 and not any(t == b"PLTE" for t, _ in chunks):
        chunks = ((b"PLTE", np.random.RandomState(5).bytes(3 << depth)),) + tuple(chunks)
    return png(w, h, depth, kind, raw, int(interlace), chunks)


def filtered(f, b, prev, bpp):
    out = bytearray()
    for i, v in enumerate(b):
        l = b[i - bpp] if i >= bpp else 0
        u = prev[i]
        c = prev[i - bpp] if i >= bpp else 0
        p = l + u - c
        pred = min((abs(p - l), 0, l), (abs(p - u), 1, u), (abs(p - c), 2, c))[2]
        out.append((v - (0, l, u, (l + u) // 2, pred)[f]) & 255)
    return bytes(out)


def bmp(w, h, bits, pixels, compression=0, palette=b"", header=40, masks=b"", colors=0, flip=False):
    if header == 12:
        info = struct.pack("<IHHHH", 12, w, h, 1, bits)
    else:
        info = struct.pack("<IiiHHIIiiII", 40, w, -h if flip else h, 1, bits, compression, len(pixels), 0, 0, colors, 0)
        info = struct.pack("<I", header) + info[4:]
        if header > 40:
            info += masks.ljust(header - 40, b"\0")
            masks = b""
    off = 14 + len(info) + len(masks) + len(palette)
    return b"BM" + struct.pack("<IHHI", off + len(pixels), 0, 0, off) + info + masks + palette + pixels


def bmp_rows(a, bits):
    """Packs an (h, w) array of pixel numbers bottom-up."""
    out = b""
    for row in a[::-1]:
        if bits >= 8:
            b = b"".join(int(v).to_bytes(bits // 8, "little") for v in row)
        else:
            s = "".join(format(int(v), "0%db" % bits) for v in row)
            s += "0" * (-len(s) % 8)
            b = bytes(int(s[i : i + 8], 2) for i in range(0, len(s), 8))
        out += b + bytes(-len(b) % 4)
    return out


def gif_random(rng):
    """A GIF from Pillow, sometimes with its frame header or tables changed by hand."""
    w, h = rng.randint(1, 70), rng.randint(1, 50)
    im = pil(w, h, rng.randrange(1 << 20)).convert("P", palette=Image.Palette.ADAPTIVE, colors=rng.choice([2, 3, 16, 100, 256]))
    if rng.random() < 0.2:
        im = pil(w, h, rng.randrange(1 << 20), mode="L")
    kw = {"interlace": rng.randrange(2)}
    if rng.random() < 0.4:
        kw["transparency"] = rng.randrange(4)
    if rng.random() < 0.3:
        kw["save_all"] = True
        kw["append_images"] = [pil(w, h, rng.randrange(1 << 20)).convert("P")]
    b = bytearray(saved(im, "GIF", **kw))
    if rng.random() < 0.3:  # a larger screen, so that the frame does not cover it
        struct.pack_into("<HH", b, 6, w + rng.randint(0, 9), h + rng.randint(0, 9))
        at = 13 + (3 << ((b[10] & 7) + 1) if b[10] & 128 else 0)
        while b[at] == 0x21:
            at += 2
            while b[at]:
                at += 1 + b[at]
            at += 1
        struct.pack_into("<HH", b, at + 1, rng.randint(0, 12), rng.randint(0, 12))
    return bytes(b)


def webp_frame(w, h, x, y, alpha):
    """An animation of two frames on one canvas, the first one at x, y."""
    a = pil(w, h, 3)
    if alpha:
        a.putalpha(pil(w, h, 4, mode="L"))
    frame = saved(a, "WEBP", quality=80)[12:]
    if frame[:4] == b"VP8X":
        frame = frame[18:]
    cw, ch = w + x + 3, h + y + 5

    def u24(v):
        return struct.pack("<I", v)[:3]

    def chunk(t, b):
        return t + struct.pack("<I", len(b)) + b + b"\0" * (len(b) & 1)

    anmf = u24(x // 2) + u24(y // 2) + u24(w - 1) + u24(h - 1) + u24(100) + b"\0" + frame
    body = chunk(b"VP8X", bytes([0x12 if alpha else 0x02, 0, 0, 0]) + u24(cw - 1) + u24(ch - 1))
    body += chunk(b"ANIM", b"\x40\x80\xc0\xff" + b"\0\0") + chunk(b"ANMF", anmf) * 2
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def photo(w, h, seed):
    """A smoother picture with detail at several scales, for timing: its files are as large as photographs are."""
    rng = np.random.RandomState(seed)
    a = picture(w, h, seed, 0).astype(np.float64)
    for n, amount in ((6, 60), (24, 35), (96, 16), (256, 7)):
        small = rng.normal(0, amount, (n * h // w + 2, n + 2, 3))
        lo, hi = small.min(), small.max()
        bands = Image.fromarray(((small - lo) / (hi - lo) * 255).astype(np.uint8)).resize((w, h), Image.Resampling.BICUBIC)
        a += np.asarray(bands) / 255.0 * (hi - lo) + lo
    return Image.fromarray(np.clip(a, 0, 255).astype(np.uint8))


def bench():
    """Yields the files that BenchmarkPrepare and bench_pillow.py time."""
    im = photo(512, 384, 21)
    for q in (75, 95):
        yield f"bench_420_q{q}.jpg", saved(im, "JPEG", quality=q, subsampling=2), None
    yield "bench_444_q95.jpg", saved(im, "JPEG", quality=95, subsampling=0), None
    yield "bench_420_q75_prog.jpg", saved(im, "JPEG", quality=75, subsampling=2, progressive=True), None
    yield "bench_rgb.png", saved(im.quantize(200).convert("RGB"), "PNG"), None
    yield "bench_q75.webp", saved(im, "WEBP", quality=75), None


# Scan scripts of cjpeg: files that stop early, which libjpeg smooths.
DC_ONLY = "0,1,2: 0-0, 0, 0;\n"
PARTIAL = "0,1,2: 0-0, 0, 1;\n0: 1-5, 0, 2;\n"
PARTIAL2 = "0,1,2: 0-0, 0, 0;\n1: 1-63, 0, 1;\n0: 1-2, 0, 0;\n2: 1-63, 0, 1;\n"
SPLIT = "0;\n1;\n2;\n"


def committed():
    """Yields (name, data, kind or None)."""
    yield from bench()
    sq = pil(61, 47, 1)
    for q in (1, 5, 25, 50, 75, 90, 95, 100):
        yield f"q{q}.jpg", saved(sq, "JPEG", quality=q), None
    for name, s in (("444", 0), ("422", 1), ("420", 2)):
        for prog in (False, True):
            for opt in (False, True):
                n = f"s{name}{'_prog' if prog else ''}{'_opt' if opt else ''}.jpg"
                yield n, saved(pil(83, 59, 2), "JPEG", quality=80, subsampling=s, progressive=prog, optimize=opt), None
    for s in ("1x2", "4x1", "1x4", "4x2", "2x4", "2x1,1x2,1x1", "2x2,2x1,1x2", "3x1", "1x3", "3x3,1x1,1x1", "2x2,1x1,2x2", "1x1,2x2,2x2", "3x2,1x1,1x1", "3x2,3x1,1x2"):
        for prog in (False, True):
            try:
                d = cjpeg(pil(75, 53, 3), "-quality", "85", "-sample", s, *(["-progressive"] if prog else []))
            except subprocess.CalledProcessError:
                continue
            yield f"sample_{s.replace(',', '_')}{'_prog' if prog else ''}.jpg", d, None
    for r in ("1", "3B", "1B"):
        for prog in (False, True):
            for s in ("2x2", "1x1"):
                d = cjpeg(pil(75, 53, 4), "-sample", s, "-restart", r, *(["-progressive"] if prog else []))
                yield f"restart_{r}_{s}{'_prog' if prog else ''}.jpg", d, None
    for w, h in ((1, 1), (2, 1), (1, 2), (3, 3), (5, 3), (8, 8), (9, 7), (16, 16), (17, 1), (1, 17), (31, 33), (300, 7), (7, 300), (2000, 37), (224, 224), (224, 80), (80, 224), (230, 100)):
        yield f"size_{w}x{h}.jpg", saved(pil(w, h, 5), "JPEG", quality=70), None
    for w, h in ((1, 1), (9, 7), (33, 17)):
        yield f"size_{w}x{h}_prog.jpg", saved(pil(w, h, 5), "JPEG", quality=70, progressive=True), None
    gray = pil(61, 47, 6, mode="L")
    yield "gray.jpg", saved(gray, "JPEG", quality=85), None
    yield "gray_prog.jpg", saved(gray, "JPEG", quality=85, progressive=True), None
    g = saved(gray, "JPEG", quality=85)
    yield "gray_sampled.jpg", patched(g, segment_at(g, 0xC0) + 11, 0x22), None
    for prog in (False, True):
        p = "_prog" if prog else ""
        cmyk = saved(pil(61, 47, 7, mode="CMYK"), "JPEG", quality=85, progressive=prog)
        yield f"cmyk{p}.jpg", cmyk, None
        yield f"cmyk_420{p}.jpg", saved(pil(61, 47, 7, mode="CMYK"), "JPEG", quality=85, subsampling=2, progressive=prog), None
        yield f"cmyk_no_adobe{p}.jpg", without(cmyk, 0xEE), None
        yield f"ycck{p}.jpg", patched(cmyk, segment_at(cmyk, 0xEE) + 15, 2), None
        yield f"ycck_odd{p}.jpg", patched(cmyk, segment_at(cmyk, 0xEE) + 15, 1), None
        yield f"rgb{p}.jpg", saved(sq, "JPEG", quality=85, keep_rgb=True, progressive=prog), None
        yield f"rgb_cjpeg{p}.jpg", cjpeg(sq, "-rgb", *(["-progressive"] if prog else [])), None
    base = saved(sq, "JPEG", quality=75, subsampling=2)
    prog = saved(sq, "JPEG", quality=75, subsampling=2, progressive=True)
    yield "no_huffman.jpg", without(base, 0xC4), None
    yield "no_jfif.jpg", without(base, 0xE0), None
    yield "no_jfif_ids_rgb.jpg", patched_ids(without(base, 0xE0), b"RGB"), None
    yield "no_jfif_ids_odd.jpg", patched_ids(without(base, 0xE0), b"\x00\x22\x23"), None
    yield "fill_bytes.jpg", base[:2] + b"\xff\xff\xff" + base[2:], None
    yield "junk_between.jpg", base[: segment_at(base, 0xDB)] + b"abc\xff\x00" + base[segment_at(base, 0xDB) :], None
    yield "junk_after.jpg", base + b"\xff\xd8junk" * 5, None
    yield "comment.jpg", base[:2] + b"\xff\xfe\x00\x05abc\xff\xed\x00\x04ab" + base[2:], None
    yield "split_scans.jpg", cjpeg(sq, "-scans", SPLIT), None
    yield "split_scans_420_restart.jpg", cjpeg(pil(77, 53, 8), "-scans", SPLIT, "-restart", "2"), None
    yield "one_scan_of_three.jpg", cjpeg(sq, "-scans", SPLIT)[: cjpeg(sq, "-scans", SPLIT).rfind(b"\xff\xda")] + b"\xff\xd9", None
    for name, script in (("dc_only", DC_ONLY), ("partial", PARTIAL), ("partial2", PARTIAL2)):
        for s in ("1x1", "2x2", "2x1", "1x2"):
            yield f"smooth_{name}_{s}.jpg", cjpeg(pil(93, 77, 9), "-sample", s, "-scans", script), None
    yield "smooth_thin.jpg", cjpeg(pil(5, 60, 9), "-scans", DC_ONLY), None
    yield "smooth_cut.jpg", prog[: len(prog) * 2 // 3] + b"\xff\xd9", None
    yield "smooth_cut_early.jpg", prog[: len(prog) // 3] + b"\xff\xd9", None
    yield "quant16.jpg", cjpeg(sq, "-quality", "1"), None
    yield "exif_rotated.jpg", saved(sq, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"), None
    checker = np.zeros((48, 64, 3), np.uint8)
    checker[::2, ::2] = checker[1::2, 1::2] = 255
    yield "checker.jpg", saved(Image.fromarray(checker), "JPEG", quality=100, subsampling=0), None

    rng = random.Random(11)
    for kind, depths in ((0, (1, 2, 4, 8, 16)), (2, (8, 16)), (3, (1, 2, 4, 8)), (4, (8, 16)), (6, (8, 16))):
        for depth in depths:
            for inter in (False, True):
                yield f"png_c{kind}_d{depth}{'_adam7' if inter else ''}.png", png_random(rng, 29, 23, depth, kind, inter), None
    yield "png_gray_trns.png", png_random(rng, 29, 23, 8, 0, False, ((b"tRNS", b"\0\x40"),)), None
    yield "png_rgb_trns.png", png_random(rng, 29, 23, 8, 2, False, ((b"tRNS", b"\0\x10\0\x20\0\x30"),)), None
    yield "png_palette_trns.png", png_random(rng, 29, 23, 8, 3, False, ((b"PLTE", bytes(range(256)) * 3), (b"tRNS", bytes(range(0, 200)))),), None
    yield "png_palette_short.png", png_random(rng, 29, 23, 8, 3, False, ((b"PLTE", bytes(range(100, 160))),)), None
    yield "png_1x1.png", png_random(rng, 1, 1, 8, 2, True), None
    yield "png_3x2_adam7.png", png_random(rng, 3, 2, 4, 0, True), None
    yield "png_up.png", saved(pil(31, 40, 10), "PNG"), None
    ok = saved(pil(31, 40, 10), "PNG")
    yield "png_no_iend.png", ok[:-12], None
    i = ok.index(b"IDAT")
    yield "png_idat_crc.png", patched(ok, len(ok) - 14, ok[-14] ^ 255), None
    yield "png_ihdr_crc.png", patched(ok, 30, ok[30] ^ 255), "corrupt"
    yield "png_truncated.png", ok[: i + 600], "truncated"
    yield "png_early_end.png", png(20, 20, 8, 2, b"".join(b"\0" + bytes(range(60)) for _ in range(7))), None
    yield "png_filter9.png", png(4, 4, 8, 0, b"\x09abcd" * 4), "corrupt"

    for q in (1, 40, 80, 100):
        yield f"webp_q{q}.webp", saved(pil(61, 47, 12), "WEBP", quality=q), None
    for w, h in ((1, 1), (2, 2), (3, 1), (1, 5), (17, 33), (64, 64)):
        yield f"webp_{w}x{h}.webp", saved(pil(w, h, 13), "WEBP", quality=70), None
    yield "webp_lossless.webp", saved(pil(61, 47, 12), "WEBP", lossless=True), None
    few = pil(61, 47, 12).quantize(7).convert("RGB")
    yield "webp_lossless_few.webp", saved(few, "WEBP", lossless=True), None
    alpha = pil(61, 47, 12)
    alpha.putalpha(pil(61, 47, 14, mode="L"))
    yield "webp_alpha.webp", saved(alpha, "WEBP", quality=70), None
    yield "webp_alpha_lossless.webp", saved(alpha, "WEBP", lossless=True), None
    yield "webp_animated.webp", saved(pil(40, 30, 15), "WEBP", save_all=True, append_images=[pil(40, 30, 16)]), None
    yield "webp_anim_alpha.webp", saved(alpha, "WEBP", save_all=True, append_images=[pil(61, 47, 16)], lossless=True), None
    yield "webp_anim_offset.webp", webp_frame(31, 22, 6, 4, False), None
    yield "webp_anim_offset_alpha.webp", webp_frame(31, 22, 6, 4, True), None
    yield "webp_icc.webp", saved(pil(40, 30, 15), "WEBP", icc_profile=b"x" * 77, exif=b"Exif\0\0abc"), None
    wok = saved(pil(61, 47, 12), "WEBP", quality=80)
    yield "webp_truncated.webp", wok[:300], "truncated"

    rng = random.Random(12)
    for i in range(14):
        yield f"gif_{i}.gif", gif_random(rng), None
    gok = saved(pil(40, 30, 17).quantize(100), "GIF")
    yield "gif_truncated.gif", gok[: len(gok) // 2], "truncated"
    yield "gif_no_trailer.gif", gok[:-1], None

    idx = (picture(37, 21, 18)[:, :, 0] >> 4).astype(int)
    pal = bytes(np.random.RandomState(19).bytes(16 * 4))
    rgb = picture(37, 21, 18).astype(int)
    num24 = rgb[:, :, 0] << 16 | rgb[:, :, 1] << 8 | rgb[:, :, 2]
    yield "bmp_1.bmp", bmp(37, 21, 1, bmp_rows(idx >> 3, 1), palette=pal[:8]), None
    yield "bmp_1_bw.bmp", saved(pil(37, 21, 18, mode="1"), "BMP"), None
    yield "bmp_4.bmp", bmp(37, 21, 4, bmp_rows(idx, 4), palette=pal), None
    yield "bmp_8.bmp", bmp(37, 21, 8, bmp_rows(idx, 8), palette=pal, colors=16), None
    yield "bmp_8_gray.bmp", saved(pil(37, 21, 18, mode="L"), "BMP"), None
    yield "bmp_8_topdown.bmp", bmp(37, 21, 8, bmp_rows(idx, 8), palette=pal, colors=16, flip=True), None
    yield "bmp_os2.bmp", bmp(37, 21, 8, bmp_rows(idx, 8), palette=np.random.RandomState(2).bytes(768), header=12), None
    yield "bmp_16.bmp", bmp(37, 21, 16, bmp_rows(num24 & 0xFFFF, 16)), None
    yield "bmp_16_565.bmp", bmp(37, 21, 16, bmp_rows(num24 >> 3 & 0xFFFF, 16), 3, masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F)), None
    yield "bmp_24.bmp", bmp(37, 21, 24, bmp_rows(num24, 24)), None
    yield "bmp_32.bmp", bmp(37, 21, 32, bmp_rows(num24 | 0x7F000000, 32)), None
    for n, m in (("rgba", (0xFF, 0xFF00, 0xFF0000, 0xFF000000)), ("abgr", (0xFF000000, 0xFF0000, 0xFF00, 0xFF)), ("bgra", (0xFF0000, 0xFF00, 0xFF, 0xFF000000)), ("bgar", (0xFF000000, 0xFF00, 0xFF, 0xFF0000)), ("xbgr", (0xFF000000, 0xFF0000, 0xFF00, 0)), ("bgxr", (0xFF000000, 0xFF00, 0xFF, 0)), ("zero", (0, 0, 0, 0)), ("odd", (0xFF00, 0xFF, 0xFF0000, 0))):
        yield f"bmp_32_{n}.bmp", bmp(37, 21, 32, bmp_rows(num24 << 4 & 0xFFFFFFFF, 32), 3, header=124, masks=struct.pack("<IIII", *m)), "format" if n == "odd" else None
    rle8 = b"".join(bytes([30, r, 0, 7, 1, 2, 3, 4, 5, 6, 7, 0, 0, 0]) for r in range(20)) + bytes([37, 9, 0, 1])
    yield "bmp_rle8.bmp", bmp(37, 21, 8, rle8, 1, palette=pal, colors=16), None
    yield "bmp_rle8_delta.bmp", bmp(37, 21, 8, bytes([5, 3, 0, 2, 4, 3]) + rle8[14 * 4 :], 1, palette=pal, colors=16), None
    rle4 = b"".join(bytes([30, 16 * (r & 15) + 5, 0, 7, 0x12, 0x34, 0x56, 0x70, 0, 0]) for r in range(21))
    yield "bmp_rle4.bmp", bmp(37, 21, 4, rle4, 2, palette=pal), None
    yield "bmp_truncated.bmp", bmp(37, 21, 24, bmp_rows(num24, 24)[:900]), "truncated"

    yield "empty.jpg", b"", "truncated"
    yield "page.jpg", b"<!DOCTYPE html><html><body>404 not found</body></html>", "format"
    yield "garbage_after_soi.jpg", b"\xff\xd8\xff" + np.random.RandomState(3).bytes(400), "corrupt"
    yield "truncated_half.jpg", base[: len(base) // 2], "truncated"
    yield "truncated_prog.jpg", prog[: len(prog) // 2], "truncated"
    yield "truncated_header.jpg", base[:200], "truncated"
    yield "no_eoi_prog.jpg", prog[:-2], "truncated"
    yield "huge_declared.jpg", patched(base, segment_at(base, 0xC0) + 5, 255, 255, 255, 255), "too large"
    yield "arithmetic.jpg", cjpeg(sq, "-arithmetic"), "format"
    yield "bits12.jpg", patched(base, segment_at(base, 0xC0) + 4, 12), "format"
    yield "two_components.jpg", patched(base, segment_at(base, 0xC0) + 9, 2), "format"
    yield "fractional_sampling.jpg", patched(base, segment_at(base, 0xC0) + 11, 0x31, 1, 2, 0x21), "format"
    rng = random.Random(13)
    for name, b in (("base", base), ("prog", prog), ("rst", cjpeg(sq, "-restart", "2", "-sample", "2x2")), ("rstprog", cjpeg(sq, "-restart", "2", "-sample", "2x2", "-progressive"))):
        for i in range(8):
            yield f"mutated_{name}_{i}.jpg", mutated(rng, b), None


def patched_ids(jpg, ids):
    f, s = segment_at(jpg, 0xC0), segment_at(jpg, 0xDA)
    for i, v in enumerate(ids):
        jpg = patched(jpg, f + 10 + 3 * i, v)
        jpg = patched(jpg, s + 5 + 2 * i, v)
    return jpg


def mutated(rng, b):
    """Changes one to four bytes behind the first scan header, or drops or doubles a piece there."""
    start = b.index(b"\xff\xda") + 14
    b = bytearray(b)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(start, len(b) - 2)
        r = rng.random()
        if r < 0.7:
            b[at] = rng.randrange(256)
        elif r < 0.8:
            del b[at : at + rng.randint(1, 9)]
        elif r < 0.9:
            b[at:at] = b[at : at + rng.randint(1, 9)]
        else:
            b[at] = 0xFF
    return bytes(b)


def damaged(n, seed):
    """Small files of every format with a few bytes changed anywhere, headers included."""
    rng = random.Random(seed)
    for i in range(n):
        im = pil(rng.randint(1, 50), rng.randint(1, 40), rng.randrange(1 << 30), rng.choice([0, 10, 60]))
        kind = rng.choice(["jpg", "jpg", "jpg", "jpg", "png", "webp", "gif", "bmp"])
        if kind == "jpg":
            r = rng.random()
            if r < 0.4:
                b = cjpeg(im, "-quality", str(rng.choice([10, 50, 90])), "-sample", rng.choice(["1x1", "2x2", "2x1"]), "-restart", rng.choice(["0", "1", "3"]), *(["-progressive"] if rng.random() < 0.5 else []))
            else:
                b = saved(im.convert(rng.choice(["RGB", "RGB", "L", "CMYK"])), "JPEG", quality=rng.choice([10, 50, 90]), progressive=rng.random() < 0.5)
        elif kind == "png":
            b = png_random(rng, *im.size, *rng.choice([(8, 2), (8, 0), (4, 3), (8, 6), (1, 0)]), rng.random() < 0.5)
        elif kind == "webp":
            b = saved(im, "WEBP", lossless=rng.random() < 0.5)
        elif kind == "gif":
            b = gif_random(rng)
        else:
            b = saved(im.convert(rng.choice(["RGB", "L", "P", "1"])), "BMP")
        b = bytearray(b)
        for _ in range(rng.randint(1, 3)):
            at = rng.randrange(3, len(b)) if rng.random() < 0.5 else rng.randrange(3, min(len(b), 700))
            r = rng.random()
            if r < 0.6:
                b[at] = rng.randrange(256)
            elif r < 0.8:
                b[at] ^= 1 << rng.randrange(8)
            elif r < 0.9:
                del b[at : at + rng.randint(1, 3)]
            elif len(b) > 40:
                del b[rng.randrange(len(b) // 2, len(b)) :]
            if len(b) < 10:
                break
        yield f"d{i}.{kind}", bytes(b), None


def randoms(n, seed):
    rng = random.Random(seed)
    for i in range(n):
        r = rng.random()
        w, h = rng.randint(1, 90), rng.randint(1, 90)
        if rng.random() < 0.1:
            w, h = rng.randint(1, 500), rng.randint(1, 300)
        noise = rng.choice([0, 5, 20, 80, 300])
        im = pil(w, h, rng.randrange(1 << 30), noise)
        q = rng.choice([1, 5, 10, 30, 50, 75, 80, 90, 95, 98, 100])
        if r < 0.25:
            yield f"r{i}.jpg", saved(im, "JPEG", quality=q, subsampling=rng.choice([0, 1, 2]), progressive=rng.random() < 0.5, optimize=rng.random() < 0.5), None
        elif r < 0.4:
            a = ["-quality", str(q), "-sample", rng.choice(["1x1", "2x1", "1x2", "2x2", "4x1", "4x2", "3x1", "1x3", "3x3", "2x2,2x1,1x1", "2x2,1x2,2x1", "1x1,2x2,1x1", "1x4", "3x2,1x2,3x1"])]
            x = rng.random()
            if x < 0.35:
                a += ["-progressive"]
            elif x < 0.55:
                a += ["-scans", rng.choice([DC_ONLY, PARTIAL, PARTIAL2, SPLIT])]
            if rng.random() < 0.5:
                a += ["-restart", rng.choice(["1", "2", "2B", "3B", "7B"])]
            if rng.random() < 0.15:
                a += ["-rgb"]
            try:
                yield f"r{i}.jpg", cjpeg(im, *a), None
            except subprocess.CalledProcessError:
                pass
        elif r < 0.47:
            m = rng.choice(["L", "CMYK"])
            b = saved(im.convert(m), "JPEG", quality=q, subsampling=rng.choice([0, 1, 2]), progressive=rng.random() < 0.5)
            if m == "CMYK" and rng.random() < 0.5:
                b = patched(b, segment_at(b, 0xEE) + 15, 2)
            yield f"r{i}.jpg", b, None
        elif r < 0.62:
            if rng.random() < 0.5:
                b = saved(im, "JPEG", quality=q, subsampling=rng.choice([0, 1, 2]), progressive=rng.random() < 0.5)
            else:
                b = cjpeg(im, "-quality", str(q), "-restart", rng.choice(["1", "2B", "5B"]), *(["-progressive"] if rng.random() < 0.5 else []))
            yield f"m{i}.jpg", mutated(rng, b), None
        elif r < 0.75:
            kind, depth = rng.choice([(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (2, 16), (3, 1), (3, 2), (3, 4), (3, 8), (4, 8), (4, 16), (6, 8), (6, 16)])
            if rng.random() < 0.3:
                yield f"r{i}.png", saved(im.convert(rng.choice(["RGB", "L", "P", "RGBA", "1", "LA"])), "PNG"), None
            else:
                yield f"r{i}.png", png_random(rng, min(w, 60), min(h, 60), depth, kind, rng.random() < 0.5), None
        elif r < 0.9:
            if rng.random() < 0.4:
                im.putalpha(pil(w, h, rng.randrange(1 << 30), mode="L"))
            kw = {"lossless": True} if rng.random() < 0.3 else {"quality": q}
            if rng.random() < 0.2:
                kw |= {"save_all": True, "append_images": [pil(w, h, rng.randrange(1 << 30))]}
            yield f"r{i}.webp", saved(im, "WEBP", method=rng.randint(0, 4), **kw), None
        elif r < 0.97:
            yield f"r{i}.gif", gif_random(rng), None
        else:
            yield f"r{i}.bmp", saved(im.convert(rng.choice(["RGB", "L", "P", "1", "RGBA"])), "BMP"), None


def sha(b):
    return hashlib.sha256(b).hexdigest()


def outcome(data, sizes):
    try:
        im = Image.open(io.BytesIO(data)).convert("RGB")
    except Exception as e:  # the reference fails in many ways
        return {"error": f"{type(e).__name__}: {e}"[:120].replace(repr(io.BytesIO)[:10], "")}
    out = {"size": list(im.size), "rgb": sha(im.tobytes()), "resize": {}}
    for f, v in FILTERS.items():
        for s in sizes:
            w, h = s if isinstance(s, tuple) else (s, s)
            key = f"{f} {w}" if w == h else f"{f} {w}x{h}"
            out["resize"][key] = sha(im.resize((w, h), v).tobytes())
    return out


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    if len(sys.argv) > 3 and sys.argv[1] in ("--random", "--damaged"):
        make = randoms if sys.argv[1] == "--random" else damaged
        folder, files, sizes = sys.argv[3], make(int(sys.argv[2]), int(sys.argv[4]) if len(sys.argv) > 4 else 1), [56]
        os.makedirs(folder, exist_ok=True)
    else:
        folder, files, sizes = os.path.join(here, "pictures"), committed(), [224, 56, (31, 47)]
        os.makedirs(folder, exist_ok=True)
        for f in os.listdir(folder):
            os.remove(os.path.join(folder, f))
    expected = {}
    for name, data, kind in files:
        with open(os.path.join(folder, name), "wb") as f:
            f.write(data)
        expected[name] = outcome(data, sizes)
        if kind:
            expected[name]["kind"] = kind
        if "error" in expected[name] and "0x" in expected[name]["error"]:
            expected[name]["error"] = expected[name]["error"].split(" <")[0]
    doc = {
        "pillow": PIL.__version__,
        **{m: features.version(m) for m in ("libjpeg_turbo", "webp", "zlib_ng")},
        "files": expected,
    }
    where = folder if folder != os.path.join(here, "pictures") else here
    with open(os.path.join(where, "expected.json"), "w") as f:
        json.dump(doc, f, indent=0, sort_keys=True)
        f.write("\n")
    bad = sum("error" in v for v in expected.values())
    print(f"{len(expected)} files, {bad} that Pillow refuses, in {folder}")


if __name__ == "__main__":
    main()
