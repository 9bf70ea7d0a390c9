// SPDX-License-Identifier: MIT
// model: makes, describes, compares and averages model directories.
#include "base/io.h"
#include "base/litter.h"
#include "base/memory_check.h"
#include "base/json.h"
#include "base/named_number.h"
#include "base/nearest.h"
#include "base/option.h"
#include "base/signals.h"
#include "base/thread.h"
#include "data/chat.h"
#include "exchange/export.h"
#include "exchange/import.h"
#include "infer/rollout.h"
#include "model/claim.h"
#include "model/compare.h"
#include "model/describe.h"
#include "model/directory.h"
#include "model/head.h"
#include "model/sketch.h"
#include "train/needs.h"
#include "train/pace.h"
#include "train/run.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct common common;
static const char *save_dtype;
static double tolerance;
static int json, overwrite;
static int measure, kv_dtype;
static double seconds = 1.5;
static int64_t tokens = 1000000;
static uint64_t memory;
static int64_t batch_size, max_length, in_flight = ROLLOUT_SLOTS;
static struct trainer_options train;

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
    OPT_FLAG(0, "time", &measure,
             "also measure, now and here, how fast training, scoring and "
             "drawing are"),
    OPT_REAL("seconds", &seconds, "X", 0.001, 3600, "with --time: measure each for X seconds"),
    OPT_INT(0, "tokens", &tokens, "N", 1, 1e15, "with --time: tell the time for N tokens"),
    OPT_GROUP("Which run"),
    OPT_INT(0, "batch-size", &batch_size, "N", 0, 1 << 24,
            "of the trainers, sequences or pairs per update; 0: each one's default"),
    OPT_INT(0, "max-length", &max_length, "N", 0, 1 << 28,
            "tokens per sequence, prompt and answer; 0: 1024, or the model's positions if those "
            "are fewer"),
    OPT_INT(0, "micro-batch-tokens", &train.micro_batch_tokens, "N", 1, 1 << 30,
            "of the trainers, as they have it"),
    OPT_CHOICE("optim", &train.optim, optimizer_kinds, "of the trainers, as they have it"),
    OPT_INT(0, "in-flight", &in_flight, "N", 1, 1 << 16, "of rollout, as it has it"),
    OPTION_KV_DTYPE(&kv_dtype),
    OPT_SIZE("memory", &memory, "SIZE",
             "tell which programs fit into SIZE (6G, 800M), the trainers as their --memory has it; "
             "0: off"),
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

// What parts of programs hold in memory.
struct holding {
    const char *name, *text;
    size_t bytes;
};
enum { HOLDINGS = 5, WORK_TOKENS = 2048, CACHE_TOKENS = 1000 };

static void find_holdings(const struct model *m, const struct device *d,
                          struct holding holding[HOLDINGS])
{
    const struct model_config *c = &m->config;
    const struct trainer_options *o = &trainer_defaults;
    struct pass_size size = pass_largest((size_t)o->micro_batch_tokens, 1, SIZE_MAX, 0);
    struct work_bytes head = {.scratch = head_train_bytes(d, m, size.tokens)};
    size_t token = 2 * c->layers * c->kv_heads * c->head_dim * dtype_size(d->kv);
    holding[0] = (struct holding){"weights", "weights, mapped", model_file_bytes(m, NULL)};
    holding[1] = (struct holding){"logprob", "logprob, beside them",
                                  decoder_work_bytes(m, WORK_TOKENS, WORK_TOKENS, 0)};
    holding[2] = (struct holding){
        "training", "training with AdamW",
        trainer_weight_bytes(o, m->n_flat) +
            work_bytes_sum(work_bytes_add(trainer_work_bytes(d, m, &size, c->layers), head))};
    holding[3] = (struct holding){"training_work", "a step of 2048 tokens",
                                  decoder_work_bytes(m, WORK_TOKENS, WORK_TOKENS, c->layers)};
    holding[4] =
        (struct holding){"kv_cache_1000", "KV cache, 1000 tokens", (size_t)CACHE_TOKENS * token};
}

static size_t length_of(const struct model *m)
{
    enum { LENGTH = 1024 };
    size_t most = m->config.max_position;
    if (max_length)
        return (size_t)max_length;
    return most && most < LENGTH ? most : LENGTH;
}

static struct needs_options needs_options_of(const struct model *m, const struct device *d)
{
    return (struct needs_options){.device = d,
                                  .train = train,
                                  .batch_size = (size_t)batch_size,
                                  .length = length_of(m),
                                  .in_flight = (size_t)in_flight,
                                  .memory = memory};
}

