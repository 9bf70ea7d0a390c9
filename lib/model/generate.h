// SPDX-License-Identifier: MIT
// Sampling with a KV cache and continuous batching: when a sample ends, the next one starts in its
// place at once; the samples of a prompt share its computation and its blocks of keys and values. A
// sample depends only on the model, its prompt and its key, not on the samples beside it.
//
// A sample ends at the latest where the model's learned positions end; rotary positions continue,
// as in transformers. If rotary angles depend on the length of the sequence, tokens are rotated as
// in transformers with a cache: each by the length when it was added, and its key stays so; only
// the families with rope_restart recompute everything when the original length is passed. Beyond
// that length the log-probabilities of such a sample are those at sampling time, and not those of
// scoring the whole sequence.
//
//   generator_add(...) for some prompts; while (!generator_idle(g)) generator_step(g, e);
//   generator_take(g, &request) returns them in the order in which they were added.
#ifndef MODEL_GENERATE_H
#define MODEL_GENERATE_H

#include "model/decoder.h"
#include "model/sampling.h"

enum finish { FINISH_STOP, FINISH_LENGTH };

struct generated {
    uint32_t *token; // [n] drawn tokens, the stopping one included
    float *logp;     // [n] under the model at temperature 1, nothing cut
    float *sampled;  // [n] under the sampling distribution
    size_t n;
    int ended; // or it is in flight, and grows
    enum finish finish;
};

struct request {
    uint32_t *prompt;
    size_t n_prompt;
    struct generated *sample; // [n_samples]
    size_t n_samples;
    void *owner;
    struct request_state *state; // the generator's
};

struct generate_options {
    struct sampling sampling;
    size_t max_new_tokens;
    size_t slots; // samples in flight
    uint64_t seed;
    uint32_t first_sample; // number of each request's first sample
    const uint32_t *stop;  // [n_stop] tokens that end a sample
    size_t n_stop;
    // Logits z become z + contrast (z - z_reference) before sampling; 0: no reference needed.
    double contrast;
    // Frees the owner of a request that was never taken, when the generator closes; or NULL.
    void (*release_owner)(void *owner);
};

struct generator;

// `reference`: the second model of `contrast`, or NULL. Models and options are borrowed.
struct generator *generator_open(struct model *m, struct model *reference, struct device *d,
                                 const struct generate_options *o, struct err *e);
// Bytes that `slots` samples in flight take, each of `length` tokens with its prompt, beside the
// weights: of the cache, and of all else.
struct generator_bytes {
    size_t cache, work;
};
struct generator_bytes generator_bytes(const struct device *d, const struct model *m, size_t slots,
                                       size_t length);
void generator_close(struct generator *g);
// Queues n samples of a prompt (copied). `key`: what the random numbers of sample i come from,
// together with the seed and its number.
MUST_CHECK int generator_add(struct generator *g, const uint32_t *prompt, size_t n_prompt,
                             size_t n_samples, uint64_t key, void *owner, struct err *e);
// Samples that wait or are in flight.
size_t generator_pending(const struct generator *g);
// Draws one token for each sample in flight, and starts samples where there is room.
MUST_CHECK int generator_step(struct generator *g, struct err *e);
// The oldest request, if all its samples are done: 1, and it is the caller's until request_free.
int generator_take(struct generator *g, struct request **out);
void request_free(struct request *r);
// The oldest request that was not taken, done or not, for who shows samples as they grow; NULL:
// none. Borrowed until the next call of this generator.
const struct request *generator_oldest(const struct generator *g);
uint64_t generator_drawn(const struct generator *g); // tokens so far

#endif
