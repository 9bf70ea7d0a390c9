// SPDX-License-Identifier: MIT
#include "tokenize/splitter.h"

#include "tokenize/unicode.h"

enum char_class { SPACE, WORD, OTHER, ALONE };

static enum char_class class_of(enum splitter_kind kind, uint32_t c)
{
    if (unicode_is_space(c))
        return SPACE;
    if (kind == SPLITTER_BERT)
        return unicode_is_punctuation(c) ? ALONE : OTHER;
    return unicode_is_word(c) ? WORD : OTHER;
}

static size_t skip_chars(const char *text, size_t size, size_t at, size_t n)
{
    for (; n && at < size; n--)
        utf8_next(text, &at);
    return at;
}

// What has no script at the beginning of the text belongs to no run and is dropped.
static int next_script(const char *text, size_t size, size_t *at, size_t *start, size_t *end)
{
    size_t i = *at, next = i;
    int script = 0;
    while (i < size && !(script = unicode_script(utf8_next(text, &next))))
        i = next;
    if (i >= size)
        return 0;
    *start = i;
    for (i = next; i < size; i = next) {
        next = i;
        int other = unicode_script(utf8_next(text, &next));
        if (other && other != script)
            break;
    }
    *at = *end = i;
    return 1;
}

int splitter_next(enum splitter_kind kind, size_t length, const char *text, size_t size, size_t *at,
                  size_t *start, size_t *end)
{
    size_t i = *at, next;
    if (kind == SPLITTER_SCRIPTS)
        return next_script(text, size, at, start, end);
    if (kind == SPLITTER_FIXED_LENGTH) {
        *start = i;
        *at = *end = skip_chars(text, size, i, length);
        return *end > i;
    }
    enum char_class class = SPACE;
    for (; i < size; i = next) { // to the first that is kept
        next = i;
        class = class_of(kind, utf8_next(text, &next));
        if (class != SPACE)
            break;
    }
    if (i >= size)
        return 0;
    *start = i;
    for (i = next; class != ALONE && i < size; i = next) {
        next = i;
        if (class_of(kind, utf8_next(text, &next)) != class)
            break;
    }
    *at = *end = i;
    return 1;
}
