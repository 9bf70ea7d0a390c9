// SPDX-License-Identifier: MIT
// Records longer than a model has positions for, or than it was made for.
#ifndef INFER_LONG_RECORD_H
#define INFER_LONG_RECORD_H

#include "base/error.h"
#include "model/model.h"
#include "stream/frame.h"

// "N tokens are more than the model's M positions", with what makes the record shorter. Returns -1.
int long_record_refuse(size_t tokens, size_t positions, struct err *e);
// Tokens up to which the model was made to go: its learned positions, or max_position_embeddings,
// where the type of its rotary positions does not stretch them. SIZE_MAX: not told.
size_t long_record_most(const struct model *m);
// Of a model whose positions go on (rotary, ALiBi): warns, once in this process, of the record NAME
// of the stream `where` that is longer than max_position_embeddings. Where the type of the rotary
// positions stretches them, that number does not tell, and nothing is said; nor with --quiet.
void long_record_warn(const struct model *m, size_t tokens, const char *where, const char *name);
// The same of each record of a frame.
void long_record_look(const struct model *m, const struct frame *f, const char *where);

#endif
