/* Hopper's own instructions (sm_90a): barriers that count arrivals and bytes, bulk copies of boxes of a matrix, products by a group of four
 * warps. hopper_cpu.h emulates them. Addresses of shared memory are 32-bit ones, see smem. */
#pragma once
#include "mma.h"

/* The element type of FP8 products, beside those of dev.h: a sign, 4 bits of exponent, 3 of mantissa, up to 448, no infinity. */
enum { E4M3 = 5 };

struct alignas(64) tensor_map {
  u8 bytes[128];
};

/* Describes a tile in shared memory to wgmma: rows of 128 bytes, mixed as the bulk copy's 128-byte swizzle does, in groups of eight rows that
 * follow each other. Bits 0-13 are the address/16, 16-29 a distance that this layout does not use, 32-45 the distance of groups/16, 62-63 the
 * swizzle. 32 bytes further along the row are 2 more. */
DEV u64 tile_descriptor(u32 at) { return (u64)(at >> 4 & 0x3fff) | 1ull << 16 | (u64)(1024 >> 4) << 32 | 1ull << 62; }

#ifdef __CUDA_ARCH__

/* The address of a kernel's argument struct where the driver put it; tensor maps must not be copied. */
#define ARGUMENTS(name, a)                                                                                            \
  ([] __attribute__((device)) {                                                                                       \
    u64 r;                                                                                                            \
    asm("{\n.reg .b64 t;\nmov.b64 t, " #name "_param_0;\ncvta.param.u64 %0, t;\n}" : "=l"(r));                        \
    return r;                                                                                                         \
  }())

DEV void barrier_init(u32 at, u32 arrivals) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(at), "r"(arrivals) : "memory"); }
/* Makes barriers that were set up known to bulk copies. */
DEV void barrier_init_done() { asm volatile("fence.mbarrier_init.release.cluster;\nfence.proxy.async;" ::: "memory"); }
DEV void barrier_arrive(u32 at) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(at) : "memory"); }
/* Arrives, and lets the phase wait for so many bytes too. */
DEV void barrier_expect(u32 at, u32 bytes) { asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(bytes) : "memory"); }
/* Waits for the end of the phase of that parity; before the first phase ends, that of parity 1 counts as over. */
DEV void barrier_wait(u32 at, u32 parity) {
  u32 done;
  do {
    asm volatile("{\n.reg .pred p;\nmbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\nselp.u32 %0, 1, 0, p;\n}" : "=r"(done) : "r"(at), "r"(parity) : "memory");
  } while (!done);
}

/* Copies the map's box that begins at a row and column to shared memory at dst; its bytes count on the barrier. */
DEV void copy_box(u32 dst, u64 map, i32 row, i32 col, u32 barrier) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];" ::"r"(dst), "l"(map), "r"(col), "r"(row), "r"(barrier) : "memory");
}
DEV void prefetch_map(u64 map) { asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory"); }

/* How many registers each thread of this group of four warps has from here on. */
template <int n> DEV void fewer_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(n)); }
template <int n> DEV void more_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(n)); }

/* Sums in registers and tiles in shared memory are ready for the products that follow. */
DEV void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
DEV void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/* Waits until at most n groups of products are under way. */
template <int n> DEV void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(n) : "memory"); }
/* Sums are read after the wait, not before. */
DEV void keep_in_register(float &x) { asm volatile("" : "+f"(x)::"memory"); }
#include "wgmma.h"

#else
#include "hopper_cpu.h"
#endif
