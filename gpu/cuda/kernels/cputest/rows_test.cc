#include "test.h"
#include "../rows.cu"

static const i64 widths[] = {1, 2, 7, 8, 9, 31, 64, 257, 768, 1408, 3000, 9001};

TEST(layer_norm) {
  for (i64 n : widths)
    every_storage("layer norm", [&](u32 type, size_t offset) {
      const size_t rows = 3;
      operand x(type, normals(rows * n, 3, 5), offset), y(type, rows * n, offset), w(F32, normals(n), offset), b(F32, normals(n), offset);
      launch_rows("layer_norm", rows, n, layer_norm_args{y.ref(), x.ref(), w.ref(), b.ref(), n, 1e-5f, 0});
      std::vector<double> want(y.n);
      for (size_t r = 0; r < rows; r++) {
        double mean = 0, variance = 0;
        for (i64 i = 0; i < n; i++) mean += x.get(r * n + i) / n;
        for (i64 i = 0; i < n; i++) variance += std::pow(x.get(r * n + i) - mean, 2) / n;
        for (i64 i = 0; i < n; i++) want[r * n + i] = (x.get(r * n + i) - mean) / std::sqrt(variance + 1e-5f) * w.get(i) + b.get(i);
      }
      if (n > 2) near("layer norm", y, want, 3e-6);
      return y.bytes("layer norm");
    });
}

TEST(rms_norm) {
  for (i64 n : widths)
    every_storage("RMS norm", [&](u32 type, size_t offset) {
      const size_t rows = 3;
      operand x(type, normals(rows * n), offset), y(type, rows * n, offset), w(F32, normals(n), offset);
      launch_rows("rms_norm", rows, n, rms_norm_args{y.ref(), x.ref(), w.ref(), n, 1e-5f, 0});
      std::vector<double> want(y.n);
      for (size_t r = 0; r < rows; r++) {
        double s = 0;
        for (i64 i = 0; i < n; i++) s += std::pow(x.get(r * n + i), 2) / n;
        for (i64 i = 0; i < n; i++) want[r * n + i] = x.get(r * n + i) / std::sqrt(s + 1e-5f) * w.get(i);
      }
      near("RMS norm", y, want, 1e-6);
      return y.bytes("RMS norm");
    });
}

TEST(softmax) {
  for (i64 n : widths)
    for (i64 causal : {0, 1, 3})
      every_storage("softmax", [&](u32 type, size_t offset) {
        if (causal > n) return std::string();
        const size_t rows = 6;
        operand x(type, normals(rows * n, 10), offset), y(type, rows * n, offset);
        launch_rows("softmax", rows, n, softmax_args{y.ref(), x.ref(), n, causal, 0.7f, 0});
        std::vector<double> want(y.n);
        for (size_t r = 0; r < rows; r++) {
          const i64 seen = causal ? n - causal + (i64)r % causal + 1 : n;
          double most = -INFINITY, s = 0;
          for (i64 i = 0; i < seen; i++) most = std::max(most, x.get(r * n + i));
          for (i64 i = 0; i < seen; i++) s += want[r * n + i] = std::exp((double)0.7f * (x.get(r * n + i) - most));
          for (i64 i = 0; i < n; i++) {
            want[r * n + i] /= s;
            if (i >= seen && y.get(r * n + i) != 0) fail("softmax: row %zu of %lld sees %lld", r, n, i);
          }
        }
        near("softmax", y, want, 2e-6);
        return y.bytes("softmax");
      });
}

/* A NaN stays in its row. */
TEST(rows_not_finite) {
  operand x(F32, normals(3 * 33), 1), y(F32, 3 * 33, 1), unit(F32, std::vector<double>(33, 1), 0);
  x.set(33 + 32, NAN);
  for (int kernel = 0; kernel < 2; kernel++) {
    if (kernel == 0) launch("layer_norm", 3, 1, 32, 0, layer_norm_args{y.ref(), x.ref(), unit.ref(), unit.ref(), 33, 1e-5f, 0});
    else launch("softmax", 3, 1, 32, 0, softmax_args{y.ref(), x.ref(), 33, 0, 1, 0});
    for (int r = 0; r < 3; r++) {
      int bad = 0;
      for (int i = 0; i < 33; i++) bad += std::isnan(y.get(r * 33 + i));
      if (r == 1 ? bad == 0 : bad != 0) fail("kernel %d: row %d has %d NaN", kernel, r, bad);
    }
  }
}
