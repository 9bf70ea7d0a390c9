// SPDX-License-Identifier: MIT
#include "train/offline.h"
#include "base/io.h"
#include "infer/memory_check.h"
#include "train/checkpoint.h"
#include "train/dataset.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char state_name[] = "state.safetensors";
const char course_scratch[] = "start";

static size_t batch_size(const struct course *c)
{
    return (size_t)c->o->run.train.batch_size;
}

// Units that the first `steps` updates see.
static uint64_t units_after(const struct course *c, int64_t steps)
{
    uint64_t whole = (uint64_t)(steps / c->epoch_steps), rest = (uint64_t)(steps % c->epoch_steps);
    return whole * c->n + rest * batch_size(c);
}

static int plan(struct course *c, struct err *e)
{
    const struct trainer_options *t = &c->o->run.train;
    c->epoch_steps = ((int64_t)c->n + t->batch_size - 1) / t->batch_size;
    c->total_steps =
        t->max_steps ? t->max_steps : (int64_t)ceil(c->o->epochs * (double)c->epoch_steps - 1e-9);
    if (c->total_steps < 1)
        return err_set(e, STATUS_USAGE, "--num-train-epochs %g makes no update", c->o->epochs);
    message_note("%lld updates of up to %lld", (long long)c->total_steps, (long long)t->batch_size);
    return 0;
}

// Fills the batch of the next update: its units are order[*first] and so on.
static size_t next_batch(struct course *c, size_t *first)
{
    int64_t step = c->trainer.step;
    uint64_t epoch = (uint64_t)(step / c->epoch_steps);
    if (epoch != c->order_epoch) {
        index_order(c->order, c->n, c->o->shuffle, c->o->run.seed, epoch);
        c->order_epoch = epoch;
    }
    *first = (size_t)(step % c->epoch_steps) * batch_size(c);
    size_t n = c->n - *first < batch_size(c) ? c->n - *first : batch_size(c);
    for (size_t i = 0; i < n; i++)
        c->fill(c->arg, c->order[*first + i], c->batch + i * c->unit);
    return n;
}

static int write_metrics(struct course *c, const struct step_report *p, struct err *e)
{
    const struct trainer *t = &c->trainer;
    json_t *line = json_pack("{s:I, s:f, s:f, s:f, s:f, s:I}", "step", (json_int_t)t->step, "epoch",
                             (double)units_after(c, t->step) / (double)c->n, "loss", p->loss,
                             "grad_norm", p->grad_norm, "learning_rate", p->learning_rate,
                             "num_tokens", (json_int_t)t->num_tokens);
    if (!line)
        return err_memory(e, 0, "metrics");
    if (!c->step)
        json_object_set_new(line, "mean_token_accuracy", json_real(p->accuracy));
    if (t->entropy && !c->step)
        json_object_set_new(line, "entropy", json_real(p->entropy));
    json_object_set_new(line, "step_time", json_real(p->seconds));
    json_object_set_new(line, "tokens_per_second", json_real((double)p->tokens / p->seconds));
    if (c->note && c->note(c->arg, p, t->step == c->total_steps, line, e) < 0) {
        json_decref(line);
        return -1;
    }
    return metrics_write(&c->metrics, line, e);
}

static int write_model(struct course *c, int at, struct err *e)
{
    struct directory_note note = {.finished = 1, .history = c->history};
    if (model_save(c->model, at, c->o->run.train.save_dtype, e) < 0)
        return -1;
    return directory_write_note(at, &note, e);
}

// The model as it is now, as OUT/NAME.
static int keep_model(struct course *c, const char *name, struct err *e)
{
    if (io_remove_tree(c->out.fd, name, e) < 0 || io_make_directory(c->out.fd, name, e) < 0)
        return -1;
    int fd = openat(c->out.fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, name);
    int result = write_model(c, fd, e);
    close(fd);
    return result;
}

static int keep_average(struct course *c, struct err *e)
{
    if (!c->trainer.ema)
        return 0;
    float *own = c->model->master;
    c->model->master = c->trainer.ema;
    int result = keep_model(c, "ema", e);
    c->model->master = own;
    return result;
}

