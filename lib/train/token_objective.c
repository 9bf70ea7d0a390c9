// SPDX-License-Identifier: MIT
#include "train/token_objective.h"

#include <string.h>

static int make_sums(struct token_objective *t, size_t n, struct err *e)
{
    struct sequence_sums *s = &t->sums;
    double **const part[] = {&s->policy, &s->frozen, &s->log_ratio, &s->value, &s->c};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        if (!(*part[i] = arena_alloc(&t->arena, n, sizeof **part[i], e)))
            return -1;
    s->n = n;
    return 0;
}

// Sums over each example's trained tokens.
static void sum_examples(struct token_objective *t, const struct step *s, const float *logp)
{
    struct sequence_sums *sums = &t->sums;
    int frozen_self = t->loss->frozen_self;
    for (size_t i = 0; i < s->n; i++) {
        const struct sequence *q = &s->sequence[i];
        sums->policy[i] = sums->frozen[i] = 0;
        for (size_t at = 1; at < q->n; at++)
            if (!q->mask || q->mask[at]) {
                sums->policy[i] += (double)*logp++;
                sums->frozen[i] += frozen_self ? 0 : (double)s->example[i].column[0][at];
            }
        if (frozen_self)
            sums->frozen[i] = sums->policy[i];
        sums->log_ratio[i] = sums->policy[i] - sums->frozen[i];
    }
}

// A loss by sequence: the pass without a way back, and the loss of the whole step.
static int sequence_pass(struct token_objective *t, const struct step *s, struct err *e)
{
    arena_clear(&t->arena);
    float *logp = arena_alloc(&t->arena, s->report->trained, sizeof *logp, e);
    if (!logp || make_sums(t, s->n, e) < 0)
        return -1;
    struct head_result out = {.logp = logp, .temperature = t->temperature};
    if (scorer_run(&t->scorer, s->sequence, s->n, &out, &s->report->where, e) < 0)
        return -1;
    sum_examples(t, s, logp);
    struct loss_sequences q = {.n = s->n, .log_ratio = t->sums.log_ratio};
    return loss_evaluate_sequences(t->loss, &q, t->sums.value, t->sums.c, &t->stats,
                                   &s->report->where, e);
}

// What the sums of a step are divided by.
static double find_divisor(const struct token_objective *t, const struct step *s)
{
    double counted = (double)s->counted;
    if (t->loss->by_sequence)
        return counted / (t->loss->kind->use == LOSS_ON_PAIRS ? 2 : 1);
    switch (t->normalize) {
    case NORMALIZE_TOKENS:
        return (double)s->report->trained;
    case NORMALIZE_SEQUENCES:
        return counted;
    default:
        return counted * t->constant;
    }
}

static int begin(struct objective *o, const struct step *s, struct err *e)
{
    struct token_objective *t = (struct token_objective *)o;
    memset(&t->stats, 0, sizeof t->stats);
    t->divisor = find_divisor(t, s);
    return t->loss->by_sequence ? sequence_pass(t, s, e) : 0;
}

// c of a loss by sequence, spread over the trained tokens.
static void spread(struct token_objective *t, const struct pass *p, float *out)
{
    t->given = out;
    for (size_t i = p->first; i < p->first + p->n; i++)
        for (size_t left = sequence_wanted(&p->sequence[i]); left; left--)
            *out++ = (float)t->sums.c[i];
}

static void gather_column(const struct step *s, const struct pass *p, size_t k, float *out)
{
    for (size_t i = p->first; i < p->first + p->n; i++) {
        const struct sequence *q = &s->sequence[i];
        for (size_t at = 1; at < q->n; at++)
            if (!q->mask || q->mask[at])
                *out++ = s->example[i].column[k][at];
    }
}

static void gather_weight(const struct step *s, const struct pass *p, float *out)
{
    for (size_t i = p->first; i < p->first + p->n; i++) {
        const struct sequence *q = &s->sequence[i];
        for (size_t at = 1; at < q->n; at++)
            if (!q->mask || q->mask[at])
                *out++ = s->example[i].weight[at];
    }
}

// What the loss is given at the micro-batch's trained tokens.
static int gather(struct token_objective *t, const struct step *s, struct pass *p, struct err *e)
{
    size_t n = p->batch.n_wanted;
    float *given = arena_alloc(&p->arena, n, sizeof *given, e);
    if (!given)
        return -1;
    if (t->loss->by_sequence) {
        spread(t, p, given);
        return 0;
    }
    t->value = given;
    for (size_t k = 0; k < t->loss->n_columns; k++) {
        if (!(t->column[k] = arena_alloc(&p->arena, n, sizeof *t->column[k], e)))
            return -1;
        gather_column(s, p, k, t->column[k]);
    }
    t->weight = NULL;
    if (!s->example[0].weight)
        return 0;
    if (!(t->weight = arena_alloc(&p->arena, n, sizeof *t->weight, e)))
        return -1;
    gather_weight(s, p, t->weight);
    return 0;
}

static int prepare(struct objective *o, const struct step *s, struct pass *p, struct err *e)
{
    struct token_objective *t = (struct token_objective *)o;
    size_t n = p->batch.n_wanted;
    if (t->exact && exact_terms_forward(t->exact, &p->batch, 1 / t->divisor, &p->arena, e) < 0)
        return -1;
    t->best = arena_alloc(&p->arena, n, sizeof *t->best, e);
    t->row_entropy = t->entropy ? arena_alloc(&p->arena, n, sizeof *t->row_entropy, e) : NULL;
    if (!t->best || (t->entropy && !t->row_entropy))
        return -1;
    return gather(t, s, p, e);
}

