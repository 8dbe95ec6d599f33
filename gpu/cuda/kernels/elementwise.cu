/* Operations on elements: threads take eight at a time, by 16 bytes where operands are aligned. A grid of any size will do. */
#include "dev.h"

#define EACH_EIGHT(n) for (i64 i = ((i64)BX * NT + TX) * 8; i < (n); i += (i64)GX * NT * 8)

/* y = a + b over n elements, b repeated every nb elements. */
struct add_args {
  Ref y, a, b;
  i64 n, nb;
};
FLAT_KERNEL(add) {
  EACH_EIGHT(a.n) {
    float x[8], z[8];
    ld_up_to8(x, a.a, i, a.n - i);
    const i64 j = a.nb == a.n ? i : a.n <= 0x7fffffff ? (i64)((u32)i % (u32)a.nb) : i % a.nb;
    if (j + 8 <= a.nb) {
      ld_up_to8(z, a.b, j, 8);
    } else {
#pragma unroll
      for (int q = 0; q < 8; q++) z[q] = i + q < a.n ? ld(a.b, (i + q) % a.nb) : 0;
    }
#pragma unroll
    for (int q = 0; q < 8; q++) x[q] += z[q];
    st_up_to8(a.y, i, a.n - i, x);
  }
}

/* y = f(x) over n elements. */
struct apply_function_args {
  Ref y, x;
  i64 n;
  u32 f, pad;
};
FLAT_KERNEL(apply_function) {
  EACH_EIGHT(a.n) {
    float x[8];
    ld_up_to8(x, a.x, i, a.n - i);
    if (a.f == GELU) { /* the common one, without a branch in the loop */
#pragma unroll
      for (int q = 0; q < 8; q++) x[q] = gelu(x[q]);
    } else {
#pragma unroll
      for (int q = 0; q < 8; q++) x[q] = apply(a.f, x[q]);
    }
    st_up_to8(a.y, i, a.n - i, x);
  }
}

/* y = x over n elements, from one storage type to another. */
struct convert_args {
  Ref y, x;
  i64 n;
};
FLAT_KERNEL(convert) {
  EACH_EIGHT(a.n) {
    float x[8];
    ld_up_to8(x, a.x, i, a.n - i);
    st_up_to8(a.y, i, a.n - i, x);
  }
}

/* Copies rows of cols elements; row r begins at r times the stride on either side. */
struct copy_rows_args {
  Ref y, x;
  i64 y_stride, x_stride, rows, cols;
};
FLAT_KERNEL(copy_rows) {
  const i64 groups = (a.cols + 7) / 8;
  for (i64 g = (i64)BX * NT + TX; g < a.rows * groups; g += (i64)GX * NT) {
    const i64 r = g / groups, i = g % groups * 8;
    float x[8];
    ld_up_to8(x, a.x, r * a.x_stride + i, a.cols - i);
    st_up_to8(a.y, r * a.y_stride + i, a.cols - i, x);
  }
}

/* y = y + s·x, the product rounded before it is added. */
struct axpy_args {
  Ref y, x;
  i64 n;
  float s;
  u32 pad;
};
FLAT_KERNEL(axpy) {
  EACH_EIGHT(a.n) {
    float x[8], y[8];
    ld_up_to8(x, a.x, i, a.n - i);
    ld_up_to8(y, a.y, i, a.n - i);
#pragma unroll
    for (int q = 0; q < 8; q++) y[q] += a.s * x[q];
    st_up_to8(a.y, i, a.n - i, y);
  }
}

/* y = SiLU(g)·u. */
struct gate_args {
  Ref y, g, u;
  i64 n;
};
FLAT_KERNEL(gate) {
  EACH_EIGHT(a.n) {
    float g[8], u[8];
    ld_up_to8(g, a.g, i, a.n - i);
    ld_up_to8(u, a.u, i, a.n - i);
#pragma unroll
    for (int q = 0; q < 8; q++) u[q] *= silu(g[q]);
    st_up_to8(a.y, i, a.n - i, u);
  }
}

/* y = scale·x where the generator of seed keeps the element, 0 elsewhere: driver.Keeps, splitmix64's mix of seed and position. */
struct dropout_args {
  Ref y, x;
  i64 n;
  u64 seed, threshold;
  float scale;
  u32 pad;
};
DEV bool keeps(u64 seed, u64 i, u64 threshold) {
  u64 x = seed + i * 0x9e3779b97f4a7c15ull;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ x >> 27) * 0x94d049bb133111ebull;
  x ^= x >> 31;
  return x >> 32 >= threshold;
}
FLAT_KERNEL(dropout) {
  EACH_EIGHT(a.n) {
    float x[8];
    ld_up_to8(x, a.x, i, a.n - i);
#pragma unroll
    for (int q = 0; q < 8; q++) x[q] = keeps(a.seed, (u64)(i + q), a.threshold) ? x[q] * a.scale : 0;
    st_up_to8(a.y, i, a.n - i, x);
  }
}
