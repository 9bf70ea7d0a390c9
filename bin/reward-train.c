// SPDX-License-Identifier: MIT
// reward-train: trains a reward model on pairs; scores streams with it; measures given rewards.
#include "base/json.h"
#include "infer/long_record.h"
#include "base/progress.h"
#include "base/memory_check.h"
#include "base/signals.h"
#include "infer/record_sequence.h"
#include "infer/reward_scorer.h"
#include "model/describe.h"
#include "stream/filter.h"
#include "train/reward_train.h"
#include "train.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

static struct common common;
static struct engine_options engine;
static struct reward_train_options run = {
    .loss = {.level = LEVEL_TOKEN, .pad = PAD_HOLD, .reduction = REDUCTION_PAIRS},
    .result = {.run = {.save_minutes = RUN_SAVE_MINUTES}, .epochs = 1, .shuffle = 1}};
static int score, measure, attention, metric;
static const char *const metrics[] = {"eval_loss",   "eval_accuracy",       "eval_aligned_accuracy",
                                      "eval_margin", "eval_aligned_margin", NULL};

static const struct option_spec options[] = {
    OPTIONS_ENGINE(&engine),
    OPT_GROUP("What to do instead of training"),
    OPT_FLAG(0, "score", &score,
             "pass STREAM on with the rewards of model DIR: columns `reward` and `score`"),
    OPT_FLAG(0, "attention", &attention,
             "with --score: also what the last trained token attends to, as column `attention`"),
    OPT_FLAG(0, "measure", &measure,
             "print loss and accuracy of STREAM's own column `reward`, without a model"),
    OPT_GROUP("Loss"),
    OPT_CHOICE("loss", &run.loss.level, bradley_terry_levels,
               "compare the rewards of aligned tokens, or of the last ones alone"),
    OPT_CHOICE(
        "pad", &run.loss.pad, bradley_terry_pads,
        "past the end of the shorter completion: use its last reward, use 0, or do not compare"),
    OPT_CHOICE("reduction", &run.loss.reduction, bradley_terry_reductions,
               "give equal weight to every position of a batch, or to every pair"),
    OPT_GROUP("Training"),
    OPT_INT(0, "batch-size", &run.result.run.batch_size, "N", 1, 1 << 24, "pairs per update"),
    OPTIONS_RESULT(&run.result),
    OPTIONS_EVALUATION(&run.result.eval, "measure these pairs too"),
    OPTIONS_BEST(&run.result.best, &metric, metrics),
    OPTIONS_TRAINER(&run.result.run),
    OPTION_METRICS(&common),
    OPTIONS_COMMON_TO(&common, "PATH",
                      "the directory to write; with --score or --measure the file, `-`, the "
                      "default, is standard output"),
};

static const struct program program = {
    .name = "reward-train",
    .operands = "[STREAM]",
    .summary = "Train a reward model on pairs of completions, or score a stream with one.",
    .details =
        "STREAM holds pairs: records with the same `pair`, one of `role` demo or chosen, one of "
        "role sample or rejected. -m DIR is a language model, which gets a new head (one number "
        "per position, weights 0), or a reward model, whose training continues. The result is the "
        "...ForSequenceClassification directory -o DIR, which appears when the run is complete; "
        "SIGINT, SIGTERM and SIGHUP save the state in DIR.partial and end with status 75.",
    .examples = "  reward-train -m sft -o reward pairs.toks\n"
                "  reward-train --score -m reward < rollouts.toks | toks stat\n"
                "  reward-train --measure scored-pairs.toks\n",
    .options = options,
    .operands_min = 0,
    .operands_max = 1,
};

// Scoring: where the results of a frame go.
struct score_columns {
    int mask, reward, score, attention;
};

static int add_columns(struct stream_header *h, struct score_columns *c, const char *where,
                       struct err *e)
{
    c->attention = -1;
    if ((c->mask = header_require(h, "mask", COLUMN_U8, PER_TOKEN, where, e)) < 0 ||
        (c->reward = header_add_column(h, "reward", COLUMN_F32, PER_TOKEN, e)) < 0 ||
        (attention &&
         (c->attention = header_add_column(h, "attention", COLUMN_F32, PER_TOKEN, e)) < 0) ||
        (c->score = header_add_column(h, "score", COLUMN_F32, PER_SEQUENCE, e)) < 0)
        return -1;
    return 0;
}

