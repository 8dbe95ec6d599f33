#include "dev.h"

/* y = a + b over n elements, b repeated every nb elements. Threads take eight elements each. */
struct add_args {
  Ref y, a, b;
  i64 n, nb;
};
FLAT_KERNEL(add) {
  for (i64 i = ((i64)BX * NT + TX) * 8; i < a.n; i += (i64)GX * NT * 8) {
    float x[8], z[8];
    ld_up_to8(x, a.a, i, a.n - i);
    const i64 j = i % a.nb;
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
