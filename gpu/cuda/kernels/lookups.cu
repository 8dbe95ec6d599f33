/* Rows by number, numbers by row, and pixels. */
#include "dev.h"

/* Row ids[i] of a table [limit cols], whose rows lie stride elements apart, to row i of y. */
struct lookup_args {
  Ref y, table;
  u64 ids, err;
  i64 n, cols, stride, limit;
  u32 op, pad;
};
FLAT_KERNEL(lookup) {
  const i64 groups = (a.cols + 7) / 8;
  for (i64 g = (i64)BX * NT + TX; g < a.n * groups; g += (i64)GX * NT) {
    const i64 r = g / groups, i = g % groups * 8;
    const i32 id = load<i32>(a.ids, r);
    if (id < 0 || id >= a.limit) {
      if (i == 0) out_of_range(a.err, a.op, (u64)r, id, a.limit);
      continue;
    }
    float x[8];
    ld_up_to8(x, a.table, id * a.stride + i, a.cols - i);
    st_up_to8(a.y, r * a.cols + i, a.cols - i, x);
  }
}

/* Row from[i] of x [from_limit cols] to row to[i] of y [to_limit cols]. */
struct scatter_rows_args {
  Ref y, x;
  u64 to, from, err;
  i64 n, cols, to_limit, from_limit;
};
FLAT_KERNEL(scatter_rows) {
  const i64 groups = (a.cols + 7) / 8;
  for (i64 g = (i64)BX * NT + TX; g < a.n * groups; g += (i64)GX * NT) {
    const i64 r = g / groups, i = g % groups * 8;
    const i32 to = load<i32>(a.to, r), from = load<i32>(a.from, r);
    if (to < 0 || to >= a.to_limit || from < 0 || from >= a.from_limit) {
      const bool source = from < 0 || from >= a.from_limit;
      if (i == 0) out_of_range(a.err, OP_SCATTER_ROWS, (u64)r, source ? from : to, source ? a.from_limit : a.to_limit);
      continue;
    }
    float x[8];
    ld_up_to8(x, a.x, from * a.cols + i, a.cols - i);
    st_up_to8(a.y, to * a.cols + i, a.cols - i, x);
  }
}

/* Patches [images (size/patch)² 3 patch patch] of images [size size 3] of bytes, each value through table [3 256]. Threads write eight
 * elements; grid y is the image, from `first` on. */
struct patches_args {
  Ref y;
  u64 pixels, table;
  u32 size, patch, first, pad;
};
template <u32 SIZE, u32 PATCH> DEV void patches_of(const patches_args &a) {
  const u32 size = SIZE ? SIZE : a.size, patch = PATCH ? PATCH : a.patch, side = size / patch, square = patch * patch;
  const u32 each = 3 * square * side * side, i = (BX * NT + TX) * 8;
  if (i >= each) return;
  const u64 image = a.first + BY;
  const u64 pixels = a.pixels + image * (u64)(size * size * 3);
  float v[8];
#pragma unroll
  for (u32 q = 0; q < 8; q++) {
    const u32 e = i + q < each ? i + q : i;
    const u32 p = e / (3 * square), in = e % (3 * square), c = in / square, at = in % square;
    const u32 y = p / side * patch + at / patch, x = p % side * patch + at % patch;
    v[q] = load<float>(a.table, c * 256 + load<u8>(pixels, (y * size + x) * 3 + c));
  }
  st_up_to8(a.y, (i64)(image * each) + i, (i64)each - i, v);
}
FLAT_KERNEL(patches) {
  if (a.size == 224 && a.patch == 14) patches_of<224, 14>(a);
  else patches_of<0, 0>(a);
}

/* The number of the table row E nearest to each row z of x: the least (|z|² + |E|²) - 2·z·E, the lowest number on ties. With half every
 * step is rounded to float16, as the published float16 model does: z² element by element, sums, z·E, the difference.
 *
 * A block has NEAREST_ROWS rows of x in shared memory, a thread every NT-th row of the table. The sums over the columns run in order. */
