// SPDX-License-Identifier: MIT
#include "tokenize/sentencepiece.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "tokenize/protobuf.h"

static const char word_mark[] = "\xE2\x96\x81"; // U+2581
enum { MARK = 3 };

// ---- Reading ------------------------------------------------------------------------------------

// Numbers of fields, as sentencepiece_model.proto has them.
enum { MODEL_PIECES = 1, MODEL_TRAINER = 2, MODEL_NORMALIZER = 3, MODEL_DENORMALIZER = 5 };
enum { PIECE_TEXT = 1, PIECE_SCORE = 2, PIECE_TYPE = 3 };
enum {
    TRAINER_MODEL_TYPE = 3,
    TRAINER_PREFIX_IS_SUFFIX = 24,
    TRAINER_BYTE_FALLBACK = 35,
    TRAINER_UNK_SURFACE = 44,
    TRAINER_BOS_PIECE = 46,
    TRAINER_EOS_PIECE = 47,
};
enum { NORMALIZER_MAP = 2, NORMALIZER_PREFIX = 3, NORMALIZER_EXTRA = 4, NORMALIZER_ESCAPE = 5 };

struct reader {
    struct sentencepiece *m;
    struct vocabulary *tokens;
    const char *name;
    size_t type_room, score_room;
    int64_t model_type;
    struct err *e;
};

static int fail(struct reader *r, const char *reason)
{
    return err_set(r->e, STATUS_FAILED, "%s: %s", r->name, reason);
}

static int malformed(struct reader *r)
{
    return fail(r, "not a model of SentencePiece, or cut short");
}

static int add_piece(struct reader *r, const struct protobuf_field *text, float score, int64_t type)
{
    struct sentencepiece *m = r->m;
    char reason[64];
    if (text->size == 0)
        return fail(r, "a piece without a text");
    if (utf8_valid_prefix((const char *)text->data, text->size) != text->size)
        return fail(r, "a piece that is no UTF-8");
    if (type < SENTENCEPIECE_NORMAL || type > SENTENCEPIECE_BYTE) {
        snprintf(reason, sizeof reason, "pieces of type %lld are not supported", (long long)type);
        return fail(r, reason);
    }
    if (vocabulary_find(r->tokens, (const char *)text->data, text->size) >= 0)
        return fail(r, "a piece that comes twice");
    if (MEM_GROW(m->type, r->type_room, m->n + 1, "pieces", r->e) < 0 ||
        MEM_GROW(m->score, r->score_room, m->n + 1, "pieces", r->e) < 0 ||
        vocabulary_add(r->tokens, (const char *)text->data, text->size, (uint32_t)m->n, r->e) < 0)
        return -1;
    if (type == SENTENCEPIECE_UNKNOWN) {
        if (m->unk >= 0)
            return fail(r, "two pieces for what is unknown");
        m->unk = (int64_t)m->n;
    }
    m->has_unused |= type == SENTENCEPIECE_UNUSED;
    m->type[m->n] = (unsigned char)type;
    m->score[m->n++] = score == 0 ? 0 : score; // no -0
    return 0;
}

static int read_piece(struct reader *r, const struct protobuf_field *message)
{
    struct protobuf p = {message->data, message->data + message->size};
    struct protobuf_field f, text = {0};
    float score = 0;
    int64_t type = SENTENCEPIECE_NORMAL;
    int more;
    while ((more = protobuf_next(&p, &f)) > 0) {
        if (f.number == PIECE_TEXT && f.kind == PROTOBUF_BYTES)
            text = f;
        else if (f.number == PIECE_SCORE && f.kind == PROTOBUF_32)
            score = protobuf_float(&f);
        else if (f.number == PIECE_TYPE && f.kind == PROTOBUF_VARINT)
            type = (int64_t)f.value;
    }
    return more < 0 ? malformed(r) : add_piece(r, &text, score, type);
}

static int take_text(struct buffer *to, const struct protobuf_field *f, struct err *e)
{
    buffer_clear(to);
    return buffer_append(to, f->data ? (const char *)f->data : "", f->size, e);
}

