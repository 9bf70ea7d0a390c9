// SPDX-License-Identifier: MIT
// Matrix products, in fp32 or of operands rounded to bf16; sums are fp32. Own loops, because a
// library's product chooses its kernel by the shape of the batch, and so gives a row other bits in
// other company. Here a row's bits depend neither on its company nor on how the weights lie. Few
// rows read the weights once, as they lie; more of them stand in panels that the weights pass, made
// operands once an item where they are not.
#include "base/thread.h"
#include "ops/cpu/block.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/linear_item.h"

#include <assert.h>
#include <string.h>

enum {
    PANEL_BYTES = 512 * 1024, // of x that an item's weights pass: a part of the second-level cache
    PANELS = 8,               // that they pass, at most
    TURN_WORDS = 64,          // of a row that are turned at a time
};

// What one call makes, and the operands that its items share.
struct product {
    const struct kernels *kernels;
    const struct arithmetic *arithmetic;
    const float *x;
    const struct linear *out;
    size_t n, depth, words, panels;
    float *panel;  // [panels][words][lanes]
    float *turned; // [words][n] of few rows
    struct product_part {
        enum { ALONG, ACROSS, SKINNY } kind;
        size_t items, columns, height; // columns: items side by side; height: rows of an item
        struct block_product block;    // of ACROSS
    } part[LINEAR_MAX];
    float *work;   // [threads][floats], where there are any
    size_t floats; // work space of a thread
};

// A panel of x, turned so that the rows stand side by side.
static void fill_panel(const struct product *p, size_t panel)
{
    const struct arithmetic *o = p->arithmetic;
    size_t lanes = o->lanes, first = panel * lanes, step = TURN_WORDS / o->words * o->step;
    size_t rows = p->n - first < lanes ? p->n - first : lanes;
    float *out = p->panel + first * p->words;
    float part[2 * LANES * TURN_WORDS];
    if (rows < lanes)
        memset(out, 0, p->words * lanes * sizeof *out);
    if (words_as_they_lie(o, DTYPE_F32)) {
        p->kernels->transpose(out, lanes, p->x + first * p->depth, p->depth, rows, p->depth);
        return;
    }
    for (size_t at = 0; at < p->depth; at += step) {
        size_t count = p->depth - at < step ? p->depth - at : step;
        for (size_t r = 0; r < rows; r++)
            o->row(part + r * TURN_WORDS, p->x + (first + r) * p->depth + at, DTYPE_F32, count);
        p->kernels->transpose(out + at / o->step * o->words * lanes, lanes, part, TURN_WORDS, rows,
                              words_of(o, count));
    }
}

static void fill_panels(void *arg, size_t begin, size_t end, int worker)
{
    for (size_t i = begin; i < end; i++)
        fill_panel(arg, i);
}

static int lie_as_words(const struct product *p, const struct tensor *w)
{
    size_t step = p->arithmetic->step;
    return words_as_they_lie(p->arithmetic, w->type) && p->depth % step == 0 &&
           tensor_pitch(w) % step == 0;
}

// w [columns][*pitch words] = the item's weights: as they lie, or made in its work space.
static const float *item_weights(const struct product *p, const struct linear_item *i,
                                 size_t *pitch, float *work)
{
    const struct tensor *t = &i->out->w;
    size_t apart = tensor_pitch(t), size = dtype_size(t->type);
    const char *from = (const char *)t->data + i->column * apart * size;
    if (lie_as_words(p, t)) {
        *pitch = apart / p->arithmetic->step;
        return (const float *)from;
    }
    *pitch = p->words;
    for (size_t c = 0; c < i->columns; c++)
        p->arithmetic->row(work + c * p->words, from + c * apart * size, t->type, p->depth);
    return work;
}

