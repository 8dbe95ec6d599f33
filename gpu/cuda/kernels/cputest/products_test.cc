/* The matrix products on the CPU against float64: sizes around tiles, every storage type, odd addresses, rows alone and among others, fused
 * and separate. Links with the library of build.sh. */
#include "../products.h"
#include "operand.h"

struct form {
  const char *name;
  bool ak, bk;
  int tile_m, tile_n, threads;
  unsigned shared;
  u32 type; /* of A and B, or F32 for any */
};
static const form forms[] = {
    {"gemm_f32_nt_128", true, true, 128, 128, 256, 0, F32},     {"gemm_f32_nn_128", true, false, 128, 128, 256, 0, F32},
    {"gemm_f32_tn_128", false, false, 128, 128, 256, 0, F32},   {"gemm_f32_nt_64", true, true, 64, 64, 256, 0, F32},
    {"gemm_f32_nn_64", true, false, 64, 64, 256, 0, F32},       {"gemm_f32_tn_64", false, false, 64, 64, 256, 0, F32},
    {"gemm_f16_nt_128", true, true, 128, 128, 256, 65536, F16}, {"gemm_f16_nn_128", true, false, 128, 128, 256, 65536, F16},
    {"gemm_f16_nt_32", true, true, 32, 64, 128, 24576, F16},    {"gemm_f16_nn_32", true, false, 32, 64, 128, 24576, F16},
    {"gemm_bf16_nt_128", true, true, 128, 128, 256, 65536, BF16}, {"gemm_bf16_nn_128", true, false, 128, 128, 256, 65536, BF16},
    {"gemm_bf16_nt_32", true, true, 32, 64, 128, 24576, BF16},  {"gemm_bf16_nn_32", true, false, 32, 64, 128, 24576, BF16},
    {"hopper_f16_192", true, true, 128, 192, 384, 218192, F16},   {"hopper_f16_128", true, true, 128, 128, 384, 169040, F16},
    {"hopper_bf16_192", true, true, 128, 192, 384, 218192, BF16}, {"hopper_bf16_128", true, true, 128, 128, 384, 169040, BF16},
};

/* Tensor maps as the stand-in for the driver writes them. */
struct map_stand_in {
  u64 ptr;
  u32 type, rows, cols, box_rows, box_cols, swizzle;
  u64 row_bytes;
};
struct hopper_args {
  alignas(64) u8 a_map[128], b_map[128];
  product_args p;
};

static void launch(const form &f, const product_args &a) {
  if (!strncmp(f.name, "hopper", 6)) {
    hopper_args h = {};
    h.p = a, h.p.a = h.p.b = {};
    const map_stand_in x = {a.a.ptr, 6, (u32)a.m, (u32)a.k, 128, 64, 3, (u64)a.a_row * 2}, w = {a.b.ptr, 6, (u32)a.n, (u32)a.k, (u32)f.tile_n, 64, 3, (u64)a.b_row * 2};
    memcpy(h.a_map, &x, sizeof x), memcpy(h.b_map, &w, sizeof w);
    if (sower_emulate(f.name, 2, 1, 1, (unsigned)f.threads, 1, 1, f.shared, &h, sizeof h)) fail(std::string("no kernel ") + f.name);
    return;
  }
  const unsigned tiles = (unsigned)((a.m + f.tile_m - 1) / f.tile_m * ((a.n + f.tile_n - 1) / f.tile_n));
  if (sower_emulate(f.name, tiles * (unsigned)(a.batch * a.heads), 1, 1, (unsigned)f.threads, 1, 1, f.shared, &a, sizeof a))
    fail(std::string("no kernel ") + f.name);
}

static double activation(u32 f, double x) {
  switch (f) {
  case GELU: return x * erfc(-x / sqrt(2)) / 2;
  case TANH: return tanh(x);
  case SILU: return x / (1 + exp(-x));
  }
  return x > 0 ? x : 0;
}

