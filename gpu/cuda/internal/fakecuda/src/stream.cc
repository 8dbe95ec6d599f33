/* Streams and events. Work waits in its stream's queue until something must have it done. */
#include "fake.h"
#include <algorithm>
#include <chrono>
#include <cstring>

std::set<Event *> events;
static std::set<Stream *> streams;

long stream_count() {
	long n = 0;
	for (Stream *s : streams) n += s->context->standard != s;
	return n;
}

bool known_stream(Stream *s) { return streams.count(s) != 0; }

double now() {
	return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

static Stream *make(unsigned flags) {
	Stream *s = new Stream{current, flags};
	streams.insert(s);
	current->streams.insert(s);
	return s;
}

/* The stream of a handle; NULL is the context's default stream. */
Stream *stream_of(void *handle, Result *why) {
	*why = kOk;
	if (!handle) {
		if (!current->standard) current->standard = make(0);
		return current->standard;
	}
	Stream *s = (Stream *)handle;
	if (!known_stream(s)) *why = misuse(kInvalidHandle, "no such stream: %p", handle);
	else if (s->context != current) *why = misuse(kInvalidHandle, "a stream of device %d is used with the context of device %d", s->context->device, current->device);
	return *why ? nullptr : s;
}

static bool late() {
	static const bool yes = setting("FAKECUDA_LATE", 1) != 0;
	return yes;
}

Result run_until(Stream *s, uint64_t ticket) {
	while (s->done < ticket && !s->queue.empty()) {
		Op op = std::move(s->queue.front());
		s->queue.pop_front();
		s->done++;
		if (lost(s->context->device)) continue;
		if (Result r = perform(s, op)) {
			if (sticky(r)) lose(s->context->device, r);
			else if (!s->failed) s->failed = r;
		}
	}
	if (Result r = lost(s->context->device)) return r;
	Result r = s->failed;
	s->failed = kOk;
	return r;
}

Result drain(Context *c, bool non_blocking_too) {
	Result first = kOk;
	std::vector<Stream *> all(c->streams.begin(), c->streams.end());
	for (Stream *s : all) {
		if (!non_blocking_too && (s->flags & 1)) continue;
		if (Result r = run_until(s, s->enqueued)) first = first ? first : r;
	}
	return first;
}

static thread_local int captures_here;

bool capturing_here() { return captures_here > 0; }

/* What the driver calls potentially unsafe: such a call ends the capture, too. */
Result forbid_in_capture() {
	if (!captures_here) return kOk;
	for (Stream *s : streams)
		if (s->capture && s->thread == (uintptr_t)&captures_here) s->capture->invalid = true;
	return misuse(kCaptureUnsupported, "a call that waits or allocates while this thread captures a stream");
}

Result enqueue(Stream *s, Op op) {
	if (s->capture) {
		if (s->capture->invalid) return kCaptureInvalidated;
		s->capture->ops.push_back(std::move(op));
		if (s->origin != s) s->unjoined = true;
		return kOk;
	}
	/* The default stream and those that block with it take turns. */
	if (s == s->context->standard) drain(s->context, false);
	else if (!(s->flags & 1) && s->context->standard) run_until(s->context->standard, s->context->standard->enqueued);
	s->queue.push_back(std::move(op));
	s->enqueued++;
	if (!late()) run_until(s, s->enqueued);
	else if (s->queue.size() > 8192) run_until(s, s->done + 1);
	return kOk;
}

API Result cuStreamCreateWithPriority(void **s, unsigned flags, int) {
	ENTER("cuStreamCreate");
	*s = make(flags);
	return kOk;
}

API Result cuStreamCreate(void **s, unsigned flags) { return cuStreamCreateWithPriority(s, flags, 0); }

API Result cuStreamDestroy_v2(void *handle) {
	ENTER("cuStreamDestroy");
	Result why;
	Stream *s = stream_of(handle, &why);
	if (!s) return why;
	if (!handle) return kInvalidHandle;
	run_until(s, s->enqueued);
	s->context->streams.erase(s);
	streams.erase(s);
	delete s;
	return kOk;
}

API Result cuStreamSynchronize(void *handle) {
	ENTER("cuStreamSynchronize");
	Result why;
	Stream *s = stream_of(handle, &why);
	if (!s) return why;
	if (s->capture) {
		s->capture->invalid = true;
		return misuse(kCaptureUnsupported, "cuStreamSynchronize of a stream that is captured");
	}
	return run_until(s, s->enqueued);
}

/* Every question brings the work on by one step, so that polling ends. */
API Result cuStreamQuery(void *handle) {
	ENTER("cuStreamQuery");
	Result why;
	Stream *s = stream_of(handle, &why);
	if (!s) return why;
	if (s->capture) return kCaptureUnsupported;
	Result r = run_until(s, s->done + 1);
	return r ? r : s->queue.empty() ? kOk : kNotReady;
}

API Result cuEventCreate(void **e, unsigned flags) {
	ENTER("cuEventCreate");
	*e = new Event{current, flags};
	events.insert((Event *)*e);
	return kOk;
}

static Event *event_of(void *handle, Result *why) {
	Event *e = (Event *)handle;
	*why = !events.count(e) ? misuse(kInvalidHandle, "no such event: %p", handle) : e->context != current ? kInvalidHandle : kOk;
	return *why ? nullptr : e;
}

API Result cuEventDestroy_v2(void *handle) {
	ENTER("cuEventDestroy");
	Result why;
	Event *e = event_of(handle, &why);
	if (!e) return why;
	if (e->stream && known_stream(e->stream)) run_until(e->stream, e->ticket);
	events.erase(e);
	delete e;
	return kOk;
}

API Result cuEventRecord(void *handle, void *stream) {
	ENTER("cuEventRecord");
	Result why;
	Event *e = event_of(handle, &why);
	Stream *s = e ? stream_of(stream, &why) : nullptr;
	if (!s) return why;
	e->stream = s;
	e->captured = s->capture;
	e->when = 0;
	if (s->capture) return kOk; /* the order of the graph's work says it all */
	Op op{Op::Record};
	op.event = e;
	op.ticket = e->ticket = s->enqueued + 1;
	return enqueue(s, op);
}

API Result cuStreamWaitEvent(void *stream, void *handle, unsigned) {
	ENTER("cuStreamWaitEvent");
	Result why;
	Event *e = event_of(handle, &why);
	Stream *s = e ? stream_of(stream, &why) : nullptr;
	if (!s) return why;
	if (!e->stream) return kOk; /* never recorded: nothing to wait for */
	if (e->captured) {
		if (s->capture && s->capture != e->captured) return kCaptureInvalidated;
		if (!s->capture) { /* the stream joins the capture */
			s->capture = e->captured;
			s->origin = e->stream->origin;
			s->thread = e->stream->thread;
		} else if (s == s->origin) {
			e->stream->unjoined = false;
		}
		return kOk;
	}
	if (s->capture) {
		s->capture->invalid = true;
		return misuse(kCaptureUnsupported, "a captured stream waits for an event from outside the capture");
	}
	Op op{Op::Wait};
	op.source = e->stream;
	op.ticket = e->ticket;
	return enqueue(s, op);
}

API Result cuEventSynchronize(void *handle) {
	ENTER("cuEventSynchronize");
	Result why;
	Event *e = event_of(handle, &why);
	if (!e) return why;
	if (e->captured) return kCaptureUnsupported;
	return e->stream && known_stream(e->stream) ? run_until(e->stream, e->ticket) : kOk;
}

API Result cuEventQuery(void *handle) {
	ENTER("cuEventQuery");
	Result why;
	Event *e = event_of(handle, &why);
	if (!e) return why;
	if (e->captured) return kCaptureUnsupported;
	if (!e->stream || !known_stream(e->stream) || e->stream->done >= e->ticket) return kOk;
	Result r = run_until(e->stream, e->stream->done + 1);
	return r ? r : e->stream->done >= e->ticket ? kOk : kNotReady;
}

API Result cuEventElapsedTime(float *ms, void *from, void *to) {
	ENTER("cuEventElapsedTime");
	Result why;
	Event *a = event_of(from, &why), *b = a ? event_of(to, &why) : nullptr;
	if (!b) return why;
	if (!a->stream || !b->stream || (a->flags & 2) || (b->flags & 2)) return kInvalidHandle;
	if (!a->when || !b->when) return kNotReady;
	*ms = (float)(b->when - a->when);
	return kOk;
}

API Result cuStreamBeginCapture_v2(void *handle, int) {
	ENTER("cuStreamBeginCapture");
	Result why;
	Stream *s = stream_of(handle, &why);
	if (!s) return why;
	if (!handle) return misuse(kCaptureUnsupported, "the default stream cannot be captured");
	if (s->capture) return kCaptureUnmatched;
	s->capture = std::make_shared<Graph>();
	s->origin = s;
	s->thread = (uintptr_t)&captures_here;
	captures_here++;
	return kOk;
}

API Result cuStreamEndCapture(void *handle, void **graph) {
	ENTER("cuStreamEndCapture");
	Result why;
	*graph = nullptr;
	Stream *s = stream_of(handle, &why);
	if (!s) return why;
	if (!s->capture || s->origin != s) return kCaptureUnmatched;
	if (s->thread != (uintptr_t)&captures_here) return misuse(kCaptureWrongThread, "a capture ends on another thread than it began on");
	captures_here--;
	std::shared_ptr<Graph> g = s->capture;
	bool unjoined = false;
	for (Stream *t : streams) {
		if (t->capture != g) continue;
		unjoined |= t->unjoined;
		t->unjoined = false;
		t->capture = nullptr;
		t->origin = nullptr;
	}
	if (g->invalid) return kCaptureInvalidated;
	if (unjoined) return misuse(kCaptureUnjoined, "a stream that joined the capture was not waited for");
	*graph = new std::shared_ptr<Graph>(g);
	live_graphs++;
	return kOk;
}
