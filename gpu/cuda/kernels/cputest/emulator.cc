/* Runs the kernels on the CPU. A launch takes the blocks in order, shared among a few threads of the host; the threads of a block are
 * fibers that run until they have to wait: for the other lanes of their warp at a shuffle, for the block at a barrier. What cannot go on
 * (a barrier that some threads do not reach, a shuffle with lanes that have ended) stops the program with a message. */
#include "../dev.h"
#include "fiber.h"
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <thread>

thread_local emu_state emu;

static emu_kernel *kernels;
emu_kernel::emu_kernel(const char *name, size_t size, void (*run)(const void *), bool flat)
    : name(name), size(size), run(run), flat(flat), next(kernels) {
  kernels = this;
}

namespace {

enum { MAX_THREADS = 1024, STACK = 256 << 10, MAX_SHARED = 232448, BARRIERS = 16 };

struct warp {
  u32 live, ready, arrived, parity, value[2][32];
  u32 at[BARRIERS]; /* lanes that wait at a barrier of the block */
};

struct launch {
  const emu_kernel *kernel;
  const void *args;
  u32 gx, gy, gz, threads, shared;
  std::atomic<u64> next;
};

struct machine {
  void *main, *fiber[MAX_THREADS];
  char *stacks;
  u32 made, cur, warps, alive, arrived[BARRIERS];
  u64 idle;
  warp w[MAX_THREADS / 32];
  const launch *l;
  alignas(1024) char dynamic[MAX_SHARED];
};
thread_local machine *m;
/* Frees it with its thread. */
struct owner {
  ~owner() {
    if (!m) return;
    munmap(m->stacks, (size_t)MAX_THREADS * STACK);
    m->~machine();
    operator delete(m, std::align_val_t(1024));
  }
};

[[noreturn]] void stop(const char *why) {
  fprintf(stderr, "kernel %s, block %u %u %u, thread %u of %u: %s\n", m->l->kernel->name, emu.bx, emu.by, emu.bz, m->cur, m->l->threads, why);
  abort();
}

void go(u32 to) {
  const u32 from = m->cur;
  if (to == from) return;
  m->cur = emu.tx = to;
  fiber_switch(&m->fiber[from], m->fiber[to]);
}

/* Runs another thread: the next of this warp that can, else one of the next warps, else this one. */
void others() {
  const u32 here = m->cur / 32, lane = m->cur & 31;
  const u32 after = lane == 31 ? 0 : m->w[here].ready >> (lane + 1) << (lane + 1);
  if (after) return go(here * 32 + (u32)__builtin_ctz(after));
  for (u32 i = 1; i <= m->warps; i++) {
    const u32 w = (here + i) % m->warps, ready = m->w[w].ready;
    if (ready) return go(w * 32 + (u32)__builtin_ctz(ready));
  }
  if (m->alive) stop("no thread can go on: they wait for different things, or for threads that have ended");
  const u32 from = m->cur;
  fiber_switch(&m->fiber[from], m->main);
}

void release(u32 id) {
  m->arrived[id] = 0;
  for (u32 w = 0; w < m->warps; w++) m->w[w].ready |= m->w[w].at[id], m->w[w].at[id] = 0;
}

void entry() {
  for (;;) {
    m->l->kernel->run(m->l->args);
    warp &w = m->w[m->cur / 32];
    if (w.arrived) stop("a thread ended while other lanes of its warp wait for it");
    w.live &= ~(1u << (m->cur & 31)), w.ready &= w.live;
    m->alive--;
    if (m->alive && m->arrived[0] == m->alive) release(0);
    others();
  }
}

void run_block(const launch &l, u64 i) {
  emu.bx = (u32)(i % l.gx), emu.by = (u32)(i / l.gx % l.gy), emu.bz = (u32)(i / l.gx / l.gy);
  memset(m->dynamic, 0xff, l.shared); /* every bit pattern of float types then is not a number */
  if (l.kernel->flat) {
    for (m->cur = 0; m->cur < l.threads; m->cur++) emu.tx = m->cur, l.kernel->run(l.args);
    return;
  }
  m->warps = (l.threads + 31) / 32, m->alive = l.threads, m->idle = 0;
  for (; m->made < l.threads; m->made++) m->fiber[m->made] = fiber_prepare(m->stacks + (size_t)(m->made + 1) * STACK, entry);
  memset(m->arrived, 0, sizeof m->arrived);
  for (u32 w = 0; w < m->warps; w++) {
    const u32 n = l.threads - w * 32;
    m->w[w].live = m->w[w].ready = n >= 32 ? ~0u : (1u << n) - 1;
    m->w[w].arrived = 0;
    memset(m->w[w].at, 0, sizeof m->w[w].at);
  }
  m->cur = emu.tx = 0;
  fiber_switch(&m->main, m->fiber[0]);
}

void run_blocks(launch &l) {
  if (!m) {
    static thread_local owner mine;
    (void)&mine;
    m = new (std::align_val_t(1024)) machine();
    m->stacks = (char *)mmap(nullptr, (size_t)MAX_THREADS * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (m->stacks == MAP_FAILED) perror("emulator: stacks"), abort();
  }
  m->l = &l;
  emu.nt = l.threads, emu.gx = l.gx, emu.gy = l.gy, emu.dynamic = m->dynamic;
  const u64 blocks = (u64)l.gx * l.gy * l.gz;
  for (u64 i; (i = l.next.fetch_add(1, std::memory_order_relaxed)) < blocks;) run_block(l, i);
}

/* Threads of the host that help with a launch; they live as long as the process. */
struct pool {
  std::mutex use, lock;
  std::condition_variable begin, end;
  launch *job = nullptr;
  u64 number = 0;
  unsigned busy = 0, size = 0;
  void work() {
    u64 seen = 0;
    std::unique_lock<std::mutex> held(lock);
    for (;;) {
      begin.wait(held, [&] { return number != seen; });
      seen = number;
      held.unlock();
      run_blocks(*job);
      held.lock();
      if (--busy == 0) end.notify_one();
    }
  }
  void run(launch &l) {
    if (!size) {
      size = std::min(std::max(std::thread::hardware_concurrency(), 2u), 8u) - 1;
      for (unsigned i = 0; i < size; i++) std::thread([this] { work(); }).detach();
    }
    {
      std::lock_guard<std::mutex> held(lock);
      job = &l, busy = size, number++;
    }
    begin.notify_all();
    run_blocks(l);
    std::unique_lock<std::mutex> held(lock);
    end.wait(held, [&] { return busy == 0; });
  }
};
pool *helpers = new pool;

} // namespace

extern "C" {

void emu_sync_part(u32 id, u32 threads) {
  if (id >= BARRIERS) stop("a barrier's number is over 15");
  const u32 want = threads ? threads : m->alive;
  if (++m->arrived[id] >= want) return release(id);
  warp &w = m->w[m->cur / 32];
  const u32 bit = 1u << (m->cur & 31);
  w.at[id] |= bit, w.ready &= ~bit;
  others();
}

/* bar.arrive: counts, without waiting. */
void emu_arrive_part(u32 id, u32 threads) {
  if (++m->arrived[id] >= threads) release(id);
}

void emu_sync() { emu_sync_part(0, 0); }

const u32 *emu_gather(u32 v) {
  warp &w = m->w[m->cur / 32];
  const u32 lane = m->cur & 31, bit = 1u << lane, parity = w.parity;
  if (w.live != ~0u) stop("a collective of a warp some of whose lanes have ended or do not exist");
  w.value[parity][lane] = v;
  w.arrived |= bit;
  if (w.arrived == w.live) {
    w.arrived = 0, w.ready = w.live, w.parity ^= 1;
  } else {
    w.ready &= ~bit;
    others();
  }
  return w.value[parity];
}

u32 emu_exchange(u32 v, u32 from) { return emu_gather(v)[from]; }
void emu_syncwarp() { emu_gather(0); }

void emu_yield() {
  if (++m->idle > 200000000) stop("waits for a flag that nobody sets");
  others();
}

/* Runs a launch: 0 when it is done, 1 if there is no such kernel, 2 if its arguments or sizes are not possible. */
__attribute__((visibility("default"))) int sower_emulate(const char *name, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                                                         unsigned bz, unsigned shared, const void *args, size_t n) {
  const emu_kernel *k = kernels;
  while (k && strcmp(k->name, name)) k = k->next;
  if (!k) return 1;
  const u32 threads = bx * by * bz;
  if (k->size != n || by != 1 || bz != 1 || !threads || threads > MAX_THREADS || shared > MAX_SHARED || !gx || !gy || !gz) return 2;
  launch l = {k, args, gx, gy, gz, threads, shared, {0}};
  if ((u64)gx * gy * gz > 1 && (u64)gx * gy * gz * threads > 4096 && helpers->use.try_lock()) {
    helpers->run(l);
    helpers->use.unlock();
  } else {
    run_blocks(l);
  }
  return 0;
}

/* The names of all kernels, a line each. */
__attribute__((visibility("default"))) const char *sower_kernels() {
  static const std::string names = [] {
    std::string s;
    for (const emu_kernel *k = kernels; k; k = k->next) s += k->name, s += '\n';
    return s;
  }();
  return names.c_str();
}
}
