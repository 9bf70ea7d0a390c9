// SPDX-License-Identifier: MIT
// What the mains of the training programs share.
#ifndef BIN_TRAIN_H
#define BIN_TRAIN_H

#include "base/io.h"
#include "base/option.h"
#include "tokenize/tokenizer.h"
#include "train/trainer.h"

#include <string.h>

// Parses the command line, checks what every trainer needs and fills `run` with it, `tokenizer`
// (char [24]) included. `question`: what to ask where -o is missing. Returns -1 to go on, otherwise
// the exit status.
static inline int train_start(const struct program *p, int argc, char **argv,
                              const struct common *common, const struct engine_options *engine,
                              const char *question, struct run_options *run, char *tokenizer,
                              struct operands *operands)
{
    struct err e;
    int found, status = program_start(p, argc, argv, operands);
    if (status >= 0)
        return status;
    if ((status = common_apply(common, 1)) || (status = engine_options_check(p, engine)))
        return status;
    if (!common->output || !strcmp(common->output, "-"))
        return program_usage(p, "-o DIR is missing: %s", question);
    if (tokenizer_fingerprint_of(engine->model, tokenizer, &found, &e) < 0)
        return message_fail(&e);
    run->tokenizer = found ? tokenizer : NULL;
    run->model = engine->model;
    run->device = engine->device;
    run->output = common->output;
    run->metrics = common->metrics;
    run->quiet = common->quiet;
    run->verbose = common->verbose;
    run->seed = common->seed;
    run->argc = argc;
    run->argv = argv;
    return -1;
}

#endif
