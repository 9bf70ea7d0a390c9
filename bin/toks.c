// SPDX-License-Identifier: MIT
// toks: look at token streams, check them, cut them and put them together.
#include "base/io.h"
#include "base/number.h"
#include "base/option.h"
#include "convert/annotate_text.h"
#include "convert/show_text.h"
#include "convert/steps_text.h"
#include "toks/copy.h"
#include "toks/join.h"
#include "toks/pair.h"
#include "toks/prefix.h"
#include "toks/select.h"
#include "toks/split.h"
#include "toks/stat.h"
#include "toks/vote.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct common common = {.threads = 1};

// One call of a command. Each command has its options, what it says of itself and its run.
struct call {
    int argc;
    char **argv;
    struct operands operands;
    const char *first; // operand, or NULL: standard input
    struct provenance line;
    struct err e;
};

static int failed(const struct err *e)
{
    return io_exit_status(message_fail(e));
}

// Parses the first `argc` words and applies the common options: -1 to go on, otherwise the exit
// status.
static int start(struct call *c, const struct program *p, int argc)
{
    int status = program_start(p, argc, c->argv, &c->operands);
    if (status >= 0 || (status = common_apply(&common, 0)) != 0)
        return status;
    c->first = c->operands.n ? c->operands.text[0] : NULL;
    c->line = (struct provenance){p->name, c->argc, c->argv, common.seed};
    return -1;
}

static int done(const struct call *c, int result)
{
    return result < 0 ? failed(&c->e) : STATUS_DONE;
}

static int toks_view(struct call *c)
{
    static int binary, header;
    static int64_t level = -1;
    static const struct option_spec options[] = {
        OPT_FLAG('b', "binary", &binary, "write the binary form in place of the JSONL twin"),
        OPT_FLAG('H', "header", &header, "print the header alone"),
        OPT_INT(0, "level", &level, "N", -1, 22,
                "with -b: compress at zstd level N, 0 not at all; -1 as the header says"),
        OPTIONS_COMMON(&common)};
    static const struct program program = {
        .name = "toks view",
        .operands = "[STREAM]",
        .summary = "Print a stream as JSONL, a header and a record a line; or the reverse.",
        .details = "STREAM is binary, compressed or not, or a JSONL twin. The two forms hold the "
                   "same: `toks view X | toks view -b` gives X again, byte by byte.",
        .examples = "  toks view demos.toks | jq -c '{id, reward}'\n"
                    "  jq -c 'select(.score > 0)' twin.jsonl | toks view -b -o good.toks\n",
        .options = options,
        .operands_max = 1};
    int status = start(c, &program, c->argc);
    if (status >= 0)
        return status;
    if (binary && header)
        return program_usage(&program, "--binary and --header exclude one another");
    if (level >= 0 && !binary)
        return program_usage(&program, "--level goes with --binary");
    int result = binary ? copy_to_binary(c->first, common.output, (int)level, &c->e)
                        : copy_to_twin(c->first, common.output, header, &c->e);
    return done(c, result);
}

static int toks_head(struct call *c)
{
    static int stop;
    static uint64_t n = 10, skip;
    static const struct option_spec options[] = {
        {OPTION_SIZE, "records", 'n', &n, "N", "how many records", NULL, 0, 0, NULL},
        OPT_SIZE("skip", &skip, "K", "leave out the first K records"),
        OPT_FLAG(0, "stop", &stop,
                 "stop reading when the records are out: the rest is then not proved whole"),
        OPTIONS_COMMON(&common)};
    static const struct program program = {.name = "toks head",
                                           .operands = "[STREAM]",
                                           .summary =
                                               "Write the first records of a stream, as a stream.",
                                           .examples = "  toks head -n 3 demos.toks | toks view\n",
                                           .options = options,
                                           .operands_max = 1};
    int status = start(c, &program, c->argc);
    if (status >= 0)
        return status;
    return done(c, copy_head(c->first, common.output, n, skip, stop, &c->line, &c->e));
}

