/* Matrix products on Hopper (compute capability 9.0, sm_90a), of float16, bfloat16 or e4m3. One block a multiprocessor takes tiles of 128 x N in
 * turn. A warp of the first group of four has bulk copies fill a ring of stages of 128 bytes of each row of A and B; the other two groups multiply,
 * each a tile of its own, so that while one adds bias, function and residual to its sums and stores them, the other keeps the tensor cores busy.
 * Each begins when the other has issued its last products: a wait for a stage tells only whether the phase before is over, so that nobody may be
 * further ahead. The sum of an element is made of the same steps in the same order for any size and N.
 *
 * Products of e4m3 are summed by tensor cores with fewer bits than float32 has, about 14; so those of a stage, 128 of k, are summed apart and then
 * added to the sums in float32. */
#pragma once
#include "hopper.h"
#include "products.h"

/* a_map is A [m k] in boxes of 128 rows by 128 bytes, b_map B [n k] in boxes of N rows, both with the 128-byte swizzle and made of 16-bit elements:
 * two of e4m3 are one. p.a and p.b are not used, or for e4m3 the factors of the rows of A [m] and of B [n], in float32. */
struct hopper_args {
  tensor_map a_map, b_map;
  product_args p;
};

enum { TILE_M = 128, DEPTH = 64, RING = 4, GROUP = 128 };

template <int N> struct layout {
  enum : u32 {
    A_BYTES = TILE_M * DEPTH * 2,
    STAGE = A_BYTES + N * DEPTH * 2,
    PITCH = N / 2 + 8, /* floats of a row of sums on their way out: rows of a warp in different banks */
    OUT = RING * STAGE,
    WARP_OUT = 16 * PITCH * 4,
    BARRIERS = OUT + 8 * WARP_OUT,
    BYTES = BARRIERS + RING * 16 + 16 + 1024, /* to align the ring */
  };
};