struct nearest_args {
  Ref x, table, norms;
  u64 ids;
  i64 n, rows, cols, stride; /* stride: elements between rows of the table */
  u32 half, pad;
};
enum { NEAREST_ROWS = 8 };

DEV float rounded(u32 half, float x) { return half ? from_f16(to_f16(x)) : x; }

/* Adds v times column elements of all rows of x. */
DEV void add_products(float (&dot)[NEAREST_ROWS], const float *z, float v) {
  const f32x4 lo = *(const f32x4 *)z, hi = *(const f32x4 *)(z + 4);
#pragma unroll
  for (int r = 0; r < 4; r++) dot[r] = fma32(lo[r], v, dot[r]), dot[4 + r] = fma32(hi[r], v, dot[4 + r]);
}

KERNEL_BOUNDS(nearest, 256, 2) {
  __shared__ float length[NEAREST_ROWS], best_of[8][NEAREST_ROWS];
  __shared__ i32 at_of[8][NEAREST_ROWS];
  float *z = (float *)dynamic(); /* [cols][NEAREST_ROWS] */
  const i64 first = (i64)BX * NEAREST_ROWS;
  for (i64 i = TX; i < a.cols * NEAREST_ROWS; i += NT) {
    const i64 k = i / NEAREST_ROWS, r = first + i % NEAREST_ROWS;
    z[i] = r < a.n ? rounded(a.half, ld(a.x, r * a.cols + k)) : 0;
  }
  SYNC();
  if (TX < NEAREST_ROWS) {
    float s = 0;
    for (i64 k = 0; k < a.cols; k++) {
      const float v = z[k * NEAREST_ROWS + TX];
      s += rounded(a.half, v * v);
    }
    length[TX] = rounded(a.half, s);
  }
  SYNC();
  float best[NEAREST_ROWS];
  i32 at[NEAREST_ROWS];
#pragma unroll
  for (int r = 0; r < NEAREST_ROWS; r++) best[r] = __builtin_inff(), at[r] = 0;
  for (i64 j = TX; j < a.rows; j += NT) {
    float dot[NEAREST_ROWS];
#pragma unroll
    for (int r = 0; r < NEAREST_ROWS; r++) dot[r] = 0;
    if (a.cols == 32 && a.table.type == F32 && aligned8(a.table, j * a.stride)) { /* SEED's: the whole row on its way at once */
      f32x4 e[8];
#pragma unroll
      for (int k = 0; k < 8; k++) e[k] = load<f32x4>(a.table.ptr + 4 * j * a.stride, k);
#pragma unroll
      for (int k = 0; k < 32; k++) add_products(dot, z + k * NEAREST_ROWS, rounded(a.half, e[k / 4][k % 4]));
    } else {
      for (i64 k = 0; k < a.cols; k++) add_products(dot, z + k * NEAREST_ROWS, rounded(a.half, ld(a.table, j * a.stride + k)));
    }
    const float norm = rounded(a.half, ld(a.norms, j));
#pragma unroll
    for (int r = 0; r < NEAREST_ROWS; r++) {
      const float d = rounded(a.half, rounded(a.half, length[r] + norm) - 2 * rounded(a.half, dot[r]));
      if (d < best[r]) best[r] = d, at[r] = (i32)j;
    }
  }
#pragma unroll
  for (int r = 0; r < NEAREST_ROWS; r++) {
#pragma unroll
    for (u32 m = 16; m; m >>= 1) {
      const float d = shfl_xor(best[r], m);
      const i32 j = (i32)shfl_xor((u32)at[r], m);
      if (d < best[r] || (d == best[r] && j < at[r])) best[r] = d, at[r] = j;
    }
    if (LANE == 0) best_of[TX / 32][r] = best[r], at_of[TX / 32][r] = at[r];
  }
  SYNC();
  if (TX >= NEAREST_ROWS || first + TX >= a.n) return;
  float d = best_of[0][TX];
  i32 j = at_of[0][TX];
  for (u32 w = 1; w < NT / 32; w++) {
    const float other = best_of[w][TX];
    if (other < d || (other == d && at_of[w][TX] < j)) d = other, j = at_of[w][TX];
  }
  store(a.ids, first + TX, j);
}
