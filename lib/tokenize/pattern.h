// SPDX-License-Identifier: MIT
// The regular expressions of tokenizer.json, written for Oniguruma (Ruby syntax) and run by PCRE2:
// rewritten so that both answer alike, or refused.
#ifndef TOKENIZE_PATTERN_H
#define TOKENIZE_PATTERN_H

#include "base/error.h"
#include "base/memory.h"
#include <jansson.h>
#include <stddef.h>

struct pattern;

// Compiles `source`; `name` says in messages where it stands.
struct pattern *pattern_regex(const char *source, size_t size, const char *name, struct err *e);
struct pattern *pattern_literal(const char *text, size_t size, struct err *e);
// {"Regex": "..."} or {"String": "..."}.
struct pattern *pattern_from_json(const json_t *value, const char *name, struct err *e);
void pattern_free(struct pattern *p);
// The text of a literal (NULL: it is a regular expression).
const char *pattern_text(const struct pattern *p, size_t *size);

// What matching needs besides the pattern; one a thread.
struct pattern_scratch {
    struct pcre2_real_match_data_8 *match;
    struct pcre2_real_match_context_8 *context;
    struct pcre2_real_jit_stack_8 *stack;
};
MUST_CHECK int pattern_scratch_init(struct pattern_scratch *s, struct err *e);
void pattern_scratch_release(struct pattern_scratch *s);
// The first match in text[at, size): 1 with its range, 0 when there is none, -1. The text must be
// valid UTF-8; look-behind sees text before `at`.
MUST_CHECK int pattern_find(const struct pattern *p, struct pattern_scratch *s, const char *text,
                            size_t size, size_t at, size_t *start, size_t *end, struct err *e);
// The same by PCRE2 always: what tests compare with.
MUST_CHECK int pattern_find_plain(const struct pattern *p, struct pattern_scratch *s,
                                  const char *text, size_t size, size_t at, size_t *start,
                                  size_t *end, struct err *e);
// Whether pattern_find needs no PCRE2.
int pattern_is_fast(const struct pattern *p);

#endif
