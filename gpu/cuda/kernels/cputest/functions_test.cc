#include "test.h"

/* Compares a function with float64 at every 1009th float of a range, by units of 2^-23 of the value. */
static void compare(const char *name, float (*f)(float), double (*exact)(double), float from, float to, double units, double floor) {
  double worst = 0;
  float at = 0;
  auto check = [&](float x) {
    const double want = exact(x), d = std::fabs(f(x) - want);
    const double off = d <= floor ? 0 : d / (std::fabs(want) * 0x1p-23);
    if (!(off <= worst)) worst = off, at = x;
  };
  for (int sign = 0; sign < 2; sign++)
    for (u32 b = bits(from); b <= bits(to); b += 1009) check(from_bits(b | (u32)sign << 31));
  note(std::string(name) + ", in units of 2^-23, allowed " + std::to_string(units), worst);
  if (!(worst <= units)) fail("%s(%.9g) is %.9g, want %.9g: %.2f units, allowed %.2f", name, at, f(at), exact(at), worst, units);
}

static double phi(double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; }

TEST(functions) {
  compare("exp32", [](float x) { return exp32(x); }, [](double x) { return std::exp(x); }, 1e-10f, 87.2f, 1.1, 0);
  compare("gelu", [](float x) { return gelu(x); }, [](double x) { return x * phi(x); }, 1e-30f, 1e30f, 6, 1e-36);
  compare("tanh32", [](float x) { return tanh32(x); }, [](double x) { return std::tanh(x); }, 1e-30f, 1e30f, 3, 0);
  compare("silu", [](float x) { return silu(x); }, [](double x) { return x / (1 + std::exp(-x)); }, 1e-30f, 1e30f, 3, 1e-36);
  compare("reciprocal", [](float x) { return reciprocal(x); }, [](double x) { return 1 / x; }, 1e-30f, 1e30f, 1.1, 0);
  /* Slopes have zeros, so the error is against 1. */
  for (double x = -20; x <= 20; x += 0.00137) {
    const double v = (float)x, s = 1 / (1 + std::exp(-v)), t = std::tanh(v);
    const double want[4] = {phi(v) + v * std::exp(-v * v / 2) / std::sqrt(2 * M_PI), 1 - t * t, v > 0 ? 1.0 : 0.0, s * (1 + v * (1 - s))};
    for (u32 f = 0; f < 4; f++)
      if (const double d = std::fabs(slope(f, (float)x) - want[f]); !(d < 4e-7)) fail("slope %u at %g: off by %g", f, x, d);
  }
  for (double x : {1e-300, 0.3, 0.999999, 1.0, 1.5, 7.25, 32000.0, 1e18})
    if (const double d = std::fabs(log64(x) - std::log(x)); d > 4e-16 * std::max(1.0, std::fabs(std::log(x)))) fail("log64(%g) is off by %g", x, d);
  for (float x : {std::numeric_limits<float>::quiet_NaN()})
    for (u32 f = 0; f < 4; f++)
      if (apply(f, x) == apply(f, x)) fail("function %u of NaN is %g", f, apply(f, x));
  if (gelu(-1e30f) != 0 || gelu(1e30f) != 1e30f || tanh32(-1e30f) != -1 || exp32(-1000) != 0 || !std::isinf(exp32(1000))) fail("at the ends");
}

/* The conversions that the CPU build writes out. */
TEST(conversions) {
  for (u32 b = 0; b < 0xffffffffu - 70001; b += 70001) {
    const float x = from_bits(b);
    const u16 h = to_bf16(x);
    if (x != x) {
      if (from_bf16(h) == from_bf16(h)) fail("bfloat16 of NaN");
      continue;
    }
    const double lo = from_bits(b & 0xffff0000u), hi = from_bits((b & 0xffff0000u) + 0x10000u), v = from_bf16(h);
    if (std::isfinite(hi) && std::fabs(v - (double)x) > std::min(std::fabs(lo - (double)x), std::fabs(hi - (double)x))) fail("bfloat16 of %a is %a", x, v);
  }
}