static int toks_stat(struct call *c)
{
    static const char *const formats[] = {"text", "tsv", "json", NULL};
    static int format;
    static const struct option_spec options[] = {
        {OPTION_CHOICE, "format", 'O', &format, NULL, "how to print", formats, 0, 0, NULL},
        OPTIONS_COMMON(&common)};
    static const struct program program = {
        .name = "toks stat",
        .operands = "[STREAM]",
        .summary = "Count records and tokens; range, mean and nulls of each column.",
        .details = "Of text columns the lengths in bytes are counted, and as null the empty texts.",
        .examples = "  toks stat -O json demos.toks | jq .trained\n",
        .options = options,
        .operands_max = 1};
    struct stream_stat s;
    struct output out;
    int status = start(c, &program, c->argc);
    if (status >= 0)
        return status;
    if (stat_read(&s, c->first, &c->e) < 0)
        return failed(&c->e);
    int result = output_open(&out, common.output, &c->e);
    if (result == 0 && (result = stat_print(&s, (enum stat_format)format, &out, &c->e)) < 0)
        output_abort(&out);
    else if (result == 0)
        result = output_commit(&out, &c->e);
    stat_release(&s);
    return done(c, result);
}

static int toks_check(struct call *c)
{
    static const struct option_spec options[] = {OPTIONS_COMMON(&common)};
    static const struct program program = {
        .name = "toks check",
        .operands = "[STREAM...]",
        .summary = "Prove streams whole: nothing is printed, and the status is 0, when they are.",
        .details = "Every stream is read to its end; each that is not whole gets a line on "
                   "standard error, and the status is 3. With -v whole ones get a line too.",
        .examples = "  toks check *.toks\n",
        .options = options,
        .operands_max = -1};
    int status = start(c, &program, c->argc);
    if (status >= 0)
        return status;
    status = STATUS_DONE;
    for (int i = 0; i < (c->operands.n ? c->operands.n : 1); i++) {
        uint64_t sequences, tokens;
        const char *path = c->operands.n ? c->operands.text[i] : NULL;
        if (pass_check(path, &sequences, &tokens, &c->e) < 0) {
            int code = message_fail(&c->e);
            status = status == STATUS_STREAM ? status : code; // says most about the streams
        } else if (common.verbose) {
            message_note("%s: whole: %" PRIu64 " records, %" PRIu64 " tokens", io_name(path),
                         sequences, tokens);
        }
    }
    return io_exit_status(status);
}

static int toks_cat(struct call *c)
{
    static const struct option_spec options[] = {OPTIONS_COMMON(&common)};
    static const struct program program = {
        .name = "toks cat",
        .operands = "[STREAM...]",
        .summary = "Put streams one after the other into one.",
        .details = "Their columns must be the same, and their tokenizers as far as they are "
                   "known. What `toks split` cut, `toks cat` makes whole, byte by byte.",
        .examples = "  toks cat part.*.toks > all.toks\n",
        .options = options,
        .operands_max = -1};
    int status = start(c, &program, c->argc);
    if (status >= 0)
        return status;
    return done(c, copy_cat(c->operands.text, c->operands.n, common.output, &c->e));
}

static int toks_tee(struct call *c)
{
    static const struct option_spec options[] = {OPTIONS_COMMON(&common)};
    static const struct program program = {
        .name = "toks tee",
        .operands = "FILE [STREAM]",
        .summary = "Pass a stream on and keep a copy of it.",
        .details = "FILE appears when the stream has gone out whole. Ends at once when its reader "
                   "has gone, even while it waits for input.",
        .examples = "  rollout -m sft prompts.toks | toks tee samples.toks | toks stat\n",
        .options = options,
        .operands_min = 1,
        .operands_max = 2};
    int status = start(c, &program, c->argc);
    if (status >= 0)
        return status;
    if (!strcmp(c->operands.text[0], "-"))
        return program_usage(&program, "FILE cannot be standard output");
    return done(c, copy_tee(c->operands.n > 1 ? c->operands.text[1] : NULL, common.output,
                            c->operands.text[0], &c->e));
}

