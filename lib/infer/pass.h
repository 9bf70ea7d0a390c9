// SPDX-License-Identifier: MIT
// The one loop over given sequences: pack the next micro-batch, run the model forward. Scoring and
// training go through it; what they do with the hidden states is theirs.
//
//   pass_begin(&p, sequence, n);
//   while ((more = pass_next(&p, &e)) > 0 && pass_forward(&p, 0, &e) == 0)
//       use(p.decoder.hidden, &p.batch); // [batch.n_wanted, hidden]
#ifndef INFER_PASS_H
#define INFER_PASS_H

#include "model/decoder.h"

struct pass {
    struct model *model;
    struct device *device;
    struct decoder decoder;
    struct arena arena; // of one micro-batch: emptied by pass_next
    // To be changed after pass_init, before pass_begin.
    size_t batch_tokens; // rows packed at a time; a longer group goes alone
    size_t positions;    // longest sequence that is taken: the model's at first
    size_t group;        // sequences that stay together, one at least: 1 at first
    size_t share;        // of the packer: 0 at first
    int after;           // of the packer: 0 at first
    // The micro-batch: sequences first .. first + n - 1.
    size_t first, n;
    struct packer packer;
    struct batch batch;
    size_t most;  // rows of a micro-batch that memory was planned for; 0: any
    size_t where; // of a failure of pass_next: the sequence at fault
    // All sequences; borrowed.
    const struct sequence *sequence;
    size_t n_sequences;
};

// The largest micro-batch that may come.
struct pass_size {
    size_t tokens, longest, sequences;
};
// Of `sequences` of at most `longest` rows each, in groups; longest 0: unknown, as long as
// batch_tokens at most.
struct pass_size pass_largest(size_t batch_tokens, size_t group, size_t sequences, size_t longest);
// Bytes that computing takes, weights not counted.
struct work_bytes {
    size_t held;    // until the end
    size_t scratch; // of the device's work space, which one takes after the other
};
// Of both, and all of them in one number.
struct work_bytes work_bytes_add(struct work_bytes a, struct work_bytes b);
size_t work_bytes_sum(struct work_bytes w);
// Of such a micro-batch, all its positions wanted; kept: as decoder_work_bytes has it.
struct work_bytes pass_bytes(const struct device *d, const struct model *m,
                             const struct pass_size *s, size_t kept);

enum { PASS_TOKENS = 2048 }; // batch_tokens at first
// The same of a pass as pass_init makes it, over records that are not known yet.
struct work_bytes pass_usual_bytes(const struct device *d, const struct model *m);
void pass_init(struct pass *p, struct model *m, struct device *device);
void pass_release(struct pass *p);
void pass_begin(struct pass *p, const struct sequence *sequence, size_t n);
// Packs the next micro-batch that has a wanted position: as many whole groups as batch_tokens hold,
// one at least. Returns 1, or 0 behind the last one. Refuses a sequence with a token beyond the
// vocabulary or more tokens than positions.
MUST_CHECK int pass_next(struct pass *p, struct err *e);
// Fills decoder.hidden. `save`: a way back follows (decoder_backward), not with `share`.
MUST_CHECK int pass_forward(struct pass *p, int save, struct err *e);

#endif
