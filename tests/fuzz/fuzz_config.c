// SPDX-License-Identifier: MIT
// config.json and, after a NUL, generation_config.json. What is read must be a model that, where it
// is small, can be made, opened, and walked forwards and backwards; or be refused.
#include "kit.h"

#include "base/io.h"
#include "base/thread.h"
#include "model/head.h"

// Numbers in the weights, at most, of a model that is made here; tokens of its batch.
enum { SMALL = 1 << 15, TOKENS = 21 };

static int is_small(const struct model_config *c)
{
    size_t head = c->head_dim * (c->heads + 2 * c->kv_heads), width = head + 3 * c->intermediate;
    return c->hidden <= 256 && c->end_width <= 256 && c->layers <= 8 && c->vocab <= 512 &&
           c->intermediate <= 512 && c->max_position <= 4096 && c->head_dim <= 64 &&
           c->heads <= 16 &&
           c->end_width * 2 * (c->vocab + c->hidden) +
                   c->hidden * (c->max_position + c->layers * width) <=
               SMALL;
}

static int loss(void *arg, size_t first, size_t n, const float *logp, float *c, struct err *e)
{
    for (size_t i = 0; i < n; i++)
        c[i] = -1;
    return 0;
}

// One step of training on two sequences, as far as the gradients. Any config.json may ask for
// numbers that are none; none of that may be read out of bounds.
static void step(struct model *m, struct decoder *d, struct arena *arena)
{
    struct err e;
    struct packer p;
    struct batch b;
    uint32_t token[TOKENS];
    size_t n = model_positions(m) < TOKENS ? model_positions(m) : TOKENS;
    for (size_t i = 0; i < TOKENS; i++)
        token[i] = (uint32_t)(i * 7 % m->config.vocab);
    const struct sequence whole = {.token = token, .n = n}, part = {.token = token, .n = n / 2};
    if (packer_init(&p, arena, 2 * TOKENS, 2, &e) < 0)
        return;
    packer_add(&p, &whole);
    packer_add(&p, &part);
    packer_batch(&p, &b);
    if (b.n_wanted == 0 || decoder_forward(d, &b, NULL, 1, &e) < 0)
        return;
    float *back = arena_alloc(arena, b.n_wanted * m->config.end_width, sizeof *back, &e);
    float *value = arena_alloc(arena, b.n_wanted, sizeof *value, &e);
    MUST(back && value);
    const struct head_result out = {.logp = value};
    int result;
    if (m->config.head == HEAD_REWARD) {
        result = head_reward(d->device, m, d->hidden, b.n_wanted, value, &e);
        if (result == 0)
            result = head_reward_backward(d->device, m, d->hidden, b.n_wanted, value, back, &e);
    } else {
        result = head_train(d->device, m, d->hidden, p.target, b.n_wanted, NULL, &out, loss, NULL,
                            back, &e);
    }
    if (result == 0)
        MAY_FAIL(decoder_backward(d, &b, back, &e));
}

static void walk(struct model *m)
{
    struct err e;
    struct device device;
    struct decoder d;
    struct arena arena;
    MUST(threads_set(1, &e) == 0);
    MUST(device_open(&device, "cpu", PRODUCTS_FP32, &e) == 0);
    decoder_init(&d, m, &device);
    arena_init(&arena);
    step(m, &d, &arena);
    decoder_release(&d);
    device_release(&device);
    arena_release(&arena);
}

static void make(const char *from)
{
    struct err e;
    char path[300], fingerprint[24];
    snprintf(path, sizeof path, "%s/made", fuzz_folder());
    MUST(io_remove_tree(AT_FDCWD, path, &e) == 0 && io_make_directory(AT_FDCWD, path, &e) == 0);
    int to = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    MUST(to >= 0);
    int made = model_init(from, to, 1, NULL, &e) == 0;
    close(to);
    if (!made)
        return;
    struct model *m = model_open_any(path, &e);
    if (!m)
        fprintf(stderr, "%s\n", e.text);
    MUST(m);
    MUST(model_fingerprint(m, fingerprint, &e) == 0);
    MUST(model_train(m, &e) == 0);
    walk(m);
    model_close(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_text rest = {(const char *)data, size};
    struct model_config c;
    struct err e;
    char path[300];
    snprintf(path, sizeof path, "%s/given", fuzz_folder());
    MUST(io_make_directory(AT_FDCWD, path, &e) == 0);
    fuzz_take_file(&rest, "given/config.json");
    fuzz_take_file(&rest, "given/generation_config.json");
    int at = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    MUST(at >= 0);
    memset(&c, 0, sizeof c);
    int known = config_read(&c, at, &e) == 0;
    // Without weights it is no model.
    MUST(!model_open_at(dup(at), path, &e));
    if (known && is_small(&c))
        make(path);
    if (known)
        config_release(&c);
    close(at);
    return 0;
}
