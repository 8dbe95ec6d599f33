/* The device names that the kernels use, on clang's builtins: no CUDA toolkit is needed to compile them. The same sources compile for the
 * CPU with dev_cpu.h, where threads are fibers.
 *
 * Two rules keep results close on both, and the same bits whichever path computes them: sources are compiled with
 * -ffp-contract=off, so that a fused multiply-add is written out as fma32; and functions are polynomials of ours (functions.h), not the
 * special function unit's. */
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef int i32;
typedef unsigned long long u64;
typedef long long i64;
typedef u32 u32x2 __attribute__((ext_vector_type(2)));
typedef u32 u32x4 __attribute__((ext_vector_type(4)));
typedef float f32x4 __attribute__((ext_vector_type(4)));
typedef _Float16 f16x2 __attribute__((ext_vector_type(2)));

#ifdef __CUDA_ARCH__

#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
#define __constant__ __attribute__((constant))
#define DEV static __device__ __attribute__((always_inline)) inline
#define DEV_MEMBER __device__ __attribute__((always_inline)) inline
/* Pointers into global memory are cast to this, so that loads need not look up which memory is meant. */
#define GLOBAL __attribute__((address_space(1)))
/* KERNEL(name) begins the definition of a kernel whose single argument, a, is a name_args by value. KERNEL_BOUNDS says how many threads a
 * block has at most and how many blocks a multiprocessor should hold. FLAT_KERNEL has no barrier, shuffle or other collective, which lets
 * the CPU run it as a loop. */
#define KERNEL(name) extern "C" __global__ void name(const name##_args a)
#define KERNEL_BOUNDS(name, threads, blocks) extern "C" __global__ __attribute__((launch_bounds(threads, blocks))) void name(const name##_args a)
#define FLAT_KERNEL(name) KERNEL(name)

#define TX __nvvm_read_ptx_sreg_tid_x()
#define BX __nvvm_read_ptx_sreg_ctaid_x()
#define BY __nvvm_read_ptx_sreg_ctaid_y()
#define BZ __nvvm_read_ptx_sreg_ctaid_z()
#define NT __nvvm_read_ptx_sreg_ntid_x()
#define GX __nvvm_read_ptx_sreg_nctaid_x()
#define GY __nvvm_read_ptx_sreg_nctaid_y()
#define LANE (TX & 31)
#define SYNC() __syncthreads()
#define SYNCWARP() __nvvm_bar_warp_sync(0xffffffffu)

/* The block's dynamic shared memory, whose size the launch says. */
extern __shared__ __attribute__((aligned(1024))) u32x4 dynamic_shared[];
DEV void *dynamic() { return dynamic_shared; }
/* The 32-bit address that PTX instructions on shared memory take. */
DEV u32 smem(const void *p) { return (u32)(u64)(__attribute__((address_space(3))) const void *)p; }

DEV float fma32(float x, float y, float z) { return __nvvm_fma_rn_f(x, y, z); }
DEV double fma64(double x, double y, double z) { return __nvvm_fma_rn_d(x, y, z); }
DEV float sqrt32(float x) { return __nvvm_sqrt_rn_f(x); }
DEV double sqrt64(double x) { return __nvvm_sqrt_rn_d(x); }
/* 2^x by the special function unit, within 2 units in the last place. */
DEV float ex2(float x) { return __nvvm_ex2_approx_f(x); }
/* 1/x within one unit in the last place. */
DEV float rcp(float x) { return __nvvm_rcp_approx_ftz_f(x); }

DEV u32 shfl_xor(u32 v, u32 m) { return (u32)__nvvm_shfl_sync_bfly_i32(0xffffffffu, (int)v, (int)m, 31); }
DEV u32 shfl_down(u32 v, u32 d) { return (u32)__nvvm_shfl_sync_down_i32(0xffffffffu, (int)v, (int)d, 31); }
DEV u32 shfl(u32 v, u32 lane) { return (u32)__nvvm_shfl_sync_idx_i32(0xffffffffu, (int)v, (int)lane, 31); }
DEV u32 ballot(bool p) { return __nvvm_vote_ballot_sync(0xffffffffu, p); }

