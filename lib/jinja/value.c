// SPDX-License-Identifier: MIT
// Values: memory, truth, comparison, iteration, printing as Python prints them, operators.
#include "base/hash.h"
#include "base/json_wide.h"
#include "jinja/internal.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// ---- memory and the way out ---------------------------------------------------------------------

enum { PIECE = 16384 };

void sandbox_init(struct sandbox *m, const char *name, size_t limit, struct err *e)
{
    memset(m, 0, sizeof *m);
    arena_init(&m->arena);
    m->limit = limit;
    m->name = name;
    m->e = e;
}

void sandbox_release(struct sandbox *m)
{
    arena_release(&m->arena);
}

_Noreturn void sandbox_fail_text(struct sandbox *m, const char *s, size_t n)
{
    err_set(m->e, STATUS_FAILED, "%s:%u: %.*s", m->name, m->line, (int)(n > 900 ? 900 : n), s);
    longjmp(m->failure, 1);
}

_Noreturn void sandbox_fail(struct sandbox *m, const char *format, ...)
{
    char text[900];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    sandbox_fail_text(m, text, strlen(text));
}

void *sandbox_get(struct sandbox *m, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > m->limit - m->used)
        sandbox_fail(m, "the template needs more than %zu MiB of memory", m->limit >> 20);
    bytes = (bytes + 15) & ~(size_t)15;
    if (bytes > m->left) {
        size_t piece = bytes > PIECE / 4 ? bytes : PIECE;
        char *p = arena_alloc(&m->arena, piece, 1, m->e);
        if (!p)
            longjmp(m->failure, 1);
        m->used = m->limit - m->used < piece ? m->limit : m->used + piece;
        if (piece == bytes) { // large ones stand alone; the piece begun before is gone on with
            memset(p, 0, bytes);
            return p;
        }
        m->at = p;
        m->left = piece;
    }
    void *p = m->at;
    m->at += bytes;
    m->left -= bytes;
    memset(p, 0, bytes);
    return p;
}

char *sandbox_copy(struct sandbox *m, const char *s, size_t n)
{
    char *copy = sandbox_get(m, n + 1, 1);
    if (n)
        memcpy(copy, s, n);
    return copy;
}

_Noreturn void render_fail(struct render *r, const char *format, ...)
{
    char text[900];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    sandbox_fail_text(&r->sandbox, text, strlen(text));
}

void render_steps(struct render *r, uint64_t n)
{
    if (n > TEMPLATE_STEPS - r->steps)
        render_fail(r, "the template does not come to an end (more than %d steps)",
                    (int)TEMPLATE_STEPS);
    r->steps += n;
}

void render_bytes(struct render *r, size_t n)
{
    render_steps(r, n / 64);
}

void render_enter(struct render *r)
{
    if (++r->depth > TEMPLATE_DEPTH)
        render_fail(r, "nested or recursive too deeply (more than %d levels)", (int)TEMPLATE_DEPTH);
}

// ---- text ---------------------------------------------------------------------------------------

struct text text_new(struct render *r)
{
    return (struct text){.r = r};
}

static void text_room(struct text *t, size_t more)
{
    if (more <= t->capacity - t->n)
        return;
    if (more > TEMPLATE_OUTPUT || t->n + more > TEMPLATE_OUTPUT)
        render_fail(t->r, "the text grows beyond %d MiB", (int)(TEMPLATE_OUTPUT >> 20));
    size_t want = 2 * t->capacity;
    if (want < t->n + more)
        want = t->n + more;
    if (want < 64)
        want = 64;
    // Not zeroed by hand twice: large pieces are rare, small ones cheap.
    char *grown = sandbox_get(&t->r->sandbox, want, 1);
    if (t->n)
        memcpy(grown, t->s, t->n);
    t->s = grown;
    t->capacity = want;
}

void text_add(struct text *t, const char *s, size_t n)
{
    if (n == 0)
        return;
    text_room(t, n);
    render_bytes(t->r, n);
    memcpy(t->s + t->n, s, n);
    t->n += n;
}

void text_string(struct text *t, const char *s)
{
    text_add(t, s, strlen(s));
}

void text_code(struct text *t, uint32_t code)
{
    text_room(t, 4);
    t->n += utf8_put(code, t->s + t->n);
}

void text_pad(struct text *t, char c, size_t n)
{
    if (n == 0)
        return;
    text_room(t, n);
    render_bytes(t->r, n);
    memset(t->s + t->n, c, n);
    t->n += n;
}

void text_printf(struct text *t, const char *format, ...)
{
    char small[512];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(small, sizeof small, format, ap);
    va_end(ap);
    if (n < (int)sizeof small) {
        text_add(t, small, n > 0 ? (size_t)n : 0);
        return;
    }
    text_room(t, (size_t)n + 1);
    va_start(ap, format);
    vsnprintf(t->s + t->n, (size_t)n + 1, format, ap);
    va_end(ap);
    t->n += (size_t)n;
}

void text_mark(struct text *t, size_t start, size_t end)
{
    if (!t->marks) {
        t->marks = sandbox_get(&t->r->sandbox, 1, sizeof *t->marks);
        t->marks->next = t->r->captured;
        t->r->captured = t->marks;
    }
    struct marks *m = t->marks;
    if (m->n == m->capacity) {
        size_t more = m->capacity ? 2 * m->capacity : 4;
        struct mark *grown = sandbox_get(&t->r->sandbox, more, sizeof *grown);
        if (m->n)
            memcpy(grown, m->mark, m->n * sizeof *grown);
        m->mark = grown;
        m->capacity = more;
    }
    m->mark[m->n++] = (struct mark){start, end};
}

struct value text_value(struct text *t)
{
    struct value v = value_string(t->s ? t->s : "", t->n);
    v.marks = t->marks;
    return v;
}

// ---- constructors -------------------------------------------------------------------------------

struct value value_none(void)
{
    return (struct value){.kind = V_NONE};
}

struct value value_bool(int b)
{
    return (struct value){.kind = V_BOOL, .i = b != 0};
}

struct value value_int(int128 i)
{
    return (struct value){.kind = V_INT, .i = i};
}

struct value value_float(double f)
{
    return (struct value){.kind = V_FLOAT, .f = f};
}

