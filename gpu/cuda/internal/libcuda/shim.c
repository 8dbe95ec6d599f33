//go:build cuda && linux && cgo

/* Stands in for libcuda at link time: see doc.go. Written by gen/gen.py. */
#define _GNU_SOURCE
#include "shim.h"
#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
	CUresult (*cuArray3DCreate_)(CUarray* pHandle, const CUDA_ARRAY3D_DESCRIPTOR* pAllocateArray);
	CUresult (*cuArray3DGetDescriptor_)(CUDA_ARRAY3D_DESCRIPTOR* pArrayDescriptor, CUarray hArray);
	CUresult (*cuArrayCreate_)(CUarray* pHandle, const CUDA_ARRAY_DESCRIPTOR* pAllocateArray);
	CUresult (*cuArrayDestroy_)(CUarray hArray);
	CUresult (*cuArrayGetDescriptor_)(CUDA_ARRAY_DESCRIPTOR* pArrayDescriptor, CUarray hArray);
	CUresult (*cuCtxCreate_)(CUcontext* pctx, unsigned int flags, CUdevice dev);
	CUresult (*cuCtxDestroy_)(CUcontext ctx);
	CUresult (*cuCtxDisablePeerAccess_)(CUcontext peerContext);
	CUresult (*cuCtxEnablePeerAccess_)(CUcontext peerContext, unsigned int Flags);
	CUresult (*cuCtxGetApiVersion_)(CUcontext ctx, unsigned int* version);
	CUresult (*cuCtxGetCacheConfig_)(CUfunc_cache* pconfig);
	CUresult (*cuCtxGetCurrent_)(CUcontext* pctx);
	CUresult (*cuCtxGetDevice_)(CUdevice* device);
	CUresult (*cuCtxGetFlags_)(unsigned int* flags);
	CUresult (*cuCtxGetLimit_)(size_t* pvalue, CUlimit limit);
	CUresult (*cuCtxGetSharedMemConfig_)(CUsharedconfig* pConfig);
	CUresult (*cuCtxGetStreamPriorityRange_)(int* leastPriority, int* greatestPriority);
	CUresult (*cuCtxPopCurrent_)(CUcontext* pctx);
	CUresult (*cuCtxPushCurrent_)(CUcontext ctx);
	CUresult (*cuCtxResetPersistingL2Cache_)(void);
	CUresult (*cuCtxSetCacheConfig_)(CUfunc_cache config);
	CUresult (*cuCtxSetCurrent_)(CUcontext ctx);
	CUresult (*cuCtxSetLimit_)(CUlimit limit, size_t value);
	CUresult (*cuCtxSetSharedMemConfig_)(CUsharedconfig config);
	CUresult (*cuCtxSynchronize_)(void);
	CUresult (*cuDeviceCanAccessPeer_)(int* canAccessPeer, CUdevice dev, CUdevice peerDev);
	CUresult (*cuDeviceGet_)(CUdevice* device, int ordinal);
	CUresult (*cuDeviceGetAttribute_)(int* pi, CUdevice_attribute attrib, CUdevice dev);
	CUresult (*cuDeviceGetCount_)(int* count);
	CUresult (*cuDeviceGetName_)(char* name, int len, CUdevice dev);
	CUresult (*cuDeviceGetP2PAttribute_)(int* value, CUdevice_P2PAttribute attrib, CUdevice srcDevice, CUdevice dstDevice);
	CUresult (*cuDeviceGetUuid_)(CUuuid* uuid, CUdevice dev);
	CUresult (*cuDevicePrimaryCtxGetState_)(CUdevice dev, unsigned int* flags, int* active);
	CUresult (*cuDevicePrimaryCtxRelease_)(CUdevice dev);
	CUresult (*cuDevicePrimaryCtxReset_)(CUdevice dev);
	CUresult (*cuDevicePrimaryCtxRetain_)(CUcontext* pctx, CUdevice dev);
	CUresult (*cuDevicePrimaryCtxSetFlags_)(CUdevice dev, unsigned int flags);
	CUresult (*cuDeviceTotalMem_)(size_t* bytes, CUdevice dev);
	CUresult (*cuDriverGetVersion_)(int* driverVersion);
	CUresult (*cuEventCreate_)(CUevent* phEvent, unsigned int Flags);
	CUresult (*cuEventDestroy_)(CUevent hEvent);
	CUresult (*cuEventElapsedTime_)(float* pMilliseconds, CUevent hStart, CUevent hEnd);
	CUresult (*cuEventQuery_)(CUevent hEvent);
	CUresult (*cuEventRecord_)(CUevent hEvent, CUstream hStream);
	CUresult (*cuEventSynchronize_)(CUevent hEvent);
	CUresult (*cuFuncGetAttribute_)(int* pi, CUfunction_attribute attrib, CUfunction hfunc);
	CUresult (*cuFuncSetCacheConfig_)(CUfunction hfunc, CUfunc_cache config);
	CUresult (*cuFuncSetSharedMemConfig_)(CUfunction hfunc, CUsharedconfig config);
	CUresult (*cuGraphAddChildGraphNode_)(CUgraphNode* phGraphNode, CUgraph hGraph, const CUgraphNode* dependencies, size_t numDependencies, CUgraph childGraph);
	CUresult (*cuGraphAddDependencies_)(CUgraph hGraph, const CUgraphNode* from, const CUgraphNode* to, size_t numDependencies);
	CUresult (*cuGraphAddEmptyNode_)(CUgraphNode* phGraphNode, CUgraph hGraph, const CUgraphNode* dependencies, size_t numDependencies);
	CUresult (*cuGraphAddHostNode_)(CUgraphNode* phGraphNode, CUgraph hGraph, const CUgraphNode* dependencies, size_t numDependencies, const CUDA_HOST_NODE_PARAMS* nodeParams);
	CUresult (*cuGraphAddKernelNode_)(CUgraphNode* phGraphNode, CUgraph hGraph, const CUgraphNode* dependencies, size_t numDependencies, const CUDA_KERNEL_NODE_PARAMS* nodeParams);
	CUresult (*cuGraphAddMemcpyNode_)(CUgraphNode* phGraphNode, CUgraph hGraph, const CUgraphNode* dependencies, size_t numDependencies, const CUDA_MEMCPY3D* copyParams, CUcontext ctx);
	CUresult (*cuGraphAddMemsetNode_)(CUgraphNode* phGraphNode, CUgraph hGraph, const CUgraphNode* dependencies, size_t numDependencies, const CUDA_MEMSET_NODE_PARAMS* memsetParams, CUcontext ctx);
	CUresult (*cuGraphClone_)(CUgraph* phGraphClone, CUgraph originalGraph);
	CUresult (*cuGraphCreate_)(CUgraph* phGraph, unsigned int flags);
	CUresult (*cuGraphDestroy_)(CUgraph hGraph);
	CUresult (*cuGraphDestroyNode_)(CUgraphNode hNode);
	CUresult (*cuGraphExecDestroy_)(CUgraphExec hGraphExec);
	CUresult (*cuGraphGetEdges_)(CUgraph hGraph, CUgraphNode* from, CUgraphNode* to, size_t* numEdges);
	CUresult (*cuInit_)(unsigned int Flags);
	CUresult (*cuLaunchKernel_)(CUfunction f, unsigned int gridDimX, unsigned int gridDimY, unsigned int gridDimZ, unsigned int blockDimX, unsigned int blockDimY, unsigned int blockDimZ, unsigned int sharedMemBytes, CUstream hStream, void** kernelParams, void** extra);
	CUresult (*cuLinkAddData_)(CUlinkState state, CUjitInputType type, void* data, size_t size, const char* name, unsigned int numOptions, CUjit_option* options, void** optionValues);
	CUresult (*cuLinkAddFile_)(CUlinkState state, CUjitInputType type, const char* path, unsigned int numOptions, CUjit_option* options, void** optionValues);
	CUresult (*cuLinkComplete_)(CUlinkState state, void** cubinOut, size_t* sizeOut);
	CUresult (*cuLinkCreate_)(unsigned int numOptions, CUjit_option* options, void** optionValues, CUlinkState* stateOut);
	CUresult (*cuLinkDestroy_)(CUlinkState state);
	CUresult (*cuMemAdvise_)(CUdeviceptr devPtr, size_t count, CUmem_advise advice, CUdevice device);
	CUresult (*cuMemAlloc_)(CUdeviceptr* dptr, size_t bytesize);
	CUresult (*cuMemAllocManaged_)(CUdeviceptr* dptr, size_t bytesize, unsigned int flags);
	CUresult (*cuMemAllocPitch_)(CUdeviceptr* dptr, size_t* pPitch, size_t WidthInBytes, size_t Height, unsigned int ElementSizeBytes);
	CUresult (*cuMemFree_)(CUdeviceptr dptr);
	CUresult (*cuMemFreeHost_)(void* p);
	CUresult (*cuMemGetAddressRange_)(CUdeviceptr* pbase, size_t* psize, CUdeviceptr dptr);
	CUresult (*cuMemGetInfo_)(size_t* free, size_t* total);
	CUresult (*cuMemPrefetchAsync_)(CUdeviceptr devPtr, size_t count, CUdevice dstDevice, CUstream hStream);
	CUresult (*cuMemcpy_)(CUdeviceptr dst, CUdeviceptr src, size_t ByteCount);
	CUresult (*cuMemcpy2D_)(const CUDA_MEMCPY2D* pCopy);
	CUresult (*cuMemcpy2DAsync_)(const CUDA_MEMCPY2D* pCopy, CUstream hStream);
	CUresult (*cuMemcpy2DUnaligned_)(const CUDA_MEMCPY2D* pCopy);
	CUresult (*cuMemcpy3D_)(const CUDA_MEMCPY3D* pCopy);
	CUresult (*cuMemcpy3DAsync_)(const CUDA_MEMCPY3D* pCopy, CUstream hStream);
	CUresult (*cuMemcpy3DPeer_)(const CUDA_MEMCPY3D_PEER* pCopy);
	CUresult (*cuMemcpy3DPeerAsync_)(const CUDA_MEMCPY3D_PEER* pCopy, CUstream hStream);
	CUresult (*cuMemcpyAsync_)(CUdeviceptr dst, CUdeviceptr src, size_t ByteCount, CUstream hStream);
	CUresult (*cuMemcpyAtoA_)(CUarray dstArray, size_t dstOffset, CUarray srcArray, size_t srcOffset, size_t ByteCount);
	CUresult (*cuMemcpyAtoD_)(CUdeviceptr dstDevice, CUarray srcArray, size_t srcOffset, size_t ByteCount);
	CUresult (*cuMemcpyAtoH_)(void* dstHost, CUarray srcArray, size_t srcOffset, size_t ByteCount);
	CUresult (*cuMemcpyAtoHAsync_)(void* dstHost, CUarray srcArray, size_t srcOffset, size_t ByteCount, CUstream hStream);
	CUresult (*cuMemcpyDtoA_)(CUarray dstArray, size_t dstOffset, CUdeviceptr srcDevice, size_t ByteCount);
	CUresult (*cuMemcpyDtoD_)(CUdeviceptr dstDevice, CUdeviceptr srcDevice, size_t ByteCount);
	CUresult (*cuMemcpyDtoDAsync_)(CUdeviceptr dstDevice, CUdeviceptr srcDevice, size_t ByteCount, CUstream hStream);
	CUresult (*cuMemcpyDtoH_)(void* dstHost, CUdeviceptr srcDevice, size_t ByteCount);
	CUresult (*cuMemcpyDtoHAsync_)(void* dstHost, CUdeviceptr srcDevice, size_t ByteCount, CUstream hStream);
	CUresult (*cuMemcpyHtoA_)(CUarray dstArray, size_t dstOffset, const void* srcHost, size_t ByteCount);
	CUresult (*cuMemcpyHtoAAsync_)(CUarray dstArray, size_t dstOffset, const void* srcHost, size_t ByteCount, CUstream hStream);
	CUresult (*cuMemcpyHtoD_)(CUdeviceptr dstDevice, const void* srcHost, size_t ByteCount);
	CUresult (*cuMemcpyHtoDAsync_)(CUdeviceptr dstDevice, const void* srcHost, size_t ByteCount, CUstream hStream);
	CUresult (*cuMemcpyPeer_)(CUdeviceptr dstDevice, CUcontext dstContext, CUdeviceptr srcDevice, CUcontext srcContext, size_t ByteCount);
	CUresult (*cuMemcpyPeerAsync_)(CUdeviceptr dstDevice, CUcontext dstContext, CUdeviceptr srcDevice, CUcontext srcContext, size_t ByteCount, CUstream hStream);
	CUresult (*cuMemsetD16_)(CUdeviceptr dstDevice, unsigned short us, size_t N);
	CUresult (*cuMemsetD16Async_)(CUdeviceptr dstDevice, unsigned short us, size_t N, CUstream hStream);
	CUresult (*cuMemsetD2D16_)(CUdeviceptr dstDevice, size_t dstPitch, unsigned short us, size_t Width, size_t Height);
	CUresult (*cuMemsetD2D16Async_)(CUdeviceptr dstDevice, size_t dstPitch, unsigned short us, size_t Width, size_t Height, CUstream hStream);
	CUresult (*cuMemsetD2D32_)(CUdeviceptr dstDevice, size_t dstPitch, unsigned int ui, size_t Width, size_t Height);
	CUresult (*cuMemsetD2D32Async_)(CUdeviceptr dstDevice, size_t dstPitch, unsigned int ui, size_t Width, size_t Height, CUstream hStream);
	CUresult (*cuMemsetD2D8_)(CUdeviceptr dstDevice, size_t dstPitch, unsigned char uc, size_t Width, size_t Height);
	CUresult (*cuMemsetD2D8Async_)(CUdeviceptr dstDevice, size_t dstPitch, unsigned char uc, size_t Width, size_t Height, CUstream hStream);
	CUresult (*cuMemsetD32_)(CUdeviceptr dstDevice, unsigned int ui, size_t N);
	CUresult (*cuMemsetD32Async_)(CUdeviceptr dstDevice, unsigned int ui, size_t N, CUstream hStream);
	CUresult (*cuMemsetD8_)(CUdeviceptr dstDevice, unsigned char uc, size_t N);
	CUresult (*cuMemsetD8Async_)(CUdeviceptr dstDevice, unsigned char uc, size_t N, CUstream hStream);
	CUresult (*cuModuleGetFunction_)(CUfunction* hfunc, CUmodule hmod, const char* name);
	CUresult (*cuModuleGetGlobal_)(CUdeviceptr* dptr, size_t* bytes, CUmodule hmod, const char* name);
	CUresult (*cuModuleGetSurfRef_)(CUsurfref* pSurfRef, CUmodule hmod, const char* name);
	CUresult (*cuModuleGetTexRef_)(CUtexref* pTexRef, CUmodule hmod, const char* name);
	CUresult (*cuModuleLoad_)(CUmodule* module, const char* fname);
	CUresult (*cuModuleLoadData_)(CUmodule* module, const void* image);
	CUresult (*cuModuleLoadDataEx_)(CUmodule* module, const void* image, unsigned int numOptions, CUjit_option* options, void** optionValues);
	CUresult (*cuModuleLoadFatBinary_)(CUmodule* module, const void* fatCubin);
	CUresult (*cuModuleUnload_)(CUmodule hmod);
	CUresult (*cuOccupancyMaxActiveBlocksPerMultiprocessor_)(int* numBlocks, CUfunction func, int blockSize, size_t dynamicSMemSize);
	CUresult (*cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags_)(int* numBlocks, CUfunction func, int blockSize, size_t dynamicSMemSize, unsigned int flags);
	CUresult (*cuPointerGetAttribute_)(void* data, CUpointer_attribute attribute, CUdeviceptr ptr);
	CUresult (*cuPointerSetAttribute_)(const void* value, CUpointer_attribute attribute, CUdeviceptr ptr);
	CUresult (*cuStreamAttachMemAsync_)(CUstream hStream, CUdeviceptr dptr, size_t length, unsigned int flags);
	CUresult (*cuStreamCreate_)(CUstream* phStream, unsigned int Flags);
	CUresult (*cuStreamCreateWithPriority_)(CUstream* phStream, unsigned int flags, int priority);
	CUresult (*cuStreamDestroy_)(CUstream hStream);
	CUresult (*cuStreamGetFlags_)(CUstream hStream, unsigned int* flags);
	CUresult (*cuStreamGetPriority_)(CUstream hStream, int* priority);
	CUresult (*cuStreamQuery_)(CUstream hStream);
	CUresult (*cuStreamSynchronize_)(CUstream hStream);
	CUresult (*cuStreamWaitEvent_)(CUstream hStream, CUevent hEvent, unsigned int Flags);
	CUresult (*cuStreamWaitValue32_)(CUstream stream, CUdeviceptr addr, cuuint32_t value, unsigned int flags);
	CUresult (*cuStreamWriteValue32_)(CUstream stream, CUdeviceptr addr, cuuint32_t value, unsigned int flags);
	CUresult (*cuSurfRefGetArray_)(CUarray* phArray, CUsurfref hSurfRef);
	CUresult (*cuSurfRefSetArray_)(CUsurfref hSurfRef, CUarray hArray, unsigned int Flags);
	CUresult (*cuTexRefGetAddress_)(CUdeviceptr* pdptr, CUtexref hTexRef);
	CUresult (*cuTexRefGetAddressMode_)(CUaddress_mode* pam, CUtexref hTexRef, int dim);
	CUresult (*cuTexRefGetArray_)(CUarray* phArray, CUtexref hTexRef);
	CUresult (*cuTexRefGetBorderColor_)(float* pBorderColor, CUtexref hTexRef);
	CUresult (*cuTexRefGetFilterMode_)(CUfilter_mode* pfm, CUtexref hTexRef);
	CUresult (*cuTexRefGetFlags_)(unsigned int* pFlags, CUtexref hTexRef);
	CUresult (*cuTexRefGetFormat_)(CUarray_format* pFormat, int* pNumChannels, CUtexref hTexRef);
	CUresult (*cuTexRefGetMaxAnisotropy_)(int* pmaxAniso, CUtexref hTexRef);
	CUresult (*cuTexRefSetAddress_)(size_t* ByteOffset, CUtexref hTexRef, CUdeviceptr dptr, size_t bytes);
	CUresult (*cuTexRefSetAddress2D_)(CUtexref hTexRef, const CUDA_ARRAY_DESCRIPTOR* desc, CUdeviceptr dptr, size_t Pitch);
	CUresult (*cuTexRefSetAddressMode_)(CUtexref hTexRef, int dim, CUaddress_mode am);
	CUresult (*cuTexRefSetArray_)(CUtexref hTexRef, CUarray hArray, unsigned int Flags);
	CUresult (*cuTexRefSetBorderColor_)(CUtexref hTexRef, float* pBorderColor);
	CUresult (*cuTexRefSetFilterMode_)(CUtexref hTexRef, CUfilter_mode fm);
	CUresult (*cuTexRefSetFlags_)(CUtexref hTexRef, unsigned int Flags);
	CUresult (*cuTexRefSetFormat_)(CUtexref hTexRef, CUarray_format fmt, int NumPackedComponents);
	CUresult (*cuTexRefSetMaxAnisotropy_)(CUtexref hTexRef, unsigned int maxAniso);
	CUresult (*cuTexRefSetMipmapFilterMode_)(CUtexref hTexRef, CUfilter_mode fm);
	CUresult (*cuTexRefSetMipmapLevelBias_)(CUtexref hTexRef, float bias);
	CUresult (*cuTexRefSetMipmapLevelClamp_)(CUtexref hTexRef, float minMipmapLevelClamp, float maxMipmapLevelClamp);
} table;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static void *lib;
static CUresult outcome = CUDA_ERROR_NO_DEVICE; /* the true outcome of cuInit */
static char why[1024] = "not tried", path[512];

