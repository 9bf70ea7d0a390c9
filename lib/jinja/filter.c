// SPDX-License-Identifier: MIT
// Filters and tests of jinja2 3.1, with transformers' tojson.
#include "jinja/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILTER(name)                                                                               \
    static struct value name(struct render *r, struct value v, struct value *a,                    \
                             struct arguments *all)

static int absent(struct value v)
{
    return v.kind == V_ABSENT;
}

static int optional_truth(struct render *r, struct value v)
{
    return !absent(v) && value_truth(r, v);
}

static int64_t optional_int(struct render *r, struct value v, int64_t otherwise, const char *what)
{
    return absent(v) || v.kind == V_NONE ? otherwise : value_index(r, v, what);
}

static struct value string_argument(struct render *r, struct value v, const char *what)
{
    if (v.kind == V_UNDEFINED)
        fail_undefined(r, v);
    if (v.kind != V_STRING)
        render_fail(r, "%s must be str, not %s", what, type_name(v));
    return v;
}

// ---- strings ------------------------------------------------------------------------------------

FILTER(f_upper)
{
    return string_upper(r, value_soft(r, v));
}

FILTER(f_lower)
{
    return string_lower(r, value_soft(r, v));
}

FILTER(f_capitalize)
{
    return string_title_word(r, value_soft(r, v));
}

FILTER(f_title)
{
    return string_filter_title(r, value_soft(r, v));
}

FILTER(f_trim)
{
    return string_strip(r, value_soft(r, v), a[0], 1, 1);
}

FILTER(f_string)
{
    return value_soft(r, v);
}

FILTER(f_center)
{
    return string_center(r, value_soft(r, v), optional_int(r, a[0], 80, "a width"));
}

FILTER(f_replace)
{
    return string_replace(r, value_str(r, v), value_str(r, a[0]), value_str(r, a[1]),
                          optional_int(r, a[2], -1, "a count"));
}

FILTER(f_safe)
{
    v = value_soft(r, v);
    v.markup = 1;
    return v;
}

FILTER(f_escape)
{
    return value_escape(r, v);
}

FILTER(f_forceescape)
{
    return value_escape(r, value_str(r, v));
}

FILTER(f_format)
{
    struct value args = value_list(r, V_TUPLE, all->n);
    if (all->n && all->n_keywords)
        render_fail(r, "can't handle positional and keyword arguments at the same time");
    if (all->n)
        memcpy(args.list->item, all->at, all->n * sizeof *all->at);
    if (all->n_keywords) {
        args = value_dict(r);
        for (size_t i = 0; i < all->n_keywords; i++)
            dict_set(r, args.dict, all->keyword[i].name, all->keyword[i].value);
    }
    return format_percent(r, value_soft(r, v), args);
}

FILTER(f_indent)
{
    struct value pad = value_cstring("    ");
    string_argument(r, v, "the indented value");
    if (a[0].kind == V_STRING) {
        pad = a[0];
    } else if (!absent(a[0])) {
        int64_t width = value_index(r, a[0], "a width");
        struct text blanks = text_new(r);
        if (width > TEMPLATE_OUTPUT)
            render_fail(r, "a width of %lld is too large", (long long)width);
        text_pad(&blanks, ' ', width > 0 ? (size_t)width : 0);
        pad = text_value(&blanks);
    }
    if (v.markup)
        pad = value_escape(r, pad);
    int first = optional_truth(r, a[1]), blank = optional_truth(r, a[2]);
    struct text with_end = text_new(r), t = text_new(r);
    text_add(&with_end, v.s, v.n);
    text_add(&with_end, "\n", 1);
    struct value lines = string_lines(r, text_value(&with_end), 0);
    for (size_t i = 0; i < lines.list->n; i++) {
        struct value line = lines.list->item[i];
        if (i)
            text_add(&t, "\n", 1);
        if (i ? blank || line.n : first)
            text_add(&t, pad.s, pad.n);
        text_add(&t, line.s, line.n);
    }
    struct value out = text_value(&t);
    out.markup = v.markup;
    return out;
}

FILTER(f_truncate)
{
    int64_t length = optional_int(r, a[0], 255, "a length");
    int64_t leeway = optional_int(r, a[3], 5, "a leeway");
    struct value end = absent(a[2]) ? value_cstring("...") : string_argument(r, a[2], "end");
    int64_t end_length = (int64_t)utf8_length(end.s, end.n);
    if (length < end_length || leeway < 0)
        render_fail(r, "expected length >= %lld, got %lld", (long long)end_length,
                    (long long)length);
    if (value_length(r, v) <= length + leeway)
        return v;
    string_argument(r, v, "the truncated value");
    struct value cut =
        value_slice(r, v, value_none(), value_int(length - end_length), value_none());
    if (!optional_truth(r, a[1]))
        cut = string_rsplit_blank_once(r, cut);
    return value_binary(r, OP_ADD, cut, end);
}

FILTER(f_wordcount)
{
    v = value_soft(r, v);
    int64_t n = 0;
    int inside = 0;
    for (const char *s = v.s, *end = s + v.n; s < end;) {
        int word = unicode_word(utf8_step(&s, end));
        n += word && !inside;
        inside = word;
    }
    return value_int(n);
}

