#include "test.h"
#include "../gradients.cu"

static const i64 widths[] = {1, 2, 7, 8, 9, 31, 64, 257, 1408, 5000};

TEST(apply_grad) {
  for (u32 f : {0, 1, 2, 3})
    every_storage("apply grad", [&](u32 type, size_t offset) {
      operand x(type, normals(503, 3), offset), dy(type, normals(503), offset), dx(type, 503, offset);
      std::vector<double> want(x.n);
      for (size_t i = 0; i < x.n; i++) {
        const double v = x.get(i), s = 1 / (1 + std::exp(-v)), t = std::tanh(v);
        want[i] = dy.get(i) * (f == 0 ? std::erfc(-v / std::sqrt(2.0)) / 2 + v * std::exp(-v * v / 2) / std::sqrt(2 * M_PI)
                               : f == 1 ? 1 - t * t : f == 2 ? (v > 0 ? 1.0 : 0.0) : s * (1 + v * (1 - s)));
      }
      launch("apply_grad", 1, 1, 64, 0, apply_grad_args{dx.ref(), dy.ref(), x.ref(), 503, f, 0});
      near("apply grad " + std::to_string(f), dx, want, 6e-7);
      return dx.bytes("apply grad");
    });
}

TEST(gate_grad) {
  every_storage("gate grad", [&](u32 type, size_t offset) {
    operand g(type, normals(503, 3), offset), u(type, normals(503), offset), dy(type, normals(503), offset), dg(type, 503, offset), du(type, 503, offset);
    std::vector<double> up(g.n), gate(g.n);
    for (size_t i = 0; i < g.n; i++) {
      const double v = g.get(i), s = 1 / (1 + std::exp(-v));
      up[i] = dy.get(i) * v * s;
      gate[i] = dy.get(i) * u.get(i) * s * (1 + v * (1 - s));
    }
    launch("gate_grad", 1, 1, 64, 0, gate_grad_args{dg.ref(), du.ref(), dy.ref(), g.ref(), u.ref(), 503});
    near("gate grad", dg, gate, 6e-7);
    near("gate grad", du, up, 6e-7);
    return dg.bytes("gate grad") + du.bytes("gate grad");
  });
}

TEST(softmax_grad) {
  for (i64 n : widths)
    every_storage("softmax grad", [&](u32 type, size_t offset) {
      const size_t rows = 3;
      operand y(type, normals(rows * n, 0.1, 0.3), offset), dy(type, normals(rows * n), offset), dx(type, rows * n, offset);
      std::vector<double> want(y.n);
      for (size_t r = 0; r < rows; r++) {
        double s = 0;
        for (i64 i = 0; i < n; i++) s += y.get(r * n + i) * dy.get(r * n + i);
        for (i64 i = 0; i < n; i++) want[r * n + i] = 0.5 * y.get(r * n + i) * (dy.get(r * n + i) - s);
      }
      launch_rows("softmax_grad", rows, n, softmax_grad_args{dx.ref(), dy.ref(), y.ref(), n, 0.5f, 0});
      near("softmax grad", dx, want, 2e-6);
      return dx.bytes("softmax grad");
    });
}

