// SPDX-License-Identifier: MIT
#include "train/trainer.h"
#include "base/progress.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct trainer_options trainer_defaults = {
    .learning_rate = 5e-5,
    .beta1 = 0.9,
    .beta2 = 0.999,
    .epsilon = 1e-8,
    .max_grad_norm = 1,
    .scheduler = SCHEDULE_LINEAR,
    .optim = OPTIMIZER_ADAMW,
    .micro_batch_tokens = 1024,
    .batch_size = 8,
};

static float *make_moment(const struct model *m, struct err *e)
{
    float *p = aligned_alloc(64, m->n_flat * sizeof *p);
    if (!p)
        err_memory(e, m->n_flat * sizeof *p, "the optimizer's moments");
    else
        memset(p, 0, m->n_flat * sizeof *p);
    return p;
}

int trainer_init(struct trainer *t, struct model *m, struct device *device,
                 const struct trainer_options *o, int64_t total_steps, struct err *e)
{
    memset(t, 0, sizeof *t);
    t->model = m;
    t->device = device;
    t->max_grad_norm = o->max_grad_norm;
    t->micro_batch_tokens = (size_t)o->micro_batch_tokens;
    decoder_init(&t->decoder, m, device);
    arena_init(&t->arena);
    scorer_init(&t->scorer, m, device);
    t->scorer.batch_tokens = t->micro_batch_tokens;
    t->temperature = (float)o->temperature;
    t->ema_decay = o->ema;
    optimizer_init(&t->optimizer, o->optim);
    t->optimizer.beta1 = o->beta1;
    t->optimizer.beta2 = o->beta2;
    t->optimizer.epsilon = o->epsilon;
    t->optimizer.weight_decay = o->weight_decay;
    int64_t warmup = schedule_warmup(o->warmup_steps, o->warmup_ratio, total_steps);
    if (schedule_init(&t->schedule, o->scheduler, o->learning_rate, warmup, total_steps,
                      o->scheduler_kwargs, e) < 0)
        return -1;
    if (model_train(m, e) < 0)
        return -1;
    if (optimizer_has_m(o->optim) && !(t->m = make_moment(m, e)))
        return -1;
    if (optimizer_has_v(o->optim) && !(t->v = make_moment(m, e)))
        return -1;
    if (o->ema > 0) {
        if (!(t->ema = make_moment(m, e)))
            return -1;
        memcpy(t->ema, m->master, m->n_flat * sizeof *t->ema);
    }
    return 0;
}

void trainer_release(struct trainer *t)
{
    decoder_release(&t->decoder);
    arena_release(&t->arena);
    scorer_release(&t->scorer);
    free(t->m);
    free(t->v);
    free(t->ema);
    t->m = t->v = t->ema = NULL;
    struct sequence_sums *s = &t->sums;
    double *const part[] = {s->policy, s->frozen, s->log_ratio, s->value, s->c};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        free(part[i]);
    memset(s, 0, sizeof *s);
}

size_t trainer_bytes(const struct model *m, const struct trainer_options *o)
{
    size_t copies =
        2 + (size_t)optimizer_has_m(o->optim) + (size_t)optimizer_has_v(o->optim) + (o->ema > 0);
    size_t tokens = (size_t)o->micro_batch_tokens;
    size_t head = 3 * ((size_t)48 << 20);
    return copies * m->n_flat * sizeof(float) + decoder_work_bytes(m, tokens, tokens, 1) + head;
}

size_t trainer_first_pass_bytes(const struct model *m, const struct trainer_options *o)
{
    size_t tokens = (size_t)o->micro_batch_tokens;
    return decoder_work_bytes(m, tokens, tokens, 0);
}

// One micro-batch: what the head asks for while it passes over the vocabulary.
struct pass {
    const struct loss *loss;
    float *column[LOSS_COLUMNS_MAX]; // [n_wanted]
    float *value;
    const double *c;    // of a loss by sequence: c of each example of the micro-batch
    const float *given; // the same of each wanted position
    double scale;       // 1 / the step's normaliser
    struct loss_stats *stats;
};

