// SPDX-License-Identifier: MIT
#include "convert/annotate_text.h"
#include "convert/spelling.h"
#include "toks/text_form.h"

// What asks about records as text.
struct asker {
    struct tokenizer *tokenizer;
    struct text_form form;
    int begun;
};

static int ask_as_text(void *arg, const struct frame *f, size_t i, struct buffer *out,
                       struct err *e)
{
    struct asker *a = arg;
    if (!a->begun) {
        if (header_check_tokenizer(f->header, tokenizer_fingerprint(a->tokenizer), "-m", e) < 0 ||
            text_form_init(&a->form, f->header, "the stream", spell_decode, a->tokenizer, e) < 0)
            return -1;
        a->begun = 1;
    }
    return text_form_print(&a->form, f, i, out, e);
}

int annotate_text(const struct annotate *how, const char *model, const char *input,
                  const char *output, const struct provenance *line, struct annotate_stats *stats,
                  struct err *e)
{
    struct asker asker = {.tokenizer = tokenizer_open(model, e)};
    if (!asker.tokenizer)
        return -1;
    struct annotate own = *how;
    own.question = ask_as_text;
    own.arg = &asker;
    own.form = "text";
    int result = annotate_run(&own, input, output, line, stats, e);
    if (asker.begun)
        text_form_release(&asker.form);
    tokenizer_close(asker.tokenizer);
    return result;
}
