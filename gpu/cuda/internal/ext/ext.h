#ifndef SOWER_EXT_H
#define SOWER_EXT_H
#include "../libcuda/shim.h"

typedef enum { EXT_H2D, EXT_D2H, EXT_D2D } ext_direction;

const char *ext_error_name(int code);
const char *ext_error_text(int code);

/* Every call makes c current on the calling thread first. */
int ext_host_alloc(CUcontext c, void **p, size_t n);
int ext_host_free(CUcontext c, void *p);
int ext_mem_alloc(CUcontext c, CUdeviceptr *p, size_t n);
int ext_mem_free(CUcontext c, CUdeviceptr p);
int ext_mem_info(CUcontext c, size_t *free_bytes, size_t *total);
int ext_copy(CUcontext c, ext_direction d, CUdeviceptr dev, CUdeviceptr other, void *host, size_t n, CUstream s);
int ext_copy_wait(CUcontext c, ext_direction d, CUdeviceptr dev, void *host, size_t n);
int ext_set_bytes(CUcontext c, CUdeviceptr p, unsigned char v, size_t n, CUstream s);
int ext_module(CUcontext c, CUmodule *m, const void *image, char *log, size_t n); /* log: what the compiler objects to */
int ext_func_attribute(CUcontext c, CUfunction f, int attribute, int value);
int ext_launch(CUcontext c, CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned block, unsigned shared, CUstream s,
               void *args, size_t n);
int ext_stream_wait(CUcontext c, CUstream s);                     /* until its work is done */
int ext_stream_query(CUcontext c, CUstream s);                    /* CUDA_ERROR_NOT_READY while it is not */
int ext_stream_after(CUcontext c, CUstream s, CUevent e);         /* later work of s waits for e */
int ext_event_record(CUcontext c, CUevent e, CUstream s);
int ext_event_wait(CUcontext c, CUevent e);
int ext_event_query(CUcontext c, CUevent e);
int ext_event_elapsed(CUcontext c, float *ms, CUevent from, CUevent to);
int ext_capture_begin(CUcontext c, CUstream s);
int ext_capture_end(CUcontext c, CUstream s, CUgraph *g);
int ext_graph_build(CUcontext c, CUgraphExec *e, CUgraph g);      /* g is destroyed either way */
int ext_graph_drop(CUcontext c, CUgraph g);
int ext_graph_replay(CUcontext c, CUgraphExec e, CUstream s);
int ext_graph_destroy(CUcontext c, CUgraphExec e);
int ext_tensor_map(CUcontext c, void *map, int type, uint64_t ptr, uint64_t rows, uint64_t cols, uint64_t ld_bytes,
                   uint32_t box_rows, uint32_t box_cols, int swizzle);
#endif
