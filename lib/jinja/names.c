// SPDX-License-Identifier: MIT
// Which names a scope declares before it sets them. jinja2 compiles names to variables of their
// scope: a name whose first mention in a scope is an unconditional {% set %} hides the variable of
// that name outside from the scope's beginning on. That shows where an inner scope (a loop, a
// macro) reads the name before the set is reached: it is undefined there.
#include "jinja/internal.h"

#include <string.h>

struct undo {
    uint32_t name, owner;
};

struct walk {
    struct template *t;
    uint32_t *owner; // by name: the innermost scope that mentions it, 0: none
    uint32_t scopes; // numbered from 1
    struct undo *undo;
    size_t n_undo, undo_capacity;
};

// One scope while it is walked.
struct declared {
    uint32_t id;
    int branch; // inside {% if %}
    uint32_t *shadow;
    size_t n, capacity;
};

static void *grow(struct walk *w, void *array, size_t n, size_t *capacity, size_t size)
{
    if (n < *capacity)
        return array;
    size_t more = *capacity ? 2 * *capacity : 8;
    void *grown = sandbox_get(&w->t->sandbox, more, size);
    if (n)
        memcpy(grown, array, n * size);
    *capacity = more;
    return grown;
}

static void own(struct walk *w, struct declared *d, uint32_t name)
{
    w->undo = grow(w, w->undo, w->n_undo, &w->undo_capacity, sizeof *w->undo);
    w->undo[w->n_undo++] = (struct undo){name, w->owner[name]};
    w->owner[name] = d->id;
}

static void load(struct walk *w, struct declared *d, uint32_t name)
{
    if (w->owner[name] == 0)
        own(w, d, name);
}

static void store(struct walk *w, struct declared *d, uint32_t name)
{
    if (w->owner[name] == d->id)
        return;
    if (w->owner[name] == 0 && !d->branch) {
        d->shadow = grow(w, d->shadow, d->n, &d->capacity, sizeof *d->shadow);
        d->shadow[d->n++] = name;
    }
    own(w, d, name);
}

static void parameter(struct walk *w, struct declared *d, uint32_t name)
{
    if (w->owner[name] != d->id)
        own(w, d, name);
}

// ---- what stands in the scope itself ------------------------------------------------------------

static void expression(struct walk *w, struct declared *d, const struct node *n);

static void expressions(struct walk *w, struct declared *d, const struct node_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        expression(w, d, l->at[i]);
}

static void expression(struct walk *w, struct declared *d, const struct node *n)
{
    if (!n)
        return;
    if (n->kind == N_NAME)
        load(w, d, n->name);
    expression(w, d, n->a);
    expression(w, d, n->b);
    expression(w, d, n->c);
    expressions(w, d, &n->list);
    if (!n->call)
        return;
    expressions(w, d, &n->call->positional);
    for (size_t i = 0; i < n->call->n_named; i++)
        expression(w, d, n->call->named[i].node);
    expression(w, d, n->call->star);
    expression(w, d, n->call->star_star);
}

static void target(struct walk *w, struct declared *d, const struct node *n, int is_parameter)
{
    if (n->kind == N_TARGET_ATTR)
        load(w, d, n->name);
    else if (n->kind == N_TARGET_NAME && is_parameter)
        parameter(w, d, n->name);
    else if (n->kind == N_TARGET_NAME)
        store(w, d, n->name);
    for (size_t i = 0; i < n->list.n; i++)
        target(w, d, n->list.at[i], is_parameter);
}

static void statements(struct walk *w, struct declared *d, const struct node_list *l);

static void branches(struct walk *w, struct declared *d, const struct node *n)
{
    expression(w, d, n->a);
    d->branch++;
    statements(w, d, &n->list);
    for (size_t i = 0; i < n->values.n; i++) {
        expression(w, d, n->values.at[i]->a);
        statements(w, d, &n->values.at[i]->list);
    }
    statements(w, d, &n->other);
    d->branch--;
}

