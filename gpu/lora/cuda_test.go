//go:build cuda && linux && cgo

package lora_test

import _ "sower/gpu/cuda" // for SOWER_TEST_DEVICE=cuda
