// Package shards reads image-text pairs from the files people have: WebDataset tars, Parquet, JSONL, CSV and TSV, and
// plain folders. Every format is one file with one type behind the Format interface, and passes the suite in shardtest.
package shards
