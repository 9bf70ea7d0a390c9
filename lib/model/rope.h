// SPDX-License-Identifier: MIT
// Tables of rotary angles, which grow with the longest sequence seen.
#ifndef MODEL_ROPE_H
#define MODEL_ROPE_H

#include "base/memory.h"
#include "model/batch.h"
#include "model/config.h"

struct rope_tables {
    struct rope_table {
        float *angle; // [positions][dims / 2][cos, sin]
        float *copy;  // in the device's memory, or NULL where memory is unified
        size_t positions;
    } table[ROPES_MAX][2]; // [1]: of sequences beyond the original length (longrope)
};
// Sequences of at most so many tokens turn by the same angles at the same positions: SIZE_MAX where
// the length never counts.
size_t rope_same_up_to(const struct model_config *c);
// Of one batch: what ops->rotate wants, for each of the configuration's ropes.
struct rope_rows {
    struct rotary rotary[ROPES_MAX];
};
// A model's tables are of one device.
void rope_release(struct rope_tables *t, const struct model_config *c, struct device *d);
// `placed`: the batch as the device reads it. `arena`: of device memory, of the batch; the rows
// live as long.
MUST_CHECK int rope_prepare(struct rope_tables *t, const struct model_config *c, struct device *d,
                            const struct batch *b, const struct batch *placed, struct arena *arena,
                            struct rope_rows *out, struct err *e);

#endif
