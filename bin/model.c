// SPDX-License-Identifier: MIT
// model: makes, describes, compares and averages model directories.
#include "base/io.h"
#include "base/litter.h"
#include "base/json.h"
#include "base/named_number.h"
#include "base/nearest.h"
#include "base/option.h"
#include "base/signals.h"
#include "infer/scorer.h"
#include "model/claim.h"
#include "model/compare.h"
#include "model/describe.h"
#include "model/directory.h"
#include "model/sketch.h"
#include "train/run.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct common common;
static const char *save_dtype;
static double tolerance;
static int json, overwrite;

#define OVERWRITE                                                                                  \
    OPT_FLAG(0, "overwrite", &overwrite,                                                           \
             "replace what this suite has made under the name DIR; without it that is refused")

#define SAVE_DTYPE                                                                                 \
    OPT_TEXT(0, "save-dtype", &save_dtype, "fp32|bf16|fp16",                                       \
             "type of the weights written; without it, that of config.json or of the first model")

static const struct option_spec init_options[] = {SAVE_DTYPE, OVERWRITE,
                                                  OPTIONS_COMMON_MODEL(&common)};
static const struct program init_program = {
    .name = "model init",
    .operands = "CONFIG_DIR",
    .summary = "Make a model with fresh weights from a directory with config.json.",
    .details = "Matrices are drawn from N(0, initializer_range^2), norms are the identity, biases "
               "0. Every other file of CONFIG_DIR (the tokenizer, say) is copied.",
    .examples = "  model init my-config -o base --seed 1\n",
    .options = init_options,
    .operands_min = 1,
    .operands_max = 1,
};

static const struct option_spec info_options[] = {
    OPT_FLAG(0, "json", &json, "print one JSON object in place of the table"),
    OPTIONS_COMMON(&common)};
static const struct program info_program = {
    .name = "model info",
    .operands = "DIR|CONFIG",
    .summary = "Describe a model: its shape, parameters, and the memory each program needs.",
    .details = "A config.json, or a directory without weights, is enough.",
    .examples = "  model info base\n",
    .options = info_options,
    .operands_min = 1,
    .operands_max = 1,
};

static const struct option_spec diff_options[] = {
    OPT_REAL("tolerance", &tolerance, "X", 0, INFINITY,
             "models are equal when no value differs by more"),
    OPTIONS_COMMON(&common)};
static const struct program diff_program = {
    .name = "model diff",
    .operands = "A B",
    .summary = "Print the largest absolute and relative difference of each tensor.",
    .details = "Exit status 0 when the models are equal within --tolerance, 1 otherwise.",
    .examples =
        "  model diff sft sft/half\n  model diff -q --tolerance 1e-6 run1 run2 && echo same\n",
    .options = diff_options,
    .operands_min = 2,
    .operands_max = 2,
};

static const struct option_spec average_options[] = {SAVE_DTYPE, OVERWRITE,
                                                     OPTIONS_COMMON_MODEL(&common)};
static const struct program average_program = {
    .name = "model average",
    .operands = "DIR:WEIGHT...",
    .summary = "Write the weighted sum of models; weights may be negative.",
    .details = "The other files are those of the first model. Extrapolation away from a reference "
               "(ExPO, arXiv 2404.16792) is SFT:1+a REFERENCE:-a.",
    .examples = "  model average run1:0.5 run2:0.5 -o mean\n"
                "  model average sft:1.25 sft/half:-0.25 -o beyond\n",
    .options = average_options,
    .operands_min = 1,
    .operands_max = -1,
};

static int need_output(struct err *e)
{
    if (common.output && strcmp(common.output, "-") != 0)
        return 0;
    return err_set(e, STATUS_USAGE, "-o DIR is missing: where should the model go?");
}

static int finish(struct directory_output *out, int result, struct err *e)
{
    struct directory_note note = {.finished = 1};
    if (result == 0)
        result = directory_write_note(out->fd, &note, e);
    if (result == 0)
        return directory_commit(out, overwrite ? DIRECTORY_OVERWRITE : DIRECTORY_NEW, NULL, e);
    directory_abort(out);
    return -1;
}

// Lock and leave to write -o, before the work; and the unfinished directory.
static int begin(struct policy_lock *lock, const struct claim *c, struct err *e)
{
    if (policy_lock_take(lock, common.output, e) < 0)
        return -1;
    return claim_check(c, e);
}

// No state is saved in it: a signal that ends the program takes it away. What stands there may go:
// the claim has been checked.
static int begin_directory(struct directory_output *out, struct err *e)
{
    char *partial = directory_beside(common.output, directory_partial, e);
    int result = partial ? litter_add(partial, e) : -1;
    free(partial);
    return result < 0 ? -1 : directory_begin(out, common.output, 0, overwrite, e);
}

