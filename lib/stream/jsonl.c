// SPDX-License-Identifier: MIT
#include "stream/jsonl.h"
#include "base/number.h"
#include "base/utf8.h"
#include "stream/parts.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- printing

static int print_string(const char *text, size_t size, struct buffer *out, struct err *e)
{
    if (size > SIZE_MAX / 8 || buffer_reserve(out, 6 * size + 2, e) < 0)
        return -1;
    static const char short_escape[] = "btn\0fr"; // of U+0008 .. U+000D
    char *to = out->data + out->size;
    *to++ = '"';
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            *to++ = (char)c;
            continue;
        }
        *to++ = '\\';
        if (c >= 0x20) {
            *to++ = (char)c;
        } else if (c >= 8 && c <= 13 && c != 11) {
            *to++ = short_escape[c - 8];
        } else {
            memcpy(to, "u00", 3);
            to[3] = (char)('0' + (c >> 4));
            to[4] = "0123456789ABCDEF"[c & 15];
            to += 5;
        }
    }
    *to++ = '"';
    *to = 0;
    out->size = (size_t)(to - out->data);
    return 0;
}

static char *print_u32(char *to, uint32_t value)
{
    char digits[10];
    int n = 0;
    do
        digits[n++] = (char)('0' + value % 10);
    while (value /= 10);
    while (n)
        *to++ = digits[--n];
    return to;
}

// At most NUMBER_MAX bytes.
static char *print_value(char *to, const struct column_data *d, enum column_type type, size_t i)
{
    if (type == COLUMN_U8)
        return print_u32(to, d->u8[i]);
    if (type == COLUMN_U32)
        return print_u32(to, d->u32[i]);
    if (isnan(d->f32[i])) {
        memcpy(to, "null", 4);
        return to + 4;
    }
    return to + number_from_f32(d->f32[i], to);
}

static int print_values(const struct column_data *d, const struct column *c, size_t begin,
                        size_t end, struct buffer *out, struct err *e)
{
    if (end - begin > SIZE_MAX / 64 ||
        buffer_reserve(out, (end - begin + 1) * (NUMBER_MAX + 1) + 2, e) < 0)
        return -1;
    char *to = out->data + out->size;
    if (c->per == PER_TOKEN)
        *to++ = '[';
    for (size_t i = begin; i < end; i++) {
        if (i > begin)
            *to++ = ',';
        to = print_value(to, d, c->type, i);
    }
    if (c->per == PER_TOKEN)
        *to++ = ']';
    *to = 0;
    out->size = (size_t)(to - out->data);
    return 0;
}

static int print_cell(const struct frame *f, size_t column, size_t i, struct buffer *out,
                      struct err *e)
{
    const struct column *c = &f->header->column[column];
    const struct column_data *d = &f->column[column];
    if (c->type == COLUMN_STRING) {
        size_t size;
        const char *text = frame_string(f, (int)column, i, &size);
        return print_string(text, size, out, e);
    }
    if (c->per == PER_SEQUENCE)
        return print_values(d, c, i, i + 1, out, e);
    return print_values(d, c, f->start[i], f->start[i + 1], out, e);
}

int jsonl_print_record(const struct frame *f, size_t i, struct buffer *out, struct err *e)
{
    for (size_t c = 0; c < f->n_columns; c++) {
        const char *name = f->header->column[c].name;
        if (buffer_append(out, c ? "," : "{", 1, e) < 0 ||
            print_string(name, strlen(name), out, e) < 0 || buffer_append(out, ":", 1, e) < 0 ||
            print_cell(f, c, i, out, e) < 0)
            return -1;
    }
    return buffer_append(out, "}\n", 2, e);
}

// ---- scanning: strict JSON (RFC 8259)

struct scanner {
    const char *start, *p, *end;
    struct err *e;
};

static int bad(struct scanner *s, const char *what)
{
    return err_set(s->e, STATUS_STREAM, "not valid JSON: %s at byte %zu of the line", what,
                   (size_t)(s->p - s->start) + 1);
}

static void skip_space(struct scanner *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\r' || *s->p == '\n'))
        s->p++;
}

// The next character that is no space; 0 at the end.
static char peek(struct scanner *s)
{
    skip_space(s);
    return s->p < s->end ? *s->p : 0;
}

static int take(struct scanner *s, char c)
{
    if (peek(s) != c)
        return 0;
    s->p++;
    return 1;
}