static int keep_due_models(struct course *c, struct err *e)
{
    int64_t step = c->trainer.step;
    uint64_t total = units_after(c, c->total_steps);
    for (int i = 0; i < c->keep.n; i++)
        if (keep_due(&c->keep, i, units_after(c, step - 1), units_after(c, step), total) &&
            keep_model(c, c->keep.at[i].name, e) < 0)
            return -1;
    return 0;
}

static int save_state(struct course *c, struct err *e)
{
    return checkpoint_save(c->out.fd, state_name, &c->trainer, c->settings, e);
}

static int stop(struct course *c, struct err *e)
{
    if (save_state(c, e) < 0)
        return -1;
    return err_set(e, STATUS_AGAIN,
                   "stopped after update %lld of %lld, its state is in %s: run it again with "
                   "--resume to continue",
                   (long long)c->trainer.step, (long long)c->total_steps, c->out.partial);
}

static int one_update(struct course *c, struct err *e)
{
    struct step_report report;
    size_t first, n = next_batch(c, &first), size;
    int result = c->step ? c->step(c->arg, c->batch, n, &report, e)
                         : trainer_step(&c->trainer, c->batch, n * c->unit, c->loss,
                                        NORMALIZE_TOKENS, 0, &report, e);
    if (result < 0) {
        if (c->step || report.where >= n * c->unit)
            return -1;
        const char *id = c->name(c->arg, c->order[first + report.where / c->unit],
                                 report.where % c->unit, &size);
        return err_prefix(e, "%s: record `%.*s`", c->where, (int)size, id);
    }
    if (keep_due_models(c, e) < 0 || write_metrics(c, &report, e) < 0)
        return -1;
    progress_update(&c->progress, "update %lld/%lld  loss %.4f  norm %.3g  %.0f tokens/s",
                    (long long)c->trainer.step, (long long)c->total_steps, report.loss,
                    report.grad_norm, (double)report.tokens / report.seconds);
    if (c->o->run.verbose)
        message_note("update %lld loss %.6f norm %.4g rate %.4g", (long long)c->trainer.step,
                     report.loss, report.grad_norm, report.learning_rate);
    int64_t every = c->o->run.train.save_steps;
    return every && c->trainer.step % every == 0 && c->trainer.step < c->total_steps
               ? save_state(c, e)
               : 0;
}

static int run_updates(struct course *c, struct err *e)
{
    progress_init(&c->progress, !c->o->run.quiet);
    int result = 0;
    while (result == 0 && c->trainer.step < c->total_steps)
        result = io_stop_requested() ? stop(c, e) : one_update(c, e);
    progress_clear(&c->progress);
    return result;
}

// What must be the same for a resumed run to give the same bits.
static int make_settings(struct course *c, const char *model, struct err *e)
{
    const struct trainer_options *t = &c->o->run.train;
    const struct loss_parameters *p = &c->loss->parameters;
    json_t *s = checkpoint_settings(t, c->o->run.seed, model, c->loss->kind->name);
    json_t *own = json_pack(
        "{s:I, s:I, s:I, s:I, s:i, s:s, s:f, s:f, s:s, s:f, s:f, s:f, s:i}", "data",
        (json_int_t)(c->fingerprint >> 1), "batch-size", (json_int_t)t->batch_size, "updates",
        (json_int_t)c->total_steps, "warmup-steps",
        (json_int_t)schedule_warmup(t->warmup_steps, t->warmup_ratio, c->total_steps), "shuffle",
        c->o->shuffle, "keep", c->o->keep ? c->o->keep : "", "ema", t->ema, "temperature",
        t->temperature, "reference", c->loss->frozen_self ? "self" : c->loss->reference, "beta",
        p->beta, "alpha", p->alpha, "offset", p->offset, "per-sequence", c->loss->by_sequence);
    if (s && own)
        json_object_update(s, own);
    json_decref(own);
    if (s && c->own)
        json_object_update(s, c->own);
    c->settings = s;
    return s && own ? 0 : err_memory(e, 0, "settings");
}

static int describe(struct course *c, struct err *e)
{
    char fingerprint[24];
    const struct run_options *r = &c->o->run;
    if (model_fingerprint(c->model, fingerprint, e) < 0 || make_settings(c, fingerprint, e) < 0 ||
        header_add_provenance(c->stream, c->program, r->argc, r->argv, r->seed,
                              json_pack("{s:s}", "base", fingerprint), e) < 0)
        return -1;
    c->history = json_incref(c->stream->provenance);
    return 0;
}

