// SPDX-License-Identifier: MIT
// densepath: runs each program and each pipeline of the suite, and tells which there are.
#include "base/io.h"
#include "base/keeper.h"
#include "base/listing.h"
#include "base/nearest.h"
#include "base/option.h"
#include "base/script.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// A program, or a pipeline with what its table says of its purpose (`%purpose GROUP TEXT`).
struct runnable {
    char name[64], group[16], text[160];
    char path[PATH_MAX];
};
enum { COMMANDS_MAX = 128 };
static struct runnable command[COMMANDS_MAX];
static int commands;

static const char *const groups[][2] = {{"train", "To train"},
                                        {"select", "To select demonstrations and samples"},
                                        {"evaluate", "To evaluate"},
                                        {"look", "To look into runs and the reward"},
                                        {"compare", "To compare methods"},
                                        {"program", "Programs, to put together in pipes"}};
enum { GROUPS = sizeof groups / sizeof *groups };
static const char *const first[] = {"sft", "precheck", "select", "dpr", "evaluate"};
static const char *const programs[][2] = {
    {"tok", "text to tokens with a loss mask, and back"},
    {"sft-train", "supervised training that keeps the model's earlier selves"},
    {"logprob", "log-probability of each token under a model"},
    {"dense-reward", "rewards, returns and advantages of tokens"},
    {"ask", "answers of a model or several: a question, or a chat"},
    {"rollout", "samples of a model, or of a policy while it is trained"},
    {"reinforce-step", "policy-gradient updates that publish each new policy"},
    {"pair-train", "training on pairs of a demonstration and a sample"},
    {"reward-train", "reward models: trained on pairs, and scoring a stream"},
    {"novelty", "rewards by how familiar a state is"},
    {"toks", "looks at token streams, checks, cuts, joins and selects"},
    {"model", "makes, describes, compares and averages models"},
    {"tfevents", "metrics of runs for TensorBoard"}};

// ---- where everything is ----

// Folders beside this program: of a tree, of an installation, of a build with sanitizers.
static const char *const pipeline_folders[] = {"../pipelines", "../share/densepath/pipelines",
                                               "../../../pipelines"};
static const char *const page_folders[] = {"../man", "../share/man/man1", "../share/man/man7",
                                           "../../../man"};

static int own_folder(char out[PATH_MAX], struct err *e)
{
    ssize_t n = readlink("/proc/self/exe", out, PATH_MAX - 1);
    if (n < 0)
        return err_errno(e, "/proc/self/exe");
    out[n] = 0;
    char *slash = strrchr(out, '/');
    *slash = 0;
    return 0;
}

__attribute__((format(printf, 2, 3))) static int join(char out[PATH_MAX], const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(out, PATH_MAX, format, ap);
    va_end(ap);
    return n < PATH_MAX ? 0 : -1;
}

// What kept us from seeing all commands, if anything: told in place of what would be wrong.
static struct err unseen;
static int is_unseen;

static void note_unseen(const char *path)
{
    if (!is_unseen)
        err_errno(&unseen, path);
    is_unseen = 1;
}

static int is_program(const char *path)
{
    struct stat st;
    if (stat(path, &st) == 0)
        return S_ISREG(st.st_mode) && access(path, X_OK) == 0;
    if (errno != ENOENT && errno != ELOOP) // a link to nothing
        note_unseen(path);
    return 0;
}

// ---- commands ----

// A script's own words of its purpose: `%purpose GROUP TEXT`.
static void read_purpose(struct runnable *c)
{
    char line[512];
    FILE *file = fopen(c->path, "r");
    if (!file)
        return;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "%%purpose %15s %159[^\n]", c->group, c->text) == 2)
            break;
    fclose(file);
}

static struct runnable *add_command(const char *folder, const char *name)
{
    struct runnable *c = &command[commands];
    if (commands == COMMANDS_MAX || strlen(name) >= sizeof c->name ||
        join(c->path, "%s/%s", folder, name) < 0 || !is_program(c->path))
        return NULL;
    commands++;
    snprintf(c->name, sizeof c->name, "%s", name);
    return c;
}

static void add_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    const char *name;
    int more = 0;
    if (!dir) {
        if (errno != ENOENT)
            note_unseen(folder);
        return;
    }
    while ((more = listing_next(dir, &name)) > 0) {
        struct runnable *c = add_command(folder, name);
        if (c)
            read_purpose(c);
    }
    if (more < 0)
        note_unseen(folder);
    closedir(dir);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct runnable *)a)->name, ((const struct runnable *)b)->name);
}

static void find_commands(const char *bin)
{
    char folder[PATH_MAX], studies[PATH_MAX];
    for (size_t i = 0; i < sizeof pipeline_folders / sizeof *pipeline_folders; i++) {
        if (join(folder, "%s/%s", bin, pipeline_folders[i]) < 0 ||
            join(studies, "%s/studies", folder) < 0 || access(folder, X_OK) != 0)
            continue;
        add_folder(folder);
        add_folder(studies);
        break;
    }
    qsort(command, (size_t)commands, sizeof *command, by_name);
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        struct runnable *c = add_command(bin, programs[i][0]);
        if (c) {
            snprintf(c->group, sizeof c->group, "program");
            snprintf(c->text, sizeof c->text, "%s", programs[i][1]);
        }
    }
}

static const struct runnable *find_command(const char *name)
{
    for (int i = 0; i < commands; i++)
        if (!strcmp(command[i].name, name))
            return &command[i];
    return NULL;
}

