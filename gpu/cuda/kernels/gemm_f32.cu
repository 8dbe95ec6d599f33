/* Matrix products in float32 without tensor cores. Each element is one chain of fused multiply-adds over k in ascending order from 0, whatever
 * the tile, so that its bits depend on its row and column alone. Operands may be of any float type and at any address. */
#include "products.h"

/* One tile of T x T with 256 threads. AK: A is [m k] in memory, else [k m]. BK: B is [n k], else [k n]. Steps of 16 along k, the first of them only to fetch: the
 * next step's operands are on their way to registers while one is computed. */
template <int T, bool K> DEV void fetch(float (&v)[8], const Ref &r, i64 base, i64 row, u32 t, int first, int count, int k0, int k) {
  if (K) {
    const int i = first + (int)(t >> 1), at = k0 + (int)(t & 1) * 8;
    ld_up_to8(v, r, base + i * row + at, i < count ? k - at : 0);
  } else {
    const int at = k0 + (int)(t / (T / 8)), i = first + (int)(t % (T / 8)) * 8;
    ld_up_to8(v, r, base + at * row + i, at < k ? count - i : 0);
  }
}

template <int T, bool K> DEV void stash(float (*s)[T + 4], const float (&v)[8], u32 t, u32 narrow) {
#pragma unroll
  for (int q = 0; q < 8; q++) {
    const float x = narrow ? round_to(narrow, v[q]) : v[q];
    if (K) s[(t & 1) * 8 + q][t >> 1] = x;
    else s[t / (T / 8)][t % (T / 8) * 8 + q] = x;
  }
}

template <int T, bool AK, bool BK> DEV void multiply(const product_args &a) {
  alignas(16) __shared__ float both[2][2][16][T + 4];
  auto &sa = both[0], &sb = both[1];
  constexpr int R = T / 16; /* elements of a thread along either side, in fours 64 apart */
  const u32 t = TX, tx = t & 15, ty = t >> 4;
  const u32 tm = (u32)(a.m + T - 1) / T, tn = (u32)(a.n + T - 1) / T, tiles = tm * tn;
  u32 tr, tc;
  tile_of(BX % tiles, tm, tn, tr, tc);
  const i64 z = BX / tiles, batch = z / a.heads, head = z % a.heads;
  const i64 abase = batch * a.a_batch + head * a.a_head, bbase = batch * a.b_batch + head * a.b_head;
  const int m0 = (int)tr * T, n0 = (int)tc * T;
  /* With T = 64 half of the threads fetch A, the others B; with 128 each fetches both. */
  const u32 ta = t, tb = T == 128 ? t : t - 128;
  const bool fa = T == 128 || t < 128, fb = T == 128 || t >= 128;
  float va[8], vb[8], acc[R][R];
#pragma unroll
  for (int i = 0; i < R; i++)
#pragma unroll
    for (int j = 0; j < R; j++) acc[i][j] = 0;
  for (int k0 = -16, s = 1; k0 < a.k; k0 += 16, s ^= 1) {
    const bool more = k0 + 16 < a.k;
    if (more && fa) fetch<T, AK>(va, a.a, abase, a.a_row, ta, m0, a.m, k0 + 16, a.k);
    if (more && fb) fetch<T, BK>(vb, a.b, bbase, a.b_row, tb, n0, a.n, k0 + 16, a.k);
    if (k0 >= 0) {
#pragma unroll
      for (int k = 0; k < 16; k++) {
        float x[R], y[R];
#pragma unroll
        for (int i = 0; i < R; i += 4) {
          const f32x4 p = *(const f32x4 *)&sa[s][k][ty * 4 + i * 16], q = *(const f32x4 *)&sb[s][k][tx * 4 + i * 16];
#pragma unroll
          for (int e = 0; e < 4; e++) x[i + e] = p[e], y[i + e] = q[e];
        }
#pragma unroll
        for (int i = 0; i < R; i++)
#pragma unroll
          for (int j = 0; j < R; j++) acc[i][j] = fma32(x[i], y[j], acc[i][j]);
      }
    }
    if (more && fa) stash<T, AK>(sa[s ^ 1], va, ta, a.narrow);
    if (more && fb) stash<T, BK>(sb[s ^ 1], vb, tb, a.narrow);
    SYNC();
  }
  /* Sums leave by shared memory, 64 rows at a time, so that each thread stores eight of a row at once. */
  const i64 base = batch * a.c_batch + head * a.c_head;
  float(*out)[T] = (float(*)[T])both;
  static_assert(sizeof both >= 64 * T * 4, "64 rows of sums must fit");
#pragma unroll 1
  for (int half = 0; half < R / 4; half++) {
#pragma unroll
    for (int i = 0; i < 4; i++)
#pragma unroll
      for (int j = 0; j < R; j += 4) {
        f32x4 v;
#pragma unroll
        for (int e = 0; e < 4; e++) v[e] = half ? acc[R - 4 + i][j + e] : acc[i][j + e];
        *(f32x4 *)&out[ty * 4 + (u32)i][tx * 4 + (u32)j * 16] = v;
      }
    SYNC();
#pragma unroll 1
    for (u32 at = t; at < 64 * T / 8; at += 256) {
      const u32 row = at / (T / 8), col = at % (T / 8) * 8;
      float v[8];
#pragma unroll
      for (int q = 0; q < 8; q++) v[q] = out[row][col + (u32)q];
      finish(a, base, m0 + half * 64 + (int)row, n0 + (int)col, v);
    }
    SYNC();
  }
}

/* nt: A [m k], B [n k]; nn: A [m k], B [k n]; tn: A [k m], B [k n]. 256 threads; a block for each tile of each matrix. */
#define PRODUCT(name, T, AK, BK)                                             \
  struct name##_args : product_args {};                                      \
  KERNEL_BOUNDS(name, 256, 1) { multiply<T, AK, BK>(a); }
PRODUCT(gemm_f32_nt_128, 128, true, true)
PRODUCT(gemm_f32_nn_128, 128, true, false)
PRODUCT(gemm_f32_tn_128, 128, false, false)
PRODUCT(gemm_f32_nt_64, 64, true, true)
PRODUCT(gemm_f32_nn_64, 64, true, false)
PRODUCT(gemm_f32_tn_64, 64, false, false)
