// SPDX-License-Identifier: MIT
// config.json and, after a NUL, generation_config.json. What is read must be a model that can be
// made, opened and trained where it is small, or be refused.
#include "kit.h"

#include "base/io.h"
#include "model/model.h"

// Numbers in the weights, at most, of a model that is made here.
enum { SMALL = 1 << 15 };

static int is_small(const struct model_config *c)
{
    size_t head = c->head_dim * (c->heads + 2 * c->kv_heads), width = head + 3 * c->intermediate;
    return c->hidden <= 256 && c->layers <= 8 && c->vocab <= 512 && c->intermediate <= 512 &&
           c->max_position <= 4096 && c->head_dim <= 64 && c->heads <= 16 &&
           c->hidden * (2 * c->vocab + c->max_position + c->layers * width) <= SMALL;
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
    close(at);
    return 0;
}
