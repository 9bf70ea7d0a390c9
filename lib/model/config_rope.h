// SPDX-License-Identifier: MIT
// Rotary positions in config.json, in the old form (rope_theta, rope_scaling) and the new one
// (rope_parameters).
#ifndef MODEL_CONFIG_ROPE_H
#define MODEL_CONFIG_ROPE_H

#include "model/config.h"
#include "model/config_keys.h"

// Reads the keys of a model whose layers share one rotary: c->rope[0].
MUST_CHECK int rope_read(struct model_config *c, struct config_keys *k, struct err *e);
// Reads one object of parameters (NULL: none) into c->rope[c->n_ropes++]. `theta`: where it names
// none. `original`: the top-level original_max_position_embeddings, which wins; 0: none.
MUST_CHECK int rope_add(struct model_config *c, const json_t *parameters, double theta,
                        double partial, double original, struct err *e);
void rope_config_release(struct rope_config *r);

#endif
