"""The parts of firstrun that are no shell: the report, a shard with one pair, how many pairs to encode.

    report.py report DIR    reads parts.tsv and the logs, writes firstrun.json, prints a summary; status 1 if a part failed
    report.py shard DIR     writes DIR/00000.tar with one picture
    report.py pairs DIR     prints how many pairs take fifteen seconds

Only Python's standard library is used.
"""

import datetime
import io
import itertools
import json
import os
import re
import struct
import sys
import tarfile
import zlib
from pathlib import Path

SCHEMA = 1


def figures(text):
    out = []
    for line in text.splitlines():
        if "FIRSTRUN {" in line:  # the testing package may have begun the line
            try:
                out.append(json.loads(line[line.index("FIRSTRUN {") + 9:]))
            except ValueError:
                out.append({"figure": "unreadable", "text": line[:200]})
    return out


def documents(text):
    """JSON documents over several lines, as the program prints them: those that begin and end at the left margin."""
    out = []
    for block in re.findall(r"^\{\n.*?^\}$", text, re.M | re.S):
        try:
            out.append(json.loads(block))
        except ValueError:
            pass
    return out


def tests(text):
    count = {k: len(re.findall(rf"^\s*--- {k}", text, re.M)) for k in ("PASS", "FAIL", "SKIP")}
    return {**{k.lower(): v for k, v in count.items()}, "failed": re.findall(r"^\s*--- FAIL: (\S+)", text, re.M)[:100]}


def read(path):
    return path.read_text(errors="replace") if path.exists() else ""


def reason(text, rc):
    if rc in (124, 137):
        return "out of time"
    if m := re.findall(r"^SKIPPED: (.*)$", text, re.M):
        if rc == 3:
            return m[-1]
    # What a failed step said last, or the first failure of a test.
    for pattern in (r"^sower: (.*)$", r"(SOWER_TEST_REAL_GPU=1, but: .*)$", r"^\s+\w+_test\.go:\d+: (.*)$", r"^panic: (.*)$", r"^(\w*(?:Error|Exception).*)$"):
        if m := re.findall(pattern, text, re.M):
            return m[0][:500]
    lines = [l for l in text.splitlines() if l.strip() and not l.startswith("STEP ")]
    return (lines or ["it said nothing"])[-1][:500]


def part(out, name, rc, limit, seconds):
    text = read(out / f"{name}.log")
    steps = [{"step": n, "status": {"0": "ok", "3": "skipped"}.get(c, "failed"), "exit_code": int(c), "seconds": float(s)}
             for n, c, s in re.findall(r"^STEP (\S+) (\d+) ([\d.]+)$", text, re.M)]
    p = {"status": {0: "ok", 3: "skipped"}.get(rc, "failed"), "seconds": round(seconds, 1), "limit_seconds": limit, "steps": steps}
    if rc != 0:
        p["reason"] = reason(text, rc)
    elif said := re.findall(r"^SKIPPED: (.*)$", text, re.M):
        p["skipped"] = said
    if f := figures(text):
        p["figures"] = f
    if d := documents(text):
        p["documents"] = d
    if name in ("conformance", "fixtures"):
        p["tests"] = tests(text)
    if name == "fixtures":
        p["said"] = [l.strip() for l in text.splitlines() if re.search(r"_test\.go:\d+: ", l)][:100]
    if name == "env":
        p["libraries"] = re.findall(r"^\s*(?:.*=> )?(/\S+\.so\S*)$", text, re.M)
        p["cores"] = int((re.findall(r"^CORES (\d+)$", text, re.M) or ["0"])[0])
        p["torch"] = (re.findall(r"^TORCH (.*)$", text, re.M) or [""])[0]
        if m := re.search(r"^== nvidia-smi: .*\n(.*?)^STEP", text, re.M | re.S):
            keys = ("name", "driver", "memory", "compute_capability", "max_clock", "power_limit")
            p["gpus"] = [dict(zip(keys, (v.strip() for v in l.split(",")))) for l in m[1].splitlines() if l.count(",") >= 5]
        p["devices"] = re.findall(r"^(?:cuda|cpu|auto)\S* .*$", text, re.M)
    return p


def all_figures(parts, name, kind, **want):
    return [f for f in parts.get(name, {}).get("figures", []) if f.get("figure") == kind and all(f.get(k) == v for k, v in want.items())]


def agreement(out):
    """How many codes of the same pictures and weights each two of the runs have in common."""
    sets = {}
    for file in sorted(out.glob("codes-*.json")):
        sets[file.stem[len("codes-"):]] = json.loads(file.read_text())
    rows = []
    for (a, x), (b, y) in itertools.combinations(sets.items(), 2):
        n, q = min(len(x["codes"]), len(y["codes"])), x["queries"]
        if q != y["queries"]:
            continue
        same = [x["codes"][i] == y["codes"][i] for i in range(n)]
        rows.append({"a": a, "b": b, "codes": n, "equal": sum(same), "share": sum(same) / n,
                     "by_position": [round(sum(same[i::q]) / len(same[i::q]), 4) for i in range(q)]})
    return rows


