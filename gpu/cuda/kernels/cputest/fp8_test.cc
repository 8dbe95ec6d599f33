/* Rows to e4m3 on the CPU, against the nearest of all values of e4m3; every storage type, odd addresses, saturating and subnormal results, rows
 * of zeros and of what is not finite. Links with the library of build.sh. */
#include "../hopper.h"
#include "operand.h"

struct quantise_rows_args {
  u64 y, scale;
  Ref x;
  i64 rows, cols, x_row, y_row;
};

static double value(u8 code) {
  const int e = code >> 3 & 15, m = code & 7;
  const double v = e ? ldexp(8 + m, e - 10) : ldexp(m, -9);
  return (code & 127) == 127 ? NAN : code & 128 ? -v : v;
}

static u8 nearest(double v) {
  if (v != v) return 127;
  u8 best = 0;
  for (int c = 1; c < 127; c++) {
    const double d = fabs(fabs(v) - value((u8)c)), least = fabs(fabs(v) - value(best));
    if (d < least || (d == least && c % 2 == 0)) best = (u8)c;
  }
  return best | (std::signbit(v) ? 128 : 0);
}

static void check(u32 type, int rows, int cols, int off, int kind) {
  const i64 x_row = cols + off, y_row = (cols + 15) / 16 * 16;
  operand x(type, x_row * rows, off);
  for (i64 i = 0; i < x_row * rows; i++) {
    float v = normal();
    if (kind == 1) v = i % 3 ? ldexpf(v, -(int)(i % 14)) : v; /* small ones beside large ones: subnormal, ties */
    if (kind == 2) v = (float)(i % 9 - 4) * 0.5f;
    if (kind == 3) v = 0;
    if (kind == 4 && i % 5 == 1) v = INFINITY;
    if (kind == 5 && i % 5 == 1) v = NAN;
    if (kind == 6) v = v * ldexpf(1, -140); /* the scale is 0 in float32, or in float16 every element */
    st(x.r, i, v);
  }
  std::vector<u8> y((size_t)(rows * y_row) + 16, 0xee);
  std::vector<float> scales((size_t)rows + 1, -1);
  const u64 to = ((u64)y.data() + 7) & ~7ull;
  const quantise_rows_args a = {to, (u64)scales.data(), x.r, rows, cols, x_row, y_row};
  if (sower_emulate("quantise_rows", (unsigned)(rows + 7) / 8, 1, 1, 256, 1, 1, 0, &a, sizeof a)) return fail("no kernel quantise_rows");
  for (int r = 0; r < rows; r++) {
    float most = 0;
    for (int c = 0; c < cols; c++)
      if (fabsf(x.at(r * x_row + c)) > most) most = fabsf(x.at(r * x_row + c));
    const float scale = most / 448 > 0 ? most / 448 : 1;
    if (bits(scale) != bits(scales[(size_t)r])) return fail("a row's scale, case " + std::to_string(kind));
    for (int c = 0; c < y_row; c++) {
      const u8 got = ((const u8 *)to)[r * y_row + c], want = c < cols ? nearest(x.at(r * x_row + c) / scale) : 0;
      if (got != want) {
        printf("type %u row %d col %d of %d: %g/%g is %02x, want %02x\n", type, r, c, cols, x.at(r * x_row + c), scale, got, want);
        return fail("quantise_rows, case " + std::to_string(kind));
      }
    }
  }
  if (scales[(size_t)rows] != -1) fail("a scale too many");
}

int main() {
  int count = 0;
  for (u32 type : {F32, F16, BF16})
    for (int cols : {1, 15, 64, 300, 1408})
      for (int off : {0, 3})
        for (int kind = 0; kind < 7; kind++) check(type, 9, cols, off, kind), count++;
  printf("quantise_rows: %d cases\n", count);
  printf(failures ? "%d failures\n" : "all agree\n", failures);
  return failures != 0;
}
