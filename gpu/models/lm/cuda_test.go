//go:build cuda && linux && cgo

package lm_test

import _ "sower/gpu/cuda" // for SOWER_TEST_DEVICE=cuda