// What the head asks for while it passes over the vocabulary.
static int ask(void *arg, size_t first, size_t n, const float *logp, float *c, struct err *e)
{
    struct token_objective *t = arg;
    double scale = 1 / t->divisor;
    if (t->loss->by_sequence) {
        for (size_t i = 0; i < n; i++)
            c[i] = (float)(t->given[first + i] * scale);
        return 0;
    }
    struct loss_tokens tokens = {
        .n = n, .lp = logp, .weight = t->weight ? t->weight + first : NULL};
    for (size_t i = 0; i < t->loss->n_columns; i++)
        tokens.column[i] = t->column[i] + first;
    if (loss_evaluate(t->loss, &tokens, t->value + first, c, &t->stats, e) < 0) {
        t->failed = first + t->stats.where;
        return -1;
    }
    for (size_t i = 0; i < n; i++)
        c[i] = (float)(c[i] * scale);
    return 0;
}

static void collect(const struct token_objective *t, const struct pass *p,
                    struct step_report *report)
{
    size_t n = p->batch.n_wanted;
    for (size_t i = 0; i < n; i++) {
        report->accuracy += t->best[i] == p->packer.target[i];
        report->entropy += t->row_entropy ? t->row_entropy[i] : 0;
        report->loss += t->loss->by_sequence ? 0 : t->value[i];
    }
    if (t->exact) {
        struct exact_stats sums = {0};
        exact_terms_collect(t->exact, n, &sums);
        report->kl_exact += sums.kl;
        report->kl_exact_reverse += sums.reverse;
        report->loss += sums.loss;
    }
}

// The record where the loss failed, for the report, and its token, for the message.
static void tell_failure(const struct token_objective *t, const struct step *s,
                         const struct pass *p, struct err *e)
{
    size_t left = t->failed, i = p->first;
    while (i < p->first + p->n && left >= sequence_wanted(&p->sequence[i]))
        left -= sequence_wanted(&p->sequence[i++]);
    if (i == p->first + p->n)
        return;
    s->report->where = i;
    err_prefix(e, "trained token %zu", left + 1);
}

static int head(struct objective *o, const struct step *s, struct pass *p, float *dhidden,
                struct err *e)
{
    struct token_objective *t = (struct token_objective *)o;
    struct head_result out = {
        .best = t->best, .entropy = t->row_entropy, .temperature = t->temperature};
    t->failed = SIZE_MAX;
    if (head_train(p->device, p->model, p->decoder.hidden, p->packer.target, p->batch.n_wanted,
                   t->exact ? &t->exact->head : NULL, &out, ask, t, dhidden, e) < 0) {
        tell_failure(t, s, p, e);
        return -1;
    }
    collect(t, p, s->report);
    return 0;
}

static void end(struct objective *o, const struct step *s)
{
    const struct token_objective *t = (const struct token_objective *)o;
    struct step_report *r = s->report;
    double trained = (double)r->trained;
    int by_sequence = t->loss->by_sequence;
    r->loss = (by_sequence ? t->stats.value : r->loss) / t->divisor;
    r->accuracy /= trained;
    r->entropy /= trained;
    r->kl = t->stats.kl / trained;
    r->kl_exact /= trained;
    r->kl_exact_reverse /= trained;
    r->clipped = t->stats.clipped / (by_sequence ? (double)s->counted : trained);
}

static void metrics(const struct objective *o, const struct step_report *p, json_t *line)
{
    const struct token_objective *t = (const struct token_objective *)o;
    const struct {
        int measured;
        const char *name;
        double value;
    } figure[] = {{1, "mean_token_accuracy", p->accuracy},
                  {t->entropy, "entropy", p->entropy},
                  {t->loss->has_kl, "kl", p->kl},
                  {t->exact && t->exact->has_kl, "kl_exact", p->kl_exact},
                  {t->exact && t->exact->has_reverse, "kl_exact_reverse", p->kl_exact_reverse},
                  {t->loss->kind->clips, "clip_fraction", p->clipped}};
    for (size_t i = 0; i < sizeof figure / sizeof *figure; i++)
        if (figure[i].measured)
            json_object_set_new(line, figure[i].name, json_real(figure[i].value));
}

json_t *token_objective_settings(const struct loss *l)
{
    const double *p = l->parameters.value;
    return json_pack("{s:s, s:f, s:f, s:f, s:i}", "reference",
                     l->frozen_self ? "self" : l->reference, "beta", p[LOSS_BETA], "alpha",
                     p[LOSS_ALPHA], "offset", p[LOSS_OFFSET], "per-sequence", l->by_sequence);
}

void token_objective_init(struct token_objective *t, const struct loss *loss, struct model *m,
                          struct device *device, const struct trainer_options *o)
{
    memset(t, 0, sizeof *t);
    t->objective = (struct objective){.group = 1,
                                      .begin = begin,
                                      .prepare = prepare,
                                      .head = head,
                                      .end = end,
                                      .metrics = metrics};
    t->loss = loss;
    t->temperature = (float)o->temperature;
    scorer_init(&t->scorer, m, device);
    t->scorer.pass.batch_tokens = (size_t)o->micro_batch_tokens;
    arena_init(&t->arena);
}

void token_objective_release(struct token_objective *t)
{
    scorer_release(&t->scorer);
    arena_release(&t->arena);
    memset(t, 0, sizeof *t);
}

struct work_bytes token_objective_bytes(const struct loss *loss, const struct device *d,
                                        const struct model *m, const struct pass_size *s)
{
    struct work_bytes head = {.scratch = head_train_bytes(d, m, s->tokens)};
    return loss->by_sequence ? work_bytes_add(head, pass_bytes(d, m, s, 0)) : head;
}
