// SPDX-License-Identifier: MIT
#include "ask/talk.h"
#include "base/json.h"
#include "base/shown.h"
#include "base/signals.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The longest line that a terminal gives to who reads it line by line; what is longer it cuts.
enum { TERMINAL_LINE_MAX = 4095 };

struct talk {
    struct asking *a;
    char *system;   // what /system said, from the heap
    uint32_t again; // how often the last question was asked before
    int answered;   // the messages end with a question and its answer
    int quits;
};

static int print(struct talk *t, const char *text, struct err *e)
{
    if (!t->a->terminal) // an output elsewhere gets answers alone
        return io_write(STDERR_FILENO, text, strlen(text), "standard error", e);
    return output_write(&t->a->out, text, strlen(text), e) < 0 ? -1 : output_flush(&t->a->out, e);
}

// ---- questions ----------------------------------------------------------------------------------

static void forget_question(struct talk *t)
{
    for (size_t i = 0; i < t->a->n; i++)
        asking_unsay(t->a, i);
    t->answered = 0;
}

static int keep_answers(struct talk *t, json_t **answer, struct err *e)
{
    for (size_t i = 0; i < t->a->n; i++)
        if (asking_say(t->a, i, "assistant", json_string_value(answer[i]),
                       json_string_length(answer[i]), e) < 0)
            return -1;
    t->answered = 1;
    return 0;
}

static int all_said_something(const struct talk *t, json_t **answer)
{
    for (size_t i = 0; i < t->a->n; i++)
        if (!json_string_length(answer[i]))
            return 0;
    return 1;
}

static int draw(struct talk *t, int *stopped, json_t **answer, struct err *e)
{
    uint32_t first = (uint32_t)t->a->o->reply.draw.first_sample + t->again;
    signals_interruptible(1);
    int result = asking_show(t->a, first, answer, stopped, e);
    signals_interruptible(0);
    return result;
}

// What the messages end with is a question: it is asked, and its answers stay.
static int ask(struct talk *t, struct err *e)
{
    json_t *answer[OPTION_TEXTS_MAX] = {NULL};
    struct err why;
    int stopped = 0, checked = asking_check(t->a, &why);
    if (checked == -2) {
        message_warn("%s: /new begins another chat", why.text);
    } else if (checked < 0 && why.status == STATUS_FAILED) {
        message_warn("%s", why.text);
    } else if (checked < 0) {
        *e = why;
        return -1;
    }
    if (checked < 0) {
        forget_question(t);
        return 0;
    }
    int result = draw(t, &stopped, answer, e);
    if (result == 0 && stopped && !all_said_something(t, answer)) {
        message_note("stopped before an answer: the question is forgotten");
        forget_question(t);
    } else if (result == 0) {
        result = keep_answers(t, answer, e);
    }
    for (size_t i = 0; i < t->a->n; i++)
        json_decref(answer[i]);
    return result;
}

static int ask_line(struct talk *t, const char *line, size_t size, struct err *e)
{
    struct err why;
    if (size >= TERMINAL_LINE_MAX) {
        message_warn("the terminal cuts lines of more than %d bytes: `ask -m DIR < FILE` asks what "
                     "a file says",
                     TERMINAL_LINE_MAX);
        return 0;
    }
    for (size_t i = 0; i < t->a->n; i++) {
        if (asking_say(t->a, i, "user", line, size, &why) == 0)
            continue;
        while (i-- > 0)
            asking_unsay(t->a, i);
        message_warn("%s", why.text);
        return 0;
    }
    t->again = 0;
    return ask(t, e);
}

// ---- commands -----------------------------------------------------------------------------------

static int help(struct talk *t, const char *words, struct err *e);

static int forget(struct talk *t, const char *words, struct err *e)
{
    t->answered = 0;
    return asking_forget(t->a, t->system ? t->system : t->a->o->system, e);
}

static int again(struct talk *t, const char *words, struct err *e)
{
    if (!t->answered) {
        message_warn("there is no answer to draw anew");
        return 0;
    }
    if (t->a->o->reply.draw.sampling.temperature == 0) {
        message_warn("at --temperature 0 the answer would be the same");
        return 0;
    }
    for (size_t i = 0; i < t->a->n; i++)
        asking_unsay(t->a, i);
    t->again++;
    return ask(t, e);
}

static int set_system(struct talk *t, const char *words, struct err *e)
{
    struct err why;
    char *text = strdup(words);
    if (!text)
        return err_memory(e, strlen(words), "the system text");
    if (asking_forget(t->a, *text ? text : NULL, &why) < 0) {
        free(text);
        message_warn("%s", why.text);
        return 0;
    }
    free(t->system);
    t->system = text;
    t->answered = 0;
    return 0;
}

