// SPDX-License-Identifier: MIT
#include "convert/encode.h"
#include "base/hash.h"
#include "base/io.h"
#include "base/json.h"
#include "base/progress.h"
#include "convert/kept_fields.h"
#include "convert/positions.h"
#include "convert/marked.h"
#include "base/id_set.h"
#include "data/left_out.h"
#include "data/record_batch.h"
#include "stream/writer.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char *const encode_train_names[] = {"default", "completion", "all", "assistant", NULL};
const char *const encode_boundary_names[] = {"joint", "separate", NULL};
const char *const encode_truncation_names[] = {"error", "drop", "left", "right", NULL};

const char *const encode_sample_names[] = {"line", "paragraph", "document", NULL};
const char *const encode_instruction_names[] = {"alpaca", "stanford", "chat", NULL};
const char *const encode_turns_names[] = {"together", "each", NULL};
const char *const encode_left_out_names[] = {"warn", "error", NULL};

// How many records of one kind are named; the others are only counted.
enum { NAMED = 3, ENCODE_LARGE = 1 << 20 };

// What a run works with.
struct encode_job {
    const struct encode_options *o;
    struct tokenizer *tokenizer;
    struct chat *chat;
    struct record_settings records;
    struct example_settings examples;
    struct corpus corpus;
    struct record_batch batch;
    int committed; // -1: `commit_error`
    struct err commit_error;
    struct id_set ids;
    struct stream_header header;
    struct frame frame;
    struct stream_writer *writer;
    struct output out; // text output
    int out_open;
    struct kept_fields kept;
    struct progress progress;
    uint64_t in, written, tokens, trained; // records; tokens
    uint64_t too_long, untrained, bad;     // records left out
    size_t positions, first_length;        // of the model; of the first record that is longer
    struct shown first_long;
    uint64_t beyond; // such records
    uint64_t cut, fused, doubled, end_by_id, empty_answer, quoted_calls, no_stop;
    uint64_t left_out[LEFT_KINDS]; // records, by what their template does not write
    int64_t stop;     // the special token of the first record that has one untrained, or -1
    int64_t turn_end; // the special token that ends the assistant's turns, or -1
};

// What the template is and what its chats are trained by, for the line about the format.
static int say_template(const struct encode_job *j, const struct batch_record *first,
                        struct buffer *line, struct err *e)
{
    const struct record_settings *s = &j->records;
    if (!j->chat)
        return 0;
    int marks = chat_marks_generation(j->chat, record_field(s, first->json, "tools") != NULL);
    return buffer_printf(line, e, ", template: %s%s",
                         j->o->template_file ? j->o->template_file : "the model's",
                         s->prompts || record_train_of(s) != RECORD_TRAIN_ASSISTANT ? ""
                         : marks ? " (trained: its generation blocks)"
                                 : " (no generation blocks; trained by the bounds of turns)");
}

static const char *trained_name(const struct record_settings *s)
{
    return s->prompts                                   ? "nothing, prompts only"
           : record_train_of(s) == RECORD_TRAIN_DEFAULT ? "what labels or masks say"
                                                        : encode_train_names[record_train_of(s)];
}

static const char *const samples[] = {", a record a line", ", a record a paragraph",
                                      ", a record a file"};

// One line: what the records are, why, and what is trained.
static int say_format(const struct encode_job *j, const struct batch_record *first, const char *why,
                      struct err *e)
{
    const struct record_settings *s = &j->records;
    struct buffer line;
    buffer_init(&line, 0);
    int result = buffer_printf(&line, e, "format: %s%s (%s:%zu", record_format_names[s->format],
                               first->entry.is_plain ? samples[j->corpus.sample] : "",
                               first->entry.file, first->entry.line);
    if (result == 0)
        result = buffer_printf(&line, e, "%s%s %s)", first->entry.packed ? ", " : "",
                               first->entry.packed ? first->entry.packed : "", why);
    if (result == 0 && s->format == RECORD_INSTRUCTION)
        result = buffer_printf(&line, e, ", prompt: %s", encode_instruction_names[s->instruction]);
    if (result == 0 && first->json)
        result = say_template(j, first, &line, e);
    if (result == 0)
        message_note("%s, trained: %s", line.data,
                     j->o->render ? "nothing, text only" : trained_name(s));
    buffer_release(&line);
    return result;
}

