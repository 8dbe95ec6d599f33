/* Device and pinned memory: every range is known, new memory is poisoned, and its ends are checked when it is given back. */
#include "fake.h"
#include <cstdlib>
#include <cstring>

namespace {
constexpr size_t fence = 256;
constexpr unsigned char fence_byte = 0xa5;

struct Range {
	size_t n;
	int device;
	void *block;
};
std::map<uintptr_t, Range> device_memory, pinned_memory;
std::map<int, size_t> used;

bool within(const std::map<uintptr_t, Range> &all, uintptr_t p, size_t n) {
	auto it = all.upper_bound(p);
	if (it == all.begin()) return false;
	--it;
	return p + n <= it->first + it->second.n && p + n >= p;
}

/* All bits set: a NaN for every float type, and no plausible index. */
void *fenced(size_t n) {
	size_t whole = (n + 2 * fence + 255) & ~(size_t)255;
	unsigned char *b = (unsigned char *)aligned_alloc(256, whole);
	if (!b) return nullptr;
	memset(b, fence_byte, fence);
	memset(b + fence, 0xff, n);
	memset(b + fence + n, fence_byte, whole - fence - n);
	return b;
}

bool intact(const Range &r) {
	const unsigned char *b = (const unsigned char *)r.block;
	for (size_t i = 0; i < fence; i++)
		if (b[i] != fence_byte || b[fence + r.n + i] != fence_byte) return false;
	return true;
}
} // namespace

size_t memory_limit() {
	const char *s = getenv("FAKECUDA_MEMORY");
	return s && *s ? strtoull(s, nullptr, 10) : (size_t)4 << 30;
}

long memory_count() { return (long)device_memory.size(); }
long pinned_count() { return (long)pinned_memory.size(); }
long memory_bytes() {
	long n = 0;
	for (auto &u : used) n += (long)u.second;
	return n;
}

bool device_range(uintptr_t p, size_t n) { return within(device_memory, p, n); }
bool pinned_range(uintptr_t p, size_t n) { return within(pinned_memory, p, n); }

API Result cuMemAlloc_v2(Address *p, size_t n) {
	ENTER("cuMemAlloc");
	if (Result r = forbid_in_capture()) return r;
	if (!n) return kInvalidValue;
	if (used[current->device] + n > memory_limit()) return kOutOfMemory;
	void *b = fenced(n);
	if (!b) return kOutOfMemory;
	*p = (uintptr_t)b + fence;
	device_memory[(uintptr_t)*p] = {n, current->device, b};
	used[current->device] += n;
	return kOk;
}

API Result cuMemFree_v2(Address p) {
	ENTER("cuMemFree");
	if (Result r = forbid_in_capture()) return r;
	if (!p) return kOk;
	auto it = device_memory.find((uintptr_t)p);
	if (it == device_memory.end()) return misuse(kInvalidValue, "cuMemFree(%#llx): no such allocation", p);
	Result r = drain(current, true); /* freeing waits for the device */
	Range range = it->second;
	bool whole = intact(range);
	device_memory.erase(it);
	used[range.device] -= range.n;
	free(range.block);
	if (!whole) {
		lose(range.device, kIllegalAddress);
		return misuse(kIllegalAddress, "cuMemFree(%#llx): something wrote past the ends of its %zu bytes", p, range.n);
	}
	return r;
}

API Result cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
	ENTER("cuMemGetInfo");
	*total = memory_limit();
	*free_bytes = *total - used[current->device];
	return kOk;
}

API Result cuMemGetAddressRange_v2(Address *base, size_t *n, Address p) {
	ENTER("cuMemGetAddressRange");
	auto it = device_memory.upper_bound((uintptr_t)p);
	if (it == device_memory.begin()) return kNotFound;
	--it;
	if ((uintptr_t)p >= it->first + it->second.n) return kNotFound;
	if (base) *base = it->first;
	if (n) *n = it->second.n;
	return kOk;
}

API Result cuMemHostAlloc(void **p, size_t n, unsigned) {
	ENTER("cuMemHostAlloc");
	if (!n) return kInvalidValue;
	void *b = fenced(n);
	if (!b) return kOutOfMemory;
	*p = (char *)b + fence;
	pinned_memory[(uintptr_t)*p] = {n, current->device, b};
	return kOk;
}

