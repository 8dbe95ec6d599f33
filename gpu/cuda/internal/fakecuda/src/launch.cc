/* Modules, launches on the CPU build of the kernels, graphs, tensor maps. */
#include "fake.h"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>

long launches, replays, live_graphs;
std::set<Module *> modules;

namespace {
int (*emulate)(const char *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, const void *, size_t);
std::set<std::string> emulated;

void find_kernels() {
	static bool tried;
	if (tried) return;
	tried = true;
	const char *path = getenv("SOWER_FAKE_KERNELS");
	if (!path || !*path) return;
	void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!lib) {
		misuse(0, "SOWER_FAKE_KERNELS: %s", dlerror());
		return;
	}
	*(void **)&emulate = dlsym(lib, "sower_emulate");
	const char *(*names)() = (const char *(*)())dlsym(lib, "sower_kernels");
	for (const char *s = names ? names() : ""; *s;) {
		const char *end = strchr(s, '\n');
		size_t n = end ? (size_t)(end - s) : strlen(s);
		emulated.insert(std::string(s, n));
		s += n + (end != nullptr);
	}
}

/* The bytes that a parameter list takes: ".param .align 8 .b8 name[64]" or ".param .u64 name", each at its alignment. */
size_t parameters(const std::string &list) {
	size_t total = 0, at = 0;
	while ((at = list.find(".param", at)) != std::string::npos) {
		size_t end = list.find(".param", at + 6);
		std::string one = list.substr(at + 6, end == std::string::npos ? end : end - at - 6);
		at += 6;
		size_t align = 0, size = 1, count = 1, i;
		if ((i = one.find(".align")) != std::string::npos) align = strtoul(one.c_str() + i + 6, nullptr, 10);
		for (const char *t : {".b64", ".u64", ".s64", ".f64"}) if (one.find(t) != std::string::npos) size = 8;
		for (const char *t : {".b32", ".u32", ".s32", ".f32"}) if (one.find(t) != std::string::npos) size = 4;
		for (const char *t : {".b16", ".u16", ".s16", ".f16"}) if (one.find(t) != std::string::npos) size = 2;
		if ((i = one.find('[')) != std::string::npos) count = strtoul(one.c_str() + i + 1, nullptr, 10);
		if (align < size) align = size;
		total = (total + align - 1) / align * align + size * count;
	}
	return total;
}

Result parse(Module *m, const char *text) {
	std::string s = text;
	size_t at = s.find(".version "), target = s.find(".target sm_");
	if (at == std::string::npos || target == std::string::npos) return misuse(kInvalidPtx, "a module that is no PTX");
	int major = 0, minor = 0, sm = 0;
	char letter = 0;
	sscanf(s.c_str() + at, ".version %d.%d", &major, &minor);
	sscanf(s.c_str() + target, ".target sm_%d%c", &sm, &letter);
	if (major * 10 + minor > setting("FAKECUDA_PTX", 87)) return kUnsupportedPtx;
	const int capability = setting("FAKECUDA_CAPABILITY", 90);
	if (letter == 'a' ? sm != capability : sm > capability) return kNoBinary;
	for (at = 0; (at = s.find(".entry ", at)) != std::string::npos;) {
		at += 7;
		size_t open = s.find('(', at), close = s.find(')', open);
		if (close == std::string::npos) return kInvalidPtx;
		std::string name = s.substr(at, open - at);
		while (!name.empty() && isspace((unsigned char)name.back())) name.pop_back();
		m->functions[name] = Function{m, name, parameters(s.substr(open, close - open))};
	}
	return kOk;
}

size_t shared_limit(const Function *f) {
	size_t without = 48 << 10;
	return f->dynamic > without ? f->dynamic : without;
}
} // namespace

API Result cuModuleLoadData(Module **out, const void *image) {
	ENTER("cuModuleLoadData");
	Module *m = new Module{current, {}};
	if (Result r = parse(m, (const char *)image)) {
		delete m;
		return r;
	}
	modules.insert(m);
	*out = m;
	return kOk;
}

API Result cuModuleLoadDataEx(Module **out, const void *image, unsigned n, const int *options, void **values) {
	Result r = cuModuleLoadData(out, image);
	char *log = nullptr;
	size_t size = 0;
	for (unsigned i = 0; i < n; i++) {
		if (options[i] == 5) log = (char *)values[i];
		if (options[i] == 6) size = (size_t)(uintptr_t)values[i];
	}
	if (r && log && size) snprintf(log, size, "fake compiler: %d", r);
	return r;
}

API Result cuModuleUnload(Module *m) {
	ENTER("cuModuleUnload");
	if (!modules.count(m)) return misuse(kInvalidHandle, "cuModuleUnload: no such module");
	drain(m->context, true);
	modules.erase(m);
	delete m;
	return kOk;
}

