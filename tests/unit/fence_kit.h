// SPDX-License-Identifier: MIT
// A device whose memory the host cannot touch: the CPU's operations over pages that are closed
// except during an operation or a call of the memory's. What of model, infer and train reaches into
// the device by itself is killed, with a line that says so; and an operation that is given a list,
// a tensor or an array of the host complains. What runs on it needs nothing but a table of
// operations and one of memory: that is what a backend is.
#ifndef FENCE_KIT_H
#define FENCE_KIT_H

#include "test.h"

#include "base/thread.h"
#include "ops/cpu/cpu.h"

#include <execinfo.h>
#include <stdlib.h>
#include <sys/mman.h>

#define KIT __attribute__((unused)) static

enum { FENCE_ALIGN = 64, FENCE_FRAMES = 12 };
#define FENCE_BYTES ((size_t)1 << 30) // of addresses: pages come when they are touched

// One device at a time.
static struct fence {
    struct device device;
    unsigned char *base;
    size_t used; // never given out again
    size_t live; // bytes that were not freed
    int open;    // operations on their way, one within the other
} fence;

static int fence_holds(const void *p)
{
    const unsigned char *at = p;
    return at >= fence.base && at < fence.base + FENCE_BYTES;
}

static void fence_touched(int signal, siginfo_t *info, void *context)
{
    static const char outside[] = "# the host touched device memory outside an operation, here:\n";
    static const char other[] = "# a fault that is none of the fence's\n";
    void *frame[FENCE_FRAMES];
    int held = fence_holds(info->si_addr);
    if (write(STDOUT_FILENO, held ? outside : other, strlen(held ? outside : other)) > 0)
        backtrace_symbols_fd(frame, backtrace(frame, FENCE_FRAMES), STDERR_FILENO);
    _exit(1);
}

static void fence_turn(int protection)
{
    if (fence.used && mprotect(fence.base, fence.used, protection) < 0) {
        perror("# mprotect");
        _exit(1);
    }
}

// Around every operation, which may need memory itself.
static void fence_begin(void)
{
    if (fence.open++ == 0)
        fence_turn(PROT_READ | PROT_WRITE);
}

static int fence_end(int result)
{
    if (--fence.open == 0)
        fence_turn(PROT_NONE);
    return result;
}

// An argument that an operation reads or writes: the device's, or NULL. The first few are told.
static void fence_check(const void *p, const char *op, const char *what)
{
    static int told;
    if (!p || fence_holds(p))
        return;
    test_failed = 1;
    if (told++ < 5)
        printf("# %s: `%s` is not in the device's memory\n", op, what);
}

static void fence_tensor(const struct tensor *t, const char *op, const char *what)
{
    if (!t)
        return;
    fence_check(t->data, op, what);
    fence_check(t->grad, op, "gradient");
}

static void fence_norm(const struct norm *p, const char *op)
{
    fence_tensor(&p->weight, op, "weight");
    fence_tensor(&p->bias, op, "bias");
}

static void fence_rotary(const struct rotary *r, const char *op)
{
    fence_check(r->table, op, "table");
    fence_check(r->row, op, "row");
}

static void fence_attention(const struct attention *a, const char *op)
{
    fence_check(a->k, op, "k");
    fence_check(a->v, op, "v");
    fence_check(a->key_bias, op, "key_bias");
    fence_check(a->segment, op, "segment");
    CHECK(!fence_holds(a->plan));
    for (size_t i = 0; i < a->n_segments && fence_holds(a->segment); i++)
        fence_check(a->segment[i].block, op, "block");
}

static void fence_linear(const struct linear *l, size_t count, const char *op)
{
    for (size_t i = 0; i < count; i++) {
        fence_check(l[i].y, op, "y");
        fence_tensor(&l[i].w, op, "w");
        fence_tensor(&l[i].bias, op, "bias");
    }
}

static void fence_divergence(const struct divergence *v, const char *op)
{
    fence_check(v->p, op, "p");
    fence_check(v->p_lse, op, "p_lse");
    fence_check(v->q, op, "q");
    fence_check(v->q_lse, op, "q_lse");
}

