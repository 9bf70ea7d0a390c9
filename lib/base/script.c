// SPDX-License-Identifier: MIT
#include "base/script.h"
#include "base/io.h"
#include "base/option.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_MARGIN = 8, ROWS_MAX = 80, CHOICES_MAX = 16, TABLE_MAX = 1 << 20 };

// An option of the table. It is parsed as text, and looked at by its kind afterwards.
struct script_row {
    char *help;              // of several lines
    struct option_spec spec; // kind: what it is for
    const char *variable;
    const char *initial; // the default; of a flag, what it becomes
    const char *text;    // the value, NULL where there is none
    const char *choices[CHOICES_MAX + 1];
    struct option_texts texts;
    int flag, required, may_be_empty;
    int is_file;   // that the script writes
    int is_record; // one of tok's
};

struct script {
    struct script_row row[ROWS_MAX]; // rows without a variable are headings
    struct option_spec spec[ROWS_MAX + 1];
    int n;
    struct program program;
    char usage[1 << 14], pending[1 << 14];
    const char *operands_missing;
    int quiet, verbose;
};

static int broken(struct err *e, const char *line)
{
    return err_set(e, STATUS_FAILED, "the table of options cannot be read at `%s`", line);
}

static struct script_row *next_row(struct script *s, struct err *e)
{
    if (s->n == ROWS_MAX) {
        err_set(e, STATUS_FAILED, "the table has more than %d options", ROWS_MAX);
        return NULL;
    }
    return &s->row[s->n++];
}

static int add_heading(struct script *s, const char *text, struct err *e)
{
    struct script_row *row = next_row(s, e);
    if (!row)
        return -1;
    row->spec = (struct option_spec)OPT_GROUP(text);
    return 0;
}

// ---- columns ----

// Cuts the next column off *line; columns are two spaces apart. NULL where there is none.
static char *column(char **line)
{
    char *start = *line + strspn(*line, " ");
    if (!*start)
        return NULL;
    char *end = strstr(start, "  ");
    *line = end ? end + strspn(end, " ") : start + strlen(start);
    if (end)
        *end = 0;
    return start;
}

// `-x, --name ARGUMENT`
static int read_name(struct script_row *row, char *text)
{
    if (text[0] == '-' && text[1] && text[1] != '-' && !strncmp(text + 2, ", ", 2)) {
        row->spec.letter = text[1];
        text += 4;
    }
    if (strncmp(text, "--", 2) != 0)
        return -1;
    row->spec.name = text + 2;
    char *space = strchr(text, ' ');
    if (space) {
        *space = 0;
        row->spec.argument = space + 1;
    }
    return 0;
}

static int read_choices(struct script_row *row, const char *argument)
{
    int n = 0;
    char *text = strdup(argument ? argument : ""), *choice;
    if (!text)
        return -1;
    while ((choice = strsep(&text, "|"))) {
        if (n == CHOICES_MAX)
            return -1;
        row->choices[n++] = choice;
    }
    row->spec.choices = row->choices;
    return 0;
}

static int read_kind(struct script_row *row, char *text)
{
    static const struct {
        const char *name;
        enum option_kind kind;
    } kinds[] = {{"flag", OPTION_FLAG}, {"text", OPTION_TEXT}, {"file", OPTION_TEXT},
                 {"int", OPTION_INT},   {"real", OPTION_REAL}, {"choice", OPTION_CHOICE},
                 {"list", OPTION_TEXTS}};
    size_t n = strlen(text);
    for (; n && strchr("!?", text[n - 1]); text[--n] = 0) {
        row->required |= text[n - 1] == '!';
        row->may_be_empty |= text[n - 1] == '?';
    }
    const char *low = strchr(text, ' '), *high = low ? strchr(low + 1, ' ') : NULL;
    n = strcspn(text, " ");
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strncmp(kinds[i].name, text, n) != 0 || kinds[i].name[n])
            continue;
        row->spec.kind = kinds[i].kind;
        if (!strncmp(text, "file", n))
            row->is_file = 1;
        int whole = kinds[i].kind == OPTION_INT;
        row->spec.low = low ? strtod(low, NULL) : whole ? -1e15 : -HUGE_VAL;
        row->spec.high = high ? strtod(high, NULL) : whole ? 999999999 : HUGE_VAL;
        return kinds[i].kind == OPTION_CHOICE ? read_choices(row, row->spec.argument) : 0;
    }
    return -1;
}

