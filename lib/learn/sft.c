// SPDX-License-Identifier: MIT
#include "learn/sft.h"
#include "base/io.h"
#include "base/progress.h"
#include "learn/checkpoint.h"
#include "learn/dataset.h"
#include "learn/keep.h"
#include "learn/memory_check.h"
#include "learn/scorer.h"
#include "model/directory.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char state_name[] = "state.safetensors";

struct run {
    const struct sft_options *o;
    struct model *model;
    struct device device;
    struct dataset data, eval;
    struct trainer trainer;
    struct scorer scorer;
    struct loss loss;
    struct keep keep;
    struct directory_output out;
    struct metrics metrics;
    struct progress progress;
    json_t *settings, *history;
    size_t *order;
    uint64_t order_epoch;
    struct example *batch;
    int64_t total_steps, epoch_steps;
};

// Samples that the first `steps` updates see.
static uint64_t samples_after(const struct run *r, int64_t steps)
{
    uint64_t n = r->data.n, batch = (uint64_t)r->o->train.batch_size;
    uint64_t whole = (uint64_t)(steps / r->epoch_steps), rest = (uint64_t)(steps % r->epoch_steps);
    return whole * n + rest * batch;
}

static void plan(struct run *r)
{
    int64_t n = (int64_t)r->data.n;
    r->epoch_steps = (n + r->o->train.batch_size - 1) / r->o->train.batch_size;
    r->total_steps = r->o->train.max_steps
                         ? r->o->train.max_steps
                         : (int64_t)ceil(r->o->epochs * (double)r->epoch_steps - 1e-9);
}

static size_t next_batch(struct run *r)
{
    int64_t step = r->trainer.step;
    uint64_t epoch = (uint64_t)(step / r->epoch_steps);
    if (epoch != r->order_epoch) {
        dataset_order(&r->data, r->order, r->o->shuffle, r->o->seed, epoch);
        r->order_epoch = epoch;
    }
    size_t first = (size_t)(step % r->epoch_steps) * (size_t)r->o->train.batch_size;
    size_t n = r->data.n - first < (size_t)r->o->train.batch_size ? r->data.n - first
                                                                  : (size_t)r->o->train.batch_size;
    for (size_t i = 0; i < n; i++)
        r->batch[i] = r->data.example[r->order[first + i]];
    return n;
}

// Mean loss and accuracy on the evaluation stream, as metrics.
static int evaluate(struct run *r, json_t *line, struct err *e)
{
    size_t wanted = 0, where = 0, right = 0, at = 0;
    struct sequence *sequence = mem_alloc(r->eval.n, sizeof *sequence, "sequences", e);
    if (!sequence)
        return -1;
    for (size_t i = 0; i < r->eval.n; i++) {
        sequence[i] = r->eval.example[i].sequence;
        wanted += sequence_wanted(&sequence[i]);
    }
    float *logp = mem_alloc(wanted, sizeof *logp, "scores", e);
    uint32_t *best = mem_alloc(wanted, sizeof *best, "scores", e);
    struct head_result out = {.logp = logp, .best = best};
    int result = logp && best ? scorer_run(&r->scorer, sequence, r->eval.n, &out, &where, e) : -1;
    double loss = 0;
    for (size_t i = 0; i < r->eval.n && result == 0; i++)
        for (size_t t = 1; t < sequence[i].n; t++)
            if (sequence[i].mask[t]) {
                loss -= logp[at];
                right += best[at++] == sequence[i].token[t];
            }
    if (result == 0) {
        json_object_set_new(line, "eval_loss", json_real(loss / (double)wanted));
        json_object_set_new(line, "eval_mean_token_accuracy",
                            json_real((double)right / (double)wanted));
        message_note("update %lld: eval_loss %.5f", (long long)r->trainer.step,
                     loss / (double)wanted);
    }
    free(logp);
    free(best);
    free(sequence);
    return result;
}

static int write_metrics(struct run *r, const struct step_report *p, struct err *e)
{
    const struct trainer *t = &r->trainer;
    json_t *line =
        json_pack("{s:I, s:f, s:f, s:f, s:f, s:I, s:f}", "step", (json_int_t)t->step, "epoch",
                  (double)samples_after(r, t->step) / (double)r->data.n, "loss", p->loss,
                  "grad_norm", p->grad_norm, "learning_rate", p->learning_rate, "num_tokens",
                  (json_int_t)t->num_tokens, "mean_token_accuracy", p->accuracy);
    if (!line)
        return err_memory(e, 0, "metrics");
    if (t->entropy)
        json_object_set_new(line, "entropy", json_real(p->entropy));
    json_object_set_new(line, "step_time", json_real(p->seconds));
    json_object_set_new(line, "tokens_per_second", json_real((double)p->tokens / p->seconds));
    int last = t->step == r->total_steps;
    if (r->o->eval_path && (last || (r->o->eval_steps && t->step % r->o->eval_steps == 0)) &&
        evaluate(r, line, e) < 0) {
        json_decref(line);
        return -1;
    }
    return metrics_write(&r->metrics, line, e);
}

