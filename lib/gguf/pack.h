// SPDX-License-Identifier: MIT
// fp32 numbers into the blocks of a type (block.h). Q8_0, Q5_0 and Q5_1 are what ggml's reference
// makes; of the types with K scales and minima are found by weighted least squares over a few
// grids of levels, as ggml's are, and may differ from its own in the last level.
#ifndef GGUF_PACK_H
#define GGUF_PACK_H

#include "gguf/block.h"

// F32, F16, BF16, Q8_0, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K: n values, whole blocks. Values that are not
// finite become 0 in quantised blocks.
void pack_blocks(enum gguf_type type, unsigned char *to, const float *from, size_t n);

#endif
