// SPDX-License-Identifier: MIT
#include "toks/show.h"
#include "base/number.h"
#include "base/utf8.h"
#include "stream/parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char reset[] = "\033[0m";
static const char replacement[] = "\xef\xbf\xbd"; // U+FFFD

// ---- values and colours

static double value_at(const struct frame *f, int column, size_t i)
{
    const struct column_data *d = &f->column[column];
    switch (f->header->column[column].type) {
    case COLUMN_U8:
        return d->u8[i];
    case COLUMN_U32:
        return d->u32[i];
    default:
        return d->f32[i];
    }
}

static unsigned char mix(double full, double part)
{
    return (unsigned char)lround(255 + (full - 255) * part);
}

struct rgb show_color(double value, double low, double high)
{
    static const double orange[3] = {240, 140, 50}, blue[3] = {70, 150, 235};
    const double *full = blue;
    double part;
    if (low < 0 && high > 0) {
        full = value < 0 ? orange : blue;
        part = value < 0 ? value / low : value / high;
    } else if (high <= 0) { // nothing but losses: white is the best
        full = orange;
        part = high > low ? (high - value) / (high - low) : 0;
    } else {
        part = high > low ? (value - low) / (high - low) : 0;
    }
    part = part > 1 ? 1 : part > 0 ? part : 0;
    return (struct rgb){mix(full[0], part), mix(full[1], part), mix(full[2], part)};
}

static int mask_column(const struct frame *f)
{
    int mask = header_find(f->header, "mask");
    if (mask < 0 || f->header->column[mask].type != COLUMN_U8 ||
        f->header->column[mask].per != PER_TOKEN)
        return -1;
    return mask;
}

static size_t collect(const struct frame *f, int column, int mask, double *to)
{
    size_t n = 0;
    for (size_t i = 0; i < f->n_tokens; i++) {
        double x = value_at(f, column, i);
        if (isfinite(x) && (mask < 0 || f->column[mask].u8[i] == 1))
            to[n++] = x;
    }
    return n;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// The range that colours the frame's values: their 2nd and 98th percentile, made symmetric where
// both signs occur. Only tokens with mask 1 count, if there are any.
static int find_range(const struct frame *f, int column, double *low, double *high, struct err *e)
{
    double *values = mem_alloc(f->n_tokens, sizeof *values, "values", e);
    if (!values)
        return -1;
    size_t n = collect(f, column, mask_column(f), values);
    if (n == 0)
        n = collect(f, column, -1, values);
    *low = *high = 0;
    if (n) {
        qsort(values, n, sizeof *values, compare);
        *low = values[(n - 1) / 50];
        *high = values[(n - 1) - (n - 1) / 50];
    }
    if (*low < 0 && *high > 0) {
        *high = fmax(*high, -*low);
        *low = -*high;
    }
    free(values);
    return 0;
}

// ---- one token

struct printer {
    const struct show *show;
    const struct frame *frame;
    struct output *out;
    struct err *e;
    int mask;
    double low, high;
    struct buffer bytes; // of tokens, until they make whole characters
    struct buffer text;  // escaped for the form
};

static int put(struct printer *p, const char *s)
{
    return output_write(p->out, s, strlen(s), p->e);
}

// Text from a model must not steer the terminal, nor be markup.
static int escape(struct printer *p, const char *s, size_t n)
{
    int html = p->show->form == SHOW_HTML;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        const char *as = NULL;
        if (c == '\n')
            as = html ? "\xe2\x86\xb5<br>" : "\xe2\x86\xb5\n"; // a visible arrow
        else if ((c < 0x20 && c != '\t') || c == 0x7f)
            as = replacement;
        else if (c == 0xc2 && i + 1 < n && (unsigned char)s[i + 1] < 0xa0) // C1 controls
            as = replacement, i++;
        else if (html && c == '&')
            as = "&amp;";
        else if (html && c == '<')
            as = "&lt;";
        else if (html && c == '>')
            as = "&gt;";
        else if (html && c == '"')
            as = "&quot;";
        if (buffer_append(&p->text, as ? as : s + i, as ? strlen(as) : 1, p->e) < 0)
            return -1;
    }
    return 0;
}