static void quote_url(struct text *t, struct value v, int for_query)
{
    v = value_str(t->r, v);
    for (size_t i = 0; i < v.n; i++) {
        unsigned char c = (unsigned char)v.s[i];
        int plain = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') ||
                    (c && strchr("_.-~", c)) || (c == '/' && !for_query);
        if (plain)
            text_add(t, v.s + i, 1);
        else if (c == ' ' && for_query)
            text_add(t, "+", 1);
        else
            text_printf(t, "%%%02X", c);
    }
}

FILTER(f_urlencode)
{
    struct text t = text_new(r);
    if (v.kind == V_BYTES)
        render_fail(r, "urlencode of bytes is not supported");
    if (v.kind == V_STRING || !value_iterable(v)) {
        quote_url(&t, v, 0);
        return text_value(&t);
    }
    if (v.kind == V_DICT) {
        v.kind = V_VIEW;
        v.markup = 2;
    }
    struct iterator *it = value_iterate(r, v);
    struct value pair;
    for (int i = 0; iterator_next(r, it, &pair); i++) {
        struct value two = value_to_list(r, pair);
        if (two.list->n != 2)
            render_fail(r, "urlencode wants pairs");
        if (i)
            text_add(&t, "&", 1);
        quote_url(&t, list_items(r, two.list)[0], 1);
        text_add(&t, "=", 1);
        quote_url(&t, list_items(r, two.list)[1], 1);
    }
    return text_value(&t);
}

FILTER(f_xmlattr)
{
    struct text t = text_new(r);
    if (v.kind != V_DICT)
        render_fail(r, "'%s' object has no attribute 'items'", type_name(v));
    struct dict *d = dict_read(r, v.dict);
    int space = absent(a[0]) || value_truth(r, a[0]);
    for (size_t i = 0; i < d->n; i++) {
        struct value key = string_argument(r, d->entry[i].key, "an attribute's name");
        struct value value = d->entry[i].value;
        if (value.kind == V_NONE || value.kind == V_UNDEFINED)
            continue;
        for (size_t k = 0; k < key.n; k++)
            if (key.s[k] && strchr(" \t\n\r\f\v/>=", key.s[k]))
                render_fail(r, "Invalid character in attribute name");
        if (t.n || space)
            text_add(&t, " ", 1);
        print_string(&t, value_escape(r, key));
        text_string(&t, "=\"");
        print_string(&t, value_escape(r, value));
        text_string(&t, "\"");
    }
    return text_value(&t);
}

FILTER(f_unsupported)
{
    render_fail(r, "the filters pprint, random, striptags, urlize and wordwrap are not supported");
}

// ---- numbers ------------------------------------------------------------------------------------

static struct value truncated(struct render *r, double f)
{
    if (fabs(f) > 1e37)
        render_fail(r, "whole numbers beyond 38 digits are not supported");
    return value_int((int128)f);
}

// Nothing is computed with a whole number that is only shown.
static void need_narrow(struct render *r, struct value v)
{
    if (v.kind == V_WIDE)
        render_fail(r, "whole numbers beyond 38 digits are not supported in arithmetic");
}

FILTER(f_int)
{
    need_narrow(r, v);
    struct value otherwise = absent(a[0]) ? value_int(0) : a[0];
    int64_t base = optional_int(r, a[1], 10, "a base");
    int128 i;
    double f;
    if (v.kind == V_UNDEFINED)
        fail_undefined(r, v);
    if (v.kind == V_STRING) {
        render_bytes(r, v.n);
        if (base >= 0 && base <= 36 && parse_int(v.s, v.n, (int)base, &i) == 0)
            return value_int(i);
        if (parse_float(v.s, v.n, &f) < 0 || !isfinite(f))
            return otherwise;
        return truncated(r, f);
    }
    if (v.kind == V_FLOAT) {
        if (isinf(v.f))
            render_fail(r, "cannot convert float infinity to integer");
        return isnan(v.f) ? otherwise : truncated(r, v.f);
    }
    return value_is_number(v) ? value_int(v.i) : otherwise;
}

FILTER(f_float)
{
    need_narrow(r, v);
    double f;
    if (v.kind == V_UNDEFINED)
        fail_undefined(r, v);
    if (value_is_number(v))
        return value_float(value_double(v));
    if (v.kind == V_STRING && parse_float(v.s, v.n, &f) == 0)
        return value_float(f);
    return absent(a[0]) ? value_float(0) : a[0];
}

FILTER(f_abs)
{
    if (v.kind == V_FLOAT)
        return value_float(fabs(v.f));
    if (v.kind == V_UNDEFINED)
        fail_undefined(r, v);
    if (!value_is_number(v))
        render_fail(r, "bad operand type for abs(): '%s'", type_name(v));
    return v.i < 0 ? value_negate(r, v, 0) : value_int(v.i);
}

// round(int, -n): half to even.
static int128 round_int(int128 i, int64_t digits)
{
    int128 unit = 1;
    for (; digits < 0 && unit < (int128)1e36; digits++)
        unit *= 10;
    int128 rest = i % unit;
    if (rest < 0)
        rest += unit;
    i -= rest;
    if (2 * rest > unit || (2 * rest == unit && i / unit % 2 != 0))
        i += unit;
    return i;
}

