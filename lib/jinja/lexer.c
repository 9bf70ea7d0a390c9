// SPDX-License-Identifier: MIT
// Source text to tokens. White space around tags is dealt with here: trim_blocks (one newline after
// a block tag goes), lstrip_blocks (blanks before a block tag at the start of a line go), and the
// signs '-' and '+' in tags.
#include "jinja/internal.h"

#include <string.h>

struct lexer {
    struct sandbox *m;
    struct token_array *out;
    const char *begin, *at, *end;
    int line_starts; // the last match ended in a newline
};

static struct token *token_add(struct lexer *x, enum token_type type, const char *s, size_t n)
{
    struct token_array *out = x->out;
    if (out->n == out->capacity) {
        size_t more = out->capacity ? 2 * out->capacity : 64;
        struct token *grown = sandbox_get(x->m, more, sizeof *grown);
        if (out->n)
            memcpy(grown, out->at, out->n * sizeof *grown);
        out->at = grown;
        out->capacity = more;
    }
    struct token *t = &out->at[out->n++];
    t->type = type;
    t->line = x->m->line;
    t->s = s;
    t->n = n;
    return t;
}

static void advance(struct lexer *x, const char *to)
{
    for (const char *p = x->at; p < to; p++)
        x->m->line += *p == '\n';
    if (to > x->at)
        x->line_starts = to[-1] == '\n';
    x->at = to;
}

static int starts(const char *s, const char *end, const char *with)
{
    size_t n = strlen(with);
    return (size_t)(end - s) >= n && memcmp(s, with, n) == 0;
}

// The next "{{", "{%" or "{#".
static const char *find_tag(const char *s, const char *end)
{
    while ((s = memchr(s, '{', (size_t)(end - s)))) {
        if (end - s < 2)
            return NULL;
        if (s[1] == '{' || s[1] == '%' || s[1] == '#')
            return s;
        s++;
    }
    return NULL;
}

// The text before a tag, with what the tag's sign and lstrip_blocks take off its end.
static void add_text(struct lexer *x, const char *end, char sign, int lstrip)
{
    const char *begin = x->at, *stop = end;
    if (sign == '-') {
        stop = string_strip_right(begin, end);
    } else if (sign != '+' && lstrip) {
        const char *line = end;
        while (line > begin && line[-1] != '\n')
            line--;
        if ((line > begin || x->line_starts) && line < end && string_skip_space(line, end) == end)
            stop = line;
    }
    if (stop > begin)
        token_add(x, T_DATA, begin, (size_t)(stop - begin));
    advance(x, end);
}

static char sign_of(const char *s, const char *end)
{
    return s < end && (*s == '-' || *s == '+') ? *s : 0;
}

static void lex_comment(struct lexer *x)
{
    const char *close = x->at;
    while (1) {
        close = close < x->end ? memchr(close, '#', (size_t)(x->end - close)) : NULL;
        if (!close || x->end - close < 2)
            sandbox_fail(x->m, "Missing end of comment tag");
        if (close[1] == '}')
            break;
        close++;
    }
    char sign = close > x->at ? sign_of(close - 1, close) : 0;
    const char *next = close + 2;
    if (sign == '-')
        next = string_skip_space(next, x->end);
    else if (sign != '+' && next < x->end && *next == '\n')
        next++;
    advance(x, next);
}

// "{%" sign, "raw", "%}": where the raw text begins, or NULL when this is another tag.
static const char *raw_begins(struct lexer *x, const char *s)
{
    s = string_skip_space(s, x->end);
    if (!starts(s, x->end, "raw"))
        return NULL;
    s = string_skip_space(s + 3, x->end);
    if (starts(s, x->end, "-%}"))
        return string_skip_space(s + 3, x->end);
    return starts(s, x->end, "%}") ? s + 2 : NULL;
}

