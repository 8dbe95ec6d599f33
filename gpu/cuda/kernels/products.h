/* What the matrix products share: their arguments, the order in which blocks take tiles, and what happens to a sum before it is stored. */
#pragma once
#include "dev.h"

/* C [m n] = A [m k]·B [k n] for each of batch x heads, with what may follow it: + bias, a function, + residual, each rounded to the type
 * of C as the separate operations would, so that fused and separate bits are equal. */
struct product_args {
  Ref c, a, b, bias, residual;
  i64 c_row, a_row, b_row, residual_row; /* elements from one row in memory to the next */
  i64 c_batch, c_head, a_batch, a_head, b_batch, b_head;
  i32 m, n, k, heads, batch;
  u32 f;          /* 0, or 1 + the number of a function */
  u32 accumulate; /* add to C */
  u32 narrow;     /* round operands to this type first; 0: leave them */
};

DEV float round_to(u32 type, float v) { return type == F32 ? v : type == F16 ? from_f16(to_f16(v)) : from_bf16(to_bf16(v)); }

/* N elements (2, 4 or 8) from i on of which `have` are wanted, in one piece where memory is aligned for it. */
template <int N> DEV bool whole(const Ref &r, i64 i, int have) {
  const u32 size = type_size(r.type);
  return have >= N && ((r.ptr + (u64)i * size) & ((N * size < 16 ? N * size : 16) - 1)) == 0;
}

template <int N> DEV void ld_n(float (&v)[N], const Ref &r, i64 i, int have) {
  if (whole<N>(r, i, have)) {
    if (r.type == F32) {
#pragma unroll
      for (int q = 0; q < N; q += 4) {
        if (N >= 4) {
          const f32x4 w = load<f32x4>(r.ptr + 4 * (u64)(i + q), 0);
          v[q] = w[0], v[q + 1] = w[1], v[(q + 2) % N] = w[2], v[(q + 3) % N] = w[3];
        } else {
          const u32x2 w = load<u32x2>(r.ptr + 4 * (u64)i, 0);
          v[0] = from_bits(w[0]), v[1] = from_bits(w[1]);
        }
      }
    } else {
      u32 w[4] = {0, 0, 0, 0};
      const u64 at = r.ptr + 2 * (u64)i;
      if (N == 8) {
        const u32x4 x = load<u32x4>(at, 0);
        w[0] = x[0], w[1] = x[1], w[2] = x[2], w[3] = x[3];
      } else if (N == 4) {
        const u32x2 x = load<u32x2>(at, 0);
        w[0] = x[0], w[1] = x[1];
      } else {
        w[0] = load<u32>(at, 0);
      }
#pragma unroll
      for (int q = 0; q < N; q++) v[q] = half_at(r.type, w[q / 2], q & 1);
    }
    return;
  }
#pragma unroll
  for (int q = 0; q < N; q++) v[q] = q < have ? ld(r, i + q) : 0;
}

DEV u32 pack(u32 type, float lo, float hi) { return type == F16 ? pack_f16(lo, hi) : pack_bf16(lo, hi); }

template <int N> DEV void st_n(const Ref &r, i64 i, int have, const float (&v)[N]) {
  if (whole<N>(r, i, have)) {
    if (r.type == F32) {
      const u64 at = r.ptr + 4 * (u64)i;
      if (N == 2) store(at, 0, u32x2{bits(v[0]), bits(v[1])});
#pragma unroll
      for (int q = 0; q + 4 <= N; q += 4) store(at + 4 * q, 0, f32x4{v[q], v[(q + 1) % N], v[(q + 2) % N], v[(q + 3) % N]});
    } else {
      const u64 at = r.ptr + 2 * (u64)i;
      if (N == 8) {
        store(at, 0, u32x4{pack(r.type, v[0], v[1]), pack(r.type, v[2 % N], v[3 % N]), pack(r.type, v[4 % N], v[5 % N]), pack(r.type, v[6 % N], v[7 % N])});
      } else if (N == 4) {
        store(at, 0, u32x2{pack(r.type, v[0], v[1]), pack(r.type, v[2 % N], v[3 % N])});
      } else {
        store(at, 0, pack(r.type, v[0], v[1]));
      }
    }
    return;
  }
#pragma unroll
  for (int q = 0; q < N; q++)
    if (q < have) st(r, i + q, v[q]);
}

/* Stores N sums of one row, columns col on, with what follows a product. base is where the matrix begins. */
template <int N> DEV void finish(const product_args &a, i64 base, int row, int col, float (&v)[N]) {
  const int have = a.n - col;
  if (row >= a.m || have <= 0) return;
  const i64 at = base + row * a.c_row + col;
  const u32 type = a.c.type;
  float w[N];
  if (a.accumulate) {
    ld_n(w, a.c, at, have);
#pragma unroll
    for (int q = 0; q < N; q++) v[q] = w[q] + v[q];
  }
  if (a.bias.ptr) {
    ld_n(w, a.bias, col, have);
#pragma unroll
    for (int q = 0; q < N; q++) v[q] = round_to(type, v[q]) + w[q];
  }
  if (a.f) {
#pragma unroll
    for (int q = 0; q < N; q++) v[q] = apply(a.f - 1, round_to(type, v[q]));
  }
  if (a.residual.ptr) {
    ld_n(w, a.residual, row * a.residual_row + col, have);
#pragma unroll
    for (int q = 0; q < N; q++) v[q] = round_to(type, v[q]) + w[q];
  }
  st_n(a.c, at, have, v);
}

/* Tile number `at` of tm x tn: columns of 8 row tiles, so that what runs at a time shares operands in the second-level cache. */
DEV void tile_of(u32 at, u32 tm, u32 tn, u32 &row, u32 &col) {
  const u32 group = 8, first = at / (group * tn) * group, in = at % (group * tn);
  const u32 high = tm - first < group ? tm - first : group;
  row = first + in % high, col = in / high;
}
