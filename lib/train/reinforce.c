// SPDX-License-Identifier: MIT
#include "train/reinforce.h"
#include "infer/long_record.h"
#include "base/number.h"
#include "train/checkpoint.h"
#include "train/dataset.h"
#include "train/drawn.h"
#include "train/publisher.h"
#include "train/token_objective.h"
#include "train/window.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Columns of the stream beside the loss's, -1 where absent.
struct reinforce_columns {
    int reward, rollout, reference, generation;
};

struct reinforce_run {
    const struct reinforce_options *o;
    int64_t batch_size;
    struct publisher publisher;
    struct loss loss;
    struct exact_terms exact;
    struct window last_reward, last_kl; // of the batches before, for the stop rules
    struct token_objective objective;
    struct evaluation eval;
    int64_t evaluated; // the generation that was last; -1: none
    enum normalize normalize;
    double constant;
    struct frame batch; // fills up
    struct token_columns trained;
    struct importance importance;
    struct token_columns drawn; // of samples of another distribution: drawn_find
    float *weight;              // [n_tokens of the batch], where the loss has weights
    size_t weight_capacity;
    struct reinforce_columns column;
    struct trainer_example *example;
};

static int set_normalize(struct reinforce_run *r, struct err *e)
{
    static const char prefix[] = "constant:";
    if (!strcmp(r->o->normalize_text, "tokens")) {
        r->normalize = NORMALIZE_TOKENS;
    } else if (!strcmp(r->o->normalize_text, "sequences")) {
        r->normalize = NORMALIZE_SEQUENCES;
    } else if (!strncmp(r->o->normalize_text, prefix, sizeof prefix - 1) &&
               number_to_f64(r->o->normalize_text + sizeof prefix - 1, &r->constant) == 0 &&
               r->constant > 0) {
        r->normalize = NORMALIZE_CONSTANT;
    } else {
        return err_set(e, STATUS_USAGE, "--normalize: '%s' is not tokens, sequences or constant:N",
                       r->o->normalize_text);
    }
    return 0;
}

static int set_importance(struct reinforce_run *r, struct err *e)
{
    const char *text = r->o->is_clip ? r->o->is_clip : "0,3", *comma = strchr(text, ',');
    struct importance *w = &r->importance;
    char low[NUMBER_MAX];
    *w = r->o->importance;
    if (w->level < IMPORTANCE_TOKEN && (r->o->is_clip || r->o->is_mode_given))
        return err_set(e, STATUS_USAGE, "--is-%s needs --is token or --is sequence",
                       r->o->is_clip ? "clip" : "mode");
    if (comma && (size_t)(comma - text) < sizeof low) {
        snprintf(low, sizeof low, "%.*s", (int)(comma - text), text);
        if (number_to_f64(low, &w->low) == 0 && number_to_f64(comma + 1, &w->high) == 0 &&
            w->low >= 0 && w->high > 0 && w->low <= w->high)
            return 0;
    }
    return err_set(e, STATUS_USAGE,
                   "--is-clip: '%s' is not LO,HI with LO of 0 or more and HI not below it", text);
}

static int need(const struct reinforce_run *r, const char *name, int *index, struct err *e)
{
    const struct online *s = &r->publisher.source;
    *index = header_require(&s->header, name, COLUMN_F32, PER_TOKEN, s->where, e);
    return *index < 0 ? -1 : 0;
}

static int find_columns(struct reinforce_run *r, struct err *e)
{
    struct reinforce_columns *c = &r->column;
    const struct stream_header *h = &r->publisher.source.header;
    const char *where = r->publisher.source.where;
    if (token_columns_find(&r->trained, &r->loss, h, where, e) < 0 ||
        drawn_find(&r->drawn, &r->importance, h, where, e) < 0)
        return -1;
    c->reward = header_find(h, "reward");
    c->generation = header_find(h, "generation");
    if (isfinite(r->o->stop_reward) && need(r, "reward", &c->reward, e) < 0)
        return -1;
    if (isfinite(r->o->stop_kl) && (need(r, "logp:rollout", &c->rollout, e) < 0 ||
                                    need(r, r->loss.kl_column, &c->reference, e) < 0))
        return -1;
    return 0;
}

