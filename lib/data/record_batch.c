// SPDX-License-Identifier: MIT
#include "data/record_batch.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory_check.h"
#include "base/thread.h"
#include "data/preference.h"

enum { READ = 512, RECORDS = 2 * READ, BYTES = 1 << 22 };

static void open_record(struct batch_record *r)
{
    buffer_init(&r->source, 0);
    buffer_init(&r->id, 0);
    buffer_init(&r->pair, 0);
    record_init(&r->record);
    example_init(&r->example);
}

static void release_records(struct batch_record *list)
{
    for (size_t i = 0; list && i < RECORDS; i++) {
        struct batch_record *r = &list[i];
        buffer_release(&r->source);
        buffer_release(&r->id);
        buffer_release(&r->pair);
        record_release(&r->record);
        example_release(&r->example);
        json_decref(r->json);
    }
    free(list);
}

struct shown batch_record_name(const struct batch_record *r)
{
    return shown_record(r->id.data, r->id.size, r->entry.number);
}

int batch_init(struct record_batch *b, struct err *e)
{
    memset(b, 0, sizeof *b);
    b->n_workers = threads_count();
    b->record = mem_alloc(RECORDS, sizeof *b->record, "records", e);
    b->made = mem_alloc(RECORDS, sizeof *b->made, "records", e);
    b->worker = mem_alloc((size_t)b->n_workers, sizeof(struct tokenizer_worker *), "threads", e);
    int result = b->record && b->made && b->worker ? 0 : -1;
    for (int i = 0; result == 0 && i < b->n_workers; i++) {
        b->worker[i] = tokenizer_worker_open(e);
        result = b->worker[i] ? 0 : -1;
    }
    for (size_t i = 0; result == 0 && i < RECORDS; i++) {
        open_record(&b->record[i]);
        open_record(&b->made[i]);
    }
    if (result < 0)
        batch_release(b);
    return result;
}

void batch_release(struct record_batch *b)
{
    release_records(b->record);
    release_records(b->made);
    release_records(b->whole);
    for (int i = 0; b->worker && i < b->n_workers; i++)
        tokenizer_worker_close(b->worker[i]);
    free(b->worker);
    memset(b, 0, sizeof *b);
}

int batch_read(struct record_batch *b, struct corpus *c, struct err *e)
{
    size_t bytes = 0;
    b->n = 0;
    while (b->n < READ && bytes < BYTES) {
        struct batch_record *r = &b->record[b->n];
        int more = corpus_next(c, &r->entry, e);
        if (more <= 0)
            return more;
        json_decref(r->json);
        r->json = NULL;
        r->role = NULL;
        r->is_turn = r->failed = 0;
        buffer_clear(&r->source);
        if (buffer_append(&r->source, r->entry.text, r->entry.size, e) < 0)
            return -1;
        r->entry.text = r->source.data;
        bytes += r->entry.size;
        b->n++;
    }
    return 0;
}

static void parse_some(void *arg, size_t begin, size_t end, int worker)
{
    struct record_batch *b = arg;
    (void)worker;
    for (size_t i = begin; i < end; i++) {
        struct batch_record *r = &b->record[i];
        if (r->entry.is_plain)
            continue;
        r->json = corpus_parse(&r->entry, &r->error);
        r->failed = !r->json;
    }
}

void batch_parse(struct record_batch *b)
{
    threads_for(b->n, 16, parse_some, b);
}

enum { MAKE_GRAIN = 4 };

struct making {
    struct record_batch *b;
    void (*beside)(void *arg);
    void *arg;
    const struct record_settings *records;
    const struct example_settings *examples;
};

// The record at 'to' becomes one part of the record at 'from', which stays.
static void make_part(struct batch_record *to, const struct batch_record *from,
                      const struct record_settings *s, enum preference_role role)
{
    json_t *whole = from->json;
    if (to != from) {
        json_decref(to->json);
        to->json = NULL;
        to->entry = from->entry;
        to->failed = from->failed;
        to->error = from->error;
    }
    to->role = preference_roles[role];
    if (!whole || to->failed)
        return;
    to->json = preference_part(s, whole, role, &to->error);
    to->failed = !to->json;
    if (to->failed)
        err_prefix(&to->error, "%s:%zu", to->entry.file, to->entry.line);
}

void batch_pair(struct record_batch *b, const struct record_settings *s)
{
    if (s->prompts) {
        for (size_t i = 0; i < b->n; i++) {
            json_t *whole = b->record[i].json;
            make_part(&b->record[i], &b->record[i], s, PREFERENCE_PROMPT);
            json_decref(whole);
        }
        return;
    }
    // From the last one on, so that none is overwritten before it was used.
    for (size_t i = b->n; i-- > 0;) {
        struct batch_record *from = &b->record[i];
        struct batch_record *chosen = from + i, *rejected = chosen + 1;
        json_t *whole = from->json;
        make_part(rejected, from, s, PREFERENCE_REJECTED);
        make_part(chosen, from, s, PREFERENCE_CHOSEN);
        if (chosen != from)
            from->json = NULL;
        json_decref(whole);
    }
    b->n *= 2;
}

