// SPDX-License-Identifier: MIT
// novelty: rewards tokens that lead to states like those of the demonstrations.
#include "base/io.h"
#include "infer/long_record.h"
#include "base/option.h"
#include "base/progress.h"
#include "base/memory_check.h"
#include "base/signals.h"
#include "infer/record_sequence.h"
#include "infer/states.h"
#include "model/describe.h"
#include "reward/novelty.h"
#include "stream/filter.h"
#include "tokenize/tokenizer.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static struct common common;
static struct engine_options engine;
static const char *demonstrations, *as = "reward";
static double scale = 10, steepness = 5, ridge = 1e-4;
static int64_t features = 32;

static const struct option_spec options[] = {
    OPTIONS_ENGINE(&engine),
    OPT_GROUP("Reward"),
    OPT_TEXT(0, "demonstrations", &demonstrations, "STREAM",
             "the stream whose trained tokens' states count as familiar"),
    OPT_TEXT(0, "as", &as, "COLUMN", "the token column that is written"),
    OPT_REAL("scale", &scale, "A", -1e300, 1e300, "the reward is A exp(-B error)"),
    OPT_REAL("steepness", &steepness, "B", 0, 1e300, "see --scale"),
    OPT_INT(0, "features", &features, "N", 1, 1 << 16, "outputs of the random network"),
    OPT_REAL("ridge", &ridge, "X", 1e-12, 1e6,
             "keeps the predictor small where the demonstrations say nothing"),
    OPTIONS_COMMON(&common),
};

static const struct program program = {
    .name = "novelty",
    .operands = "[STREAM]",
    .summary = "Reward tokens by how familiar a state they lead to.",
    .details = "A random network is given the model's hidden state after each trained token of the "
               "demonstrations, and a linear predictor is fitted to its outputs. Where the "
               "predictor errs, the state is new: the reward of a token is A exp(-B error), the "
               "error being the mean square over the outputs.",
    .examples = "  novelty -m sft --demonstrations demos.toks < rollouts.toks |\n"
                "      dense-reward --reward reward --baseline loo > rewarded.toks\n",
    .options = options,
    .operands_min = 0,
    .operands_max = 1,
};

// One stream that states are taken from.
struct familiarity {
    struct states states;
    struct novelty novelty;
    struct stream_filter pass;
    struct arena arena;
    int mask, reward; // columns
    struct progress progress;
};

static void learn(void *arg, size_t sequence, size_t t, const float *state)
{
    struct familiarity *r = arg;
    novelty_add(&r->novelty, state);
}

static void judge(void *arg, size_t sequence, size_t t, const float *state)
{
    struct familiarity *r = arg;
    struct frame *f = &r->pass.frame;
    f->column[r->reward].f32[f->start[sequence] + t] =
        (float)(scale * exp(-steepness * novelty_error(&r->novelty, state)));
}

static int visit_frame(struct familiarity *r, states_visit *visit, struct err *e)
{
    struct frame *f = &r->pass.frame;
    size_t where;
    arena_clear(&r->arena);
    struct sequence *sequence = record_sequences(f, r->mask, &r->arena, NULL, e);
    if (!sequence)
        return -1;
    long_record_look(r->states.pass.model, f, stream_reader_name(r->pass.reader));
    if (states_run(&r->states, sequence, f->n_sequences, visit, r, &where, e) == 0)
        return 0;
    return err_prefix(e, "%s: %s", stream_reader_name(r->pass.reader),
                      frame_record(f, where < f->n_sequences ? where : 0).text);
}

static int open_stream(struct familiarity *r, const char *path, struct err *e)
{
    char fingerprint[24];
    int found;
    if (filter_open(&r->pass, path, e) < 0 ||
        tokenizer_fingerprint_of(engine.model, fingerprint, &found, e) < 0)
        return -1;
    const char *where = stream_reader_name(r->pass.reader);
    if (header_check_tokenizer(&r->pass.header, found ? fingerprint : NULL, where, e) < 0)
        return -1;
    r->mask = header_require(&r->pass.header, "mask", COLUMN_U8, PER_TOKEN, where, e);
    return r->mask < 0 ? -1 : 0;
}

static void show_progress(struct familiarity *r, const char *what)
{
    const struct stream_reader *in = r->pass.reader;
    progress_estimate(&r->progress, stream_reader_expected(in));
    progress_update(&r->progress, (int64_t)stream_reader_sequences(in), "%s", what);
}

