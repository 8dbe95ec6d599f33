// Package schemas holds the records that Sower's files are made of: the code table, the reject table, the plan, the
// identity in every footer and the manifest. They are the contract between encode, interleave, tune and foreign
// readers (docs/formats.md), so they are plain structs with Parquet and JSON tags and import the standard library only.
package schemas
