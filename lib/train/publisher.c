// SPDX-License-Identifier: MIT
#include "train/publisher.h"
#include "base/io.h"
#include "base/mapped.h"
#include "base/shown.h"
#include "base/signals.h"
#include "train/checkpoint.h"
#include "train/dry_run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int open_stream(struct publisher *p, const char *input, struct err *e)
{
    if (online_open(&p->source, input, p->run.o->tokenizer, e) < 0)
        return -1;
    return p->open(p->arg, e);
}

static const char stopped_key[] = "stopped"; // in the state

// How far the stream was used goes into the state, and comes from it: a run that goes on with the
// same stream uses each sequence once. Before the stream's first record it is what it was.
static int remember_place(const struct publisher *p, json_t *state, struct err *e)
{
    const struct online *s = &p->source;
    int came = s->identity[0] != 0;
    // The step is the place in a stream that lives.
    uint64_t used = s->lives ? 0 : s->used;
    const char *identity = came ? s->identity : p->then_stream;
    used = came ? used : p->then_used;
    if (json_object_set_new(state, "stream", json_string(identity)) < 0 ||
        json_object_set_new(state, "sequences", json_integer((json_int_t)used)) < 0 ||
        (p->stopped && json_object_set_new(state, stopped_key, json_string(p->why)) < 0))
        return err_memory(e, 0, "a state");
    return 0;
}

static void recall_place(struct publisher *p, const json_t *state)
{
    const char *stream = json_string_value(json_object_get(state, "stream"));
    json_int_t used = json_integer_value(json_object_get(state, "sequences"));
    snprintf(p->then_stream, sizeof p->then_stream, "%s", stream ? stream : "");
    p->then_used = used > 0 ? (uint64_t)used : 0;
    const char *why = json_string_value(json_object_get(state, stopped_key));
    p->stopped = why != NULL;
    snprintf(p->why, sizeof p->why, "%s", why ? why : "");
}

// The first frame is there: is it the stream that the state was made of?
static int find_place(struct publisher *p, struct err *e)
{
    struct online *s = &p->source;
    if (online_identify(s, e) < 0)
        return -1;
    if (s->lives && !strcmp(s->identity, p->then_stream)) {
        s->skip_steps = (uint64_t)p->run.trainer.step;
    } else if (p->then_used && !strcmp(s->identity, p->then_stream)) {
        s->skip = s->used = p->then_used;
        message_note("%s: its first %llu sequences are used already", s->where,
                     (unsigned long long)s->skip);
    }
    return 0;
}

// Saves the state, with what the program remembers.
static int save_state(const struct publisher *p, int at, struct err *e)
{
    json_t *state = json_copy(p->run.settings);
    if (!state)
        return err_memory(e, 0, "a state");
    int result = remember_place(p, state, e);
    if (result == 0 && p->save)
        result = p->save(p->arg, state, e);
    if (result == 0)
        result = run_save_state(&p->run, at, p->run.o->output, state, 1, e);
    json_decref(state);
    return result;
}

