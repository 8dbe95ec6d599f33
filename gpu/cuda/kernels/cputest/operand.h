/* What the tests of the products and of attention share: calls into the library of build.sh, and operands in memory. */
#pragma once
#include "../dev.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string>
#include <vector>

thread_local emu_state emu;
emu_kernel::emu_kernel(const char *, size_t, void (*)(const void *), bool) {}
extern "C" int sower_emulate(const char *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, const void *, size_t);

static int failures;
static void fail(const std::string &what) { printf("FAIL %s\n", what.c_str()), failures++; }

static u64 state = 1;
static float normal() {
  double s = 0;
  for (int i = 0; i < 12; i++) state = state * 6364136223846793005ull + 1442695040888963407ull, s += (double)(state >> 40) / (1 << 24);
  return (float)(s - 6);
}

/* Memory of n elements of a type, `off` elements after a multiple of 64 bytes, surrounded by NaN. */
struct operand {
  std::vector<u32> memory;
  Ref r;
  operand(u32 type, i64 n, int off) : memory((size_t)(n + off + 64) * (type == F32 ? 4 : 2) / 4 + 64, ~0u) {
    const u64 base = ((u64)memory.data() + 63) & ~63ull;
    r = {base + (u64)off * (type == F32 ? 4 : 2), type, 0};
  }
  float at(i64 i) const { return ld(r, i); }
  void fill(i64 n) {
    for (i64 i = 0; i < n; i++) st(r, i, normal());
  }
};