static int open_stream(void *arg, struct err *e)
{
    struct reinforce_run *r = arg;
    if (find_columns(r, e) < 0 || frame_init(&r->batch, &r->publisher.source.header, e) < 0)
        return -1;
    int64_t given = r->o->run.batch_size, told = online_batch_size(&r->publisher.source);
    r->batch_size = given ? given : told ? told : REINFORCE_BATCH;
    progress_follow(&r->publisher.run.progress, 1 / (double)r->batch_size);
    r->example = mem_alloc((size_t)r->batch_size, sizeof *r->example, "a batch", e);
    return r->example ? 0 : -1;
}

// What the stop rules remember, and which generation was evaluated.
static int save_windows(void *arg, json_t *state, struct err *e)
{
    const struct reinforce_run *r = arg;
    if (r->o->eval.path && json_object_set_new(state, "evaluated", json_integer(r->evaluated)) < 0)
        return err_memory(e, 0, "a state");
    if (json_object_set_new(state, "window:reward", window_to_json(&r->last_reward)) < 0 ||
        json_object_set_new(state, "window:kl", window_to_json(&r->last_kl)) < 0)
        return err_memory(e, 0, "a state");
    return 0;
}

static int load_windows(void *arg, const json_t *state, struct err *e)
{
    struct reinforce_run *r = arg;
    const json_t *evaluated = json_object_get(state, "evaluated");
    r->evaluated = json_is_integer(evaluated) ? json_integer_value(evaluated) : -1;
    window_from_json(&r->last_reward, json_object_get(state, "window:reward"));
    window_from_json(&r->last_kl, json_object_get(state, "window:kl"));
    return 0;
}

// What the loss has beside the advantage: the text of --kl where that is all.
static json_t *term_settings(const struct reinforce_options *o)
{
    const char *kl = o->kl ? o->kl : "";
    if (o->kl_estimator == KL_K3 && !o->kl_exact && !o->kl_exact_reverse && o->entropy_bonus == 0)
        return json_string(kl);
    return json_pack("[s, s, s?, s?, f]", kl, kl_estimators[o->kl_estimator], o->kl_exact,
                     o->kl_exact_reverse, o->entropy_bonus);
}

static json_t *make_settings(void *arg, const char *model)
{
    const struct reinforce_run *r = arg;
    json_t *s = checkpoint_settings(&r->o->run.train, r->o->run.products, r->o->run.seed, model,
                                    r->o->loss);
    json_t *own = json_pack("{s:I, s:s, s:o, s:f}", "batch-size", (json_int_t)r->batch_size,
                            "normalize", r->o->normalize_text, "kl", term_settings(r->o),
                            "cliprange", r->o->parameters.value[LOSS_CLIPRANGE]);
    const struct importance *w = &r->importance;
    if (own && w->level >= IMPORTANCE_TOKEN)
        json_object_set_new(own, "is",
                            json_pack("[s, s, f, f]", importance_levels[w->level],
                                      importance_modes[w->mode], w->low, w->high));
    if (s && own)
        json_object_update(s, own);
    json_decref(own);
    return s;
}

struct batch_stats {
    double reward, reward_std, kl, length;
    int64_t lag;    // generations that the samples are behind
    size_t unknown; // the first record without the value that a stop rule needs, if there is one
    struct importance_stats drawn;
};

// Mean over sequences of sums over trained tokens.
static void measure(const struct reinforce_run *r, struct batch_stats *out)
{
    const struct frame *f = &r->batch;
    const struct reinforce_columns *c = &r->column;
    double squares = 0, n = (double)f->n_sequences;
    memset(out, 0, sizeof *out);
    out->unknown = SIZE_MAX;
    for (size_t i = 0; i < f->n_sequences; i++) {
        double reward = 0;
        for (size_t t = f->start[i]; t < f->start[i + 1]; t++) {
            if (!f->column[r->trained.mask].u8[t])
                continue;
            out->length++;
            if (c->reward >= 0)
                reward += f->column[c->reward].f32[t];
            if (isfinite(r->o->stop_kl))
                out->kl += (double)f->column[c->rollout].f32[t] - f->column[c->reference].f32[t];
        }
        if (out->unknown == SIZE_MAX &&
            ((isfinite(r->o->stop_reward) && !isfinite(reward)) || !isfinite(out->kl)))
            out->unknown = i;
        out->reward += reward;
        squares += reward * reward;
        if (c->generation >= 0) {
            int64_t lag = r->publisher.run.trainer.step - (int64_t)f->column[c->generation].u32[i];
            out->lag = lag > out->lag ? lag : out->lag;
        }
    }
    out->reward /= n;
    out->kl /= n;
    out->length /= n;
    double variance = squares / n - out->reward * out->reward;
    out->reward_std = variance > 0 ? sqrt(variance) : 0;
}

