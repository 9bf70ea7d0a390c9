// SPDX-License-Identifier: MIT
// Expressions and statements. Scopes are chained: for, with, macro, call, filter, block and
// generation bodies have one of their own, if has none; what a body sets stays in it.
#include "jinja/internal.h"

#include <string.h>

static struct value eval(struct render *r, struct scope *scope, const struct node *n);
static struct value eval_open(struct render *r, struct scope *scope, const struct node *n);
static enum flow exec_body(struct render *r, struct scope *scope, const struct node_list *body);

// ---- scopes -------------------------------------------------------------------------------------

static struct value *scope_find(struct scope *scope, uint32_t name)
{
    for (uint32_t i = 0; i < scope->n; i++)
        if (scope->binding[i].name == name)
            return &scope->binding[i].value;
    return NULL;
}

static void scope_set(struct render *r, struct scope *scope, uint32_t name, struct value v)
{
    if (!scope->parent) {
        r->root[name] = v;
        return;
    }
    struct value *old = scope_find(scope, name);
    if (old) {
        *old = v;
        return;
    }
    if (scope->n == scope->capacity) {
        uint32_t more = scope->capacity ? 2 * scope->capacity : 4;
        struct binding *grown = sandbox_get(&r->sandbox, more, sizeof *grown);
        if (scope->n)
            memcpy(grown, scope->binding, scope->n * sizeof *grown);
        scope->binding = grown;
        scope->capacity = more;
    }
    scope->binding[scope->n++] = (struct binding){name, v};
}

static struct scope *scope_new(struct render *r, struct scope *parent)
{
    struct scope *scope = sandbox_get(&r->sandbox, 1, sizeof *scope);
    scope->parent = parent;
    return scope;
}

// Names that the body of `n` sets without having read them first hide outer ones from the start.
static void scope_shadow(struct render *r, struct scope *scope, const struct node *n)
{
    for (size_t i = 0; i < n->n_shadow; i++)
        scope_set(r, scope, n->shadow[i], (struct value){.kind = V_MISSING});
}

static struct value from_context(struct render *r, uint32_t name)
{
    const struct name *text = &r->t->name[name];
    struct value v = {.kind = V_MISSING};
    if (text->n == 4 && memcmp(text->s, "self", 4) == 0)
        render_fail(r, "the template's own `self` is not supported");
    // Names hold no NUL; jansson wants a terminated key.
    char key[256];
    const json_t *json = NULL;
    if (text->n < sizeof key) {
        memcpy(key, text->s, text->n);
        key[text->n] = 0;
        json = json_object_get(r->context, key);
    }
    struct value global = global_find(text->s, text->n);
    int ours = json && !(global.kind == V_FUNCTION && strcmp(key, "strftime_now") == 0);
    if (ours)
        v = value_json(r, json);
    else if (global.kind != V_ABSENT)
        v = global;
    if (ours && r->prober)
        probe_context(r, json, v);
    r->root[name] = v;
    return v;
}

static struct value lookup(struct render *r, struct scope *scope, uint32_t name)
{
    struct value v = {.kind = V_ABSENT};
    for (; scope->parent; scope = scope->parent) {
        struct value *found = scope_find(scope, name);
        if (found) {
            v = *found;
            break;
        }
    }
    if (v.kind == V_ABSENT) {
        v = r->root[name];
        if (v.kind == V_ABSENT)
            v = from_context(r, name);
    }
    if (v.kind == V_MISSING)
        v = value_undefined(r, value_string(r->t->name[name].s, r->t->name[name].n), NULL);
    return v;
}

// ---- assignment ---------------------------------------------------------------------------------

