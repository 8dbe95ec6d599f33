#include "test.h"
#include "../lookups.cu"
#include "../decoders.cu"

TEST(lookup) {
  for (i64 cols : {1, 5, 8, 96, 1408})
    every_storage("lookup", [&](u32 type, size_t offset) {
      const i64 limit = 11, stride = cols + 3;
      operand table(F32, normals(limit * stride), offset), y(type, 5 * cols, offset), ids(I32, {10, 0, 3, 3, 7}, 1);
      error_record e = {};
      launch("lookup", 3, 1, 32, 0, lookup_args{y.ref(), table.ref(), (u64)ids.at(), (u64)&e, 5, cols, stride, limit, OP_LOOKUP, 0});
      std::vector<double> want;
      for (i64 r = 0; r < 5; r++)
        for (i64 i = 0; i < cols; i++) want.push_back(table.get((i64)ids.get(r) * stride + i));
      near("lookup", y, want, 0);
      if (e.op) fail("lookup: an error where none is");
      return y.bytes("lookup");
    });
  operand table(F32, normals(12), 0), y(F32, 8 * 4, 0), ids(I32, {1, 0, 3, 1, -7, 2, 5, 0}, 0);
  error_record e = {};
  launch("lookup", 2, 1, 32, 0, lookup_args{y.ref(), table.ref(), (u64)ids.at(), (u64)&e, 8, 4, 4, 3, OP_LOOKUP, 0});
  if (e.op != OP_LOOKUP || ~e.inverted != (2ull << 32 | 3) || e.limit != 3) fail("lookup: the record is %u, %llx, %lld", e.op, ~e.inverted, e.limit);
  launch("scatter_rows", 1, 1, 32, 0, scatter_rows_args{y.ref(), table.ref(), (u64)ids.at(), (u64)ids.at(), (u64)&e, 8, 4, 8, 3});
  if (e.op != OP_LOOKUP) fail("a later operation took the error record");
}

TEST(scatter_rows) {
  for (i64 cols : {1, 5, 8, 96})
    every_storage("scatter rows", [&](u32 type, size_t offset) {
      operand x(F32, normals(9 * cols), offset), y(type, normals(6 * cols), offset), to(I32, {5, 0, 2}, 3), from(I32, {1, 8, 8}, 1);
      std::vector<double> want = y.all();
      for (int r = 0; r < 3; r++)
        for (i64 i = 0; i < cols; i++) want[(i64)to.get(r) * cols + i] = x.get((i64)from.get(r) * cols + i);
      error_record e = {};
      launch("scatter_rows", 2, 1, 32, 0, scatter_rows_args{y.ref(), x.ref(), (u64)to.at(), (u64)from.at(), (u64)&e, 3, cols, 6, 9});
      near("scatter rows", y, want, 0);
      if (e.op) fail("scatter rows: an error where none is");
      return y.bytes("scatter rows");
    });
}

TEST(patches) {
  for (u32 size : {6, 28, 224})
    every_storage("patches", [&](u32 type, size_t offset) {
      const u32 patch = size == 6 ? 3 : 14, side = size / patch, images = 2, each = size * size * 3;
      operand pixels(U8, images * each, 1), table(F32, normals(768), 0), y(type, images * each, offset);
      for (size_t i = 0; i < pixels.n; i++) pixels.set(i, random_u32() & 255);
      launch("patches", (each + 511) / 512, 1, 64, 0, patches_args{y.ref(), (u64)pixels.at(), (u64)table.at(), size, patch, 0, 0});
      launch("patches", (each + 511) / 512, 1, 64, 0, patches_args{y.ref(), (u64)pixels.at(), (u64)table.at(), size, patch, 1, 0});
      std::vector<double> want;
      for (u32 i = 0; i < images; i++)
        for (u32 p = 0; p < side * side; p++)
          for (u32 c = 0; c < 3; c++)
            for (u32 r = 0; r < patch; r++)
              for (u32 q = 0; q < patch; q++)
                want.push_back(table.get(c * 256 + (u32)pixels.get(((i * size + p / side * patch + r) * size + p % side * patch + q) * 3 + c)));
      near("patches", y, want, 0);
      return y.bytes("patches");
    });
}

static double half(double x) { return from_f16(to_f16((float)x)); }

