/* The gradients of elementwise and row operations, the loss, and the optimizer's step. Sums over rows go in two stages, parts of
 * PART_ROWS rows in order and then the parts in order, so that they are the same whatever runs when. */
#include "rows.h"

#define EACH_EIGHT(n) for (i64 i = ((i64)BX * NT + TX) * 8; i < (n); i += (i64)GX * NT * 8)

/* dx = dy·f'(x). */
struct apply_grad_args {
  Ref dx, dy, x;
  i64 n;
  u32 f, pad;
};
FLAT_KERNEL(apply_grad) {
  EACH_EIGHT(a.n) {
    float x[8], d[8];
    ld_up_to8(x, a.x, i, a.n - i);
    ld_up_to8(d, a.dy, i, a.n - i);
#pragma unroll
    for (int q = 0; q < 8; q++) d[q] *= slope(a.f, x[q]);
    st_up_to8(a.dx, i, a.n - i, d);
  }
}

/* The gradient of SiLU(g)·u. */
struct gate_grad_args {
  Ref dg, du, dy, g, u;
  i64 n;
};
FLAT_KERNEL(gate_grad) {
  EACH_EIGHT(a.n) {
    float d[8], g[8], u[8];
    ld_up_to8(d, a.dy, i, a.n - i);
    ld_up_to8(g, a.g, i, a.n - i);
    ld_up_to8(u, a.u, i, a.n - i);
#pragma unroll
    for (int q = 0; q < 8; q++) {
      float rest;
      const float x = g[q], s = sigmoid(x, &rest);
      g[q] = d[q] * u[q] * s * fma32(x, rest, 1.0f);
      u[q] = d[q] * x * s;
    }
    st_up_to8(a.dg, i, a.n - i, g);
    st_up_to8(a.du, i, a.n - i, u);
  }
}

/* dx = scale·y·(dy - Σ y·dy) for rows y of a softmax. */
struct softmax_grad_args {
  Ref dx, dy, y;
  i64 cols;
  float scale;
  u32 pad;
};
template <bool KEPT> DEV void softmax_grad_row(const softmax_grad_args &a) {
  const i64 base = (i64)BX * a.cols;
  row<KEPT> y(a.y, base, a.cols), dy(a.dy, base, a.cols);
  float s = 0;
  y.each([&](i64 i, i64, const float (&v)[8]) {
    const float(&d)[8] = dy.at(i);
#pragma unroll
    for (int q = 0; q < 8; q++) s = fma32(v[q], d[q], s);
  });
  s = block_sum<0>(s);
  y.each([&](i64 i, i64 n, const float (&v)[8]) {
    const float(&d)[8] = dy.at(i);
    float out[8];
#pragma unroll
    for (int q = 0; q < 8; q++) out[q] = a.scale * v[q] * (d[q] - s);
    st_up_to8(a.dx, base + i, n, out);
  });
}
ROW_KERNEL(softmax_grad, ROW_THREADS, 4, softmax_grad_row)

/* The gradient of a norm to its input: with g = dy·weight and n = (x - mean)·factor, factor·(g - mean(g) - n·mean(g·n)); without the mean
 * of g, and mean = 0, for the RMS norm. Where stats is given, only mean and factor of each row are written there. */
struct norm_grad_args {
  Ref dx, dy, x, weight;
  u64 stats; /* float32 [rows 2] */
  i64 cols;
  float eps;
  u32 centered;
};
template <bool KEPT> DEV void norm_grad_row(const norm_grad_args &a) {
  const i64 base = (i64)BX * a.cols;
  const float count = (float)a.cols;
  row<KEPT> x(a.x, base, a.cols);
  float mean = 0, s = 0;
  if (a.centered) {
    x.each([&](i64, i64, const float (&v)[8]) {
#pragma unroll
      for (int q = 0; q < 8; q++) s += v[q];
    });
    mean = block_sum<0>(s) / count;
  }
  s = 0;
  x.each([&](i64, i64 n, const float (&v)[8]) {
#pragma unroll
    for (int q = 0; q < 8; q++) {
      const float d = q < n ? v[q] - mean : 0;
      s = fma32(d, d, s);
    }
  });
  const float factor = 1.0f / sqrt32(block_sum<1>(s) / count + a.eps);
  if (a.stats) {
    if (TX == 0) store(a.stats, 2 * (i64)BX, mean), store(a.stats, 2 * (i64)BX + 1, factor);
    return;
  }
  row<KEPT> dy(a.dy, base, a.cols);
  float sum = 0, along = 0;
  x.each([&](i64 i, i64 n, const float (&v)[8]) {
    const float(&d)[8] = dy.at(i);
    float w[8];
    ld_up_to8(w, a.weight, i, n);
#pragma unroll
    for (int q = 0; q < 8; q++) { /* what is beyond the row is 0 in w */
      const float g = d[q] * w[q];
      if (q < n) sum += g, along = fma32(g, (v[q] - mean) * factor, along);
    }
  });
  sum = a.centered ? block_sum<2>(sum) / count : 0;
  along = block_sum<3>(along) / count;
  x.each([&](i64 i, i64 n, const float (&v)[8]) {
    const float(&d)[8] = dy.at(i);
    float w[8];
    ld_up_to8(w, a.weight, i, n);
#pragma unroll
    for (int q = 0; q < 8; q++) w[q] = factor * (d[q] * w[q] - sum - (v[q] - mean) * factor * along);
    st_up_to8(a.dx, base + i, n, w);
  });
}
ROW_KERNEL(norm_grad, GRAD_THREADS, 4, norm_grad_row)

