/* Stand-in for libcublasLt: the calls that package cublaslt makes, products in float64, run as work of the fake driver's streams.
 * The library's own header is not needed: package cublaslt holds the numbers, checked against it. */
#include "../../cublaslt/lt.h"
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <vector>

#define API extern "C" __attribute__((visibility("default")))
enum { kOk = 0, kNotInitialized = 1, kInvalid = 7, kExecution = 13, kNotSupported = 15 };

struct Desc {
	int32_t ta = 0, tb = 0;
	uint32_t epilogue = LT_EPI_NONE;
	int32_t bias_type = -1;
	const void *bias = nullptr;
	int compute = 0;
};
struct Layout {
	int type;
	uint64_t rows, cols;
	int64_t ld;
	int32_t batch = 1;
	int64_t stride = 0;
};
struct Preference {
	size_t workspace = 0;
	uint32_t reduction = 7;
};

static void *driver(const char *name) {
	static void *lib = dlopen(getenv("SOWER_LIBCUDA"), RTLD_NOW | RTLD_NOLOAD);
	return lib ? dlsym(lib, name) : nullptr;
}

static size_t version() {
	const char *s = getenv("FAKECUDA_CUBLASLT_VERSION");
	return s && *s ? strtoul(s, nullptr, 10) : 120900;
}

API size_t cublasLtGetVersion() { return version(); }

API int cublasLtCreate(void **h) {
	int (*get)(void **) = (int (*)(void **))driver("cuCtxGetCurrent");
	void *c = nullptr;
	if (!get || get(&c) || !c) return kNotInitialized;
	*h = malloc(1);
	return kOk;
}
API int cublasLtDestroy(void *h) { free(h); return kOk; }

API int cublasLtMatmulDescCreate(void **d, int compute, int scale) {
	if (scale != LT_R_32F) return kNotSupported;
	Desc *n = new Desc;
	n->compute = compute;
	*d = n;
	return kOk;
}
API int cublasLtMatmulDescDestroy(void *d) { delete (Desc *)d; return kOk; }
API int cublasLtMatmulDescSetAttribute(void *dv, int attribute, const void *v, size_t n) {
	Desc *d = (Desc *)dv;
	switch (attribute) {
	case LT_DESC_TRANSA: return n == 4 ? memcpy(&d->ta, v, 4), kOk : kInvalid;
	case LT_DESC_TRANSB: return n == 4 ? memcpy(&d->tb, v, 4), kOk : kInvalid;
	case LT_DESC_EPILOGUE: return n == 4 ? memcpy(&d->epilogue, v, 4), kOk : kInvalid;
	case LT_DESC_BIAS_POINTER: return n == 8 ? memcpy(&d->bias, v, 8), kOk : kInvalid;
	case LT_DESC_BIAS_TYPE: return n == 4 ? memcpy(&d->bias_type, v, 4), kOk : kInvalid;
	}
	return kInvalid;
}

API int cublasLtMatrixLayoutCreate(void **l, int type, uint64_t rows, uint64_t cols, int64_t ld) {
	if (ld < (int64_t)rows) return kInvalid;
	*l = new Layout{type, rows, cols, ld};
	return kOk;
}
API int cublasLtMatrixLayoutDestroy(void *l) { delete (Layout *)l; return kOk; }
API int cublasLtMatrixLayoutSetAttribute(void *lv, int attribute, const void *v, size_t n) {
	Layout *l = (Layout *)lv;
	if (attribute == LT_LAYOUT_BATCH && n == 4) return memcpy(&l->batch, v, 4), kOk;
	if (attribute == LT_LAYOUT_STRIDE && n == 8) return memcpy(&l->stride, v, 8), kOk;
	return kInvalid;
}

API int cublasLtMatmulPreferenceCreate(void **p) { *p = new Preference; return kOk; }
API int cublasLtMatmulPreferenceDestroy(void *p) { delete (Preference *)p; return kOk; }
API int cublasLtMatmulPreferenceSetAttribute(void *pv, int attribute, const void *v, size_t n) {
	Preference *p = (Preference *)pv;
	if (attribute == LT_PREF_WORKSPACE && n == 8) return memcpy(&p->workspace, v, 8), kOk;
	if (attribute == LT_PREF_REDUCTION && n == 4) return memcpy(&p->reduction, v, 4), kOk;
	return attribute >= LT_PREF_ALIGN_A && attribute <= LT_PREF_ALIGN_D && n == 4 ? kOk : kInvalid;
}

static bool fits(const Desc *d, const Layout *a, const Layout *b, const Layout *c, const Layout *o) {
	uint64_t m = d->ta ? a->cols : a->rows, k = d->ta ? a->rows : a->cols, kb = d->tb ? b->cols : b->rows, n = d->tb ? b->rows : b->cols;
	bool half = a->type == LT_R_16F || a->type == LT_R_16BF;
	return k == kb && o->rows == m && o->cols == n && c->rows == m && c->cols == n && c->type == o->type && a->type == b->type &&
	       (half ? o->type == a->type || o->type == LT_R_32F : a->type == LT_R_32F && o->type == LT_R_32F);
}

/* An algorithm here: data[0] its number, data[1] splits of K, data[2] reduction scheme, data[3] a check value. Number 1 is what a
 * greedy heuristic likes best, and splits K: it must be filtered away. */
static const uint64_t mark = 0x50a7;

