// SPDX-License-Identifier: MIT
// Settings that follow from a family's keys but are not in its row (struct family, `special`).
#ifndef MODEL_FAMILY_SPECIAL_H
#define MODEL_FAMILY_SPECIAL_H

#include "model/config.h"
#include "model/config_keys.h"

MUST_CHECK int special_cohere(struct model_config *c, struct config_keys *k, struct err *e);
MUST_CHECK int special_cohere2(struct model_config *c, struct config_keys *k, struct err *e);
MUST_CHECK int special_exaone4(struct model_config *c, struct config_keys *k, struct err *e);
MUST_CHECK int special_falcon(struct model_config *c, struct config_keys *k, struct err *e);
MUST_CHECK int special_gemma(struct model_config *c, struct config_keys *k, struct err *e);
MUST_CHECK int special_gemma2(struct model_config *c, struct config_keys *k, struct err *e);
MUST_CHECK int special_gemma3(struct model_config *c, struct config_keys *k, struct err *e);
MUST_CHECK int special_gpt2(struct model_config *c, struct config_keys *k, struct err *e);
MUST_CHECK int special_gpt_bigcode(struct model_config *c, struct config_keys *k, struct err *e);
MUST_CHECK int special_gpt_neo(struct model_config *c, struct config_keys *k, struct err *e);
MUST_CHECK int special_gpt_neox(struct model_config *c, struct config_keys *k, struct err *e);
MUST_CHECK int special_granite(struct model_config *c, struct config_keys *k, struct err *e);
MUST_CHECK int special_granitemoehybrid(struct model_config *c, struct config_keys *k,
                                        struct err *e);
MUST_CHECK int special_ministral(struct model_config *c, struct config_keys *k, struct err *e);
MUST_CHECK int special_ministral3(struct model_config *c, struct config_keys *k, struct err *e);
MUST_CHECK int special_mistral(struct model_config *c, struct config_keys *k, struct err *e);
MUST_CHECK int special_nanochat(struct model_config *c, struct config_keys *k, struct err *e);
MUST_CHECK int special_olmo(struct model_config *c, struct config_keys *k, struct err *e);
MUST_CHECK int special_olmo3(struct model_config *c, struct config_keys *k, struct err *e);
MUST_CHECK int special_opt(struct model_config *c, struct config_keys *k, struct err *e);
MUST_CHECK int special_phi3(struct model_config *c, struct config_keys *k, struct err *e);
MUST_CHECK int special_qwen(struct model_config *c, struct config_keys *k, struct err *e);
MUST_CHECK int special_smollm3(struct model_config *c, struct config_keys *k, struct err *e);
MUST_CHECK int special_stablelm(struct model_config *c, struct config_keys *k, struct err *e);
MUST_CHECK int special_starcoder2(struct model_config *c, struct config_keys *k, struct err *e);

#endif
