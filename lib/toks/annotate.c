// SPDX-License-Identifier: MIT
#include "toks/annotate.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/progress.h"
#include "base/utf8.h"
#include "stream/parts.h"
#include "stream/jsonl.h"
#include "toks/command.h"
#include "toks/journal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { ASK_AHEAD = 1 << 16 }; // bytes

struct annotator {
    const struct annotate *how;
    struct stream_filter pass;
    struct frame frames[2]; // one is answered, the other read ahead
    int n_frames;           // that have storage
    struct frame *f;        // the one that is answered
    struct frame *ahead;    // the one behind it, or NULL
    uint64_t before;        // records before it
    double expected;        // records in all, estimated
    size_t asked, answered; // records of it (and of the next); between them are those in flight
    struct command command;
    struct journal journal;
    json_t *known;       // a question: fields that are nothing new in an answer
    size_t first_column; // that answers fill
    int declared;
    int is_file;          // the input is all there: reading ahead delays nobody
    int is_last;          // no frame comes behind this one
    int keeps;            // the command gives its answers when its input ends, so it seems
    uint64_t run_answers; // of this run of the command
    double last;          // when the last answer came, or it began to be waited for
    struct buffer text;
    struct annotate_stats stats;
    struct progress progress;
};

// ---- messages

static const char *id_of(const struct annotator *a, size_t i, size_t *size)
{
    return frame_string(a->f, COLUMN_ID, i, size);
}

// "FILE: record `ID`: REASON"
static int fails(const struct annotator *a, size_t i, struct err *e)
{
    if (i >= a->f->n_sequences)
        return err_prefix(e, "%s: after %s", stream_reader_name(a->pass.reader),
                          shown_record(NULL, 0, a->before).text);
    return err_prefix(e, "%s: %s", stream_reader_name(a->pass.reader), frame_record(a->f, i).text);
}

// The command's output ended although it owes an answer.
static int ended_early(struct annotator *a, struct err *e)
{
    char how[128];
    size_t rest = command_rest(&a->command);
    command_no_more(&a->command);
    int status = command_wait(&a->command, 5);
    if (status < 0)
        snprintf(how, sizeof how, "closed its output");
    else
        command_describe(status, how, sizeof how);
    err_set(e, STATUS_FAILED, "the command `%s` %s %s", a->how->command[0], how,
            rest ? "in the middle of its answer" : "before it answered");
    return fails(a, a->answered, e);
}

static int timed_out(const struct annotator *a, size_t i, struct err *e)
{
    err_set(e, STATUS_FAILED,
            "the command `%s` gave no answer for %g seconds (--timeout) and was killed",
            a->how->command[0], a->how->timeout);
    return fails(a, i, e);
}

// ---- columns

static int add_declared(struct annotator *a, const char *word, size_t n, struct err *e)
{
    static const struct {
        const char *name;
        enum column_type type;
        enum column_per per;
    } kinds[] = {{":number", COLUMN_F32, PER_SEQUENCE},
                 {":string", COLUMN_STRING, PER_SEQUENCE},
                 {":token", COLUMN_F32, PER_TOKEN}};
    char name[COLUMN_NAME_MAX + 1];
    int kind = 0;
    for (int k = 0; k < 3; k++) {
        size_t size = strlen(kinds[k].name);
        if (n > size && !memcmp(word + n - size, kinds[k].name, size)) {
            kind = k;
            n -= size;
            break;
        }
    }
    snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), word);
    if (!strcmp(name, "id") ||
        header_add_column(&a->pass.header, name, kinds[kind].type, kinds[kind].per, e) < 0) {
        if (!strcmp(name, "id"))
            err_set(e, STATUS_FAILED, "`id` identifies an answer and cannot become a column");
        e->status = e->status == STATUS_MEMORY ? STATUS_MEMORY : STATUS_FAILED;
        return err_prefix(e, "--columns");
    }
    return 0;
}

static int add_declared_columns(struct annotator *a, const char *names, struct err *e)
{
    for (;; names += strcspn(names, ",") + 1) {
        size_t n = strcspn(names, ",");
        if (add_declared(a, names, n, e) < 0)
            return -1;
        if (!names[n])
            return 0;
    }
}