// One line of each speaker: a chat, or of a base model the last text and how it went on.
static int save_lines(const struct talk *t, struct output *out, struct err *e)
{
    struct buffer line;
    int result = 0;
    buffer_init(&line, 0);
    for (size_t i = 0; i < t->a->n && result == 0; i++) {
        const json_t *messages = t->a->messages[i];
        size_t n = json_array_size(messages);
        json_t *record =
            t->a->speaker[i].chat
                ? json_pack("{s:O}", "messages", messages)
                : json_pack("{s:O, s:O}", "prompt",
                            json_object_get(json_array_get(messages, n - 2), "content"),
                            "completion",
                            json_object_get(json_array_get(messages, n - 1), "content"));
        if (record && t->a->n > 1)
            json_object_set_new(record, "model", json_string(t->a->speaker[i].label));
        buffer_clear(&line);
        result = record ? json_print(record, &line, e) : err_memory(e, 64, "a chat");
        if (result == 0 && (result = buffer_append(&line, "\n", 1, e)) == 0)
            result = output_write(out, line.data, line.size, e);
        json_decref(record);
    }
    buffer_release(&line);
    return result;
}

static int save_to(const struct talk *t, const char *path, struct err *e)
{
    struct output out;
    if (output_open(&out, path, e) < 0)
        return -1;
    if (out.old.st_ino) {
        output_abort(&out);
        return err_set(e, STATUS_FAILED, "%s: is there already, and nothing is written over", path);
    }
    if (save_lines(t, &out, e) == 0)
        return output_commit(&out, e);
    output_abort(&out);
    return -1;
}

static int save(struct talk *t, const char *words, struct err *e)
{
    struct err why;
    if (!*words)
        message_warn("/save needs the name of a file");
    else if (!t->answered)
        message_warn("there is nothing to save");
    else if (save_to(t, words, &why) < 0)
        message_warn("%s", why.text);
    else
        message_note("%s: saved", words);
    return 0;
}

static int quit(struct talk *t, const char *words, struct err *e)
{
    t->quits = 1;
    return 0;
}

static const struct talk_command {
    const char *name, *words, *meaning;
    int (*run)(struct talk *t, const char *words, struct err *e);
} commands[] = {
    {"/help", "", "these lines", help},
    {"/new", "", "begin another chat", forget},
    {"/again", "", "drop the last answer and draw another", again},
    {"/system", "TEXT", "begin another chat with this system text; without it: with none",
     set_system},
    {"/save", "FILE", "write the chat to a new file, as a record that tok reads", save},
    {"/quit", "", "end, as the end of input (Ctrl-D) does", quit},
};

static int help(struct talk *t, const char *words, struct err *e)
{
    struct buffer text;
    int result = 0;
    buffer_init(&text, 0);
    for (size_t i = 0; i < sizeof commands / sizeof *commands && result == 0; i++) {
        char name[32];
        snprintf(name, sizeof name, "%s %s", commands[i].name, commands[i].words);
        result = buffer_printf(&text, e, "  %-14s %s\n", name, commands[i].meaning);
    }
    if (result == 0)
        result = buffer_string(&text,
                               "Ctrl-C stops an answer, which is kept as far as it came. A blank "
                               "before a slash makes it a question.\n",
                               e);
    if (result == 0)
        result = print(t, text.data, e);
    buffer_release(&text);
    return result;
}

static int run_command(struct talk *t, const char *line, struct err *e)
{
    size_t size = strcspn(line, " \t");
    const char *words = line + size + strspn(line + size, " \t");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strlen(commands[i].name) != size || memcmp(commands[i].name, line, size) != 0)
            continue;
        if (*words && !*commands[i].words) {
            message_warn("%s takes nothing behind it", commands[i].name);
            return 0;
        }
        return commands[i].run(t, words, e);
    }
    message_warn("there is no %s (/help lists the commands; a blank before it makes it a question)",
                 shown(line, size).text);
    return 0;
}

// ---- lines --------------------------------------------------------------------------------------

static int take_line(struct talk *t, char *line, size_t size, struct err *e)
{
    if (strspn(line, " \t\r") == size)
        return 0;
    return line[0] == '/' && strlen(line) == size ? run_command(t, line, e)
                                                  : ask_line(t, line, size, e);
}

// One line after another: 0 at the end, -1.
static int read_lines(struct talk *t, struct err *e)
{
    char *line = NULL;
    size_t capacity = 0;
    int result = 0;
    while (result == 0 && !t->quits && (result = print(t, "> ", e)) == 0) {
        ssize_t size = getline(&line, &capacity, stdin);
        if (size < 0) {
            result = ferror(stdin) ? err_errno(e, "standard input") : print(t, "\n", e);
            break;
        }
        if (line[size - 1] == '\n')
            line[--size] = 0;
        result = take_line(t, line, (size_t)size, e);
    }
    free(line);
    return result;
}

int talk_run(struct asking *a, struct err *e)
{
    struct talk t = {.a = a};
    message_note("a chat: /help lists the commands, the end of input (Ctrl-D) ends it");
    int result = read_lines(&t, e);
    free(t.system);
    return result;
}
