"""Opens a corpus with the tools that people have, and checks that they agree.

    python3 docs/open_corpus.py CORPUS        needs pyarrow, duckdb, polars, datasets (each is skipped where missing)

Versions that this ran with: pyarrow 26.0.1, duckdb 2.0.0, polars 2.1.0, datasets 5.2.0.
"""

import glob
import json
import os
import sys

corpus = sys.argv[1]
parts = sorted(glob.glob(os.path.join(corpus, "data", "*.parquet")))
want = json.load(open(os.path.join(corpus, "_manifest.json")))["counts"]["encoded"]
first = {}


def report(tool, version, rows, key, codes):
    assert rows == want, f"{tool}: {rows} rows, the manifest says {want}"
    first.setdefault("row", (key, list(codes)))
    assert first["row"] == (key, list(codes)), f"{tool} sees another first row"
    print(f"{tool} {version}: {rows} rows; first key {key!r}, codes {list(codes)[:4]} …")


try:
    import pyarrow
    import pyarrow.parquet as pq
    table = pq.ParquetDataset(parts).read()
    assert str(table.schema.field("codes").type).startswith("list<element: uint16"), table.schema
    assert json.loads(pq.read_metadata(parts[0]).metadata[b"sower.identity"])["codes_per_image"] == 32
    row = table.slice(0, 1).to_pylist()[0]
    assert len(row["sha256"]) == 32
    report("pyarrow", pyarrow.__version__, table.num_rows, row["key"], row["codes"])
except ImportError:
    print("pyarrow: not installed")

try:
    import duckdb
    q = duckdb.sql(f"select key, codes from '{corpus}/data/*.parquet' order by source, row")
    rows = q.fetchall()
    report("duckdb", duckdb.__version__, len(rows), *rows[0])
except ImportError:
    print("duckdb: not installed")

try:
    import polars
    df = polars.read_parquet(f"{corpus}/data/*.parquet")
    assert df.schema["codes"] == polars.List(polars.UInt16), df.schema
    report("polars", polars.__version__, df.height, df["key"][0], df["codes"][0].to_list())
except ImportError:
    print("polars: not installed")

try:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import datasets
    ds = datasets.load_dataset(corpus, split="train")
    report("datasets", datasets.__version__, ds.num_rows, ds[0]["key"], ds[0]["codes"])
except ImportError:
    print("datasets: not installed")