// Columns for what is new in the first answer.
static int infer_columns(struct annotator *a, const json_t *answer, struct err *e)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)answer, key, value)
    {
        int array = json_is_array(value);
        if (json_object_get(a->known, key))
            continue;
        if (json_is_object(value))
            return err_set(e, STATUS_FAILED, "`%s` is an object, which no column can hold", key);
        if (header_add_column(&a->pass.header, key,
                              json_is_string(value) ? COLUMN_STRING : COLUMN_F32,
                              array ? PER_TOKEN : PER_SEQUENCE, e) < 0)
            return -1;
    }
    if (a->pass.header.n_columns == a->first_column)
        return err_set(e, STATUS_FAILED, "the answer has no new field");
    return 0;
}

// From here on the columns of the output are known.
static int start_output(struct annotator *a, const char *output, struct err *e)
{
    for (int k = 0; k < a->n_frames; k++)
        if (frame_extend(&a->frames[k], e) < 0)
            return -1;
    return filter_start(&a->pass, output, e);
}

// ---- answers

static int to_f32(const json_t *value, float *to)
{
    if (json_is_null(value))
        *to = NAN;
    else if (json_is_boolean(value))
        *to = (float)json_is_true(value);
    else if (json_is_number(value) && isfinite((float)json_number_value(value)))
        *to = (float)json_number_value(value);
    else
        return -1;
    return 0;
}

static int fill_tokens(struct annotator *a, int column, size_t i, const json_t *value,
                       struct err *e)
{
    const char *name = a->pass.header.column[column].name;
    size_t n = frame_length(a->f, i);
    if (!json_is_array(value) || json_array_size(value) != n)
        return err_set(e, STATUS_FAILED,
                       json_is_array(value) ? "`%s` has %zu values, the record has %zu tokens"
                                            : "`%s` is not an array",
                       name, json_array_size(value), n);
    for (size_t k = 0; k < n; k++)
        if (to_f32(json_array_get(value, k), a->f->column[column].f32 + a->f->start[i] + k) < 0)
            return err_set(e, STATUS_FAILED, "`%s`: value %zu is not a number", name, k + 1);
    return 0;
}

// A number is its digits where the column was declared to be of texts.
static int fill_string(struct annotator *a, int column, size_t i, const json_t *value,
                       struct err *e)
{
    char number[40];
    const char *text = "";
    size_t size = 0;
    if (a->declared && json_is_number(value)) {
        size = json_dumpb(value, number, sizeof number, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15));
        text = number;
    } else if (json_is_string(value)) {
        size = json_string_length(value);
        text = json_string_value(value);
    } else if (!json_is_null(value)) {
        return err_set(e, STATUS_FAILED, "`%s` is not text", a->pass.header.column[column].name);
    }
    return frame_fill_string(a->f, column, i, text, size, e);
}

static int fill_column(struct annotator *a, int column, size_t i, const json_t *answer,
                       struct err *e)
{
    const struct column *c = &a->pass.header.column[column];
    const json_t *value = json_object_get(answer, c->name);
    if (!value)
        return err_set(e, STATUS_FAILED, "the answer has no `%s`", c->name);
    if (c->type == COLUMN_STRING)
        return fill_string(a, column, i, value, e);
    if (c->per == PER_TOKEN)
        return fill_tokens(a, column, i, value, e);
    if (to_f32(value, a->f->column[column].f32 + i) < 0)
        return err_set(e, STATUS_FAILED, "`%s` is not a number that a column can hold", c->name);
    return 0;
}

// Without declared columns each field must be one, or have been in the question.
static int check_fields(const struct annotator *a, const json_t *answer, struct err *e)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)answer, key, value)
    {
        if (!json_object_get(a->known, key) && header_find(&a->pass.header, key) < 0)
            return err_set(e, STATUS_FAILED,
                           "`%s` was not in the first answer: which columns are meant? (--columns)",
                           key);
    }
    return 0;
}

