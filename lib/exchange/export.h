// SPDX-License-Identifier: MIT
// A model as a GGUF file that llama.cpp loads.
#ifndef EXCHANGE_EXPORT_H
#define EXCHANGE_EXPORT_H

#include "base/io.h"
#include "model/model.h"

struct export
{
    const char *type;            // f32, f16, bf16, q8_0, q4_k_m
    const json_t *chat_template; // a text, or NULL
    const char *name;            // general.name
};

// Whether the type is known.
MUST_CHECK int export_check(const struct export *options, struct err *e);
// Writes the file; refuses, before anything is written, a model that llama.cpp does not compute, by
// what it lacks.
MUST_CHECK int export_gguf(const struct model *m, struct output *out, const struct export *options,
                           struct err *e);

#endif
