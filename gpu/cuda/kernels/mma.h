/* Tensor-core steps of sm_80: asynchronous copies into shared memory, loads of 8x8 matrices of 16-bit elements, and products with float32
 * sums. mma_cpu.h emulates them lane by lane; shared memory they work on must be dynamic there. */
#pragma once
#include "dev.h"

#ifdef __CUDA_ARCH__

/* Starts a copy of 16 bytes to shared memory at dst, or writes zeros there if bytes is 0. */
DEV void cp_async16(u32 dst, u64 src, u32 bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(dst), "l"(src), "r"(bytes) : "memory");
}
DEV void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/* Waits until at most n groups of this thread are under way. */
template <int n> DEV void cp_async_wait() { asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory"); }

/* Four 8x8 matrices; lanes 8i to 8i+7 give the addresses of the rows of matrix i. */
DEV void ldmatrix4(u32 (&r)[4], u32 at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}
/* The same, each matrix turned. */
DEV void ldmatrix4_trans(u32 (&r)[4], u32 at) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];" : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(at) : "memory");
}

/* d [16 8] += a [16 16]·b [16 8]. */
template <u32 type> DEV void mma16(float (&d)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  if (type == F16)
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};" : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5,%6,%7},{%8,%9},{%0,%1,%2,%3};" : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
/* d [16 8] += a [16 8]·b [8 8]. */
template <u32 type> DEV void mma8(float (&d)[4], u32 a0, u32 a1, u32 b0) {
  if (type == F16)
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3},{%4,%5},{%6},{%0,%1,%2,%3};" : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a0), "r"(a1), "r"(b0));
  else
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3},{%4,%5},{%6},{%0,%1,%2,%3};" : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a0), "r"(a1), "r"(b0));
}

/* Hides where x comes from, so that what is computed of it stays inside a loop instead of waiting in registers outside. */
DEV void opaque(u32 &x) { asm volatile("" : "+r"(x)); }

#else
#include "mma_cpu.h"
#endif
