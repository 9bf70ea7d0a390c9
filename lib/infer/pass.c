// SPDX-License-Identifier: MIT
#include "infer/pass.h"
#include "infer/long_record.h"

#include <assert.h>
#include <string.h>

void pass_init(struct pass *p, struct model *m, struct device *device)
{
    memset(p, 0, sizeof *p);
    p->model = m;
    p->device = device;
    p->batch_tokens = PASS_TOKENS;
    p->positions = model_positions(m);
    p->group = 1;
    decoder_init(&p->decoder, m, device);
    arena_init(&p->arena);
}

struct pass_size pass_largest(size_t batch_tokens, size_t group, size_t sequences, size_t longest)
{
    if (longest == 0)
        longest = batch_tokens;
    // Shorter ones fill the micro-batch up; one group goes alone, however long.
    size_t most = sequences <= batch_tokens / longest ? sequences * longest : batch_tokens;
    size_t alone = (group < sequences ? group : sequences) * longest;
    struct pass_size s = {.tokens = most > alone ? most : alone, .longest = longest};
    s.sequences = (s.tokens + longest - 1) / longest;
    return s;
}

struct work_bytes work_bytes_add(struct work_bytes a, struct work_bytes b)
{
    return (struct work_bytes){a.held + b.held, a.scratch > b.scratch ? a.scratch : b.scratch};
}

size_t work_bytes_sum(struct work_bytes w)
{
    return w.held + w.scratch;
}

struct work_bytes pass_bytes(const struct device *d, const struct model *m,
                             const struct pass_size *s, size_t kept)
{
    // Of the packer: token, position, wanted, target, block.
    enum { PACKED = 5 * sizeof(uint32_t) };
    size_t blocks = s->sequences > 1 ? (s->sequences - 1) * decoder_block_bytes(m, kept) : 0;
    return (struct work_bytes){
        .held = decoder_work_bytes(m, s->tokens, s->tokens, kept) + blocks + s->tokens * PACKED,
        .scratch = decoder_scratch_bytes(d, m, s->tokens, s->longest, kept > 0)};
}

struct work_bytes pass_usual_bytes(const struct device *d, const struct model *m)
{
    struct pass_size s = pass_largest(PASS_TOKENS, 1, SIZE_MAX, 0);
    return pass_bytes(d, m, &s, 0);
}

void pass_release(struct pass *p)
{
    decoder_release(&p->decoder);
    arena_release(&p->arena);
}

void pass_begin(struct pass *p, const struct sequence *sequence, size_t n)
{
    assert(p->group >= 1);
    p->sequence = sequence;
    p->n_sequences = n;
    p->first = p->n = 0;
}

// Rows that go through the model: without `after` the last token is only a target.
static size_t rows_of(const struct pass *p, const struct sequence *s)
{
    size_t target = p->after ? 0 : 1;
    return s->n > target ? s->n - target : 0;
}

// Rows of the group that begins at sequence `at`; *n: how many sequences it has.
static size_t group_rows(const struct pass *p, size_t at, size_t *n)
{
    size_t left = p->n_sequences - at, rows = 0;
    *n = left < p->group ? left : p->group;
    for (size_t i = 0; i < *n; i++)
        rows += rows_of(p, &p->sequence[at + i]);
    return rows;
}

// Decides on the sequences of the next micro-batch; returns their rows.
static size_t take(struct pass *p)
{
    size_t rows = 0;
    p->first += p->n;
    p->n = 0;
    while (p->first + p->n < p->n_sequences) {
        size_t n, more = group_rows(p, p->first + p->n, &n);
        if (p->n && rows + more > p->batch_tokens)
            break;
        rows += more;
        p->n += n;
    }
    return rows;
}

static int check(const struct pass *p, const struct sequence *s, struct err *e)
{
    if (batch_check_tokens(s->token, s->n, p->model->config.vocab, e) < 0)
        return -1;
    if (rows_of(p, s) > p->positions)
        return long_record_refuse(s->n - s->beyond, p->positions, e);
    return 0;
}

static int pack(struct pass *p, size_t rows, struct err *e)
{
    arena_clear(&p->arena);
    p->where = p->first;
    if (p->most && rows > p->most)
        return err_set(e, STATUS_MEMORY,
                       "%zu tokens must pass at once, and memory was planned for %zu: "
                       "--micro-batch-tokens %zu plans for them",
                       rows, p->most, rows);
    if (packer_init(&p->packer, &p->arena, rows, p->n, e) < 0)
        return -1;
    p->packer.share = p->share;
    p->packer.after = p->after;
    for (size_t i = p->first; i < p->first + p->n; i++) {
        p->where = i;
        if (check(p, &p->sequence[i], e) < 0)
            return -1;
        packer_add(&p->packer, &p->sequence[i]);
    }
    packer_batch(&p->packer, &p->batch);
    return 0;
}

int pass_next(struct pass *p, struct err *e)
{
    do {
        size_t rows = take(p);
        if (!p->n)
            return 0;
        if (pack(p, rows, e) < 0)
            return -1;
    } while (!p->batch.n_wanted);
    return 1;
}

int pass_forward(struct pass *p, int save, struct err *e)
{
    assert(!save || !p->share);
    return decoder_forward(&p->decoder, &p->batch, NULL, save, e);
}
