// SPDX-License-Identifier: MIT
#include "train/reward_train.h"
#include "base/io.h"
#include "base/json.h"
#include "infer/reward_scorer.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct reward_run {
    const struct reward_train_options *o;
    struct result result;
    struct pairs data, eval;
    struct reward_scorer scorer;
    struct reward_objective objective;
};

// Where the trained tokens of each record begin when all lie behind one another; returns how many.
static size_t lay_out(const struct dataset *d, size_t *first)
{
    size_t wanted = 0;
    for (size_t i = 0; i < d->n; i++) {
        first[i] = wanted;
        wanted += sequence_wanted(&d->example[i].sequence);
    }
    return wanted;
}

static int score_pairs(struct reward_run *r, const struct pairs *p, struct reward_stats *f,
                       struct err *e)
{
    size_t where = 0;
    size_t *first = mem_alloc(p->data.n, sizeof *first, "offsets", e);
    struct sequence *sequence = mem_alloc(p->data.n, sizeof *sequence, "sequences", e);
    size_t wanted = first ? lay_out(&p->data, first) : 0;
    float *reward = mem_alloc(wanted, sizeof *reward, "rewards", e);
    int result = first && sequence && reward ? 0 : -1;
    for (size_t i = 0; i < p->data.n && result == 0; i++)
        sequence[i] = p->data.example[i].sequence;
    if (result == 0)
        result = reward_scorer_run(&r->scorer, sequence, p->data.n, reward, NULL, &where, e);
    if (result == 0)
        result = reward_measure(p->data.example, p->pair, p->n, &r->o->loss, reward, first, f, e);
    free(first);
    free(sequence);
    free(reward);
    return result;
}

// Loss and accuracy of the evaluation's pairs.
static int evaluate(struct reward_run *r, json_t *line, struct err *e)
{
    struct reward_stats f;
    if (score_pairs(r, &r->eval, &f, e) < 0)
        return err_prefix(e, "%s", r->o->result.eval.path);
    reward_stats_add(&f, line, "eval_", 1);
    message_note("update %lld: eval_loss %.5f, eval_accuracy %.4f",
                 (long long)r->result.run.trainer.step, f.loss, f.accuracy);
    return 0;
}

static int note(void *arg, int due, json_t *line, struct err *e)
{
    return due ? evaluate(arg, line, e) : 0;
}

// The same model with a head of one number a position, in the result's scratch directory.
static int make_head(struct reward_run *r, struct err *e)
{
    struct run *run = &r->result.run;
    const struct directory_output *out = &r->result.out;
    if (io_remove_tree(out->fd, result_scratch, e) < 0 ||
        io_make_directory(out->fd, result_scratch, e) < 0)
        return -1;
    int fd = openat(out->fd, result_scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, result_scratch);
    int result = model_save_as_reward(run->model, fd, r->o->pad, e);
    close(fd);
    char *path = result == 0 ? io_path(out->partial, result_scratch, e) : NULL;
    if (!path)
        return -1;
    model_close(run->model);
    run->model = model_open_reward(path, e);
    free(path);
    return run->model ? 0 : -1;
}

static int new_head(struct reward_run *r, struct err *e)
{
    struct run *run = &r->result.run;
    if (!run->o->dry_run)
        return make_head(r, e);
    run->weights = model_reward_weights(run->model);
    return model_check_as_reward(run->model, e);
}

static int read_pairs(struct reward_run *r, struct pairs *p, const char *path, struct err *e)
{
    const struct model *m = r->result.run.model;
    // The last token passes through the model too: one position less than a language model's.
    struct dataset_wish wish = {
        .vocab = m->config.vocab, .positions = model_positions(m) - 1, .model = m};
    if (pairs_read(p, path, wish, e) < 0)
        return -1;
    return header_check_tokenizer(&p->data.stream, r->o->result.run.tokenizer, io_name(path), e);
}

static int open_data(struct reward_run *r, const char *input, struct err *e)
{
    if (read_pairs(r, &r->data, input, e) < 0 ||
        (r->o->result.eval.path && read_pairs(r, &r->eval, r->o->result.eval.path, e) < 0))
        return -1;
    message_note("%zu pairs", r->data.n);
    return 0;
}

