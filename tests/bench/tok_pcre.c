// SPDX-License-Identifier: MIT
// tok without the automata of tokenize/pattern_dfa.h: PCRE2 matches every pattern. For
// tests/bench/pattern.sh; what is defined here is not taken from the archive.
#include "tokenize/pattern_dfa.h"

int pattern_dfa_build(const char *source, size_t size, struct pattern_dfa **out, struct err *e)
{
    *out = NULL;
    return 0;
}

void pattern_dfa_free(struct pattern_dfa *d)
{
}

int pattern_dfa_find(const struct pattern_dfa *d, const char *text, size_t size, size_t at,
                     size_t *start, size_t *end)
{
    return -1; // there is none to ask
}

#include "../../bin/tok.c"
