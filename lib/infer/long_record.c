// SPDX-License-Identifier: MIT
#include "infer/long_record.h"

#include <stdint.h>

int long_record_refuse(size_t tokens, size_t positions, struct err *e)
{
    return err_set(e, STATUS_FAILED,
                   "%zu tokens are more than the model's %zu positions (tok --max-length %zu, with "
                   "--truncation)",
                   tokens, positions, positions);
}

// Tokens up to which nothing is to be said.
static size_t made_for(const struct model *m)
{
    const struct model_config *c = &m->config;
    if (c->has[ROLE_POSITIONS])
        return SIZE_MAX; // what is longer is refused
    for (size_t i = 0; i < c->n_ropes; i++)
        if (c->rope[i].type != ROPE_DEFAULT && c->rope[i].type != ROPE_LLAMA3)
            return SIZE_MAX;
    return c->max_position;
}

size_t long_record_most(const struct model *m)
{
    return m->config.has[ROLE_POSITIONS] ? model_positions(m) : made_for(m);
}

void long_record_warn(const struct model *m, size_t tokens, const char *where, const char *name)
{
    static int told;
    if (told || message_is_quiet() || tokens <= made_for(m))
        return;
    told = 1;
    message_warn(
        "%s: %s: %zu tokens are more than the %zu positions that the model was made for "
        "(max_position_embeddings); tok --max-length and rollout --max-new-tokens bound them",
        where, name, tokens, m->config.max_position);
}

void long_record_look(const struct model *m, const struct frame *f, const char *where)
{
    size_t most = made_for(m);
    for (size_t i = 0; i < f->n_sequences; i++)
        if (frame_length(f, i) > most)
            long_record_warn(m, frame_length(f, i), where, frame_record(f, i).text);
}
