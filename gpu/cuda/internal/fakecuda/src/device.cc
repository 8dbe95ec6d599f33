/* Devices and contexts. */
#include "fake.h"
#include <cstdio>
#include <cstring>

static Context *primary(int d) {
	static std::map<int, Context> all;
	Context &c = all[d];
	c.device = d;
	return &c;
}

static bool exists(int d) { return d >= 0 && d < devices(); }

API Result cuInit(unsigned) { return devices() ? kOk : kNoDevice; }
API Result cuDriverGetVersion(int *v) { *v = setting("FAKECUDA_DRIVER", 12080); return kOk; }

API Result cuDeviceGetCount(int *n) {
	ENTER_ANYWHERE("cuDeviceGetCount");
	*n = devices();
	return kOk;
}

API Result cuDeviceGet(int *d, int ordinal) {
	ENTER_ANYWHERE("cuDeviceGet");
	*d = ordinal;
	return exists(ordinal) ? kOk : kInvalidDevice;
}

API Result cuDeviceGetName(char *name, int n, int d) {
	ENTER_ANYWHERE("cuDeviceGetName");
	snprintf(name, (size_t)n, "Fake GPU");
	return exists(d) ? kOk : kInvalidDevice;
}

API Result cuDeviceGetUuid(void *id, int d) {
	ENTER_ANYWHERE("cuDeviceGetUuid");
	memset(id, 0xfa, 16);
	((unsigned char *)id)[15] = (unsigned char)d;
	return exists(d) ? kOk : kInvalidDevice;
}

size_t memory_limit();

API Result cuDeviceTotalMem_v2(size_t *n, int d) {
	ENTER_ANYWHERE("cuDeviceTotalMem");
	*n = memory_limit();
	return exists(d) ? kOk : kInvalidDevice;
}

API Result cuDeviceGetAttribute(int *v, int attribute, int d) {
	ENTER_ANYWHERE("cuDeviceGetAttribute");
	const int capability = setting("FAKECUDA_CAPABILITY", 90);
	switch (attribute) {
	case 1: case 2: case 3: *v = 1024; break;       /* threads of a block, its x and y */
	case 4: *v = 64; break;                         /* its z */
	case 5: *v = 0x7fffffff; break;                 /* the grid's x */
	case 6: case 7: *v = 65535; break;              /* its y and z */
	case 8: *v = 48 << 10; break;                   /* shared memory of a block without asking */
	case 10: *v = 32; break;                        /* the warp */
	case 13: *v = 1980000; break;                   /* kHz */
	case 16: *v = setting("FAKECUDA_SMS", 4); break; /* few, because persistent kernels start one block for each */
	case 38: *v = 50 << 20; break;                  /* L2 */
	case 39: *v = 2048; break;                      /* threads of a multiprocessor */
	case 40: *v = 2; break;                         /* copy engines */
	case 41: *v = 1; break;                         /* one address space */
	case 75: *v = capability / 10; break;
	case 76: *v = capability % 10; break;
	case 81: *v = (capability >= 90 ? 228 : 164) << 10; break; /* shared memory of a multiprocessor */
	case 97: *v = (capability >= 90 ? 227 : 163) << 10; break; /* of a block that asks for it */
	default: *v = 0;
	}
	return exists(d) ? kOk : kInvalidDevice;
}

API Result cuDevicePrimaryCtxRetain(Context **c, int d) {
	ENTER_ANYWHERE("cuDevicePrimaryCtxRetain");
	if (!exists(d)) return kInvalidDevice;
	if (Result r = lost(d)) return r;
	*c = primary(d);
	(*c)->retained++;
	return kOk;
}

API Result cuDevicePrimaryCtxRelease_v2(int d) {
	ENTER_ANYWHERE("cuDevicePrimaryCtxRelease");
	if (!exists(d)) return kInvalidDevice;
	if (!primary(d)->retained) return misuse(kInvalidContext, "a primary context is released more often than retained");
	primary(d)->retained--;
	return kOk;
}

API Result cuDevicePrimaryCtxSetFlags_v2(int d, unsigned flags) {
	ENTER_ANYWHERE("cuDevicePrimaryCtxSetFlags");
	if (!exists(d)) return kInvalidDevice;
	primary(d)->flags = flags;
	return kOk;
}

API Result cuDevicePrimaryCtxGetState(int d, unsigned *flags, int *active) {
	ENTER_ANYWHERE("cuDevicePrimaryCtxGetState");
	if (!exists(d)) return kInvalidDevice;
	*flags = primary(d)->flags;
	*active = primary(d)->retained > 0;
	return kOk;
}

API Result cuCtxSetCurrent(Context *c) {
	std::lock_guard<std::recursive_mutex> lock(mutex);
	if (c && (!exists(c->device) || !c->retained)) return misuse(kInvalidContext, "cuCtxSetCurrent of a context that is not retained");
	current = c;
	return kOk;
}

API Result cuCtxGetCurrent(Context **c) { *c = current; return kOk; }

API Result cuCtxGetDevice(int *d) {
	ENTER("cuCtxGetDevice");
	*d = current->device;
	return kOk;
}

API Result cuCtxSynchronize() {
	ENTER("cuCtxSynchronize");
	if (Result r = forbid_in_capture()) return r;
	return drain(current, true);
}

API Result cuCtxGetStreamPriorityRange(int *least, int *greatest) {
	ENTER("cuCtxGetStreamPriorityRange");
	*least = 0;
	*greatest = -5;
	return kOk;
}
