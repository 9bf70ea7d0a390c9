// SPDX-License-Identifier: MIT
// tfevents: metrics of runs as TensorBoard's event files.
#include "base/option.h"
#include "base/signals.h"
#include "events/run_log.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

static struct common common = {.is_directory = 1};
static int follow;

static const struct option_spec options[] = {
    OPT_TEXT('o', "output", &common.output, "LOGDIR",
             "the directory that TensorBoard is given; each run has a folder in it"),
    OPT_FLAG(
        0, "follow", &follow,
        "go on while the metrics grow, until each run is complete; runs need not be there yet"),
    OPT_TEXT(
        0, "config", &common.config, "FILE",
        "read options from FILE, one `name = value` per line; the command line takes precedence"),
    OPT_FLAG('q', "quiet", &common.quiet, "print errors and warnings only"),
    OPT_FLAG('v', "verbose", &common.verbose, "print more"),
    OPT_END,
};

static const struct program program = {
    .name = "tfevents",
    .operands = "[NAME=]RUN...",
    .summary = "Write the metrics of runs as event files for TensorBoard.",
    .details = "RUN is a directory that a trainer of this suite has made or is making, a file of "
               "metrics (JSON lines), or `-`. NAME is the run's folder in LOGDIR and its name in "
               "TensorBoard; without it the directory's own name is taken. A key of the metrics "
               "becomes a scalar: eval_REST is eval/REST, any other KEY train/KEY.",
    .examples = "  tfevents -o logs sft dpr\n"
                "  tfevents -o logs --follow high=sft-1e-3 low=sft-1e-4 &\n",
    .options = options,
    .operands_min = 1,
    .operands_max = -1,
};

enum { LOOK_MS = 500 }; // between two looks at runs that go on

// NAME=RUN, or a path: what is before the = of a name has no slash.
static const char *split_operand(char *text, char **name)
{
    char *equals = strchr(text, '='), *slash = strchr(text, '/');
    *name = NULL;
    if (!equals || (slash && slash < equals))
        return text;
    *equals = 0;
    *name = text;
    return equals + 1;
}

static int open_runs(struct run_log *run, char **text, int n, struct err *e)
{
    for (int i = 0; i < n; i++) {
        char *name;
        const char *path = split_operand(text[i], &name);
        if (run_log_open(&run[i], path, name, common.output, follow, e) < 0)
            return -1;
        for (int j = 0; j < i; j++)
            if (!strcmp(run[i].file.folder, run[j].file.folder))
                return err_set(e, STATUS_USAGE,
                               "%s: two runs would have this folder: give them names, NAME=RUN",
                               run[i].file.folder);
    }
    return 0;
}

static void tell(const struct run_log *r)
{
    message_note("%s: %zu updates, %" PRIu64 " scalars", r->file.path, r->n, r->written);
}

// Where a run comes through standard input, its next line ends the wait.
static void wait_for_more(const struct run_log *run, int n)
{
    struct pollfd p = {.fd = -1, .events = POLLIN};
    for (int i = 0; i < n && p.fd < 0; i++)
        p.fd = run[i].metrics.finished ? -1 : run[i].metrics.fd;
    poll(&p, 1, LOOK_MS);
}

// 1: it is finished, which is told once.
static int follow_run(struct run_log *r, struct err *e)
{
    if (r->metrics.finished)
        return 1;
    int finished = run_log_follow(r, e);
    if (finished > 0)
        tell(r);
    return finished;
}

static int follow_runs(struct run_log *run, int n, struct err *e)
{
    for (int going = n; going;) {
        going = 0;
        for (int i = 0; i < n; i++) {
            int finished = follow_run(&run[i], e);
            if (finished < 0)
                return -1;
            going += !finished;
        }
        if (going)
            wait_for_more(run, n);
    }
    return 0;
}

static int work(const struct operands *operands, struct err *e)
{
    int n = operands->n, result;
    struct run_log *run = mem_alloc((size_t)n, sizeof *run, "runs", e);
    if (!run)
        return -1;
    result = open_runs(run, operands->text, n, e);
    for (int i = 0; i < n && result == 0; i++) {
        result = run_log_write(&run[i], follow, e);
        if (result == 0 && (!follow || run[i].metrics.finished))
            tell(&run[i]);
    }
    if (result == 0 && follow)
        result = follow_runs(run, n, e);
    for (int i = 0; i < n; i++)
        run_log_release(&run[i]);
    free(run);
    return result;
}

int main(int argc, char **argv)
{
    struct operands operands;
    struct err e;
    int status = program_start(&program, argc, argv, &operands);
    if (status >= 0)
        return status;
    if ((status = common_apply(&common, 0)) != 0)
        return status;
    if (!common.output)
        return program_usage(&program, "-o LOGDIR is missing: where to?");
    if (work(&operands, &e) == 0)
        return STATUS_DONE;
    return signals_exit_status(message_fail(&e));
}
