// SPDX-License-Identifier: MIT
#include "model/generate.h"
#include "base/thread.h"
#include "model/head.h"

#include <assert.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { PREFILL_TOKENS = 1024, HEAD_ROWS = 64, FIRST_POSITIONS = 1024, EAGER_TOKENS = 4096 };

// The generator's own part of a request.
struct request_state {
    struct request *next;
    uint64_t key;
    size_t started, done;
    uint32_t *block;           // of the prompt: [n_blocks], the last may be filled in part
    size_t n_blocks, n_shared; // whole blocks, which the samples share
};

// A sample in flight.
struct slot {
    struct request *request;   // NULL: free
    size_t index;              // which sample
    uint32_t *block;           // [blocks_a_sequence]
    size_t n_blocks, n_shared; // the first are the request's
    size_t position;           // tokens whose keys and values are stored
    size_t capacity;           // of the sample's arrays
    uint32_t *history;         // [history_capacity] prompt and sample
    size_t history_capacity;
    struct rng rng;
    uint32_t last; // token that goes in next
};

struct engine {
    struct model *model;
    struct decoder decoder;
    struct kv_cache cache;
    size_t bytes; // of each of k and v
};

struct generator {
    struct device *device;
    struct device sampler; // draws are the host's work, from rows of logits that were fetched
    struct generate_options options;
    struct engine engine[2]; // the model and, for contrast, the reference
    int n_engines;
    struct slot *slot;
    uint32_t *free_block;
    // n_touched: blocks from there on were never used
    size_t n_free, n_blocks, n_touched, blocks_a_sequence;
    size_t max_length; // of a sequence, by the models
    int restart;       // a sequence may have to start again, see generator_open
    struct request *first, *last, *waiting; // in order; waiting: the first not fully started
    size_t pending;
    uint64_t drawn;
    struct arena arena; // of one step
};

static void free_cache(struct device *d, struct kv_cache *cache, size_t bytes)
{
    d->memory->free(d, cache->k, bytes);
    d->memory->free(d, cache->v, bytes);
    memset(cache, 0, sizeof *cache);
}

static int make_cache(struct device *d, struct kv_cache *cache, size_t *bytes,
                      const struct model *m, size_t blocks, struct err *e)
{
    memset(cache, 0, sizeof *cache);
    if (__builtin_mul_overflow(blocks, decoder_block_elements(m), &cache->layer_stride) ||
        __builtin_mul_overflow(cache->layer_stride, dtype_size(d->kv), bytes) ||
        __builtin_mul_overflow(*bytes, m->config.layers, bytes))
        return err_memory(e, SIZE_MAX, "the KV cache");
    cache->k = d->memory->alloc(d, *bytes);
    cache->v = d->memory->alloc(d, *bytes);
    if (cache->k && cache->v)
        return 0;
    free_cache(d, cache, *bytes);
    return err_memory(e, *bytes, "the KV cache: fewer samples in flight need less");
}

// Some elements of both keys and values.
static int copy_cache(struct device *d, const struct kv_cache *to, size_t to_at,
                      const struct kv_cache *from, size_t from_at, size_t n, struct err *e)
{
    size_t size = dtype_size(d->kv), bytes = n * size;
    to_at *= size;
    from_at *= size;
    return d->memory->copy(d, (char *)to->k + to_at, (char *)from->k + from_at, bytes, e) < 0
               ? -1
               : d->memory->copy(d, (char *)to->v + to_at, (char *)from->v + from_at, bytes, e);
}

static int grow_cache(struct generator *g, struct engine *en, size_t blocks, struct err *e)
{
    struct kv_cache grown;
    size_t bytes = 0, used = g->n_touched * decoder_block_elements(en->model);
    if (make_cache(g->device, &grown, &bytes, en->model, blocks, e) < 0)
        return -1;
    for (size_t layer = 0; used && layer < en->model->config.layers; layer++)
        if (copy_cache(g->device, &grown, layer * grown.layer_stride, &en->cache,
                       layer * en->cache.layer_stride, used, e) < 0) {
            free_cache(g->device, &grown, bytes);
            return -1;
        }
    free_cache(g->device, &en->cache, en->bytes);
    en->cache = grown;
    en->bytes = bytes;
    return 0;
}

