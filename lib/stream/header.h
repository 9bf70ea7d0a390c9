// SPDX-License-Identifier: MIT
// The header of a token stream: columns, tokenizer, sampling settings, provenance.
// The format is described in formats/toks.md.
#ifndef STREAM_HEADER_H
#define STREAM_HEADER_H

#include "base/error.h"
#include "base/memory.h"
#include <jansson.h>
#include <stdint.h>

enum column_type { COLUMN_U8, COLUMN_U32, COLUMN_F32, COLUMN_STRING };
enum column_per { PER_TOKEN, PER_SEQUENCE };

struct column {
    char *name;
    enum column_type type; // COLUMN_STRING only PER_SEQUENCE
    enum column_per per;
};

// Column 0 of every stream is `id` (string, per sequence), column 1 `token` (u32, per token).
enum { COLUMN_ID = 0, COLUMN_TOKEN = 1 };

struct stream_header {
    struct column *column;
    size_t n_columns;
    char *tokenizer;    // fingerprint "xxh3:..." or NULL (unknown)
    int64_t vocab_size; // -1: unknown
    json_t *sampling;   // object or NULL
    json_t *template;   // string: the chat template that rendered the records, or NULL
    json_t *provenance; // array, never NULL
    json_t *extra;      // object: keys this version does not know, kept
    int level;          // zstd level the stream is written with; 0: uncompressed; default 1
};

// A header with the columns `id` and `token`. All of these: 0 or -1.
MUST_CHECK int header_init(struct stream_header *h, struct err *e);
void header_release(struct stream_header *h);
MUST_CHECK int header_copy(struct stream_header *to, const struct stream_header *from,
                           struct err *e);
// Appends a column; refuses a name that is taken. Returns its index or -1.
MUST_CHECK int header_add_column(struct stream_header *h, const char *name, enum column_type type,
                                 enum column_per per, struct err *e);
// Index of the column, or -1 if there is none.
int header_find(const struct stream_header *h, const char *name);
// The same, with an error (STATUS_STREAM) that names stream and column when absent or of another
// type. `where` is the stream's name for the message.
MUST_CHECK int header_require(const struct stream_header *h, const char *name,
                              enum column_type type, enum column_per per, const char *where,
                              struct err *e);
// Removes a column that is there.
void header_remove_column(struct stream_header *h, int index);
// Adds this program's line. Options that cannot change the result (-o, --threads, --metrics,
// --in-flight, --resume, --overwrite, --save-steps, -q, -v and the like) are left out of `args`, so
// that they do not change the bytes; of absolute paths the last name is left. `models` is an object
// {name: fingerprint} or NULL; the reference is taken.
MUST_CHECK int header_add_provenance(struct stream_header *h, const char *program, int argc,
                                     char **argv, uint64_t seed, json_t *models, struct err *e);
// Notes in that line the class of the inner loops that computed.
MUST_CHECK int header_set_kernels(struct stream_header *h, const char *kernels, struct err *e);
// Refuses a stream whose tokenizer is known and is not `fingerprint` (NULL: unknown, passes).
MUST_CHECK int header_check_tokenizer(const struct stream_header *h, const char *fingerprint,
                                      const char *where, struct err *e);
// One JSON object, no line break, canonical: the twin's first line and the binary header's text.
MUST_CHECK int header_print(const struct stream_header *h, struct buffer *out, struct err *e);

#endif
