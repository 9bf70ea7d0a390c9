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
    r->eval_loss = NAN;
    message_note("%lld updates of up to %lld", (long long)r->total_steps, (long long)o->batch_size);
    return 0;
}

static const struct best_options *watch(const struct result *r)
{
    return &r->o->best;
}

// The run has ended before its last planned update.
static int is_cut(const struct result *r)
{
    return best_is_over(&r->best, watch(r)) && r->run.trainer.step < r->total_steps;
}

// The result is not the masters but the model of an earlier evaluation.
static int is_earlier(const struct result *r)
{
    return watch(r)->load && r->best.place >= 0 && r->best.step < r->run.trainer.step;
}

// The note of the model after `step` updates: that of a run which may end with another one than it
// has planned says so. end: it is the result.
static int write_note(const struct result *r, int at, int64_t step, int end, struct err *e)
{
    struct directory_note note = {.finished = 1, .history = r->run.history};
    json_t *training = NULL;
    memcpy(note.run, r->fingerprint, sizeof note.run);
    if (best_watches(watch(r))) {
        training = json_pack("{s:I, s:I}", "update", (json_int_t)step, "planned",
                             (json_int_t)r->total_steps);
        if (end && is_cut(r))
            json_object_set_new(training, "stopped", json_integer(r->run.trainer.step));
        if (end && r->best.step >= 0)
            json_object_set_new(training, watch(r)->metric,
                                json_real(is_earlier(r) ? r->best.value : r->best.last));
        if (!training)
            return err_memory(e, 0, "a note");
        note.training = training;
    }
    int result = directory_write_note(at, &note, e);
    json_decref(training);
    return result;
}

static int write_model(struct result *r, int at, int end, struct err *e)
{
    if (run_write_model(&r->run, at, NULL, 1, e) < 0)
        return -1;
    return write_note(r, at, r->run.trainer.step, end, e);
}

// The model as it is now, as NAME in the directory `at`.
static int keep_model(struct result *r, int at, const char *name, struct err *e)
{
    if (io_remove_tree(at, name, e) < 0 || io_make_directory(at, name, e) < 0)
        return -1;
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, name);
    int result = write_model(r, fd, 0, e);
    close(fd);
    return result < 0 ? err_prefix(e, "%s", name) : 0;
}

static int keep_average(struct result *r, int at, struct err *e)
{
    struct trainer *t = &r->run.trainer;
    if (!t->ema)
        return 0;
    float *own = t->model->master;
    t->model->master = t->ema;
    int result = keep_model(r, at, "ema", e);
    t->model->master = own;
    return result;
}

// The best so far waits in OUT.partial, with the average of that update.
static int keep_best(struct result *r, struct err *e)
{
    int fd = best_begin(&r->best, r->out.fd, e);
    if (fd < 0)
        return -1;
    int result = write_model(r, fd, 0, e);
    if (result == 0)
        result = keep_average(r, fd, e);
    close(fd);
    return result < 0 ? err_prefix(e, "%s/%s", r->out.partial, best_places[r->best.place]) : 0;
}

// After an evaluation, whose metrics are in the line.
static int watch_best(struct result *r, json_t *line, struct err *e)
{
    const struct trainer *t = &r->run.trainer;
    struct best *b = &r->best;
    double value = json_number_value(json_object_get(line, watch(r)->metric));
    r->eval_loss = json_number_value(json_object_get(line, "eval_loss"));
    if (!best_watches(watch(r)))
        return 0;
    if (best_see(b, watch(r), value, t->step)) {
        b->loss = r->run.loss;
        b->num_tokens = t->num_tokens;
        best_forget_place(b);
        // Behind the last update the masters are the model.
        if (watch(r)->load && t->step < r->total_steps && keep_best(r, e) < 0)
            return -1;
    }
    json_object_set_new(line, "best_metric", json_real(b->value));
    json_object_set_new(line, "best_global_step", json_integer(b->step));
    return 0;
}

