// SPDX-License-Identifier: MIT
// toks: look at token streams, check them, cut them and put them together.
#include "base/nearest.h"
#include "base/signals.h"
#include "toks-commands/commands.h"

#include <stdio.h>
#include <string.h>

struct common toks_common = {.threads = 1};

int toks_failed(const struct err *e)
{
    return signals_exit_status(message_fail(e));
}

int toks_start(struct call *c, const struct program *p, int argc)
{
    int status = program_start(p, argc, c->argv, &c->operands);
    if (status >= 0 || (status = common_apply(&toks_common, 0)) != 0)
        return status;
    c->first = c->operands.n ? c->operands.text[0] : NULL;
    c->line = (struct provenance){p->name, c->argc, c->argv, toks_common.seed};
    return -1;
}

int toks_done(const struct call *c, int result)
{
    return result < 0 ? toks_failed(&c->e) : STATUS_DONE;
}

struct toks_command {
    const char *name;
    int (*run)(struct call *c);
    const char *summary;
};

static const struct toks_command commands[] = {
    {"view", toks_view, "print as JSONL, and back"},
    {"head", toks_head, "the first records"},
    {"stat", toks_stat, "count records, tokens and values"},
    {"check", toks_check, "check that streams are complete"},
    {"cat", toks_cat, "put streams one after the other"},
    {"mix", toks_mix, "mix streams by weights"},
    {"tee", toks_tee, "pass a stream on and keep a copy"},
    {"split", toks_split, "cut into several"},
    {"join", toks_join, "add columns of another stream"},
    {"pair", toks_pair, "each sample beside its demonstration"},
    {"annotate", toks_annotate, "add columns computed by a command"},
    {"shuf", toks_shuf, "put records in a random order"},
    {"sample", toks_sample, "draw records at random"},
    {"select", toks_select, "the best by a column"},
    {"vote", toks_vote, "score samples by the majority's answer"},
    {"steps", toks_steps, "put the right answer after each step"},
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
    return toks_failed(&e);
}

static int unknown(const char *word)
{
    struct err e;
    struct nearest nearest;
    nearest_init(&nearest, word);
    for (int i = 0; i < COMMANDS; i++)
        nearest_try(&nearest, commands[i].name);
    const char *meant = nearest_name(&nearest);
    if (!*word)
        err_set(&e, STATUS_USAGE, "a command is missing (see `toks --help`)");
    else if (meant)
        err_set(&e, STATUS_USAGE, "unknown command '%s': is %s meant? (see `toks --help`)", word,
                meant);
    else
        err_set(&e, STATUS_USAGE, "unknown command '%s' (see `toks --help`)", word);
    return message_fail(&e);
}

int main(int argc, char **argv)
{
    message_program("toks");
    signals_init(0);
    const char *name = argc > 1 ? argv[1] : "";
    struct err e;
    if (!strcmp(name, "-h") || !strcmp(name, "--help") || !strcmp(name, "help"))
        return print_commands(stdout);
    if (!strcmp(name, "--version")) {
        printf("toks (densepath) %s\n", densepath_version);
        if (fflush(stdout) == 0)
            return STATUS_DONE;
        err_errno(&e, "standard output");
        return toks_failed(&e);
    }
    for (int i = 0; i < COMMANDS; i++)
        if (!strcmp(name, commands[i].name))
            return commands[i].run(&(struct call){.argc = argc - 1, .argv = argv + 1});
    return unknown(name);
}
