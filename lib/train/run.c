// SPDX-License-Identifier: MIT
#include "train/run.h"
#include "base/board.h"
#include "base/io.h"
#include "base/memory_check.h"
#include "base/sync.h"
#include "model/describe.h"
#include "train/card.h"
#include "train/checkpoint.h"
#include "train/manifest.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

const char run_state[] = "state.safetensors";
const char run_metrics_name[] = "metrics.jsonl";
const char result_scratch[] = "start";
// In the state, beside the settings.
static const char files_key[] = "files", metrics_key[] = "metrics", loss_key[] = "last_loss";
const char *const run_transient[] = {run_state, result_scratch, NULL};

static int claim(struct run *r, int living, struct err *e)
{
    const struct run_options *o = r->o;
    struct claim c = {.path = o->output,
                      .input = {o->model},
                      .state = run_state,
                      .transient = run_transient,
                      .living = living,
                      .resume = o->resume,
                      .overwrite = o->overwrite};
    memcpy(c.input + 1, o->input, sizeof o->input);
    if (living)
        c.transient = NULL;
    r->there = claim_check(&c, e);
    return r->there < 0 ? -1 : 0;
}

int run_open(struct run *r, const struct run_options *o, const char *program, int living,
             int any_head, struct err *e)
{
    memset(r, 0, sizeof *r);
    r->o = o;
    r->program = program;
    r->metrics.fd = -1;
    r->loss = NAN;
    progress_init(&r->progress, "update", o->max_steps);
    if (policy_lock_take(&r->lock, o->output, e) < 0)
        return -1;
    r->locked = 1;
    if (claim(r, living, e) < 0 || device_open(&r->device, o->device, e) < 0)
        return -1;
    r->model = any_head ? model_open_any(o->model, e) : model_open(o->model, e);
    if (!r->model || model_keep(r->model, e) < 0)
        return -1;
    describe_unused(r->model, o->verbose);
    // The tokenizer was read just before.
    if (!o->tokenizer || kept_find(&r->model->kept, "tokenizer.json") ||
        kept_find(&r->model->kept, "tokenizer.model"))
        return 0;
    return err_set(e, STATUS_FAILED, "%s: its tokenizer was removed", o->model);
}

int run_prepare(struct run *r, int64_t total_steps, size_t bytes, struct err *e)
{
    const struct trainer_options *t = &r->o->train;
    if (memory_check(trainer_bytes(r->model, t) + bytes, "training", r->o->verbose, e) < 0)
        return -1;
    r->saved = clock_seconds();
    return trainer_init(&r->trainer, r->model, &r->device, t, total_steps, e);
}

static int add_line(struct run *r, struct stream_header *h, const char *role, struct err *e)
{
    const struct run_options *o = r->o;
    if (header_add_provenance(h, r->program, o->argc, o->argv, o->seed,
                              json_pack("{s:s}", role, r->fingerprint), e) < 0 ||
        header_set_kernels(h, r->device.ops->kernels(&r->device), e) < 0)
        return -1;
    json_decref(r->history);
    r->history = json_incref(h->provenance);
    return 0;
}

int run_set_history(struct run *r, struct stream_header *h, const char *role, struct err *e)
{
    struct stream_header alone;
    if (r->device.ops->backward_open(&r->device, e) < 0)
        return -1;
    if (model_fingerprint(r->model, r->fingerprint, e) < 0)
        return -1;
    if (h)
        return add_line(r, h, role, e);
    if (header_init(&alone, e) < 0)
        return -1;
    int result = add_line(r, &alone, role, e);
    header_release(&alone);
    return result;
}

int run_save_due(struct run *r)
{
    const struct run_options *o = r->o;
    double now = clock_seconds();
    if (!(o->save_steps && r->trainer.step % o->save_steps == 0) &&
        !(o->save_minutes > 0 && now - r->saved >= 60 * o->save_minutes))
        return 0;
    r->saved = now;
    return 1;
}

// Of its weights as they are written.
static size_t model_bytes(const struct run *r)
{
    const struct model *m = r->model;
    size_t bytes = 0;
    for (size_t i = 0; i < m->n_shards; i++)
        bytes += m->shard[i].size;
    size_t wide = m->n_flat * sizeof(float);
    return r->o->save_dtype ? (strcmp(r->o->save_dtype, "fp32") ? wide / 2 : wide) : bytes;
}

int run_check_space(const struct run *r, size_t models, size_t states, struct err *e)
{
    const struct trainer *t = &r->trainer;
    size_t state = (1 + !!t->m + !!t->v + !!t->ema) * r->model->n_flat * sizeof(float);
    double need = (double)models * (double)model_bytes(r) + (double)states * (double)state;
    struct statvfs disk;
    char *folder = directory_parent(r->o->output, e);
    if (!folder)
        return -1;
    int known = statvfs(folder, &disk) == 0 && disk.f_blocks;
    free(folder);
    double room = known ? (double)disk.f_bavail * (double)disk.f_frsize : need;
    if (room >= need)
        return 0;
    return err_set(e, STATUS_FAILED,
                   "%s: no space for the result: it needs %.1f MiB, and %.1f MiB are free there",
                   r->o->output, need / (1 << 20), room / (1 << 20));
}

