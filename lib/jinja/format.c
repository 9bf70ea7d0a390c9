// SPDX-License-Identifier: MIT
// Numbers as text, '%' formatting, str.format, json.dumps, strftime: as Python does each.
#include "jinja/internal.h"

#include <ctype.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FIELD_MAX = 1 << 20, PRECISION_MAX = 400 };

// ---- numbers ------------------------------------------------------------------------------------

static size_t int_digits(unsigned __int128 u, unsigned base, int upper, char out[130])
{
    char backwards[130];
    size_t n = 0;
    do {
        backwards[n++] = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[u % base];
        u /= base;
    } while (u);
    for (size_t i = 0; i < n; i++)
        out[i] = backwards[n - 1 - i];
    out[n] = 0;
    return n;
}

static unsigned __int128 magnitude(int128 i)
{
    return i < 0 ? -(unsigned __int128)i : (unsigned __int128)i;
}

void print_int(struct text *t, int128 i)
{
    char digits[130];
    size_t n = int_digits(magnitude(i), 10, 0, digits);
    if (i < 0)
        text_add(t, "-", 1);
    text_add(t, digits, n);
}

// The fewest digits that read back to the same double: every decimal of 15 digits survives, so if
// 15 do, dropping their trailing zeros gives the shortest. Subnormal numbers hold fewer digits.
static int shortest(double f, char digits[32], int *exponent)
{
    char text[40];
    for (int precision = f < DBL_MIN ? 1 : 15; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision - 1, f);
        if (strtod(text, NULL) == f)
            break;
    }
    int n = 0;
    const char *p = text;
    for (; *p && *p != 'e'; p++)
        if (*p != '.')
            digits[n++] = *p;
    *exponent = atoi(p + 1);
    while (n > 1 && digits[n - 1] == '0')
        n--;
    digits[n] = 0;
    return n;
}