static int read_trainer(struct reader *r, const struct protobuf_field *message)
{
    struct protobuf p = {message->data, message->data + message->size};
    struct protobuf_field f;
    struct sentencepiece *m = r->m;
    int more;
    while ((more = protobuf_next(&p, &f)) > 0) {
        if (f.kind == PROTOBUF_VARINT && f.number == TRAINER_MODEL_TYPE)
            r->model_type = (int64_t)f.value;
        else if (f.kind == PROTOBUF_VARINT && f.number == TRAINER_PREFIX_IS_SUFFIX)
            m->prefix_is_suffix = f.value != 0;
        else if (f.kind == PROTOBUF_VARINT && f.number == TRAINER_BYTE_FALLBACK)
            m->byte_fallback = f.value != 0;
        else if (f.kind == PROTOBUF_BYTES && f.number == TRAINER_BOS_PIECE) {
            if (take_text(&m->bos_piece, &f, r->e) < 0)
                return -1;
        } else if (f.kind == PROTOBUF_BYTES && f.number == TRAINER_EOS_PIECE) {
            if (take_text(&m->eos_piece, &f, r->e) < 0)
                return -1;
        } else if (f.kind == PROTOBUF_BYTES && f.number == TRAINER_UNK_SURFACE) {
            if (take_text(&m->unk_surface, &f, r->e) < 0)
                return -1;
        }
    }
    return more < 0 ? malformed(r) : 0;
}

static int take_map(struct reader *r, struct charsmap *map, const struct protobuf_field *f)
{
    charsmap_release(map);
    return charsmap_init(map, f->data, f->size, r->name, r->e);
}

static int read_normalizer(struct reader *r, const struct protobuf_field *message, int back)
{
    struct protobuf p = {message->data, message->data + message->size};
    struct protobuf_field f;
    struct sentencepiece *m = r->m;
    int more;
    while ((more = protobuf_next(&p, &f)) > 0) {
        if (f.kind == PROTOBUF_BYTES && f.number == NORMALIZER_MAP) {
            if (take_map(r, back ? &m->denormalize : &m->normalize, &f) < 0)
                return -1;
        } else if (back || f.kind != PROTOBUF_VARINT) {
            continue;
        } else if (f.number == NORMALIZER_PREFIX) {
            m->dummy_prefix = f.value != 0;
        } else if (f.number == NORMALIZER_EXTRA) {
            m->extra_spaces_go = f.value != 0;
        } else if (f.number == NORMALIZER_ESCAPE) {
            m->escapes = f.value != 0;
        }
    }
    return more < 0 ? malformed(r) : 0;
}

static int read_model(struct reader *r, const void *data, size_t size)
{
    struct protobuf p = {data, (const unsigned char *)data + size};
    struct protobuf_field f;
    int more, result = 0;
    while (result == 0 && (more = protobuf_next(&p, &f)) > 0) {
        if (f.kind != PROTOBUF_BYTES)
            continue;
        if (f.number == MODEL_PIECES)
            result = read_piece(r, &f);
        else if (f.number == MODEL_TRAINER)
            result = read_trainer(r, &f);
        else if (f.number == MODEL_NORMALIZER || f.number == MODEL_DENORMALIZER)
            result = read_normalizer(r, &f, f.number == MODEL_DENORMALIZER);
    }
    return result < 0 ? -1 : more < 0 ? malformed(r) : 0;
}

static int find_bytes(struct reader *r)
{
    struct sentencepiece *m = r->m;
    for (int i = 0; m->byte_fallback && i < 256; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", i);
        int64_t id = vocabulary_find(r->tokens, name, 6);
        if (id < 0)
            return fail(r, "`byte_fallback` without a piece for each byte");
        m->byte_id[i] = (uint32_t)id;
    }
    return 0;
}

// A piece by its text, if it has the type.
static int64_t find_piece(const struct reader *r, const struct buffer *text, const char *usual)
{
    int64_t id = text->size ? vocabulary_find(r->tokens, text->data, text->size)
                            : vocabulary_find(r->tokens, usual, strlen(usual));
    return id >= 0 && r->m->type[id] == SENTENCEPIECE_CONTROL ? id : -1;
}