static void assign_attribute(struct render *r, struct scope *scope, const struct node *target,
                             struct value v)
{
    struct value object = lookup(r, scope, target->name);
    if (object.kind != V_NAMESPACE)
        render_fail(r, "cannot assign attribute on non-namespace object");
    struct value name = target->constant;
    if (name.n && name.s[0] == '_')
        render_fail(r,
                    "Chat templates cannot store underscore-prefixed attributes on a namespace, "
                    "but got '%.*s'. Please rename the attribute.",
                    (int)(name.n > 100 ? 100 : name.n), name.s);
    dict_set(r, object.dict, name, v);
}

static void assign(struct render *r, struct scope *scope, const struct node *target, struct value v)
{
    if (target->kind == N_TARGET_NAME) {
        scope_set(r, scope, target->name, v);
        return;
    }
    if (target->kind == N_TARGET_ATTR) {
        assign_attribute(r, scope, target, v);
        return;
    }
    if (!value_iterable(v))
        render_fail(r, "cannot unpack non-iterable %s object", type_name(v));
    struct iterator *it = value_iterate(r, v);
    struct value item;
    size_t n = 0;
    while (iterator_next(r, it, &item)) {
        if (n == target->list.n)
            render_fail(r, "too many values to unpack (expected %zu)", target->list.n);
        assign(r, scope, target->list.at[n++], item);
    }
    if (n < target->list.n)
        render_fail(r, "not enough values to unpack (expected %zu, got %zu)", target->list.n, n);
}

// ---- calls --------------------------------------------------------------------------------------

static void add_keyword(struct render *r, struct arguments *args, size_t *capacity,
                        struct value name, struct value v)
{
    for (size_t i = 0; i < args->n_keywords; i++)
        if (value_equal(r, args->keyword[i].name, name))
            render_fail(r, "got multiple values for keyword argument '%.*s'", (int)name.n, name.s);
    if (args->n_keywords == *capacity) {
        size_t more = *capacity ? 2 * *capacity : 4;
        struct keyword *grown = sandbox_get(&r->sandbox, more, sizeof *grown);
        if (args->n_keywords)
            memcpy(grown, args->keyword, args->n_keywords * sizeof *grown);
        args->keyword = grown;
        *capacity = more;
    }
    args->keyword[args->n_keywords++] = (struct keyword){name, v};
}

static struct arguments eval_arguments(struct render *r, struct scope *scope,
                                       const struct call_node *c, const struct value *caller)
{
    struct arguments args = {NULL, 0, NULL, 0};
    struct items at = {r, NULL, 0, 0};
    size_t capacity = 0;
    for (size_t i = 0; i < c->positional.n; i++)
        items_add(&at, eval(r, scope, c->positional.at[i]));
    if (c->star) {
        struct iterator *it = value_iterate(r, eval(r, scope, c->star));
        struct value v;
        while (iterator_next(r, it, &v))
            items_add(&at, v);
    }
    args.at = at.at;
    args.n = at.n;
    for (size_t i = 0; i < c->n_named; i++)
        add_keyword(r, &args, &capacity, c->named[i].name, eval(r, scope, c->named[i].node));
    if (c->star_star) {
        struct value more = eval(r, scope, c->star_star);
        if (more.kind != V_DICT)
            render_fail(r, "argument after ** must be a mapping, not %s", type_name(more));
        struct dict *d = dict_read(r, more.dict);
        for (size_t i = 0; i < d->n; i++) {
            if (d->entry[i].key.kind != V_STRING)
                render_fail(r, "keywords must be strings");
            add_keyword(r, &args, &capacity, d->entry[i].key, d->entry[i].value);
        }
    }
    if (caller)
        add_keyword(r, &args, &capacity, value_cstring("caller"), *caller);
    return args;
}

static struct value eval_call(struct render *r, struct scope *scope, const struct node *n,
                              const struct value *caller)
{
    struct value callee = eval(r, scope, n->a);
    struct arguments args = eval_arguments(r, scope, n->call, caller);
    r->sandbox.line = n->line;
    return value_call(r, callee, &args);
}