static void resolve(void);

static void tried(const char *text) {
	size_t n = strlen(why);
	snprintf(why + n, sizeof why - n, "%s%s", n ? "; " : "no CUDA driver: ", text ? text : "unknown error");
}

static void load(void) {
	static const char *const places[] = {
		"libcuda.so.1", "/usr/local/nvidia/lib64/libcuda.so.1", "/usr/local/cuda/compat/libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1"};
	const char *named = getenv("SOWER_LIBCUDA");
	why[0] = 0;
	if (named && *named) { /* a named library is used, or none */
		if (!(lib = dlopen(named, RTLD_NOW | RTLD_LOCAL))) tried(dlerror());
	} else {
		for (size_t i = 0; !lib && i < sizeof places / sizeof *places; i++)
			if (!(lib = dlopen(places[i], RTLD_NOW | RTLD_LOCAL))) tried(dlerror());
	}
	if (!lib) return;
	why[0] = 0;
	struct link_map *map;
	if (!dlinfo(lib, RTLD_DI_LINKMAP, &map)) snprintf(path, sizeof path, "%s", map->l_name);
	resolve();
	if (!table.cuInit_) {
		snprintf(why, sizeof why, "%s has no cuInit: it is no CUDA driver library", path);
		return;
	}
	outcome = table.cuInit_(0);
	if (outcome == CUDA_SUCCESS) return;
	const char *text = NULL;
	CUresult (*describe)(CUresult, const char **) = (CUresult (*)(CUresult, const char **))dlsym(lib, "cuGetErrorString");
	if (!describe || describe(outcome, &text) || !text) text = "no description";
	snprintf(why, sizeof why, "cuInit of %s returned %d (%s)", path, (int)outcome, text);
}