static int build_symbols(struct reader *r)
{
    struct sentencepiece *m = r->m;
    struct trie_word *list = mem_alloc(m->n, sizeof *list, "pieces", r->e);
    size_t n = 0;
    m->user = mem_alloc(m->n, 1, "pieces", r->e);
    if (!list || !m->user) {
        free(list);
        return -1;
    }
    for (uint32_t id = 0; id < m->n; id++) {
        size_t size;
        const char *text = vocabulary_text(r->tokens, id, &size);
        m->user[id] = m->type[id] == SENTENCEPIECE_USER_DEFINED;
        if (m->user[id])
            list[n++] = (struct trie_word){text, (uint32_t)size, id};
    }
    int result = trie_build(&m->symbols, list, n, r->e);
    free(list);
    return result;
}

static int is_normal(const struct sentencepiece *m, size_t id)
{
    return m->type[id] == SENTENCEPIECE_NORMAL;
}

static int build_unigram(struct reader *r)
{
    struct sentencepiece *m = r->m;
    struct unigram_word *word = mem_alloc(m->n, sizeof *word, "pieces", r->e);
    float low = FLT_MAX;
    if (!word)
        return -1;
    for (size_t i = 0; i < m->n; i++) {
        word[i].score = m->score[i];
        word[i].usable = is_normal(m, i) || m->user[i];
        if (is_normal(m, i) && m->score[i] < low)
            low = m->score[i];
    }
    int result = unigram_init(&m->unigram, r->tokens, word, m->n, m->unk, 0, r->e);
    m->unigram.sentencepiece = 1;
    m->unigram.user = m->user;
    m->unigram.unk_score = (double)(low - 10.0f);
    return result;
}

int sentencepiece_init(struct sentencepiece *m, const void *data, size_t size, const char *name,
                       struct vocabulary *tokens, struct err *e)
{
    struct reader r = {.m = m, .tokens = tokens, .name = name, .model_type = 1, .e = e};
    memset(m, 0, sizeof *m);
    m->unk = -1;
    m->dummy_prefix = m->extra_spaces_go = m->escapes = 1;
    buffer_init(&m->bos_piece, 0);
    buffer_init(&m->eos_piece, 0);
    buffer_init(&m->unk_surface, 0);
    if (buffer_string(&m->unk_surface, " \xE2\x81\x87 ", e) < 0) // " ⁇ "
        return -1;
    if (read_model(&r, data, size) < 0)
        return -1;
    if (m->n == 0)
        return malformed(&r);
    if (m->unk < 0)
        return fail(&r, "no piece for what is unknown");
    m->bos = find_piece(&r, &m->bos_piece, "<s>");
    m->eos = find_piece(&r, &m->eos_piece, "</s>");
    m->is_unigram = r.model_type == 1;
    if (r.model_type == 3 || r.model_type == 4)
        return fail(&r, "key `model_type`: models of words or characters are not supported");
    if (r.model_type < 1 || r.model_type > 4)
        return fail(&r, "key `model_type`: unknown");
    if (find_bytes(&r) < 0 || build_symbols(&r) < 0)
        return -1;
    return m->is_unigram ? build_unigram(&r) : 0;
}

void sentencepiece_release(struct sentencepiece *m)
{
    free(m->type);
    free(m->score);
    free(m->user);
    charsmap_release(&m->normalize);
    charsmap_release(&m->denormalize);
    trie_release(&m->symbols);
    unigram_release(&m->unigram);
    buffer_release(&m->bos_piece);
    buffer_release(&m->eos_piece);
    buffer_release(&m->unk_surface);
    memset(m, 0, sizeof *m);
}

int sentencepiece_is_control(const struct sentencepiece *m, uint32_t id)
{
    return id < m->n && m->type[id] == SENTENCEPIECE_CONTROL;
}

// ---- Normalization ------------------------------------------------------------------------------

// The longest user-defined piece at the start of the text; 0: none.
static size_t match_symbol(const struct sentencepiece *m, const char *text, size_t size)
{
    size_t found = 0;
    uint32_t node = 0;
    if (!m->symbols.n_nodes)
        return 0;
    for (size_t i = 0; i < size; i++) {
        node = trie_step(&m->symbols, node, (unsigned char)text[i]);
        if (!node)
            break;
        if (m->symbols.node[node].value != TRIE_NONE)
            found = i + 1;
    }
    return found;
}

