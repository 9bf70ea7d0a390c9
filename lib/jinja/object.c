// SPDX-License-Identifier: MIT
// What objects have and do: attributes and items, methods of lists and dicts, global functions,
// calls. Nothing here changes a value: jinja2's immutable sandbox refuses what would.
#include "jinja/internal.h"

#include <string.h>

#define FUNCTION(name)                                                                             \
    static struct value name(struct render *r, struct value self, struct value *a,                 \
                             struct arguments *all)

static int is(const char *s, size_t n, const char *name)
{
    return strlen(name) == n && memcmp(s, name, n) == 0;
}

// ---- methods of lists, tuples, ranges -----------------------------------------------------------

FUNCTION(l_count)
{
    int64_t count = 0;
    struct iterator *it = value_iterate(r, self);
    struct value v;
    while (iterator_next(r, it, &v))
        count += value_equal(r, v, a[0]);
    return value_int(count);
}

FUNCTION(l_index)
{
    int64_t n = value_length(r, self);
    int64_t from = a[1].kind == V_ABSENT ? 0 : value_index(r, a[1], "an index");
    int64_t to = a[2].kind == V_ABSENT ? n : value_index(r, a[2], "an index");
    from = from < 0 ? (from + n < 0 ? 0 : from + n) : from;
    to = to < 0 ? to + n : to;
    struct iterator *it = value_iterate(r, self);
    struct value v;
    for (int64_t i = 0; iterator_next(r, it, &v); i++)
        if (i >= from && i < to && value_equal(r, v, a[0]))
            return value_int(i);
    struct value shown = value_repr(r, a[0]);
    render_fail(r, "%.*s is not in %s", (int)(shown.n > 200 ? 200 : shown.n), shown.s,
                type_name(self));
}

FUNCTION(l_copy)
{
    struct value copy = value_list(r, V_LIST, self.list->n);
    render_steps(r, self.list->n);
    if (self.list->n)
        memcpy(copy.list->item, list_items(r, self.list), self.list->n * sizeof self);
    return copy;
}

static const struct function list_methods[] = {
    {"count", "value", 1, l_count},
    {"index", "value start stop", 1, l_index},
    {"copy", "", 0, l_copy},
};

// ---- methods of dicts ---------------------------------------------------------------------------

FUNCTION(d_get)
{
    struct value *v = dict_get(r, self.dict, a[0]);
    return v ? *v : a[1].kind == V_ABSENT ? value_none() : a[1];
}

static struct value view(struct value self, int which)
{
    self.kind = V_VIEW;
    self.markup = (uint8_t)which;
    return self;
}

FUNCTION(d_keys)
{
    return view(self, 0);
}

FUNCTION(d_values)
{
    return view(self, 1);
}

FUNCTION(d_items)
{
    return view(self, 2);
}

static void dict_copy(struct render *r, struct dict *to, struct dict *from)
{
    dict_read(r, from);
    for (size_t i = 0; i < from->n; i++)
        dict_set(r, to, from->entry[i].key, from->entry[i].value);
}

FUNCTION(d_copy)
{
    struct value copy = value_dict(r);
    dict_copy(r, copy.dict, self.dict);
    return copy;
}

FUNCTION(d_fromkeys)
{
    struct value out = value_dict(r), key;
    struct iterator *it = value_iterate(r, a[0]);
    while (iterator_next(r, it, &key))
        dict_set(r, out.dict, key, a[1].kind == V_ABSENT ? value_none() : a[1]);
    return out;
}

static const struct function dict_methods[] = {
    {"get", "key default", 1, d_get}, {"keys", "", 0, d_keys},
    {"values", "", 0, d_values},      {"items", "", 0, d_items},
    {"copy", "", 0, d_copy},          {"fromkeys", "iterable value", 1, d_fromkeys},
};

// ---- cycler -------------------------------------------------------------------------------------

FUNCTION(c_next)
{
    struct cycler *c = self.cycler;
    struct value v = c->item[c->at];
    c->at = (c->at + 1) % c->n;
    return v;
}

FUNCTION(c_reset)
{
    self.cycler->at = 0;
    return value_none();
}

static const struct function cycler_methods[] = {{"next", "", 0, c_next},
                                                 {"reset", "", 0, c_reset}};

// ---- the loop variable --------------------------------------------------------------------------

FUNCTION(o_cycle)
{
    if (all->n == 0)
        render_fail(r, "no items for cycling given");
    return all->at[(size_t)self.loop->index0 % all->n];
}

