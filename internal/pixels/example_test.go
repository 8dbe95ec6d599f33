package pixels_test

import (
	"errors"
	"fmt"
	"os"

	"sower/internal/pixels"
)

func ExamplePrepare() {
	data, err := os.ReadFile("testdata/pictures/s420.jpg")
	if err != nil {
		panic(err)
	}
	dst := make([]byte, 3*224*224)
	w, h, err := pixels.Prepare(dst, data, 224, pixels.Bicubic, pixels.Limits{})
	fmt.Println(w, h, err)
	_, _, err = pixels.Prepare(dst, data[:500], 224, pixels.Bicubic, pixels.Limits{})
	fmt.Println(errors.Is(err, pixels.ErrTruncated), err)
	// Output:
	// 83 59 <nil>
	// true pixels: jpeg: segment c4 at byte 428 has 72 bytes of 181: image ends early
}