// What the text begins with, and what becomes of it.
struct rewritten_prefix {
    size_t length;
    const char *text;
    size_t size;
};

static struct rewritten_prefix next_prefix(const struct sentencepiece *m, const char *text,
                                           size_t size)
{
    struct rewritten_prefix p = {match_symbol(m, text, size), text, 0};
    p.size = p.length;
    if (p.length)
        return p;
    p.length = charsmap_find(&m->normalize, text, size, 1, &p.text, &p.size);
    if (p.length)
        return p;
    utf8_next(text, &p.length);
    return (struct rewritten_prefix){p.length, text, p.length};
}

static int put_text(const struct sentencepiece *m, struct aligned *out, const char *text,
                    size_t size, uint32_t from, uint32_t to, struct err *e)
{
    size_t done = 0;
    for (size_t i = 0; m->escapes && i < size; i++) {
        if (text[i] != ' ')
            continue;
        if (aligned_put(out, text + done, i - done, from, to, e) < 0 ||
            aligned_put(out, word_mark, MARK, from, to, e) < 0)
            return -1;
        done = i + 1;
    }
    return aligned_put(out, text + done, size - done, from, to, e);
}

static size_t skip_spaces(const struct sentencepiece *m, const struct slice *text)
{
    size_t at = 0;
    while (m->extra_spaces_go && at < text->size) {
        struct rewritten_prefix p = next_prefix(m, text->data + at, text->size - at);
        if (p.size != 1 || p.text[0] != ' ')
            break;
        at += p.length;
    }
    return at;
}

static int rewrite(const struct sentencepiece *m, const struct slice *text, size_t at,
                   struct aligned *out, struct err *e)
{
    int after_space = m->extra_spaces_go;
    while (at < text->size) {
        struct rewritten_prefix p = next_prefix(m, text->data + at, text->size - at);
        uint32_t from = slice_from(text, at), to = slice_to(text, at + p.length - 1);
        while (after_space && p.size && p.text[0] == ' ') {
            p.text++;
            p.size--;
        }
        if (p.size) {
            if (put_text(m, out, p.text, p.size, from, to, e) < 0)
                return -1;
            after_space = m->extra_spaces_go && p.text[p.size - 1] == ' ';
        }
        at += p.length;
    }
    return 0;
}

static void trim(const struct sentencepiece *m, struct aligned *out)
{
    const char *space = m->escapes ? word_mark : " ";
    size_t size = m->escapes ? MARK : 1;
    while (m->extra_spaces_go && out->size >= size &&
           !memcmp(out->data + out->size - size, space, size))
        out->size -= size;
}

int sentencepiece_normalize(const struct sentencepiece *m, int prefix, struct slice *text,
                            struct aligned_pair *buffers, struct err *e)
{
    struct aligned *out = aligned_pair_next(buffers);
    size_t at = skip_spaces(m, text);
    prefix = prefix && m->dummy_prefix && at < text->size;
    // What is put in has the place of its neighbour.
    if (prefix && !m->prefix_is_suffix &&
        put_text(m, out, " ", 1, slice_from(text, at), slice_to(text, at), e) < 0)
        return -1;
    if (rewrite(m, text, at, out, e) < 0)
        return -1;
    trim(m, out);
    if (prefix && m->prefix_is_suffix &&
        put_text(m, out, " ", 1, slice_from(text, text->size - 1), slice_to(text, text->size - 1),
                 e) < 0)
        return -1;
    *text = aligned_view(out);
    return 0;
}

// ---- Encoding -----------------------------------------------------------------------------------

void sentencepiece_scratch_init(struct sentencepiece_scratch *s)
{
    memset(s, 0, sizeof *s);
    unigram_scratch_init(&s->unigram);
}

void sentencepiece_scratch_release(struct sentencepiece_scratch *s)
{
    unigram_scratch_release(&s->unigram);
    free(s->symbol);
    free(s->heap);
    free(s->left);
    free(s->stack);
    free(s->token);
    sentencepiece_scratch_init(s);
}

static int add_token(struct sentencepiece_scratch *s, uint32_t id, size_t start, size_t end,
                     struct err *e)
{
    if (s->n == s->token_capacity &&
        MEM_GROW(s->token, s->token_capacity, s->n + 1, "tokens", e) < 0)
        return -1;
    s->token[s->n++] = (struct unigram_token){id, (uint32_t)start, (uint32_t)end};
    return 0;
}