static const struct {
	const char *name;
	void **at;
} entries[] = {
	{"cuArray3DCreate_v2", (void **)&table.cuArray3DCreate_},
	{"cuArray3DGetDescriptor_v2", (void **)&table.cuArray3DGetDescriptor_},
	{"cuArrayCreate_v2", (void **)&table.cuArrayCreate_},
	{"cuArrayDestroy", (void **)&table.cuArrayDestroy_},
	{"cuArrayGetDescriptor_v2", (void **)&table.cuArrayGetDescriptor_},
	{"cuCtxCreate_v2", (void **)&table.cuCtxCreate_},
	{"cuCtxDestroy_v2", (void **)&table.cuCtxDestroy_},
	{"cuCtxDisablePeerAccess", (void **)&table.cuCtxDisablePeerAccess_},
	{"cuCtxEnablePeerAccess", (void **)&table.cuCtxEnablePeerAccess_},
	{"cuCtxGetApiVersion", (void **)&table.cuCtxGetApiVersion_},
	{"cuCtxGetCacheConfig", (void **)&table.cuCtxGetCacheConfig_},
	{"cuCtxGetCurrent", (void **)&table.cuCtxGetCurrent_},
	{"cuCtxGetDevice", (void **)&table.cuCtxGetDevice_},
	{"cuCtxGetFlags", (void **)&table.cuCtxGetFlags_},
	{"cuCtxGetLimit", (void **)&table.cuCtxGetLimit_},
	{"cuCtxGetSharedMemConfig", (void **)&table.cuCtxGetSharedMemConfig_},
	{"cuCtxGetStreamPriorityRange", (void **)&table.cuCtxGetStreamPriorityRange_},
	{"cuCtxPopCurrent_v2", (void **)&table.cuCtxPopCurrent_},
	{"cuCtxPushCurrent_v2", (void **)&table.cuCtxPushCurrent_},
	{"cuCtxResetPersistingL2Cache", (void **)&table.cuCtxResetPersistingL2Cache_},
	{"cuCtxSetCacheConfig", (void **)&table.cuCtxSetCacheConfig_},
	{"cuCtxSetCurrent", (void **)&table.cuCtxSetCurrent_},
	{"cuCtxSetLimit", (void **)&table.cuCtxSetLimit_},
	{"cuCtxSetSharedMemConfig", (void **)&table.cuCtxSetSharedMemConfig_},
	{"cuCtxSynchronize", (void **)&table.cuCtxSynchronize_},
	{"cuDeviceCanAccessPeer", (void **)&table.cuDeviceCanAccessPeer_},
	{"cuDeviceGet", (void **)&table.cuDeviceGet_},
	{"cuDeviceGetAttribute", (void **)&table.cuDeviceGetAttribute_},
	{"cuDeviceGetCount", (void **)&table.cuDeviceGetCount_},
	{"cuDeviceGetName", (void **)&table.cuDeviceGetName_},
	{"cuDeviceGetP2PAttribute", (void **)&table.cuDeviceGetP2PAttribute_},
	{"cuDeviceGetUuid", (void **)&table.cuDeviceGetUuid_},
	{"cuDevicePrimaryCtxGetState", (void **)&table.cuDevicePrimaryCtxGetState_},
	{"cuDevicePrimaryCtxRelease_v2", (void **)&table.cuDevicePrimaryCtxRelease_},
	{"cuDevicePrimaryCtxReset_v2", (void **)&table.cuDevicePrimaryCtxReset_},
	{"cuDevicePrimaryCtxRetain", (void **)&table.cuDevicePrimaryCtxRetain_},
	{"cuDevicePrimaryCtxSetFlags_v2", (void **)&table.cuDevicePrimaryCtxSetFlags_},
	{"cuDeviceTotalMem_v2", (void **)&table.cuDeviceTotalMem_},
	{"cuDriverGetVersion", (void **)&table.cuDriverGetVersion_},
	{"cuEventCreate", (void **)&table.cuEventCreate_},
	{"cuEventDestroy_v2", (void **)&table.cuEventDestroy_},
	{"cuEventElapsedTime", (void **)&table.cuEventElapsedTime_},
	{"cuEventQuery", (void **)&table.cuEventQuery_},
	{"cuEventRecord", (void **)&table.cuEventRecord_},
	{"cuEventSynchronize", (void **)&table.cuEventSynchronize_},
	{"cuFuncGetAttribute", (void **)&table.cuFuncGetAttribute_},
	{"cuFuncSetCacheConfig", (void **)&table.cuFuncSetCacheConfig_},
	{"cuFuncSetSharedMemConfig", (void **)&table.cuFuncSetSharedMemConfig_},
	{"cuGraphAddChildGraphNode", (void **)&table.cuGraphAddChildGraphNode_},
	{"cuGraphAddDependencies", (void **)&table.cuGraphAddDependencies_},
	{"cuGraphAddEmptyNode", (void **)&table.cuGraphAddEmptyNode_},
	{"cuGraphAddHostNode", (void **)&table.cuGraphAddHostNode_},
	{"cuGraphAddKernelNode", (void **)&table.cuGraphAddKernelNode_},
	{"cuGraphAddMemcpyNode", (void **)&table.cuGraphAddMemcpyNode_},
	{"cuGraphAddMemsetNode", (void **)&table.cuGraphAddMemsetNode_},
	{"cuGraphClone", (void **)&table.cuGraphClone_},
	{"cuGraphCreate", (void **)&table.cuGraphCreate_},
	{"cuGraphDestroy", (void **)&table.cuGraphDestroy_},
	{"cuGraphDestroyNode", (void **)&table.cuGraphDestroyNode_},
	{"cuGraphExecDestroy", (void **)&table.cuGraphExecDestroy_},
	{"cuGraphGetEdges", (void **)&table.cuGraphGetEdges_},
	{"cuInit", (void **)&table.cuInit_},
	{"cuLaunchKernel", (void **)&table.cuLaunchKernel_},
	{"cuLinkAddData_v2", (void **)&table.cuLinkAddData_},
	{"cuLinkAddFile_v2", (void **)&table.cuLinkAddFile_},
	{"cuLinkComplete", (void **)&table.cuLinkComplete_},
	{"cuLinkCreate_v2", (void **)&table.cuLinkCreate_},
	{"cuLinkDestroy", (void **)&table.cuLinkDestroy_},
	{"cuMemAdvise", (void **)&table.cuMemAdvise_},
	{"cuMemAlloc_v2", (void **)&table.cuMemAlloc_},
	{"cuMemAllocManaged", (void **)&table.cuMemAllocManaged_},
	{"cuMemAllocPitch_v2", (void **)&table.cuMemAllocPitch_},
	{"cuMemFree_v2", (void **)&table.cuMemFree_},
	{"cuMemFreeHost", (void **)&table.cuMemFreeHost_},
	{"cuMemGetAddressRange_v2", (void **)&table.cuMemGetAddressRange_},
	{"cuMemGetInfo_v2", (void **)&table.cuMemGetInfo_},
	{"cuMemPrefetchAsync", (void **)&table.cuMemPrefetchAsync_},
	{"cuMemcpy", (void **)&table.cuMemcpy_},
	{"cuMemcpy2D_v2", (void **)&table.cuMemcpy2D_},
	{"cuMemcpy2DAsync_v2", (void **)&table.cuMemcpy2DAsync_},
	{"cuMemcpy2DUnaligned_v2", (void **)&table.cuMemcpy2DUnaligned_},
	{"cuMemcpy3D_v2", (void **)&table.cuMemcpy3D_},
	{"cuMemcpy3DAsync_v2", (void **)&table.cuMemcpy3DAsync_},
	{"cuMemcpy3DPeer", (void **)&table.cuMemcpy3DPeer_},
	{"cuMemcpy3DPeerAsync", (void **)&table.cuMemcpy3DPeerAsync_},
	{"cuMemcpyAsync", (void **)&table.cuMemcpyAsync_},
	{"cuMemcpyAtoA_v2", (void **)&table.cuMemcpyAtoA_},
	{"cuMemcpyAtoD_v2", (void **)&table.cuMemcpyAtoD_},
	{"cuMemcpyAtoH_v2", (void **)&table.cuMemcpyAtoH_},
	{"cuMemcpyAtoHAsync_v2", (void **)&table.cuMemcpyAtoHAsync_},
	{"cuMemcpyDtoA_v2", (void **)&table.cuMemcpyDtoA_},
	{"cuMemcpyDtoD_v2", (void **)&table.cuMemcpyDtoD_},
	{"cuMemcpyDtoDAsync_v2", (void **)&table.cuMemcpyDtoDAsync_},
	{"cuMemcpyDtoH_v2", (void **)&table.cuMemcpyDtoH_},
	{"cuMemcpyDtoHAsync_v2", (void **)&table.cuMemcpyDtoHAsync_},
	{"cuMemcpyHtoA_v2", (void **)&table.cuMemcpyHtoA_},
	{"cuMemcpyHtoAAsync_v2", (void **)&table.cuMemcpyHtoAAsync_},
	{"cuMemcpyHtoD_v2", (void **)&table.cuMemcpyHtoD_},
	{"cuMemcpyHtoDAsync_v2", (void **)&table.cuMemcpyHtoDAsync_},
	{"cuMemcpyPeer", (void **)&table.cuMemcpyPeer_},
	{"cuMemcpyPeerAsync", (void **)&table.cuMemcpyPeerAsync_},
	{"cuMemsetD16_v2", (void **)&table.cuMemsetD16_},
	{"cuMemsetD16Async", (void **)&table.cuMemsetD16Async_},
	{"cuMemsetD2D16_v2", (void **)&table.cuMemsetD2D16_},
	{"cuMemsetD2D16Async", (void **)&table.cuMemsetD2D16Async_},
	{"cuMemsetD2D32_v2", (void **)&table.cuMemsetD2D32_},
	{"cuMemsetD2D32Async", (void **)&table.cuMemsetD2D32Async_},
	{"cuMemsetD2D8_v2", (void **)&table.cuMemsetD2D8_},
	{"cuMemsetD2D8Async", (void **)&table.cuMemsetD2D8Async_},
	{"cuMemsetD32_v2", (void **)&table.cuMemsetD32_},
	{"cuMemsetD32Async", (void **)&table.cuMemsetD32Async_},
	{"cuMemsetD8_v2", (void **)&table.cuMemsetD8_},
	{"cuMemsetD8Async", (void **)&table.cuMemsetD8Async_},
	{"cuModuleGetFunction", (void **)&table.cuModuleGetFunction_},
	{"cuModuleGetGlobal_v2", (void **)&table.cuModuleGetGlobal_},
	{"cuModuleGetSurfRef", (void **)&table.cuModuleGetSurfRef_},
	{"cuModuleGetTexRef", (void **)&table.cuModuleGetTexRef_},
	{"cuModuleLoad", (void **)&table.cuModuleLoad_},
	{"cuModuleLoadData", (void **)&table.cuModuleLoadData_},
	{"cuModuleLoadDataEx", (void **)&table.cuModuleLoadDataEx_},
	{"cuModuleLoadFatBinary", (void **)&table.cuModuleLoadFatBinary_},
	{"cuModuleUnload", (void **)&table.cuModuleUnload_},
	{"cuOccupancyMaxActiveBlocksPerMultiprocessor", (void **)&table.cuOccupancyMaxActiveBlocksPerMultiprocessor_},
	{"cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags", (void **)&table.cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags_},
	{"cuPointerGetAttribute", (void **)&table.cuPointerGetAttribute_},
	{"cuPointerSetAttribute", (void **)&table.cuPointerSetAttribute_},
	{"cuStreamAttachMemAsync", (void **)&table.cuStreamAttachMemAsync_},
	{"cuStreamCreate", (void **)&table.cuStreamCreate_},
	{"cuStreamCreateWithPriority", (void **)&table.cuStreamCreateWithPriority_},
	{"cuStreamDestroy_v2", (void **)&table.cuStreamDestroy_},
	{"cuStreamGetFlags", (void **)&table.cuStreamGetFlags_},
	{"cuStreamGetPriority", (void **)&table.cuStreamGetPriority_},
	{"cuStreamQuery", (void **)&table.cuStreamQuery_},
	{"cuStreamSynchronize", (void **)&table.cuStreamSynchronize_},
	{"cuStreamWaitEvent", (void **)&table.cuStreamWaitEvent_},
	{"cuStreamWaitValue32", (void **)&table.cuStreamWaitValue32_},
	{"cuStreamWriteValue32", (void **)&table.cuStreamWriteValue32_},
	{"cuSurfRefGetArray", (void **)&table.cuSurfRefGetArray_},
	{"cuSurfRefSetArray", (void **)&table.cuSurfRefSetArray_},
	{"cuTexRefGetAddress_v2", (void **)&table.cuTexRefGetAddress_},
	{"cuTexRefGetAddressMode", (void **)&table.cuTexRefGetAddressMode_},
	{"cuTexRefGetArray", (void **)&table.cuTexRefGetArray_},
	{"cuTexRefGetBorderColor", (void **)&table.cuTexRefGetBorderColor_},
	{"cuTexRefGetFilterMode", (void **)&table.cuTexRefGetFilterMode_},
	{"cuTexRefGetFlags", (void **)&table.cuTexRefGetFlags_},
	{"cuTexRefGetFormat", (void **)&table.cuTexRefGetFormat_},
	{"cuTexRefGetMaxAnisotropy", (void **)&table.cuTexRefGetMaxAnisotropy_},
	{"cuTexRefSetAddress_v2", (void **)&table.cuTexRefSetAddress_},
	{"cuTexRefSetAddress2D_v3", (void **)&table.cuTexRefSetAddress2D_},
	{"cuTexRefSetAddressMode", (void **)&table.cuTexRefSetAddressMode_},
	{"cuTexRefSetArray", (void **)&table.cuTexRefSetArray_},
	{"cuTexRefSetBorderColor", (void **)&table.cuTexRefSetBorderColor_},
	{"cuTexRefSetFilterMode", (void **)&table.cuTexRefSetFilterMode_},
	{"cuTexRefSetFlags", (void **)&table.cuTexRefSetFlags_},
	{"cuTexRefSetFormat", (void **)&table.cuTexRefSetFormat_},
	{"cuTexRefSetMaxAnisotropy", (void **)&table.cuTexRefSetMaxAnisotropy_},
	{"cuTexRefSetMipmapFilterMode", (void **)&table.cuTexRefSetMipmapFilterMode_},
	{"cuTexRefSetMipmapLevelBias", (void **)&table.cuTexRefSetMipmapLevelBias_},
	{"cuTexRefSetMipmapLevelClamp", (void **)&table.cuTexRefSetMipmapLevelClamp_},
};