// `text`: what a filter that has no operand (of a block) works on.
static struct value eval_filter(struct render *r, struct scope *scope, const struct node *n,
                                const struct value *text)
{
    struct value v;
    if (!n->a)
        v = *text;
    else if (n->a->kind == N_FILTER && text)
        v = eval_filter(r, scope, n->a, text);
    else
        v = eval(r, scope, n->a);
    struct arguments args = eval_arguments(r, scope, n->call, NULL);
    r->sandbox.line = n->line;
    int test = n->kind == N_TEST;
    if (!n->function)
        render_fail(r, "No %s named '%.*s' found.", test ? "test" : "filter",
                    (int)(n->constant.n > 100 ? 100 : n->constant.n), n->constant.s);
    return function_call(r, n->function, v, &args, test ? "test" : "filter");
}

// What the body writes, as a string; its flow (break, continue) is handed on.
static struct value capture(struct render *r, struct scope *scope, const struct node_list *body,
                            enum flow *flow)
{
    struct text t = text_new(r), *out = r->out;
    r->out = &t;
    *flow = exec_body(r, scope, body);
    r->out = out;
    return text_value(&t);
}

static int name_is(const struct render *r, uint32_t name, struct value v)
{
    return r->t->name[name].n == v.n && memcmp(r->t->name[name].s, v.s, v.n) == 0;
}

// Takes the keyword `name` out of args; V_ABSENT when it is not there.
static struct value take_keyword(struct render *r, struct arguments *args, uint32_t name)
{
    for (size_t i = 0; i < args->n_keywords; i++) {
        if (!name_is(r, name, args->keyword[i].name))
            continue;
        struct value v = args->keyword[i].value;
        args->n_keywords--;
        memmove(args->keyword + i, args->keyword + i + 1,
                (args->n_keywords - i) * sizeof *args->keyword);
        return v;
    }
    return (struct value){.kind = V_ABSENT};
}

static struct value not_provided(struct render *r, uint32_t name)
{
    struct text t = text_new(r);
    text_string(&t, "parameter '");
    text_add(&t, r->t->name[name].s, r->t->name[name].n);
    text_string(&t, "' was not provided");
    return value_undefined_hint(r, sandbox_copy(&r->sandbox, t.s, t.n));
}

static void bind_rest(struct render *r, struct scope *scope, const struct macro_node *m,
                      const char *name, struct arguments *args, int found_caller)
{
    if (m->uses_caller && !found_caller) {
        struct value caller = take_keyword(r, args, r->t->caller);
        if (caller.kind == V_ABSENT || caller.kind == V_NONE)
            caller = value_undefined_hint(r, "No caller defined");
        scope_set(r, scope, r->t->caller, caller);
    }
    if (m->uses_kwargs) {
        struct value kwargs = value_dict(r);
        for (size_t i = 0; i < args->n_keywords; i++)
            dict_set(r, kwargs.dict, args->keyword[i].name, args->keyword[i].value);
        scope_set(r, scope, r->t->kwargs, kwargs);
    } else if (args->n_keywords) {
        render_fail(r, "macro '%s' takes no keyword argument '%.*s'", name,
                    (int)args->keyword[0].name.n, args->keyword[0].name.s);
    }
    size_t used = args->n < m->n ? args->n : m->n;
    if (m->uses_varargs) {
        struct value rest = value_list(r, V_TUPLE, args->n - used);
        if (args->n > used)
            memcpy(rest.list->item, args->at + used, (args->n - used) * sizeof *args->at);
        scope_set(r, scope, r->t->varargs, rest);
    } else if (args->n > m->n) {
        render_fail(r, "macro '%s' takes not more than %zu argument(s)", name, m->n);
    }
}