// The state is of no use without the files that it names. A generation is synced as a whole.
static int sync_beside(const struct run *r, int at, const char *where, int living, struct err *e)
{
    if (r->metrics.fd >= 0 && sync_fd(r->metrics.fd, r->metrics.path, e) < 0)
        return -1;
    return living ? 0 : sync_tree(at, where, e);
}

int run_save_state(const struct run *r, int at, const char *where, const json_t *state, int living,
                   struct err *e)
{
    static const char *const left[] = {
        run_state,           "state.safetensors.new", run_metrics_name,
        result_scratch,      directory_marker,        directory_old,
        directory_note_name, directory_previous,      NULL};
    static const char *const of_model[] = {".safetensors", ".json", NULL};
    json_t *files = manifest_make(at, left, living ? of_model : NULL, e), *all = NULL;
    json_t *metrics = files ? manifest_of_metrics(r->metrics.path, !living, e) : NULL;
    int result = metrics ? sync_beside(r, at, where, living, e) : -1;
    if (result == 0 &&
        (!(all = json_copy((json_t *)state)) || json_object_set(all, files_key, files) < 0 ||
         json_object_set(all, metrics_key, metrics) < 0 ||
         (isfinite(r->loss) && json_object_set_new(all, loss_key, json_real(r->loss)) < 0)))
        result = err_memory(e, 0, "a state");
    if (result == 0)
        result = checkpoint_save(at, run_state, &r->trainer, all, e);
    json_decref(files);
    json_decref(metrics);
    json_decref(all);
    return result < 0 ? err_prefix(e, "%s", where) : 0;
}

int run_load_state(struct run *r, int at, const char *where, json_t **then, struct err *e)
{
    if (checkpoint_load(at, run_state, &r->trainer, then, e) < 0)
        return err_prefix(e, "%s", where);
    // A run whose last update is in the state tells of it as one that made it.
    const json_t *loss = json_object_get(*then, loss_key);
    if (json_is_number(loss))
        r->loss = json_number_value(loss);
    return 0;
}

int run_check_files(const json_t *then, int at, const char *where, struct err *e)
{
    if (manifest_check(at, json_object_get(then, files_key), e) < 0)
        return err_prefix(e, "%s", where);
    return 0;
}

int run_check_metrics(const struct run *r, const char *directory, const json_t *then, struct err *e)
{
    char *own = r->o->metrics ? NULL : io_path(directory, run_metrics_name, e);
    if (!own && !r->o->metrics)
        return -1;
    int result =
        manifest_check_metrics(own ? own : r->o->metrics, json_object_get(then, metrics_key), e);
    free(own);
    return result;
}

json_t *run_metrics(const struct run *r, const struct objective *objective,
                    const struct step_report *p, struct err *e)
{
    const struct trainer *t = &r->trainer;
    json_t *line = json_pack("{s:I, s:f, s:f, s:f, s:I, s:f, s:f}", "step", (json_int_t)t->step,
                             "loss", p->loss, "grad_norm", p->grad_norm, "learning_rate",
                             p->learning_rate, "num_tokens", (json_int_t)t->num_tokens, "step_time",
                             p->seconds, "tokens_per_second", (double)p->tokens / p->seconds);
    if (line)
        objective->metrics(objective, p, line);
    else
        err_memory(e, 0, "metrics");
    return line;
}

int run_open_metrics(struct run *r, const char *directory, int resumed, struct err *e)
{
    const char *path = r->o->metrics;
    if (!path && !(path = r->metrics_path = io_path(directory, run_metrics_name, e)))
        return -1;
    r->tokens_before = r->trainer.num_tokens;
    return resumed ? metrics_resume(&r->metrics, path, r->trainer.step, e)
                   : metrics_open(&r->metrics, path, e);
}

int run_write_model(const struct run *r, int at, const struct directory_note *note, int with_loss,
                    struct err *e)
{
    struct card card = {.program = r->program,
                        .base = r->fingerprint,
                        .history = r->history,
                        .settings = r->settings,
                        .updates = r->trainer.step,
                        .num_tokens = r->trainer.num_tokens,
                        .loss = with_loss ? r->loss : NAN};
    // A card that a killed run left here is not the base's.
    unlinkat(at, "README.md", 0);
    if (model_save(r->model, at, r->o->save_dtype, e) < 0 || card_write(at, &card, e) < 0)
        return -1;
    return directory_write_note(at, note, e);
}

void run_tell_end(const struct run *r, const char *before, const char *after)
{
    const struct trainer *t = &r->trainer;
    char time[64], rest[128] = "";
    progress_closing(&r->progress, t->num_tokens - r->tokens_before, time);
    if (isfinite(r->loss))
        snprintf(rest, sizeof rest, ", loss %.4f, %s", r->loss, time);
    message_note("%s: %s%lld%s%s, %llu trained tokens%s", r->o->output, before, (long long)t->step,
                 after, *after && t->step != 1 ? "s" : "", (unsigned long long)t->num_tokens, rest);
}

void run_close(struct run *r)
{
    struct err ignored;
    progress_end(&r->progress);
    MAY_FAIL(metrics_close(&r->metrics, &ignored));
    trainer_release(&r->trainer);
    model_close(r->model);
    device_release(&r->device);
    json_decref(r->settings);
    json_decref(r->history);
    free(r->metrics_path);
    if (r->locked)
        policy_lock_release(&r->lock);
}