// Plain text whose name says that it is a table.
static int is_table(const struct batch_record *r)
{
    const char *end = strrchr(r->entry.file, '.');
    return end && (!strcmp(end, ".csv") || !strcmp(end, ".tsv"));
}

// Decides on the format by the first record and opens what it needs.
static int decide(struct encode_job *j, const struct batch_record *first, struct err *e)
{
    struct record_settings *s = &j->records;
    struct buffer why;
    int result = 0;
    if (first->failed) {
        *e = first->error;
        return -1;
    }
    buffer_init(&why, 0);
    if (first->entry.is_plain && s->format == RECORD_AUTO && is_table(first))
        return err_set(e, STATUS_FAILED,
                       "%s: a table, not JSON lines (--format text reads its lines as texts)",
                       first->entry.file);
    if (first->entry.is_plain && s->format == RECORD_AUTO) {
        s->format = RECORD_TEXT;
        result = buffer_string(&why, "is plain text", e);
    } else if (s->format != RECORD_AUTO) {
        result = buffer_string(&why, "as asked for", e);
    } else if ((result = buffer_string(&why, "has ", e)) == 0 &&
               (result = record_detect(first->json, s, &s->format, &why, e)) < 0) {
        err_prefix(e, "%s:%zu", first->entry.file, first->entry.line);
    }
    if (result == 0 && s->each_turn && s->format != RECORD_MESSAGES && s->format != RECORD_SHAREGPT)
        result = err_set(e, STATUS_FAILED, "%s:%zu: %s, where --turns each takes chats apart",
                         first->entry.file, first->entry.line, record_format_names[s->format]);
    s->texts_first = !first->json || !record_is_chat(first->json, s);
    if (result == 0 && !s->texts_first &&
        (result = chat_open_any(j->o->model, j->o->template_file, &j->chat, e)) == 0)
        s->chat = j->chat;
    if (result == 0)
        result = say_format(j, first, why.data, e);
    buffer_release(&why);
    return result;
}

// Is each record a part of a pair?
static int is_paired(const struct encode_job *j)
{
    return j->records.format == RECORD_PREFERENCE && !j->records.prompts;
}

static int open_stream(struct encode_job *j, const struct batch_record *first, struct err *e)
{
    if (header_init(&j->header, e) < 0 ||
        header_add_column(&j->header, "mask", COLUMN_U8, PER_TOKEN, e) < 0)
        return -1;
    if (j->o->offsets && (header_add_column(&j->header, "start", COLUMN_U32, PER_TOKEN, e) < 0 ||
                          header_add_column(&j->header, "end", COLUMN_U32, PER_TOKEN, e) < 0))
        return -1;
    if (is_paired(j) &&
        (header_add_column(&j->header, "pair", COLUMN_STRING, PER_SEQUENCE, e) < 0 ||
         header_add_column(&j->header, "role", COLUMN_STRING, PER_SEQUENCE, e) < 0))
        return -1;
    if (kept_fields_add(&j->kept, &j->header, first->json, e) < 0)
        return -1;
    j->header.tokenizer = strdup(tokenizer_fingerprint(j->tokenizer));
    if (!j->header.tokenizer)
        return err_memory(e, FINGERPRINT_MAX, "a header");
    if (j->chat)
        j->header.template = json_incref((json_t *)chat_source(j->chat));
    j->header.vocab_size = (int64_t)tokenizer_size(j->tokenizer);
    if (header_add_provenance(&j->header, "tok", j->o->argc, j->o->argv, j->o->seed, NULL, e) < 0 ||
        frame_init(&j->frame, &j->header, e) < 0)
        return -1;
    j->writer = stream_writer_open(j->o->output, &j->header, e);
    return j->writer ? 0 : -1;
}