static double round_float(double f, int64_t digits)
{
    char text[400 + 330];
    if (!isfinite(f) || digits > 330)
        return f;
    if (digits < -310)
        return 0 * f;
    if (digits >= 0) { // exact: the decimal expansion is rounded half to even
        snprintf(text, sizeof text, "%.*f", (int)digits, f);
        return strtod(text, NULL);
    }
    double unit = pow(10, (double)-digits);
    return nearbyint(f / unit) * unit;
}

FILTER(f_round)
{
    int64_t precision = absent(a[0]) ? 0 : value_index(r, a[0], "a precision");
    if (v.kind == V_UNDEFINED || !value_is_number(v))
        render_fail(r, "type %s doesn't define __round__ method", type_name(v));
    struct value method =
        absent(a[1]) ? value_cstring("common") : string_argument(r, a[1], "method");
    int common = method.n == 6 && memcmp(method.s, "common", 6) == 0;
    int up = method.n == 4 && memcmp(method.s, "ceil", 4) == 0;
    if (!common && !up && !(method.n == 5 && memcmp(method.s, "floor", 5) == 0))
        render_fail(r, "method must be common, ceil or floor");
    if (common && v.kind == V_FLOAT)
        return value_float(round_float(v.f, precision));
    if (common)
        return value_int(precision < 0 ? round_int(v.i, precision) : v.i);
    if (precision > 30 || precision < -30)
        render_fail(r, "a precision of %lld is not supported", (long long)precision);
    if (v.kind != V_FLOAT && precision >= 0) // exact as Python's whole numbers
        return value_float(value_double(v));
    double unit = pow(10, (double)precision), scaled = value_double(v) * unit;
    if (!isfinite(scaled))
        render_fail(r, "cannot convert float to integer");
    return value_float(((up ? ceil(scaled) : floor(scaled)) + 0.0) / unit); // whole: no -0
}

FILTER(f_filesizeformat)
{
    static const char *const units = "kMGTPEZY";
    struct value number = f_float(r, v, a + 1, all);
    double unused;
    if (!value_is_number(v) && (v.kind != V_STRING || parse_float(v.s, v.n, &unused) < 0))
        render_fail(r, "could not convert %s to float", type_name(v));
    int binary = optional_truth(r, a[0]);
    double bytes = number.f, base = binary ? 1024 : 1000, unit = base;
    struct text t = text_new(r);
    if (!isfinite(bytes))
        render_fail(r, "cannot convert float to integer");
    if (bytes == 1) {
        text_string(&t, "1 Byte");
    } else if (bytes < base) {
        text_printf(&t, "%lld Bytes", (long long)bytes);
    } else {
        int i = 0;
        for (unit = base * base; i < 7 && bytes >= unit; i++)
            unit *= base;
        char letter = binary && i == 0 ? 'K' : units[i];
        text_printf(&t, "%.1f %c%sB", base * bytes / unit, letter, binary ? "i" : "");
    }
    return text_value(&t);
}

// ---- sequences ----------------------------------------------------------------------------------

FILTER(f_length)
{
    return value_int(value_length(r, v));
}

FILTER(f_list)
{
    return value_to_list(r, v);
}

FILTER(f_first)
{
    struct value out;
    if (iterator_next(r, value_iterate(r, v), &out))
        return out;
    return value_undefined_hint(r, "No first item, sequence was empty.");
}

FILTER(f_last)
{
    if (v.kind == V_ITERATOR)
        render_fail(r, "'%s' object is not reversible", type_name(v));
    struct value all_items = value_to_list(r, v);
    size_t n = all_items.list->n;
    if (n == 0)
        return value_undefined_hint(r, "No last item, sequence was empty.");
    return list_items(r, all_items.list)[n - 1];
}

static struct value as_iterator(struct render *r, struct value list, const char *type)
{
    struct iterator *it = value_iterate(r, list);
    it->type = type;
    return (struct value){.kind = V_ITERATOR, .iterator = it};
}

// Filters that are generators in jinja2 begin their work when the first item is asked for: until
// then nothing fails, and a test of the result is true.
struct deferred {
    struct value (*begin)(struct render *r, struct value v, struct value *a);
    struct value v, a[2];
    struct iterator *inner;
};

static int deferred_next(struct render *r, struct iterator *it, struct value *out)
{
    struct deferred *d = it->state;
    if (!d->inner)
        d->inner = value_iterate(r, d->begin(r, d->v, d->a));
    return iterator_next(r, d->inner, out);
}

static struct value defer(struct render *r, struct value v, struct value *a,
                          struct value (*begin)(struct render *r, struct value v, struct value *a))
{
    struct deferred *d = sandbox_get(&r->sandbox, 1, sizeof *d);
    *d = (struct deferred){begin, v, {a[0], a[1]}, NULL};
    struct iterator it = {.next = deferred_next, .state = d, .type = "generator"};
    return value_iterator(r, it);
}

FILTER(f_reverse)
{
    if (v.kind == V_STRING)
        return value_slice(r, v, value_none(), value_none(), value_int(-1));
    struct value forward = value_to_list(r, v);
    struct value back = value_slice(r, forward, value_none(), value_none(), value_int(-1));
    return v.kind == V_ITERATOR ? back : as_iterator(r, back, "list_reverseiterator");
}

