// SPDX-License-Identifier: MIT
// The numbers of a model: config.json from the keys of a GGUF file, and back.
#ifndef EXCHANGE_HYPER_H
#define EXCHANGE_HYPER_H

#include "exchange/architecture.h"

// config.json of the file's model (json_decref); NULL: *e. What the keys say is proven by
// hyper_compare, once that configuration was read.
json_t *hyper_config(const struct gguf *g, const struct architecture *a, struct err *e);
// The keys of a file of this model, without "ARCHITECTURE.": whole numbers, reals, truths, texts
// and lists of these. NULL: it has something that llama.cpp does not compute, named in *e.
json_t *hyper_keys(const struct model_config *c, const struct architecture *a, struct err *e);
// Refuses a file whose keys do not say what the model that was read from them is, and keys of its
// architecture that nobody has looked at.
MUST_CHECK int hyper_compare(const struct gguf *g, const struct architecture *a,
                             const struct model_config *c, struct err *e);
// Factors [dims / 2] by which the frequencies of llama3's rotary positions are divided, as in the
// tensor rope_freqs.weight.
void hyper_factors(const struct model_config *c, const struct rope_config *r, float *out);

#endif