static int grow_array(uint32_t **array, size_t n, const char *what, struct err *e)
{
    void *grown = realloc(*array, n * sizeof **array);
    if (!grown)
        return err_memory(e, n * sizeof **array, what);
    *array = grown;
    return 0;
}

// Makes room for sequences of so many tokens in every slot. What is in flight goes on.
static int reach(struct generator *g, size_t length, struct err *e)
{
    size_t a_sequence = (length + KV_BLOCK - 1) / KV_BLOCK, blocks;
    if (a_sequence <= g->blocks_a_sequence)
        return 0;
    if (a_sequence < 2 * g->blocks_a_sequence)
        a_sequence = 2 * g->blocks_a_sequence;
    // Each slot has a sequence and its prompt a block filled in part (a whole copy of its blocks,
    // where a sequence may start again); one request more may wait with its prompt filled in.
    size_t each = (g->restart ? 2 : 1) * a_sequence + 1;
    if (__builtin_mul_overflow(g->options.slots + 1, each, &blocks) || blocks > UINT32_MAX)
        return err_memory(e, SIZE_MAX, "the KV cache");
    if (grow_array(&g->free_block, blocks, "blocks", e) < 0)
        return -1;
    for (size_t i = 0; i < g->options.slots; i++)
        if (grow_array(&g->slot[i].block, a_sequence, "block tables", e) < 0)
            return -1;
    for (int i = 0; i < g->n_engines; i++)
        if (grow_cache(g, &g->engine[i], blocks, e) < 0)
            return -1;
    // The new ones are the last to be taken.
    size_t more = blocks - g->n_blocks;
    memmove(g->free_block + more, g->free_block, g->n_free * sizeof *g->free_block);
    for (size_t i = 0; i < more; i++)
        g->free_block[i] = (uint32_t)(blocks - 1 - i);
    g->n_free += more;
    g->n_blocks = blocks;
    g->blocks_a_sequence = a_sequence;
    return 0;
}

static uint32_t take_block(struct generator *g)
{
    uint32_t block = g->free_block[--g->n_free];
    if (block >= g->n_touched)
        g->n_touched = (size_t)block + 1;
    return block;
}

// What a prompt and its samples will need; very long samples get more when they get there.
static int reach_samples(struct generator *g, size_t n_prompt, struct err *e)
{
    size_t more = g->options.max_new_tokens, left = g->max_length - n_prompt;
    if (more > EAGER_TOKENS)
        more = EAGER_TOKENS;
    return reach(g, n_prompt + (more < left ? more : left), e);
}

struct generator *generator_open(struct model *m, struct model *reference, struct device *d,
                                 const struct generate_options *o, struct err *e)
{
    assert(reference || o->contrast == 0);
    struct generator *g = mem_alloc(1, sizeof *g, "a generator", e);
    if (!g)
        return NULL;
    g->device = d;
    g->options = *o;
    g->n_engines = reference ? 2 : 1;
    g->engine[0].model = m;
    g->engine[1].model = reference;
    g->max_length = model_positions(m);
    if (reference && model_positions(reference) < g->max_length)
        g->max_length = model_positions(reference);
    arena_init(&g->arena);
    for (int i = 0; i < g->n_engines; i++) {
        decoder_init(&g->engine[i].decoder, g->engine[i].model, d);
        g->restart |= g->engine[i].model->config.rope_restart;
    }
    g->slot = mem_alloc(o->slots, sizeof *g->slot, "slots", e);
    int result = g->slot ? device_open(&g->sampler, "cpu", PRODUCTS_FP32, e) : -1;
    if (result == 0 && reference)
        result = model_same_vocabulary(m, reference, e);
    if (result == 0)
        result =
            reach_samples(g, FIRST_POSITIONS < g->max_length ? FIRST_POSITIONS : g->max_length, e);
    if (result == 0)
        return g;
    generator_close(g);
    return NULL;
}