struct value value_string(const char *s, size_t n)
{
    return (struct value){.kind = V_STRING, .s = s, .n = n};
}

struct value value_cstring(const char *s)
{
    return value_string(s, strlen(s));
}

struct value value_undefined(struct render *r, struct value name, const char *type)
{
    struct undefined *u = sandbox_get(&r->sandbox, 1, sizeof *u);
    u->name = name;
    u->type = type;
    return (struct value){.kind = V_UNDEFINED, .undefined = u};
}

struct value value_undefined_hint(struct render *r, const char *hint)
{
    struct undefined *u = sandbox_get(&r->sandbox, 1, sizeof *u);
    u->hint = hint;
    return (struct value){.kind = V_UNDEFINED, .undefined = u};
}

struct value value_list(struct render *r, enum kind kind, size_t n)
{
    struct list *l = sandbox_get(&r->sandbox, 1, sizeof *l);
    l->item = sandbox_get(&r->sandbox, n + 1, sizeof *l->item);
    l->n = n;
    return (struct value){.kind = (uint8_t)kind, .list = l};
}

struct value value_dict(struct render *r)
{
    return (struct value){.kind = V_DICT, .dict = sandbox_get(&r->sandbox, 1, sizeof(struct dict))};
}

struct value value_iterator(struct render *r, struct iterator it)
{
    struct iterator *copy = sandbox_get(&r->sandbox, 1, sizeof *copy);
    *copy = it;
    return (struct value){.kind = V_ITERATOR, .iterator = copy};
}

static struct value wide(const char *digits)
{
    int128 i = 0;
    const char *d = digits + (*digits == '-');
    for (; *d; d++)
        if (__builtin_mul_overflow(i, 10, &i) || __builtin_sub_overflow(i, *d - '0', &i))
            return (struct value){.kind = V_WIDE, .s = digits, .n = strlen(digits)};
    if (*digits == '-')
        return value_int(i);
    return __builtin_sub_overflow((int128)0, i, &i)
               ? (struct value){.kind = V_WIDE, .s = digits, .n = strlen(digits)}
               : value_int(i);
}

// The context's JSON is borrowed and read as far as the template looks at it.
struct value value_json(struct render *r, const json_t *json)
{
    const char *digits = json_wide_digits(json);
    if (digits)
        return wide(digits);
    switch (json_typeof(json)) {
    case JSON_STRING:
        return value_string(json_string_value(json), json_string_length(json));
    case JSON_INTEGER:
        return value_int(json_integer_value(json));
    case JSON_REAL:
        return value_float(json_real_value(json));
    case JSON_TRUE:
        return value_bool(1);
    case JSON_FALSE:
        return value_bool(0);
    case JSON_NULL:
        return value_none();
    case JSON_ARRAY: {
        struct list *l = sandbox_get(&r->sandbox, 1, sizeof *l);
        l->n = json_array_size(json);
        l->json = json;
        return (struct value){.kind = V_LIST, .list = l};
    }
    case JSON_OBJECT: {
        struct dict *d = sandbox_get(&r->sandbox, 1, sizeof *d);
        d->json = d->from = json;
        return (struct value){.kind = V_DICT, .dict = d};
    }
    }
    return value_none();
}

struct value *list_items(struct render *r, struct list *l)
{
    if (l->json) {
        const json_t *json = l->json;
        l->item = sandbox_get(&r->sandbox, l->n + 1, sizeof *l->item);
        l->json = NULL;
        render_steps(r, l->n);
        for (size_t i = 0; i < l->n; i++)
            l->item[i] = value_json(r, json_array_get(json, i));
    }
    return l->item;
}

void items_add(struct items *i, struct value v)
{
    if (i->n == i->capacity) {
        size_t more = i->capacity ? 2 * i->capacity : 8;
        struct value *grown = sandbox_get(&i->r->sandbox, more, sizeof *grown);
        if (i->n)
            memcpy(grown, i->at, i->n * sizeof *grown);
        i->at = grown;
        i->capacity = more;
    }
    render_steps(i->r, 1);
    i->at[i->n++] = v;
}

struct value items_value(struct items *i, enum kind kind)
{
    struct list *l = sandbox_get(&i->r->sandbox, 1, sizeof *l);
    l->item = i->at;
    l->n = i->n;
    return (struct value){.kind = (uint8_t)kind, .list = l};
}

// ---- dictionaries -------------------------------------------------------------------------------

enum { DICT_SMALL = 8 };

// Equal keys have equal hashes: 1, 1.0 and true are one key.
static uint64_t value_hash(struct render *r, struct value v)
{
    switch (v.kind) {
    case V_STRING:
    case V_WIDE:
        render_bytes(r, v.n);
        return hash_bytes(v.s, v.n);
    case V_FLOAT:
        if (v.f != floor(v.f) || fabs(v.f) > 1e37) {
            return hash_bytes(&v.f, sizeof v.f);
        }
        v.i = (int128)v.f;
        return hash_bytes(&v.i, sizeof v.i);
    case V_BOOL:
    case V_INT:
        return hash_bytes(&v.i, sizeof v.i);
    case V_TUPLE: {
        uint64_t h = 7;
        render_enter(r);
        for (size_t i = 0; i < v.list->n; i++)
            h = h * 1000003 + value_hash(r, list_items(r, v.list)[i]);
        render_leave(r);
        return h;
    }
    case V_LIST:
    case V_DICT:
        render_fail(r, "unhashable type: '%s'", type_name(v));
    case V_NONE:
    case V_UNDEFINED:
        return v.kind;
    default:
        return (uint64_t)(uintptr_t)v.list;
    }
}

static uint32_t *dict_slot(struct render *r, struct dict *d, struct value key, uint64_t hash)
{
    size_t mask = d->index_size - 1;
    for (size_t i = hash & mask;; i = (i + 1) & mask) {
        uint32_t at = d->index[i];
        if (!at || (d->entry[at - 1].hash == hash && value_equal(r, d->entry[at - 1].key, key)))
            return &d->index[i];
        render_steps(r, 1);
    }
}