static int write_sequence(struct encode_job *j, struct batch_record *r, struct err *e)
{
    const struct token_list *t = &r->example.tokens;
    int column = COLUMN_TOKEN + 1;
    frame_clear(&j->frame);
    if (frame_add(&j->frame, t->n, e) < 0 ||
        frame_set_string(&j->frame, COLUMN_ID, r->id.data, r->id.size, e) < 0)
        return -1;
    memcpy(j->frame.column[COLUMN_TOKEN].u32, t->id, t->n * sizeof *t->id);
    memcpy(j->frame.column[column++].u8, r->example.mask, t->n);
    if (j->o->offsets) {
        const struct token_list *d = &r->example.declared;
        memcpy(j->frame.column[column++].u32, d->start, t->n * sizeof *t->start);
        memcpy(j->frame.column[column++].u32, d->end, t->n * sizeof *t->end);
    }
    if (t->n > ENCODE_LARGE) // the frame has them; writing it takes twice as much again
        example_release(&r->example);
    if (is_paired(j) && (frame_set_string(&j->frame, column++, r->pair.data, r->pair.size, e) < 0 ||
                         frame_set_string(&j->frame, column++, r->role, strlen(r->role), e) < 0))
        return -1;
    if (kept_fields_set(&j->kept, &j->frame, r->json, e) < 0)
        return -1;
    return stream_writer_add(j->writer, &j->frame, 0, e);
}

static int write_text(struct encode_job *j, const struct batch_record *r, struct err *e)
{
    json_t *object = json_object();
    struct buffer line;
    if (r->record.is_tokens) {
        json_decref(object);
        return err_set(e, STATUS_FAILED, "--render: token ids have no text (--show spells them)");
    }
    size_t size = r->record.is_prompt ? r->record.prompt_size : r->record.text.size;
    buffer_init(&line, 0);
    int result = -1;
    if (!object || json_object_set_new(object, "id", json_stringn(r->id.data, r->id.size)) < 0 ||
        json_object_set_new(object, "text", json_stringn(size ? r->record.text.data : "", size)) <
            0)
        err_set(e, STATUS_FAILED, "the text is not UTF-8, or memory ran out");
    else if (json_print(object, &line, e) == 0 && buffer_append(&line, "\n", 1, e) == 0)
        result = output_write(&j->out, line.data, line.size, e);
    json_decref(object);
    buffer_release(&line);
    return result;
}

static void count(struct encode_job *j, const struct batch_record *r)
{
    const struct example *x = &r->example;
    j->empty_answer += (uint64_t)r->record.empty_answer;
    for (int i = 0; i < LEFT_KINDS; i++)
        j->left_out[i] += r->record.left_out >> i & 1;
    j->quoted_calls += (uint64_t)r->record.quoted_calls;
    j->tokens += x->tokens.n;
    j->trained += x->trained;
    j->cut += x->cut > 0;
    j->fused += (uint64_t)x->fused;
    j->doubled += (uint64_t)x->doubled;
    j->end_by_id += (uint64_t)x->end_by_id;
    if (j->positions && x->tokens.n > j->positions && !j->beyond++) {
        j->first_length = x->tokens.n;
        j->first_long = batch_record_name(r);
    }
    j->no_stop += x->no_stop >= 0;
    if (j->stop < 0 && x->no_stop >= 0 && x->no_stop != EXAMPLE_NO_STOP)
        j->stop = x->no_stop;
    if (j->turn_end < 0)
        j->turn_end = x->turn_end;
}

static int write_record(struct encode_job *j, struct batch_record *r, struct err *e)
{
    const struct example *x = &r->example;
    if (j->o->render)
        return write_text(j, r, e);
    count(j, r);
    if (!j->o->marked)
        return write_sequence(j, r, e);
    const struct marked m = {.id = r->id.data,
                             .id_size = r->id.size,
                             .token = x->tokens.id,
                             .mask = x->mask,
                             .across = x->across,
                             .n = x->tokens.n,
                             .cut = x->cut,
                             .no_stop = x->no_stop >= 0,
                             .empty_answer = r->record.empty_answer};
    return marked_print(j->tokenizer, &j->out, &m, e);
}

