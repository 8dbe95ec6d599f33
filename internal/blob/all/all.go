// Package all links every storage driver into the binary: import it for its side effect beside package blob.
package all

import (
	_ "sower/internal/blob/fileblob"
	_ "sower/internal/blob/gcsblob"
	_ "sower/internal/blob/memblob"
	_ "sower/internal/blob/s3blob"
)
