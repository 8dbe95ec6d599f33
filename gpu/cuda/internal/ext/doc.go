// Package ext makes the driver calls that gorgonia.org/cu v0.9.6 lacks or makes unsafely: pinned host memory, more than
// 48 KiB of shared memory, kernel arguments of any size, stream capture and graph replay, tensor maps, copies that check
// nothing away. It works on cu's own handles, which are structs of one pointer (a test pins that).
//
// A CUDA context is current per thread and goroutines change threads. Every method of Context therefore names the context
// and makes it current in the same C call as its work, so callers need not lock goroutines to threads. Calls of package
// cu itself, which rely on the current context, go through Context.Do.
//
// Entry points that cu does not name are looked up in the driver library once; where the driver lacks one, the call
// returns CUDA_ERROR_NOT_SUPPORTED.
package ext