// due: the model is evaluated.
static int add_notes(struct result *r, int due, json_t *line, struct err *e)
{
    int64_t step = r->run.trainer.step;
    json_object_set_new(line, "epoch",
                        json_real((double)offline_seen(&r->source, step) / (double)r->source.n));
    if (r->note && r->note(r->arg, due, line, e) < 0)
        return -1;
    return due ? watch_best(r, line, e) : 0;
}

static int write_line(struct result *r, int due, json_t *line, struct err *e)
{
    if (add_notes(r, due, line, e) == 0)
        return metrics_write(&r->run.metrics, line, e);
    json_decref(line);
    return -1;
}

static int write_metrics(struct result *r, const struct step_report *p, struct err *e)
{
    int64_t step = r->run.trainer.step;
    json_t *line = run_metrics(&r->run, r->objective, p, e);
    if (!line)
        return -1;
    return write_line(r, evaluation_due(&r->o->eval, step, step == r->total_steps), line, e);
}

// Of update 0: a line without what only an update has.
static int evaluate_start(struct result *r, struct err *e)
{
    json_t *line = json_pack("{s:i}", "step", 0);
    return line ? write_line(r, 1, line, e) : err_memory(e, 0, "metrics");
}

static int keep_due_models(struct result *r, struct err *e)
{
    const struct offline *s = &r->source;
    int64_t step = r->run.trainer.step;
    uint64_t before = offline_seen(s, step - 1), after = offline_seen(s, step);
    uint64_t total = offline_seen(s, r->total_steps);
    for (int i = 0; i < r->keep.n; i++)
        if (keep_due(&r->keep, i, before, after, total) &&
            keep_model(r, r->out.fd, r->keep.at[i].name, e) < 0)
            return -1;
    return 0;
}

static const char best_key[] = "best"; // in the state

static int save_state(struct result *r, struct err *e)
{
    if (!best_watches(watch(r)))
        return run_save_state(&r->run, r->out.fd, r->out.partial, r->run.settings, 0, e);
    json_t *state = json_copy(r->run.settings), *best = best_to_json(&r->best, r->out.fd, e);
    int result = best ? 0 : err_prefix(e, "%s", r->out.partial);
    if (best && json_object_set_new(state, best_key, best) < 0)
        result = err_memory(e, 0, "a state");
    if (result == 0)
        result = run_save_state(&r->run, r->out.fd, r->out.partial, state, 0, e);
    json_decref(state);
    return result == 0 ? best_was_saved(&r->best, r->out.fd, e) : -1;
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
    if (keep_due_models(r, e) < 0)
        return -1;
    // Before the evaluation, which takes its time below this line.
    long long at = run->trainer.step;
    char eval[32] = "";
    if (isfinite(r->eval_loss))
        snprintf(eval, sizeof eval, "  eval_loss %.4f", r->eval_loss);
    progress_update(&run->progress, at, "loss %.4f%s  norm %.3g  %.0f tokens/s", report.loss, eval,
                    report.grad_norm, (double)report.tokens / report.seconds);
    if (write_metrics(r, &report, e) < 0)
        return -1;
    if (run->o->verbose)
        message_note("update %lld loss %.6f norm %.4g rate %.4g", at, report.loss, report.grad_norm,
                     report.learning_rate);
    return at < r->total_steps && !is_cut(r) && run_save_due(run) ? save_state(r, e) : 0;
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
    while (result == 0 && run->trainer.step < r->total_steps && !is_cut(r))
        result = next_update(r, e);
    progress_end(&run->progress);
    return result;
}

// Of a run that its evaluations may end, or whose model they choose: all that they depend on.
static int add_watched(const struct result *r, const struct result_plan *plan, json_t *s)
{
    const struct best_options *b = watch(r);
    if (!best_watches(b))
        return 0;
    json_t *own = json_pack("{s:I, s:I, s:b, s:s, s:b}", "eval-data",
                            (json_int_t)(plan->eval_fingerprint >> 1), "eval-steps",
                            (json_int_t)r->o->eval.steps, "eval-on-start", r->o->eval.on_start,
                            "metric-for-best-model", b->metric, "load-best-model-at-end", b->load);
    if (own && b->patience) {
        json_object_set_new(own, "early-stopping-patience", json_integer(b->patience));
        json_object_set_new(own, "early-stopping-threshold", json_real(b->threshold));
    }
    int result = own ? json_object_update(s, own) : -1;
    json_decref(own);
    return result;
}

