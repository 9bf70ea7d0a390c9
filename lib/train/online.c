// SPDX-License-Identifier: MIT
#include "train/online.h"
#include "base/io.h"
#include "infer/memory_check.h"
#include "stream/filter.h"
#include "train/checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char state_name[] = "state.safetensors";

static int open_stream(struct living *l, const char *input, struct err *e)
{
    if (!(l->reader = stream_reader_open(input, e)) ||
        header_copy(&l->header, stream_reader_header(l->reader), e) < 0 ||
        header_check_tokenizer(&l->header, l->o->tokenizer, stream_reader_name(l->reader), e) < 0 ||
        l->open(l->arg, e) < 0)
        return -1;
    return frame_init(&l->read, &l->header, e);
}

int64_t living_batch_size(const struct living *l)
{
    const json_t *s = l->header.sampling;
    json_int_t prompts = json_integer_value(json_object_get(s, "batch_size"));
    json_int_t samples = json_integer_value(json_object_get(s, "num_generations"));
    int known = prompts > 0 && samples > 0 && prompts < (1 << 24) && samples < (1 << 24) &&
                prompts * samples < (1 << 24) && header_find(&l->header, "step") >= 0;
    return known ? prompts * samples : 0;
}

// Saves the state, with what the program remembers.
static int save_state(const struct living *l, int at, struct err *e)
{
    json_t *state = json_copy(l->agreed);
    if (!state)
        return err_memory(e, 0, "a state");
    int result = l->save ? l->save(l->arg, state, e) : 0;
    if (result == 0)
        result = checkpoint_save(at, state_name, &l->trainer, state, e);
    json_decref(state);
    return result;
}

// Whether OUT shows the masters' generation.
static int shows_generation(const struct living *l, int *finished)
{
    struct err ignored;
    struct directory_note note;
    int fd = open(l->o->output, O_RDONLY | O_DIRECTORY | O_CLOEXEC), shows = 0;
    if (fd >= 0 && directory_read_note(fd, &note, &ignored) == 0) {
        shows = note.generation == (uint64_t)l->trainer.step;
        *finished = note.finished;
        directory_release_note(&note);
    }
    if (fd >= 0)
        close(fd);
    return shows;
}

// The generation is there already: only its state and its note are new, and what is in OUT/previous
// stays the generation before.
static int publish_again(const struct living *l, int with_state, const struct directory_note *note,
                         struct err *e)
{
    int fd = open(l->o->output, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, l->o->output);
    int result = with_state && l->agreed ? save_state(l, fd, e) : 0;
    if (result == 0)
        result = directory_write_note(fd, note, e);
    close(fd);
    return result;
}

// Publishes the masters as a generation; with `with_state` the state goes with it, otherwise the
// last saved one stays.
static int publish(struct living *l, int with_state, int finished, struct err *e)
{
    struct directory_output out;
    struct directory_note note = {
        .generation = (uint64_t)l->trainer.step, .finished = finished, .history = l->history};
    int was_finished;
    if (l->shown && shows_generation(l, &was_finished))
        return publish_again(l, with_state, &note, e);
    if (directory_begin(&out, l->o->output, 0, e) < 0)
        return -1;
    int result = model_save(l->model, out.fd, l->o->train.save_dtype, e);
    if (result == 0)
        result = directory_write_note(out.fd, &note, e);
    if (result == 0 && with_state && l->agreed) {
        result = save_state(l, out.fd, e);
    } else if (result == 0) {
        char *old = io_path(l->o->output, state_name, e);
        result = old ? 0 : -1;
        if (old && linkat(AT_FDCWD, old, out.fd, state_name, 0) < 0 && errno != ENOENT)
            result = err_errno(e, old);
        free(old);
    }
    if (result == 0)
        return directory_commit(&out, 1, e);
    directory_abort(&out);
    return -1;
}