TEST(norm_grad) {
  for (i64 n : widths)
    for (u32 centered : {0, 1})
      every_storage("norm grad", [&](u32 type, size_t offset) {
        const i64 rows = n > 100 ? 3 : 131, parts = (rows + 63) / 64; /* three parts */
        operand x(type, normals(rows * n, 3, 2), offset), dy(type, normals(rows * n), offset), dx(type, rows * n, offset), w(F32, normals(n), offset);
        operand dw(F32, normals(n), offset), db(F32, normals(n), offset), stats(F32, 2 * rows, 0), pw(F32, parts * n, 0), pb(F32, parts * n, 0);
        std::vector<double> want(x.n), weights = dw.all(), biases = db.all();
        for (i64 r = 0; r < rows; r++) {
          double mean = 0, square = 0, sum = 0, along = 0;
          for (i64 i = 0; i < n && centered; i++) mean += x.get(r * n + i) / n;
          for (i64 i = 0; i < n; i++) square += std::pow(x.get(r * n + i) - mean, 2) / n;
          const double factor = 1 / std::sqrt(square + 1e-5f);
          for (i64 i = 0; i < n; i++) {
            const double g = dy.get(r * n + i) * w.get(i), v = (x.get(r * n + i) - mean) * factor;
            if (centered) sum += g / n;
            along += g * v / n;
            weights[i] += dy.get(r * n + i) * v;
            biases[i] += dy.get(r * n + i);
          }
          for (i64 i = 0; i < n; i++) want[r * n + i] = factor * (dy.get(r * n + i) * w.get(i) - sum - (x.get(r * n + i) - mean) * factor * along);
        }
        launch_rows("norm_grad", rows, n, norm_grad_args{dx.ref(), dy.ref(), x.ref(), w.ref(), (u64)stats.at(), n, 1e-5f, centered}, 512);
        launch("column_parts", (u32)(n + 31) / 32, (u32)parts, 32, 0, column_parts_args{dy.ref(), x.ref(), (u64)stats.at(), (u64)pw.at(), (u64)pb.at(), rows, n});
        launch("add_parts", (u32)(n + 31) / 32, 1, 32, 0, add_parts_args{dw.ref(), (u64)pw.at(), parts, n});
        launch("add_parts", (u32)(n + 31) / 32, 1, 32, 0, add_parts_args{db.ref(), (u64)pb.at(), parts, n});
        launch_rows("norm_grad", rows, n, norm_grad_args{dx.ref(), dy.ref(), x.ref(), w.ref(), 0, n, 1e-5f, centered}, 512);
        /* A row of one or two elements is a difference of rounding divided by eps. */
        if (n > 2) near("norm grad", dx, want, 3e-6), near("norm grad's weights", dw, weights, 3e-6);
        near("norm grad's biases", db, biases, 6e-6); /* sums of 131 that may end near 0 */
        return dx.bytes("norm grad") + dw.bytes("norm grad") + db.bytes("norm grad");
      });
}

TEST(sum_rows) {
  for (i64 n : widths)
    every_storage("sums of rows", [&](u32 type, size_t offset) {
      const i64 rows = 70, parts = 2;
      operand x(type, normals(rows * n), offset), y(F32, normals(n), offset), values(F32, parts * n, 0);
      std::vector<double> want = y.all();
      for (size_t i = 0; i < x.n; i++) want[i % n] += x.get(i);
      launch("column_parts", (u32)(n + 63) / 64, (u32)parts, 64, 0, column_parts_args{x.ref(), Ref{}, 0, 0, (u64)values.at(), rows, n});
      launch("add_parts", (u32)(n + 63) / 64, 1, 64, 0, add_parts_args{y.ref(), (u64)values.at(), parts, n});
      near("sums of rows", y, want, 1e-6);
      return y.bytes("sums of rows");
    });
}

TEST(add_rows) {
  for (i64 n : {1, 5, 8, 100, 3000})
    every_storage("added rows", [&](u32 type, size_t offset) {
      const i64 pairs = 700, limit = 40;
      operand x(type, normals(50 * n), offset), y(F32, normals(limit * n), offset), to(I32, pairs, 1), from(I32, pairs, 1);
      std::vector<double> want = y.all();
      for (i64 p = 0; p < pairs; p++) {
        to.set(p, random_u32() % limit), from.set(p, random_u32() % 50);
        for (i64 i = 0; i < n; i++) want[(i64)to.get(p) * n + i] = (float)(want[(i64)to.get(p) * n + i] + x.get((i64)from.get(p) * n + i)); /* the same order */
      }
      error_record e = {};
      launch("add_rows", pairs, 1, 256, 0, add_rows_args{y.ref(), x.ref(), (u64)to.at(), (u64)from.at(), (u64)&e, pairs, n, limit, 50});
      near("added rows", y, want, 0);
      if (e.op) fail("added rows: an error where none is");
      return y.bytes("added rows");
    });
  operand x(F32, normals(8), 0), y(F32, normals(8), 0), to(I32, {0, 4, 9}, 0), from(I32, {3, 0, 0}, 0);
  error_record e = {};
  launch("add_rows", 3, 1, 256, 0, add_rows_args{y.ref(), x.ref(), (u64)to.at(), (u64)from.at(), (u64)&e, 3, 2, 4, 4});
  if (e.op != OP_ADD_ROWS || ~e.inverted != (1ull << 32 | 4) || e.limit != 4) fail("added rows: the record is %u, %llx, %lld", e.op, ~e.inverted, e.limit);
}