struct generator_bytes generator_bytes(const struct device *d, const struct model *m, size_t slots,
                                       size_t length)
{
    // A prompt that waits, and the block of each that is filled in part.
    size_t blocks = (slots + 1) * ((length + KV_BLOCK - 1) / KV_BLOCK + 1);
    // Prompts are filled in beside samples that go on.
    size_t prompts = length < PREFILL_TOKENS ? PREFILL_TOKENS : length, vocab = m->config.vocab;
    size_t rows = slots < HEAD_ROWS ? slots : HEAD_ROWS;
    if (prompts > slots * length)
        prompts = slots * length;
    struct scratch_shape head = {.rows = rows, .depth = m->config.end_width};
    // Keys and values of a pass are in the cache.
    size_t cached = (prompts + slots + KV_BLOCK) * (decoder_block_bytes(m, 0) / KV_BLOCK);
    size_t draw = (size_t)threads_count() * vocab * (sizeof(float) + sizeof(struct candidate));
    return (struct generator_bytes){
        .cache = m->config.layers * 2 * decoder_block_elements(m) * dtype_size(d->kv) * blocks,
        .work = decoder_work_bytes(m, prompts + slots, 2 * slots, 0) - cached +
                decoder_scratch_bytes(d, m, prompts + slots, length, 0) +
                rows * vocab * sizeof(float) + draw + d->ops->scratch_bytes(d, &head)};
}

void request_free(struct request *r)
{
    if (!r)
        return;
    for (size_t i = 0; r->sample && i < r->n_samples; i++) {
        free(r->sample[i].token);
        free(r->sample[i].logp);
        free(r->sample[i].sampled);
    }
    if (r->state)
        free(r->state->block);
    free(r->state);
    free(r->sample);
    free(r->prompt);
    free(r);
}

void generator_close(struct generator *g)
{
    if (!g)
        return;
    while (g->first) {
        struct request *next = g->first->state->next;
        if (g->options.release_owner)
            g->options.release_owner(g->first->owner);
        request_free(g->first);
        g->first = next;
    }
    for (int i = 0; i < g->n_engines; i++) {
        struct engine *en = &g->engine[i];
        decoder_release(&en->decoder);
        free_cache(g->device, &en->cache, en->bytes);
    }
    for (size_t i = 0; g->slot && i < g->options.slots; i++) {
        free(g->slot[i].block);
        free(g->slot[i].history);
    }
    free(g->slot);
    free(g->free_block);
    arena_release(&g->arena);
    device_release(&g->sampler);
    free(g);
}

int generator_add(struct generator *g, const uint32_t *prompt, size_t n_prompt, size_t n_samples,
                  uint64_t key, void *owner, struct err *e)
{
    if (n_prompt == 0)
        return err_set(e, STATUS_FAILED, "the prompt has no tokens");
    if (n_prompt >= g->max_length)
        return err_set(e, STATUS_FAILED,
                       "a prompt of %zu tokens leaves no room in %zu positions (tok --prompts "
                       "--max-length N, with --truncation)",
                       n_prompt, g->max_length);
    if (batch_check_tokens(prompt, n_prompt, g->engine[0].model->config.vocab, e) < 0 ||
        reach_samples(g, n_prompt, e) < 0)
        return -1;
    struct request *r = mem_alloc(1, sizeof *r, "a request", e);
    if (!r)
        return -1;
    r->n_prompt = n_prompt;
    r->n_samples = n_samples;
    r->owner = owner;
    r->prompt = mem_alloc(n_prompt, sizeof *prompt, "a prompt", e);
    r->sample = mem_alloc(n_samples, sizeof *r->sample, "samples", e);
    r->state = mem_alloc(1, sizeof *r->state, "a request", e);
    if (!r->prompt || !r->sample || !r->state) {
        request_free(r);
        return -1;
    }
    memcpy(r->prompt, prompt, n_prompt * sizeof *prompt);
    r->state->key = key;
    r->state->n_blocks = (n_prompt + KV_BLOCK - 1) / KV_BLOCK;
    r->state->n_shared = n_prompt / KV_BLOCK;
    r->state->block = mem_alloc(r->state->n_blocks, sizeof(uint32_t), "a block table", e);
    if (!r->state->block) {
        request_free(r);
        return -1;
    }
    if (g->last)
        g->last->state->next = r;
    else
        g->first = r;
    g->last = r;
    if (!g->waiting)
        g->waiting = r;
    g->pending += n_samples;
    return 0;
}

