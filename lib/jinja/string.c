// SPDX-License-Identifier: MIT
// Python's str: methods, case, white space. Positions are code points.
#include "jinja/casing.h"
#include "jinja/internal.h"

#include <string.h>
#include <utf8proc.h>

// ---- classes of characters ----------------------------------------------------------------------

static utf8proc_category_t category(uint32_t code)
{
    return utf8proc_category((utf8proc_int32_t)code);
}

// str.isspace
static int unicode_space(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x1f);
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

const char *string_skip_space(const char *s, const char *end)
{
    while (s < end) {
        const char *next = s;
        if (!unicode_space(utf8_step(&next, end)))
            break;
        s = next;
    }
    return s;
}

const char *string_strip_right(const char *s, const char *end)
{
    while (end > s) {
        const char *last = end;
        if (!unicode_space(utf8_step_back(s, &last)))
            break;
        end = last;
    }
    return end;
}

void string_trim(const char **s, size_t *n)
{
    const char *from = string_skip_space(*s, *s + *n);
    *n = (size_t)(string_strip_right(from, *s + *n) - from);
    *s = from;
}

int unicode_printable(uint32_t c)
{
    if (c < 0x7f)
        return c >= 0x20;
    switch (category(c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
        return 0;
    default:
        return 1;
    }
}

static int is_alpha(uint32_t c)
{
    if (c < 0x80)
        return (c | 32) >= 'a' && (c | 32) <= 'z';
    utf8proc_category_t k = category(c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

static int is_numeric(uint32_t c)
{
    if (c < 0x80)
        return c >= '0' && c <= '9';
    utf8proc_category_t k = category(c);
    return k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_NL || k == UTF8PROC_CATEGORY_NO;
}

int unicode_word(uint32_t c)
{
    return c == '_' || is_alpha(c) || is_numeric(c) ||
           (c >= 0x80 &&
            (category(c) == UTF8PROC_CATEGORY_MN || category(c) == UTF8PROC_CATEGORY_MC ||
             category(c) == UTF8PROC_CATEGORY_PC));
}

int unicode_name_start(uint32_t c)
{
    return c == '_' || is_alpha(c) || (c >= 0x80 && category(c) == UTF8PROC_CATEGORY_NL);
}

// Numbers that are no digits are \w, but no part of a name (but for those of Other_ID_Continue).
int unicode_name_part(uint32_t c)
{
    return c < 0x80 || category(c) != UTF8PROC_CATEGORY_NO || (c >= 0x1369 && c <= 0x1371) ||
           c == 0x19da;
}

int unicode_digit(uint32_t c, int *value)
{
    if (c < 0x80) {
        *value = (int)c - '0';
        return c >= '0' && c <= '9';
    }
    if (category(c) != UTF8PROC_CATEGORY_ND)
        return 0;
    // Decimal digits stand in runs of ten, and runs follow each other without gaps only at
    // multiples of ten.
    uint32_t first = c;
    while (c - first < 50 && category(first - 1) == UTF8PROC_CATEGORY_ND)
        first--;
    *value = (int)((c - first) % 10);
    return 1;
}

// Digits that are no decimal digits (Numeric_Type=Digit).
static int is_digit(uint32_t c)
{
    static const uint32_t other[][2] = {
        {0xb2, 0xb3},       {0xb9, 0xb9},       {0x1369, 0x1371},   {0x19da, 0x19da},
        {0x2070, 0x2070},   {0x2074, 0x2079},   {0x2080, 0x2089},   {0x2460, 0x2468},
        {0x2474, 0x247c},   {0x2488, 0x2490},   {0x24ea, 0x24ea},   {0x24f5, 0x24fd},
        {0x24ff, 0x24ff},   {0x2776, 0x277e},   {0x2780, 0x2788},   {0x278a, 0x2792},
        {0x10a40, 0x10a43}, {0x10e60, 0x10e68}, {0x11052, 0x1105a}, {0x1f100, 0x1f10a},
    };
    int value;
    if (unicode_digit(c, &value))
        return 1;
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        if (c >= other[i][0] && c <= other[i][1])
            return 1;
    return 0;
}

static int is_decimal(uint32_t c)
{
    int value;
    return unicode_digit(c, &value);
}

enum letter_case { CASE_NONE, CASE_LOWER, CASE_UPPER, CASE_TITLE };

static enum letter_case case_of(uint32_t c)
{
    // Cased characters outside the letters' own categories.
    static const struct {
        uint32_t first, last;
        enum letter_case letter_case;
    } other[] = {
        {0xaa, 0xaa, CASE_LOWER},       {0xba, 0xba, CASE_LOWER},
        {0x2b0, 0x2b8, CASE_LOWER},     {0x2c0, 0x2c1, CASE_LOWER},
        {0x2e0, 0x2e4, CASE_LOWER},     {0x345, 0x345, CASE_LOWER},
        {0x37a, 0x37a, CASE_LOWER},     {0x1d2c, 0x1d6a, CASE_LOWER},
        {0x1d78, 0x1d78, CASE_LOWER},   {0x1d9b, 0x1dbf, CASE_LOWER},
        {0x2071, 0x2071, CASE_LOWER},   {0x207f, 0x207f, CASE_LOWER},
        {0x2090, 0x209c, CASE_LOWER},   {0x2160, 0x216f, CASE_UPPER},
        {0x2170, 0x217f, CASE_LOWER},   {0x24b6, 0x24cf, CASE_UPPER},
        {0x24d0, 0x24e9, CASE_LOWER},   {0x2c7c, 0x2c7d, CASE_LOWER},
        {0xa69c, 0xa69d, CASE_LOWER},   {0xa770, 0xa770, CASE_LOWER},
        {0xa7f8, 0xa7f9, CASE_LOWER},   {0xab5c, 0xab5f, CASE_LOWER},
        {0x10780, 0x10780, CASE_LOWER}, {0x10783, 0x10785, CASE_LOWER},
        {0x10787, 0x107b0, CASE_LOWER}, {0x107b2, 0x107ba, CASE_LOWER},
        {0x1f130, 0x1f149, CASE_UPPER}, {0x1f150, 0x1f169, CASE_UPPER},
        {0x1f170, 0x1f189, CASE_UPPER},
    };
    if (c < 0x80)
        return c >= 'a' && c <= 'z' ? CASE_LOWER : c >= 'A' && c <= 'Z' ? CASE_UPPER : CASE_NONE;
    switch (category(c)) {
    case UTF8PROC_CATEGORY_LU:
        return CASE_UPPER;
    case UTF8PROC_CATEGORY_LL:
        return CASE_LOWER;
    case UTF8PROC_CATEGORY_LT:
        return CASE_TITLE;
    default:
        break;
    }
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        if (c >= other[i].first && c <= other[i].last)
            return other[i].letter_case;
    return CASE_NONE;
}

static int case_ignorable(uint32_t c)
{
    static const uint16_t marks[] = {0x27,   0x2e,   0x3a,   0xb7,   0x387,  0x55f,
                                     0x5f4,  0x2018, 0x2019, 0x2024, 0x2027, 0xfe13,
                                     0xfe52, 0xfe55, 0xff07, 0xff0e, 0xff1a};
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++)
        if (c == marks[i])
            return 1;
    switch (category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
        return 1;
    default:
        return 0;
    }
}

// ---- case ---------------------------------------------------------------------------------------

static const struct special_case *special_case_of(uint32_t c)
{
    size_t low = 0, high = sizeof special_cases / sizeof *special_cases;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (special_cases[middle].code < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < sizeof special_cases / sizeof *special_cases && special_cases[low].code == c
               ? &special_cases[low]
               : NULL;
}

static void add_row(struct text *t, const uint16_t row[3])
{
    for (int i = 0; i < 3 && row[i]; i++)
        text_code(t, row[i]);
}

static void add_upper(struct text *t, uint32_t c)
{
    const struct special_case *special = c < 0x80 ? NULL : special_case_of(c);
    if (special)
        add_row(t, special->upper);
    else
        text_code(t, (uint32_t)utf8proc_toupper((utf8proc_int32_t)c));
}

static void add_title(struct text *t, uint32_t c)
{
    const struct special_case *special = c < 0x80 ? NULL : special_case_of(c);
    if (special)
        add_row(t, special->title);
    else
        text_code(t, (uint32_t)utf8proc_totitle((utf8proc_int32_t)c));
}

// A capital sigma is a final one after a letter and before none.
static uint32_t lower_sigma(const char *begin, const char *at, const char *after, const char *end)
{
    uint32_t c = 0;
    while (at > begin && case_ignorable(c = utf8_step_back(begin, &at)))
        c = 0;
    if (!c || case_of(c) == CASE_NONE)
        return 0x3c3;
    c = 0;
    while (after < end && case_ignorable(c = utf8_step(&after, end)))
        c = 0;
    return c && case_of(c) != CASE_NONE ? 0x3c3 : 0x3c2;
}

static void add_lower(struct text *t, uint32_t c, const char *begin, const char *at,
                      const char *after, const char *end)
{
    if (c == 0x3a3) {
        text_code(t, lower_sigma(begin, at, after, end));
    } else if (c == 0x130) {
        text_code(t, 'i');
        text_code(t, 0x307);
    } else {
        text_code(t, (uint32_t)utf8proc_tolower((utf8proc_int32_t)c));
    }
}

enum case_change { UPPER, LOWER, SWAP, TITLE, CAPITAL };

static struct value change_case(struct render *r, struct value v, enum case_change change)
{
    struct text t = text_new(r);
    const char *s = v.s, *end = v.s + v.n;
    int after_cased = 0, first = 1;
    render_bytes(r, v.n);
    while (s < end) {
        const char *at = s;
        uint32_t c = utf8_step(&s, end);
        enum letter_case k = case_of(c);
        int up = change == UPPER || (change == SWAP && k == CASE_LOWER);
        int title = (change == TITLE && !after_cased) || (change == CAPITAL && first);
        if (change == SWAP && (k == CASE_NONE || k == CASE_TITLE))
            text_code(&t, c);
        else if (title)
            add_title(&t, c);
        else if (up)
            add_upper(&t, c);
        else
            add_lower(&t, c, v.s, at, s, end);
        after_cased = k != CASE_NONE;
        first = 0;
    }
    struct value out = text_value(&t);
    out.markup = v.markup;
    return out;
}

struct value string_upper(struct render *r, struct value s)
{
    return change_case(r, s, UPPER);
}

struct value string_lower(struct render *r, struct value s)
{
    return change_case(r, s, LOWER);
}

struct value string_title_word(struct render *r, struct value s)
{
    return change_case(r, s, CAPITAL);
}

// jinja2's title: words begin after blanks, '-' and opening brackets only.
struct value string_filter_title(struct render *r, struct value v)
{
    struct text t = text_new(r);
    const char *s = v.s, *end = v.s + v.n;
    render_bytes(r, v.n);
    while (s < end) {
        const char *word = s, *next = s;
        uint32_t c = utf8_step(&next, end);
        int separator = unicode_space(c) || (c < 0x80 && c && strchr("-({[<", (int)c));
        if (separator) {
            add_upper(&t, c);
            s = next;
            continue;
        }
        const char *stop = next;
        while (stop < end) {
            const char *p = stop;
            c = utf8_step(&p, end);
            if (unicode_space(c) || (c < 0x80 && c && strchr("-({[<", (int)c)))
                break;
            stop = p;
        }
        s = word;
        add_upper(&t, utf8_step(&s, end));
        const char *rest = s;
        while (s < stop) {
            const char *at = s;
            c = utf8_step(&s, stop);
            add_lower(&t, c, rest, at, s, stop);
        }
    }
    return text_value(&t);
}

// Which of two cases a string is in, as islower() and isupper(): no other case, one at least.
static int only_case(struct value v, enum letter_case wanted)
{
    int seen = 0;
    for (const char *s = v.s, *end = v.s + v.n; s < end;) {
        enum letter_case k = case_of(utf8_step(&s, end));
        if (k != CASE_NONE && k != wanted)
            return 0;
        seen |= k == wanted;
    }
    return seen;
}

int string_is_lower(struct value s)
{
    return only_case(s, CASE_LOWER);
}

int string_is_upper(struct value s)
{
    return only_case(s, CASE_UPPER);
}

// ---- searching and cutting ----------------------------------------------------------------------

int64_t bytes_find(const char *s, size_t n, const char *find, size_t m, size_t from)
{
    if (from > n)
        return -1;
    if (m == 0)
        return (int64_t)from;
    const char *p = memmem(s + from, n - from, find, m);
    return p ? p - s : -1;
}

// Compares at every place: the work is charged for as such.
static int64_t bytes_find_last(struct render *r, const char *s, size_t n, const char *find,
                               size_t m)
{
    render_steps(r, (n / 64 + 1) * (m / 64 + 1));
    for (size_t i = n >= m ? n - m + 1 : 0; i-- > 0;)
        if (memcmp(s + i, find, m) == 0)
            return (int64_t)i;
    return -1;
}

static struct value part(struct value v, size_t from, size_t to)
{
    struct value out = value_string(v.s + from, to - from);
    out.markup = v.markup;
    return out;
}

static int given(struct value v)
{
    return v.kind != V_ABSENT && v.kind != V_NONE;
}

static void need_string(struct render *r, struct value v, const char *what)
{
    if (v.kind == V_UNDEFINED)
        fail_undefined(r, v);
    if (v.kind != V_STRING)
        render_fail(r, "%s must be str, not %s", what, type_name(v));
}

static int in_set(uint32_t c, struct value chars)
{
    if (chars.kind != V_STRING)
        return unicode_space(c);
    for (const char *s = chars.s, *end = s + chars.n; s < end;)
        if (utf8_step(&s, end) == c)
            return 1;
    return 0;
}

struct value string_strip(struct render *r, struct value v, struct value chars, int left, int right)
{
    if (given(chars))
        need_string(r, chars, "strip arg");
    const char *s = v.s, *end = v.s + v.n;
    render_bytes(r, v.n);
    while (left && s < end) {
        const char *next = s;
        if (!in_set(utf8_step(&next, end), chars))
            break;
        if (chars.kind == V_STRING)
            render_bytes(r, chars.n);
        s = next;
    }
    while (right && end > s) {
        const char *last = end;
        if (!in_set(utf8_step_back(s, &last), chars))
            break;
        if (chars.kind == V_STRING)
            render_bytes(r, chars.n);
        end = last;
    }
    return part(v, (size_t)(s - v.s), (size_t)(end - v.s));
}

struct value string_replace(struct render *r, struct value v, struct value old, struct value new,
                            int64_t count)
{
    struct text t = text_new(r);
    size_t at = 0;
    render_bytes(r, v.n);
    while (count != 0 && at <= v.n) {
        int64_t found = bytes_find(v.s, v.n, old.s, old.n, at);
        if (found < 0)
            break;
        text_add(&t, v.s + at, (size_t)found - at);
        text_add(&t, new.s, new.n);
        at = (size_t)found + old.n;
        if (old.n == 0) { // between all characters, and at both ends
            if (at >= v.n) {
                at = v.n + 1;
                break;
            }
            const char *s = v.s + at;
            utf8_step(&s, v.s + v.n);
            text_add(&t, v.s + at, (size_t)(s - v.s) - at);
            at = (size_t)(s - v.s);
        }
        count -= count > 0;
        render_steps(r, 1);
    }
    if (at < v.n)
        text_add(&t, v.s + at, v.n - at);
    return text_value(&t);
}

static struct value pad_to(struct render *r, struct value v, int64_t width, struct value fill,
                           int side) // -1 left-justified, 0 centred, 1 right-justified
{
    int64_t n = (int64_t)utf8_length(v.s, v.n), pad = width - n;
    if (given(fill)) {
        need_string(r, fill, "The fill character");
        if (utf8_length(fill.s, fill.n) != 1)
            render_fail(r, "The fill character must be exactly one character long");
    } else {
        fill = value_cstring(" ");
    }
    if (pad <= 0)
        return v;
    if (pad > TEMPLATE_OUTPUT)
        render_fail(r, "a width of %lld is too large", (long long)width);
    int64_t left = side < 0 ? 0 : side > 0 ? pad : pad / 2 + (pad & width & 1);
    struct text t = text_new(r);
    for (int64_t i = 0; i < pad; i++) {
        if (i == left)
            text_add(&t, v.s, v.n);
        text_add(&t, fill.s, fill.n);
    }
    if (left == pad)
        text_add(&t, v.s, v.n);
    struct value out = text_value(&t);
    out.markup = v.markup;
    return out;
}

struct value string_center(struct render *r, struct value s, int64_t width)
{
    return pad_to(r, s, width, value_none(), 0);
}

static int line_end(uint32_t c)
{
    return (c >= 10 && c <= 13) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 ||
           c == 0x2029;
}

struct value string_lines(struct render *r, struct value v, int keep_ends)
{
    struct items lines = {r, NULL, 0, 0};
    const char *s = v.s, *end = v.s + v.n, *line = s;
    render_bytes(r, v.n);
    while (s < end) {
        const char *stop = s;
        uint32_t c = utf8_step(&s, end);
        if (!line_end(c))
            continue;
        if (c == '\r' && s < end && *s == '\n')
            s++;
        items_add(&lines, part(v, (size_t)(line - v.s), (size_t)((keep_ends ? s : stop) - v.s)));
        line = s;
    }
    if (line < end)
        items_add(&lines, part(v, (size_t)(line - v.s), v.n));
    return items_value(&lines, V_LIST);
}

static struct value string_join(struct render *r, struct value separator, struct value iterable)
{
    struct text t = text_new(r);
    struct iterator *it = value_iterate(r, iterable);
    struct value v;
    for (int64_t i = 0; iterator_next(r, it, &v); i++) {
        if (v.kind != V_STRING)
            render_fail(r, "sequence item %lld: expected str instance, %s found", (long long)i,
                        type_name(v));
        if (i)
            text_add(&t, separator.s, separator.n);
        text_add(&t, v.s, v.n);
    }
    struct value out = text_value(&t);
    out.markup = separator.markup;
    return out;
}

struct value string_rsplit_blank_once(struct render *r, struct value s)
{
    int64_t at = bytes_find_last(r, s.s, s.n, " ", 1);
    return at < 0 ? s : part(s, 0, (size_t)at);
}

// ---- methods ------------------------------------------------------------------------------------

#define METHOD(name)                                                                               \
    static struct value name(struct render *r, struct value self, struct value *a,                 \
                             struct arguments *all)

METHOD(m_upper)
{
    return change_case(r, self, UPPER);
}

METHOD(m_lower)
{
    return change_case(r, self, LOWER);
}

METHOD(m_swapcase)
{
    return change_case(r, self, SWAP);
}

METHOD(m_title)
{
    return change_case(r, self, TITLE);
}

METHOD(m_capitalize)
{
    return change_case(r, self, CAPITAL);
}

METHOD(m_casefold)
{
    struct text t = text_new(r);
    for (const char *s = self.s, *end = s + self.n; s < end;) {
        utf8proc_int32_t folded[8];
        int boundary = 0;
        uint32_t c = utf8_step(&s, end);
        utf8proc_ssize_t n =
            utf8proc_decompose_char((utf8proc_int32_t)c, folded, 8, UTF8PROC_CASEFOLD, &boundary);
        for (utf8proc_ssize_t i = 0; i < n && i < 8; i++)
            text_code(&t, (uint32_t)folded[i]);
    }
    return text_value(&t);
}

METHOD(m_strip)
{
    return string_strip(r, self, a[0], 1, 1);
}

METHOD(m_lstrip)
{
    return string_strip(r, self, a[0], 1, 0);
}

METHOD(m_rstrip)
{
    return string_strip(r, self, a[0], 0, 1);
}

static void split_blanks(struct render *r, struct value v, int64_t most, struct items *out)
{
    const char *s = v.s, *end = v.s + v.n;
    while (1) {
        const char *next = s;
        while (s < end && unicode_space(utf8_step(&next, end)))
            s = next;
        if (s >= end)
            return;
        const char *word = s;
        if (most == 0) {
            items_add(out, part(v, (size_t)(word - v.s), v.n)); // blanks at its end stay
            return;
        }
        next = s;
        while (s < end && !unicode_space(utf8_step(&next, end)))
            s = next;
        items_add(out, part(v, (size_t)(word - v.s), (size_t)(s - v.s)));
        most -= most > 0;
    }
}

static void rsplit_blanks(struct render *r, struct value v, int64_t most, struct items *out)
{
    const char *s = v.s, *end = v.s + v.n;
    while (1) {
        const char *last = end;
        while (end > s && unicode_space(utf8_step_back(s, &last)))
            end = last;
        if (end <= s)
            return;
        if (most == 0) {
            items_add(out, part(v, 0, (size_t)(end - v.s))); // blanks at its beginning stay
            return;
        }
        const char *stop = end;
        last = end;
        while (end > s && !unicode_space(utf8_step_back(s, &last)))
            end = last;
        items_add(out, part(v, (size_t)(end - v.s), (size_t)(stop - v.s)));
        most -= most > 0;
    }
}

static void reverse_items(struct items *i)
{
    for (size_t a = 0, b = i->n; a + 1 < b; a++, b--) {
        struct value v = i->at[a];
        i->at[a] = i->at[b - 1];
        i->at[b - 1] = v;
    }
}

static int64_t optional_index(struct render *r, struct value v, int64_t otherwise)
{
    return v.kind == V_ABSENT ? otherwise : value_index(r, v, "an argument");
}

METHOD(m_split)
{
    struct items out = {r, NULL, 0, 0};
    int64_t most = optional_index(r, a[1], -1);
    render_bytes(r, self.n);
    if (!given(a[0])) {
        split_blanks(r, self, most, &out);
        return items_value(&out, V_LIST);
    }
    need_string(r, a[0], "a separator");
    if (a[0].n == 0)
        render_fail(r, "empty separator");
    size_t at = 0;
    int64_t found;
    while (most != 0 && (found = bytes_find(self.s, self.n, a[0].s, a[0].n, at)) >= 0) {
        items_add(&out, part(self, at, (size_t)found));
        at = (size_t)found + a[0].n;
        most -= most > 0;
    }
    items_add(&out, part(self, at, self.n));
    return items_value(&out, V_LIST);
}

METHOD(m_rsplit)
{
    struct items out = {r, NULL, 0, 0};
    int64_t most = optional_index(r, a[1], -1);
    render_bytes(r, self.n);
    if (!given(a[0])) {
        rsplit_blanks(r, self, most, &out);
    } else {
        need_string(r, a[0], "a separator");
        if (a[0].n == 0)
            render_fail(r, "empty separator");
        size_t end = self.n;
        int64_t found;
        while (most != 0 && (found = bytes_find_last(r, self.s, end, a[0].s, a[0].n)) >= 0) {
            items_add(&out, part(self, (size_t)found + a[0].n, end));
            end = (size_t)found;
            most -= most > 0;
        }
        items_add(&out, part(self, 0, end));
    }
    reverse_items(&out);
    return items_value(&out, V_LIST);
}

METHOD(m_splitlines)
{
    return string_lines(r, self, a[0].kind != V_ABSENT && value_truth(r, a[0]));
}

METHOD(m_join)
{
    return string_join(r, self, a[0]);
}

METHOD(m_replace)
{
    need_string(r, a[0], "replace() argument 1");
    need_string(r, a[1], "replace() argument 2");
    return string_replace(r, self, a[0], a[1], optional_index(r, a[2], -1));
}

// The bytes between two optional code point positions, as Python clamps them. 0 when start lies
// behind the end.
static int window(struct render *r, struct value v, struct value start, struct value stop,
                  size_t *from, size_t *to)
{
    *from = 0;
    *to = v.n;
    if (!given(start) && !given(stop))
        return 1;
    int64_t n = (int64_t)utf8_length(v.s, v.n);
    int64_t a = given(start) ? value_index(r, start, "an index") : 0;
    int64_t b = given(stop) ? value_index(r, stop, "an index") : n;
    a = a < 0 ? (a + n < 0 ? 0 : a + n) : a;
    b = b < 0 ? (b + n < 0 ? 0 : b + n) : b > n ? n : b;
    if (a > b)
        return 0;
    *from = utf8_offset(v.s, v.n, (size_t)a);
    *to = utf8_offset(v.s, v.n, (size_t)b);
    return 1;
}

static int64_t find_in(struct render *r, struct value self, struct value *a, int last)
{
    size_t from, to;
    need_string(r, a[0], "a substring");
    render_bytes(r, self.n);
    if (!window(r, self, a[1], a[2], &from, &to))
        return -1;
    int64_t at = last ? bytes_find_last(r, self.s + from, to - from, a[0].s, a[0].n)
                      : bytes_find(self.s + from, to - from, a[0].s, a[0].n, 0);
    return at < 0 ? -1 : (int64_t)utf8_length(self.s, from + (size_t)at);
}

METHOD(m_find)
{
    return value_int(find_in(r, self, a, 0));
}

METHOD(m_rfind)
{
    return value_int(find_in(r, self, a, 1));
}

METHOD(m_index)
{
    int64_t at = find_in(r, self, a, 0);
    if (at < 0)
        render_fail(r, "substring not found");
    return value_int(at);
}

METHOD(m_rindex)
{
    int64_t at = find_in(r, self, a, 1);
    if (at < 0)
        render_fail(r, "substring not found");
    return value_int(at);
}

METHOD(m_count)
{
    size_t from, to;
    need_string(r, a[0], "a substring");
    render_bytes(r, self.n);
    if (!window(r, self, a[1], a[2], &from, &to))
        return value_int(0);
    if (a[0].n == 0)
        return value_int((int64_t)utf8_length(self.s + from, to - from) + 1);
    int64_t count = 0, at;
    while ((at = bytes_find(self.s, to, a[0].s, a[0].n, from)) >= 0) {
        count++;
        from = (size_t)at + a[0].n;
    }
    return value_int(count);
}

static int affix(struct render *r, struct value self, struct value *a, int at_end)
{
    size_t from, to;
    if (!window(r, self, a[1], a[2], &from, &to))
        return 0;
    struct value one = a[0], *each = &one;
    size_t n = 1;
    if (a[0].kind == V_TUPLE) {
        each = list_items(r, a[0].list);
        n = a[0].list->n;
    }
    for (size_t i = 0; i < n; i++) {
        need_string(r, each[i], at_end ? "endswith first arg" : "startswith first arg");
        size_t m = each[i].n;
        render_bytes(r, m);
        if (m <= to - from && memcmp(self.s + (at_end ? to - m : from), each[i].s, m) == 0)
            return 1;
    }
    return 0;
}

METHOD(m_startswith)
{
    return value_bool(affix(r, self, a, 0));
}

METHOD(m_endswith)
{
    return value_bool(affix(r, self, a, 1));
}

METHOD(m_removeprefix)
{
    need_string(r, a[0], "removeprefix() argument");
    int has = a[0].n <= self.n && memcmp(self.s, a[0].s, a[0].n) == 0;
    return has ? part(self, a[0].n, self.n) : self;
}

METHOD(m_removesuffix)
{
    need_string(r, a[0], "removesuffix() argument");
    int has = a[0].n <= self.n && memcmp(self.s + self.n - a[0].n, a[0].s, a[0].n) == 0;
    return has ? part(self, 0, self.n - a[0].n) : self;
}

static struct value three(struct render *r, struct value x, struct value y, struct value z)
{
    struct value t = value_list(r, V_TUPLE, 3);
    t.list->item[0] = x;
    t.list->item[1] = y;
    t.list->item[2] = z;
    return t;
}

static int64_t partition_at(struct render *r, struct value self, struct value separator, int last)
{
    need_string(r, separator, "a separator");
    if (separator.n == 0)
        render_fail(r, "empty separator");
    render_bytes(r, self.n);
    return last ? bytes_find_last(r, self.s, self.n, separator.s, separator.n)
                : bytes_find(self.s, self.n, separator.s, separator.n, 0);
}

METHOD(m_partition)
{
    int64_t at = partition_at(r, self, a[0], 0);
    struct value none = value_cstring("");
    none.markup = self.markup;
    if (at < 0)
        return three(r, self, none, none);
    return three(r, part(self, 0, (size_t)at), a[0], part(self, (size_t)at + a[0].n, self.n));
}

METHOD(m_rpartition)
{
    int64_t at = partition_at(r, self, a[0], 1);
    struct value none = value_cstring("");
    none.markup = self.markup;
    if (at < 0)
        return three(r, none, none, self);
    return three(r, part(self, 0, (size_t)at), a[0], part(self, (size_t)at + a[0].n, self.n));
}

METHOD(m_center)
{
    return pad_to(r, self, value_index(r, a[0], "a width"), a[1], 0);
}

METHOD(m_ljust)
{
    return pad_to(r, self, value_index(r, a[0], "a width"), a[1], -1);
}

METHOD(m_rjust)
{
    return pad_to(r, self, value_index(r, a[0], "a width"), a[1], 1);
}

METHOD(m_zfill)
{
    int64_t width = value_index(r, a[0], "a width");
    int64_t pad = width - (int64_t)utf8_length(self.s, self.n);
    if (pad <= 0)
        return self;
    if (pad > TEMPLATE_OUTPUT)
        render_fail(r, "a width of %lld is too large", (long long)width);
    struct text t = text_new(r);
    size_t sign = self.n && (self.s[0] == '-' || self.s[0] == '+');
    text_add(&t, self.s, sign);
    text_pad(&t, '0', (size_t)pad);
    text_add(&t, self.s + sign, self.n - sign);
    return text_value(&t);
}

METHOD(m_expandtabs)
{
    int64_t width = optional_index(r, a[0], 8), column = 0;
    if (width > TEMPLATE_OUTPUT)
        render_fail(r, "a width of %lld is too large", (long long)width);
    struct text t = text_new(r);
    for (const char *s = self.s, *end = s + self.n; s < end;) {
        uint32_t c = utf8_step(&s, end);
        if (c == '\t') {
            int64_t blanks = width > 0 ? width - column % width : 0;
            text_pad(&t, ' ', (size_t)blanks);
            column += blanks;
        } else {
            text_code(&t, c);
            column = c == '\n' || c == '\r' ? 0 : column + 1;
        }
    }
    return text_value(&t);
}

METHOD(m_encode)
{
    if (given(a[0])) {
        need_string(r, a[0], "encode() argument");
        struct value name = string_lower(r, a[0]);
        if (!(name.n == 5 && memcmp(name.s, "utf-8", 5) == 0) &&
            !(name.n == 4 && memcmp(name.s, "utf8", 4) == 0))
            render_fail(r, "encodings other than UTF-8 are not supported");
    }
    struct value out = self;
    out.kind = V_BYTES;
    out.markup = 0;
    return out;
}

METHOD(m_format)
{
    return format_braces(r, self, all);
}

METHOD(m_format_map)
{
    if (all->n != 1 || all->n_keywords || all->at[0].kind != V_DICT)
        render_fail(r, "format_map() takes one mapping");
    struct dict *d = dict_read(r, all->at[0].dict);
    struct arguments named = {NULL, 0, NULL, 0};
    named.keyword = sandbox_get(&r->sandbox, d->n + 1, sizeof *named.keyword);
    for (size_t i = 0; i < d->n; i++)
        if (d->entry[i].key.kind == V_STRING)
            named.keyword[named.n_keywords++] =
                (struct keyword){d->entry[i].key, d->entry[i].value};
    return format_braces(r, self, &named);
}

// All characters of a class, one at least.
static struct value every(struct value self, int (*is)(uint32_t))
{
    for (const char *s = self.s, *end = s + self.n; s < end;)
        if (!is(utf8_step(&s, end)))
            return value_bool(0);
    return value_bool(self.n > 0);
}

static int is_alnum(uint32_t c)
{
    return is_alpha(c) || is_numeric(c);
}

METHOD(m_isdigit)
{
    return every(self, is_digit);
}

METHOD(m_isdecimal)
{
    return every(self, is_decimal);
}

METHOD(m_isnumeric)
{
    return every(self, is_numeric);
}

METHOD(m_isalpha)
{
    return every(self, is_alpha);
}

METHOD(m_isalnum)
{
    return every(self, is_alnum);
}

METHOD(m_isspace)
{
    return every(self, unicode_space);
}

METHOD(m_isprintable)
{
    return self.n ? every(self, unicode_printable) : value_bool(1);
}

METHOD(m_isascii)
{
    for (size_t i = 0; i < self.n; i++)
        if ((unsigned char)self.s[i] >= 0x80)
            return value_bool(0);
    return value_bool(1);
}

METHOD(m_isidentifier)
{
    const char *s = self.s;
    if (self.n == 0 || !unicode_name_start(utf8_step(&s, self.s + self.n)))
        return value_bool(0);
    return every(self, unicode_word);
}

METHOD(m_islower)
{
    return value_bool(string_is_lower(self));
}

METHOD(m_isupper)
{
    return value_bool(string_is_upper(self));
}

METHOD(m_istitle)
{
    int cased = 0, seen = 0;
    for (const char *s = self.s, *end = s + self.n; s < end;) {
        enum letter_case k = case_of(utf8_step(&s, end));
        if ((k == CASE_LOWER && !cased) || ((k == CASE_UPPER || k == CASE_TITLE) && cased))
            return value_bool(0);
        cased = k != CASE_NONE;
        seen |= cased;
    }
    return value_bool(seen);
}

METHOD(m_unsupported)
{
    render_fail(r, "str.translate and str.maketrans are not supported");
}

static const struct function methods[] = {
    {"capitalize", "", 0, m_capitalize},
    {"casefold", "", 0, m_casefold},
    {"center", "width fillchar", 1, m_center},
    {"count", "sub start end", 1, m_count},
    {"encode", "encoding errors", 0, m_encode},
    {"endswith", "suffix start end", 1, m_endswith},
    {"expandtabs", "tabsize", 0, m_expandtabs},
    {"find", "sub start end", 1, m_find},
    {"format", "*", 0, m_format},
    {"format_map", "*", 0, m_format_map},
    {"index", "sub start end", 1, m_index},
    {"isalnum", "", 0, m_isalnum},
    {"isalpha", "", 0, m_isalpha},
    {"isascii", "", 0, m_isascii},
    {"isdecimal", "", 0, m_isdecimal},
    {"isdigit", "", 0, m_isdigit},
    {"isidentifier", "", 0, m_isidentifier},
    {"islower", "", 0, m_islower},
    {"isnumeric", "", 0, m_isnumeric},
    {"isprintable", "", 0, m_isprintable},
    {"isspace", "", 0, m_isspace},
    {"istitle", "", 0, m_istitle},
    {"isupper", "", 0, m_isupper},
    {"join", "iterable", 1, m_join},
    {"ljust", "width fillchar", 1, m_ljust},
    {"lower", "", 0, m_lower},
    {"lstrip", "chars", 0, m_lstrip},
    {"maketrans", "*", 0, m_unsupported},
    {"partition", "sep", 1, m_partition},
    {"removeprefix", "prefix", 1, m_removeprefix},
    {"removesuffix", "suffix", 1, m_removesuffix},
    {"replace", "old new count", 2, m_replace},
    {"rfind", "sub start end", 1, m_rfind},
    {"rindex", "sub start end", 1, m_rindex},
    {"rjust", "width fillchar", 1, m_rjust},
    {"rpartition", "sep", 1, m_rpartition},
    {"rsplit", "sep maxsplit", 0, m_rsplit},
    {"rstrip", "chars", 0, m_rstrip},
    {"split", "sep maxsplit", 0, m_split},
    {"splitlines", "keepends", 0, m_splitlines},
    {"startswith", "prefix start end", 1, m_startswith},
    {"strip", "chars", 0, m_strip},
    {"swapcase", "", 0, m_swapcase},
    {"title", "", 0, m_title},
    {"translate", "*", 0, m_unsupported},
    {"upper", "", 0, m_upper},
    {"zfill", "width", 1, m_zfill},
};

const struct function *string_method(const char *s, size_t n)
{
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strlen(methods[i].name) == n && memcmp(methods[i].name, s, n) == 0)
            return &methods[i];
    return NULL;
}
