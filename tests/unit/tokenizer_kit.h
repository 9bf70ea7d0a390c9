// SPDX-License-Identifier: MIT
// What the tests of tokenizers share.
#ifndef UNIT_TOKENIZER_KIT_H
#define UNIT_TOKENIZER_KIT_H

#include "test.h"

#include "tokenize/tokenizer.h"

#include <stdio.h>
#include <unistd.h>

// A reference tokenizer, the project's own or a real one; NULL: there is none of that name.
static inline struct tokenizer *open_named(const char *name)
{
    char path[512];
    struct err e;
    snprintf(path, sizeof path, SHARED "/golden/text/tokenizers/%s", name);
    if (access(path, R_OK) != 0)
        snprintf(path, sizeof path, SHARED "/data/%s", name);
    return tokenizer_open(path, &e);
}

#endif
