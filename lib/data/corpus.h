// SPDX-License-Identifier: MIT
// Files of records, read one after the other in constant memory: JSON lines, one JSON array of
// objects, or plain text with one record per line. The first character tells which: `{`, `[` or any
// other (which a file named .json, .jsonl or .ndjson must not have). Objects may also follow one
// another over many lines each. gzip and Zstandard are decompressed (base/unpack.h); formats that
// are not text are refused by their first bytes.
#ifndef DATA_CORPUS_H
#define DATA_CORPUS_H

#include "base/error.h"
#include "base/memory.h"
#include <jansson.h>
#include <stddef.h>

// What a record of plain text is: a line, the lines up to an empty one, or the whole file.
enum corpus_sample { SAMPLE_LINE, SAMPLE_PARAGRAPH, SAMPLE_DOCUMENT };

enum { CORPUS_RECORD_MAX = 1 << 28 }; // bytes of one record

struct corpus {
    char *const *paths; // borrowed; "-" is standard input
    size_t n_paths, next_path;
    enum corpus_sample sample; // of plain text: a line, unless set after opening
    int fd;                    // -1: between files
    struct unpack *unpack;
    const char *file;
    size_t line; // of the next byte
    int kind;
    char *block;
    size_t begin, end; // unread bytes of `block`
    struct buffer text;
    size_t records;
};

// One record as it stands in its file.
struct corpus_entry {
    const char *text; // until the next call
    size_t size;
    const char *file;
    size_t line;        // where it begins
    size_t number;      // 1, 2, ... over all files
    int is_plain;       // text, not JSON
    const char *packed; // how the file is compressed; NULL: not at all
};

// No paths: standard input. Blank lines are no records; inside paragraphs and documents newlines
// stay, at their end they do not.
MUST_CHECK int corpus_open(struct corpus *c, char *const *paths, size_t n_paths, struct err *e);
// How much of the files has been read, 0 .. 1; 0 where that cannot be told (a pipe).
double corpus_share(const struct corpus *c);
void corpus_close(struct corpus *c);
// 1, 0 at the end of the last file, or -1 ("FILE:LINE: reason").
MUST_CHECK int corpus_next(struct corpus *c, struct corpus_entry *entry, struct err *e);
// The entry's JSON object; NULL with *e filled when it is none. Free with json_decref.
json_t *corpus_parse(const struct corpus_entry *entry, struct err *e);

#endif
