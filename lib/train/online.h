// SPDX-License-Identifier: MIT
// A stream read as it arrives, to its verified end.
#ifndef TRAIN_ONLINE_H
#define TRAIN_ONLINE_H

#include "base/hash.h"
#include "stream/reader.h"

struct online {
    struct stream_reader *reader;   // NULL before online_open
    struct stream_header header;    // the stream's; this run's provenance is added
    struct frame frame;             // records that came last
    const char *where;              // the stream's name
    uint64_t sequences;             // of a file, in all; 0: a pipe
    char identity[FINGERPRINT_MAX]; // of the stream, from online_identify on; before: ""
    uint64_t came, used;            // of its sequences: those seen; those that updates were made of
    // What an earlier run has used: the first `skip`, but for those with these numbers, from 1.
    uint64_t skip, *open;
    size_t n_open;
    // Drawn from a policy while it is trained (rollout --follow): where it begins, that depends on
    // when the run was stopped. Its records tell their steps; those below `skip_steps` were used.
    int lives, step;
    uint64_t skip_steps;
};

// Whether `input` (NULL: standard input) is a file, which is then proved whole before anything is
// made of it: a stream in a file is refused here where it breaks off. Before online_open.
int online_prove(struct online *s, const char *input, int *is_file, struct err *e);
// tokenizer: fingerprint that the stream's must be, or NULL.
int online_open(struct online *s, const char *input, const char *tokenizer, struct err *e);
void online_release(struct online *s); // fine for zeros
// Reads the next frame: 1, 0 at the stream's proven end, -1.
int online_next(struct online *s, struct err *e);
// Gives the stream its identity, once its first frame is there: a fingerprint of its header and its
// first record, and of the length of a file. The same file has the same one; the rest of it, and
// the samples of another policy or step, have another. Of one that lives it is that of its header.
int online_identify(struct online *s, struct err *e);
// Whether the step of the frame's sequence i, of a stream that lives, was used by an earlier run.
int online_is_past(const struct online *s, size_t i);
// Sequences per step of the rollout that wrote the stream, as its header tells; 0: it does not.
int64_t online_batch_size(const struct online *s);

#endif