API Result cuModuleGetFunction(Function **f, Module *m, const char *name) {
	ENTER("cuModuleGetFunction");
	if (!modules.count(m)) return misuse(kInvalidHandle, "cuModuleGetFunction: no such module");
	auto it = m->functions.find(name);
	if (it == m->functions.end()) return kNotFound;
	*f = &it->second;
	return kOk;
}

API Result cuFuncSetAttribute(Function *f, int attribute, int value) {
	ENTER("cuFuncSetAttribute");
	if (attribute != 8) return kOk;
	if (value < 0 || value > (setting("FAKECUDA_CAPABILITY", 90) >= 90 ? 227 : 163) << 10) return kInvalidValue;
	f->dynamic = (size_t)value;
	return kOk;
}

API Result cuFuncGetAttribute(int *v, int attribute, Function *f) {
	ENTER("cuFuncGetAttribute");
	*v = attribute == 0 ? 1024 : attribute == 4 ? 32 : attribute == 8 ? (int)shared_limit(f) : 0;
	return kOk;
}

API Result cuOccupancyMaxActiveBlocksPerMultiprocessor(int *n, Function *f, int block, size_t shared) {
	ENTER("cuOccupancyMaxActiveBlocksPerMultiprocessor");
	if (block < 1 || block > 1024 || shared > shared_limit(f)) return kInvalidValue;
	*n = 2048 / block < 32 ? 2048 / block : 32;
	if (shared && (int)((228u << 10) / shared) < *n) *n = (int)((228u << 10) / shared);
	return kOk;
}

API Result cuLaunchKernel(Function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                          void *stream, void **params, void **extra) {
	ENTER("cuLaunchKernel");
	Result why;
	Stream *s = stream_of(stream, &why);
	if (!s) return why;
	if (!f || !modules.count(f->module)) return misuse(kInvalidHandle, "cuLaunchKernel: a function of a module that is not loaded");
	if (f->module->context != current) return misuse(kInvalidHandle, "%s belongs to another device's context", f->name.c_str());
	if (!gx || !gy || !gz || gx > 0x7fffffffu || gy > 65535 || gz > 65535)
		return misuse(kInvalidValue, "%s: a grid of %u x %u x %u", f->name.c_str(), gx, gy, gz);
	if (!bx || !by || !bz || (uint64_t)bx * by * bz > 1024 || bz > 64)
		return misuse(kInvalidValue, "%s: a block of %u x %u x %u", f->name.c_str(), bx, by, bz);
	if (shared > shared_limit(f))
		return misuse(kInvalidValue, "%s: %u bytes of shared memory, %zu are allowed", f->name.c_str(), shared, shared_limit(f));
	if (params || !extra) return misuse(kInvalidValue, "%s: arguments one by one are not supported here", f->name.c_str());
	const void *args = nullptr;
	size_t n = 0;
	for (void **e = extra; *e; e += 2) {
		if (e[0] == (void *)1) args = e[1];
		if (e[0] == (void *)2) n = *(size_t *)e[1];
	}
	if (n != f->params) return misuse(kInvalidValue, "%s: %zu bytes of arguments, its PTX takes %zu", f->name.c_str(), n, f->params);
	find_kernels();
	if (!emulated.count(f->name)) return misuse(kNotSupported, "%s has no CPU build", f->name.c_str());
	Op op{Op::Kernel};
	op.function = f;
	const unsigned grid[3] = {gx, gy, gz}, block[3] = {bx, by, bz};
	memcpy(op.grid, grid, sizeof grid);
	memcpy(op.block, block, sizeof block);
	op.shared = shared;
	op.size = n;
	op.bytes.resize((n + 7) / 8 + 8); /* room to align tensor maps to 64 bytes */
	memcpy(op.bytes.data(), args, n);
	launches++;
	return enqueue(s, std::move(op));
}

/* Work for another library's stand-in: call gets a copy of the n bytes at data when the work runs. */
API Result fakecuda_enqueue(void *stream, void (*call)(void *), const void *data, size_t n) {
	ENTER("fakecuda_enqueue");
	Result why;
	Stream *s = stream_of(stream, &why);
	if (!s) return why;
	Op op{Op::Call};
	op.call = call;
	op.size = n;
	op.bytes.resize((n + 7) / 8);
	memcpy(op.bytes.data(), data, n);
	return enqueue(s, std::move(op));
}

static Result run_kernel(Op &op) {
	if (Result r = fault("kernel")) return r;
	if (!modules.count(op.function->module)) return misuse(kIllegalAddress, "a kernel runs whose module was unloaded");
	std::vector<uint64_t> aligned(op.bytes.size() + 8);
	char *args = (char *)(((uintptr_t)aligned.data() + 63) & ~(uintptr_t)63);
	memcpy(args, op.bytes.data(), op.size);
	int r = emulate(op.function->name.c_str(), op.grid[0], op.grid[1], op.grid[2], op.block[0], op.block[1], op.block[2], op.shared, args, op.size);
	return r ? misuse(kLaunchFailed, "%s: the CPU build returned %d", op.function->name.c_str(), r) : kOk;
}