// A piece of the text: what is unknown becomes bytes, or one token with its unknown neighbours.
static int emit(const struct sentencepiece *m, struct sentencepiece_scratch *s, const char *text,
                int64_t id, size_t start, size_t end, struct err *e)
{
    if (id != m->unk)
        return add_token(s, (uint32_t)id, start, end, e);
    if (m->byte_fallback) {
        for (size_t i = start; i < end; i++)
            if (add_token(s, m->byte_id[(unsigned char)text[i]], start, end, e) < 0)
                return -1;
        return 0;
    }
    if (s->n && s->token[s->n - 1].id == (uint32_t)id) {
        s->token[s->n - 1].end = (uint32_t)end;
        return 0;
    }
    return add_token(s, (uint32_t)id, start, end, e);
}

static int encode_unigram(const struct sentencepiece *m, const struct vocabulary *tokens,
                          struct sentencepiece_scratch *s, const char *text, size_t size,
                          struct err *e)
{
    if (unigram_encode(&m->unigram, tokens, &s->unigram, text, size, e) < 0)
        return -1;
    for (size_t i = 0; i < s->unigram.n; i++) {
        const struct unigram_token *t = &s->unigram.token[i];
        if (emit(m, s, text, t->id, t->start, t->end, e) < 0)
            return -1;
    }
    return 0;
}

static int64_t piece_id(const struct sentencepiece *m, const struct vocabulary *tokens,
                        const char *text, size_t size)
{
    int64_t id = vocabulary_find(tokens, text, size);
    return id < 0 || (size_t)id >= m->n ? -1 : id;
}

static int can_merge(const struct sentencepiece *m, int64_t id)
{
    return id >= 0 &&
           (m->type[id] == SENTENCEPIECE_NORMAL || m->type[id] == SENTENCEPIECE_USER_DEFINED ||
            m->type[id] == SENTENCEPIECE_UNUSED);
}

// Floats in order as whole numbers.
static uint32_t ordered(float score)
{
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    return bits >> 31 ? ~bits : bits | UINT32_C(1) << 31;
}