static int learn_stream(struct familiarity *r, struct err *e)
{
    int more = open_stream(r, demonstrations, e) < 0 ? -1 : 1;
    while (more > 0 && (more = filter_next(&r->pass, e)) > 0) {
        if (visit_frame(r, learn, e) < 0)
            more = -1;
        show_progress(r, "demonstrations");
    }
    if (more == 0 && !r->novelty.n)
        more = err_set(e, STATUS_FAILED, "%s: no trained tokens, so nothing is familiar",
                       stream_reader_name(r->pass.reader));
    filter_release(&r->pass);
    return more < 0 ? -1 : novelty_fit(&r->novelty, ridge, e);
}

static int judge_stream(struct familiarity *r, const char *input, const struct provenance *line,
                        struct err *e)
{
    char fingerprint[24];
    struct stream_header *h = &r->pass.header;
    const struct device *device = r->states.pass.device;
    if (open_stream(r, input, e) < 0)
        return -1;
    r->reward = header_find(h, as) >= 0 ? header_require(h, as, COLUMN_F32, PER_TOKEN,
                                                         stream_reader_name(r->pass.reader), e)
                                        : header_add_column(h, as, COLUMN_F32, PER_TOKEN, e);
    if (r->reward < 0 || model_fingerprint(r->states.pass.model, fingerprint, e) < 0 ||
        header_add_provenance(h, line->program, line->argc, line->argv, line->seed,
                              json_pack("{s:s}", "states", fingerprint), e) < 0 ||
        header_set_kernels(h, device->ops->kernels(device), e) < 0 ||
        filter_start(&r->pass, common.output, e) < 0)
        return -1;
    int more;
    while ((more = filter_next(&r->pass, e)) > 0) {
        for (size_t k = 0; k < r->pass.frame.n_tokens; k++)
            r->pass.frame.column[r->reward].f32[k] = NAN;
        if (visit_frame(r, judge, e) < 0 || filter_write(&r->pass, e) < 0)
            return -1;
        show_progress(r, as);
    }
    return more < 0 || mapped_unchanged(e) < 0 ? -1 : filter_end(&r->pass, e);
}

static void report(const struct familiarity *r)
{
    const struct stream_reader *in = r->pass.reader;
    char closing[64];
    progress_closing(&r->progress, stream_reader_tokens(in), closing);
    message_note("%s: %" PRIu64 " records, %" PRIu64 " tokens, %s", as, stream_reader_sequences(in),
                 stream_reader_tokens(in), closing);
}

static int run_model(struct model *m, struct device *device, const char *input,
                     const struct provenance *line, struct err *e)
{
    struct familiarity r;
    memset(&r, 0, sizeof r);
    states_init(&r.states, m, device);
    arena_init(&r.arena);
    size_t width = m->config.end_width;
    int result = memory_check(work_bytes_sum(pass_usual_bytes(device, m)) +
                                  novelty_bytes(width, (size_t)features),
                              "scoring", common.verbose, e);
    if (result == 0)
        result = novelty_init(&r.novelty, width, (size_t)features, common.seed, e);
    progress_init(&r.progress, "record", 0);
    if (result == 0)
        result = learn_stream(&r, e);
    // The second stream is another one: its own total, its own rate.
    progress_restart(&r.progress);
    progress_follow(&r.progress, 1);
    if (result == 0)
        result = judge_stream(&r, input, line, e);
    progress_end(&r.progress);
    if (result == 0)
        report(&r);
    filter_release(&r.pass);
    novelty_release(&r.novelty);
    states_release(&r.states);
    arena_release(&r.arena);
    return result;
}

int main(int argc, char **argv)
{
    struct operands operands;
    struct device device;
    struct err e;
    int status = program_start(&program, argc, argv, &operands);
    if (status >= 0)
        return status;
    if ((status = common_apply(&common, 0)) || (status = engine_options_check(&program, &engine)))
        return status;
    if (!demonstrations)
        return program_usage(&program, "--demonstrations is missing: which stream is familiar?");
    if (!*as)
        return program_usage(&program, "--as: the column needs a name");
    if (device_open(&device, engine.device, (enum products)engine.dtype, &e) < 0)
        return signals_exit_status(message_fail(&e));
    struct model *m = model_open(engine.model, &e);
    if (m)
        describe_unused(m, common.verbose);
    struct provenance line = {program.name, argc, argv, common.seed};
    int result = m ? run_model(m, &device, operands.n ? operands.text[0] : NULL, &line, &e) : -1;
    model_close(m);
    device_release(&device);
    return result < 0 ? signals_exit_status(message_fail(&e)) : STATUS_DONE;
}
