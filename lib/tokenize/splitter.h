// SPDX-License-Identifier: MIT
// Pre-tokenizers that scan a text once and keep or drop what they find.
#ifndef TOKENIZE_SPLITTER_H
#define TOKENIZE_SPLITTER_H

#include <stddef.h>

enum splitter_kind {
    SPLITTER_WORDS,        // Whitespace: runs of \w, runs of what is neither \w nor white space
    SPLITTER_BERT,         // BertPreTokenizer: punctuation one by one, runs of the rest, no blanks
    SPLITTER_FIXED_LENGTH, // FixedLength: so many characters
    SPLITTER_SCRIPTS,      // UnicodeScripts: runs of one script; what has none goes with the run
};

// The next piece of text[*at, size) that is kept: 1 with its range, *at behind it; 0 at the end.
int splitter_next(enum splitter_kind kind, size_t length, const char *text, size_t size, size_t *at,
                  size_t *start, size_t *end);

#endif
