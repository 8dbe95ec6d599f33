/* What kernels on rows share: a block has one row, a thread every NT-th group of eight elements. Sums go by groups, then lanes, then
 * warps, always in the same order, so that they follow from the row and the number of threads, which follows from the length of a row alone
 * (kernels.RowKernel). */
#pragma once
#include "dev.h"

DEV float warp_sum(float v) {
#pragma unroll
  for (u32 m = 16; m; m >>= 1) v += shfl_xor(v, m);
  return v;
}

DEV double warp_sum(double v) {
#pragma unroll
  for (u32 m = 16; m; m >>= 1) v += shfl_xor(v, m);
  return v;
}

/* The greater one; a NaN is left to the sums that follow. */
DEV float greater(float x, float y) { return x > y ? x : y; }

DEV float warp_max(float v) {
#pragma unroll
  for (u32 m = 16; m; m >>= 1) v = greater(v, shfl_xor(v, m));
  return v;
}

/* The sum over the block, in all threads. slot tells the memory apart of sums with fewer than two barriers in between. */
template <int slot, typename T> DEV T block_sum(T v) {
  __shared__ T part[32];
  v = warp_sum(v);
  const u32 warps = NT / 32;
  if (warps == 1) return v;
  if (LANE == 0) part[TX / 32] = v;
  SYNC();
  v = 0;
  for (u32 w = 0; w < warps; w++) v += part[w];
  return v;
}

template <int slot> DEV float block_max(float v) {
  __shared__ float part[32];
  v = warp_max(v);
  const u32 warps = NT / 32;
  if (warps == 1) return v;
  if (LANE == 0) part[TX / 32] = v;
  SYNC();
  v = part[0];
  for (u32 w = 1; w < warps; w++) v = greater(v, part[w]);
  return v;
}

/* A thread's part of a row. KEPT it is one group of eight in registers, as many as the threads of a block have together; else groups are
 * read again each time. */
template <bool KEPT> struct row {
  float v[8];
  Ref r;
  i64 base, cols;

  DEV_MEMBER row(const Ref &r, i64 base, i64 cols) : r(r), base(base), cols(cols) {
    if (KEPT) read((i64)TX * 8);
  }

  DEV_MEMBER void read(i64 i) {
    if (i < cols) ld_up_to8(v, r, base + i, cols - i);
  }

  /* Calls f(i, n, v) for each group of this thread: n elements from i on. */
  template <typename F> DEV_MEMBER void each(F f) {
    i64 i = (i64)TX * 8;
    if (KEPT) {
      if (i < cols) f(i, cols - i, v);
      return;
    }
    for (; i < cols; i += (i64)NT * 8) {
      read(i);
      f(i, cols - i, v);
    }
  }

  /* The group at i, from within each of another row. */
  DEV_MEMBER float (&at(i64 i))[8] {
    if (!KEPT) read(i);
    return v;
  }
};

/* The most threads of a block: kernels.RowKernel keeps to it. */
enum { SHORT_THREADS = 256, ROW_THREADS = 1024, GRAD_THREADS = 512 };

/* A kernel with body<KEPT>(a) for each row of a.cols elements, and its twin name_short for rows of at most eight elements a thread and
 * 2048 in all, which takes fewer registers, so that more rows are under way at a time: short_blocks of 256 threads a multiprocessor. */
#define ROW_KERNEL(name, threads, short_blocks, body)                                                                  \
  KERNEL_BOUNDS(name, threads, 1) {                                                                                    \
    if (a.cols <= (i64)NT * 8) body<true>(a);                                                                          \
    else body<false>(a);                                                                                               \
  }                                                                                                                    \
  typedef name##_args name##_short_args;                                                                               \
  KERNEL_BOUNDS(name##_short, SHORT_THREADS, short_blocks) { body<true>(a); }