// A default that is white space stands in quotation marks.
static const char *unquoted(char *text)
{
    size_t n = strlen(text);
    if (n < 2 || text[0] != '"' || text[n - 1] != '"')
        return text;
    text[n - 1] = 0;
    return text + 1;
}

static int add_row(struct script *s, char *line, struct err *e)
{
    struct script_row *row = next_row(s, e);
    char *rest = line, *name, *variable, *kind;
    if (!row)
        return -1;
    if (!(name = column(&rest)) || !(variable = column(&rest)) || !(kind = column(&rest)) ||
        read_name(row, name) < 0 || read_kind(row, kind) < 0)
        return broken(e, line);
    row->spec.help = rest;
    row->variable = variable;
    row->initial = row->spec.kind == OPTION_FLAG ? "yes" : "";
    char *equals = strchr(variable, '=');
    if (equals) {
        *equals = 0;
        row->initial = unquoted(equals + 1);
    }
    return 0;
}

// ---- lines ----

// What is not an option is kept until it is known what comes after it.
static int keep(struct script *s, const char *line, struct err *e)
{
    size_t n = strlen(s->pending);
    if (n + strlen(line) + 2 > sizeof s->pending)
        return err_set(e, STATUS_FAILED, "the text of the table is too long");
    snprintf(s->pending + n, sizeof s->pending - n, "%s\n", line);
    return 0;
}

// The text that was kept, without empty lines around it; from the heap.
static char *kept(struct script *s)
{
    char *start = s->pending + strspn(s->pending, "\n");
    size_t n = strlen(start);
    while (n && start[n - 1] == '\n')
        n--;
    char *text = strndup(start, n);
    s->pending[0] = 0;
    return text;
}

static int begin_options(struct script *s, struct err *e)
{
    char *text = kept(s);
    if (!text)
        return err_memory(e, sizeof s->pending, "options");
    if (!s->program.usage) {
        snprintf(s->usage, sizeof s->usage, "%s\n", text);
        free(text);
        s->program.usage = s->usage;
        return add_heading(s, "Options", e);
    }
    size_t n = strlen(text);
    if (n && text[n - 1] == ':')
        text[n - 1] = 0;
    if (n)
        return add_heading(s, text, e);
    free(text);
    return 0;
}

static int add_common(struct script *s, char *names, struct err *e)
{
    static const char *const common[][2] = {
        {"metrics", "--metrics FILE  metrics  file  write one JSON object per update to FILE"},
        {"timeout",
         "--timeout SECONDS  timeout=600  real 0  the command has failed when it is silent "
         "for so long; 0: never"},
        {"overwrite", "--overwrite  overwrite=--overwrite  flag  replace what this suite has made "
                      "under the name "
                      "OUT; without it that is refused"},
        {"save-minutes", "--save-minutes X  save_minutes=15  real 0 1000000  save the state of a "
                         "run when X minutes "
                         "have passed since the last time; 0: never"},
        {"seed", "--seed N  seed=0  int 0  seed of all random numbers"},
        {"threads",
         "--threads N  threads=0  int 0 1024  threads of each program; 0: one per processor"},
        {"dtype",
         "--dtype fp32|bf16  dtype  choice  arithmetic of matrix products in each program"},
        {"",
         "--config FILE  config  text  read options from FILE, one `name = value` per line; the "
         "command line wins"},
        {"", "-q, --quiet  quiet  flag  print errors and warnings only"},
        {"", "-v, --verbose  verbose  flag  let each program say what it does"}};
    enum { COMMON = sizeof common / sizeof *common };
    char *name;
    if (add_heading(s, "Common", e) < 0)
        return -1;
    int wanted[COMMON] = {0};
    for (int i = 0; i < COMMON; i++)
        wanted[i] = !*common[i][0];
    while ((name = strsep(&names, " "))) {
        int found = !*name;
        for (int i = 0; i < COMMON; i++)
            if (!found && !strcmp(name, common[i][0]))
                found = wanted[i] = 1;
        if (!found)
            return broken(e, name);
    }
    for (int i = 0; i < COMMON; i++) {
        char *line = wanted[i] ? strdup(common[i][1]) : NULL;
        if (wanted[i] && (!line || add_row(s, line, e) < 0))
            return line ? -1 : err_memory(e, 0, "options");
    }
    return 0;
}

