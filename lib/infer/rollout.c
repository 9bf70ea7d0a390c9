// SPDX-License-Identifier: MIT
#include "infer/rollout.h"
#include "base/io.h"
#include "base/progress.h"
#include "infer/long_record.h"
#include "infer/prompts.h"
#include "model/describe.h"
#include "model/directory.h"
#include "model/generate.h"
#include "stream/writer.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Columns of the output.
struct rollout_columns {
    int mask, logp, sampled, prompt, sample, generation, step, finish, as;
};

struct rollout {
    const struct rollout_options *o;
    struct device device;
    struct model *model, *reference;
    struct generator *generator;
    struct generate_options options;
    struct draw_stops stops;
    struct prompts prompts;
    struct stream_header header;
    struct frame frame;
    struct rollout_columns column;
    struct stream_writer *writer;
    struct progress progress;
    uint64_t generation, records, tokens;
    int attached; // to the policy that is followed
};

// The last one, as a scorer behind would add it.
static int add_as(struct rollout *r, struct stream_header *h, struct err *e)
{
    char name[300];
    if (!r->o->as)
        return 0;
    if ((size_t)snprintf(name, sizeof name, "logp:%s", r->o->as) >= sizeof name)
        return err_set(e, STATUS_USAGE, "--as: a name of more than %zu bytes", sizeof name - 6);
    r->column.as = header_add_column(h, name, COLUMN_F32, PER_TOKEN, e);
    return r->column.as < 0 ? -1 : 0;
}

static int add_columns(struct rollout *r, struct err *e)
{
    struct stream_header *h = &r->header;
    struct rollout_columns *c = &r->column;
    int plain = sampling_is_plain(&r->options.sampling) && !r->o->contrast;
    if ((c->mask = header_add_column(h, "mask", COLUMN_U8, PER_TOKEN, e)) < 0 ||
        (c->logp = header_add_column(h, "logp:rollout", COLUMN_F32, PER_TOKEN, e)) < 0 ||
        (!plain &&
         (c->sampled = header_add_column(h, "logp:sampled", COLUMN_F32, PER_TOKEN, e)) < 0))
        return -1;
    if ((c->prompt = header_add_column(h, "prompt", COLUMN_STRING, PER_SEQUENCE, e)) < 0 ||
        (c->sample = header_add_column(h, "sample", COLUMN_U32, PER_SEQUENCE, e)) < 0 ||
        (c->generation = header_add_column(h, "generation", COLUMN_U32, PER_SEQUENCE, e)) < 0 ||
        (c->step = header_add_column(h, "step", COLUMN_U32, PER_SEQUENCE, e)) < 0 ||
        (c->finish = header_add_column(h, "finish", COLUMN_STRING, PER_SEQUENCE, e)) < 0)
        return -1;
    return prompts_add_columns(&r->prompts, h, e) < 0 ? -1 : add_as(r, h, e);
}

static int describe(struct rollout *r, struct err *e)
{
    const struct stream_header *in = prompts_header(&r->prompts);
    struct stream_header *h = &r->header;
    char fingerprint[24], known[24];
    int found, lives = r->o->follow;
    if (r->o->text->fingerprint(r->o->model, known, &found, e) < 0 ||
        header_check_tokenizer(in, found ? known : NULL, prompts_name(&r->prompts), e) < 0 ||
        (!lives && model_fingerprint(r->model, fingerprint, e) < 0) || header_init(h, e) < 0)
        return -1;
    if (in->tokenizer || found) {
        h->tokenizer = strdup(in->tokenizer ? in->tokenizer : known);
        if (!h->tokenizer)
            return err_memory(e, 24, "a header");
    }
    h->vocab_size = (int64_t)r->model->config.vocab;
    h->level = in->level;
    json_decref(h->provenance);
    h->provenance = json_deep_copy(in->provenance);
    h->sampling = json_pack(
        "{s:f, s:I, s:f, s:f, s:f, s:I, s:I, s:I}", "temperature", r->o->draw.sampling.temperature,
        "top_k", (json_int_t)r->o->draw.top_k, "top_p", r->o->draw.sampling.top_p, "min_p",
        r->o->draw.sampling.min_p, "repetition_penalty", r->o->draw.sampling.repetition_penalty,
        "max_new_tokens", (json_int_t)r->o->draw.max_new_tokens, "num_generations",
        (json_int_t)r->o->draw.samples, "batch_size", (json_int_t)r->o->batch_size);
    if (h->sampling && r->o->contrast)
        json_object_set_new(h->sampling, "contrast", json_string(r->o->contrast));
    if (h->sampling && r->device.kv == DTYPE_BF16)
        json_object_set_new(h->sampling, "kv_cache", json_string("bf16"));
    // A policy that lives is many models; with which one a run began, that was stopped, is no
    // matter.
    json_t *models = lives ? NULL : json_pack("{s:s}", "policy", fingerprint);
    if (header_add_provenance(h, "rollout", r->o->argc, r->o->argv, r->o->seed, models, e) < 0 ||
        header_set_kernels(h, r->device.ops->kernels(&r->device), e) < 0 || add_columns(r, e) < 0 ||
        frame_init(&r->frame, h, e) < 0)
        return -1;
    r->writer = stream_writer_open(r->o->output, h, e);
    return r->writer ? 0 : -1;
}