/* Parts of the gradients of a norm's parameters, or of a sum of rows: part BY is of rows BY·PART_ROWS on, a thread has a column. Without
 * stats only the sums of dy are made; a part whose address is 0 is left out. */
struct column_parts_args {
  Ref dy, x;
  u64 stats;           /* of norm_grad, or 0 */
  u64 weights, biases; /* float32 [parts cols]: Σ dy·(x - mean)·factor, Σ dy */
  i64 rows, cols;
};
enum { PART_ROWS = 64 };
FLAT_KERNEL(column_parts) {
  const i64 j = (i64)BX * NT + TX, from = (i64)BY * PART_ROWS;
  if (j >= a.cols) return;
  const i64 to = from + PART_ROWS < a.rows ? from + PART_ROWS : a.rows;
  float w = 0, b = 0;
  for (i64 r = from; r < to; r++) {
    const float d = ld(a.dy, r * a.cols + j);
    b += d;
    if (a.stats) w = fma32(d, (ld(a.x, r * a.cols + j) - load<float>(a.stats, 2 * r)) * load<float>(a.stats, 2 * r + 1), w);
  }
  if (a.weights) store(a.weights, (i64)BY * a.cols + j, w);
  if (a.biases) store(a.biases, (i64)BY * a.cols + j, b);
}

/* y += the sum of parts [parts cols], in order. */
struct add_parts_args {
  Ref y;
  u64 values;
  i64 parts, cols;
};
FLAT_KERNEL(add_parts) {
  const i64 j = (i64)BX * NT + TX;
  if (j >= a.cols) return;
  float s = 0;
  for (i64 p = 0; p < a.parts; p++) s += load<float>(a.values, p * a.cols + j);
  st(a.y, j, ld(a.y, j) + s);
}

/* Adds row from[i] of x to row to[i] of y, in the order of i. Block i has the row of y if no earlier i names it; it looks through the
 * later ones. Unless all numbers are in range, a row may get a part of its sums: the record says so. */
struct add_rows_args {
  Ref y, x;
  u64 to, from, err;
  i64 n, cols, to_limit, from_limit;
};
KERNEL_BOUNDS(add_rows, 256, 1) {
  __shared__ u32 found[8];
  const i64 me = BX;
  const i32 row = load<i32>(a.to, me);
  const u32 warps = NT / 32;
  bool mine = true;
  for (i64 i = TX; i < me; i += NT) mine = mine && load<i32>(a.to, i) != row;
  const u32 others = ballot(!mine);
  if (LANE == 0) found[TX / 32] = others;
  SYNC();
  for (u32 w = 0; w < warps; w++) mine = mine && found[w] == 0;
  const i32 source = load<i32>(a.from, me);
  if (TX == 0) {
    if (row < 0 || row >= a.to_limit) out_of_range(a.err, OP_ADD_ROWS, (u64)me, row, a.to_limit);
    else if (source < 0 || source >= a.from_limit) out_of_range(a.err, OP_ADD_ROWS, (u64)me, source, a.from_limit);
  }
  if (!mine || row < 0 || row >= a.to_limit) return;
  for (i64 base = me; base < a.n; base += NT) {
    const i64 i = base + TX;
    const u32 hits = ballot(i < a.n && load<i32>(a.to, i < a.n ? i : me) == row);
    SYNC(); /* found has been read */
    if (LANE == 0) found[TX / 32] = hits;
    SYNC();
    for (u32 w = 0; w < warps; w++) {
      for (u32 left = found[w]; left; left &= left - 1) {
        const i32 from = load<i32>(a.from, base + w * 32 + (u32)__builtin_ctz(left));
        if (from < 0 || from >= a.from_limit) continue;
        for (i64 j = (i64)TX * 8; j < a.cols; j += (i64)NT * 8) {
          float x[8], y[8];
          ld_up_to8(x, a.x, from * a.cols + j, a.cols - j);
          ld_up_to8(y, a.y, row * a.cols + j, a.cols - j);
#pragma unroll
          for (int q = 0; q < 8; q++) y[q] += x[q];
          st_up_to8(a.y, row * a.cols + j, a.cols - j, y);
        }
      }
    }
  }
}

