#ifndef SOWER_SHIM_H
#define SOWER_SHIM_H

/* One clear message for the build that lacks the header, beside the one that cu's own compilation gives. */
#if !__has_include(<cuda.h>)
#error "-tags cuda needs gpu/cuda/internal/libcuda/include on the C include path: build with 'make cuda' (or set CGO_CFLAGS as the Makefile does)"
#else
#include <cuda.h>
#ifndef SOWER_CUDA_H
#error "another cuda.h comes first on the C include path: build with 'make cuda' (or set CGO_CFLAGS as the Makefile does)"
#endif
#endif

int sower_cuda_state(void);        /* what cuInit returned; CUDA_ERROR_NO_DEVICE without a driver */
const char *sower_cuda_why(void);  /* why, in words; "" when a driver is in use */
const char *sower_cuda_path(void); /* the library's file; "" without one */
const char *sower_cuda_missing(size_t i); /* the i-th function that cu names and the library lacks; NULL past the last */
void *sower_cuda_symbol(const char *name); /* any other entry point of the driver; NULL when absent */
#endif