// Could these bytes (1 .. 3) begin a character?
static int is_beginning(const char *s, size_t n)
{
    static const char tails[] = "\x80\x80\x80";
    char c[4];
    for (size_t length = n + 1; length <= 4; length++) {
        for (const char *second = "\x80\x90\xa0"; *second; second++) {
            memcpy(c, s, n);
            memcpy(c + n, tails, length - n);
            if (n == 1)
                c[1] = *second;
            if (utf8_valid_prefix(c, length) == length)
                return 1;
        }
    }
    return 0;
}

// Moves whole characters of `bytes` to `text`; what may yet become one stays, unless `all`.
static int settle(struct printer *p, int all)
{
    size_t at = 0;
    buffer_clear(&p->text);
    while (at < p->bytes.size) {
        const char *s = p->bytes.data + at;
        size_t left = p->bytes.size - at, n = utf8_valid_prefix(s, left);
        if (escape(p, s, n) < 0)
            return -1;
        at += n;
        left -= n;
        if (left == 0 || (!all && left < 4 && is_beginning(s + n, left)))
            break;
        if (buffer_string(&p->text, replacement, p->e) < 0)
            return -1;
        at++;
    }
    memmove(p->bytes.data, p->bytes.data + at, p->bytes.size - at);
    p->bytes.size -= at;
    return 0;
}

static void value_text(const struct frame *f, int column, size_t i, char out[NUMBER_MAX])
{
    if (isnan(value_at(f, column, i)))
        strcpy(out, "null");
    else if (f->header->column[column].type == COLUMN_F32)
        number_from_f32(f->column[column].f32[i], out);
    else
        snprintf(out, NUMBER_MAX, "%.0f", value_at(f, column, i));
}

static int tooltip(struct printer *p, size_t token)
{
    const struct frame *f = p->frame;
    char number[NUMBER_MAX];
    const char *between = "";
    for (size_t c = 0; c < f->n_columns; c++) {
        if (f->header->column[c].per != PER_TOKEN)
            continue;
        value_text(f, (int)c, token, number);
        buffer_clear(&p->text);
        if (escape(p, f->header->column[c].name, strlen(f->header->column[c].name)) < 0 ||
            output_printf(p->out, p->e, "%s%s %s", between, p->text.data, number) < 0)
            return -1;
        between = "&#10;";
    }
    return 0;
}

static int open_span(struct printer *p, size_t token, int trained, double value)
{
    struct rgb c = show_color(value, p->low, p->high);
    if (output_printf(p->out, p->e, "<span%s", trained ? "" : " class=\"u\"") < 0)
        return -1;
    if (!isnan(value) &&
        output_printf(p->out, p->e, " style=\"background:#%02x%02x%02x\"", c.r, c.g, c.b) < 0)
        return -1;
    return put(p, " title=\"") < 0 || tooltip(p, token) < 0 || put(p, "\">") < 0 ? -1 : 0;
}

// Of the 6 x 6 x 6 cube of 256-colour terminals.
static int cube(struct rgb c)
{
    return 16 + 36 * ((c.r * 5 + 127) / 255) + 6 * ((c.g * 5 + 127) / 255) + (c.b * 5 + 127) / 255;
}

static int open_color(struct printer *p, int trained, double value)
{
    struct rgb c = show_color(value, p->low, p->high);
    if (!trained && put(p, "\033[2m") < 0)
        return -1;
    if (isnan(value))
        return 0;
    if (p->show->form == SHOW_COLOR_24)
        return output_printf(p->out, p->e, "\033[38;2;0;0;0;48;2;%d;%d;%dm", c.r, c.g, c.b);
    return output_printf(p->out, p->e, "\033[38;5;16;48;5;%dm", cube(c));
}

// Colours end before a line does, or the terminal fills the rest of the line.
static int print_lines(struct printer *p, int trained, double value)
{
    const char *s = p->text.data, *end = s + p->text.size;
    while (s < end) {
        const char *line = memchr(s, '\n', (size_t)(end - s));
        size_t n = line ? (size_t)(line - s) : (size_t)(end - s);
        if (open_color(p, trained, value) < 0 || output_write(p->out, s, n, p->e) < 0 ||
            put(p, reset) < 0 || (line && put(p, "\n") < 0))
            return -1;
        s += n + (line != NULL);
    }
    return 0;
}