static struct entry *dict_find(struct render *r, struct dict *d, struct value key, uint64_t hash)
{
    if (d->index) {
        uint32_t *slot = dict_slot(r, d, key, hash);
        return *slot ? &d->entry[*slot - 1] : NULL;
    }
    for (size_t i = 0; i < d->n; i++)
        if (d->entry[i].hash == hash && value_equal(r, d->entry[i].key, key))
            return &d->entry[i];
    return NULL;
}

static void dict_reindex(struct render *r, struct dict *d)
{
    d->index_size = 4 * d->capacity;
    size_t power = 64;
    while (power < d->index_size)
        power *= 2;
    d->index_size = power;
    d->index = sandbox_get(&r->sandbox, d->index_size, sizeof *d->index);
    for (size_t i = 0; i < d->n; i++)
        *dict_slot(r, d, d->entry[i].key, d->entry[i].hash) = (uint32_t)i + 1;
}

static void dict_grow(struct render *r, struct dict *d, size_t capacity)
{
    if (capacity > UINT32_MAX / 8)
        render_fail(r, "a dict with too many keys");
    struct entry *grown = sandbox_get(&r->sandbox, capacity, sizeof *grown);
    if (d->n)
        memcpy(grown, d->entry, d->n * sizeof *grown);
    d->entry = grown;
    d->capacity = capacity;
    render_steps(r, d->n);
    if (capacity > DICT_SMALL)
        dict_reindex(r, d);
}

static void dict_put(struct render *r, struct dict *d, struct value key, uint64_t hash,
                     struct value v)
{
    struct entry *old = dict_find(r, d, key, hash);
    if (old) { // keeps its first key and its place
        old->value = v;
        return;
    }
    if (d->n == d->capacity)
        dict_grow(r, d, d->capacity ? 2 * d->capacity : 4);
    d->entry[d->n] = (struct entry){key, v, hash};
    d->n++;
    if (d->index)
        *dict_slot(r, d, key, hash) = (uint32_t)d->n;
}

struct dict *dict_read(struct render *r, struct dict *d)
{
    if (!d->json)
        return d;
    json_t *json = (json_t *)d->json; // the iteration macros want it so; nothing is written
    d->json = NULL;
    size_t n = json_object_size(json);
    render_steps(r, n);
    if (n)
        dict_grow(r, d, n);
    // jansson's keys are C strings; a NUL inside ends them, which its parser refuses.
    const char *key;
    json_t *value;
    json_object_foreach(json, key, value)
    {
        struct value k = value_cstring(key);
        dict_put(r, d, k, value_hash(r, k), value_json(r, value));
    }
    return d;
}

void dict_set(struct render *r, struct dict *d, struct value key, struct value v)
{
    dict_read(r, d);
    dict_put(r, d, key, value_hash(r, key), v);
}

struct value *dict_get(struct render *r, struct dict *d, struct value key)
{
    dict_read(r, d);
    struct entry *found = dict_find(r, d, key, value_hash(r, key));
    return found ? &found->value : NULL;
}

struct value *dict_get_string(struct render *r, struct dict *d, const char *s, size_t n)
{
    dict_read(r, d);
    if (d->index)
        return dict_get(r, d, value_string(s, n));
    for (size_t i = 0; i < d->n; i++) {
        struct value *key = &d->entry[i].key;
        if (key->kind == V_STRING && key->n == n && memcmp(key->s, s, n) == 0)
            return &d->entry[i].value;
    }
    return NULL;
}

// ---- what values are ----------------------------------------------------------------------------

const char *type_name(struct value v)
{
    switch (v.kind) {
    case V_ABSENT:
    case V_MISSING:
    case V_UNDEFINED:
        return "Undefined";
    case V_NONE:
        return "NoneType";
    case V_BOOL:
        return "bool";
    case V_INT:
    case V_WIDE:
        return "int";
    case V_FLOAT:
        return "float";
    case V_STRING:
        return v.markup ? "Markup" : "str";
    case V_BYTES:
        return "bytes";
    case V_LIST:
        return "list";
    case V_TUPLE:
        return "tuple";
    case V_DICT:
        return "dict";
    case V_VIEW:
        return v.markup == 0 ? "dict_keys" : v.markup == 1 ? "dict_values" : "dict_items";
    case V_RANGE:
        return "range";
    case V_ITERATOR:
        return v.iterator->type;
    case V_NAMESPACE:
        return "TemplateNamespace";
    case V_FUNCTION:
        return "function";
    case V_METHOD:
        return "builtin_function_or_method";
    case V_MACRO:
        return "Macro";
    case V_LOOP:
        return "LoopContext";
    case V_CYCLER:
        return "Cycler";
    case V_JOINER:
        return "Joiner";
    }
    return "object";
}

const char *type_object(struct value v)
{
    switch (v.kind) {
    case V_NONE:
        return "None";
    case V_BOOL:
        return "bool object";
    case V_INT:
    case V_WIDE:
        return "int object";
    case V_FLOAT:
        return "float object";
    case V_STRING:
        return v.markup ? "markupsafe.Markup object" : "str object";
    case V_BYTES:
        return "bytes object";
    case V_LIST:
        return "list object";
    case V_TUPLE:
        return "tuple object";
    case V_DICT:
        return "dict object";
    case V_NAMESPACE:
        return "namespace object";
    case V_MACRO:
        return "macro object";
    case V_LOOP:
        return "loop object";
    default:
        return type_name(v);
    }
}

_Noreturn void fail_undefined(struct render *r, struct value v)
{
    if (v.kind != V_UNDEFINED)
        render_fail(r, "a variable is undefined");
    const struct undefined *u = v.undefined;
    if (u->hint)
        render_fail(r, "%s", u->hint);
    struct text t = text_new(r);
    if (u->name.kind == V_STRING && !u->type) {
        print_repr(&t, u->name);
        text_string(&t, " is undefined");
    } else if (u->name.kind == V_STRING) {
        text_printf(&t, "'%s' has no attribute ", u->type);
        print_repr(&t, u->name);
    } else {
        text_printf(&t, "%s has no element ", u->type ? u->type : "it");
        print_repr(&t, u->name);
    }
    sandbox_fail_text(&r->sandbox, t.s, t.n);
}