static void fence_update(const struct update *u, const char *op)
{
    fence_check(u->param, op, "param");
    fence_check(u->m, op, "m");
    fence_check(u->v, op, "v");
    fence_check(u->grad, op, "grad");
}

static int fenced_embed(struct device *d, float *out, const struct tensor *table,
                        const uint32_t *token, size_t n, float factor, int add, struct err *e)
{
    fence_begin();
    fence_check(out, "embed", "out");
    fence_tensor(table, "embed", "table");
    fence_check(token, "embed", "token");
    return fence_end(ops_cpu.embed(d, out, table, token, n, factor, add, e));
}

static int fenced_embed_backward(struct device *d, const struct tensor *table, const float *dout,
                                 const uint32_t *token, size_t n, float factor, struct err *e)
{
    fence_begin();
    fence_tensor(table, "embed_backward", "table");
    fence_check(dout, "embed_backward", "dout");
    fence_check(token, "embed_backward", "token");
    return fence_end(ops_cpu.embed_backward(d, table, dout, token, n, factor, e));
}

static int fenced_linear(struct device *d, const float *x, size_t n, const struct linear *out,
                         size_t count, struct err *e)
{
    fence_begin();
    fence_check(x, "linear", "x");
    fence_linear(out, count, "linear");
    return fence_end(ops_cpu.linear(d, x, n, out, count, e));
}

static int fenced_linear_backward(struct device *d, float *dx, int add, const float *dy,
                                  const float *x, size_t n, const struct tensor *w,
                                  const struct tensor *bias, struct err *e)
{
    fence_begin();
    fence_check(dx, "linear_backward", "dx");
    fence_check(dy, "linear_backward", "dy");
    fence_check(x, "linear_backward", "x");
    fence_tensor(w, "linear_backward", "w");
    fence_tensor(bias, "linear_backward", "bias");
    return fence_end(ops_cpu.linear_backward(d, dx, add, dy, x, n, w, bias, e));
}

static int fenced_norm(struct device *d, float *y, float *stat, const float *x, size_t n,
                       size_t pitch, const struct norm *p, struct err *e)
{
    fence_begin();
    fence_check(y, "norm", "y");
    fence_check(stat, "norm", "stat");
    fence_check(x, "norm", "x");
    fence_norm(p, "norm");
    return fence_end(ops_cpu.norm(d, y, stat, x, n, pitch, p, e));
}

static int fenced_norm_backward(struct device *d, float *dx, const float *dy, const float *x,
                                const float *stat, size_t n, size_t pitch, const struct norm *p,
                                struct err *e)
{
    fence_begin();
    fence_check(dx, "norm_backward", "dx");
    fence_check(dy, "norm_backward", "dy");
    fence_check(x, "norm_backward", "x");
    fence_check(stat, "norm_backward", "stat");
    fence_norm(p, "norm_backward");
    return fence_end(ops_cpu.norm_backward(d, dx, dy, x, stat, n, pitch, p, e));
}

static int fenced_rotate(struct device *d, float *x, size_t n, size_t heads, size_t head_dim,
                         const struct rotary *r, int backward, struct err *e)
{
    fence_begin();
    fence_check(x, "rotate", "x");
    fence_rotary(r, "rotate");
    return fence_end(ops_cpu.rotate(d, x, n, heads, head_dim, r, backward, e));
}

static int fenced_attention_store(struct device *d, const struct attention *a, const float *k,
                                  const float *v, struct err *e)
{
    fence_begin();
    fence_attention(a, "attention_store");
    fence_check(k, "attention_store", "k");
    fence_check(v, "attention_store", "v");
    return fence_end(ops_cpu.attention_store(d, a, k, v, e));
}