static int print_token(struct printer *p, size_t sequence, size_t token)
{
    const struct frame *f = p->frame;
    size_t first = f->start[sequence];
    double value = value_at(f, p->show->column, token);
    int trained = p->mask < 0 || f->column[p->mask].u8[token] == 1;
    if (p->show->form == SHOW_HTML && open_span(p, token, trained, value) < 0)
        return -1;
    if (p->show->piece(p->show->arg, f->column[COLUMN_TOKEN].u32[token], token == first, &p->bytes,
                       p->e) < 0 ||
        settle(p, token + 1 == f->start[sequence + 1]) < 0)
        return -1;
    if (p->show->form == SHOW_HTML)
        return output_write(p->out, p->text.data, p->text.size, p->e) < 0 ? -1 : put(p, "</span>");
    if (p->show->form == SHOW_PLAIN)
        return output_write(p->out, p->text.data, p->text.size, p->e);
    return print_lines(p, trained, value);
}

// ---- one record

static int print_fact(struct printer *p, size_t column, size_t i)
{
    const struct frame *f = p->frame;
    const struct column *c = &f->header->column[column];
    char number[NUMBER_MAX];
    size_t size;
    buffer_clear(&p->text);
    if (escape(p, c->name, strlen(c->name)) < 0 || buffer_string(&p->text, " ", p->e) < 0)
        return -1;
    if (c->type == COLUMN_STRING) {
        const char *text = frame_string(f, (int)column, i, &size);
        if (size == 0)
            return 0;
        if (escape(p, text, size) < 0)
            return -1;
    } else {
        if (isnan(value_at(f, (int)column, i)))
            return 0;
        value_text(f, (int)column, i, number);
        if (buffer_string(&p->text, number, p->e) < 0)
            return -1;
    }
    if (put(p, "  ") < 0)
        return -1;
    return output_write(p->out, p->text.data, p->text.size, p->e);
}

// Sum and mean over the trained tokens.
static int print_sum(struct printer *p, size_t i)
{
    const struct frame *f = p->frame;
    double sum = 0;
    size_t n = 0;
    for (size_t t = f->start[i]; t < f->start[i + 1]; t++) {
        double x = value_at(f, p->show->column, t);
        if (isnan(x) || (p->mask >= 0 && f->column[p->mask].u8[t] != 1))
            continue;
        sum += x;
        n++;
    }
    const char *name = f->header->column[p->show->column].name;
    buffer_clear(&p->text);
    if (n == 0 || escape(p, name, strlen(name)) < 0)
        return n == 0 ? 0 : -1;
    return output_printf(p->out, p->e, "  sum:%s %.6g  mean:%s %.6g", p->text.data, sum,
                         p->text.data, sum / (double)n);
}

static int print_heading(struct printer *p, size_t i)
{
    const struct frame *f = p->frame;
    size_t size;
    const char *id = frame_string(f, COLUMN_ID, i, &size);
    int html = p->show->form == SHOW_HTML;
    buffer_clear(&p->text);
    if (escape(p, id, size) < 0 ||
        put(p, html                          ? "<section><h2>"
               : p->show->form == SHOW_PLAIN ? ""
                                             : "\033[1m") < 0 ||
        output_write(p->out, p->text.data, p->text.size, p->e) < 0 ||
        put(p, html                          ? "</h2><p class=\"f\">"
               : p->show->form == SHOW_PLAIN ? ""
                                             : reset) < 0)
        return -1;
    for (size_t c = COLUMN_TOKEN + 1; c < f->n_columns; c++)
        if (f->header->column[c].per == PER_SEQUENCE && print_fact(p, c, i) < 0)
            return -1;
    return print_sum(p, i) < 0 ? -1 : put(p, html ? "</p><p class=\"t\">" : "\n");
}

