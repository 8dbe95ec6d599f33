/* Attention on tensor cores (sm_80 and later) for 16-bit operands whose rows begin at multiples of 16 bytes. A warp has 16 queries and their
 * scores with KEYS keys in registers: with 272 keys a row's softmax is taken whole, with 64 it is kept up with as keys come, so that there may be
 * any number of them. Key blocks lie the same for every query; a row's bits depend on it and the keys alone. */
#include "attention.h"
#include "mma.h"

struct attention_mma_args : attention_args {
  i32 splits, tiles; /* blocks of a head, and how many tiles of 16 queries each of them has */
};

template <u32 type, int D, int KEYS> DEV void attend(const attention_mma_args &a) {
  constexpr int PIECES = D / 8, ROW = PIECES | 1, KT = KEYS / 8, WARPS = 4, STEPS = D / 16;
  constexpr bool WHOLE = KEYS == 272, REST = D % 16 != 0; /* eight columns beyond the steps of 16 */
  const u32 t = TX, lane = LANE, warp = t >> 5, r = lane >> 2, c = (lane & 3) * 2;
  const i32 split = (i32)BX % a.splits;
  const i64 which = (i32)BX / a.splits, batch = which / a.heads, head = which % a.heads, shared = head / a.group;
  const u64 q = a.q.ptr + 2 * (u64)(batch * a.q_batch + head * a.q_head), k = a.k.ptr + 2 * (u64)(batch * a.k_batch + shared * a.k_head),
            v = a.v.ptr + 2 * (u64)(batch * a.v_batch + shared * a.v_head);
  const i64 ybase = batch * a.y_batch + head * a.y_head;
  const bool masked = a.causal || a.starts.ptr;
  const float scale = a.scale * 1.44269504f;
  const i32 held = a.tk < KEYS ? (a.tk + 15) / 16 * 16 : KEYS; /* keys in shared memory at a time */
  const u32 sk = smem(dynamic()), sv = sk + (u32)held * ROW * 16;
  i32 first = split * a.tiles, count = (a.tq + 15) / 16;
  if (first + a.tiles < count) count = first + a.tiles;
  /* Where a lane's rows of matrices begin; the last matrices of a row lack a neighbour, and the last piece stands in for it. */
  u32 keys = sk + ((lane & 7) * ROW + (lane >> 3)) * 16, values = sv + ((lane & 15) * ROW + (lane >> 4)) * 16;
  u32 keys_end = keys - (PIECES % 4 && (lane >> 3) >= PIECES % 4 ? ((lane >> 3) - (PIECES % 4 - 1)) * 16 : 0);
  u32 values_end = values - (PIECES % 2 && lane >> 4 ? 16 : 0);
  auto fetch = [&](i32 key0) {
    SYNC();
    for (i32 at = (i32)t; at < held * PIECES; at += WARPS * 32) {
      const i32 key = at / PIECES, piece = at % PIECES;
      const bool in = key0 + key < a.tk;
      const u32 to = (u32)(key * ROW + piece) * 16;
      cp_async16(sk + to, k + (in ? 2 * (u64)((key0 + key) * a.k_row + piece * 8) : 0), in ? 16 : 0);
      cp_async16(sv + to, v + (in ? 2 * (u64)((key0 + key) * a.v_row + piece * 8) : 0), in ? 16 : 0);
    }
    cp_async_commit();
    cp_async_wait<0>();
    SYNC();
  };
  if (WHOLE) fetch(0);

#pragma unroll 1
  for (i32 tile0 = first; tile0 < count; tile0 += WARPS) {
    const i32 tile = tile0 + (i32)warp, row0 = tile * 16 + (i32)r, row1 = row0 + 8;
    opaque(keys), opaque(keys_end), opaque(values), opaque(values_end);
    /* Keys that any query of the block's four tiles sees, for which all warps go together. */
    i32 low = 0, high = a.causal ? a.tk - a.tq + tile0 * 16 + 16 * WARPS : a.tk;
    high = high < a.tk ? high : a.tk;
    range mine[2];
    mine[0] = row0 < a.tq ? seen(a, batch, row0) : range{0, 0}, mine[1] = row1 < a.tq ? seen(a, batch, row1) : range{0, 0};
    i32 from[2] = {mine[0].from - (i32)c, mine[1].from - (i32)c}, to[2] = {mine[0].to - (i32)c, mine[1].to - (i32)c};
    if (!WHOLE && a.starts.ptr) {
      low = a.tk;
#pragma unroll 1
      for (i32 i = tile0 * 16; i < tile0 * 16 + 16 * WARPS && i < a.tq; i++) {
        const range s = seen(a, batch, i);
        if (s.from < s.to && s.from < low) low = s.from;
      }
      low = low / KEYS * KEYS;
    }
    u32 fq[STEPS][4], rest[2] = {0, 0};
#pragma unroll
    for (int s = 0; s <= STEPS; s++)
#pragma unroll
      for (int h = 0; h < 4; h++) {
        if (s == STEPS && (!REST || h > 1)) continue;
        const i32 row = h & 1 ? row1 : row0;
        const u32 w = row < a.tq ? load<u32>(q + 2 * (u64)(row * a.q_row + s * 16 + h / 2 * 8 + (i32)c), 0) : 0;
        if (s == STEPS) rest[h & 1] = w;
        else fq[s % STEPS][h] = w;
      }
    float o[PIECES][4], most[2] = {minus_infinity(), minus_infinity()}, sum[2] = {0, 0};
#pragma unroll
    for (int i = 0; i < PIECES; i++)
#pragma unroll
      for (int e = 0; e < 4; e++) o[i][e] = 0;
    i32 key0 = WHOLE ? 0 : low;
    do { /* a block in which nothing is seen changes nothing */
      if (!WHOLE) fetch(key0);
      if (tile >= count) continue;
      const i32 here = a.tk - key0; /* keys from key0 on, perhaps more than fit */
      float s[KT][4], m0 = minus_infinity(), m1 = m0;
#pragma unroll
      for (int j = 0; j < KT; j++) {
        if (j * 8 >= here) {
#pragma unroll
          for (int e = 0; e < 4; e++) s[j][e] = minus_infinity();
          continue;
        }
#pragma unroll
        for (int e = 0; e < 4; e++) s[j][e] = 0;
#pragma unroll
        for (int d = 0; d < PIECES; d += 4) {
          u32 b[4];
          ldmatrix4(b, (d + 4 <= PIECES ? keys : keys_end) + (u32)(j * 8 * ROW + d) * 16);
          if (d + 1 < PIECES) mma16<type>(s[j], fq[d / 2 % STEPS], b[0], b[1]);
          else mma8<type>(s[j], rest[0], rest[1], b[0]);
          if (d + 3 < PIECES) mma16<type>(s[j], fq[(d / 2 + 1) % STEPS], b[2], b[3]);
          else if (d + 2 < PIECES) mma8<type>(s[j], rest[0], rest[1], b[2]);
        }
        const bool edge = masked || j * 8 + 8 > here;
#pragma unroll
        for (int e = 0; e < 4; e++) {
          const i32 key = key0 + j * 8 + (e & 1);
          if (edge && (key < from[e >> 1] || key >= to[e >> 1])) s[j][e] = minus_infinity();
        }
        m0 = s[j][0] > m0 ? s[j][0] : m0, m0 = s[j][1] > m0 ? s[j][1] : m0;
        m1 = s[j][2] > m1 ? s[j][2] : m1, m1 = s[j][3] > m1 ? s[j][3] : m1;
      }
      float m[2] = {m0, m1}, fade[2], part[2] = {0, 0};
#pragma unroll
      for (int h = 0; h < 2; h++) {
#pragma unroll
        for (u32 x = 1; x <= 2; x <<= 1) {
          const float w = shfl_xor(m[h], x);
          m[h] = w > m[h] ? w : m[h];
        }
        m[h] = m[h] > most[h] ? m[h] : most[h];
        fade[h] = m[h] == most[h] ? 1.0f : ex2((most[h] - m[h]) * scale);
        most[h] = m[h];
        m[h] = m[h] == minus_infinity() ? 0 : -m[h] * scale; /* 0 where nothing was seen so far, and the exponentials below are 0 */
      }
      u32 p[KT][2];
#pragma unroll
      for (int j = 0; j < KT; j++) {
        float e[4];
#pragma unroll
        for (int i = 0; i < 4; i++) e[i] = ex2(fma32(s[j][i], scale, m[i >> 1])), part[i >> 1] += e[i];
        p[j][0] = pack(type, e[0], e[1]), p[j][1] = pack(type, e[2], e[3]);
      }
#pragma unroll
      for (int h = 0; h < 2; h++) {
        part[h] += shfl_xor(part[h], 1), part[h] += shfl_xor(part[h], 2);
        sum[h] = fma32(sum[h], fade[h], part[h]);
      }
      if (!WHOLE) {
#pragma unroll
        for (int i = 0; i < PIECES; i++) o[i][0] *= fade[0], o[i][1] *= fade[0], o[i][2] *= fade[1], o[i][3] *= fade[1];
      }
#pragma unroll
      for (int j = 0; j < KT / 2; j++) {
        if (j * 16 >= here) continue;
        const u32 w[4] = {p[2 * j][0], p[2 * j][1], p[2 * j + 1][0], p[2 * j + 1][1]};
#pragma unroll
        for (int d = 0; d < PIECES; d += 2) {
          u32 b[4];
          ldmatrix4_trans(b, (d + 2 <= PIECES ? values : values_end) + (u32)(j * 16 * ROW + d) * 16);
          mma16<type>(o[d], w, b[0], b[1]);
          if (d + 1 < PIECES) mma16<type>(o[(d + 1) % PIECES], w, b[2], b[3]);
        }
      }
    } while (!WHOLE && (key0 += KEYS) < high);
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const i32 row = h ? row1 : row0;
      if (tile >= count || row >= a.tq) continue;
      const float factor = sum[h] == 0 ? 0 : 1.0f / sum[h];
#pragma unroll
      for (int i = 0; i < PIECES; i++) {
        float e[2] = {o[i][2 * h] * factor, o[i][2 * h + 1] * factor};
        st_n(a.y, ybase + row * a.y_row + i * 8 + (i32)c, 2, e);
      }
    }
  }
}

/* 128 threads and 2·keys·(D/8|1)·16 bytes of dynamic shared memory, keys being the lesser of KEYS and tk rounded up to 16. Block
 * (batch·heads + head)·splits + split; with more keys than KEYS, tiles is 4. */
#define ATTENTION(type, T, D, KEYS)                                             \
  typedef attention_mma_args attention_##type##_##D##_##KEYS##_args;            \
  KERNEL_BOUNDS(attention_##type##_##D##_##KEYS, 128, 2) { attend<T, D, KEYS>(a); }
ATTENTION(f16, F16, 88, 272)
ATTENTION(f16, F16, 64, 272)
ATTENTION(f16, F16, 64, 64)
ATTENTION(f16, F16, 128, 64)
ATTENTION(bf16, BF16, 88, 272)
ATTENTION(bf16, BF16, 64, 272)
ATTENTION(bf16, BF16, 64, 64)
ATTENTION(bf16, BF16, 128, 64)
