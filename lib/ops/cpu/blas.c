// SPDX-License-Identifier: MIT
#include "ops/cpu/blas.h"
#include "base/thread.h"

#include <dlfcn.h>
#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define LIBRARY "libopenblas.so.0"

enum {
    LIBRARY_BYTES = 48 << 20,
    // What OpenBLAS maps for each thread that is in one of its products, however small: 128 MiB
    // (BUFFER_SIZE of its builds for x86-64), and some room for its alignment.
    BUFFER_BYTES = 129 << 20,
    // Products at a time: builds of OpenBLAS have buffers for no more (Debian: 2 x 128), and end
    // the process of whoever asks for another.
    PRODUCTS = 128,
};

static __typeof__(cblas_sgemm) *sgemm;
static const char *core;
static sem_t places; // where there are more threads than that
static int crowded;

typedef void *blas_alloc(int);
typedef void blas_free(void *);
typedef void blas_threads(int);
typedef char *blas_corename(void);

// A function of the library, or NULL. ISO C has no cast from an object's pointer to a function's.
static void symbol(void *library, const char *name, void *function)
{
    void *p = dlsym(library, name);
    memcpy(function, &p, sizeof p);
}

// OpenBLAS tries for ever to get what cannot be had, so it is asked for here first: `n` buffers and
// `bytes` more, piece by piece as OpenBLAS does it.
static int room_for(int n, size_t bytes, struct err *e)
{
    void **piece = calloc((size_t)n + 1, sizeof *piece);
    size_t size = bytes ? bytes : BUFFER_BYTES, total = 0;
    int taken = 0, wanted = n + (bytes > 0);
    for (; piece && taken < wanted; taken++, size = BUFFER_BYTES) {
        total += size;
        piece[taken] = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (piece[taken] == MAP_FAILED)
            break;
    }
    int there = piece && taken == wanted;
    for (int i = 0; i < taken; i++)
        munmap(piece[i], i == 0 && bytes ? bytes : BUFFER_BYTES);
    free(piece);
    return there ? 0 : err_memory(e, total, "OpenBLAS and its buffers");
}

// Its constructor starts as many threads as this says. Commands that we start see their own again.
static void *load(void)
{
    static const char variable[] = "OPENBLAS_NUM_THREADS";
    const char *set = getenv(variable);
    char *before = set ? strdup(set) : NULL;
    setenv(variable, "1", 1);
    void *library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (before)
        setenv(variable, before, 1);
    else
        unsetenv(variable);
    free(before);
    return library;
}

// The buffers stay with the library: later products find them there.
static void take_buffers(void *library, int n)
{
    blas_alloc *alloc;
    blas_free *give_back;
    symbol(library, "blas_memory_alloc", (void *)&alloc);
    symbol(library, "blas_memory_free", (void *)&give_back);
    void **buffer = alloc && give_back ? calloc((size_t)n, sizeof *buffer) : NULL;
    if (!buffer)
        return;
    for (int i = 0; i < n; i++)
        buffer[i] = alloc(0);
    for (int i = 0; i < n; i++)
        give_back(buffer[i]);
    free(buffer);
}

int blas_open(struct err *e)
{
    static int buffers;
    static void *library;
    int n = threads_count();
    crowded = n > PRODUCTS;
    if (crowded)
        n = PRODUCTS;
    if (sgemm && n <= buffers)
        return 0;
    if (room_for(n - buffers, library ? 0 : LIBRARY_BYTES, e) < 0)
        return -1;
    if (!library && !(library = load())) {
        const char *why = dlerror();
        return err_set(e, strstr(why, strerror(ENOMEM)) ? STATUS_MEMORY : STATUS_FAILED, "%s", why);
    }
    blas_threads *set_threads;
    symbol(library, "openblas_set_num_threads", (void *)&set_threads);
    symbol(library, "cblas_sgemm", (void *)&sgemm);
    if (!sgemm)
        return err_set(e, STATUS_FAILED, "%s has no cblas_sgemm", LIBRARY);
    if (set_threads)
        set_threads(1);
    blas_corename *corename;
    symbol(library, "openblas_get_corename", (void *)&corename);
    core = corename ? corename() : "";
    take_buffers(library, n);
    if (buffers == 0)
        sem_init(&places, 0, PRODUCTS);
    buffers = n;
    return 0;
}

size_t blas_bytes(void)
{
    // As measured with Debian's OpenBLAS 0.3.21: of a buffer only the pieces of our tiles are
    // touched.
    enum { LIBRARY_TOUCHED = 2 << 20, BUFFER_TOUCHED = 512 << 10 };
    return LIBRARY_TOUCHED + (size_t)threads_count() * BUFFER_TOUCHED;
}

const char *blas_core(void)
{
    return core;
}

void blas_sgemm(enum CBLAS_TRANSPOSE a_turned, enum CBLAS_TRANSPOSE b_turned, size_t m, size_t n,
                size_t k, const float *a, size_t a_pitch, const float *b, size_t b_pitch,
                float beta, float *c, size_t c_pitch)
{
    int wait = crowded;
    while (wait && sem_wait(&places) < 0)
        ; // a signal
    sgemm(CblasRowMajor, a_turned, b_turned, (int)m, (int)n, (int)k, 1, a, (int)a_pitch, b,
          (int)b_pitch, beta, c, (int)c_pitch);
    if (wait)
        sem_post(&places);
}
