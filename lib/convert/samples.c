// SPDX-License-Identifier: MIT
#include "convert/samples.h"
#include "base/hash.h"
#include "base/progress.h"
#include "convert/kept_fields.h"
#include "data/corpus.h"
#include "base/id_set.h"
#include "data/record.h"
#include "data/sample_group.h"
#include "stream/writer.h"
#include "tokenize/tokenizer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct samples_columns {
    int mask, sampled, prompt, sample, finish;
};

struct samples_job {
    const struct samples_options *o;
    struct tokenizer *tokenizer;
    struct corpus corpus;
    struct sample_group group;
    struct token_list prompt; // of the group
    // The prompt that the samples are of.
    struct buffer id;
    uint32_t *last;
    size_t n_last, last_capacity;
    uint32_t next; // number of its next sample
    struct id_set ids;
    struct stream_header header;
    struct samples_columns column;
    struct kept_fields kept;
    struct frame frame;
    struct stream_writer *writer;
    struct progress progress;
    uint64_t objects, samples, tokens;
};

static int open_stream(struct samples_job *j, const json_t *first, struct err *e)
{
    struct stream_header *h = &j->header;
    struct samples_columns *c = &j->column;
    if (header_init(h, e) < 0 ||
        (c->mask = header_add_column(h, "mask", COLUMN_U8, PER_TOKEN, e)) < 0 ||
        (c->sampled = header_add_column(h, "logp:sampled", COLUMN_F32, PER_TOKEN, e)) < 0 ||
        (c->prompt = header_add_column(h, "prompt", COLUMN_STRING, PER_SEQUENCE, e)) < 0 ||
        (c->sample = header_add_column(h, "sample", COLUMN_U32, PER_SEQUENCE, e)) < 0 ||
        (c->finish = header_add_column(h, "finish", COLUMN_STRING, PER_SEQUENCE, e)) < 0 ||
        kept_fields_add(&j->kept, h, first, e) < 0)
        return -1;
    h->tokenizer = strdup(tokenizer_fingerprint(j->tokenizer));
    if (!h->tokenizer)
        return err_memory(e, FINGERPRINT_MAX, "a header");
    h->vocab_size = (int64_t)tokenizer_size(j->tokenizer);
    if (header_add_provenance(h, "tok", j->o->argc, j->o->argv, j->o->seed, NULL, e) < 0 ||
        frame_init(&j->frame, h, e) < 0)
        return -1;
    j->writer = stream_writer_open(j->o->output, h, e);
    return j->writer ? 0 : -1;
}

// Ids as given, or those of the text with what the tokenizer puts in front.
static int make_prompt(struct samples_job *j, struct err *e)
{
    const struct sample_group *g = &j->group;
    size_t front, end;
    j->prompt.n = 0;
    if (g->text) {
        tokenizer_affixes(j->tokenizer, &front, &end);
        if (end)
            return err_set(e, STATUS_FAILED,
                           "key `prompt`: a text, behind which this tokenizer puts a token: the "
                           "ids are needed (`prompt_token_ids`)");
        if (tokenizer_encode(j->tokenizer, g->text, g->text_size, TOKENIZER_SPECIAL, &j->prompt,
                             e) < 0)
            return -1;
    }
    for (size_t i = 0; !g->text && i < g->n_prompt; i++)
        if (token_list_add(&j->prompt, g->prompt[i], 0, 0, e) < 0)
            return -1;
    return j->prompt.n ? 0
                       : err_set(e, STATUS_FAILED,
                                 "the prompt is empty: the first token has no probability");
}

static int check_vocabulary(const struct samples_job *j, const uint32_t *id, size_t n,
                            struct err *e)
{
    size_t size = tokenizer_size(j->tokenizer);
    for (size_t i = 0; i < n; i++)
        if (id[i] >= size)
            return err_set(e, STATUS_FAILED,
                           "token id %" PRIu32 " is none of the tokenizer's %zu in %s", id[i], size,
                           j->o->model);
    return 0;
}

// As its first object is called: a key that is null or empty counts as absent.
static int name_prompt(struct samples_job *j, const json_t *object, struct err *e)
{
    static const char *const keys[] = {"id", "request_id"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *v = json_object_get(object, keys[i]);
        if (json_is_real(v))
            return err_set(e, STATUS_FAILED, "key `%s`: neither text nor a whole number", keys[i]);
        if (v && !json_is_null(v) && (!json_is_string(v) || json_string_length(v)))
            return record_id_of(v, keys[i], 0, &j->id, e);
    }
    return record_id_of(NULL, "id", j->objects, &j->id, e);
}

// Goes on with the prompt before, or begins another one.
static int find_prompt(struct samples_job *j, const json_t *object, struct err *e)
{
    const struct token_list *p = &j->prompt;
    if (j->samples && p->n == j->n_last && !memcmp(p->id, j->last, p->n * sizeof *p->id))
        return 0;
    if (name_prompt(j, object, e) < 0 ||
        MEM_GROW(j->last, j->last_capacity, p->n, "a prompt", e) < 0)
        return -1;
    memcpy(j->last, p->id, p->n * sizeof *p->id);
    j->n_last = p->n;
    j->next = 0;
    int fresh = id_set_add(&j->ids, j->id.data, j->id.size, e);
    if (fresh == 0)
        err_set(e, STATUS_FAILED,
                "duplicate id: samples of one prompt stand one after the other, with the same "
                "prompt");
    return fresh > 0 ? 0 : -1;
}

