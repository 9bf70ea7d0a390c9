// SPDX-License-Identifier: MIT
#include "commands.h"

#include "base/number.h"
#include "convert/show_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static enum show_form show_form(int html, int color)
{
    enum { AUTO, ALWAYS };
    const char *depth = getenv("COLORTERM");
    if (html)
        return SHOW_HTML;
    int terminal = !toks_common.output && isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
    if (color != ALWAYS && !(color == AUTO && terminal))
        return SHOW_PLAIN;
    return depth && (!strcmp(depth, "truecolor") || !strcmp(depth, "24bit")) ? SHOW_COLOR_24
                                                                             : SHOW_COLOR_256;
}

// "LO,HI"
static int parse_range(const char *text, double *low, double *high)
{
    char word[64];
    size_t n = strcspn(text, ",");
    if (!text[n] || n >= sizeof word)
        return -1;
    memcpy(word, text, n);
    word[n] = 0;
    return number_to_f64(word, low) < 0 || number_to_f64(text + n + 1, high) < 0 || *low >= *high
               ? -1
               : 0;
}

int toks_show(struct call *c)
{
    static const char *const colors[] = {"auto", "always", "never", NULL};
    static struct show_text shown = {.by = "reward", .n = 10, .show = {.low = NAN, .high = NAN}};
    static int html, color;
    static const char *range;
    static const struct option_spec options[] = {
        OPT_TEXT('m', "model", &shown.model, "DIR", "the model whose tokenizer made the stream"),
        OPT_TEXT(0, "by", &shown.by, "COLUMN", "the token column that gives the colours"),
        {OPTION_SIZE, "records", 'n', &shown.n, "N", "how many records", NULL, 0, 0, NULL},
        OPT_SIZE("skip", &shown.skip, "K", "leave out the first K records"),
        OPT_TEXT(0, "range", &range, "LOW,HIGH",
                 "values with the full colours; by default the 2nd and 98th percentile of what is "
                 "shown"),
        OPT_CHOICE("color", &color, colors, "colours in the terminal"),
        OPT_FLAG(0, "html", &html,
                 "write one self-contained HTML file, with the values as tooltips"),
        OPT_TEXT(0, "title", &shown.show.title, "TEXT", "title of the HTML page"),
        OPTIONS_COMMON(&toks_common)};
    static const struct program program = {
        .name = "toks show",
        .operands = "[STREAM]",
        .summary = "Show the text of records, each token coloured by a column.",
        .details = "Blue is above 0 and orange below where the column has both signs; otherwise "
                   "the colour deepens with the value, or with the loss where all are negative. "
                   "Tokens without a value have no colour, those that are not trained are grey.",
        .examples = "  toks show -m sft --by reward scored.toks\n"
                    "  toks show -m sft --by reward --html -o reward.html scored.toks\n",
        .options = options,
        .operands_max = 1};
    int status = toks_start(c, &program, c->argc);
    if (status >= 0)
        return status;
    if (!shown.model)
        return program_usage(&program, "-m DIR is missing: whose tokenizer?");
    if (range && parse_range(range, &shown.show.low, &shown.show.high) < 0)
        return program_usage(&program, "--range: '%s' is not of the form LOW,HIGH", range);
    shown.show.form = show_form(html, color);
    return toks_done(c, show_text(&shown, c->first, toks_common.output, &c->e));
}
