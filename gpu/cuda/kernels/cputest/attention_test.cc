/* Attention and its gradient on the CPU against float64: masks, first keys, shared heads, every storage type, rows alone and among others.
 * Links with the library of build.sh. */
#include "../attention.h"
#include "operand.h"
#include <map>

struct attention_mma_args : attention_args {
  i32 splits, tiles;
};
struct attention_grad_args : attention_args {
  Ref dy, dq, dk, dv;
  i64 dy_batch, dy_head, dy_row, dq_batch, dq_head, dq_row, dk_batch, dk_head, dk_row, dv_batch, dv_head, dv_row;
  u64 stats;
};

struct shape {
  int batch, heads, kv, tq, tk, width;
  bool causal;
  int first; /* queries begin at min(first, i/2), 0 for all; -1: no starts */
};

/* The worst of each kernel and type. */
static std::map<std::string, double> worst_of;
static void note(const std::string &kernel, u32 type, double worst) {
  double &w = worst_of[kernel + (type == F32 ? ", float32" : type == F16 ? ", float16" : ", bfloat16")];
  if (worst > w) w = worst;
}

static std::vector<i32> starts_of(const shape &c) {
  std::vector<i32> s((size_t)(c.batch * c.tq));
  for (int i = 0; i < c.batch * c.tq; i++) s[(size_t)i] = c.first < 0 ? 0 : c.first == 9999 ? (i % 3 ? 0 : 9999) : i % c.tq / 2 < c.first ? i % c.tq / 2 : c.first;
  return s;
}
static void range_of(const shape &c, const std::vector<i32> &starts, int b, int i, int &from, int &to) {
  to = c.causal ? c.tk - c.tq + i + 1 : c.tk;
  from = starts[(size_t)(b * c.tq + i)];
  if (from > to) from = to;
}

static attention_args arguments(const shape &c, const operand &y, const operand &q, const operand &k, const operand &v, const std::vector<i32> &starts, int extra) {
  attention_args a = {};
  const i64 qrow = c.heads * c.width + extra, krow = c.kv * c.width + extra;
  a.y = y.r, a.q = q.r, a.k = k.r, a.v = v.r;
  if (c.first >= 0) a.starts = {(u64)starts.data(), I32, 0};
  a.y_row = a.q_row = qrow, a.k_row = a.v_row = krow;
  a.y_head = a.q_head = a.k_head = a.v_head = c.width;
  a.y_batch = a.q_batch = qrow * c.tq, a.k_batch = a.v_batch = krow * c.tk;
  a.batch = c.batch, a.heads = c.heads, a.group = c.heads / c.kv, a.tq = c.tq, a.tk = c.tk, a.width = c.width;
  a.scale = (float)(1 / sqrt(c.width)), a.causal = c.causal;
  return a;
}

static void run(const char *kernel, const attention_args &a, int splits) {
  int code;
  if (!strcmp(kernel, "attention")) {
    code = sower_emulate(kernel, (unsigned)(a.batch * a.heads * ((a.tq + 63) / 64) * ((a.width + 127) / 128)), 1, 1, 256, 1, 1, 0, &a, sizeof a);
  } else {
    attention_mma_args m = {};
    (attention_args &)m = a;
    const int keys = atoi(strrchr(kernel, '_') + 1), held = a.tk < keys ? (a.tk + 15) / 16 * 16 : keys, tiles = (a.tq + 15) / 16;
    m.tiles = keys == 64 && a.tk > 64 ? 4 : (tiles + splits - 1) / splits, m.splits = (tiles + m.tiles - 1) / m.tiles;
    code = sower_emulate(kernel, (unsigned)(a.batch * a.heads * m.splits), 1, 1, 128, 1, 1, (unsigned)(2 * held * (a.width / 8 | 1) * 16), &m, sizeof m);
  }
  if (code) fail(std::string("no kernel ") + kernel);
}

