// SPDX-License-Identifier: MIT
#include "train/dry_run.h"
#include "base/io.h"
#include "base/memory_check.h"
#include "base/shown.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *text_of(const char *name)
{
    static struct shown text;
    text = shown(name, strlen(name));
    return text.text;
}

void dry_run_line(const char *name, const char *format, ...)
{
    va_list ap;
    printf("%-14s ", name);
    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    putchar('\n');
}

int dry_run_is_file(const char *input)
{
    struct stat st;
    int from_stdin = !input || !strcmp(input, "-");
    int result = from_stdin ? fstat(STDIN_FILENO, &st) : stat(input, &st);
    return result == 0 && S_ISREG(st.st_mode);
}

void dry_run_evaluations(const struct evaluation_options *o)
{
    char every[64] = "";
    if (!o->path)
        return;
    if (o->steps)
        snprintf(every, sizeof every, "every %lld update%s and ", (long long)o->steps,
                 o->steps == 1 ? "" : "s");
    dry_run_line("evaluated", "%s%sat the end, on %s", o->on_start ? "at the start, " : "", every,
                 text_of(o->path));
}

static void tell_output(const struct run *r, const char *beside, int resumed)
{
    const char *path = r->o->output;
    int there = io_exists(AT_FDCWD, path), empties = beside && io_exists(AT_FDCWD, beside);
    dry_run_line("output", "%s: %s", text_of(path),
                 resumed                    ? "goes on with what is there"
                 : there && r->o->overwrite ? "replaces what is there"
                                            : "new");
    if (beside)
        dry_run_line("made in", "%s%s", text_of(beside),
                     empties && !resumed ? ", which is emptied first" : "");
    if (r->o->metrics)
        dry_run_line("metrics", "%s%s", text_of(r->o->metrics),
                     !io_exists(AT_FDCWD, r->o->metrics) ? ""
                     : resumed                           ? ": goes on"
                                                         : ": written over");
    else
        dry_run_line("metrics", "%s in the output", run_metrics_name);
}

void dry_run_tell(const struct run *r, const char *beside, int resumed)
{
    const struct model *m = r->model;
    char activations[BUDGET_TEXT];
    dry_run_line("model", "%s (%s), %zu parameters", text_of(m->path), m->config.model_type,
                 m->n_values);
    if (r->o->products == PRODUCTS_BF16)
        dry_run_line("products", "of operands rounded to bf16");
    dry_run_line("memory", "about %.1f MiB", mebibytes(r->budget.bytes));
    budget_text(&r->budget, activations);
    dry_run_line("activations", "%s", activations);
    tell_output(r, beside, resumed);
}

int dry_run_end(struct err *e)
{
    dry_run_line("dry run", "nothing was trained or written");
    return fflush(stdout) == 0 && !ferror(stdout) ? 0 : err_errno(e, "standard output");
}
