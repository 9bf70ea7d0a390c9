// SPDX-License-Identifier: MIT
// Draws a token from logits as defined by transformers' logits processors, in their order:
// repetition penalty, temperature, top-k, top-p, min-p.
#ifndef MODEL_SAMPLING_H
#define MODEL_SAMPLING_H

#include "base/rng.h"
#include "ops/ops.h"

struct sampling {
    double temperature;        // 0: greedy
    size_t top_k;              // 0: off; keeps all ties of the k-th value
    double top_p;              // 1: off; the smallest set whose mass reaches it
    double min_p;              // 0: off; relative to the largest probability after the steps before
    double repetition_penalty; // 1: off; once for each distinct token so far
};

// The distribution is the model's own: temperature 1, nothing cut.
int sampling_is_plain(const struct sampling *s);

// Work space of one thread.
struct sampling_work {
    float *z; // [vocab]
    struct candidate {
        float z;
        uint32_t token;
    } * candidate; // [vocab]
};
MUST_CHECK int sampling_work_init(struct sampling_work *w, size_t vocab, struct arena *arena,
                                  struct err *e);

// Draws from logits [vocab] after the n tokens of `history`. *logp: the natural log of the drawn
// token's probability in the sampling distribution (0 when greedy).
MUST_CHECK int sampling_draw(struct device *d, const struct sampling *s, const float *logits,
                             size_t vocab, const uint32_t *history, size_t n,
                             struct sampling_work *w, struct rng *rng, uint32_t *token, float *logp,
                             struct err *e);
// The first half of that, where s->temperature is above 0: fills w->candidate with what the
// processors leave (logits divided by the temperature) and returns how many; *largest: the greatest
// of them.
size_t sampling_candidates(const struct sampling *s, const float *logits, size_t vocab,
                           const uint32_t *history, size_t n, struct sampling_work *w,
                           float *largest);

#endif
