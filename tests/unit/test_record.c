// SPDX-License-Identifier: MIT
#include "test.h"

#include "base/io.h"
#include "base/json.h"
#include "data/example.h"

#include <stdlib.h>

#define GOLDEN SHARED "/golden/text"

static struct tokenizer *tokenizer;
static char tokenizer_name[64];

static struct tokenizer *tokenizer_named(const char *name)
{
    char path[256];
    struct err e;
    if (tokenizer && !strcmp(tokenizer_name, name))
        return tokenizer;
    tokenizer_close(tokenizer);
    snprintf(tokenizer_name, sizeof tokenizer_name, "%s", name);
    snprintf(path, sizeof path, GOLDEN "/tokenizers/%s", name);
    return tokenizer = tokenizer_open(path, &e);
}

static const json_t *get(const json_t *row, const char *key)
{
    return json_object_get(row, key);
}

static int numbers_equal(const json_t *want, const struct example *x, int mask)
{
    if (json_array_size(want) != x->tokens.n)
        return 0;
    for (size_t i = 0; i < x->tokens.n; i++)
        if (json_integer_value(json_array_get(want, i)) !=
            (json_int_t)(mask ? x->mask[i] : x->tokens.id[i]))
            return 0;
    return 1;
}

static void print_example(const char *id, const struct example *x)
{
    printf("# %s:", id);
    for (size_t i = 0; i < x->tokens.n; i++)
        printf(" %u/%d", x->tokens.id[i], x->mask[i]);
    printf("\n");
}

// The rows' formats as ours; -1: not ours yet.
static int format_of(const char *name)
{
    return !strcmp(name, "text")                         ? RECORD_TEXT
           : !strcmp(name, "prompt-completion")          ? RECORD_PROMPT_COMPLETION
           : !strcmp(name, "prompt-completion-messages") ? RECORD_PROMPT_COMPLETION
           : !strcmp(name, "instruction")                ? RECORD_INSTRUCTION
           : !strcmp(name, "messages")                   ? RECORD_MESSAGES
           : !strcmp(name, "pretokenized")               ? RECORD_PRETOKENIZED
                                                         : -1;
}

// What TRL's configuration asks for, in our words.
static void configure(const json_t *row, struct record_settings *rs, struct example_settings *xs)
{
    const json_t *config = get(row, "config");
    const char *mode = json_string_value(get(config, "truncation_mode"));
    rs->format = (enum record_format)format_of(json_string_value(get(row, "format")));
    if (rs->format == RECORD_MESSAGES)
        rs->train = RECORD_TRAIN_ALL; // TRL's default
    if (json_is_false(get(config, "completion_only_loss")))
        rs->train = RECORD_TRAIN_ALL;
    if (json_is_true(get(config, "assistant_only_loss")))
        rs->train = RECORD_TRAIN_ASSISTANT;
    xs->max_length = (size_t)json_integer_value(get(config, "max_length"));
    xs->truncation = mode && !strcmp(mode, "keep_end") ? TRUNCATE_LEFT : TRUNCATE_RIGHT;
    xs->drops_untrained = 1;
}

struct tally {
    int rows, equal, once, last;
};

// transformers loses the tail of a block's last character where that is several tokens; ours trains
// all of it. Whether that is the only difference.
static int tail_of_character(const json_t *want, const struct example *x)
{
    int found = 0;
    for (size_t i = 0; i < x->tokens.n; i++) {
        int theirs = (int)json_integer_value(json_array_get(want, i));
        if (theirs == x->mask[i])
            continue;
        if (theirs || i == 0 || !x->mask[i - 1] || x->tokens.end[i] != x->tokens.end[i - 1])
            return 0;
        found = 1;
    }
    return found && json_array_size(want) == x->tokens.n;
}

static int doubled_end(const json_t *ids, const struct example_settings *xs)
{
    size_t n = json_array_size(ids);
    return n > 1 && json_integer_value(json_array_get(ids, n - 1)) == xs->end &&
           json_integer_value(json_array_get(ids, n - 2)) == xs->end;
}

// Where TRL writes two ends (or beginnings) ours has one: the row without the second.
static json_t *without(const json_t *list, size_t at)
{
    json_t *copy = json_copy((json_t *)list);
    json_array_remove(copy, at);
    return copy;
}