int value_truth(struct render *r, struct value v)
{
    int64_t n;
    switch (v.kind) {
    case V_ABSENT:
    case V_MISSING:
    case V_UNDEFINED:
    case V_NONE:
        return 0;
    case V_BOOL:
    case V_INT:
        return v.i != 0;
    case V_FLOAT:
        return v.f != 0;
    case V_STRING:
    case V_BYTES:
        return v.n != 0;
    case V_LIST:
    case V_TUPLE:
        return v.list->n != 0;
    default:
        return value_has_length(v, &n, r) ? n != 0 : 1;
    }
}

int value_is_number(struct value v)
{
    return v.kind == V_BOOL || v.kind == V_INT || v.kind == V_FLOAT;
}

double value_double(struct value v)
{
    return v.kind == V_FLOAT ? v.f : (double)v.i;
}

// Exact: 2^53 + 1 is not 2^53 as a float. -2: not comparable (NaN).
static int number_order(struct value a, struct value b)
{
    if (a.kind == V_FLOAT && b.kind == V_FLOAT)
        return a.f < b.f ? -1 : a.f > b.f ? 1 : a.f == b.f ? 0 : -2;
    if (a.kind != V_FLOAT && b.kind != V_FLOAT)
        return a.i < b.i ? -1 : a.i > b.i;
    if (a.kind != V_FLOAT) {
        int order = number_order(b, a);
        return order == -2 ? -2 : -order;
    }
    if (isnan(a.f))
        return -2;
    if (fabs(a.f) > 1e38)
        return a.f < 0 ? -1 : 1;
    int128 whole = (int128)floor(a.f);
    if (whole != b.i)
        return whole < b.i ? -1 : 1;
    return a.f > floor(a.f);
}

static int dict_equal(struct render *r, struct dict *a, struct dict *b)
{
    dict_read(r, a);
    dict_read(r, b);
    if (a->n != b->n)
        return 0;
    for (size_t i = 0; i < a->n; i++) {
        struct entry *other = dict_find(r, b, a->entry[i].key, a->entry[i].hash);
        if (!other || !value_equal(r, a->entry[i].value, other->value))
            return 0;
    }
    return 1;
}

int value_same(struct value a, struct value b)
{
    if (a.kind != b.kind)
        return 0;
    switch (a.kind) {
    case V_NONE:
        return 1;
    case V_BOOL:
        return a.i == b.i;
    case V_INT: // CPython keeps one object of each small integer
        return a.i == b.i && a.i >= -5 && a.i <= 256;
    case V_STRING:
        return a.s == b.s && a.n == b.n;
    case V_FLOAT:
        return 0;
    case V_TUPLE:
        return a.list == b.list || (a.list->n == 0 && b.list->n == 0);
    default:
        return a.list == b.list;
    }
}

int value_equal(struct render *r, struct value a, struct value b)
{
    render_steps(r, 1);
    if (value_is_number(a) && value_is_number(b))
        return number_order(a, b) == 0;
    if (a.kind != b.kind)
        return 0;
    int equal = 1;
    switch (a.kind) {
    case V_NONE:
    case V_UNDEFINED:
        return 1;
    case V_STRING:
    case V_BYTES:
    case V_WIDE:
        if (a.n != b.n)
            return 0;
        render_bytes(r, a.n);
        return memcmp(a.s, b.s, a.n) == 0;
    case V_LIST:
    case V_TUPLE:
        if (a.list == b.list)
            return 1;
        if (a.list->n != b.list->n)
            return 0;
        render_enter(r);
        for (size_t i = 0; i < a.list->n && equal; i++)
            equal = value_equal(r, list_items(r, a.list)[i], list_items(r, b.list)[i]);
        render_leave(r);
        return equal;
    case V_DICT:
        if (a.dict == b.dict)
            return 1;
        render_enter(r);
        equal = dict_equal(r, a.dict, b.dict);
        render_leave(r);
        return equal;
    case V_RANGE:
        if (a.range->n != b.range->n)
            return 0;
        return a.range->n == 0 || (a.range->start == b.range->start &&
                                   (a.range->n == 1 || a.range->step == b.range->step));
    case V_METHOD:
        return a.method->function == b.method->function &&
               value_same(a.method->self, b.method->self);
    case V_VIEW:
        return a.dict == b.dict && a.markup == b.markup;
    default:
        return a.list == b.list;
    }
}

static const char *const operator_text[] = {
    [OP_LT] = "<", [OP_LE] = "<=", [OP_GT] = ">", [OP_GE] = ">="};

static _Noreturn void not_ordered(struct render *r, enum operator op, struct value a,
                                  struct value b)
{
    if (a.kind == V_UNDEFINED)
        fail_undefined(r, a);
    if (b.kind == V_UNDEFINED)
        fail_undefined(r, b);
    render_fail(r, "'%s' not supported between instances of '%s' and '%s'", operator_text[op],
                type_name(a), type_name(b));
}

// The order of two values; `op` is for the message.
static int value_order(struct render *r, enum operator op, struct value a, struct value b)
{
    render_steps(r, 1);
    if (value_is_number(a) && value_is_number(b))
        return number_order(a, b);
    if (a.kind != b.kind || (a.kind != V_STRING && a.kind != V_LIST && a.kind != V_TUPLE))
        not_ordered(r, op, a, b);
    if (a.kind == V_STRING) {
        size_t n = a.n < b.n ? a.n : b.n;
        render_bytes(r, n);
        int order = n ? memcmp(a.s, b.s, n) : 0; // UTF-8 sorts as its code points do
        return order ? (order < 0 ? -1 : 1) : a.n < b.n ? -1 : a.n > b.n;
    }
    render_enter(r);
    size_t n = a.list->n < b.list->n ? a.list->n : b.list->n;
    int order = a.list->n < b.list->n ? -1 : a.list->n > b.list->n;
    for (size_t i = 0; i < n; i++) {
        struct value x = list_items(r, a.list)[i], y = list_items(r, b.list)[i];
        if (value_equal(r, x, y))
            continue;
        order = value_order(r, op, x, y);
        break;
    }
    render_leave(r);
    return order;
}

