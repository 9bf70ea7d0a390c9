// SPDX-License-Identifier: MIT
// One table of options per program drives parsing, --help, --config, shell completion
// (--list-options) and the test against the man page.
#ifndef BASE_OPTION_H
#define BASE_OPTION_H

#include "base/error.h"
#include <stdint.h>

enum option_kind {
    OPTION_END,
    OPTION_GROUP,  // a heading in --help
    OPTION_FLAG,   // int: becomes 1
    OPTION_YESNO,  // int: yes or no
    OPTION_INT,    // int64_t in [low, high]
    OPTION_SIZE,   // uint64_t, K M G
    OPTION_REAL,   // double in [low, high]
    OPTION_TEXT,   // const char *, not copied
    OPTION_CHOICE, // int: index into choices
    OPTION_TEXTS,  // struct option_texts: may be given several times
};

enum { OPTION_TEXTS_MAX = 64 };
struct option_texts {
    const char *text[OPTION_TEXTS_MAX];
    int n;
};

struct option_spec {
    enum option_kind kind;
    const char *name; // long name
    char letter;      // short name or 0
    void *value;      // what stands there before parsing is the default
    const char *argument;
    const char *help; // one or two sentences; wrapped when printed
    const char *const *choices;
    double low, high;
    int *given; // where not NULL: becomes 1 when the option was given
};

// What a program (or a sub-command) says about itself.
struct program {
    const char *name;     // "logprob", "toks view"
    const char *operands; // "[STREAM]"
    const char *summary;  // one line
    const char *details;  // paragraphs for --help, or NULL
    const char *examples; // lines, each a command, or NULL
    const struct option_spec *options;
    int operands_min, operands_max; // -1: any number
    // For tables of scripts (script.h); NULL elsewhere.
    const char *usage; // what --help prints before the options, as it is
    const char *after; // and after them
    const char *rest;  // who takes the words after `--`; without it they are operands
};

struct operands {
    char **text; // points into argv
    int n;
    char **rest; // the words after `--`, where the program has `rest`
    int n_rest;
};

// Parses; prints help, version or a usage error itself. Returns -1 to go on, otherwise the exit
// status for main to return. `argv[0]` is skipped.
int program_start(const struct program *p, int argc, char **argv, struct operands *operands);
// Whether TEXT is a value of the option's kind. 0, or -1 with *e filled.
int option_check(const struct option_spec *o, const char *text, struct err *e);
// "prog: MESSAGE" and where to find help; returns STATUS_USAGE.
int program_usage(const struct program *p, const char *format, ...) ERR_PRINTF(2, 3);

extern const char densepath_version[];

// Options that every program knows. OPTIONS_COMMON goes at the end of a table.
struct common {
    const char *output;
    int is_directory; // output is: the program itself sees whether it may be made
    int64_t threads;
    uint64_t seed;
    const char *metrics;
    const char *config;
    int quiet, verbose;
};
// The engine's, for programs that run a model: put before OPTIONS_COMMON.
struct engine_options {
    const char *model;
    const char *device;
    int dtype; // index into option_dtypes
};

#define OPT_FLAG(l, n, v, h)                                                                       \
    {                                                                                              \
        OPTION_FLAG, n, l, v, NULL, h, NULL, 0, 0, NULL                                            \
    }
#define OPT_YESNO(n, v, h)                                                                         \
    {                                                                                              \
        OPTION_YESNO, n, 0, v, "yes|no", h, NULL, 0, 0, NULL                                       \
    }
#define OPT_INT(l, n, v, a, lo, hi, h)                                                             \
    {                                                                                              \
        OPTION_INT, n, l, v, a, h, NULL, lo, hi, NULL                                              \
    }
#define OPT_SIZE(n, v, a, h)                                                                       \
    {                                                                                              \
        OPTION_SIZE, n, 0, v, a, h, NULL, 0, 0, NULL                                               \
    }
#define OPT_REAL(n, v, a, lo, hi, h)                                                               \
    {                                                                                              \
        OPTION_REAL, n, 0, v, a, h, NULL, lo, hi, NULL                                             \
    }
#define OPT_TEXT(l, n, v, a, h)                                                                    \
    {                                                                                              \
        OPTION_TEXT, n, l, v, a, h, NULL, 0, 0, NULL                                               \
    }
#define OPT_TEXTS(l, n, v, a, h)                                                                   \
    {                                                                                              \
        OPTION_TEXTS, n, l, v, a, h, NULL, 0, 0, NULL                                              \
    }
#define OPT_CHOICE(n, v, c, h)                                                                     \
    {                                                                                              \
        OPTION_CHOICE, n, 0, v, NULL, h, c, 0, 0, NULL                                             \
    }
#define OPT_GROUP(h)                                                                               \
    {                                                                                              \
        OPTION_GROUP, NULL, 0, NULL, NULL, h, NULL, 0, 0, NULL                                     \
    }
#define OPT_END                                                                                    \
    {                                                                                              \
        OPTION_END, NULL, 0, NULL, NULL, NULL, NULL, 0, 0, NULL                                    \
    }

extern const char *const option_kv_dtypes[]; // of --kv-cache-dtype: auto, fp32, bf16
extern const char *const option_dtypes[];    // those that this build computes in
#define OPTIONS_ENGINE(e)                                                                          \
    OPT_GROUP("Model"),                                                                            \
        OPT_TEXT('m', "model", &(e)->model, "DIR", "Hugging Face model directory"),                \
        OPTIONS_DEVICE(e)
#define OPTIONS_DEVICE(e)                                                                          \
    OPT_TEXT(0, "device", &(e)->device, "cpu", "where to compute"),                                \
        OPT_CHOICE("dtype", &(e)->dtype, option_dtypes, "arithmetic of matrix products")
#define OPTIONS_COMMON(c)                                                                          \
    OPTIONS_COMMON_TO(c, "FILE", "write there; `-`, the default, is standard output")
// What a program makes is a directory.
#define OPTIONS_COMMON_MODEL(c) OPTIONS_COMMON_TO(c, "DIR", "the directory to write")
#define OPTIONS_COMMON_TO(c, argument, what)                                                       \
    OPT_GROUP("Common"), OPT_TEXT('o', "output", &(c)->output, argument, what),                    \
        OPT_INT(0, "threads", &(c)->threads, "N", 0, 1024,                                         \
                "number of threads; 0: one per processor. Does not change the results"),           \
        OPT_SIZE("seed", &(c)->seed, "N", "seed of all random numbers"),                           \
        OPT_TEXT(0, "config", &(c)->config, "FILE",                                                \
                 "read options from FILE, one `name = value` per line; the command line takes "    \
                 "precedence"),                                                                    \
        OPT_FLAG('q', "quiet", &(c)->quiet, "print errors and warnings only"),                     \
        OPT_FLAG('v', "verbose", &(c)->verbose, "print more"), OPT_END
#define OPTION_METRICS(c)                                                                          \
    OPT_TEXT(0, "metrics", &(c)->metrics, "FILE",                                                  \
             "write one JSON object per update to FILE, not to metrics.jsonl in the result")

// Applies quiet, threads and signals, and sees whether output and metrics can be written, before
// the work; call after program_start. 0 or an exit status.
int common_apply(const struct common *c, int stop_signals);
// Refuses devices and types that this build does not have. 0 or an exit status.
int engine_options_check(const struct program *p, const struct engine_options *e);

#endif