static json_t *parse_answer(const struct annotator *a, size_t i, const char *text, size_t size,
                            struct err *e)
{
    json_error_t error;
    json_t *answer = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    size_t n, m;
    const char *id = id_of(a, i, &n);
    const json_t *other = json_object_get(answer, "id");
    const char *said = json_string_value(other);
    m = json_string_length(other);
    if (!json_is_object(answer))
        err_set(e, STATUS_FAILED, "the answer of `%s` is not a JSON object: `%s`",
                a->how->command[0], shown(text, size).text);
    else if (!said)
        err_set(e, STATUS_FAILED, "the answer of `%s` has no `id`: `%s`", a->how->command[0],
                shown(text, size).text);
    else if (n != m || memcmp(id, said, n) != 0)
        err_set(
            e, STATUS_FAILED,
            "the command `%s` answered for id `%s` instead: each record needs one answer, in order",
            a->how->command[0], shown(said, m).text);
    else
        return answer;
    json_decref(answer);
    return NULL;
}

static int fill(struct annotator *a, size_t i, const json_t *answer, struct err *e)
{
    if (!a->declared && check_fields(a, answer, e) < 0)
        return -1;
    for (size_t c = a->first_column; c < a->pass.header.n_columns; c++)
        if (fill_column(a, (int)c, i, answer, e) < 0)
            return -1;
    return 0;
}

// ---- questions

// Counted on into the frame ahead. The columns that answers fill are not in a question.
static int print_question(struct annotator *a, size_t i, struct err *e)
{
    struct frame *f = a->f;
    struct stream_header *h = &a->pass.header;
    size_t n_columns = h->n_columns;
    int result;
    if (i >= f->n_sequences) {
        i -= f->n_sequences;
        f = a->ahead;
    }
    buffer_clear(&a->text);
    size_t stored = f->n_columns;
    h->n_columns = f->n_columns = a->first_column;
    if (a->how->question)
        result = a->how->question(a->how->arg, f, i, &a->text, e);
    else
        result = jsonl_print_record(f, i, &a->text, e);
    h->n_columns = n_columns;
    f->n_columns = stored;
    return result;
}

static int ask(struct annotator *a, struct err *e)
{
    if (!a->command.pid) {
        if (command_start(&a->command, e) < 0)
            return -1;
        a->stats.runs++;
        a->run_answers = 0;
    }
    if (a->asked == a->answered)
        a->last = clock_seconds();
    if (print_question(a, a->asked, e) < 0 ||
        command_ask(&a->command, a->text.data, a->text.size, e) < 0)
        return -1;
    a->asked++;
    return 0;
}

static int may_ask(const struct annotator *a)
{
    size_t there = a->f->n_sequences + (a->ahead ? a->ahead->n_sequences : 0);
    return a->asked < there && a->asked - a->answered < a->how->in_flight &&
           command_pending(&a->command) < ASK_AHEAD && (!a->command.pid || a->command.in >= 0);
}

// Failures of the command are those of the record that it is asked about.
static int talk(struct annotator *a, size_t i, struct err *e)
{
    int moved = command_talk(&a->command, 1, e);
    return moved < 0 && e->status == STATUS_FAILED ? fails(a, i, e) : moved;
}

// A run whose input was closed, by us or by itself, has answered all that it was asked.
static int end_run(struct annotator *a, struct err *e)
{
    char how[128];
    size_t i = a->answered ? a->answered - 1 : 0;
    double end = a->how->timeout > 0 ? clock_seconds() + a->how->timeout : INFINITY;
    command_no_more(&a->command);
    while (a->command.out >= 0) {
        // Whatever it writes now is too much, and it may never end.
        if (command_rest(&a->command))
            break;
        if (talk(a, i, e) < 0)
            return -1;
        if (clock_seconds() > end)
            return timed_out(a, i, e);
    }
    if (command_rest(&a->command)) {
        err_set(e, STATUS_FAILED, "the command `%s` gave more answers than there were records",
                a->how->command[0]);
        return fails(a, i, e);
    }
    int status = command_wait(&a->command, end - clock_seconds());
    if (status == 0)
        return 0;
    if (status < 0)
        return timed_out(a, i, e);
    command_describe(status, how, sizeof how);
    err_set(e, STATUS_FAILED, "the command `%s` %s after its last answer", a->how->command[0], how);
    return fails(a, i, e);
}

