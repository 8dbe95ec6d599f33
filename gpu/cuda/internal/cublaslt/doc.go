// Package cublaslt multiplies matrices with NVIDIA's cublasLt, found with dlopen: a program that has it linked in needs the
// library only on machines that use it.
//
// Matrices are row-major, as a transformer keeps them: y[M,N] = alpha·x[M,K]·w[N,K]ᵀ + bias[N] + beta·residual[M,N]. The library
// thinks in columns and computes yᵀ = w·xᵀ of the same memory. Sums are float32 (no TF32), operands float32, float16 or bfloat16.
//
// A row of y must not depend on how many rows x has. The library's heuristic picks an algorithm by shape, so this package asks it
// once per kind of product (N, K, types, form) at a fixed number of rows, leaves out algorithms that split K (their partial sums
// meet in another order), and keeps the choice for every M. Export and Import carry the choices from process to process, with the
// name of the GPU and the library's version: the description of an algorithm means something only there.
//
// The library is looked for in $CUBLASLT_DIR (alone, when set), then on the loader's path and in the toolkit's folders, as
// libcublasLt.so.13, then .12. lt.h holds the numbers of the library's interface; check/check_lt.c compares them with its header.
package cublaslt
