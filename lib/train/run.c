// SPDX-License-Identifier: MIT
#include "train/run.h"
#include "infer/memory_check.h"

#include <string.h>

const char run_state[] = "state.safetensors";

int run_open(struct run *r, const struct run_options *o, const char *program, int any_head,
             struct err *e)
{
    memset(r, 0, sizeof *r);
    r->o = o;
    r->program = program;
    r->metrics.fd = -1;
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

static int add_line(struct run *r, struct stream_header *h, const char *role,
                    const char *fingerprint, struct err *e)
{
    const struct run_options *o = r->o;
    if (header_add_provenance(h, r->program, o->argc, o->argv, o->seed,
                              json_pack("{s:s}", role, fingerprint), e) < 0)
        return -1;
    json_decref(r->history);
    r->history = json_incref(h->provenance);
    return 0;
}

int run_set_history(struct run *r, struct stream_header *h, const char *role, char fingerprint[24],
                    struct err *e)
{
    struct stream_header alone;
    if (model_fingerprint(r->model, fingerprint, e) < 0)
        return -1;
    if (h)
        return add_line(r, h, role, fingerprint, e);
    if (header_init(&alone, e) < 0)
        return -1;
    int result = add_line(r, &alone, role, fingerprint, e);
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
    if (r->locked)
        policy_lock_release(&r->lock);
}
