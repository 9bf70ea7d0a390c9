// SPDX-License-Identifier: MIT
#include "train/result.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/io.h"
#include "base/shown.h"
#include "base/signals.h"
#include "train/checkpoint.h"
#include "train/dry_run.h"

#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int plan_steps(struct result *r, struct err *e)
{
    const struct run_options *o = r->run.o;
    double epochs = r->o->epochs;
    r->total_steps = o->max_steps
                         ? o->max_steps
                         : (int64_t)ceil(epochs * (double)offline_epoch_steps(&r->source) - 1e-9);
    if (r->total_steps < 1)
        return err_set(e, STATUS_USAGE, "--num-train-epochs %g makes no update", epochs);
    progress_total(&r->run.progress, r->total_steps);
    message_note("%lld updates of up to %lld", (long long)r->total_steps, (long long)o->batch_size);
    return 0;
}

static int write_metrics(struct result *r, const struct step_report *p, struct err *e)
{
    struct run *run = &r->run;
    int64_t step = run->trainer.step;
    json_t *line = run_metrics(run, r->objective, p, e);
    if (!line)
        return -1;
    json_object_set_new(line, "epoch",
                        json_real((double)offline_seen(&r->source, step) / (double)r->source.n));
    if (r->note && r->note(r->arg, step == r->total_steps, line, e) < 0) {
        json_decref(line);
        return -1;
    }
    return metrics_write(&run->metrics, line, e);
}

static int write_model(struct result *r, int at, struct err *e)
{
    struct directory_note note = {.finished = 1, .history = r->run.history};
    memcpy(note.run, r->fingerprint, sizeof note.run);
    return run_write_model(&r->run, at, &note, 1, e);
}

// The model as it is now, as OUT/NAME.
static int keep_model(struct result *r, const char *name, struct err *e)
{
    if (io_remove_tree(r->out.fd, name, e) < 0 || io_make_directory(r->out.fd, name, e) < 0)
        return -1;
    int fd = openat(r->out.fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, name);
    int result = write_model(r, fd, e);
    close(fd);
    return result < 0 ? err_prefix(e, "%s", name) : 0;
}

static int keep_average(struct result *r, struct err *e)
{
    struct trainer *t = &r->run.trainer;
    if (!t->ema)
        return 0;
    float *own = t->model->master;
    t->model->master = t->ema;
    int result = keep_model(r, "ema", e);
    t->model->master = own;
    return result;
}

static int keep_due_models(struct result *r, struct err *e)
{
    const struct offline *s = &r->source;
    int64_t step = r->run.trainer.step;
    uint64_t before = offline_seen(s, step - 1), after = offline_seen(s, step);
    uint64_t total = offline_seen(s, r->total_steps);
    for (int i = 0; i < r->keep.n; i++)
        if (keep_due(&r->keep, i, before, after, total) && keep_model(r, r->keep.at[i].name, e) < 0)
            return -1;
    return 0;
}

static int save_state(struct result *r, struct err *e)
{
    return run_save_state(&r->run, r->out.fd, r->out.partial, r->run.settings, 0, e);
}

static int stop(struct result *r, struct err *e)
{
    message_note(
        "stopping: saving the state after update %lld; Ctrl-C again ends at once, without it",
        (long long)r->run.trainer.step);
    if (save_state(r, e) < 0)
        return -1;
    return err_set(e, STATUS_AGAIN,
                   "stopped after update %lld of %lld, its state is in %s: run it "
                   "again with --resume to go on",
                   (long long)r->run.trainer.step, (long long)r->total_steps, r->out.partial);
}

static int step(struct result *r, struct step_report *report, struct err *e)
{
    struct trainer *t = &r->run.trainer;
    size_t n = offline_next(&r->source, t->step);
    if (trainer_step(t, r->source.batch, n, r->objective, report, e) == 0)
        return 0;
    if (report->where >= n)
        return -1;
    return err_prefix(e, "%s: %s", r->where, offline_record(&r->source, report->where).text);
}

