// SPDX-License-Identifier: MIT
// tok: demonstrations and prompts to token streams, and back.
#include "base/io.h"
#include "base/option.h"
#include "base/signals.h"
#include "convert/decode.h"
#include "convert/encode.h"
#include "convert/samples.h"
#include "chat.h"

static struct common common = {.threads = 0};

static struct options {
    const char *model, *template_file, *fields, *roles, *keep, *now;
    int format, sample, train, instruction, boundary, truncation, on_untrained, on_bad, duplicate,
        special;
    int prompts, render, show, decode, pieces, offsets, generation_prompt, continues, skip_special,
        join_parts, turns, left_out, samples;
    int64_t max_length;
} opt = {.special = -1, .skip_special = 1};

static const char *const drop_choices[] = {"error", "drop", NULL};
static const char *const duplicate_choices[] = {"once", "keep", NULL};

static const struct option_spec options[] = {
    OPT_GROUP("Input"),
    OPT_TEXT('m', "model", &opt.model, "DIR", "Hugging Face model directory with the tokenizer"),
    OPT_CHOICE("format", &opt.format, record_format_names,
               "what the records are; auto looks at the first and says what it found"),
    OPT_CHOICE("sample-by", &opt.sample, encode_sample_names, "what a record of plain text is"),
    OPT_TEXT(0, "fields", &opt.fields, "OURS=THEIRS,...",
             "other names of fields: prompt=question,completion=answer"),
    OPT_TEXT(0, "roles", &opt.roles, "OURS=THEIRS,...",
             "other names of roles in messages: user=narrator,assistant=bot"),
    OPT_CHOICE("instruction-prompt", &opt.instruction, encode_instruction_names,
               "what instruction records become: Alpaca's text with the answer on a line of its "
               "own or behind a colon, or messages"),
    OPT_FLAG(0, "join-parts", &opt.join_parts,
             "join contents that are lists of parts into one text, for templates that expect text"),
    OPT_CHOICE("on-bad-record", &opt.on_bad, drop_choices,
               "what to do with a record that cannot be read or rendered"),
    OPT_CHOICE("on-left-out", &opt.left_out, encode_left_out_names,
               "what to do with a record of which the template does not write everything"),
    OPT_FLAG(0, "prompts", &opt.prompts, "write the prompt only, ready for rollout"),
    OPT_FLAG(0, "samples", &opt.samples,
             "read samples that were drawn elsewhere, ids with their log-probabilities as vLLM, "
             "TRL or a server writes them, into a stream like rollout's"),
    OPTION_CHAT_TEMPLATE(&opt.template_file),
    OPT_FLAG(0, "add-generation-prompt", &opt.generation_prompt,
             "end rendered chats with the start of an assistant turn"),
    OPT_FLAG(0, "continue-final-message", &opt.continues,
             "leave the last message of rendered chats open; with --prompts, an answer begun there "
             "is to be continued"),
    OPTION_NOW(&opt.now),
    OPT_GROUP("Tokens"),
    OPT_CHOICE("train-on", &opt.train, encode_train_names,
               "tokens with mask 1; default: text all, prompt-completion, instruction and "
               "preference completion, messages assistant"),
    OPT_CHOICE("turns", &opt.turns, encode_turns_names,
               "a chat is one record with all its answers together, or each answer is one, with "
               "the chat before it as its prompt"),
    OPT_CHOICE("boundary", &opt.boundary, encode_boundary_names,
               "tokenize prompt and completion jointly, or separately as at inference"),
    OPT_YESNO("special-tokens", &opt.special,
              "add what the tokenizer's post-processor adds; by default for texts, not for "
              "rendered chats"),
    OPT_CHOICE("duplicate-bos-eos", &opt.duplicate, duplicate_choices,
               "a beginning or end token that both the text and the post-processor supply: write "
               "it once, or keep both as TRL does"),
    OPT_INT(0, "max-length", &opt.max_length, "N", 0, UINT32_MAX,
            "most tokens per record; 0: no limit"),
    OPT_CHOICE(
        "truncation", &opt.truncation, encode_truncation_names,
        "what to do with a longer record: fail, leave it out, or cut off its left or right end"),
    OPT_CHOICE("on-untrained", &opt.on_untrained, drop_choices,
               "what to do with a record that has nothing to train"),
    OPT_FLAG(0, "offsets", &opt.offsets, "add byte offsets as token columns `start` and `end`"),
    OPT_TEXT(0, "keep-columns", &opt.keep, "A,B", "copy these fields into sequence columns"),
    OPT_GROUP("Other output"),
    OPT_FLAG('d', "decode", &opt.decode,
             "from a stream to JSONL text: id, prompt, completion and the sequence columns"),
    OPT_YESNO("skip-special-tokens", &opt.skip_special, "with -d: leave special tokens out"),
    OPT_FLAG(
        0, "pieces", &opt.pieces,
        "with -d: JSONL of id and pieces: the text that each token completes, then what is left"),
    OPT_FLAG(0, "show", &opt.show, "print the text with the trained part marked"),
    OPT_FLAG(0, "render", &opt.render, "print the rendered text as JSONL: id and text"),
    OPTIONS_COMMON(&common)};

static const struct program program = {
    .name = "tok",
    .operands = "[FILE...]",
    .summary = "Turn demonstrations and prompts into a token stream with a loss mask, and back.",
    .details =
        "Each FILE holds JSON lines, a JSON array of objects, or plain text with one record per "
        "line. The loss mask is decided by bytes: a token is trained when any of its bytes lies in "
        "the part to be trained. Each text ends with one end token, which is trained.",
    .examples = "  tok -m base demos.jsonl > demos.toks\n"
                "  tok -m base --prompts demos.jsonl | rollout -m sft -n 4 | tok -m base -d\n"
                "  tok -m base --show demos.jsonl | less -R\n",
    .options = options,
    .operands_min = 0,
    .operands_max = -1};

