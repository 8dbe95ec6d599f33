/* Norms and the softmax: one row a block, sums in float32, two passes for a variance (its mean first). */
#include "rows.h"

/* y = (x - mean)/sqrt(variance + eps)·weight + bias, or x/sqrt(mean(x²) + eps)·weight. */
struct layer_norm_args {
  Ref y, x, weight, bias;
  i64 cols;
  float eps;
  u32 pad;
};
struct rms_norm_args {
  Ref y, x, weight;
  i64 cols;
  float eps;
  u32 pad;
};

template <bool KEPT> DEV void layer_norm_row(const layer_norm_args &a) {
  row<KEPT> x(a.x, (i64)BX * a.cols, a.cols);
  float s = 0;
  x.each([&](i64, i64, const float (&v)[8]) {
#pragma unroll
    for (int q = 0; q < 8; q++) s += v[q];
  });
  const float mean = block_sum<0>(s) / (float)a.cols;
  s = 0;
  x.each([&](i64, i64 n, const float (&v)[8]) {
#pragma unroll
    for (int q = 0; q < 8; q++) {
      const float d = q < n ? v[q] - mean : 0;
      s = fma32(d, d, s);
    }
  });
  const float factor = 1.0f / sqrt32(block_sum<1>(s) / (float)a.cols + a.eps);
  x.each([&](i64 i, i64 n, const float (&v)[8]) {
    float w[8], b[8];
    ld_up_to8(w, a.weight, i, n);
    ld_up_to8(b, a.bias, i, n);
#pragma unroll
    for (int q = 0; q < 8; q++) w[q] = fma32((v[q] - mean) * factor, w[q], b[q]);
    st_up_to8(a.y, (i64)BX * a.cols + i, n, w);
  });
}
ROW_KERNEL(layer_norm, ROW_THREADS, 5, layer_norm_row)

template <bool KEPT> DEV void rms_norm_row(const rms_norm_args &a) {
  row<KEPT> x(a.x, (i64)BX * a.cols, a.cols);
  float s = 0;
  x.each([&](i64, i64, const float (&v)[8]) {
#pragma unroll
    for (int q = 0; q < 8; q++) s = fma32(v[q], v[q], s);
  });
  const float factor = 1.0f / sqrt32(block_sum<0>(s) / (float)a.cols + a.eps);
  x.each([&](i64 i, i64 n, const float (&v)[8]) {
    float w[8];
    ld_up_to8(w, a.weight, i, n);
#pragma unroll
    for (int q = 0; q < 8; q++) w[q] *= v[q] * factor;
    st_up_to8(a.y, (i64)BX * a.cols + i, n, w);
  });
}
ROW_KERNEL(rms_norm, ROW_THREADS, 5, rms_norm_row)

/* y = exp(scale·x)/sum over each row. With causal > 0, row r of a group of that many sees its first cols - causal + r + 1 elements. */
struct softmax_args {
  Ref y, x;
  i64 cols, causal;
  float scale;
  u32 pad;
};

template <bool KEPT> DEV void softmax_row(const softmax_args &a) {
  row<KEPT> x(a.x, (i64)BX * a.cols, a.cols);
  const i64 seen = a.causal > 0 ? a.cols - a.causal + (i64)BX % a.causal + 1 : a.cols;
  float most = -__builtin_inff();
  x.each([&](i64 i, i64, const float (&v)[8]) {
#pragma unroll
    for (int q = 0; q < 8; q++)
      if (i + q < seen) most = greater(v[q], most);
  });
  most = block_max<0>(most);
  float s = 0;
  x.each([&](i64 i, i64, float (&v)[8]) {
#pragma unroll
    for (int q = 0; q < 8; q++) {
      v[q] = i + q < seen ? exp32(a.scale * (v[q] - most)) : 0; /* kept where the row is in registers */
      s += v[q];
    }
  });
  const float factor = 1.0f / block_sum<1>(s);
  x.each([&](i64 i, i64 n, float (&v)[8]) {
#pragma unroll
    for (int q = 0; q < 8; q++) {
      if (!KEPT) v[q] = i + q < seen ? exp32(a.scale * (v[q] - most)) : 0;
      v[q] *= factor;
      if (i + q >= seen) v[q] = 0;
    }
    st_up_to8(a.y, (i64)BX * a.cols + i, n, v);
  });
}
ROW_KERNEL(softmax, ROW_THREADS, 5, softmax_row)