FUNCTION(o_changed)
{
    struct value now = value_list(r, V_TUPLE, all->n);
    if (all->n)
        memcpy(now.list->item, all->at, all->n * sizeof *all->at);
    if (self.loop->changed.kind != V_ABSENT && value_equal(r, self.loop->changed, now))
        return value_bool(0);
    self.loop->changed = now;
    return value_bool(1);
}

static const struct function loop_methods[] = {{"cycle", "*", 0, o_cycle},
                                               {"changed", "*", 0, o_changed}};

// ---- attributes ---------------------------------------------------------------------------------

static const struct function *find(const struct function *f, size_t n, const char *s, size_t size)
{
    for (size_t i = 0; i < n; i++)
        if (is(s, size, f[i].name))
            return &f[i];
    return NULL;
}
#define FIND(table, s, n) find(table, sizeof(table) / sizeof *(table), s, n)

static int any_of(const char *s, size_t n, const char *const *names)
{
    for (; *names; names++)
        if (is(s, n, *names))
            return 1;
    return 0;
}

static struct value unsafe(struct render *r, struct value v, const char *s, size_t n)
{
    struct text t = text_new(r);
    text_string(&t, "access to attribute ");
    print_repr(&t, value_string(s, n));
    text_printf(&t, " of '%s' object is unsafe.", type_name(v));
    struct value out = value_undefined_hint(r, sandbox_copy(&r->sandbox, t.s, t.n));
    out.undefined->security = 1;
    return out;
}

static struct value macro_attribute(struct render *r, struct value v, const char *s, size_t n)
{
    const struct node *node = v.macro->node;
    const struct macro_node *m = node->macro;
    if (is(s, n, "name"))
        return node->kind == N_MACRO
                   ? value_string(r->t->name[node->name].s, r->t->name[node->name].n)
                   : value_none();
    if (is(s, n, "arguments")) {
        struct value out = value_list(r, V_TUPLE, m->n);
        for (size_t i = 0; i < m->n; i++)
            out.list->item[i] =
                value_string(r->t->name[m->parameter[i]].s, r->t->name[m->parameter[i]].n);
        return out;
    }
    if (is(s, n, "caller"))
        return value_bool(m->uses_caller);
    if (is(s, n, "catch_kwargs"))
        return value_bool(m->uses_kwargs);
    if (is(s, n, "catch_varargs"))
        return value_bool(m->uses_varargs);
    return (struct value){.kind = V_ABSENT};
}

static struct value other_attribute(struct render *r, struct value v, const char *s, size_t n)
{
    static const char *const of_numbers[] = {
        "as_integer_ratio", "bit_count", "bit_length", "conjugate", "denominator",
        "from_bytes",       "fromhex",   "hex",        "imag",      "is_integer",
        "numerator",        "real",      "to_bytes",   NULL};
    struct value absent = {.kind = V_ABSENT};
    switch (v.kind) {
    case V_BOOL:
    case V_INT:
    case V_FLOAT:
        if (any_of(s, n, of_numbers))
            render_fail(r, "attribute %.*s of a number is not supported", (int)n, s);
        return absent;
    case V_NAMESPACE: {
        struct value *found = dict_get_string(r, v.dict, s, n);
        return found ? *found : absent;
    }
    case V_RANGE:
        return is(s, n, "start")  ? value_int(v.range->start)
               : is(s, n, "stop") ? value_int(v.range->stop)
               : is(s, n, "step") ? value_int(v.range->step)
                                  : absent;
    case V_TUPLE: // the groups of groupby
        return v.markup && is(s, n, "grouper") ? v.list->item[0]
               : v.markup && is(s, n, "list")  ? v.list->item[1]
                                               : absent;
    case V_LOOP:
        return loop_attribute(r, v.loop, s, n);
    case V_CYCLER:
        return is(s, n, "current") ? v.cycler->item[v.cycler->at] : absent;
    case V_MACRO:
        return macro_attribute(r, v, s, n);
    default:
        return absent;
    }
}

static const struct function *method_of(struct value v, const char *s, size_t n)
{
    switch (v.kind) {
    case V_STRING:
        return string_method(s, n);
    case V_LIST:
        return FIND(list_methods, s, n);
    case V_TUPLE:
    case V_RANGE:
        return is(s, n, "copy") ? NULL : FIND(list_methods, s, n);
    case V_DICT:
        return FIND(dict_methods, s, n);
    case V_CYCLER:
        return FIND(cycler_methods, s, n);
    case V_LOOP:
        return FIND(loop_methods, s, n);
    default:
        return NULL;
    }
}