static int write_model(struct run *r, int at, struct err *e)
{
    struct directory_note note = {.finished = 1, .history = r->history};
    if (model_save(r->model, at, r->o->train.save_dtype, e) < 0)
        return -1;
    return directory_write_note(at, &note, e);
}

// The model as it is now, as OUT/NAME.
static int keep_model(struct run *r, const char *name, struct err *e)
{
    if (io_remove_tree(r->out.fd, name, e) < 0 || io_make_directory(r->out.fd, name, e) < 0)
        return -1;
    int fd = openat(r->out.fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, name);
    int result = write_model(r, fd, e);
    close(fd);
    return result;
}

static int keep_due_models(struct run *r, struct err *e)
{
    int64_t step = r->trainer.step;
    uint64_t total = samples_after(r, r->total_steps);
    for (int i = 0; i < r->keep.n; i++)
        if (keep_due(&r->keep, i, samples_after(r, step - 1), samples_after(r, step), total) &&
            keep_model(r, r->keep.at[i].name, e) < 0)
            return -1;
    return 0;
}

static int stop(struct run *r, struct err *e)
{
    if (checkpoint_save(r->out.fd, state_name, &r->trainer, r->settings, e) < 0)
        return -1;
    return err_set(e, STATUS_AGAIN,
                   "stopped after update %lld of %lld, its state is in %s: run it "
                   "again with --resume to go on",
                   (long long)r->trainer.step, (long long)r->total_steps, r->out.partial);
}

static int one_update(struct run *r, struct err *e)
{
    struct step_report report;
    size_t n = next_batch(r);
    if (trainer_step(&r->trainer, r->batch, n, &r->loss, NORMALIZE_TOKENS, 0, &report, e) < 0 ||
        keep_due_models(r, e) < 0 || write_metrics(r, &report, e) < 0)
        return -1;
    progress_update(&r->progress, "update %lld/%lld  loss %.4f  norm %.3g  %.0f tokens/s",
                    (long long)r->trainer.step, (long long)r->total_steps, report.loss,
                    report.grad_norm, (double)report.tokens / report.seconds);
    if (r->o->verbose)
        message_note("update %lld loss %.6f norm %.4g rate %.4g", (long long)r->trainer.step,
                     report.loss, report.grad_norm, report.learning_rate);
    if (r->o->train.save_steps && r->trainer.step % r->o->train.save_steps == 0 &&
        r->trainer.step < r->total_steps)
        return checkpoint_save(r->out.fd, state_name, &r->trainer, r->settings, e);
    return 0;
}

static int run_updates(struct run *r, struct err *e)
{
    progress_init(&r->progress, !r->o->quiet);
    int result = 0;
    while (result == 0 && r->trainer.step < r->total_steps)
        result = io_stop_requested() ? stop(r, e) : one_update(r, e);
    progress_clear(&r->progress);
    return result;
}

// What must be the same for a resumed run to give the same bits.
static json_t *make_settings(const struct run *r, const char *model)
{
    const struct trainer_options *t = &r->o->train;
    json_t *s = checkpoint_settings(t, r->o->seed, model, r->o->loss);
    json_t *own =
        json_pack("{s:I, s:I, s:I, s:I, s:i, s:s}", "data", (json_int_t)(r->data.fingerprint >> 1),
                  "batch-size", (json_int_t)t->batch_size, "updates", (json_int_t)r->total_steps,
                  "warmup-steps",
                  (json_int_t)schedule_warmup(t->warmup_steps, t->warmup_ratio, r->total_steps),
                  "shuffle", r->o->shuffle, "keep", r->o->keep ? r->o->keep : "");
    if (s && own)
        json_object_update(s, own);
    json_decref(own);
    return s;
}

static int describe_run(struct run *r, struct err *e)
{
    char fingerprint[24];
    if (model_fingerprint(r->model, fingerprint, e) < 0)
        return -1;
    r->settings = make_settings(r, fingerprint);
    if (!r->settings)
        return err_memory(e, 0, "settings");
    if (header_add_provenance(&r->data.stream, "sft-train", r->o->argc, r->o->argv, r->o->seed,
                              json_pack("{s:s}", "base", fingerprint), e) < 0)
        return -1;
    r->history = json_incref(r->data.stream.provenance);
    return 0;
}