static void check(const char *kernel, const shape &c, u32 type, u32 ytype, int off, double allowed) {
  char name[200];
  snprintf(name, sizeof name, "%s batch %d heads %d/%d Tq %d Tk %d width %d causal %d first %d types %u %u offset %d", kernel, c.batch, c.heads, c.kv, c.tq, c.tk, c.width, c.causal, c.first, type, ytype, off);
  const i64 extra = type == F32 ? 1 : 8, nq = (c.heads * c.width + extra) * c.batch * c.tq, nk = (c.kv * c.width + extra) * c.batch * c.tk;
  operand q(type, nq, off), k(type, nk, off), v(type, nk, off), y(ytype, nq, off);
  q.fill(nq), k.fill(nk), v.fill(nk);
  const auto starts = starts_of(c);
  const attention_args a = arguments(c, y, q, k, v, starts, (int)extra);
  run(kernel, a, 2);
  std::vector<double> want((size_t)nq, NAN), p((size_t)c.tk);
  double most = 0;
  for (int b = 0; b < c.batch; b++)
    for (int h = 0; h < c.heads; h++)
      for (int i = 0; i < c.tq; i++) {
        int from, to;
        range_of(c, starts, b, i, from, to);
        const i64 qi = b * a.q_batch + h * a.q_head + i * a.q_row, kv = b * a.k_batch + h / a.group * a.k_head;
        double m = -INFINITY, sum = 0;
        for (int j = from; j < to; j++) {
          double s = 0;
          for (int d = 0; d < c.width; d++) s += (double)q.at(qi + d) * (double)k.at(kv + j * a.k_row + d);
          p[(size_t)j] = s * a.scale, m = fmax(m, p[(size_t)j]);
        }
        for (int j = from; j < to; j++) sum += p[(size_t)j] = exp(p[(size_t)j] - m);
        for (int d = 0; d < c.width; d++) {
          double o = 0;
          for (int j = from; j < to; j++) o += p[(size_t)j] * (double)v.at(kv + j * a.v_row + d);
          want[(size_t)(qi + d)] = from < to ? o / sum : 0, most = fmax(most, fabs(want[(size_t)(qi + d)]));
        }
      }
  double worst = 0;
  for (i64 i = 0; i < nq; i++) {
    const double w = want[(size_t)i], g = y.at(i);
    if (w != w ? g == g : !(fabs(g - w) <= allowed * most)) {
      printf("element %lld is %g, want %g, the largest %g\n", i, g, w, most);
      return fail(name);
    }
    if (w == w) worst = fmax(worst, fabs(g - w) / most);
  }
  note(kernel, type, worst);
  /* The last query of the last batch alone: the same bits. */
  operand alone(ytype, nq, off);
  attention_args one = a;
  one.y = alone.r, one.batch = 1, one.tq = 1;
  const int b = c.batch - 1, i = c.tq - 1;
  one.q.ptr += (u64)(b * a.q_batch + i * a.q_row) * type_size(type), one.k.ptr += (u64)(b * a.k_batch) * type_size(type), one.v.ptr += (u64)(b * a.v_batch) * type_size(type);
  if (one.starts.ptr) one.starts.ptr += (u64)(b * c.tq + i) * 4;
  run(kernel, one, 1);
  for (int h = 0; h < c.heads; h++)
    for (int d = 0; d < c.width; d++)
      if (bits(alone.at(h * a.y_head + d)) != bits(y.at(b * a.y_batch + h * a.y_head + i * a.y_row + d))) return fail(std::string(name) + ": a query alone");
}

static void check_grad(const shape &c, u32 type, int off) {
  char name[200];
  snprintf(name, sizeof name, "gradient batch %d heads %d/%d Tq %d Tk %d width %d causal %d first %d type %u", c.batch, c.heads, c.kv, c.tq, c.tk, c.width, c.causal, c.first, type);
  const i64 nq = (c.heads * c.width + 1) * c.batch * c.tq, nk = (c.kv * c.width + 1) * c.batch * c.tk;
  operand q(type, nq, off), k(type, nk, off), v(type, nk, off), dy(type, nq, off), dq(F32, nq, off), dk(F32, nk, off), dv(F32, nk, off);
  q.fill(nq), k.fill(nk), v.fill(nk), dy.fill(nq);
  const auto starts = starts_of(c);
  attention_grad_args a = {};
  (attention_args &)a = arguments(c, dq, q, k, v, starts, 1);
  std::vector<float> stats((size_t)(c.batch * c.heads * c.tq * 4 + 4));
  a.dy = dy.r, a.dq = dq.r, a.dk = dk.r, a.dv = dv.r, a.stats = ((u64)stats.data() + 15) & ~15ull;
  a.dy_batch = a.dq_batch = a.q_batch, a.dy_head = a.dq_head = a.q_head, a.dy_row = a.dq_row = a.q_row;
  a.dk_batch = a.dv_batch = a.k_batch, a.dk_head = a.dv_head = a.k_head, a.dk_row = a.dv_row = a.k_row;
  const int groups = (c.width + 127) / 128;
  if (sower_emulate("attention_grad_queries", (unsigned)(c.batch * c.heads * ((c.tq + 63) / 64) * groups), 1, 1, 256, 1, 1, 0, &a, sizeof a) ||
      sower_emulate("attention_grad_keys", (unsigned)(c.batch * c.kv * ((c.tk + 63) / 64) * groups), 1, 1, 256, 1, 1, 0, &a, sizeof a))
    return fail("no gradient kernel");
  std::vector<double> wq((size_t)nq, NAN), wk((size_t)nk, NAN), wv((size_t)nk, NAN);
  auto fix = [](double &x) -> double & { return x == x ? x : x = 0; };
  for (int b = 0; b < c.batch; b++)
    for (int h = 0; h < c.heads; h++)
      for (int i = 0; i < c.tq; i++) {
        int from, to;
        range_of(c, starts, b, i, from, to);
        const i64 qi = b * a.q_batch + h * a.q_head + i * a.q_row, kv = b * a.k_batch + h / a.group * a.k_head;
        std::vector<double> p((size_t)c.tk), dp((size_t)c.tk);
        double m = -INFINITY, sum = 0, mean = 0;
        for (int j = from; j < to; j++) {
          for (int d = 0; d < c.width; d++) p[(size_t)j] += (double)q.at(qi + d) * (double)k.at(kv + j * a.k_row + d), dp[(size_t)j] += (double)dy.at(qi + d) * (double)v.at(kv + j * a.k_row + d);
          p[(size_t)j] *= a.scale, m = fmax(m, p[(size_t)j]);
        }
        for (int j = from; j < to; j++) sum += p[(size_t)j] = exp(p[(size_t)j] - m);
        for (int j = from; j < to; j++) mean += (p[(size_t)j] /= sum) * dp[(size_t)j];
        for (int d = 0; d < c.width; d++) {
          fix(wq[(size_t)(qi + d)]);
          for (int j = 0; j < c.tk; j++) {
            const size_t at = (size_t)(kv + j * a.k_row + d);
            fix(wk[at]), fix(wv[at]);
            if (j < from || j >= to) continue;
            const double ds = a.scale * p[(size_t)j] * (dp[(size_t)j] - mean);
            wq[(size_t)(qi + d)] += ds * (double)k.at((i64)at), wk[at] += ds * (double)q.at(qi + d), wv[at] += p[(size_t)j] * (double)dy.at(qi + d);
          }
        }
      }
  const std::vector<double> *want[] = {&wq, &wk, &wv};
  const operand *got[] = {&dq, &dk, &dv};
  for (int w = 0; w < 3; w++) {
    double most = 0, worst = 0;
    for (double x : *want[w])
      if (x == x) most = fmax(most, fabs(x));
    for (size_t i = 0; i < want[w]->size(); i++) {
      const double x = (*want[w])[i], g = got[w]->at((i64)i);
      if (x != x ? g == g : !(fabs(g - x) <= 5e-6 * most)) {
        printf("%d: element %zu is %g, want %g, the largest %g\n", w, i, g, x, most);
        return fail(name);
      }
      if (x == x) worst = fmax(worst, fabs(g - x) / most);
    }
    note(w == 0 ? "gradient of queries" : w == 1 ? "gradient of keys" : "gradient of values", type, worst);
  }
}