static void statement(struct walk *w, struct declared *d, const struct node *n)
{
    switch (n->kind) {
    case N_PRINT:
    case N_CALL_BLOCK:
        expression(w, d, n->a);
        break;
    case N_IF:
        branches(w, d, n);
        break;
    case N_FOR:
    case N_FILTER_BLOCK:
        expression(w, d, n->b);
        break;
    case N_SET:
        expression(w, d, n->b);
        target(w, d, n->a, 0);
        break;
    case N_SET_BLOCK:
        target(w, d, n->a, 0);
        break;
    case N_MACRO:
        store(w, d, n->name);
        break;
    case N_WITH:
        for (size_t i = 1; i < n->values.n; i += 2)
            expression(w, d, n->values.at[i]);
        break;
    default:
        break;
    }
}

static void statements(struct walk *w, struct declared *d, const struct node_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        statement(w, d, l->at[i]);
}

// ---- the scopes inside --------------------------------------------------------------------------

static void scopes_in(struct walk *w, const struct node_list *l);

static void parameters(struct walk *w, struct declared *d, const struct node *n)
{
    const struct macro_node *m = n->macro;
    for (size_t i = 0; i < m->n; i++)
        parameter(w, d, m->parameter[i]);
    if (m->uses_caller)
        parameter(w, d, w->t->caller);
    if (m->uses_kwargs)
        parameter(w, d, w->t->kwargs);
    if (m->uses_varargs)
        parameter(w, d, w->t->varargs);
    for (size_t i = 0; i < m->n; i++)
        expression(w, d, m->defaults[i]);
}

static void leave(struct walk *w, size_t mark)
{
    while (w->n_undo > mark) {
        struct undo *u = &w->undo[--w->n_undo];
        w->owner[u->name] = u->owner;
    }
}

// The scope of a statement's body; `n` NULL: the template's own.
static void scope(struct walk *w, struct node *n, const struct node_list *body)
{
    struct declared d = {.id = ++w->scopes};
    size_t mark = w->n_undo;
    if (n && n->kind == N_FOR) {
        parameter(w, &d, w->t->loop);
        target(w, &d, n->a, 1);
    }
    if (n && n->macro)
        parameters(w, &d, n);
    for (size_t i = 0; n && n->kind == N_WITH && i < n->values.n; i += 2)
        target(w, &d, n->values.at[i], 1);
    statements(w, &d, body);
    if (n && n->kind == N_FILTER_BLOCK)
        expression(w, &d, n->b);
    scopes_in(w, body);
    leave(w, mark);
    if (n) {
        n->shadow = d.shadow;
        n->n_shadow = d.n;
    } else {
        w->t->shadow = d.shadow;
        w->t->n_shadow = d.n;
    }
}

static void scopes_of(struct walk *w, struct node *n)
{
    switch (n->kind) {
    case N_IF:
        scopes_in(w, &n->list);
        for (size_t i = 0; i < n->values.n; i++)
            scopes_in(w, &n->values.at[i]->list);
        scopes_in(w, &n->other);
        break;
    case N_FOR:
        scope(w, n, &n->list);
        scopes_in(w, &n->other);
        break;
    case N_SET_BLOCK:
    case N_MACRO:
    case N_CALL_BLOCK:
    case N_FILTER_BLOCK:
    case N_WITH:
    case N_GENERATION:
        scope(w, n, &n->list);
        break;
    case N_BLOCK:
        scopes_in(w, &n->list);
        break;
    default:
        break;
    }
}

static void scopes_in(struct walk *w, const struct node_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        scopes_of(w, l->at[i]);
}

void template_declare(struct template *t)
{
    struct walk w = {.t = t};
    w.owner = sandbox_get(&t->sandbox, t->n_names + 1, sizeof *w.owner);
    scope(&w, NULL, &t->body);
}