static size_t count_words(const char *words)
{
    size_t n = 0;
    for (const char *at = words; *(at += strspn(at, " ")); at += strcspn(at, " "))
        n++;
    return n;
}

// Whether the first word of NAME is one of the words.
static int has_word(const char *words, const char *name)
{
    size_t n = strcspn(name, " ");
    for (const char *at = words; *(at += strspn(at, " ")); at += strcspn(at, " "))
        if (strcspn(at, " ") == n && !strncmp(at, name, n))
            return 1;
    return 0;
}

// Options of tok that say how records are read: all go into one array, as tok takes them. `names`:
// those that are wanted; NULL: all.
static int add_records(struct script *s, char *names, struct err *e)
{
    static const char *const rows[] = {
        ("--format "
         "auto|text|messages|prompt-completion|instruction|sharegpt|preference|pretokenized  "
         "records  choice  how records are written"),
        "--sample-by line|paragraph|document  records  choice  what a record of plain text is",
        "--fields OURS=THEIRS,...  records  text  names of fields",
        "--roles OURS=THEIRS,...  records  text  names of roles",
        "--instruction-prompt alpaca|stanford|chat  records  choice  what instructions become",
        "--join-parts  records  flag  a content of parts is one text",
        "--on-bad-record error|drop  records  choice  what becomes of a broken one",
        "--on-left-out warn|error  records  choice  of what a template does not write",
        "--chat-template FILE  records  text  a template in place of the model's",
        "--now YYYY-MM-DDTHH:MM:SS  records  text  the time, for templates that ask for it",
        "--train-on default|completion|all|assistant  records  choice  which tokens are trained",
        "--turns together|each  records  choice  a record of a chat, or one of each answer",
        "--boundary joint|separate  records  choice  how prompt and completion meet",
        "--special-tokens yes|no  records  choice  whether a tokenizer's own are added",
        "--duplicate-bos-eos once|keep  records  choice  one that is there already",
        "--max-length N  records  int 0  tokens per record; 0: any number",
        "--truncation error|drop|left|right  records  choice  what becomes of longer ones",
        "--on-untrained error|drop  records  choice  what becomes of one with nothing to train",
    };
    size_t wanted = names ? count_words(names) : sizeof rows / sizeof *rows, got = 0;
    if (add_heading(s, "Records, as for tok", e) < 0)
        return -1;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (names && !has_word(names, rows[i] + 2))
            continue;
        char *line = strdup(rows[i]);
        if (!line)
            return err_memory(e, 0, "options");
        if (add_row(s, line, e) < 0)
            return -1;
        s->row[s->n - 1].is_record = 1;
        got++;
    }
    return got == wanted ? 0 : broken(e, names);
}

static int read_operands(struct script *s, char *text, struct err *e)
{
    char *low = strsep(&text, " "), *high = strsep(&text, " ");
    if (!text)
        return broken(e, low);
    s->program.operands_min = atoi(low);
    s->program.operands_max = *high == '*' ? -1 : atoi(high);
    s->operands_missing = text;
    return 0;
}

static int read_directive(struct script *s, char *line, struct err *e)
{
    char *text = line, *name = strsep(&text, " ");
    if (!strcmp(name, "%common"))
        return begin_options(s, e) < 0 ? -1 : add_common(s, text, e);
    if (!strcmp(name, "%records"))
        return begin_options(s, e) < 0 ? -1 : add_records(s, text, e);
    if (!strcmp(name, "%operands") && text)
        return read_operands(s, text, e);
    if (!strcmp(name, "%rest"))
        s->program.rest = text;
    return 0;
}

