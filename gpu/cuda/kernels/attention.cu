/* Attention for operands of any float type, width and length, in float32: 64 queries of a head against 64 keys at a time, the softmax kept up
 * with as keys come. A row's sums are taken in the order of the keys, in tiles that lie the same for every query. */
#include "attention.h"

/* A block of 256 threads has 64 queries of a head and 128 columns of the result: block ((batch·heads + head)·tiles + tile)·groups + group. */
KERNEL_BOUNDS(attention, 256, 2) {
  alignas(16) __shared__ float x[CHUNK][PITCH], y[CHUNK][PITCH], p[TILE][PITCH], z[16][128];
  const i32 groups = (a.width + 127) / 128, tiles = (a.tq + TILE - 1) / TILE;
  const i32 c0 = (i32)BX % groups * 128, i0 = (i32)BX / groups % tiles * TILE;
  const i64 which = (i32)BX / groups / tiles, batch = which / a.heads, head = which % a.heads, shared = head / a.group;
  const u32 tx = TX & 15, ty = TX >> 4;
  const rows_of q = {a.q, batch * a.q_batch + head * a.q_head, a.q_row}, k = {a.k, batch * a.k_batch + shared * a.k_head, a.k_row},
                v = {a.v, batch * a.v_batch + shared * a.v_head, a.v_row}, to = {a.y, batch * a.y_batch + head * a.y_head, a.y_row};
  range mine[4];
  float most[4], sum[4], o[4][8];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const i32 row = i0 + (i32)ty * 4 + i;
    mine[i] = row < a.tq ? seen(a, batch, row) : range{0, 0};
    most[i] = minus_infinity(), sum[i] = 0;
#pragma unroll
    for (int j = 0; j < 8; j++) o[i][j] = 0;
  }
  const range all = span(a, batch, i0);
#pragma unroll 1
  for (i32 j0 = all.from; j0 < all.to; j0 += TILE) {
    float s[4][4];
    scores(s, x, y, q, i0, a.tq, k, j0, a.tk, a.width, a.narrow);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      float m = minus_infinity();
      bool in[4];
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const i32 key = j0 + (i32)tx * 4 + j;
        in[j] = key >= mine[i].from && key < mine[i].to;
        s[i][j] *= a.scale;
        if (in[j] && !(s[i][j] <= m)) m = s[i][j];
      }
      m = largest(m);
      m = m > most[i] ? m : most[i];
      const float fade = m == most[i] ? 1.0f : exp32(most[i] - m); /* 1 while nothing was seen, too */
      float t = 0;
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const float e = in[j] ? exp32(s[i][j] - m) : 0;
        p[tx * 4 + (u32)j][ty * 4 + (u32)i] = e;
        t += e;
      }
      sum[i] = fma32(sum[i], fade, total(t));
      most[i] = m;
#pragma unroll
      for (int j = 0; j < 8; j++) o[i][j] *= fade;
    }
    weigh(o, p, z, v, j0, a.tk, c0, a.width, a.narrow);
  }
  float factor[4];
#pragma unroll
  for (int i = 0; i < 4; i++) factor[i] = sum[i] == 0 ? 0 : 1.0f / sum[i];
  put(to, i0, a.tq, c0, a.width, o, factor);
}