static int run_init(char **operand, int n, struct err *e)
{
    struct policy_lock lock = {.fd = -1};
    struct directory_output out;
    const struct claim c = {
        .path = common.output, .input = {operand[0]}, .state = run_state, .overwrite = overwrite};
    int result = need_output(e);
    if (result == 0)
        result = begin(&lock, &c, e);
    if (result == 0 && (result = begin_directory(&out, e)) == 0)
        result = finish(&out, model_init(operand[0], out.fd, common.seed, save_dtype, e), e);
    policy_lock_release(&lock);
    return result;
}

// What each kind of program holds in memory.
struct needs {
    const char *name, *text;
    size_t bytes;
};
enum { NEEDS = 5, WORK_TOKENS = 2048, CACHE_TOKENS = 1000 };

static void find_needs(const struct model *m, struct needs need[NEEDS])
{
    const struct model_config *c = &m->config;
    struct trainer_options o = trainer_defaults;
    size_t token = 2 * c->layers * c->kv_heads * c->head_dim * sizeof(float);
    need[0] = (struct needs){"weights", "weights, mapped", model_file_bytes(m, NULL)};
    need[1] = (struct needs){"logprob", "logprob, beside them",
                             decoder_work_bytes(m, WORK_TOKENS, WORK_TOKENS, 0)};
    need[2] = (struct needs){"training", "training with AdamW", trainer_bytes(m, &o)};
    need[3] = (struct needs){"training_work", "a step of 2048 tokens",
                             decoder_work_bytes(m, WORK_TOKENS, WORK_TOKENS, 1)};
    need[4] =
        (struct needs){"kv_cache_1000", "KV cache, 1000 tokens", (size_t)CACHE_TOKENS * token};
}

// fingerprint: "" where there are no weights.
static void print_table(const struct model *m, const char *fingerprint)
{
    struct needs need[NEEDS];
    printf("model          %s (%s%s)\n", m->path, m->config.model_type,
           m->config.head == HEAD_REWARD ? ", reward model" : "");
    if (m->sketched)
        printf("weights        none: this is what the configuration alone says\n");
    else
        printf("fingerprint    %s\n", fingerprint);
    describe_print(m, stdout);
    printf("memory\n");
    find_needs(m, need);
    for (int i = 0; i < NEEDS; i++)
        printf("  %-24s %10.1f MiB\n", need[i].text, (double)need[i].bytes / (1 << 20));
}

static int print_json(const struct model *m, const char *fingerprint, struct err *e)
{
    struct needs need[NEEDS];
    struct buffer text;
    json_t *o = describe_json(m), *memory = json_object();
    find_needs(m, need);
    for (int i = 0; i < NEEDS; i++)
        json_object_set_new(memory, need[i].name, json_integer((json_int_t)need[i].bytes));
    json_object_set_new(o, "weights", json_boolean(!m->sketched));
    json_object_set_new(o, "fingerprint", m->sketched ? json_null() : json_string(fingerprint));
    json_object_set_new(o, "file_bytes", json_integer((json_int_t)model_file_bytes(m, NULL)));
    json_object_set_new(o, "memory", memory);
    buffer_init(&text, 0);
    int result = json_print(o, &text, e);
    if (result == 0)
        printf("%s\n", text.data);
    buffer_release(&text);
    json_decref(o);
    return result;
}

// What is printed goes to -o.
static struct output printed = {.fd = -1};

static int begin_print(struct err *e)
{
    if (output_open(&printed, common.output, e) < 0)
        return -1;
    return printed.path && dup2(printed.fd, STDOUT_FILENO) < 0 ? err_errno(e, printed.path) : 0;
}

static int end_print(int result, struct err *e)
{
    if (result == 0 && fflush(stdout) != 0)
        result = err_errno(e, output_name(&printed));
    if (result == 0)
        return output_commit(&printed, e);
    output_abort(&printed);
    return -1;
}

static struct model *open_info(const char *path, struct err *e)
{
    int sketch = sketch_is_one(path, e);
    if (sketch < 0)
        return NULL;
    return sketch ? sketch_open(path, 0, e) : model_open_any(path, e);
}

static int run_info(char **operand, int n, struct err *e)
{
    struct model *m = open_info(operand[0], e);
    char fingerprint[24] = "";
    if (!m)
        return -1;
    int result = begin_print(e);
    if (result == 0 && !m->sketched)
        result = model_fingerprint(m, fingerprint, e);
    if (result == 0)
        result = mapped_unchanged(e);
    if (result == 0 && json)
        result = print_json(m, fingerprint, e);
    else if (result == 0)
        print_table(m, fingerprint);
    model_close(m);
    return end_print(result, e);
}

