/* What language models need beyond the norms: rotary positions. Gate, dropout and axpy are in elementwise.cu, the RMS norm in rows.cu. */
#include "dev.h"

/* Turns element i of each head with element i + width/2 by the angle whose cosine and sine stand in row positions[row] of the tables
 * [limit width/2]; the other way with back. Products are rounded before they are added, as on the CPU. */
struct rotate_args {
  Ref y, x, cos, sin;
  u64 positions, err;
  i64 n, limit; /* n: rows of heads·width */
  u32 heads, width, back, pad;
};
FLAT_KERNEL(rotate) {
  const u32 half = a.width / 2, each = a.heads * half;
  for (i64 g = (i64)BX * NT + TX; g < a.n * each; g += (i64)GX * NT) {
    const i64 row = g / each;
    const u32 in = (u32)(g % each), head = in / half, i = in % half;
    const i32 p = load<i32>(a.positions, row);
    if (p < 0 || p >= a.limit) {
      if (in == 0) out_of_range(a.err, OP_ROTATE, (u64)row, p, a.limit);
      continue;
    }
    const i64 at = (row * a.heads + head) * a.width + i;
    const float c = ld(a.cos, (i64)p * half + i), w = ld(a.sin, (i64)p * half + i), s = a.back ? -w : w;
    const float lo = ld(a.x, at), hi = ld(a.x, at + half);
    st(a.y, at, lo * c - hi * s);
    st(a.y, at + half, hi * c + lo * s);
  }
}