// What Python's getattr finds, V_ABSENT when nothing.
static struct value attribute(struct render *r, struct value v, const char *s, size_t n)
{
    static const char *const of_lists[] = {"append", "clear",  "pop",    "reverse", "insert",
                                           "sort",   "extend", "remove", NULL};
    static const char *const of_dicts[] = {"clear", "pop", "popitem", "setdefault", "update", NULL};
    static const char *const internal[] = {"__class__",
                                           "__init__",
                                           "__dict__",
                                           "__doc__",
                                           "__eq__",
                                           "__getattribute__",
                                           "__getitem__",
                                           "__len__",
                                           "__iter__",
                                           "__subclasshook__",
                                           "__new__",
                                           "__reduce__",
                                           "__reduce_ex__",
                                           "__repr__",
                                           "__str__",
                                           "__setattr__",
                                           "__delattr__",
                                           "__format__",
                                           "__hash__",
                                           "__sizeof__",
                                           "__dir__",
                                           "__ne__",
                                           "__lt__",
                                           "__le__",
                                           "__gt__",
                                           "__ge__",
                                           "__init_subclass__",
                                           NULL};
    const struct function *f = method_of(v, s, n);
    if (f) {
        struct method *m = sandbox_get(&r->sandbox, 1, sizeof *m);
        m->self = v;
        m->function = f;
        return (struct value){.kind = V_METHOD, .method = m};
    }
    if ((v.kind == V_LIST && any_of(s, n, of_lists)) ||
        (v.kind == V_DICT && any_of(s, n, of_dicts)) || any_of(s, n, internal))
        return unsafe(r, v, s, n);
    return other_attribute(r, v, s, n);
}

// What Python's obj[key] finds, V_ABSENT for a TypeError or LookupError.
static struct value item(struct render *r, struct value v, struct value key)
{
    struct value absent = {.kind = V_ABSENT};
    if (v.kind == V_DICT) {
        if (key.kind == V_LIST || key.kind == V_DICT)
            return absent; // not hashable
        struct value *found = key.kind == V_STRING ? dict_get_string(r, v.dict, key.s, key.n)
                                                   : dict_get(r, v.dict, key);
        return found ? *found : absent;
    }
    if ((key.kind != V_INT && key.kind != V_BOOL) ||
        (v.kind != V_STRING && v.kind != V_LIST && v.kind != V_TUPLE && v.kind != V_RANGE))
        return absent;
    int64_t n, i = value_index(r, key, "an index");
    value_has_length(v, &n, r);
    if (i < 0)
        i += n;
    if (i < 0 || i >= n)
        return absent;
    if (v.kind == V_RANGE)
        return value_int(v.range->start + v.range->step * i);
    if (v.kind != V_STRING)
        return list_items(r, v.list)[i];
    render_bytes(r, v.n);
    const char *s = v.s + utf8_offset(v.s, v.n, (size_t)i), *next = s;
    utf8_step(&next, v.s + v.n);
    struct value c = value_string(s, (size_t)(next - s));
    c.markup = v.markup;
    return c;
}

struct value value_attribute(struct render *r, struct value v, const char *s, size_t n)
{
    if (v.kind == V_UNDEFINED)
        fail_undefined(r, v);
    struct value found = attribute(r, v, s, n);
    if (found.kind == V_ABSENT)
        found = item(r, v, value_string(s, n));
    return found.kind == V_ABSENT ? value_undefined(r, value_string(s, n), type_object(v)) : found;
}

struct value value_item(struct render *r, struct value v, struct value key)
{
    if (v.kind == V_UNDEFINED)
        fail_undefined(r, v);
    struct value found = item(r, v, key);
    if (found.kind == V_ABSENT && key.kind == V_STRING)
        found = attribute(r, v, key.s, key.n);
    return found.kind == V_ABSENT ? value_undefined(r, key, type_object(v)) : found;
}

// ---- calls --------------------------------------------------------------------------------------

enum { PARAMETERS = 8 };

// The place of a parameter by name, or -1.
static int parameter_index(const char *parameters, struct value name)
{
    int at = 0;
    for (const char *p = parameters; *p; at++) {
        size_t n = strcspn(p, " ");
        if (n == name.n && memcmp(p, name.s, n) == 0)
            return at;
        p += n + (p[n] == ' ');
    }
    return -1;
}