static void store(struct frame *f, const struct score_columns *c, const struct sequence *sequence,
                  const float *reward, const float *weight)
{
    size_t at = 0;
    for (size_t i = 0; i < f->n_sequences; i++)
        for (size_t t = 1; t < sequence[i].n; t++) {
            if (!sequence[i].mask[t])
                continue;
            size_t place = f->start[i] + t;
            if (weight)
                f->column[c->attention].f32[place] = weight[at];
            f->column[c->score].f32[i] = f->column[c->reward].f32[place] = reward[at++];
        }
}

static int score_frame(struct reward_scorer *scorer, struct frame *f, const struct score_columns *c,
                       struct arena *arena, const char *where, struct err *e)
{
    size_t wanted = 0, at = 0;
    arena_clear(arena);
    struct sequence *sequence = record_sequences(f, c->mask, arena, &wanted, e);
    if (!sequence)
        return -1;
    float *reward = arena_alloc(arena, wanted, sizeof *reward, e);
    float *weight = attention ? arena_alloc(arena, wanted, sizeof *weight, e) : NULL;
    if (!reward || (attention && !weight))
        return -1;
    long_record_look(scorer->pass.model, f, where);
    if (reward_scorer_run(scorer, sequence, f->n_sequences, reward, weight, &at, e) < 0)
        return err_prefix(e, "%s: %s", where, frame_record(f, at < f->n_sequences ? at : 0).text);
    store(f, c, sequence, reward, weight);
    return 0;
}

static int open_output(struct stream_filter *p, const struct model *m, const struct device *device,
                       struct score_columns *c, int argc, char **argv, struct err *e)
{
    const char *where = stream_reader_name(p->reader);
    char fingerprint[24], tokenizer[24];
    int found;
    if (tokenizer_fingerprint_of(engine.model, tokenizer, &found, e) < 0 ||
        header_check_tokenizer(&p->header, found ? tokenizer : NULL, where, e) < 0 ||
        add_columns(&p->header, c, where, e) < 0 || model_fingerprint(m, fingerprint, e) < 0 ||
        header_add_provenance(&p->header, "reward-train", argc, argv, common.seed,
                              json_pack("{s:s}", "reward", fingerprint), e) < 0 ||
        header_set_kernels(&p->header, device->ops->kernels(device), e) < 0)
        return -1;
    return filter_start(p, common.output, e);
}

static void report(const struct stream_reader *in, const struct progress *p)
{
    char closing[64];
    progress_closing(p, stream_reader_tokens(in), closing);
    message_note("%" PRIu64 " records, %" PRIu64 " tokens, %s", stream_reader_sequences(in),
                 stream_reader_tokens(in), closing);
}

static int score_stream(struct stream_filter *p, struct reward_scorer *scorer,
                        const struct score_columns *c, struct err *e)
{
    struct arena arena;
    struct progress progress;
    arena_init(&arena);
    progress_init(&progress, "record", 0);
    progress_follow(&progress, 1);
    int more;
    while ((more = filter_next(p, e)) > 0) {
        if (score_frame(scorer, &p->frame, c, &arena, stream_reader_name(p->reader), e) < 0 ||
            filter_write(p, e) < 0) {
            more = -1;
            break;
        }
        progress_estimate(&progress, stream_reader_expected(p->reader));
        progress_update(&progress, (int64_t)stream_reader_sequences(p->reader), "%.0f tokens/s",
                        (double)stream_reader_tokens(p->reader) / progress_seconds(&progress));
    }
    progress_end(&progress);
    arena_release(&arena);
    if (more < 0 || mapped_unchanged(e) < 0 || filter_end(p, e) < 0)
        return -1;
    report(p->reader, &progress);
    return 0;
}