// What the sampler's distribution is to the policy's, and what has been done about it.
static void add_drawn(const struct reinforce_run *r, const struct importance_stats *s, json_t *line)
{
    double tokens = s->tokens ? (double)s->tokens : 1, ratios = s->ratios ? (double)s->ratios : 1;
    if (!r->drawn.n)
        return;
    json_object_set_new(line, "sampling_difference", json_real(s->difference / tokens));
    json_object_set_new(line, "kl_sampling", json_real(s->kl / tokens));
    if (r->importance.level < IMPORTANCE_TOKEN)
        return;
    json_object_set_new(line, "is_weight", json_real(s->weight / tokens));
    json_object_set_new(line, "is_clip_fraction", json_real((double)s->outside / ratios));
}

// Of the masters, into the line of their generation.
static int evaluate(struct reinforce_run *r, json_t *line, struct err *e)
{
    if (evaluation_run(&r->eval, line, e) < 0)
        return -1;
    r->evaluated = r->publisher.run.trainer.step;
    message_note("generation %lld: eval_loss %.5f", (long long)r->evaluated, r->eval.loss);
    return 0;
}

// A line of its own, where no update writes one.
static int evaluate_alone(struct reinforce_run *r, struct err *e)
{
    json_int_t step = r->publisher.run.trainer.step;
    json_t *line = json_pack("{s:I, s:I}", "step", step, "generation", step);
    if (!line)
        return err_memory(e, 0, "metrics");
    if (evaluate(r, line, e) == 0)
        return metrics_write(&r->publisher.run.metrics, line, e);
    json_decref(line);
    return -1;
}

static int evaluate_start(void *arg, struct err *e)
{
    struct reinforce_run *r = arg;
    return r->o->eval.on_start ? evaluate_alone(r, e) : 0;
}

// Of a run that the end of its stream or a stop rule has ended.
static int evaluate_end(void *arg, struct err *e)
{
    struct reinforce_run *r = arg;
    int done = r->evaluated == r->publisher.run.trainer.step;
    return r->o->eval.path && !done ? evaluate_alone(r, e) : 0;
}

// What the samples are, beside what an update makes of them.
static void add_stats(const struct reinforce_run *r, const struct batch_stats *f, json_t *line)
{
    json_object_set_new(line, "completion_length", json_real(f->length));
    json_object_set_new(line, "lag", json_integer(f->lag));
    if (r->column.reward >= 0) {
        json_object_set_new(line, "reward", json_real(f->reward));
        json_object_set_new(line, "reward_std", json_real(f->reward_std));
    }
    if (isfinite(r->o->stop_kl))
        json_object_set_new(line, "kl_sequence", json_real(f->kl));
}

// The samples by which a rule ended the run: of the generation that is given up.
static int write_stop(struct reinforce_run *r, const struct batch_stats *f, int64_t generation,
                      struct err *e)
{
    json_t *line =
        json_pack("{s:I, s:s}", "step", (json_int_t)generation, "stopped", r->publisher.why);
    if (!line)
        return err_memory(e, 0, "metrics");
    add_stats(r, f, line);
    return metrics_write(&r->publisher.run.metrics, line, e);
}

static int write_metrics(struct reinforce_run *r, const struct step_report *p,
                         const struct batch_stats *f, struct err *e)
{
    json_t *line = publisher_metrics(&r->publisher, &r->objective.objective, p, e);
    if (!line)
        return -1;
    add_stats(r, f, line);
    add_drawn(r, &f->drawn, line);
    int64_t step = r->publisher.run.trainer.step;
    if (evaluation_due(&r->o->eval, step, step == r->o->run.max_steps) &&
        evaluate(r, line, e) < 0) {
        json_decref(line);
        return -1;
    }
    return metrics_write(&r->publisher.run.metrics, line, e);
}