FILTER(f_default)
{
    int unset = v.kind == V_UNDEFINED || (optional_truth(r, a[1]) && !value_truth(r, v));
    return !unset ? v : absent(a[0]) ? value_cstring("") : a[0];
}

static struct value begin_items(struct render *r, struct value v, struct value *a)
{
    if (v.kind == V_UNDEFINED)
        return value_list(r, V_LIST, 0);
    if (v.kind != V_DICT)
        render_fail(r, "Can only get item pairs from a mapping.");
    v.kind = V_VIEW;
    v.markup = 2;
    return v;
}

FILTER(f_items)
{
    return defer(r, v, a, begin_items);
}

static struct value begin_slice(struct render *r, struct value v, struct value *a)
{
    int64_t slices = value_index(r, a[0], "slices");
    struct value all_items = value_to_list(r, v);
    struct items out = {r, NULL, 0, 0};
    int64_t n = (int64_t)all_items.list->n, offset = 0;
    if (slices == 0)
        render_fail(r, "integer division or modulo by zero");
    for (int64_t i = 0; i < slices; i++) {
        int64_t start = offset + i * (n / slices);
        offset += i < n % slices;
        int64_t end = offset + (i + 1) * (n / slices);
        struct items one = {r, NULL, 0, 0};
        for (int64_t k = start; k < end; k++)
            items_add(&one, list_items(r, all_items.list)[k]);
        if (!absent(a[1]) && a[1].kind != V_NONE && i >= n % slices)
            items_add(&one, a[1]);
        items_add(&out, items_value(&one, V_LIST));
    }
    return items_value(&out, V_LIST);
}

FILTER(f_slice)
{
    return defer(r, v, a, begin_slice);
}

static struct value begin_batch(struct render *r, struct value v, struct value *a)
{
    int64_t size = value_index(r, a[0], "linecount");
    struct items out = {r, NULL, 0, 0}, one = {r, NULL, 0, 0};
    struct iterator *it = value_iterate(r, v);
    struct value item;
    while (iterator_next(r, it, &item)) {
        if ((int64_t)one.n == size) {
            items_add(&out, items_value(&one, V_LIST));
            one = (struct items){r, NULL, 0, 0};
        }
        items_add(&one, item);
    }
    if (one.n) {
        while (!absent(a[1]) && a[1].kind != V_NONE && (int64_t)one.n < size)
            items_add(&one, a[1]);
        items_add(&out, items_value(&one, V_LIST));
    }
    return items_value(&out, V_LIST);
}

FILTER(f_batch)
{
    return defer(r, v, a, begin_batch);
}

// ---- attributes of items ------------------------------------------------------------------------

// "a.0.b" as the parts that lead to it; V_NONE: the item itself.
struct getter {
    struct value *part;
    size_t n;
    struct value otherwise; // V_ABSENT: none
    int fold_case;
};

static int all_digits(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] < '0' || s[i] > '9')
            return 0;
    return n > 0;
}

static struct getter getter_new(struct render *r, struct value attribute)
{
    struct getter g = {.otherwise = {.kind = V_ABSENT}};
    if (absent(attribute) || attribute.kind == V_NONE)
        return g;
    struct items parts = {r, NULL, 0, 0};
    if (attribute.kind == V_STRING) {
        const char *s = attribute.s, *end = s + attribute.n;
        while (1) {
            const char *dot = s < end ? memchr(s, '.', (size_t)(end - s)) : NULL;
            size_t n = (size_t)((dot ? dot : end) - s);
            int128 index;
            if (all_digits(s, n) && parse_int(s, n, 10, &index) == 0)
                items_add(&parts, value_int(index));
            else
                items_add(&parts, value_string(s, n));
            if (!dot)
                break;
            s = dot + 1;
        }
    } else {
        items_add(&parts, attribute);
    }
    g.part = parts.at;
    g.n = parts.n;
    return g;
}

static struct value fold(struct render *r, struct value v)
{
    return v.kind == V_STRING ? string_lower(r, v) : v;
}

static struct value getter_get(struct render *r, const struct getter *g, struct value item)
{
    for (size_t i = 0; i < g->n; i++) {
        item = value_item(r, item, g->part[i]);
        if (item.kind == V_UNDEFINED && !absent(g->otherwise) && g->otherwise.kind != V_NONE)
            item = g->otherwise;
    }
    return g->fold_case ? fold(r, item) : item;
}

FILTER(f_join)
{
    struct getter g = getter_new(r, a[1]);
    struct value separator = absent(a[0]) ? value_cstring("") : value_str(r, a[0]), item;
    struct text t = text_new(r);
    struct iterator *it = value_iterate(r, v);
    for (int i = 0; iterator_next(r, it, &item); i++) {
        if (i)
            text_add(&t, separator.s, separator.n);
        print_string(&t, getter_get(r, &g, item));
    }
    return text_value(&t);
}

FILTER(f_sum)
{
    struct getter g = getter_new(r, a[0]);
    struct value total = absent(a[1]) ? value_int(0) : a[1], item;
    if (total.kind == V_STRING)
        render_fail(r, "sum() can't sum strings [use ''.join(seq) instead]");
    struct iterator *it = value_iterate(r, v);
    while (iterator_next(r, it, &item))
        total = value_binary(r, OP_ADD, total, getter_get(r, &g, item));
    return total;
}