// Waits for something to happen while an answer is due.
static int wait_for_answer(struct annotator *a, struct err *e)
{
    double silent = clock_seconds() - a->last;
    int open = a->command.in >= 0 && !command_pending(&a->command);
    if (open && (a->keeps || (a->is_last && a->asked == a->f->n_sequences)))
        command_no_more(&a->command);
    int moved = talk(a, a->answered, e);
    if (moved < 0)
        return -1;
    // Bytes are no answer: it may write for ever.
    if (a->how->timeout > 0 && silent > a->how->timeout && !command_has_line(&a->command))
        return timed_out(a, a->answered, e);
    if (moved)
        return 0;
    // It may keep its answers back until its input ends; another run takes what follows. One that
    // had given none before is not waited for again.
    if (a->command.in >= 0 && a->how->patience > 0 && silent > a->how->patience &&
        !command_pending(&a->command)) {
        a->keeps |= !a->run_answers;
        command_no_more(&a->command);
    }
    return 0;
}

// The line that answers record `answered`, of the journal or the command.
static int next_answer(struct annotator *a, uint64_t tokens, const char **line, size_t *size,
                       int *is_new, struct err *e)
{
    size_t n;
    const char *id = id_of(a, a->answered, &n);
    *is_new = 0;
    if (a->asked == a->answered) {
        int found = journal_next(&a->journal, id, n, tokens, line, size, e);
        a->asked += found > 0;
        a->stats.journal += found > 0;
        if (found)
            return found < 0 ? -1 : 0;
    }
    *is_new = 1;
    a->last = clock_seconds(); // what we did ourselves meanwhile is no silence of the command
    for (;;) {
        if (a->asked == a->answered && a->command.pid && a->command.in < 0 && end_run(a, e) < 0)
            return -1;
        while (may_ask(a))
            if (ask(a, e) < 0)
                return -1;
        if (command_line(&a->command, line, size)) {
            a->run_answers++;
            a->last = clock_seconds();
            return 0;
        }
        if (a->command.out < 0)
            return ended_early(a, e);
        if (wait_for_answer(a, e) < 0)
            return -1;
    }
}

static int fill_record(struct annotator *a, const char *line, size_t size, const char *output,
                       struct err *e)
{
    size_t i = a->answered;
    json_t *answer = parse_answer(a, i, line, size, e);
    int result = answer ? 0 : -1, begins = !a->pass.writer;
    if (result == 0 && begins)
        result = infer_columns(a, answer, e);
    if (result < 0)
        fails(a, i, e);
    else if (begins)
        result = start_output(a, output, e);
    if (result == 0 && fill(a, i, answer, e) < 0)
        result = fails(a, i, e);
    json_decref(answer);
    return result;
}

static int answer_record(struct annotator *a, const char *output, struct err *e)
{
    size_t i = a->answered, n, size;
    const char *id = id_of(a, i, &n), *line;
    uint64_t tokens =
        hash_bytes(a->f->column[COLUMN_TOKEN].u32 + a->f->start[i], 4 * frame_length(a->f, i));
    int is_new;
    if (!a->known) { // what a question looks like
        if (print_question(a, i, e) < 0 ||
            !(a->known = json_parse(a->text.data, a->text.size, "a question", e)))
            return -1;
    }
    if (next_answer(a, tokens, &line, &size, &is_new, e) < 0)
        return -1;
    if (fill_record(a, line, size, output, e) < 0)
        return -1;
    if (is_new && journal_add(&a->journal, id, n, tokens, line, size, e) < 0)
        return -1;
    a->answered++;
    a->stats.records++;
    progress_estimate(&a->progress, a->expected);
    progress_update(&a->progress, (int64_t)a->stats.records, "%s", "");
    return 0;
}

// ---- frames