// Provenance: what came with the stream, then this program.
static int set_history(struct living *l, struct err *e)
{
    char fingerprint[24];
    struct stream_header alone;
    struct stream_header *h = l->reader ? &l->header : &alone;
    if (model_fingerprint(l->model, fingerprint, e) < 0 || (!l->reader && header_init(h, e) < 0))
        return -1;
    int result = header_add_provenance(h, l->program, l->o->argc, l->o->argv, l->o->seed,
                                       json_pack("{s:s}", "start", fingerprint), e);
    json_decref(l->history);
    l->history = json_incref(h->provenance);
    if (!l->reader)
        header_release(h);
    if (result == 0 && l->reader) {
        json_decref(l->agreed);
        l->agreed = l->settings(l->arg, fingerprint);
        result = l->agreed ? 0 : err_memory(e, 0, "settings");
    }
    return result;
}

// Loads OUT's state: 1, or 0 where there is none. *then: what was set when it was saved.
static int load_state(struct living *l, json_t **then, struct err *e)
{
    int fd = open(l->o->output, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : err_errno(e, l->o->output);
    int result = 0;
    if (io_exists(fd, state_name))
        result = checkpoint_load(fd, state_name, &l->trainer, then, e) < 0 ? -1 : 1;
    if (result > 0 && l->load)
        l->load(l->arg, *then);
    close(fd);
    return result;
}

int living_before(struct living *l, struct err *e)
{
    size_t n = l->model->n_flat;
    if (!l->takes_back)
        return 0;
    if (!l->before && !(l->before = mem_alloc(n, sizeof *l->before, "the generation before", e)))
        return -1;
    memcpy(l->before, l->model->master, n * sizeof *l->before);
    l->before_step = l->trainer.step;
    return 0;
}

// Loads a model's weights as those of the generation before, if they are.
static int load_previous(struct living *l, const struct model *previous, struct err *e)
{
    struct directory_note note;
    if (directory_read_note(previous->directory, &note, e) < 0)
        return -1;
    int right = note.generation + 1 == (uint64_t)l->trainer.step;
    directory_release_note(&note);
    if (previous->n_flat != l->model->n_flat || previous->n_parameters != l->model->n_parameters)
        right = 0;
    for (size_t i = 0; right && i < previous->n_parameters; i++)
        model_values(previous, i, l->before + previous->parameter[i].offset);
    l->before_step = right ? l->trainer.step - 1 : l->trainer.step;
    return 0;
}

// After a resume the generation before is in OUT/previous. Where it is not, a rule that stops the
// run at once keeps the generation that was there.
static int load_before(struct living *l, struct err *e)
{
    char *path = io_path(l->o->output, "previous", e);
    int result = path ? living_before(l, e) : -1;
    if (result == 0 && l->before && l->trainer.step > 0 && io_exists(AT_FDCWD, path)) {
        struct model *previous = model_open(path, e);
        result = previous ? load_previous(l, previous, e) : -1;
        model_close(previous);
    }
    free(path);
    return result;
}

// A run that is not the one that saved the state leaves everything as it was.
static int agree(struct living *l, const json_t *then, struct err *e)
{
    if (!then || !l->agreed || checkpoint_agrees(then, l->agreed, e) == 0)
        return 0;
    l->refused = 1;
    return -1;
}

// Puts the generation in place from which this run goes on, and tells followers.
static int begin(struct living *l, json_t **then, struct err *e)
{
    int exists = io_exists(AT_FDCWD, l->o->output);
    if (exists && !l->o->train.resume)
        return err_set(e, STATUS_FAILED,
                       "%s: exists: --resume goes on with it; otherwise remove it first",
                       l->o->output);
    int resumed = l->o->train.resume ? load_state(l, then, e) : 0;
    if (resumed < 0 || agree(l, *then, e) < 0)
        return -1;
    if (l->o->train.resume && !resumed)
        message_note("%s: no state to resume from; starting from the beginning", l->o->output);
    if (resumed)
        message_note("resuming after generation %lld", (long long)l->trainer.step);
    l->created = !exists;
    int finished = 0;
    l->shown = resumed && shows_generation(l, &finished);
    if ((!l->shown || finished) && publish(l, 0, 0, e) < 0)
        return -1;
    l->shown = 1;
    if (load_before(l, e) < 0 || policy_lock_ready(&l->lock, e) < 0)
        return -1;
    return resumed ? metrics_resume(&l->metrics, l->o->metrics, l->trainer.step, e)
                   : metrics_open(&l->metrics, l->o->metrics, e);
}

// A stream in a file can be proved whole before anything is made of it.
static int prove_file(const char *input, int *is_file, struct err *e)
{
    struct stat st;
    uint64_t sequences, tokens;
    int from_stdin = !input || !strcmp(input, "-");
    const char *path = from_stdin ? "/proc/self/fd/0" : input;
    *is_file = stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
               (!from_stdin || lseek(STDIN_FILENO, 0, SEEK_CUR) == 0);
    return *is_file ? filter_check(path, &sequences, &tokens, e) : 0;
}

// Generations are published one by one when the stream is known to be whole (a file), or when
// somebody follows the policy, who cannot go on without. Otherwise the stream may yet break off:
// only its end publishes.
static int start(struct living *l, const char *input, struct err *e)
{
    json_t *then = NULL;
    int result = prove_file(input, &l->live, e);
    if (result == 0 && l->live)
        result = open_stream(l, input, e);
    if (result == 0)
        result = set_history(l, e);
    // A follower writes no stream before it has seen the policy.
    if (result == 0)
        result = begin(l, &then, e);
    if (result == 0 && !l->live) {
        result = open_stream(l, input, e);
        l->live = policy_is_followed(&l->lock);
        if (result == 0)
            result = set_history(l, e);
    }
    if (result == 0)
        result = agree(l, then, e);
    json_decref(then);
    return result;
}

void living_take_back(struct living *l, const char *rule, double value, double limit)
{
    long long generation = l->trainer.step, kept = l->before_step;
    progress_clear(&l->progress);
    message_note("stopped: %s %.6g passes %.6g at generation %lld; generation %lld is kept", rule,
                 value, limit, generation, kept);
    memcpy(l->model->master, l->before, l->model->n_flat * sizeof *l->before);
    l->trainer.step = kept;
    l->stopped = 1;
}

int living_done(const struct living *l)
{
    return l->stopped || (l->o->train.max_steps && l->trainer.step >= l->o->train.max_steps);
}

int living_goes_on(const struct living *l)
{
    return !living_done(l) && !io_stop_requested();
}

int living_after(struct living *l, struct err *e)
{
    const struct trainer_options *t = &l->o->train;
    int save = t->save_steps && l->trainer.step % t->save_steps == 0;
    // The last generation is published with the note that says so.
    l->shown = l->live && !living_done(l);
    return l->shown ? publish(l, save, 0, e) : 0;
}

json_t *living_metrics(const struct living *l, const struct step_report *p, struct err *e)
{
    const struct trainer *t = &l->trainer;
    json_t *line = json_pack("{s:I, s:I, s:f, s:f, s:f, s:I, s:f}", "step", (json_int_t)t->step,
                             "generation", (json_int_t)t->step, "loss", p->loss, "grad_norm",
                             p->grad_norm, "learning_rate", p->learning_rate, "num_tokens",
                             (json_int_t)t->num_tokens, "mean_token_accuracy", p->accuracy);
    if (!line)
        err_memory(e, 0, "metrics");
    return line;
}

int living_write_metrics(struct living *l, const struct step_report *p, json_t *line, struct err *e)
{
    if (l->trainer.entropy)
        json_object_set_new(line, "entropy", json_real(p->entropy));
    json_object_set_new(line, "step_time", json_real(p->seconds));
    json_object_set_new(line, "tokens_per_second", json_real((double)p->tokens / p->seconds));
    return metrics_write(&l->metrics, line, e);
}

// Reads the stream to its proven end, also when no more updates are wanted: a writer that lives on
// a pipe must be able to finish. It learns from the finished policy that it should.
static int run_updates(struct living *l, struct err *e)
{
    int more = 1, finished = 0;
    progress_init(&l->progress, !l->o->quiet);
    while (more > 0) {
        more = stream_reader_next(l->reader, &l->read, e);
        if (more > 0 && !finished && l->frame(l->arg, e) < 0)
            more = -1;
        if (more > 0 && !finished && living_done(l) && l->live) {
            finished = 1;
            more = publish(l, 1, 1, e) < 0 ? -1 : 1;
        }
        if (io_stop_requested())
            more = err_set(e, STATUS_AGAIN, "stopped");
    }
    if (more == 0 && !living_done(l) && l->end(l->arg, e) < 0)
        more = -1;
    if (more == 0 && !finished)
        more = publish(l, 1, 1, e);
    progress_clear(&l->progress);
    return more;
}

// After a failure: the last whole generation stays, with its state, where others may have seen it
// or the run was asked to stop; what only this run would have made is not left behind.
static void clean_up(struct living *l, struct err *e)
{
    struct err second;
    if (l->refused || (!l->shown && !l->created && !l->trainer.step))
        return;
    int stopped = io_stop_requested();
    if (stopped || (l->live && l->trainer.step > 0 && !living_done(l))) {
        if (e->status != STATUS_MEMORY && publish(l, 1, 0, &second) < 0)
            message_warn("the state could not be saved: %s", second.text);
        else if (stopped)
            err_set(e, STATUS_AGAIN,
                    "stopped after generation %lld, its state is in %s: run it again with --resume "
                    "to continue",
                    (long long)l->trainer.step, l->o->output);
    } else if (l->created && (!l->live || (!l->trainer.step && !policy_is_followed(&l->lock))) &&
               io_remove_tree(AT_FDCWD, l->o->output, &second) < 0) {
        message_warn("%s", second.text);
    }
}

int living_open(struct living *l, const struct run_options *o, struct err *e)
{
    memset(l, 0, sizeof *l);
    l->o = o;
    l->metrics.fd = -1;
    if (device_open(&l->device, o->device, e) < 0)
        return -1;
    // The lock comes before everything that can take time, so that a second trainer is refused at
    // once.
    if (policy_lock_take(&l->lock, o->output, e) < 0)
        return -1;
    l->locked = 1;
    l->model = model_open(o->model, e);
    return l->model ? 0 : -1;
}

int living_prepare(struct living *l, size_t bytes, struct err *e)
{
    const struct run_options *o = l->o;
    if (memory_check(trainer_bytes(l->model, &o->train) + bytes, "training", o->verbose, e) < 0 ||
        trainer_init(&l->trainer, l->model, &l->device, &o->train, o->train.max_steps, e) < 0)
        return -1;
    l->trainer.entropy = o->metrics != NULL;
    return 0;
}

int living_run(struct living *l, const char *input, struct err *e)
{
    int result = start(l, input, e);
    return result == 0 ? run_updates(l, e) : result;
}

int living_close(struct living *l, int result, struct err *e)
{
    struct err ignored;
    if (result < 0 && l->locked)
        clean_up(l, e);
    if (metrics_close(&l->metrics, result < 0 ? &ignored : e) < 0)
        result = -1;
    if (result == 0)
        message_note("%s: generation %lld, %llu trained tokens", l->o->output,
                     (long long)l->trainer.step, (unsigned long long)l->trainer.num_tokens);
    if (l->locked)
        policy_lock_release(&l->lock);
    stream_reader_close(l->reader);
    frame_release(&l->read);
    if (l->header.column)
        header_release(&l->header);
    free(l->before);
    trainer_release(&l->trainer);
    model_close(l->model);
    device_release(&l->device);
    json_decref(l->agreed);
    json_decref(l->history);
    return result;
}
