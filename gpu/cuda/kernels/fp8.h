/* float32 to e4m3: a sign, 4 bits of exponent from 2^-6 on, 3 of mantissa; below that steps of 2^-9; up to 448, no infinity. Rounds to the
 * nearest, ties to even; what is larger becomes 448, what is not a number stays so. */
#pragma once
#include "dev.h"

#ifdef __CUDA_ARCH__
DEV u32 pack_e4m3(float lo, float hi) {
  u16 r;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(r) : "f"(hi), "f"(lo));
  return r;
}
#else
DEV u32 emu_to_e4m3(float x) {
  const u32 b = bits(x), sign = b >> 24 & 0x80, size = b & 0x7fffffff;
  if (size > 0x7f800000) return 0x7f;
  if (size >= 0x43e80000) return sign | 0x7e; /* 464, half a step beyond 448, and more */
  if (size < 0x3c800000) {                    /* below 2^-6: adding 2^14 leaves steps of 2^-9 */
    return sign | (bits(from_bits(size) + 16384.0f) & 15);
  }
  const u32 rounded = size + 0x7ffff + (size >> 20 & 1); /* 20 bits of mantissa go */
  return sign | ((rounded >> 20) - (120 << 3));
}
DEV u32 pack_e4m3(float lo, float hi) { return emu_to_e4m3(lo) | emu_to_e4m3(hi) << 8; }
#endif
