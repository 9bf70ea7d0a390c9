// SPDX-License-Identifier: MIT
// One pool of threads for the process. Work is split into chunks that depend only on the problem,
// never on the number of threads, so that results are bit-identical for any number.
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include "base/error.h"
#include <stdatomic.h>
#include <stddef.h>

// Runs items begin .. end-1. `worker` is 0 .. threads_count()-1 (for scratch space).
typedef void thread_fn(void *arg, size_t begin, size_t end, int worker);

// Sets the number of threads (1 .. 1024; 0: as many as the process may use). Call it from main
// before the first threads_for, or between two.
MUST_CHECK int threads_set(int n, struct err *e);
int threads_count(void);
// Calls fn on chunks of `grain` items of 0 .. n-1 until all are done. A call from inside a chunk
// runs in place. Only the main thread may start work.
void threads_for(size_t n, size_t grain, thread_fn *fn, void *arg);
// For a chunk that goes on from what an earlier one of the same call makes: waits until `count` has
// come to `value`. Chunks begin in order, so that the earlier one is under way. 0: a stop was
// requested (see threads_interrupted), and count has not come there.
int threads_await(const atomic_size_t *count, size_t value);

// Between the two, chunks that have not begun are left out as soon as a stop is requested
// (base/signals.h): what they would have made is not there, and the caller gives up what it was to
// become. The second returns 1 if any was left out.
void threads_interruptible(void);
int threads_uninterruptible(void);
// For a chunk that takes seconds: whether to return at once. It counts as left out then.
int threads_interrupted(void);

#endif