API Result cuMemFreeHost(void *p) {
	ENTER("cuMemFreeHost");
	auto it = pinned_memory.find((uintptr_t)p);
	if (it == pinned_memory.end()) return misuse(kInvalidValue, "cuMemFreeHost(%p): no such allocation", p);
	Result r = drain(current, true);
	bool whole = intact(it->second);
	free(it->second.block);
	pinned_memory.erase(it);
	return whole ? r : misuse(kIllegalAddress, "cuMemFreeHost(%p): something wrote past its ends", p);
}

/* Copies that return when they are done; like the driver's, they are ordered with the default stream and the streams that
 * block with it, not with others. */
static Result copy_now(Address to, Address from, size_t n, bool to_device, bool from_device, const char *call) {
	if (Result r = forbid_in_capture()) return r;
	if ((to_device && !device_range((uintptr_t)to, n)) || (from_device && !device_range((uintptr_t)from, n)))
		return misuse(kInvalidValue, "%s(%#llx, %#llx, %zu): not within one allocation", call, to, from, n);
	if (Result r = drain(current, false)) return r;
	if (Result r = fault("copy")) return r;
	memmove((void *)(uintptr_t)to, (const void *)(uintptr_t)from, n);
	return kOk;
}

API Result cuMemcpyHtoD_v2(Address to, const void *from, size_t n) {
	ENTER("cuMemcpyHtoD");
	return copy_now(to, (uintptr_t)from, n, true, false, "cuMemcpyHtoD");
}
API Result cuMemcpyDtoH_v2(void *to, Address from, size_t n) {
	ENTER("cuMemcpyDtoH");
	return copy_now((uintptr_t)to, from, n, false, true, "cuMemcpyDtoH");
}
API Result cuMemcpyDtoD_v2(Address to, Address from, size_t n) {
	ENTER("cuMemcpyDtoD");
	return copy_now(to, from, n, true, true, "cuMemcpyDtoD");
}
API Result cuMemsetD8_v2(Address p, unsigned char v, size_t n) {
	ENTER("cuMemsetD8");
	if (!device_range((uintptr_t)p, n)) return misuse(kInvalidValue, "cuMemsetD8(%#llx, %zu): not within one allocation", p, n);
	if (Result r = drain(current, false)) return r;
	memset((void *)(uintptr_t)p, v, n);
	return kOk;
}

static Result copy_later(Address to, Address from, size_t n, bool to_device, bool from_device, void *stream, const char *call) {
	Result why;
	Stream *s = stream_of(stream, &why);
	if (!s) return why;
	if ((to_device && !device_range((uintptr_t)to, n)) || (from_device && !device_range((uintptr_t)from, n)))
		return misuse(kInvalidValue, "%s(%#llx, %#llx, %zu): not within one allocation", call, to, from, n);
	uintptr_t host = to_device ? (uintptr_t)from : (uintptr_t)to;
	if (!(to_device && from_device) && !pinned_range(host, n))
		return misuse(kInvalidValue, "%s: the host's %zu bytes at %#lx are not pinned memory", call, n, (unsigned long)host);
	if (to_device && from_device && to < from + n && from < to + n && n)
		return misuse(kInvalidValue, "%s(%#llx, %#llx, %zu): the ranges overlap", call, to, from, n);
	Op op{Op::Copy};
	op.to = (uintptr_t)to;
	op.from = (uintptr_t)from;
	op.size = n;
	return enqueue(s, op);
}

API Result cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t n, void *s) {
	ENTER("cuMemcpyHtoDAsync");
	return copy_later(to, (uintptr_t)from, n, true, false, s, "cuMemcpyHtoDAsync");
}
API Result cuMemcpyDtoHAsync_v2(void *to, Address from, size_t n, void *s) {
	ENTER("cuMemcpyDtoHAsync");
	return copy_later((uintptr_t)to, from, n, false, true, s, "cuMemcpyDtoHAsync");
}
API Result cuMemcpyDtoDAsync_v2(Address to, Address from, size_t n, void *s) {
	ENTER("cuMemcpyDtoDAsync");
	return copy_later(to, from, n, true, true, s, "cuMemcpyDtoDAsync");
}

API Result cuMemsetD8Async(Address p, unsigned char v, size_t n, void *stream) {
	ENTER("cuMemsetD8Async");
	Result why;
	Stream *s = stream_of(stream, &why);
	if (!s) return why;
	if (!device_range((uintptr_t)p, n)) return misuse(kInvalidValue, "cuMemsetD8Async(%#llx, %zu): not within one allocation", p, n);
	Op op{Op::Set};
	op.to = (uintptr_t)p;
	op.value = v;
	op.size = n;
	return enqueue(s, op);
}
