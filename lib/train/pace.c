// SPDX-License-Identifier: MIT
#include "train/pace.h"
#include "base/board.h"
#include "base/memory_check.h"
#include "base/rng.h"
#include "base/thread.h"
#include "infer/scorer.h"
#include "model/generate.h"
#include "train/result.h"
#include "train/token_objective.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const pace_names[PACES] = {"scoring", "drawing", "prompted", "training"};

// Sequences of one length with any tokens, all of them wanted.
struct made_up {
    uint32_t *token;
    struct sequence *sequence;
    size_t n;
};

static int make_up(struct made_up *u, const struct model *m, size_t n, size_t length, struct err *e)
{
    struct rng rng;
    rng_init(&rng, 0, RNG_RECORDS, 0, 0);
    *u = (struct made_up){.n = n};
    u->token = mem_alloc(n * length, sizeof *u->token, "tokens", e);
    u->sequence = mem_alloc(n, sizeof *u->sequence, "sequences", e);
    if (!u->token || !u->sequence)
        return -1;
    for (size_t i = 0; i < n * length; i++)
        u->token[i] = (uint32_t)rng_below(&rng, m->config.vocab);
    for (size_t i = 0; i < n; i++)
        u->sequence[i] = (struct sequence){.token = u->token + i * length, .n = length};
    return 0;
}

static void made_up_release(struct made_up *u)
{
    free(u->token);
    free(u->sequence);
}

// How many whole sequences a micro-batch holds.
static size_t filling(size_t tokens, size_t length)
{
    return tokens / (length - 1) ? tokens / (length - 1) : 1;
}

static int score(struct scorer *s, const struct made_up *u, double limit, double *rate,
                 struct err *e)
{
    size_t rows = u->n * (u->sequence[0].n - 1), where, rounds = 0;
    float *logp = mem_alloc(rows, sizeof *logp, "scores", e);
    struct head_result out = {.logp = logp};
    // The first round brings weights and work space into memory.
    int result = logp ? scorer_run(s, u->sequence, u->n, &out, &where, e) : -1;
    double start = clock_seconds(), seconds = 0;
    while (result == 0 && seconds < limit) {
        result = scorer_run(s, u->sequence, u->n, &out, &where, e);
        rounds++;
        seconds = clock_seconds() - start;
    }
    if (result == 0)
        *rate = (double)(rounds * rows) / seconds;
    free(logp);
    return result;
}

static int measure_scoring(struct model *m, struct device *d, const struct needs_options *o,
                           double limit, double *rate, struct err *e)
{
    struct made_up u;
    struct scorer s;
    int result = make_up(&u, m, filling(PASS_TOKENS, o->length), o->length, e);
    scorer_init(&s, m, d);
    if (result == 0)
        result = score(&s, &u, limit, rate, e);
    scorer_release(&s);
    made_up_release(&u);
    return result;
}

// Samples of one prompt, which is half of each sequence: as far as the middle one of a run's.
static int draw(struct generator *g, const struct made_up *u, size_t slots, double limit,
                double *rate, struct err *e)
{
    const struct sequence *prompt = &u->sequence[0];
    if (generator_add(g, prompt->token, prompt->n, slots, 0, NULL, e) < 0 ||
        generator_step(g, e) < 0)
        return -1;
    double start = clock_seconds(), seconds = 0;
    uint64_t before = generator_drawn(g);
    while (seconds < limit && generator_pending(g)) {
        if (generator_step(g, e) < 0)
            return -1;
        seconds = clock_seconds() - start;
    }
    *rate = seconds > 0 ? (double)(generator_drawn(g) - before) / seconds : 0;
    return 0;
}

static int measure_drawing(struct model *m, struct device *d, const struct needs_options *o,
                           double limit, double *rate, struct err *e)
{
    struct made_up u;
    struct generate_options options = {
        .sampling = {.temperature = 1, .top_p = 1, .repetition_penalty = 1},
        .max_new_tokens = o->length - o->length / 2,
        .slots = o->in_flight};
    struct generator *g = NULL;
    int result = make_up(&u, m, 1, o->length / 2, e);
    if (result == 0)
        result = (g = generator_open(m, NULL, d, &options, e)) ? 0 : -1;
    if (result == 0)
        result = draw(g, &u, o->in_flight, limit, rate, e);
    generator_close(g);
    made_up_release(&u);
    return result;
}

static int step(struct trainer *t, struct token_objective *objective, const struct made_up *u,
                size_t n, double *seconds, struct err *e)
{
    struct step_report report;
    struct trainer_example *example = mem_alloc(n, sizeof *example, "examples", e);
    if (!example)
        return -1;
    for (size_t i = 0; i < n; i++)
        example[i].sequence = u->sequence[i];
    int result = trainer_step(t, example, n, &objective->objective, &report, e);
    *seconds = report.seconds;
    free(example);
    return result;
}

// An update has costs of its own: gradient, norm, optimizer. They are found by one of two tokens;
// what is more in a whole micro-batch is its tokens'.
static int train(struct trainer *t, struct token_objective *objective, const struct made_up *u,
                 const struct made_up *tiny, size_t batch, double limit, double *rate,
                 struct err *e)
{
    double first, own = 0, seconds = 0, total = 0;
    size_t rows = u->n * (u->sequence[0].n - 1), rounds = 0;
    if (step(t, objective, u, u->n, &first, e) < 0)
        return -1;
    for (int i = 0; i < 2; i++)
        if (step(t, objective, tiny, 1, &own, e) < 0)
            return -1;
    for (; rounds == 0 || total < limit; rounds++) {
        if (step(t, objective, u, u->n, &seconds, e) < 0)
            return -1;
        total += seconds;
    }
    double more = total / (double)rounds - own;
    double tokens = (double)(batch * (u->sequence[0].n - 1));
    *rate = tokens / (own + (more > 0 ? more : 0) / (double)rows * tokens);
    return 0;
}

