// SPDX-License-Identifier: MIT
#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenize/pattern.h"

#include <ctype.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "tokenize/pattern_classes.h"
#include "tokenize/pattern_dfa.h"
#include "tokenize/unicode.h"

enum {
    PATTERN_MAX = 1 << 16,
    GROUPS_MAX = 200,
    CLASSES_MAX = 16,
    STACK_MAX = 1 << 20,
    MATCH_LIMIT = 50000000
};

struct pattern {
    pcre2_code *code; // NULL: a literal
    int jit;
    struct pattern_dfa *dfa; // the same, faster; NULL: beyond what it can do
    char *literal;
    size_t size;
};

// Rewriting walks the source once and keeps where the last atom began in the output, because
// Ruby's x{1,3}+ is (x{1,3})+ and not possessive.
struct rewriter {
    const char *s;
    size_t i, size;
    const char *name;
    struct buffer *out;
    struct err *e;
    size_t atom;
    size_t group[GROUPS_MAX];
    int depth;
};

static int put(struct rewriter *r, const char *text)
{
    return buffer_string(r->out, text, r->e);
}

static int put_bytes(struct rewriter *r, size_t from, size_t to)
{
    return buffer_append(r->out, r->s + from, to - from, r->e);
}

static int refuse(struct rewriter *r, const char *what)
{
    return err_set(r->e, STATUS_FAILED, "%s: pattern: %s is not supported", r->name, what);
}

static const char *class_extra(const char *name, size_t size)
{
    for (size_t i = 0; i < sizeof pattern_classes / sizeof *pattern_classes; i++)
        if (strlen(pattern_classes[i].name) == size && !memcmp(pattern_classes[i].name, name, size))
            return pattern_classes[i].extra;
    return "";
}

// Names that PCRE2 has not, or has in another sense; the second is what goes into a class, with
// what PCRE2's tables lack of the third.
static const char *const aliases[][3] = {
    {"letter", "\\p{L}", "L"},
    {"uppercaseletter", "\\p{Lu}", "Lu"},
    {"lowercaseletter", "\\p{Ll}", "Ll"},
    {"titlecaseletter", "\\p{Lt}", "Lt"},
    {"modifierletter", "\\p{Lm}", "Lm"},
    {"otherletter", "\\p{Lo}", "Lo"},
    {"mark", "\\p{M}", "M"},
    {"nonspacingmark", "\\p{Mn}", "Mn"},
    {"number", "\\p{N}", "N"},
    {"decimalnumber", "\\p{Nd}", "Nd"},
    {"digit", "\\p{Nd}", "Nd"},
    {"punctuation", "\\p{P}", "P"},
    {"symbol", "\\p{S}", "S"},
    {"separator", "\\p{Z}", "Z"},
    {"spaceseparator", "\\p{Zs}", "Zs"},
    {"control", "\\p{Cc}", "Cc"},
    {"cntrl", "\\p{Cc}", "Cc"},
    {"alpha", "\\p{Alphabetic}", "Alphabetic"},
    {"upper", "\\p{Uppercase}", "Uppercase"},
    {"lower", "\\p{Lowercase}", "Lowercase"},
    {"space", "\\p{White_Space}", "White_Space"},
    {"blank", "\\p{Zs}\\t", "Zs"},
    {"xdigit", "0-9a-fA-F", ""},
    {"ascii", "\\x00-\\x7F", ""},
};

// General categories and other properties that both know by the same name; all else is a script.
static int is_property(const char *name, size_t size)
{
    static const char *const names[] = {"L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me",
                                        "N",  "Nd", "Nl", "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi",
                                        "Pf", "Po", "S",  "Sm", "Sc", "Sk", "So", "Z",  "Zs", "Zl",
                                        "Zp", "C",  "Cc", "Cf", "Cn", "Co", "Cs", "Any"};
    static const char *const binary[] = {
        "Alphabetic",         "Uppercase",      "Lowercase",
        "White_Space",        "Emoji",          "Extended_Pictographic",
        "Emoji_Presentation", "Emoji_Modifier", "Ideographic"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == size && !memcmp(names[i], name, size))
            return 1;
    for (size_t i = 0; i < sizeof binary / sizeof *binary; i++)
        if (strlen(binary[i]) == size && !memcmp(binary[i], name, size))
            return 1;
    return 0;
}