int main() {
  const shape general[] = {{2, 3, 3, 1, 1, 1, false, -1}, {2, 3, 3, 5, 5, 8, true, -1}, {1, 2, 1, 17, 17, 12, false, -1}, {1, 2, 2, 32, 257, 64, false, -1}, {2, 4, 2, 70, 130, 7, true, 40},
                           {1, 1, 1, 130, 130, 88, true, 90}, {1, 1, 1, 3, 70, 140, true, -1}, {1, 2, 1, 33, 65, 16, true, 9999}};
  for (const shape &c : general)
    for (u32 type : {F32, F16, BF16}) check("attention", c, type, type, 3, type == F32 ? 3e-6 : type == F16 ? 1e-3 : 8e-3);
  const shape hot[] = {{1, 2, 2, 257, 257, 88, false, -1}, {2, 2, 1, 40, 130, 88, true, 9}, {1, 1, 1, 1, 1, 88, false, -1},   {2, 2, 2, 32, 257, 64, false, -1},
                       {2, 2, 2, 32, 32, 64, true, -1},   {1, 4, 2, 150, 200, 64, true, 30}, {1, 2, 1, 33, 65, 64, true, 9999}, {1, 2, 1, 70, 140, 128, true, 20}, {1, 1, 1, 7, 90, 128, false, -1}};
  for (const shape &c : hot)
    for (u32 type : {F16, BF16})
      for (int keys : {64, 272}) {
        if (c.width == 88 && keys == 64) continue;
        if (c.width == 128 && keys == 272) continue;
        char kernel[64];
        snprintf(kernel, sizeof kernel, "attention_%s_%d_%d", type == F16 ? "f16" : "bf16", c.width, keys);
        check(kernel, c, type, c.tq % 2 ? type : F32, 8, type == F16 ? 1.5e-3 : 1e-2);
      }
  const shape grads[] = {{1, 2, 1, 5, 5, 8, true, -1}, {1, 3, 3, 33, 40, 7, true, -1}, {1, 4, 2, 110, 110, 20, true, 30}, {2, 1, 1, 70, 65, 88, false, -1}, {1, 1, 1, 3, 70, 140, true, -1}, {1, 2, 1, 20, 20, 16, true, 9999}};
  for (const shape &c : grads)
    for (u32 type : {F32, BF16}) check_grad(c, type, 1);
  for (auto &w : worst_of) printf("%s: off by %.2g of the largest\n", w.first.c_str(), w.second);
  printf(failures ? "%d failures\n" : "all agree\n", failures);
  return failures != 0;
}