static int check_stats(struct reinforce_run *r, const struct batch_stats *f, struct err *e)
{
    if (f->unknown != SIZE_MAX)
        return err_set(e, STATUS_STREAM,
                       "%s: %s: a trained token has no value where the stop rule needs one",
                       r->publisher.source.where, frame_record(&r->batch, f->unknown).text);
    double reward = window_mean(&r->last_reward, f->reward), kl = window_mean(&r->last_kl, f->kl);
    if (reward > r->o->stop_reward)
        return publisher_take_back(&r->publisher, "the mean sum of reward", reward,
                                   r->o->stop_reward, e);
    if (kl > r->o->stop_kl)
        return publisher_take_back(&r->publisher, "the mean KL", kl, r->o->stop_kl, e);
    return 0;
}

static int weighs(const struct reinforce_run *r)
{
    return r->drawn.n && r->importance.level >= IMPORTANCE_TOKEN;
}

static int make_examples(struct reinforce_run *r, struct importance_stats *drawn, struct err *e)
{
    const struct frame *f = &r->batch;
    if (weighs(r) && MEM_GROW(r->weight, r->weight_capacity, f->n_tokens, "weights", e) < 0)
        return -1;
    for (size_t i = 0; i < f->n_sequences; i++) {
        struct trainer_example *x = &r->example[i];
        *x = token_columns_example(&r->trained, f, i);
        x->weight = r->weight ? r->weight + f->start[i] : NULL;
        if (!r->drawn.n)
            continue;
        struct trainer_example d = token_columns_example(&r->drawn, f, i);
        importance_weigh(&r->importance, d.sequence.n, d.sequence.mask, d.column[DRAWN_POLICY],
                         d.column[DRAWN_SAMPLER], r->weight ? r->weight + f->start[i] : NULL,
                         drawn);
    }
    return 0;
}

static int update(struct reinforce_run *r, struct err *e)
{
    struct publisher *p = &r->publisher;
    struct step_report report;
    struct batch_stats stats;
    int64_t generation = p->run.trainer.step;
    measure(r, &stats);
    if (check_stats(r, &stats, e) < 0)
        return -1;
    if (p->stopped) {
        frame_clear(&r->batch);
        return p->run.o->dry_run ? 0 : write_stop(r, &stats, generation + 1, e);
    }
    if (make_examples(r, &stats.drawn, e) < 0 ||
        publisher_step(p, &r->batch, r->example, r->batch.n_sequences, &r->objective.objective,
                       &report, e) < 0)
        return -1;
    frame_clear(&r->batch);
    // Not before: an update that is given up is tried again by a run that goes on.
    window_add(&r->last_reward, stats.reward);
    window_add(&r->last_kl, stats.kl);
    if (p->run.o->dry_run)
        return 0;
    if (write_metrics(r, &report, &stats, e) < 0 || publisher_show(p, e) < 0)
        return -1;
    generation = p->run.trainer.step;
    char eval[32] = "";
    if (r->o->eval.path && isfinite(r->eval.loss))
        snprintf(eval, sizeof eval, "  eval_loss %.4f", r->eval.loss);
    progress_update(&p->run.progress, (long long)generation,
                    "loss %.4f%s  reward %.4f  length %.1f", report.loss, eval, stats.reward,
                    stats.length);
    if (r->o->run.verbose)
        message_note("generation %lld loss %.6f reward %.6f norm %.4g", (long long)generation,
                     report.loss, stats.reward, report.grad_norm);
    return 0;
}

static int use_record(void *arg, size_t i, struct err *e)
{
    struct reinforce_run *r = arg;
    const struct model *m = r->publisher.run.model;
    const struct online *s = &r->publisher.source;
    size_t positions = exact_terms_positions(&r->exact, m);
    if (token_columns_check(&r->trained, &s->frame, i, m->config.vocab, positions, s->where, e) <
            0 ||
        (weighs(r) && drawn_check(&r->drawn, &s->frame, i, s->where, e) < 0) ||
        frame_append(&r->batch, &s->frame, i, e) < 0)
        return -1;
    long_record_warn(m, frame_length(&s->frame, i), s->where, frame_record(&s->frame, i).text);
    return r->batch.n_sequences == (size_t)r->batch_size ? update(r, e) : 0;
}