static void along_item(const struct product *p, const struct linear_item *i, float *work)
{
    const struct arithmetic *of = p->arithmetic;
    size_t tile = p->kernels->tile, lanes = of->lanes, pitch, slice = words_of(of, SLICE);
    const float *w = item_weights(p, i, &pitch, work);
    float sum[PANELS][COLUMNS * 2 * LANES], (*c)[COLUMNS * 2 * LANES];
    // Slice by slice, so that a slice of the weights is near while all panels meet it.
    for (size_t begin = 0; begin < p->words; begin += slice) {
        size_t words = p->words - begin < slice ? p->words - begin : slice;
        c = sum;
        for (size_t r = 0; r < i->rows; r += lanes, c++) {
            const float *panel = p->panel + (i->row + r) * p->words + begin * lanes;
            for (size_t o = 0; o < i->columns; o += tile)
                of->product(i->columns - o < tile ? i->columns - o : tile,
                            i->rows - r <= LANES ? LANES : lanes, words, panel, lanes,
                            w + o * pitch + begin, pitch, 1, *c + o * lanes, lanes, begin > 0);
        }
    }
    c = sum;
    for (size_t r = 0; r < i->rows; r += lanes, c++)
        linear_store_panel(p->kernels, i, *c, lanes, i->row + r,
                           i->rows - r < lanes ? i->rows - r : lanes);
}

// The last item begins before its own columns where those are too few.
static void skinny_item(const struct product *p, const struct linear_item *i)
{
    const struct tensor *t = &i->out->w;
    size_t pitch = tensor_pitch(t), step = pitch * dtype_size(t->type);
    size_t missing = SKINNY_COLUMNS - i->columns;
    const char *from = (const char *)t->data + (i->column - missing) * step;
    float c[TILE_MAX * SKINNY_COLUMNS];
    p->arithmetic->skinny(i->rows, p->depth, p->turned, from, t->type, pitch, c, SKINNY_COLUMNS);
    linear_store_rows(p->kernels, i, c + missing, SKINNY_COLUMNS, 0, i->rows);
}

static void make_item(const struct product *p, size_t number, int worker)
{
    const struct product_part *part = p->part;
    float *work = p->work ? p->work + (size_t)worker * p->floats : NULL;
    while (number >= part->items)
        number -= part++->items;
    if (part->kind == ACROSS) {
        block_make(&part->block, number, work);
        return;
    }
    size_t width = part->kind == SKINNY ? SKINNY_COLUMNS : COLUMNS;
    struct linear_item i =
        linear_item_at(&p->out[part - p->part], number / part->columns * part->height, part->height,
                       p->n, number % part->columns * width, width);
    if (part->kind == SKINNY)
        skinny_item(p, &i);
    else
        along_item(p, &i, work);
}

static void make_items(void *arg, size_t begin, size_t end, int worker)
{
    for (size_t i = begin; i < end; i++)
        make_item(arg, i, worker);
}

// Rows of few, turned so that those of a word stand side by side.
static int turn_few(struct product *p, struct device *d, struct err *e)
{
    float *rows = arena_alloc(&d->scratch, p->n * p->words, sizeof(float), e);
    p->turned = arena_alloc(&d->scratch, p->n * p->words + NARROW, sizeof(float), e);
    if (!rows || !p->turned)
        return -1;
    for (size_t r = 0; r < p->n; r++)
        p->arithmetic->row(rows + r * p->words, p->x + r * p->depth, DTYPE_F32, p->depth);
    p->kernels->transpose(p->turned, p->n, rows, p->words, p->n, p->words);
    return 0;
}

static int plan_across(struct product *p, struct product_part *part, const struct linear *o,
                       struct device *d, struct err *e)
{
    float *bias = NULL;
    if (o->bias.data) {
        bias = arena_alloc(&d->scratch, o->w.rows, sizeof *bias, e);
        if (!bias)
            return -1;
        p->kernels->widen(bias, o->bias.data, o->bias.type, o->w.rows);
    }
    part->block = (struct block_product){.kernels = p->kernels,
                                         .arithmetic = p->arithmetic,
                                         .rows = p->n,
                                         .columns = o->w.rows,
                                         .depth = p->depth,
                                         .a = o->w.data,
                                         .a_type = o->w.type,
                                         .a_pitch = tensor_pitch(&o->w),
                                         .b = p->x,
                                         .b_pitch = p->depth,
                                         .out = o->y,
                                         .out_pitch = o->w.rows,
                                         .add = o->add,
                                         .bias = bias};
    part->items = block_cut(&part->block);
    return 0;
}

