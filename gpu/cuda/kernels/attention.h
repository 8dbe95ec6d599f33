/* What the attention kernels share: arguments, which keys a query sees, and the two products of a 64x64 tile in float32 by 256 threads. */
#pragma once
#include "products.h"

struct attention_args {
  Ref y, q, k, v, starts;
  i64 y_batch, y_head, y_row, q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row;
  i32 batch, heads, group; /* group: heads that share a head of keys and values */
  i32 tq, tk, width;
  float scale;
  u32 causal;
  u32 narrow; /* round operands to this type first; 0: leave them */
  u32 pad;
};

/* Keys [from, to) that query i of a batch sees. */
struct range {
  i32 from, to;
};
DEV range seen(const attention_args &a, i64 batch, i32 i) {
  range r = {0, a.causal ? a.tk - a.tq + i + 1 : a.tk};
  if (a.starts.ptr) {
    const i32 s = load<i32>(a.starts.ptr, batch * a.tq + i);
    r.from = s < 0 ? 0 : s < r.to ? s : r.to;
  }
  return r;
}

/* A matrix of some head: rows `row` elements apart from element base of r on. */
struct rows_of {
  Ref r;
  i64 base, row;
};

/* Tiles are 64 rows by 64 columns; thread t has rows 4·(t/16) on and columns 4·(t%16) on. Sums run over 32 columns of the operands at a time
 * through x and y, each [32][68]. */
enum { TILE = 64, PITCH = 68, CHUNK = 32 };

DEV void stage(float (*to)[PITCH], const rows_of &m, i32 first, i32 count, i32 w0, i32 width, u32 narrow) {
  const u32 row = TX & 63, col = TX >> 6 << 3;
  float v[8];
  ld_up_to8(v, m.r, m.base + (first + (i32)row) * m.row + w0 + col, first + (i32)row < count ? width - w0 - (i32)col : 0);
#pragma unroll
  for (u32 q = 0; q < 8; q++) to[col + q][row] = narrow ? round_to(narrow, v[q]) : v[q];
}

/* s = rows of a from i0 on times rows of b from j0 on; rows beyond the counts are 0. */
DEV void scores(float (&s)[4][4], float (*x)[PITCH], float (*y)[PITCH], const rows_of &a, i32 i0, i32 na, const rows_of &b, i32 j0, i32 nb, i32 width, u32 narrow) {
  const u32 tx = TX & 15, ty = TX >> 4;
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 4; j++) s[i][j] = 0;
#pragma unroll 1
  for (i32 w0 = 0; w0 < width; w0 += CHUNK) {
    SYNC();
    stage(x, a, i0, na, w0, width, narrow);
    stage(y, b, j0, nb, w0, width, narrow);
    SYNC();
#pragma unroll 8
    for (int w = 0; w < CHUNK; w++) {
      const f32x4 p = *(const f32x4 *)&x[w][ty * 4], q = *(const f32x4 *)&y[w][tx * 4];
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) s[i][j] = fma32(p[i], q[j], s[i][j]);
    }
  }
}

/* o += weights [64 rows of b][row] times columns [c0, c0+128) of rows of b from j0 on; z is [16][128]. Thread t has rows 4·(t/16) on and columns
 * 4·(t%16) on, and those 64 further. */
DEV void weigh(float (&o)[4][8], float (*weights)[PITCH], float (*z)[128], const rows_of &b, i32 j0, i32 nb, i32 c0, i32 width, u32 narrow) {
  const u32 tx = TX & 15, ty = TX >> 4;
#pragma unroll 1
  for (i32 k0 = 0; k0 < TILE && j0 + k0 < nb; k0 += 16) {
    SYNC();
    {
      const i32 row = j0 + k0 + (i32)(TX >> 4), col = c0 + (i32)(TX & 15) * 8;
      float v[8];
      ld_up_to8(v, b.r, b.base + row * b.row + col, row < nb ? width - col : 0);
#pragma unroll
      for (u32 q = 0; q < 8; q++) z[TX >> 4][(TX & 15) * 8 + q] = narrow ? round_to(narrow, v[q]) : v[q];
    }
    SYNC();
#pragma unroll 8
    for (int k = 0; k < 16; k++) {
      const f32x4 p = *(const f32x4 *)&weights[k0 + k][ty * 4], q = *(const f32x4 *)&z[k][tx * 4], r = *(const f32x4 *)&z[k][64 + tx * 4];
#pragma unroll
      for (int i = 0; i < 4; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) o[i][j] = fma32(p[i], q[j], o[i][j]), o[i][4 + j] = fma32(p[i], r[j], o[i][4 + j]);
    }
  }
}

/* Writes o·factor[row] to columns [c0, c0+128) of rows from i0 on. */
DEV void put(const rows_of &y, i32 i0, i32 n, i32 c0, i32 width, const float (&o)[4][8], const float (&factor)[4]) {
  const u32 tx = TX & 15, ty = TX >> 4;
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const i32 row = i0 + (i32)ty * 4 + i, col = c0 + h * 64 + (i32)tx * 4;
      if (row >= n || col >= width) continue;
      float v[4];
#pragma unroll
      for (int j = 0; j < 4; j++) v[j] = factor[i] == 0 ? 0 : o[i][h * 4 + j] * factor[i];
      st_n(y.r, y.base + row * y.row + col, width - col, v);
    }
}

/* The largest, or the sum, of the values of the 16 threads that share rows. */
DEV float largest(float v) {
#pragma unroll
  for (u32 m = 8; m; m >>= 1) {
    const float w = shfl_xor(v, m);
    v = w > v ? w : v;
  }
  return v;
}
DEV float total(float v) {
#pragma unroll
  for (u32 m = 8; m; m >>= 1) v += shfl_xor(v, m);
  return v;
}

DEV float minus_infinity() { return -__builtin_inff(); }

/* Keys that some of the queries [i0, i0+64) see, the first rounded down to a whole tile: tiles lie the same for every query. */
DEV range span(const attention_args &a, i64 batch, i32 i0) {
  const i32 end = i0 + TILE < a.tq ? i0 + TILE : a.tq;
  range r = {0, seen(a, batch, end - 1).to};
  if (a.starts.ptr) {
    r.from = a.tk;
#pragma unroll 1
    for (i32 i = i0; i < end; i++) {
      const range s = seen(a, batch, i);
      if (s.from < s.to && s.from < r.from) r.from = s.from;
    }
    r.from = r.from / TILE * TILE;
  }
  return r;
}
