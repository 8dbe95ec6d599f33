/* Matrix products of float16 or bfloat16 on tensor cores (sm_80 and later) with float32 sums. The sum of an element is made of the same steps
 * in the same order whatever the tile, so that a row's bits depend neither on how many there are nor on which kernel was taken. Rows of A and B
 * must begin at multiples of 16 bytes; their last eight elements must be readable, and zero beyond k or (nn) not wanted beyond n. */
#include "mma.h"
#include "products.h"

enum { STEP = 32, STAGES = 4 };

/* Shared memory is cut into pieces of 16 bytes; the low bits of a piece's number are mixed with its row's, so that eight rows of one column
 * lie in different banks. Rows of 64 bytes: */
DEV u32 narrow_piece(u32 row, u32 piece) { return (row * 4 + (piece ^ (row >> 1 & 3))) * 16; }
/* and rows of TN 16-bit elements. */
template <int TN> DEV u32 wide_piece(u32 row, u32 piece) { return (row * (TN / 8) + (piece ^ (row & 7))) * 16; }

/* A tile of TM x TN by WM x WN warps. BK: B is [n k] in memory, else [k n]. */
template <u32 type, bool BK, int TM, int TN, int WM, int WN> DEV void multiply(const product_args &a) {
  constexpr int THREADS = WM * WN * 32, MT = TM / WM / 16, NT8 = TN / WN / 8, STAGE = (TM + TN) * STEP * 2;
  const u32 t = TX, lane = LANE, warp = t >> 5, wm = warp % WM * (TM / WM), wn = warp / WM * (TN / WN);
  u32 tr, tc;
  tile_of(BX, (u32)(a.m + TM - 1) / TM, (u32)(a.n + TN - 1) / TN, tr, tc);
  const int m0 = (int)tr * TM, n0 = (int)tc * TN, steps = (a.k + STEP - 1) / STEP;
  const u32 shared = smem(dynamic());

  auto fetch = [&](int step) {
    if (step < steps) {
      const u32 sa = shared + (u32)(step % STAGES) * STAGE, sb = sa + TM * STEP * 2;
      const int k0 = step * STEP;
#pragma unroll
      for (int i = 0; i < TM * 4; i += THREADS) {
        const u32 at = t + (u32)i, row = at >> 2, piece = at & 3;
        if (TM * 4 % THREADS && at >= TM * 4) break;
        const int r = m0 + (int)row, k = k0 + (int)piece * 8;
        const bool in = r < a.m && k < a.k;
        cp_async16(sa + narrow_piece(row, piece), a.a.ptr + (in ? 2 * (u64)(r * a.a_row + k) : 0), in ? 16 : 0);
      }
#pragma unroll
      for (int i = 0; i < TN * 4; i += THREADS) {
        const u32 at = t + (u32)i;
        if (BK) {
          const u32 row = at >> 2, piece = at & 3;
          const int c = n0 + (int)row, k = k0 + (int)piece * 8;
          const bool in = c < a.n && k < a.k;
          cp_async16(sb + narrow_piece(row, piece), a.b.ptr + (in ? 2 * (u64)(c * a.b_row + k) : 0), in ? 16 : 0);
        } else {
          const u32 row = at / (TN / 8), piece = at % (TN / 8);
          const int k = k0 + (int)row, c = n0 + (int)piece * 8;
          const bool in = k < a.k && c < a.n;
          cp_async16(sb + wide_piece<TN>(row, piece), a.b.ptr + (in ? 2 * (u64)(k * a.b_row + c) : 0), in ? 16 : 0);
        }
      }
    }
    cp_async_commit();
  };

  float acc[MT][NT8][4];
#pragma unroll
  for (int i = 0; i < MT; i++)
#pragma unroll
    for (int j = 0; j < NT8; j++)
#pragma unroll
      for (int q = 0; q < 4; q++) acc[i][j][q] = 0;
  for (int s = 0; s < STAGES - 1; s++) fetch(s);
  for (int step = 0; step < steps; step++) {
    cp_async_wait<STAGES - 2>();
    SYNC();
    fetch(step + STAGES - 1);
    const u32 sa = shared + (u32)(step % STAGES) * STAGE, sb = sa + TM * STEP * 2;
#pragma unroll
    for (u32 k = 0; k < STEP / 16; k++) {
      u32 fa[MT][4], fb[NT8 / 2][4];
#pragma unroll
      for (int i = 0; i < MT; i++) ldmatrix4(fa[i], sa + narrow_piece(wm + (u32)i * 16 + (lane & 15), k * 2 + (lane >> 4)));
#pragma unroll
      for (int j = 0; j < NT8 / 2; j++) {
        if (BK) ldmatrix4(fb[j], sb + narrow_piece(wn + (u32)j * 16 + (lane & 7) + (lane >> 4) * 8, k * 2 + (lane >> 3 & 1)));
        else ldmatrix4_trans(fb[j], sb + wide_piece<TN>(k * 16 + (lane & 15), (wn >> 3) + (u32)j * 2 + (lane >> 4)));
      }
#pragma unroll
      for (int i = 0; i < MT; i++)
#pragma unroll
        for (int j = 0; j < NT8; j++) mma16<type>(acc[i][j], fa[i], fb[j / 2][j % 2 * 2], fb[j / 2][j % 2 * 2 + 1]);
    }
  }
  cp_async_wait<0>();
  SYNC();
  /* Sums leave by shared memory, so that each thread stores eight of a row at once. Eights of a row are mixed as above. */
  float *out = (float *)dynamic();
  static_assert(TM * TN * 4 <= STAGE * STAGES, "the sums must fit");
  auto place = [&](u32 row, u32 col) { return row * TN + (col ^ (row & 7) << 3); };
#pragma unroll
  for (int i = 0; i < MT; i++)
#pragma unroll
    for (int j = 0; j < NT8; j++)
#pragma unroll
      for (int q = 0; q < 4; q++)
        out[place(wm + (u32)i * 16 + (lane >> 2) + (u32)q / 2 * 8, wn + (u32)j * 8 + (lane & 3) * 2) + (u32)q % 2] = acc[i][j][q];
  SYNC();
#pragma unroll 1
  for (u32 at = t; at < TM * TN / 8; at += THREADS) {
    const u32 row = at / (TN / 8), col = at % (TN / 8) * 8;
    float v[8];
#pragma unroll
    for (int q = 0; q < 8; q++) v[q] = out[place(row, col) + (u32)q];
    finish(a, 0, m0 + (int)row, n0 + (int)col, v);
  }
}