Result perform(Stream *s, Op &op) {
	switch (op.kind) {
	case Op::Kernel: return run_kernel(op);
	case Op::Copy:
		if (Result r = fault("copy")) return r;
		if (!(device_range(op.to, op.size) || pinned_range(op.to, op.size)) || !(device_range(op.from, op.size) || pinned_range(op.from, op.size)))
			return misuse(kIllegalAddress, "memory was given back before the copy that uses it ran");
		memcpy((void *)op.to, (const void *)op.from, op.size);
		return kOk;
	case Op::Set:
		if (!device_range(op.to, op.size)) return misuse(kIllegalAddress, "memory was given back before it was set");
		memset((void *)op.to, op.value, op.size);
		return kOk;
	case Op::Record:
		if (events.count(op.event) && op.event->ticket == op.ticket && op.event->stream == s) op.event->when = now();
		return kOk;
	case Op::Wait: return known_stream(op.source) ? run_until(op.source, op.ticket) : kOk;
	case Op::Call: op.call(op.bytes.data()); return kOk;
	case Op::Replay:
		for (Op &inner : op.graph->ops)
			if (Result r = perform(s, inner)) return r;
		return kOk;
	}
	return kOk;
}

typedef std::shared_ptr<Graph> Held;

API Result cuGraphInstantiateWithFlags(Held **exec, Held *g, unsigned long long) {
	ENTER("cuGraphInstantiate");
	*exec = new Held(std::make_shared<Graph>(**g));
	live_graphs++;
	return kOk;
}

static Result drop(Held *g) {
	if (!g) return kInvalidValue;
	delete g;
	live_graphs--;
	return kOk;
}

API Result cuGraphDestroy(Held *g) {
	ENTER("cuGraphDestroy");
	return drop(g);
}

API Result cuGraphExecDestroy(Held *g) {
	ENTER("cuGraphExecDestroy");
	return drop(g);
}

API Result cuGraphLaunch(Held *g, void *stream) {
	ENTER("cuGraphLaunch");
	Result why;
	Stream *s = stream_of(stream, &why);
	if (!s) return why;
	replays++;
	Op op{Op::Replay};
	op.graph = *g;
	return enqueue(s, op);
}

/* What dev_cpu.h reads in place of the driver's 128 bytes. type and swizzle are the driver's numbers. */
struct TensorMap {
	uint64_t ptr;
	uint32_t type, rows, cols, box_rows, box_cols, swizzle;
	uint64_t ld_bytes;
};

API Result cuTensorMapEncodeTiled(void *map, int type, unsigned rank, void *ptr, const uint64_t *dim, const uint64_t *stride,
                                  const uint32_t *box, const uint32_t *step, int interleave, int swizzle, int, int) {
	std::lock_guard<std::recursive_mutex> lock(mutex);
	if (Result r = enter("cuTensorMapEncodeTiled", false)) return r;
	if (setting("FAKECUDA_CAPABILITY", 90) < 90) return kNotSupported;
	static const unsigned sizes[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2};
	static const unsigned widths[] = {256 * 8, 32, 64, 128};
	if ((uintptr_t)map % 64 || rank != 2 || type < 0 || type > 9 || interleave || swizzle < 0 || swizzle > 3)
		return misuse(kInvalidValue, "tensor map: alignment, rank, type or swizzle");
	const unsigned size = sizes[type];
	if ((uintptr_t)ptr % 16 || stride[0] % 16 || stride[0] < dim[0] * size)
		return misuse(kInvalidValue, "tensor map: address %p and row of %llu bytes must be multiples of 16", ptr, (unsigned long long)stride[0]);
	if (!dim[0] || !dim[1] || dim[0] >> 32 || dim[1] >> 32) return misuse(kInvalidValue, "tensor map: an empty or too large matrix");
	if (!box[0] || !box[1] || box[0] > 256 || box[1] > 256 || box[0] * size % 16 || box[0] * size > widths[swizzle] || step[0] != 1 || step[1] != 1)
		return misuse(kInvalidValue, "tensor map: a box of %u x %u elements of %u bytes, swizzle %d", box[1], box[0], size, swizzle);
	if (!device_range((uintptr_t)ptr, (dim[1] - 1) * stride[0] + dim[0] * size)) return misuse(kInvalidValue, "tensor map: not within one allocation");
	TensorMap t = {(uintptr_t)ptr, (uint32_t)type, (uint32_t)dim[1], (uint32_t)dim[0], box[1], box[0], (uint32_t)swizzle, stride[0]};
	memset(map, 0, 128);
	memcpy(map, &t, sizeof t);
	return kOk;
}