static int toks_split(struct call *c)
{
    static int64_t parts, sequences;
    static const char *fractions;
    static const struct option_spec options[] = {
        OPT_INT('n', "parts", &parts, "N", 1, SPLIT_PARTS_MAX, "cut into N parts of equal size"),
        OPT_INT(0, "sequences", &sequences, "K", 1, 1e15, "cut after every K records"),
        OPT_TEXT(0, "fractions", &fractions, "LIST",
                 "cut into parts of these sizes, which add up to 1: 0.9,0.1"),
        OPTIONS_COMMON(&common)};
    static const struct program program = {
        .name = "toks split",
        .operands = "[STREAM]",
        .summary = "Cut a stream into several, in its order: PREFIX.000.toks, PREFIX.001.toks ...",
        .details = "-o gives PREFIX. No part appears unless all are complete. `toks cat "
                   "PREFIX.*.toks` is the stream again.",
        .examples = "  toks split -n 4 -o part demos.toks\n"
                    "  toks shuf demos.toks | toks split --fractions 0.95,0.05 -o demos\n",
        .options = options,
        .operands_max = 1};
    double fraction[SPLIT_PARTS_MAX];
    int written;
    int status = start(c, &program, c->argc);
    if (status >= 0)
        return status;
    if ((parts > 0) + (sequences > 0) + (fractions != NULL) != 1)
        return program_usage(&program, "one of -n, --sequences and --fractions says where to cut");
    if (!common.output || !strcmp(common.output, "-"))
        return program_usage(&program, "-o PREFIX is missing: what shall the parts be called?");
    struct split split = {(uint64_t)parts, (uint64_t)sequences, fraction, 0};
    if (fractions) {
        split.n_fractions = split_fractions(fractions, fraction, SPLIT_PARTS_MAX);
        if (split.n_fractions < 0)
            return program_usage(&program, "--fractions: '%s' is not a list that adds up to 1",
                                 fractions);
    }
    return done(c, split_run(&split, c->first, common.output, &written, &c->e));
}

static int toks_join(struct call *c)
{
    static const char *columns;
    static const struct option_spec options[] = {
        OPT_TEXT('c', "columns", &columns, "LIST",
                 "take these columns only; by default all that STREAM does not have"),
        OPTIONS_COMMON(&common)};
    static const struct program program = {
        .name = "toks join",
        .operands = "STREAM OTHER",
        .summary = "Add columns of another stream of the same records.",
        .details = "Both must hold the same records in the same order. A record whose id or "
                   "tokens differ is an error that names it.",
        .examples = "  toks join scored.toks other.toks -c logp:half > both.toks\n",
        .options = options,
        .operands_min = 2,
        .operands_max = 2};
    int status = start(c, &program, c->argc);
    if (status >= 0)
        return status;
    return done(c, join_run(c->operands.text[0], c->operands.text[1], columns, common.output,
                            &c->line, &c->e));
}

static void note_unpaired(const char *id, size_t size)
{
    message_note("no sample answers `%.*s`", (int)(size > 200 ? 200 : size), id);
}

static int toks_pair(struct call *c)
{
    static const struct option_spec options[] = {OPTIONS_COMMON(&common)};
    static const struct program program = {
        .name = "toks pair",
        .operands = "DEMOS [SAMPLES]",
        .summary = "Put each sample beside the demonstration whose prompt it answers.",
        .details = "Each record of SAMPLES becomes two: the demonstration whose id is the sample's "
                   "`prompt`, then the sample, with columns `pair` (the sample's id) and `role` "
                   "(demo, sample). DEMOS is held in memory, SAMPLES streams. With -v each "
                   "demonstration without a sample is named.",
        .examples = "  rollout -m sft prompts.toks | toks pair demos.toks > pairs.toks\n",
        .options = options,
        .operands_min = 1,
        .operands_max = 2};
    int status = start(c, &program, c->argc);
    if (status >= 0)
        return status;
    const char *samples = c->operands.n > 1 ? c->operands.text[1] : "-";
    if (!strcmp(c->operands.text[0], "-") && !strcmp(samples, "-"))
        return program_usage(&program, "DEMOS and SAMPLES cannot both be standard input");
    struct pair_counts counts;
    if (pair_run(c->operands.text[0], samples, common.output, &c->line,
                 common.verbose ? note_unpaired : NULL, &counts, &c->e) < 0)
        return failed(&c->e);
    if (counts.unpaired || common.verbose)
        message_note("%" PRIu64 " pairs; %" PRIu64 " of %" PRIu64 " demonstrations had no sample",
                     counts.pairs, counts.unpaired, counts.demos);
    return STATUS_DONE;
}

