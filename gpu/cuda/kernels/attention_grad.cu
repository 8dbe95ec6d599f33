/* The gradient of attention in float32, without atomics: the statistics of each query's softmax and its gradient in one kernel, those of keys and
 * values in another that takes the queries, and the heads that share keys, in order. Probabilities are computed again each time. */
#include "attention.h"

struct attention_grad_args : attention_args {
  Ref dy, dq, dk, dv;
  i64 dy_batch, dy_head, dy_row, dq_batch, dq_head, dq_row, dk_batch, dk_head, dk_row, dv_batch, dv_head, dv_row;
  u64 stats; /* float32 [batch heads tq 4]: the largest score, 1/the sum, the mean of dy·v, unused */
};
typedef attention_grad_args attention_grad_queries_args, attention_grad_keys_args;

/* Gradients of 64 queries of a head, 128 columns of them: block ((batch·heads + head)·tiles + tile)·groups + group, 256 threads. */
KERNEL_BOUNDS(attention_grad_queries, 256, 1) {
  alignas(16) __shared__ float x[CHUNK][PITCH], y[CHUNK][PITCH], p[TILE][PITCH], z[16][128];
  const i32 groups = (a.width + 127) / 128, tiles = (a.tq + TILE - 1) / TILE;
  const i32 group = (i32)BX % groups, i0 = (i32)BX / groups % tiles * TILE;
  const i64 which = (i32)BX / groups / tiles, batch = which / a.heads, head = which % a.heads, shared = head / a.group;
  const u32 tx = TX & 15, ty = TX >> 4;
  const rows_of q = {a.q, batch * a.q_batch + head * a.q_head, a.q_row}, k = {a.k, batch * a.k_batch + shared * a.k_head, a.k_row},
                v = {a.v, batch * a.v_batch + shared * a.v_head, a.v_row}, dy = {a.dy, batch * a.dy_batch + head * a.dy_head, a.dy_row},
                dq = {a.dq, batch * a.dq_batch + head * a.dq_head, a.dq_row};
  range mine[4];
  float most[4], sum[4], mean[4], o[4][8];
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const i32 row = i0 + (i32)ty * 4 + i;
    mine[i] = row < a.tq ? seen(a, batch, row) : range{0, 0};
    most[i] = minus_infinity(), sum[i] = mean[i] = 0;
#pragma unroll
    for (int j = 0; j < 8; j++) o[i][j] = 0;
  }
  const range all = span(a, batch, i0);
  /* Once over the keys for the statistics, once for the gradient. */
#pragma unroll 1
  for (int round = 0; round < 2; round++) {
#pragma unroll 1
    for (i32 j0 = all.from; j0 < all.to; j0 += TILE) {
      float s[4][4], d[4][4];
      scores(s, x, y, q, i0, a.tq, k, j0, a.tk, a.width, 0);
      scores(d, x, y, dy, i0, a.tq, v, j0, a.tk, a.width, 0);
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
        if (round == 0) {
          m = largest(m);
          m = m > most[i] ? m : most[i];
          const float fade = m == most[i] ? 1.0f : exp32(most[i] - m);
          float t = 0, u = 0;
#pragma unroll
          for (int j = 0; j < 4; j++) {
            const float e = in[j] ? exp32(s[i][j] - m) : 0;
            t += e, u = fma32(e, d[i][j], u);
          }
          sum[i] = fma32(sum[i], fade, total(t)), mean[i] = fma32(mean[i], fade, total(u));
          most[i] = m;
        } else {
#pragma unroll
          for (int j = 0; j < 4; j++)
            p[tx * 4 + (u32)j][ty * 4 + (u32)i] = in[j] ? a.scale * (exp32(s[i][j] - most[i]) * sum[i]) * (d[i][j] - mean[i]) : 0;
        }
      }
      if (round) weigh(o, p, z, k, j0, a.tk, group * 128, a.width, 0);
    }
    if (round == 0)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        sum[i] = sum[i] == 0 ? 0 : 1.0f / sum[i], mean[i] *= sum[i];
        const i32 row = i0 + (i32)ty * 4 + i;
        if (tx == 0 && group == 0 && row < a.tq) store(a.stats, which * a.tq + row, f32x4{most[i], sum[i], mean[i], 0});
      }
  }
  const float one[4] = {1, 1, 1, 1};
  put(dq, i0, a.tq, group * 128, a.width, o, one);
}