static int commit(struct encode_job *j, struct batch_record *r, struct err *e)
{
    if (r->failed && j->o->drops_bad && r->error.status == STATUS_FAILED) {
        j->in++;
        if (++j->bad <= NAMED || j->o->verbose)
            message_warn("left out: %s", r->error.text);
        return 0;
    }
    if (r->failed) {
        *e = r->error;
        return -1;
    }
    int fresh = id_set_add(&j->ids, r->id.data, r->id.size, e);
    if (fresh == 0)
        err_set(e, STATUS_FAILED,
                "%s:%zu: %s: duplicate id (--fields id=OTHER takes another field; a field that no "
                "record has numbers the records)",
                r->entry.file, r->entry.line, batch_record_name(r).text);
    if (fresh <= 0)
        return -1;
    j->in++;
    if (!j->o->render && r->example.fate != EXAMPLE_KEPT) {
        j->too_long += r->example.fate == EXAMPLE_TOO_LONG;
        j->untrained += r->example.fate == EXAMPLE_UNTRAINED;
        return 0;
    }
    j->written++;
    if (write_record(j, r, e) == 0)
        return 0;
    return e->status == STATUS_FAILED && j->kept.n
               ? err_prefix(e, "%s:%zu: %s", r->entry.file, r->entry.line,
                            batch_record_name(r).text)
               : -1;
}

// The record that decides: the first, or where bad ones are left out the first that is none.
static const struct batch_record *first_record(const struct encode_job *j)
{
    size_t i = 0;
    while (j->o->drops_bad && i + 1 < j->batch.n && j->batch.record[i].failed)
        i++;
    return &j->batch.record[i];
}

// Writes the batch before, while the next one is made. It leaves its result in the job.
static void commit_made(void *arg)
{
    struct encode_job *j = arg;
    for (size_t i = 0; j->committed == 0 && i < j->batch.n_made; i++)
        j->committed = commit(j, &j->batch.made[i], &j->commit_error);
    j->batch.n_made = 0;
}

// Decides by the first records what there will be, and opens it.
static int begin(struct encode_job *j, struct err *e)
{
    if (decide(j, first_record(j), e) < 0)
        return -1;
    int text_output = j->o->render || j->o->marked;
    if (text_output ? output_open(&j->out, j->o->output, e) < 0
                    : open_stream(j, first_record(j), e) < 0)
        return -1;
    j->out_open = text_output;
    return 0;
}

static int encode_batches(struct encode_job *j, struct err *e)
{
    struct err read_error;
    const struct record_settings *s = &j->records;
    size_t n = 0;
    int result = 0;
    for (int first = 1; first || n; first = 0) {
        if (!batch_has_more(&j->batch)) {
            result = batch_read(&j->batch, &j->corpus, &read_error);
            batch_parse(&j->batch);
            if (j->batch.n && first && begin(j, e) < 0)
                return -1;
            if (s->each_turn && batch_put_aside(&j->batch, e) < 0)
                return -1;
        }
        if (s->each_turn)
            batch_turns(&j->batch, s);
        if (s->format == RECORD_PREFERENCE)
            batch_pair(&j->batch, s);
        batch_make(&j->batch, s, j->o->render ? NULL : &j->examples, commit_made, j);
        n = result < 0 && !batch_has_more(&j->batch) ? 0 : j->batch.n;
        batch_turn(&j->batch);
        if (n == 0)
            commit_made(j);
        if (j->committed < 0) {
            *e = j->commit_error;
            return -1;
        }
        double share = corpus_share(&j->corpus);
        progress_estimate(&j->progress, share > 0 ? (double)j->in / share : 0);
        progress_update(&j->progress, (int64_t)j->in, "%.0f tokens/s",
                        (double)j->tokens / progress_seconds(&j->progress));
    }
    if (result < 0)
        *e = read_error;
    return result < 0 ? -1 : 0;
}

static int finish(struct encode_job *j, struct err *e)
{
    if (j->in == 0)
        return err_set(e, STATUS_FAILED, "%s: no records",
                       j->corpus.n_paths > 1 ? "the input" : j->corpus.file);
    if (j->written == 0)
        return err_set(e, STATUS_FAILED, "all %" PRIu64 " records were left out", j->in);
    if (j->out_open) {
        j->out_open = 0;
        return output_commit(&j->out, e);
    }
    struct stream_writer *w = j->writer;
    j->writer = NULL;
    return stream_writer_end(w, e);
}