static int answer_frame(struct annotator *a, const char *output, struct err *e)
{
    while (a->answered < a->f->n_sequences)
        if (answer_record(a, output, e) < 0)
            return -1;
    if (a->is_last && a->command.pid && end_run(a, e) < 0)
        return -1;
    a->before += a->f->n_sequences;
    a->expected = stream_reader_expected(a->pass.reader);
    a->asked -= a->f->n_sequences;
    a->answered = 0;
    return stream_writer_frame(a->pass.writer, a->f, e);
}

// Without a column `step`, or of a file, nobody waits for a frame: the next one is read first, to
// know whether the command has been asked all.
static int answer_all(struct annotator *a, const char *output, struct err *e)
{
    int steps = header_step(&a->pass.header) >= 0 && !a->is_file, other = 1;
    int more = stream_reader_next(a->pass.reader, a->f, e);
    while (more > 0) {
        struct frame *ahead = &a->frames[other];
        if (!steps && (more = stream_reader_next(a->pass.reader, ahead, e)) < 0)
            return -1;
        a->ahead = steps ? NULL : ahead;
        a->is_last = !steps && more == 0;
        if (answer_frame(a, output, e) < 0)
            return -1;
        if (steps) {
            more = stream_reader_next(a->pass.reader, a->f, e);
        } else {
            a->f = ahead;
            other = !other;
        }
    }
    return more;
}

static int is_file(const char *input)
{
    struct stat s;
    int got = input && strcmp(input, "-") != 0 ? stat(input, &s) : fstat(0, &s);
    return got == 0 && S_ISREG(s.st_mode);
}

static int about(const struct annotate *how, struct buffer *out, struct err *e)
{
    json_t *words = json_array(), *whole = NULL;
    for (char *const *word = how->command; words && *word; word++)
        json_array_append_new(words,
                              json_stringn_nocheck(*word, utf8_valid_prefix(*word, strlen(*word))));
    if (words)
        whole = json_pack("{s:s,s:s,s:o}", "journal", "toks annotate", "asked", how->form,
                          "command", words);
    int result = whole ? json_print(whole, out, e) : err_memory(e, 0, "a journal");
    json_decref(whole);
    return result;
}

static int start(struct annotator *a, const char *input, const char *output,
                 const struct provenance *line, struct err *e)
{
    if (about(a->how, &a->text, e) < 0 ||
        journal_open(&a->journal, a->how->journal, a->text.data, e) < 0 ||
        filter_open(&a->pass, input, e) < 0 || filter_provenance(&a->pass, line, e) < 0)
        return -1;
    a->first_column = a->pass.header.n_columns;
    a->declared = a->how->columns != NULL;
    a->is_file = is_file(input);
    if (a->declared && add_declared_columns(a, a->how->columns, e) < 0)
        return -1;
    for (; a->n_frames < 2; a->n_frames++)
        if (frame_init(&a->frames[a->n_frames], &a->pass.header, e) < 0)
            return -1;
    a->f = &a->frames[0];
    return a->declared ? start_output(a, output, e) : 0;
}

static int finish(struct annotator *a, const char *output, struct err *e)
{
    if (journal_finish(&a->journal, e) < 0 || (a->command.pid && end_run(a, e) < 0) ||
        (!a->pass.writer && start_output(a, output, e) < 0))
        return -1;
    return filter_end(&a->pass, e);
}

int annotate_run(const struct annotate *how, const char *input, const char *output,
                 const struct provenance *line, struct annotate_stats *stats, struct err *e)
{
    struct annotator a;
    memset(&a, 0, sizeof a);
    a.how = how;
    buffer_init(&a.text, 0);
    command_init(&a.command, how->command);
    progress_init(&a.progress, "record", 0);
    progress_follow(&a.progress, 1);
    int result = start(&a, input, output, line, e);
    if (result == 0)
        result = answer_all(&a, output, e);
    if (result == 0)
        result = finish(&a, output, e);
    progress_end(&a.progress);
    *stats = a.stats;
    command_release(&a.command);
    journal_close(&a.journal);
    json_decref(a.known);
    for (int k = 0; k < a.n_frames; k++)
        frame_release(&a.frames[k]);
    filter_release(&a.pass);
    buffer_release(&a.text);
    return result;
}
