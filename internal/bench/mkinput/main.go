// Command mkinput writes WebDataset shards for benchmarks: real JPEGs of a given size, or bytes that no one decodes.
//
//	go run ./internal/bench/mkinput --out DIR --count 50000 --shards 50 --bytes 20480      # for --model null
//	go run ./internal/bench/mkinput --out DIR --count 20000 --shards 20 --size 512x384     # pictures
//
// The output is a function of the flags alone.
package main

import (
	"flag"
	"fmt"
	"log"

	"sower/internal/bench"
)

func main() {
	out := flag.String("out", "", "folder for the shards")
	count := flag.Int("count", 10000, "pairs")
	shards := flag.Int("shards", 10, "files")
	size := flag.Int("bytes", 20480, "bytes of an image that is not decoded")
	picture := flag.String("size", "", "WIDTHxHEIGHT: real JPEGs, 4:2:0, quality 80")
	flag.Parse()
	if *out == "" || *count < 1 || *shards < 1 {
		log.Fatal("mkinput: --out is missing, or --count or --shards below 1")
	}
	shape := bench.Shape{Bytes: *size}
	if *picture != "" {
		if _, err := fmt.Sscanf(*picture, "%dx%d", &shape.Width, &shape.Height); err != nil {
			log.Fatalf("mkinput: --size %q: %v", *picture, err)
		}
	}
	if err := bench.WriteShards(*out, *count, *shards, shape); err != nil {
		log.Fatal(err)
	}
}
