// SPDX-License-Identifier: MIT
// rollout: draws completions of prompts from a model, or from a policy while it is trained.
#include "base/hash.h"
#include "base/io.h"
#include "base/number.h"
#include "base/option.h"
#include "base/progress.h"
#include "learn/prompts.h"
#include "model/directory.h"
#include "model/generate.h"
#include "stream/pass.h"
#include "text/tokenizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct common common;
static struct engine_options engine;
static struct sampling sampling = {.temperature = 1, .top_p = 1, .repetition_penalty = 1};
static int64_t samples = 1, max_new_tokens = 256, top_k, batch_size = 32, slots = 128, steps, lag;
static int follow;
static const char *contrast;
static struct option_texts stop_tokens;

static const struct option_spec options[] = {
    OPTIONS_ENGINE(&engine),
    OPT_GROUP("Sampling"),
    OPT_INT('n', "num-generations", &samples, "N", 1, 1 << 20, "samples a prompt"),
    OPT_INT(0, "max-new-tokens", &max_new_tokens, "N", 1, 1 << 28, "most tokens of a sample"),
    OPT_REAL("temperature", &sampling.temperature, "X", 0, 1e6, "0: the most likely token"),
    OPT_INT(0, "top-k", &top_k, "K", 0, 1 << 28, "only the K most likely tokens; 0: all"),
    OPT_REAL("top-p", &sampling.top_p, "P", 0, 1, "only the smallest set with probability P"),
    OPT_REAL("min-p", &sampling.min_p, "P", 0, 1,
             "only tokens with P times the probability of the most likely one"),
    OPT_REAL("repetition-penalty", &sampling.repetition_penalty, "X", 1e-6, 1e6,
             "divides (or multiplies) the logits of tokens that came before"),
    OPT_TEXTS("stop-token", &stop_tokens, "TOKEN",
              "end a sample at this token (its number or its text) besides the model's own; may be "
              "repeated"),
    OPT_TEXT(0, "contrast", &contrast, "DIR:A",
             "sample from z + A (z - z_DIR): logits pushed away from those of model DIR"),
    OPT_GROUP("Order of work"),
    OPT_INT(0, "batch-size", &batch_size, "N", 1, 1 << 24, "prompts a step"),
    OPT_INT(0, "in-flight", &slots, "N", 1, 1 << 16,
            "samples computed together; does not change the result"),
    OPT_INT(
        0, "steps", &steps, "N", 0, 1e15,
        "draw step after step until step N, counted from the policy's generation 0, starting the "
        "prompts over as often as needed; 0: each prompt once"),
    OPT_FLAG(0, "follow", &follow,
             "draw each step from the newest policy that reinforce-step publishes in DIR"),
    OPT_INT(0, "lag", &lag, "N", 0, 1,
            "with --follow: draw step k from generation k - N; 0: strictly on-policy"),
    OPTIONS_COMMON(&common),
};

static const struct program program = {
    .name = "rollout",
    .operands = "[STREAM]",
    .summary = "Sample completions of prompts.",
    .details =
        "The tokens of a record are the prompt; what was drawn follows with mask 1, the token that "
        "stopped it included. The column logp:rollout is the log-probability of each drawn token "
        "at "
        "temperature 1; where the sampling distribution is another, logp:sampled has it too. A "
        "sample depends on the seed, the id of its prompt, its number and the policy's generation, "
        "not on what is drawn beside it.",
    .examples =
        "  tok -m sft --prompts demos.jsonl | rollout -m sft -n 4 > rollouts.toks\n"
        "  rollout -m sft --temperature 0 --max-new-tokens 64 prompts.toks | tok -d -m sft\n",
    .options = options,
    .operands_min = 0,
    .operands_max = 1,
};

// Columns of the output.
struct columns {
    int mask, logp, sampled, prompt, sample, generation, step, finish;
};

struct run {
    struct device device;
    struct model *model, *reference;
    struct generator *generator;
    struct generate_options options;
    uint32_t stop[EOS_MAX + OPTION_TEXTS_MAX];
    struct prompts prompts;
    struct stream_header header;
    struct frame frame;
    struct columns column;
    struct stream_writer *writer;
    struct progress progress;
    uint64_t generation, records, tokens;
};

static int add_columns(struct run *r, struct err *e)
{
    struct stream_header *h = &r->header;
    struct columns *c = &r->column;
    int plain = sampling_is_plain(&sampling) && !contrast;
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
    return prompts_add_columns(&r->prompts, h, e);
}

