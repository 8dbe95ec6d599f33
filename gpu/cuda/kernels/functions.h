/* Functions in float32: polynomials fitted for this (minimax of the relative error, by exchange), summed with fused multiply-adds. The GPU
 * and the CPU give the same bits, but for what goes through reciprocal, which may differ in the last place. Errors are against float64 and
 * tested in cputest. Included by dev.h. */
#pragma once

/* 2^n for -126 ≤ n ≤ 127, n whole. */
DEV float power_of_2(i32 n) { return from_bits((u32)(n + 127) << 23); }

/* (e^r - 1 - r)/r² for |r| ≤ ln 2/2, within 3.2e-9. */
DEV float exp_tail(float r) {
  return fma32(fma32(fma32(fma32(0.0013950465f, r, 0.0083688893f), r, 0.041666206f), r, 0.16666519f), r, 0.50000001f);
}

/* e^(x + low) where |low| is small against 1, without over- and underflow: *n is the power of two that is left out. */
DEV float exp_part(float x, float low, i32 *n) {
  const float t = fma32(x, 1.44269504f, 12582912.0f), k = t - 12582912.0f; /* adding 1.5·2^23 leaves a whole number */
  const float r = fma32(k, -1.42860677e-6f, fma32(k, -0.693145752f, x)) + low;
  *n = (i32)(bits(t) - 0x4b400000u);
  return fma32(r * r, exp_tail(r), r) + 1.0f;
}

/* e^x within 1.5 units in the last place; 0 below -87.3, infinite above 88.7. */
DEV float exp32(float x) {
  if (x < -87.33654f) return 0;
  if (x > 88.72283f) return __builtin_inff();
  i32 n;
  const float p = exp_part(x, 0, &n); /* NaN stays one, whatever n is */
  return p * power_of_2(n >> 1) * power_of_2(n - (n >> 1));
}

/* 1/x, x normal and within 2^±126: correctly rounded on the CPU, and but for a few x on the GPU. */
DEV float reciprocal(float x) {
  const float r = rcp(x);
  return fma32(r, fma32(-x, r, 1.0f), r);
}

/* Φ(-t) = erfc(t/√2)/2 for 0 ≤ t, and *density = e^(-t²/2). Relative error 4e-7; 0 beyond 13.19. */
DEV float normal_tail(float t, float *density) {
  const float x = t < 13.19f ? t : 13.19f; /* NaN is the caller's */
  const float square = x * x, low = fma32(x, x, -square);
  i32 n;
  const float p = exp_part(-0.5f * square, -0.5f * low, &n);
  const float e = t < 13.19f ? p * power_of_2(n) : 0;
  /* Φ(-t)·e^(t²/2)·(t+4) is a polynomial in (t-4)/(t+4), within 7.5e-9. */
  const float u = reciprocal(x + 4.0f), q = (x - 4.0f) * u;
  float g = fma32(-1.2568901e-4f, q, 1.931601e-4f);
  g = fma32(g, q, 1.5754607e-3f);
  g = fma32(g, q, -3.5184767e-3f);
  g = fma32(g, q, -7.5291261e-3f);
  g = fma32(g, q, 0.060404506f);
  g = fma32(g, q, -0.18652284f);
  g = fma32(g, q, 0.38713688f);
  g = fma32(g, q, -0.60789661f);
  g = fma32(g, q, 0.75528514f);
  *density = e;
  return g * u * e;
}

/* x·Φ(x), the exact (erf) form, within 5e-7 of the value on either side. */
DEV float gelu(float x) {
  float e;
  const float t = __builtin_fabsf(x), tail = normal_tail(t, &e);
  return x < 0 ? x * tail : fma32(-x, tail, x);
}

/* The derivative of gelu: Φ(x) + x·φ(x). */
DEV float gelu_slope(float x) {
  float e;
  const float tail = normal_tail(__builtin_fabsf(x), &e);
  return fma32(x * 0.39894228f, e, x < 0 ? tail : 1.0f - tail);
}

DEV float tanh32(float x) {
  const float t = __builtin_fabsf(x);
  if (t < 0.6f) {
    const float s = x * x;
    const float p = fma32(fma32(fma32(fma32(-0.005905846f, s, 0.020805365f), s, -0.053786678f), s, 0.13331958f), s, -0.33333299f);
    return fma32(x * s, p, x);
  }
  const float y = 1.0f - 2.0f * reciprocal(exp32(2.0f * (t > 10.0f ? 10.0f : t)) + 1.0f);
  return x < 0 ? -y : y;
}

/* 1/(1 + e^-x), and *rest is 1 minus it, both to the last places. */
DEV float sigmoid(float x, float *rest) {
  const float e = exp32(-__builtin_fabsf(x)), p = 1.0f / (1.0f + e), n = e * p;
  *rest = x < 0 ? p : n;
  return x < 0 ? n : p;
}

DEV float silu(float x) { return x / (1.0f + exp32(-x)); }

/* The functions of package driver, as it numbers them. */
enum { GELU = 0, TANH = 1, RELU = 2, SILU = 3 };

DEV float apply(u32 f, float x) {
  switch (f) {
  case GELU: return gelu(x);
  case TANH: return tanh32(x);
  case SILU: return silu(x);
  }
  return x < 0 ? 0 : x; /* NaN stays one */
}

DEV float slope(u32 f, float x) {
  switch (f) {
  case GELU: return gelu_slope(x);
  case TANH: {
    const float t = tanh32(x);
    return fma32(-t, t, 1.0f);
  }
  case SILU: {
    float rest;
    const float s = sigmoid(x, &rest);
    return s * fma32(x, rest, 1.0f);
  }
  }
  return x > 0 ? 1.0f : 0;
}

/* The natural logarithm of a normal x > 0 in float64. Called once a row, so a plain series will do. */
DEV double log64(double x) {
  u64 b = __builtin_bit_cast(u64, x);
  i32 n = (i32)(b >> 52) - 1023;
  double m = __builtin_bit_cast(double, (b & 0xfffffffffffffull) | 0x3ff0000000000000ull);
  if (m > 1.4142135623730951) m *= 0.5, n++;
  const double s = (m - 1) / (m + 1), s2 = s * s;
  double sum = 0;
#pragma unroll
  for (int k = 23; k >= 1; k -= 2) sum = fma64(sum, s2, 1.0 / k);
  return fma64((double)n, 0.6931471805599453, 2 * s * sum);
}