static int open_reference(struct rollout *r, struct err *e)
{
    static const struct named_form form = {"contrast", "DIR:NUMBER", -INFINITY, INFINITY};
    if (!r->o->contrast)
        return 0;
    r->reference = model_open_weighted(r->o->contrast, &form, &r->options.contrast, e);
    return r->reference ? 0 : -1;
}

static void release_prompt(void *prompt)
{
    prompts_free(prompt);
}

static int set_options(struct rollout *r, struct err *e)
{
    struct generate_options *o = &r->options;
    o->slots = (size_t)r->o->slots;
    o->seed = r->o->seed;
    o->release_owner = release_prompt;
    if (draw_options_fill(&r->o->draw, r->model, r->o->text->token_id, &r->stops, o, e) < 0)
        return -1;
    return open_reference(r, e);
}

static int open_generator(struct rollout *r, struct err *e)
{
    generator_close(r->generator); // between steps: nothing is in flight
    r->generator = generator_open(r->model, r->reference, &r->device, &r->options, e);
    return r->generator ? 0 : -1;
}

// One sample as a record.
static int write_sample(struct rollout *r, const struct request *q, size_t i, uint64_t step,
                        struct err *e)
{
    const struct generated *s = &q->sample[i];
    const struct rollout_columns *c = &r->column;
    struct frame *f = &r->frame;
    size_t size;
    const struct prompt *p = q->owner;
    const char *prompt = prompts_id(p, &size);
    char id[96], pass[32] = "";
    frame_clear(f);
    if (frame_add(f, q->n_prompt + s->n, e) < 0)
        return -1;
    memcpy(f->column[COLUMN_TOKEN].u32, q->prompt, q->n_prompt * sizeof *q->prompt);
    memcpy(f->column[COLUMN_TOKEN].u32 + q->n_prompt, s->token, s->n * sizeof *s->token);
    memset(f->column[c->mask].u8 + q->n_prompt, 1, s->n);
    memcpy(f->column[c->logp].f32 + q->n_prompt, s->logp, s->n * sizeof *s->logp);
    if (c->sampled)
        memcpy(f->column[c->sampled].f32 + q->n_prompt, s->sampled, s->n * sizeof *s->sampled);
    if (c->as)
        memcpy(f->column[c->as].f32 + q->n_prompt, s->logp, s->n * sizeof *s->logp);
    size_t number = i + (size_t)r->o->draw.first_sample;
    f->column[c->sample].u32[0] = (uint32_t)number;
    f->column[c->generation].u32[0] = (uint32_t)r->generation;
    f->column[c->step].u32[0] = (uint32_t)step;
    if (p->pass)
        snprintf(pass, sizeof pass, ".%llu", (unsigned long long)p->pass);
    int n = snprintf(id, sizeof id, "@%llu%s/%zu", (unsigned long long)r->generation, pass, number);
    struct buffer whole;
    buffer_init(&whole, 0);
    int result = buffer_append(&whole, prompt, size, e);
    if (result == 0)
        result = buffer_append(&whole, id, (size_t)n, e);
    if (result == 0)
        result = frame_set_string(f, COLUMN_ID, whole.data, whole.size, e);
    buffer_release(&whole);
    const char *finish = s->finish == FINISH_STOP ? "stop" : "length";
    if (result < 0 || frame_set_string(f, c->prompt, prompt, size, e) < 0 ||
        frame_set_string(f, c->finish, finish, strlen(finish), e) < 0 ||
        prompts_fill(&r->prompts, q->owner, f, e) < 0)
        return -1;
    long_record_look(r->model, f, prompts_name(&r->prompts));
    r->records++;
    r->tokens += s->n;
    return stream_writer_add(r->writer, f, 0, e);
}

