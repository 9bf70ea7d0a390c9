// SPDX-License-Identifier: MIT
// What a sampler elsewhere has drawn for one prompt: an object of vLLM's offline outputs, of a
// server's completions, or a line of ids as TRL has them. The tokens and their log-probabilities
// are taken as they stand; texts in place of ids are refused, as they do not tell which tokens were
// drawn.
#ifndef DATA_SAMPLE_GROUP_H
#define DATA_SAMPLE_GROUP_H

#include "base/memory.h"
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct sample_group {
    uint32_t *prompt; // ids, where there are some
    size_t n_prompt, prompt_capacity;
    const char *text; // of the prompt, borrowed from the object, where it has no ids; or NULL
    size_t text_size;
    // Tokens of all samples, one after the other.
    uint32_t *token;
    float *logp; // as drawn
    size_t n_tokens, token_capacity, logp_capacity;
    struct group_sample {
        size_t end;         // where its tokens end
        const char *finish; // "stop", "length", or "": not said
    } * sample;
    size_t n, sample_capacity;
};
void sample_group_init(struct sample_group *g);
void sample_group_release(struct sample_group *g);

// Fills `g` from an object. Errors name the key.
MUST_CHECK int sample_group_read(struct sample_group *g, const json_t *object, struct err *e);

#endif
