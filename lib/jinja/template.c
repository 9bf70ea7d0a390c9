// SPDX-License-Identifier: MIT
// The public face: parsing and rendering, each inside its arena.
#include "jinja/template.h"
#include "jinja/internal.h"

#include <stdlib.h>
#include <string.h>

void span_list_init(struct span_list *s)
{
    memset(s, 0, sizeof *s);
}

void span_list_release(struct span_list *s)
{
    free(s->span);
    span_list_init(s);
}

int span_list_add(struct span_list *s, struct span span, struct err *e)
{
    if (MEM_GROW(s->span, s->capacity, s->n + 1, "spans", e) < 0)
        return -1;
    s->span[s->n++] = span;
    return 0;
}

void item_list_init(struct item_list *l)
{
    memset(l, 0, sizeof *l);
}

void item_list_release(struct item_list *l)
{
    free(l->place);
    item_list_init(l);
}

// The only frames that setjmp returns to twice: they change nothing of their own.
static int guarded_build(struct template *t, const char *source, size_t size)
{
    if (setjmp(t->sandbox.failure))
        return -1;
    t->sandbox.name = sandbox_copy(&t->sandbox, t->sandbox.name, strlen(t->sandbox.name));
    template_build(t, source, size);
    return 0;
}

static int guarded_render(struct render *r)
{
    if (setjmp(r->sandbox.failure))
        return -1;
    r->root = sandbox_get(&r->sandbox, r->t->n_names, sizeof *r->root);
    const json_t *now = json_object_get(r->context, "strftime_now");
    if (now)
        r->now = value_json(r, now);
    render_body(r);
    return 0;
}

struct template *template_parse(const char *source, size_t size, const char *name, struct err *e)
{
    if (size > TEMPLATE_SOURCE_MAX) {
        err_set(e, STATUS_FAILED, "%s: a template of more than %d MiB", name,
                (int)(TEMPLATE_SOURCE_MAX >> 20));
        return NULL;
    }
    struct template *t = mem_alloc(1, sizeof *t, "a template", e);
    if (!t)
        return NULL;
    sandbox_init(&t->sandbox, name, TEMPLATE_MEMORY, e);
    if (guarded_build(t, source, size) < 0) {
        template_free(t);
        return NULL;
    }
    t->sandbox.e = NULL;
    return t;
}

void template_free(struct template *t)
{
    if (!t)
        return;
    sandbox_release(&t->sandbox);
    free(t);
}

int template_marks_generation(const struct template *t)
{
    return t->marks_generation;
}

static int by_start(const void *a, const void *b)
{
    const struct mark *x = a, *y = b;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

// Ascending; a block inside a block is part of it.
static int add_spans(struct marks *m, struct span_list *spans, struct err *e)
{
    qsort(m->mark, m->n, sizeof *m->mark, by_start);
    size_t first = spans->n;
    for (size_t i = 0; i < m->n; i++) {
        struct mark mark = m->mark[i];
        struct span *last = spans->n > first ? &spans->span[spans->n - 1] : NULL;
        if (last && mark.start < last->end) {
            last->end = mark.end > last->end ? mark.end : last->end;
            continue;
        }
        if (span_list_add(spans, (struct span){mark.start, mark.end}, e) < 0)
            return -1;
    }
    return 0;
}

static int finish(struct render *r, struct text *text, struct buffer *out, struct span_list *spans,
                  struct err *e)
{
    for (struct marks *m = r->captured; spans && m; m = m->next)
        if (m != text->marks && !m->placed)
            return err_set(e, STATUS_FAILED,
                           "%s: what a {%% generation %%} block wrote is changed afterwards, so "
                           "that its place in the text cannot be told",
                           r->t->sandbox.name);
    if (spans && text->marks && add_spans(text->marks, spans, e) < 0)
        return -1;
    return buffer_append(out, text->s, text->n, e);
}

static int render_with(const struct template *t, const json_t *context, struct buffer *out,
                       struct span_list *spans, struct item_list *items, struct err *e)
{
    struct render r = {.t = t, .context = context, .items = items};
    struct text text = {.r = &r};
    size_t n_spans = spans ? spans->n : 0;
    sandbox_init(&r.sandbox, t->sandbox.name, TEMPLATE_MEMORY, e);
    r.out = &text;
    r.whole = &text;
    int status = guarded_render(&r);
    if (status == 0)
        status = finish(&r, &text, out, spans, e);
    if (status < 0 && spans)
        spans->n = n_spans;
    sandbox_release(&r.sandbox);
    return status;
}

int template_render(const struct template *t, const json_t *context, struct buffer *out,
                    struct span_list *spans, struct err *e)
{
    return render_with(t, context, out, spans, NULL, e);
}

int template_render_items(const struct template *t, const json_t *context, struct buffer *out,
                          struct item_list *items, struct err *e)
{
    return render_with(t, context, out, NULL, items, e);
}

// Once through to see what the loops need, once with the prefixes.
void template_prefixes(const struct template *t, const json_t *context,
                       const struct template_prefixes *how)
{
    struct prober p = {.how = how, .counts = 1};
    for (; p.counts >= 0; p.counts--) {
        struct render r = {.t = t, .context = context, .prober = &p};
        struct text text = {.r = &r};
        struct err e;
        sandbox_init(&r.sandbox, t->sandbox.name, TEMPLATE_MEMORY, &e);
        r.out = &text;
        p.needs = p.n_lists = p.n_spaces = p.n_loops = 0;
        if (guarded_render(&r) == 0 || p.counts)
            p.n_counted = p.n_loops;
        sandbox_release(&r.sandbox);
    }
}
