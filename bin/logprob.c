// SPDX-License-Identifier: MIT
// logprob: teacher-forced log-probability of every trained token under a model, as a column.
#include "base/io.h"
#include "base/option.h"
#include "base/progress.h"
#include "learn/memory_check.h"
#include "learn/scorer.h"
#include "stream/pass.h"
#include "text/tokenizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct common common;
static struct engine_options engine;
static const char *name;
static int all, entropy;
static int64_t top;

static const struct option_spec options[] = {
    OPTIONS_ENGINE(&engine),
    OPT_GROUP("Columns"),
    OPT_TEXT(0, "as", &name, "NAME", "write logp:NAME (with --entropy also entropy:NAME)"),
    OPT_FLAG(0, "all", &all, "score every token but the first, not only those with mask 1"),
    OPT_FLAG(0, "entropy", &entropy,
             "also write the entropy of the distribution that the token was drawn from"),
    OPT_INT(0, "top-logprobs", &top, "K", 0, 20,
            "also write the K most likely tokens there: columns top1:NAME and top1-logp:NAME, ..."),
    OPTIONS_COMMON(&common),
};

static const struct program program = {
    .name = "logprob",
    .operands = "[STREAM]",
    .summary = "Score each trained token of a stream under a model.",
    .details = "The value at token t is log p(token t | tokens 0 .. t-1): natural logarithm, "
               "temperature 1, no truncation. Tokens that were not asked for are null.",
    .examples = "  logprob -m sft --as sft < rollouts.toks | logprob -m sft/half --as half\n"
                "  logprob -m sft --as sft --all demos.toks | toks stat\n",
    .options = options,
    .operands_min = 0,
    .operands_max = 1,
};

// Where the results of a frame go.
struct columns {
    int logp, entropy, top[20], top_logp[20], mask;
};

static int add_columns(struct stream_header *h, struct columns *c, const char *where, struct err *e)
{
    char text[300];
    c->mask = header_find(h, "mask");
    if (!all && (c->mask = header_require(h, "mask", COLUMN_U8, PER_TOKEN, where, e)) < 0)
        return -1;
    snprintf(text, sizeof text, "logp:%s", name);
    if ((c->logp = header_add_column(h, text, COLUMN_F32, PER_TOKEN, e)) < 0)
        return -1;
    snprintf(text, sizeof text, "entropy:%s", name);
    if (entropy && (c->entropy = header_add_column(h, text, COLUMN_F32, PER_TOKEN, e)) < 0)
        return -1;
    for (int k = 0; k < top; k++) {
        snprintf(text, sizeof text, "top%d:%s", k + 1, name);
        if ((c->top[k] = header_add_column(h, text, COLUMN_U32, PER_TOKEN, e)) < 0)
            return -1;
        snprintf(text, sizeof text, "top%d-logp:%s", k + 1, name);
        if ((c->top_logp[k] = header_add_column(h, text, COLUMN_F32, PER_TOKEN, e)) < 0)
            return -1;
    }
    return 0;
}

struct results {
    struct sequence *sequence;
    float *logp, *entropy, *top_logp;
    uint32_t *top;
};

static int make_results(struct results *r, struct arena *arena, const struct frame *f,
                        const struct columns *c, size_t *wanted, struct err *e)
{
    r->sequence = arena_alloc(arena, f->n_sequences, sizeof *r->sequence, e);
    if (!r->sequence)
        return -1;
    *wanted = 0;
    for (size_t i = 0; i < f->n_sequences; i++) {
        size_t start = f->start[i];
        r->sequence[i] = (struct sequence){.token = f->column[COLUMN_TOKEN].u32 + start,
                                           .mask = all ? NULL : f->column[c->mask].u8 + start,
                                           .n = frame_length(f, i)};
        *wanted += sequence_wanted(&r->sequence[i]);
    }
    r->logp = arena_alloc(arena, *wanted, sizeof(float), e);
    r->entropy = entropy ? arena_alloc(arena, *wanted, sizeof(float), e) : NULL;
    r->top = arena_alloc(arena, *wanted * (size_t)top, sizeof(uint32_t), e);
    r->top_logp = arena_alloc(arena, *wanted * (size_t)top, sizeof(float), e);
    return r->logp && (r->entropy || !entropy) && r->top && r->top_logp ? 0 : -1;
}

static void store_results(const struct results *r, struct frame *f, const struct columns *c)
{
    size_t at = 0;
    for (size_t i = 0; i < f->n_sequences; i++)
        for (size_t t = 1; t < r->sequence[i].n; t++) {
            if (r->sequence[i].mask && !r->sequence[i].mask[t])
                continue;
            size_t place = f->start[i] + t;
            f->column[c->logp].f32[place] = r->logp[at];
            if (entropy)
                f->column[c->entropy].f32[place] = r->entropy[at];
            for (size_t k = 0; k < (size_t)top; k++) {
                f->column[c->top[k]].u32[place] = r->top[at * (size_t)top + k];
                f->column[c->top_logp[k]].f32[place] = r->top_logp[at * (size_t)top + k];
            }
            at++;
        }
}

