// SPDX-License-Identifier: MIT
#include "train/run.h"
#include "base/io.h"
#include "base/memory_check.h"
#include "train/card.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char run_state[] = "state.safetensors";
const char run_metrics_name[] = "metrics.jsonl";

int run_open(struct run *r, const struct run_options *o, const char *program, int any_head,
             struct err *e)
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
    if (device_open(&r->device, o->device, e) < 0)
        return -1;
    r->model = any_head ? model_open_any(o->model, e) : model_open(o->model, e);
    return r->model ? 0 : -1;
}

int run_prepare(struct run *r, int64_t total_steps, size_t bytes, struct err *e)
{
    const struct trainer_options *t = &r->o->train;
    if (memory_check(trainer_bytes(r->model, t) + bytes, "training", r->o->verbose, e) < 0)
        return -1;
    return trainer_init(&r->trainer, r->model, &r->device, t, total_steps, e);
}

static int add_line(struct run *r, struct stream_header *h, const char *role, struct err *e)
{
    const struct run_options *o = r->o;
    if (header_add_provenance(h, r->program, o->argc, o->argv, o->seed,
                              json_pack("{s:s}", role, r->fingerprint), e) < 0)
        return -1;
    json_decref(r->history);
    r->history = json_incref(h->provenance);
    return 0;
}

int run_set_history(struct run *r, struct stream_header *h, const char *role, struct err *e)
{
    struct stream_header alone;
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
