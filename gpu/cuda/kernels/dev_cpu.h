/* The device names on the CPU, for tests: the threads of a block are fibers of one thread of the host, which run until they wait for each
 * other. Barriers, shuffles and votes are exact, so indexing mistakes show; races do not. cputest/emulator.cc has the scheduler. */
#pragma once
#include <string.h>

#define __global__
#define __device__
/* Blocks run one after another on a thread, so that a thread's variable serves as a block's. */
#define __shared__ static thread_local
#define __constant__ static const
#define DEV static inline
#define DEV_MEMBER inline
#define GLOBAL

/* What the emulator tells a kernel; one for each thread of the host. */
struct emu_state {
  u32 tx, nt, bx, by, bz, gx, gy;
  void *dynamic;
};
extern thread_local emu_state emu;

extern "C" {
void emu_sync();                            /* waits for every thread of the block that has not ended */
void emu_sync_part(u32 id, u32 threads);    /* bar.sync id, threads */
void emu_syncwarp();
void emu_yield();                           /* lets the others run: for loops that wait for a flag */
u32 emu_exchange(u32 v, u32 from);          /* v of another lane of the warp; all lanes take part */
const u32 *emu_gather(u32 v);               /* v of all 32 lanes, valid until the warp's next exchange */
}

struct emu_kernel {
  const char *name;
  size_t size;
  void (*run)(const void *args);
  bool flat;
  emu_kernel *next;
  emu_kernel(const char *name, size_t size, void (*run)(const void *), bool flat);
};

#define EMU_KERNEL(name, flat)                                                                                         \
  static void name(const name##_args a);                                                                               \
  static emu_kernel name##_entry(#name, sizeof(name##_args), [](const void *p) { name(*(const name##_args *)p); }, flat); \
  static void name(const name##_args a)
#define KERNEL(name) EMU_KERNEL(name, false)
#define KERNEL_BOUNDS(name, threads, blocks) EMU_KERNEL(name, false)
#define FLAT_KERNEL(name) EMU_KERNEL(name, true)

#define TX emu.tx
#define BX emu.bx
#define BY emu.by
#define BZ emu.bz
#define NT emu.nt
#define GX emu.gx
#define GY emu.gy
#define LANE (TX & 31)
#define SYNC() emu_sync()
#define SYNCWARP() emu_syncwarp()

DEV void *dynamic() { return emu.dynamic; }
DEV float fma32(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
DEV double fma64(double x, double y, double z) { return __builtin_fma(x, y, z); }
DEV float sqrt32(float x) { return __builtin_sqrtf(x); }
DEV double sqrt64(double x) { return __builtin_sqrt(x); }
DEV float ex2(float x) { return __builtin_exp2f(x); }
DEV float rcp(float x) { return 1.0f / x; }

DEV u32 shfl_xor(u32 v, u32 m) { return emu_exchange(v, LANE ^ m); }
DEV u32 shfl_down(u32 v, u32 d) { return emu_exchange(v, LANE + d < 32 ? LANE + d : LANE); }
DEV u32 shfl(u32 v, u32 lane) { return emu_exchange(v, lane & 31); }
DEV u32 ballot(bool p) {
  const u32 *all = emu_gather(p);
  u32 r = 0;
  for (int i = 0; i < 32; i++) r |= all[i] << i;
  return r;
}

DEV u32 atomic_cas(u32 *p, u32 compare, u32 v) {
  __atomic_compare_exchange_n(p, &compare, v, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
  return compare;
}
DEV u64 atomic_max(u64 *p, u64 v) { return __atomic_fetch_max(p, v, __ATOMIC_SEQ_CST); }
DEV u32 atomic_add(u32 *p, u32 v) { return __atomic_fetch_add(p, v, __ATOMIC_SEQ_CST); }

DEV u16 to_bf16(float x) {
  const u32 b = __builtin_bit_cast(u32, x);
  if (x != x) return 0x7fff;
  return (u16)((b + 0x7fff + (b >> 16 & 1)) >> 16);
}
DEV u16 emu_f16(float x) { return __builtin_bit_cast(u16, (_Float16)x); }
DEV u32 pack_f16(float lo, float hi) { return (u32)emu_f16(lo) | (u32)emu_f16(hi) << 16; }
DEV u32 pack_bf16(float lo, float hi) { return (u32)to_bf16(lo) | (u32)to_bf16(hi) << 16; }