/* loss = scale·(log Σ exp(logits) - logits[label]) for each row, which becomes scale·(softmax - one at the label), in place. A label of
 * -100 has loss and gradient 0. The row is read twice: for the greatest and the sum together, and to write. */
struct cross_entropy_args {
  Ref loss, logits;
  u64 labels, err;
  i64 cols;
  float scale;
  u32 pad;
};
enum { IGNORED = -100 };
KERNEL_BOUNDS(cross_entropy, ROW_THREADS, 1) {
  const i32 label = load<i32>(a.labels, BX);
  const i64 base = (i64)BX * a.cols;
  row<false> x(a.logits, base, a.cols);
  if (label == IGNORED) {
    const float zeros[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (i64 i = (i64)TX * 8; i < a.cols; i += (i64)NT * 8) st_up_to8(a.logits, base + i, a.cols - i, zeros);
    if (TX == 0) st(a.loss, BX, 0);
    return;
  }
  if (label < 0 || label >= a.cols) {
    if (TX == 0) out_of_range(a.err, OP_CROSS_ENTROPY, BX, label, a.cols);
    return;
  }
  const float wanted = ld(a.logits, base + label);
  float most = -__builtin_inff(), s = 0;
  x.each([&](i64, i64 n, const float (&v)[8]) {
    float m = most;
#pragma unroll
    for (int q = 0; q < 8; q++)
      if (q < n) m = greater(v[q], m);
    if (m > most) s *= exp32(most - m), most = m;
#pragma unroll
    for (int q = 0; q < 8; q++)
      if (q < n) s += exp32(v[q] - most);
  });
  const float top = block_max<0>(most);
  const float sum = block_sum<1>(s * exp32(most - top));
  SYNC(); /* all have read the label's logit */
  if (TX == 0) st(a.loss, BX, (float)((double)a.scale * ((double)top + log64((double)sum) - (double)wanted)));
  const float factor = a.scale / sum;
  x.each([&](i64 i, i64 n, float (&v)[8]) {
#pragma unroll
    for (int q = 0; q < 8; q++) v[q] = exp32(v[q] - top) * factor - (i + q == label ? a.scale : 0);
    st_up_to8(a.logits, base + i, n, v);
  });
}

/* Parts of a sum of squares in float64: block b has elements b·SQUARES on, a thread every NT-th group of eight. */
struct sum_squares_args {
  Ref x;
  u64 parts; /* float64 [blocks] */
  i64 n;
};
enum { SQUARES = 4096 };
KERNEL_BOUNDS(sum_squares, 256, 1) {
  const i64 from = (i64)BX * SQUARES, to = from + SQUARES < a.n ? from + SQUARES : a.n;
  double s = 0;
  for (i64 i = from + TX * 8; i < to; i += NT * 8) {
    float v[8];
    ld_up_to8(v, a.x, i, to - i);
#pragma unroll
    for (int q = 0; q < 8; q++) s = fma64((double)v[q], (double)v[q], s);
  }
  s = block_sum<0>(s);
  if (TX == 0) store(a.parts, BX, s);
}

/* The sum of parts, into sum; one block. */
struct sum_parts_args {
  u64 parts, sum;
  i64 n;
};
KERNEL_BOUNDS(sum_parts, 256, 1) {
  double s = 0;
  for (i64 i = TX; i < a.n; i += NT) s += load<double>(a.parts, i);
  s = block_sum<0>(s);
  if (TX == 0) store(a.sum, 0, s);
}

/* One update of parameters, see driver.AdamWArgs: keep = 1 - rate·decay, rate and root with their corrections for the step. */
struct adamw_args {
  Ref p, g, m, v;
  i64 n;
  float keep, rate, root, eps, beta1, rest1, beta2, rest2, scale;
  u32 pad;
};
FLAT_KERNEL(adamw) {
  EACH_EIGHT(a.n) {
    float p[8], g[8], m[8], v[8];
    ld_up_to8(p, a.p, i, a.n - i);
    ld_up_to8(g, a.g, i, a.n - i);
    ld_up_to8(m, a.m, i, a.n - i);
    ld_up_to8(v, a.v, i, a.n - i);
#pragma unroll
    for (int q = 0; q < 8; q++) {
      const float d = g[q] * a.scale;
      m[q] = fma32(a.beta1, m[q], a.rest1 * d);
      v[q] = fma32(a.beta2, v[q], a.rest2 * d * d);
      p[q] = fma32(p[q], a.keep, -(a.rate * m[q]) / fma32(sqrt32(v[q]), a.root, a.eps));
    }
    st_up_to8(a.p, i, a.n - i, p);
    st_up_to8(a.m, i, a.n - i, m);
    st_up_to8(a.v, i, a.n - i, v);
  }
}
