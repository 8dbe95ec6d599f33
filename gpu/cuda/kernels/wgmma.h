/* d [64 N] = d·keep + a [64 64]·bᵀ [N 64] by 128 threads: four products of depth 16, a and b described by tile_descriptor; of e4m3 128 and 32. Thread t has of row
 * 16·(t/32) + t%32/4, and of the row 8 further, columns 8j + 2·(t%4) and the next: d[4j], d[4j+1] and d[4j+2], d[4j+3]. */
#pragma once

#define WGMMA(shape, types, list, turned)                                                                                     \
  "{\n.reg .pred p;\n.reg .b64 a, b;\nsetp.ne.b32 p, %[keep], 0;\n"                                                  \
  "wgmma.mma_async.sync.aligned." shape types " " list ", %[a], %[b], p, 1, 1" turned ";\n"                                \
  "add.s64 a, %[a], 2;\nadd.s64 b, %[b], 2;\n"                                                                        \
  "wgmma.mma_async.sync.aligned." shape types " " list ", a, b, 1, 1, 1" turned ";\n"                                      \
  "add.s64 a, %[a], 4;\nadd.s64 b, %[b], 4;\n"                                                                        \
  "wgmma.mma_async.sync.aligned." shape types " " list ", a, b, 1, 1, 1" turned ";\n"                                      \
  "add.s64 a, %[a], 6;\nadd.s64 b, %[b], 6;\n"                                                                        \
  "wgmma.mma_async.sync.aligned." shape types " " list ", a, b, 1, 1, 1" turned ";\n}"
#define IN : [a] "l"(a), [b] "l"(b), [keep] "r"(keep)
#define F8(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define F32_(d, i) F8(d, i), F8(d, i + 8), F8(d, i + 16), F8(d, i + 24)

#define LIST96 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31," \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
  "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63," \
  "%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79," \
  "%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95}"
#define LIST64 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15," \
  "%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31," \
  "%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47," \
  "%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63}"

template <u32 type> DEV void wgmma64(float (&d)[96], u64 a, u64 b, u32 keep) {
  if (type == F16) asm volatile(WGMMA("m64n192k16", ".f32.f16.f16", LIST96, ", 0, 0") : F32_(d, 0), F32_(d, 32), F32_(d, 64) IN);
  else asm volatile(WGMMA("m64n192k16", ".f32.bf16.bf16", LIST96, ", 0, 0") : F32_(d, 0), F32_(d, 32), F32_(d, 64) IN);
}
template <u32 type> DEV void wgmma64(float (&d)[64], u64 a, u64 b, u32 keep) {
  if (type == E4M3) asm volatile(WGMMA("m64n128k32", ".f32.e4m3.e4m3", LIST64, "") : F32_(d, 0), F32_(d, 32) IN);
  else if (type == F16) asm volatile(WGMMA("m64n128k16", ".f32.f16.f16", LIST64, ", 0, 0") : F32_(d, 0), F32_(d, 32) IN);
  else asm volatile(WGMMA("m64n128k16", ".f32.bf16.bf16", LIST64, ", 0, 0") : F32_(d, 0), F32_(d, 32) IN);
}