static int use_rest(void *arg, struct err *e)
{
    struct reinforce_run *r = arg;
    return r->batch.n_sequences ? update(r, e) : 0;
}

static int open_loss(struct reinforce_run *r, struct err *e)
{
    if (loss_init(&r->loss, r->o->loss, e) < 0 ||
        (r->o->kl && loss_set_kl(&r->loss, r->o->kl, e) < 0) || set_normalize(r, e) < 0 ||
        set_importance(r, e) < 0)
        return -1;
    r->loss.parameters = r->o->parameters;
    r->loss.kl_estimator = r->o->kl_estimator;
    if (isfinite(r->o->stop_kl) && !r->o->kl)
        return err_set(e, STATUS_USAGE, "--stop-kl needs --kl NAME:COEF: the KL to which model?");
    if (r->o->kl_estimator != KL_K3 && !r->o->kl)
        return err_set(e, STATUS_USAGE, "--kl-estimator needs --kl NAME:COEF");
    return 0;
}

// A stop rule goes back to the generation before, which is held for it.
static int takes_back(const struct reinforce_options *o)
{
    return isfinite(o->stop_reward) || isfinite(o->stop_kl);
}

static int prepare(struct reinforce_run *r, struct err *e)
{
    const struct reinforce_options *o = r->o;
    struct run *run = &r->publisher.run;
    struct token_objective *t = &r->objective;
    if (window_init(&r->last_reward, (size_t)o->stop_window, e) < 0 ||
        window_init(&r->last_kl, (size_t)o->stop_window, e) < 0 ||
        exact_terms_open(&r->exact, o->kl_exact, o->kl_exact_reverse, o->entropy_bonus, run->model,
                         &run->device, e) < 0)
        return -1;
    for (int i = 0; i < 2; i++)
        if (r->exact.frozen[i].model &&
            claim_check_input(o->run.output, r->exact.frozen[i].model->path, e) < 0)
            return -1;
    if (o->eval.path &&
        evaluation_open(&r->eval, o->eval.path, run->model, &run->device, o->run.tokenizer, e) < 0)
        return -1;
    struct work_bytes beside =
        token_objective_bytes(&r->loss, &run->device, run->model, &run->size);
    struct work_bytes exact = exact_terms_bytes(&r->exact, run->model, run->size.tokens);
    beside.held += exact.held;
    beside.scratch += exact.scratch; // while the logits are there
    if (o->eval.path)
        beside = work_bytes_add(beside, evaluation_bytes(&r->eval, &run->device, run->model));
    if (takes_back(o))
        beside.held += run->model->n_flat * sizeof(float);
    if (run_prepare(run, o->run.max_steps, beside, e) < 0)
        return -1;
    token_objective_init(t, &r->loss, run->model, &run->device, &o->run.train);
    t->normalize = r->normalize;
    t->constant = r->constant;
    t->exact = exact_terms_any(&r->exact) ? &r->exact : NULL;
    t->entropy = 1;
    return 0;
}

static int train(struct reinforce_run *r, const char *input, struct err *e)
{
    struct publisher *p = &r->publisher;
    if (publisher_open(p, &r->o->run, "reinforce-step", e) < 0 || prepare(r, e) < 0)
        return -1;
    p->takes_back = takes_back(r->o);
    p->open = open_stream;
    p->record = use_record;
    p->end = use_rest;
    p->settings = make_settings;
    p->began = evaluate_start;
    p->finish = evaluate_end;
    p->evaluations = &r->o->eval;
    p->save = save_windows;
    p->load = load_windows;
    p->arg = r;
    return publisher_train(p, input, e);
}

int reinforce_run(const struct reinforce_options *o, const char *input, struct err *e)
{
    struct reinforce_run r;
    memset(&r, 0, sizeof r);
    r.o = o;
    r.evaluated = -1;
    if (evaluation_check(&o->eval, e) < 0 || open_loss(&r, e) < 0)
        return -1;
    // A state that is saved at the end needs what the run holds.
    int result = publisher_close(&r.publisher, train(&r, input, e), e);
    evaluation_release(&r.eval);
    frame_release(&r.batch);
    free(r.example);
    free(r.weight);
    window_release(&r.last_reward);
    window_release(&r.last_kl);
    token_objective_release(&r.objective);
    exact_terms_release(&r.exact);
    publisher_release(&r.publisher);
    return result;
}