struct value macro_call(struct render *r, struct macro *macro, struct arguments *args)
{
    const struct node *node = macro->node;
    const struct macro_node *m = node->macro;
    const struct name *text = node->kind == N_MACRO ? &r->t->name[node->name] : NULL;
    const char *name = text ? sandbox_copy(&r->sandbox, text->s, text->n) : "caller";
    struct scope *scope = scope_new(r, macro->scope);
    int found_caller = args->n >= m->n && m->explicit_caller;
    render_enter(r);
    scope_shadow(r, scope, node);
    for (size_t i = 0; i < m->n; i++) {
        struct value v = i < args->n ? args->at[i] : take_keyword(r, args, m->parameter[i]);
        if (v.kind == V_ABSENT)
            v.kind = V_MISSING;
        if (i >= args->n && m->parameter[i] == r->t->caller)
            found_caller = 1;
        scope_set(r, scope, m->parameter[i], v);
    }
    bind_rest(r, scope, m, name, args, found_caller);
    for (size_t i = 0; i < m->n; i++) {
        if (scope_find(scope, m->parameter[i])->kind != V_MISSING)
            continue;
        struct value v =
            m->defaults[i] ? eval(r, scope, m->defaults[i]) : not_provided(r, m->parameter[i]);
        scope_set(r, scope, m->parameter[i], v);
    }
    enum flow flow;
    struct value out = capture(r, scope, &node->list, &flow);
    render_leave(r);
    return out;
}

static struct value macro_new(struct render *r, struct scope *scope, const struct node *n)
{
    struct macro *macro = sandbox_get(&r->sandbox, 1, sizeof *macro);
    macro->node = n;
    macro->scope = scope;
    return (struct value){.kind = V_MACRO, .macro = macro};
}

// ---- expressions --------------------------------------------------------------------------------

// An iterator inside another value: what a prefix takes from it would be missing afterwards.
static struct value kept(struct render *r, struct value v)
{
    if (r->prober && v.kind == V_ITERATOR)
        r->prober->off = 1;
    return v;
}

static struct value eval_items(struct render *r, struct scope *scope, const struct node *n)
{
    struct value v = value_list(r, n->kind == N_LIST ? V_LIST : V_TUPLE, n->list.n);
    for (size_t i = 0; i < n->list.n; i++)
        v.list->item[i] = kept(r, eval(r, scope, n->list.at[i]));
    return v;
}

static struct value eval_dict(struct render *r, struct scope *scope, const struct node *n)
{
    struct value v = value_dict(r);
    for (size_t i = 0; i + 1 < n->list.n; i += 2) {
        struct value key = eval(r, scope, n->list.at[i]);
        dict_set(r, v.dict, key, kept(r, eval(r, scope, n->list.at[i + 1])));
    }
    return v;
}

static struct value eval_slice(struct render *r, struct scope *scope, const struct node *n)
{
    struct value v[4];
    for (int i = 0; i < 4; i++)
        v[i] = n->list.at[i] ? eval(r, scope, n->list.at[i]) : value_none();
    return value_slice(r, v[0], v[1], v[2], v[3]);
}

static struct value eval_compare(struct render *r, struct scope *scope, const struct node *n)
{
    struct value left = eval(r, scope, n->a);
    for (size_t i = 0; i < n->list.n; i++) {
        const struct node *part = n->list.at[i];
        struct value right = eval(r, scope, part->a);
        r->sandbox.line = n->line;
        if (!value_compare(r, part->op, left, right))
            return value_bool(0);
        left = right;
    }
    return value_bool(1);
}

static struct value eval_concat(struct render *r, struct scope *scope, const struct node *n)
{
    struct text t = text_new(r);
    for (size_t i = 0; i < n->list.n; i++)
        print_string(&t, eval(r, scope, n->list.at[i]));
    return text_value(&t);
}

static struct value eval_if(struct render *r, struct scope *scope, const struct node *n)
{
    if (value_truth(r, eval(r, scope, n->b)))
        return eval(r, scope, n->a);
    if (n->c)
        return eval(r, scope, n->c);
    return value_undefined_hint(r, "the inline if-expression evaluated to false and no else "
                                   "section was defined.");
}