int value_compare(struct render *r, enum operator op, struct value a, struct value b)
{
    int order;
    switch (op) {
    case OP_EQ:
        return value_equal(r, a, b);
    case OP_NE:
        return !value_equal(r, a, b);
    case OP_IN:
        return value_contains(r, b, a);
    case OP_NOT_IN:
        return !value_contains(r, b, a);
    default:
        order = value_order(r, op, a, b);
        if (order == -2)
            return 0;
        return op == OP_LT   ? order < 0
               : op == OP_LE ? order <= 0
               : op == OP_GT ? order > 0
                             : order >= 0;
    }
}

int value_contains(struct render *r, struct value container, struct value item)
{
    struct value v;
    switch (container.kind) {
    case V_STRING:
        if (item.kind != V_STRING)
            render_fail(r, "'in <string>' requires string as left operand, not %s",
                        type_name(item));
        render_bytes(r, container.n);
        return bytes_find(container.s, container.n, item.s, item.n, 0) >= 0;
    case V_DICT:
        return dict_get(r, container.dict, item) != NULL;
    case V_UNDEFINED:
        return 0;
    case V_RANGE: {
        const struct range *range = container.range;
        if (item.kind != V_INT && item.kind != V_BOOL)
            break;
        int128 from = item.i - range->start;
        return range->n && from % range->step == 0 && from / range->step >= 0 &&
               from / range->step < range->n;
    }
    default:
        break;
    }
    if (!value_iterable(container))
        render_fail(r, "argument of type '%s' is not iterable", type_name(container));
    struct iterator *it = value_iterate(r, container);
    while (iterator_next(r, it, &v))
        if (value_equal(r, v, item))
            return 1;
    return 0;
}

int value_has_length(struct value v, int64_t *n, struct render *r)
{
    switch (v.kind) {
    case V_STRING:
        render_bytes(r, v.n);
        *n = (int64_t)utf8_length(v.s, v.n);
        return 1;
    case V_BYTES:
        *n = (int64_t)v.n;
        return 1;
    case V_LIST:
    case V_TUPLE:
        *n = (int64_t)v.list->n;
        return 1;
    case V_DICT:
    case V_VIEW:
        *n = (int64_t)dict_read(r, v.dict)->n;
        return 1;
    case V_RANGE:
        *n = v.range->n;
        return 1;
    case V_UNDEFINED:
        *n = 0;
        return 1;
    case V_LOOP: {
        struct value length = loop_attribute(r, v.loop, "length", 6);
        *n = (int64_t)length.i;
        return 1;
    }
    default:
        return 0;
    }
}

int64_t value_length(struct render *r, struct value v)
{
    int64_t n;
    if (!value_has_length(v, &n, r))
        render_fail(r, "object of type '%s' has no len()", type_name(v));
    return n;
}

int64_t value_index(struct render *r, struct value v, const char *what)
{
    if (v.kind == V_UNDEFINED)
        fail_undefined(r, v);
    if (v.kind != V_INT && v.kind != V_BOOL)
        render_fail(r, "%s must be an integer, not '%s'", what, type_name(v));
    // Beyond 64 bits nothing is as long: clamping changes no answer.
    return v.i > INT64_MAX / 4 ? INT64_MAX / 4 : v.i < INT64_MIN / 4 ? INT64_MIN / 4 : (int64_t)v.i;
}

// ---- iteration ----------------------------------------------------------------------------------

static int next_item(struct render *r, struct iterator *it, struct value *out)
{
    if ((size_t)it->at >= it->source.list->n)
        return 0;
    *out = list_items(r, it->source.list)[it->at++];
    return 1;
}

static int next_character(struct render *r, struct iterator *it, struct value *out)
{
    if ((size_t)it->at >= it->source.n)
        return 0;
    const char *s = it->source.s + it->at, *begin = s;
    utf8_step(&s, it->source.s + it->source.n);
    *out = value_string(begin, (size_t)(s - begin));
    it->at += s - begin;
    return 1;
}

static int next_entry(struct render *r, struct iterator *it, struct value *out)
{
    struct dict *d = dict_read(r, it->source.dict);
    if ((size_t)it->at >= d->n)
        return 0;
    struct entry *e = &d->entry[it->at++];
    int which = it->source.kind == V_DICT ? 0 : it->source.markup;
    if (which < 2) {
        *out = which == 0 ? e->key : e->value;
        return 1;
    }
    *out = value_list(r, V_TUPLE, 2);
    out->list->item[0] = e->key;
    out->list->item[1] = e->value;
    return 1;
}

static int next_range(struct render *r, struct iterator *it, struct value *out)
{
    const struct range *range = it->source.range;
    if (it->at >= range->n)
        return 0;
    *out = value_int(range->start + range->step * it->at++);
    return 1;
}

static int next_none(struct render *r, struct iterator *it, struct value *out)
{
    return 0;
}

int value_iterable(struct value v)
{
    switch (v.kind) {
    case V_STRING:
    case V_LIST:
    case V_TUPLE:
    case V_DICT:
    case V_VIEW:
    case V_RANGE:
    case V_ITERATOR:
    case V_UNDEFINED:
    case V_LOOP:
        return 1;
    default:
        return 0;
    }
}

struct iterator *value_iterate(struct render *r, struct value v)
{
    if (v.kind == V_ITERATOR)
        return v.iterator;
    if (v.kind == V_LOOP)
        render_fail(r, "iterating over the loop variable is not supported");
    if (!value_iterable(v))
        render_fail(r, "'%s' object is not iterable", type_name(v));
    struct iterator *it = sandbox_get(&r->sandbox, 1, sizeof *it);
    it->source = v;
    it->type = "iterator";
    switch (v.kind) {
    case V_STRING:
        it->next = next_character;
        break;
    case V_LIST:
    case V_TUPLE:
        it->next = next_item;
        break;
    case V_DICT:
    case V_VIEW:
        it->next = next_entry;
        break;
    case V_RANGE:
        it->next = next_range;
        break;
    default:
        it->next = next_none;
    }
    return it;
}

int iterator_next(struct render *r, struct iterator *it, struct value *out)
{
    render_steps(r, 1);
    return it->next(r, it, out);
}

