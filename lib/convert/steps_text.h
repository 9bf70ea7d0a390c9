// SPDX-License-Identifier: MIT
// Steps whose ends are found in a record's text (toks/steps.h).
#ifndef CONVERT_STEPS_TEXT_H
#define CONVERT_STEPS_TEXT_H

#include "toks/steps.h"

// As steps_expand, with the tokenizer of the directory `model`.
MUST_CHECK int steps_text(const struct steps *s, const char *model, const char *input,
                          const char *output, const struct provenance *line,
                          struct steps_stats *stats, struct err *e);

#endif