static struct chat *open_template(const json_t *row)
{
    const char *name = json_string_value(get(row, "template"));
    char path[256], directory[256];
    struct buffer source;
    struct err e;
    struct chat *chat = NULL;
    if (!name)
        return NULL;
    snprintf(path, sizeof path, GOLDEN "/templates/%s.jinja", name);
    snprintf(directory, sizeof directory, GOLDEN "/tokenizers/%s", tokenizer_name);
    buffer_init(&source, 0);
    if (io_read_file(path, &source, &e) == 0)
        chat = chat_open_source(source.data, source.size, name, directory, &e);
    buffer_release(&source);
    return chat;
}

static void check_row(const json_t *row, struct tally *tally)
{
    const char *id = json_string_value(get(row, "id"));
    const json_t *trl = get(row, "trl"), *apart = get(row, "apart");
    struct record_settings rs = {0};
    struct example_settings xs;
    struct record record;
    struct example x;
    struct err e;
    struct tokenizer *t = tokenizer_named(json_string_value(get(row, "tokenizer")));
    CHECK(t != NULL);
    if (!t || example_settings_init(&xs, t, &e) < 0)
        return;
    record_init(&record);
    example_init(&x);
    configure(row, &rs, &xs);
    struct chat *chat = open_template(row);
    rs.chat = chat;
    struct tokenizer_worker *w = tokenizer_worker_open(&e);
    int result = record_read(&record, &rs, get(row, "record"), &e);
    if (result == 0)
        result = example_make(&x, &xs, w, &record, &e);
    tally->rows++;
    int ok;
    if (get(trl, "error")) {
        // A template that marks nothing is no error of ours where turns show what is trained, and
        // what has nothing to train was asked to be left out.
        int unmarked = get(row, "template") &&
                       !strcmp(json_string_value(get(row, "template")), "chatml-unmarked");
        ok = result < 0 || x.fate == EXAMPLE_UNTRAINED || (unmarked && x.trained > 0);
    } else if (get(trl, "dropped")) {
        ok = result == 0 && x.fate == EXAMPLE_UNTRAINED;
    } else {
        const json_t *mask = get(row, "mask_span") ? get(row, "mask_span") : get(trl, "mask");
        json_t *ids = json_incref((json_t *)get(trl, "ids")), *m = json_incref((json_t *)mask);
        size_t n = json_array_size(ids);
        if (x.doubled && doubled_end(ids, &xs)) {
            json_decref(ids), json_decref(m);
            ids = without(get(trl, "ids"), n - 1);
            m = without(mask, n - 1);
            tally->once++;
        } else if (x.doubled) {
            json_decref(ids), json_decref(m);
            ids = without(get(trl, "ids"), 0);
            m = without(mask, 0);
            tally->once++;
        }
        int last = result == 0 && tail_of_character(m, &x);
        tally->last += last;
        ok = result == 0 && numbers_equal(ids, &x, 0) && (last || numbers_equal(m, &x, 1));
        json_decref(ids), json_decref(m);
    }
    if (!ok) {
        printf("# %s: %s\n", id, result < 0 ? e.text : "differs");
        print_example(id, &x);
    }
    tally->equal += ok;
    if (apart && !xs.max_length) {
        const json_t *ids = get(apart, "ids"), *mask = get(apart, "mask");
        xs.boundary = BOUNDARY_SEPARATE;
        result = record_read(&record, &rs, get(row, "record"), &e);
        if (result == 0)
            result = example_make(&x, &xs, w, &record, &e);
        tally->rows++;
        size_t front, end;
        tokenizer_affixes(t, &front, &end);
        json_t *i = json_deep_copy(ids), *m = json_deep_copy(mask);
        for (size_t k = 1; end && k < json_array_size(m); k++)
            if (json_integer_value(json_array_get(m, k)) &&
                !json_integer_value(json_array_get(m, k - 1))) {
                // No end token behind the prompt.
                json_array_remove(i, k - 1);
                json_array_remove(m, k - 1);
                tally->once++;
                break;
            }
        if (x.doubled && !end) {
            json_array_remove(i, 0);
            json_array_remove(m, 0);
            tally->once++;
        }
        ok = result == 0 && numbers_equal(i, &x, 0) && numbers_equal(m, &x, 1);
        if (!ok) {
            printf("# %s, apart: %s\n", id, result < 0 ? e.text : "differs");
            print_example(id, &x);
        }
        tally->equal += ok;
        json_decref(i);
        json_decref(m);
    }
    chat_close(chat);
    tokenizer_worker_close(w);
    example_release(&x);
    record_release(&record);
    example_settings_release(&xs);
}