static struct shown spell(const struct encode_job *j, int64_t id)
{
    size_t size = 0;
    const char *text = id < 0 ? NULL : tokenizer_token(j->tokenizer, (uint32_t)id, &size);
    return shown(text, text ? size : 0);
}

// Whether generation stops there by the model's own files.
static int stops_there(const struct encode_job *j, int64_t id)
{
    struct err ignored;
    if (id == j->examples.end)
        return 1;
    char *path = io_path(j->o->model, "generation_config.json", &ignored);
    json_t *config = path ? json_parse_file(AT_FDCWD, path, 1 << 24, &ignored) : NULL;
    const json_t *eos = json_object_get(config, "eos_token_id");
    int found = json_is_integer(eos) && json_integer_value(eos) == id;
    for (size_t i = 0; i < json_array_size(eos); i++)
        found |= json_integer_value(json_array_get(eos, i)) == id;
    json_decref(config);
    free(path);
    return found;
}

// Of what is easily overlooked.
static void warn(const struct encode_job *j)
{
    if (j->doubled)
        message_warn("%" PRIu64 " records contain a beginning or end token that the tokenizer adds "
                     "as well: it was written %s",
                     j->doubled, j->o->keeps_duplicates ? "twice, as asked for" : "once");
    if (j->end_by_id)
        message_warn("%" PRIu64 " records: the tokenizer splits the end token's text at the end of "
                     "a text; its id was written",
                     j->end_by_id);
    if (j->no_stop)
        message_warn("%" PRIu64 " records: %s%s%s, so that the model will not learn to stop there",
                     j->no_stop,
                     j->stop >= 0 ? "the token that ends the assistant's turn, "
                                  : "no token ends the assistant's turn",
                     spell(j, j->stop).text, j->stop >= 0 ? ", is not trained" : "");
    if (j->turn_end >= 0 && !stops_there(j, j->turn_end))
        message_warn("the assistant's turns end with %s, but generation stops at %s: let it stop "
                     "at the former (eos_token_id in generation_config.json)",
                     spell(j, j->turn_end).text, spell(j, j->examples.end).text);
    if (j->beyond)
        message_warn("%" PRIu64
                     " records are longer than the %zu positions of %s/config.json, first %s "
                     "with %zu tokens (--max-length %zu refuses or, with --truncation, cuts them)",
                     j->beyond, j->positions, j->o->model, j->first_long.text, j->first_length,
                     j->positions);
    if (j->quoted_calls)
        message_warn("%" PRIu64 " records: the template writes arguments of tool calls, which are "
                     "JSON text there, as a quoted string (make them objects)",
                     j->quoted_calls);
    for (int i = 0; i < LEFT_KINDS; i++)
        if (j->left_out[i])
            message_warn("%" PRIu64 " records: the template does not write all of their %s",
                         j->left_out[i], left_names[i]);
    if (j->empty_answer)
        message_warn("%" PRIu64 " records have an empty answer, of which only the end is trained",
                     j->empty_answer);
}

// With -q nothing else would say that there are fewer: pipelines call tok so.
static void warn_left_out(const struct encode_job *j)
{
    const struct {
        uint64_t n;
        const char *why;
    } left[] = {
        {j->too_long, "too long"}, {j->untrained, "with nothing to train"}, {j->bad, "bad"}};
    char parts[160] = "";
    size_t size = 0;
    for (size_t i = 0; i < sizeof left / sizeof *left; i++)
        if (left[i].n)
            size += (size_t)snprintf(parts + size, sizeof parts - size, "%s%" PRIu64 " %s",
                                     size ? ", " : "", left[i].n, left[i].why);
    if (size && message_is_quiet())
        message_warn("%s: %" PRIu64 " of %" PRIu64 " records were left out: %s",
                     j->corpus.n_paths > 1 ? "the input" : j->corpus.file,
                     j->too_long + j->untrained + j->bad, j->in, parts);
}