static void lex_raw(struct lexer *x)
{
    for (const char *s = x->at; s < x->end; s++) {
        s = find_tag(s, x->end);
        if (!s)
            break;
        if (s[1] != '%')
            continue;
        const char *p = s + 2;
        char sign = sign_of(p, x->end);
        p = string_skip_space(p + (sign != 0), x->end);
        if (!starts(p, x->end, "endraw"))
            continue;
        p = string_skip_space(p + 6, x->end);
        const char *next;
        if (starts(p, x->end, "+%}"))
            next = p + 3;
        else if (starts(p, x->end, "-%}"))
            next = string_skip_space(p + 3, x->end);
        else if (starts(p, x->end, "%}"))
            next = p + 2 + (p + 2 < x->end && p[2] == '\n');
        else
            continue;
        add_text(x, s, sign, 1);
        advance(x, next);
        return;
    }
    sandbox_fail(x->m, "Missing end of raw directive");
}

// ---- inside a tag -------------------------------------------------------------------------------

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 32;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// Python's escapes. What is not an escape keeps its backslash.
static size_t unescape(struct lexer *x, const char *s, const char *end, char *out)
{
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    char *o = out;
    while (s < end) {
        if (*s != '\\' || s + 1 == end) {
            *o++ = *s++;
            continue;
        }
        char c = s[1];
        const char *simple = strchr(from, c);
        if (c && simple) {
            *o++ = to[simple - from];
            s += 2;
        } else if (c == '\n') {
            s += 2;
        } else if (c >= '0' && c <= '7') {
            uint32_t code = 0;
            s++;
            for (int i = 0; i < 3 && s < end && *s >= '0' && *s <= '7'; i++)
                code = code * 8 + (uint32_t)(*s++ - '0');
            o += utf8_put(code, o);
        } else if (c == 'x' || c == 'u' || c == 'U') {
            int digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
            uint32_t code = 0;
            s += 2;
            for (int i = 0; i < digits; i++, s++) {
                if (s >= end || hex(*s) < 0)
                    sandbox_fail(x->m, "truncated \\%c escape in a string", c);
                code = code << 4 | (uint32_t)hex(*s);
            }
            if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
                sandbox_fail(x->m, "a string escape that is not a character");
            o += utf8_put(code, o);
        } else if (c == 'N') {
            sandbox_fail(x->m, "\\N{...} escapes are not supported");
        } else {
            *o++ = *s++;
        }
    }
    return (size_t)(o - out);
}

static int lex_string(struct lexer *x)
{
    const char *s = x->at + 1;
    int escapes = 0;
    while (s < x->end && *s != *x->at) {
        if (*s == '\\') {
            escapes = 1;
            s++;
        }
        s++;
    }
    if (s >= x->end)
        return 0;
    struct token *t = token_add(x, T_STRING, x->at, (size_t)(s + 1 - x->at));
    const char *begin = x->at + 1;
    size_t n = (size_t)(s - begin);
    if (escapes) {
        char *out =
            sandbox_get(x->m, n + 1, 1); // an escape is never shorter than what it stands for
        n = unescape(x, begin, s, out);
        begin = out;
    }
    t->value = value_string(begin, n);
    advance(x, s + 1);
    return 1;
}

// digits, with single underscores between; NULL: none.
static const char *digits(const char *s, const char *end)
{
    if (s >= end || *s < '0' || *s > '9')
        return NULL;
    while (s < end) {
        if (*s >= '0' && *s <= '9')
            s++;
        else if (*s == '_' && s + 1 < end && s[1] >= '0' && s[1] <= '9')
            s += 2;
        else
            break;
    }
    return s;
}

static const char *exponent(const char *s, const char *end)
{
    if (s >= end || (*s | 32) != 'e')
        return NULL;
    s++;
    if (s < end && (*s == '+' || *s == '-'))
        s++;
    return digits(s, end);
}

static const char *float_end(const char *s, const char *end)
{
    const char *whole = digits(s, end);
    const char *point = whole && whole < end && *whole == '.' ? digits(whole + 1, end) : NULL;
    const char *e = exponent(point ? point : whole, end);
    return e ? e : point;
}

