/* The steps of mma.h on the CPU. A warp's registers are exchanged through a buffer of the warp, twice so that a fast lane does not overwrite
 * what a slow one still reads. An asynchronous copy happens when its group is waited for, and until then its destination is not a number, so
 * that a missing wait shows. */
#pragma once
#include <vector>

DEV u32 smem(const void *p) { return (u32)((const char *)p - (const char *)emu.dynamic); }
DEV char *emu_at(u32 address) { return (char *)emu.dynamic + address; }

DEV void opaque(u32 &) {}

struct emu_copy {
  u32 dst, bytes;
  u64 src;
  u32 group;
};
struct emu_copies {
  u32 groups = 0;
  std::vector<emu_copy> pending;
};
static thread_local emu_copies emu_copying[1024];

DEV void cp_async16(u32 dst, u64 src, u32 bytes) {
  emu_copies &c = emu_copying[TX];
  if ((dst & 15) || (bytes && (src & 15))) __builtin_trap();
  memset(emu_at(dst), 0xff, 16);
  c.pending.push_back({dst, bytes, src, c.groups});
}
DEV void cp_async_commit() { emu_copying[TX].groups++; }
DEV void emu_copies_done(u32 under_way) {
  emu_copies &c = emu_copying[TX];
  size_t i = 0;
  for (; i < c.pending.size() && c.pending[i].group + under_way < c.groups; i++) {
    const emu_copy &p = c.pending[i];
    memset(emu_at(p.dst), 0, 16);
    memcpy(emu_at(p.dst), (const void *)p.src, p.bytes);
  }
  c.pending.erase(c.pending.begin(), c.pending.begin() + (long)i);
}
template <int n> DEV void cp_async_wait() { emu_copies_done(n); }

struct emu_warp {
  u32 turn[32], value[2][32][8];
};
static thread_local emu_warp emu_warps[32];

/* Gives n registers of this lane to the warp and returns those of all lanes. */
DEV const u32 (*emu_share(const u32 *v, int n))[8] {
  emu_warp &w = emu_warps[TX / 32];
  u32(*all)[8] = w.value[w.turn[LANE]++ & 1];
  memcpy(all[LANE], v, (size_t)n * 4);
  emu_syncwarp();
  return all;
}

DEV void emu_ldmatrix(u32 (&r)[4], u32 at, bool turned) {
  if (at & 15) __builtin_trap();
  const u32(*all)[8] = emu_share(&at, 1);
  const u32 lane = LANE;
  for (u32 i = 0; i < 4; i++) {
    u16 v[2];
    for (u32 e = 0; e < 2; e++) {
      const u32 row = turned ? lane % 4 * 2 + e : lane / 4, col = turned ? lane / 4 : lane % 4 * 2 + e;
      memcpy(&v[e], emu_at(all[i * 8 + row][0]) + col * 2, 2);
    }
    r[i] = (u32)v[0] | (u32)v[1] << 16;
  }
}
DEV void ldmatrix4(u32 (&r)[4], u32 at) { emu_ldmatrix(r, at, false); }
DEV void ldmatrix4_trans(u32 (&r)[4], u32 at) { emu_ldmatrix(r, at, true); }

DEV float emu_half(u32 type, u32 pair, u32 i) {
  const u16 h = (u16)(i ? pair >> 16 : pair);
  return type == F16 ? (float)__builtin_bit_cast(_Float16, h) : __builtin_bit_cast(float, (u32)h << 16);
}
/* Registers of a lane: a of A (2 or 4, then 1 or 2 of B). Sums run in double and are rounded once, which is at least as exact as hardware. */
DEV void emu_mma(u32 type, float (&d)[4], const u32 (*all)[8], int k) {
  const u32 lane = LANE;
  for (u32 q = 0; q < 4; q++) {
    const u32 row = lane / 4 + q / 2 * 8, col = lane % 4 * 2 + q % 2;
    double sum = d[q];
    for (u32 i = 0; i < (u32)k; i++) {
      const u32 from = row % 8 * 4 + i % 8 / 2, other = col * 4 + i % 8 / 2;
      sum += (double)emu_half(type, all[from][row / 8 + i / 8 * 2], i & 1) * (double)emu_half(type, all[other][4 + i / 8], i & 1);
    }
    d[q] = (float)sum;
  }
}
template <u32 type> DEV void mma16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  const u32 v[6] = {a[0], a[1], a[2], a[3], b0, b1};
  emu_mma(type, d, emu_share(v, 6), 16);
}
template <u32 type> DEV void mma8(float (&d)[4], u32 a0, u32 a1, u32 b0) {
  const u32 v[5] = {a0, a1, 0, 0, b0};
  emu_mma(type, d, emu_share(v, 5), 8);
}
