// SPDX-License-Identifier: MIT
#include "infer/record_sequence.h"

struct sequence record_sequence(const struct frame *f, int mask, size_t i)
{
    size_t at = f->start[i];
    return (struct sequence){.token = f->column[COLUMN_TOKEN].u32 + at,
                             .mask = mask < 0 ? NULL : f->column[mask].u8 + at,
                             .n = frame_length(f, i)};
}

struct sequence *record_sequences(const struct frame *f, int mask, struct arena *arena,
                                  size_t *wanted, struct err *e)
{
    struct sequence *s = arena_alloc(arena, f->n_sequences, sizeof *s, e);
    for (size_t i = 0; s && i < f->n_sequences; i++)
        s[i] = record_sequence(f, mask, i);
    if (wanted)
        *wanted = 0;
    for (size_t i = 0; s && wanted && i < f->n_sequences; i++)
        *wanted += sequence_wanted(&s[i]);
    return s;
}
