/* Hopper's instructions on the CPU. Products are carried out when they are waited for, from what shared memory holds then, so that a stage which
 * is given back too early shows; bulk copies happen at once, so that one which is started too early shows as well. */
#pragma once

#define ARGUMENTS(name, a) ((u64)&(a))

struct emu_barrier {
  u8 arrivals, pending;
  u16 phase;
  i32 bytes;
};
DEV emu_barrier &emu_barrier_at(u32 at) {
  if (at & 7) __builtin_trap();
  return *(emu_barrier *)emu_at(at);
}
DEV void emu_barrier_step(emu_barrier &b) {
  if (b.pending == 0 && b.bytes == 0) b.phase ^= 1, b.pending = b.arrivals;
}
DEV void barrier_init(u32 at, u32 arrivals) { emu_barrier_at(at) = {(u8)arrivals, (u8)arrivals, 0, 0}; }
DEV void barrier_init_done() {}
DEV void barrier_arrive(u32 at) {
  emu_barrier &b = emu_barrier_at(at);
  if (!b.pending) __builtin_trap();
  b.pending--, emu_barrier_step(b);
}
DEV void barrier_expect(u32 at, u32 bytes) {
  emu_barrier_at(at).bytes += (i32)bytes;
  barrier_arrive(at);
}
DEV void barrier_wait(u32 at, u32 parity) {
  while (*(volatile u16 *)&emu_barrier_at(at).phase == parity) emu_yield();
}

/* What the stand-in for the driver writes in place of a tensor map. */
struct emu_map {
  u64 ptr;
  u32 type, rows, cols, box_rows, box_cols, swizzle;
  u64 row_bytes;
};
DEV void copy_box(u32 dst, u64 map, i32 row, i32 col, u32 barrier) {
  const emu_map &m = *(const emu_map *)map;
  if (dst & 1023 || m.swizzle != 3 || m.box_cols != 64) __builtin_trap(); /* all that is emulated: 16-bit elements, 128-byte swizzle */
  for (u32 r = 0; r < m.box_rows; r++)
    for (u32 c = 0; c < m.box_cols; c++) {
      const u32 at = r * 128 + c * 2;
      u16 v = 0;
      if (row + (i32)r < (i32)m.rows && col + (i32)c < (i32)m.cols) v = *(const u16 *)(m.ptr + (u64)(row + (i32)r) * m.row_bytes + (u64)(col + (i32)c) * 2);
      memcpy(emu_at(dst + (at ^ (at >> 3 & 0x70))), &v, 2);
    }
  emu_barrier &b = emu_barrier_at(barrier);
  b.bytes -= (i32)(m.box_rows * 128);
  emu_barrier_step(b);
}
DEV void prefetch_map(u64) {}

template <int n> DEV void fewer_registers() {}
template <int n> DEV void more_registers() {}

struct emu_product {
  float *d;
  int n;
  u64 a, b;
  u32 keep, group;
};
struct emu_products {
  u32 groups = 0;
  std::vector<emu_product> pending;
};
static thread_local emu_products emu_multiplying[1024];

/* The value of an e4m3: subnormal with exponent 0, else 2^(e-7)·(1+m/8); all ones is not a number. */
DEV float emu_e4m3(u8 v) {
  const int e = v >> 3 & 15, m = v & 7;
  if (e == 15 && m == 7) return __builtin_nanf("");
  const float x = e ? __builtin_ldexpf((float)(8 + m), e - 10) : __builtin_ldexpf((float)m, -9);
  return v & 0x80 ? -x : x;
}
/* Element (row, k) of a described tile: the swizzle mixes bits 4-6 of an address with bits 7-9. */
DEV float emu_tile(u32 type, u64 descriptor, u32 row, u32 k) {
  if (descriptor >> 62 != 1) __builtin_trap();
  const u32 start = (u32)(descriptor & 0x3fff) << 4, groups = (u32)(descriptor >> 32 & 0x3fff) << 4;
  const u32 at = start + row / 8 * groups + row % 8 * 128 + k * (type == E4M3 ? 1 : 2);
  if (type == E4M3) return emu_e4m3(*(const u8 *)emu_at(at ^ (at >> 3 & 0x70)));
  u16 h;
  memcpy(&h, emu_at(at ^ (at >> 3 & 0x70)), 2);
  return emu_half(type, h, 0);
}
DEV void emu_multiply(u32 type, const emu_product &p) {
  const u32 t = TX & 127, lane = t & 31, deep = type == E4M3 ? 32 : 16;
  for (u32 step = 0; step < 4; step++) {
    float a[2][32];
    for (u32 h = 0; h < 2; h++)
      for (u32 k = 0; k < deep; k++) a[h][k] = emu_tile(type, p.a + 2 * step, t / 32 * 16 + lane / 4 + 8 * h, k);
    for (int j = 0; j < p.n / 8; j++)
      for (u32 e = 0; e < 2; e++) {
        float b[32];
        for (u32 k = 0; k < deep; k++) b[k] = emu_tile(type, p.b + 2 * step, (u32)j * 8 + lane % 4 * 2 + e, k);
        for (u32 h = 0; h < 2; h++) {
          float &d = p.d[j * 4 + (int)(2 * h + e)];
          double sum = step == 0 && !p.keep ? 0 : d;
          for (u32 k = 0; k < deep; k++) sum += (double)a[h][k] * (double)b[k];
          d = (float)sum;
        }
      }
  }
}
DEV void keep_in_register(float &) {}
static thread_local u32 emu_product_type;
DEV void wgmma_fence() {}
DEV void wgmma_commit() { emu_multiplying[TX].groups++; }
template <int n> DEV void wgmma_wait() {
  emu_products &e = emu_multiplying[TX];
  size_t i = 0;
  for (; i < e.pending.size() && e.pending[i].group + n < e.groups; i++) emu_multiply(emu_product_type, e.pending[i]);
  e.pending.erase(e.pending.begin(), e.pending.begin() + (long)i);
  emu_syncwarp(); /* the warp waits as one */
}
template <u32 type, int R> DEV void wgmma64(float (&d)[R], u64 a, u64 b, u32 keep) {
  emu_product_type = type;
  emu_products &e = emu_multiplying[TX];
  e.pending.push_back({d, R * 2, a, b, keep, e.groups});
}
