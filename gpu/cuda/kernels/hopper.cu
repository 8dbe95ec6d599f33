/* Matrix products of float16 or bfloat16 on Hopper, see hopper_tiles.h. */
#include "hopper_tiles.h"

/* 384 threads, as many blocks as multiprocessors or tiles, whichever are fewer, and layout<N>::BYTES of dynamic shared memory. */
#define PRODUCT(name, type, N)                                                        \
  typedef hopper_args name##_args;                                                    \
  KERNEL_BOUNDS(name, 384, 1) { multiply<type, N>(a, ARGUMENTS(name, a)); }
PRODUCT(hopper_f16_192, F16, 192)
PRODUCT(hopper_f16_128, F16, 128)
PRODUCT(hopper_bf16_192, BF16, 192)
PRODUCT(hopper_bf16_128, BF16, 128)