static int describe(struct run *r, int argc, char **argv, struct err *e)
{
    const struct stream_header *in = prompts_header(&r->prompts);
    struct stream_header *h = &r->header;
    char fingerprint[24], known[24];
    int found;
    if (tokenizer_fingerprint_of(engine.model, known, &found, e) < 0 ||
        header_check_tokenizer(in, found ? known : NULL, prompts_name(&r->prompts), e) < 0 ||
        model_fingerprint(r->model, fingerprint, e) < 0 || header_init(h, e) < 0)
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
        "{s:f, s:I, s:f, s:f, s:f, s:I, s:I, s:I}", "temperature", sampling.temperature, "top_k",
        (json_int_t)top_k, "top_p", sampling.top_p, "min_p", sampling.min_p, "repetition_penalty",
        sampling.repetition_penalty, "max_new_tokens", (json_int_t)max_new_tokens,
        "num_generations", (json_int_t)samples, "batch_size", (json_int_t)batch_size);
    if (h->sampling && contrast)
        json_object_set_new(h->sampling, "contrast", json_string(contrast));
    if (header_add_provenance(h, "rollout", argc, argv, common.seed,
                              json_pack("{s:s}", "policy", fingerprint), e) < 0 ||
        add_columns(r, e) < 0 || frame_init(&r->frame, h, e) < 0)
        return -1;
    r->writer = stream_writer_open(common.output, h, e);
    return r->writer ? 0 : -1;
}

static int stop_token(const char *text, uint32_t *token, size_t vocab, struct err *e)
{
    uint64_t number;
    int64_t id = -1;
    if (number_to_u64(text, &number) == 0) {
        id = number < vocab ? (int64_t)number : -1;
    } else {
        struct tokenizer *t = tokenizer_open(engine.model, e);
        if (!t)
            return -1;
        id = tokenizer_token_id(t, text);
        tokenizer_close(t);
    }
    if (id < 0 || (size_t)id >= vocab)
        return err_set(e, STATUS_USAGE, "--stop-token: the model has no token '%s'", text);
    *token = (uint32_t)id;
    return 0;
}

static int open_reference(struct run *r, struct err *e)
{
    if (!contrast)
        return 0;
    char *path = strdup(contrast), *colon = path ? strrchr(path, ':') : NULL;
    int result = 0;
    if (!colon || number_to_f64(colon + 1, &r->options.contrast) < 0)
        result = err_set(e, STATUS_USAGE, "--contrast: '%s' is not DIR:A", contrast);
    if (result == 0) {
        *colon = 0;
        r->reference = model_open(path, e);
        result = r->reference ? 0 : -1;
    }
    free(path);
    return result;
}

static int set_options(struct run *r, struct err *e)
{
    struct generate_options *o = &r->options;
    sampling.top_k = (size_t)top_k;
    o->sampling = sampling;
    o->max_new_tokens = (size_t)max_new_tokens;
    o->slots = (size_t)slots;
    o->seed = common.seed;
    o->stop = r->stop;
    for (size_t i = 0; i < r->model->config.n_eos; i++)
        r->stop[o->n_stop++] = r->model->config.eos[i];
    for (int i = 0; i < stop_tokens.n; i++)
        if (stop_token(stop_tokens.text[i], &r->stop[o->n_stop++], r->model->config.vocab, e) < 0)
            return -1;
    return open_reference(r, e);
}

static int open_generator(struct run *r, struct err *e)
{
    generator_close(r->generator); // between steps: nothing is in flight
    r->generator = generator_open(r->model, r->reference, &r->device, &r->options, e);
    return r->generator ? 0 : -1;
}

// One sample as a record.
static int write_sample(struct run *r, const struct request *q, size_t i, uint64_t step,
                        struct err *e)
{
    const struct generated *s = &q->sample[i];
    const struct columns *c = &r->column;
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
    f->column[c->sample].u32[0] = (uint32_t)i;
    f->column[c->generation].u32[0] = (uint32_t)r->generation;
    f->column[c->step].u32[0] = (uint32_t)step;
    if (p->pass)
        snprintf(pass, sizeof pass, ".%llu", (unsigned long long)p->pass);
    int n = snprintf(id, sizeof id, "@%llu%s/%zu", (unsigned long long)r->generation, pass, i);
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
    r->records++;
    r->tokens += s->n;
    return stream_writer_add(r->writer, f, 0, e);
}

// Writes what is done, in order, and lets the reader have each step as soon as it is complete.
static int write_done(struct run *r, struct err *e)
{
    struct request *q;
    while (generator_take(r->generator, &q)) {
        struct prompt *p = q->owner;
        uint64_t number = p->number, batch = (uint64_t)batch_size;
        int result = 0;
        for (size_t i = 0; i < q->n_samples && result == 0; i++)
            result = write_sample(r, q, i, number / batch, e);
        prompts_free(p);
        request_free(q);
        if (result == 0 && number % batch == batch - 1)
            result = stream_writer_flush(r->writer, e);
        if (result < 0)
            return -1;
    }
    return 0;
}

static void show_progress(struct run *r)
{
    double seconds = clock_seconds() - r->progress.started + 1e-9;
    progress_update(&r->progress, "rollout: %llu samples, generation %llu, %.0f tokens/s",
                    (unsigned long long)r->records, (unsigned long long)r->generation,
                    (double)generator_drawn(r->generator) / seconds);
}