// What must be the same for a resumed run to give the same bits.
static int make_settings(struct result *r, const struct result_plan *plan, const char *model,
                         struct err *e)
{
    const struct run_options *o = r->run.o;
    const struct trainer_options *t = &o->train;
    int64_t warmup = schedule_warmup(t->warmup_steps, t->warmup_ratio, r->total_steps);
    json_t *s = checkpoint_settings(t, o->products, o->seed, model, plan->loss);
    json_t *own = json_pack(
        "{s:I, s:I, s:I, s:I, s:i, s:s, s:f, s:f}", "data", (json_int_t)(plan->fingerprint >> 1),
        "batch-size", (json_int_t)o->batch_size, "updates", (json_int_t)r->total_steps,
        "warmup-steps", (json_int_t)warmup, "shuffle", r->o->shuffle, "keep",
        r->o->keep ? r->o->keep : "", "ema", t->ema, "temperature", t->temperature);
    int result = s && own && plan->settings && json_object_update(s, own) == 0
                     ? json_object_update(s, plan->settings)
                     : -1;
    if (result == 0)
        result = add_watched(r, plan, s);
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
    if (result == 0 && best_from_json(&r->best, json_object_get(then, best_key), at, e) < 0)
        result = err_prefix(e, "%s", directory);
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
    if (run->o->resume && io_exists(r->out.fd, run_state))
        return take_up(r, r->out.fd, directory, e);
    if (run->o->resume)
        message_note("%s: no state to go on from; starting at the beginning", directory);
    if (run_open_metrics(run, directory, 0, e) < 0)
        return -1;
    return r->o->eval.on_start ? evaluate_start(r, e) : 0;
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

static const char *plural(int64_t n)
{
    return n == 1 ? "" : "s";
}

// Why the result is the model that it is, for the card and the last message; "": because the run
// has ended.
static void tell_choice(const struct result *r, char *out, size_t size)
{
    const struct best *b = &r->best;
    const char *metric = watch(r)->metric;
    long long step = r->run.trainer.step, all = r->total_steps, best = b->step;
    char end[96] = "";
    if (watch(r)->load)
        snprintf(end, sizeof end, "the model is that of update %lld (%.4f)", best, b->value);
    else
        snprintf(end, sizeof end, "the best was update %lld (%.4f), the model is the last (%.4f)",
                 best, b->value, b->last);
    *out = 0;
    if (is_cut(r))
        snprintf(out, size,
                 "stopped after update %lld of %lld: %s has not improved for %lld evaluation%s; %s",
                 step, all, metric, (long long)b->without, plural(b->without), end);
    else if (watch(r)->load)
        snprintf(out, size, "%s, the best %s", end, metric);
}

// Fractions of the planned samples that a run which has ended early, or with an earlier model, has
// not reached, or whose models are later than its own.
static void warn_kept(const struct result *r)
{
    const struct offline *s = &r->source;
    int64_t own = is_earlier(r) ? r->best.step : r->run.trainer.step;
    uint64_t total = offline_seen(s, r->total_steps), end = offline_seen(s, r->run.trainer.step);
    char missing[KEEP_MAX * KEEP_NAME_MAX + 1] = "", late[sizeof missing] = "";
    for (int i = 0; i < r->keep.n; i++) {
        double due = keep_sample(&r->keep, i, total);
        char *list = due > (double)end ? missing : due > (double)offline_seen(s, own) ? late : NULL;
        if (list)
            sprintf(list + strlen(list), "%s%s", *list ? "," : "", r->keep.at[i].name);
    }
    if (*missing)
        message_warn("%s: --keep %s was not reached: the run stopped after update %lld of %lld; "
                     "for a reference of its reward train again with --max-steps %lld --keep half, "
                     "without stopping early",
                     r->run.o->output, missing, (long long)r->run.trainer.step,
                     (long long)r->total_steps, (long long)(own ? own : 1));
    if (*late)
        message_warn("%s: what --keep %s kept is later than the model, which is that of update "
                     "%lld, and no reference for its reward: train again with --max-steps %lld "
                     "--keep half, without --load-best-model-at-end",
                     r->run.o->output, late, (long long)own, (long long)(own ? own : 1));
}

// The best model, which has waited for the end.
static int take_best(struct result *r, struct err *e)
{
    const struct best *b = &r->best;
    // A card that a killed run left here is not the base's.
    if (best_install(b, r->out.fd, e) < 0 || io_remove_tree(r->out.fd, "README.md", e) < 0 ||
        run_write_card(&r->run, r->out.fd, b->step, b->num_tokens, b->loss, e) < 0)
        return -1;
    return write_note(r, r->out.fd, b->step, 1, e);
}

static int write_result(struct result *r, struct err *e)
{
    if (is_earlier(r))
        return take_best(r, e);
    if (write_model(r, r->out.fd, 1, e) < 0)
        return -1;
    *r->run.chosen = 0; // of the average nobody has said so
    return keep_average(r, r->out.fd, e);
}

static int finish(struct result *r, struct err *e)
{
    struct run *run = &r->run;
    tell_choice(r, run->chosen, sizeof run->chosen);
    if (write_result(r, e) < 0)
        return keep_state(r, e);
    if (metrics_close(&run->metrics, e) < 0)
        return tell_state(r, e);
    enum directory_end end = r->overwrite ? DIRECTORY_OVERWRITE : DIRECTORY_NEW;
    if (directory_commit(&r->out, end, run_transient, e) < 0)
        return -1;
    run_tell_end(run, "", " update");
    char choice[sizeof run->chosen];
    tell_choice(r, choice, sizeof choice);
    if (*choice)
        message_note("%s", choice);
    if (best_watches(watch(r)))
        warn_kept(r);
    return 0;
}

int result_open(struct result *r, const struct result_options *o, const char *program, int any_head,
                struct err *e)
{
    memset(r, 0, sizeof *r);
    r->o = o;
    r->out.fd = -1;
    best_init(&r->best);
    if (evaluation_check(&o->eval, e) < 0 ||
        best_check(&o->best, o->eval.path, o->eval.steps, e) < 0)
        return -1;
    if (run_open(&r->run, &o->run, program, 0, any_head, e) < 0)
        return -1;
    return keep_parse(&r->keep, o->keep, e);
}

// A state is replaced by one that stands beside it. What a resumed run finds there needs no more.
static int check_space(const struct result *r, struct err *e)
{
    size_t average = r->run.o->train.ema > 0, best = watch(r)->load ? 1 + average : 0;
    size_t models = 1 + (size_t)r->keep.n + average + 2 * best;
    return r->run.o->resume ? run_check_space(&r->run, 1 + best, 1, e)
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

static void tell_evaluations(const struct result *r)
{
    const struct best_options *b = watch(r);
    dry_run_evaluations(&r->o->eval);
    if (b->patience)
        dry_run_line("may stop",
                     "when %s has not improved for %lld evaluation%s, which may be "
                     "before a fraction of --keep",
                     b->metric, (long long)b->patience, plural(b->patience));
    if (b->load)
        dry_run_line("result", "the model of the best %s", b->metric);
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
        tell_evaluations(r);
        dry_run_tell(run, partial, resumes);
        result = dry_run_end(e);
    }
    free(partial);
    return result;
}

int result_train(struct result *r, struct objective *objective, struct work_bytes beside,
                 struct err *e)
{
    r->objective = objective;
    if (r->complete) {
        message_note("%s: is complete already", r->run.o->output);
        return 0;
    }
    if (run_prepare(&r->run, r->total_steps, beside, e) < 0 || check_space(r, e) < 0)
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