static int one_update(struct result *r, struct err *e)
{
    struct run *run = &r->run;
    struct step_report report;
    if (step(r, &report, e) < 0)
        return -1;
    run->loss = report.loss;
    if (keep_due_models(r, e) < 0 || write_metrics(r, &report, e) < 0)
        return -1;
    long long at = run->trainer.step;
    progress_update(&run->progress, at, "loss %.4f  norm %.3g  %.0f tokens/s", report.loss,
                    report.grad_norm, (double)report.tokens / report.seconds);
    if (run->o->verbose)
        message_note("update %lld loss %.6f norm %.4g rate %.4g", at, report.loss, report.grad_norm,
                     report.learning_rate);
    return at < r->total_steps && run_save_due(run) ? save_state(r, e) : 0;
}

// A stop in the middle of an update gives the update up.
static int next_update(struct result *r, struct err *e)
{
    if (signals_stop_requested())
        return stop(r, e);
    int result = one_update(r, e);
    return result < 0 && e->status == STATUS_AGAIN ? stop(r, e) : result;
}

static int run_updates(struct result *r, struct err *e)
{
    struct run *run = &r->run;
    int result = 0;
    progress_resume(&run->progress, run->trainer.step);
    while (result == 0 && run->trainer.step < r->total_steps)
        result = next_update(r, e);
    progress_end(&run->progress);
    return result;
}

// What must be the same for a resumed run to give the same bits.
static int make_settings(struct result *r, const struct result_plan *plan, const char *model,
                         struct err *e)
{
    const struct run_options *o = r->run.o;
    const struct trainer_options *t = &o->train;
    int64_t warmup = schedule_warmup(t->warmup_steps, t->warmup_ratio, r->total_steps);
    json_t *s = checkpoint_settings(t, o->seed, model, plan->loss);
    json_t *own = json_pack(
        "{s:I, s:I, s:I, s:I, s:i, s:s, s:f, s:f}", "data", (json_int_t)(plan->fingerprint >> 1),
        "batch-size", (json_int_t)o->batch_size, "updates", (json_int_t)r->total_steps,
        "warmup-steps", (json_int_t)warmup, "shuffle", r->o->shuffle, "keep",
        r->o->keep ? r->o->keep : "", "ema", t->ema, "temperature", t->temperature);
    int result = s && own && plan->settings && json_object_update(s, own) == 0
                     ? json_object_update(s, plan->settings)
                     : -1;
    json_decref(own);
    r->run.settings = s;
    return result < 0 ? err_memory(e, 0, "settings") : 0;
}

// What tells this run's result from those of others.
static int set_fingerprint(struct result *r, struct err *e)
{
    const char *type = r->run.o->save_dtype;
    json_t *all =
        json_pack("{s:o, s:s?}", "settings", json_incref(r->run.settings), "save-dtype", type);
    char *text = all ? json_text(all, JSON_COMPACT | JSON_SORT_KEYS, e) : NULL;
    json_decref(all);
    if (!text)
        return err_memory(e, 0, "settings");
    hash_fingerprint(hash_string(text), r->fingerprint);
    free(text);
    return 0;
}