int batch_put_aside(struct record_batch *b, struct err *e)
{
    if (!b->whole && !(b->whole = mem_alloc(RECORDS, sizeof *b->whole, "records", e)))
        return -1;
    for (size_t i = 0; i < RECORDS && !b->opened_whole; i++)
        open_record(&b->whole[i]);
    b->opened_whole = 1;
    struct batch_record *swap = b->whole;
    b->whole = b->record;
    b->record = swap;
    b->n_whole = b->n;
    b->n = b->next_whole = b->next_turn = 0;
    return 0;
}

int batch_has_more(const struct record_batch *b)
{
    return b->next_whole < b->n_whole;
}

// One answer of the whole; or the whole as it is, where there is none (which says what is wrong).
static void take_turn(struct batch_record *to, const struct batch_record *whole, size_t turn,
                      int is_turn)
{
    json_decref(to->json);
    to->json = json_incref(whole->json);
    to->entry = whole->entry;
    to->failed = whole->failed;
    to->error = whole->error;
    to->role = NULL;
    to->is_turn = is_turn;
    to->record.turn = turn;
}

void batch_turns(struct record_batch *b, const struct record_settings *s)
{
    size_t bytes = 0;
    b->n = 0;
    while (batch_has_more(b) && b->n < READ && bytes < BYTES) {
        const struct batch_record *whole = &b->whole[b->next_whole];
        struct err ignored; // it comes up again when the record is made
        if (b->next_turn == 0 &&
            (!whole->json || record_turns(s, whole->json, &b->n_turns, &ignored) < 0))
            b->n_turns = 0;
        take_turn(&b->record[b->n++], whole, b->next_turn, b->n_turns > 0);
        bytes += whole->entry.size;
        if (++b->next_turn < b->n_turns)
            continue;
        b->next_turn = 0;
        b->next_whole++;
    }
}

// Is there room for it? Small ones are not asked about: the look costs a system call.
static int check_memory(const struct batch_record *r, struct err *e)
{
    size_t size = r->entry.size;
    if (size <= RECORD_LARGE)
        return 0;
    return memory_check(RECORD_MEMORY * size, "this record", 0, e);
}

// What a large record no longer needs is not kept for the next one.
static void give_back(struct buffer *b)
{
    if (b->capacity > RECORD_LARGE)
        buffer_release(b);
}

static int make_one(const struct making *m, struct batch_record *r, int worker, struct err *e)
{
    if (record_id(m->records, r->json, r->entry.number, &r->id, e) < 0)
        return -1;
    if (m->examples && check_memory(r, e) < 0)
        return err_prefix(e, "%s", batch_record_name(r).text);
    if (!r->entry.is_plain)
        give_back(&r->source);
    buffer_clear(&r->pair);
    if (r->role && (buffer_append(&r->pair, r->id.data, r->id.size, e) < 0 ||
                    buffer_printf(&r->id, e, "/%s", r->role) < 0))
        return -1;
    if (r->is_turn && buffer_printf(&r->id, e, "/%zu", r->record.turn + 1) < 0)
        return -1;
    if (r->entry.is_plain && m->records->format != RECORD_TEXT)
        return err_set(e, STATUS_FAILED, "not a JSON object");
    int result = r->entry.is_plain
                     ? record_read_plain(&r->record, m->records, r->entry.text, r->entry.size, e)
                     : record_read(&r->record, m->records, r->json, e);
    if (result == 0 && m->examples)
        result = example_make(&r->example, m->examples, m->b->worker[worker], &r->record, e);
    if (m->examples)
        give_back(&r->record.text);
    if (result < 0 && r->json)
        err_prefix(e, "%s", batch_record_name(r).text);
    return result;
}

static void make_some(void *arg, size_t begin, size_t end, int worker)
{
    const struct making *m = arg;
    if (begin == 0 && m->beside)
        m->beside(m->arg);
    for (size_t i = begin; i < end; i++) {
        if (i < MAKE_GRAIN) // the first chunk is for what goes on beside
            continue;
        struct batch_record *r = &m->b->record[i - MAKE_GRAIN];
        if (r->failed || make_one(m, r, worker, &r->error) == 0)
            continue;
        r->failed = 1;
        err_prefix(&r->error, "%s:%zu", r->entry.file, r->entry.line);
    }
}

void batch_make(struct record_batch *b, const struct record_settings *records,
                const struct example_settings *examples, void (*beside)(void *arg), void *arg)
{
    struct making m = {
        .b = b, .beside = beside, .arg = arg, .records = records, .examples = examples};
    threads_for(MAKE_GRAIN + b->n, MAKE_GRAIN, make_some, &m);
    // An answer without the other one is no pair.
    for (size_t i = 0; examples && i + 1 < b->n; i += 2) {
        struct example *x = &b->record[i].example, *y = &b->record[i + 1].example;
        if (!b->record[i].role)
            break;
        if (x->fate == EXAMPLE_KEPT)
            x->fate = y->fate;
        else
            y->fate = x->fate;
    }
}

void batch_turn(struct record_batch *b)
{
    struct batch_record *swap = b->made;
    b->made = b->record;
    b->n_made = b->n;
    b->record = swap;
    b->n = 0;
}
