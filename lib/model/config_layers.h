// SPDX-License-Identifier: MIT
// The settings of single layers in config.json: windows, and which layers have rotary positions.
#ifndef MODEL_CONFIG_LAYERS_H
#define MODEL_CONFIG_LAYERS_H

#include "model/config.h"
#include "model/config_keys.h"

enum { WINDOW_MAX = 1 << 28 };

// `sliding_window`: *window becomes 0 where it is null, and stays as it is where it is absent.
MUST_CHECK int layers_read_window(struct config_keys *k, size_t *window, struct err *e);
void layers_set_window(struct model_config *c, size_t window); // of all layers
void layers_set_scale(struct model_config *c, double scale);
// `layer_types`, where it is there, overrules sliding[layers] (1: the layer has the window).
MUST_CHECK int layers_read_types(const struct model_config *c, struct config_keys *k,
                                 uint8_t *sliding, struct err *e);
// Gives the layers marked in `sliding` the window; `window` = 0 is refused where there are any.
MUST_CHECK int layers_set_sliding(struct model_config *c, const struct config_keys *k,
                                  const uint8_t *sliding, size_t window, struct err *e);
// `sliding_window` (*window: where it is absent) for the layers that `layer_types` names: where
// that is absent, all but each `pattern`-th (0: all). `optional`: without a window there are none.
MUST_CHECK int layers_read_pattern(struct model_config *c, struct config_keys *k, size_t pattern,
                                   int optional, size_t *window, struct err *e);
// A list of whole numbers, at least one for each layer: *found = 0 where the key is absent or null.
MUST_CHECK int layers_read_numbers(const struct model_config *c, struct config_keys *k,
                                   const char *key, uint8_t *out, int *found, struct err *e);
// `layer_types` of a family that has no use for it: it must say what is known.
MUST_CHECK int layers_agree(const struct model_config *c, struct config_keys *k, struct err *e);

#endif