/* Gradients of 64 keys and values, 128 columns of them: block ((batch·shared heads + head)·tiles + tile)·groups + group, 256 threads. */
KERNEL_BOUNDS(attention_grad_keys, 256, 1) {
  alignas(16) __shared__ float x[CHUNK][PITCH], y[CHUNK][PITCH], p[TILE][PITCH], z[16][128];
  const i32 groups = (a.width + 127) / 128, tiles = (a.tk + TILE - 1) / TILE, shared_heads = a.heads / a.group;
  const i32 c0 = (i32)BX % groups * 128, j0 = (i32)BX / groups % tiles * TILE;
  const i64 which = (i32)BX / groups / tiles, batch = which / shared_heads, shared = which % shared_heads;
  const u32 tx = TX & 15, ty = TX >> 4;
  const rows_of k = {a.k, batch * a.k_batch + shared * a.k_head, a.k_row}, v = {a.v, batch * a.v_batch + shared * a.v_head, a.v_row},
                dk = {a.dk, batch * a.dk_batch + shared * a.dk_head, a.dk_row}, dv = {a.dv, batch * a.dv_batch + shared * a.dv_head, a.dv_row};
  float ok[4][8], ov[4][8];
#pragma unroll
  for (int i = 0; i < 4; i++)
#pragma unroll
    for (int j = 0; j < 8; j++) ok[i][j] = ov[i][j] = 0;
  i32 first = a.causal ? j0 - (a.tk - a.tq) : 0; /* the first query that sees key j0 */
  first = first < 0 ? 0 : first / TILE * TILE;
#pragma unroll 1
  for (i64 head = shared * a.group; head < (shared + 1) * a.group; head++) {
    const rows_of q = {a.q, batch * a.q_batch + head * a.q_head, a.q_row}, dy = {a.dy, batch * a.dy_batch + head * a.dy_head, a.dy_row};
#pragma unroll 1
    for (i32 i0 = first; i0 < a.tq; i0 += TILE) {
      if (a.starts.ptr) { /* queries of later documents alone */
        const range all = span(a, batch, i0);
        if (all.from >= j0 + TILE || all.to <= j0) continue;
      }
      float s[4][4], d[4][4];
      scores(s, x, y, k, j0, a.tk, q, i0, a.tq, a.width, 0);
      scores(d, x, y, v, j0, a.tk, dy, i0, a.tq, a.width, 0);
#pragma unroll
      for (int j = 0; j < 4; j++) {
        const i32 row = i0 + (i32)tx * 4 + j;
        const range r = row < a.tq ? seen(a, batch, row) : range{0, 0};
        f32x4 stats = {0, 0, 0, 0};
        if (row < a.tq) stats = load<f32x4>(a.stats, (batch * a.heads + head) * a.tq + row);
#pragma unroll
        for (int i = 0; i < 4; i++) {
          const i32 key = j0 + (i32)ty * 4 + i;
          const bool in = key >= r.from && key < r.to;
          s[i][j] = in ? exp32(s[i][j] * a.scale - stats[0]) * stats[1] : 0;
          d[i][j] = in ? a.scale * s[i][j] * (d[i][j] - stats[2]) : 0;
          p[tx * 4 + (u32)j][ty * 4 + (u32)i] = s[i][j];
        }
      }
      weigh(ov, p, z, dy, i0, a.tq, c0, a.width, 0);
      SYNC();
#pragma unroll
      for (int j = 0; j < 4; j++)
#pragma unroll
        for (int i = 0; i < 4; i++) p[tx * 4 + (u32)j][ty * 4 + (u32)i] = d[i][j];
      weigh(ok, p, z, q, i0, a.tq, c0, a.width, 0);
    }
  }
  const float one[4] = {1, 1, 1, 1};
  put(dk, j0, a.tk, c0, a.width, ok, one);
  put(dv, j0, a.tk, c0, a.width, ov, one);
}