DEV u32 atomic_cas(u32 *p, u32 compare, u32 v) { return (u32)__nvvm_atom_cas_gen_i((int *)p, (int)compare, (int)v); }
DEV u64 atomic_max(u64 *p, u64 v) { return __nvvm_atom_max_gen_ull(p, v); }
DEV u32 atomic_add(u32 *p, u32 v) { return (u32)__nvvm_atom_add_gen_i((int *)p, (int)v); }

/* float32 to 16 bits, to the nearest, ties to even. */
DEV u16 to_bf16(float x) { u16 r; asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r) : "f"(x)); return r; }
DEV u32 pack_f16(float lo, float hi) { u32 r; asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo)); return r; }
DEV u32 pack_bf16(float lo, float hi) { u32 r; asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(hi), "f"(lo)); return r; }

#else
#include "dev_cpu.h"
#endif

DEV u32 bits(float x) { return __builtin_bit_cast(u32, x); }
DEV float from_bits(u32 x) { return __builtin_bit_cast(float, x); }
DEV u16 to_f16(float x) { return __builtin_bit_cast(u16, (_Float16)x); }
DEV float from_f16(u16 x) { return (float)__builtin_bit_cast(_Float16, x); }
DEV float from_bf16(u16 x) { return from_bits((u32)x << 16); }

DEV float shfl_xor(float v, u32 m) { return from_bits(shfl_xor(bits(v), m)); }
DEV float shfl_down(float v, u32 d) { return from_bits(shfl_down(bits(v), d)); }
DEV float shfl(float v, u32 lane) { return from_bits(shfl(bits(v), lane)); }
DEV double shfl_xor(double v, u32 m) {
  const u64 b = __builtin_bit_cast(u64, v);
  return __builtin_bit_cast(double, (u64)shfl_xor((u32)b, m) | (u64)shfl_xor((u32)(b >> 32), m) << 32);
}
DEV double shfl_down(double v, u32 d) {
  const u64 b = __builtin_bit_cast(u64, v);
  return __builtin_bit_cast(double, (u64)shfl_down((u32)b, d) | (u64)shfl_down((u32)(b >> 32), d) << 32);
}

/* The element types in memory; package kernels has the same numbers. */
enum { F32 = 0, F16 = 1, BF16 = 2, U8 = 3, I32 = 4 };

/* An operand: where its first element lies and how its elements are stored. ptr 0 is an operand left out. */
struct Ref {
  u64 ptr;
  u32 type, pad;
};

/* Element i of an address, as it is stored. */
template <typename T> DEV T load(u64 ptr, i64 i) { return ((const GLOBAL T *)ptr)[i]; }
template <typename T> DEV void store(u64 ptr, i64 i, T v) { ((GLOBAL T *)ptr)[i] = v; }

DEV u32 type_size(u32 type) { return type == F32 || type == I32 ? 4 : type == U8 ? 1 : 2; }

/* Element i of a float operand. The branch is the same for all threads. */
DEV float ld(const Ref &r, i64 i) {
  if (r.type == F32) return load<float>(r.ptr, i);
  const u16 h = load<u16>(r.ptr, i);
  return r.type == F16 ? from_f16(h) : from_bf16(h);
}

/* Writes v to element i, rounded to the nearest, ties to even. */
DEV void st(const Ref &r, i64 i, float v) {
  if (r.type == F32) store(r.ptr, i, v);
  else store(r.ptr, i, r.type == F16 ? to_f16(v) : to_bf16(v));
}

DEV float half_at(u32 type, u32 pair, int i) {
  const u16 h = (u16)(i ? pair >> 16 : pair);
  return type == F16 ? from_f16(h) : from_bf16(h);
}