// Writes what is done, in order, and lets the reader have each step as soon as it is complete.
static int write_done(struct rollout *r, struct err *e)
{
    struct request *q;
    while (generator_take(r->generator, &q)) {
        struct prompt *p = q->owner;
        uint64_t number = p->number, batch = (uint64_t)r->o->batch_size;
        uint64_t step = (uint64_t)r->o->first_step + number / batch;
        int result = 0;
        for (size_t i = 0; i < q->n_samples && result == 0; i++)
            result = write_sample(r, q, i, step, e);
        prompts_free(p);
        request_free(q);
        if (result == 0 && number % batch == batch - 1)
            result = stream_writer_flush(r->writer, e);
        if (result < 0)
            return -1;
    }
    return 0;
}

static void show_progress(struct rollout *r)
{
    struct progress *p = &r->progress;
    progress_update(p, (int64_t)r->records, "generation %llu  %.0f tokens/s",
                    (unsigned long long)r->generation,
                    (double)generator_drawn(r->generator) / progress_seconds(p));
}

static int add_prompt(struct rollout *r, struct prompt *p, struct err *e)
{
    size_t size;
    const char *id = prompts_id(p, &size);
    uint64_t key = draw_key(id, size, r->generation, p->pass);
    if (generator_add(r->generator, p->token, p->n, (size_t)r->o->draw.samples, key, p, e) == 0)
        return 0;
    return err_prefix(e, "%s: %s", prompts_name(&r->prompts),
                      shown_record(id, size, p->number + 1).text);
}

// A file tells how many prompts there will be, the end of the input how many there are.
static void expect_prompts(struct rollout *r, int more)
{
    double samples = (double)r->o->draw.samples;
    if (!more)
        progress_total(&r->progress, (int64_t)r->prompts.number * r->o->draw.samples);
    else
        progress_estimate(&r->progress, stream_reader_expected(r->prompts.reader) * samples);
}

// Each prompt once, as many in flight as there is room for.
static int run_once(struct rollout *r, struct err *e)
{
    int more = 1;
    while (more || generator_pending(r->generator)) {
        while (more && generator_pending(r->generator) < 2 * (size_t)r->o->slots) {
            struct prompt *p;
            more = prompts_next(&r->prompts, &p, e);
            if (more < 0)
                return -1;
            if (more && add_prompt(r, p, e) < 0) {
                prompts_free(p);
                return -1;
            }
        }
        if (generator_step(r->generator, e) < 0 || write_done(r, e) < 0)
            return -1;
        expect_prompts(r, more);
        show_progress(r);
    }
    return 0;
}

// Prompt `number` of all steps, whose prompts are started over at their end.
static int add_repeated(struct rollout *r, uint64_t number, struct err *e)
{
    struct prompt *p = prompts_at(&r->prompts, number, e);
    if (!p)
        return -1;
    if (add_prompt(r, p, e) == 0)
        return 0;
    prompts_free(p);
    return -1;
}

// The steps first .. last-1 from one policy: none waits for the one before.
static int run_from_one(struct rollout *r, uint64_t first, uint64_t last, struct err *e)
{
    uint64_t batch = (uint64_t)r->o->batch_size, next = first * batch, end;
    if (__builtin_mul_overflow(last, batch, &end))
        end = UINT64_MAX;
    while (next < end || generator_pending(r->generator)) {
        while (next < end && generator_pending(r->generator) < 2 * (size_t)r->o->slots)
            if (add_repeated(r, next++, e) < 0)
                return -1;
        if (generator_step(r->generator, e) < 0 || write_done(r, e) < 0)
            return -1;
        show_progress(r);
    }
    return 0;
}

