// SPDX-License-Identifier: MIT
#include "base/option.h"
#include "base/board.h"
#include "base/foreign_option.h"
#include "base/io.h"
#include "base/memory.h"
#include "base/nearest.h"
#include "base/number.h"
#include "base/signals.h"
#include "base/thread.h"

#include <getopt.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef DENSEPATH_VERSION
#define DENSEPATH_VERSION "0.2.0"
#endif
const char densepath_version[] = DENSEPATH_VERSION;
const char *const option_kv_dtypes[] = {"auto", "fp32", "bf16", NULL};
const char *const option_dtypes[] = {"fp32", "bf16", NULL};

enum { OPTIONS_MAX = 96, OPERAND = 1, CODE_FIRST = 256, CODE_HELP = 1000, CODE_VERSION, CODE_LIST };
enum { HELP_COLUMN = 30, HELP_WIDTH = 96 };

// Prints `text` wrapped, from column `at` on, further lines indented by `indent`.
static void print_wrapped(const char *text, int at, int indent)
{
    int column = at;
    while (*text) {
        size_t word = strcspn(text, " \n");
        if (column > indent && column + 1 + (int)word > HELP_WIDTH) {
            printf("\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            putchar(' ');
            column++;
        }
        printf("%.*s", (int)word, text);
        column += (int)word;
        text += word;
        if (*text == '\n') {
            printf("\n%*s", indent, "");
            column = indent;
        }
        text += *text != 0;
    }
    putchar('\n');
}

static void argument_text(const struct option_spec *o, char *out, size_t size)
{
    out[0] = 0;
    if (o->kind == OPTION_CHOICE) {
        for (int i = 0; o->choices[i]; i++) {
            size_t n = strlen(out);
            snprintf(out + n, size - n, "%s%s", i ? "|" : "", o->choices[i]);
        }
    } else if (o->argument) {
        snprintf(out, size, "%s", o->argument);
    }
}

// The value that holds before parsing, as text; empty where there is nothing to say.
static void default_text(const struct option_spec *o, char *out, size_t size)
{
    out[0] = 0;
    switch (o->kind) {
    case OPTION_YESNO:
        if (*(int *)o->value >= 0)
            snprintf(out, size, "%s", *(int *)o->value ? "yes" : "no");
        break;
    case OPTION_INT:
        snprintf(out, size, "%lld", (long long)*(int64_t *)o->value);
        break;
    case OPTION_SIZE:
        snprintf(out, size, "%llu", (unsigned long long)*(uint64_t *)o->value);
        break;
    case OPTION_REAL:
        snprintf(out, size, "%.10g", *(double *)o->value);
        break;
    case OPTION_TEXT:
        if (*(const char **)o->value)
            snprintf(out, size, "%s", *(const char **)o->value);
        break;
    case OPTION_CHOICE:
        snprintf(out, size, "%s", o->choices[*(int *)o->value]);
        break;
    default:
        break;
    }
}

static void print_option(const struct option_spec *o)
{
    char argument[256], value[128], left[400];
    argument_text(o, argument, sizeof argument);
    default_text(o, value, sizeof value);
    if (o->letter)
        snprintf(left, sizeof left, "  -%c, --%s%s%s", o->letter, o->name, *argument ? " " : "",
                 argument);
    else
        snprintf(left, sizeof left, "      --%s%s%s", o->name, *argument ? " " : "", argument);
    int at = printf("%s", left);
    if (at >= HELP_COLUMN - 1) {
        putchar('\n');
        at = 0;
    }
    printf("%*s", HELP_COLUMN - at, "");
    struct buffer text;
    struct err ignored;
    buffer_init(&text, 0);
    int failed = buffer_string(&text, o->help, &ignored);
    if (*value && !failed)
        failed = buffer_printf(&text, &ignored, " [%s]", value);
    if (!failed)
        print_wrapped(text.data, HELP_COLUMN, HELP_COLUMN);
    buffer_release(&text);
}

static int finish_stdout(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return STATUS_DONE;
    struct err e;
    err_errno(&e, "standard output");
    return message_fail(&e);
}

static void print_head(const struct program *p)
{
    if (p->usage) {
        fputs(p->usage, stdout);
        return;
    }
    printf("Usage: %s [OPTION...] %s\n", p->name, p->operands ? p->operands : "");
    print_wrapped(p->summary, 0, 0);
    if (p->details) {
        putchar('\n');
        print_wrapped(p->details, 0, 0);
    }
    if (p->examples)
        printf("\nExamples:\n%s", p->examples);
}

static int print_help(const struct program *p)
{
    print_head(p);
    for (const struct option_spec *o = p->options; o->kind != OPTION_END; o++) {
        if (o->kind == OPTION_GROUP)
            printf("\n%s:\n", o->help);
        else
            print_option(o);
    }
    printf("  -h, --help                  print this help\n"
           "      --version               print the version\n");
    if (p->after)
        printf("\n%s", p->after);
    return finish_stdout();
}

// One option a line: name, letter, argument, default, help; tab-separated.
static int print_list(const struct program *p)
{
    for (const struct option_spec *o = p->options; o->kind != OPTION_END; o++) {
        if (o->kind == OPTION_GROUP)
            continue;
        char argument[256], value[128];
        argument_text(o, argument, sizeof argument);
        default_text(o, value, sizeof value);
        printf("%s\t%c\t%s\t%s\t%s\n", o->name, o->letter ? o->letter : '-', argument, value,
               o->help);
    }
    return finish_stdout();
}

int program_usage(const struct program *p, const char *format, ...)
{
    struct err e = {.status = STATUS_USAGE};
    va_list ap;
    va_start(ap, format);
    vsnprintf(e.text, sizeof e.text - 64, format, ap);
    va_end(ap);
    size_t n = strlen(e.text);
    snprintf(e.text + n, sizeof e.text - n, " (see `%s --help`)", p->name);
    return message_fail(&e);
}

static int set_yesno(const char *text, int *value)
{
    if (!strcmp(text, "yes") || !strcmp(text, "no")) {
        *value = text[0] == 'y';
        return 0;
    }
    return -1;
}

static int set_value(const struct option_spec *o, const char *text, struct err *e)
{
    char allowed[256];
    double real;
    switch (o->kind) {
    case OPTION_FLAG:
        *(int *)o->value = 1;
        break;
    case OPTION_YESNO:
        if (set_yesno(text, o->value) < 0)
            return err_set(e, STATUS_USAGE, "--%s: '%s' is neither yes nor no", o->name, text);
        break;
    case OPTION_INT:
        if (number_to_i64(text, o->value) < 0)
            return err_set(e, STATUS_USAGE, "--%s: '%s' is not a whole number", o->name, text);
        real = (double)*(int64_t *)o->value;
        if (real < o->low || real > o->high)
            return err_set(e, STATUS_USAGE, "--%s: %s is not in %.10g .. %.10g", o->name, text,
                           o->low, o->high);
        break;
    case OPTION_SIZE:
        if (number_to_size(text, o->value) < 0)
            return err_set(e, STATUS_USAGE, "--%s: '%s' is not a size (digits, then K, M or G)",
                           o->name, text);
        break;
    case OPTION_REAL:
        if (number_to_f64(text, &real) < 0)
            return err_set(e, STATUS_USAGE, "--%s: '%s' is not a number", o->name, text);
        if (real < o->low || real > o->high)
            return err_set(e, STATUS_USAGE, "--%s: %s is not in %.10g .. %.10g", o->name, text,
                           o->low, o->high);
        *(double *)o->value = real;
        break;
    case OPTION_TEXT:
        *(const char **)o->value = text;
        break;
    case OPTION_CHOICE:
        for (int i = 0; o->choices[i]; i++) {
            if (!strcmp(o->choices[i], text)) {
                *(int *)o->value = i;
                goto done;
            }
        }
        argument_text(o, allowed, sizeof allowed);
        if (!o->choices[1])
            return err_set(e, STATUS_USAGE, "--%s: '%s': this build has only %s", o->name, text,
                           allowed);
        return err_set(e, STATUS_USAGE, "--%s: '%s' is not one of %s", o->name, text, allowed);
    case OPTION_TEXTS: {
        struct option_texts *texts = o->value;
        if (texts->n == OPTION_TEXTS_MAX)
            return err_set(e, STATUS_USAGE, "--%s: given more than %d times", o->name,
                           OPTION_TEXTS_MAX);
        texts->text[texts->n++] = text;
        break;
    }
    default:
        break;
    }
done:
    if (o->given)
        *o->given = 1;
    return 0;
}

int option_check(const struct option_spec *o, const char *text, struct err *e)
{
    union {
        int choice;
        int64_t whole;
        uint64_t size;
        double real;
        const char *text;
    } value;
    struct option_spec copy = *o;
    if (o->kind == OPTION_TEXTS)
        return 0;
    copy.value = &value;
    copy.given = NULL;
    return set_value(&copy, text, e);
}

static const struct option_spec *find_option(const struct program *p, const char *name)
{
    for (const struct option_spec *o = p->options; o->kind != OPTION_END; o++)
        if (o->kind != OPTION_GROUP && !strcmp(o->name, name))
            return o;
    return NULL;
}

static char *trim(char *s)
{
    s += strspn(s, " \t\r");
    size_t n = strlen(s);
    while (n && strchr(" \t\r", s[n - 1]))
        s[--n] = 0;
    return s;
}

struct getopt_tables {
    struct option longs[OPTIONS_MAX + 4];
    char shorts[2 * OPTIONS_MAX + 8];
    const struct option_spec *spec[OPTIONS_MAX];
    int n;
};

static void getopt_tables(const struct program *p, struct getopt_tables *t)
{
    memset(t, 0, sizeof *t);
    char *s = t->shorts;
    if (p->rest)
        *s++ = '-'; // operands come in their order, as values of the option OPERAND
    *s++ = ':';
    *s++ = 'h';
    int n = 0;
    for (const struct option_spec *o = p->options; o->kind != OPTION_END && n < OPTIONS_MAX; o++) {
        if (o->kind == OPTION_GROUP)
            continue;
        int has_argument = o->kind != OPTION_FLAG;
        t->spec[n] = o;
        t->longs[n] = (struct option){o->name, has_argument, NULL, CODE_FIRST + n};
        n++;
        if (o->letter) {
            *s++ = o->letter;
            if (has_argument)
                *s++ = ':';
        }
    }
    t->n = n;
    t->longs[n] = (struct option){"help", 0, NULL, CODE_HELP};
    t->longs[n + 1] = (struct option){"version", 0, NULL, CODE_VERSION};
    t->longs[n + 2] = (struct option){"list-options", 0, NULL, CODE_LIST};
}

static const struct option_spec *by_code(const struct getopt_tables *t, int code)
{
    if (code >= CODE_FIRST && code < CODE_FIRST + t->n)
        return t->spec[code - CODE_FIRST];
    for (int i = 0; i < t->n; i++)
        if (t->spec[i]->letter == code)
            return t->spec[i];
    return NULL;
}

// Starts `PROGRAM --list-options`, whose output comes through *out. 0 or -1.
static int start_list(const char *program, pid_t *child, FILE **out)
{
    char name[64], option[] = "--list-options", *argv[] = {name, option, NULL};
    posix_spawn_file_actions_t actions;
    int fd[2];
    snprintf(name, sizeof name, "%s", program);
    if (pipe(fd) < 0)
        return -1;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fd[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, fd[0]);
    int failed = posix_spawnp(child, name, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(fd[1]);
    *out = failed ? NULL : fdopen(fd[0], "r");
    if (!*out)
        close(fd[0]);
    return *out ? 0 : -1;
}

// Whether PROGRAM, one of the suite, has the option. It says so itself.
static int has_option(const char *program, const char *name)
{
    char line[512];
    size_t n = strlen(name);
    int found = 0;
    pid_t child;
    FILE *list;
    if (start_list(program, &child, &list) < 0)
        return 0;
    while (fgets(line, sizeof line, list))
        found |= strlen(line) > n && !strncmp(line, name, n) && line[n] == '\t';
    fclose(list);
    waitpid(child, NULL, 0);
    return found;
}

// The names that begin with the first N letters of NAME, as text; how many there are.
static int names_with(const struct program *p, const char *name, size_t n, char *out, size_t size)
{
    static const struct option_spec more[] = {OPT_FLAG('h', "help", NULL, NULL),
                                              OPT_FLAG(0, "version", NULL, NULL), OPT_END};
    const struct option_spec *const lists[] = {p->options, more};
    int many = 0;
    out[0] = 0;
    for (int i = 0; i < 2; i++)
        for (const struct option_spec *o = lists[i]; o->kind != OPTION_END; o++) {
            size_t used = strlen(out);
            if (o->kind == OPTION_GROUP || strncmp(o->name, name, n) != 0)
                continue;
            snprintf(out + used, size - used, "%s--%s", many++ ? ", " : "", o->name);
        }
    return many;
}

// Whether this program has the option, or (rest) the one that takes the words after --.
static int is_ours(const struct program *p, int rest, const char *name)
{
    return rest ? p->rest && has_option(p->rest, name) : find_option(p, name) != NULL;
}

// The first row of another trainer's option NAME that has its like there.
static const struct foreign_option *foreign_row(const struct program *p, int rest, const char *name)
{
    const struct foreign_option *o = NULL;
    while ((o = foreign_option_next(name, o)) && !(o->ours && is_ours(p, rest, o->ours)))
        ;
    return o;
}

// What another trainer's option is called here, as text; 0: nothing is known of it.
static int foreign_text(const struct program *p, const char *name, char *out, size_t size)
{
    const struct foreign_option *own = foreign_row(p, 0, name);
    const struct foreign_option *rest = own ? NULL : foreign_row(p, 1, name);
    const struct foreign_option *o = own ? own : rest ? rest : foreign_option_next(name, NULL);
    if (!o)
        return 0;
    if (!o->ours)
        return snprintf(out, size, "%s", o->why);
    return snprintf(out, size, "here it is --%s%s%s%s%s%s%s", o->ours, o->why ? " (" : "",
                    o->why ? o->why : "", o->why ? ")" : "", own ? "" : " of ",
                    own    ? ""
                    : rest ? p->rest
                           : o->where,
                    rest ? ", whose options stand after --" : "");
}

// The option of this program that is most like NAME, or NULL.
static const char *nearest_option(const struct program *p, const char *name)
{
    struct nearest nearest;
    nearest_init(&nearest, name);
    for (const struct option_spec *o = p->options; o->kind != OPTION_END; o++)
        if (o->kind != OPTION_GROUP)
            nearest_try(&nearest, o->name);
    return nearest_name(&nearest);
}

// Names of other programs are often written with `_`.
static void dashed(const char *name, char *out, size_t size)
{
    snprintf(out, size, "%s", name);
    for (char *at = out; (at = strchr(at, '_'));)
        *at = '-';
}

// What may be meant by NAME, as text; 0: nothing is near.
static int option_advice(const struct program *p, const char *name, char *out, size_t size)
{
    char with_dashes[64];
    dashed(name, with_dashes, sizeof with_dashes);
    if (find_option(p, with_dashes))
        return snprintf(out, size, "is --%s meant?", with_dashes);
    if (p->rest && !foreign_row(p, 0, name) && has_option(p->rest, with_dashes))
        return snprintf(out, size, "it is %s's, whose options stand after --", p->rest);
    int n = foreign_text(p, name, out, size);
    const char *near = n ? NULL : nearest_option(p, name);
    return near ? snprintf(out, size, "is --%s meant?", near) : n;
}

// WORD is `--name` or `--name=value`.
static int unknown_option(const struct program *p, const char *word)
{
    char name[64], text[256];
    int n = (int)strcspn(word + 2, "=");
    snprintf(name, sizeof name, "%.*s", n, word + 2);
    // What has a meaning elsewhere is no abbreviation here.
    if (n > 0 && !foreign_option_next(name, NULL) &&
        names_with(p, name, strlen(name), text, sizeof text) > 1)
        return program_usage(p, "option '--%s' is one of several: %s", name, text);
    if (option_advice(p, name, text, sizeof text))
        return program_usage(p, "unknown option '--%s': %s", name, text);
    return program_usage(p, "unknown option '%s'", word);
}

// The text of the file stays for the life of the process: option values point into it.
static int apply_config(const struct program *p, const char *path, struct err *e)
{
    static struct buffer text;
    buffer_init(&text, 1 << 20);
    if (io_read_file(path, &text, e) < 0) {
        buffer_release(&text);
        return -1;
    }
    char advice[256];
    int number = 0;
    for (char *next = text.data, *line; (line = strsep(&next, "\n"));) {
        number++;
        line = trim(line);
        if (!*line || *line == '#')
            continue;
        char *equals = strchr(line, '=');
        if (!equals)
            return err_set(e, STATUS_USAGE, "%s:%d: not of the form `name = value`%s", path, number,
                           strchr(line, ':') ? " (YAML and JSON are not read)" : "");
        *equals = 0;
        char *name = trim(line), *value = trim(equals + 1);
        const struct option_spec *o = find_option(p, name);
        if (!o || !strcmp(name, "config")) {
            int known = !o && option_advice(p, name, advice, sizeof advice);
            return err_set(e, STATUS_USAGE, "%s:%d: %s has no option '%s'%s%s", path, number,
                           p->name, name, known ? ": " : "", known ? advice : "");
        }
        if (o->kind == OPTION_FLAG) {
            int on;
            if (set_yesno(value, &on) < 0)
                return err_set(e, STATUS_USAGE, "%s:%d: '%s' is neither yes nor no", path, number,
                               value);
            if (!on)
                continue;
        }
        if (set_value(o, value, e) < 0)
            return err_prefix(e, "%s:%d", path, number);
    }
    return 0;
}

// Defaults that a shell gives to all programs it starts.
static int apply_environment(const struct program *p, struct err *e)
{
    static const char *const variable[][2] = {{"threads", "DENSEPATH_THREADS"},
                                              {"dtype", "DENSEPATH_DTYPE"}};
    for (size_t i = 0; i < sizeof variable / sizeof *variable; i++) {
        const struct option_spec *o = find_option(p, variable[i][0]);
        const char *text = getenv(variable[i][1]);
        if (o && text && *text && set_value(o, text, e) < 0)
            return err_prefix(e, "%s", variable[i][1]);
    }
    return 0;
}

static int parse(const struct program *p, struct getopt_tables *t, int argc, char **argv,
                 struct operands *operands)
{
    struct err e;
    int code;
    opterr = 0;
    optind = 0; // GNU: start afresh, sub-commands parse a second time
    while ((code = getopt_long(argc, argv, t->shorts, t->longs, NULL)) != -1) {
        const char *word = argv[optind - 1];
        switch (code) {
        case 'h':
        case CODE_HELP:
            return print_help(p);
        case CODE_VERSION:
            printf("%s (densepath) %s\n", p->name, densepath_version);
            return finish_stdout();
        case CODE_LIST:
            return print_list(p);
        case ':':
            return program_usage(p, "option '%s' needs a value", word);
        case '?':
            if (optopt && optopt < CODE_FIRST)
                return program_usage(p, "unknown option '-%c'", optopt);
            if (optopt)
                return program_usage(p, "option '%s' takes no value", word);
            return unknown_option(p, word);
        case OPERAND:
            operands->text[operands->n++] = optarg;
            break;
        default:
            if (set_value(by_code(t, code), optarg, &e) < 0)
                return program_usage(p, "%s", e.text);
        }
    }
    return -1;
}

// Where the words after `--` are not operands, these are collected; they live as long as argv.
static int operands_begin(struct operands *operands, int argc)
{
    struct err e;
    operands->n = 0;
    operands->text = mem_alloc((size_t)argc + 1, sizeof *operands->text, "operands", &e);
    if (!operands->text)
        message_fail(&e);
    return operands->text ? 0 : -1;
}

static void operands_end(const struct program *p, struct operands *operands, int argc, char **argv)
{
    if (p->rest) {
        operands->rest = argv + optind;
        operands->n_rest = argc - optind;
        return;
    }
    operands->text = argv + optind;
    operands->n = argc - optind;
    operands->rest = NULL;
    operands->n_rest = 0;
}

int program_start(const struct program *p, int argc, char **argv, struct operands *operands)
{
    message_program(p->name);
    struct getopt_tables *t = malloc(sizeof *t);
    if (!t) {
        struct err e;
        err_memory(&e, sizeof *t, "options");
        return message_fail(&e);
    }
    getopt_tables(p, t);
    struct err wrong;
    int status = -1, unfit = apply_environment(p, &wrong) < 0; // said later: help is given first
    // --config next, wherever it stands, so that the command line wins.
    for (int i = 1; i < argc && status < 0; i++) {
        struct err e;
        const char *path = NULL;
        if (!strcmp(argv[i], "--"))
            break;
        if (!strncmp(argv[i], "--config=", 9))
            path = argv[i] + 9;
        else if (!strcmp(argv[i], "--config") && i + 1 < argc)
            path = argv[i + 1];
        if (path && find_option(p, "config") && apply_config(p, path, &e) < 0)
            status = message_fail(&e);
    }
    if (status < 0 && p->rest && operands_begin(operands, argc) < 0)
        status = STATUS_MEMORY;
    if (status < 0)
        status = parse(p, t, argc, argv, operands);
    if (status < 0 && unfit)
        status = message_fail(&wrong);
    free(t);
    if (status >= 0)
        return status;
    operands_end(p, operands, argc, argv);
    if (operands->n < p->operands_min)
        return program_usage(p, "an operand is missing: %s %s", p->name, p->operands);
    if (p->operands_max >= 0 && operands->n > p->operands_max)
        return program_usage(p, "unexpected operand '%s'", operands->text[p->operands_max]);
    return -1;
}

int common_apply(const struct common *c, int stop_signals)
{
    struct err e;
    message_quiet(c->quiet);
    signals_init(stop_signals);
    signals_before_end(board_end);
    if (threads_set((int)c->threads, &e) < 0 || output_try(c->metrics, 1, &e) < 0 ||
        (!c->is_directory && output_try(c->output, 0, &e) < 0))
        return message_fail(&e);
    return 0;
}

int engine_options_check(const struct program *p, const struct engine_options *e)
{
    if (!e->model)
        return program_usage(p, "-m DIR is missing: which model?");
    if (e->device && strcmp(e->device, "cpu") != 0)
        return program_usage(p, "--device %s: this build has no backend but cpu", e->device);
    return 0;
}
