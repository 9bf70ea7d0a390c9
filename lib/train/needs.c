// SPDX-License-Identifier: MIT
#include "train/needs.h"
#include "base/memory_check.h"
#include "base/thread.h"
#include "infer/scorer.h"
#include "model/generate.h"
#include "train/reinforce.h"
#include "train/result.h"
#include "train/token_objective.h"

// The program, its libraries and small things, as measured with a model of nothing.
enum { PROCESS = 9 << 19 };

// pairs: how many sequences there are per unit of a batch; after: see packer.
struct training {
    size_t batch, pairs;
    int after, by_sequence;
};

static struct need training_need(const struct model *m, const struct needs_options *o,
                                 const char *program, const struct training *t)
{
    size_t batch = o->batch_size ? o->batch_size : t->batch, file = model_file_bytes(m, NULL);
    size_t rows = t->after || o->length < 2 ? o->length : o->length - 1;
    struct pass_size size = pass_largest((size_t)o->train.micro_batch_tokens,
                                         t->after ? t->pairs : 1, t->pairs * batch, rows);
    size_t weights = t->after ? model_reward_weights(m) : m->n_flat;
    struct need n = {.program = program, .batch = batch, .weights = file};
    struct loss loss = {.by_sequence = t->by_sequence};
    struct budget_job job = {.device = o->device,
                             .model = m,
                             .size = size,
                             .weights = trainer_weight_bytes(&o->train, weights)};
    if (!t->after)
        job.beside = token_objective_bytes(&loss, o->device, m, &size);
    size_t room = o->memory ? o->memory - (o->memory < PROCESS ? o->memory : PROCESS) : SIZE_MAX;
    n.budget = budget_find(&job, room);
    n.trained = job.weights;
    n.work = n.budget.bytes - n.trained;
    // The files are mapped before there is anything else, and let go tensor by tensor.
    n.peak = PROCESS + (file > n.budget.bytes ? file : n.budget.bytes);
    return n;
}

static struct need scoring_need(const struct model *m, const struct needs_options *o)
{
    struct need n = {.program = "logprob", .weights = model_file_bytes(m, NULL)};
    n.work = work_bytes_sum(scorer_bytes(o->device, m, SIZE_MAX, o->length));
    n.peak = PROCESS + n.weights + n.work;
    return n;
}

static struct need drawing_need(const struct model *m, const struct needs_options *o)
{
    struct need n = {
        .program = "rollout", .batch = o->in_flight, .weights = model_file_bytes(m, NULL)};
    struct generator_bytes g = generator_bytes(o->device, m, o->in_flight, o->length);
    n.work = g.work;
    n.cache = g.cache;
    n.peak = PROCESS + n.weights + n.work + n.cache;
    return n;
}

void needs_find(const struct model *m, const struct needs_options *o, struct need need[NEEDS])
{
    static const struct training sft = {RESULT_BATCH, 1, 0, 0}, pair = {RESULT_BATCH, 2, 0, 1},
                                 reward = {RESULT_BATCH, 2, 1, 0},
                                 reinforce = {REINFORCE_BATCH, 1, 0, 0};
    need[NEED_SFT] = training_need(m, o, "sft-train", &sft);
    need[NEED_PAIR] = training_need(m, o, "pair-train", &pair);
    need[NEED_REWARD] = training_need(m, o, "reward-train", &reward);
    need[NEED_REINFORCE] = training_need(m, o, "reinforce-step", &reinforce);
    need[NEED_LOGPROB] = scoring_need(m, o);
    need[NEED_ROLLOUT] = drawing_need(m, o);
}

// Whether the program has a use for the model: all but one refuse reward models.
static int takes(int need, const struct model *m)
{
    return m->config.head == HEAD_VOCABULARY || need == NEED_REWARD;
}

static int fits(const struct need *n, const struct needs_options *o)
{
    return !o->memory || n->peak <= o->memory;
}

// How each program gets along with the memory that it is allowed.
static void print_fits(const struct model *m, const struct needs_options *o,
                       const struct need *need, FILE *out)
{
    char text[BUDGET_TEXT];
    fprintf(out, "within         %.1f MiB\n", mebibytes(o->memory));
    for (int i = 0; i < NEEDS; i++) {
        const struct need *n = &need[i];
        if (!takes(i, m))
            continue;
        budget_text(&n->budget, text);
        fprintf(out, "  %-16s ", n->program);
        if (!fits(n, o))
            fprintf(out, "does not fit: at least %.1f MiB\n", mebibytes(n->peak));
        else if (n->budget.layers)
            fprintf(out, "fits: activations of %s\n", text);
        else
            fprintf(out, "fits\n");
    }
}

void needs_print(const struct model *m, const struct needs_options *o, FILE *out)
{
    struct need need[NEEDS];
    needs_find(m, o, need);
    fprintf(out,
            "peaks          sequences of %zu tokens, %s, %d thread%s; MiB, the data not counted\n",
            o->length, optimizer_kinds[o->train.optim], threads_count(),
            threads_count() == 1 ? "" : "s");
    fprintf(out, "  %-16s %6s %10s %10s %10s %10s %10s\n", "", "batch", "weights", "training",
            "work", "KV cache", "peak");
    for (int i = 0; i < NEEDS; i++) {
        const struct need *n = &need[i];
        if (!takes(i, m))
            continue;
        char batch[24] = "";
        if (n->batch)
            snprintf(batch, sizeof batch, "%zu", n->batch);
        fprintf(out, "  %-16s %6s %10.1f %10.1f %10.1f %10.1f %10.1f\n", n->program, batch,
                mebibytes(n->weights), mebibytes(n->trained), mebibytes(n->work),
                mebibytes(n->cache), mebibytes(n->peak));
    }
    if (o->memory)
        print_fits(m, o, need, out);
}

static json_t *need_json(const struct need *n, const struct needs_options *o)
{
    json_t *j = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "batch", (json_int_t)n->batch,
                          "weights", (json_int_t)n->weights, "training", (json_int_t)n->trained,
                          "work", (json_int_t)n->work, "kv_cache", (json_int_t)n->cache, "peak",
                          (json_int_t)n->peak);
    if (n->budget.layers)
        json_object_set_new(j, "layers_kept", json_integer((json_int_t)n->budget.kept));
    if (o->memory)
        json_object_set_new(j, "fits", json_boolean(fits(n, o)));
    return j;
}

json_t *needs_json(const struct model *m, const struct needs_options *o)
{
    struct need need[NEEDS];
    json_t *programs = json_object();
    needs_find(m, o, need);
    for (int i = 0; i < NEEDS; i++) {
        const struct need *n = &need[i];
        if (!takes(i, m))
            continue;
        json_object_set_new(programs, n->program, need_json(n, o));
    }
    json_t *all = json_pack("{s:I, s:s, s:i, s:o}", "max_length", (json_int_t)o->length, "optim",
                            optimizer_kinds[o->train.optim], "threads", threads_count(), "programs",
                            programs);
    if (o->memory)
        json_object_set_new(all, "memory", json_integer((json_int_t)o->memory));
    return all;
}
