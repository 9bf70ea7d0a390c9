// SPDX-License-Identifier: MIT
#include "train/run.h"
#include "base/board.h"
#include "base/io.h"
#include "base/memory_check.h"
#include "base/sync.h"
#include "model/describe.h"
#include "train/best.h"
#include "train/card.h"
#include "train/checkpoint.h"
#include "train/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// A policy is trained on a stream: the largest frame that the suite writes, with seven columns.
enum { STREAM_BYTES = 32 << 20 };

const char run_state[] = "state.safetensors";
const char run_metrics_name[] = "metrics.jsonl";
const char result_scratch[] = "start";
// In the state, beside the settings.
static const char files_key[] = "files", before_key[] = "previous", metrics_key[] = "metrics",
                  loss_key[] = "last_loss";
const char *const run_transient[] = {run_state, result_scratch, "best.0", "best.1", NULL};

static int claim(struct run *r, int living, struct err *e)
{
    const struct run_options *o = r->o;
    struct claim c = {.path = o->output,
                      .input = {o->model},
                      .state = run_state,
                      .transient = run_transient,
                      .living = living,
                      .resume = o->resume,
                      .overwrite = o->overwrite,
                      .dry_run = o->dry_run};
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
    r->metrics_lines = -1;
    r->size = pass_largest((size_t)o->train.micro_batch_tokens, 1, SIZE_MAX, 0);
    r->reserve = living ? STREAM_BYTES : 0;
    progress_init(&r->progress, "update", o->max_steps);
    if (model_check_dtype(o->save_dtype, e) < 0 || policy_lock_take(&r->lock, o->output, e) < 0)
        return -1;
    r->locked = 1;
    if (claim(r, living, e) < 0 || device_open(&r->device, o->device, o->products, e) < 0)
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

// held: what the process has already, and will for records.
static int refuse_memory(const struct run *r, const struct budget_job *job, size_t held,
                         struct err *e)
{
    enum { MIB = 1 << 20 };
    return err_set(
        e, STATUS_MEMORY,
        "--memory %zuM: at least %zuM are needed, of which weights, gradient and moments "
        "take %zuM; fewer --micro-batch-tokens need less",
        (size_t)r->o->memory / MIB, (held + r->budget.bytes + MIB - 1) / MIB, job->weights / MIB);
}

// How the run stays within the memory that it may take, and that there is.
static int plan_memory(struct run *r, struct work_bytes beside, struct err *e)
{
    const struct run_options *o = r->o;
    size_t room = memory_available(), held = memory_held() + r->reserve, promised = SIZE_MAX;
    struct budget_job job = {
        .device = &r->device,
        .model = r->model,
        .size = r->size,
        .weights = trainer_weight_bytes(&o->train, r->weights ? r->weights : r->model->n_flat),
        .beside = beside};
    char text[BUDGET_TEXT];
    if (o->memory)
        promised = o->memory > held ? o->memory - held : 0;
    r->budget = budget_find(&job, room < promised ? room : promised);
    if (r->budget.bytes > promised)
        return refuse_memory(r, &job, held, e);
    if (memory_check(r->budget.bytes, "training", o->verbose, e) < 0)
        return -1;
    budget_text(&r->budget, text);
    if (o->verbose || (!o->memory && r->budget.kept < r->budget.layers))
        message_note("activations: %s", text);
    return 0;
}

int run_prepare(struct run *r, int64_t total_steps, struct work_bytes beside, struct err *e)
{
    const struct trainer_options *t = &r->o->train;
    if (plan_memory(r, beside, e) < 0)
        return -1;
    r->saved = clock_seconds();
    if (r->o->dry_run)
        return trainer_check(t, total_steps, e);
    if (trainer_init(&r->trainer, r->model, &r->device, t, total_steps, e) < 0)
        return -1;
    r->trainer.pass.decoder.remade = r->budget.layers - r->budget.kept;
    r->trainer.pass.most = r->o->memory ? r->size.tokens : 0;
    return 0;
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

// A chat template that rendered what is trained on goes with the model.
static int take_template(struct run *r, const struct stream_header *h, struct err *e)
{
    int taken = h && h->template ? model_set_template(r->model, h->template, e) : 0;
    if (taken > 0)
        message_note("the records' chat template is not %s's own: it is saved with the model",
                     r->o->model);
    return taken < 0 ? -1 : 0;
}

int run_set_history(struct run *r, struct stream_header *h, const char *role, struct err *e)
{
    struct stream_header alone;
    if (take_template(r, h, e) < 0)
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

int run_check_space(const struct run *r, size_t models, size_t states, struct err *e)
{
    size_t state = trainer_copies(&r->o->train) * r->model->n_flat * sizeof(float);
    double need = (double)models * (double)model_file_bytes(r->model, r->o->save_dtype) +
                  (double)states * (double)state;
    return directory_check_room(r->o->output, need, e);
}

// Of the files of a generation. Its card is made anew each time.
static json_t *sums_of_generation(const struct run *r, int at, struct err *e)
{
    const struct model *m = r->model;
    json_t *sums = json_object();
    int result = sums ? 0 : err_memory(e, 0, "checksums");
    for (size_t i = 0; i < m->kept.n && result == 0; i++) {
        const char *name = m->kept.file[i].name;
        result = manifest_add(sums, at, strcmp(name, "README.md") ? name : "README-base.md", e);
    }
    for (size_t i = 0; i < m->n_shards && result == 0; i++)
        result = manifest_add(sums, at, m->shard_name[i], e);
    if (result == 0)
        return sums;
    json_decref(sums);
    return NULL;
}

// Whether the directory is the generation before; -1: *e.
static int is_before(const struct run *r, int at, struct err *e)
{
    struct directory_note note;
    int there = io_look(at, directory_note_name, e);
    if (there <= 0 || directory_read_note(at, &note, e) < 0)
        return there > 0 ? -1 : there;
    int is = note.generation + 1 == (uint64_t)r->trainer.step;
    directory_release_note(&note);
    return is;
}

// Opens the generation before, OUT or OUT/previous; -1 with *found 0 where it is nowhere. This run
// alone replaces them: what cannot be read there is an error.
static int open_before(const struct run *r, int *found, struct err *e)
{
    char *previous = io_path(r->o->output, directory_previous, e);
    const char *const path[] = {r->o->output, previous};
    int fd = -1, result = previous ? 0 : -1;
    for (int i = 0; result == 0 && i < 2; i++) {
        fd = open(path[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
            result = errno == ENOENT ? 0 : err_errno(e, path[i]);
        else if ((result = is_before(r, fd, e)) < 0)
            err_prefix(e, "%s", path[i]);
        if (fd >= 0 && result <= 0)
            close(fd);
    }
    free(previous);
    *found = result;
    return result > 0 ? fd : -1;
}

// Of the generation before: one without files, where it is nowhere.
static json_t *sums_before(const struct run *r, struct err *e)
{
    int found, fd = open_before(r, &found, e);
    if (found < 0)
        return NULL;
    json_t *sums = fd < 0 ? json_object() : sums_of_generation(r, fd, e);
    if (fd >= 0)
        close(fd);
    else if (!sums)
        err_memory(e, 0, "checksums");
    return sums;
}

// The state is of no use without the files that it names. A generation is synced as a whole.
static int sync_beside(const struct run *r, int at, const char *where, int living, struct err *e)
{
    if (r->metrics.fd >= 0 && sync_fd(r->metrics.fd, r->metrics.path, e) < 0)
        return -1;
    return living ? 0 : sync_tree(at, where, e);
}

static int add_sums(const struct run *r, int at, json_t *state, int living, struct err *e)
{
    const char *const left[] = {run_state,
                                "state.safetensors.new",
                                run_metrics_name,
                                result_scratch,
                                directory_marker,
                                directory_old,
                                directory_note_name,
                                directory_previous,
                                best_places[0],
                                best_places[1],
                                NULL};
    json_t *files = living ? sums_of_generation(r, at, e) : manifest_make(at, left, e);
    json_t *before = files && living ? sums_before(r, e) : json_null();
    json_t *metrics = files && before ? manifest_of_metrics(r->metrics.path, !living, e) : NULL;
    int result = metrics ? 0 : -1;
    if (result == 0 &&
        (json_object_set(state, files_key, files) < 0 ||
         json_object_set(state, before_key, before) < 0 ||
         json_object_set(state, metrics_key, metrics) < 0 ||
         (isfinite(r->loss) && json_object_set_new(state, loss_key, json_real(r->loss)) < 0)))
        result = err_memory(e, 0, "a state");
    json_decref(files);
    json_decref(before);
    json_decref(metrics);
    return result;
}

int run_save_state(const struct run *r, int at, const char *where, const json_t *state, int living,
                   struct err *e)
{
    json_t *all = json_copy((json_t *)state);
    int result = all ? add_sums(r, at, all, living, e) : err_memory(e, 0, "a state");
    if (result == 0)
        result = sync_beside(r, at, where, living, e);
    if (result == 0)
        result = checkpoint_save(at, run_state, &r->trainer, all, e);
    json_decref(all);
    return result < 0 ? err_prefix(e, "%s", where) : 0;
}

// Of a dry run: its counters alone.
static int look_at_state(struct run *r, int at, json_t **then, struct err *e)
{
    struct checkpoint_counts counts;
    if (checkpoint_look(at, run_state, &counts, then, e) < 0)
        return -1;
    r->trainer.step = counts.step;
    r->trainer.num_tokens = counts.num_tokens;
    return 0;
}

int run_load_state(struct run *r, int at, const char *where, json_t **then, struct err *e)
{
    int result = r->o->dry_run ? look_at_state(r, at, then, e)
                               : checkpoint_load(at, run_state, &r->trainer, then, e);
    if (result < 0)
        return err_prefix(e, "%s", where);
    // A run whose last update is in the state tells of it as one that made it.
    const json_t *loss = json_object_get(*then, loss_key);
    const json_t *lines = json_object_get(json_object_get(*then, metrics_key), "lines");
    if (json_is_integer(lines))
        r->metrics_lines = json_integer_value(lines);
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

// The generation of a directory, by its note, which must prove itself.
static int read_generation(int at, uint64_t *generation, struct err *e)
{
    struct directory_note note;
    if (directory_read_note(at, &note, e) < 0)
        return -1;
    int sealed = note.sealed;
    *generation = note.generation;
    directory_release_note(&note);
    return sealed ? 0 : err_set(e, STATUS_FAILED, "%s: has no checksum", directory_note_name);
}

// Of OUT/previous: as it was, if it still is the generation before.
static int check_before(const struct run *r, const json_t *then, int at, struct err *e)
{
    uint64_t generation = 0;
    int fd = openat(at, directory_previous, O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = 0;
    if (fd < 0)
        return errno == ENOENT ? 0 : err_errno(e, directory_previous);
    if (read_generation(fd, &generation, e) < 0 ||
        (generation + 1 == (uint64_t)r->trainer.step &&
         manifest_check(fd, json_object_get(then, before_key), e) < 0))
        result = err_prefix(e, "%s", directory_previous);
    close(fd);
    return result;
}

int run_check_generations(const struct run *r, const json_t *then, int at, struct err *e)
{
    uint64_t generation = 0;
    int result = io_exists(at, directory_note_name) ? read_generation(at, &generation, e) : 1;
    if (result == 0 && generation == (uint64_t)r->trainer.step &&
        (manifest_check(at, json_object_get(then, files_key), e) < 0 ||
         check_before(r, then, at, e) < 0))
        result = -1;
    return result < 0 ? err_prefix(e, "%s", r->o->output) : 0;
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
    if (r->o->dry_run)
        return 0;
    if (!path && !(path = r->metrics_path = io_path(directory, run_metrics_name, e)))
        return -1;
    r->tokens_before = r->trainer.num_tokens;
    return resumed ? metrics_resume(&r->metrics, path, r->trainer.step, r->metrics_lines, e)
                   : metrics_open(&r->metrics, path, e);
}

int run_write_card(const struct run *r, int at, int64_t step, uint64_t num_tokens, double loss,
                   struct err *e)
{
    struct card card = {.program = r->program,
                        .base = r->fingerprint,
                        .history = r->history,
                        .settings = r->settings,
                        .updates = step,
                        .num_tokens = num_tokens,
                        .loss = loss,
                        .chosen = r->chosen};
    return card_write(at, &card, e);
}

int run_write_model(const struct run *r, int at, const struct directory_note *note, int with_loss,
                    struct err *e)
{
    // A card that a killed run left here is not the base's.
    unlinkat(at, "README.md", 0);
    if (model_save(r->model, at, r->o->save_dtype, e) < 0 ||
        run_write_card(r, at, r->trainer.step, r->trainer.num_tokens, with_loss ? r->loss : NAN,
                       e) < 0)
        return -1;
    return note ? directory_write_note(at, note, e) : 0;
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