static struct value eval_more(struct render *r, struct scope *scope, const struct node *n)
{
    struct value a, b;
    switch (n->kind) {
    case N_TUPLE:
    case N_LIST:
        return eval_items(r, scope, n);
    case N_DICT:
        return eval_dict(r, scope, n);
    case N_ATTR:
        a = eval(r, scope, n->a);
        r->sandbox.line = n->line;
        return value_attribute(r, a, n->constant.s, n->constant.n);
    case N_ITEM:
        a = eval_open(r, scope, n->a);
        b = eval(r, scope, n->b);
        if (probe_list(r, a))
            probe_item(r, a.list, b);
        r->sandbox.line = n->line;
        return value_item(r, a, b);
    case N_SLICE:
        return eval_slice(r, scope, n);
    case N_CALL:
        return eval_call(r, scope, n, NULL);
    case N_FILTER:
    case N_TEST:
        return eval_filter(r, scope, n, NULL);
    case N_NOT:
        return value_bool(!value_truth(r, eval(r, scope, n->a)));
    case N_NEG:
    case N_POS:
        return value_negate(r, eval(r, scope, n->a), n->kind == N_POS);
    case N_AND:
        a = eval(r, scope, n->a);
        return value_truth(r, a) ? eval(r, scope, n->b) : a;
    case N_OR:
        a = eval(r, scope, n->a);
        return value_truth(r, a) ? a : eval(r, scope, n->b);
    case N_COMPARE:
        return eval_compare(r, scope, n);
    case N_BINARY:
        a = eval(r, scope, n->a);
        b = eval(r, scope, n->b);
        r->sandbox.line = n->line;
        return value_binary(r, n->op, a, b);
    case N_CONCAT:
        return eval_concat(r, scope, n);
    case N_IF_EXPR:
        return eval_if(r, scope, n);
    default:
        render_fail(r, "a statement stands where an expression should");
    }
}

static struct value eval(struct render *r, struct scope *scope, const struct node *n)
{
    render_steps(r, 1);
    if (n->kind == N_CONST)
        return n->constant;
    if (n->kind == N_NAME) {
        struct value found = lookup(r, scope, n->name);
        if (probe_list(r, found))
            probe_seen(r, SIZE_MAX);
        return found;
    }
    render_enter(r);
    struct value v = eval_more(r, scope, n);
    render_leave(r);
    return v;
}

static struct value eval_open_slice(struct render *r, struct scope *scope, const struct node *n)
{
    struct value v[4], out;
    v[0] = eval_open(r, scope, n->list.at[0]);
    for (int i = 1; i < 4; i++)
        v[i] = n->list.at[i] ? eval(r, scope, n->list.at[i]) : value_none();
    struct list *l = probe_list(r, v[0]);
    if (l && probe_slice(r, l, v + 1, &out))
        return out;
    return value_slice(r, v[0], v[1], v[2], v[3]);
}

// For those who do not look at an open list as a whole.
static struct value eval_open(struct render *r, struct scope *scope, const struct node *n)
{
    if (!r->prober || (n->kind != N_NAME && n->kind != N_SLICE))
        return eval(r, scope, n);
    render_steps(r, 1);
    if (n->kind == N_NAME)
        return lookup(r, scope, n->name);
    render_enter(r);
    struct value v = eval_open_slice(r, scope, n);
    render_leave(r);
    return v;
}

// ---- loops --------------------------------------------------------------------------------------

static struct value loop_peek(struct render *r, struct loop *loop)
{
    struct value v;
    if (loop->after.kind == V_ABSENT && iterator_next(r, loop->iterator, &v))
        loop->after = v;
    return loop->after;
}

static int64_t loop_length(struct render *r, struct loop *loop)
{
    if (loop->length >= 0)
        return loop->length;
    if (!value_has_length(loop->iterable, &loop->length, r)) {
        struct items rest = {r, NULL, 0, 0};
        struct value v;
        while (iterator_next(r, loop->iterator, &v))
            items_add(&rest, v);
        loop->length = (int64_t)rest.n + loop->index0 + 1 + (loop->after.kind != V_ABSENT);
        loop->iterator = value_iterate(r, items_value(&rest, V_LIST));
    }
    return loop->length;
}