static const char *const *find_alias(const char *name, size_t size)
{
    char plain[32];
    size_t n = 0;
    for (size_t i = 0; i < size && n + 1 < sizeof plain; i++)
        if (isalnum((unsigned char)name[i]))
            plain[n++] = (char)tolower((unsigned char)name[i]);
    plain[n] = 0;
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (!strcmp(aliases[i][0], plain))
            return aliases[i];
    return NULL;
}

// What stands for the property inside a class.
static int put_property(struct rewriter *r, const char *name, size_t size)
{
    const char *const *alias = is_property(name, size) ? NULL : find_alias(name, size);
    if (alias)
        return put(r, alias[1]) < 0 || put(r, class_extra(alias[2], strlen(alias[2]))) < 0 ? -1 : 0;
    return buffer_printf(r->out, r->e, "\\p{%s%.*s}%s",
                         is_property(name, size) ? "" : "sc:", (int)size, name,
                         class_extra(name, size));
}

static int is_name(const char *name, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!isalnum((unsigned char)name[i]) && !strchr("_- ", name[i]))
            return 0;
    return size > 0;
}

// \p{L} and its kin: the library's Unicode tables are completed with what they lack. Inside a class
// a complement is not written here (class_escape).
static int rewrite_property(struct rewriter *r, int inside)
{
    size_t begin = r->i, name = r->i + 2, end;
    int negative = r->s[begin + 1] == 'P';
    if (name < r->size && r->s[name] == '{') {
        name++;
        const char *close = memchr(r->s + name, '}', r->size - name);
        if (!close)
            return refuse(r, "a property without its closing brace");
        end = (size_t)(close - r->s);
        r->i = end + 1;
    } else {
        return refuse(r, "\\p without braces");
    }
    if (name < end && r->s[name] == '^') {
        negative = !negative;
        name++;
    }
    const char *text = r->s + name;
    size_t size = end - name;
    if (!is_name(text, size))
        return refuse(r, "this name of a property");
    if (!inside && is_property(text, size) && !*class_extra(text, size))
        return buffer_printf(r->out, r->e, "\\%c{%.*s}", negative ? 'P' : 'p', (int)size, text);
    return (inside ? 0 : put(r, negative ? "[^" : "[")) < 0 || put_property(r, text, size) < 0 ||
                   (inside ? 0 : put(r, "]")) < 0
               ? -1
               : 0;
}

static int rewrite_word(struct rewriter *r, int negative, int inside)
{
    // The engine counts these six as of a word where \\w stands alone, but not inside a class.
    static const char alone[] = "\\x{B2}-\\x{B3}\\x{B9}\\x{BC}-\\x{BE}";
    const char *begin = negative ? "[^" : inside ? "" : "[";
    const char *extra = class_extra("w", 1);
    if (inside && !strncmp(extra, alone, sizeof alone - 1))
        extra += sizeof alone - 1;
    return buffer_printf(r->out, r->e, "%s\\p{L}\\p{M}\\p{Nd}\\p{Pc}%s%s", begin, extra,
                         inside && !negative ? "" : "]");
}

// Between a character of a word and another, or not so. PCRE2 has other words.
static int rewrite_boundary(struct rewriter *r, int negative)
{
    static const char *const parts[] = {"(?:(?<=", ")(?!", ")|(?<!", ")(?=", "))"};
    static const char *const within[] = {"(?:(?<=", ")(?=", ")|(?<!", ")(?!", "))"};
    for (int i = 0; i < 5; i++)
        if (put(r, negative ? within[i] : parts[i]) < 0 || (i < 4 && rewrite_word(r, 0, 0) < 0))
            return -1;
    return 0;
}