static int toks_shuf(struct call *c)
{
    static const struct option_spec options[] = {OPTIONS_COMMON(&common)};
    static const struct program program = {
        .name = "toks shuf",
        .operands = "[STREAM]",
        .summary = "Put the records in a random order, which --seed decides.",
        .details = "The stream is held in memory.",
        .examples = "  toks shuf --seed 7 demos.toks > shuffled.toks\n",
        .options = options,
        .operands_max = 1};
    int status = start(c, &program, c->argc);
    if (status >= 0)
        return status;
    return done(c, pick_shuffle(c->first, common.output, common.seed, &c->line, &c->e));
}

static int pick(struct call *c, const struct pick *p)
{
    struct pick_counts counts;
    if (pick_run(p, c->first, common.output, &c->line, &counts, &c->e) < 0)
        return failed(&c->e);
    if (counts.null)
        message_note("%" PRIu64 " records in, %" PRIu64 " out; %" PRIu64 " had no value", counts.in,
                     counts.out, counts.null);
    else if (common.verbose)
        message_note("%" PRIu64 " records in, %" PRIu64 " out", counts.in, counts.out);
    return STATUS_DONE;
}

static int toks_sample(struct call *c)
{
    static const char *size;
    static const struct option_spec options[] = {
        OPT_TEXT('n', "records", &size, "N|FRACTION", "how many: 100, 1/3, 0.1, half"),
        OPTIONS_COMMON(&common)};
    static const struct program program = {
        .name = "toks sample",
        .operands = "[STREAM]",
        .summary = "Draw records at random, without replacement, and keep their order.",
        .details = "--seed decides which. A named file is read twice; what comes through a pipe "
                   "is held in memory.",
        .examples = "  toks sample -n 0.1 --seed 7 demos.toks > tenth.toks\n",
        .options = options,
        .operands_max = 1};
    int status = start(c, &program, c->argc);
    if (status >= 0)
        return status;
    struct pick p = {.seed = common.seed};
    if (!size)
        return program_usage(&program, "-n is missing: how many records?");
    if (pick_size_parse(size, &p.size) < 0)
        return program_usage(&program, "-n: '%s' is neither a number nor a fraction", size);
    return pick(c, &p);
}

static int toks_select(struct call *c)
{
    static const char *by, *per, *top, *bottom;
    static const struct option_spec options[] = {
        OPT_TEXT(0, "by", &by, "sum:COLUMN|mean:COLUMN|COLUMN",
                 "what to compare: sum or mean of a token column over the trained tokens (all, "
                 "where the stream has no mask), or a record's own value"),
        OPT_TEXT(0, "top", &top, "N|FRACTION", "keep so many of the highest: 100, 1/3, half"),
        OPT_TEXT(0, "bottom", &bottom, "N|FRACTION", "keep so many of the lowest"),
        OPT_TEXT(0, "per", &per, "COLUMN",
                 "choose among the records that share this column's value: --per prompt gives the "
                 "best of each prompt's samples"),
        OPTIONS_COMMON(&common)};
    static const struct program program = {
        .name = "toks select",
        .operands = "[STREAM]",
        .summary = "Keep the best records by a column, in their order.",
        .details = "Of equal records the earlier one is kept. A fraction is rounded, and at least "
                   "one record. A record without a value is never kept: one whose value is null, "
                   "or that has a null among its tokens (the first token's does not count), or no "
                   "token to count. A named file is read twice; what comes through a pipe is held "
                   "in memory.",
        .examples = "  toks select --by sum:reward --top 1/3 scored.toks > best.toks\n"
                    "  toks select --by sum:reward --top 1 --per prompt samples.toks\n",
        .options = options,
        .operands_max = 1};
    int status = start(c, &program, c->argc);
    if (status >= 0)
        return status;
    struct pick p = {.by = by, .per = per, .lowest = bottom != NULL};
    if (!by)
        return program_usage(&program, "--by is missing: which column?");
    if (!top == !bottom)
        return program_usage(&program, "one of --top and --bottom says how many to keep");
    if (pick_size_parse(top ? top : bottom, &p.size) < 0)
        return program_usage(&program, "'%s' is neither a number nor a fraction",
                             top ? top : bottom);
    return pick(c, &p);
}