size_t generator_pending(const struct generator *g)
{
    return g->pending;
}

uint64_t generator_drawn(const struct generator *g)
{
    return g->drawn;
}

int generator_take(struct generator *g, struct request **out)
{
    struct request *r = g->first;
    if (!r || r->state->done < r->n_samples)
        return 0;
    g->first = r->state->next;
    if (!g->first)
        g->last = NULL;
    *out = r;
    return 1;
}

const struct request *generator_oldest(const struct generator *g)
{
    return g->first;
}

// One row whose logits are wanted, and the samples that draw from it.
struct wanted_row {
    struct request *request; // a prompt that was filled in, or NULL
    size_t slot;             // of the one sample otherwise
};

struct engine_step {
    uint32_t *token, *position, *wanted;
    struct segment *segment;
    struct wanted_row *row;
    size_t n, n_segments, n_rows;
};

static struct slot *free_slot(struct generator *g, size_t *from)
{
    for (; *from < g->options.slots; ++*from)
        if (!g->slot[*from].request)
            return &g->slot[(*from)++];
    return NULL;
}

static void add_row(struct engine_step *s, struct wanted_row row)
{
    s->wanted[s->n_rows] = (uint32_t)(s->n - 1);
    s->row[s->n_rows++] = row;
}

// Whether the next token of a sample moves all before it: its sequence grows beyond the length up
// to which the model's rotary angles are others.
static int starts_again(const struct generator *g, const struct slot *slot)
{
    for (int i = 0; i < g->n_engines; i++) {
        const struct model_config *c = &g->engine[i].model->config;
        if (c->rope_restart && slot->position == rope_same_up_to(c))
            return 1;
    }
    return 0;
}

// The sequence needs keys and values of its own from its first token on.
static void leave_prompt(struct generator *g, struct slot *slot)
{
    for (size_t i = 0; i < slot->n_shared; i++)
        slot->block[i] = take_block(g);
    slot->n_shared = 0;
}

// Blocks for the next token of each sample.
static int reserve_next(struct generator *g, struct err *e)
{
    for (size_t i = 0; i < g->options.slots; i++) {
        struct slot *slot = &g->slot[i];
        if (!slot->request || slot->position / KV_BLOCK < slot->n_blocks)
            continue;
        if (reach(g, slot->position + 1, e) < 0)
            return -1;
        slot->block[slot->n_blocks++] = take_block(g);
    }
    return 0;
}

static void plan_decoding(struct generator *g, struct engine_step *s)
{
    for (size_t i = 0; i < g->options.slots; i++) {
        struct slot *slot = &g->slot[i];
        if (!slot->request)
            continue;
        size_t past = slot->position, end = past + 1;
        if (starts_again(g, slot)) {
            leave_prompt(g, slot);
            past = 0;
        }
        s->segment[s->n_segments++] = (struct segment){
            .start = s->n, .length = end - past, .past = past, .block = slot->block};
        for (size_t t = past; t < end; t++, s->n++) {
            s->token[s->n] = slot->history[t];
            s->position[s->n] = (uint32_t)t;
        }
        add_row(s, (struct wanted_row){NULL, i});
    }
}