static int run_diff(char **operand, int n, struct err *e)
{
    struct model *a = model_open_any(operand[0], e), *b = a ? model_open_any(operand[1], e) : NULL;
    double worst = 0;
    int result = b ? begin_print(e) : -1;
    for (size_t i = 0; result == 0 && i < a->n_parameters; i++) {
        struct tensor_difference d;
        result = model_difference(a, b, i, &d, e);
        if (result < 0)
            break;
        if (d.absolute > worst)
            worst = d.absolute;
        if (!common.quiet)
            printf("%-56s %12.6g %12.6g\n", d.name, d.absolute, d.relative);
    }
    if (result == 0)
        result = mapped_unchanged(e);
    result = end_print(result, e);
    if (result == 0 && worst > tolerance)
        result = err_set(e, STATUS_FAILED, "%s and %s differ by up to %.6g", operand[0], operand[1],
                         worst);
    model_close(a);
    model_close(b);
    return result;
}

static int split_weight(char *operand, double *weight, struct err *e)
{
    static const struct named_form form = {NULL, "DIR:WEIGHT", -INFINITY, INFINITY};
    struct named_number n;
    if (named_number(&n, operand, &form, e) < 0)
        return -1;
    operand[n.size] = 0;
    *weight = n.number;
    return 0;
}

static int average(char **operand, int n, struct model **m, double *weight, struct err *e)
{
    struct directory_output out;
    for (int i = 0; i < n; i++)
        if (!(m[i] = model_open_any(operand[i], e)))
            return -1;
    if (!(m[n] = model_open_any(operand[0], e)) ||
        directory_check_room(common.output, (double)model_file_bytes(m[n], save_dtype), e) < 0 ||
        model_train(m[n], e) < 0 || model_combine(m[n], m, weight, (size_t)n, e) < 0 ||
        mapped_unchanged(e) < 0 || begin_directory(&out, e) < 0)
        return -1;
    int result = model_save(m[n], out.fd, save_dtype, e);
    if (result < 0)
        err_prefix(e, "%s", out.partial);
    return finish(&out, result, e);
}

static int run_average(char **operand, int n, struct err *e)
{
    struct policy_lock lock = {.fd = -1};
    struct claim c = {.path = common.output, .state = run_state, .overwrite = overwrite};
    struct model **m = calloc((size_t)n + 1, sizeof *m);
    double *weight = calloc((size_t)n, sizeof *weight);
    int result = m && weight ? 0 : err_memory(e, (size_t)n, "models");
    for (int i = 0; i < n && result == 0; i++)
        result = split_weight(operand[i], &weight[i], e);
    if (result == 0)
        result = need_output(e);
    if (result == 0)
        result = model_check_dtype(save_dtype, e);
    c.input[0] = operand[0];
    for (int i = 0; i < n && result == 0; i++)
        result = claim_check_input(common.output, operand[i], e);
    if (result == 0)
        result = begin(&lock, &c, e);
    if (result == 0)
        result = average(operand, n, m, weight, e);
    policy_lock_release(&lock);
    for (int i = 0; m && i <= n; i++)
        model_close(m[i]);
    free(m);
    free(weight);
    return result;
}

static const struct {
    const char *name;
    const struct program *program;
    int (*run)(char **operand, int n, struct err *e);
    int makes_directory;
} commands[] = {
    {"init", &init_program, run_init, 1},
    {"info", &info_program, run_info, 0},
    {"diff", &diff_program, run_diff, 0},
    {"average", &average_program, run_average, 1},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static const struct option_spec no_options[] = {OPT_END};
static const struct program program = {
    .name = "model",
    .operands = "COMMAND ...",
    .summary = "Make, describe, compare and average model directories.",
    .details = "Commands (`model COMMAND --help` says more):\n"
               "  init     fresh weights for a config.json\n"
               "  info     shape, parameters, the memory that each program needs\n"
               "  diff     the largest difference of each tensor of two models\n"
               "  average  the weighted sum of models; extrapolation too",
    .examples =
        "  model init pipelines/tasks/annotators/model -o base --seed 1\n  model info base\n",
    .options = no_options,
    .operands_min = 1,
    .operands_max = -1,
};

static int run_command(int i, int argc, char **argv)
{
    struct operands operands;
    struct err e;
    int status = program_start(commands[i].program, argc, argv, &operands);
    if (status >= 0)
        return status;
    common.is_directory = commands[i].makes_directory;
    if ((status = common_apply(&common, 0)))
        return status;
    if (commands[i].run(operands.text, operands.n, &e) < 0)
        return signals_exit_status(message_fail(&e));
    return STATUS_DONE;
}

static int unknown(const char *word)
{
    struct nearest nearest;
    nearest_init(&nearest, word);
    for (int i = 0; i < COMMANDS; i++)
        nearest_try(&nearest, commands[i].name);
    const char *meant = nearest_name(&nearest);
    return meant ? program_usage(&program, "unknown command '%s': is %s meant?", word, meant)
                 : program_usage(&program, "unknown command '%s'", word);
}

int main(int argc, char **argv)
{
    struct operands operands;
    for (int i = 0; argc > 1 && i < COMMANDS; i++)
        if (!strcmp(argv[1], commands[i].name))
            return run_command(i, argc - 1, argv + 1);
    int status = program_start(&program, argc, argv, &operands);
    if (status >= 0)
        return status;
    return unknown(operands.text[0]);
}
