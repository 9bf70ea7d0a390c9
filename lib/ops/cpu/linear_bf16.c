// SPDX-License-Identifier: MIT
// Matrix products whose operands are rounded to bf16; sums are fp32. The definition is one for all
// processors: a row's bits depend neither on its company, nor on how the weights lie, nor on the
// loops that make them. Few rows read weights that are bf16 once, as they lie; more of them stand
// in panels that the weights pass, rounded once an item where they have to be.
#include "base/thread.h"
#include "ops/cpu/block.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/linear_item.h"

#include <string.h>

enum {
    PANEL_BYTES = 512 * 1024, // of x that an item's weights pass
    TURN_WORDS = 64,          // of a row that are turned at a time
};

// What one call makes, and the operands that its items share.
struct rounded {
    const struct kernels *kernels;
    const float *x;
    const struct linear *out;
    size_t n, depth, words, panels;
    float *panel;  // [panels][words][pair_lanes]
    float *turned; // [words][n] of few rows
    struct rounded_part {
        enum { ALONG, ACROSS, SKINNY } kind;
        size_t items, columns, height; // columns: items side by side; height: rows of an item
        struct block_product block;    // of ACROSS
    } part[LINEAR_MAX];
    float *work;   // [threads][floats]
    size_t floats; // work space of a thread
};

// A panel of x, turned so that the rows stand side by side.
static void fill_panel(const struct rounded *p, size_t panel)
{
    const struct kernels *k = p->kernels;
    size_t lanes = k->pair_lanes, first = panel * lanes, step = TURN_WORDS / k->pair_words * 2;
    size_t rows = p->n - first < lanes ? p->n - first : lanes;
    float *out = p->panel + first * p->words;
    float part[2 * LANES * TURN_WORDS];
    if (rows < lanes)
        memset(out, 0, p->words * lanes * sizeof *out);
    for (size_t at = 0; at < p->depth; at += step) {
        size_t count = p->depth - at < step ? p->depth - at : step;
        for (size_t r = 0; r < rows; r++)
            k->round_row(part + r * TURN_WORDS, p->x + (first + r) * p->depth + at, DTYPE_F32,
                         count);
        k->transpose(out + at / 2 * k->pair_words * lanes, lanes, part, TURN_WORDS, rows,
                     words_of(k, count));
    }
}

static void fill_panels(void *arg, size_t begin, size_t end, int worker)
{
    for (size_t i = begin; i < end; i++)
        fill_panel(arg, i);
}

// w [columns][*pitch words] = the item's weights: as they lie, or rounded into its work space.
static const float *item_weights(const struct rounded *p, const struct linear_item *i,
                                 size_t *pitch, float *work)
{
    const struct tensor *t = &i->out->w;
    size_t apart = tensor_pitch(t), size = dtype_size(t->type);
    const char *from = (const char *)t->data + i->column * apart * size;
    if (t->type == DTYPE_BF16 && p->kernels->pair_words == 1 && p->depth % 2 == 0 &&
        apart % 2 == 0) {
        *pitch = apart / 2;
        return (const float *)from;
    }
    *pitch = p->words;
    for (size_t c = 0; c < i->columns; c++)
        p->kernels->round_row(work + c * p->words, from + c * apart * size, t->type, p->depth);
    return work;
}

static void along_item(const struct rounded *p, const struct linear_item *i, float *work)
{
    const struct kernels *k = p->kernels;
    size_t lanes = k->pair_lanes, pitch, slice = words_of(k, SLICE);
    const float *w = item_weights(p, i, &pitch, work);
    float c[COLUMNS * 2 * LANES];
    for (size_t r = 0; r < i->rows; r += lanes) {
        size_t rows = i->rows - r < lanes ? i->rows - r : lanes;
        const float *panel = p->panel + (i->row + r) * p->words;
        for (size_t begin = 0; begin < p->words; begin += slice) {
            size_t words = p->words - begin < slice ? p->words - begin : slice;
            for (size_t o = 0; o < i->columns; o += k->tile)
                k->pair_product(i->columns - o < k->tile ? i->columns - o : k->tile,
                                rows <= LANES ? LANES : lanes, words, panel + begin * lanes, lanes,
                                w + o * pitch + begin, pitch, 1, c + o * lanes, lanes, begin > 0);
        }
        linear_store_panel(k, i, c, lanes, i->row + r, rows);
    }
}

