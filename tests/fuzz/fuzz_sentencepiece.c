// SPDX-License-Identifier: MIT
// tokenizer.model, in a folder that has no tokenizer.json.
#include "fuzz_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e;
    fuzz_write("tokenizer.model", data, size);
    struct tokenizer *t = tokenizer_open(fuzz_folder(), &e);
    if (t)
        try_tokenizer(t);
    tokenizer_close(t);
    return 0;
}