static int go_on(struct script_row *row, const char *line, struct err *e)
{
    size_t size = strlen(row->spec.help) + strlen(line) + 2;
    char *help = malloc(size);
    if (!help)
        return err_memory(e, size, "options");
    snprintf(help, size, "%s %s", row->spec.help, line + strspn(line, " "));
    free(row->help);
    row->spec.help = row->help = help;
    return 0;
}

// The strings of the table live as long as the process.
static int read_table(struct script *s, char *text, struct err *e)
{
    int in_row = 0, result = 0;
    for (char *line; result == 0 && (line = strsep(&text, "\n"));) {
        size_t margin = strspn(line, " ");
        if (line[0] == '%') {
            result = read_directive(s, line, e);
            in_row = 0;
        } else if (margin && margin <= OPTION_MARGIN && line[margin] == '-') {
            if (!in_row)
                result = begin_options(s, e);
            if (result == 0)
                result = add_row(s, line, e);
            in_row = 1;
        } else if (margin && in_row) {
            result = go_on(&s->row[s->n - 1], line, e);
        } else {
            result = keep(s, line, e);
            in_row = 0;
        }
    }
    if (result == 0 && !s->program.usage)
        result = begin_options(s, e);
    char *after = result == 0 ? kept(s) : NULL;
    if (after && *after)
        result = keep(s, after, e); // with a line's end
    free(after);
    if (*s->pending)
        s->program.after = s->pending;
    return result;
}

// ---- values ----

// All options with an argument are texts to the parser: their values stay as they were written.
static void make_specs(struct script *s)
{
    for (int i = 0; i < s->n; i++) {
        struct script_row *row = &s->row[i];
        struct option_spec *spec = &s->spec[i];
        *spec = row->spec;
        if (!row->variable)
            continue;
        spec->choices = NULL;
        if (row->spec.kind == OPTION_FLAG) {
            spec->value = &row->flag;
        } else if (row->spec.kind == OPTION_TEXTS) {
            spec->value = &row->texts;
        } else {
            row->text = *row->initial ? row->initial : NULL;
            spec->kind = OPTION_TEXT;
            spec->value = &row->text;
        }
    }
    s->spec[s->n] = (struct option_spec)OPT_END;
    s->program.options = s->spec;
}

static int check_row(const struct script *s, const struct script_row *row, struct err *e)
{
    const char *text = row->text;
    if (row->required && !text && row->texts.n == 0)
        return row->spec.letter ? err_set(e, STATUS_USAGE, "-%c %s is missing", row->spec.letter,
                                          row->spec.argument)
                                : err_set(e, STATUS_USAGE, "--%s %s is missing", row->spec.name,
                                          row->spec.argument);
    if (!text || text == row->initial)
        return 0;
    if (row->spec.kind == OPTION_TEXT && !*text && !row->may_be_empty)
        return err_set(e, STATUS_USAGE, "--%s needs a value that is not empty", row->spec.name);
    return option_check(&row->spec, text, e);
}

static int check(const struct script *s, const struct operands *operands)
{
    struct err e;
    int most = s->program.operands_max;
    for (int i = 0; i < s->n; i++)
        if (s->row[i].variable && check_row(s, &s->row[i], &e) < 0)
            return program_usage(&s->program, "%s", e.text);
    if (operands->n < s->program.operands_min || (most >= 0 && operands->n > most))
        return s->operands_missing
                   ? program_usage(&s->program, "%s", s->operands_missing)
                   : program_usage(&s->program, "unexpected operand '%s'", operands->text[0]);
    return 0;
}

static int try_files(const struct script *s)
{
    struct err e;
    for (int i = 0; i < s->n; i++)
        if (s->row[i].is_file && output_try(s->row[i].text, 1, &e) < 0)
            return message_fail(&e);
    return 0;
}

// 'TEXT' as the shell reads it.
static int put_quoted(struct buffer *out, const char *text, struct err *e)
{
    int result = buffer_string(out, "'", e);
    for (; result == 0 && *text; text++)
        result = *text == '\'' ? buffer_string(out, "'\\''", e) : buffer_append(out, text, 1, e);
    return result == 0 ? buffer_string(out, "'", e) : -1;
}