static int resume(struct course *c, struct err *e)
{
    const char *metrics = c->o->run.metrics;
    if (!c->o->run.train.resume)
        return metrics_open(&c->metrics, metrics, e);
    if (!io_exists(c->out.fd, state_name)) {
        message_note("%s: no state to resume from; starting from the beginning", c->out.partial);
        return metrics_open(&c->metrics, metrics, e);
    }
    json_t *then;
    if (checkpoint_load(c->out.fd, state_name, &c->trainer, &then, e) < 0)
        return -1;
    int result = checkpoint_agrees(then, c->settings, e);
    json_decref(then);
    if (result == 0)
        message_note("resuming after update %lld", (long long)c->trainer.step);
    return result == 0 ? metrics_resume(&c->metrics, metrics, c->trainer.step, e) : -1;
}

static int prepare(struct course *c, struct err *e)
{
    const struct run_options *r = &c->o->run;
    size_t bytes = trainer_bytes(c->model, &r->train);
    if (c->loss->by_sequence)
        bytes += trainer_first_pass_bytes(c->model, &r->train);
    if (plan(c, e) < 0 || describe(c, e) < 0 || memory_check(bytes, "training", r->verbose, e) < 0)
        return -1;
    c->order = mem_alloc(c->n, sizeof *c->order, "an order", e);
    c->batch = mem_alloc(batch_size(c), c->unit * sizeof *c->batch, "a batch", e);
    c->order_epoch = UINT64_MAX;
    if (!c->order || !c->batch || directory_begin(&c->out, r->output, r->train.resume, e) < 0 ||
        (c->begin && c->begin(c->arg, e) < 0) ||
        trainer_init(&c->trainer, c->model, &c->device, &r->train, c->total_steps, e) < 0)
        return -1;
    c->trainer.entropy = r->metrics != NULL;
    return 0;
}

static int finish(struct course *c, struct err *e)
{
    if (metrics_close(&c->metrics, e) < 0 || write_model(c, c->out.fd, e) < 0 ||
        keep_average(c, e) < 0 || io_remove_tree(c->out.fd, course_scratch, e) < 0 ||
        io_remove_tree(c->out.fd, state_name, e) < 0)
        return -1;
    message_note("%s: %lld updates, %llu trained tokens", c->o->run.output,
                 (long long)c->trainer.step, (unsigned long long)c->trainer.num_tokens);
    return directory_commit(&c->out, 0, e);
}

int course_open(struct course *c, const struct course_options *o, struct err *e)
{
    memset(c, 0, sizeof *c);
    c->o = o;
    c->unit = 1;
    c->out.fd = c->metrics.fd = -1;
    if (policy_lock_take(&c->lock, o->run.output, e) < 0)
        return -1;
    c->locked = 1;
    if (device_open(&c->device, o->run.device, e) < 0 || keep_parse(&c->keep, o->keep, e) < 0)
        return -1;
    c->model = o->any_head ? model_open_any(o->run.model, e) : model_open(o->run.model, e);
    return c->model ? 0 : -1;
}

int course_run(struct course *c, struct err *e)
{
    if (prepare(c, e) < 0 || resume(c, e) < 0 || run_updates(c, e) < 0)
        return -1;
    return finish(c, e);
}

void course_close(struct course *c, int failed, const struct err *e)
{
    // A stopped run leaves its state; any other failure leaves nothing, except a state that was
    // there before or was saved on the way, which a later --resume can use.
    if (c->out.fd >= 0 && failed) {
        if (e->status == STATUS_AGAIN || io_exists(c->out.fd, state_name))
            directory_close(&c->out);
        else
            directory_abort(&c->out);
    }
    struct err ignored;
    metrics_close(&c->metrics, &ignored);
    trainer_release(&c->trainer);
    model_close(c->model);
    device_release(&c->device);
    json_decref(c->settings);
    json_decref(c->history);
    json_decref(c->own);
    free(c->order);
    free(c->batch);
    if (c->locked)
        policy_lock_release(&c->lock);
}