static int rewrite_escape(struct rewriter *r, int inside)
{
    if (r->i + 1 >= r->size)
        return refuse(r, "a backslash at the end");
    char c = r->s[r->i + 1];
    if (c == 'p' || c == 'P')
        return rewrite_property(r, inside);
    r->i += 2;
    switch (c) {
    case 's':
        return put(r, "\\p{White_Space}");
    case 'S':
        return put(r, "\\P{White_Space}");
    case 'w':
    case 'W':
        return rewrite_word(r, c == 'W', inside);
    case 'd':
        return buffer_printf(r->out, r->e, "%s\\p{Nd}%s%s", inside ? "" : "[", class_extra("d", 1),
                             inside ? "" : "]");
    case 'D':
        return buffer_printf(r->out, r->e, "[^\\p{Nd}%s]", class_extra("d", 1));
    case 'h':
        return put(r, inside ? "0-9a-fA-F" : "[0-9a-fA-F]");
    case 'b':
    case 'B':
        if (!inside)
            return rewrite_boundary(r, c == 'B');
        return c == 'b' ? put(r, "\\x08") : refuse(r, "\\B inside a class");
    case 'A':
    case 'z':
    case 'Z':
    case 'n':
    case 'r':
    case 't':
    case 'f':
    case 'v':
    case 'a':
    case 'e':
    case 'R':
    case 'X':
        if (c == 'v')
            return put(r, "\\x0b"); // the character; in PCRE2 \v is a class
        return buffer_printf(r->out, r->e, "\\%c", c);
    case 'x': { // \x41 and \x{1F600}
        size_t from = r->i - 2;
        if (r->i < r->size && r->s[r->i] == '{') {
            while (r->i < r->size && r->s[r->i] != '}')
                r->i++;
            r->i += r->i < r->size;
        } else {
            for (int k = 0; k < 2 && r->i < r->size && isxdigit((unsigned char)r->s[r->i]); k++)
                r->i++;
        }
        return put_bytes(r, from, r->i);
    }
    case 'u': // \u1234
        if (r->i + 4 > r->size)
            return refuse(r, "a short \\u");
        r->i += 4;
        return buffer_printf(r->out, r->e, "\\x{%.4s}", r->s + r->i - 4);
    default:
        if (isdigit((unsigned char)c) || isalpha((unsigned char)c)) {
            char what[16];
            snprintf(what, sizeof what, "\\%c", c);
            return refuse(r, what);
        }
        return put_bytes(r, r->i - 2,
                         r->i); // an escaped sign (a longer character goes on by itself)
    }
}

// ---- Classes ------------------------------------------------------------------------------------

// A class under construction: what PCRE2 can have between brackets, and what must stand beside it
// as an alternative (complements, classes inside). Before && it becomes a look-ahead.
struct open_class {
    struct buffer items, others, before;
    int depth;
};

static int rewrite_class_at(struct rewriter *r, int depth);

// Runs one of the rewriting functions so that it writes to `to`.
static int write_to(struct rewriter *r, struct buffer *to, int (*fn)(struct rewriter *r, int depth),
                    int depth)
{
    struct buffer *out = r->out;
    r->out = to;
    int result = fn(r, depth);
    r->out = out;
    return result;
}

// [:alpha:] and its kin.
static int rewrite_posix(struct rewriter *r, int depth)
{
    const char *begin = r->s + r->i + 2, *end = memmem(begin, r->size - r->i - 2, ":]", 2);
    size_t size = (size_t)(end - begin);
    r->i += size + 4;
    if (size == 5 && !memcmp(begin, "punct", 5))
        return buffer_printf(r->out, r->e, "\\p{P}%s\\p{S}%s", class_extra("P", 1),
                             class_extra("S", 1));
    if (size == 5 && !memcmp(begin, "alnum", 5))
        return buffer_printf(r->out, r->e, "\\p{Alphabetic}%s\\p{Nd}%s",
                             class_extra("Alphabetic", 10), class_extra("Nd", 2));
    if (!find_alias(begin, size) || !islower((unsigned char)*begin))
        return refuse(r, "this class between [: and :]");
    return put_property(r, begin, size);
}

static int is_posix(const struct rewriter *r)
{
    return r->i + 2 < r->size && r->s[r->i + 1] == ':' && r->s[r->i + 2] != '^' &&
           memmem(r->s + r->i + 2, r->size - r->i - 2, ":]", 2);
}

static int rewrite_outside(struct rewriter *r, int depth)
{
    if (r->s[r->i + 1] == 'W')
        return r->i += 2, rewrite_word(r, 1, 1);
    return rewrite_escape(r, 0);
}

static int rewrite_inside(struct rewriter *r, int depth)
{
    return rewrite_escape(r, 1);
}

static int class_other(struct rewriter *r, struct open_class *c,
                       int (*fn)(struct rewriter *r, int depth))
{
    return buffer_string(&c->others, "|", r->e) < 0 ? -1 : write_to(r, &c->others, fn, c->depth);
}

