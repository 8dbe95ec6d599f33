/* What this package uses of cublasLt's interface: numbers and layouts, checked against the library's header by check/check_lt.c. */
#ifndef SOWER_LT_H
#define SOWER_LT_H
#include <stddef.h>
#include <stdint.h>

enum {
	LT_R_32F = 0, LT_R_16F = 2, LT_R_16BF = 14, LT_COMPUTE_32F = 68, LT_OP_N = 0, LT_OP_T = 1,
	LT_DESC_TRANSA = 3, LT_DESC_TRANSB = 4, LT_DESC_EPILOGUE = 7, LT_DESC_BIAS_POINTER = 8, LT_DESC_BIAS_TYPE = 26,
	LT_EPI_NONE = 1, LT_EPI_BIAS = 4,
	LT_PREF_WORKSPACE = 1, LT_PREF_REDUCTION = 3, LT_PREF_ALIGN_A = 5, LT_PREF_ALIGN_B = 6, LT_PREF_ALIGN_C = 7, LT_PREF_ALIGN_D = 8,
	LT_LAYOUT_BATCH = 5, LT_LAYOUT_STRIDE = 6,
	LT_ALGO_ID = 0, LT_ALGO_TILE = 1, LT_ALGO_SPLITK = 2, LT_ALGO_REDUCTION = 3, LT_ALGO_SWIZZLE = 4, LT_ALGO_CUSTOM = 5,
	LT_ALGO_STAGES = 6, LT_ALGO_INNER = 7, LT_ALGO_CLUSTER = 8
};

typedef struct { uint64_t data[8]; } lt_algo;

typedef struct {
	lt_algo algo;
	size_t workspace;
	int state;
	float waves;
	int reserved[4];
} lt_heuristic;

/* One kind of product with its number of rows. Types are the library's; a type of bias below 0 is none. */
typedef struct {
	int64_t m, n, k, ldx, ldw, ldy, batch, stride_x, stride_w, stride_y;
	int in, out, bias, x_transposed, w_transposed;
} lt_shape;

typedef struct {
	void *desc, *a, *b, *d;
	size_t workspace;
	lt_algo algo;
} lt_plan;

int lt_load(void);             /* 0 when the library is there with every symbol */
const char *lt_why(void);      /* what was tried, when it is not */
const char *lt_path(void);
size_t lt_version(void);
int lt_create(void *context, void **handle);
int lt_destroy(void *context, void *handle);
int lt_candidates(void *context, void *handle, const lt_shape *s, size_t workspace, lt_heuristic *out, int want, int *found);
int lt_attribute(const lt_algo *algo, int attribute, uint32_t *value);
int lt_make(void *context, void *handle, const lt_shape *s, const lt_algo *algo, lt_plan *plan); /* 0 when the algorithm can do it */
void lt_drop(lt_plan *plan);
int lt_run(void *context, void *handle, const lt_plan *plan, float alpha, uint64_t w, uint64_t x, float beta, uint64_t residual,
           uint64_t y, uint64_t bias, uint64_t workspace, size_t workspace_size, void *stream);
#endif
