// Package cuda is the back end for NVIDIA GPUs, from compute capability 8.0 on. Importing it registers "cuda", with "cuda:N"
// for the Nth device. It is compiled with -tags cuda (make cuda); without the tag "cuda" is known and opening it says so.
//
// Rules:
//   - A device is its primary context, retained once. Calls set it current on their thread, so goroutines need not be bound to
//     threads. Every stream of this package is a CUDA stream of its own, ordered within itself; Sync and reads wait.
//   - Device memory comes from plain allocations, made when weights are loaded and when a pass meets a new shape, and is kept.
//   - What goes to and from the host passes through pinned memory, which C owns: the driver never keeps a Go pointer.
//   - With precision fp16 or bf16, weights and the results of operations (driver.Activation) are 16 bits; biases, norms, tables,
//     parameters and optimizer state are float32; all sums are float32. With fp32 everything is float32, TF32 is never used.
//   - The bits of a row depend on the row alone. Kernels sum in an order that follows from the length of a row, and one algorithm
//     a layer serves every number of rows.
//   - An error that breaks the context (an illegal address, a lost device) is driver.ErrDeviceLost from then on; every later
//     call fails with the first cause.
package cuda