// Prompts are filled in while samples can start: a request begins when it has one free slot at
// least, and those of its samples that find none start from its blocks later.
static void plan_prompts(struct generator *g, struct engine_step *s, size_t room, size_t tokens)
{
    struct request *r = g->waiting;
    if (r && r->state->started > 0) {
        // its prompt is there; its other samples come first
        if (r->n_samples - r->state->started >= room)
            return;
        room -= r->n_samples - r->state->started;
        r = r->state->next;
    }
    size_t filled = 0;
    while (r && room > 0 && (filled == 0 || filled + r->n_prompt <= tokens)) {
        struct request_state *state = r->state;
        for (size_t i = 0; i < state->n_blocks; i++)
            state->block[i] = take_block(g);
        memcpy(s->token + s->n, r->prompt, r->n_prompt * sizeof *r->prompt);
        for (size_t t = 0; t < r->n_prompt; t++)
            s->position[s->n + t] = (uint32_t)t;
        s->segment[s->n_segments++] =
            (struct segment){.start = s->n, .length = r->n_prompt, .block = state->block};
        s->n += r->n_prompt;
        add_row(s, (struct wanted_row){r, 0});
        filled += r->n_prompt;
        if (r->n_samples >= room)
            break;
        room -= r->n_samples;
        r = state->next;
    }
}

// Samples of the first waiting request that had no slot when its prompt was filled in: its last row
// of logits is made again from the cache, by feeding the prompt's last token once more.
static void plan_late_samples(struct generator *g, struct engine_step *s, size_t room)
{
    struct request *r = g->waiting;
    if (!r || r->state->started == 0 || room == 0)
        return;
    // The token is stored at its own place again, with the same values.
    s->token[s->n] = r->prompt[r->n_prompt - 1];
    s->position[s->n] = (uint32_t)(r->n_prompt - 1);
    s->segment[s->n_segments++] = (struct segment){
        .start = s->n, .length = 1, .past = r->n_prompt - 1, .block = r->state->block};
    s->n++;
    add_row(s, (struct wanted_row){r, 0});
}

static int plan_step(struct generator *g, struct engine_step *s, struct err *e)
{
    size_t slots = g->options.slots, room = 0, prompts = 0, requests = 0;
    for (size_t i = 0; i < slots; i++) {
        room += !g->slot[i].request;
        if (g->slot[i].request && starts_again(g, &g->slot[i]))
            prompts += g->slot[i].position;
    }
    for (struct request *r = g->waiting; r && requests <= room; r = r->state->next, requests++)
        prompts += r->n_prompt;
    memset(s, 0, sizeof *s);
    s->token = arena_alloc(&g->arena, slots + prompts + 1, sizeof *s->token, e);
    s->position = arena_alloc(&g->arena, slots + prompts + 1, sizeof *s->position, e);
    s->wanted = arena_alloc(&g->arena, slots + requests + 1, sizeof *s->wanted, e);
    s->segment = arena_alloc(&g->arena, slots + requests + 1, sizeof *s->segment, e);
    s->row = arena_alloc(&g->arena, slots + requests + 1, sizeof *s->row, e);
    if (!s->token || !s->position || !s->wanted || !s->segment || !s->row || reserve_next(g, e) < 0)
        return -1;
    plan_decoding(g, s);
    plan_late_samples(g, s, room);
    plan_prompts(g, s, room, PREFILL_TOKENS);
    return 0;
}

// A draw: a sample and the row of the chunk's logits it draws from.
struct draw {
    size_t row;
    struct slot *slot;
    int first; // of its sample
};

struct draw_job {
    struct generator *g;
    const float *logits;
    size_t vocab;
    const struct draw *draw;
    struct sampling_work *work; // [threads]
    atomic_int failed;
    struct err *error; // [threads]
};

// The token and its probability among those that are left; `record` completes them.
static int draw_one(struct draw_job *job, const struct draw *draw, int worker)
{
    struct generator *g = job->g;
    struct slot *slot = draw->slot;
    struct generated *out = &slot->request->sample[slot->index];
    uint32_t *next = &slot->history[slot->request->n_prompt + out->n];
    if (sampling_draw(&g->sampler, &g->options.sampling, job->logits + draw->row * job->vocab,
                      job->vocab, slot->history, slot->request->n_prompt + out->n,
                      &job->work[worker], &slot->rng, next, &out->sampled[out->n],
                      &job->error[worker]) < 0)
        return -1;
    out->token[out->n] = *next;
    return 0;
}

