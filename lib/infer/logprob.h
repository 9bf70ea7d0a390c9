// SPDX-License-Identifier: MIT
// Scores the trained tokens of a stream under one model or several, frame by frame, and passes the
// stream on with the results as columns.
#ifndef INFER_LOGPROB_H
#define INFER_LOGPROB_H

#include "base/error.h"
#include "ops/ops.h"
#include <stdint.h>

enum { LOGPROB_TOP_MAX = 20, LOGPROB_MODELS_MAX = 65 };

struct logprob_model {
    const char *path; // its directory
    const char *name; // of the columns: logp:NAME and so on
};

// The other members hold for each model. With several the stream gets the columns that a chain of
// single runs in this order would give it, bit for bit, from one reading and one pool of threads.
struct logprob_options {
    const char *device; // name
    enum products products;
    struct logprob_model model[LOGPROB_MODELS_MAX];
    int n_models;
    int kv_dtype;         // index into option_kv_dtypes
    const char *contrast; // "DIR:A": score under softmax(z + A (z - z_DIR)), or NULL
    const char *kl;       // DIR: write kl:NAME and kl-reverse:NAME, or NULL
    int all;              // every token but the first, not only those with mask 1
    int entropy;          // write entropy:NAME
    int values;           // write q:NAME, value:NAME, value-end:NAME
    int64_t top;          // write so many of the most likely tokens, at most LOGPROB_TOP_MAX
    // Fingerprint of the tokenizer in a model's directory; *found = 0 without one.
    int (*fingerprint)(const char *directory, char out[24], int *found, struct err *e);
    const char *output;
    int verbose;
    uint64_t seed;
    int argc; // for provenance
    char **argv;
};

// From the stream `input` (NULL: standard input) to o->output. value:NAME is written at each scored
// token and at the token behind it, so that every scored token has the value of the state that it
// leads to; behind the last token that is value-end:NAME, null where no token is scored or the
// model has no position for that state.
MUST_CHECK int logprob_run(const struct logprob_options *o, const char *input, struct err *e);

#endif
