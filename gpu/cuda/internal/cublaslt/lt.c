//go:build cuda && linux && cgo

#define _GNU_SOURCE
#include "lt.h"
#include "../libcuda/shim.h"
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
	size_t (*GetVersion)(void);
	int (*Create)(void **);
	int (*Destroy)(void *);
	int (*MatmulDescCreate)(void **, int compute, int scale);
	int (*MatmulDescDestroy)(void *);
	int (*MatmulDescSetAttribute)(void *, int, const void *, size_t);
	int (*MatrixLayoutCreate)(void **, int type, uint64_t rows, uint64_t cols, int64_t ld);
	int (*MatrixLayoutDestroy)(void *);
	int (*MatrixLayoutSetAttribute)(void *, int, const void *, size_t);
	int (*MatmulPreferenceCreate)(void **);
	int (*MatmulPreferenceDestroy)(void *);
	int (*MatmulPreferenceSetAttribute)(void *, int, const void *, size_t);
	int (*MatmulAlgoGetHeuristic)(void *, void *, void *, void *, void *, void *, void *, int, lt_heuristic *, int *);
	int (*MatmulAlgoCheck)(void *, void *, void *, void *, void *, void *, const lt_algo *, lt_heuristic *);
	int (*MatmulAlgoConfigGetAttribute)(const lt_algo *, int, void *, size_t, size_t *);
	int (*Matmul)(void *h, void *desc, const void *alpha, const void *a, void *ad, const void *b, void *bd, const void *beta,
	              const void *c, void *cd, void *d, void *dd, const lt_algo *, void *ws, size_t, void *stream);
} t;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int ready;
static char why[2048], path[512];

static void tried(const char *text) {
	size_t n = strlen(why);
	snprintf(why + n, sizeof why - n, "%s%s", n ? "; " : "", text ? text : "unknown error");
}

static void load(void) {
	static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"};
	static const char *const folders[] = {"", "/usr/local/cuda/lib64/", "/usr/local/cuda/targets/x86_64-linux/lib/", "/opt/cuda/lib64/"};
	const char *named = getenv("CUBLASLT_DIR");
	void *lib = NULL;
	char file[1024];
	size_t count = named && *named ? 1 : sizeof folders / sizeof *folders;
	for (size_t f = 0; !lib && f < count; f++) {
		for (size_t i = 0; !lib && i < sizeof names / sizeof *names; i++) {
			if (named && *named) snprintf(file, sizeof file, "%s/%s", named, names[i]);
			else snprintf(file, sizeof file, "%s%s", folders[f], names[i]);
			if (!(lib = dlopen(file, RTLD_NOW | RTLD_LOCAL))) tried(dlerror());
		}
	}
	if (!lib) return;
	why[0] = 0;
	struct link_map *map;
	if (!dlinfo(lib, RTLD_DI_LINKMAP, &map)) snprintf(path, sizeof path, "%s", map->l_name);
#define FIND(n) if (!(*(void **)&t.n = dlsym(lib, "cublasLt" #n))) { snprintf(why, sizeof why, "%s has no cublasLt" #n, path); return; }
	FIND(GetVersion) FIND(Create) FIND(Destroy) FIND(MatmulDescCreate) FIND(MatmulDescDestroy) FIND(MatmulDescSetAttribute)
	FIND(MatrixLayoutCreate) FIND(MatrixLayoutDestroy) FIND(MatrixLayoutSetAttribute) FIND(MatmulPreferenceCreate)
	FIND(MatmulPreferenceDestroy) FIND(MatmulPreferenceSetAttribute) FIND(MatmulAlgoGetHeuristic) FIND(MatmulAlgoCheck)
	FIND(MatmulAlgoConfigGetAttribute) FIND(Matmul)
	ready = 1;
}

int lt_load(void) { pthread_once(&once, load); return !ready; }
const char *lt_why(void) { pthread_once(&once, load); return why; }
const char *lt_path(void) { pthread_once(&once, load); return path; }
size_t lt_version(void) { return lt_load() ? 0 : t.GetVersion(); }

/* Driver errors come back negative, the library's as they are. */
#define CURRENT(c) do { CUresult r_ = cuCtxSetCurrent((CUcontext)(c)); if (r_) return -(int)r_; } while (0)
#define TRY(call) do { int r_ = (call); if (r_) { lt_drop(p); return r_; } } while (0)

int lt_create(void *context, void **handle) {
	CURRENT(context);
	return t.Create(handle);
}

int lt_destroy(void *context, void *handle) {
	CURRENT(context);
	return t.Destroy(handle);
}

void lt_drop(lt_plan *p) {
	if (p->desc) t.MatmulDescDestroy(p->desc);
	if (p->a) t.MatrixLayoutDestroy(p->a);
	if (p->b) t.MatrixLayoutDestroy(p->b);
	if (p->d) t.MatrixLayoutDestroy(p->d);
	memset(p, 0, sizeof *p);
}

static int layout(void **l, int type, int64_t rows, int64_t cols, int64_t ld, int64_t batch, int64_t stride) {
	int r = t.MatrixLayoutCreate(l, type, (uint64_t)rows, (uint64_t)cols, ld);
	int32_t n = (int32_t)batch;
	if (r || batch <= 1) return r;
	if ((r = t.MatrixLayoutSetAttribute(*l, LT_LAYOUT_BATCH, &n, sizeof n))) return r;
	return t.MatrixLayoutSetAttribute(*l, LT_LAYOUT_STRIDE, &stride, sizeof stride);
}

