#include "test.h"
#include "../elementwise.cu"

static u32 grid(size_t n, u32 threads) { return (u32)((n + threads * 8 - 1) / (threads * 8)); }

TEST(add) {
  for (size_t nb : {1, 3, 8, 37, 100, 1408})
    for (size_t times : {1, 5})
      every_storage("add", [&](u32 type, size_t offset) {
        operand x(type, normals(nb * times), offset), b(F32, normals(nb), offset), y(type, nb * times, offset);
        launch("add", grid(y.n, 64), 1, 64, 0, add_args{y.ref(), x.ref(), b.ref(), (i64)y.n, (i64)nb});
        std::vector<double> want(y.n);
        for (size_t i = 0; i < y.n; i++) want[i] = (float)(x.get(i) + b.get(i % nb));
        near("add", y, want, 1e-9);
        return y.bytes("add");
      });
}

TEST(apply_function) {
  for (u32 f : {0, 1, 2, 3})
    every_storage("apply", [&](u32 type, size_t offset) {
      operand x(type, normals(1003, 3), offset), y(type, 1003, offset);
      launch("apply_function", 2, 1, 32, 0, apply_function_args{y.ref(), x.ref(), 1003, f, 0}); /* a grid that has to go round */
      std::vector<double> want(y.n);
      for (size_t i = 0; i < y.n; i++) {
        const double v = x.get(i);
        want[i] = f == 0 ? v * std::erfc(-v / std::sqrt(2.0)) / 2 : f == 1 ? std::tanh(v) : f == 2 ? std::max(v, 0.0) : v / (1 + std::exp(-v));
      }
      near("apply " + std::to_string(f), y, want, 3e-7);
      return y.bytes("apply");
    });
}

TEST(convert) {
  for (u32 to : float_types)
    every_storage("convert", [&](u32 type, size_t offset) {
      operand x(type, normals(517), offset), y(to, 517, 0);
      launch("convert", 3, 1, 32, 0, convert_args{y.ref(), x.ref(), 517});
      near("convert", y, x.all(), 0);
      return y.bytes("convert");
    });
}

TEST(copy_rows) {
  for (i64 stride : {0, 8, 13, 40})
    every_storage("copy rows", [&](u32 type, size_t offset) {
      const i64 rows = 5, cols = 13, to = 16;
      if (stride && stride < cols) return std::string();
      operand x(type, normals((size_t)(4 * stride + cols)), offset), y(type, (size_t)(rows * to), offset);
      launch("copy_rows", 1, 1, 32, 0, copy_rows_args{y.ref(), x.ref(), to, stride, rows, cols});
      for (i64 r = 0; r < rows; r++)
        for (i64 i = 0; i < to; i++) {
          const double got = y.get((size_t)(r * to + i));
          if (i < cols ? got != x.get((size_t)(r * stride + i)) : got == got) fail("copy rows: row %lld, element %lld is %g", r, i, got);
        }
      return y.bytes("copy rows");
    });
}

TEST(axpy) {
  every_storage("axpy", [&](u32 type, size_t offset) {
    operand x(type, normals(333), offset), y(type, normals(333), offset);
    std::vector<double> want = y.all();
    for (size_t i = 0; i < y.n; i++) want[i] += 0.3f * x.get(i);
    launch("axpy", 2, 1, 32, 0, axpy_args{y.ref(), x.ref(), 333, 0.3f, 0});
    near("axpy", y, want, 1.2e-7);
    return y.bytes("axpy");
  });
}

TEST(gate) {
  every_storage("gate", [&](u32 type, size_t offset) {
    operand g(type, normals(333, 3), offset), u(type, normals(333), offset), y(type, 333, offset);
    std::vector<double> want(y.n);
    for (size_t i = 0; i < y.n; i++) want[i] = g.get(i) / (1 + std::exp(-g.get(i))) * u.get(i);
    launch("gate", 1, 1, 32, 0, gate_args{y.ref(), g.ref(), u.ref(), 333});
    near("gate", y, want, 2e-7);
    return y.bytes("gate");
  });
}

TEST(dropout) {
  every_storage("dropout", [&](u32 type, size_t offset) {
    const double rate = 0.25;
    operand x(type, normals(4001), offset), y(type, 4001, offset);
    std::vector<double> want(y.n);
    size_t kept = 0;
    for (size_t i = 0; i < y.n; i++) {
      u64 h = 77 + i * 0x9e3779b97f4a7c15ull;
      h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9ull;
      h = (h ^ h >> 27) * 0x94d049bb133111ebull;
      h ^= h >> 31;
      if (h >> 32 >= (u64)(rate * 4294967296.0)) kept++, want[i] = x.get(i) / (1 - rate);
    }
    launch("dropout", 3, 1, 64, 0, dropout_args{y.ref(), x.ref(), 4001, 77, (u64)(rate * 4294967296.0), (float)(1 / (1 - rate)), 0});
    near("dropout", y, want, 1e-7);
    if (kept < 2900 || kept > 3100) fail("dropout keeps %zu of 4001", kept);
    return y.bytes("dropout");
  });
}