static int class_escape(struct rewriter *r, struct open_class *c)
{
    char name = r->i + 1 < r->size ? r->s[r->i + 1] : 0;
    int circumflex = r->i + 3 < r->size && r->s[r->i + 2] == '{' && r->s[r->i + 3] == '^';
    int complement =
        name == 'W' || name == 'D' || (name == 'P' && !circumflex) || (name == 'p' && circumflex);
    return complement ? class_other(r, c, rewrite_outside)
                      : write_to(r, &c->items, rewrite_inside, 0);
}

// Appends what matches one character of the class.
static int class_close(struct rewriter *r, const struct open_class *c, struct buffer *to)
{
    const char *items = c->items.data ? c->items.data : "";
    const char *others = c->others.data ? c->others.data : "";
    if (!c->others.size)
        return buffer_printf(to, r->e, "[%s]", items);
    if (!c->items.size)
        return buffer_printf(to, r->e, "(?:%s)", others + 1);
    return buffer_printf(to, r->e, "(?:[%s]%s)", items, others);
}

// A && B: B, where A matches too.
static int class_and(struct rewriter *r, struct open_class *c)
{
    if (buffer_string(&c->before, "(?=", r->e) < 0 || class_close(r, c, &c->before) < 0 ||
        buffer_string(&c->before, ")", r->e) < 0)
        return -1;
    buffer_clear(&c->items);
    buffer_clear(&c->others);
    return 0;
}

// The end of it: 1; 0: there is more.
static int class_next(struct rewriter *r, struct open_class *c, int first)
{
    char ch = r->s[r->i];
    if (ch == ']' && !first)
        return r->i++, 1;
    if (ch == '[')
        return is_posix(r) ? write_to(r, &c->items, rewrite_posix, 0)
                           : class_other(r, c, rewrite_class_at);
    if (ch == '\\')
        return class_escape(r, c);
    if (ch == '&' && r->i + 1 < r->size && r->s[r->i + 1] == '&')
        return r->i += 2, class_and(r, c);
    r->i++;
    return ch ? buffer_append(&c->items, &ch, 1, r->e) : buffer_string(&c->items, "\\x00", r->e);
}

static int class_write(struct rewriter *r, const struct open_class *c, int negative)
{
    if (!c->items.size && !c->others.size)
        return refuse(r, "an empty class");
    if (!c->before.size && !c->others.size)
        return buffer_printf(r->out, r->e, "[%s%s]", negative ? "^" : "", c->items.data);
    if (put(r, negative ? "(?:(?!" : "(?:") < 0 ||
        put(r, c->before.data ? c->before.data : "") < 0 || class_close(r, c, r->out) < 0)
        return -1;
    return put(r, negative ? ")[\\x00-\\x{10FFFF}])" : ")");
}

static int rewrite_class_at(struct rewriter *r, int depth)
{
    struct open_class c = {.depth = depth + 1};
    int done = 0, first = 1, negative = 0;
    if (depth > CLASSES_MAX)
        return refuse(r, "such deep nesting");
    buffer_init(&c.items, 0);
    buffer_init(&c.others, 0);
    buffer_init(&c.before, 0);
    r->i++;
    if (r->i < r->size && r->s[r->i] == '^')
        r->i += (size_t)(negative = 1);
    for (; done == 0 && r->i < r->size; first = 0)
        done = class_next(r, &c, first);
    if (done == 0)
        done = refuse(r, "a class without its end");
    else if (done > 0)
        done = class_write(r, &c, negative);
    buffer_release(&c.items);
    buffer_release(&c.others);
    buffer_release(&c.before);
    return done;
}

static int rewrite_class(struct rewriter *r)
{
    return rewrite_class_at(r, 0);
}

