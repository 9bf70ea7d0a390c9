// SPDX-License-Identifier: MIT
// The parts of a stream, for this room and for toks, which takes streams apart: sizes and tags of
// formats/toks.md, and helpers of header and frame. Programs do not need them.
#ifndef STREAM_PARTS_H
#define STREAM_PARTS_H

#include "stream/frame.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "columns are copied as they stand");

enum {
    STREAM_VERSION = 1,
    LEVEL_MAX = 22,
    COLUMNS_MAX = 1024,
    COLUMN_NAME_MAX = 255,
    HEADER_MAX = 1 << 24, // bytes of JSON
    // Canonical frames end with the sequence that brings them to one of these.
    FRAME_TOKENS = 1 << 18,
    FRAME_SEQUENCES = 1 << 16,
    FRAME_TEXT = 1 << 24, // bytes of all strings
};
#define FRAME_MAX ((uint64_t)1 << 31) // bytes of a block's payload

// Blocks of the binary form: a head, then `size` bytes.
enum { BLOCK_HEAD = 32, BLOCK_END = 32, FRAME_HEAD = 16, TAG_SIZE = 4 };
#define TAG_HEADER "TKSH"
#define TAG_FRAME  "TKSF"
#define TAG_END    "TKSE"

// zstd frames (RFC 8878) of the compressed form.
#define ZSTD_MAGIC      0xFD2FB528u
#define SKIPPABLE_MAGIC 0x184D2A50u // low four bits: free
#define SEAL_MAGIC      0x184D2A57u
enum {
    SEAL_SIZE = 16,     // magic, size, XXH3 of all compressed bytes before it
    ZSTD_UNUSED = 0x10, // bit of the frame header descriptor that decoders ignore
    ZSTD_END = 0x24,    // descriptor of END's frame: one segment, one byte of size, a checksum
    ZSTD_WINDOW = 23,
};

const char *column_type_name(enum column_type type);
const char *column_per_name(enum column_per per);
size_t column_type_size(enum column_type type); // 0 for strings

// where: may be NULL. by_hand: a header of a twin, whose columns may be absent (n_columns is 0
// then) or in any order.
MUST_CHECK int header_parse(struct stream_header *h, const char *text, size_t size, int by_hand,
                            const char *where, struct err *e);
MUST_CHECK int header_place_first(struct stream_header *h, struct err *e); // `id` and `token`
MUST_CHECK int header_check_first(const struct stream_header *h, struct err *e);
// Adds those provenance lines of `from` that `to` has not.
MUST_CHECK int header_add_lines(struct stream_header *to, const struct stream_header *from,
                                struct err *e);
// The column `step` that cuts frames, or -1.
int header_step(const struct stream_header *h);
// May records of b follow those of a?
MUST_CHECK int header_agree(const struct stream_header *a, const struct stream_header *b,
                            struct err *e);

// Room for `need` values in a column; strings: for `need` sequences.
MUST_CHECK int column_reserve(struct column_data *d, enum column_type type, size_t need,
                              struct err *e);
MUST_CHECK int column_reserve_bytes(struct column_data *d, size_t need, struct err *e);
MUST_CHECK int frame_reserve_sequences(struct frame *f, size_t need,
                                       struct err *e); // `start` alone
// Values NaN and 0 for elements begin .. end-1 of a column that is not a string column.
void column_default(struct column_data *d, enum column_type type, size_t begin, size_t end);
// Sets a string of sequence i, those before it having been set; those behind it are to follow.
MUST_CHECK int frame_fill_string(struct frame *f, int column, size_t i, const char *text,
                                 size_t size, struct err *e);
// Copies the values of one column of sequence j, as long as i; strings as frame_fill_string does.
MUST_CHECK int frame_copy_values(struct frame *to, int column, size_t i, const struct frame *from,
                                 int from_column, size_t j, struct err *e);
void frame_drop_last(struct frame *f);

#endif
