/* Tests of kernels on the CPU against float64. A test file includes the sources whose kernels it runs, for their argument structs; the
 * kernels themselves are called by name in libsowerkernels.so. Results may differ from float64 by a bound times the largest result, and by
 * the rounding to the storage type. */
#pragma once
#include "../dev.h"
#undef EMU_KERNEL
#define EMU_KERNEL(name, flat) [[maybe_unused]] static void name(const name##_args a)

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string>
#include <vector>

extern "C" int sower_emulate(const char *kernel, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                             const void *args, size_t n);

struct test_case {
  const char *name;
  void (*run)();
  test_case(const char *name, void (*run)());
};
#define TEST(name)                                                                                                     \
  static void test_##name();                                                                                           \
  static test_case case_##name(#name, test_##name);                                                                    \
  static void test_##name()

/* Says what failed and marks the test. */
void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Notes how far results of a kind were from float64, as a share of what is allowed; the worst is printed. */
void note(const std::string &what, double share);

extern const char *type_names[];
static const u32 float_types[] = {F32, F16, BF16};

/* Numbers of about normal distribution, the same in every run. */
double normal();
u32 random_u32();

/* Memory of a storage type with a few elements of NaN before and after it; offset is how many elements the operand starts off a multiple of
 * 16 bytes. */
struct operand {
  u32 type;
  size_t n, offset;
  std::vector<u32x4> memory;
  operand(u32 type, size_t n, size_t offset);
  operand(u32 type, const std::vector<double> &values, size_t offset);
  char *at() { return (char *)memory.data() + 64 + offset * type_size(type); }
  Ref ref() { return Ref{(u64)at(), type, 0}; }
  double get(size_t i);
  void set(size_t i, double v);
  std::vector<double> all();
  /* The bytes of the operand; what lies around it must be untouched. */
  std::string bytes(const char *what);
};

std::vector<double> normals(size_t n, double scale = 1, double shift = 0);

template <typename T>
void launch(const char *kernel, u32 gx, u32 gy, u32 threads, u32 shared, const T &args) {
  const int rc = sower_emulate(kernel, gx, gy, 1, threads, 1, 1, shared, &args, sizeof args);
  if (rc) fail("%s: sower_emulate says %d", kernel, rc);
}

/* Compares with float64: |got - want| ≤ bound·(largest |want|) + rounding of the type. */
void near(const std::string &what, operand &got, const std::vector<double> &want, double bound);

/* Runs f(type, offset) for every storage type aligned and not, and expects the bytes it returns to be the same for every offset. */
void every_storage(const std::string &what, const std::function<std::string(u32 type, size_t offset)> &f);

static inline u32 row_threads(i64 cols, i64 most = 1024) { return (u32)std::min<i64>(most, std::max<i64>(1, (cols + 255) / 256) * 32); }

/* Launches a kernel of rows, for short ones in turn with its twin, whose bits must be the same. */
template <typename T>
void launch_rows(const char *kernel, size_t rows, i64 cols, const T &args, i64 most = 1024) {
  static int calls;
  const bool twin = cols <= 2048 && calls++ % 3 == 0; /* not in step with tests that launch twice */
  launch((std::string(kernel) + (twin ? "_short" : "")).c_str(), (u32)rows, 1, row_threads(cols, most), 0, args);
}