struct value loop_attribute(struct render *r, struct loop *loop, const char *s, size_t n)
{
    static const char *const names[] = {"index",    "index0",   "first",     "last",
                                        "length",   "revindex", "revindex0", "previtem",
                                        "nextitem", "depth",    "depth0"};
    size_t which = 0, count = sizeof names / sizeof *names;
    while (which < count && (strlen(names[which]) != n || memcmp(names[which], s, n) != 0))
        which++;
    switch (which) {
    case 0:
        return value_int(loop->index0 + 1);
    case 1:
        return value_int(loop->index0);
    case 2:
        return value_bool(loop->index0 == 0);
    case 3:
        probe_loop_seen(r, loop, 1);
        return value_bool(loop_peek(r, loop).kind == V_ABSENT);
    case 4:
        probe_loop_seen(r, loop, 0);
        return value_int(loop_length(r, loop));
    case 5:
        probe_loop_seen(r, loop, 0);
        return value_int(loop_length(r, loop) - loop->index0);
    case 6:
        probe_loop_seen(r, loop, 0);
        return value_int(loop_length(r, loop) - loop->index0 - 1);
    case 7:
        return loop->before.kind == V_ABSENT ? value_undefined_hint(r, "there is no previous item")
                                             : loop->before;
    case 8: {
        probe_loop_seen(r, loop, 1);
        struct value next = loop_peek(r, loop);
        return next.kind == V_ABSENT ? value_undefined_hint(r, "there is no next item") : next;
    }
    case 9:
        return value_int(loop->depth0 + 1);
    case 10:
        return value_int(loop->depth0);
    default:
        return (struct value){.kind = V_ABSENT};
    }
}

static int loop_next(struct render *r, struct loop *loop, struct value *out)
{
    if (loop->after.kind != V_ABSENT) {
        *out = loop->after;
        loop->after.kind = V_ABSENT;
    } else if (!iterator_next(r, loop->iterator, out)) {
        return 0;
    }
    loop->index0++;
    loop->before = loop->current;
    loop->current = *out;
    return 1;
}

// What a target was given, as Python rebuilds it from the variables: tuples for tuples.
static struct value rebuilt(struct render *r, struct scope *scope, const struct node *target)
{
    if (target->kind == N_TARGET_NAME)
        return *scope_find(scope, target->name);
    struct value v = value_list(r, V_TUPLE, target->list.n);
    for (size_t i = 0; i < target->list.n; i++)
        v.list->item[i] = rebuilt(r, scope, target->list.at[i]);
    return v;
}

// "for x in y if test": an iterator over what passes the test.
struct filtered {
    const struct node *node;
    struct scope *scope;
};

static int filtered_next(struct render *r, struct iterator *it, struct value *out)
{
    struct filtered *f = it->state;
    while (iterator_next(r, it->inner, out)) {
        f->scope->n = 0;
        assign(r, f->scope, f->node->a, *out);
        if (value_truth(r, eval(r, f->scope, f->node->c))) {
            *out = rebuilt(r, f->scope, f->node->a);
            return 1;
        }
    }
    return 0;
}

// Where the text stands as a loop comes to an item, or (none) to its end.
static void note_item(struct render *r, const json_t *item)
{
    struct item_list *l = r->items;
    if (MEM_GROW(l->place, l->capacity, l->n + 1, "places of items", r->sandbox.e) < 0)
        longjmp(r->sandbox.failure, 1);
    l->place[l->n++] = (struct item_place){item, r->out->n};
}

// Whether it is noted where the loop stands: of loops inside of one another the outer one.
static int is_noted(const struct render *r, struct value item)
{
    return r->items && !r->at_item && r->out == r->whole && item.kind == V_DICT && item.dict->from;
}