static void report(const struct encode_job *j)
{
    char dropped[160] = "", fused[128] = "", cut[64] = "";
    warn(j);
    warn_left_out(j);
    if (j->too_long || j->untrained || j->bad)
        snprintf(dropped, sizeof dropped,
                 " (left out: %" PRIu64 " too long, %" PRIu64 " with nothing to train, %" PRIu64
                 " bad)",
                 j->too_long, j->untrained, j->bad);
    if (j->o->render) {
        message_note("records: %" PRIu64 " in, %" PRIu64 " out%s", j->in, j->written, dropped);
        return;
    }
    if (j->cut)
        snprintf(cut, sizeof cut, ", %" PRIu64 " cut", j->cut);
    if (j->fused)
        snprintf(fused, sizeof fused,
                 "; %" PRIu64 " records have a token across the boundary, which is trained",
                 j->fused);
    message_note("records: %" PRIu64 " in, %" PRIu64 " out%s%s; tokens: %" PRIu64
                 ", trained %" PRIu64 "%s",
                 j->in, j->written, cut, dropped, j->tokens, j->trained, fused);
}

static int settings(struct encode_job *j, struct err *e)
{
    // Before any record: one that needs no template would not find out.
    if (chat_check_file(j->o->template_file, e) < 0)
        return -1;
    j->records.format = j->o->format;
    j->records.train = j->o->train;
    j->records.prompts = j->o->prompts;
    j->records.add_generation_prompt = j->o->generation_prompt;
    j->records.continue_final_message = j->o->continues;
    if (j->o->render) // text alone
        j->records.train = RECORD_TRAIN_ALL;
    j->records.now = j->o->now;
    j->records.instruction = j->o->instruction;
    j->records.joins_parts = j->o->joins_parts;
    j->records.texts_only = !j->o->render;
    j->records.each_turn = j->o->each_turn;
    j->records.whole_only = j->o->whole_only;
    if (j->records.each_turn && j->records.train == RECORD_TRAIN_DEFAULT)
        j->records.train = RECORD_TRAIN_COMPLETION;
    if ((j->o->fields && record_fields_parse(&j->records.fields, j->o->fields, e) < 0) ||
        (j->o->roles && record_roles_parse(&j->records.roles, j->o->roles, e) < 0))
        return -1;
    j->tokenizer = tokenizer_open(j->o->model, e);
    if (!j->tokenizer || example_settings_init(&j->examples, j->tokenizer, e) < 0)
        return -1;
    j->positions = positions_named(j->o->model);
    j->examples.boundary = j->o->boundary;
    j->examples.truncation = j->o->truncation;
    j->examples.max_length = j->o->max_length;
    j->examples.special = j->o->special < 0    ? SPECIAL_DEFAULT
                          : j->o->special != 0 ? SPECIAL_YES
                                               : SPECIAL_NO;
    j->examples.offsets = j->o->offsets;
    j->examples.drops_untrained = j->o->drops_untrained;
    j->examples.keeps_duplicates = j->o->keeps_duplicates;
    return kept_fields_init(&j->kept, j->o->keep, e);
}

int encode_run(const struct encode_options *o, char *const *path, size_t n, struct err *e)
{
    struct encode_job *j = mem_alloc(1, sizeof *j, "a run", e);
    if (!j)
        return -1;
    j->o = o;
    j->stop = j->turn_end = -1;
    id_set_init(&j->ids);
    progress_init(&j->progress, "record", 0);
    int result = settings(j, e);
    if (result == 0)
        result = batch_init(&j->batch, e);
    if (result == 0)
        result = corpus_open(&j->corpus, path, n, e);
    else
        j->corpus.fd = -1;
    j->corpus.sample = o->sample;
    if (result == 0)
        result = encode_batches(j, e);
    progress_end(&j->progress);
    if (result == 0)
        result = finish(j, e);
    if (result == 0)
        report(j);
    stream_writer_abort(j->writer);
    if (j->out_open)
        output_abort(&j->out);
    if (j->header.column)
        frame_release(&j->frame);
    header_release(&j->header);
    corpus_close(&j->corpus);
    batch_release(&j->batch);
    id_set_release(&j->ids);
    example_settings_release(&j->examples);
    record_fields_release(&j->records.fields);
    record_fields_release(&j->records.roles);
    chat_close(j->chat);
    tokenizer_close(j->tokenizer);
    kept_fields_release(&j->kept);
    free(j);
    return result;
}