static int parameter_count(const char *parameters)
{
    int n = *parameters != 0;
    for (; *parameters; parameters++)
        n += *parameters == ' ';
    return n;
}

struct value function_call(struct render *r, const struct function *f, struct value self,
                           struct arguments *args, const char *what)
{
    struct value at[PARAMETERS];
    memset(at, 0, sizeof at); // V_ABSENT
    if (strcmp(f->parameters, "*") == 0)
        return f->call(r, self, at, args);
    int n = parameter_count(f->parameters);
    if (args->n > (size_t)n)
        render_fail(r, "%s() takes at most %d argument%s (%zu given)", f->name, n,
                    n == 1 ? "" : "s", args->n);
    for (size_t i = 0; i < args->n; i++)
        at[i] = args->at[i];
    for (size_t i = 0; i < args->n_keywords; i++) {
        struct value name = args->keyword[i].name;
        int place = parameter_index(f->parameters, name);
        if (place < 0)
            render_fail(r, "%s() got an unexpected keyword argument '%.*s'", f->name, (int)name.n,
                        name.s);
        if (at[place].kind != V_ABSENT)
            render_fail(r, "%s() got multiple values for argument '%.*s'", f->name, (int)name.n,
                        name.s);
        at[place] = args->keyword[i].value;
    }
    for (int i = 0; i < f->required; i++)
        if (at[i].kind == V_ABSENT)
            render_fail(r, "%s %s() misses a required argument", what, f->name);
    return f->call(r, self, at, args);
}

// Markup's methods escape their string arguments and answer with Markup.
static struct value markup_method(struct render *r, struct method *m, struct arguments *args)
{
    static const char *const as_they_are[] = {
        "split", "rsplit", "splitlines", "startswith", "endswith",   "find",   "rfind",
        "index", "rindex", "count",      "format",     "format_map", "encode", NULL};
    struct value one;
    if (!any_of(m->function->name, strlen(m->function->name), as_they_are)) {
        struct arguments escaped = *args;
        escaped.at = sandbox_get(&r->sandbox, args->n + 1, sizeof *escaped.at);
        for (size_t i = 0; i < args->n; i++)
            escaped.at[i] =
                args->at[i].kind == V_STRING ? value_escape(r, args->at[i]) : args->at[i];
        if (is("join", 4, m->function->name) && args->n == 1) {
            struct items items = {r, NULL, 0, 0};
            struct iterator *it = value_iterate(r, args->at[0]);
            while (iterator_next(r, it, &one))
                items_add(&items, value_escape(r, one));
            escaped.at[0] = items_value(&items, V_LIST);
        }
        *args = escaped;
    }
    struct value out = function_call(r, m->function, m->self, args, "method");
    if (out.kind == V_STRING)
        out.markup = 1;
    return out;
}

struct value value_call(struct render *r, struct value callee, struct arguments *args)
{
    struct value out;
    render_steps(r, 1);
    switch (callee.kind) {
    case V_UNDEFINED:
        fail_undefined(r, callee);
    case V_FUNCTION:
        return function_call(r, callee.function, callee, args, "function");
    case V_METHOD:
        if (callee.method->self.kind == V_STRING && callee.method->self.markup)
            return markup_method(r, callee.method, args);
        return function_call(r, callee.method->function, callee.method->self, args, "method");
    case V_MACRO:
        return macro_call(r, callee.macro, args);
    case V_LOOP:
        if (args->n != 1 || args->n_keywords)
            render_fail(r, "loop() takes one argument");
        return loop_call(r, callee.loop, args->at[0]);
    case V_JOINER:
        if (args->n || args->n_keywords)
            render_fail(r, "a joiner takes no arguments");
        out = callee.cycler->used ? callee.cycler->item[0] : value_cstring("");
        callee.cycler->used = 1;
        return out;
    default:
        render_fail(r, "'%s' object is not callable", type_name(callee));
    }
}

// ---- global functions ---------------------------------------------------------------------------