enum flow loop_rest(struct render *r, struct scope *scope, const struct node *n, struct loop *loop,
                    struct scope *body, int any)
{
    struct value item, self = {.kind = V_LOOP, .loop = loop};
    struct probed_loop probed;
    int noted = 0;
    int broken = 0; // {% else %} is rendered unless one iteration got to its end
    probe_loop_begin(r, &probed, scope, loop);
    for (;;) {
        probe_loop_item(r, &probed, scope, n, loop, body, any);
        if (!loop_next(r, loop, &item))
            break;
        body->n = 0;
        scope_set(r, body, r->t->loop, self);
        scope_shadow(r, body, n);
        assign(r, body, n->a, item);
        if ((noted = is_noted(r, item)))
            note_item(r, item.dict->from);
        r->at_item += noted;
        enum flow flow = exec_body(r, body, &n->list);
        r->at_item -= noted;
        if ((broken = flow == FLOW_BREAK))
            break;
        any |= flow == FLOW_ON;
    }
    if (noted)
        note_item(r, NULL);
    probe_loop_end(r, &probed, n, loop, broken);
    if (any || !n->other.n)
        return FLOW_ON;
    return exec_body(r, scope_new(r, scope), &n->other);
}

static enum flow run_loop(struct render *r, struct scope *scope, const struct node *n,
                          struct value iterable, int64_t depth0)
{
    struct loop *loop = sandbox_get(&r->sandbox, 1, sizeof *loop);
    struct scope *body = scope_new(r, scope);
    loop->iterable = iterable;
    loop->iterator = value_iterate(r, iterable);
    loop->index0 = -1;
    loop->length = -1;
    loop->depth0 = depth0;
    loop->recursive = n->recursive ? n : NULL;
    loop->scope = scope;
    if (n->c) {
        if (probe_list(r, iterable))
            probe_seen(r, SIZE_MAX);
        struct filtered *f = sandbox_get(&r->sandbox, 1, sizeof *f);
        *f = (struct filtered){n, scope_new(r, scope)};
        struct iterator it = {
            .next = filtered_next, .inner = loop->iterator, .state = f, .type = "generator"};
        loop->iterable = value_iterator(r, it);
        loop->iterator = loop->iterable.iterator;
    }
    return loop_rest(r, scope, n, loop, body, 0);
}

struct value loop_call(struct render *r, struct loop *loop, struct value iterable)
{
    if (!loop->recursive)
        render_fail(r, "The loop must have the 'recursive' marker to be called recursively.");
    struct text t = text_new(r), *out = r->out;
    render_enter(r);
    r->out = &t;
    run_loop(r, loop->scope, loop->recursive, iterable, loop->depth0 + 1);
    r->out = out;
    render_leave(r);
    return text_value(&t);
}

// ---- statements ---------------------------------------------------------------------------------

static enum flow exec_if(struct render *r, struct scope *scope, const struct node *n)
{
    if (value_truth(r, eval(r, scope, n->a)))
        return exec_body(r, scope, &n->list);
    for (size_t i = 0; i < n->values.n; i++)
        if (value_truth(r, eval(r, scope, n->values.at[i]->a)))
            return exec_body(r, scope, &n->values.at[i]->list);
    return exec_body(r, scope, &n->other);
}

static enum flow exec_set_block(struct render *r, struct scope *scope, const struct node *n)
{
    struct scope *inner = scope_new(r, scope);
    enum flow flow;
    scope_shadow(r, inner, n);
    struct value text = capture(r, inner, &n->list, &flow);
    if (flow != FLOW_ON)
        return flow;
    if (n->b)
        text = eval_filter(r, inner, n->b, &text);
    assign(r, scope, n->a, text);
    return FLOW_ON;
}