static int toks_vote(struct call *c)
{
    static const char *const scores[] = {"majority", "share", NULL};
    static struct vote vote = {.by = "answer", .group = "prompt", .as = "score"};
    static struct option_texts with;
    static int score;
    static const struct option_spec options[] = {
        OPT_TEXT(0, "by", &vote.by, "COLUMN", "text column with each sample's answer"),
        OPT_TEXT(0, "group", &vote.group, "COLUMN",
                 "samples with one value in this column of records are those of one prompt"),
        OPT_CHOICE("score", &score, scores,
                   "1 for the most frequent answer of a group, 1/k where k answers are, and 0 for "
                   "the others; or the share of the group's samples that give the answer"),
        OPT_TEXT(0, "as", &vote.as, "COLUMN", "the column of records that is written"),
        OPT_TEXTS("with", &with, "STREAM",
                  "its samples vote too, and are not written; may be given several times"),
        OPTIONS_COMMON(&common)};
    static const struct program program = {
        .name = "toks vote",
        .operands = "[STREAM]",
        .summary = "Score samples by how many of their prompt's samples agree.",
        .details = "Groups are looked for within a batch: a run of records with one value in the "
                   "column step, or the whole stream; that much is held in memory. An empty answer "
                   "scores 0 and never wins. A group of one sample is refused.",
        .examples = "  toks vote --by answer samples.toks | dense-reward --reward score\n"
                    "  toks vote --with teacher.toks student.toks > scored.toks\n",
        .options = options,
        .operands_max = 1};
    struct vote_counts counts;
    int status = start(c, &program, c->argc);
    if (status >= 0)
        return status;
    vote.score = (enum vote_score)score;
    vote.with = with.text;
    vote.n_with = with.n;
    if (vote_run(&vote, c->first, common.output, &c->line, &counts, &c->e) < 0)
        return failed(&c->e);
    message_note("%" PRIu64 " records (%" PRIu64 " without an answer), %" PRIu64 " groups, %" PRIu64
                 " of them tied",
                 counts.records, counts.empty, counts.groups, counts.ties);
    return STATUS_DONE;
}

static int toks_steps(struct call *c)
{
    static struct steps steps = {.gold = "gold", .end = "\n"};
    static const char *model, *end;
    static const struct option_spec options[] = {
        OPT_TEXT('m', "model", &model, "DIR", "the model whose tokenizer made the stream"),
        OPT_TEXT(0, "gold", &steps.gold, "COLUMN", "text column with the right answer"),
        OPT_TEXT(0, "end", &end, "TEXT",
                 "a step ends with each trained token whose text holds TEXT; without it, a line "
                 "break"),
        OPT_TEXT(0, "marks", &steps.marks, "COLUMN",
                 "a step ends where this u8 token column is 1, in place of --end"),
        OPT_TEXT(0, "lead", &steps.lead, "TEXT", "put TEXT between the steps and the answer"),
        OPTIONS_COMMON(&common)};
    static const struct program program = {
        .name = "toks steps",
        .operands = "[STREAM]",
        .summary = "Put the right answer after each step of a record, to be scored there.",
        .details =
            "Of a record with K steps K + 1 are made: the prompt, its first k steps, TEXT of "
            "--lead, and the answer, which alone has mask 1. The columns record, steps and "
            "taken say what it was made of; `toks gain` puts the log-probabilities of the "
            "answers together again.",
        .examples = "  toks steps -m sft --gold gold samples.toks | logprob -m sft --as self |\n"
                    "      toks gain --logp self samples.toks - | dense-reward --reward reward\n",
        .options = options,
        .operands_max = 1};
    struct steps_counts counts;
    int status = start(c, &program, c->argc);
    if (status >= 0)
        return status;
    if (!model)
        return program_usage(&program, "-m DIR is missing: whose tokenizer?");
    if (end && steps.marks)
        return program_usage(&program, "--end and --marks exclude one another");
    if (end && !*end)
        return program_usage(&program, "--end: an empty text ends nothing");
    steps.end = end ? end : steps.end;
    if (steps_text(&steps, model, c->first, common.output, &c->line, &counts, &c->e) < 0)
        return failed(&c->e);
    message_note("%" PRIu64 " records, %" PRIu64 " steps; %" PRIu64 " records have none",
                 counts.records, counts.steps, counts.without);
    return STATUS_DONE;
}

