// SPDX-License-Identifier: MIT
// A packed batch: sequences behind one another, no padding. All that the decoder sees. Its lists
// are the host's.
#ifndef MODEL_BATCH_H
#define MODEL_BATCH_H

#include "ops/ops.h"

struct batch {
    size_t n;                 // tokens
    const uint32_t *token;    // [n], each below the vocabulary size
    const uint32_t *position; // [n]
    const struct segment *segment;
    size_t n_segments;
    const uint32_t *wanted; // [n_wanted] rows whose hidden state is asked for
    size_t n_wanted;
    size_t n_blocks; // blocks the segments use, where the batch has its own (no cache)
};

// One sequence as programs hand it over. Position t >= 1 is wanted where mask[t] is not 0, or
// everywhere with mask NULL. Borrowed.
struct sequence {
    const uint32_t *token;
    const uint8_t *mask;
    size_t n;
    size_t beyond; // tokens at its end that it does not have: states before them are wanted
};
size_t sequence_wanted(const struct sequence *s);

// Packs whole sequences for scoring and training.
struct packer {
    uint32_t *token, *position; // [n]
    uint32_t *wanted, *target;  // [n_wanted]: row t - 1 and token t of each wanted position t
    uint32_t *block;
    struct segment *segment;
    size_t n, n_wanted, n_segments, n_blocks, n_entries;
    size_t tokens, sequences; // room
    size_t share; // sequences of at most so many tokens may use the rows and blocks of a common
                  // prefix: scoring only; see rope_same_up_to
    int after;    // wanted rows are those of the wanted tokens themselves, not of the ones before
    // The last sequence that stands on its own: others may begin as it does.
    struct {
        const uint32_t *token;
        size_t start, length;
        const uint32_t *block;
    } root;
};

// Room for so many tokens and sequences, from the arena: valid until it is cleared. With p->share
// set afterwards, a sequence that begins like an earlier one (samples of a prompt) is computed from
// where they part, at a multiple of 16 positions; the results are the same bits. Such a batch has
// no way back.
MUST_CHECK int packer_init(struct packer *p, struct arena *arena, size_t tokens, size_t sequences,
                           struct err *e);
// Tokens behind the last wanted one have no effect on it but by the length of the sequence, and are
// left out. Returns how many positions are wanted. There must be room.
size_t packer_add(struct packer *p, const struct sequence *s);
// Borrowed from the packer.
void packer_batch(const struct packer *p, struct batch *b);
// The same batch with its lists where the device reads them: `b` itself where memory is unified,
// else copies in `arena`, which is of device memory.
MUST_CHECK int batch_place(const struct batch *b, struct device *d, struct arena *arena,
                           struct batch *placed, struct err *e);
// Refuses tokens beyond the vocabulary; -1 names the place.
MUST_CHECK int batch_check_tokens(const uint32_t *token, size_t n, size_t vocab, struct err *e);

#endif