static struct value extreme(struct render *r, struct value v, struct value *a, enum operator op)
{
    struct getter g = getter_new(r, a[1]);
    g.fold_case = !optional_truth(r, a[0]);
    struct iterator *it = value_iterate(r, v);
    struct value best, item;
    if (!iterator_next(r, it, &best))
        return value_undefined_hint(r, "No aggregated item, sequence was empty.");
    struct value best_key = getter_get(r, &g, best);
    while (iterator_next(r, it, &item)) {
        struct value key = getter_get(r, &g, item);
        if (value_compare(r, op, key, best_key)) {
            best = item;
            best_key = key;
        }
    }
    return best;
}

FILTER(f_min)
{
    return extreme(r, v, a, OP_LT);
}

FILTER(f_max)
{
    return extreme(r, v, a, OP_GT);
}

static struct value begin_unique(struct render *r, struct value v, struct value *a)
{
    struct getter g = getter_new(r, a[1]);
    g.fold_case = !optional_truth(r, a[0]);
    struct items out = {r, NULL, 0, 0};
    struct value seen = value_dict(r), item;
    struct iterator *it = value_iterate(r, v);
    while (iterator_next(r, it, &item)) {
        struct value key = getter_get(r, &g, item);
        if (dict_get(r, seen.dict, key))
            continue;
        dict_set(r, seen.dict, key, value_none());
        items_add(&out, item);
    }
    return items_value(&out, V_LIST);
}

FILTER(f_unique)
{
    return defer(r, v, a, begin_unique);
}

struct keyed {
    struct value key, item;
};

// Merge sort, stable in both directions as Python's.
static void sort_keyed(struct render *r, struct keyed *at, struct keyed *spare, size_t n,
                       int reverse)
{
    if (n < 2)
        return;
    size_t half = n / 2, i = 0, j = half, k = 0;
    sort_keyed(r, at, spare, half, reverse);
    sort_keyed(r, at + half, spare, n - half, reverse);
    while (i < half && j < n) {
        int right = reverse ? value_compare(r, OP_LT, at[i].key, at[j].key)
                            : value_compare(r, OP_LT, at[j].key, at[i].key);
        spare[k++] = right ? at[j++] : at[i++];
    }
    while (i < half)
        spare[k++] = at[i++];
    while (j < n)
        spare[k++] = at[j++];
    memcpy(at, spare, n * sizeof *at);
}

static struct value sorted(struct render *r, struct keyed *keyed, size_t n, int reverse)
{
    struct value out = value_list(r, V_LIST, n);
    sort_keyed(r, keyed, sandbox_get(&r->sandbox, n + 1, sizeof *keyed), n, reverse);
    for (size_t i = 0; i < n; i++)
        out.list->item[i] = keyed[i].item;
    return out;
}

// "a,b": by a, then by b.
static struct value multiple_key(struct render *r, struct value attribute, struct value item,
                                 int fold_case)
{
    struct items keys = {r, NULL, 0, 0};
    if (attribute.kind != V_STRING) { // also a list: equal items that have no order may meet
        struct getter g = getter_new(r, attribute);
        g.fold_case = fold_case;
        items_add(&keys, getter_get(r, &g, item));
        return items_value(&keys, V_LIST);
    }
    const char *s = attribute.s, *end = s + attribute.n;
    while (1) {
        const char *comma = s < end ? memchr(s, ',', (size_t)(end - s)) : NULL;
        struct getter g = getter_new(r, value_string(s, (size_t)((comma ? comma : end) - s)));
        g.fold_case = fold_case;
        items_add(&keys, getter_get(r, &g, item));
        if (!comma)
            break;
        s = comma + 1;
    }
    return items_value(&keys, V_LIST);
}

FILTER(f_sort)
{
    struct value list = value_to_list(r, v);
    size_t n = list.list->n;
    struct keyed *keyed = sandbox_get(&r->sandbox, n + 1, sizeof *keyed);
    for (size_t i = 0; i < n; i++) {
        keyed[i].item = list_items(r, list.list)[i];
        keyed[i].key = multiple_key(r, a[2], keyed[i].item, !optional_truth(r, a[1]));
    }
    return sorted(r, keyed, n, optional_truth(r, a[0]));
}

FILTER(f_dictsort)
{
    struct value by = absent(a[1]) ? value_cstring("key") : string_argument(r, a[1], "by");
    int by_value = by.n == 5 && memcmp(by.s, "value", 5) == 0;
    if (!by_value && !(by.n == 3 && memcmp(by.s, "key", 3) == 0))
        render_fail(r, "You can only sort by either \"key\" or \"value\"");
    if (v.kind == V_UNDEFINED)
        fail_undefined(r, v);
    if (v.kind != V_DICT)
        render_fail(r, "'%s' object has no attribute 'items'", type_name(v));
    v.kind = V_VIEW;
    v.markup = 2;
    struct value list = value_to_list(r, v);
    size_t n = list.list->n;
    struct keyed *keyed = sandbox_get(&r->sandbox, n + 1, sizeof *keyed);
    for (size_t i = 0; i < n; i++) {
        keyed[i].item = list.list->item[i];
        keyed[i].key = keyed[i].item.list->item[by_value];
        if (!optional_truth(r, a[0]))
            keyed[i].key = fold(r, keyed[i].key);
    }
    return sorted(r, keyed, n, optional_truth(r, a[2]));
}