static json_t *settings(const struct bradley_terry *b)
{
    return json_pack("{s:s, s:s}", "pad", bradley_terry_pads[b->pad], "reduction",
                     bradley_terry_reductions[b->reduction]);
}

static int begin(struct reward_run *r, const char *input, struct err *e)
{
    struct result_plan plan = {.data = &r->data.data,
                               .pair = r->data.pair,
                               .n = r->data.n,
                               .after = 1,
                               .fingerprint = r->data.fingerprint,
                               .eval_fingerprint = r->eval.fingerprint,
                               .where = io_name(input),
                               .loss = bradley_terry_levels[r->o->loss.level],
                               .settings = settings(&r->o->loss)};
    return result_begin(&r->result, &plan, e);
}

static int train(struct reward_run *r, const char *input, struct err *e)
{
    struct run *run = &r->result.run;
    if (result_open(&r->result, &r->o->result, "reward-train", 1, e) < 0 ||
        open_data(r, input, e) < 0 || begin(r, input, e) < 0 ||
        (!r->result.complete && run->model->config.head != HEAD_REWARD && new_head(r, e) < 0))
        return -1;
    reward_scorer_init(&r->scorer, run->model, &run->device);
    reward_objective_init(&r->objective, &r->o->loss);
    r->result.note = note;
    r->result.arg = r;
    return result_train(&r->result, &r->objective.objective, (struct work_bytes){0}, e);
}

int reward_train_run(const struct reward_train_options *o, const char *input, struct err *e)
{
    struct reward_run r;
    memset(&r, 0, sizeof r);
    r.o = o;
    int result = train(&r, input, e);
    if (r.scorer.pass.model)
        reward_scorer_release(&r.scorer);
    reward_objective_release(&r.objective);
    result_close(&r.result, result < 0);
    pairs_release(&r.data);
    pairs_release(&r.eval);
    return result;
}

// The column's values at the trained tokens, behind one another.
static void given_rewards(const struct pairs *p, float *reward)
{
    for (size_t i = 0; i < p->data.n; i++) {
        const struct trainer_example *x = &p->data.example[i];
        for (size_t t = 1; t < x->sequence.n; t++)
            if (x->sequence.mask[t])
                *reward++ = x->column[0][t];
    }
}

static int write_stats(const struct reward_stats *f, const char *output, struct err *e)
{
    struct output out;
    json_t *line = json_pack("{s:I, s:I}", "pairs", (json_int_t)f->pairs, "positions",
                             (json_int_t)f->positions);
    if (!line)
        return err_memory(e, 0, "stats");
    reward_stats_add(f, line, "", 1);
    char *text = json_text(line, JSON_COMPACT, e);
    json_decref(line);
    if (!text)
        return err_memory(e, 0, "stats");
    int result = output_open(&out, output, e);
    if (result == 0 && (output_printf(&out, e, "%s\n", text) < 0 || output_commit(&out, e) < 0)) {
        output_abort(&out);
        result = -1;
    }
    free(text);
    return result;
}

int reward_train_measure(const struct bradley_terry *loss, const char *input, const char *output,
                         struct err *e)
{
    const struct dataset_wish wish = {
        .column = "reward", .vocab = SIZE_MAX, .positions = SIZE_MAX - 1};
    struct pairs p;
    struct reward_stats f;
    int result = pairs_read(&p, input, wish, e);
    size_t *first = result == 0 ? mem_alloc(p.data.n, sizeof *first, "offsets", e) : NULL;
    size_t n = first ? lay_out(&p.data, first) : 0;
    float *reward = first ? mem_alloc(n, sizeof *reward, "rewards", e) : NULL;
    result = reward ? 0 : -1;
    if (result == 0) {
        given_rewards(&p, reward);
        result = reward_measure(p.data.example, p.pair, p.n, loss, reward, first, &f, e);
    }
    if (result == 0)
        result = write_stats(&f, output, e);
    pairs_release(&p);
    free(first);
    free(reward);
    return result;
}
