// SPDX-License-Identifier: MIT
// Counter-based random numbers (Philox4x32-10, Salmon et al., SC 2011): a value depends only on
// (seed, use, a, b) and its place in the sequence, never on threads, batches or restarts.
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdint.h>

// What the numbers are for; two uses with one seed share nothing. Numbers are part of the results:
// append, never renumber.
enum rng_use {
    RNG_SAMPLE = 1,  // a: hash of the prompt id, b: sample number mixed with the generation
    RNG_SHUFFLE = 2, // a: epoch
    RNG_INIT = 3,    // a: hash of the tensor's name
    RNG_RECORDS = 4, // toks shuf, sample, prefix, mix
    RNG_TEST = 5,
};

struct rng {
    uint32_t key[2];
    uint32_t counter[4];
    uint32_t block[4];
    unsigned left;
};

void rng_init(struct rng *r, uint64_t seed, enum rng_use use, uint64_t a, uint32_t b);
uint32_t rng_u32(struct rng *r);
double rng_uniform(struct rng *r);             // in [0, 1), 53 bits
double rng_normal(struct rng *r);              // mean 0, variance 1 (Box-Muller)
uint64_t rng_below(struct rng *r, uint64_t n); // 0 .. n-1, unbiased; n > 0
// The raw block function, for tests against published vectors.
void rng_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

#endif
