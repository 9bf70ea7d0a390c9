// SPDX-License-Identifier: MIT
#include "convert/steps_text.h"
#include "convert/spelling.h"

int steps_text(const struct steps *s, const char *model, const char *input, const char *output,
               const struct provenance *line, struct steps_stats *stats, struct err *e)
{
    struct tokenizer *tokenizer = tokenizer_open(model, e);
    if (!tokenizer)
        return -1;
    struct steps own = *s;
    own.piece = spell_piece;
    own.encode = spell_encode;
    own.arg = tokenizer;
    int result =
        steps_expand(&own, tokenizer_fingerprint(tokenizer), input, output, line, stats, e);
    tokenizer_close(tokenizer);
    return result;
}
