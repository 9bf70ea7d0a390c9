// SPDX-License-Identifier: MIT
// Products that sum over rows of their right side, in fp32 or of operands rounded to bf16, cut into
// blocks that fit the second-level cache:
//
//   out[r][c] = or += sum over k < depth of b(r, k) * a[k][c], c < columns
//
// gradients of products, and products with weights that lie as [in, out]. The sum runs over k in
// order, in slices, whatever the cut; it joins what is in `out` at its end.
#ifndef OPS_CPU_BLOCK_H
#define OPS_CPU_BLOCK_H

#include "ops/cpu/kernel.h"

struct block_product {
    const struct kernels *kernels;
    const struct arithmetic *arithmetic;
    size_t rows, columns, depth;
    const void *a; // [depth][a_pitch]
    enum dtype a_type;
    size_t a_pitch;
    const float *b; // [rows][b_pitch], or `across` [depth][b_pitch]
    size_t b_pitch;
    int across;
    float *out; // [rows][out_pitch]
    size_t out_pitch;
    int add;
    const float *bias;                             // [columns], or NULL: added to each row
    size_t row_piece, column_piece, column_pieces; // block_cut's
};

// Cuts the product for the threads there are; returns the number of blocks. No bit depends on the
// cut.
size_t block_cut(struct block_product *p);
// Makes a block, with work space of block_floats() floats.
void block_make(const struct block_product *p, size_t number, float *work);
size_t block_floats(void);

#endif