FILTER(f_groupby)
{
    struct getter g = getter_new(r, a[0]), shown = g;
    g.otherwise = shown.otherwise = a[1];
    g.fold_case = !optional_truth(r, a[2]);
    struct value list = value_to_list(r, v);
    size_t n = list.list->n;
    struct keyed *keyed = sandbox_get(&r->sandbox, n + 1, sizeof *keyed);
    for (size_t i = 0; i < n; i++) {
        keyed[i].item = list_items(r, list.list)[i];
        keyed[i].key = getter_get(r, &g, keyed[i].item);
    }
    sorted(r, keyed, n, 0);
    struct items groups = {r, NULL, 0, 0};
    for (size_t i = 0; i < n;) {
        struct items group = {r, NULL, 0, 0};
        size_t first = i;
        for (; i < n && value_equal(r, keyed[i].key, keyed[first].key); i++)
            items_add(&group, keyed[i].item);
        if (i == first) // a NaN is not equal to itself
            items_add(&group, keyed[i++].item);
        struct value pair = value_list(r, V_TUPLE, 2);
        pair.markup = 1; // has .grouper and .list
        pair.list->item[0] = getter_get(r, &shown, keyed[first].item);
        pair.list->item[1] = items_value(&group, V_LIST);
        items_add(&groups, pair);
    }
    return items_value(&groups, V_LIST);
}

// ---- map, select, reject ------------------------------------------------------------------------

enum mapping { MAP, SELECT, REJECT };

struct mapper {
    enum mapping what;
    int by_attribute;
    struct value source;
    struct arguments args; // as given
    int ready;
    struct iterator *inner;
    struct getter getter;
    const struct function *function;
    struct arguments rest;
};

static const struct function *find_by_value(struct render *r, struct value name, int test)
{
    struct value shown = value_str(r, name);
    const struct function *f = name.kind != V_STRING ? NULL
                               : test                ? test_find(name.s, name.n)
                                                     : filter_find(name.s, name.n);
    if (!f)
        render_fail(r, "No %s named '%.*s'.", test ? "test" : "filter",
                    (int)(shown.n > 100 ? 100 : shown.n), shown.s);
    return f;
}

static void map_prepare(struct render *r, struct mapper *m)
{
    struct arguments *args = &m->args;
    m->rest = *args;
    if (args->n == 0 && args->n_keywords && m->what == MAP) {
        struct value attribute = {.kind = V_ABSENT}, otherwise = attribute;
        for (size_t i = 0; i < args->n_keywords; i++) {
            struct value name = args->keyword[i].name;
            if (name.n == 9 && memcmp(name.s, "attribute", 9) == 0)
                attribute = args->keyword[i].value;
            else if (name.n == 7 && memcmp(name.s, "default", 7) == 0)
                otherwise = args->keyword[i].value;
            else
                render_fail(r, "Unexpected keyword argument '%.*s'", (int)name.n, name.s);
        }
        if (absent(attribute))
            render_fail(r, "map requires a filter argument");
        m->getter = getter_new(r, attribute);
        m->getter.otherwise = otherwise;
        return;
    }
    size_t used = 0;
    if (m->by_attribute) {
        if (args->n == 0)
            render_fail(r, "Missing parameter for attribute name");
        m->getter = getter_new(r, args->at[used++]);
    }
    if (used < args->n)
        m->function = find_by_value(r, args->at[used++], m->what != MAP);
    else if (m->what == MAP)
        render_fail(r, "map requires a filter argument");
    m->rest.at = args->at ? args->at + used : NULL;
    m->rest.n = args->n - used;
}

static int map_next(struct render *r, struct iterator *it, struct value *out)
{
    struct mapper *m = it->state;
    if (!m->ready) {
        m->ready = 1;
        if (value_truth(r, m->source)) {
            map_prepare(r, m);
            m->inner = value_iterate(r, m->source);
        }
    }
    struct value item;
    render_enter(r); // generators nest: a map of a map of a map
    while (m->inner && iterator_next(r, m->inner, &item)) {
        struct value v = getter_get(r, &m->getter, item);
        if (m->function)
            v = function_call(r, m->function, v, &m->rest, m->what == MAP ? "filter" : "test");
        if (m->what == MAP) {
            *out = v;
            render_leave(r);
            return 1;
        }
        if (value_truth(r, v) == (m->what == SELECT)) {
            *out = item;
            render_leave(r);
            return 1;
        }
    }
    render_leave(r);
    return 0;
}

static struct value mapped(struct render *r, struct value v, struct arguments *all,
                           enum mapping what, int by_attribute)
{
    struct mapper *m = sandbox_get(&r->sandbox, 1, sizeof *m);
    m->what = what;
    m->by_attribute = by_attribute;
    m->source = v;
    m->args = *all;
    struct iterator it = {.next = map_next, .state = m, .type = "generator"};
    return value_iterator(r, it);
}

FILTER(f_map)
{
    return mapped(r, v, all, MAP, 0);
}