static int print_record(struct printer *p, size_t i)
{
    const struct frame *f = p->frame;
    if (print_heading(p, i) < 0)
        return -1;
    buffer_clear(&p->bytes);
    for (size_t t = f->start[i]; t < f->start[i + 1]; t++)
        if (print_token(p, i, t) < 0)
            return -1;
    return put(p, p->show->form == SHOW_HTML ? "</p></section>\n" : "\n\n");
}

// ---- the whole

static const char page[] =
    "<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width\">\n<title>%s</title>\n<style>\n"
    "body{font-family:sans-serif;max-width:60em;margin:2em auto;padding:0 1em;background:#fff;"
    "color:#111}\n"
    "h1{font-size:1.2em}h2{font-size:1em;margin:0}\n"
    "section{border-top:1px solid #ccc;padding:.8em 0}\n"
    ".f{color:#666;font-size:.8em;margin:.2em 0;white-space:pre-wrap}\n"
    ".t{font-family:monospace;white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.6;"
    "margin:.4em 0}\n"
    ".u{color:#999}\n.t span:hover{outline:1px solid #000}\n"
    ".l span{padding:.1em .6em;font-family:monospace}\n"
    "</style></head><body>\n<h1>%s</h1>\n<p class=\"l\">";

// Five colours from one end to the other, with their values.
static int print_scale(struct printer *p, const char *name)
{
    enum { STEPS = 5 };
    if (output_printf(p->out, p->e, "%s: ", name) < 0)
        return -1;
    for (int i = 0; i < STEPS; i++) {
        double x = p->low + (p->high - p->low) * i / (STEPS - 1);
        struct rgb c = show_color(x, p->low, p->high);
        if (p->show->form == SHOW_HTML) {
            if (output_printf(p->out, p->e, "<span style=\"background:#%02x%02x%02x\">%.3g</span>",
                              c.r, c.g, c.b, x) < 0)
                return -1;
            continue;
        }
        if (p->show->form != SHOW_PLAIN && open_color(p, 1, x) < 0)
            return -1;
        if (output_printf(p->out, p->e, " %.3g ", x) < 0 ||
            (p->show->form != SHOW_PLAIN && put(p, reset) < 0))
            return -1;
    }
    return 0;
}

static int print_opening(struct printer *p)
{
    const char *name = p->frame->header->column[p->show->column].name;
    struct buffer title;
    buffer_init(&title, 0);
    int html = p->show->form == SHOW_HTML, result = 0;
    if (html) {
        buffer_clear(&p->text);
        result = escape(p, p->show->title, strlen(p->show->title));
        if (result == 0)
            result = output_printf(p->out, p->e, page, p->text.data, p->text.data);
    }
    buffer_clear(&p->text);
    if (result == 0)
        result = escape(p, name, strlen(name));
    if (result == 0)
        result = buffer_append(&title, p->text.data, p->text.size, p->e);
    if (result == 0)
        result = print_scale(p, title.data);
    if (result == 0 && p->mask >= 0)
        result = html ? put(p, " &nbsp; <span class=\"u\">not trained</span>")
                 : p->show->form == SHOW_PLAIN
                     ? 0
                     : output_printf(p->out, p->e, "  \033[2mnot trained%s", reset);
    if (result == 0)
        result = put(p, html ? "</p>\n" : "\n\n");
    buffer_release(&title);
    return result;
}

int show_print(const struct show *s, const struct frame *f, struct output *out, struct err *e)
{
    struct printer p = {.show = s, .frame = f, .out = out, .e = e, .mask = mask_column(f)};
    if (find_range(f, s->column, &p.low, &p.high, e) < 0)
        return -1;
    if (!isnan(s->low))
        p.low = s->low;
    if (!isnan(s->high))
        p.high = s->high;
    buffer_init(&p.bytes, 0);
    buffer_init(&p.text, 0);
    int result = buffer_reserve(&p.bytes, 64, e);
    if (result == 0)
        result = print_opening(&p);
    for (size_t i = 0; i < f->n_sequences && result == 0; i++)
        result = print_record(&p, i);
    if (result == 0 && s->form == SHOW_HTML)
        result = put(&p, "</body></html>\n");
    buffer_release(&p.bytes);
    buffer_release(&p.text);
    return result;
}
