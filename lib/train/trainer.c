// SPDX-License-Identifier: MIT
#include "train/trainer.h"
#include "base/progress.h"
#include "base/thread.h"

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
};

static const char moments[] = "the optimizer's moments";

static int open_schedule(struct schedule *s, const struct trainer_options *o, int64_t total_steps,
                         struct err *e)
{
    int64_t warmup = schedule_warmup(o->warmup_steps, o->warmup_ratio, total_steps);
    return schedule_init(s, o->scheduler, o->learning_rate, warmup, total_steps,
                         o->scheduler_kwargs, e);
}

int trainer_check(const struct trainer_options *o, int64_t total_steps, struct err *e)
{
    struct schedule schedule;
    return open_schedule(&schedule, o, total_steps, e);
}

int trainer_init(struct trainer *t, struct model *m, struct device *device,
                 const struct trainer_options *o, int64_t total_steps, struct err *e)
{
    memset(t, 0, sizeof *t);
    t->model = m;
    t->max_grad_norm = o->max_grad_norm;
    pass_init(&t->pass, m, device);
    t->pass.batch_tokens = (size_t)o->micro_batch_tokens;
    arena_init(&t->arena);
    t->ema_decay = o->ema;
    optimizer_init(&t->optimizer, o->optim);
    t->optimizer.beta1 = o->beta1;
    t->optimizer.beta2 = o->beta2;
    t->optimizer.epsilon = o->epsilon;
    t->optimizer.weight_decay = o->weight_decay;
    if (open_schedule(&t->schedule, o, total_steps, e) < 0)
        return -1;
    if (model_place(m, device, e) < 0 || model_train(m, e) < 0)
        return -1;
    if (optimizer_has_m(o->optim) && !(t->m = model_zeros(m, moments, e)))
        return -1;
    if (optimizer_has_v(o->optim) && !(t->v = model_zeros(m, moments, e)))
        return -1;
    if (o->ema > 0) {
        if (!(t->ema = model_zeros(m, "the average of weights", e)) ||
            model_copy(m, t->ema, m->master, e) < 0)
            return -1;
    }
    return 0;
}

void trainer_release(struct trainer *t)
{
    pass_release(&t->pass);
    arena_release(&t->arena);
    if (t->model) {
        model_free(t->model, t->m);
        model_free(t->model, t->v);
        model_free(t->model, t->ema);
    }
    t->m = t->v = t->ema = NULL;
}

size_t trainer_copies(const struct trainer_options *o)
{
    return 1 + (size_t)optimizer_has_m(o->optim) + (size_t)optimizer_has_v(o->optim) + (o->ema > 0);
}

size_t trainer_weight_bytes(const struct trainer_options *o, size_t weights)
{
    return (trainer_copies(o) + 1) * weights * sizeof(float); // and the gradient
}

struct work_bytes trainer_work_bytes(const struct device *d, const struct model *m,
                                     const struct pass_size *s, size_t kept)
{
    size_t dhidden = s->tokens * m->config.end_width * sizeof(float);
    struct work_bytes beside = {.held = dhidden};
    return work_bytes_add(pass_bytes(d, m, s, kept), beside);
}

static int move_weights(struct trainer *t, struct step_report *report, struct err *e)
{
    struct model *m = t->model;
    struct device *d = t->pass.device;
    double clip = optimizer_clip(report->grad_norm, t->max_grad_norm);
    optimizer_begin(&t->optimizer);
    for (size_t i = 0; i < m->n_parameters; i++) {
        const struct parameter *p = &m->parameter[i];
        if (optimizer_step(&t->optimizer, d, p->rows * p->cols, m->master + p->offset,
                           m->gradient + p->offset, t->m ? t->m + p->offset : NULL,
                           t->v ? t->v + p->offset : NULL, report->learning_rate, p->n_dims > 1,
                           clip, e) < 0)
            return -1;
    }
    return t->ema ? d->ops->average(d, t->ema, m->master, 1 - t->ema_decay, m->n_flat, e) : 0;
}

