// SPDX-License-Identifier: MIT
// ask: one question to a model or several, or a chat on a terminal.
#include "ask/talk.h"
#include "base/signals.h"
#include "chat.h"

#include <string.h>
#include <unistd.h>

static struct common common;
static struct engine_options engine;
static struct ask_options opt = {.reply = {.draw = DRAW_DEFAULTS}};

static const struct option_spec options[] = {
    OPT_GROUP("Model"),
    OPT_TEXTS('m', "model", &opt.models, "DIR",
              "Hugging Face model directory; may be repeated: each is asked"),
    OPTIONS_DEVICE(&engine),
    OPTION_KV_DTYPE(&opt.reply.draw.kv_dtype),
    OPT_GROUP("Question"),
    OPT_TEXT(0, "system", &opt.system, "TEXT", "what the system's message says"),
    OPTION_CHAT_TEMPLATE(&opt.speaker.template_file),
    OPTION_NOW(&opt.speaker.now),
    OPTIONS_DRAW(&opt.reply.draw),
    OPT_GROUP("Output"),
    OPT_FLAG(0, "json", &opt.json, "print a JSON object per answer"),
    OPTIONS_COMMON(&common),
};

static const struct program program = {
    .name = "ask",
    .operands = "[QUESTION...]",
    .summary = "Ask a model a question, or chat with it.",
    .details =
        "The words of QUESTION, joined by blanks, are one question; without any it is standard "
        "input, or a chat where that is a terminal (/help lists its commands). A model without a "
        "chat template continues the text. The answers are those that `tok --prompts | rollout` "
        "draws of the same record, seed and settings: the same question gets the same answer, "
        "unless --seed is another, and /again in a chat draws the next sample.",
    .examples = "  ask -m sft --temperature 0 'What is the capital of France?'\n"
                "  ask -m sft -m dpr -n 2 < question.txt\n"
                "  ask -m sft\n",
    .options = options,
    .operands_min = 0,
    .operands_max = -1,
};

static int check_options(void)
{
    if (opt.models.n)
        engine.model = opt.models.text[0];
    return engine_options_check(&program, &engine);
}

// The operands, joined by blanks.
static int join(const struct operands *operands, struct buffer *question, struct err *e)
{
    for (int i = 0; i < operands->n; i++)
        if ((i && buffer_append(question, " ", 1, e) < 0) ||
            buffer_string(question, operands->text[i], e) < 0)
            return -1;
    return 0;
}

// All of standard input but the newlines at its end, as tok reads a document.
static int read_question(struct buffer *question, struct err *e)
{
    if (io_read_fd(STDIN_FILENO, io_name(NULL), question, e) < 0)
        return -1;
    while (question->size && question->data[question->size - 1] == '\n')
        question->size--;
    return 0;
}

static int ask_once(struct asking *a, const struct buffer *question, struct err *e)
{
    for (size_t i = 0; i < a->n; i++)
        if (asking_say(a, i, "user", question->data, question->size, e) < 0)
            return -1;
    return asking_show(a, (uint32_t)opt.reply.draw.first_sample, NULL, NULL, e) < 0
               ? -1
               : asking_commit(a, e);
}

static int run(const struct operands *operands, int chats, struct err *e)
{
    struct asking a;
    struct buffer question;
    buffer_init(&question, 1 << 28);
    int result = join(operands, &question, e);
    if (result == 0 && !operands->n && !chats)
        result = read_question(&question, e);
    if (result == 0 && !question.size && !chats)
        result = err_set(e, STATUS_FAILED, "%s: the question is empty",
                         operands->n ? "the command line" : io_name(NULL));
    if (result == 0) {
        result = asking_open(&a, &opt, e);
        if (result == 0)
            result = chats ? talk_run(&a, e) : ask_once(&a, &question, e);
        if (result == 0 && chats)
            result = asking_commit(&a, e);
        asking_release(&a);
    }
    buffer_release(&question);
    return result;
}

int main(int argc, char **argv)
{
    struct operands operands;
    struct err e;
    int status = program_start(&program, argc, argv, &operands);
    if (status >= 0)
        return status;
    if ((status = common_apply(&common, 0)) || (status = check_options()))
        return status;
    int chats = !operands.n && isatty(STDIN_FILENO);
    if (chats && (opt.json || opt.reply.draw.samples > 1))
        return program_usage(&program, "a chat goes on from one answer: %s needs a question",
                             opt.json ? "--json" : "-n");
    opt.device = engine.device;
    opt.products = (enum products)engine.dtype;
    opt.output = common.output;
    opt.reply.seed = common.seed;
    opt.reply.interruptible = chats;
    opt.reply.verbose = opt.speaker.verbose = common.verbose;
    if (run(&operands, chats, &e) < 0)
        return signals_exit_status(message_fail(&e));
    return STATUS_DONE;
}
