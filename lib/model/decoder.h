// SPDX-License-Identifier: MIT
// The decoder of all families, walked forwards and backwards over a packed batch as the model's
// description says (struct model_config). It sees tokens, positions and blocks of keys and values;
// it knows nothing of losses.
//
// A layer: [norm], projections, [norms of heads] and [rotary] in either order, attention,
// projection, [norm], added to the residual stream; then, or beside it, [norm], MLP with or without
// a gate, [norm], added.
//
//   struct decoder d;
//   decoder_init(&d, model, &device);
//   decoder_forward(&d, &batch, SAVE, &e);      // hidden states of the wanted rows
//   head_train(...);                            // losses, gradient of the hidden states
//   decoder_backward(&d, &batch, dhidden, &e);  // gradients of all parameters
#ifndef MODEL_DECODER_H
#define MODEL_DECODER_H

#include "model/batch.h"
#include "model/model.h"

// Keys and values of sequences that go on: [layer][block], see struct attention.
struct kv_cache {
    void *k, *v;         // of the device's type for them
    size_t layer_stride; // elements from one layer to the next
};

struct activations; // of one layer, kept for the way back

struct decoder {
    struct model *model;
    struct device *device;
    struct arena arena;  // device memory of one batch: all arrays of floats below
    struct batch placed; // the batch as the device reads it
    // With a way back, the activations of so many layers, the first ones, are not kept but computed
    // again, to the same bits: less memory, more time. Below the number of layers; 0 at first.
    size_t remade;
    struct activations *saved; // [layers]
    struct activations *top;   // of the last layer
    float **back;              // work space of the way back, which the forward uses before it
    int has_way_back;          // decoder_backward may follow
    float *hidden;             // [n_wanted, end_width] what the head reads
    float *normed;             // [n_wanted, hidden] after the final norm
    float *last;               // [n_wanted, hidden] before it
    float *last_stat;          // [n_wanted, 2] of that norm
    float *embedded;           // [n, end_width] before the projection to the model's width
    float *entered;            // [n, hidden] before the norm of what enters the first layer
    float *entered_stat;       // [n, 2] of that norm
    struct rope_rows rope;     // of the batch; itself the host's
};

void decoder_init(struct decoder *d, struct model *m, struct device *device);
void decoder_release(struct decoder *d);
// Fills d->hidden; valid until the next call, which also clears the device's work space. `save`:
// keep what decoder_backward needs, on a device that stores keys and values in fp32. `cache`: where
// keys and values of all layers live, or NULL: the batch's own, for positions that the batch itself
// computes.
MUST_CHECK int decoder_forward(struct decoder *d, const struct batch *b,
                               const struct kv_cache *cache, int save, struct err *e);
// After a forward of segments with past = 0: attention of the last layer, weight[row] what the last
// row of its sequence gives to it, mean over the heads. [n], the host's.
MUST_CHECK int decoder_last_attention(struct decoder *d, const struct batch *b, float *weight,
                                      struct err *e);
// After a forward with `save`: adds to the gradients of all parameters. dhidden [n_wanted,
// end_width].
MUST_CHECK int decoder_backward(struct decoder *d, const struct batch *b, const float *dhidden,
                                struct err *e);
// Room for the gradient of the hidden states of a forward: [n_wanted, end_width] in device memory,
// valid as d->hidden is. NULL: failed.
float *decoder_gradient(struct decoder *d, struct err *e);
// Elements of one block of keys (or of values) in one layer.
size_t decoder_block_elements(const struct model *m);
// Most bytes that a forward of n tokens and a backward that keeps the activations of `kept` layers
// hold (0: a forward alone), weights not counted: of one sequence; each other one whose length is
// no multiple of 16 takes up to a block of keys and values more. Keys and values count as fp32.
size_t decoder_work_bytes(const struct model *m, size_t n, size_t n_wanted, size_t kept);
// Those up to a block in all layers that hold their keys and values at a time.
size_t decoder_block_bytes(const struct model *m, size_t kept);
// And of the device's work space; longest: of a sequence, with what the cache holds of it.
size_t decoder_scratch_bytes(const struct device *d, const struct model *m, size_t n,
                             size_t longest, int save);

#endif