#define ENTRIES (sizeof entries / sizeof *entries)

static void resolve(void) {
	for (size_t i = 0; i < ENTRIES; i++) *entries[i].at = dlsym(lib, entries[i].name);
}

const char *sower_cuda_missing(size_t i) {
	pthread_once(&once, load);
	for (size_t e = 0; lib && e < ENTRIES; e++)
		if (!*entries[e].at && i-- == 0) return entries[e].name;
	return NULL;
}

int sower_cuda_state(void) { pthread_once(&once, load); return (int)outcome; }
const char *sower_cuda_why(void) { pthread_once(&once, load); return why; }
const char *sower_cuda_path(void) { pthread_once(&once, load); return path; }
void *sower_cuda_symbol(const char *name) { pthread_once(&once, load); return lib ? dlsym(lib, name) : NULL; }

#define HIDE __attribute__((visibility("hidden")))
#define NEED(f) pthread_once(&once, load); if (outcome != CUDA_SUCCESS) return outcome; if (!table.f##_) return CUDA_ERROR_NOT_SUPPORTED

HIDE CUresult cuInit(unsigned int Flags) { (void)Flags; pthread_once(&once, load); return CUDA_SUCCESS; }
HIDE CUresult cuArray3DCreate(CUarray* pHandle, const CUDA_ARRAY3D_DESCRIPTOR* pAllocateArray) { NEED(cuArray3DCreate); return table.cuArray3DCreate_(pHandle, pAllocateArray); }
HIDE CUresult cuArray3DGetDescriptor(CUDA_ARRAY3D_DESCRIPTOR* pArrayDescriptor, CUarray hArray) { NEED(cuArray3DGetDescriptor); return table.cuArray3DGetDescriptor_(pArrayDescriptor, hArray); }
HIDE CUresult cuArrayCreate(CUarray* pHandle, const CUDA_ARRAY_DESCRIPTOR* pAllocateArray) { NEED(cuArrayCreate); return table.cuArrayCreate_(pHandle, pAllocateArray); }
HIDE CUresult cuArrayDestroy(CUarray hArray) { NEED(cuArrayDestroy); return table.cuArrayDestroy_(hArray); }
HIDE CUresult cuArrayGetDescriptor(CUDA_ARRAY_DESCRIPTOR* pArrayDescriptor, CUarray hArray) { NEED(cuArrayGetDescriptor); return table.cuArrayGetDescriptor_(pArrayDescriptor, hArray); }
HIDE CUresult cuCtxCreate(CUcontext* pctx, unsigned int flags, CUdevice dev) { NEED(cuCtxCreate); return table.cuCtxCreate_(pctx, flags, dev); }
HIDE CUresult cuCtxDestroy(CUcontext ctx) { NEED(cuCtxDestroy); return table.cuCtxDestroy_(ctx); }
HIDE CUresult cuCtxDisablePeerAccess(CUcontext peerContext) { NEED(cuCtxDisablePeerAccess); return table.cuCtxDisablePeerAccess_(peerContext); }
HIDE CUresult cuCtxEnablePeerAccess(CUcontext peerContext, unsigned int Flags) { NEED(cuCtxEnablePeerAccess); return table.cuCtxEnablePeerAccess_(peerContext, Flags); }
HIDE CUresult cuCtxGetApiVersion(CUcontext ctx, unsigned int* version) { NEED(cuCtxGetApiVersion); return table.cuCtxGetApiVersion_(ctx, version); }
HIDE CUresult cuCtxGetCacheConfig(CUfunc_cache* pconfig) { NEED(cuCtxGetCacheConfig); return table.cuCtxGetCacheConfig_(pconfig); }
HIDE CUresult cuCtxGetCurrent(CUcontext* pctx) { NEED(cuCtxGetCurrent); return table.cuCtxGetCurrent_(pctx); }
HIDE CUresult cuCtxGetDevice(CUdevice* device) { NEED(cuCtxGetDevice); return table.cuCtxGetDevice_(device); }
HIDE CUresult cuCtxGetFlags(unsigned int* flags) { NEED(cuCtxGetFlags); return table.cuCtxGetFlags_(flags); }
HIDE CUresult cuCtxGetLimit(size_t* pvalue, CUlimit limit) { NEED(cuCtxGetLimit); return table.cuCtxGetLimit_(pvalue, limit); }
HIDE CUresult cuCtxGetSharedMemConfig(CUsharedconfig* pConfig) { NEED(cuCtxGetSharedMemConfig); return table.cuCtxGetSharedMemConfig_(pConfig); }
HIDE CUresult cuCtxGetStreamPriorityRange(int* leastPriority, int* greatestPriority) { NEED(cuCtxGetStreamPriorityRange); return table.cuCtxGetStreamPriorityRange_(leastPriority, greatestPriority); }
HIDE CUresult cuCtxPopCurrent(CUcontext* pctx) { NEED(cuCtxPopCurrent); return table.cuCtxPopCurrent_(pctx); }
HIDE CUresult cuCtxPushCurrent(CUcontext ctx) { NEED(cuCtxPushCurrent); return table.cuCtxPushCurrent_(ctx); }
HIDE CUresult cuCtxResetPersistingL2Cache(void) { NEED(cuCtxResetPersistingL2Cache); return table.cuCtxResetPersistingL2Cache_(); }
HIDE CUresult cuCtxSetCacheConfig(CUfunc_cache config) { NEED(cuCtxSetCacheConfig); return table.cuCtxSetCacheConfig_(config); }
HIDE CUresult cuCtxSetCurrent(CUcontext ctx) { NEED(cuCtxSetCurrent); return table.cuCtxSetCurrent_(ctx); }
HIDE CUresult cuCtxSetLimit(CUlimit limit, size_t value) { NEED(cuCtxSetLimit); return table.cuCtxSetLimit_(limit, value); }
HIDE CUresult cuCtxSetSharedMemConfig(CUsharedconfig config) { NEED(cuCtxSetSharedMemConfig); return table.cuCtxSetSharedMemConfig_(config); }
HIDE CUresult cuCtxSynchronize(void) { NEED(cuCtxSynchronize); return table.cuCtxSynchronize_(); }
HIDE CUresult cuDeviceCanAccessPeer(int* canAccessPeer, CUdevice dev, CUdevice peerDev) { NEED(cuDeviceCanAccessPeer); return table.cuDeviceCanAccessPeer_(canAccessPeer, dev, peerDev); }
HIDE CUresult cuDeviceGet(CUdevice* device, int ordinal) { NEED(cuDeviceGet); return table.cuDeviceGet_(device, ordinal); }
HIDE CUresult cuDeviceGetAttribute(int* pi, CUdevice_attribute attrib, CUdevice dev) { NEED(cuDeviceGetAttribute); return table.cuDeviceGetAttribute_(pi, attrib, dev); }
HIDE CUresult cuDeviceGetCount(int* count) { NEED(cuDeviceGetCount); return table.cuDeviceGetCount_(count); }
HIDE CUresult cuDeviceGetName(char* name, int len, CUdevice dev) { NEED(cuDeviceGetName); return table.cuDeviceGetName_(name, len, dev); }
HIDE CUresult cuDeviceGetP2PAttribute(int* value, CUdevice_P2PAttribute attrib, CUdevice srcDevice, CUdevice dstDevice) { NEED(cuDeviceGetP2PAttribute); return table.cuDeviceGetP2PAttribute_(value, attrib, srcDevice, dstDevice); }
HIDE CUresult cuDeviceGetUuid(CUuuid* uuid, CUdevice dev) { NEED(cuDeviceGetUuid); return table.cuDeviceGetUuid_(uuid, dev); }
HIDE CUresult cuDevicePrimaryCtxGetState(CUdevice dev, unsigned int* flags, int* active) { NEED(cuDevicePrimaryCtxGetState); return table.cuDevicePrimaryCtxGetState_(dev, flags, active); }
HIDE CUresult cuDevicePrimaryCtxRelease(CUdevice dev) { NEED(cuDevicePrimaryCtxRelease); return table.cuDevicePrimaryCtxRelease_(dev); }
HIDE CUresult cuDevicePrimaryCtxReset(CUdevice dev) { NEED(cuDevicePrimaryCtxReset); return table.cuDevicePrimaryCtxReset_(dev); }
HIDE CUresult cuDevicePrimaryCtxRetain(CUcontext* pctx, CUdevice dev) { NEED(cuDevicePrimaryCtxRetain); return table.cuDevicePrimaryCtxRetain_(pctx, dev); }
HIDE CUresult cuDevicePrimaryCtxSetFlags(CUdevice dev, unsigned int flags) { NEED(cuDevicePrimaryCtxSetFlags); return table.cuDevicePrimaryCtxSetFlags_(dev, flags); }
HIDE CUresult cuDeviceTotalMem(size_t* bytes, CUdevice dev) { NEED(cuDeviceTotalMem); return table.cuDeviceTotalMem_(bytes, dev); }
HIDE CUresult cuDriverGetVersion(int* driverVersion) { NEED(cuDriverGetVersion); return table.cuDriverGetVersion_(driverVersion); }
HIDE CUresult cuEventCreate(CUevent* phEvent, unsigned int Flags) { NEED(cuEventCreate); return table.cuEventCreate_(phEvent, Flags); }
HIDE CUresult cuEventDestroy(CUevent hEvent) { NEED(cuEventDestroy); return table.cuEventDestroy_(hEvent); }
HIDE CUresult cuEventElapsedTime(float* pMilliseconds, CUevent hStart, CUevent hEnd) { NEED(cuEventElapsedTime); return table.cuEventElapsedTime_(pMilliseconds, hStart, hEnd); }
HIDE CUresult cuEventQuery(CUevent hEvent) { NEED(cuEventQuery); return table.cuEventQuery_(hEvent); }
HIDE CUresult cuEventRecord(CUevent hEvent, CUstream hStream) { NEED(cuEventRecord); return table.cuEventRecord_(hEvent, hStream); }
HIDE CUresult cuEventSynchronize(CUevent hEvent) { NEED(cuEventSynchronize); return table.cuEventSynchronize_(hEvent); }
HIDE CUresult cuFuncGetAttribute(int* pi, CUfunction_attribute attrib, CUfunction hfunc) { NEED(cuFuncGetAttribute); return table.cuFuncGetAttribute_(pi, attrib, hfunc); }
HIDE CUresult cuFuncSetCacheConfig(CUfunction hfunc, CUfunc_cache config) { NEED(cuFuncSetCacheConfig); return table.cuFuncSetCacheConfig_(hfunc, config); }
HIDE CUresult cuFuncSetSharedMemConfig(CUfunction hfunc, CUsharedconfig config) { NEED(cuFuncSetSharedMemConfig); return table.cuFuncSetSharedMemConfig_(hfunc, config); }
HIDE CUresult cuGraphAddChildGraphNode(CUgraphNode* phGraphNode, CUgraph hGraph, const CUgraphNode* dependencies, size_t numDependencies, CUgraph childGraph) { NEED(cuGraphAddChildGraphNode); return table.cuGraphAddChildGraphNode_(phGraphNode, hGraph, dependencies, numDependencies, childGraph); }
HIDE CUresult cuGraphAddDependencies(CUgraph hGraph, const CUgraphNode* from, const CUgraphNode* to, size_t numDependencies) { NEED(cuGraphAddDependencies); return table.cuGraphAddDependencies_(hGraph, from, to, numDependencies); }
HIDE CUresult cuGraphAddEmptyNode(CUgraphNode* phGraphNode, CUgraph hGraph, const CUgraphNode* dependencies, size_t numDependencies) { NEED(cuGraphAddEmptyNode); return table.cuGraphAddEmptyNode_(phGraphNode, hGraph, dependencies, numDependencies); }
HIDE CUresult cuGraphAddHostNode(CUgraphNode* phGraphNode, CUgraph hGraph, const CUgraphNode* dependencies, size_t numDependencies, const CUDA_HOST_NODE_PARAMS* nodeParams) { NEED(cuGraphAddHostNode); return table.cuGraphAddHostNode_(phGraphNode, hGraph, dependencies, numDependencies, nodeParams); }
HIDE CUresult cuGraphAddKernelNode(CUgraphNode* phGraphNode, CUgraph hGraph, const CUgraphNode* dependencies, size_t numDependencies, const CUDA_KERNEL_NODE_PARAMS* nodeParams) { NEED(cuGraphAddKernelNode); return table.cuGraphAddKernelNode_(phGraphNode, hGraph, dependencies, numDependencies, nodeParams); }
HIDE CUresult cuGraphAddMemcpyNode(CUgraphNode* phGraphNode, CUgraph hGraph, const CUgraphNode* dependencies, size_t numDependencies, const CUDA_MEMCPY3D* copyParams, CUcontext ctx) { NEED(cuGraphAddMemcpyNode); return table.cuGraphAddMemcpyNode_(phGraphNode, hGraph, dependencies, numDependencies, copyParams, ctx); }
HIDE CUresult cuGraphAddMemsetNode(CUgraphNode* phGraphNode, CUgraph hGraph, const CUgraphNode* dependencies, size_t numDependencies, const CUDA_MEMSET_NODE_PARAMS* memsetParams, CUcontext ctx) { NEED(cuGraphAddMemsetNode); return table.cuGraphAddMemsetNode_(phGraphNode, hGraph, dependencies, numDependencies, memsetParams, ctx); }
HIDE CUresult cuGraphClone(CUgraph* phGraphClone, CUgraph originalGraph) { NEED(cuGraphClone); return table.cuGraphClone_(phGraphClone, originalGraph); }
HIDE CUresult cuGraphCreate(CUgraph* phGraph, unsigned int flags) { NEED(cuGraphCreate); return table.cuGraphCreate_(phGraph, flags); }
HIDE CUresult cuGraphDestroy(CUgraph hGraph) { NEED(cuGraphDestroy); return table.cuGraphDestroy_(hGraph); }
HIDE CUresult cuGraphDestroyNode(CUgraphNode hNode) { NEED(cuGraphDestroyNode); return table.cuGraphDestroyNode_(hNode); }
HIDE CUresult cuGraphExecDestroy(CUgraphExec hGraphExec) { NEED(cuGraphExecDestroy); return table.cuGraphExecDestroy_(hGraphExec); }
HIDE CUresult cuGraphGetEdges(CUgraph hGraph, CUgraphNode* from, CUgraphNode* to, size_t* numEdges) { NEED(cuGraphGetEdges); return table.cuGraphGetEdges_(hGraph, from, to, numEdges); }
HIDE CUresult cuLaunchKernel(CUfunction f, unsigned int gridDimX, unsigned int gridDimY, unsigned int gridDimZ, unsigned int blockDimX, unsigned int blockDimY, unsigned int blockDimZ, unsigned int sharedMemBytes, CUstream hStream, void** kernelParams, void** extra) { NEED(cuLaunchKernel); return table.cuLaunchKernel_(f, gridDimX, gridDimY, gridDimZ, blockDimX, blockDimY, blockDimZ, sharedMemBytes, hStream, kernelParams, extra); }
HIDE CUresult cuLinkAddData(CUlinkState state, CUjitInputType type, void* data, size_t size, const char* name, unsigned int numOptions, CUjit_option* options, void** optionValues) { NEED(cuLinkAddData); return table.cuLinkAddData_(state, type, data, size, name, numOptions, options, optionValues); }
HIDE CUresult cuLinkAddFile(CUlinkState state, CUjitInputType type, const char* path, unsigned int numOptions, CUjit_option* options, void** optionValues) { NEED(cuLinkAddFile); return table.cuLinkAddFile_(state, type, path, numOptions, options, optionValues); }
HIDE CUresult cuLinkComplete(CUlinkState state, void** cubinOut, size_t* sizeOut) { NEED(cuLinkComplete); return table.cuLinkComplete_(state, cubinOut, sizeOut); }
HIDE CUresult cuLinkCreate(unsigned int numOptions, CUjit_option* options, void** optionValues, CUlinkState* stateOut) { NEED(cuLinkCreate); return table.cuLinkCreate_(numOptions, options, optionValues, stateOut); }
HIDE CUresult cuLinkDestroy(CUlinkState state) { NEED(cuLinkDestroy); return table.cuLinkDestroy_(state); }
HIDE CUresult cuMemAdvise(CUdeviceptr devPtr, size_t count, CUmem_advise advice, CUdevice device) { NEED(cuMemAdvise); return table.cuMemAdvise_(devPtr, count, advice, device); }
HIDE CUresult cuMemAlloc(CUdeviceptr* dptr, size_t bytesize) { NEED(cuMemAlloc); return table.cuMemAlloc_(dptr, bytesize); }
HIDE CUresult cuMemAllocManaged(CUdeviceptr* dptr, size_t bytesize, unsigned int flags) { NEED(cuMemAllocManaged); return table.cuMemAllocManaged_(dptr, bytesize, flags); }
HIDE CUresult cuMemAllocPitch(CUdeviceptr* dptr, size_t* pPitch, size_t WidthInBytes, size_t Height, unsigned int ElementSizeBytes) { NEED(cuMemAllocPitch); return table.cuMemAllocPitch_(dptr, pPitch, WidthInBytes, Height, ElementSizeBytes); }
HIDE CUresult cuMemFree(CUdeviceptr dptr) { NEED(cuMemFree); return table.cuMemFree_(dptr); }
HIDE CUresult cuMemFreeHost(void* p) { NEED(cuMemFreeHost); return table.cuMemFreeHost_(p); }
HIDE CUresult cuMemGetAddressRange(CUdeviceptr* pbase, size_t* psize, CUdeviceptr dptr) { NEED(cuMemGetAddressRange); return table.cuMemGetAddressRange_(pbase, psize, dptr); }
HIDE CUresult cuMemGetInfo(size_t* free, size_t* total) { NEED(cuMemGetInfo); return table.cuMemGetInfo_(free, total); }
HIDE CUresult cuMemPrefetchAsync(CUdeviceptr devPtr, size_t count, CUdevice dstDevice, CUstream hStream) { NEED(cuMemPrefetchAsync); return table.cuMemPrefetchAsync_(devPtr, count, dstDevice, hStream); }
HIDE CUresult cuMemcpy(CUdeviceptr dst, CUdeviceptr src, size_t ByteCount) { NEED(cuMemcpy); return table.cuMemcpy_(dst, src, ByteCount); }
HIDE CUresult cuMemcpy2D(const CUDA_MEMCPY2D* pCopy) { NEED(cuMemcpy2D); return table.cuMemcpy2D_(pCopy); }
HIDE CUresult cuMemcpy2DAsync(const CUDA_MEMCPY2D* pCopy, CUstream hStream) { NEED(cuMemcpy2DAsync); return table.cuMemcpy2DAsync_(pCopy, hStream); }
HIDE CUresult cuMemcpy2DUnaligned(const CUDA_MEMCPY2D* pCopy) { NEED(cuMemcpy2DUnaligned); return table.cuMemcpy2DUnaligned_(pCopy); }
HIDE CUresult cuMemcpy3D(const CUDA_MEMCPY3D* pCopy) { NEED(cuMemcpy3D); return table.cuMemcpy3D_(pCopy); }
HIDE CUresult cuMemcpy3DAsync(const CUDA_MEMCPY3D* pCopy, CUstream hStream) { NEED(cuMemcpy3DAsync); return table.cuMemcpy3DAsync_(pCopy, hStream); }
HIDE CUresult cuMemcpy3DPeer(const CUDA_MEMCPY3D_PEER* pCopy) { NEED(cuMemcpy3DPeer); return table.cuMemcpy3DPeer_(pCopy); }
HIDE CUresult cuMemcpy3DPeerAsync(const CUDA_MEMCPY3D_PEER* pCopy, CUstream hStream) { NEED(cuMemcpy3DPeerAsync); return table.cuMemcpy3DPeerAsync_(pCopy, hStream); }
HIDE CUresult cuMemcpyAsync(CUdeviceptr dst, CUdeviceptr src, size_t ByteCount, CUstream hStream) { NEED(cuMemcpyAsync); return table.cuMemcpyAsync_(dst, src, ByteCount, hStream); }
HIDE CUresult cuMemcpyAtoA(CUarray dstArray, size_t dstOffset, CUarray srcArray, size_t srcOffset, size_t ByteCount) { NEED(cuMemcpyAtoA); return table.cuMemcpyAtoA_(dstArray, dstOffset, srcArray, srcOffset, ByteCount); }
HIDE CUresult cuMemcpyAtoD(CUdeviceptr dstDevice, CUarray srcArray, size_t srcOffset, size_t ByteCount) { NEED(cuMemcpyAtoD); return table.cuMemcpyAtoD_(dstDevice, srcArray, srcOffset, ByteCount); }
HIDE CUresult cuMemcpyAtoH(void* dstHost, CUarray srcArray, size_t srcOffset, size_t ByteCount) { NEED(cuMemcpyAtoH); return table.cuMemcpyAtoH_(dstHost, srcArray, srcOffset, ByteCount); }
HIDE CUresult cuMemcpyAtoHAsync(void* dstHost, CUarray srcArray, size_t srcOffset, size_t ByteCount, CUstream hStream) { NEED(cuMemcpyAtoHAsync); return table.cuMemcpyAtoHAsync_(dstHost, srcArray, srcOffset, ByteCount, hStream); }
HIDE CUresult cuMemcpyDtoA(CUarray dstArray, size_t dstOffset, CUdeviceptr srcDevice, size_t ByteCount) { NEED(cuMemcpyDtoA); return table.cuMemcpyDtoA_(dstArray, dstOffset, srcDevice, ByteCount); }
HIDE CUresult cuMemcpyDtoD(CUdeviceptr dstDevice, CUdeviceptr srcDevice, size_t ByteCount) { NEED(cuMemcpyDtoD); return table.cuMemcpyDtoD_(dstDevice, srcDevice, ByteCount); }
HIDE CUresult cuMemcpyDtoDAsync(CUdeviceptr dstDevice, CUdeviceptr srcDevice, size_t ByteCount, CUstream hStream) { NEED(cuMemcpyDtoDAsync); return table.cuMemcpyDtoDAsync_(dstDevice, srcDevice, ByteCount, hStream); }
HIDE CUresult cuMemcpyDtoH(void* dstHost, CUdeviceptr srcDevice, size_t ByteCount) { NEED(cuMemcpyDtoH); return table.cuMemcpyDtoH_(dstHost, srcDevice, ByteCount); }
HIDE CUresult cuMemcpyDtoHAsync(void* dstHost, CUdeviceptr srcDevice, size_t ByteCount, CUstream hStream) { NEED(cuMemcpyDtoHAsync); return table.cuMemcpyDtoHAsync_(dstHost, srcDevice, ByteCount, hStream); }
HIDE CUresult cuMemcpyHtoA(CUarray dstArray, size_t dstOffset, const void* srcHost, size_t ByteCount) { NEED(cuMemcpyHtoA); return table.cuMemcpyHtoA_(dstArray, dstOffset, srcHost, ByteCount); }
HIDE CUresult cuMemcpyHtoAAsync(CUarray dstArray, size_t dstOffset, const void* srcHost, size_t ByteCount, CUstream hStream) { NEED(cuMemcpyHtoAAsync); return table.cuMemcpyHtoAAsync_(dstArray, dstOffset, srcHost, ByteCount, hStream); }
HIDE CUresult cuMemcpyHtoD(CUdeviceptr dstDevice, const void* srcHost, size_t ByteCount) { NEED(cuMemcpyHtoD); return table.cuMemcpyHtoD_(dstDevice, srcHost, ByteCount); }
HIDE CUresult cuMemcpyHtoDAsync(CUdeviceptr dstDevice, const void* srcHost, size_t ByteCount, CUstream hStream) { NEED(cuMemcpyHtoDAsync); return table.cuMemcpyHtoDAsync_(dstDevice, srcHost, ByteCount, hStream); }
HIDE CUresult cuMemcpyPeer(CUdeviceptr dstDevice, CUcontext dstContext, CUdeviceptr srcDevice, CUcontext srcContext, size_t ByteCount) { NEED(cuMemcpyPeer); return table.cuMemcpyPeer_(dstDevice, dstContext, srcDevice, srcContext, ByteCount); }
HIDE CUresult cuMemcpyPeerAsync(CUdeviceptr dstDevice, CUcontext dstContext, CUdeviceptr srcDevice, CUcontext srcContext, size_t ByteCount, CUstream hStream) { NEED(cuMemcpyPeerAsync); return table.cuMemcpyPeerAsync_(dstDevice, dstContext, srcDevice, srcContext, ByteCount, hStream); }
HIDE CUresult cuMemsetD16(CUdeviceptr dstDevice, unsigned short us, size_t N) { NEED(cuMemsetD16); return table.cuMemsetD16_(dstDevice, us, N); }
HIDE CUresult cuMemsetD16Async(CUdeviceptr dstDevice, unsigned short us, size_t N, CUstream hStream) { NEED(cuMemsetD16Async); return table.cuMemsetD16Async_(dstDevice, us, N, hStream); }
HIDE CUresult cuMemsetD2D16(CUdeviceptr dstDevice, size_t dstPitch, unsigned short us, size_t Width, size_t Height) { NEED(cuMemsetD2D16); return table.cuMemsetD2D16_(dstDevice, dstPitch, us, Width, Height); }
HIDE CUresult cuMemsetD2D16Async(CUdeviceptr dstDevice, size_t dstPitch, unsigned short us, size_t Width, size_t Height, CUstream hStream) { NEED(cuMemsetD2D16Async); return table.cuMemsetD2D16Async_(dstDevice, dstPitch, us, Width, Height, hStream); }
HIDE CUresult cuMemsetD2D32(CUdeviceptr dstDevice, size_t dstPitch, unsigned int ui, size_t Width, size_t Height) { NEED(cuMemsetD2D32); return table.cuMemsetD2D32_(dstDevice, dstPitch, ui, Width, Height); }
HIDE CUresult cuMemsetD2D32Async(CUdeviceptr dstDevice, size_t dstPitch, unsigned int ui, size_t Width, size_t Height, CUstream hStream) { NEED(cuMemsetD2D32Async); return table.cuMemsetD2D32Async_(dstDevice, dstPitch, ui, Width, Height, hStream); }
HIDE CUresult cuMemsetD2D8(CUdeviceptr dstDevice, size_t dstPitch, unsigned char uc, size_t Width, size_t Height) { NEED(cuMemsetD2D8); return table.cuMemsetD2D8_(dstDevice, dstPitch, uc, Width, Height); }
HIDE CUresult cuMemsetD2D8Async(CUdeviceptr dstDevice, size_t dstPitch, unsigned char uc, size_t Width, size_t Height, CUstream hStream) { NEED(cuMemsetD2D8Async); return table.cuMemsetD2D8Async_(dstDevice, dstPitch, uc, Width, Height, hStream); }
HIDE CUresult cuMemsetD32(CUdeviceptr dstDevice, unsigned int ui, size_t N) { NEED(cuMemsetD32); return table.cuMemsetD32_(dstDevice, ui, N); }
HIDE CUresult cuMemsetD32Async(CUdeviceptr dstDevice, unsigned int ui, size_t N, CUstream hStream) { NEED(cuMemsetD32Async); return table.cuMemsetD32Async_(dstDevice, ui, N, hStream); }
HIDE CUresult cuMemsetD8(CUdeviceptr dstDevice, unsigned char uc, size_t N) { NEED(cuMemsetD8); return table.cuMemsetD8_(dstDevice, uc, N); }
HIDE CUresult cuMemsetD8Async(CUdeviceptr dstDevice, unsigned char uc, size_t N, CUstream hStream) { NEED(cuMemsetD8Async); return table.cuMemsetD8Async_(dstDevice, uc, N, hStream); }
HIDE CUresult cuModuleGetFunction(CUfunction* hfunc, CUmodule hmod, const char* name) { NEED(cuModuleGetFunction); return table.cuModuleGetFunction_(hfunc, hmod, name); }
HIDE CUresult cuModuleGetGlobal(CUdeviceptr* dptr, size_t* bytes, CUmodule hmod, const char* name) { NEED(cuModuleGetGlobal); return table.cuModuleGetGlobal_(dptr, bytes, hmod, name); }
HIDE CUresult cuModuleGetSurfRef(CUsurfref* pSurfRef, CUmodule hmod, const char* name) { NEED(cuModuleGetSurfRef); return table.cuModuleGetSurfRef_(pSurfRef, hmod, name); }
HIDE CUresult cuModuleGetTexRef(CUtexref* pTexRef, CUmodule hmod, const char* name) { NEED(cuModuleGetTexRef); return table.cuModuleGetTexRef_(pTexRef, hmod, name); }
HIDE CUresult cuModuleLoad(CUmodule* module, const char* fname) { NEED(cuModuleLoad); return table.cuModuleLoad_(module, fname); }
HIDE CUresult cuModuleLoadData(CUmodule* module, const void* image) { NEED(cuModuleLoadData); return table.cuModuleLoadData_(module, image); }
HIDE CUresult cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned int numOptions, CUjit_option* options, void** optionValues) { NEED(cuModuleLoadDataEx); return table.cuModuleLoadDataEx_(module, image, numOptions, options, optionValues); }
HIDE CUresult cuModuleLoadFatBinary(CUmodule* module, const void* fatCubin) { NEED(cuModuleLoadFatBinary); return table.cuModuleLoadFatBinary_(module, fatCubin); }
HIDE CUresult cuModuleUnload(CUmodule hmod) { NEED(cuModuleUnload); return table.cuModuleUnload_(hmod); }
HIDE CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* numBlocks, CUfunction func, int blockSize, size_t dynamicSMemSize) { NEED(cuOccupancyMaxActiveBlocksPerMultiprocessor); return table.cuOccupancyMaxActiveBlocksPerMultiprocessor_(numBlocks, func, blockSize, dynamicSMemSize); }
HIDE CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* numBlocks, CUfunction func, int blockSize, size_t dynamicSMemSize, unsigned int flags) { NEED(cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags); return table.cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags_(numBlocks, func, blockSize, dynamicSMemSize, flags); }
HIDE CUresult cuPointerGetAttribute(void* data, CUpointer_attribute attribute, CUdeviceptr ptr) { NEED(cuPointerGetAttribute); return table.cuPointerGetAttribute_(data, attribute, ptr); }
HIDE CUresult cuPointerSetAttribute(const void* value, CUpointer_attribute attribute, CUdeviceptr ptr) { NEED(cuPointerSetAttribute); return table.cuPointerSetAttribute_(value, attribute, ptr); }
HIDE CUresult cuStreamAttachMemAsync(CUstream hStream, CUdeviceptr dptr, size_t length, unsigned int flags) { NEED(cuStreamAttachMemAsync); return table.cuStreamAttachMemAsync_(hStream, dptr, length, flags); }
HIDE CUresult cuStreamCreate(CUstream* phStream, unsigned int Flags) { NEED(cuStreamCreate); return table.cuStreamCreate_(phStream, Flags); }
HIDE CUresult cuStreamCreateWithPriority(CUstream* phStream, unsigned int flags, int priority) { NEED(cuStreamCreateWithPriority); return table.cuStreamCreateWithPriority_(phStream, flags, priority); }
HIDE CUresult cuStreamDestroy(CUstream hStream) { NEED(cuStreamDestroy); return table.cuStreamDestroy_(hStream); }
HIDE CUresult cuStreamGetFlags(CUstream hStream, unsigned int* flags) { NEED(cuStreamGetFlags); return table.cuStreamGetFlags_(hStream, flags); }
HIDE CUresult cuStreamGetPriority(CUstream hStream, int* priority) { NEED(cuStreamGetPriority); return table.cuStreamGetPriority_(hStream, priority); }
HIDE CUresult cuStreamQuery(CUstream hStream) { NEED(cuStreamQuery); return table.cuStreamQuery_(hStream); }
HIDE CUresult cuStreamSynchronize(CUstream hStream) { NEED(cuStreamSynchronize); return table.cuStreamSynchronize_(hStream); }
HIDE CUresult cuStreamWaitEvent(CUstream hStream, CUevent hEvent, unsigned int Flags) { NEED(cuStreamWaitEvent); return table.cuStreamWaitEvent_(hStream, hEvent, Flags); }
HIDE CUresult cuStreamWaitValue32(CUstream stream, CUdeviceptr addr, cuuint32_t value, unsigned int flags) { NEED(cuStreamWaitValue32); return table.cuStreamWaitValue32_(stream, addr, value, flags); }
HIDE CUresult cuStreamWriteValue32(CUstream stream, CUdeviceptr addr, cuuint32_t value, unsigned int flags) { NEED(cuStreamWriteValue32); return table.cuStreamWriteValue32_(stream, addr, value, flags); }
HIDE CUresult cuSurfRefGetArray(CUarray* phArray, CUsurfref hSurfRef) { NEED(cuSurfRefGetArray); return table.cuSurfRefGetArray_(phArray, hSurfRef); }
HIDE CUresult cuSurfRefSetArray(CUsurfref hSurfRef, CUarray hArray, unsigned int Flags) { NEED(cuSurfRefSetArray); return table.cuSurfRefSetArray_(hSurfRef, hArray, Flags); }
HIDE CUresult cuTexRefGetAddress(CUdeviceptr* pdptr, CUtexref hTexRef) { NEED(cuTexRefGetAddress); return table.cuTexRefGetAddress_(pdptr, hTexRef); }
HIDE CUresult cuTexRefGetAddressMode(CUaddress_mode* pam, CUtexref hTexRef, int dim) { NEED(cuTexRefGetAddressMode); return table.cuTexRefGetAddressMode_(pam, hTexRef, dim); }
HIDE CUresult cuTexRefGetArray(CUarray* phArray, CUtexref hTexRef) { NEED(cuTexRefGetArray); return table.cuTexRefGetArray_(phArray, hTexRef); }
HIDE CUresult cuTexRefGetBorderColor(float* pBorderColor, CUtexref hTexRef) { NEED(cuTexRefGetBorderColor); return table.cuTexRefGetBorderColor_(pBorderColor, hTexRef); }
HIDE CUresult cuTexRefGetFilterMode(CUfilter_mode* pfm, CUtexref hTexRef) { NEED(cuTexRefGetFilterMode); return table.cuTexRefGetFilterMode_(pfm, hTexRef); }
HIDE CUresult cuTexRefGetFlags(unsigned int* pFlags, CUtexref hTexRef) { NEED(cuTexRefGetFlags); return table.cuTexRefGetFlags_(pFlags, hTexRef); }
HIDE CUresult cuTexRefGetFormat(CUarray_format* pFormat, int* pNumChannels, CUtexref hTexRef) { NEED(cuTexRefGetFormat); return table.cuTexRefGetFormat_(pFormat, pNumChannels, hTexRef); }
HIDE CUresult cuTexRefGetMaxAnisotropy(int* pmaxAniso, CUtexref hTexRef) { NEED(cuTexRefGetMaxAnisotropy); return table.cuTexRefGetMaxAnisotropy_(pmaxAniso, hTexRef); }
HIDE CUresult cuTexRefSetAddress(size_t* ByteOffset, CUtexref hTexRef, CUdeviceptr dptr, size_t bytes) { NEED(cuTexRefSetAddress); return table.cuTexRefSetAddress_(ByteOffset, hTexRef, dptr, bytes); }
HIDE CUresult cuTexRefSetAddress2D(CUtexref hTexRef, const CUDA_ARRAY_DESCRIPTOR* desc, CUdeviceptr dptr, size_t Pitch) { NEED(cuTexRefSetAddress2D); return table.cuTexRefSetAddress2D_(hTexRef, desc, dptr, Pitch); }
HIDE CUresult cuTexRefSetAddressMode(CUtexref hTexRef, int dim, CUaddress_mode am) { NEED(cuTexRefSetAddressMode); return table.cuTexRefSetAddressMode_(hTexRef, dim, am); }
HIDE CUresult cuTexRefSetArray(CUtexref hTexRef, CUarray hArray, unsigned int Flags) { NEED(cuTexRefSetArray); return table.cuTexRefSetArray_(hTexRef, hArray, Flags); }
HIDE CUresult cuTexRefSetBorderColor(CUtexref hTexRef, float* pBorderColor) { NEED(cuTexRefSetBorderColor); return table.cuTexRefSetBorderColor_(hTexRef, pBorderColor); }
HIDE CUresult cuTexRefSetFilterMode(CUtexref hTexRef, CUfilter_mode fm) { NEED(cuTexRefSetFilterMode); return table.cuTexRefSetFilterMode_(hTexRef, fm); }
HIDE CUresult cuTexRefSetFlags(CUtexref hTexRef, unsigned int Flags) { NEED(cuTexRefSetFlags); return table.cuTexRefSetFlags_(hTexRef, Flags); }
HIDE CUresult cuTexRefSetFormat(CUtexref hTexRef, CUarray_format fmt, int NumPackedComponents) { NEED(cuTexRefSetFormat); return table.cuTexRefSetFormat_(hTexRef, fmt, NumPackedComponents); }
HIDE CUresult cuTexRefSetMaxAnisotropy(CUtexref hTexRef, unsigned int maxAniso) { NEED(cuTexRefSetMaxAnisotropy); return table.cuTexRefSetMaxAnisotropy_(hTexRef, maxAniso); }
HIDE CUresult cuTexRefSetMipmapFilterMode(CUtexref hTexRef, CUfilter_mode fm) { NEED(cuTexRefSetMipmapFilterMode); return table.cuTexRefSetMipmapFilterMode_(hTexRef, fm); }
HIDE CUresult cuTexRefSetMipmapLevelBias(CUtexref hTexRef, float bias) { NEED(cuTexRefSetMipmapLevelBias); return table.cuTexRefSetMipmapLevelBias_(hTexRef, bias); }
HIDE CUresult cuTexRefSetMipmapLevelClamp(CUtexref hTexRef, float minMipmapLevelClamp, float maxMipmapLevelClamp) { NEED(cuTexRefSetMipmapLevelClamp); return table.cuTexRefSetMipmapLevelClamp_(hTexRef, minMipmapLevelClamp, maxMipmapLevelClamp); }