// fingerprint: "" where there are no weights.
static void print_table(const struct model *m, const struct device *d, const char *fingerprint,
                        const struct pace *pace)
{
    struct holding holding[HOLDINGS];
    printf("model          %s (%s%s)\n", m->path, m->config.model_type,
           m->config.head == HEAD_REWARD ? ", reward model" : "");
    if (m->sketched)
        printf("weights        none: this is what the configuration alone says\n");
    else
        printf("fingerprint    %s\n", fingerprint);
    describe_print(m, stdout);
    printf("memory\n");
    find_holdings(m, d, holding);
    for (int i = 0; i < HOLDINGS; i++)
        printf("  %-24s %10.1f MiB\n", holding[i].text, mebibytes(holding[i].bytes));
    struct needs_options o = needs_options_of(m, d);
    needs_print(m, &o, stdout);
    if (common.verbose)
        message_note("available on this machine now: %.1f MiB", mebibytes(memory_available()));
    if (pace)
        pace_print(pace, &o, (uint64_t)tokens, stdout);
}

static int print_json(const struct model *m, const struct device *d, const char *fingerprint,
                      const struct pace *pace, struct err *e)
{
    struct holding holding[HOLDINGS];
    struct buffer text;
    struct needs_options needs = needs_options_of(m, d);
    json_t *o = describe_json(m), *memory = json_object();
    find_holdings(m, d, holding);
    for (int i = 0; i < HOLDINGS; i++)
        json_object_set_new(memory, holding[i].name, json_integer((json_int_t)holding[i].bytes));
    json_object_set_new(o, "weights", json_boolean(!m->sketched));
    json_object_set_new(o, "fingerprint", m->sketched ? json_null() : json_string(fingerprint));
    json_object_set_new(o, "file_bytes", json_integer((json_int_t)model_file_bytes(m, NULL)));
    json_object_set_new(o, "memory", memory);
    json_object_set_new(o, "peaks", needs_json(m, &needs));
    if (pace)
        json_object_set_new(o, "time", pace_json(pace, &needs, (uint64_t)tokens));
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

// Weights that are made up for --time take memory, of which no kind of run can give back a byte.
static int measure_pace(const struct model *m, struct device *d, struct pace *p, struct err *e)
{
    struct needs_options o = needs_options_of(m, d);
    if (m->sketched &&
        memory_check(model_file_bytes(m, NULL), "--time without weights", common.verbose, e) < 0)
        return -1;
    if (m->n_flat > (size_t)3e8)
        message_note(
            "--time: a pass of %.1f thousand million weights takes its time; Ctrl-C ends it",
            (double)m->n_flat * 1e-9);
    struct model *own = m->sketched ? sketch_open(m->path, 1, e) : model_open_any(m->path, e);
    int result = own ? pace_measure(p, own, d, &o, seconds, e) : -1;
    model_close(own);
    return result;
}

static int run_info(char **operand, int n, struct err *e)
{
    struct model *m = open_info(operand[0], e);
    struct device device;
    struct pace pace;
    char fingerprint[24] = "";
    if (!m)
        return -1;
    int result = device_open(&device, NULL, PRODUCTS_FP32, e);
    device.kv = draw_kv_dtype(kv_dtype);
    if (result == 0 && (size_t)max_length > model_positions(m))
        result = err_set(e, STATUS_USAGE, "--max-length %lld: the model has %zu positions",
                         (long long)max_length, model_positions(m));
    if (result == 0 && measure)
        result = measure_pace(m, &device, &pace, e);
    if (result == 0)
        result = begin_print(e);
    if (result == 0 && !m->sketched)
        result = model_fingerprint(m, fingerprint, e);
    if (result == 0)
        result = mapped_unchanged(e);
    if (result == 0 && json)
        result = print_json(m, &device, fingerprint, measure ? &pace : NULL, e);
    else if (result == 0)
        print_table(m, &device, fingerprint, measure ? &pace : NULL);
    model_close(m);
    device_release(&device);
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

static struct import import;
static const char *const import_dtypes[] = {"fp32", "bf16", "fp16", NULL};
static const struct option_spec import_options[] = {
    OPT_TEXT(0, "dtype", &import.dtype, "fp32|bf16|fp16",
             "type of the weights written; without it, that of the file's matrices, and bf16 where "
             "they are quantised or of several types; fp32 keeps every value"),
    OVERWRITE, OPTIONS_COMMON_MODEL(&common)};
static const struct program import_program = {
    .name = "model import",
    .operands = "FILE.gguf",
    .summary = "Make a model directory from a GGUF file, as llama.cpp reads it.",
    .details = "Weights, configuration, tokenizer, chat template and stop tokens become Hugging "
               "Face's files. What is not understood is refused by name.",
    .examples = "  model import SmolLM2-135M-Instruct.Q4_1.gguf -o smol --dtype fp32\n",
    .options = import_options,
    .operands_min = 1,
    .operands_max = 1,
};

static int check_import_dtype(struct err *e)
{
    for (int i = 0; import.dtype && import_dtypes[i]; i++)
        if (!strcmp(import_dtypes[i], import.dtype))
            return 0;
    return import.dtype ? err_set(e, STATUS_USAGE, "--dtype: '%s' is not one of fp32, bf16, fp16",
                                  import.dtype)
                        : 0;
}

static int run_import(char **operand, int n, struct err *e)
{
    struct policy_lock lock = {.fd = -1};
    struct directory_output out;
    const struct claim c = {
        .path = common.output, .input = {operand[0]}, .state = run_state, .overwrite = overwrite};
    int result = need_output(e);
    if (result == 0)
        result = check_import_dtype(e);
    if (result == 0)
        result = begin(&lock, &c, e);
    if (result == 0 && (result = begin_directory(&out, e)) == 0)
        result = finish(&out, import_gguf(operand[0], out.fd, &import, e), e);
    policy_lock_release(&lock);
    return result;
}

static struct export export = {.type = "f16"};
static const struct option_spec export_options[] = {
    OPT_TEXT(0, "gguf", &common.output, "FILE", "the GGUF file to write"),
    OPT_TEXT(0, "type", &export.type, "f32|f16|bf16|q8_0|q4_k_m",
             "type of the matrices; norms and biases are F32"),
    OPT_FLAG(0, "overwrite", &overwrite, "replace FILE; without it that is refused"),
    OPTIONS_COMMON_TO(&common, "FILE", "the same as --gguf")};
static const struct program export_program = {
    .name = "model export",
    .operands = "DIR",
    .summary = "Write a model as a GGUF file that llama.cpp loads.",
    .details = "Weights, tokenizer, chat template and special tokens go into one file. A model "
               "that llama.cpp does not compute is refused, by what it lacks.",
    .examples = "  model export sft --gguf sft.gguf --type q8_0\n",
    .options = export_options,
    .operands_min = 1,
    .operands_max = 1,
};

static int check_export(struct err *e)
{
    if (!common.output || !strcmp(common.output, "-"))
        return err_set(e, STATUS_USAGE, "--gguf FILE is missing: where should the model go?");
    if (export_check(&export, e) < 0)
        return -1;
    int there = overwrite ? 0 : io_look(AT_FDCWD, common.output, e);
    if (there <= 0)
        return there;
    return err_set(e, STATUS_FAILED, "%s: exists; --overwrite replaces it", common.output);
}

static int write_export(const struct model *m, struct chat *chat, struct err *e)
{
    struct output out;
    export.chat_template = chat ? chat_source(chat) : NULL;
    export.name = strrchr(m->path, '/') ? strrchr(m->path, '/') + 1 : m->path;
    if (output_open(&out, common.output, e) < 0)
        return -1;
    if (export_gguf(m, &out, &export, e) == 0)
        return output_commit(&out, e);
    output_abort(&out);
    return -1;
}

static int run_export(char **operand, int n, struct err *e)
{
    struct chat *chat = NULL;
    if (check_export(e) < 0)
        return -1;
    struct model *m = model_open(operand[0], e);
    int result = m ? chat_open_any(operand[0], NULL, &chat, e) : -1;
    if (result == 0)
        result = write_export(m, chat, e);
    chat_close(chat);
    model_close(m);
    return result;
}

static const struct {
    const char *name;
    const struct program *program;
    int (*run)(char **operand, int n, struct err *e);
    int makes_directory;
} commands[] = {
    {"init", &init_program, run_init, 1},       {"info", &info_program, run_info, 0},
    {"diff", &diff_program, run_diff, 0},       {"average", &average_program, run_average, 1},
    {"import", &import_program, run_import, 1}, {"export", &export_program, run_export, 0},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static const struct option_spec no_options[] = {OPT_END};
static const struct program program = {
    .name = "model",
    .operands = "COMMAND ...",
    .summary = "Make, describe, compare, average, import and export models.",
    .details = "Commands (`model COMMAND --help` says more):\n"
               "  init     fresh weights for a config.json\n"
               "  info     shape, parameters, the memory that each program needs\n"
               "  diff     the largest difference of each tensor of two models\n"
               "  average  the weighted sum of models; extrapolation too\n"
               "  import   a model directory from a GGUF file\n"
               "  export   a GGUF file from a model directory",
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
    train = trainer_defaults;
    for (int i = 0; argc > 1 && i < COMMANDS; i++)
        if (!strcmp(argv[1], commands[i].name))
            return run_command(i, argc - 1, argv + 1);
    int status = program_start(&program, argc, argv, &operands);
    if (status >= 0)
        return status;
    return unknown(operands.text[0]);
}