static int toks_gain(struct call *c)
{
    static const char *logp;
    static const struct option_spec options[] = {
        OPT_TEXT(0, "logp", &logp, "NAME",
                 "SCORED has the answers' log-probabilities in logp:NAME"),
        OPTIONS_COMMON(&common)};
    static const struct program program = {
        .name = "toks gain",
        .operands = "STREAM SCORED",
        .summary =
            "Reward each step by how much likelier it made the right answer than ever before.",
        .details = "SCORED is what `toks steps` made of STREAM, after logprob. A step's gain, in "
                   "the column reward at its last token, is what the mean log-probability of the "
                   "answer rises above its highest value so far, or 0. The column watermark has "
                   "that highest value, the column gain the sum of a record.",
        .examples = "  toks gain --logp self samples.toks scored.toks > rewarded.toks\n",
        .options = options,
        .operands_min = 2,
        .operands_max = 2};
    struct steps_counts counts;
    int status = start(c, &program, c->argc);
    if (status >= 0)
        return status;
    if (!logp)
        return program_usage(&program, "--logp NAME is missing: which column of SCORED?");
    if (steps_gain(c->operands.text[0], c->operands.text[1], logp, common.output, &c->line, &counts,
                   &c->e) < 0)
        return failed(&c->e);
    if (common.verbose)
        message_note("%" PRIu64 " records, %" PRIu64 " steps", counts.records, counts.steps);
    return STATUS_DONE;
}

static int toks_prefix(struct call *c)
{
    static int64_t group = 8, prefixed = 1, batch = 32, steps;
    static struct prefix prefix = {.low = 0.05, .high = 0.95};
    static const struct option_spec options[] = {
        OPT_INT('n', "num-generations", &group, "N", 2, 1 << 16, "prompts a group"),
        OPT_INT(0, "prefixed", &prefixed, "N", 0, 1 << 16, "so many of them have a prefix"),
        OPT_REAL("low", &prefix.low, "X", 0, 1,
                 "the least share of a completion that is a prefix, at the last step"),
        OPT_REAL("high", &prefix.high, "X", 0, 0.999, "the greatest share, at every step"),
        OPT_INT(0, "batch-size", &batch, "N", 1, 1 << 24, "groups a step"),
        OPT_INT(0, "steps", &steps, "N", 0, 1 << 30, "steps; 0: each demonstration once"),
        OPTIONS_COMMON(&common)};
    static const struct program program = {
        .name = "toks prefix",
        .operands = "[STREAM]",
        .summary = "Make groups of prompts, some of which go on into their demonstration.",
        .details = "Each demonstration's prompt is written N times, the last --prefixed times with "
                   "the first tokens of its completion behind it: a share drawn between a bound, "
                   "which falls from --high to --low over the steps by half a cosine, and --high. "
                   "The columns group and prefix tell which is which. The demonstrations are held "
                   "in memory.",
        .examples = "  toks prefix --steps 60 demos.toks |\n"
                    "      rollout -m policy --follow -n 1 --batch-size 256 --steps 60\n",
        .options = options,
        .operands_max = 1};
    struct prefix_counts counts;
    int status = start(c, &program, c->argc);
    if (status >= 0)
        return status;
    if (prefixed >= group)
        return program_usage(&program, "--prefixed: some prompts of a group must have no prefix");
    if (prefix.low > prefix.high)
        return program_usage(&program, "--low: %g is above --high", prefix.low);
    prefix.group = (uint64_t)group;
    prefix.prefixed = (uint64_t)prefixed;
    prefix.batch = (uint64_t)batch;
    prefix.steps = (uint64_t)steps;
    prefix.seed = common.seed;
    if (prefix_run(&prefix, c->first, common.output, &c->line, &counts, &c->e) < 0)
        return failed(&c->e);
    message_note("%" PRIu64 " demonstrations, %" PRIu64 " steps, %" PRIu64 " groups, %" PRIu64
                 " prompts",
                 counts.demonstrations, counts.steps, counts.groups, counts.prompts);
    return STATUS_DONE;
}

static enum show_form show_form(int html, int color)
{
    enum { AUTO, ALWAYS };
    const char *depth = getenv("COLORTERM");
    if (html)
        return SHOW_HTML;
    int terminal = !common.output && isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
    if (color != ALWAYS && !(color == AUTO && terminal))
        return SHOW_PLAIN;
    return depth && (!strcmp(depth, "truecolor") || !strcmp(depth, "24bit")) ? SHOW_COLOR_24
                                                                             : SHOW_COLOR_256;
}