static int fenced_attention(struct device *d, const struct attention *a, float *out, const float *q,
                            float *lse, struct err *e)
{
    fence_begin();
    fence_attention(a, "attention");
    fence_check(out, "attention", "out");
    fence_check(q, "attention", "q");
    fence_check(lse, "attention", "lse");
    return fence_end(ops_cpu.attention(d, a, out, q, lse, e));
}

static int fenced_attention_of_last(struct device *d, const struct attention *a, float *weight,
                                    const float *q, struct err *e)
{
    fence_begin();
    fence_attention(a, "attention_of_last");
    fence_check(weight, "attention_of_last", "weight");
    fence_check(q, "attention_of_last", "q");
    return fence_end(ops_cpu.attention_of_last(d, a, weight, q, e));
}

static int fenced_attention_backward(struct device *d, const struct attention *a, float *dq,
                                     float *dk, float *dv, const float *dout, const float *out,
                                     const float *q, const float *lse, struct err *e)
{
    fence_begin();
    fence_attention(a, "attention_backward");
    fence_check(dq, "attention_backward", "dq");
    fence_check(dk, "attention_backward", "dk");
    fence_check(dv, "attention_backward", "dv");
    fence_check(dout, "attention_backward", "dout");
    fence_check(out, "attention_backward", "out");
    fence_check(q, "attention_backward", "q");
    fence_check(lse, "attention_backward", "lse");
    return fence_end(ops_cpu.attention_backward(d, a, dq, dk, dv, dout, out, q, lse, e));
}

static int fenced_activate(struct device *d, enum activation kind, float *out, const float *g,
                           const float *u, size_t n, struct err *e)
{
    fence_begin();
    fence_check(out, "activate", "out");
    fence_check(g, "activate", "g");
    fence_check(u, "activate", "u");
    return fence_end(ops_cpu.activate(d, kind, out, g, u, n, e));
}

static int fenced_activate_backward(struct device *d, enum activation kind, float *g, float *u,
                                    const float *dout, size_t n, struct err *e)
{
    fence_begin();
    fence_check(g, "activate_backward", "g");
    fence_check(u, "activate_backward", "u");
    fence_check(dout, "activate_backward", "dout");
    return fence_end(ops_cpu.activate_backward(d, kind, g, u, dout, n, e));
}

static int fenced_ungroup(struct device *d, const struct grouping *g, float *q, float *k, float *v,
                          const float *fused, size_t n, struct err *e)
{
    fence_begin();
    fence_check(q, "ungroup", "q");
    fence_check(k, "ungroup", "k");
    fence_check(v, "ungroup", "v");
    fence_check(fused, "ungroup", "fused");
    return fence_end(ops_cpu.ungroup(d, g, q, k, v, fused, n, e));
}

static int fenced_group(struct device *d, const struct grouping *g, float *fused, const float *q,
                        const float *k, const float *v, size_t n, struct err *e)
{
    fence_begin();
    fence_check(fused, "group", "fused");
    fence_check(q, "group", "q");
    fence_check(k, "group", "k");
    fence_check(v, "group", "v");
    return fence_end(ops_cpu.group(d, g, fused, q, k, v, n, e));
}

static int fenced_axpby(struct device *d, float *y, float keep, const float *x, float factor,
                        size_t n, struct err *e)
{
    fence_begin();
    fence_check(y, "axpby", "y");
    fence_check(x, "axpby", "x");
    return fence_end(ops_cpu.axpby(d, y, keep, x, factor, n, e));
}

static int fenced_softcap(struct device *d, float *z, float softcap, size_t n, struct err *e)
{
    fence_begin();
    fence_check(z, "softcap", "z");
    return fence_end(ops_cpu.softcap(d, z, softcap, n, e));
}

static int fenced_softcap_backward(struct device *d, float *dz, const float *z, float softcap,
                                   size_t n, struct err *e)
{
    fence_begin();
    fence_check(dz, "softcap_backward", "dz");
    fence_check(z, "softcap_backward", "z");
    return fence_end(ops_cpu.softcap_backward(d, dz, z, softcap, n, e));
}