static void compare(const char *format)
{
    FILE *f = fopen(GOLDEN "/sft-formats.jsonl", "r");
    struct tally tally = {0};
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    struct err e;
    while (f && (n = getline(&line, &room, f)) > 0) {
        json_t *row = json_parse(line, (size_t)n, "sft-formats.jsonl", &e);
        if (row && !strcmp(json_string_value(get(row, "format")), format))
            check_row(row, &tally);
        json_decref(row);
    }
    printf("# %-26s %d cases, %d equal, of them %d without a second beginning or end token, %d "
           "with the whole of a last character\n",
           format, tally.rows, tally.equal, tally.once, tally.last);
    CHECK(tally.rows > 0 && tally.rows == tally.equal);
    free(line);
    if (f)
        fclose(f);
    tokenizer_close(tokenizer);
    tokenizer = NULL;
}

static void texts_are_tokenized_as_trl_does(void)
{
    NEED(GOLDEN "/sft-formats.jsonl");
    compare("text");
}

static void prompts_and_completions_as_trl_with_masks_by_span(void)
{
    NEED(GOLDEN "/sft-formats.jsonl");
    compare("prompt-completion");
}

static void chats_as_trl(void)
{
    NEED(GOLDEN "/sft-formats.jsonl");
    compare("messages");
    compare("prompt-completion-messages");
}

static void instructions_as_alpaca(void)
{
    NEED(GOLDEN "/sft-formats.jsonl");
    compare("instruction");
}

static void ids_are_kept(void)
{
    NEED(GOLDEN "/sft-formats.jsonl");
    compare("pretokenized");
}

// Rendered texts with the spans of {% generation %} blocks: any overlap trains.
static void spans_train_the_tokens_that_they_touch(void)
{
    NEED(GOLDEN "/assistant-mask.jsonl");
    FILE *f = fopen(GOLDEN "/assistant-mask.jsonl", "r");
    char *line = NULL;
    size_t room = 0;
    ssize_t n;
    int rows = 0, equal = 0;
    struct err e;
    struct tokenizer_worker *w = tokenizer_worker_open(&e);
    while (f && (n = getline(&line, &room, f)) > 0) {
        json_t *row = json_parse(line, (size_t)n, "assistant-mask.jsonl", &e);
        struct example_settings xs;
        struct record r;
        struct example x;
        const json_t *text = get(row, "text"), *spans = get(row, "spans");
        struct tokenizer *t = tokenizer_named(json_string_value(get(row, "tokenizer")));
        if (get(row, "error")) { // of the template: no text
            json_decref(row);
            continue;
        }
        record_init(&r);
        example_init(&x);
        int ok = t && example_settings_init(&xs, t, &e) == 0 &&
                 buffer_append(&r.text, json_string_value(text), json_string_length(text), &e) == 0;
        xs.drops_untrained = 1;
        r.is_chat = r.open_end = r.has_spans = 1;
        r.spans.n = json_array_size(spans);
        r.spans.span = mem_alloc(r.spans.n, sizeof *r.spans.span, "spans", &e);
        for (size_t i = 0; i < r.spans.n; i++) {
            const json_t *s = json_array_get(spans, i);
            r.spans.span[i].start = (size_t)json_integer_value(json_array_get(s, 0));
            r.spans.span[i].end = (size_t)json_integer_value(json_array_get(s, 1));
        }
        ok = ok && example_make(&x, &xs, w, &r, &e) == 0 && numbers_equal(get(row, "ids"), &x, 0) &&
             numbers_equal(get(row, "mask_span") ? get(row, "mask_span") : get(row, "mask"), &x, 1);
        if (!ok) {
            printf("# %s %s %s: differs\n", tokenizer_name, json_string_value(get(row, "template")),
                   json_string_value(get(row, "conversation")));
            print_example("ours", &x);
        }
        rows++;
        equal += ok;
        example_settings_release(&xs);
        example_release(&x);
        record_release(&r);
        json_decref(row);
    }
    printf("# assistant masks: %d cases, %d equal\n", rows, equal);
    CHECK(rows > 0 && rows == equal);
    free(line);
    if (f)
        fclose(f);
    tokenizer_worker_close(w);
    tokenizer_close(tokenizer);
    tokenizer = NULL;
}

int main(void)
{
    RUN(texts_are_tokenized_as_trl_does);
    RUN(prompts_and_completions_as_trl_with_masks_by_span);
    RUN(instructions_as_alpaca);
    RUN(ids_are_kept);
    RUN(chats_as_trl);
    RUN(spans_train_the_tokens_that_they_touch);
    return test_end();
}