// Whose options densepath-migrate(7) has.
static int is_elsewhere(const char *name)
{
    static const char *const known[] = {"trl",       "transformers", "axolotl", "llama.cpp",
                                        "llama-cli", "kaldi",        "migrate"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i]))
            return 1;
    return 0;
}

static int unknown(const char *name)
{
    struct err e;
    struct nearest nearest;
    if (is_unseen)
        return message_fail(&unseen);
    nearest_init(&nearest, name);
    for (int i = 0; i < commands; i++)
        nearest_try(&nearest, command[i].name);
    if (is_elsewhere(name))
        err_set(&e, STATUS_USAGE,
                "there is no '%s': `densepath help migrate` says what is called how here", name);
    else if (nearest_name(&nearest))
        err_set(&e, STATUS_USAGE, "there is no '%s': is `densepath %s` meant?", name,
                nearest_name(&nearest));
    else
        err_set(&e, STATUS_USAGE, "there is no '%s' (`densepath` tells what there is)", name);
    return message_fail(&e);
}

// ---- lists ----

static int finish_stdout(void)
{
    struct err e;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return is_unseen ? message_fail(&unseen) : STATUS_DONE;
    err_errno(&e, "standard output");
    return message_fail(&e);
}

static void print_command(const struct runnable *c)
{
    printf("  %-23s %s\n", c->name, c->text);
}

static int overview(void)
{
    printf("Usage: densepath NAME [ARGUMENT...]\n"
           "       densepath help NAME\n"
           "Turn demonstrations into a better language model.\n\n"
           "To begin with, in this order (`densepath demo` shows it all in five minutes):\n");
    for (size_t i = 0; i < sizeof first / sizeof *first; i++)
        if (find_command(first[i]))
            print_command(find_command(first[i]));
    for (int g = 0; g < GROUPS; g++) {
        printf("\n%s:\n", groups[g][1]);
        for (int i = 0; i < commands; i++)
            if (!strcmp(command[i].group, groups[g][0]))
                print_command(&command[i]);
    }
    printf(
        "\n`densepath NAME --help` explains each; `densepath help NAME` shows its manual page.\n");
    return finish_stdout();
}

// For shells that complete: a name a line, and what it is for.
static int list(void)
{
    for (int i = 0; i < commands; i++)
        printf("%s\t%s\n", command[i].name, command[i].text);
    return finish_stdout();
}

// ---- running ----

// The programs beside this one are those that a pipeline finds.
static int put_in_path(const char *bin)
{
    const char *path = getenv("PATH");
    size_t size = strlen(bin) + (path ? strlen(path) : 0) + 2;
    char *whole = malloc(size);
    if (!whole)
        return -1;
    snprintf(whole, size, "%s%s%s", bin, path ? ":" : "", path ? path : "");
    int result = setenv("PATH", whole, 1) < 0 || setenv("BIN", bin, 1) < 0 ? -1 : 0;
    free(whole);
    return result;
}

// argv[0] becomes the command's own name. Returns only after a failure.
static int run(const struct runnable *c, const char *bin, char **argv)
{
    struct err e;
    char name[sizeof c->name];
    snprintf(name, sizeof name, "%s", c->name);
    argv[0] = name;
    if (put_in_path(bin) == 0)
        execv(c->path, argv);
    err_errno(&e, c->path);
    return message_fail(&e);
}

// Becomes man with the page of a pipeline, a program or a subject; returns where there is no such
// page, or nobody to show it.
static void show_page(const char *name, const char *bin)
{
    static const struct {
        const char *prefix;
        int section;
    } kind[] = {{"densepath-", 1}, {"", 1}, {"densepath-", 7}};
    char page[PATH_MAX];
    if (strchr(name, '/'))
        return;
    for (size_t k = 0; k < sizeof kind / sizeof *kind; k++)
        for (size_t i = 0; i < sizeof page_folders / sizeof *page_folders; i++)
            if (join(page, "%s/%s/%s%s.%d", bin, page_folders[i], kind[k].prefix, name,
                     kind[k].section) == 0 &&
                access(page, R_OK) == 0)
                execlp("man", "man", page, (char *)NULL);
}

// The manual page where it can be shown, else --help.
static int help(const char *name, const char *bin)
{
    static char help_option[] = "--help";
    const struct runnable *c = find_command(name);
    show_page(name, bin);
    if (!c && strcmp(name, "densepath") != 0)
        return unknown(name);
    if (!c)
        return overview();
    char *argv[] = {NULL, help_option, NULL};
    return run(c, bin, argv);
}

int main(int argc, char **argv)
{
    char bin[PATH_MAX];
    struct err e;
    message_program("densepath");
    // What pipelines call for their options, and to be begun again under a keeper
    // (pipelines/lib/pipeline.bash).
    if (argc > 2 && !strcmp(argv[1], "--parse-options"))
        return script_options(argv[2], argc - 2, argv + 2, STDIN_FILENO, 3);
    if (argc > 2 && !strcmp(argv[1], "--keep"))
        return keeper_run(argv + 2);
    if (own_folder(bin, &e) < 0)
        return message_fail(&e);
    find_commands(bin);
    const char *name = argc > 1 ? argv[1] : "--help";
    if (!strcmp(name, "--version")) {
        printf("densepath %s\n", densepath_version);
        return finish_stdout();
    }
    if (!strcmp(name, "--list-commands"))
        return list();
    if (!strcmp(name, "help") && argc > 2)
        return help(argv[2], bin);
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help"))
        return overview();
    const struct runnable *c = find_command(name);
    return c ? run(c, bin, argv + 1) : unknown(name);
}