static int add_prompt(struct run *r, struct prompt *p, struct err *e)
{
    size_t size;
    const char *id = prompts_id(p, &size);
    // Another generation and another pass over the prompts draw other samples.
    uint64_t turn[3] = {hash_bytes(id, size), r->generation, p->pass};
    uint64_t key = hash_bytes(turn, sizeof turn);
    if (generator_add(r->generator, p->token, p->n, (size_t)samples, key, p, e) == 0)
        return 0;
    return err_prefix(e, "%s: record `%.*s`", prompts_name(&r->prompts), (int)size, id);
}

// Each prompt once, as many in flight as there is room for.
static int run_once(struct run *r, struct err *e)
{
    int more = 1;
    while (more || generator_pending(r->generator)) {
        while (more && generator_pending(r->generator) < 2 * (size_t)slots) {
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
        show_progress(r);
    }
    return 0;
}

static int run_step(struct run *r, uint64_t step, struct err *e)
{
    for (int64_t i = 0; i < batch_size; i++) {
        struct prompt *p = prompts_at(&r->prompts, step * (uint64_t)batch_size + (uint64_t)i, e);
        if (!p)
            return -1;
        if (add_prompt(r, p, e) < 0) {
            prompts_free(p);
            return -1;
        }
    }
    while (generator_pending(r->generator)) {
        if (generator_step(r->generator, e) < 0)
            return -1;
        show_progress(r);
    }
    return write_done(r, e);
}

static int use_generation(struct run *r, int directory, uint64_t generation, struct err *e)
{
    model_close(r->model);
    r->model = model_open_at(directory, engine.model, e);
    r->generation = generation;
    return r->model ? open_generator(r, e) : -1;
}

// Steps of a fixed policy, or of one that lives.
static int run_steps(struct run *r, struct err *e)
{
    uint64_t start = r->generation, last = steps ? (uint64_t)steps : UINT64_MAX;
    if (prompts_load(&r->prompts, e) < 0)
        return -1;
    if (!steps)
        last = (prompts_count(&r->prompts) + (uint64_t)batch_size - 1) / (uint64_t)batch_size;
    for (uint64_t step = start; step < last; step++) {
        uint64_t wanted = step < start + (uint64_t)lag ? start : step - (uint64_t)lag;
        if (follow && wanted != r->generation) {
            int fd = policy_follow(engine.model, &wanted, 0, e);
            if (fd == -2)
                break; // the trainer has stopped: what it wanted it has
            if (fd < 0 || use_generation(r, fd, wanted, e) < 0)
                return -1;
        }
        if (run_step(r, step, e) < 0)
            return -1;
    }
    return 0;
}

static int open_policy(struct run *r, struct err *e)
{
    int fd = -1;
    if (follow) {
        fd = policy_follow(engine.model, &r->generation, 1, e);
        if (fd < 0)
            return -1;
        r->model = model_open_at(fd, engine.model, e);
        return r->model ? 0 : -1;
    }
    r->model = model_open(engine.model, e);
    if (!r->model)
        return -1;
    struct directory_note note;
    if (directory_read_note(r->model->directory, &note, e) < 0)
        return -1;
    r->generation = note.generation;
    directory_release_note(&note);
    return 0;
}

static void release(struct run *r)
{
    stream_writer_abort(r->writer);
    frame_release(&r->frame);
    header_release(&r->header);
    generator_close(r->generator);
    prompts_close(&r->prompts);
    model_close(r->model);
    model_close(r->reference);
    device_release(&r->device);
}

static int work(const char *input, int argc, char **argv, struct err *e)
{
    struct run r;
    memset(&r, 0, sizeof r);
    int result = device_open(&r.device, engine.device, e);
    if (result == 0)
        result = prompts_open(&r.prompts, input, e);
    if (result == 0)
        result = open_policy(&r, e);
    if (result == 0)
        result = set_options(&r, e);
    if (result == 0)
        result = describe(&r, argc, argv, e);
    if (result == 0)
        result = open_generator(&r, e);
    progress_init(&r.progress, !common.quiet);
    if (result == 0)
        result = follow || steps ? run_steps(&r, e) : run_once(&r, e);
    progress_clear(&r.progress);
    if (result == 0) {
        struct stream_writer *w = r.writer;
        r.writer = NULL;
        result = stream_writer_end(w, e);
    }
    if (result == 0)
        message_note("%llu samples, %llu tokens", (unsigned long long)r.records,
                     (unsigned long long)r.tokens);
    release(&r);
    return result;
}

int main(int argc, char **argv)
{
    struct operands operands;
    struct err e;
    int status = program_start(&program, argc, argv, &operands);
    if (status >= 0)
        return status;
    if ((status = common_apply(&common, 0)) || (status = engine_options_check(&program, &engine)))
        return status;
    if (lag && !follow)
        return program_usage(&program, "--lag needs --follow");
    if (work(operands.n ? operands.text[0] : NULL, argc, argv, &e) < 0)
        return io_exit_status(message_fail(&e));
    return STATUS_DONE;
}