template <u32 type, int N> DEV void multiply(const hopper_args &a, u64 arguments) {
  typedef layout<N> at;
  const product_args &p = a.p;
  const u32 t = TX, group = t / GROUP, lane = LANE;
  const u32 base = (smem(dynamic()) + 1023) & ~1023u, full = base + at::BARRIERS, empty = full + RING * 8, turns = empty + RING * 8;
  const u32 tm = (u32)(p.m + TILE_M - 1) / TILE_M, tn = (u32)(p.n + N - 1) / N, tiles = tm * tn;
  constexpr u32 deep = type == E4M3 ? 2 * DEPTH : DEPTH;
  const u32 steps = ((u32)p.k + deep - 1) / deep;
  if (t == 0) {
    for (u32 s = 0; s < RING; s++) barrier_init(full + s * 8, 1), barrier_init(empty + s * 8, GROUP / 32);
    barrier_init(turns, GROUP / 32), barrier_init(turns + 8, GROUP / 32);
    barrier_init_done();
  }
  SYNC();
  if (group == 0) {
    fewer_registers<24>();
    if (t == 0) {
      const u64 a_map = arguments, b_map = arguments + sizeof(tensor_map);
      prefetch_map(a_map), prefetch_map(b_map);
      u32 stage = 0, parity = 1; /* stages are free the first time round */
      for (u32 tile = BX; tile < tiles; tile += GX) {
        u32 row, col;
        tile_of(tile, tm, tn, row, col);
        for (u32 step = 0; step < steps; step++) {
          barrier_wait(empty + stage * 8, parity);
          barrier_expect(full + stage * 8, at::STAGE);
          const u32 to = base + stage * at::STAGE;
          copy_box(to, a_map, (i32)(row * TILE_M), (i32)(step * DEPTH), full + stage * 8);
          copy_box(to + at::A_BYTES, b_map, (i32)(col * N), (i32)(step * DEPTH), full + stage * 8);
          if (++stage == RING) stage = 0, parity ^= 1;
        }
      }
    }
    return;
  }
  more_registers<240>();
  const u32 warp = t / 32 - 4; /* of the eight that multiply */
  float *out = (float *)((char *)dynamic() + (base - smem(dynamic())) + at::OUT + warp * at::WARP_OUT);
  u32 turn = 0;
  for (u32 tile = BX; tile < tiles; tile += GX, turn++) {
    if ((turn & 1) != group - 1) continue;
    float low[N / 2], high[N / 2]; /* sums of rows 0-63 and 64-127 of the tile */
#pragma unroll
    for (int i = 0; i < N / 2; i++) low[i] = high[i] = 0;
    const u32 first = turn * steps;
    u32 stage = first % RING, parity = first / RING & 1, before = 0;
    if (turn) barrier_wait(turns + (turn & 1) * 8, (turn - 1) >> 1 & 1);
    for (u32 step = 0; step < steps; step++) {
      barrier_wait(full + stage * 8, parity);
      const u32 tile_a = base + stage * at::STAGE;
      const u64 da = tile_descriptor(tile_a), db = tile_descriptor(tile_a + at::A_BYTES);
      if constexpr (type == E4M3) {
        float part[N / 2];
        auto add = [&](float(&sums)[N / 2], u64 rows, bool last) __attribute__((always_inline)) {
#pragma unroll
          for (int i = 0; i < N / 2; i++) part[i] = 0;
          wgmma_fence();
          wgmma64<type>(part, rows, db, 0);
          wgmma_commit();
          if (last && lane == 0) barrier_arrive(turns + (~turn & 1) * 8);
          wgmma_wait<0>();
#pragma unroll
          for (int i = 0; i < N / 2; i++) keep_in_register(part[i]), sums[i] += part[i];
        };
        add(low, da, false);
        add(high, da + (64 * 128 >> 4), step + 1 == steps);
        if (lane == 0) barrier_arrive(empty + stage * 8);
      } else {
        wgmma_fence();
        wgmma64<type>(low, da, db, step != 0);
        wgmma64<type>(high, da + (64 * 128 >> 4), db, step != 0);
        wgmma_commit();
        wgmma_wait<1>(); /* the step before is done with its stage */
        if (step && lane == 0) barrier_arrive(empty + before * 8);
        before = stage;
      }
      if (++stage == RING) stage = 0, parity ^= 1;
    }
    if constexpr (type != E4M3) {
      if (lane == 0) barrier_arrive(turns + (~turn & 1) * 8);
      wgmma_wait<0>();
#pragma unroll
      for (int i = 0; i < N / 2; i++) keep_in_register(low[i]), keep_in_register(high[i]);
      if (lane == 0) barrier_arrive(empty + before * 8);
    }

    /* A warp's sums leave by its part of shared memory, 16 rows by N/2 columns at a time, so that each thread finishes eight of a row at once. */
    u32 row, col;
    tile_of(tile, tm, tn, row, col);
#pragma unroll 1
    for (int part = 0; part < 4; part++) {
      float *const to = out + (lane >> 2) * at::PITCH + (lane & 3) * 2;
      auto put = [&](const float(&d)[N / 2], int half) __attribute__((always_inline)) {
#pragma unroll
        for (int j = 0; j < N / 16; j++)
#pragma unroll
          for (int e = 0; e < 4; e++) to[e / 2 * 8 * at::PITCH + j * 8 + e % 2] = d[half * (N / 4) + j * 4 + e];
      };
      if (part == 0) put(low, 0);
      else if (part == 1) put(low, 1);
      else if (part == 2) put(high, 0);
      else put(high, 1);
      SYNCWARP();
#pragma unroll 1
      for (u32 i = lane; i < 16 * N / 16; i += 32) {
        const u32 r = i / (N / 16), c = i % (N / 16) * 8;
        float v[8];
#pragma unroll
        for (int q = 0; q < 8; q++) v[q] = out[r * at::PITCH + c + (u32)q];
        const int y = (int)(row * TILE_M + (u32)part / 2 * 64 + warp % 4 * 16 + r), x = (int)(col * N + (u32)part % 2 * (N / 2) + c);
        if constexpr (type == E4M3) {
          if (y >= p.m) continue;
          const float of_row = load<float>(p.a.ptr, y);
          float of_cols[8];
          ld_n(of_cols, p.b, x, p.n - x);
#pragma unroll
          for (int q = 0; q < 8; q++) v[q] *= of_row * of_cols[q];
        }
        finish(p, 0, y, x, v);
      }
      SYNCWARP();
    }
  }
}
