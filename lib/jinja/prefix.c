// SPDX-License-Identifier: MIT
// A list of the context cut short after each of its items, rendered without beginning anew: before
// each turn of a loop over it what outlives the turn is put aside, the list is made to end there,
// the rest of the template runs, and all is put back. That is right as long as nothing before has
// seen how the list goes on; so whoever looks at the list says how much of it he saw.
#include "base/hash.h"
#include "jinja/internal.h"

#include <string.h>

// What is put aside. Values never change, apart from those of namespaces.
struct aside {
    jmp_buf failure;
    struct err *e;
    struct value *root;
    struct loop loop;
    struct iterator iterator;
    struct body_frame *frame;
    uint64_t steps;
    unsigned depth, line;
    size_t text, used, needs, n_lists, n_spaces;
    size_t length[PROBED_LISTS];
    struct dict space[PROBED_NAMESPACES];
    struct entry *entries[PROBED_NAMESPACES];
};

void probe_seen(struct render *r, size_t needs)
{
    if (r->prober && r->prober->needs < needs)
        r->prober->needs = needs;
}

struct list *probe_list(struct render *r, struct value v)
{
    return r->prober && v.kind == V_LIST && v.list->open ? v.list : NULL;
}

static int open_list(struct prober *p, struct list *l, size_t offset)
{
    if (p->n_lists == PROBED_LISTS)
        return 0;
    l->open = 1;
    l->offset = offset;
    p->list[p->n_lists++] = l;
    return 1;
}

void probe_context(struct render *r, const json_t *json, struct value v)
{
    struct prober *p = r->prober;
    if (json != p->how->list || p->running)
        return;
    list_items(r, v.list);
    if (!open_list(p, v.list, 0))
        p->off = 1;
}

void probe_namespace(struct render *r, struct dict *d)
{
    struct prober *p = r->prober;
    if (p->n_spaces == PROBED_NAMESPACES)
        p->off = 1;
    else
        p->space[p->n_spaces++] = d;
}

void probe_item(struct render *r, struct list *l, struct value key)
{
    int there = key.kind == V_INT && key.i >= 0 && key.i < (int128)l->n;
    probe_seen(r, there ? l->offset + (size_t)key.i + 1 : SIZE_MAX);
}

int probe_slice(struct render *r, struct list *l, const struct value part[3], struct value *out)
{
    if (part[0].kind == V_INT && part[0].i >= 0 && part[0].i <= (int128)l->n &&
        part[1].kind == V_NONE && part[2].kind == V_NONE && !r->prober->running) {
        size_t start = (size_t)part[0].i;
        struct list *rest = sandbox_get(&r->sandbox, 1, sizeof *rest);
        rest->n = l->n - start;
        rest->item = list_items(r, l) + start;
        if (open_list(r->prober, rest, l->offset + start)) {
            probe_seen(r, l->offset + start);
            *out = (struct value){.kind = V_LIST, .list = rest};
            return 1;
        }
    }
    probe_seen(r, SIZE_MAX);
    return 0;
}

// ---- what is put aside --------------------------------------------------------------------------

// Of all that outlives a turn of a loop of the top level.
static uint64_t state(const struct render *r)
{
    const struct prober *p = r->prober;
    uint64_t h[PROBED_NAMESPACES + 3] = {r->out->n, p->n_spaces,
                                         hash_bytes(r->root, r->t->n_names * sizeof *r->root)};
    for (size_t i = 0; i < p->n_spaces; i++)
        h[i + 3] = hash_bytes(p->space[i]->entry, p->space[i]->n * sizeof *p->space[i]->entry);
    return hash_bytes(h, sizeof h);
}

// Things that change when they are used.
static int is_used_up(struct value v)
{
    return v.kind == V_ITERATOR || v.kind == V_CYCLER || v.kind == V_JOINER;
}

static int can_put_aside(const struct render *r)
{
    const struct prober *p = r->prober;
    if (p->off || p->spent > TEMPLATE_MEMORY)
        return 0;
    for (size_t i = 0; i < r->t->n_names; i++)
        if (is_used_up(r->root[i]))
            return 0;
    for (size_t i = 0; i < p->n_spaces; i++) {
        if (p->space[i]->index)
            return 0;
        for (size_t k = 0; k < p->space[i]->n; k++)
            if (is_used_up(p->space[i]->entry[k].value))
                return 0;
    }
    return 1;
}

static void *copy_of(struct render *r, const void *from, size_t n, size_t size)
{
    void *to = sandbox_get(&r->sandbox, n + 1, size);
    if (n)
        memcpy(to, from, n * size);
    return to;
}

static void put_aside(struct render *r, struct loop *loop, struct aside *a)
{
    struct prober *p = r->prober;
    a->used = r->sandbox.used;
    memcpy(&a->failure, &r->sandbox.failure, sizeof a->failure);
    a->e = r->sandbox.e;
    a->root = copy_of(r, r->root, r->t->n_names, sizeof *r->root);
    a->loop = *loop;
    a->iterator = *loop->iterator;
    a->frame = r->frame;
    a->steps = r->steps;
    a->depth = r->depth;
    a->line = r->sandbox.line;
    a->text = r->out->n;
    a->needs = p->needs;
    a->n_lists = p->n_lists;
    a->n_spaces = p->n_spaces;
    for (size_t i = 0; i < p->n_lists; i++)
        a->length[i] = p->list[i]->n;
    for (size_t i = 0; i < p->n_spaces; i++) {
        a->space[i] = *p->space[i];
        a->entries[i] = copy_of(r, p->space[i]->entry, p->space[i]->n, sizeof *a->entries[i]);
    }
}

