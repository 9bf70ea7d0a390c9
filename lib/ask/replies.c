// SPDX-License-Identifier: MIT
#include "ask/replies.h"
#include "base/board.h"
#include "base/mapped.h"
#include "base/memory_check.h"
#include "base/signals.h"
#include "base/thread.h"

#include <stdlib.h>
#include <string.h>

enum { REPLY_SLOTS = 128, LIKELY_TOKENS = 4096 };
// What the text of an answer takes, and of its prompt for each token.
enum { TEXT_BYTES = 4096, PROMPT_BYTES = 16 };

// ---- text of one answer -------------------------------------------------------------------------

// The completion is what the text of prompt and answer has beyond the prompt's, so that a blank
// between the two stays; where the border lies inside a character the answer is decoded for itself,
// as in `tok -d` (toks/text_form.c).
struct reply_text {
    const struct tokenizer *tokenizer;
    struct tokenizer_stream *stream;
    struct buffer prompt; // its text
    struct buffer whole;  // text from the prompt on, or of the answer alone
    uint32_t *token;      // drawn so far, without the end token
    size_t n, capacity;
    int decided; // the border is known to be one
    int alone;   // the answer is decoded for itself
};

static int text_begin(struct reply_text *t, const struct tokenizer *tokenizer,
                      const struct token_list *prompt, struct err *e)
{
    t->tokenizer = tokenizer;
    buffer_init(&t->prompt, 0);
    buffer_init(&t->whole, 0);
    if (!(t->stream = tokenizer_stream_open(tokenizer, 1, e)) ||
        buffer_reserve(&t->prompt, 1, e) < 0 || buffer_reserve(&t->whole, 1, e) < 0 ||
        tokenizer_decode(tokenizer, prompt->id, prompt->n, 1, &t->prompt, e) < 0)
        return -1;
    for (size_t i = 0; i < prompt->n; i++)
        if (tokenizer_stream_add(t->stream, prompt->id[i], &t->whole, e) < 0)
            return -1;
    return 0;
}

static void text_release(struct reply_text *t)
{
    if (!t)
        return;
    tokenizer_stream_close(t->stream);
    buffer_release(&t->prompt);
    buffer_release(&t->whole);
    free(t->token);
    free(t);
}

static int decode_alone(struct reply_text *t, struct err *e)
{
    t->alone = 1;
    tokenizer_stream_close(t->stream);
    buffer_clear(&t->whole);
    if (!(t->stream = tokenizer_stream_open(t->tokenizer, 1, e)))
        return -1;
    for (size_t i = 0; i < t->n; i++)
        if (tokenizer_stream_add(t->stream, t->token[i], &t->whole, e) < 0)
            return -1;
    return 0;
}

// Whether the text of the prompt stands before the answer's, once that can be told.
static int decide(struct reply_text *t, int last, struct err *e)
{
    if (t->decided || (!last && t->whole.size < t->prompt.size))
        return 0;
    t->decided = 1;
    if (t->whole.size >= t->prompt.size && !memcmp(t->whole.data, t->prompt.data, t->prompt.size))
        return 0;
    return decode_alone(t, e);
}

static int text_add(struct reply_text *t, uint32_t token, struct err *e)
{
    if (MEM_GROW(t->token, t->capacity, t->n + 1, "a reply", e) < 0)
        return -1;
    t->token[t->n++] = token;
    return tokenizer_stream_add(t->stream, token, &t->whole, e) < 0 ? -1 : decide(t, 0, e);
}

static int text_end(struct reply_text *t, struct err *e)
{
    int was_alone = t->alone;
    if (tokenizer_stream_end(t->stream, &t->whole, e) < 0 || decide(t, 1, e) < 0)
        return -1;
    return t->alone == was_alone ? 0 : tokenizer_stream_end(t->stream, &t->whole, e);
}

static void show(struct reply *a)
{
    const struct reply_text *t = a->decoded;
    size_t from = t->alone ? 0 : t->prompt.size;
    a->text = t->decided ? t->whole.data + from : "";
    a->size = t->decided ? t->whole.size - from : 0;
}

// ---- all of them --------------------------------------------------------------------------------

static int check_memory(const struct replies *a, const struct reply_options *o, struct err *e)
{
    size_t most = a->options.max_new_tokens;
    size_t length = a->prompt.n + (most < LIKELY_TOKENS ? most : LIKELY_TOKENS);
    struct generator_bytes b =
        generator_bytes(a->device, a->speaker->model, a->options.slots, length);
    // Each answer decodes for itself, behind the prompt's text.
    size_t texts = a->n * (sizeof *a->reply + TEXT_BYTES + PROMPT_BYTES * a->prompt.n);
    return memory_check(b.cache + b.work + texts, "sampling", o->verbose, e);
}

