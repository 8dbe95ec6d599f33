//go:build cuda && linux && cgo

#include "ext.h"
#include <stdalign.h>
#include <string.h>

/* The address is written by several threads at worst with the same value; the atomics keep that defined. */
#define FIND(T, var, name, missing)                                        \
	static void *var##_at;                                             \
	__typeof__(T) var = (__typeof__(T))__atomic_load_n(&var##_at, __ATOMIC_ACQUIRE); \
	if (!var) {                                                        \
		var = (__typeof__(T))sower_cuda_symbol(name);                          \
		if (!var) return missing;                                  \
		__atomic_store_n(&var##_at, (void *)var, __ATOMIC_RELEASE); \
	}

#define CURRENT(c) do { CUresult r_ = cuCtxSetCurrent(c); if (r_) return r_; } while (0)

typedef CUresult (*describe_fn)(CUresult, const char **);

static const char *describe(describe_fn f, int code) {
	const char *text = NULL;
	return f((CUresult)code, &text) || !text ? "" : text;
}

const char *ext_error_name(int code) { FIND(describe_fn, f, "cuGetErrorName", "") return describe(f, code); }
const char *ext_error_text(int code) { FIND(describe_fn, f, "cuGetErrorString", "") return describe(f, code); }

int ext_host_alloc(CUcontext c, void **p, size_t n) {
	FIND(CUresult (*)(void **, size_t, unsigned), f, "cuMemHostAlloc", CUDA_ERROR_NOT_SUPPORTED)
	CURRENT(c);
	return f(p, n, 1); /* CU_MEMHOSTALLOC_PORTABLE: pinned for every context */
}

int ext_host_free(CUcontext c, void *p) { CURRENT(c); return cuMemFreeHost(p); }
int ext_mem_alloc(CUcontext c, CUdeviceptr *p, size_t n) { CURRENT(c); return cuMemAlloc(p, n); }
int ext_mem_free(CUcontext c, CUdeviceptr p) { CURRENT(c); return cuMemFree(p); }
int ext_mem_info(CUcontext c, size_t *free_bytes, size_t *total) { CURRENT(c); return cuMemGetInfo(free_bytes, total); }

int ext_copy(CUcontext c, ext_direction d, CUdeviceptr dev, CUdeviceptr other, void *host, size_t n, CUstream s) {
	CURRENT(c);
	switch (d) {
	case EXT_H2D: return cuMemcpyHtoDAsync(dev, host, n, s);
	case EXT_D2H: return cuMemcpyDtoHAsync(host, dev, n, s);
	default: return cuMemcpyDtoDAsync(dev, other, n, s);
	}
}

int ext_copy_wait(CUcontext c, ext_direction d, CUdeviceptr dev, void *host, size_t n) {
	CURRENT(c);
	return d == EXT_H2D ? cuMemcpyHtoD(dev, host, n) : cuMemcpyDtoH(host, dev, n);
}

int ext_set_bytes(CUcontext c, CUdeviceptr p, unsigned char v, size_t n, CUstream s) {
	CURRENT(c);
	return cuMemsetD8Async(p, v, n, s);
}

int ext_module(CUcontext c, CUmodule *m, const void *image, char *log, size_t n) {
	CUjit_option names[] = {CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
	void *values[] = {log, (void *)(uintptr_t)(n - 1)};
	memset(log, 0, n);
	CURRENT(c);
	return cuModuleLoadDataEx(m, image, 2, names, values);
}

int ext_func_attribute(CUcontext c, CUfunction fn, int attribute, int value) {
	FIND(CUresult (*)(CUfunction, int, int), f, "cuFuncSetAttribute", CUDA_ERROR_NOT_SUPPORTED)
	CURRENT(c);
	return f(fn, attribute, value);
}

int ext_launch(CUcontext c, CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned block, unsigned shared, CUstream s,
               void *args, size_t n) {
	void *packed[] = {(void *)1, args, (void *)2, &n, NULL}; /* CU_LAUNCH_PARAM: buffer, its size, end */
	CURRENT(c);
	return cuLaunchKernel(f, gx, gy, gz, block, 1, 1, shared, s, NULL, packed);
}

int ext_stream_wait(CUcontext c, CUstream s) { CURRENT(c); return cuStreamSynchronize(s); }
int ext_stream_query(CUcontext c, CUstream s) { CURRENT(c); return cuStreamQuery(s); }
int ext_stream_after(CUcontext c, CUstream s, CUevent e) { CURRENT(c); return cuStreamWaitEvent(s, e, 0); }
int ext_event_record(CUcontext c, CUevent e, CUstream s) { CURRENT(c); return cuEventRecord(e, s); }
int ext_event_wait(CUcontext c, CUevent e) { CURRENT(c); return cuEventSynchronize(e); }
int ext_event_query(CUcontext c, CUevent e) { CURRENT(c); return cuEventQuery(e); }
int ext_event_elapsed(CUcontext c, float *ms, CUevent from, CUevent to) { CURRENT(c); return cuEventElapsedTime(ms, from, to); }

int ext_capture_begin(CUcontext c, CUstream s) {
	FIND(CUresult (*)(CUstream, int), f, "cuStreamBeginCapture_v2", CUDA_ERROR_NOT_SUPPORTED)
	CURRENT(c);
	return f(s, 1); /* CU_STREAM_CAPTURE_MODE_THREAD_LOCAL */
}

int ext_capture_end(CUcontext c, CUstream s, CUgraph *g) {
	FIND(CUresult (*)(CUstream, CUgraph *), f, "cuStreamEndCapture", CUDA_ERROR_NOT_SUPPORTED)
	CURRENT(c);
	return f(s, g);
}

int ext_graph_build(CUcontext c, CUgraphExec *e, CUgraph g) {
	FIND(CUresult (*)(CUgraphExec *, CUgraph, unsigned long long), f, "cuGraphInstantiateWithFlags", (cuGraphDestroy(g), CUDA_ERROR_NOT_SUPPORTED))
	CURRENT(c);
	CUresult r = f(e, g, 0);
	CUresult d = cuGraphDestroy(g);
	return r ? r : d;
}

int ext_graph_drop(CUcontext c, CUgraph g) { CURRENT(c); return cuGraphDestroy(g); }

int ext_graph_replay(CUcontext c, CUgraphExec e, CUstream s) {
	FIND(CUresult (*)(CUgraphExec, CUstream), f, "cuGraphLaunch", CUDA_ERROR_NOT_SUPPORTED)
	CURRENT(c);
	return f(e, s);
}

int ext_graph_destroy(CUcontext c, CUgraphExec e) { CURRENT(c); return cuGraphExecDestroy(e); }

int ext_tensor_map(CUcontext c, void *map, int type, uint64_t ptr, uint64_t rows, uint64_t cols, uint64_t ld_bytes,
                   uint32_t box_rows, uint32_t box_cols, int swizzle) {
	typedef CUresult (*encode)(void *, int, uint32_t, void *, const uint64_t *, const uint64_t *, const uint32_t *,
	                           const uint32_t *, int, int, int, int);
	FIND(encode, f, "cuTensorMapEncodeTiled", CUDA_ERROR_NOT_SUPPORTED)
	alignas(64) unsigned char out[128];
	const uint64_t dim[2] = {cols, rows}, stride[1] = {ld_bytes}; /* innermost first; its own stride is implied */
	const uint32_t box[2] = {box_cols, box_rows}, step[2] = {1, 1};
	CURRENT(c);
	CUresult r = f(out, type, 2, (void *)(uintptr_t)ptr, dim, stride, box, step, 0 /* not interleaved */, swizzle,
	               2 /* fetched to L2 by 128 bytes */, 0 /* outside reads as zero */);
	if (!r) memcpy(map, out, sizeof out);
	return r;
}