static int fenced_contrast(struct device *d, float *z, const float *plain, float weight, size_t n,
                           struct err *e)
{
    fence_begin();
    fence_check(z, "contrast", "z");
    fence_check(plain, "contrast", "plain");
    return fence_end(ops_cpu.contrast(d, z, plain, weight, n, e));
}

static int fenced_gather_rows(struct device *d, float *out, const float *x, const uint32_t *row,
                              size_t n, size_t width, struct err *e)
{
    fence_begin();
    fence_check(out, "gather_rows", "out");
    fence_check(x, "gather_rows", "x");
    fence_check(row, "gather_rows", "row");
    return fence_end(ops_cpu.gather_rows(d, out, x, row, n, width, e));
}

static int fenced_scatter_rows(struct device *d, float *out, const float *x, const uint32_t *row,
                               size_t n, size_t width, struct err *e)
{
    fence_begin();
    fence_check(out, "scatter_rows", "out");
    fence_check(x, "scatter_rows", "x");
    fence_check(row, "scatter_rows", "row");
    return fence_end(ops_cpu.scatter_rows(d, out, x, row, n, width, e));
}

static int fenced_clamp(struct device *d, float *x, float limit, size_t n, struct err *e)
{
    fence_begin();
    fence_check(x, "clamp", "x");
    return fence_end(ops_cpu.clamp(d, x, limit, n, e));
}

static int fenced_clamp_backward(struct device *d, float *dx, const float *x, float limit, size_t n,
                                 struct err *e)
{
    fence_begin();
    fence_check(dx, "clamp_backward", "dx");
    fence_check(x, "clamp_backward", "x");
    return fence_end(ops_cpu.clamp_backward(d, dx, x, limit, n, e));
}

static int fenced_log_softmax(struct device *d, const float *logits, size_t n, size_t vocab,
                              const uint32_t *target, float *lse, float *logp, float *entropy,
                              uint32_t *best, struct err *e)
{
    fence_begin();
    fence_check(logits, "log_softmax", "logits");
    fence_check(target, "log_softmax", "target");
    fence_check(lse, "log_softmax", "lse");
    fence_check(logp, "log_softmax", "logp");
    fence_check(entropy, "log_softmax", "entropy");
    fence_check(best, "log_softmax", "best");
    return fence_end(ops_cpu.log_softmax(d, logits, n, vocab, target, lse, logp, entropy, best, e));
}

static int fenced_log_softmax_at(struct device *d, const float *logits, size_t vocab,
                                 const uint32_t *row, const uint32_t *target, size_t n, float *logp,
                                 struct err *e)
{
    fence_begin();
    fence_check(logits, "log_softmax_at", "logits");
    fence_check(row, "log_softmax_at", "row");
    fence_check(target, "log_softmax_at", "target");
    fence_check(logp, "log_softmax_at", "logp");
    return fence_end(ops_cpu.log_softmax_at(d, logits, vocab, row, target, n, logp, e));
}

static int fenced_pick(struct device *d, float *out, const float *logits, size_t n, size_t vocab,
                       const uint32_t *target, struct err *e)
{
    fence_begin();
    fence_check(out, "pick", "out");
    fence_check(logits, "pick", "logits");
    fence_check(target, "pick", "target");
    return fence_end(ops_cpu.pick(d, out, logits, n, vocab, target, e));
}

static int fenced_top_k(struct device *d, uint32_t *id, float *logp, const float *logits,
                        const float *lse, size_t n, size_t vocab, size_t k, struct err *e)
{
    fence_begin();
    fence_check(id, "top_k", "id");
    fence_check(logp, "top_k", "logp");
    fence_check(logits, "top_k", "logits");
    fence_check(lse, "top_k", "lse");
    return fence_end(ops_cpu.top_k(d, id, logp, logits, lse, n, vocab, k, e));
}

static int fenced_softmax(struct device *d, float *out, const float *logits, size_t n, size_t vocab,
                          struct err *e)
{
    fence_begin();
    fence_check(out, "softmax", "out");
    fence_check(logits, "softmax", "logits");
    return fence_end(ops_cpu.softmax(d, out, logits, n, vocab, e));
}

