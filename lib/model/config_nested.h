// SPDX-License-Identifier: MIT
// Folders of multimodal models, whose config.json keeps the text model's keys in an object.
#ifndef MODEL_CONFIG_NESTED_H
#define MODEL_CONFIG_NESTED_H

#include "base/error.h"
#include "model/family.h"
#include <jansson.h>

// The keys of the text model as if they stood alone: those of `text_config`, and those outside it
// that count for text. Owned by the caller; NULL: failed.
json_t *config_flatten(const json_t *config, const struct family_wrapper *wrapper, const char *file,
                       struct err *e);

#endif