static int pass_loss(void *arg, size_t first, size_t n, const float *logp, float *c, struct err *e)
{
    struct pass *p = arg;
    if (p->loss->by_sequence) {
        for (size_t i = 0; i < n; i++)
            c[i] = (float)(p->given[first + i] * p->scale);
        return 0;
    }
    struct loss_tokens tokens = {.n = n, .lp = logp};
    for (size_t i = 0; i < p->loss->n_columns; i++)
        tokens.column[i] = p->column[i] + first;
    if (loss_evaluate(p->loss, &tokens, p->value + first, c, p->stats, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        c[i] = (float)(c[i] * p->scale);
    return 0;
}

// c of a loss by sequence, spread over the trained tokens.
static int spread(struct trainer *t, struct pass *p, const struct example *example, size_t n,
                  size_t wanted, struct err *e)
{
    float *out = arena_alloc(&t->arena, wanted, sizeof *out, e);
    p->given = out;
    for (size_t i = 0; out && i < n; i++)
        for (size_t left = sequence_wanted(&example[i].sequence); left; left--)
            *out++ = (float)p->c[i];
    return out ? 0 : -1;
}

static int gather_columns(struct trainer *t, struct pass *p, const struct example *example,
                          size_t n, size_t wanted, struct err *e)
{
    if (p->loss->by_sequence)
        return spread(t, p, example, n, wanted, e);
    for (size_t k = 0; k < p->loss->n_columns; k++) {
        float *out = arena_alloc(&t->arena, wanted, sizeof *out, e);
        if (!out)
            return -1;
        p->column[k] = out;
        for (size_t i = 0; i < n; i++) {
            const struct sequence *s = &example[i].sequence;
            for (size_t at = 1; at < s->n; at++)
                if (!s->mask || s->mask[at])
                    *out++ = example[i].column[k][at];
        }
    }
    p->value = arena_alloc(&t->arena, wanted, sizeof *p->value, e);
    return p->value ? 0 : -1;
}

static void collect_exact(const struct exact_terms *exact, size_t n, struct step_report *report)
{
    struct exact_stats sums = {0};
    exact_terms_collect(exact, n, &sums);
    report->kl_exact += sums.kl;
    report->kl_exact_reverse += sums.reverse;
    report->loss += sums.loss;
}

static int micro_batch(struct trainer *t, const struct example *example, size_t n, size_t tokens,
                       struct pass *p, struct step_report *report, struct err *e)
{
    struct packer packer;
    struct batch b;
    arena_clear(&t->arena);
    if (packer_init(&packer, &t->arena, tokens, n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        packer_add(&packer, &example[i].sequence);
    packer_batch(&packer, &b);
    if (!b.n_wanted)
        return 0;
    if (t->exact && exact_terms_forward(t->exact, &b, p->scale, &t->arena, e) < 0)
        return -1;
    uint32_t *best = arena_alloc(&t->arena, b.n_wanted, sizeof *best, e);
    float *entropy = t->entropy ? arena_alloc(&t->arena, b.n_wanted, sizeof *entropy, e) : NULL;
    float *dhidden =
        arena_alloc(&t->arena, b.n_wanted * t->model->config.hidden, sizeof *dhidden, e);
    if (!best || !dhidden || (t->entropy && !entropy) ||
        gather_columns(t, p, example, n, b.n_wanted, e) < 0 ||
        decoder_forward(&t->decoder, &b, NULL, 1, e) < 0)
        return -1;
    struct head_result out = {.best = best, .entropy = entropy, .temperature = t->temperature};
    if (head_train(t->device, t->model, t->decoder.hidden, packer.target, b.n_wanted,
                   t->exact ? &t->exact->head : NULL, &out, pass_loss, p, dhidden, e) < 0 ||
        decoder_backward(&t->decoder, &b, dhidden, e) < 0)
        return -1;
    for (size_t i = 0; i < b.n_wanted; i++) {
        report->accuracy += best[i] == packer.target[i];
        report->entropy += entropy ? entropy[i] : 0;
        report->loss += p->loss->by_sequence ? 0 : p->value[i];
    }
    if (t->exact)
        collect_exact(t->exact, b.n_wanted, report);
    report->tokens += b.n;
    return 0;
}

static void update(struct trainer *t, struct step_report *report)
{
    struct model *m = t->model;
    double clip = optimizer_clip(report->grad_norm, t->max_grad_norm);
    optimizer_begin(&t->optimizer);
    for (size_t i = 0; i < m->n_parameters; i++) {
        const struct parameter *p = &m->parameter[i];
        optimizer_step(&t->optimizer, p->rows * p->cols, m->master + p->offset,
                       m->gradient + p->offset, t->m ? t->m + p->offset : NULL,
                       t->v ? t->v + p->offset : NULL, report->learning_rate, p->n_dims > 1, clip);
    }
    for (size_t i = 0; t->ema && i < m->n_flat; i++)
        t->ema[i] += (float)((1 - t->ema_decay) * ((double)m->master[i] - (double)t->ema[i]));
}

int trainer_update(struct trainer *t, struct step_report *report, struct err *e)
{
    report->grad_norm = sqrt(optimizer_sum_squares(t->model->gradient, t->model->n_flat));
    report->learning_rate = schedule_lr(&t->schedule, t->step);
    if (!isfinite(report->loss) || !isfinite(report->grad_norm))
        return err_set(e, STATUS_FAILED,
                       "update %lld: the %s is not finite; the weights were not changed",
                       (long long)t->step + 1, isfinite(report->loss) ? "gradient" : "loss");
    update(t, report);
    t->step++;
    t->num_tokens += report->trained;
    return 0;
}

// Tokens that go through the model: the last one is only a target.
static size_t passed_tokens(const struct example *e)
{
    return e->sequence.n > 1 ? e->sequence.n - 1 : 0;
}

static int reserve_sums(struct sequence_sums *s, size_t n, struct err *e)
{
    double **const part[] = {&s->policy, &s->frozen, &s->log_ratio, &s->value, &s->c};
    size_t capacity = s->capacity;
    for (size_t i = 0; i < sizeof part / sizeof *part; i++) {
        capacity = s->capacity;
        if (mem_grow((void **)part[i], &capacity, n, sizeof **part[i], "sums", e) < 0)
            return -1;
    }
    s->capacity = capacity;
    return 0;
}

// Sums over each example's trained tokens.
static void sum_examples(struct trainer *t, const struct example *example, size_t n,
                         const struct loss *loss, const float *logp)
{
    struct sequence_sums *sums = &t->sums;
    sums->n = n;
    for (size_t i = 0; i < n; i++) {
        const struct sequence *s = &example[i].sequence;
        sums->policy[i] = sums->frozen[i] = 0;
        for (size_t at = 1; at < s->n; at++)
            if (!s->mask || s->mask[at]) {
                sums->policy[i] += (double)*logp++;
                sums->frozen[i] += loss->frozen_self ? 0 : (double)example[i].column[0][at];
            }
        if (loss->frozen_self)
            sums->frozen[i] = sums->policy[i];
        sums->log_ratio[i] = sums->policy[i] - sums->frozen[i];
    }
}

// A loss by sequence: the pass without a way back, and the loss of the whole step.
static int sequence_pass(struct trainer *t, const struct example *example, size_t n, size_t trained,
                         const struct loss *loss, struct loss_stats *stats, size_t *where,
                         struct err *e)
{
    arena_clear(&t->arena);
    struct sequence *sequence = arena_alloc(&t->arena, n, sizeof *sequence, e);
    float *logp = arena_alloc(&t->arena, trained, sizeof *logp, e);
    if (!sequence || !logp || reserve_sums(&t->sums, n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        sequence[i] = example[i].sequence;
    struct head_result out = {.logp = logp, .temperature = t->temperature};
    if (scorer_run(&t->scorer, sequence, n, &out, where, e) < 0)
        return -1;
    sum_examples(t, example, n, loss, logp);
    struct loss_sequences s = {.n = n, .log_ratio = t->sums.log_ratio};
    return loss_evaluate_sequences(loss, &s, t->sums.value, t->sums.c, stats, where, e);
}

// What the sums of a step are divided by.
static double divisor_of(const struct loss *loss, enum normalize normalize, double constant,
                         size_t trained, size_t counted)
{
    if (loss->by_sequence)
        return (double)counted / (loss->kind->pairs ? 2 : 1);
    switch (normalize) {
    case NORMALIZE_TOKENS:
        return (double)trained;
    case NORMALIZE_SEQUENCES:
        return (double)counted;
    default:
        return (double)counted * constant;
    }
}

int trainer_step(struct trainer *t, const struct example *example, size_t n,
                 const struct loss *loss, enum normalize normalize, double constant,
                 struct step_report *report, struct err *e)
{
    double start = clock_seconds();
    struct loss_stats stats = {0};
    memset(report, 0, sizeof *report);
    report->where = n;
    size_t counted = 0;
    for (size_t i = 0; i < n; i++) {
        size_t wanted = sequence_wanted(&example[i].sequence);
        report->trained += wanted;
        counted += wanted > 0;
    }
    if (!report->trained)
        return err_set(e, STATUS_FAILED, "a batch of %zu sequences has no trained token", n);
    double divisor = divisor_of(loss, normalize, constant, report->trained, counted);
    if (loss->by_sequence &&
        sequence_pass(t, example, n, report->trained, loss, &stats, &report->where, e) < 0)
        return -1;
    report->where = n;
    struct pass pass = {.loss = loss, .scale = 1 / divisor, .stats = &stats};
    model_clear_gradient(t->model);
    for (size_t first = 0; first < n;) {
        size_t end = first, tokens = 0;
        while (end < n &&
               (end == first || tokens + passed_tokens(&example[end]) <= t->micro_batch_tokens))
            tokens += passed_tokens(&example[end++]);
        pass.c = loss->by_sequence ? t->sums.c + first : NULL;
        if (micro_batch(t, example + first, end - first, tokens, &pass, report, e) < 0)
            return -1;
        first = end;
    }
    report->loss = (loss->by_sequence ? stats.value : report->loss) / divisor;
    report->accuracy /= (double)report->trained;
    report->entropy /= (double)report->trained;
    report->kl = stats.kl / (double)report->trained;
    report->kl_exact /= (double)report->trained;
    report->kl_exact_reverse /= (double)report->trained;
    report->clipped = stats.clipped / (double)(loss->by_sequence ? counted : report->trained);
    if (trainer_update(t, report, e) < 0)
        return -1;
    report->seconds = clock_seconds() - start;
    return 0;
}
