"""Makes the two WebDataset shards of the demo from Debian's openclipart-png and openclipart-svg (public domain).

    python3 make_shards.py PNG_DIR SVG_DIR OUT_DIR        (standard library only; output is deterministic)

64 pictures, as they are in the package, spread over its folders. Members of a sample: <key>.png, <key>.txt (title and
keywords from the SVG's metadata) and <key>.json (title, keywords, creator, licence, path).
"""

import html
import io
import json
import re
import sys
import tarfile
import zlib
from pathlib import Path

COUNT, SHARDS, MAX_BYTES = 64, 2, 28_000
FILLER = re.compile(r"(?i)hash|0x|unsorted|clip ?art|svg|png|special|mimetypes|icon")


def field(block, name):
    m = re.search(rf"<dc:{name}\b[^>]*>(.*?)</dc:{name}>", block, re.S)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", m.group(1)))).strip() if m else ""


def metadata(svg):
    """(title, keywords, creator) of an SVG's RDF block."""
    text = svg.read_bytes().decode("utf-8", "replace")
    m = re.search(r"<(?:\w+:)?Work\b.*?</(?:\w+:)?Work>", text, re.S)
    block = m.group(0) if m else ""
    subject = re.search(r"<dc:subject>(.*?)</dc:subject>", block, re.S)
    items = re.findall(r"<rdf:li[^>]*>(.*?)</rdf:li>", subject.group(1), re.S) if subject else []
    keywords = [k for k in dict.fromkeys(html.unescape(i).strip() for i in items) if k and not FILLER.search(k)]
    return field(block, "title"), keywords, field(block, "creator")


def main(png_dir, svg_dir, out):
    png_dir, svg_dir, out = Path(png_dir), Path(svg_dir), Path(out)
    by_folder = {}
    for p in sorted(png_dir.rglob("*.png")):
        if p.is_symlink() or not 3_000 <= p.stat().st_size <= MAX_BYTES:
            continue
        path = str(p.relative_to(png_dir))[:-4]
        svg = svg_dir / (path + ".svg")
        if not svg.exists():
            continue
        title, keywords, creator = metadata(svg)
        if len(title) < 4 or FILLER.search(title) or len(keywords) < 2:
            continue
        by_folder.setdefault(path.split("/")[0], []).append((zlib.crc32(path.encode()), path, p, title, keywords, creator))
    for rows in by_folder.values():
        rows.sort()
    chosen, turn = [], 0
    while len(chosen) < COUNT:  # one of each folder in turn
        for folder in sorted(by_folder):
            if turn < len(by_folder[folder]) and len(chosen) < COUNT:
                chosen.append(by_folder[folder][turn])
        turn += 1
    chosen.sort(key=lambda r: r[1])
    for s in range(SHARDS):
        with tarfile.open(out / f"openclipart-{s:05d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for n, (_, path, png, title, keywords, creator) in enumerate(chosen[s * COUNT // SHARDS:(s + 1) * COUNT // SHARDS]):
                key = f"{s:05d}{n:04d}"
                caption = ", ".join(dict.fromkeys([title] + [k.lower() for k in keywords if k.lower() != title.lower()]))
                info = {"title": title, "keywords": keywords, "creator": creator, "license": "public domain", "path": path}
                for ext, data in (("png", png.read_bytes()), ("txt", caption.encode()),
                                  ("json", json.dumps(info, sort_keys=True, ensure_ascii=False).encode())):
                    m = tarfile.TarInfo(f"{key}.{ext}")
                    m.size, m.mode = len(data), 0o644
                    tar.addfile(m, io.BytesIO(data))


main(*sys.argv[1:])