TEST(nearest) {
  for (auto [n, rows, cols] : std::vector<std::array<i64, 3>>{{1, 1, 1}, {5, 17, 3}, {32, 512, 32}, {33, 1000, 8}, {13, 513, 300}})
    for (u32 rounds : {0, 1})
      every_storage("nearest", [&](u32 type, size_t offset) {
        const i64 stride = (cols + 15) / 16 * 16;
        operand table(type, normals(rows * stride), offset), x(type, normals(n * cols), offset), norms(F32, rows, offset), ids(I32, n, 1);
        /* Equal rows, far apart, and a vector that lies on them: ties go to the lowest number. */
        for (i64 k = 0; k < cols; k++) table.set((rows - 1) * stride + k, table.get(rows / 3 * stride + k)), x.set((n - 1) * cols + k, table.get(rows / 3 * stride + k));
        for (i64 j = 0; j < rows; j++) {
          float s = 0;
          for (i64 k = 0; k < cols; k++) {
            const double v = table.get(j * stride + k);
            s += (float)(rounds ? half(half(v) * half(v)) : v * v);
          }
          norms.set(j, s);
        }
        launch("nearest", (u32)(n + 7) / 8, 1, 256, (u32)(32 * cols), nearest_args{x.ref(), table.ref(), norms.ref(), (u64)ids.at(), n, rows, cols, stride, rounds, 0});
        for (i64 i = 0; i < n; i++) {
          auto distance = [&](i64 j) {
            if (!rounds) {
              double s = 0;
              for (i64 k = 0; k < cols; k++) s += std::pow(x.get(i * cols + k) - table.get(j * stride + k), 2);
              return s;
            }
            float length = 0, dot = 0; /* as published: products and sums that float16 keeps */
            for (i64 k = 0; k < cols; k++) {
              const float z = (float)half(x.get(i * cols + k)), e = (float)half(table.get(j * stride + k));
              length += (float)half(z * z);
              dot = fma32(z, e, dot);
            }
            return half(half(half(length) + half(norms.get(j))) - 2 * half(dot));
          };
          i64 best = 0;
          for (i64 j = 1; j < rows; j++)
            if (distance(j) < distance(best)) best = j;
          const i64 got = (i64)ids.get(i);
          if (got != best && (rounds || distance(got) > distance(best) * (1 + 1e-4) + 1e-4)) fail("nearest, rounds %u, %lld of %lld rows of %lld: %lld, want %lld", rounds, i, rows, cols, got, best);
        }
        if (ids.get(n - 1) != (double)(rows / 3) && !rounds) fail("nearest: a tie went to %g, want %lld", ids.get(n - 1), rows / 3);
        return ids.bytes("nearest");
      });
}

TEST(rotate) {
  for (u32 width : {2, 6, 64})
    for (u32 back : {0, 1})
      every_storage("rotate", [&](u32 type, size_t offset) {
        const u32 heads = 3, half = width / 2, rows = 4;
        operand x(type, normals(rows * heads * width), offset), y(type, x.n, offset), c(F32, 5 * half, offset), s(F32, 5 * half, offset), at(I32, {4, 0, 2, 2}, 1);
        for (u32 i = 0; i < 5 * half; i++) c.set(i, std::cos(i)), s.set(i, std::sin(i));
        std::vector<double> want(x.n);
        for (u32 r = 0; r < rows; r++)
          for (u32 h = 0; h < heads; h++)
            for (u32 i = 0; i < half; i++) {
              const size_t lo = (r * heads + h) * width + i, t = (size_t)at.get(r) * half + i;
              const double w = back ? -s.get(t) : s.get(t);
              want[lo] = x.get(lo) * c.get(t) - x.get(lo + half) * w;
              want[lo + half] = x.get(lo + half) * c.get(t) + x.get(lo) * w;
            }
        error_record e = {};
        launch("rotate", 1, 1, 32, 0, rotate_args{y.ref(), x.ref(), c.ref(), s.ref(), (u64)at.at(), (u64)&e, rows, 5, heads, width, back, 0});
        near("rotate", y, want, 2e-7);
        launch("rotate", 1, 1, 32, 0, rotate_args{y.ref(), x.ref(), c.ref(), s.ref(), (u64)at.at(), (u64)&e, rows, 3, heads, width, back, 0});
        if (e.op != OP_ROTATE || ~e.inverted != 4) fail("rotate: the record is %u, %llx", e.op, ~e.inverted);
        return y.bytes("rotate");
      });
}