static int rewrite_group(struct rewriter *r)
{
    if (r->depth == GROUPS_MAX)
        return refuse(r, "such deep nesting");
    r->group[r->depth++] = r->out->size;
    size_t from = r->i++;
    if (r->i < r->size && r->s[r->i] == '?') {
        r->i++;
        size_t flags = r->i;
        while (r->i < r->size && strchr("imx-", r->s[r->i]))
            r->i++;
        if (r->i > flags) {
            for (size_t k = flags; k < r->i; k++)
                if (r->s[k] != 'i' && r->s[k] != '-')
                    return refuse(r, "an option other than (?i)");
            if (r->i < r->size && r->s[r->i] == ')') // (?i) for the rest: no group
                return r->depth--, r->i++, put_bytes(r, from, r->i);
        } else if (r->i < r->size && strchr("<=!>:", r->s[r->i])) {
            r->i++;
            if (r->s[r->i - 1] == '<' && r->i < r->size && strchr("=!", r->s[r->i]))
                r->i++;
        } else {
            return refuse(r, "this kind of group");
        }
    }
    return put_bytes(r, from, r->i);
}

// {n,m} and the sign behind it.
static int rewrite_interval(struct rewriter *r)
{
    size_t from = r->i, i = r->i + 1;
    while (i < r->size && (isdigit((unsigned char)r->s[i]) || r->s[i] == ','))
        i++;
    if (i >= r->size || r->s[i] != '}' || i == from + 1) { // a brace for itself
        r->i++;
        return put(r, "\\{");
    }
    r->i = i + 1;
    if (r->s[from + 1] == ',') { // Ruby's {,n} counts from 0
        if (put(r, "{0") < 0 || put_bytes(r, from + 1, r->i) < 0)
            return -1;
    } else if (put_bytes(r, from, r->i) < 0) {
        return -1;
    }
    if (r->i >= r->size || r->s[r->i] != '+')
        return 0;
    if (buffer_append(r->out, "(?:)", 4, r->e) < 0) // room; moved into place below
        return -1;
    char *text = r->out->data + r->atom;
    memmove(text + 3, text, r->out->size - r->atom - 4);
    memcpy(text, "(?:", 3);
    r->out->data[r->out->size - 1] = ')';
    return 0;
}

static int rewrite_next(struct rewriter *r)
{
    char c = r->s[r->i];
    if (!strchr("*+?{", c))
        r->atom = r->out->size;
    switch (c) {
    case '\\':
        return rewrite_escape(r, 0);
    case '[':
        return rewrite_class(r);
    case '(':
        return rewrite_group(r);
    case ')':
        if (r->depth == 0)
            return refuse(r, "a parenthesis without its partner");
        r->atom = r->group[--r->depth];
        r->i++;
        return put(r, ")");
    case '{':
        return rewrite_interval(r);
    case 0:
        r->i++;
        return put(r, "\\x00");
    default: {
        size_t from = r->i++;
        while (r->i < r->size && utf8_continues(r->s[r->i]))
            r->i++;
        return put_bytes(r, from, r->i);
    }
    }
}

// Appends the PCRE2 form of `source`.
static int rewrite(const char *source, size_t size, struct buffer *out, const char *name,
                   struct err *e)
{
    if (size > PATTERN_MAX)
        return err_set(e, STATUS_FAILED, "%s: the pattern is longer than %d bytes", name,
                       PATTERN_MAX);
    struct rewriter r = {.s = source, .size = size, .name = name, .out = out, .e = e};
    while (r.i < r.size)
        if (rewrite_next(&r) < 0)
            return -1;
    return 0;
}

struct pattern *pattern_literal(const char *text, size_t size, struct err *e)
{
    struct pattern *p = mem_alloc(1, sizeof *p, "a pattern", e);
    if (!p)
        return NULL;
    p->literal = mem_alloc(size + 1, 1, "a pattern", e);
    if (!p->literal) {
        free(p);
        return NULL;
    }
    memcpy(p->literal, text, size);
    p->size = size;
    return p;
}

static struct pattern *compile(const char *text, size_t size, const char *name, struct err *e)
{
    struct pattern *p = mem_alloc(1, sizeof *p, "a pattern", e);
    if (!p)
        return NULL;
    int code;
    PCRE2_SIZE where;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (context)
        pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    p->code = pcre2_compile((PCRE2_SPTR)text, size,
                            PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                            &code, &where, context);
    pcre2_compile_context_free(context);
    if (!p->code) {
        char reason[128];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)reason, sizeof reason);
        err_set(e, STATUS_FAILED, "%s: pattern, at byte %zu: %s", name, (size_t)where, reason);
        free(p);
        return NULL;
    }
    p->jit = pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE) == 0;
    return p;
}