FUNCTION(g_range)
{
    struct range range = {.step = 1};
    if (all->n_keywords || all->n < 1 || all->n > 3)
        render_fail(r, "range expected 1 to 3 arguments");
    for (size_t i = 0; i < all->n; i++)
        value_index(r, all->at[i], "a range's argument");
    if (all->n == 1) {
        range.stop = all->at[0].i;
    } else {
        range.start = all->at[0].i;
        range.stop = all->at[1].i;
        if (all->n == 3)
            range.step = all->at[2].i;
    }
    if (range.step == 0)
        render_fail(r, "range() arg 3 must not be zero");
    int128 low = range.step > 0 ? range.start : range.stop;
    int128 high = range.step > 0 ? range.stop : range.start;
    unsigned __int128 span = high > low ? (unsigned __int128)high - (unsigned __int128)low : 0;
    unsigned __int128 step =
        range.step > 0 ? (unsigned __int128)range.step : -(unsigned __int128)range.step;
    unsigned __int128 n = span ? (span - 1) / step + 1 : 0;
    if (n > TEMPLATE_RANGE)
        render_fail(r, "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).",
                    (int)TEMPLATE_RANGE);
    range.n = (int64_t)n;
    struct range *kept = sandbox_get(&r->sandbox, 1, sizeof *kept);
    *kept = range;
    return (struct value){.kind = V_RANGE, .range = kept};
}

// dict(mapping or pairs, key=value ...)
static struct value make_dict(struct render *r, struct arguments *all)
{
    struct value out = value_dict(r);
    if (all->n > 1)
        render_fail(r, "dict expected at most 1 argument, got %zu", all->n);
    if (all->n == 1 && all->at[0].kind == V_DICT) {
        dict_copy(r, out.dict, all->at[0].dict);
    } else if (all->n == 1) {
        struct iterator *it = value_iterate(r, all->at[0]);
        struct value pair;
        while (iterator_next(r, it, &pair)) {
            struct value two = value_to_list(r, pair);
            if (two.list->n != 2)
                render_fail(r, "dictionary update sequence element has length %zu; 2 is required",
                            two.list->n);
            dict_set(r, out.dict, list_items(r, two.list)[0], list_items(r, two.list)[1]);
        }
    }
    for (size_t i = 0; i < all->n_keywords; i++)
        dict_set(r, out.dict, all->keyword[i].name, all->keyword[i].value);
    return out;
}

FUNCTION(g_dict)
{
    return make_dict(r, all);
}

FUNCTION(g_namespace)
{
    struct value out = make_dict(r, all);
    for (size_t i = 0; i < out.dict->n; i++) {
        struct value key = out.dict->entry[i].key;
        if (key.kind == V_STRING && key.n && key.s[0] == '_')
            render_fail(r,
                        "Chat templates cannot store underscore-prefixed attributes on a "
                        "namespace, but got '%.*s'. Please rename the attribute.",
                        (int)(key.n > 100 ? 100 : key.n), key.s);
    }
    out.kind = V_NAMESPACE;
    if (r->prober)
        probe_namespace(r, out.dict);
    return out;
}

FUNCTION(g_cycler)
{
    if (all->n == 0)
        render_fail(r, "at least one item has to be provided");
    struct cycler *c = sandbox_get(&r->sandbox, 1, sizeof *c);
    if (r->prober)
        r->prober->off = 1;
    c->item = sandbox_get(&r->sandbox, all->n, sizeof *c->item);
    memcpy(c->item, all->at, all->n * sizeof *c->item);
    c->n = all->n;
    return (struct value){.kind = V_CYCLER, .cycler = c};
}

FUNCTION(g_joiner)
{
    struct cycler *c = sandbox_get(&r->sandbox, 1, sizeof *c);
    if (r->prober)
        r->prober->off = 1;
    c->item = sandbox_get(&r->sandbox, 1, sizeof *c->item);
    c->item[0] = a[0].kind == V_ABSENT ? value_cstring(", ") : a[0];
    return (struct value){.kind = V_JOINER, .cycler = c};
}

FUNCTION(g_lipsum)
{
    render_fail(r, "lipsum is not supported");
}

FUNCTION(g_raise)
{
    struct value text = value_str(r, a[0]);
    sandbox_fail_text(&r->sandbox, text.s, text.n);
}

FUNCTION(g_strftime)
{
    return format_time(r, a[0]);
}

static const struct function globals[] = {
    {"range", "*", 0, g_range},
    {"dict", "*", 0, g_dict},
    {"namespace", "*", 0, g_namespace},
    {"cycler", "*", 0, g_cycler},
    {"joiner", "sep", 0, g_joiner},
    {"lipsum", "*", 0, g_lipsum},
    {"raise_exception", "message", 1, g_raise},
    {"strftime_now", "format", 1, g_strftime},
};

struct value global_find(const char *s, size_t n)
{
    const struct function *f = FIND(globals, s, n);
    return f ? (struct value){.kind = V_FUNCTION, .function = f} : (struct value){.kind = V_ABSENT};
}
