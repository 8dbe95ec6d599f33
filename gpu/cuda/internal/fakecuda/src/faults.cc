/* Faults on demand, lost devices, what misuse prints, counters for tests. */
#include "fake.h"
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

std::recursive_mutex mutex;
thread_local Context *current;

namespace {
struct Fault {
	std::string call;
	int after;
	Result code;
};
std::vector<Fault> faults;
std::map<int, Result> lost_devices;
long misuses;

/* FAKECUDA_FAIL=call:after:code,… */
void read_environment() {
	static bool read;
	if (read) return;
	read = true;
	const char *s = getenv("FAKECUDA_FAIL");
	char call[64];
	int after, code, used;
	while (s && sscanf(s, "%63[^:]:%d:%d%n", call, &after, &code, &used) == 3) {
		faults.push_back({call, after, code});
		s += used;
		if (*s == ',') s++;
	}
}
} // namespace

int setting(const char *name, int otherwise) {
	const char *s = getenv(name);
	return s && *s ? atoi(s) : otherwise;
}

int devices() { return setting("FAKECUDA_DEVICES", 1); }

bool sticky(Result c) {
	return c == 46 || c == 214 || c == 220 || c == 700 || c == 702 || c == 709 || c == 710 || (c >= 714 && c <= 719) || c == 999;
}

Result lost(int device) {
	auto it = lost_devices.find(device);
	return it == lost_devices.end() ? kOk : it->second;
}

void lose(int device, Result code) {
	if (!lost(device)) lost_devices[device] = code;
}

Result fault(const char *point) {
	read_environment();
	for (size_t i = 0; i < faults.size(); i++) {
		if (faults[i].call != point && faults[i].call != "*") continue;
		if (faults[i].after-- > 0) continue;
		Result code = faults[i].code;
		faults.erase(faults.begin() + (long)i);
		if (sticky(code)) lose(current ? current->device : 0, code);
		return code;
	}
	return kOk;
}

Result enter(const char *call, bool needs_context) {
	if (current)
		if (Result r = lost(current->device)) return r;
	if (Result r = fault(call)) return r;
	return needs_context && !current ? kInvalidContext : kOk;
}

Result misuse(Result code, const char *format, ...) {
	va_list args;
	va_start(args, format);
	fprintf(stderr, "fakecuda: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	misuses++;
	return code;
}

/* The call of that name (without _v2; or kernel, copy: when the work runs; or *: any call) fails once with code, after so many that
 * go through. A code that means a lost device makes every later call fail too. */
API void fakecuda_fail(const char *call, int after, int code) {
	std::lock_guard<std::recursive_mutex> lock(mutex);
	faults.push_back({call, after, code});
}

/* Forgets faults and lost devices, as a fresh process would. */
API void fakecuda_reset() {
	std::lock_guard<std::recursive_mutex> lock(mutex);
	faults.clear();
	lost_devices.clear();
}

long memory_count();
long memory_bytes();
long pinned_count();
long stream_count();

API long fakecuda_count(const char *what) {
	std::lock_guard<std::recursive_mutex> lock(mutex);
	std::string w = what;
	if (w == "memory") return memory_count();
	if (w == "bytes") return memory_bytes();
	if (w == "pinned") return pinned_count();
	if (w == "streams") return stream_count();
	if (w == "events") return (long)events.size();
	if (w == "modules") return (long)modules.size();
	if (w == "graphs") return live_graphs;
	if (w == "launches") return launches;
	if (w == "replays") return replays;
	if (w == "misuses") return misuses;
	return -1;
}

API Result cuGetErrorName(Result code, const char **text) {
	static const std::map<Result, const char *> names = {
		{0, "CUDA_SUCCESS"}, {1, "CUDA_ERROR_INVALID_VALUE"}, {2, "CUDA_ERROR_OUT_OF_MEMORY"}, {46, "CUDA_ERROR_DEVICE_UNAVAILABLE"},
		{100, "CUDA_ERROR_NO_DEVICE"}, {101, "CUDA_ERROR_INVALID_DEVICE"}, {201, "CUDA_ERROR_INVALID_CONTEXT"},
		{209, "CUDA_ERROR_NO_BINARY_FOR_GPU"}, {214, "CUDA_ERROR_ECC_UNCORRECTABLE"}, {218, "CUDA_ERROR_INVALID_PTX"},
		{222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"}, {400, "CUDA_ERROR_INVALID_HANDLE"}, {500, "CUDA_ERROR_NOT_FOUND"},
		{600, "CUDA_ERROR_NOT_READY"}, {700, "CUDA_ERROR_ILLEGAL_ADDRESS"}, {719, "CUDA_ERROR_LAUNCH_FAILED"},
		{801, "CUDA_ERROR_NOT_SUPPORTED"}, {900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"},
		{901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"}, {903, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED"},
		{904, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED"}, {908, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD"}, {999, "CUDA_ERROR_UNKNOWN"}};
	auto it = names.find(code);
	*text = it == names.end() ? nullptr : it->second;
	return *text ? kOk : kInvalidValue;
}

API Result cuGetErrorString(Result code, const char **text) {
	*text = code == kNoDevice ? "no CUDA-capable device is detected" : code == kOutOfMemory ? "out of memory" : "an error of the fake driver";
	return kOk;
}