def verdicts(parts):
    """The bars of the issue against what was measured; None where a figure is missing."""
    first = lambda list, key: list[0].get(key) if list else None
    ours = first(all_figures(parts, "throughput", "encode", precision="float16", images=128), "images_per_second")
    compiled = first(all_figures(parts, "torch", "torch encode", mode="compile", precision="f16", images=128), "images_per_second")
    eager = first(all_figures(parts, "torch", "torch encode", mode="eager", precision="f16", images=128), "images_per_second")
    one = first(all_figures(parts, "throughput", "encode", precision="float16", images=1), "milliseconds")
    end = next((d["pairs_per_second"] for d in parts.get("pipeline", {}).get("documents", []) if "pairs_per_second" in d), None)
    steps = {s["step"]: s["seconds"] for s in parts.get("pipeline", {}).get("steps", []) if s["status"] == "ok"}
    batches = all_figures(parts, "invariance", "invariance")
    mine = first(all_figures(parts, "lora", "tune", engine="sower"), "tokens_per_second")
    theirs = first([f for f in all_figures(parts, "lora", "tune") if f.get("engine") != "sower"], "tokens_per_second")
    ratio = lambda a, b: a / b if a and b else None
    row = lambda what, value, bar, up=True: {"what": what, "value": value, "bar": bar, "met": None if value is None else bool(value >= bar if up else value <= bar)}
    return [row("images/s, float16, 128 at a time", ours, 1000), row("by torch.compile", ratio(ours, compiled), 1.0),
            row("by PyTorch eager", ratio(ours, eager), 1.0), row("batch 1, ms", one, 8, False),
            row("end to end, share of encode-only", ratio(end, ours), 0.8),
            row("start to first codes, weights in a folder, s", steps.get("folder2"), 15, False),
            row("codes equal for every batch size", min((f["equal"] / f["codes"] for f in batches), default=None), 1.0),
            row("LoRA tokens/s by PyTorch", ratio(mine, theirs), 1.0)]


def report(out):
    parts = {}
    for line in read(out / "parts.tsv").splitlines():
        name, rc, limit, seconds = line.split("\t")
        try:
            parts[name] = part(out, name, int(rc), int(limit), float(seconds))
        except Exception as e:  # a report with a gap is better than none
            parts[name] = {"status": "failed", "seconds": float(seconds), "reason": f"its log cannot be read: {type(e).__name__}: {e}"}
    gpus = parts.get("env", {}).get("gpus") or [{}]
    whole = {"schema": SCHEMA, "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
             "commit": os.environ.get("FIRSTRUN_COMMIT") or None, "gpu": gpus[0].get("name"), "driver": gpus[0].get("driver"),
             "stand_in": bool(os.environ.get("SOWER_LIBCUDA")), "tiny": os.environ.get("FIRSTRUN_TINY") == "1",
             "bars": [] if os.environ.get("FIRSTRUN_TINY") == "1" else verdicts(parts), "agreement": agreement(out), "parts": parts}
    (out / "firstrun.json").write_text(json.dumps(whole, indent=1) + "\n")
    for name, p in parts.items():
        print(f"{name:12} {p['status']:8} {p['seconds']:6.1f} s  {p.get('reason', '')[:160]}")
    for b in whole["bars"]:
        if b["value"] is not None:
            print(f"{b['what']:46} {b['value']:10.3f}  bar {b['bar']}: {'met' if b['met'] else 'missed'}")
    print(out / "firstrun.json")
    return int(any(p["status"] == "failed" for p in parts.values()))


def shard(folder):
    """A PNG of a colour ramp, which needs no library to write."""
    n = 256
    rows = b"".join(b"\0" + bytes(v for x in range(n) for v in (x, y, (x * y) % 256)) for y in range(n))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", n, n, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "00000.tar", "w") as tar:
        for name, data in (("0.png", png), ("0.txt", b"a ramp of colours")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return 0


def pairs(out):
    rates = [f["images_per_second"] for f in figures(read(out / "throughput.log"))
             if f.get("figure") == "encode" and f.get("precision") == "float16" and f.get("images") == 128 and "images_per_second" in f]
    print(max(256, min(20000, int(15 * (rates[0] if rates else 200)))))
    return 0


sys.exit({"report": report, "shard": shard, "pairs": pairs}[sys.argv[1]](Path(sys.argv[2])))
