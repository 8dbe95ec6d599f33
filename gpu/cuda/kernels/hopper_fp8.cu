/* Matrix products of e4m3 on Hopper, see hopper_tiles.h, and what makes e4m3 of other types. */
#include "fp8.h"
#include "hopper_tiles.h"

/* 384 threads, as many blocks as multiprocessors or tiles, whichever are fewer, and layout<128>::BYTES of dynamic shared memory. Wider tiles would
 * leave no registers for the sums of a stage. */
typedef hopper_args hopper_e4m3_128_args;
KERNEL_BOUNDS(hopper_e4m3_128, 384, 1) { multiply<E4M3, 128>(a, ARGUMENTS(hopper_e4m3_128, a)); }

/* y [rows y_row] = x [rows cols] / scale [rows] in e4m3, zero beyond cols. A row's scale is its largest absolute value / 448, so that this
 * becomes the largest e4m3, or 1 if that is 0; numbers that are not finite stay so: one that is infinite makes an infinite scale, and itself not
 * a number. Rows of x lie x_row elements apart, of any float type at any address; y_row is a multiple of 16, y of 8. A warp takes a row. */
struct quantise_rows_args {
  u64 y, scale;
  Ref x;
  i64 rows, cols, x_row, y_row;
};
KERNEL(quantise_rows) {
  const i64 row = (i64)BX * (NT / 32) + TX / 32;
  if (row >= a.rows) return;
  float most = 0;
  for (i64 i = LANE * 8; i < a.cols; i += 256) {
    float v[8];
    ld_up_to8(v, a.x, row * a.x_row + i, a.cols - i);
#pragma unroll
    for (int q = 0; q < 8; q++) {
      const float size = from_bits(bits(v[q]) & 0x7fffffff);
      if (size > most) most = size;
    }
  }
#pragma unroll
  for (u32 d = 16; d; d >>= 1) {
    const float other = shfl_xor(most, d);
    if (other > most) most = other;
  }
  float scale = most / 448.0f;
  if (!(scale > 0)) scale = 1; /* also where the quotient is less than the smallest float32 */
  if (LANE == 0) store(a.scale, row, scale);
  for (i64 i = LANE * 8; i < a.y_row; i += 256) {
    float v[8];
    ld_up_to8(v, a.x, row * a.x_row + i, a.cols - i);
    u32 w[2];
#pragma unroll
    for (int q = 0; q < 2; q++)
      w[q] = pack_e4m3(v[4 * q] / scale, v[4 * q + 1] / scale) | pack_e4m3(v[4 * q + 2] / scale, v[4 * q + 3] / scale) << 16;
    store(a.y + (u64)(row * a.y_row + i), 0, u32x2{w[0], w[1]});
  }
}
