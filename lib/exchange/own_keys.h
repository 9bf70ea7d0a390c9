// SPDX-License-Identifier: MIT
// Keys of single architectures (architecture.h): own_read_... from a GGUF file to config.json,
// own_tell_... from a model to the keys of a file, or what it cannot say.
#ifndef EXCHANGE_OWN_KEYS_H
#define EXCHANGE_OWN_KEYS_H

#include "gguf/file.h"
#include "model/config.h"
#include <jansson.h>

MUST_CHECK int own_read_clip(const struct gguf *g, json_t *config, struct err *e);
MUST_CHECK int own_read_falcon(const struct gguf *g, json_t *config, struct err *e);
MUST_CHECK int own_read_gemma2(const struct gguf *g, json_t *config, struct err *e);
MUST_CHECK int own_read_gemma3(const struct gguf *g, json_t *config, struct err *e);
MUST_CHECK int own_read_granite(const struct gguf *g, json_t *config, struct err *e);
MUST_CHECK int own_read_logit_scale(const struct gguf *g, json_t *config, struct err *e);
MUST_CHECK int own_read_mistral3(const struct gguf *g, json_t *config, struct err *e);
MUST_CHECK int own_read_parallel(const struct gguf *g, json_t *config, struct err *e);
MUST_CHECK int own_read_phi3(const struct gguf *g, json_t *config, struct err *e);
MUST_CHECK int own_read_stablelm(const struct gguf *g, json_t *config, struct err *e);
MUST_CHECK int own_read_starcoder(const struct gguf *g, json_t *config, struct err *e);

MUST_CHECK int own_tell_clip(const struct model_config *c, json_t *keys, struct err *e);
MUST_CHECK int own_tell_cohere(const struct model_config *c, json_t *keys, struct err *e);
MUST_CHECK int own_tell_falcon(const struct model_config *c, json_t *keys, struct err *e);
MUST_CHECK int own_tell_granite(const struct model_config *c, json_t *keys, struct err *e);
MUST_CHECK int own_tell_logit_scale(const struct model_config *c, json_t *keys, struct err *e);
MUST_CHECK int own_tell_mistral3(const struct model_config *c, json_t *keys, struct err *e);
MUST_CHECK int own_tell_parallel(const struct model_config *c, json_t *keys, struct err *e);
MUST_CHECK int own_tell_smollm3(const struct model_config *c, json_t *keys, struct err *e);
MUST_CHECK int own_tell_softcaps(const struct model_config *c, json_t *keys, struct err *e);

#endif
