// SPDX-License-Identifier: MIT
// Some records at a time: read in order, tokenized by all threads, handed out in order.
#ifndef DATA_RECORD_BATCH_H
#define DATA_RECORD_BATCH_H

#include "base/shown.h"
#include "data/corpus.h"
#include "data/example.h"
#include "data/record.h"

// Bytes of a record from which on there must be room for it, and the bytes of memory that one of
// its bytes may take: 12 for a token and its place, 28 to merge a word of any length, the rest for
// its text in several forms. Most take half of that.
enum { RECORD_LARGE = 16 << 20, RECORD_MEMORY = 48 };

struct batch_record {
    struct buffer source; // as it stood in the file
    struct corpus_entry entry;
    json_t *json; // NULL for plain text
    struct buffer id;
    const char *role;   // of a part of a preference record: chosen, rejected; otherwise NULL
    struct buffer pair; // with `role`: the id of the whole
    int is_turn;        // one answer of a chat: record.turn
    struct record record;
    struct example example;
    int failed;
    struct err error; // with file, line and id
};

struct record_batch {
    struct batch_record *record;
    size_t n;
    struct batch_record *made; // the batch before
    size_t n_made;
    struct batch_record *whole; // chats of which each answer becomes a record; NULL: not used
    size_t n_whole, next_whole; // how many; the first that is not used up
    size_t next_turn, n_turns;  // of that one
    int opened_whole;
    struct tokenizer_worker **worker; // one a thread
    int n_workers;
};

// What messages call it.
struct shown batch_record_name(const struct batch_record *r);

MUST_CHECK int batch_init(struct record_batch *b, struct err *e);
void batch_release(struct record_batch *b);
// Reads the next records; b->n is 0 at the end. -1: a file could not be read; the records before
// are in the batch all the same.
MUST_CHECK int batch_read(struct record_batch *b, struct corpus *c, struct err *e);
// Parses the JSON of all records.
void batch_parse(struct record_batch *b);
// Makes two of each parsed preference record, the chosen one first; with settings for prompts
// alone, its prompt.
void batch_pair(struct record_batch *b, const struct record_settings *s);
// Puts the parsed records aside as wholes, and takes records for their answers from them: as many
// as go into one batch.
MUST_CHECK int batch_put_aside(struct record_batch *b, struct err *e);
void batch_turns(struct record_batch *b, const struct record_settings *s);
int batch_has_more(const struct record_batch *b);
// Makes text of the parsed records and, unless `examples` is NULL, tokens. What fails is marked.
// `beside` is called once while the others work (on one thread, before): for b->made.
void batch_make(struct record_batch *b, const struct record_settings *records,
                const struct example_settings *examples, void (*beside)(void *arg), void *arg);
// The batch becomes b->made; the next is read in place of the one before it.
void batch_turn(struct record_batch *b);

#endif