void print_float(struct text *t, double f)
{
    if (isnan(f) || isinf(f)) {
        text_string(t, isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
        return;
    }
    if (signbit(f))
        text_add(t, "-", 1);
    char digits[32];
    int exponent, n = shortest(fabs(f), digits, &exponent);
    if (exponent < -4 || exponent >= 16) {
        text_add(t, digits, 1);
        if (n > 1)
            text_printf(t, ".%s", digits + 1);
        text_printf(t, "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
    } else if (exponent < 0) {
        text_string(t, "0.");
        text_pad(t, '0', (size_t)(-exponent - 1));
        text_add(t, digits, (size_t)n);
    } else if (n <= exponent + 1) {
        text_add(t, digits, (size_t)n);
        text_pad(t, '0', (size_t)(exponent + 1 - n));
        text_string(t, ".0");
    } else {
        text_add(t, digits, (size_t)exponent + 1);
        text_printf(t, ".%s", digits + exponent + 1);
    }
}

static int digit_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : isalpha((unsigned char)c) ? (c | 32) - 'a' + 10 : 99;
}

// Decimal digits of every script count; 99: none.
static int next_digit(const char **s, const char *end)
{
    int d;
    if ((unsigned char)**s < 0x80)
        return digit_of(*(*s)++);
    return unicode_digit(utf8_step(s, end), &d) ? d : 99;
}

int parse_int(const char *s, size_t n, int base, int128 *out)
{
    string_trim(&s, &n);
    const char *end = s + n;
    int negative = n && *s == '-';
    if (n && (*s == '-' || *s == '+'))
        s++;
    if (end - s > 2 && *s == '0' && (base == 16 || base == 8 || base == 2 || base == 0)) {
        char c = (char)(s[1] | 32);
        int says = c == 'x' ? 16 : c == 'o' ? 8 : c == 'b' ? 2 : 0;
        if (says && (base == says || base == 0)) {
            base = says;
            s += 2 + (s[2] == '_');
        }
    }
    if (base == 0)
        base = 10;
    if (s >= end || base < 2 || base > 36)
        return -1;
    int128 value = 0;
    int digit_before = 0;
    while (s < end) {
        if (*s == '_' && digit_before && s + 1 < end) {
            digit_before = 0;
            s++;
            continue;
        }
        int d = next_digit(&s, end);
        if (d >= base || __builtin_mul_overflow(value, (int128)base, &value) ||
            __builtin_add_overflow(value, (int128)d, &value))
            return -1;
        digit_before = 1;
    }
    if (!digit_before)
        return -1;
    *out = negative ? -value : value;
    return 0;
}

// The number's text as strtod reads it; 0 where it would read something else than Python.
static size_t plain_number(const char *s, size_t n, char *text)
{
    const char *end = s + n;
    size_t size = 0;
    while (s < end) {
        int between = size && isdigit((unsigned char)text[size - 1]);
        if (*s == '_' && between && s + 1 < end && next_digit(&(const char *){s + 1}, end) < 10) {
            s++;
            continue;
        }
        if ((unsigned char)*s >= 0x80) {
            int d = next_digit(&s, end);
            if (d > 9)
                return 0;
            text[size++] = (char)('0' + d);
            continue;
        }
        // strtod also reads hexadecimal and nan(...)
        if (!*s || !strchr("0123456789+-.eEinfatyINFATY", *s))
            return 0;
        text[size++] = *s++;
    }
    text[size] = 0;
    return size;
}

int parse_float(const char *s, size_t n, double *out)
{
    char small[64], *text = small, *end;
    string_trim(&s, &n);
    if (n >= sizeof small && !(text = malloc(n + 1)))
        return -1;
    int status = plain_number(s, n, text) ? 0 : -1;
    if (status == 0) {
        *out = strtod(text, &end);
        status = *end ? -1 : 0;
    }
    if (text != small)
        free(text);
    return status;
}

// ---- fields -------------------------------------------------------------------------------------

struct field {
    struct value fill; // one character
    char align, sign, type, grouping;
    int alternate, zero;
    int64_t width, precision; // -1: none
};

static const struct field plain = {.width = -1, .precision = -1};

// Puts `body` (with its sign and prefix of `prefix` bytes) into the field.
static void add_field(struct text *t, const struct field *f, const char *body, size_t n,
                      size_t prefix, char align)
{
    int64_t length = (int64_t)utf8_length(body, n);
    int64_t pad = f->width > length ? f->width - length : 0;
    if (f->align)
        align = f->align;
    int64_t left = align == '>' ? pad : align == '^' ? pad / 2 : 0;
    struct value fill = f->fill.kind == V_STRING ? f->fill : value_cstring(" ");
    if (align == '=') {
        text_add(t, body, prefix);
        body += prefix;
        n -= prefix;
        left = pad;
    }
    for (int64_t i = 0; i < left; i++)
        text_add(t, fill.s, fill.n);
    text_add(t, body, n);
    for (int64_t i = left; i < pad; i++)
        text_add(t, fill.s, fill.n);
}

// Commas or underscores between groups of digits.
static void add_grouped(struct text *t, const char *digits, size_t n, char separator, size_t group)
{
    for (size_t i = 0; i < n; i++) {
        if (separator && i && (n - i) % group == 0)
            text_add(t, &separator, 1);
        text_add(t, digits + i, 1);
    }
}

static void add_sign(struct text *t, int negative, char sign)
{
    if (negative)
        text_add(t, "-", 1);
    else if (sign == '+' || sign == ' ')
        text_add(t, &sign, 1);
}

static void field_int(struct text *out, const struct field *f, int128 i)
{
    struct text t = text_new(out->r);
    unsigned base = f->type == 'x' || f->type == 'X' ? 16
                    : f->type == 'o'                 ? 8
                    : f->type == 'b'                 ? 2
                                                     : 10;
    char digits[130];
    size_t n = int_digits(magnitude(i), base, f->type == 'X', digits);
    add_sign(&t, i < 0, f->sign);
    if (f->alternate && base != 10)
        text_printf(&t, "0%c", f->type);
    size_t prefix = t.n;
    if (f->precision > (int64_t)n) // '%' formatting only
        text_pad(&t, '0', (size_t)f->precision - n);
    add_grouped(&t, digits, n, f->grouping, base == 10 ? 3 : 4);
    add_field(out, f, t.s, t.n, prefix, '>');
}

static void field_float(struct text *out, const struct field *f, double v)
{
    struct text t = text_new(out->r);
    char type = f->type ? f->type : 'r';
    int64_t precision = f->precision;
    int percent = type == '%';
    if (percent) {
        v *= 100;
        type = 'f';
    }
    if (precision > PRECISION_MAX)
        render_fail(out->r, "a precision of %lld is too large", (long long)precision);
    struct text number = text_new(out->r);
    if (type == 'r' && precision < 0) {
        print_float(&number, fabs(v));
    } else if (isnan(v) || isinf(v)) {
        int upper = type == 'F' || type == 'E' || type == 'G';
        text_string(&number, isnan(v) ? (upper ? "NAN" : "nan") : upper ? "INF" : "inf");
    } else {
        char format[16];
        if (type == 'r' || type == 'n')
            type = 'g';
        snprintf(format, sizeof format, "%%%s.*%c", f->alternate ? "#" : "", type);
        char text[PRECISION_MAX + 400];
        snprintf(text, sizeof text, format, (int)(precision < 0 ? 6 : precision), fabs(v));
        text_string(&number, text);
        if (f->type == 0 && !strpbrk(text, ".en"))
            text_string(&number, ".0");
    }
    add_sign(&t, signbit(v) && !isnan(v), f->sign);
    size_t prefix = t.n, whole = 0;
    while (whole < number.n && isdigit((unsigned char)number.s[whole]))
        whole++;
    add_grouped(&t, number.s, whole, f->grouping, 3);
    text_add(&t, number.s + whole, number.n - whole);
    if (percent)
        text_string(&t, "%");
    add_field(out, f, t.s, t.n, prefix, '>');
}

static void field_string(struct text *t, const struct field *f, struct value v, char align)
{
    size_t n = v.n;
    if (f->precision >= 0)
        n = utf8_offset(v.s, v.n, (size_t)f->precision);
    add_field(t, f, v.s, n, 0, align);
}

// ---- '%' ----------------------------------------------------------------------------------------

struct percent {
    struct render *r;
    struct value args;
    int64_t at;   // of a tuple
    int mapped;   // a key was used
    int one_used; // args is no tuple and was used
};

static struct value percent_next(struct percent *p)
{
    if (p->args.kind == V_TUPLE) {
        if (p->at >= (int64_t)p->args.list->n)
            render_fail(p->r, "not enough arguments for format string");
        return list_items(p->r, p->args.list)[p->at++];
    }
    if (p->one_used)
        render_fail(p->r, "not enough arguments for format string");
    p->one_used = 1;
    return p->args;
}

static int64_t percent_number(struct percent *p, const char **s, const char *end)
{
    if (*s < end && **s == '*') {
        (*s)++;
        return value_index(p->r, percent_next(p), "* wants int");
    }
    int64_t n = -1;
    while (*s < end && isdigit((unsigned char)**s)) {
        n = (n < 0 ? 0 : n) * 10 + (**s - '0');
        (*s)++;
        if (n > FIELD_MAX)
            render_fail(p->r, "a field of that width is too large");
    }
    return n;
}

static int128 percent_int(struct render *r, struct value v, char type)
{
    if (v.kind == V_FLOAT && (type == 'd' || type == 'i' || type == 'u')) {
        if (!isfinite(v.f) || fabs(v.f) > 1e37)
            render_fail(r, "cannot convert float to integer");
        return (int128)v.f;
    }
    if (v.kind != V_INT && v.kind != V_BOOL)
        render_fail(r, "%%%c format: a%s is required, not %s", type,
                    type == 'd' ? " real number" : "n integer", type_name(v));
    return v.i;
}

static void percent_one(struct percent *p, struct text *t, struct field *f, char type,
                        struct value v, int markup)
{
    struct render *r = p->r;
    f->type = type;
    switch (type) {
    case 's':
        field_string(t, f, markup ? value_escape(r, v) : value_str(r, v), '>');
        return;
    case 'r':
    case 'a':
        field_string(t, f, (type == 'a' ? value_ascii : value_repr)(r, v), '>');
        return;
    case 'c': {
        char c[4];
        if (v.kind == V_INT || v.kind == V_BOOL) {
            if (v.i < 0 || v.i > 0x10ffff || (v.i >= 0xd800 && v.i <= 0xdfff))
                render_fail(r, "%%c arg not in range(0x110000)");
            v = value_string(c, utf8_put((uint32_t)v.i, c));
        }
        if (v.kind != V_STRING || utf8_length(v.s, v.n) != 1)
            render_fail(r, "%%c requires int or char");
        f->precision = -1;
        field_string(t, f, v, '>');
        return;
    }
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o':
        if (f->zero && !f->align) {
            f->align = '=';
            f->fill = value_cstring("0");
        }
        field_int(t, f, percent_int(r, v, type));
        return;
    default:
        break;
    }
    if (!type || !strchr("eEfFgG", type))
        render_fail(r, "unsupported format character '%c'", type);
    if (!value_is_number(v))
        render_fail(r, "must be real number, not %s", type_name(v));
    if (f->zero && !f->align) {
        f->align = '=';
        f->fill = value_cstring("0");
    }
    if (f->precision < 0)
        f->precision = 6;
    field_float(t, f, value_double(v));
}

static void percent_flags(struct field *f, const char **s, const char *end)
{
    for (; *s < end && **s && strchr("-+ #0", **s); (*s)++) {
        if (**s == '-')
            f->align = '<';
        else if (**s == '+' || (**s == ' ' && f->sign != '+'))
            f->sign = **s;
        else if (**s == '#')
            f->alternate = 1;
        else if (**s == '0')
            f->zero = 1;
    }
}

static struct value percent_key(struct percent *p, const char **s, const char *end)
{
    const char *key = ++*s;
    int open = 1;
    while (*s < end && open) {
        open += **s == '(';
        open -= **s == ')';
        (*s)++;
    }
    if (open)
        render_fail(p->r, "incomplete format key");
    if (p->args.kind != V_DICT)
        render_fail(p->r, "format requires a mapping");
    struct value *v = dict_get_string(p->r, p->args.dict, key, (size_t)(*s - 1 - key));
    if (!v)
        render_fail(p->r, "no key '%.*s' for the format", (int)(*s - 1 - key), key);
    p->mapped = 1;
    return *v;
}

struct value format_percent(struct render *r, struct value format, struct value args)
{
    struct text t = text_new(r);
    struct percent p = {.r = r, .args = args};
    const char *s = format.s, *end = s + format.n;
    while (s < end) {
        const char *next = memchr(s, '%', (size_t)(end - s));
        text_add(&t, s, (size_t)((next ? next : end) - s));
        if (!next)
            break;
        s = next + 1;
        struct field f = plain;
        struct value v = {.kind = V_ABSENT};
        if (s < end && *s == '(')
            v = percent_key(&p, &s, end);
        percent_flags(&f, &s, end);
        f.width = percent_number(&p, &s, end);
        if (f.width > FIELD_MAX || f.width < -FIELD_MAX)
            render_fail(r, "a field of that width is too large");
        if (f.width < -1) {
            f.align = '<';
            f.width = -f.width;
        }
        if (s < end && *s == '.') {
            s++;
            f.precision = percent_number(&p, &s, end);
            if (f.precision < 0)
                f.precision = 0;
        }
        while (s < end && *s && strchr("hlL", *s))
            s++;
        if (s >= end)
            render_fail(r, "incomplete format");
        if (*s == '%' && s == next + 1) {
            text_add(&t, s++, 1);
            continue;
        }
        if (*s == '%')
            render_fail(r, "unsupported format character '%%'");
        if (v.kind == V_ABSENT)
            v = percent_next(&p);
        percent_one(&p, &t, &f, *s++, v, format.markup);
    }
    // Python counts what has items as a mapping, of which not all need be used.
    int mapping = args.kind == V_DICT || args.kind == V_LIST || args.kind == V_RANGE ||
                  args.kind == V_BYTES || args.kind == V_UNDEFINED;
    int all = args.kind == V_TUPLE ? p.at == (int64_t)args.list->n : mapping || p.one_used;
    if (!all && !p.mapped)
        render_fail(r, "not all arguments converted during string formatting");
    struct value out = text_value(&t);
    out.markup = format.markup;
    return out;
}

// ---- str.format ---------------------------------------------------------------------------------

static int64_t spec_number(struct render *r, const char **s, const char *end)
{
    int64_t n = -1;
    while (*s < end && isdigit((unsigned char)**s)) {
        n = (n < 0 ? 0 : n) * 10 + (**s - '0');
        (*s)++;
        if (n > FIELD_MAX)
            render_fail(r, "Too many decimal digits in format string");
    }
    return n;
}

static void spec_parse(struct render *r, struct value spec, struct field *f)
{
    const char *s = spec.s, *end = s + spec.n;
    *f = plain;
    if (s < end) {
        const char *after = s;
        utf8_step(&after, end);
        if (after < end && *after && strchr("<>=^", *after)) {
            f->fill = value_string(s, (size_t)(after - s));
            f->align = *after;
            s = after + 1;
        } else if (*s && strchr("<>=^", *s)) {
            f->align = *s++;
        }
    }
    if (s < end && (*s == '+' || *s == '-' || *s == ' '))
        f->sign = *s++;
    if (s < end && *s == '#') {
        f->alternate = 1;
        s++;
    }
    if (s < end && *s == '0') {
        if (!f->align)
            f->align = '=';
        if (f->fill.kind != V_STRING)
            f->fill = value_cstring("0");
        f->zero = 1;
        s++;
    }
    f->width = spec_number(r, &s, end);
    if (s < end && (*s == ',' || *s == '_'))
        f->grouping = *s++;
    if (s < end && *s == '.') {
        s++;
        f->precision = spec_number(r, &s, end);
        if (f->precision < 0)
            render_fail(r, "Format specifier missing precision");
    }
    if (s < end)
        f->type = *s++;
    if (s < end)
        render_fail(r, "Invalid format specifier");
}

static void spec_apply(struct text *t, struct value v, struct value spec)
{
    struct render *r = t->r;
    struct field f;
    if (spec.n == 0) {
        print_string(t, v);
        return;
    }
    spec_parse(r, spec, &f);
    if (v.kind == V_STRING) {
        if ((f.type && f.type != 's') || f.sign || f.grouping)
            render_fail(r, "Unknown format code for object of type 'str'");
        if (f.zero && f.align == '=')
            f.align = '<';
        field_string(t, &f, v, '<');
    } else if (v.kind == V_FLOAT || (value_is_number(v) && f.type && strchr("eEfFgG%", f.type))) {
        if (f.type && !strchr("eEfFgGn%", f.type))
            render_fail(r, "Unknown format code '%c' for object of type 'float'", f.type);
        field_float(t, &f, value_double(v));
    } else if (value_is_number(v)) {
        if (f.precision >= 0)
            render_fail(r, "Precision not allowed in integer format specifier");
        if (f.type == 'c' || (f.type && !strchr("bdoxXn", f.type)))
            render_fail(r, "Unknown format code '%c' for object of type 'int'", f.type);
        field_int(t, &f, v.i);
    } else {
        render_fail(r, "unsupported format string passed to %s.__format__", type_name(v));
    }
}

struct braces {
    struct arguments *args;
    int64_t automatic; // next number; -1 once numbers were given
    int depth;
};

// "0.name[key]" -> a value.
static struct value braces_field(struct render *r, struct braces *b, const char *s, const char *end)
{
    const char *first = s;
    while (s < end && *s != '.' && *s != '[')
        s++;
    int64_t number = -1;
    struct value v = {.kind = V_ABSENT};
    if (s == first) {
        if (s < end) // string.Formatter numbers only what is empty as a whole
            render_fail(r, "no argument '' for the format");
        if (b->automatic < 0)
            render_fail(
                r, "cannot switch from manual field specification to automatic field numbering");
        number = b->automatic++;
    } else if (isdigit((unsigned char)*first)) {
        const char *p = first;
        number = spec_number(r, &p, s);
        if (b->automatic > 0)
            render_fail(
                r, "cannot switch from automatic field numbering to manual field specification");
        b->automatic = -1;
    }
    if (number >= 0) {
        if ((size_t)number >= b->args->n)
            render_fail(r, "Replacement index %lld out of range for positional args tuple",
                        (long long)number);
        v = b->args->at[number];
    } else {
        for (size_t i = 0; i < b->args->n_keywords; i++) {
            struct value name = b->args->keyword[i].name;
            if (name.n == (size_t)(s - first) && memcmp(name.s, first, name.n) == 0)
                v = b->args->keyword[i].value;
        }
        if (v.kind == V_ABSENT)
            render_fail(r, "no argument '%.*s' for the format", (int)(s - first), first);
    }
    while (s < end) {
        char how = *s++;
        const char *name = s;
        if (how == '.') {
            while (s < end && *s != '.' && *s != '[')
                s++;
            v = value_attribute(r, v, name, (size_t)(s - name));
        } else if (how == '[') {
            while (s < end && *s != ']')
                s++;
            if (s >= end)
                render_fail(r, "Missing ']' in format string");
            int128 index;
            struct value key = value_string(name, (size_t)(s - name));
            if (parse_int(name, key.n, 10, &index) == 0)
                key = value_int(index);
            v = value_item(r, v, key);
            s++;
        } else {
            render_fail(r, "Only '.' or '[' may follow ']' in format field specifier");
        }
    }
    return v;
}

static void braces_fill(struct text *t, struct braces *b, struct value format);

static void braces_one(struct text *t, struct braces *b, const char *s, const char *end, int markup)
{
    struct render *r = t->r;
    const char *name = s;
    int bracket = 0;
    while (s < end && (bracket || (*s != '!' && *s != ':'))) {
        bracket += *s == '[';
        bracket -= *s == ']';
        s++;
    }
    struct value v = braces_field(r, b, name, s);
    if (s < end && *s == '!') {
        if (s + 1 >= end || !s[1] || !strchr("rsa", s[1]))
            render_fail(r, "Unknown conversion specifier");
        v = s[1] == 's' ? value_str(r, v) : s[1] == 'r' ? value_repr(r, v) : value_ascii(r, v);
        s += 2;
        if (s < end && *s != ':')
            render_fail(r, "expected ':' after conversion specifier");
    }
    struct value spec = value_cstring("");
    if (s < end) {
        struct text inner = text_new(r);
        braces_fill(&inner, b, value_string(s + 1, (size_t)(end - s - 1)));
        spec = text_value(&inner);
    }
    if (markup)
        v = value_escape(r, v);
    spec_apply(t, v, spec);
}

static void braces_fill(struct text *t, struct braces *b, struct value format)
{
    struct render *r = t->r;
    const char *s = format.s, *end = s + format.n;
    if (++b->depth > 2)
        render_fail(r, "Max string recursion exceeded");
    while (s < end) {
        char c = *s;
        if (c != '{' && c != '}') {
            const char *begin = s;
            while (s < end && *s != '{' && *s != '}')
                s++;
            text_add(t, begin, (size_t)(s - begin));
            continue;
        }
        if (s + 1 < end && s[1] == c) {
            text_add(t, s, 1);
            s += 2;
            continue;
        }
        if (c == '}')
            render_fail(r, "Single '}' encountered in format string");
        const char *begin = ++s;
        int open = 1;
        while (s < end && open) {
            open += *s == '{';
            open -= *s == '}';
            s++;
        }
        if (open)
            render_fail(r, "expected '}' before end of string");
        braces_one(t, b, begin, s - 1, format.markup);
    }
    b->depth--;
}

struct value format_braces(struct render *r, struct value format, struct arguments *args)
{
    struct text t = text_new(r);
    struct braces b = {.args = args};
    braces_fill(&t, &b, format);
    struct value out = text_value(&t);
    out.markup = format.markup;
    return out;
}

// ---- json.dumps ---------------------------------------------------------------------------------

static void json_escape(struct text *t, uint32_t c)
{
    if (c > 0xffff) {
        c -= 0x10000;
        text_printf(t, "\\u%04x\\u%04x", 0xd800 + (c >> 10), 0xdc00 + (c & 0x3ff));
    } else {
        text_printf(t, "\\u%04x", c);
    }
}

static void json_string_out(struct text *t, struct value v, int ascii)
{
    static const char short_from[] = "\"\\\b\f\n\r\t", short_to[] = "\"\\bfnrt";
    const char *s = v.s, *end = s + v.n, *plain_begin = s;
    text_add(t, "\"", 1);
    while (s < end) {
        const char *at = s;
        uint32_t c = (unsigned char)*s;
        if (c >= 0x20 && c != '"' && c != '\\' && (!ascii || c < 0x7f)) {
            s++; // the bytes of a longer character pass as they are
            continue;
        }
        c = utf8_step(&s, end);
        text_add(t, plain_begin, (size_t)(at - plain_begin));
        plain_begin = s;
        const char *simple = c && c < 0x80 ? strchr(short_from, (int)c) : NULL;
        if (simple) {
            char escape[2] = {'\\', short_to[simple - short_from]};
            text_add(t, escape, 2);
        } else {
            json_escape(t, c);
        }
    }
    text_add(t, plain_begin, (size_t)(end - plain_begin));
    text_add(t, "\"", 1);
}

static void json_float(struct text *t, double f)
{
    if (isnan(f) || isinf(f))
        text_string(t, isnan(f) ? "NaN" : f < 0 ? "-Infinity" : "Infinity");
    else
        print_float(t, f);
}

static void json_line(struct text *t, const struct json_style *style, int level)
{
    if (!style->indent_text)
        return;
    text_add(t, "\n", 1);
    for (int i = 0; i < level; i++)
        text_add(t, style->indent_text, style->indent_size);
}

static void json_value_out(struct text *t, struct value v, const struct json_style *style,
                           int level);

static void json_key(struct text *t, struct value key, const struct json_style *style)
{
    if (key.kind != V_STRING) {
        struct text k = text_new(t->r);
        if (key.kind == V_BOOL)
            text_string(&k, key.i ? "true" : "false");
        else if (key.kind == V_NONE)
            text_string(&k, "null");
        else if (key.kind == V_INT)
            print_int(&k, key.i);
        else if (key.kind == V_FLOAT)
            json_float(&k, key.f);
        else
            render_fail(t->r, "keys must be str, int, float, bool or None, not %s", type_name(key));
        key = text_value(&k);
    }
    json_string_out(t, key, style->ensure_ascii);
}

// Insertion sort on a copy: objects with keys to sort are small, and steps are counted.
static struct entry *json_sorted(struct render *r, struct dict *d)
{
    struct entry *e = sandbox_get(&r->sandbox, d->n + 1, sizeof *e);
    for (size_t i = 0; i < d->n; i++) {
        size_t at = i;
        while (at > 0 && value_compare(r, OP_LT, d->entry[i].key, e[at - 1].key)) {
            e[at] = e[at - 1];
            at--;
        }
        e[at] = d->entry[i];
    }
    return e;
}

static void json_object_out(struct text *t, struct dict *d, const struct json_style *style,
                            int level)
{
    dict_read(t->r, d);
    if (d->n == 0) {
        text_string(t, "{}");
        return;
    }
    const struct entry *e = style->sort_keys ? json_sorted(t->r, d) : d->entry;
    text_string(t, "{");
    for (size_t i = 0; i < d->n; i++) {
        if (i)
            text_add(t, style->item_separator.s, style->item_separator.n);
        json_line(t, style, level + 1);
        json_key(t, e[i].key, style);
        text_add(t, style->key_separator.s, style->key_separator.n);
        json_value_out(t, e[i].value, style, level + 1);
    }
    json_line(t, style, level);
    text_string(t, "}");
}

static void json_array_out(struct text *t, struct list *l, const struct json_style *style,
                           int level)
{
    if (l->n == 0) {
        text_string(t, "[]");
        return;
    }
    text_string(t, "[");
    for (size_t i = 0; i < l->n; i++) {
        if (i)
            text_add(t, style->item_separator.s, style->item_separator.n);
        json_line(t, style, level + 1);
        json_value_out(t, list_items(t->r, l)[i], style, level + 1);
    }
    json_line(t, style, level);
    text_string(t, "]");
}

static void json_value_out(struct text *t, struct value v, const struct json_style *style,
                           int level)
{
    struct render *r = t->r;
    render_steps(r, 1);
    render_enter(r);
    switch (v.kind) {
    case V_NONE:
        text_string(t, "null");
        break;
    case V_BOOL:
        text_string(t, v.i ? "true" : "false");
        break;
    case V_INT:
        print_int(t, v.i);
        break;
    case V_WIDE:
        text_add(t, v.s, v.n);
        break;
    case V_FLOAT:
        json_float(t, v.f);
        break;
    case V_STRING:
        json_string_out(t, v, style->ensure_ascii);
        break;
    case V_LIST:
    case V_TUPLE:
        json_array_out(t, v.list, style, level);
        break;
    case V_DICT:
        json_object_out(t, v.dict, style, level);
        break;
    default:
        render_fail(r, "Object of type %s is not JSON serializable", type_name(v));
    }
    render_leave(r);
}

void print_json(struct text *t, struct value v, const struct json_style *style)
{
    json_value_out(t, v, style, 0);
}

// ---- strftime -----------------------------------------------------------------------------------

// "YYYY-MM-DD", then 'T' or a blank and "HH:MM:SS".
static int read_moment(struct value v, struct tm *tm)
{
    char text[24];
    int used = 0;
    memset(tm, 0, sizeof *tm);
    if (v.kind != V_STRING || (v.n != 10 && v.n != 19))
        return -1;
    memcpy(text, v.s, v.n);
    text[v.n] = 0;
    if (sscanf(text, "%4d-%2d-%2d%n", &tm->tm_year, &tm->tm_mon, &tm->tm_mday, &used) != 3 ||
        used != 10)
        return -1;
    if (v.n == 19) {
        if ((text[10] != 'T' && text[10] != ' ') ||
            sscanf(text + 11, "%2d:%2d:%2d%n", &tm->tm_hour, &tm->tm_min, &tm->tm_sec, &used) !=
                3 ||
            used != 8)
            return -1;
    }
    if (tm->tm_year < 1 || tm->tm_mon < 1 || tm->tm_mon > 12 || tm->tm_mday < 1 ||
        tm->tm_mday > 31 || tm->tm_hour < 0 || tm->tm_hour > 23 || tm->tm_min < 0 ||
        tm->tm_min > 59 || tm->tm_sec < 0 || tm->tm_sec > 59)
        return -1;
    tm->tm_year -= 1900;
    tm->tm_mon -= 1;
    int day = tm->tm_mday;
    timegm(tm); // fills in the day of the week and of the year
    return tm->tm_mday == day ? 0 : -1;
}

struct value format_time(struct render *r, struct value format)
{
    struct tm tm;
    if (r->now.kind == V_ABSENT)
        render_fail(r, "the template asks for the time and none was given (--now)");
    if (read_moment(r->now, &tm) < 0)
        render_fail(r, "strftime_now: the time given is not YYYY-MM-DDTHH:MM:SS");
    if (format.kind != V_STRING)
        render_fail(r, "strftime() argument 1 must be str, not %s", type_name(format));
    struct text t = text_new(r);
    for (const char *s = format.s, *end = s + format.n; s < end;) {
        if (*s != '%' || s + 1 == end) {
            text_add(&t, s++, 1);
            continue;
        }
        char directive[5] = "%", out[256];
        size_t n = 1;
        s++;
        if (s + 1 < end && *s && strchr("-_0^#EO", *s))
            directive[n++] = *s++;
        directive[n++] = *s++;
        char c = directive[n - 1];
        if (n > 2 && c && strchr("%fzZ:", c))
            render_fail(r, "strftime_now: the directive %%%c%c is not supported", directive[1], c);
        if (c == 'f')
            text_string(&t, "000000");
        else if (c == 'z' || c == 'Z' || c == ':') // no time zone, as in Python
            s += c == ':' && s < end && *s == 'z';
        else if (c == '%')
            text_add(&t, "%", 1);
        else if (!c || !strchr("aAbBcCdDeFgGhHIjklmMnprRStTuUVwWxXyY", c))
            render_fail(r, "strftime_now: the directive %%%c is not supported",
                        isprint((unsigned char)c) ? c : '?');
        else
            text_add(&t, out, strftime(out, sizeof out, directive, &tm));
    }
    return text_value(&t);
}
