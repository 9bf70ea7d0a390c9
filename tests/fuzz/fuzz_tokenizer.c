// SPDX-License-Identifier: MIT
// tokenizer.json and, after a NUL, tokenizer_config.json; after a further NUL a text to be cut. The
// chat template that the folder may have is opened too.
#include "fuzz_tokenizer.h"

#include "data/chat.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_text rest = {(const char *)data, size}, text;
    struct err e;
    fuzz_take_file(&rest, "tokenizer.json");
    fuzz_take_file(&rest, "tokenizer_config.json");
    chat_close(chat_open(fuzz_folder(), NULL, &e));
    struct tokenizer *t = tokenizer_open(fuzz_folder(), &e);
    if (!t)
        return 0;
    try_tokenizer(t);
    if (fuzz_take(&rest, &text))
        try_text(t, text.s, text.n);
    tokenizer_close(t);
    return 0;
}