/* Tiles of 128x128 with 256 threads and 64 KiB, for few rows 32x64 with 128 threads and 24 KiB of dynamic shared memory. A block a tile. */
#define PRODUCT(name, type, BK)                                                     \
  struct name##_128_args : product_args {};                                         \
  KERNEL_BOUNDS(name##_128, 256, 2) { multiply<type, BK, 128, 128, 2, 4>(a); }      \
  struct name##_32_args : product_args {};                                          \
  KERNEL_BOUNDS(name##_32, 128, 4) { multiply<type, BK, 32, 64, 1, 4>(a); }
PRODUCT(gemm_f16_nt, F16, true)
PRODUCT(gemm_f16_nn, F16, false)
PRODUCT(gemm_bf16_nt, BF16, true)
PRODUCT(gemm_bf16_nn, BF16, false)

/* y [rows y_row] = x [rows cols], rows x_row apart, in the type of y, zero beyond cols: operands as the kernels above want them. y_row is a
 * multiple of 8; a thread takes 8 elements at a time. */
struct pad_rows_args {
  Ref y, x;
  i64 rows, cols, x_row, y_row;
};
FLAT_KERNEL(pad_rows) {
  const i64 pieces = a.y_row / 8;
  for (i64 i = (i64)BX * NT + TX; i < a.rows * pieces; i += (i64)GX * NT) {
    const i64 row = i / pieces, col = i % pieces * 8;
    float v[8];
    ld_up_to8(v, a.x, row * a.x_row + col, a.cols - col);
    st_up_to8(a.y, row * a.y_row + col, 8, v);
  }
}

/* What follows a product whose sums were stored by something else: a.a holds them, in the type of C and perhaps in its place. */
struct finish_rows_args : product_args {};
FLAT_KERNEL(finish_rows) {
  const i64 pieces = (a.n + 7) / 8;
  for (i64 i = (i64)BX * NT + TX; i < a.m * pieces; i += (i64)GX * NT) {
    const i64 row = i / pieces, col = i % pieces * 8;
    float v[8];
    ld_n(v, a.a, row * a.a_row + col, (int)(a.n - col));
    finish(a, 0, (int)row, (int)col, v);
  }
}
