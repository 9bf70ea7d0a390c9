// SPDX-License-Identifier: MIT
// Asks a command about records as text, as `tok -d` prints them (toks/annotate.h).
#ifndef CONVERT_ANNOTATE_TEXT_H
#define CONVERT_ANNOTATE_TEXT_H

#include "toks/annotate.h"

// As annotate_run, with the questions spelled by the tokenizer of the directory `model`.
MUST_CHECK int annotate_text(const struct annotate *how, const char *model, const char *input,
                             const char *output, const struct provenance *line,
                             struct annotate_stats *stats, struct err *e);

#endif
