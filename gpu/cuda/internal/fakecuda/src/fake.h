/* The parts of the stand-in for the CUDA driver: see doc.go of this folder's parent. Device memory is host memory, kernels run on
 * the CPU, and work of a stream runs as late as the interface allows, so that a missing wait shows. */
#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

typedef int Result;
typedef unsigned long long Address;
#define API extern "C" __attribute__((visibility("default")))

enum {
	kOk = 0, kInvalidValue = 1, kOutOfMemory = 2, kNoDevice = 100, kInvalidDevice = 101, kInvalidContext = 201, kNoBinary = 209,
	kInvalidPtx = 218, kUnsupportedPtx = 222, kInvalidHandle = 400, kNotFound = 500, kNotReady = 600, kIllegalAddress = 700,
	kLaunchFailed = 719, kNotSupported = 801, kCaptureUnsupported = 900, kCaptureInvalidated = 901, kCaptureUnmatched = 903,
	kCaptureUnjoined = 904, kCaptureWrongThread = 908
};

struct Module;
struct Stream;
struct Event;
struct Graph;

struct Function {
	Module *module;
	std::string name;
	size_t params;      /* bytes of arguments, from the PTX */
	size_t dynamic = 0; /* bytes of dynamic shared memory allowed beyond 48 KiB */
};

struct Op {
	enum Kind { Kernel, Copy, Set, Record, Wait, Replay, Call } kind;
	Function *function = nullptr;
	unsigned grid[3] = {}, block[3] = {}, shared = 0;
	std::vector<uint64_t> bytes; /* the arguments of a kernel or call, aligned */
	size_t size = 0;             /* bytes copied or set, or of the arguments */
	uintptr_t to = 0, from = 0;  /* of a copy */
	unsigned char value = 0;
	Event *event = nullptr;
	Stream *source = nullptr; /* a wait's: the stream the event was recorded on, and where in it */
	uint64_t ticket = 0;
	std::shared_ptr<Graph> graph;
	void (*call)(void *) = nullptr;
};

struct Graph {
	std::vector<Op> ops;
	bool invalid = false;
};

struct Context;

struct Stream {
	Context *context;
	unsigned flags;
	std::deque<Op> queue;
	uint64_t enqueued = 0, done = 0;
	Result failed = 0; /* of work that ran, told by the next wait */
	std::shared_ptr<Graph> capture;
	Stream *origin = nullptr; /* of the capture */
	bool unjoined = false;    /* holds captured work that the origin did not wait for */
	uintptr_t thread = 0;
};

struct Event {
	Context *context;
	unsigned flags;
	Stream *stream = nullptr;
	uint64_t ticket = 0;
	double when = 0; /* milliseconds; 0 before it happened */
	std::shared_ptr<Graph> captured;
};

struct Context {
	int device;
	unsigned retained = 0, flags = 0;
	Stream *standard = nullptr; /* the legacy default stream */
	std::set<Stream *> streams;
};

struct Module {
	Context *context;
	std::map<std::string, Function> functions;
};

extern std::recursive_mutex mutex;
extern thread_local Context *current;

/* Settings of the environment. */
int setting(const char *name, int otherwise);
int devices();

/* Whether a call must fail: a fault on demand, a lost device, no context. code 0: go on. */
Result enter(const char *call, bool needs_context = true);
Result fault(const char *point);
bool sticky(Result code);
void lose(int device, Result code);
Result lost(int device);
Result misuse(Result code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Memory. */
bool device_range(uintptr_t p, size_t n);
bool pinned_range(uintptr_t p, size_t n);

/* Streams. */
Stream *stream_of(void *handle, Result *why);
Result enqueue(Stream *s, Op op);
Result run_until(Stream *s, uint64_t ticket);
Result drain(Context *c, bool non_blocking_too);
bool capturing_here();       /* the calling thread captures: calls that would wait or allocate are forbidden */
Result forbid_in_capture();
bool known_stream(Stream *s);

/* Work. */
Result perform(Stream *s, Op &op);
Result check(const Op &op);
double now();

extern long launches, replays, live_graphs;
extern std::set<Module *> modules;
extern std::set<Event *> events;

#define ENTER(call)                                               \
	std::lock_guard<std::recursive_mutex> lock(mutex);        \
	if (Result r_ = enter(call)) return r_
#define ENTER_ANYWHERE(call)                                      \
	std::lock_guard<std::recursive_mutex> lock(mutex);        \
	if (Result r_ = enter(call, false)) return r_
