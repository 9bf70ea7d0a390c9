// SPDX-License-Identifier: MIT
// A GGUF file: opened and read through, and imported as a model directory.
#include "kit.h"

#include "exchange/import.h"
#include "gguf/file.h"
#include "model/model.h"

#include <math.h>

static void read_values(const struct gguf *g)
{
    struct err e;
    float sum = 0, *out;
    for (size_t i = 0; i < g->n_tensors; i++) {
        const struct gguf_tensor *t = &g->tensor[i];
        MUST(t->offset <= g->file->size && t->bytes <= g->file->size - t->offset);
        out = malloc(t->values * sizeof *out);
        MUST(out);
        if (gguf_unpack(g, t, 0, t->values, out, &e) == 0)
            sum += out[t->values - 1];
        free(out);
    }
    MUST(!isinf(sum) || sum != 0);
}

static void read_keys(const struct gguf *g)
{
    struct err e;
    for (size_t i = 0; i < g->n_values; i++) {
        struct gguf_text *texts = NULL;
        double *numbers = NULL;
        size_t n = 0, bytes = 0;
        if (gguf_get_texts(g, g->value[i].key, &texts, &n, &e) > 0)
            for (size_t k = 0; k < n; k++)
                bytes += texts[k].n;
        MUST(bytes <= g->file->size);
        if (gguf_get_reals(g, g->value[i].key, &numbers, &n, &e) > 0)
            MUST(n <= g->file->size);
        free(texts);
        free(numbers);
    }
}

// What was made is a model.
static void import(const char *path, int to, const char *folder)
{
    struct err e;
    const struct import options = {.dtype = "fp32"};
    if (import_gguf(path, to, &options, &e) < 0)
        return;
    struct model *m = model_open(folder, &e);
    MUST(m);
    model_close(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf g;
    struct err e;
    const char *path = fuzz_file(0, data, size), *folder = fuzz_folder();
    if (gguf_open(&g, path, &e) < 0)
        return 0;
    read_values(&g);
    read_keys(&g);
    gguf_close(&g);
    int to = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    MUST(to >= 0);
    import(path, to, folder);
    close(to);
    return 0;
}