static void put_back(struct render *r, struct loop *loop, const struct aside *a, struct text *out)
{
    struct prober *p = r->prober;
    memcpy(&r->sandbox.failure, &a->failure, sizeof a->failure);
    r->sandbox.e = a->e;
    memcpy(r->root, a->root, r->t->n_names * sizeof *r->root);
    *loop = a->loop;
    *loop->iterator = a->iterator;
    r->frame = a->frame;
    r->steps = a->steps;
    r->depth = a->depth;
    r->sandbox.line = a->line;
    r->out = out;
    out->n = a->text; // where it stands now: it may have grown
    p->needs = a->needs;
    p->n_lists = a->n_lists;
    p->n_spaces = a->n_spaces;
    for (size_t i = 0; i < p->n_lists; i++)
        p->list[i]->n = a->length[i];
    for (size_t i = 0; i < p->n_spaces; i++) {
        *p->space[i] = a->space[i];
        if (a->space[i].n)
            memcpy(a->space[i].entry, a->entries[i], a->space[i].n * sizeof *a->entries[i]);
    }
    // Their bytes stay, for the objects of the whole may have come to rest on them.
    p->spent += r->sandbox.used - a->used;
    r->sandbox.used = a->used;
}

// ---- a prefix -----------------------------------------------------------------------------------

// From the next turn of the loop to the end of the template: 0, or -1 when it fails.
static int run_rest(struct render *r, struct scope *scope, const struct node *n, struct loop *loop,
                    struct scope *body, int any)
{
    if (setjmp(r->sandbox.failure))
        return -1;
    loop_rest(r, scope, n, loop, body, any);
    for (const struct body_frame *f = r->frame; f; f = f->outer)
        for (size_t i = f->next; i < f->body->n; i++) {
            render_steps(r, 1);
            exec(r, f->scope, f->body->at[i]);
        }
    return 0;
}

// The list ends after `length` items of the whole.
static void run_prefix(struct render *r, struct scope *scope, const struct node *n,
                       struct loop *loop, struct scope *body, int any, size_t length)
{
    struct prober *p = r->prober;
    struct text *out = r->out;
    struct aside aside;
    struct err e;
    put_aside(r, loop, &aside);
    r->sandbox.e = &e;
    p->running = 1;
    for (size_t i = 0; i < p->n_lists; i++)
        p->list[i]->n = length - p->list[i]->offset;
    if (run_rest(r, scope, n, loop, body, any) == 0)
        p->how->take(p->how->arg, length, out->s, aside.text, out->n);
    p->running = 0;
    put_back(r, loop, &aside, out);
}

// ---- loops --------------------------------------------------------------------------------------

static int resumes(const struct render *r, const struct scope *scope)
{
    const struct scope *root = r->prober->root;
    int is = scope == root;
    for (const struct body_frame *f = r->frame; f; f = f->outer)
        is &= f->scope == root;
    return is;
}

void probe_loop_begin(struct render *r, struct probed_loop *l, struct scope *scope,
                      struct loop *loop)
{
    struct prober *p = r->prober;
    memset(l, 0, sizeof *l);
    if (!p || p->running || !(l->list = probe_list(r, loop->iterable)))
        return;
    l->index = p->n_loops++;
    l->resumes = l->index < PROBED_LOOPS && resumes(r, scope);
    if (l->index < PROBED_LOOPS && p->counts)
        p->starts[l->index] = l->resumes ? p->needs : SIZE_MAX;
}

// Where several loops go over the list the last one that can begins the prefix.
static int begins_here(const struct prober *p, const struct probed_loop *l, size_t length)
{
    if (p->counts || !l->resumes || p->needs > length)
        return 0;
    for (size_t k = l->index + 1; k < PROBED_LOOPS && k < p->n_counted; k++)
        if (p->starts[k] <= length)
            return 0;
    return 1;
}

void probe_loop_item(struct render *r, struct probed_loop *l, struct scope *scope,
                     const struct node *n, struct loop *loop, struct scope *body, int any)
{
    if (!l->list)
        return;
    struct prober *p = r->prober;
    size_t at = (size_t)(loop->index0 + 1), length = l->list->offset + at + 1;
    uint64_t now = l->resumes ? state(r) : 0;
    if (at > 0 && now != l->state)
        l->settled = at;
    l->state = now;
    if (at < l->list->n && begins_here(p, l, length) && p->how->wants(p->how->arg, length) &&
        can_put_aside(r))
        run_prefix(r, scope, n, loop, body, any, length);
}

// Of a loop that came to its end a shorter list would have shown the same where no later turn left
// anything behind.
void probe_loop_end(struct render *r, struct probed_loop *l, const struct node *n,
                    struct loop *loop, int broken)
{
    if (!l->list)
        return;
    size_t turns = (size_t)(loop->index0 + 1);
    if (!broken && (!l->resumes || turns == 0 || n->other.n))
        probe_seen(r, SIZE_MAX);
    else if (!broken)
        probe_seen(r, l->list->offset + (l->settled ? l->settled : 1));
    else
        probe_seen(r, l->list->offset + turns);
}

void probe_loop_seen(struct render *r, struct loop *loop, int ahead)
{
    struct list *l = r->prober ? probe_list(r, loop->iterable) : NULL;
    size_t next = (size_t)(loop->index0 + 1);
    if (l)
        probe_seen(r, ahead && next < l->n ? l->offset + next + 1 : SIZE_MAX);
}