static int fenced_log_softmax_backward(struct device *d, float *logits, size_t n, size_t vocab,
                                       const uint32_t *target, const float *lse, const float *c,
                                       struct err *e)
{
    fence_begin();
    fence_check(logits, "log_softmax_backward", "logits");
    fence_check(target, "log_softmax_backward", "target");
    fence_check(lse, "log_softmax_backward", "lse");
    fence_check(c, "log_softmax_backward", "c");
    return fence_end(ops_cpu.log_softmax_backward(d, logits, n, vocab, target, lse, c, e));
}

static int fenced_divergence(struct device *d, const struct divergence *v, float *kl,
                             float *reverse, struct err *e)
{
    fence_begin();
    fence_divergence(v, "divergence");
    fence_check(kl, "divergence", "kl");
    fence_check(reverse, "divergence", "reverse");
    return fence_end(ops_cpu.divergence(d, v, kl, reverse, e));
}

static int fenced_divergence_backward(struct device *d, const struct divergence *v, const float *kl,
                                      float forward, float reverse, float *gradient, struct err *e)
{
    fence_begin();
    fence_divergence(v, "divergence_backward");
    fence_check(kl, "divergence_backward", "kl");
    fence_check(gradient, "divergence_backward", "gradient");
    return fence_end(ops_cpu.divergence_backward(d, v, kl, forward, reverse, gradient, e));
}

static int fenced_adamw(struct device *d, const struct update *u, struct err *e)
{
    fence_begin();
    fence_update(u, "adamw");
    return fence_end(ops_cpu.adamw(d, u, e));
}

static int fenced_rmsprop(struct device *d, const struct update *u, struct err *e)
{
    fence_begin();
    fence_update(u, "rmsprop");
    return fence_end(ops_cpu.rmsprop(d, u, e));
}

static int fenced_sgd(struct device *d, const struct update *u, struct err *e)
{
    fence_begin();
    fence_update(u, "sgd");
    return fence_end(ops_cpu.sgd(d, u, e));
}

static int fenced_average(struct device *d, float *y, const float *x, double weight, size_t n,
                          struct err *e)
{
    fence_begin();
    fence_check(y, "average", "y");
    fence_check(x, "average", "x");
    return fence_end(ops_cpu.average(d, y, x, weight, n, e));
}

static int fenced_sum_squares(struct device *d, const float *x, size_t n, double *sum,
                              struct err *e)
{
    fence_begin();
    fence_check(x, "sum_squares", "x");
    return fence_end(ops_cpu.sum_squares(d, x, n, sum, e));
}

static const char *fenced_kernels(const struct device *d)
{
    return ops_cpu.kernels(d);
}

static size_t fenced_scratch_bytes(const struct device *d, const struct scratch_shape *s)
{
    return ops_cpu.scratch_bytes(d, s);
}

static const struct ops fenced_ops = {
    .name = "fenced",
    .kernels = fenced_kernels,
    .scratch_bytes = fenced_scratch_bytes,
    .embed = fenced_embed,
    .embed_backward = fenced_embed_backward,
    .linear = fenced_linear,
    .linear_backward = fenced_linear_backward,
    .norm = fenced_norm,
    .norm_backward = fenced_norm_backward,
    .rotate = fenced_rotate,
    .attention_store = fenced_attention_store,
    .attention = fenced_attention,
    .attention_of_last = fenced_attention_of_last,
    .attention_backward = fenced_attention_backward,
    .activate = fenced_activate,
    .activate_backward = fenced_activate_backward,
    .ungroup = fenced_ungroup,
    .group = fenced_group,
    .axpby = fenced_axpby,
    .softcap = fenced_softcap,
    .softcap_backward = fenced_softcap_backward,
    .contrast = fenced_contrast,
    .gather_rows = fenced_gather_rows,
    .scatter_rows = fenced_scatter_rows,
    .clamp = fenced_clamp,
    .clamp_backward = fenced_clamp_backward,
    .log_softmax = fenced_log_softmax,
    .log_softmax_at = fenced_log_softmax_at,
    .pick = fenced_pick,
    .top_k = fenced_top_k,
    .softmax = fenced_softmax,
    .log_softmax_backward = fenced_log_softmax_backward,
    .divergence = fenced_divergence,
    .divergence_backward = fenced_divergence_backward,
    .adamw = fenced_adamw,
    .rmsprop = fenced_rmsprop,
    .sgd = fenced_sgd,
    .average = fenced_average,
    .sum_squares = fenced_sum_squares,
};