// "LO,HI"
static int parse_range(const char *text, double *low, double *high)
{
    char word[64];
    size_t n = strcspn(text, ",");
    if (!text[n] || n >= sizeof word)
        return -1;
    memcpy(word, text, n);
    word[n] = 0;
    return number_to_f64(word, low) < 0 || number_to_f64(text + n + 1, high) < 0 || *low >= *high
               ? -1
               : 0;
}

static int toks_show(struct call *c)
{
    static const char *const colors[] = {"auto", "always", "never", NULL};
    static struct show_text shown = {.by = "reward", .n = 10, .show = {.low = NAN, .high = NAN}};
    static int html, color;
    static const char *range;
    static const struct option_spec options[] = {
        OPT_TEXT('m', "model", &shown.model, "DIR", "the model whose tokenizer made the stream"),
        OPT_TEXT(0, "by", &shown.by, "COLUMN", "the token column that colours"),
        {OPTION_SIZE, "records", 'n', &shown.n, "N", "how many records", NULL, 0, 0, NULL},
        OPT_SIZE("skip", &shown.skip, "K", "leave out the first K records"),
        OPT_TEXT(0, "range", &range, "LOW,HIGH",
                 "values with the full colours; by default the 2nd and 98th percentile of what is "
                 "shown"),
        OPT_CHOICE("color", &color, colors, "colours in the terminal"),
        OPT_FLAG(0, "html", &html,
                 "write one HTML file that needs nothing else, with the values as tooltips"),
        OPT_TEXT(0, "title", &shown.show.title, "TEXT", "title of the HTML page"),
        OPTIONS_COMMON(&common)};
    static const struct program program = {
        .name = "toks show",
        .operands = "[STREAM]",
        .summary = "Show the text of records, each token coloured by a column.",
        .details = "Blue is above 0 and orange below where the column has both signs; otherwise "
                   "the colour deepens with the value, or with the loss where all are negative. "
                   "Tokens without a value have no colour, those that are not trained are grey.",
        .examples = "  toks show -m sft --by reward scored.toks\n"
                    "  toks show -m sft --by reward --html -o reward.html scored.toks\n",
        .options = options,
        .operands_max = 1};
    int status = start(c, &program, c->argc);
    if (status >= 0)
        return status;
    if (!shown.model)
        return program_usage(&program, "-m DIR is missing: whose tokenizer?");
    if (range && parse_range(range, &shown.show.low, &shown.show.high) < 0)
        return program_usage(&program, "--range: '%s' is not of the form LOW,HIGH", range);
    shown.show.form = show_form(html, color);
    return done(c, show_text(&shown, c->first, common.output, &c->e));
}

