// SPDX-License-Identifier: MIT
#include "base/thread.h"
#include "base/signals.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { THREADS_MAX = 1024, SPINS = 2000 };

// A job is open while GATE_CLOSED is not set in `gate`; the rest of `gate` counts the workers
// inside. The caller need not wait for workers that are asleep: it closes the gate once no chunk is
// left and waits only for those who entered.
#define GATE_CLOSED 0x40000000u

static struct {
    int count;                     // threads, the caller included; 0: not started
    pthread_t handle[THREADS_MAX]; // [0]: who called threads_set
    pthread_mutex_t lock;
    pthread_cond_t wake, left;
    atomic_uint sleepers;
    atomic_int waits;  // the caller, asleep until the last worker has left
    atomic_uint epoch; // counts jobs
    atomic_uint gate;
    atomic_size_t next;
    size_t n, grain;
    thread_fn *fn;
    void *arg;
    int quit; // under lock
    atomic_int interruptible, interrupted;
} pool = {.count = 0,
          .lock = PTHREAD_MUTEX_INITIALIZER,
          .wake = PTHREAD_COND_INITIALIZER,
          .left = PTHREAD_COND_INITIALIZER,
          .gate = GATE_CLOSED};

static _Thread_local int inside;

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

static void run_chunks(int worker)
{
    inside = 1;
    while (!threads_interrupted()) {
        size_t begin = atomic_fetch_add(&pool.next, pool.grain);
        if (begin >= pool.n)
            break;
        size_t end = pool.n - begin < pool.grain ? pool.n : begin + pool.grain;
        pool.fn(pool.arg, begin, end, worker);
    }
    inside = 0;
}

static unsigned wait_for_job(unsigned seen)
{
    for (int i = 0; i < SPINS; i++) {
        unsigned epoch = atomic_load(&pool.epoch);
        if (epoch != seen)
            return epoch;
        relax();
    }
    pthread_mutex_lock(&pool.lock);
    atomic_fetch_add(&pool.sleepers, 1);
    while (atomic_load(&pool.epoch) == seen && !pool.quit)
        pthread_cond_wait(&pool.wake, &pool.lock);
    atomic_fetch_sub(&pool.sleepers, 1);
    pthread_mutex_unlock(&pool.lock);
    return atomic_load(&pool.epoch);
}

static void leave(void)
{
    if (atomic_fetch_sub(&pool.gate, 1) != (GATE_CLOSED | 1) || !atomic_load(&pool.waits))
        return;
    pthread_mutex_lock(&pool.lock);
    pthread_cond_signal(&pool.left);
    pthread_mutex_unlock(&pool.lock);
}

// A worker may have lost its processor to another program. The caller gives up its own then: one
// that spins looks busy, and the worker would stay behind that program.
static void wait_for_workers(void)
{
    for (int i = 0; i < SPINS; i++) {
        if (!(atomic_load(&pool.gate) & ~GATE_CLOSED))
            return;
        relax();
    }
    atomic_store(&pool.waits, 1);
    pthread_mutex_lock(&pool.lock);
    while (atomic_load(&pool.gate) & ~GATE_CLOSED)
        pthread_cond_wait(&pool.left, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
    atomic_store(&pool.waits, 0);
}

static void *worker_main(void *arg)
{
    int worker = (int)(intptr_t)arg;
    unsigned seen = 0;
    for (;;) {
        seen = wait_for_job(seen);
        pthread_mutex_lock(&pool.lock);
        int quit = pool.quit;
        pthread_mutex_unlock(&pool.lock);
        if (quit)
            return NULL;
        if (!(atomic_fetch_add(&pool.gate, 1) & GATE_CLOSED))
            run_chunks(worker);
        leave();
    }
}

static void pool_stop(void)
{
    pthread_mutex_lock(&pool.lock);
    pool.quit = 1;
    atomic_fetch_add(&pool.epoch, 1);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
    for (int i = 1; i < pool.count; i++)
        pthread_join(pool.handle[i], NULL);
    pool.quit = 0;
    atomic_store(&pool.epoch, 0);
    pool.count = 1;
}

static int usable_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

int threads_set(int n, struct err *e)
{
    if (n == 0)
        n = usable_cpus();
    if (n < 1 || n > THREADS_MAX)
        return err_set(e, STATUS_USAGE, "--threads: %d is not in 1 .. %d", n, THREADS_MAX);
    if (n == pool.count)
        return 0;
    if (pool.count > 1)
        pool_stop();
    pool.count = 1;
    pool.handle[0] = pthread_self();
    for (int i = 1; i < n; i++) {
        int code = pthread_create(&pool.handle[i], NULL, worker_main, (void *)(intptr_t)i);
        if (code) {
            pool_stop();
            return err_set(e, STATUS_MEMORY, "cannot start thread %d: %s", i, strerror(code));
        }
        pool.count = i + 1;
    }
    return 0;
}

int threads_count(void)
{
    return pool.count ? pool.count : 1;
}

void threads_for(size_t n, size_t grain, thread_fn *fn, void *arg)
{
    if (grain == 0)
        grain = 1;
    if (inside || pool.count <= 1 || n <= grain) {
        for (size_t begin = 0; begin < n && !threads_interrupted(); begin += grain)
            fn(arg, begin, n - begin < grain ? n : begin + grain, 0);
        return;
    }
    assert(pthread_equal(pthread_self(), pool.handle[0]));
    pool.n = n;
    pool.grain = grain;
    pool.fn = fn;
    pool.arg = arg;
    atomic_store(&pool.next, 0);
    atomic_fetch_and(&pool.gate, ~GATE_CLOSED);
    atomic_fetch_add(&pool.epoch, 1);
    if (atomic_load(&pool.sleepers)) {
        pthread_mutex_lock(&pool.lock);
        pthread_cond_broadcast(&pool.wake);
        pthread_mutex_unlock(&pool.lock);
    }
    run_chunks(0);
    atomic_fetch_or(&pool.gate, GATE_CLOSED);
    wait_for_workers();
}

int threads_await(const atomic_size_t *count, size_t value)
{
    for (int spins = 0; atomic_load(count) < value;) {
        if (threads_interrupted())
            return 0;
        if (spins == SPINS) {
            sched_yield();
        } else {
            relax();
            spins++;
        }
    }
    return 1;
}

void threads_interruptible(void)
{
    atomic_store(&pool.interrupted, 0);
    atomic_store(&pool.interruptible, 1);
}

int threads_interrupted(void)
{
    if (!signals_stop_requested() || !atomic_load(&pool.interruptible))
        return 0;
    atomic_store(&pool.interrupted, 1);
    return 1;
}

int threads_uninterruptible(void)
{
    atomic_store(&pool.interruptible, 0);
    return atomic_load(&pool.interrupted);
}