// Whether the loops of few rows make the product. More than NARROW are faster as a panel, unless
// that has to make words of the weights first.
static int few_rows(const struct product *p, const struct tensor *w)
{
    if (w->rows < SKINNY_COLUMNS || w->type == DTYPE_F64)
        return 0;
    if (p->arithmetic->step == 2)
        return w->type == DTYPE_BF16 && p->n <= p->kernels->few;
    return p->n <= (w->type == DTYPE_F32 ? NARROW : p->kernels->tile);
}

static void plan_rows(const struct product *p, struct product_part *part, const struct tensor *w)
{
    size_t lanes = p->arithmetic->lanes, high = PANEL_BYTES / (p->words * lanes * sizeof(float));
    int few = few_rows(p, w);
    size_t width = few ? SKINNY_COLUMNS : COLUMNS;
    part->kind = few ? SKINNY : ALONG;
    high = high < 1 ? 1 : high > PANELS ? PANELS : high;
    part->height = few ? p->n : high * lanes;
    part->columns = (w->rows + width - 1) / width;
    part->items = (p->n + part->height - 1) / part->height * part->columns;
}

// What an item of the part needs beside its operands.
static size_t part_floats(const struct product *p, const struct product_part *part,
                          const struct tensor *w)
{
    if (part->kind == ACROSS)
        return block_floats();
    return part->kind == ALONG && !lie_as_words(p, w) ? p->words * COLUMNS : 0;
}

size_t cpu_linear_scratch(const struct device *d, const struct scratch_shape *s)
{
    const struct arithmetic *o = cpu_arithmetic(d);
    size_t words = words_of(o, s->depth), floats = 0;
    size_t panels = (s->rows + o->lanes - 1) / o->lanes * o->lanes;
    if (s->widened || !words_as_they_lie(o, DTYPE_F32))
        floats = words * COLUMNS;
    if ((s->turned || s->backward) && floats < block_floats())
        floats = block_floats();
    return (panels * words + s->depth + (size_t)threads_count() * floats) * sizeof(float);
}

int cpu_linear(struct device *d, const float *x, size_t n, const struct linear *out, size_t count,
               struct err *e)
{
    const struct arithmetic *o = cpu_arithmetic(d);
    assert(count >= 1 && count <= LINEAR_MAX);
    if (n == 0)
        return 0;
    struct arena_mark mark = arena_mark(&d->scratch);
    struct product p = {.kernels = cpu_kernels(d), .arithmetic = o, .x = x, .n = n, .out = out};
    size_t total = 0;
    int along = 0, skinny = 0;
    p.depth = out[0].w.cols;
    p.words = words_of(o, p.depth);
    p.panels = (n + o->lanes - 1) / o->lanes;
    for (size_t i = 0; i < count; i++) {
        struct product_part *part = &p.part[i];
        assert(out[i].w.cols == p.depth);
        part->kind = ACROSS;
        if (!out[i].w.transposed)
            plan_rows(&p, part, &out[i].w);
        else if (plan_across(&p, part, &out[i], d, e) < 0)
            return -1;
        size_t floats = part_floats(&p, part, &out[i].w);
        p.floats = floats > p.floats ? floats : p.floats;
        along |= part->kind == ALONG;
        skinny |= part->kind == SKINNY;
        total += part->items;
    }
    if (p.floats > 0) {
        p.work = arena_alloc(&d->scratch, (size_t)threads_count() * p.floats, sizeof(float), e);
        if (!p.work)
            return -1;
    }
    if (skinny && turn_few(&p, d, e) < 0)
        return -1;
    if (along) {
        p.panel = arena_alloc(&d->scratch, p.panels * o->lanes, p.words * sizeof(float), e);
        if (!p.panel)
            return -1;
        threads_for(p.panels, cpu_grain(p.words * o->lanes), fill_panels, &p);
    }
    // Items of few rows are read one after the other: each thread has neighbours.
    size_t grain = cpu_grain(COLUMNS * p.depth * (n < 512 ? n : 512) / 16);
    if (skinny && grain < total / (4 * (size_t)threads_count()))
        grain = total / (4 * (size_t)threads_count());
    threads_for(total, grain, make_items, &p);
    arena_rewind(&d->scratch, mark);
    return 0;
}