static int score_frame(struct scorer *scorer, struct frame *f, const struct columns *c,
                       struct arena *arena, const char *where, struct err *e)
{
    struct results r;
    size_t wanted, at = 0;
    arena_clear(arena);
    if (make_results(&r, arena, f, c, &wanted, e) < 0)
        return -1;
    struct head_result out = {.logp = r.logp,
                              .entropy = r.entropy,
                              .k = (size_t)top,
                              .top = r.top,
                              .top_logp = r.top_logp};
    if (scorer_run(scorer, r.sequence, f->n_sequences, &out, &at, e) < 0) {
        size_t size;
        const char *id = frame_string(f, COLUMN_ID, at < f->n_sequences ? at : 0, &size);
        return err_prefix(e, "%s: record `%.*s`", where, (int)size, id);
    }
    store_results(&r, f, c);
    return 0;
}

static int check_model(const struct model *m, const struct stream_header *h, const char *where,
                       struct err *e)
{
    char fingerprint[24];
    int found;
    if ((size_t)top > m->config.vocab)
        return err_set(e, STATUS_USAGE, "--top-logprobs %lld: model %s has only %zu tokens",
                       (long long)top, engine.model, m->config.vocab);
    if (tokenizer_fingerprint_of(engine.model, fingerprint, &found, e) < 0)
        return -1;
    if (header_check_tokenizer(h, found ? fingerprint : NULL, where, e) < 0)
        return -1;
    if (h->vocab_size > 0 && (size_t)h->vocab_size > m->config.vocab)
        return err_set(e, STATUS_STREAM,
                       "%s: its vocabulary of %lld is larger than the %zu of model %s", where,
                       (long long)h->vocab_size, m->config.vocab, engine.model);
    return 0;
}

static int open_output(struct stream_pass *p, const struct model *m, struct columns *c, int argc,
                       char **argv, struct err *e)
{
    const char *where = stream_reader_name(p->reader);
    char fingerprint[24];
    if (check_model(m, &p->header, where, e) < 0 || add_columns(&p->header, c, where, e) < 0 ||
        model_fingerprint(m, fingerprint, e) < 0 ||
        header_add_provenance(&p->header, "logprob", argc, argv, common.seed,
                              json_pack("{s:s}", name, fingerprint), e) < 0)
        return -1;
    return pass_start(p, common.output, e);
}

static int run(struct stream_pass *p, struct scorer *scorer, const struct columns *c, struct err *e)
{
    struct arena arena;
    struct progress progress;
    arena_init(&arena);
    progress_init(&progress, !common.quiet);
    int more;
    while ((more = pass_next(p, e)) > 0) {
        if (score_frame(scorer, &p->frame, c, &arena, stream_reader_name(p->reader), e) < 0 ||
            pass_write(p, e) < 0) {
            more = -1;
            break;
        }
        uint64_t tokens = stream_reader_tokens(p->reader);
        progress_update(&progress, "logprob: %llu tokens, %.0f a second",
                        (unsigned long long)tokens,
                        (double)tokens / (clock_seconds() - progress.started + 1e-9));
    }
    progress_clear(&progress);
    arena_release(&arena);
    return more < 0 ? -1 : pass_end(p, e);
}

static int work(const char *input, int argc, char **argv, struct err *e)
{
    struct stream_pass pass;
    struct device device;
    struct columns columns = {0};
    struct scorer scorer;
    if (device_open(&device, engine.device, e) < 0)
        return -1;
    struct model *m = model_open(engine.model, e);
    if (!m) {
        device_release(&device);
        return -1;
    }
    scorer_init(&scorer, m, &device);
    int result = pass_open(&pass, input, e);
    if (result == 0)
        result = memory_check(decoder_work_bytes(m, scorer.batch_tokens, scorer.batch_tokens, 0),
                              "scoring", common.verbose, e);
    if (result == 0)
        result = open_output(&pass, m, &columns, argc, argv, e);
    if (result == 0)
        result = run(&pass, &scorer, &columns, e);
    pass_release(&pass);
    scorer_release(&scorer);
    model_close(m);
    device_release(&device);
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
    if (!name || !*name)
        return program_usage(&program, "--as NAME is missing: what should the column be called?");
    if (work(operands.n ? operands.text[0] : NULL, argc, argv, &e) < 0)
        return io_exit_status(message_fail(&e));
    return STATUS_DONE;
}