static int name_sample(struct samples_job *j, struct err *e)
{
    struct buffer id;
    buffer_init(&id, 0);
    int result = buffer_append(&id, j->id.data, j->id.size, e);
    if (result == 0)
        result = buffer_printf(&id, e, "/%" PRIu32, j->next);
    if (result == 0)
        result = frame_set_string(&j->frame, COLUMN_ID, id.data, id.size, e);
    buffer_release(&id);
    return result;
}

// Sample i of the group.
static int write_sample(struct samples_job *j, size_t i, const json_t *object, struct err *e)
{
    const struct sample_group *g = &j->group;
    const struct samples_columns *c = &j->column;
    struct frame *f = &j->frame;
    const char *finish = g->sample[i].finish;
    size_t from = i ? g->sample[i - 1].end : 0, n = g->sample[i].end - from, front = j->prompt.n;
    frame_clear(f);
    if (frame_add(f, front + n, e) < 0 || name_sample(j, e) < 0 ||
        frame_set_string(f, c->prompt, j->id.data, j->id.size, e) < 0 ||
        frame_set_string(f, c->finish, finish, strlen(finish), e) < 0 ||
        kept_fields_set(&j->kept, f, object, e) < 0)
        return -1;
    uint32_t *token = f->column[COLUMN_TOKEN].u32;
    memcpy(token, j->prompt.id, front * sizeof *token);
    memcpy(token + front, g->token + from, n * sizeof *token);
    memset(f->column[c->mask].u8 + front, 1, n);
    memcpy(f->column[c->sampled].f32 + front, g->logp + from, n * sizeof *g->logp);
    f->column[c->sample].u32[0] = j->next++;
    j->samples++;
    j->tokens += n;
    return stream_writer_add(j->writer, f, 0, e);
}

static int convert(struct samples_job *j, const json_t *object, struct err *e)
{
    const struct sample_group *g = &j->group;
    j->objects++;
    if (sample_group_read(&j->group, object, e) < 0 || make_prompt(j, e) < 0 ||
        check_vocabulary(j, j->prompt.id, j->prompt.n, e) < 0 ||
        check_vocabulary(j, g->token, g->n_tokens, e) < 0 || find_prompt(j, object, e) < 0 ||
        (!j->writer && open_stream(j, object, e) < 0))
        return -1;
    for (size_t i = 0; i < g->n; i++)
        if (write_sample(j, i, object, e) < 0)
            return -1;
    return 0;
}

static int convert_entry(struct samples_job *j, const struct corpus_entry *entry, struct err *e)
{
    if (entry->is_plain)
        return err_set(e, STATUS_FAILED, "%s:%zu: not a JSON object", entry->file, entry->line);
    json_t *object = corpus_parse(entry, e);
    if (!object)
        return -1;
    int result = convert(j, object, e);
    json_decref(object);
    return result < 0 && e->status == STATUS_FAILED
               ? err_prefix(e, "%s:%zu", entry->file, entry->line)
               : result;
}

static int convert_all(struct samples_job *j, struct err *e)
{
    struct corpus_entry entry;
    int more;
    while ((more = corpus_next(&j->corpus, &entry, e)) > 0) {
        if (convert_entry(j, &entry, e) < 0)
            return -1;
        double share = corpus_share(&j->corpus);
        progress_estimate(&j->progress, share > 0 ? (double)j->objects / share : 0);
        progress_update(&j->progress, (int64_t)j->objects, "%" PRIu64 " samples", j->samples);
    }
    if (more == 0 && j->objects == 0)
        return err_set(e, STATUS_FAILED, "%s: no records",
                       j->corpus.n_paths > 1 ? "the input" : j->corpus.file);
    return more;
}

static int run(struct samples_job *j, char *const *path, size_t n, struct err *e)
{
    j->tokenizer = tokenizer_open(j->o->model, e);
    if (!j->tokenizer || corpus_open(&j->corpus, path, n, e) < 0 ||
        kept_fields_init(&j->kept, j->o->keep, e) < 0)
        return -1;
    int result = convert_all(j, e);
    progress_end(&j->progress);
    if (result < 0)
        return -1;
    struct stream_writer *w = j->writer;
    j->writer = NULL;
    return stream_writer_end(w, e);
}

int samples_run(const struct samples_options *o, char *const *path, size_t n, struct err *e)
{
    struct samples_job j = {.o = o, .corpus.fd = -1};
    id_set_init(&j.ids);
    token_list_init(&j.prompt);
    buffer_init(&j.id, 0);
    sample_group_init(&j.group);
    progress_init(&j.progress, "record", 0);
    int result = run(&j, path, n, e);
    progress_end(&j.progress);
    if (result == 0)
        message_note("records: %" PRIu64 ", samples: %" PRIu64 ", their tokens: %" PRIu64,
                     j.objects, j.samples, j.tokens);
    stream_writer_abort(j.writer);
    if (j.header.column) {
        frame_release(&j.frame);
        header_release(&j.header);
    }
    corpus_close(&j.corpus);
    sample_group_release(&j.group);
    token_list_release(&j.prompt);
    buffer_release(&j.id);
    id_set_release(&j.ids);
    kept_fields_release(&j.kept);
    free(j.last);
    tokenizer_close(j.tokenizer);
    return result;
}