static int toks_annotate(struct call *c)
{
    static const char *model;
    static uint64_t in_flight = 1024;
    static struct annotate how = {.timeout = 600, .patience = 2, .form = "twin"};
    static const struct option_spec options[] = {
        OPT_TEXT('m', "model", &model, "DIR",
                 "ask in text, as `tok -m DIR -d` prints it, not by the record's twin"),
        OPT_TEXT('c', "columns", &how.columns, "NAME[:string|:token],...",
                 "the fields that become columns: a number or text a record, or a number a token; "
                 "by default all that are new in the first answer"),
        OPT_REAL("timeout", &how.timeout, "SECONDS", 0, 1e9,
                 "fail when no answer comes for so long; 0: wait for ever"),
        OPT_TEXT(0, "journal", &how.journal, "FILE",
                 "keep each answer there as it comes, and ask only for those that it has not"),
        {OPTION_SIZE, "in-flight", 0, &in_flight, "N", "most records without an answer", NULL, 0, 0,
         NULL},
        OPT_REAL("patience", &how.patience, "SECONDS", 0, 1e9,
                 "after so long without an answer close the command's input, so that it gives the "
                 "answers that it keeps back, and start it again for the records that follow; 0: "
                 "never"),
        OPTIONS_COMMON(&common)};
    static const struct program program = {
        .name = "toks annotate",
        .operands = "[STREAM] -- COMMAND [ARG...]",
        .summary = "Add columns that a command answers: rewards, verdicts, labels.",
        .details = "COMMAND reads a JSON object a line, a record each, and must answer each, in "
                   "order, by one line: an object with the same `id` and new fields. If it fails, "
                   "dies, hangs or answers amiss, so does this program, with one line that says "
                   "at which record, and the output is no whole stream.",
        .examples = "  toks annotate samples.toks -- jq -c '{id, score: (.token | length)}'\n"
                    "  toks annotate -m sft --journal answers.jsonl samples.toks -- ./grade\n",
        .options = options,
        .operands_max = 1};
    struct annotate_counts counts;
    int own = 0;
    while (own < c->argc && strcmp(c->argv[own], "--") != 0)
        own++;
    int status = start(c, &program, own);
    if (status >= 0)
        return status;
    if (own + 1 >= c->argc)
        return program_usage(&program, "-- COMMAND is missing: who shall answer?");
    if (in_flight < 1)
        return program_usage(&program, "--in-flight: at least one record must be asked for");
    how.command = c->argv + own + 1;
    how.in_flight = in_flight;
    int result = model
                     ? annotate_text(&how, model, c->first, common.output, &c->line, &counts, &c->e)
                     : annotate_run(&how, c->first, common.output, &c->line, &counts, &c->e);
    if (result < 0)
        return failed(&c->e);
    if (counts.journal || common.verbose)
        message_note("%" PRIu64 " records, %" PRIu64 " of them from the journal; the command ran "
                     "%" PRIu64 " times",
                     counts.records, counts.journal, counts.runs);
    return STATUS_DONE;
}

struct command {
    const char *name;
    int (*run)(struct call *c);
    const char *summary;
};

static const struct command commands[] = {
    {"view", toks_view, "print as JSONL, and back"},
    {"head", toks_head, "the first records"},
    {"stat", toks_stat, "count records, tokens and values"},
    {"check", toks_check, "prove streams whole"},
    {"cat", toks_cat, "put streams one after the other"},
    {"tee", toks_tee, "pass on and keep a copy"},
    {"split", toks_split, "cut into several"},
    {"join", toks_join, "add columns of another stream"},
    {"pair", toks_pair, "each sample beside its demonstration"},
    {"annotate", toks_annotate, "columns that a command answers"},
    {"shuf", toks_shuf, "put records in a random order"},
    {"sample", toks_sample, "draw records at random"},
    {"select", toks_select, "the best by a column"},
    {"vote", toks_vote, "score samples by the majority's answer"},
    {"steps", toks_steps, "the right answer after each step"},
    {"gain", toks_gain, "reward steps by what they gain"},
    {"prefix", toks_prefix, "groups of prompts, some with a demonstration's beginning"},
    {"show", toks_show, "text coloured by a column"},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static int print_commands(FILE *to)
{
    fprintf(to, "Usage: toks COMMAND [OPTION...] [STREAM...]\n"
                "Look at token streams, check them, cut them and put them together.\n\n"
                "Commands (`toks COMMAND --help` says more):\n");
    for (int i = 0; i < COMMANDS; i++)
        fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].summary);
    fprintf(to, "\n  -h, --help   print this help\n      --version  print the version\n");
    struct err e;
    if (fflush(to) == 0 && !ferror(to))
        return STATUS_DONE;
    err_errno(&e, "standard output");
    return failed(&e);
}

int main(int argc, char **argv)
{
    message_program("toks");
    io_signals(0);
    const char *name = argc > 1 ? argv[1] : "";
    struct err e;
    if (!strcmp(name, "-h") || !strcmp(name, "--help") || !strcmp(name, "help"))
        return print_commands(stdout);
    if (!strcmp(name, "--version")) {
        printf("toks (densepath) %s\n", densepath_version);
        if (fflush(stdout) == 0)
            return STATUS_DONE;
        err_errno(&e, "standard output");
        return failed(&e);
    }
    for (int i = 0; i < COMMANDS; i++)
        if (!strcmp(name, commands[i].name))
            return commands[i].run(&(struct call){.argc = argc - 1, .argv = argv + 1});
    err_set(&e, STATUS_USAGE, "%s%s%s (see `toks --help`)", *name ? "unknown command '" : "",
            *name ? name : "a command is missing", *name ? "'" : "");
    return message_fail(&e);
}