static void draw_chunk(void *arg, size_t begin, size_t end, int worker)
{
    struct draw_job *job = arg;
    for (size_t i = begin; i < end; i++)
        if (draw_one(job, &job->draw[i], worker) < 0)
            atomic_store(&job->failed, worker + 1);
}

static int grow_sample(struct generated *out, size_t *capacity, size_t limit, struct err *e)
{
    if (out->n < *capacity)
        return 0;
    size_t want = *capacity ? 2 * *capacity : 64;
    if (want > limit)
        want = limit;
    void *token = realloc(out->token, want * sizeof *out->token);
    if (token)
        out->token = token;
    void *logp = realloc(out->logp, want * sizeof *out->logp);
    if (logp)
        out->logp = logp;
    void *sampled = realloc(out->sampled, want * sizeof *out->sampled);
    if (sampled)
        out->sampled = sampled;
    if (!token || !logp || !sampled)
        return err_memory(e, want * 12, "a sample");
    *capacity = want;
    return 0;
}

// The last block of a prompt that is filled in part is copied: each sample goes on in its own.
static int copy_block(struct generator *g, uint32_t from, uint32_t to, struct err *e)
{
    for (int i = 0; i < g->n_engines; i++) {
        const struct engine *en = &g->engine[i];
        size_t block = decoder_block_elements(en->model);
        for (size_t layer = 0; layer < en->model->config.layers; layer++) {
            size_t base = layer * en->cache.layer_stride;
            if (copy_cache(g->device, &en->cache, base + to * block, &en->cache,
                           base + from * block, block, e) < 0)
                return -1;
        }
    }
    return 0;
}

// Room in the history for the prompt and the next token.
static int grow_history(struct slot *slot, size_t need, struct err *e)
{
    return MEM_GROW(slot->history, slot->history_capacity, need, "histories", e);
}

static int start_sample(struct generator *g, struct slot *slot, struct request *r, struct err *e)
{
    if (grow_history(slot, r->n_prompt + 1, e) < 0)
        return -1;
    struct request_state *state = r->state;
    slot->request = r;
    slot->index = state->started++;
    slot->position = r->n_prompt;
    slot->capacity = 0;
    slot->n_blocks = state->n_blocks;
    slot->n_shared = state->n_shared;
    memcpy(slot->block, state->block, state->n_shared * sizeof *slot->block);
    if (state->n_shared < state->n_blocks) {
        slot->block[state->n_shared] = take_block(g);
        if (copy_block(g, state->block[state->n_shared], slot->block[state->n_shared], e) < 0)
            return -1;
    }
    memcpy(slot->history, r->prompt, r->n_prompt * sizeof *r->prompt);
    rng_init(&slot->rng, g->options.seed, RNG_SAMPLE, state->key,
             g->options.first_sample + (uint32_t)slot->index);
    return 0;
}

static void finish_sample(struct generator *g, struct slot *slot)
{
    struct request *r = slot->request;
    struct request_state *state = r->state;
    r->sample[slot->index].ended = 1;
    for (size_t i = slot->n_blocks; i > slot->n_shared; i--)
        g->free_block[g->n_free++] = slot->block[i - 1];
    slot->request = NULL;
    g->pending--;
    if (++state->done == r->n_samples)
        for (size_t i = state->n_blocks; i > 0; i--)
            g->free_block[g->n_free++] = state->block[i - 1];
}

static int is_stop(const struct generator *g, uint32_t token)
{
    for (size_t i = 0; i < g->options.n_stop; i++)
        if (g->options.stop[i] == token)
            return 1;
    return 0;
}

// After a draw: the sample goes on, or it ends.
static void settle(struct generator *g, struct slot *slot, int first)
{
    struct generated *out = &slot->request->sample[slot->index];
    if (!first)
        slot->position++; // the token that went in is stored now
    g->drawn++;
    if (is_stop(g, slot->last))
        out->finish = FINISH_STOP;
    else if (out->n >= g->options.max_new_tokens || slot->position + 1 >= g->max_length)
        out->finish = FINISH_LENGTH;
    else
        return;
    finish_sample(g, slot);
}

