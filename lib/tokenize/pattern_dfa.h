// SPDX-License-Identifier: MIT
// Regular expressions without memory as deterministic automata over classes of characters: one step
// per character, whatever the pattern. Results are those of the backtracking matcher (alternatives
// keep their priorities: the ordered thread lists of Pike's machine, made into states beforehand;
// Thompson 1968, Cox 2010), which remains the reference and serves all other patterns.
#ifndef TOKENIZE_PATTERN_DFA_H
#define TOKENIZE_PATTERN_DFA_H

#include "base/error.h"
#include <stddef.h>

struct pattern_dfa;

// `source` is in PCRE2's syntax. What can be compiled: characters, classes of ranges, general
// categories and White_Space, alternatives, groups (also for ASCII (?i:...)), greedy and lazy
// repeats, (?=x) and (?!x) for one character. *out is NULL for any other pattern, or one whose
// automaton would be large.
MUST_CHECK int pattern_dfa_build(const char *source, size_t size, struct pattern_dfa **out,
                                 struct err *e);
void pattern_dfa_free(struct pattern_dfa *d); // NULL is fine
// The first match in text[at, size) (valid UTF-8, `at` between characters): 1 with its range, 0, or
// -1 for a pattern that takes too many steps.
int pattern_dfa_find(const struct pattern_dfa *d, const char *text, size_t size, size_t at,
                     size_t *start, size_t *end);

#endif
