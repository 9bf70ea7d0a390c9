// SPDX-License-Identifier: MIT
// Converts samples that were drawn elsewhere (data/sample_group.h) to a token stream like that of
// rollout: mask, logp:sampled, prompt, sample, finish.
#ifndef CONVERT_SAMPLES_H
#define CONVERT_SAMPLES_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

struct samples_options {
    const char *model;  // directory with the tokenizer
    const char *keep;   // "A,B": fields of the objects that become sequence columns, or NULL
    const char *output; // NULL: standard output
    uint64_t seed;      // for the provenance, as the command line
    int argc;
    char **argv;
};

// Reads the files `path` [n] (none: standard input) to the end. Objects in a row that have the same
// prompt are samples of one; a prompt is called as its first object is (id, request_id, or its
// number), and two of one name are an error.
MUST_CHECK int samples_run(const struct samples_options *o, char *const *path, size_t n,
                           struct err *e);

#endif