// Draws that belong to rows first .. first+n-1. A prompt's row serves all samples that find a slot.
static int collect_draws(struct generator *g, const struct engine_step *s, size_t first, size_t n,
                         struct draw *draw, size_t *n_draws, struct err *e)
{
    size_t count = 0, from = 0;
    for (size_t i = 0; i < n; i++) {
        const struct wanted_row *row = &s->row[first + i];
        if (!row->request) {
            draw[count++] = (struct draw){i, &g->slot[row->slot], 0};
            continue;
        }
        struct request *r = row->request;
        struct slot *slot;
        while (r->state->started < r->n_samples && (slot = free_slot(g, &from))) {
            if (start_sample(g, slot, r, e) < 0)
                return -1;
            draw[count++] = (struct draw){i, slot, 1};
        }
        if (r->state->started == r->n_samples)
            g->waiting = r->state->next;
    }
    *n_draws = count;
    return 0;
}

// Room for a token more in the sample of each draw.
static int make_room(struct generator *g, const struct draw *draw, size_t count, struct err *e)
{
    size_t limit =
        g->options.max_new_tokens < g->max_length ? g->options.max_new_tokens : g->max_length;
    for (size_t i = 0; i < count; i++) {
        struct slot *slot = draw[i].slot;
        struct generated *out = &slot->request->sample[slot->index];
        if (grow_sample(out, &slot->capacity, limit, e) < 0 ||
            grow_history(slot, slot->request->n_prompt + out->n + 1, e) < 0)
            return -1;
    }
    return 0;
}

// A chunk of rows: their logits [rows, vocab], `drawn` as the host draws from them.
struct row_logits {
    float *drawn, *made;        // made: where the device makes them
    float *own;                 // the device's: of the model alone; `made` without contrast
    struct sampling_work *work; // [threads]
    struct err *error;          // [threads]
};

static int row_logits_open(struct generator *g, struct row_logits *l, size_t rows, struct err *e)
{
    size_t vocab = g->engine[0].model->config.vocab, threads = (size_t)threads_count();
    l->drawn = l->made = arena_alloc(&g->arena, rows * vocab, sizeof *l->drawn, e);
    if (!l->drawn || device_result(g->device, &l->made, rows * vocab * sizeof *l->made, e) < 0)
        return -1;
    l->own = g->n_engines == 1 ? l->made
                               : arena_alloc(&g->device->scratch, rows * vocab, sizeof *l->own, e);
    l->work = arena_alloc(&g->arena, threads, sizeof *l->work, e);
    l->error = arena_alloc(&g->arena, threads, sizeof *l->error, e);
    if (!l->own || !l->work || !l->error)
        return -1;
    for (size_t i = 0; i < threads; i++)
        if (sampling_work_init(&l->work[i], vocab, &g->arena, e) < 0)
            return -1;
    return 0;
}

// The row at which an engine's chunk of hidden states begins.
static const float *hidden_at(const struct engine *en, size_t first)
{
    return en->decoder.hidden + first * en->model->config.end_width;
}

static int make_logits(struct generator *g, size_t first, size_t rows, const struct row_logits *l,
                       struct err *e)
{
    const struct engine *en = g->engine;
    struct device *d = g->device;
    int result;
    if (g->n_engines == 1) {
        result = head_logits(d, en->model, hidden_at(en, first), rows, l->made, e);
    } else {
        struct head_beside reference = {en[1].model, hidden_at(&en[1], first)};
        result = head_contrast(d, en->model, hidden_at(en, first), &reference,
                               (float)g->options.contrast, rows, l->made, l->own, e);
    }
    size_t bytes = rows * en->model->config.vocab * sizeof *l->drawn;
    return result < 0 ? -1 : device_fetch(d, l->drawn, l->made, bytes, e);
}

