// SPDX-License-Identifier: MIT
#include "infer/draw.h"
#include "base/hash.h"
#include "base/number.h"

#include <assert.h>
#include <string.h>

enum dtype draw_kv_dtype(int kv_dtype)
{
    return strcmp(option_kv_dtypes[kv_dtype], "bf16") ? DTYPE_F32 : DTYPE_BF16;
}

static int add_stop(const struct model *m, draw_token_id *token_id, const char *text,
                    struct draw_stops *stops, size_t *n, struct err *e)
{
    size_t vocab = m->config.vocab;
    uint64_t number;
    int64_t id;
    if (number_to_u64(text, &number) == 0)
        id = number < vocab ? (int64_t)number : -1;
    else if (token_id(m->path, text, &id, e) < 0)
        return -1;
    if (id < 0 || (size_t)id >= vocab)
        return err_set(e, STATUS_USAGE, "--stop-token: the model has no token '%s'", text);
    assert(*n < sizeof stops->token / sizeof *stops->token);
    stops->token[(*n)++] = (uint32_t)id;
    return 0;
}

int draw_options_fill(const struct draw_options *d, const struct model *m, draw_token_id *token_id,
                      struct draw_stops *stops, struct generate_options *out, struct err *e)
{
    out->sampling = d->sampling;
    out->sampling.top_k = (size_t)d->top_k;
    out->first_sample = (uint32_t)d->first_sample;
    out->max_new_tokens = (size_t)d->max_new_tokens;
    out->stop = stops->token;
    out->n_stop = 0;
    for (size_t i = 0; i < m->config.n_eos; i++)
        stops->token[out->n_stop++] = m->config.eos[i];
    for (int i = 0; i < d->stop_tokens.n; i++)
        if (add_stop(m, token_id, d->stop_tokens.text[i], stops, &out->n_stop, e) < 0)
            return -1;
    return 0;
}

uint64_t draw_key(const char *id, size_t size, uint64_t generation, uint64_t pass)
{
    uint64_t turn[3] = {hash_bytes(id, size), generation, pass};
    return hash_bytes(turn, sizeof turn);
}