// Samples are taken as they stand: no option that changes a record goes with them.
static int check_samples(void)
{
    const struct {
        int given;
        const char *name;
    } other[] = {{opt.decode, "decode"},
                 {opt.prompts, "prompts"},
                 {opt.render, "render"},
                 {opt.show, "show"},
                 {opt.pieces, "pieces"},
                 {opt.format, "format"},
                 {opt.sample, "sample-by"},
                 {opt.fields != NULL, "fields"},
                 {opt.roles != NULL, "roles"},
                 {opt.instruction, "instruction-prompt"},
                 {opt.join_parts, "join-parts"},
                 {opt.on_bad, "on-bad-record"},
                 {opt.left_out, "on-left-out"},
                 {opt.template_file != NULL, "chat-template"},
                 {opt.generation_prompt, "add-generation-prompt"},
                 {opt.continues, "continue-final-message"},
                 {opt.now != NULL, "now"},
                 {opt.train, "train-on"},
                 {opt.turns, "turns"},
                 {opt.boundary, "boundary"},
                 {opt.special >= 0, "special-tokens"},
                 {opt.duplicate, "duplicate-bos-eos"},
                 {opt.max_length > 0, "max-length"},
                 {opt.truncation, "truncation"},
                 {opt.on_untrained, "on-untrained"},
                 {opt.offsets, "offsets"},
                 {!opt.skip_special, "skip-special-tokens"}};
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        if (other[i].given)
            return program_usage(&program, "--samples does not go with --%s", other[i].name);
    return -1;
}

static int check_options(const struct operands *operands)
{
    if (!opt.model)
        return program_usage(&program, "-m DIR is missing: which tokenizer?");
    if (opt.samples)
        return check_samples();
    if (opt.decode && operands->n > 1)
        return program_usage(&program, "-d reads one stream");
    if (opt.decode && (opt.render || opt.prompts))
        return program_usage(&program, "-d does not go with --%s",
                             opt.render ? "render" : "prompts");
    if (opt.pieces && (!opt.decode || opt.show))
        return program_usage(&program, opt.decode ? "--pieces and --show cannot be used together"
                                                  : "--pieces goes with -d");
    if (opt.turns && opt.train == RECORD_TRAIN_ASSISTANT)
        return program_usage(&program, "--turns each does not go with --train-on assistant: each "
                                       "record has one answer");
    if (opt.turns && opt.continues)
        return program_usage(&program, "--turns each does not go with --continue-final-message");
    if (opt.truncation && !opt.max_length)
        return program_usage(&program, "--truncation needs --max-length");
    if (opt.render && opt.show)
        return program_usage(&program, "--render and --show cannot be used together");
    return -1;
}

static int encode(const struct operands *operands, int argc, char **argv, struct err *e)
{
    const struct encode_options o = {.model = opt.model,
                                     .template_file = opt.template_file,
                                     .fields = opt.fields,
                                     .roles = opt.roles,
                                     .keep = opt.keep,
                                     .now = opt.now,
                                     .format = (enum record_format)opt.format,
                                     .train = (enum record_train)opt.train,
                                     .sample = (enum corpus_sample)opt.sample,
                                     .instruction = (enum instruction_form)opt.instruction,
                                     .boundary = (enum example_boundary)opt.boundary,
                                     .truncation = (enum example_truncation)opt.truncation,
                                     .max_length = (size_t)opt.max_length,
                                     .special = opt.special,
                                     .drops_untrained = opt.on_untrained,
                                     .drops_bad = opt.on_bad,
                                     .keeps_duplicates = opt.duplicate,
                                     .joins_parts = opt.join_parts,
                                     .each_turn = opt.turns,
                                     .whole_only = opt.left_out,
                                     .prompts = opt.prompts,
                                     .continues = opt.continues,
                                     .generation_prompt = opt.generation_prompt,
                                     .offsets = opt.offsets,
                                     .render = opt.render,
                                     .marked = opt.show,
                                     .output = common.output,
                                     .verbose = common.verbose,
                                     .seed = common.seed,
                                     .argc = argc,
                                     .argv = argv};
    return encode_run(&o, operands->text, (size_t)operands->n, e);
}

static int convert_samples(const struct operands *operands, int argc, char **argv, struct err *e)
{
    const struct samples_options o = {.model = opt.model,
                                      .keep = opt.keep,
                                      .output = common.output,
                                      .seed = common.seed,
                                      .argc = argc,
                                      .argv = argv};
    return samples_run(&o, operands->text, (size_t)operands->n, e);
}

static int decode(const struct operands *operands, struct err *e)
{
    const struct decode_options o = {.model = opt.model,
                                     .output = common.output,
                                     .skip_special = opt.skip_special,
                                     .pieces = opt.pieces,
                                     .marked = opt.show};
    return decode_run(&o, operands->n ? operands->text[0] : NULL, e);
}

int main(int argc, char **argv)
{
    struct operands operands;
    struct err e;
    int status = program_start(&program, argc, argv, &operands);
    if (status >= 0 || (status = check_options(&operands)) >= 0)
        return status;
    if ((status = common_apply(&common, 0)) != 0)
        return status;
    if ((opt.samples  ? convert_samples(&operands, argc, argv, &e)
         : opt.decode ? decode(&operands, &e)
                      : encode(&operands, argc, argv, &e)) < 0)
        return signals_exit_status(message_fail(&e));
    return STATUS_DONE;
}