static int resume(struct run *r, struct err *e)
{
    if (!r->o->train.resume)
        return metrics_open(&r->metrics, r->o->metrics, e);
    if (!io_exists(r->out.fd, state_name)) {
        message_note("%s: no state to go on from; starting at the beginning", r->out.partial);
        return metrics_open(&r->metrics, r->o->metrics, e);
    }
    json_t *then;
    if (checkpoint_load(r->out.fd, state_name, &r->trainer, &then, e) < 0)
        return -1;
    int result = checkpoint_agrees(then, r->settings, e);
    json_decref(then);
    if (result == 0)
        message_note("going on after update %lld", (long long)r->trainer.step);
    return result == 0 ? metrics_resume(&r->metrics, r->o->metrics, r->trainer.step, e) : -1;
}

static int open_data(struct run *r, const char *input, struct err *e)
{
    const struct model_config *c = &r->model->config;
    if (loss_init(&r->loss, r->o->loss, e) < 0)
        return -1;
    if (r->loss.n_columns)
        return err_set(e, STATUS_USAGE, "--loss %s: that is a loss of reinforce-step", r->o->loss);
    if (dataset_read(&r->data, input, &r->loss, c->vocab, c->max_position, e) < 0 ||
        header_check_tokenizer(&r->data.stream, r->o->tokenizer, io_name(input), e) < 0)
        return -1;
    if (r->o->eval_path &&
        (dataset_read(&r->eval, r->o->eval_path, &r->loss, c->vocab, c->max_position, e) < 0 ||
         header_check_tokenizer(&r->eval.stream, r->o->tokenizer, r->o->eval_path, e) < 0))
        return -1;
    plan(r);
    if (r->total_steps < 1)
        return err_set(e, STATUS_USAGE, "--num-train-epochs %g makes no update", r->o->epochs);
    message_note("%zu records, %zu of them without trained tokens; %lld updates of up to %lld",
                 r->data.n + r->data.untrained, r->data.untrained, (long long)r->total_steps,
                 (long long)r->o->train.batch_size);
    return 0;
}

static int prepare(struct run *r, const char *input, struct err *e)
{
    if (device_open(&r->device, r->o->device, e) < 0 || keep_parse(&r->keep, r->o->keep, e) < 0)
        return -1;
    if (!(r->model = model_open(r->o->model, e)) || open_data(r, input, e) < 0 ||
        describe_run(r, e) < 0 ||
        memory_check(trainer_bytes(r->model, &r->o->train), "training", r->o->verbose, e) < 0)
        return -1;
    r->order = mem_alloc(r->data.n, sizeof *r->order, "an order", e);
    r->batch = mem_alloc((size_t)r->o->train.batch_size, sizeof *r->batch, "a batch", e);
    r->order_epoch = UINT64_MAX;
    if (!r->order || !r->batch ||
        trainer_init(&r->trainer, r->model, &r->device, &r->o->train, r->total_steps, e) < 0)
        return -1;
    r->trainer.entropy = r->o->metrics != NULL;
    scorer_init(&r->scorer, r->model, &r->device);
    return directory_begin(&r->out, r->o->output, r->o->train.resume, e);
}

static int finish(struct run *r, struct err *e)
{
    if (metrics_close(&r->metrics, e) < 0 || write_model(r, r->out.fd, e) < 0 ||
        io_remove_tree(r->out.fd, state_name, e) < 0)
        return -1;
    message_note("%s: %lld updates, %llu trained tokens", r->o->output, (long long)r->trainer.step,
                 (unsigned long long)r->trainer.num_tokens);
    return directory_commit(&r->out, 0, e);
}

static void release(struct run *r, int failed, const struct err *e)
{
    // A stopped run leaves its state; any other failure leaves nothing, except a state that was
    // there before or was saved on the way, which a later --resume can use.
    if (r->out.fd >= 0 && failed) {
        if (e->status == STATUS_AGAIN || io_exists(r->out.fd, state_name))
            directory_close(&r->out);
        else
            directory_abort(&r->out);
    }
    struct err ignored;
    metrics_close(&r->metrics, &ignored);
    trainer_release(&r->trainer);
    scorer_release(&r->scorer);
    if (r->data.header.column)
        dataset_release(&r->data);
    if (r->eval.header.column)
        dataset_release(&r->eval);
    model_close(r->model);
    device_release(&r->device);
    json_decref(r->settings);
    json_decref(r->history);
    free(r->order);
    free(r->batch);
}

int sft_run(const struct sft_options *o, const char *input, struct err *e)
{
    struct run r;
    struct policy_lock lock;
    memset(&r, 0, sizeof r);
    r.o = o;
    r.out.fd = r.metrics.fd = -1;
    if (policy_lock_take(&lock, o->output, e) < 0)
        return -1;
    int result = prepare(&r, input, e);
    if (result == 0)
        result = resume(&r, e);
    if (result == 0)
        result = run_updates(&r, e);
    if (result == 0)
        result = finish(&r, e);
    release(&r, result < 0, e);
    policy_lock_release(&lock);
    return result;
}
