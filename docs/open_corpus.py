"""Opens what sower writes with the tools that people have, and checks that they agree with each other and with the manifest.

    python3 docs/open_corpus.py CORPUS        a folder of sower encode (with documents or not) or interleave (packed or not)

Needs pyarrow, duckdb, polars, datasets, and for sequences mlcroissant[parquet] and transformers; each is skipped where missing.
Versions that this ran with: pyarrow 26.0.1, duckdb 2.0.0, polars 2.1.0, datasets 5.2.0, mlcroissant 1.1.1, transformers 5.24.0.
"""

import json
import os
import sys
import tempfile

corpus = sys.argv[1]
os.environ.setdefault("HF_HUB_OFFLINE", "1")
scratch = tempfile.TemporaryDirectory()
os.environ.setdefault("HF_DATASETS_CACHE", scratch.name)  # leave nothing behind

manifest = json.load(open(os.path.join(corpus, "_manifest.json")))
sequences = manifest["pipeline"] == "interleave"
if sequences:
    prefixes = {("default", "train"): "data/train-", ("default", "validation"): "data/validation-"}
else:
    prefixes = {("default", "train"): "data/", ("documents", "train"): "documents/"}
tables, rows = {}, {}  # files and rows by configuration and split, those without rows left out as in the card
for name, prefix in prefixes.items():
    files = [f for f in manifest["files"] if f["path"].startswith(prefix)]
    if sum(f["rows"] for f in files):
        tables[name] = [os.path.join(corpus, f["path"]) for f in files]
        rows[name] = sum(f["rows"] for f in files)
integers = ["input_ids", "labels", "images", "position_ids", "sequence_lengths"] if sequences else ["codes"]
edges = {}  # first and last row of every table, as the first tool sees them


def agree(tool, name, count, first, last):
    assert count == rows[name], f"{tool}: {name} has {count} rows, the manifest says {rows[name]}"
    assert edges.setdefault(name, (first, last)) == (first, last), f"{tool} sees other rows in {name}: {first}"


def types(tool, name, schema, want):
    """Holds the types of the columns of integers to what they should be; every tool has its own words."""
    have = {c: str(schema[c]) for c in integers if c in schema}
    assert all(t == want for t in have.values()), f"{tool}: {have}, want {want}"
    assert have or name[0] == "documents", f"{tool}: {name} lacks {integers}"


def meaning(row):
    """What docs/formats.md says of a row."""
    if "codes" in row:
        assert len(row["codes"]) == manifest["identity"]["codes_per_image"] and len(row["sha256"]) == 32, row
    if "input_ids" in row:
        v, ids = manifest["vocabulary"], row["input_ids"]
        assert row["length"] == len(ids) == len(row["labels"]) and row["labels"][0] == -100, row
        for at in row["images"]:
            block = ids[at:at + v["image_length"]]
            assert block[0] == v["begin"] and block[-1] == v["end"], row
            assert all(v["offset"] <= i < v["offset"] + v["k"] for i in block[1:-1]), row
    if "position_ids" in row:
        assert row["position_ids"] == [i for n in row["sequence_lengths"] for i in range(n)], row


def pyarrow():
    import pyarrow.parquet as pq
    for name, files in tables.items():
        for f in files:
            footer = pq.read_metadata(f).metadata
            assert json.loads(footer[b"sower.identity"]) == manifest["identity"], f
            assert not sequences or json.loads(footer[b"sower.vocabulary"]) == manifest["vocabulary"], f
        table = pq.ParquetDataset(files).read()
        value = {f.name: f.type.value_type for f in table.schema if f.name in integers}
        types("pyarrow", name, value, "int32" if sequences else "uint16")
        for batch in table.to_batches(1024):
            for row in batch.to_pylist():
                meaning(row)
        agree("pyarrow", name, table.num_rows, *table.take([0, table.num_rows - 1]).to_pylist())


def duckdb():
    import duckdb
    for name, files in tables.items():
        q = duckdb.read_parquet(files)
        types("duckdb", name, dict(zip(q.columns, q.types)), "INTEGER[]" if sequences else "USMALLINT[]")
        values = q.fetchall()
        agree("duckdb", name, len(values), *(dict(zip(q.columns, values[i])) for i in (0, -1)))


def polars():
    import polars
    for name, files in tables.items():
        df = polars.read_parquet(files)
        types("polars", name, df.schema, "List(Int32)" if sequences else "List(UInt16)")
        agree("polars", name, df.height, df.row(0, named=True), df.row(-1, named=True))


def datasets():
    import datasets
    assert datasets.get_dataset_config_names(corpus) == sorted({config for config, _ in tables})
    for config in {config for config, _ in tables}:
        ds = datasets.load_dataset(corpus) if config == "default" else datasets.load_dataset(corpus, config)
        assert set(ds) == {split for c, split in tables if c == config}, ds
        for split, d in ds.items():
            value = {c: f.feature.dtype for c, f in d.features.items() if c in integers}
            types("datasets", (config, split), value, "int32" if sequences else "uint16")
            agree("datasets", (config, split), d.num_rows, d[0], d[-1])


def mlcroissant():
    from mlcroissant import Dataset
    ds = Dataset(os.path.join(corpus, "croissant.json"))
    assert {r.id for r in ds.metadata.record_sets} == {split for _, split in tables}
    plain = lambda v: [plain(x) for x in v] if isinstance(v, list) else v.decode() if isinstance(v, bytes) else v
    for name in tables:
        records = [{k.split("/")[1]: plain(v) for k, v in r.items()} for r in ds.records(name[1])]
        agree("mlcroissant", name, len(records), records[0], records[-1])


def transformers():
    from transformers import AutoTokenizer
    t, v = AutoTokenizer.from_pretrained(os.path.join(corpus, "tokenizer")), manifest["vocabulary"]
    assert t.convert_tokens_to_ids(["<img>", "</img>", "<img_00000>"]) == [v["begin"], v["end"], v["offset"]]
    assert len(t) == v["length"], f"transformers: {len(t)} words, the manifest says {v['length']}"


for tool in [pyarrow, duckdb, polars, datasets] + [mlcroissant, transformers] * sequences:
    try:
        tool()
        print(f"{tool.__name__}: agrees")
    except ImportError as e:
        print(f"{tool.__name__}: skipped ({e})")
print({"/".join(name): n for name, n in rows.items()})