static const char *based_end(const char *s, const char *end, int *base)
{
    if (end - s < 3 || *s != '0')
        return NULL;
    int b = (s[1] | 32) == 'x' ? 16 : (s[1] | 32) == 'o' ? 8 : (s[1] | 32) == 'b' ? 2 : 0;
    const char *p = s + 2;
    const char *last = NULL;
    while (b && p < end) {
        const char *d = *p == '_' ? p + 1 : p;
        if (d >= end || hex(*d) < 0 || hex(*d) >= b)
            break;
        last = p = d + 1;
    }
    *base = b;
    return last;
}

static void lex_number(struct lexer *x)
{
    const char *s = x->at, *stop;
    int base = 10;
    int after_dot = s > x->begin && s[-1] == '.';
    if (!after_dot && (stop = float_end(s, x->end))) {
        struct token *t = token_add(x, T_FLOAT, s, (size_t)(stop - s));
        double f;
        if (parse_float(s, t->n, &f) < 0)
            sandbox_fail(x->m, "a number that cannot be read");
        t->value = value_float(f);
    } else {
        if (!(stop = based_end(s, x->end, &base))) {
            base = 10;
            stop = digits(s, x->end);
            if (*s == '0') // no leading zeros: 012 is 0 and 12
                for (stop = s + 1; stop < x->end && *stop == '0';)
                    stop++;
        }
        struct token *t = token_add(x, T_INT, s, (size_t)(stop - s));
        int128 i;
        if (parse_int(s, t->n, base, &i) < 0)
            sandbox_fail(x->m, "whole numbers beyond 38 digits are not supported");
        t->value = value_int(i);
    }
    advance(x, stop);
}

static int lex_name(struct lexer *x)
{
    const char *s = x->at;
    while (s < x->end) {
        const char *next = s;
        if (!unicode_word(utf8_step(&next, x->end)))
            break;
        s = next;
    }
    if (s == x->at)
        return 0;
    const char *first = x->at;
    if (!unicode_name_start(utf8_step(&first, x->end)))
        sandbox_fail(x->m, "Invalid character in identifier");
    while (first < s)
        if (!unicode_name_part(utf8_step(&first, s)))
            sandbox_fail(x->m, "Invalid character in identifier");
    token_add(x, T_NAME, x->at, (size_t)(s - x->at));
    advance(x, s);
    return 1;
}

static const struct sign {
    char text[3];
    enum operator op;
} signs[] = {
    {"//", OP_FLOORDIV}, {"**", OP_POW},   {"==", OP_EQ},      {"!=", OP_NE},      {">=", OP_GE},
    {"<=", OP_LE},       {"+", OP_ADD},    {"-", OP_SUB},      {"/", OP_DIV},      {"*", OP_MUL},
    {"%", OP_MOD},       {"~", OP_TILDE},  {"[", OP_LBRACKET}, {"]", OP_RBRACKET}, {"(", OP_LPAREN},
    {")", OP_RPAREN},    {"{", OP_LBRACE}, {"}", OP_RBRACE},   {">", OP_GT},       {"<", OP_LT},
    {"=", OP_ASSIGN},    {".", OP_DOT},    {":", OP_COLON},    {"|", OP_PIPE},     {",", OP_COMMA},
    {";", OP_SEMICOLON},
};

enum { NESTING = 256 };

// Brackets must match: inside them "}}" and "%}" are no ends.
static void balance(struct lexer *x, enum operator op, enum operator* open, int *n)
{
    enum operator closing = op == OP_LPAREN ? OP_RPAREN
    : op == OP_LBRACKET                     ? OP_RBRACKET
    : op == OP_LBRACE                       ? OP_RBRACE
                                            : OP_NONE;
    if (closing) {
        if (*n == NESTING)
            sandbox_fail(x->m, "brackets nested more than %d deep", NESTING);
        open[(*n)++] = closing;
    } else if (op == OP_RPAREN || op == OP_RBRACKET || op == OP_RBRACE) {
        char c = *x->at;
        if (*n == 0)
            sandbox_fail(x->m, "unexpected '%c'", c);
        if (open[--*n] != op)
            sandbox_fail(x->m, "unexpected '%c', brackets do not match", c);
    }
}