// The last item begins before its own columns where those are too few.
static void skinny_item(const struct rounded *p, const struct linear_item *i)
{
    const struct tensor *t = &i->out->w;
    size_t pitch = tensor_pitch(t), missing = SKINNY_COLUMNS - i->columns;
    const uint16_t *from = (const uint16_t *)t->data + (i->column - missing) * pitch;
    float c[TILE_MAX * SKINNY_COLUMNS];
    for (size_t at = 0; at < SKINNY_COLUMNS; at += BLOCK)
        p->kernels->skinny_pairs(i->rows, p->depth, p->turned, from + at * pitch, pitch, c + at,
                                 SKINNY_COLUMNS);
    linear_store_rows(p->kernels, i, c + missing, SKINNY_COLUMNS, 0, i->rows);
}

static void make_item(const struct rounded *p, size_t number, int worker)
{
    const struct rounded_part *part = p->part;
    float *work = p->work + (size_t)worker * p->floats;
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
static int turn_few(struct rounded *p, struct device *d, struct err *e)
{
    float *rows = arena_alloc(&d->scratch, p->n * p->words, sizeof(float), e);
    p->turned = arena_alloc(&d->scratch, p->n * p->words, sizeof(float), e);
    if (!rows || !p->turned)
        return -1;
    for (size_t r = 0; r < p->n; r++)
        p->kernels->round_row(rows + r * p->words, p->x + r * p->depth, DTYPE_F32, p->depth);
    p->kernels->transpose(p->turned, p->n, rows, p->words, p->n, p->words);
    return 0;
}

static int plan_across(struct rounded *p, struct rounded_part *part, const struct linear *o,
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

static void plan_rows(const struct rounded *p, struct rounded_part *part, const struct tensor *w)
{
    size_t lanes = p->kernels->pair_lanes, high = PANEL_BYTES / (p->words * lanes * sizeof(float));
    int few = p->n <= p->kernels->tile && w->type == DTYPE_BF16 && w->rows >= SKINNY_COLUMNS;
    size_t width = few ? SKINNY_COLUMNS : COLUMNS;
    part->kind = few ? SKINNY : ALONG;
    part->height = few ? p->n : (high ? high : 1) * lanes;
    part->columns = (w->rows + width - 1) / width;
    part->items = (p->n + part->height - 1) / part->height * part->columns;
}

static size_t item_floats(const struct kernels *k, size_t words)
{
    size_t block = block_floats(k);
    return words * COLUMNS > block ? words * COLUMNS : block;
}

size_t cpu_linear_bf16_scratch(const struct kernels *k, size_t rows, size_t depth)
{
    size_t words = words_of(k, depth), lanes = k->pair_lanes;
    size_t panels = (rows + lanes - 1) / lanes * lanes;
    return (panels * words + depth + (size_t)threads_count() * item_floats(k, words)) *
           sizeof(float);
}

int cpu_linear_bf16(struct device *d, const float *x, size_t n, const struct linear *out,
                    size_t count, struct err *e)
{
    const struct kernels *k = cpu_kernels(d);
    struct arena_mark mark = arena_mark(&d->scratch);
    struct rounded p = {.kernels = k, .x = x, .n = n, .depth = out[0].w.cols, .out = out};
    size_t total = 0;
    int along = 0, skinny = 0;
    p.words = words_of(k, p.depth);
    p.panels = (n + k->pair_lanes - 1) / k->pair_lanes;
    for (size_t i = 0; i < count; i++) {
        struct rounded_part *part = &p.part[i];
        part->kind = ACROSS;
        if (!out[i].w.transposed)
            plan_rows(&p, part, &out[i].w);
        else if (plan_across(&p, part, &out[i], d, e) < 0)
            return -1;
        along |= part->kind == ALONG;
        skinny |= part->kind == SKINNY;
        total += part->items;
    }
    p.floats = item_floats(k, p.words);
    p.work = arena_alloc(&d->scratch, (size_t)threads_count() * p.floats, sizeof(float), e);
    if (!p.work || (skinny && turn_few(&p, d, e) < 0))
        return -1;
    if (along) {
        p.panel = arena_alloc(&d->scratch, p.panels * k->pair_lanes, p.words * sizeof(float), e);
        if (!p.panel)
            return -1;
        threads_for(p.panels, cpu_grain(p.words * k->pair_lanes), fill_panels, &p);
    }
    threads_for(total, cpu_grain(COLUMNS * p.depth * (n < 512 ? n : 512) / 16), make_items, &p);
    arena_rewind(&d->scratch, mark);
    return 0;
}

// Both gradients are one list of blocks, so that threads wait for each other once.
struct rounded_gradients {
    struct block_product input, weight;
    size_t input_blocks, weight_blocks; // 0: not wanted
    float *work;
    size_t floats;
};

static void make_blocks(void *arg, size_t begin, size_t end, int worker)
{
    const struct rounded_gradients *g = arg;
    float *work = g->work + (size_t)worker * g->floats;
    for (size_t i = begin; i < end; i++)
        if (i < g->input_blocks)
            block_make(&g->input, i, work);
        else
            block_make(&g->weight, i - g->input_blocks, work);
}

// dx (+)= dy w, where the weights lie as [in, out]: a forward product.
static int turned_gradient(struct device *d, float *dx, int add, const float *dy, size_t n,
                           const struct tensor *w, struct err *e)
{
    struct linear l = {.y = dx, .w = *w, .add = add};
    l.w.transposed = 0;
    l.w.rows = w->cols;
    l.w.cols = w->rows;
    l.w.pitch = tensor_pitch(w);
    return cpu_linear_bf16(d, dy, n, &l, 1, e);
}

int cpu_linear_backward_bf16(struct device *d, float *dx, int add, const float *dy, const float *x,
                             size_t n, const struct tensor *w, struct err *e)
{
    const struct kernels *k = cpu_kernels(d);
    struct arena_mark mark = arena_mark(&d->scratch);
    struct rounded_gradients g = {.floats = block_floats(k)};
    if (dx && w->transposed && turned_gradient(d, dx, add, dy, n, w, e) < 0)
        return -1;
    if (dx && !w->transposed) {
        g.input = (struct block_product){.kernels = k,
                                         .rows = n,
                                         .columns = w->cols,
                                         .depth = w->rows,
                                         .a = w->data,
                                         .a_type = w->type,
                                         .a_pitch = tensor_pitch(w),
                                         .b = dy,
                                         .b_pitch = w->rows,
                                         .out = dx,
                                         .out_pitch = w->cols,
                                         .add = add};
        g.input_blocks = block_cut(&g.input);
    }
    if (w->grad) {
        int turned = w->transposed;
        g.weight = (struct block_product){.kernels = k,
                                          .rows = turned ? w->cols : w->rows,
                                          .columns = turned ? w->rows : w->cols,
                                          .depth = n,
                                          .a = turned ? dy : x,
                                          .a_type = DTYPE_F32,
                                          .a_pitch = turned ? w->rows : w->cols,
                                          .b = turned ? x : dy,
                                          .b_pitch = turned ? w->cols : w->rows,
                                          .across = 1,
                                          .out = w->grad,
                                          .out_pitch = tensor_pitch(w),
                                          .add = 1};
        g.weight_blocks = block_cut(&g.weight);
    }
    g.work = arena_alloc(&d->scratch, (size_t)threads_count() * g.floats, sizeof(float), e);
    if (!g.work)
        return -1;
    threads_for(g.input_blocks + g.weight_blocks, 1, make_blocks, &g);
    arena_rewind(&d->scratch, mark);
    return 0;
}