/* A row-major matrix is its own transpose in columns: w[N,K] is K by N to the library and taken transposed. */
static int describe(const lt_shape *s, lt_plan *p) {
	int32_t ta = s->w_transposed ? LT_OP_N : LT_OP_T, tb = s->x_transposed ? LT_OP_T : LT_OP_N, bias_type = s->bias;
	uint32_t epilogue = s->bias < 0 ? LT_EPI_NONE : LT_EPI_BIAS;
	const void *anywhere = (const void *)256; /* aligned as a bias is; lt_run names the true one */
	memset(p, 0, sizeof *p);
	TRY(t.MatmulDescCreate(&p->desc, LT_COMPUTE_32F, LT_R_32F));
	TRY(t.MatmulDescSetAttribute(p->desc, LT_DESC_TRANSA, &ta, sizeof ta));
	TRY(t.MatmulDescSetAttribute(p->desc, LT_DESC_TRANSB, &tb, sizeof tb));
	TRY(t.MatmulDescSetAttribute(p->desc, LT_DESC_EPILOGUE, &epilogue, sizeof epilogue));
	if (s->bias >= 0) TRY(t.MatmulDescSetAttribute(p->desc, LT_DESC_BIAS_POINTER, &anywhere, sizeof anywhere));
	if (s->bias >= 0 && s->bias != s->out) TRY(t.MatmulDescSetAttribute(p->desc, LT_DESC_BIAS_TYPE, &bias_type, sizeof bias_type));
	TRY(layout(&p->a, s->in, s->w_transposed ? s->n : s->k, s->w_transposed ? s->k : s->n, s->ldw, s->batch, s->stride_w));
	TRY(layout(&p->b, s->in, s->x_transposed ? s->m : s->k, s->x_transposed ? s->k : s->m, s->ldx, s->batch, s->stride_x));
	TRY(layout(&p->d, s->out, s->n, s->m, s->ldy, s->batch, s->stride_y));
	return 0;
}

int lt_candidates(void *context, void *handle, const lt_shape *s, size_t workspace, lt_heuristic *out, int want, int *found) {
	lt_plan plan, *p = &plan;
	void *pref = NULL;
	uint32_t reduction = 0, align = 16; /* no reduction scheme at all; addresses are multiples of 16 bytes and no more is promised */
	CURRENT(context);
	int r = describe(s, p);
	if (r) return r;
	r = t.MatmulPreferenceCreate(&pref);
	if (!r) r = t.MatmulPreferenceSetAttribute(pref, LT_PREF_WORKSPACE, &workspace, sizeof workspace);
	if (!r) r = t.MatmulPreferenceSetAttribute(pref, LT_PREF_REDUCTION, &reduction, sizeof reduction);
	for (int a = LT_PREF_ALIGN_A; !r && a <= LT_PREF_ALIGN_D; a++) r = t.MatmulPreferenceSetAttribute(pref, a, &align, sizeof align);
	if (!r) r = t.MatmulAlgoGetHeuristic(handle, p->desc, p->a, p->b, p->d, p->d, pref, want, out, found);
	if (pref) t.MatmulPreferenceDestroy(pref);
	lt_drop(p);
	return r;
}

int lt_attribute(const lt_algo *algo, int attribute, uint32_t *value) {
	size_t written;
	uint16_t narrow = 0;
	*value = 0;
	if (attribute != LT_ALGO_INNER && attribute != LT_ALGO_CLUSTER)
		return t.MatmulAlgoConfigGetAttribute(algo, attribute, value, sizeof *value, &written);
	int r = t.MatmulAlgoConfigGetAttribute(algo, attribute, &narrow, sizeof narrow, &written);
	*value = narrow;
	return r;
}

int lt_make(void *context, void *handle, const lt_shape *s, const lt_algo *algo, lt_plan *p) {
	lt_heuristic h;
	memset(&h, 0, sizeof h);
	CURRENT(context);
	int r = describe(s, p);
	if (r) return r;
	TRY(t.MatmulAlgoCheck(handle, p->desc, p->a, p->b, p->d, p->d, algo, &h));
	p->algo = *algo;
	p->workspace = h.workspace;
	return 0;
}

int lt_run(void *context, void *handle, const lt_plan *p, float alpha, uint64_t w, uint64_t x, float beta, uint64_t residual,
           uint64_t y, uint64_t bias, uint64_t workspace, size_t workspace_size, void *stream) {
	CURRENT(context);
	if (bias) {
		const void *at = (const void *)(uintptr_t)bias;
		int r = t.MatmulDescSetAttribute(p->desc, LT_DESC_BIAS_POINTER, &at, sizeof at);
		if (r) return r;
	}
	void *out = (void *)(uintptr_t)y;
	return t.Matmul(handle, p->desc, &alpha, (const void *)(uintptr_t)w, p->a, (const void *)(uintptr_t)x, p->b, &beta,
	                beta != 0 ? (const void *)(uintptr_t)residual : out, p->d, out, p->d, &p->algo, (void *)(uintptr_t)workspace, workspace_size, stream);
}