FILTER(f_select)
{
    return mapped(r, v, all, SELECT, 0);
}

FILTER(f_reject)
{
    return mapped(r, v, all, REJECT, 0);
}

FILTER(f_selectattr)
{
    return mapped(r, v, all, SELECT, 1);
}

FILTER(f_rejectattr)
{
    return mapped(r, v, all, REJECT, 1);
}

// ---- others -------------------------------------------------------------------------------------

FILTER(f_attr)
{
    struct value name = string_argument(r, a[0], "an attribute's name");
    struct value found = value_attribute(r, v, name.s, name.n);
    // Unlike v.name, this does not look among the items.
    struct value *item = v.kind == V_DICT ? dict_get_string(r, v.dict, name.s, name.n) : NULL;
    if (item && found.kind != V_METHOD && value_same(*item, found))
        return value_undefined(r, name, type_object(v));
    return found;
}

FILTER(f_tojson)
{
    struct json_style style = {.indent = -1};
    struct text pad = text_new(r), t = text_new(r);
    style.ensure_ascii = optional_truth(r, a[0]);
    style.sort_keys = optional_truth(r, a[3]);
    if (!absent(a[1]) && a[1].kind != V_NONE) {
        if (a[1].kind == V_STRING) {
            text_add(&pad, a[1].s, a[1].n);
        } else {
            int64_t width = value_index(r, a[1], "indent");
            if (width > TEMPLATE_OUTPUT)
                render_fail(r, "an indent of %lld is too large", (long long)width);
            text_pad(&pad, ' ', width > 0 ? (size_t)width : 0);
        }
        style.indent_text = pad.s ? pad.s : "";
        style.indent_size = pad.n;
    }
    style.item_separator = value_cstring(style.indent_text ? "," : ", ");
    style.key_separator = value_cstring(": ");
    if (!absent(a[2]) && a[2].kind != V_NONE) {
        struct value two = value_to_list(r, a[2]);
        if (two.list->n != 2)
            render_fail(r, "separators must be two strings");
        style.item_separator = string_argument(r, list_items(r, two.list)[0], "a separator");
        style.key_separator = string_argument(r, list_items(r, two.list)[1], "a separator");
    }
    print_json(&t, v, &style);
    return text_value(&t);
}

static const struct function filters[] = {
    {"abs", "", 0, f_abs},
    {"attr", "name", 1, f_attr},
    {"batch", "linecount fill_with", 1, f_batch},
    {"capitalize", "", 0, f_capitalize},
    {"center", "width", 0, f_center},
    {"count", "", 0, f_length},
    {"d", "default_value boolean", 0, f_default},
    {"default", "default_value boolean", 0, f_default},
    {"dictsort", "case_sensitive by reverse", 0, f_dictsort},
    {"e", "", 0, f_escape},
    {"escape", "", 0, f_escape},
    {"filesizeformat", "binary", 0, f_filesizeformat},
    {"first", "", 0, f_first},
    {"float", "default", 0, f_float},
    {"forceescape", "", 0, f_forceescape},
    {"format", "*", 0, f_format},
    {"groupby", "attribute default case_sensitive", 1, f_groupby},
    {"indent", "width first blank", 0, f_indent},
    {"int", "default base", 0, f_int},
    {"items", "", 0, f_items},
    {"join", "d attribute", 0, f_join},
    {"last", "", 0, f_last},
    {"length", "", 0, f_length},
    {"list", "", 0, f_list},
    {"lower", "", 0, f_lower},
    {"map", "*", 0, f_map},
    {"max", "case_sensitive attribute", 0, f_max},
    {"min", "case_sensitive attribute", 0, f_min},
    {"pprint", "*", 0, f_unsupported},
    {"random", "*", 0, f_unsupported},
    {"reject", "*", 0, f_reject},
    {"rejectattr", "*", 0, f_rejectattr},
    {"replace", "old new count", 2, f_replace},
    {"reverse", "", 0, f_reverse},
    {"round", "precision method", 0, f_round},
    {"safe", "", 0, f_safe},
    {"select", "*", 0, f_select},
    {"selectattr", "*", 0, f_selectattr},
    {"slice", "slices fill_with", 1, f_slice},
    {"sort", "reverse case_sensitive attribute", 0, f_sort},
    {"string", "", 0, f_string},
    {"striptags", "*", 0, f_unsupported},
    {"sum", "attribute start", 0, f_sum},
    {"title", "", 0, f_title},
    {"tojson", "ensure_ascii indent separators sort_keys", 0, f_tojson},
    {"trim", "chars", 0, f_trim},
    {"truncate", "length killwords end leeway", 0, f_truncate},
    {"unique", "case_sensitive attribute", 0, f_unique},
    {"upper", "", 0, f_upper},
    {"urlencode", "", 0, f_urlencode},
    {"urlize", "*", 0, f_unsupported},
    {"wordcount", "", 0, f_wordcount},
    {"wordwrap", "*", 0, f_unsupported},
    {"xmlattr", "autospace", 0, f_xmlattr},
};

// ---- tests --------------------------------------------------------------------------------------

#define TEST(name, condition)                                                                      \
    static struct value name(struct render *r, struct value v, struct value *a,                    \
                             struct arguments *all)                                                \
    {                                                                                              \
        return value_bool(condition);                                                              \
    }