// Whether the result that stands there is the one of this run, which was killed after its end.
static int is_own(const struct result *r)
{
    struct err ignored;
    struct directory_note note = {0};
    int fd = open(r->run.o->output, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int own = fd >= 0 && directory_read_note(fd, &note, &ignored) == 0 && note.finished &&
              !strcmp(note.run, r->fingerprint);
    directory_release_note(&note);
    if (fd >= 0)
        close(fd);
    return own;
}

static int begin_output(struct result *r, struct err *e)
{
    const struct run_options *o = r->run.o;
    r->overwrite = o->overwrite || (o->resume && directory_may_overwrite(o->output));
    if (r->run.there && !r->overwrite) {
        if ((r->complete = is_own(r)))
            return 0;
        return err_set(e, STATUS_FAILED,
                       "%s: exists, and is not what this run would make: --overwrite replaces it; "
                       "or choose another name with -o",
                       o->output);
    }
    return o->dry_run ? 0 : directory_begin(&r->out, o->output, o->resume, r->overwrite, e);
}

// Of the largest micro-batch: the data are known.
static void set_size(struct result *r, const struct result_plan *plan)
{
    const struct run_options *o = r->run.o;
    size_t unit = plan->pair ? 2 : 1, n = (size_t)o->batch_size;
    r->run.size =
        pass_largest((size_t)o->train.micro_batch_tokens, plan->after ? unit : 1,
                     unit * (n < plan->n ? n : plan->n), offline_longest(&r->source, plan->after));
}

int result_begin(struct result *r, const struct result_plan *plan, struct err *e)
{
    const struct run_options *o = r->run.o;
    r->where = plan->where;
    int result = offline_init(&r->source, plan->data, plan->pair, plan->n, (size_t)o->batch_size,
                              r->o->shuffle, o->seed, e);
    if (result == 0)
        set_size(r, plan);
    if (result == 0)
        result = plan_steps(r, e);
    if (result == 0)
        result = run_set_history(&r->run, &plan->data->stream, "base", e);
    if (result == 0)
        result = make_settings(r, plan, r->run.fingerprint, e);
    json_decref(plan->settings);
    if (result == 0)
        result = set_fingerprint(r, e);
    return result < 0 ? -1 : begin_output(r, e);
}

// Takes up the state in the directory `at`, called `directory`.
static int take_up(struct result *r, int at, const char *directory, struct err *e)
{
    struct run *run = &r->run;
    json_t *then;
    if (run_load_state(run, at, directory, &then, e) < 0)
        return -1;
    int result = checkpoint_agrees(then, run->settings, e);
    if (result == 0 && run->trainer.step > r->total_steps)
        result = err_set(e, STATUS_FAILED, "%s/%s: update %lld of %lld cannot be", directory,
                         run_state, (long long)run->trainer.step, (long long)r->total_steps);
    if (result == 0)
        result = run_check_files(then, at, directory, e);
    if (result == 0)
        result = run_check_metrics(run, directory, then, e);
    if (result == 0) {
        message_note("going on after update %lld", (long long)run->trainer.step);
        result = run_open_metrics(run, directory, 1, e);
    }
    json_decref(then);
    return result;
}

static int resume(struct result *r, struct err *e)
{
    struct run *run = &r->run;
    const char *directory = r->out.partial;
    if (!run->o->resume)
        return run_open_metrics(run, directory, 0, e);
    if (io_exists(r->out.fd, run_state))
        return take_up(r, r->out.fd, directory, e);
    message_note("%s: no state to go on from; starting at the beginning", directory);
    return run_open_metrics(run, directory, 0, e);
}

// Of a run that failed: what is left of it, if anything.
static int tell_state(const struct result *r, struct err *e)
{
    struct err first = *e;
    if (!io_exists(r->out.fd, run_state))
        return -1;
    return err_set(e, first.status,
                   "%s; the state that was saved last is in %s: --resume goes on with it",
                   first.text, r->out.partial);
}

// The result could not be written, for want of space as a rule. What there is of it gives way to
// the state, from which a later run has nothing to do but to write it.
static int keep_state(struct result *r, struct err *e)
{
    const struct model *m = r->run.model;
    struct err second, first = *e;
    for (size_t i = 0; i < m->n_shards; i++)
        unlinkat(r->out.fd, m->shard_name[i], 0);
    MAY_FAIL(io_remove_tree(r->out.fd, "ema", &second));
    if (save_state(r, &second) == 0)
        return err_set(e, first.status,
                       "%s: %s; the state after update %lld is there: run it again with --resume "
                       "when that is mended",
                       r->out.partial, first.text, (long long)r->run.trainer.step);
    if (io_exists(r->out.fd, run_state))
        return err_set(e, first.status,
                       "%s: %s; the state that was saved last is there: run it again with --resume "
                       "when that is mended",
                       r->out.partial, first.text);
    return err_prefix(e, "%s", r->out.partial);
}

static int finish(struct result *r, struct err *e)
{
    struct run *run = &r->run;
    if (write_model(r, r->out.fd, e) < 0 || keep_average(r, e) < 0)
        return keep_state(r, e);
    if (metrics_close(&run->metrics, e) < 0)
        return tell_state(r, e);
    enum directory_end end = r->overwrite ? DIRECTORY_OVERWRITE : DIRECTORY_NEW;
    if (directory_commit(&r->out, end, run_transient, e) < 0)
        return -1;
    run_tell_end(run, "", " update");
    return 0;
}

int result_open(struct result *r, const struct result_options *o, const char *program, int any_head,
                struct err *e)
{
    memset(r, 0, sizeof *r);
    r->o = o;
    r->out.fd = -1;
    if (run_open(&r->run, &o->run, program, 0, any_head, e) < 0)
        return -1;
    return keep_parse(&r->keep, o->keep, e);
}

// A state is replaced by one that stands beside it. What a resumed run finds there needs no more.
static int check_space(const struct result *r, struct err *e)
{
    size_t models = 1 + (size_t)r->keep.n + (r->run.o->train.ema > 0);
    return r->run.o->resume ? run_check_space(&r->run, 1, 1, e)
                            : run_check_space(&r->run, models, 2, e);
}

static void tell_data(struct result *r)
{
    const struct dataset *d = r->source.data;
    size_t n = d->n + d->untrained;
    dry_run_line("data", "%s: %zu record%s, %zu without trained tokens",
                 shown(r->where, strlen(r->where)).text, n, n == 1 ? "" : "s", d->untrained);
    if (!dry_run_is_file(r->run.o->input[0]))
        dry_run_line("", "not a file: it has been read, and a run has to read it again");
    if (r->source.pair)
        dry_run_line("pairs", "%zu", r->source.n);
    dry_run_line("tokens", "%zu, %llu of them trained on", d->all.n_tokens,
                 (unsigned long long)offline_trained(&r->source, offline_epoch_steps(&r->source)));
}

static void tell_updates(struct result *r)
{
    const struct trainer *t = &r->run.trainer;
    dry_run_line("epochs", "%.6g",
                 (double)offline_seen(&r->source, r->total_steps) / (double)r->source.n);
    dry_run_line("updates", "%lld of up to %lld %s%s", (long long)r->total_steps,
                 (long long)r->run.o->batch_size, r->source.pair ? "pair" : "sequence",
                 r->run.o->batch_size == 1 ? "" : "s");
    dry_run_line("trained tokens", "%llu in all",
                 (unsigned long long)offline_trained(&r->source, r->total_steps));
    if (t->step)
        dry_run_line("done already", "%lld updates, %llu trained tokens", (long long)t->step,
                     (unsigned long long)t->num_tokens);
    for (int i = 0; i < r->keep.n; i++)
        dry_run_line("kept", "%s", r->keep.at[i].name);
}

// In place of training: what a run with --resume would find, and what this one would do.
static int rehearse(struct result *r, struct err *e)
{
    const struct run *run = &r->run;
    char *partial = directory_beside(run->o->output, directory_partial, e);
    if (!partial)
        return -1;
    int at = run->o->resume ? open(partial, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int resumes = at >= 0 && io_exists(at, run_state), result = 0;
    if (resumes)
        result = take_up(r, at, partial, e);
    if (at >= 0)
        close(at);
    if (result == 0) {
        tell_data(r);
        tell_updates(r);
        dry_run_tell(run, partial, resumes);
        result = dry_run_end(e);
    }
    free(partial);
    return result;
}

int result_train(struct result *r, struct objective *objective, size_t bytes, struct err *e)
{
    r->objective = objective;
    if (r->complete) {
        message_note("%s: is complete already", r->run.o->output);
        return 0;
    }
    if (run_prepare(&r->run, r->total_steps, bytes, e) < 0 || check_space(r, e) < 0)
        return -1;
    if (r->run.o->dry_run)
        return rehearse(r, e);
    if (resume(r, e) < 0)
        return -1;
    if (run_updates(r, e) < 0)
        return e->status == STATUS_AGAIN ? -1 : tell_state(r, e);
    return finish(r, e);
}

void result_close(struct result *r, int failed)
{
    // A stopped run leaves its state; any other failure leaves nothing, except a state that was
    // there before or was saved on the way, which a later --resume can use.
    if (r->out.fd >= 0 && failed) {
        if (io_exists(r->out.fd, run_state))
            directory_close(&r->out);
        else
            directory_abort(&r->out);
    }
    offline_release(&r->source);
    run_close(&r->run);
}