static int set_options(struct replies *a, const struct reply_options *o, struct err *e)
{
    struct speaker *s = a->speaker;
    if (draw_options_fill(&o->draw, s->model, tokenizer_token_id_in, &a->stops, &a->options, e) < 0)
        return -1;
    a->n = (size_t)o->draw.samples;
    a->options.seed = o->seed;
    a->options.slots = a->n < REPLY_SLOTS ? a->n : REPLY_SLOTS;
    a->at_end = a->options.max_new_tokens > s->most - a->prompt.n;
    if (a->at_end)
        a->options.max_new_tokens = s->most - a->prompt.n;
    return check_memory(a, o, e);
}

static int begin_texts(struct replies *a, struct err *e)
{
    a->reply = mem_alloc(a->n, sizeof *a->reply, "replies", e);
    if (!a->reply)
        return -1;
    for (size_t i = 0; i < a->n; i++) {
        struct reply *one = &a->reply[i];
        one->decoded = mem_alloc(1, sizeof *one->decoded, "a reply", e);
        if (!one->decoded || text_begin(one->decoded, a->speaker->tokenizer, &a->prompt, e) < 0)
            return -1;
        show(one);
    }
    return 0;
}

int replies_begin(struct replies *a, struct speaker *s, struct device *d,
                  const struct reply_options *o, const json_t *messages, struct err *e)
{
    memset(a, 0, sizeof *a);
    a->speaker = s;
    a->device = d;
    a->began = clock_seconds();
    token_list_init(&a->prompt);
    if (speaker_prompt(s, messages, &a->prompt, e) < 0 || set_options(a, o, e) < 0 ||
        begin_texts(a, e) < 0 ||
        !(a->generator = generator_open(s->model, NULL, d, &a->options, e)))
        return -1;
    // The first record of an input has this id: `tok --prompts | rollout` draws the same.
    uint64_t key = draw_key("1", 1, s->generation, 0);
    return generator_add(a->generator, a->prompt.id, a->prompt.n, a->n, key, NULL, e);
}

// Gives what was drawn since to the text.
static int take(struct replies *a, struct reply *one, const struct generated *drawn, struct err *e)
{
    double now = clock_seconds() - a->began;
    if (one->ended || one->tokens == drawn->n)
        return 0;
    if (!one->tokens)
        one->first = now;
    one->seconds = now;
    one->ended = drawn->ended;
    one->finish = drawn->ended ? drawn->finish : FINISH_LENGTH;
    int ends = drawn->ended && drawn->finish == FINISH_STOP;
    while (one->tokens < drawn->n) {
        uint32_t token = drawn->token[one->tokens++];
        if (!(ends && one->tokens == drawn->n) && text_add(one->decoded, token, e) < 0)
            return -1;
    }
    int result = one->ended ? text_end(one->decoded, e) : 0;
    show(one);
    return result;
}

int replies_stop(struct replies *a, struct err *e)
{
    a->ended = a->stopped = 1;
    for (size_t i = 0; i < a->n; i++) {
        struct reply *one = &a->reply[i];
        if (one->ended)
            continue;
        one->ended = 1;
        one->finish = FINISH_LENGTH;
        if (text_end(one->decoded, e) < 0)
            return -1;
        show(one);
    }
    return 0;
}

int replies_step(struct replies *a, int interruptible, struct err *e)
{
    if (interruptible)
        threads_interruptible();
    int result = generator_step(a->generator, e);
    // A step that was broken off has drawn from what was not computed.
    if (interruptible && (threads_uninterruptible() || signals_stop_requested()))
        return replies_stop(a, e);
    if (result < 0)
        return err_prefix(e, "%s", a->speaker->directory);
    const struct request *r = generator_oldest(a->generator);
    size_t ended = 0;
    for (size_t i = 0; i < a->n; i++) {
        if (take(a, &a->reply[i], &r->sample[i], e) < 0)
            return -1;
        ended += (size_t)a->reply[i].ended;
    }
    a->ended = ended == a->n;
    // What was drawn must have been of one model to the end.
    return a->ended ? mapped_unchanged(e) : 0;
}

void replies_release(struct replies *a)
{
    for (size_t i = 0; a->reply && i < a->n; i++)
        text_release(a->reply[i].decoded);
    free(a->reply);
    generator_close(a->generator);
    token_list_release(&a->prompt);
    memset(a, 0, sizeof *a);
}