// Whether OUT shows the masters' generation; -1: *e.
static int shows_generation(const struct publisher *p, int *finished, struct err *e)
{
    struct directory_note note;
    int fd = open(p->run.o->output, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : err_errno(e, p->run.o->output);
    int shows = directory_read_note(fd, &note, e);
    close(fd);
    if (shows < 0)
        return err_prefix(e, "%s", p->run.o->output);
    shows = note.generation == (uint64_t)p->run.trainer.step;
    *finished = note.finished;
    directory_release_note(&note);
    return shows;
}

// The generation is there already: only its state and its note are new, and what is in OUT/previous
// stays the generation before.
static int publish_again(const struct publisher *p, int with_state,
                         const struct directory_note *note, struct err *e)
{
    int fd = open(p->run.o->output, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, p->run.o->output);
    int result = with_state && p->run.settings ? save_state(p, fd, e) : 0;
    if (result == 0)
        result = directory_write_note(fd, note, e);
    close(fd);
    return result;
}

// The next generation's directory gets a file of OUT, if it is there.
static int carry_over(const struct publisher *p, int to, const char *name, struct err *e)
{
    char *old = io_path(p->run.o->output, name, e);
    int result = old ? 0 : -1;
    if (old && linkat(AT_FDCWD, old, to, name, 0) < 0 && errno != ENOENT)
        result = err_errno(e, old);
    free(old);
    return result;
}

// The generation before no longer has it.
static int leave_behind(const struct publisher *p, const char *name, struct err *e)
{
    char *previous = io_path(p->run.o->output, "previous", e);
    char *path = previous ? io_path(previous, name, e) : NULL;
    int result = path ? 0 : -1;
    if (path && unlink(path) < 0 && errno != ENOENT && errno != ENOTDIR)
        result = err_errno(e, path);
    free(path);
    free(previous);
    return result;
}

// Publishes the masters as a generation; with `with_state` the state goes with it, otherwise the
// last saved one stays.
static int publish_model(struct publisher *p, int with_state, int finished, struct err *e)
{
    struct directory_output out;
    struct directory_note note = {.generation = (uint64_t)p->run.trainer.step,
                                  .finished = finished,
                                  .history = p->run.history};
    int was_finished, there = p->shown ? shows_generation(p, &was_finished, e) : 0;
    if (there)
        return there < 0 ? -1 : publish_again(p, with_state, &note, e);
    if (directory_begin(&out, p->run.o->output, 0, 0, e) < 0)
        return -1;
    int result = run_write_model(&p->run, out.fd, &note, 0, e);
    if (result < 0)
        err_prefix(e, "%s", out.partial);
    if (result == 0 && !p->run.o->metrics)
        result = carry_over(p, out.fd, run_metrics_name, e);
    if (result == 0)
        result = with_state && p->run.settings ? save_state(p, out.fd, e)
                                               : carry_over(p, out.fd, run_state, e);
    if (result < 0) {
        directory_abort(&out);
        return -1;
    }
    if (directory_commit(&out, DIRECTORY_NEXT, NULL, e) < 0)
        return -1;
    // The state, which is where the run goes on, is in OUT alone.
    if (leave_behind(p, run_state, e) < 0)
        return -1;
    return p->run.o->metrics ? 0 : leave_behind(p, run_metrics_name, e);
}

// No more updates are wanted.
static int done(const struct publisher *p)
{
    int64_t most = p->run.o->max_steps;
    return p->stopped || (most && p->run.trainer.step >= most);
}

// The same; a finished policy has no need of what it replaces. With its state the last one is
// finished, also where a signal stops the run before the stream has ended.
static int publish(struct publisher *p, int with_state, int finished, struct err *e)
{
    finished |= with_state && done(p);
    if (p->finished)
        return 0;
    if (finished && p->finish && p->finish(p->arg, e) < 0)
        return -1;
    if (publish_model(p, with_state, finished, e) < 0 ||
        (finished && directory_forget(p->run.o->output, e) < 0))
        return -1;
    p->finished = finished;
    return 0;
}

// Provenance: what came with the stream, then this program; and what depends on the stream.
static int set_history(struct publisher *p, struct err *e)
{
    struct online *s = &p->source;
    if (run_set_history(&p->run, s->reader ? &s->header : NULL, "start", e) < 0)
        return -1;
    if (!s->reader)
        return 0;
    json_decref(p->run.settings);
    p->run.settings = p->settings(p->arg, p->run.fingerprint);
    return p->run.settings ? 0 : err_memory(e, 0, "settings");
}

// Loads OUT's state: 1, or 0 where there is none. *then: what was set when it was saved.
static int load_state(struct publisher *p, json_t **then, struct err *e)
{
    int fd = open(p->run.o->output, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : err_errno(e, p->run.o->output);
    int result = 0;
    if (io_exists(fd, run_state))
        result = run_load_state(&p->run, fd, p->run.o->output, then, e) < 0 ? -1 : 1;
    if (result > 0 && run_check_metrics(&p->run, p->run.o->output, *then, e) < 0)
        result = -1;
    if (result > 0 && run_check_generations(&p->run, *then, fd, e) < 0)
        result = -1;
    if (result > 0)
        recall_place(p, *then);
    if (result > 0 && p->load && p->load(p->arg, *then, e) < 0)
        result = -1;
    close(fd);
    return result;
}

// Remembers the generation that an update is about to replace.
static int remember(struct publisher *p, struct err *e)
{
    size_t n = p->run.model->n_flat;
    if (!p->takes_back)
        return 0;
    if (!p->before && !(p->before = mem_alloc(n, sizeof *p->before, "the generation before", e)))
        return -1;
    struct device *d = p->run.model->device;
    p->before_step = p->run.trainer.step;
    return d->memory->get(d, p->before, p->run.model->master, n * sizeof *p->before, e);
}

// Loads a model's weights as those of the generation before, if they are.
static int load_previous(struct publisher *p, const struct model *previous, struct err *e)
{
    struct directory_note note;
    if (directory_read_note(previous->directory, &note, e) < 0)
        return -1;
    int right = note.generation + 1 == (uint64_t)p->run.trainer.step;
    directory_release_note(&note);
    if (previous->n_flat != p->run.model->n_flat ||
        previous->n_parameters != p->run.model->n_parameters)
        right = 0;
    for (size_t i = 0; right && i < previous->n_parameters; i++)
        if (model_values(previous, i, p->before + previous->parameter[i].offset, e) < 0)
            return -1;
    p->before_step = right ? p->run.trainer.step - 1 : p->run.trainer.step;
    return 0;
}

// After a resume the generation before is in OUT/previous. Where it is not, a rule that stops the
// run at once keeps the generation that was there.
static int load_before(struct publisher *p, struct err *e)
{
    char *path = io_path(p->run.o->output, "previous", e);
    int result = path ? remember(p, e) : -1;
    if (result == 0 && p->before && p->run.trainer.step > 0 && io_exists(AT_FDCWD, path)) {
        struct model *previous = model_open(path, e);
        result = previous ? load_previous(p, previous, e) : -1;
        model_close(previous);
    }
    free(path);
    return result;
}

// A run that is not the one that saved the state leaves everything as it was.
static int agree(struct publisher *p, const json_t *then, struct err *e)
{
    if (!then || !p->run.settings || checkpoint_agrees(then, p->run.settings, e) == 0)
        return 0;
    p->refused = 1;
    return -1;
}

// Whether something is there: an empty folder is nobody's.
static int is_policy(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int is = fd >= 0 && io_exists(fd, directory_note_name);
    if (fd >= 0)
        close(fd);
    return is;
}

// Of a run that was killed OUT/previous may be a generation that is to come, which no follower must
// find, or one that has its state still.
static int tidy_previous(const struct publisher *p, struct err *e)
{
    struct directory_note note = {0};
    char *path = io_path(p->run.o->output, "previous", e);
    int fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    int result = path ? 0 : -1;
    if (fd >= 0) {
        result = directory_read_note(fd, &note, e);
        close(fd);
        if (result == 0 && note.generation + 1 != (uint64_t)p->run.trainer.step)
            result = io_remove_tree(AT_FDCWD, path, e);
        directory_release_note(&note);
    }
    free(path);
    if (result == 0)
        result = leave_behind(p, run_state, e);
    return result == 0 && !p->run.o->metrics ? leave_behind(p, run_metrics_name, e) : result;
}

// Puts the generation in place from which this run goes on, and tells followers.
static int begin(struct publisher *p, json_t **then, struct err *e)
{
    int exists = is_policy(p->run.o->output);
    // OUT, the generation before, the one that is written; on the way from one state to the next.
    if (run_check_space(&p->run, p->run.o->resume ? 1 : 3, p->run.o->resume ? 1 : 2, e) < 0)
        return -1;
    int resumed = p->run.o->resume ? load_state(p, then, e) : 0;
    p->refused = resumed < 0; // then everything stays as it was
    if (resumed < 0 || agree(p, *then, e) < 0)
        return -1;
    if (p->run.o->resume && !resumed)
        message_note("%s: no state to go on from; starting at the beginning", p->run.o->output);
    if (p->stopped)
        message_warn("%s: the run has ended: %s; -m %s with another -o begins a new one there",
                     p->run.o->output, p->why, p->run.o->output);
    else if (resumed)
        message_note("going on after generation %lld", (long long)p->run.trainer.step);
    if (exists && !resumed && p->run.o->overwrite) {
        if (directory_set_aside(p->run.o->output, e) < 0)
            return -1;
        p->aside = 1;
    }
    p->created = !exists || p->aside;
    int finished = 0;
    int shows = resumed ? shows_generation(p, &finished, e) : 0;
    if (shows < 0)
        return -1;
    p->shown = shows;
    p->finished = shows && finished && p->stopped;
    if ((!p->shown || (finished && !p->stopped)) && publish(p, 0, 0, e) < 0)
        return -1;
    if (resumed && tidy_previous(p, e) < 0)
        return -1;
    p->shown = 1;
    if (load_before(p, e) < 0 || policy_lock_ready(&p->run.lock, e) < 0)
        return -1;
    if (run_open_metrics(&p->run, p->run.o->output, resumed, e) < 0)
        return -1;
    return p->began && !resumed ? p->began(p->arg, e) : 0;
}

// Generations are published one by one when the stream is known to be whole (a file), or when
// somebody follows the policy, who cannot go on without. Otherwise the stream may yet break off:
// only its end publishes.
static int start(struct publisher *p, const char *input, struct err *e)
{
    json_t *then = NULL;
    int result = online_prove(&p->source, input, &p->live, e);
    if (result == 0 && p->live)
        result = open_stream(p, input, e);
    if (result == 0)
        result = set_history(p, e);
    // A follower writes no stream before it has seen the policy.
    if (result == 0)
        result = begin(p, &then, e);
    if (result == 0 && !p->live) {
        result = open_stream(p, input, e);
        p->live = policy_is_followed(&p->run.lock);
        if (result == 0)
            result = set_history(p, e);
    }
    if (result == 0)
        result = agree(p, then, e);
    json_decref(then);
    return result;
}

int publisher_take_back(struct publisher *p, const char *rule, double value, double limit,
                        struct err *e)
{
    struct model *m = p->run.model;
    long long generation = p->run.trainer.step, kept = p->before_step;
    snprintf(p->why, sizeof p->why,
             "%s %.6g passes %.6g at generation %lld; generation %lld is kept", rule, value, limit,
             generation, kept);
    message_note("stopped: %s", p->why);
    if (!p->run.o->dry_run && m->device->memory->put(m->device, m->master, p->before,
                                                     m->n_flat * sizeof *p->before, e) < 0)
        return -1;
    p->run.trainer.step = kept;
    p->stopped = 1;
    return 0;
}

// Of a dry run: counted, not made.
static int rehearse_step(struct publisher *p, const struct trainer_example *example, size_t n,
                         struct step_report *report, struct err *e)
{
    p->before_step = p->run.trainer.step;
    if (trainer_rehearse(&p->run.trainer, example, n, report, e) < 0)
        return err_prefix(e, "%s", p->source.where);
    p->source.used = p->source.came;
    return 0;
}

int publisher_step(struct publisher *p, const struct frame *batch,
                   const struct trainer_example *example, size_t n, struct objective *objective,
                   struct step_report *report, struct err *e)
{
    if (p->run.o->dry_run)
        return rehearse_step(p, example, n, report, e);
    if (remember(p, e) < 0)
        return -1;
    if (trainer_step(&p->run.trainer, example, n, objective, report, e) < 0) {
        if (report->where < n)
            err_prefix(e, "%s", frame_record(batch, example[report->where].record).text);
        return err_prefix(e, "%s", p->source.where);
    }
    p->midway = 1;
    p->run.loss = report->loss;
    p->source.used = p->source.came;
    return 0;
}

json_t *publisher_metrics(const struct publisher *p, const struct objective *objective,
                          const struct step_report *report, struct err *e)
{
    json_t *line = run_metrics(&p->run, objective, report, e);
    if (line)
        json_object_set_new(line, "generation", json_integer(p->run.trainer.step));
    return line;
}

int publisher_show(struct publisher *p, struct err *e)
{
    if (p->run.o->dry_run)
        return 0;
    int save = run_save_due(&p->run);
    p->midway = 0;
    // The last generation is published with the note that says so.
    p->shown = p->live && !done(p);
    return p->shown ? publish(p, save, 0, e) : 0;
}

// Whether the sequence that came last, i of its frame, was used by an earlier run.
static int is_used(const struct online *s, size_t i)
{
    if (s->lives)
        return online_is_past(s, i);
    if (s->came > s->skip)
        return 0;
    for (size_t k = 0; k < s->n_open; k++)
        if (s->open[k] == s->came)
            return 0;
    return 1;
}

static int use_frame(struct publisher *p, struct err *e)
{
    struct online *s = &p->source;
    if (!s->identity[0] && find_place(p, e) < 0)
        return -1;
    for (size_t i = 0; i < s->frame.n_sequences && !done(p) && !signals_stop_requested(); i++) {
        s->came++;
        if (!is_used(s, i) && p->record(p->arg, i, e) < 0)
            return -1;
    }
    return 0;
}

// Reads the stream to its proven end, also when no more updates are wanted: a writer that lives on
// a pipe must be able to finish. It learns from the finished policy that it should.
static int run_updates(struct publisher *p, struct err *e)
{
    int more = 1, finished = 0;
    progress_resume(&p->run.progress, p->run.trainer.step);
    while (more > 0) {
        more = online_next(&p->source, e);
        if (more > 0 && !finished && use_frame(p, e) < 0)
            more = -1;
        if (more > 0 && !finished && done(p) && p->live && !p->run.o->dry_run) {
            finished = 1;
            more = publish(p, 1, 1, e) < 0 ? -1 : 1;
        }
        if (signals_stop_requested())
            more = err_set(e, STATUS_AGAIN, "stopped");
    }
    if (more == 0 && !done(p) && p->end(p->arg, e) < 0)
        more = -1;
    p->whole = more == 0;
    if (more == 0 && !finished && !p->run.o->dry_run)
        more = publish(p, 1, 1, e);
    progress_end(&p->run.progress);
    return more;
}

// The last generation could not be published, for want of space as a rule: its state beside the one
// that shows.
static int keep_state(const struct publisher *p)
{
    struct err ignored;
    int fd = open(p->run.o->output, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = fd >= 0 && p->run.settings ? save_state(p, fd, &ignored) : -1;
    if (fd >= 0)
        close(fd);
    return result;
}

// After a failure: the last whole generation stays, with its state, where others may have seen it
// or the run was asked to stop; what only this run would have made is not left behind.
static void clean_up(struct publisher *p, struct err *e)
{
    struct err second;
    if (p->run.o->dry_run || p->refused || (!p->shown && !p->created && !p->run.trainer.step))
        return;
    int stopped = signals_stop_requested();
    // Nothing is saved of a run whose models changed under it: what it made may be of both.
    int intact = mapped_unchanged(&second) == 0;
    if (!intact && stopped)
        *e = second;
    // The state of an update without its line of metrics would not give the same ones again.
    intact = intact && !p->midway;
    if (intact && (stopped || (p->live && p->run.trainer.step > 0 && !done(p)))) {
        if (stopped)
            message_note("stopping: saving the state after generation %lld; Ctrl-C again ends at "
                         "once, without it",
                         (long long)p->run.trainer.step);
        if (e->status != STATUS_MEMORY && publish(p, 1, 0, &second) < 0) {
            struct err first = *e;
            err_set(e, first.status, "%s; the state could not be saved: %s", first.text,
                    second.text);
        } else if (stopped)
            err_set(e, STATUS_AGAIN,
                    "stopped after generation %lld, its state is in %s: run it again with --resume "
                    "to go on",
                    (long long)p->run.trainer.step, p->run.o->output);
    } else if (intact && (p->whole || done(p)) && p->run.trainer.step > 0 && keep_state(p) == 0) {
        struct err first = *e;
        err_set(e, first.status,
                "%s; the state after generation %lld is in %s: run it again with --resume when "
                "that is mended",
                first.text, (long long)p->run.trainer.step, p->run.o->output);
    } else if (p->created &&
               (!p->live ||
                (!p->run.trainer.step && (p->aside || !policy_is_followed(&p->run.lock)))) &&
               (directory_remove(p->run.o->output, &second) < 0 ||
                directory_mend(p->run.o->output, NULL, &second) < 0)) {
        message_warn("%s", second.text);
    }
}

int publisher_open(struct publisher *p, const struct run_options *o, const char *program,
                   struct err *e)
{
    memset(p, 0, sizeof *p);
    return run_open(&p->run, o, program, 1, 0, e);
}

// As `begin`, but that nothing is put in its place.
static int look_at_place(struct publisher *p, json_t **then, int *resumes, struct err *e)
{
    if (run_check_space(&p->run, p->run.o->resume ? 1 : 3, p->run.o->resume ? 1 : 2, e) < 0)
        return -1;
    *resumes = p->run.o->resume ? load_state(p, then, e) : 0;
    p->before_step = p->run.trainer.step;
    return *resumes < 0 ? -1 : agree(p, *then, e);
}

static void tell_stream(const struct publisher *p, int64_t first, uint64_t tokens_before)
{
    const struct online *s = &p->source;
    const struct trainer *t = &p->run.trainer;
    if (!p->live) {
        dry_run_line("stream", "not a file, and not read: a run has to read it once");
        if (p->run.o->max_steps)
            dry_run_line("updates", "up to %lld", (long long)p->run.o->max_steps);
        return;
    }
    dry_run_line("stream", "%s: %llu record%s", shown(s->where, strlen(s->where)).text,
                 (unsigned long long)s->sequences, s->sequences == 1 ? "" : "s");
    if (s->skip)
        dry_run_line("used already", "%llu of them", (unsigned long long)s->skip);
    dry_run_line("updates", "%lld, generations %lld to %lld", (long long)(t->step - first),
                 (long long)first, (long long)t->step);
    if (p->stopped)
        dry_run_line("stops", "by its rule: generation %lld is kept", (long long)t->step);
    dry_run_line("trained tokens", "%llu", (unsigned long long)(t->num_tokens - tokens_before));
}

// In place of training: the stream is read and counted where that can be done again.
static int rehearse(struct publisher *p, const char *input, struct err *e)
{
    json_t *then = NULL;
    int resumes = 0, result = online_prove(&p->source, input, &p->live, e);
    if (result == 0 && p->live)
        result = open_stream(p, input, e);
    if (result == 0)
        result = set_history(p, e);
    if (result == 0)
        result = look_at_place(p, &then, &resumes, e);
    json_decref(then);
    int64_t first = p->run.trainer.step;
    uint64_t tokens_before = p->run.trainer.num_tokens;
    if (result == 0 && p->live)
        result = run_updates(p, e);
    if (result < 0)
        return -1;
    tell_stream(p, first, tokens_before);
    if (p->evaluations)
        dry_run_evaluations(p->evaluations);
    if (resumes)
        dry_run_line("goes on", "after generation %lld", (long long)first);
    dry_run_tell(&p->run, NULL, resumes);
    return dry_run_end(e);
}

int publisher_train(struct publisher *p, const char *input, struct err *e)
{
    if (p->run.o->dry_run)
        return rehearse(p, input, e);
    int result = start(p, input, e);
    return result == 0 ? run_updates(p, e) : result;
}

int publisher_close(struct publisher *p, int result, struct err *e)
{
    struct err ignored;
    if (result < 0 && p->run.locked)
        clean_up(p, e);
    if (metrics_close(&p->run.metrics, result < 0 ? &ignored : e) < 0)
        result = -1;
    if (result == 0 && !p->run.o->dry_run)
        run_tell_end(&p->run, "generation ", "");
    return result;
}

void publisher_release(struct publisher *p)
{
    run_close(&p->run);
    online_release(&p->source);
    free(p->before);
}