static uint32_t drawn_token(const struct draw *draw)
{
    const struct generated *out = &draw->slot->request->sample[draw->slot->index];
    return out->token[out->n];
}

// The log-probabilities of what was drawn under the model alone, as scoring finds them.
static int score_draws(struct generator *g, const struct row_logits *l, const struct draw *draw,
                       size_t n, float *logp, struct err *e)
{
    struct device *d = g->device;
    uint32_t *row = arena_alloc(&g->arena, n, sizeof *row, e);
    uint32_t *token = arena_alloc(&g->arena, n, sizeof *token, e);
    if (!row || !token)
        return -1;
    for (size_t i = 0; i < n; i++) {
        row[i] = (uint32_t)draw[i].row;
        token[i] = drawn_token(&draw[i]);
    }
    struct arena_mark mark = arena_mark(&d->scratch);
    float *result = logp;
    if (device_list(d, &d->scratch, &row, n * sizeof *row, e) < 0 ||
        device_list(d, &d->scratch, &token, n * sizeof *token, e) < 0 ||
        device_result(d, &result, n * sizeof *result, e) < 0 ||
        d->ops->log_softmax_at(d, l->own, g->engine[0].model->config.vocab, row, token, n, result,
                               e) < 0 ||
        device_fetch(d, logp, result, n * sizeof *logp, e) < 0)
        return -1;
    arena_rewind(&d->scratch, mark);
    return 0;
}

static int record(struct generator *g, const struct draw *draw, float logp, struct err *e)
{
    struct slot *slot = draw->slot;
    struct generated *out = &slot->request->sample[slot->index];
    if (!isfinite(logp)) // a processor may have hidden it
        return err_set(e, STATUS_FAILED, "the model's logits are not finite");
    slot->last = out->token[out->n];
    out->logp[out->n++] = logp;
    settle(g, slot, draw->first);
    return 0;
}

static int draw_rows(struct generator *g, const struct engine_step *s, const struct row_logits *l,
                     size_t first, size_t n, struct err *e)
{
    struct draw *draw = arena_alloc(&g->arena, g->options.slots + n, sizeof *draw, e);
    size_t count;
    if (!draw || collect_draws(g, s, first, n, draw, &count, e) < 0 ||
        make_room(g, draw, count, e) < 0)
        return -1;
    struct draw_job job = {.g = g,
                           .logits = l->drawn,
                           .vocab = g->engine[0].model->config.vocab,
                           .draw = draw,
                           .work = l->work,
                           .error = l->error};
    threads_for(count, 1, draw_chunk, &job);
    if (job.failed) {
        *e = l->error[job.failed - 1];
        return -1;
    }
    float *logp = arena_alloc(&g->arena, count, sizeof *logp, e);
    if (!logp || score_draws(g, l, draw, count, logp, e) < 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (record(g, &draw[i], logp[i], e) < 0)
            return -1;
    return 0;
}

int generator_step(struct generator *g, struct err *e)
{
    struct engine_step s;
    arena_clear(&g->arena);
    if (plan_step(g, &s, e) < 0)
        return -1;
    if (!s.n_rows)
        return 0;
    struct batch b = {.n = s.n,
                      .token = s.token,
                      .position = s.position,
                      .segment = s.segment,
                      .n_segments = s.n_segments,
                      .wanted = s.wanted,
                      .n_wanted = s.n_rows};
    for (int i = 0; i < g->n_engines; i++)
        if (decoder_forward(&g->engine[i].decoder, &b, &g->engine[i].cache, 0, e) < 0)
            return -1;
    size_t rows = s.n_rows < HEAD_ROWS ? s.n_rows : HEAD_ROWS;
    struct row_logits l;
    if (row_logits_open(g, &l, rows, e) < 0)
        return -1;
    for (size_t first = 0; first < s.n_rows; first += rows) {
        size_t n = s.n_rows - first < rows ? s.n_rows - first : rows;
        if (make_logits(g, first, n, &l, e) < 0 || draw_rows(g, &s, &l, first, n, e) < 0)
            return -1;
    }
    return 0;
}