static int remainder_is(struct render *r, struct value v, struct value by, int wanted)
{
    return value_equal(r, value_binary(r, OP_MOD, v, by), value_int(wanted));
}

static int is_callable(struct value v)
{
    return v.kind == V_FUNCTION || v.kind == V_METHOD || v.kind == V_MACRO || v.kind == V_LOOP ||
           v.kind == V_JOINER || v.kind == V_UNDEFINED;
}

static int is_sequence(struct value v)
{
    return v.kind == V_STRING || v.kind == V_BYTES || v.kind == V_LIST || v.kind == V_TUPLE ||
           v.kind == V_DICT || v.kind == V_RANGE || v.kind == V_UNDEFINED;
}

static int named(struct render *r, struct value v,
                 const struct function *(*find)(const char *, size_t))
{
    if (v.kind == V_LIST || v.kind == V_DICT)
        render_fail(r, "unhashable type: '%s'", type_name(v));
    return v.kind == V_STRING && find(v.s, v.n);
}

TEST(t_boolean, v.kind == V_BOOL)
TEST(t_callable, is_callable(v))
TEST(t_defined, v.kind != V_UNDEFINED)
TEST(t_divisibleby, remainder_is(r, v, a[0], 0))
TEST(t_eq, value_equal(r, v, a[0]))
TEST(t_escaped, v.kind == V_STRING && v.markup)
TEST(t_even, remainder_is(r, v, value_int(2), 0))
TEST(t_false, v.kind == V_BOOL && !v.i)
TEST(t_filter, named(r, v, filter_find))
TEST(t_float, v.kind == V_FLOAT)
TEST(t_ge, value_compare(r, OP_GE, v, a[0]))
TEST(t_gt, value_compare(r, OP_GT, v, a[0]))
TEST(t_in, value_contains(r, a[0], v))
TEST(t_integer, v.kind == V_INT || v.kind == V_WIDE)
TEST(t_iterable, value_iterable(v) || v.kind == V_BYTES)
TEST(t_le, value_compare(r, OP_LE, v, a[0]))
TEST(t_lower, string_is_lower(value_str(r, v)))
TEST(t_lt, value_compare(r, OP_LT, v, a[0]))
TEST(t_mapping, v.kind == V_DICT)
TEST(t_ne, !value_equal(r, v, a[0]))
TEST(t_none, v.kind == V_NONE)
TEST(t_number, value_is_number(v) || v.kind == V_WIDE)
TEST(t_odd, remainder_is(r, v, value_int(2), 1))
TEST(t_sameas, value_same(v, a[0]))
TEST(t_sequence, is_sequence(v))
TEST(t_string, v.kind == V_STRING)
TEST(t_test, named(r, v, test_find))
TEST(t_true, v.kind == V_BOOL && v.i)
TEST(t_undefined, v.kind == V_UNDEFINED)
TEST(t_upper, string_is_upper(value_str(r, v)))

static const struct function tests[] = {
    {"!=", "other", 1, t_ne},
    {"<", "other", 1, t_lt},
    {"<=", "other", 1, t_le},
    {"==", "other", 1, t_eq},
    {">", "other", 1, t_gt},
    {">=", "other", 1, t_ge},
    {"boolean", "", 0, t_boolean},
    {"callable", "", 0, t_callable},
    {"defined", "", 0, t_defined},
    {"divisibleby", "num", 1, t_divisibleby},
    {"eq", "other", 1, t_eq},
    {"equalto", "other", 1, t_eq},
    {"escaped", "", 0, t_escaped},
    {"even", "", 0, t_even},
    {"false", "", 0, t_false},
    {"filter", "", 0, t_filter},
    {"float", "", 0, t_float},
    {"ge", "other", 1, t_ge},
    {"greaterthan", "other", 1, t_gt},
    {"gt", "other", 1, t_gt},
    {"in", "seq", 1, t_in},
    {"integer", "", 0, t_integer},
    {"iterable", "", 0, t_iterable},
    {"le", "other", 1, t_le},
    {"lessthan", "other", 1, t_lt},
    {"lower", "", 0, t_lower},
    {"lt", "other", 1, t_lt},
    {"mapping", "", 0, t_mapping},
    {"ne", "other", 1, t_ne},
    {"none", "", 0, t_none},
    {"number", "", 0, t_number},
    {"odd", "", 0, t_odd},
    {"sameas", "other", 1, t_sameas},
    {"sequence", "", 0, t_sequence},
    {"string", "", 0, t_string},
    {"test", "", 0, t_test},
    {"true", "", 0, t_true},
    {"undefined", "", 0, t_undefined},
    {"upper", "", 0, t_upper},
};

static const struct function *find(const struct function *table, size_t n, const char *s,
                                   size_t size)
{
    for (size_t i = 0; i < n; i++)
        if (strlen(table[i].name) == size && memcmp(table[i].name, s, size) == 0)
            return &table[i];
    return NULL;
}

const struct function *filter_find(const char *s, size_t n)
{
    return find(filters, sizeof filters / sizeof *filters, s, n);
}

const struct function *test_find(const char *s, size_t n)
{
    return find(tests, sizeof tests / sizeof *tests, s, n);
}