static int heap_push(struct sentencepiece_scratch *s, struct sentencepiece_pair pair, struct err *e)
{
    if (MEM_GROW(s->heap, s->heap_capacity, s->n_pairs + 1, "merging", e) < 0)
        return -1;
    size_t i = s->n_pairs++;
    while (i > 0 && s->heap[(i - 1) / 2].key > pair.key) {
        s->heap[i] = s->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    s->heap[i] = pair;
    return 0;
}

static struct sentencepiece_pair heap_pop(struct sentencepiece_scratch *s)
{
    struct sentencepiece_pair top = s->heap[0], last = s->heap[--s->n_pairs];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < s->n_pairs) {
        if (child + 1 < s->n_pairs && s->heap[child + 1].key < s->heap[child].key)
            child++;
        if (s->heap[child].key >= last.key)
            break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return top;
}

static int push_pair(const struct sentencepiece *m, const struct vocabulary *tokens,
                     struct sentencepiece_scratch *s, const char *text, int32_t left, int32_t right,
                     struct err *e)
{
    if (left < 0 || right < 0 || s->symbol[left].frozen || s->symbol[right].frozen)
        return 0;
    const struct sentencepiece_symbol *a = &s->symbol[left], *b = &s->symbol[right];
    int64_t id = piece_id(m, tokens, text + a->start, a->size + b->size);
    if (!can_merge(m, id))
        return 0;
    if (m->type[id] == SENTENCEPIECE_UNUSED)
        s->left[id] = a->size;
    uint64_t key = (uint64_t)~ordered(m->score[id]) << 32 | (uint32_t)left;
    return heap_push(s, (struct sentencepiece_pair){key, (uint32_t)right, a->size + b->size}, e);
}

static int split(const struct sentencepiece *m, struct sentencepiece_scratch *s, const char *text,
                 size_t size, struct err *e)
{
    s->n_symbols = 0;
    for (size_t at = 0, end; at < size; at = end) {
        size_t symbol = match_symbol(m, text + at, size - at);
        end = at;
        if (symbol)
            end += symbol;
        else
            utf8_next(text, &end);
        if (s->n_symbols >= INT32_MAX)
            return err_set(e, STATUS_FAILED, "a text of %zu bytes is too long", size);
        if (MEM_GROW(s->symbol, s->symbol_capacity, s->n_symbols + 1, "a piece of text", e) < 0)
            return -1;
        int32_t i = (int32_t)s->n_symbols++;
        s->symbol[i] = (struct sentencepiece_symbol){(uint32_t)at, (uint32_t)(end - at), i - 1,
                                                     end < size ? i + 1 : -1, symbol > 0};
    }
    return 0;
}

static int merge(const struct sentencepiece *m, const struct vocabulary *tokens,
                 struct sentencepiece_scratch *s, const char *text, struct err *e)
{
    s->n_pairs = 0;
    for (size_t i = 1; i < s->n_symbols; i++)
        if (push_pair(m, tokens, s, text, (int32_t)i - 1, (int32_t)i, e) < 0)
            return -1;
    while (s->n_pairs) {
        struct sentencepiece_pair top = heap_pop(s);
        int32_t left = (int32_t)(top.key & UINT32_MAX), right = (int32_t)top.right;
        struct sentencepiece_symbol *a = &s->symbol[left], *b = &s->symbol[right];
        // An entry is stale when one of the two was merged since.
        if (!a->size || !b->size || a->size + b->size != top.size)
            continue;
        a->size += b->size;
        a->next = b->next;
        if (b->next >= 0)
            s->symbol[b->next].previous = left;
        b->size = 0;
        if (push_pair(m, tokens, s, text, a->previous, left, e) < 0 ||
            push_pair(m, tokens, s, text, left, a->next, e) < 0)
            return -1;
    }
    return 0;
}

// A symbol's pieces: one that is unused falls apart into what it was made of.
static int emit_symbol(const struct sentencepiece *m, const struct vocabulary *tokens,
                       struct sentencepiece_scratch *s, const char *text,
                       const struct sentencepiece_symbol *symbol, struct err *e)
{
    size_t n = 1;
    if (MEM_GROW(s->stack, s->stack_capacity, 1, "pieces", e) < 0)
        return -1;
    s->stack[0] = (struct sentencepiece_range){symbol->start, symbol->size};
    while (n) {
        struct sentencepiece_range r = s->stack[--n];
        int64_t id = piece_id(m, tokens, text + r.start, r.size);
        int unused = id >= 0 && m->type[id] == SENTENCEPIECE_UNUSED;
        uint32_t left = unused ? s->left[id] : 0;
        if (left == 0 || left >= r.size) { // nothing to fall apart into: as if it was not there
            if (emit(m, s, text, id < 0 || unused ? m->unk : id, r.start, r.start + r.size, e) < 0)
                return -1;
            continue;
        }
        if (MEM_GROW(s->stack, s->stack_capacity, n + 2, "pieces", e) < 0)
            return -1;
        s->stack[n++] = (struct sentencepiece_range){r.start + left, r.size - left};
        s->stack[n++] = (struct sentencepiece_range){r.start, left};
    }
    return 0;
}

static int encode_bpe(const struct sentencepiece *m, const struct vocabulary *tokens,
                      struct sentencepiece_scratch *s, const char *text, size_t size, struct err *e)
{
    if (m->has_unused && !s->left) {
        s->left = mem_alloc(m->n, sizeof *s->left, "pieces", e);
        if (!s->left)
            return -1;
    }
    if (split(m, s, text, size, e) < 0 || merge(m, tokens, s, text, e) < 0)
        return -1;
    for (int32_t i = s->n_symbols ? 0 : -1; i >= 0; i = s->symbol[i].next)
        if (emit_symbol(m, tokens, s, text, &s->symbol[i], e) < 0)
            return -1;
    return 0;
}

int sentencepiece_encode(const struct sentencepiece *m, const struct vocabulary *tokens,
                         struct sentencepiece_scratch *s, const char *text, size_t size,
                         struct err *e)
{
    s->n = 0;
    return m->is_unigram ? encode_unigram(m, tokens, s, text, size, e)
                         : encode_bpe(m, tokens, s, text, size, e);
}