struct value value_to_list(struct render *r, struct value v)
{
    if (v.kind == V_LIST || v.kind == V_TUPLE) {
        v.kind = V_LIST; // values never change, so that the items can be shared
        return v;
    }
    struct items items = {r, NULL, 0, 0};
    struct iterator *it = value_iterate(r, v);
    struct value item;
    while (iterator_next(r, it, &item))
        items_add(&items, item);
    return items_value(&items, V_LIST);
}

// ---- printing -----------------------------------------------------------------------------------

static void repr_string(struct text *t, const char *s, size_t n)
{
    const char *end = s + n;
    char quote = memchr(s, '\'', n) && !memchr(s, '"', n) ? '"' : '\'';
    text_add(t, &quote, 1);
    while (s < end) {
        uint32_t c = utf8_step(&s, end);
        if (c == (uint32_t)quote || c == '\\')
            text_printf(t, "\\%c", (char)c);
        else if (c == '\n' || c == '\r' || c == '\t')
            text_string(t, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
        else if (unicode_printable(c))
            text_code(t, c);
        else
            text_printf(t, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
    }
    text_add(t, &quote, 1);
}

static void repr_bytes(struct text *t, const char *s, size_t n)
{
    char quote = memchr(s, '\'', n) && !memchr(s, '"', n) ? '"' : '\'';
    text_printf(t, "b%c", quote);
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == (unsigned char)quote || c == '\\')
            text_printf(t, "\\%c", c);
        else if (c == '\n' || c == '\r' || c == '\t')
            text_string(t, c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t");
        else if (c >= 0x20 && c < 0x7f)
            text_add(t, s + i, 1);
        else
            text_printf(t, "\\x%02x", c);
    }
    text_add(t, &quote, 1);
}

static void repr_list(struct text *t, struct list *l, const char *open, const char *close)
{
    text_string(t, open);
    for (size_t i = 0; i < l->n; i++) {
        if (i)
            text_string(t, ", ");
        print_repr(t, list_items(t->r, l)[i]);
    }
    text_string(t, close);
}

static void repr_dict(struct text *t, struct dict *d)
{
    dict_read(t->r, d);
    text_string(t, "{");
    for (size_t i = 0; i < d->n; i++) {
        if (i)
            text_string(t, ", ");
        print_repr(t, d->entry[i].key);
        text_string(t, ": ");
        print_repr(t, d->entry[i].value);
    }
    text_string(t, "}");
}

static void repr_view(struct text *t, struct value v)
{
    struct value items = value_to_list(t->r, v);
    text_printf(t, "%s(", type_name(v));
    print_repr(t, items);
    text_string(t, ")");
}

static void repr_range(struct text *t, const struct range *range)
{
    text_string(t, "range(");
    print_int(t, range->start);
    text_string(t, ", ");
    print_int(t, range->stop);
    if (range->step != 1) {
        text_string(t, ", ");
        print_int(t, range->step);
    }
    text_string(t, ")");
}

static void repr_loop(struct text *t, struct loop *loop)
{
    struct value length = loop_attribute(t->r, loop, "length", 6);
    text_printf(t, "<LoopContext %lld/%lld>", (long long)loop->index0 + 1, (long long)length.i);
}

static void repr_nested(struct text *t, struct value v)
{
    struct render *r = t->r;
    render_enter(r);
    switch (v.kind) {
    case V_LIST:
        repr_list(t, v.list, "[", "]");
        break;
    case V_TUPLE:
        repr_list(t, v.list, "(", v.list->n == 1 ? ",)" : ")");
        break;
    case V_DICT:
        repr_dict(t, v.dict);
        break;
    case V_NAMESPACE:
        text_string(t, "<Namespace ");
        repr_dict(t, v.dict);
        text_string(t, ">");
        break;
    default:
        repr_view(t, v);
    }
    render_leave(r);
}

void print_repr(struct text *t, struct value v)
{
    struct render *r = t->r;
    render_steps(r, 1);
    switch (v.kind) {
    case V_ABSENT:
    case V_MISSING:
    case V_UNDEFINED:
        text_string(t, "Undefined");
        break;
    case V_NONE:
        text_string(t, "None");
        break;
    case V_BOOL:
        text_string(t, v.i ? "True" : "False");
        break;
    case V_INT:
        print_int(t, v.i);
        break;
    case V_WIDE:
        text_add(t, v.s, v.n);
        break;
    case V_FLOAT:
        print_float(t, v.f);
        break;
    case V_STRING:
        if (v.markup)
            text_string(t, "Markup(");
        repr_string(t, v.s, v.n);
        if (v.markup)
            text_string(t, ")");
        break;
    case V_BYTES:
        repr_bytes(t, v.s, v.n);
        break;
    case V_LIST:
    case V_TUPLE:
    case V_DICT:
    case V_NAMESPACE:
    case V_VIEW:
        repr_nested(t, v);
        break;
    case V_RANGE:
        repr_range(t, v.range);
        break;
    case V_MACRO: {
        const struct node *node = v.macro->node;
        text_string(t, "<Macro ");
        if (node->kind == N_MACRO)
            repr_string(t, r->t->name[node->name].s, r->t->name[node->name].n);
        else
            text_string(t, "anonymous");
        text_string(t, ">");
        break;
    }
    case V_LOOP:
        repr_loop(t, v.loop);
        break;
    default: // Python would print an address
        render_fail(r, "a %s cannot be printed", type_name(v));
    }
}

void print_string(struct text *t, struct value v)
{
    if (v.kind == V_STRING) {
        size_t at = t->n;
        text_add(t, v.s, v.n);
        if (v.marks) {
            v.marks->placed = 1;
            for (size_t i = 0; i < v.marks->n; i++)
                text_mark(t, at + v.marks->mark[i].start, at + v.marks->mark[i].end);
        }
    } else if (v.kind > V_UNDEFINED) {
        print_repr(t, v);
    }
}

struct value value_str(struct render *r, struct value v)
{
    if (v.kind == V_STRING) {
        v.markup = 0;
        return v;
    }
    struct text t = text_new(r);
    print_string(&t, v);
    return text_value(&t);
}

struct value value_soft(struct render *r, struct value v)
{
    return v.kind == V_STRING ? v : value_str(r, v);
}

struct value value_ascii(struct render *r, struct value v)
{
    struct value shown = value_repr(r, v);
    struct text t = text_new(r);
    for (const char *s = shown.s, *end = s + shown.n; s < end;) {
        uint32_t c = utf8_step(&s, end);
        if (c < 0x80)
            text_code(&t, c);
        else
            text_printf(&t, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
    }
    return text_value(&t);
}

struct value value_repr(struct render *r, struct value v)
{
    struct text t = text_new(r);
    print_repr(&t, v);
    return text_value(&t);
}

struct value value_escape(struct render *r, struct value v)
{
    if (v.kind == V_STRING && v.markup)
        return v;
    v = value_str(r, v);
    struct text t = text_new(r);
    for (size_t i = 0, begin = 0; i <= v.n; i++) {
        const char *to = i == v.n         ? ""
                         : v.s[i] == '&'  ? "&amp;"
                         : v.s[i] == '<'  ? "&lt;"
                         : v.s[i] == '>'  ? "&gt;"
                         : v.s[i] == '"'  ? "&#34;"
                         : v.s[i] == '\'' ? "&#39;"
                                          : NULL;
        if (!to)
            continue;
        text_add(&t, v.s + begin, i - begin);
        text_string(&t, to);
        begin = i + 1;
    }
    struct value out = text_value(&t);
    out.markup = 1;
    return out;
}

// ---- operators ----------------------------------------------------------------------------------

static const char *binary_text(enum operator op)
{
    static const char *const text[] = {
        [OP_ADD] = "+",       [OP_SUB] = "-", [OP_MUL] = "*",          [OP_DIV] = "/",
        [OP_FLOORDIV] = "//", [OP_MOD] = "%", [OP_POW] = "** or pow()"};
    return text[op];
}

static _Noreturn void bad_operands(struct render *r, enum operator op, struct value a,
                                   struct value b)
{
    if (a.kind == V_UNDEFINED)
        fail_undefined(r, a);
    if (b.kind == V_UNDEFINED)
        fail_undefined(r, b);
    if (op == OP_ADD && (a.kind == V_STRING || a.kind == V_LIST || a.kind == V_TUPLE))
        render_fail(r, "can only concatenate %s (not \"%s\") to %s", type_name(a), type_name(b),
                    type_name(a));
    render_fail(r, "unsupported operand type(s) for %s: '%s' and '%s'", binary_text(op),
                type_name(a), type_name(b));
}

static _Noreturn void too_large(struct render *r)
{
    render_fail(r, "whole numbers beyond 38 digits are not supported");
}

static int128 int_power(struct render *r, int128 base, int128 exponent)
{
    int128 out = 1;
    while (exponent > 0) {
        if ((exponent & 1) && __builtin_mul_overflow(out, base, &out))
            too_large(r);
        exponent >>= 1;
        if (exponent && __builtin_mul_overflow(base, base, &base))
            too_large(r);
    }
    return out;
}

static struct value int_binary(struct render *r, enum operator op, int128 a, int128 b)
{
    int128 out = 0;
    int overflow = 0;
    switch (op) {
    case OP_ADD:
        overflow = __builtin_add_overflow(a, b, &out);
        break;
    case OP_SUB:
        overflow = __builtin_sub_overflow(a, b, &out);
        break;
    case OP_MUL:
        overflow = __builtin_mul_overflow(a, b, &out);
        break;
    case OP_DIV:
        if (b == 0)
            render_fail(r, "division by zero");
        return value_float((double)((long double)a / (long double)b));
    case OP_FLOORDIV:
    case OP_MOD:
        if (b == 0)
            render_fail(r, "integer %s by zero", op == OP_MOD ? "modulo" : "division or modulo");
        if (b == -1) { // the one quotient that overflows
            overflow = op == OP_FLOORDIV && __builtin_sub_overflow((int128)0, a, &out);
            break;
        }
        out = op == OP_MOD ? a % b : a / b;
        if (a % b != 0 && (a % b < 0) != (b < 0))
            out += op == OP_MOD ? b : -1;
        break;
    default:
        if (b < 0) {
            if (a == 0)
                render_fail(r, "0.0 cannot be raised to a negative power");
            return value_float(pow((double)a, (double)b));
        }
        if (a == 1 || a == 0 || a == -1)
            out = b == 0 ? 1 : a == -1 && b % 2 == 0 ? 1 : a;
        else
            out = int_power(r, a, b);
    }
    if (overflow)
        too_large(r);
    return value_int(out);
}

static struct value float_binary(struct render *r, enum operator op, double a, double b)
{
    double rest;
    switch (op) {
    case OP_ADD:
        return value_float(a + b);
    case OP_SUB:
        return value_float(a - b);
    case OP_MUL:
        return value_float(a * b);
    case OP_DIV:
        if (b == 0)
            render_fail(r, "float division by zero");
        return value_float(a / b);
    case OP_FLOORDIV:
    case OP_MOD:
        if (b == 0)
            render_fail(r, op == OP_MOD ? "float modulo" : "float floor division by zero");
        rest = fmod(a, b);
        double quotient = (a - rest) / b;
        if (rest != 0 && (b < 0) != (rest < 0)) {
            rest += b;
            quotient -= 1;
        } else if (rest == 0) {
            rest = copysign(0, b);
        }
        if (op == OP_MOD)
            return value_float(rest);
        double floored = floor(quotient);
        if (quotient != 0 && quotient - floored > 0.5)
            floored += 1;
        return value_float(quotient != 0 ? floored : copysign(0, a / b));
    default:
        if (a == 0 && b < 0)
            render_fail(r, "0.0 cannot be raised to a negative power");
        if (a < 0 && b != floor(b) && isfinite(a) && isfinite(b))
            render_fail(r, "complex numbers are not supported");
        double power = pow(a, b);
        if (isinf(power) && isfinite(a) && isfinite(b))
            render_fail(r, "numerical result out of range");
        return value_float(power);
    }
}

static struct value repeat(struct render *r, struct value v, struct value times)
{
    int64_t n = value_index(r, times, "a factor");
    if (n < 0)
        n = 0;
    size_t size = v.kind == V_STRING || v.kind == V_BYTES ? v.n : v.list->n * sizeof(struct value);
    if (size && (uint64_t)n > TEMPLATE_OUTPUT / size)
        render_fail(r, "a repetition longer than %d MiB", (int)(TEMPLATE_OUTPUT >> 20));
    if (size == 0)
        n = 0;
    if (v.kind == V_STRING) {
        struct text t = text_new(r);
        for (int64_t i = 0; i < n; i++) {
            render_steps(r, 1);
            text_add(&t, v.s, v.n);
        }
        struct value out = text_value(&t);
        out.markup = v.markup;
        return out;
    }
    if (v.kind == V_BYTES)
        render_fail(r, "arithmetic with bytes is not supported");
    struct items items = {r, NULL, 0, 0};
    for (int64_t i = 0; i < n; i++)
        for (size_t k = 0; k < v.list->n; k++)
            items_add(&items, list_items(r, v.list)[k]);
    return items_value(&items, v.kind);
}

static struct value add_strings(struct render *r, struct value a, struct value b)
{
    int markup = a.markup || b.markup;
    if (markup) { // Markup escapes what it is joined with
        a = value_escape(r, a);
        b = value_escape(r, b);
    }
    struct text t = text_new(r);
    text_pad(&t, 0, a.n + b.n); // one piece of the right size
    t.n = 0;
    print_string(&t, a);
    print_string(&t, b);
    struct value out = text_value(&t);
    out.markup = (uint8_t)markup;
    return out;
}

static int is_sequence(struct value v)
{
    return v.kind == V_STRING || v.kind == V_LIST || v.kind == V_TUPLE || v.kind == V_BYTES;
}

struct value value_binary(struct render *r, enum operator op, struct value a, struct value b)
{
    if (op == OP_ADD && a.kind == V_STRING && b.kind == V_STRING)
        return add_strings(r, a, b);
    if (value_is_number(a) && value_is_number(b)) {
        if (a.kind == V_FLOAT || b.kind == V_FLOAT)
            return float_binary(r, op, value_double(a), value_double(b));
        return int_binary(r, op, a.i, b.i);
    }
    if (op == OP_ADD && a.kind == b.kind && (a.kind == V_LIST || a.kind == V_TUPLE)) {
        struct value out = value_list(r, a.kind, a.list->n + b.list->n);
        render_steps(r, out.list->n);
        if (a.list->n)
            memcpy(out.list->item, list_items(r, a.list), a.list->n * sizeof a);
        if (b.list->n)
            memcpy(out.list->item + a.list->n, list_items(r, b.list), b.list->n * sizeof b);
        return out;
    }
    if (op == OP_MUL && is_sequence(a) && (b.kind == V_INT || b.kind == V_BOOL))
        return repeat(r, a, b);
    if (op == OP_MUL && is_sequence(b) && (a.kind == V_INT || a.kind == V_BOOL))
        return repeat(r, b, a);
    if (op == OP_MOD && a.kind == V_STRING)
        return format_percent(r, a, b);
    bad_operands(r, op, a, b);
}

struct value value_negate(struct render *r, struct value v, int positive)
{
    if (v.kind == V_FLOAT)
        return value_float(positive ? v.f : -v.f);
    if (v.kind == V_INT || v.kind == V_BOOL)
        return value_int(positive ? v.i : int_binary(r, OP_SUB, 0, v.i).i);
    if (v.kind == V_UNDEFINED)
        fail_undefined(r, v);
    render_fail(r, "bad operand type for unary %c: '%s'", positive ? '+' : '-', type_name(v));
}

static int64_t slice_bound(struct render *r, struct value v, int64_t n, int64_t otherwise, int down)
{
    if (v.kind == V_NONE)
        return otherwise;
    int64_t i = value_index(r, v, "slice indices");
    if (i < 0)
        i += n;
    int64_t low = down ? -1 : 0, high = down ? n - 1 : n;
    return i < low ? low : i > high ? high : i;
}

static struct value slice_string(struct render *r, struct value v, int64_t from, int64_t count,
                                 int64_t step)
{
    struct value out;
    if (step == 1) {
        size_t a = utf8_offset(v.s, v.n, (size_t)from);
        size_t b = a + utf8_offset(v.s + a, v.n - a, (size_t)count);
        out = value_string(v.s + a, b - a);
    } else {
        struct text t = text_new(r);
        struct value all = value_to_list(r, v);
        for (int64_t i = 0; i < count; i++) {
            struct value c = all.list->item[from + i * step];
            text_add(&t, c.s, c.n);
        }
        out = text_value(&t);
    }
    out.markup = v.markup;
    return out;
}

struct value value_slice(struct render *r, struct value v, struct value start, struct value stop,
                         struct value step)
{
    int64_t n;
    if (v.kind == V_UNDEFINED)
        fail_undefined(r, v);
    if (v.kind != V_STRING && v.kind != V_LIST && v.kind != V_TUPLE && v.kind != V_RANGE)
        render_fail(
            r, v.kind == V_DICT ? "unhashable type: 'slice'" : "'%s' object is not subscriptable",
            type_name(v));
    value_has_length(v, &n, r);
    int64_t by = step.kind == V_NONE ? 1 : value_index(r, step, "slice indices");
    if (by == 0)
        render_fail(r, "slice step cannot be zero");
    int down = by < 0;
    int64_t from = slice_bound(r, start, n, down ? n - 1 : 0, down);
    int64_t to = slice_bound(r, stop, n, down ? -1 : n, down);
    int64_t span = down ? from - to : to - from, size = down ? -by : by;
    int64_t count = span > 0 ? (span - 1) / size + 1 : 0;
    if (v.kind == V_STRING)
        return slice_string(r, v, count ? from : 0, count, count < 2 ? 1 : by);
    if (v.kind == V_RANGE) {
        struct range *range = sandbox_get(&r->sandbox, 1, sizeof *range);
        range->step = v.range->step * by;
        range->start = v.range->start + v.range->step * from;
        range->stop = v.range->start + v.range->step * to;
        range->n = count;
        return (struct value){.kind = V_RANGE, .range = range};
    }
    struct value out = value_list(r, v.kind, (size_t)count);
    render_steps(r, (uint64_t)count);
    for (int64_t i = 0; i < count; i++)
        out.list->item[i] = list_items(r, v.list)[from + i * by];
    return out;
}