static int scan_hex(struct scanner *s, unsigned *value)
{
    *value = 0;
    if (s->end - s->p < 4)
        return bad(s, "a broken \\u");
    for (int i = 0; i < 4; i++) {
        char c = *s->p++;
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
                                                : 16;
        if (digit > 15)
            return bad(s, "a broken \\u");
        *value = *value * 16 + digit;
    }
    return 0;
}

// Behind "\u".
static int scan_unicode(struct scanner *s, struct buffer *out)
{
    unsigned c, low;
    char bytes[4];
    if (scan_hex(s, &c) < 0)
        return -1;
    if (c >= 0xdc00 && c <= 0xdfff)
        return bad(s, "half a surrogate pair");
    if (c >= 0xd800 && c <= 0xdbff) {
        if (s->end - s->p < 2 || s->p[0] != '\\' || s->p[1] != 'u')
            return bad(s, "half a surrogate pair");
        s->p += 2;
        if (scan_hex(s, &low) < 0)
            return -1;
        if (low < 0xdc00 || low > 0xdfff)
            return bad(s, "half a surrogate pair");
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    return buffer_append(out, bytes, utf8_put(c, bytes), s->e);
}

static int scan_escape(struct scanner *s, struct buffer *out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (s->p == s->end)
        return bad(s, "a text without end");
    char c = *s->p++;
    if (c == 'u')
        return scan_unicode(s, out);
    const char *place = c ? strchr(from, c) : NULL;
    if (!place)
        return bad(s, "an unknown escape");
    return buffer_append(out, &to[place - from], 1, s->e);
}

// Replaces what `out` holds.
static int scan_string(struct scanner *s, struct buffer *out)
{
    buffer_clear(out);
    if (!take(s, '"'))
        return bad(s, "a text was expected");
    for (;;) {
        const char *from = s->p;
        while (s->p < s->end && *s->p != '"' && *s->p != '\\' && (unsigned char)*s->p >= 0x20)
            s->p++;
        size_t n = (size_t)(s->p - from), valid = utf8_valid_prefix(from, n);
        if (valid < n) {
            s->p = from + valid;
            return bad(s, "bytes that are not UTF-8");
        }
        if (buffer_append(out, from, n, s->e) < 0)
            return -1;
        if (s->p == s->end)
            return bad(s, "a text without end");
        char c = *s->p;
        if ((unsigned char)c < 0x20)
            return bad(s, "a control character");
        s->p++;
        if (c == '"')
            return 0;
        if (scan_escape(s, out) < 0)
            return -1;
    }
}

static int scan_word(struct scanner *s, const char *word)
{
    size_t n = strlen(word);
    skip_space(s);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
        return 0;
    s->p += n;
    return 1;
}

static int is_digit(const struct scanner *s)
{
    return s->p < s->end && *s->p >= '0' && *s->p <= '9';
}

struct decimal {
    const char *text; // up to the scanner's place
    uint64_t digits;  // all digits as one number, when there are few
    int n_digits;
    int exponent; // of ten, for `digits`
    int negative;
};

static void scan_digits(struct scanner *s, struct decimal *d)
{
    for (; is_digit(s); s->p++) {
        if (d->n_digits || *s->p != '0')
            d->n_digits++;
        if (d->n_digits < 18)
            d->digits = d->digits * 10 + (uint64_t)(*s->p - '0');
    }
}

static int scan_exponent(struct scanner *s, struct decimal *d)
{
    s->p++;
    int negative = s->p < s->end && *s->p == '-', value = 0;
    if (s->p < s->end && (*s->p == '-' || *s->p == '+'))
        s->p++;
    if (!is_digit(s))
        return bad(s, "a broken number");
    for (; is_digit(s); s->p++)
        if (value < 100000)
            value = value * 10 + (*s->p - '0');
    d->exponent += negative ? -value : value;
    return 0;
}

static int scan_decimal(struct scanner *s, struct decimal *d)
{
    memset(d, 0, sizeof *d);
    skip_space(s);
    d->text = s->p;
    d->negative = s->p < s->end && *s->p == '-';
    s->p += d->negative;
    if (!is_digit(s))
        return bad(s, "a number was expected");
    const char *first = s->p;
    scan_digits(s, d);
    if (*first == '0' && s->p > first + 1)
        return bad(s, "a number with a leading zero");
    if (s->p < s->end && *s->p == '.') {
        s->p++;
        if (!is_digit(s))
            return bad(s, "a broken number");
        const char *fraction = s->p;
        scan_digits(s, d);
        d->exponent = -(int)(s->p - fraction > 100000 ? 100000 : s->p - fraction);
    }
    if (s->p < s->end && (*s->p == 'e' || *s->p == 'E'))
        return scan_exponent(s, d);
    return 0;
}

// The nearest float. Rounding first to double and then to float differs from that only where the
// double falls on the middle between two floats: those, and what is not exact in double, take the
// slow way.
static float decimal_to_f32(const struct decimal *d)
{
    static const double power[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                   1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                   1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (d->n_digits <= 15 && d->exponent >= -22 && d->exponent <= 22) {
        double x = (double)d->digits;
        x = d->exponent < 0 ? x / power[-d->exponent] : x * power[d->exponent];
        uint64_t bits;
        memcpy(&bits, &x, sizeof bits);
        if (d->digits == 0 || (x > 0x1p-126 && x < 0x1p127 && (bits & 0x1fffffff) != 0x10000000))
            return (float)(d->negative ? -x : x);
    }
    return strtof(d->text, NULL); // the line ends with a character that is no number's
}

static int scan_f32(struct scanner *s, float *value)
{
    struct decimal d;
    if (peek(s) == 'n' && scan_word(s, "null")) {
        *value = NAN;
        return 0;
    }
    if (scan_decimal(s, &d) < 0)
        return -1;
    *value = decimal_to_f32(&d);
    return 0;
}

static int scan_whole(struct scanner *s, uint32_t limit, uint32_t *value)
{
    struct decimal d;
    skip_space(s);
    const char *at = s->p;
    if (scan_decimal(s, &d) < 0)
        return -1;
    for (const char *p = at; p < s->p; p++)
        if (*p < '0' || *p > '9')
            goto failed;
    if (d.n_digits > 10 || d.digits > limit)
        goto failed;
    *value = (uint32_t)d.digits;
    return 0;
failed:
    return err_set(s->e, STATUS_STREAM, "`%.*s` is not a whole number in 0 .. %u",
                   (int)(s->p - at > 40 ? 40 : s->p - at), at, limit);
}

static int scan_number(struct scanner *s, struct column_data *d, enum column_type type, size_t at)
{
    uint32_t whole = 0;
    if (type == COLUMN_F32)
        return scan_f32(s, &d->f32[at]);
    if (scan_whole(s, type == COLUMN_U8 ? UINT8_MAX : UINT32_MAX, &whole) < 0)
        return -1;
    if (type == COLUMN_U8)
        d->u8[at] = (uint8_t)whole;
    else
        d->u32[at] = whole;
    return 0;
}

// ---- records

int jsonl_parser_init(struct jsonl_parser *t, size_t n_columns, struct err *e)
{
    memset(t, 0, sizeof *t);
    t->n_columns = n_columns;
    buffer_init(&t->key, 0);
    buffer_init(&t->text, 0);
    t->n_values = mem_alloc(n_columns, sizeof *t->n_values, "a parser", e);
    t->got = mem_alloc(n_columns, sizeof *t->got, "a parser", e);
    if (t->n_values && t->got)
        return 0;
    jsonl_parser_release(t);
    return -1;
}

void jsonl_parser_release(struct jsonl_parser *t)
{
    free(t->n_values);
    free(t->got);
    buffer_release(&t->key);
    buffer_release(&t->text);
    memset(t, 0, sizeof *t);
}

static int scan_array(struct scanner *s, struct column_data *d, enum column_type type, size_t begin,
                      size_t *n_values)
{
    size_t n = 0;
    if (!take(s, '['))
        return err_set(s->e, STATUS_STREAM, "not an array");
    if (!take(s, ']')) {
        do {
            if (begin + n >= d->capacity && column_reserve(d, type, begin + n + 1, s->e) < 0)
                return -1;
            if (scan_number(s, d, type, begin + n) < 0)
                return -1;
            n++;
        } while (take(s, ','));
        if (!take(s, ']'))
            return bad(s, "`,` or `]` was expected");
    }
    *n_values = n;
    return 0;
}

static int scan_text(struct scanner *s, struct jsonl_parser *t, struct column_data *d, size_t at)
{
    size_t end;
    if (peek(s) != '"')
        return err_set(s->e, STATUS_STREAM, "not a text");
    if (scan_string(s, &t->text) < 0)
        return -1;
    if (__builtin_add_overflow(d->string[at], t->text.size, &end))
        return err_memory(s->e, t->text.size, "a column of text");
    if (column_reserve_bytes(d, end, s->e) < 0)
        return -1;
    if (t->text.size)
        memcpy(d->bytes + d->string[at], t->text.data, t->text.size);
    d->string[at + 1] = end;
    return 0;
}

static int scan_cell(struct scanner *s, struct jsonl_parser *t, struct frame *f, size_t column)
{
    const struct column *c = &f->header->column[column];
    struct column_data *d = &f->column[column];
    if (c->per == PER_TOKEN)
        return scan_array(s, d, c->type, f->n_tokens, &t->n_values[column]);
    if (column_reserve(d, c->type, f->n_sequences + 1, s->e) < 0)
        return -1;
    if (c->type == COLUMN_STRING)
        return scan_text(s, t, d, f->n_sequences);
    return scan_number(s, d, c->type, f->n_sequences);
}

// Keys come in the order of the columns, mostly.
static int find_column(const struct jsonl_parser *t, const struct frame *f, size_t guess)
{
    if (strlen(t->key.data) != t->key.size)
        return -1;
    if (guess < t->n_columns && !strcmp(f->header->column[guess].name, t->key.data))
        return (int)guess;
    for (size_t i = 0; i < t->n_columns; i++)
        if (!strcmp(f->header->column[i].name, t->key.data))
            return (int)i;
    return -1;
}

static int scan_pairs(struct scanner *s, struct jsonl_parser *t, struct frame *f)
{
    int column = -1;
    do {
        if (scan_string(s, &t->key) < 0)
            return -1;
        column = find_column(t, f, (size_t)(column + 1));
        if (column < 0)
            return err_set(s->e, STATUS_STREAM, "the stream has no column `%.255s`", t->key.data);
        if (t->got[column])
            return err_set(s->e, STATUS_STREAM, "column `%s` comes twice", t->key.data);
        t->got[column] = 1;
        if (!take(s, ':'))
            return bad(s, "`:` was expected");
        if (scan_cell(s, t, f, (size_t)column) < 0)
            return err_prefix(s->e, "column `%s`", f->header->column[column].name);
    } while (take(s, ','));
    return take(s, '}') ? 0 : bad(s, "`,` or `}` was expected");
}

// Columns that the record does not show, and those of the frame that the stream does not have.
static int fill_rest(const struct jsonl_parser *t, struct frame *f, size_t n_tokens, struct err *e)
{
    for (size_t i = 0; i < f->n_columns; i++) {
        const struct column *c = &f->header->column[i];
        struct column_data *d = &f->column[i];
        size_t begin = c->per == PER_TOKEN ? f->n_tokens : f->n_sequences;
        size_t n = c->per == PER_TOKEN ? n_tokens : 1;
        int got = i < t->n_columns && t->got[i];
        if (got && c->per == PER_TOKEN && t->n_values[i] != n_tokens)
            return err_set(e, STATUS_STREAM, "column `%s` has %zu values for %zu tokens", c->name,
                           t->n_values[i], n_tokens);
        if (got)
            continue;
        if (column_reserve(d, c->type, begin + n, e) < 0)
            return -1;
        if (c->type == COLUMN_STRING)
            d->string[begin + 1] = d->string[begin];
        else
            column_default(d, c->type, begin, begin + n);
    }
    return 0;
}

int jsonl_parse_record(struct jsonl_parser *t, const char *line, size_t size, struct frame *f,
                       struct err *e)
{
    struct scanner s = {line, line, line + size, e};
    memset(t->got, 0, t->n_columns);
    if (!take(&s, '{'))
        return err_set(e, STATUS_STREAM, "not a JSON object");
    if (!take(&s, '}') && scan_pairs(&s, t, f) < 0)
        return -1;
    if (peek(&s) || s.p < s.end)
        return bad(&s, "more than one object");
    if (!t->got[COLUMN_ID])
        return err_set(e, STATUS_STREAM, "no `id`");
    if (!t->got[COLUMN_TOKEN])
        return err_set(e, STATUS_STREAM, "no `token`");
    size_t n = t->n_values[COLUMN_TOKEN];
    if (frame_reserve_sequences(f, f->n_sequences + 1, e) < 0 || fill_rest(t, f, n, e) < 0)
        return -1;
    f->n_tokens += n;
    f->start[++f->n_sequences] = f->n_tokens;
    return 0;
}

// ---- the first record's columns

// Passes over a value of any kind that a record may hold; returns its first character or -1.
static int skip_value(struct scanner *s, struct buffer *scratch)
{
    float number;
    char kind = peek(s);
    if (kind == '"')
        return scan_string(s, scratch) < 0 ? -1 : kind;
    if (kind != '[')
        return scan_f32(s, &number) < 0 ? -1 : kind;
    s->p++;
    if (take(s, ']'))
        return kind;
    do
        if (scan_f32(s, &number) < 0)
            return -1;
    while (take(s, ','));
    return take(s, ']') ? kind : bad(s, "`,` or `]` was expected");
}

static int one_of(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (!strcmp(name, *names))
            return 1;
    return 0;
}

static enum column_type infer_type(const char *name, char kind)
{
    static const char *const tokens[] = {"token", "start", "end", NULL};
    static const char *const numbers[] = {"sample", "generation", "step", "pair", NULL};
    if (kind == '"')
        return COLUMN_STRING;
    if (kind == '[' && !strcmp(name, "mask"))
        return COLUMN_U8;
    return one_of(name, kind == '[' ? tokens : numbers) ? COLUMN_U32 : COLUMN_F32;
}

static int infer_pairs(struct scanner *s, struct stream_header *h, struct buffer *key,
                       struct buffer *scratch)
{
    do {
        if (scan_string(s, key) < 0)
            return -1;
        if (strlen(key->data) != key->size)
            return err_set(s->e, STATUS_STREAM, "a column's name holds a NUL");
        if (!take(s, ':'))
            return bad(s, "`:` was expected");
        int kind = skip_value(s, scratch);
        if (kind < 0)
            return -1;
        if (header_add_column(h, key->data, infer_type(key->data, (char)kind),
                              kind == '[' ? PER_TOKEN : PER_SEQUENCE, s->e) < 0)
            return -1;
    } while (take(s, ','));
    return take(s, '}') ? 0 : bad(s, "`,` or `}` was expected");
}

// Records that tok reads are JSON lines too: no `token` is a sign of them, whatever else is wrong.
static int without_token(const struct stream_header *h, const char *line, size_t size,
                         struct err *e)
{
    static const char key[] = "\"token\"";
    struct err why = *e;
    if (header_find(h, "token") >= 0 || memmem(line, size, key, sizeof key - 1))
        return -1;
    return err_set(e, STATUS_STREAM,
                   "%s: this is text, not a token stream; `tok -m MODEL` makes one of it",
                   why.text);
}

int jsonl_infer_columns(struct stream_header *h, const char *line, size_t size, struct err *e)
{
    struct scanner s = {line, line, line + size, e};
    struct buffer key, scratch;
    buffer_init(&key, 0);
    buffer_init(&scratch, 0);
    int result = take(&s, '{') ? 0 : err_set(e, STATUS_STREAM, "not a JSON object");
    if (result == 0 && !take(&s, '}'))
        result = infer_pairs(&s, h, &key, &scratch);
    buffer_release(&key);
    buffer_release(&scratch);
    if (result == 0 && header_find(h, "token") < 0)
        result = err_set(e, STATUS_STREAM, "no `token`");
    if (result < 0 && e->status == STATUS_STREAM)
        return without_token(h, line, size, e);
    if (result == 0)
        result = header_place_first(h, e);
    if (result < 0 && e->status != STATUS_MEMORY)
        e->status = STATUS_STREAM;
    return result;
}

int jsonl_is_header(const char *line, size_t size)
{
    static const char key[] = "\"densepath\"";
    struct scanner s = {line, line, line + size, NULL};
    // A record holds these bytes next to never, so the cheap look decides.
    if (!memmem(line, size, key, sizeof key - 1))
        return 0;
    if (take(&s, '{') && peek(&s) == '"' && scan_word(&s, key))
        return 1;          // even if the rest is broken
    if (size > HEADER_MAX) // a record of this size would be a tree of many times as much
        return 0;
    json_t *root = json_loadb(line, size, 0, NULL);
    int found = json_object_get(root, "densepath") != NULL;
    json_decref(root);
    return found;
}
