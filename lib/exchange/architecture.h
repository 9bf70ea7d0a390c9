// SPDX-License-Identifier: MIT
// Architectures of GGUF beside our families: a row for each family that llama.cpp computes, with
// its names of tensors and what it has no place for. Source: gguf/constants.py (names), the
// converters and src/models of llama.cpp (order of rows, what is computed).
#ifndef EXCHANGE_ARCHITECTURE_H
#define EXCHANGE_ARCHITECTURE_H

#include "gguf/file.h"
#include "model/family.h"

enum { STEM_CHANGES = 4, STEM_NAME = 128 };

struct architecture {
    const char *name;       // general.architecture
    const char *model_type; // of config.json
    const char *activation; // the one it computes, as transformers spells it
    int permuted;           // each head's rows of q and k lie as (i, i + half) side by side
    int out_bias, mlp_bias; // it has them
    int needs_bias;         // and cannot do without
    int square;             // its heads are together as wide as the hidden states
    int own_head;           // and no tied head
    int always_tied;        // and no other head
    int frequencies;        // rotary frequencies may come as factors of a tensor (llama3)
    size_t pattern;         // each so many layers one without a window; 0: no windows
    size_t windowed_layers; // only models of so many layers have them; 0: any
    // A model of so many layers divides its queries by sqrt(hidden / heads); the others, and all
    // where this is 0, by sqrt(head_dim).
    size_t wide_queries;
    struct {
        enum tensor_role role;
        const char *stem;
    } change[STEM_CHANGES]; // names that differ from the usual ones
    // Keys of the family's own: from the file to config.json; and from the model to the file.
    // NULL: none.
    int (*read)(const struct gguf *g, json_t *config, struct err *e);
    int (*tell)(const struct model_config *c, json_t *keys, struct err *e);
};

// The row for a model, or the first for a file; NULL: none.
const struct architecture *architecture_of_family(const struct model_config *c);
const struct architecture *architecture_of_file(const struct gguf *g, const char *name);
const char *architecture_list(char *out, size_t size); // "arcee, ..."
// The name of a role's tensor; NULL: it has no place for one.
const char *architecture_tensor(const struct architecture *a, enum tensor_role role, size_t layer,
                                char out[STEM_NAME]);
// "NAME.KEY".
const char *architecture_key(const struct architecture *a, const char *key, char out[STEM_NAME]);

#endif