static enum flow exec_filter_block(struct render *r, struct scope *scope, const struct node *n)
{
    struct scope *inner = scope_new(r, scope);
    enum flow flow;
    scope_shadow(r, inner, n);
    struct value text = capture(r, inner, &n->list, &flow);
    if (flow != FLOW_ON)
        return flow;
    text = eval_filter(r, inner, n->b, &text);
    if (text.kind != V_STRING)
        render_fail(r, "a filter block must give a string, not %s", type_name(text));
    print_string(r->out, text);
    return FLOW_ON;
}

static enum flow exec_with(struct render *r, struct scope *scope, const struct node *n)
{
    struct scope *inner = scope_new(r, scope);
    scope_shadow(r, inner, n);
    for (size_t i = 0; i + 1 < n->values.n; i += 2)
        assign(r, inner, n->values.at[i], eval(r, scope, n->values.at[i + 1]));
    return exec_body(r, inner, &n->list);
}

static void exec_generation(struct render *r, struct scope *scope, const struct node *n)
{
    struct scope *inner = scope_new(r, scope);
    size_t start = r->out->n;
    scope_shadow(r, inner, n);
    if (n->macro->uses_caller)
        scope_set(r, inner, r->t->caller, value_undefined_hint(r, "No caller defined"));
    exec_body(r, inner, &n->list);
    text_mark(r->out, start, r->out->n);
}

static void exec_call_block(struct render *r, struct scope *scope, const struct node *n)
{
    struct value caller = macro_new(r, scope, n);
    print_string(r->out, eval_call(r, scope, n->a, &caller));
}

static void exec_block(struct render *r, struct scope *scope, const struct node *n)
{
    while (scope->parent)
        scope = scope->parent;
    exec_body(r, scope_new(r, scope), &n->list);
}

enum flow exec(struct render *r, struct scope *scope, const struct node *n)
{
    r->sandbox.line = n->line;
    switch (n->kind) {
    case N_DATA:
        text_add(r->out, n->constant.s, n->constant.n);
        return FLOW_ON;
    case N_PRINT:
        print_string(r->out, eval(r, scope, n->a));
        return FLOW_ON;
    case N_FOR:
        return run_loop(r, scope, n, eval_open(r, scope, n->b), 0);
    case N_IF:
        return exec_if(r, scope, n);
    case N_SET:
        assign(r, scope, n->a,
               n->a->kind == N_TARGET_NAME ? eval_open(r, scope, n->b) : eval(r, scope, n->b));
        return FLOW_ON;
    case N_SET_BLOCK:
        return exec_set_block(r, scope, n);
    case N_MACRO:
        scope_set(r, scope, n->name, macro_new(r, scope, n));
        return FLOW_ON;
    case N_CALL_BLOCK:
        exec_call_block(r, scope, n);
        return FLOW_ON;
    case N_FILTER_BLOCK:
        return exec_filter_block(r, scope, n);
    case N_WITH:
        return exec_with(r, scope, n);
    case N_GENERATION:
        exec_generation(r, scope, n);
        return FLOW_ON;
    case N_BREAK:
        return FLOW_BREAK;
    case N_CONTINUE:
        return FLOW_CONTINUE;
    case N_BLOCK:
        exec_block(r, scope, n);
        return FLOW_ON;
    default:
        render_fail(r, "an expression stands where a statement should");
    }
}

static enum flow exec_body(struct render *r, struct scope *scope, const struct node_list *body)
{
    enum flow flow = FLOW_ON;
    struct body_frame frame = {body, 0, scope, r->frame};
    render_enter(r);
    r->frame = &frame;
    while (frame.next < body->n && flow == FLOW_ON) {
        render_steps(r, 1);
        flow = exec(r, scope, body->at[frame.next++]);
    }
    r->frame = frame.outer;
    render_leave(r);
    return flow;
}

void render_body(struct render *r)
{
    struct scope *root = scope_new(r, NULL);
    if (r->prober)
        r->prober->root = root;
    for (size_t i = 0; i < r->t->n_shadow; i++)
        r->root[r->t->shadow[i]].kind = V_MISSING;
    exec_body(r, root, &r->t->body);
}
