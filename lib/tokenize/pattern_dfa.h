// SPDX-License-Identifier: MIT
// Regular expressions without memory as deterministic automata over classes of characters: one step
// per character, whatever the pattern. Results are those of the backtracking matcher (alternatives
// keep their priorities: the ordered thread lists of Pike's machine, made into states beforehand;
// Thompson 1968, Cox 2010), which remains the reference and serves all other patterns.
//
// Why not PCRE2 alone, compiled to machine code? `tok` takes so many times as long with it (medians
// of 9 runs, AMD EPYC, Zen 4, one thread, the streams equal; tests/bench/pattern.sh repeats it):
//                        GPT-2  Llama 3  Qwen2  o200k  DeepSeek-V3
//   English               1.21     1.27   1.23   1.51         1.18
//   sums                  1.30     1.40   1.37   1.85         1.43
//   words that come once  1.02     1.05   1.02   1.11         1.12
//   letters with digits   1.12     1.15   1.21   1.72         1.20
//   numbers               1.16     1.52   1.88   2.36         2.14
//   signs                 1.37     1.35   1.32   1.55         1.15
//   Chinese               1.05     1.02   1.03   1.10         1.04
//   code                  1.09     1.15   1.10   1.34         1.14
// And PCRE2 gives up a record of 60 MB of blanks ("match limit exceeded"), which is text like any.
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