static void *fenced_alloc(struct device *d, size_t bytes)
{
    size_t room = bytes / FENCE_ALIGN * FENCE_ALIGN + FENCE_ALIGN;
    if (bytes > FENCE_BYTES - FENCE_ALIGN || room > FENCE_BYTES - fence.used)
        return NULL;
    unsigned char *p = fence.base + fence.used;
    fence.used += room;
    fence.live += bytes;
    if (fence.open)
        fence_turn(PROT_READ | PROT_WRITE);
    return p;
}

// What was freed is filled with NaNs: nobody may use it.
static void fenced_free(struct device *d, void *p, size_t bytes)
{
    if (!p)
        return;
    fence_begin();
    fence_check(p, "free", "p");
    memset(p, 0xff, bytes);
    fence_end(0);
    fence.live -= bytes;
}

static int fenced_put(struct device *d, void *to, const void *host, size_t bytes, struct err *e)
{
    CHECK(!fence_holds(host));
    fence_begin();
    fence_check(to, "put", "to");
    memcpy(to, host, bytes);
    return fence_end(0);
}

static int fenced_get(struct device *d, void *host, const void *from, size_t bytes, struct err *e)
{
    CHECK(!fence_holds(host));
    fence_begin();
    fence_check(from, "get", "from");
    memcpy(host, from, bytes);
    return fence_end(0);
}

static int fenced_copy(struct device *d, void *to, const void *from, size_t bytes, struct err *e)
{
    fence_begin();
    fence_check(to, "copy", "to");
    fence_check(from, "copy", "from");
    memcpy(to, from, bytes);
    return fence_end(0);
}

static int fenced_zero(struct device *d, void *p, size_t bytes, struct err *e)
{
    fence_begin();
    fence_check(p, "zero", "p");
    memset(p, 0, bytes);
    return fence_end(0);
}

static const struct memory fenced_memory = {.alloc = fenced_alloc,
                                            .free = fenced_free,
                                            .put = fenced_put,
                                            .get = fenced_get,
                                            .copy = fenced_copy,
                                            .zero = fenced_zero};

// Whether every operation of the table, which holds nothing but pointers, is above.
static int fence_is_whole(void)
{
    uintptr_t member[sizeof fenced_ops / sizeof(uintptr_t)];
    memcpy(member, &fenced_ops, sizeof member);
    for (size_t i = 0; i < sizeof member / sizeof *member; i++)
        if (!member[i])
            return 0;
    return 1;
}

// The only device of its kind. NULL: failed.
KIT struct device *fence_open(enum products products, struct err *e)
{
    CHECK(fence_is_whole());
    memset(&fence, 0, sizeof fence);
    if (device_open(&fence.device, "cpu", products, e) < 0)
        return NULL;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    void *p = mmap(NULL, FENCE_BYTES, PROT_NONE, flags, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    fence.base = p;
    fence.device.ops = &fenced_ops;
    fence.device.memory = &fenced_memory;
    device_arena_init(&fence.device.scratch, &fence.device);
    struct sigaction action = {.sa_sigaction = fence_touched, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    return &fence.device;
}

// Everything must have been given back.
KIT void fence_close(void)
{
    device_release(&fence.device);
    CHECK(fence.live == 0);
    munmap(fence.base, FENCE_BYTES);
    memset(&fence, 0, sizeof fence);
}

#endif