/* Whether element i and those that follow it may be moved 8 at a time: 16 or 32 bytes, aligned. */
DEV bool aligned8(const Ref &r, i64 i) { return ((r.ptr + (u64)i * type_size(r.type)) & 15) == 0; }

/* Eight elements from i on, which must be aligned8. */
DEV void ld8(float (&v)[8], const Ref &r, i64 i) {
  if (r.type == F32) {
    const f32x4 lo = load<f32x4>(r.ptr + 4 * i, 0), hi = load<f32x4>(r.ptr + 4 * i, 1);
#pragma unroll
    for (int q = 0; q < 4; q++) v[q] = lo[q], v[4 + q] = hi[q];
    return;
  }
  const u32x4 w = load<u32x4>(r.ptr + 2 * i, 0);
#pragma unroll
  for (int q = 0; q < 8; q++) v[q] = half_at(r.type, w[q / 2], q & 1);
}

DEV void st8(const Ref &r, i64 i, const float (&v)[8]) {
  if (r.type == F32) {
    store(r.ptr + 4 * i, 0, f32x4{v[0], v[1], v[2], v[3]});
    store(r.ptr + 4 * i, 1, f32x4{v[4], v[5], v[6], v[7]});
  } else if (r.type == F16) {
    store(r.ptr + 2 * i, 0, u32x4{pack_f16(v[0], v[1]), pack_f16(v[2], v[3]), pack_f16(v[4], v[5]), pack_f16(v[6], v[7])});
  } else {
    store(r.ptr + 2 * i, 0, u32x4{pack_bf16(v[0], v[1]), pack_bf16(v[2], v[3]), pack_bf16(v[4], v[5]), pack_bf16(v[6], v[7])});
  }
}

/* Up to eight elements from i on, the others 0; by 16 bytes where that is possible. The values are the same either way. */
DEV void ld_up_to8(float (&v)[8], const Ref &r, i64 i, i64 n) {
  if (n >= 8 && aligned8(r, i)) return ld8(v, r, i);
  if (r.type == F32) {
#pragma unroll
    for (int q = 0; q < 8; q++) v[q] = q < n ? load<float>(r.ptr, i + q) : 0;
    return;
  }
#pragma unroll
  for (int q = 0; q < 8; q++) v[q] = half_at(r.type, q < n ? load<u16>(r.ptr, i + q) : 0, 0);
}

DEV void st_up_to8(const Ref &r, i64 i, i64 n, const float (&v)[8]) {
  if (n >= 8 && aligned8(r, i)) return st8(r, i, v);
  if (r.type == F32) {
#pragma unroll
    for (int q = 0; q < 8; q++)
      if (q < n) store(r.ptr, i + q, v[q]);
    return;
  }
#pragma unroll
  for (int q = 0; q < 8; q++)
    if (q < n) store(r.ptr, i + q, r.type == F16 ? to_f16(v[q]) : to_bf16(v[q]));
}

/* The operations that can meet a number out of range. */
enum { OP_LOOKUP = 1, OP_LOOKUP_MATRIX, OP_ROTATE, OP_SCATTER_ROWS, OP_ADD_ROWS, OP_CROSS_ENTROPY };

/* The record of the first number out of range that a stream met; all zero is none. Package kernels has the
 * same numbers and layout (ErrorRecord). */
struct error_record {
  u32 op;        /* the operation that met it */
  u32 pad;
  u64 inverted;  /* ~(position << 32 | id): the greatest is that of the first position */
  i64 limit;     /* ids are from 0 to limit - 1 */
  u64 reserved;
};

/* Notes an id out of range at a position of the operands. The first operation keeps the record, and in it the first position. */
DEV void out_of_range(u64 record, u32 op, u64 position, i32 id, i64 limit) {
  if (!record) return;
  error_record *r = (error_record *)record;
  const u32 before = atomic_cas(&r->op, 0, op);
  if (before != 0 && before != op) return;
  atomic_max(&r->inverted, ~(position << 32 | (u64)(u32)id));
  r->limit = limit;
}

#include "functions.h"