struct pattern *pattern_regex(const char *source, size_t size, const char *name, struct err *e)
{
    struct buffer text;
    buffer_init(&text, 0);
    struct pattern *p = NULL;
    if (buffer_reserve(&text, 1, e) == 0 && rewrite(source, size, &text, name, e) == 0)
        p = compile(text.data, text.size, name, e);
    if (p && pattern_dfa_build(text.data, text.size, &p->dfa, e) < 0) {
        pattern_free(p);
        p = NULL;
    }
    buffer_release(&text);
    return p;
}

struct pattern *pattern_from_json(const json_t *value, const char *name, struct err *e)
{
    const json_t *regex = json_object_get(value, "Regex");
    const json_t *literal = json_object_get(value, "String");
    if (json_is_string(regex))
        return pattern_regex(json_string_value(regex), json_string_length(regex), name, e);
    if (json_is_string(literal) && json_string_length(literal) == 0)
        return pattern_regex("", 0, name, e); // matches everywhere
    if (json_is_string(literal))
        return pattern_literal(json_string_value(literal), json_string_length(literal), e);
    err_set(e, STATUS_FAILED, "%s: key `pattern`: neither {\"Regex\": ...} nor {\"String\": ...}",
            name);
    return NULL;
}

void pattern_free(struct pattern *p)
{
    if (!p)
        return;
    pcre2_code_free(p->code);
    pattern_dfa_free(p->dfa);
    free(p->literal);
    free(p);
}

const char *pattern_text(const struct pattern *p, size_t *size)
{
    *size = p->size;
    return p->literal;
}

int pattern_scratch_init(struct pattern_scratch *s, struct err *e)
{
    s->match = pcre2_match_data_create(1, NULL);
    s->context = pcre2_match_context_create(NULL);
    s->stack = pcre2_jit_stack_create(1 << 15, STACK_MAX, NULL);
    if (!s->match || !s->context) {
        pattern_scratch_release(s);
        return err_memory(e, STACK_MAX, "pattern matching");
    }
    if (s->stack) // NULL where the library has no JIT
        pcre2_jit_stack_assign(s->context, NULL, s->stack);
    pcre2_set_match_limit(s->context, MATCH_LIMIT);
    return 0;
}

void pattern_scratch_release(struct pattern_scratch *s)
{
    pcre2_match_data_free(s->match);
    pcre2_match_context_free(s->context);
    pcre2_jit_stack_free(s->stack);
    memset(s, 0, sizeof *s);
}

int pattern_is_fast(const struct pattern *p)
{
    return p->dfa != NULL;
}

int pattern_find(const struct pattern *p, struct pattern_scratch *s, const char *text, size_t size,
                 size_t at, size_t *start, size_t *end, struct err *e)
{
    if (!p->dfa)
        return pattern_find_plain(p, s, text, size, at, start, end, e);
    int found = pattern_dfa_find(p->dfa, text, size, at, start, end);
    return found < 0 ? err_set(e, STATUS_FAILED, "the tokenizer's pattern failed: too many steps")
                     : found;
}

int pattern_find_plain(const struct pattern *p, struct pattern_scratch *s, const char *text,
                       size_t size, size_t at, size_t *start, size_t *end, struct err *e)
{
    if (!p->code) {
        const char *hit = p->size ? memmem(text + at, size - at, p->literal, p->size) : NULL;
        if (!hit)
            return 0;
        *start = (size_t)(hit - text);
        *end = *start + p->size;
        return 1;
    }
    int n = PCRE2_ERROR_JIT_STACKLIMIT;
    if (p->jit)
        n = pcre2_jit_match(p->code, (PCRE2_SPTR)text, size, at, 0, s->match, s->context);
    if (n == PCRE2_ERROR_JIT_STACKLIMIT) // slower, with memory from the heap
        n = pcre2_match(p->code, (PCRE2_SPTR)text, size, at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                        s->match, s->context);
    if (n == PCRE2_ERROR_NOMATCH)
        return 0;
    if (n < 0) {
        char reason[128];
        pcre2_get_error_message(n, (PCRE2_UCHAR *)reason, sizeof reason);
        return err_set(e, STATUS_FAILED, "the tokenizer's pattern failed: %s", reason);
    }
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(s->match);
    *start = range[0];
    *end = range[1];
    return 1;
}