static int measure_training(struct model *m, struct device *d, const struct needs_options *o,
                            size_t batch, double limit, double *rate, struct err *e)
{
    struct made_up u, tiny = {0};
    struct trainer t;
    struct token_objective objective;
    struct trainer_options options = o->train;
    struct loss loss;
    options.learning_rate = 0; // all the work, and no change
    options.weight_decay = 0;
    options.scheduler = SCHEDULE_CONSTANT;
    size_t most = filling((size_t)o->train.micro_batch_tokens, o->length);
    int result = make_up(&u, m, most < batch ? most : batch, o->length, e);
    if (result == 0)
        result = make_up(&tiny, m, 1, 2, e);
    memset(&t, 0, sizeof t);
    memset(&objective, 0, sizeof objective);
    if (result == 0)
        result = loss_init(&loss, "nll", e);
    if (result == 0)
        result = trainer_init(&t, m, d, &options, 1, e);
    if (result == 0) {
        token_objective_init(&objective, &loss, m, d, &options);
        objective.entropy = 1;
        result = train(&t, &objective, &u, &tiny, batch, limit, rate, e);
        token_objective_release(&objective);
    }
    trainer_release(&t);
    made_up_release(&tiny);
    made_up_release(&u);
    return result;
}

// Whether the memory is there; if not, why the kind is left out.
static int fits(struct pace *p, enum pace_kind kind, const struct need *n)
{
    struct err e;
    if (memory_check(n->trained + n->work + n->cache, pace_names[kind], 0, &e) == 0)
        return 1;
    snprintf(p->why[kind], sizeof p->why[kind], "%.150s", e.text);
    return 0;
}

// Prompts pass through the model as what is scored does.
static void add_prompts(struct pace *p)
{
    double score = p->rate[PACE_SCORING], draw = p->rate[PACE_DRAWING];
    if (score > 0 && draw > 0)
        p->rate[PACE_PROMPTED] = 1 / (1 / draw + 1 / score);
    else
        memcpy(p->why[PACE_PROMPTED], p->why[score > 0 ? PACE_DRAWING : PACE_SCORING],
               sizeof p->why[PACE_PROMPTED]);
}

int pace_measure(struct pace *p, struct model *m, struct device *d,
                 const struct needs_options *needs, double seconds, struct err *e)
{
    struct need need[NEEDS];
    memset(p, 0, sizeof *p);
    p->batch = needs->batch_size ? needs->batch_size : RESULT_BATCH;
    needs_find(m, needs, need);
    if (m->config.head != HEAD_VOCABULARY)
        return err_set(e, STATUS_USAGE, "--time: %s is a reward model, which draws nothing",
                       m->path);
    if (needs->length < 4)
        return err_set(e, STATUS_USAGE, "--time: sequences of %zu tokens tell nothing",
                       needs->length);
    if (fits(p, PACE_SCORING, &need[NEED_LOGPROB]) &&
        measure_scoring(m, d, needs, seconds, &p->rate[PACE_SCORING], e) < 0)
        return -1;
    if (fits(p, PACE_DRAWING, &need[NEED_ROLLOUT]) &&
        measure_drawing(m, d, needs, seconds, &p->rate[PACE_DRAWING], e) < 0)
        return -1;
    add_prompts(p);
    if (fits(p, PACE_TRAINING, &need[NEED_SFT]) &&
        measure_training(m, d, needs, p->batch, seconds, &p->rate[PACE_TRAINING], e) < 0)
        return -1;
    return 0;
}

// Sequences that go together; 0: that does not count.
static size_t together(const struct pace *p, const struct needs_options *o, int kind)
{
    return kind == PACE_TRAINING ? p->batch : kind == PACE_SCORING ? 0 : o->in_flight;
}

void pace_print(const struct pace *p, const struct needs_options *o, uint64_t tokens, FILE *out)
{
    fprintf(out,
            "time           measured just now, on this machine as busy as it is, with %d thread%s, "
            "sequences of %zu tokens\n",
            threads_count(), threads_count() == 1 ? "" : "s", o->length);
    for (int i = 0; i < PACES; i++) {
        char batch[24] = "", time[32];
        if (together(p, o, i))
            snprintf(batch, sizeof batch, "%zu", together(p, o, i));
        if (p->rate[i] <= 0) {
            fprintf(out, "  %-16s %6s %s\n", pace_names[i], batch, p->why[i]);
            continue;
        }
        duration_print(time, (double)tokens / p->rate[i]);
        fprintf(out, "  %-16s %6s %10.0f tokens/s, %s for %llu tokens\n", pace_names[i], batch,
                p->rate[i], time, (unsigned long long)tokens);
    }
}

static json_t *kind_json(const struct pace *p, const struct needs_options *o, int kind,
                         uint64_t tokens)
{
    if (p->rate[kind] <= 0)
        return json_pack("{s:s}", "not_measured", p->why[kind]);
    return json_pack("{s:I, s:f, s:f}", "batch", (json_int_t)together(p, o, kind),
                     "tokens_per_second", p->rate[kind], "seconds", (double)tokens / p->rate[kind]);
}

json_t *pace_json(const struct pace *p, const struct needs_options *o, uint64_t tokens)
{
    json_t *all = json_pack("{s:i, s:I, s:I}", "threads", threads_count(), "max_length",
                            (json_int_t)o->length, "tokens", (json_int_t)tokens);
    for (int i = 0; i < PACES; i++)
        json_object_set_new(all, pace_names[i], kind_json(p, o, i, tokens));
    return all;
}