API int cublasLtMatmulAlgoGetHeuristic(void *, void *d, void *a, void *b, void *c, void *o, void *p, int want, lt_heuristic *out, int *found) {
	*found = 0;
	if (!fits((Desc *)d, (Layout *)a, (Layout *)b, (Layout *)c, (Layout *)o)) return kNotSupported;
	const uint64_t all[3][3] = {{1, 4, 2}, {2, 1, 0}, {3, 1, 0}};
	for (int i = 0; i < 3 && *found < want; i++) {
		size_t ws = all[i][1] > 1 ? 4096 : i == 1 ? 1024 : 0;
		if (ws > ((Preference *)p)->workspace || (all[i][2] & ~((Preference *)p)->reduction)) continue;
		lt_heuristic *h = &out[(*found)++];
		memset(h, 0, sizeof *h);
		memcpy(h->algo.data, all[i], sizeof all[i]);
		h->algo.data[3] = mark;
		h->workspace = ws;
		h->waves = 1;
	}
	return *found ? kOk : kNotSupported;
}

API int cublasLtMatmulAlgoCheck(void *, void *d, void *a, void *b, void *c, void *o, const lt_algo *algo, lt_heuristic *out) {
	if (algo->data[3] != mark) return kInvalid;
	if (!fits((Desc *)d, (Layout *)a, (Layout *)b, (Layout *)c, (Layout *)o)) return kNotSupported;
	out->state = kOk;
	out->workspace = algo->data[1] > 1 ? 4096 : algo->data[0] == 2 ? 1024 : 0;
	out->waves = 1;
	return kOk;
}

API int cublasLtMatmulAlgoConfigGetAttribute(const lt_algo *algo, int attribute, void *v, size_t n, size_t *written) {
	static const int where[] = {0, -1, 1, 2};
	uint32_t x = attribute < 0 || attribute > LT_ALGO_CLUSTER ? 0 : attribute < 4 && where[attribute] >= 0 ? (uint32_t)algo->data[where[attribute]] : 0;
	if (n == 2 && attribute >= LT_ALGO_INNER) { /* these two are 16 bits wide */
		memset(v, 0, 2);
	} else if (n == 4 && attribute < LT_ALGO_INNER) {
		memcpy(v, &x, 4);
	} else return kInvalid;
	if (written) *written = n;
	return kOk;
}

static double get(const void *p, int type, int64_t i) {
	if (type == LT_R_32F) return ((const float *)p)[i];
	if (type == LT_R_16F) return (double)((const _Float16 *)p)[i];
	uint32_t b = (uint32_t)((const uint16_t *)p)[i] << 16;
	float f;
	memcpy(&f, &b, 4);
	return f;
}

static void put(void *p, int type, int64_t i, float v) {
	if (type == LT_R_32F) { ((float *)p)[i] = v; return; }
	if (type == LT_R_16F) { ((_Float16 *)p)[i] = (_Float16)v; return; }
	uint32_t b;
	memcpy(&b, &v, 4);
	b = v != v ? 0x7fff0000 : b + 0x7fff + (b >> 16 & 1);
	((uint16_t *)p)[i] = (uint16_t)(b >> 16);
}

struct Product {
	Desc d;
	Layout a, b, c, o;
	const void *A, *B, *C;
	void *D;
	float alpha, beta;
};

static int64_t at(const Layout &l, int64_t batch, int64_t row, int64_t col) { return batch * l.stride + col * l.ld + row; }

static void work(void *data) {
	const Product &p = *(const Product *)data;
	const int64_t K = (int64_t)(p.d.ta ? p.a.rows : p.a.cols), rows = (int64_t)p.o.rows, cols = (int64_t)p.o.cols;
	/* Columns of both operands side by side: the inner loop then runs over neighbours. */
	std::vector<double> left((size_t)(rows * K)), right((size_t)K);
	for (int64_t n = 0; n < p.o.batch; n++) {
		for (int64_t i = 0; i < rows; i++)
			for (int64_t k = 0; k < K; k++) left[(size_t)(i * K + k)] = get(p.A, p.a.type, p.d.ta ? at(p.a, n, k, i) : at(p.a, n, i, k));
		for (int64_t j = 0; j < cols; j++) {
			for (int64_t k = 0; k < K; k++) right[(size_t)k] = get(p.B, p.b.type, p.d.tb ? at(p.b, n, j, k) : at(p.b, n, k, j));
			for (int64_t i = 0; i < rows; i++) {
				double s = 0;
				for (int64_t k = 0; k < K; k++) s += left[(size_t)(i * K + k)] * right[(size_t)k];
				s *= p.alpha;
				if (p.beta != 0) s += p.beta * get(p.C, p.c.type, at(p.c, n, i, j));
				if (p.d.epilogue == LT_EPI_BIAS) s += get(p.d.bias, p.d.bias_type < 0 ? p.o.type : p.d.bias_type, i);
				put(p.D, p.o.type, at(p.o, n, i, j), (float)s);
			}
		}
	}
}

API int cublasLtMatmul(void *, void *d, const void *alpha, const void *A, void *a, const void *B, void *b, const void *beta, const void *C,
                       void *c, void *D, void *o, const lt_algo *algo, void *ws, size_t ws_size, void *stream) {
	lt_heuristic h;
	if (int r = cublasLtMatmulAlgoCheck(nullptr, d, a, b, c, o, algo, &h)) return r;
	if (h.workspace > ws_size || (h.workspace && !ws)) return kInvalid;
	Product p = {*(Desc *)d, *(Layout *)a, *(Layout *)b, *(Layout *)c, *(Layout *)o, A, B, C, D, *(const float *)alpha, *(const float *)beta};
	if (!A || !B || !D || (p.beta != 0 && !C) || (p.d.epilogue == LT_EPI_BIAS) != (p.d.bias != nullptr)) return kInvalid;
	int (*enqueue)(void *, void (*)(void *), const void *, size_t) = (int (*)(void *, void (*)(void *), const void *, size_t))driver("fakecuda_enqueue");
	return enqueue && !enqueue(stream, work, &p, sizeof p) ? kOk : kExecution;
}