static int put_list(struct buffer *out, const char *variable, char *const *text, int n,
                    struct err *e)
{
    int result = buffer_printf(out, e, "%s=(", variable);
    for (int i = 0; result == 0 && i < n; i++)
        result = put_quoted(out, text[i], e) < 0 ? -1 : buffer_string(out, " ", e);
    return result == 0 ? buffer_string(out, ")\n", e) : -1;
}

static int put_row(struct buffer *out, const struct script_row *row, struct err *e)
{
    const char *text = row->text ? row->text : "";
    if (row->spec.kind == OPTION_TEXTS)
        return put_list(out, row->variable, (char *const *)row->texts.text, row->texts.n, e);
    if (row->spec.kind == OPTION_FLAG)
        text = row->flag ? row->initial : "";
    if (row->spec.kind == OPTION_INT && *text) // without signs and zeros that the shell would read
        return buffer_printf(out, e, "%s=%lld\n", row->variable, strtoll(text, NULL, 10));
    return buffer_printf(out, e, "%s=", row->variable) < 0 || put_quoted(out, text, e) < 0
               ? -1
               : buffer_string(out, "\n", e);
}

// The options of tok that were given, as its words.
static int put_records(struct buffer *out, const struct script *s, struct err *e)
{
    int any = 0, result = 0;
    for (int i = 0; i < s->n && result == 0; i++) {
        const struct script_row *row = &s->row[i];
        if (!row->is_record)
            continue;
        result = any++ ? 0 : buffer_string(out, "records=(", e);
        if (result == 0 && (row->flag || row->text))
            result = buffer_printf(out, e, "--%s", row->spec.name);
        if (result == 0 && row->text && (result = buffer_string(out, "=", e)) == 0)
            result = put_quoted(out, row->text, e);
        if (result == 0)
            result = buffer_string(out, " ", e);
    }
    return result == 0 && any ? buffer_string(out, ")\n", e) : result;
}

static int put_all(const struct script *s, const struct operands *operands, int out, struct err *e)
{
    struct buffer text;
    int result = 0;
    buffer_init(&text, 0);
    for (int i = 0; result == 0 && i < s->n; i++)
        if (s->row[i].variable && !s->row[i].is_record)
            result = put_row(&text, &s->row[i], e);
    if (result == 0)
        result = put_records(&text, s, e);
    if (result == 0)
        result = put_list(&text, "operands", operands->text, operands->n, e);
    if (result == 0)
        result = put_list(&text, "rest", operands->rest, operands->n_rest, e);
    if (result == 0)
        result = io_write(out, text.data, text.size, "assignments", e);
    buffer_release(&text);
    return result;
}

static int run(struct script *s, int argc, char **argv, int out)
{
    static struct operands operands; // for the life of the process, as the table
    struct err e;
    make_specs(s);
    // How many operands there are is looked at below: what is said then is the script's.
    struct program program = s->program;
    program.operands_min = 0;
    program.operands_max = -1;
    int status = program_start(&program, argc, argv, &operands);
    if (status == STATUS_DONE)
        return io_write(out, "exit\n", 5, "assignments", &e) < 0 ? message_fail(&e) : STATUS_DONE;
    if (status > 0)
        return status;
    if ((status = check(s, &operands)) != 0 || (status = try_files(s)) != 0)
        return status;
    return put_all(s, &operands, out, &e) < 0 ? message_fail(&e) : STATUS_DONE;
}

int script_options(const char *name, int argc, char **argv, int table, int out)
{
    struct buffer text;
    struct err e;
    int status;
    static struct script script;
    struct script *s = &script;
    message_program(name);
    buffer_init(&text, TABLE_MAX);
    if (io_read_fd(table, "the table", &text, &e) < 0) {
        status = message_fail(&e);
    } else {
        s->program.name = name;
        s->program.operands_max = -1;
        status = read_table(s, text.data, &e) < 0 ? message_fail(&e) : run(s, argc, argv, out);
    }
    buffer_release(&text);
    return status;
}