// The end of the tag at x->at, or NULL; trims what follows.
static const char *tag_end(struct lexer *x, int block)
{
    const char *s = x->at, *close = block ? "%}" : "}}";
    char sign = sign_of(s, x->end);
    if (sign == '+' && !block)
        return NULL;
    if (!starts(s + (sign != 0), x->end, close))
        return NULL;
    s += 2 + (sign != 0);
    if (sign == '-')
        return string_skip_space(s, x->end);
    return block && !sign && s < x->end && *s == '\n' ? s + 1 : s;
}

static void lex_tag(struct lexer *x, int block)
{
    enum operator open[NESTING];
    int n_open = 0;
    while (1) {
        advance(x, string_skip_space(x->at, x->end));
        if (x->at >= x->end)
            return; // the parser misses the end of the tag
        const char *next = n_open ? NULL : tag_end(x, block);
        if (next) {
            token_add(x, block ? T_BLOCK_END : T_PRINT_END, x->at, 2);
            advance(x, next);
            return;
        }
        char c = *x->at;
        if (c >= '0' && c <= '9') {
            lex_number(x);
            continue;
        }
        if (lex_name(x))
            continue;
        if ((c == '\'' || c == '"') && lex_string(x))
            continue;
        const struct sign *sign = NULL;
        for (size_t i = 0; i < sizeof signs / sizeof *signs && !sign; i++)
            if (starts(x->at, x->end, signs[i].text))
                sign = &signs[i];
        if (!sign) {
            if ((unsigned char)c < 128)
                sandbox_fail(x->m, "unexpected char '%c'", c);
            sandbox_fail(x->m, "unexpected character in a tag");
        }
        balance(x, sign->op, open, &n_open);
        size_t n = strlen(sign->text);
        token_add(x, T_OPERATOR, x->at, n)->op = sign->op;
        advance(x, x->at + n);
    }
}

static void lex_root(struct lexer *x)
{
    while (x->at < x->end) {
        const char *tag = find_tag(x->at, x->end);
        if (!tag) {
            token_add(x, T_DATA, x->at, (size_t)(x->end - x->at));
            advance(x, x->end);
            break;
        }
        char kind = tag[1], sign = sign_of(tag + 2, x->end);
        const char *next = tag + 2 + (sign != 0);
        add_text(x, tag, sign, kind != '{');
        const char *raw = kind == '%' ? raw_begins(x, next) : NULL;
        if (raw) {
            advance(x, raw);
            lex_raw(x);
        } else if (kind == '#') {
            advance(x, next);
            lex_comment(x);
        } else {
            token_add(x, kind == '%' ? T_BLOCK_BEGIN : T_PRINT_BEGIN, tag, 2);
            advance(x, next);
            lex_tag(x, kind == '%');
        }
    }
}

void template_lex(struct sandbox *m, const char *source, size_t size, struct token_array *out)
{
    if (utf8_valid_prefix(source, size) != size)
        sandbox_fail(m, "the template is not UTF-8");
    // All newlines become LF; one at the very end goes.
    char *text = sandbox_get(m, size + 1, 1);
    size_t n = 0;
    for (size_t i = 0; i < size; i++) {
        if (source[i] == '\r') {
            text[n++] = '\n';
            i += i + 1 < size && source[i + 1] == '\n';
        } else {
            text[n++] = source[i];
        }
    }
    if (n && text[n - 1] == '\n')
        n--;
    struct lexer x = {.m = m, .out = out, .begin = text, .at = text, .end = text + n};
    x.line_starts = 1;
    m->line = 1;
    lex_root(&x);
    token_add(&x, T_END, x.end, 0);
}