/* One product, all of it against float64; then its middle row alone, bit for bit. */
static void check(const form &f, int m, int n, int k, u32 ta, u32 tb, u32 tc, int off, int what) {
  char name[200];
  snprintf(name, sizeof name, "%s M %d N %d K %d types %u %u %u offset %d, case %d", f.name, m, n, k, ta, tb, tc, off, what);
  const bool mma = f.type != F32;
  const int kp = mma ? (k + 15) / 16 * 16 : k, np = mma ? (n + 15) / 16 * 16 : n;
  const i64 arow = f.ak ? kp + (mma ? 8 : off) : m + off, brow = f.bk ? kp : np, crow = n + off;
  operand a(ta, arow * (f.ak ? m : k), mma ? 0 : off), b(tb, brow * (f.bk ? np : kp), mma ? 0 : off), c(tc, crow * m, off);
  operand bias(F32, n, off), residual(tc, (i64)n * m, off);
  auto A = [&](int i, int q) { return f.ak ? i * arow + q : q * arow + i; };
  auto B = [&](int j, int q) { return f.bk ? j * brow + q : q * brow + j; };
  if (mma) { /* what a kernel may read beyond the operand is finite */
    for (i64 i = 0; i < arow * m; i++) st(a.r, i, 0);
    for (i64 i = 0; i < brow * (f.bk ? np : kp); i++) st(b.r, i, 0);
  }
  for (int i = 0; i < m; i++)
    for (int q = 0; q < k; q++) st(a.r, A(i, q), normal());
  for (int j = 0; j < n; j++)
    for (int q = 0; q < k; q++) st(b.r, B(j, q), normal());
  bias.fill(n), residual.fill((i64)n * m);
  product_args p = {};
  p.c = c.r, p.a = a.r, p.b = b.r, p.c_row = crow, p.a_row = arow, p.b_row = brow, p.residual_row = n;
  p.m = m, p.n = n, p.k = k, p.heads = p.batch = 1;
  if (what & 1) p.bias = bias.r;
  if (what & 2) p.f = 1 + (u32)(what >> 4 & 3);
  if (what & 4) p.residual = residual.r;
  std::vector<float> before((size_t)(crow * m));
  if (what & 8) {
    p.accumulate = 1;
    for (i64 i = 0; i < crow * m; i++) st(c.r, i, normal());
    for (i64 i = 0; i < crow * m; i++) before[(size_t)i] = c.at(i);
  }
  launch(f, p);
  const double step = tc == F32 ? 0 : tc == F16 ? 1.0 / 2048 : 1.0 / 256;
  std::vector<double> want((size_t)m * n);
  double most = 0;
  for (int i = 0; i < m; i++)
    for (int j = 0; j < n; j++) {
      double s = 0;
      for (int q = 0; q < k; q++) s += (double)a.at(A(i, q)) * (double)b.at(B(j, q));
      if (what & 8) s += before[(size_t)(i * crow + j)];
      auto step = [&](double v) { s = v, most = fmax(most, fabs(v)); }; /* each is rounded to the type of the result */
      step(s);
      if (what & 1) step(s + bias.at(j));
      if (what & 2) step(activation(p.f - 1, s));
      if (what & 4) step(s + residual.at((i64)i * n + j));
      want[(size_t)(i * n + j)] = s;
    }
  const double allowed = most * (3e-7 * (1 + sqrt(k) / 4) + step * 2.5) + 1e-6;
  for (int i = 0; i < m; i++)
    for (int j = 0; j < crow; j++) {
      const float got = c.at(i * crow + j);
      if (j >= n && (what & 8 ? got != before[(size_t)(i * crow + j)] : got == got)) return fail(std::string(name) + ": writes beyond its columns");
      if (j < n && !(fabs(got - want[(size_t)(i * n + j)]) <= allowed)) {
        printf("row %d col %d: %g, want %g, allowed %g\n", i, j, got, want[(size_t)(i * n + j)], allowed);
        return fail(name);
      }
    }
  if (!f.ak || (what & 8)) return;
  const int row = m / 2;
  operand alone(tc, n, off);
  product_args q = p;
  q.m = 1, q.a.ptr += (u64)(row * arow) * type_size(ta), q.c = alone.r;
  if (q.residual.ptr) q.residual.ptr += (u64)row * n * type_size(tc);
  for (const form &g : forms)
    if (g.ak == f.ak && g.bk == f.bk && g.type == f.type && g.name[0] == f.name[0]) {
      launch(g, q);
      for (int j = 0; j < n; j++)
        if (bits(alone.at(j)) != bits(c.at(row * crow + j))) return fail(std::string(name) + ": a row alone by " + g.name);
    }
  if (!what) return;
  /* Product, then each step stored and read again. */
  operand separate(tc, n, off);
  q.c = separate.r, q.bias = q.residual = {}, q.f = 0;
  launch(f, q);
  for (int j = 0; j < n; j++) {
    if (what & 1) st(separate.r, j, separate.at(j) + bias.at(j));
    if (what & 2) st(separate.r, j, apply(p.f - 1, separate.at(j)));
    if (what & 4) st(separate.r, j, separate.at(j) + residual.at((i64)row * n + j));
    if (bits(separate.at(j)) != bits(c.at(row * crow + j))) return fail(std::string(name) + ": fused and separate");
  }
}

int main(int argc, char **argv) {
  const std::string only = argc > 1 ? argv[1] : "";
  const int sizes[][3] = {{1, 1, 1}, {5, 15, 3}, {7, 17, 5}, {13, 40, 515}, {33, 65, 40}, {65, 200, 96}, {130, 129, 65}, {257, 88, 64}, {300, 400, 200}, {300, 193, 330}};
  for (const form &f : forms) {
    if (std::string(f.name).find(only) == std::string::npos) continue;
    int count = 0;
    for (auto &s : sizes)
      for (int off : {0, 3})
        for (int what : {0, 1, 7, 23, 8, 38, 55}) {
          if (f.name[0] != 'h' && s[0] == 300) continue; /* for several tiles a block */
          if (f.name[0] == 'h' && (what & 8 || (off == 0 && what))) continue; /* slow to emulate; it does not add to C in the tests */
          const u32 storage[] = {F32, F16, BF16};
          const u32 ta = f.type != F32 ? f.type : storage[count % 3], tb = f.type != F32 ? f.type : storage[count / 3 % 2 ? 0 : count % 2], tc = storage[count / 2 % 3];
          check(f, s[0], s[1], s[2], ta, tb, tc, off, what);
          count++;
        }
    printf("%s: %d cases\n", f.name, count);
  }
  printf(failures ? "%d failures\n" : "all agree\n", failures);
  return failures != 0;
}