static int run_score(const char *input, int argc, char **argv, struct err *e)
{
    struct stream_filter pass;
    struct device device;
    struct score_columns columns;
    struct reward_scorer scorer;
    if (device_open(&device, engine.device, (enum products)engine.dtype, e) < 0)
        return -1;
    struct model *m = model_open_reward(engine.model, e);
    if (!m) {
        device_release(&device);
        return -1;
    }
    describe_unused(m, common.verbose);
    reward_scorer_init(&scorer, m, &device);
    int result = filter_open(&pass, input, e);
    if (result == 0)
        result = memory_check(work_bytes_sum(pass_usual_bytes(&device, m)), "scoring",
                              common.verbose, e);
    if (result == 0)
        result = open_output(&pass, m, &device, &columns, argc, argv, e);
    if (result == 0)
        result = score_stream(&pass, &scorer, &columns, e);
    filter_release(&pass);
    reward_scorer_release(&scorer);
    model_close(m);
    device_release(&device);
    return result;
}

// The padding token that the model's files name: config.json, generation_config.json, or the
// tokenizer's. *pad = -1: none does.
static int find_pad(const char *directory, int64_t *pad, struct err *e)
{
    static const char *const files[] = {"config.json", "generation_config.json",
                                        "tokenizer_config.json"};
    *pad = -1;
    int at = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = 0;
    if (at < 0)
        return err_errno(e, directory);
    for (int i = 0; i < 3 && result == 0 && *pad < 0; i++) {
        int there = io_look(at, files[i], e);
        if (there <= 0) {
            result = there;
            continue;
        }
        json_t *j = json_parse_file(at, files[i], 16 << 20, e);
        const json_t *id = json_object_get(j, "pad_token_id");
        const json_t *token = json_object_get(j, "pad_token");
        if (json_is_object(token))
            token = json_object_get(token, "content");
        if (!j) {
            result = err_prefix(e, "%s", directory);
        } else if (json_is_integer(id)) {
            *pad = json_integer_value(id);
        } else if (json_is_string(token) &&
                   (io_exists(at, "tokenizer.json") || io_exists(at, "tokenizer.model"))) {
            struct tokenizer *t = tokenizer_open(directory, e);
            *pad = t ? tokenizer_token_id(t, json_string_value(token)) : -1;
            result = t ? 0 : -1;
            tokenizer_close(t);
        }
        json_decref(j);
    }
    close(at);
    return result;
}

static int start_training(int argc, char **argv)
{
    struct operands operands;
    struct err e;
    char tokenizer[24];
    struct run_options *r = &run.result.run;
    common.is_directory = 1;
    int status = train_start(&program, argc, argv, &common, &engine, "where should the model go?",
                             r, tokenizer, &operands);
    if (status >= 0)
        return status;
    r->input[1] = run.result.eval.path;
    run.result.best.metric = metrics[metric];
    if (find_pad(engine.model, &run.pad, &e) < 0 ||
        reward_train_run(&run, operands.n ? operands.text[0] : NULL, &e) < 0)
        return signals_exit_status(message_fail(&e));
    return STATUS_DONE;
}

int main(int argc, char **argv)
{
    struct operands operands;
    struct err e;
    run.result.run.train = trainer_defaults;
    run.result.run.batch_size = RESULT_BATCH;
    run.result.run.train.learning_rate = 1e-4; // as TRL's RewardTrainer
    int status = program_start(&program, argc, argv, &operands);
    if (status >= 0)
        return status;
    if (score && measure)
        return program_usage(&program, "--score and --measure cannot be used together");
    if (attention && !score)
        return program_usage(&program, "--attention goes with --score");
    if (!score && !measure)
        return start_training(argc, argv);
    if ((status = common_apply(&common, 0)) ||
        (score && (status = engine_options_check(&program, &engine))))
        return status;
    const char *input = operands.n ? operands.text[0] : NULL;
    int result = measure ? reward_train_measure(&run.loss, input, common.output, &e)
                         : run_score(input, argc, argv, &e);
    return result < 0 ? signals_exit_status(message_fail(&e)) : STATUS_DONE;
}
