// SPDX-License-Identifier: MIT
// How samples are drawn, as users say it: what rollout and ask have in common, so that the same
// prompt, seed and settings give the same sample in both.
#ifndef INFER_DRAW_H
#define INFER_DRAW_H

#include "base/option.h"
#include "model/generate.h"

struct draw_options {
    struct sampling sampling; // but for top_k
    int64_t top_k, max_new_tokens;
    int64_t samples, first_sample; // a prompt
    struct option_texts stop_tokens;
    int kv_dtype; // index into option_kv_dtypes
};
#define DRAW_DEFAULTS                                                                              \
    {                                                                                              \
        .sampling = {.temperature = 1, .top_p = 1, .repetition_penalty = 1}, .samples = 1,         \
        .max_new_tokens = 256                                                                      \
    }
#define OPTIONS_DRAW(d)                                                                            \
    OPT_GROUP("Sampling"),                                                                         \
        OPT_INT('n', "num-generations", &(d)->samples, "N", 1, 1 << 20, "samples per prompt"),     \
        OPT_INT(0, "first-sample", &(d)->first_sample, "K", 0, 1 << 30,                            \
                "number of the first: samples 2 and 3 of `-n 4` are those of `-n 2 "               \
                "--first-sample 2`"),                                                              \
        OPT_INT(0, "max-new-tokens", &(d)->max_new_tokens, "N", 1, 1 << 28,                        \
                "most tokens per sample"),                                                         \
        OPT_REAL("temperature", &(d)->sampling.temperature, "X", 0, 1e6,                           \
                 "0: the most likely token"),                                                      \
        OPT_INT(0, "top-k", &(d)->top_k, "K", 0, 1 << 28,                                          \
                "only the K most likely tokens; 0: all"),                                          \
        OPT_REAL("top-p", &(d)->sampling.top_p, "P", 0, 1,                                         \
                 "only the smallest set with probability P"),                                      \
        OPT_REAL("min-p", &(d)->sampling.min_p, "P", 0, 1,                                         \
                 "only tokens with at least P times the probability of the most likely one"),      \
        OPT_REAL("repetition-penalty", &(d)->sampling.repetition_penalty, "X", 1e-6, 1e6,          \
                 "divides (or multiplies) the logits of tokens that came before"),                 \
        OPT_TEXTS(0, "stop-token", &(d)->stop_tokens, "TOKEN",                                     \
                  "end a sample at this token (its number or its text) besides the model's own; "  \
                  "may be repeated")

// What the device stores keys and values as.
#define OPTION_KV_DTYPE(v)                                                                         \
    OPT_CHOICE("kv-cache-dtype", v, option_kv_dtypes,                                              \
               "what keys and values are stored as: auto is fp32; bf16 takes half the memory, "    \
               "and rounds")
enum dtype draw_kv_dtype(int kv_dtype);

// Id of the token with that text in a model's directory; -1: there is none. The room knows no text.
typedef int draw_token_id(const char *directory, const char *text, int64_t *id, struct err *e);

struct draw_stops {
    uint32_t token[EOS_MAX + OPTION_TEXTS_MAX];
};
// What a generator of model `m` is to be told: the sampling, and in `stops`, which the options
// borrow, the model's own ends and those of the user. Slots, seed and what else there is is the
// caller's. A stop token that the model does not have is a usage error.
MUST_CHECK int draw_options_fill(const struct draw_options *d, const struct model *m,
                                 draw_token_id *token_id, struct draw_stops *stops,
                                 struct generate_options *out, struct err *e);
// What the random numbers of a prompt's samples come from: another generation of a policy and
// another pass over the prompts draw other samples.
uint64_t draw_key(const char *id, size_t size, uint64_t generation, uint64_t pass);

#endif