static int use_generation(struct rollout *r, int directory, uint64_t generation, struct err *e)
{
    // What the generation before was sampled with must have been one model to the end.
    if (mapped_unchanged(e) < 0) {
        close(directory);
        return -1;
    }
    model_close(r->model);
    r->model = model_open_at(directory, r->o->model, e);
    r->generation = generation;
    return r->model ? open_generator(r, e) : -1;
}

// Each step from the generation that it needs.
static int run_following(struct rollout *r, uint64_t start, uint64_t last, struct err *e)
{
    for (uint64_t step = start; step < last; step++) {
        uint64_t wanted = step < start + (uint64_t)r->o->lag ? start : step - (uint64_t)r->o->lag;
        if (wanted != r->generation) {
            int fd = policy_follow(r->o->model, &wanted, 0, e);
            if (fd == -2)
                break; // the trainer has stopped: what it wanted it has
            if (fd < 0 || use_generation(r, fd, wanted, e) < 0)
                return -1;
        }
        if (run_from_one(r, step, step + 1, e) < 0)
            return -1;
    }
    return 0;
}

static int run_steps(struct rollout *r, struct err *e)
{
    uint64_t start = r->generation, last = r->o->steps ? (uint64_t)r->o->steps : UINT64_MAX;
    if (prompts_load(&r->prompts, e) < 0)
        return -1;
    if (!r->o->steps)
        last = (prompts_count(&r->prompts) + (uint64_t)r->o->batch_size - 1) /
               (uint64_t)r->o->batch_size;
    uint64_t prompts =
        r->o->steps ? (last - start) * (uint64_t)r->o->batch_size : prompts_count(&r->prompts);
    progress_total(&r->progress, last < UINT64_MAX ? (int64_t)prompts * r->o->draw.samples : 0);
    return r->o->follow ? run_following(r, start, last, e) : run_from_one(r, start, last, e);
}

static int open_policy(struct rollout *r, struct err *e)
{
    int fd = -1;
    if (r->o->follow) {
        fd = policy_follow(r->o->model, &r->generation, 1, e);
        if (fd < 0)
            return -1;
        r->model = model_open_at(fd, r->o->model, e);
        r->attached = policy_attach(r->o->model, e);
        return r->model && r->attached >= 0 ? 0 : -1;
    }
    r->model = model_open(r->o->model, e);
    if (!r->model)
        return -1;
    describe_unused(r->model, r->o->verbose);
    struct directory_note note;
    if (directory_read_note(r->model->directory, &note, e) < 0)
        return -1;
    r->generation = note.generation;
    directory_release_note(&note);
    return 0;
}

static void release(struct rollout *r)
{
    stream_writer_abort(r->writer);
    frame_release(&r->frame);
    header_release(&r->header);
    generator_close(r->generator);
    prompts_close(&r->prompts);
    model_close(r->model);
    model_close(r->reference);
    if (r->attached >= 0)
        close(r->attached);
    device_release(&r->device);
}

int rollout_run(const struct rollout_options *o, const char *input, struct err *e)
{
    assert(o->lag == 0 || (o->lag == 1 && o->follow));
    struct rollout r;
    memset(&r, 0, sizeof r);
    r.o = o;
    r.attached = -1;
    progress_init(&r.progress, "sample", 0);
    progress_follow(&r.progress, (double)o->draw.samples);
    int result = device_open(&r.device, o->device, o->products, e);
    r.device.kv = draw_kv_dtype(o->draw.kv_dtype);
    if (result == 0)
        result = prompts_open(&r.prompts, input, e);
    if (result == 0)
        result = open_policy(&r, e);
    if (result == 0)
        result = set_options(&r, e);
    if (result == 0)
        result = describe(&r, e);
    if (result == 0)
        result = open_generator(&r, e);
    if (result == 0)
        result = o->follow || o->steps ? run_steps(&r, e) : run_once(&r, e);
    progress_end(&r.progress);
    if (result == 0)
        result = mapped_unchanged(e);
    if (result == 0) {
        struct stream_writer *w = r.writer;
        r.writer = NULL;
        result = stream_writer_end(w, e);
    }
    if (result == 0) {
        char closing[64];
        progress_closing(&r.progress, r.tokens, closing);
        message_note("%llu samples, %llu tokens, %s", (unsigned long long)r.records,
                     (unsigned long long)r.tokens, closing);
    }
    release(&r);
    return result;
}
