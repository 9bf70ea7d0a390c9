// SPDX-License-Identifier: MIT
// How long the records of a model may be, as far as the directory of its tokenizer tells.
#ifndef CONVERT_POSITIONS_H
#define CONVERT_POSITIONS_H

#include <stddef.h>

// max_position_embeddings or n_positions of DIRECTORY's config.json; 0: it has none, or the type of
// its rotary positions stretches them.
size_t positions_named(const char *directory);

#endif