TEST(cross_entropy) {
  for (i64 n : {2, 7, 33, 1000, 32003})
    every_storage("cross entropy", [&](u32 type, size_t offset) {
      const i64 rows = 5;
      operand x(type, normals(rows * n, 5), offset), loss(F32, rows, offset), labels(I32, {0, (double)(n - 1), -100, 1, 0}, 1);
      std::vector<double> grads(x.n), losses(rows);
      for (i64 r = 0; r < rows; r++) {
        const i64 label = (i64)labels.get(r);
        if (label == -100) continue;
        double most = -INFINITY, s = 0;
        for (i64 i = 0; i < n; i++) most = std::max(most, x.get(r * n + i));
        for (i64 i = 0; i < n; i++) s += std::exp(x.get(r * n + i) - most);
        losses[r] = 0.25 * (most + std::log(s) - x.get(r * n + label));
        for (i64 i = 0; i < n; i++) grads[r * n + i] = 0.25 * (std::exp(x.get(r * n + i) - most) / s - (i == label));
      }
      error_record e = {};
      launch("cross_entropy", rows, 1, row_threads(n), 0, cross_entropy_args{loss.ref(), x.ref(), (u64)labels.at(), (u64)&e, n, 0.25f, 0});
      near("cross entropy's losses", loss, losses, 2e-6);
      near("cross entropy's gradients", x, grads, 2e-6);
      if (e.op) fail("cross entropy: an error where none is");
      return x.bytes("cross entropy") + loss.bytes("cross entropy");
    });
  operand x(F32, normals(6), 0), loss(F32, 2, 0), labels(I32, {3, -1}, 0);
  error_record e = {};
  launch("cross_entropy", 2, 1, 32, 0, cross_entropy_args{loss.ref(), x.ref(), (u64)labels.at(), (u64)&e, 3, 1, 0});
  if (e.op != OP_CROSS_ENTROPY || ~e.inverted != 3 || e.limit != 3) fail("cross entropy: the record is %u, %llx, %lld", e.op, ~e.inverted, e.limit);
}

TEST(sum_squares) {
  for (i64 n : {1, 7, 4096, 4099, 50001})
    every_storage("sum of squares", [&](u32 type, size_t offset) {
      operand x(type, normals(n), offset);
      const i64 blocks = (n + 4095) / 4096;
      std::vector<double> parts(blocks + 1);
      launch("sum_squares", (u32)blocks, 1, 256, 0, sum_squares_args{x.ref(), (u64)parts.data(), n});
      launch("sum_parts", 1, 1, 256, 0, sum_parts_args{(u64)parts.data(), (u64)(parts.data() + blocks), blocks});
      double want = 0;
      for (double v : x.all()) want += v * v;
      if (!(std::fabs(parts[blocks] - want) <= 1e-12 * want)) fail("sum of squares of %lld: %.17g, want %.17g", n, parts[blocks], want);
      return std::string((char *)&parts[blocks], 8);
    });
}

TEST(adamw) {
  every_storage("AdamW", [&](u32 type, size_t offset) {
    const i64 n = 1003;
    const double rate = 0.01, b1 = 0.9, b2 = 0.95, eps = 1e-5, decay = 0.1, clip = 0.5;
    operand p(F32, normals(n), offset), g(type, normals(n), offset), m(F32, std::vector<double>(n), offset), v(F32, std::vector<double>(n), offset);
    std::vector<double> want = p.all(), first(n), second(n);
    for (int t = 1; t <= 2; t++) {
      const double step = rate / (1 - std::pow(b1, t)), root = 1 / std::sqrt(1 - std::pow(b2, t));
      launch("adamw", 2, 1, 64, 0, adamw_args{p.ref(), g.ref(), m.ref(), v.ref(), n, (float)(1 - rate * decay), (float)step, (float)root, (float)eps, (float)b1,
                                              (float)(1 - b1), (float)b2, (float)(1 - b2), (float)clip, 0});
      for (i64 i = 0; i < n; i++) {
        const double d = clip * g.get(i);
        first[i] = b1 * first[i] + (1 - b1) * d, second[i] = b2 * second[i] + (1 - b2) * d * d;
        want[i] = want[i] * (1 - rate * decay) - step * first[i] / (std::sqrt(second[i]) * root + eps);
      }
    }
    near("AdamW", p, want, 1e-6);
    near("AdamW's moments", m, first, 1e-6);
    near("AdamW's squares", v, second, 1e-6);
    return p.bytes("AdamW") + m.bytes("AdamW") + v.bytes("AdamW");
  });
}