static int update_weights(struct trainer *t, struct step_report *report, struct err *e)
{
    report->learning_rate = schedule_lr(&t->schedule, t->step);
    if (!isfinite(report->loss) || !isfinite(report->grad_norm))
        return err_set(e, STATUS_FAILED,
                       "update %lld: the %s is not finite; the weights were not changed",
                       (long long)t->step + 1, isfinite(report->loss) ? "gradient" : "loss");
    if (move_weights(t, report, e) < 0)
        return -1;
    t->step++;
    t->num_tokens += report->trained;
    return 0;
}

static int micro_batch(struct trainer *t, struct objective *o, const struct step *s, struct err *e)
{
    struct pass *p = &t->pass;
    if ((o->prepare && o->prepare(o, s, p, e) < 0) || pass_forward(p, 1, e) < 0)
        return -1;
    float *dhidden = decoder_gradient(&p->decoder, e);
    if (!dhidden || o->head(o, s, p, dhidden, e) < 0 ||
        decoder_backward(&p->decoder, &p->batch, dhidden, e) < 0)
        return -1;
    s->report->tokens += p->batch.n;
    return 0;
}

static int micro_batches(struct trainer *t, struct objective *o, const struct step *s,
                         struct err *e)
{
    int more = 0;
    if (model_clear_gradient(t->model, e) < 0)
        return -1;
    t->pass.after = o->after;
    t->pass.group = o->group;
    pass_begin(&t->pass, s->sequence, s->n);
    while (!threads_interrupted() && (more = pass_next(&t->pass, e)) > 0)
        if (micro_batch(t, o, s, e) < 0)
            return -1;
    if (more < 0)
        s->report->where = t->pass.where;
    return more;
}

// All that changes nothing but the gradient, which the next step makes anew: given up when a stop
// is requested, whatever came of what was left out.
static int gradient(struct trainer *t, struct objective *o, const struct step *s, struct err *e)
{
    struct device *d = t->pass.device;
    double squares = 0;
    threads_interruptible();
    int result = micro_batches(t, o, s, e);
    if (result == 0)
        result = d->ops->sum_squares(d, t->model->gradient, t->model->n_flat, &squares, e);
    s->report->grad_norm = sqrt(squares);
    if (!threads_uninterruptible())
        return result;
    s->report->where = s->n;
    return err_set(e, STATUS_AGAIN, "stopped");
}

// What is to be known of the batch before anything is made of it.
static int begin(struct trainer *t, struct step *s, struct err *e)
{
    arena_clear(&t->arena);
    struct sequence *sequence = arena_alloc(&t->arena, s->n, sizeof *sequence, e);
    if (!sequence)
        return -1;
    for (size_t i = 0; i < s->n; i++) {
        sequence[i] = s->example[i].sequence;
        size_t wanted = sequence_wanted(&sequence[i]);
        s->report->trained += wanted;
        s->counted += wanted > 0;
    }
    s->sequence = sequence;
    return s->report->trained
               ? 0
               : err_set(e, STATUS_FAILED, "a batch of %zu sequences has no trained token", s->n);
}

int trainer_step(struct trainer *t, const struct trainer_example *example, size_t n,
                 struct objective *objective, struct step_report *report, struct err *e)
{
    double start = clock_seconds();
    struct step s = {.example = example, .n = n, .report = report};
    memset(report, 0, sizeof *report);
    report->where = n;
    if (begin(t, &s, e) < 0 || objective->begin(objective, &s, e) < 0)
        return -1;
    report->where = n;
    if (gradient(t, objective, &s, e) < 0)
        return -1;
    objective->end(objective, &s);
    if (update_weights(t, report, e) < 0)
        return -1;
    report->seconds = clock_seconds() - start;
    return 0;
}

int trainer_rehearse(struct trainer *t, const struct trainer_example *example, size_t n,
                     struct step_report *report, struct err *e)
{
    struct step s = {.example = example, .n = n, .report = report};
    memset(report, 0, sizeof *report);
    report->where = n;
    if (begin(t, &s, e) < 0)
        return -1;
    t->step++;
    t->num_tokens += report->trained;
    return 0;
}
