"""Makes eight WebDataset shards of all pictures of Debian's openclipart-png and openclipart-svg (public domain).

    python3 make_shards.py PNG_DIR SVG_DIR OUT_DIR        (standard library only; output is deterministic)

Pictures are as they are in the packages. Members of a sample: <key>.png, <key>.txt (title and keywords from the SVG's metadata) and
<key>.json (title, keywords, creator, licence, path).
"""

import html
import io
import json
import re
import sys
import tarfile
from pathlib import Path

SHARDS = 8
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


def caption(title, keywords, path):
    """Title and keywords, or the words of the file's name."""
    words = list(dict.fromkeys([title] * bool(title) + [k.lower() for k in keywords if k.lower() != title.lower()]))
    return ", ".join(words) or path.rsplit("/", 1)[-1].replace("_", " ")


def pictures(png_dir, svg_dir):
    """(path, file, title, keywords, creator) of every picture; links to pictures of other folders are left out."""
    for p in sorted(png_dir.rglob("*.png")):
        if not p.is_symlink():
            path = str(p.relative_to(png_dir))[:-4]
            svg = svg_dir / (path + ".svg")
            yield (path, p, *(metadata(svg) if svg.exists() else ("", [], "")))


def main(png_dir, svg_dir, out):
    png_dir, svg_dir, out = Path(png_dir), Path(svg_dir), Path(out)
    rows = list(pictures(png_dir, svg_dir))
    for s in range(SHARDS):
        with tarfile.open(out / f"openclipart-{s:05d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for n, (path, png, title, keywords, creator) in enumerate(rows[s * len(rows) // SHARDS:(s + 1) * len(rows) // SHARDS]):
                key = f"{s:05d}{n:04d}"
                info = {"title": title, "keywords": keywords, "creator": creator, "license": "public domain", "path": path}
                for ext, data in (("png", png.read_bytes()), ("txt", caption(title, keywords, path).encode()),
                                  ("json", json.dumps(info, sort_keys=True, ensure_ascii=False).encode())):
                    m = tarfile.TarInfo(f"{key}.{ext}")
                    m.size, m.mode = len(data), 0o644
                    tar.addfile(m, io.BytesIO(data))


main(*sys.argv[1:])
