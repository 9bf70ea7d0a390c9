// SPDX-License-Identifier: MIT
#include "infer/prompts.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int prompts_open(struct prompts *p, const char *path, struct err *e)
{
    memset(p, 0, sizeof *p);
    id_set_init(&p->ids);
    p->reader = stream_reader_open(path, e);
    if (!p->reader || header_copy(&p->header, stream_reader_header(p->reader), e) < 0)
        return -1;
    p->mask = header_find(&p->header, "mask");
    if (p->mask >= 0 &&
        (p->header.column[p->mask].type != COLUMN_U8 || p->header.column[p->mask].per != PER_TOKEN))
        p->mask = -1;
    return frame_init(&p->frame, &p->header, e);
}

void prompts_close(struct prompts *p)
{
    frame_release(&p->frame);
    id_set_release(&p->ids);
    if (p->header.column)
        header_release(&p->header);
    stream_reader_close(p->reader);
    memset(p, 0, sizeof *p);
}

const struct stream_header *prompts_header(const struct prompts *p)
{
    return &p->header;
}

const char *prompts_name(const struct prompts *p)
{
    return stream_reader_name(p->reader);
}

int prompts_add_columns(struct prompts *p, struct stream_header *h, struct err *e)
{
    for (size_t i = COLUMN_TOKEN + 1; i < p->header.n_columns; i++) {
        const struct column *c = &p->header.column[i];
        if (c->per != PER_SEQUENCE || header_find(h, c->name) >= 0)
            continue;
        if (p->n_kept == PROMPTS_COLUMNS_MAX)
            return err_set(e, STATUS_FAILED, "%s: more than %d columns of prompts would go on",
                           prompts_name(p), PROMPTS_COLUMNS_MAX);
        p->kept[p->n_kept] = (int)i;
        p->place[p->n_kept] = header_add_column(h, c->name, c->type, PER_SEQUENCE, e);
        if (p->place[p->n_kept++] < 0)
            return -1;
    }
    return 0;
}

int prompts_fill(const struct prompts *p, const struct prompt *q, struct frame *to, struct err *e)
{
    size_t last = to->n_sequences - 1;
    for (size_t k = 0; k < p->n_kept; k++) {
        const struct column_data *from = &q->frame->column[p->kept[k]];
        struct column_data *out = &to->column[p->place[k]];
        size_t size;
        const char *text;
        switch (p->header.column[p->kept[k]].type) {
        case COLUMN_U8:
            out->u8[last] = from->u8[q->index];
            break;
        case COLUMN_U32:
            out->u32[last] = from->u32[q->index];
            break;
        case COLUMN_F32:
            out->f32[last] = from->f32[q->index];
            break;
        case COLUMN_STRING:
            text = frame_string(q->frame, p->kept[k], q->index, &size);
            if (frame_set_string(to, p->place[k], text, size, e) < 0)
                return -1;
            break;
        }
    }
    return 0;
}

static struct prompt *make_prompt(struct frame *f, size_t index, uint64_t number, uint64_t pass,
                                  struct err *e)
{
    struct prompt *q = mem_alloc(1, sizeof *q, "a prompt", e);
    if (!q)
        return NULL;
    *q = (struct prompt){.token = f->column[COLUMN_TOKEN].u32 + f->start[index],
                         .n = frame_length(f, index),
                         .number = number,
                         .pass = pass,
                         .frame = f,
                         .index = index};
    return q;
}

// A prompt that owns a copy of its record.
struct owned {
    struct prompt prompt; // first, so that it can be freed as one
    struct frame frame;
};

static int copy_record(struct prompts *p, size_t index, struct prompt **out, struct err *e)
{
    struct owned *o = mem_alloc(1, sizeof *o, "a prompt", e);
    if (!o)
        return -1;
    if (frame_init(&o->frame, &p->header, e) < 0) {
        free(o);
        return -1;
    }
    if (frame_append(&o->frame, &p->frame, index, e) < 0) {
        frame_release(&o->frame);
        free(o);
        return -1;
    }
    o->prompt = (struct prompt){.token = o->frame.column[COLUMN_TOKEN].u32,
                                .n = o->frame.n_tokens,
                                .number = p->number++,
                                .frame = &o->frame};
    *out = &o->prompt;
    return 1;
}

static int has_answer(const struct prompts *p, size_t i)
{
    const struct frame *f = &p->frame;
    return p->mask >= 0 &&
           memchr(f->column[p->mask].u8 + f->start[i], 1, frame_length(f, i)) != NULL;
}

static int check_prompt(struct prompts *p, size_t i, struct err *e)
{
    size_t size;
    const char *id = frame_string(&p->frame, COLUMN_ID, i, &size);
    struct shown record = frame_record(&p->frame, i);
    if (has_answer(p, i))
        return err_set(e, STATUS_STREAM,
                       "%s: %s holds an answer (tokens of mask 1), and samples would go on behind "
                       "it: `tok --prompts` makes prompts of demonstrations",
                       prompts_name(p), record.text);
    int fresh = id_set_add(&p->ids, id, size, e);
    if (fresh)
        return fresh < 0 ? -1 : 0;
    return err_set(e, STATUS_STREAM,
                   "%s: %s: a second prompt with this id: samples are told apart by it (`toks cat "
                   "--ids prefix` keeps those of several streams apart)",
                   prompts_name(p), record.text);
}

// The next frame of prompts: 1, 0 at the proven end, -1.
static int read_frame(struct prompts *p, struct err *e)
{
    int more = stream_reader_next(p->reader, &p->frame, e);
    for (size_t i = 0; more > 0 && i < p->frame.n_sequences; i++)
        if (check_prompt(p, i, e) < 0)
            return -1;
    return more;
}

int prompts_next(struct prompts *p, struct prompt **out, struct err *e)
{
    while (p->next == p->frame.n_sequences) {
        int more = p->ended ? 0 : read_frame(p, e);
        if (more <= 0) {
            p->ended |= more == 0;
            return more;
        }
        p->next = 0;
    }
    return copy_record(p, p->next++, out, e);
}

int prompts_load(struct prompts *p, struct err *e)
{
    struct frame all;
    if (frame_init(&all, &p->header, e) < 0)
        return -1;
    int more = 1;
    while (more > 0 && (more = read_frame(p, e)) > 0)
        for (size_t i = 0; i < p->frame.n_sequences && more > 0; i++)
            if (frame_append(&all, &p->frame, i, e) < 0)
                more = -1;
    if (more == 0 && all.n_sequences == 0)
        more = err_set(e, STATUS_FAILED, "%s: there are no prompts", prompts_name(p));
    frame_release(&p->frame);
    p->frame = all;
    p->loaded = 1;
    return more;
}

uint64_t prompts_count(const struct prompts *p)
{
    return p->frame.n_sequences;
}

struct prompt *prompts_at(struct prompts *p, uint64_t number, struct err *e)
{
    assert(p->loaded);
    uint64_t n = p->frame.n_sequences;
    return make_prompt(&p->frame, (size_t)(number % n), number, number / n, e);
}

void prompts_free(struct prompt *q)
{
    if (!q)
        return;
    // A record of its own lies right behind the prompt.
    struct owned *o = (struct owned *)q;
    if (q->frame == &o->frame)
        frame_release(&o->frame);
    free(q);
}

const char *prompts_id(const struct prompt *q, size_t *size)
{
    return frame_string(q->frame, COLUMN_ID, q->index, size);
}
