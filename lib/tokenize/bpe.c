// SPDX-License-Identifier: MIT
#include "tokenize/bpe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "tokenize/unicode.h"

enum {
    SHORT_MAX = 128, // symbols up to which plain scans for the best pair beat a heap
    PART = 1 << 16,  // bytes from which on a piece is taken apart where no merge can join it
    KEPT = 1 << 18,  // symbols for which working memory stays
    CACHE_BITS = 15, // pairs of words
    WORD_BYTES = 62, // for a word of the cache and its tokens
    TOKEN_BYTES = 5, // of these for a token: id and size
    MERGES_MAX = (1 << BPE_RANK_BITS) - 1,
};
static const uint32_t no_id = UINT32_MAX;
static const int32_t no_rank = INT32_MAX;

// A word of the cache: 64 bytes, so that a look-up touches one line of the processor's. The text
// stands in front, the sizes of the tokens and behind them their ids at the end.
struct bpe_word {
    uint8_t size, n; // size 0: free
    char text[WORD_BYTES];
};

static inline uint64_t pair_hash(uint32_t left, uint32_t right)
{
    uint64_t h = ((uint64_t)left << 32 | right) * 0x9E3779B97F4A7C15u;
    return h ^ h >> 32;
}

static inline uint32_t hash_tag(uint64_t hash)
{
    return (uint32_t)(hash >> 56);
}

// The rank of the merge of left and right, where `slot` stands at the first place of their hash.
static inline int32_t rank_from(const struct bpe *b, uint32_t left, uint32_t right, uint64_t hash,
                                uint32_t slot)
{
    for (size_t i = hash & b->mask; slot; slot = b->slot[i = (i + 1) & b->mask]) {
        if (slot >> BPE_RANK_BITS != hash_tag(hash))
            continue;
        uint32_t rank = (slot & MERGES_MAX) - 1;
        if (b->merge[rank].left == left && b->merge[rank].right == right)
            return (int32_t)rank;
    }
    return no_rank;
}

static inline int32_t find_merge(const struct bpe *b, uint32_t left, uint32_t right)
{
    uint64_t hash = pair_hash(left, right);
    return rank_from(b, left, right, hash, b->slot[hash & b->mask]);
}

static void enter_merge(struct bpe *b, uint32_t rank)
{
    const struct bpe_merge *m = &b->merge[rank];
    uint64_t hash = pair_hash(m->left, m->right);
    size_t i = hash & b->mask;
    while (b->slot[i]) {
        const struct bpe_merge *other = &b->merge[(b->slot[i] & MERGES_MAX) - 1];
        if (other->left == m->left && other->right == m->right)
            break;
        i = (i + 1) & b->mask;
    }
    b->slot[i] = hash_tag(hash) << BPE_RANK_BITS | (rank + 1);
}

static int alloc_slots(struct bpe *b, size_t n, struct err *e)
{
    uint32_t *slot = mem_alloc(n, sizeof *slot, "merges", e);
    if (!slot)
        return -1;
    free(b->slot);
    b->slot = slot;
    b->mask = n - 1;
    for (uint32_t i = 0; i < b->n_merges; i++)
        enter_merge(b, i);
    return 0;
}

// A pair that comes twice keeps its later rank.
static int add_merge(struct bpe *b, uint32_t left, uint32_t right, uint32_t id, struct err *e)
{
    if (b->n_merges == MERGES_MAX)
        return err_set(e, STATUS_FAILED, "tokenizer.json: key `merges`: more than %d entries",
                       MERGES_MAX);
    if (MEM_GROW(b->merge, b->capacity, b->n_merges + 1, "merges", e) < 0 ||
        (2 * (b->n_merges + 1) > b->mask + 1 && alloc_slots(b, 2 * (b->mask + 1), e) < 0))
        return -1;
    b->merge[b->n_merges] = (struct bpe_merge){left, right, id};
    enter_merge(b, (uint32_t)b->n_merges++);
    return 0;
}

static const char word_mark[] = "\xE2\x96\x81"; // U+2581, a blank in SentencePiece's spelling
enum { MARK = 3 };

static int starts_marked(const char *text, size_t size)
{
    return size >= MARK && !memcmp(text, word_mark, MARK);
}

static int all_marks(const char *text, size_t size)
{
    while (starts_marked(text, size)) {
        text += MARK;
        size -= MARK;
    }
    return size == 0;
}

static int merge_fail(struct json_scan *scan, uint32_t rank, const char *why)
{
    char reason[96];
    snprintf(reason, sizeof reason, "key `merges`: entry %u %s", rank, why);
    return json_scan_fail(scan, reason);
}

static int add_merge_text(struct bpe *b, struct json_scan *scan, const struct vocabulary *tokens,
                          const char *left, size_t left_size, const char *right, size_t right_size,
                          struct buffer *joined, uint32_t rank)
{
    int64_t l = vocabulary_find(tokens, left, left_size);
    int64_t r = vocabulary_find(tokens, right, right_size);
    if (l < 0 || r < 0)
        return merge_fail(scan, rank, "joins what is not in the vocabulary");
    if (starts_marked(right, right_size) && !all_marks(left, left_size))
        b->cuts = 0;
    size_t skip = b->prefix_size < right_size ? b->prefix_size : right_size;
    buffer_clear(joined);
    if (buffer_append(joined, left, left_size, scan->e) < 0 ||
        buffer_append(joined, right + skip, right_size - skip, scan->e) < 0)
        return -1;
    int64_t id = vocabulary_find(tokens, joined->data, joined->size);
    if (id < 0)
        return merge_fail(scan, rank, "makes what is not in the vocabulary");
    return add_merge(b, (uint32_t)l, (uint32_t)r, (uint32_t)id, scan->e);
}

// One entry: "a b" or ["a", "b"].
static int read_merge(struct bpe *b, struct json_scan *scan, const struct vocabulary *tokens,
                      struct buffer *first, struct buffer *joined, uint32_t rank)
{
    const char *text;
    size_t size;
    if (json_scan_peek(scan) == '[') {
        scan->p++;
        buffer_clear(first);
        if (json_scan_string(scan, &text, &size) < 0 ||
            buffer_append(first, text, size, scan->e) < 0 || json_scan_expect(scan, ',') < 0 ||
            json_scan_string(scan, &text, &size) < 0 || json_scan_expect(scan, ']') < 0)
            return -1;
        return add_merge_text(b, scan, tokens, first->data, first->size, text, size, joined, rank);
    }
    if (json_scan_string(scan, &text, &size) < 0)
        return -1;
    if (size >= 8 && !memcmp(text, "#version", 8))
        return 0;
    const char *space = memchr(text, ' ', size);
    if (!space)
        return merge_fail(scan, rank, "is not two parts");
    size_t left = (size_t)(space - text);
    if (memchr(space + 1, ' ', size - left - 1))
        return merge_fail(scan, rank, "is more than two parts");
    return add_merge_text(b, scan, tokens, text, left, space + 1, size - left - 1, joined, rank);
}

static int read_merges(struct bpe *b, struct json_scan *scan, const struct vocabulary *tokens,
                       struct err *e)
{
    if (alloc_slots(b, 1024, e) < 0)
        return -1;
    if (!scan)
        return 0;
    struct buffer first, joined;
    buffer_init(&first, 1 << 24);
    buffer_init(&joined, 1 << 24);
    int more = json_scan_expect(scan, '['), start = 1;
    for (uint32_t rank = 0; more == 0 && (more = json_scan_more(scan, ']', &start)) > 0; rank++)
        more = read_merge(b, scan, tokens, &first, &joined, rank);
    buffer_release(&first);
    buffer_release(&joined);
    return more;
}

// Tokens as the bytes that they stand for; those with characters outside the byte alphabet cannot
// come from text.
static int add_raw_words(struct bpe *b, const struct vocabulary *tokens, struct err *e)
{
    struct buffer raw;
    buffer_init(&raw, 0);
    int result = buffer_reserve(&raw, 1, e);
    for (uint32_t id = 0; result == 0 && id < tokens->n_ids; id++) {
        size_t size, i = 0;
        const char *text = vocabulary_text(tokens, id, &size);
        if (!text || vocabulary_find(tokens, text, size) != id)
            continue;
        buffer_clear(&raw);
        while (result == 0 && i < size) {
            int byte = byte_alphabet_byte(utf8_next(text, &i));
            if (byte < 0)
                break;
            char c = (char)byte;
            result = buffer_append(&raw, &c, 1, e);
            if (i == size && result == 0)
                result = vocabulary_add(&b->words, raw.data, raw.size, id, e);
        }
    }
    buffer_release(&raw);
    return result;
}

static int add_words(struct bpe *b, const struct vocabulary *tokens, struct err *e)
{
    if (b->byte_level && add_raw_words(b, tokens, e) < 0)
        return -1;
    for (uint32_t id = 0; !b->byte_level && id < tokens->n_ids; id++) {
        size_t size;
        const char *text = vocabulary_text(tokens, id, &size);
        if (text && vocabulary_find(tokens, text, size) == id &&
            vocabulary_add(&b->words, text, size, id, e) < 0)
            return -1;
    }
    for (int i = 0; i < 256; i++) {
        char byte = (char)i, name[8];
        int64_t id = vocabulary_find(&b->words, &byte, 1);
        b->byte_id[i] = id < 0 ? no_id : (uint32_t)id;
        snprintf(name, sizeof name, "<0x%02X>", i);
        id = vocabulary_find(tokens, name, 6);
        b->fallback_id[i] = id < 0 ? no_id : (uint32_t)id;
    }
    return 0;
}

static int take_affix(const json_t *value, const char *key, char **out, size_t *size,
                      const char *name, struct err *e)
{
    const char *text = NULL;
    if (json_get_string(value, key, &text, name, e) < 0)
        return -1;
    if (!text || !*text)
        return 0;
    *size = strlen(text);
    *out = strdup(text);
    return *out ? 0 : err_memory(e, *size, key);
}

static int pair_bytes(struct bpe *b, struct err *e)
{
    for (int i = 0; i < 256; i++)
        if (!b->byte_level || b->byte_id[i] == no_id)
            return 0;
    b->byte_pair = mem_alloc(1 << 16, sizeof *b->byte_pair, "merges", e);
    for (int i = 0; b->byte_pair && i < 1 << 16; i++)
        b->byte_pair[i] = find_merge(b, b->byte_id[i >> 8], b->byte_id[i & 255]);
    return b->byte_pair ? 0 : -1;
}

// Which byte a token may end with before one that begins with which, when a merge joins them.
static int bytes_that_join(struct bpe *b, struct err *e)
{
    if (!b->byte_pair || b->ignore_merges)
        return 0;
    b->joins = mem_alloc(256, sizeof *b->joins, "merges", e);
    for (size_t i = 0; b->joins && i < b->n_merges; i++) {
        size_t n, m;
        const char *left = vocabulary_text(&b->words, b->merge[i].left, &n);
        const char *right = vocabulary_text(&b->words, b->merge[i].right, &m);
        if (left && right && n && m)
            b->joins[(unsigned char)left[n - 1]][(unsigned char)right[0]] = 1;
    }
    return b->joins ? 0 : -1;
}

// Whether no character vanishes: over one that does, merges join what was apart.
static int keeps_all(const struct bpe *b)
{
    int all = b->byte_fallback;
    for (int i = 0; i < 256; i++)
        all &= b->fallback_id[i] != no_id;
    return all || b->unk >= 0;
}

int bpe_init(struct bpe *b, const json_t *value, struct json_scan *merges,
             const struct vocabulary *tokens, int byte_level, struct err *e)
{
    memset(b, 0, sizeof *b);
    vocabulary_init(&b->words);
    const char *name = "tokenizer.json", *unk = NULL;
    double dropout = 0;
    b->byte_level = byte_level;
    b->unk = -1;
    if (json_get_bool(value, "byte_fallback", &b->byte_fallback, name, e) < 0 ||
        json_get_bool(value, "fuse_unk", &b->fuse_unk, name, e) < 0 ||
        json_get_bool(value, "ignore_merges", &b->ignore_merges, name, e) < 0 ||
        json_get_string(value, "unk_token", &unk, name, e) < 0 ||
        json_get_real(value, "dropout", &dropout, name, e) < 0 ||
        take_affix(value, "continuing_subword_prefix", &b->prefix, &b->prefix_size, name, e) < 0 ||
        take_affix(value, "end_of_word_suffix", &b->suffix, &b->suffix_size, name, e) < 0)
        return -1;
    if (dropout != 0)
        return err_set(e, STATUS_FAILED, "%s: key `dropout`: random merges are not supported",
                       name);
    if (byte_level && (b->prefix || b->suffix))
        return err_set(e, STATUS_FAILED, "%s: key `%s`: not supported with ByteLevel", name,
                       b->prefix ? "continuing_subword_prefix" : "end_of_word_suffix");
    if (unk) {
        b->unk = vocabulary_find(tokens, unk, strlen(unk));
        if (b->unk < 0)
            return err_set(e, STATUS_FAILED, "%s: key `unk_token`: `%s` is not in the vocabulary",
                           name, unk);
    }
    // The mark must be known: it also ends a run of unknown characters that fuse.
    b->cuts = !byte_level && !b->prefix && !b->suffix && !b->ignore_merges &&
              vocabulary_find(tokens, word_mark, MARK) >= 0;
    if (add_words(b, tokens, e) < 0 || read_merges(b, merges, tokens, e) < 0)
        return -1;
    b->cuts = b->cuts && keeps_all(b);
    return pair_bytes(b, e) < 0 ? -1 : bytes_that_join(b, e);
}

void bpe_release(struct bpe *b)
{
    free(b->merge);
    free(b->slot);
    free(b->byte_pair);
    free(b->joins);
    free(b->prefix);
    free(b->suffix);
    vocabulary_release(&b->words);
    memset(b, 0, sizeof *b);
}

void bpe_scratch_init(struct bpe_scratch *s)
{
    memset(s, 0, sizeof *s);
    buffer_init(&s->text, 0);
}

void bpe_scratch_release(struct bpe_scratch *s)
{
    free(s->symbol);
    free(s->heap);
    free(s->cache);
    buffer_release(&s->text);
    bpe_scratch_init(s);
}

static inline void symbol_add(struct bpe_scratch *s, uint32_t id, size_t size)
{
    s->symbol[s->n++] = (struct bpe_symbol){.id = id, .size = (uint32_t)size};
}

// Unknown characters wait here until it is clear how many fuse.
struct unknown {
    int pending;
    size_t size;
};

static void unknown_add(const struct bpe *b, struct bpe_scratch *s, struct unknown *u, size_t size)
{
    if (b->unk < 0) {
        s->dropped += (uint32_t)size;
        return;
    }
    if (u->pending && !b->fuse_unk) {
        symbol_add(s, (uint32_t)b->unk, u->size);
        u->size = 0;
    }
    u->size = u->pending && b->fuse_unk ? u->size + size : size;
    u->pending = 1;
}

static void unknown_flush(const struct bpe *b, struct bpe_scratch *s, struct unknown *u)
{
    if (u->pending)
        symbol_add(s, (uint32_t)b->unk, u->size);
    u->pending = 0;
}

static void split_bytes(const struct bpe *b, struct bpe_scratch *s, const char *piece, size_t size)
{
    struct unknown u = {0};
    for (size_t i = 0; i < size; i++) {
        uint32_t id = b->byte_id[(unsigned char)piece[i]];
        if (id == no_id) {
            unknown_add(b, s, &u, 1);
        } else {
            unknown_flush(b, s, &u);
            symbol_add(s, id, 1);
        }
    }
    unknown_flush(b, s, &u);
}

// The id of a character with the prefix or suffix that its place asks for.
static int64_t find_affixed(const struct bpe *b, struct bpe_scratch *s, const char *text,
                            size_t size, int first, int last, struct err *e)
{
    if ((first || !b->prefix) && (!last || !b->suffix))
        return vocabulary_find(&b->words, text, size);
    buffer_clear(&s->text);
    if ((!first && b->prefix && buffer_append(&s->text, b->prefix, b->prefix_size, e) < 0) ||
        buffer_append(&s->text, text, size, e) < 0 ||
        (last && b->suffix && buffer_append(&s->text, b->suffix, b->suffix_size, e) < 0))
        return -2;
    return vocabulary_find(&b->words, s->text.data, s->text.size);
}

static int has_fallback(const struct bpe *b, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (b->fallback_id[(unsigned char)text[i]] == no_id)
            return 0;
    return b->byte_fallback;
}

static int split_chars(const struct bpe *b, struct bpe_scratch *s, const char *piece, size_t size,
                       struct err *e)
{
    struct unknown u = {0};
    for (size_t i = 0; i < size;) {
        size_t at = i;
        utf8_next(piece, &i);
        int64_t id;
        if (i - at == 1 && !b->prefix && !b->suffix) {
            uint32_t byte = b->byte_id[(unsigned char)piece[at]];
            id = byte == no_id ? -1 : (int64_t)byte;
        } else {
            id = find_affixed(b, s, piece + at, i - at, at == 0, i == size, e);
        }
        if (id == -2)
            return -1;
        if (id >= 0) {
            unknown_flush(b, s, &u);
            symbol_add(s, (uint32_t)id, i - at);
        } else if (has_fallback(b, piece + at, i - at)) {
            for (size_t k = at; k < i; k++)
                symbol_add(s, b->fallback_id[(unsigned char)piece[k]], 1);
        } else {
            unknown_add(b, s, &u, i - at);
        }
    }
    unknown_flush(b, s, &u);
    return 0;
}

// The symbols of a short piece, linked where they stand: a merge moves nothing. Ranks are kept with
// the lowest of each block, so that the next merge is found by two short scans.
enum { BLOCK = 16, BLOCKS = SHORT_MAX / BLOCK };
struct symbol_row {
    int32_t rank[SHORT_MAX]; // of the symbol and the next; none where there is none
    int32_t low[BLOCKS];
    uint32_t id[SHORT_MAX];
    uint32_t start[SHORT_MAX + 1];
    uint8_t next[SHORT_MAX + 1], previous[SHORT_MAX + 1]; // n: the end
    unsigned n, blocks;
};

static inline int32_t lowest(const int32_t *rank)
{
    int32_t low = rank[0];
    for (int i = 1; i < BLOCK; i++)
        low = rank[i] < low ? rank[i] : low;
    return low;
}

static inline void set_rank(struct symbol_row *r, unsigned i, int32_t rank)
{
    int32_t old = r->rank[i], *low = &r->low[i / BLOCK];
    r->rank[i] = rank;
    if (rank <= *low)
        *low = rank;
    else if (old == *low)
        *low = lowest(r->rank + i / BLOCK * BLOCK);
}

// Where the leftmost pair of the lowest rank is; n: none.
static unsigned best_pair(const struct symbol_row *r)
{
    unsigned block = 0, i;
    for (unsigned k = 1; k < r->blocks; k++)
        if (r->low[k] < r->low[block])
            block = k;
    if (r->low[block] == no_rank)
        return r->n;
    for (i = block * BLOCK; r->rank[i] != r->low[block]; i++)
        ;
    return i;
}

static void merge_pair(const struct bpe *b, struct symbol_row *r, unsigned i)
{
    unsigned gone = r->next[i], after = r->next[gone], before = r->previous[i];
    uint32_t id = b->merge[r->rank[i]].id;
    r->id[i] = id;
    r->next[i] = (uint8_t)after;
    r->previous[after] = (uint8_t)i;
    set_rank(r, gone, no_rank);
    // Both look-ups begin before either is finished.
    uint64_t right = pair_hash(id, after < r->n ? r->id[after] : 0);
    uint64_t left = pair_hash(before < r->n ? r->id[before] : 0, id);
    uint32_t right_slot = b->slot[right & b->mask], left_slot = b->slot[left & b->mask];
    set_rank(r, i, after < r->n ? rank_from(b, id, r->id[after], right, right_slot) : no_rank);
    if (before < r->n)
        set_rank(r, before, rank_from(b, r->id[before], id, left, left_slot));
}

static void merge_row(const struct bpe *b, struct symbol_row *r, struct bpe_scratch *s)
{
    r->blocks = (r->n + BLOCK - 1) / BLOCK;
    for (unsigned i = r->n - 1; i < r->blocks * BLOCK; i++)
        r->rank[i] = no_rank;
    for (unsigned i = 0; i < r->blocks; i++)
        r->low[i] = lowest(r->rank + i * BLOCK);
    for (unsigned i = 0; i < r->n; i++) {
        r->next[i] = (uint8_t)(i + 1);
        r->previous[i + 1] = (uint8_t)i;
    }
    r->previous[0] = (uint8_t)r->n;
    for (unsigned i; (i = best_pair(r)) < r->n;)
        merge_pair(b, r, i);
    s->n = 0;
    for (unsigned i = 0; i < r->n; i = r->next[i])
        symbol_add(s, r->id[i], r->start[r->next[i]] - r->start[i]);
}

static void merge_short(const struct bpe *b, struct bpe_scratch *s)
{
    struct symbol_row r;
    r.n = (unsigned)s->n;
    r.start[0] = 0;
    for (unsigned i = 0; i < r.n; i++) {
        r.id[i] = s->symbol[i].id;
        r.start[i + 1] = r.start[i] + s->symbol[i].size;
    }
    for (unsigned i = 0; i + 1 < r.n; i++)
        r.rank[i] = find_merge(b, r.id[i], r.id[i + 1]);
    merge_row(b, &r, s);
}

// The same from bytes that all have tokens.
static void merge_bytes(const struct bpe *b, struct bpe_scratch *s, const char *piece, size_t size)
{
    const unsigned char *p = (const unsigned char *)piece;
    struct symbol_row r;
    r.n = (unsigned)size;
    for (unsigned i = 0; i < size; i++)
        r.id[i] = b->byte_id[p[i]];
    for (unsigned i = 0; i <= size; i++)
        r.start[i] = i;
    for (unsigned i = 0; i + 1 < size; i++)
        r.rank[i] = b->byte_pair[p[i] << 8 | p[i + 1]];
    merge_row(b, &r, s);
}

// A binary heap of (rank << 32 | place): the smallest is the next merge.
static int heap_push(struct bpe_scratch *s, uint64_t key, struct err *e)
{
    if (MEM_GROW(s->heap, s->heap_capacity, s->heap_n + 1, "merging", e) < 0)
        return -1;
    size_t i = s->heap_n++;
    while (i > 0 && s->heap[(i - 1) / 2] > key) {
        s->heap[i] = s->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    s->heap[i] = key;
    return 0;
}

static uint64_t heap_pop(struct bpe_scratch *s)
{
    uint64_t top = s->heap[0], last = s->heap[--s->heap_n];
    size_t i = 0, child;
    while ((child = 2 * i + 1) < s->heap_n) {
        if (child + 1 < s->heap_n && s->heap[child + 1] < s->heap[child])
            child++;
        if (s->heap[child] >= last)
            break;
        s->heap[i] = s->heap[child];
        i = child;
    }
    s->heap[i] = last;
    return top;
}

static int push_pair(const struct bpe *b, struct bpe_scratch *s, int32_t left, struct err *e)
{
    if (left < 0 || s->symbol[left].next < 0)
        return 0;
    int32_t rank = find_merge(b, s->symbol[left].id, s->symbol[s->symbol[left].next].id);
    return rank == no_rank ? 0 : heap_push(s, (uint64_t)rank << 32 | (uint32_t)left, e);
}

static int merge_long(const struct bpe *b, struct bpe_scratch *s, struct err *e)
{
    struct bpe_symbol *symbol = s->symbol;
    if (s->n > INT32_MAX)
        return err_set(e, STATUS_FAILED, "a piece of %zu characters is too long", s->n);
    s->heap_n = 0;
    for (size_t i = 0; i < s->n; i++) {
        symbol[i].previous = (int32_t)i - 1;
        symbol[i].next = i + 1 < s->n ? (int32_t)i + 1 : -1;
    }
    for (size_t i = 0; i < s->n; i++)
        if (push_pair(b, s, (int32_t)i, e) < 0)
            return -1;
    while (s->heap_n) {
        uint64_t key = heap_pop(s);
        int32_t left = (int32_t)(key & UINT32_MAX), right = symbol[left].next;
        if (symbol[left].size == 0 || right < 0)
            continue;
        // An entry is stale when its pair has changed since.
        int32_t rank = find_merge(b, symbol[left].id, symbol[right].id);
        if ((uint64_t)rank != key >> 32)
            continue;
        symbol[left].id = b->merge[rank].id;
        symbol[left].size += symbol[right].size;
        symbol[left].next = symbol[right].next;
        symbol[right].size = 0;
        if (symbol[left].next >= 0)
            symbol[symbol[left].next].previous = left;
        if (push_pair(b, s, symbol[left].previous, e) < 0 || push_pair(b, s, left, e) < 0)
            return -1;
    }
    size_t n = 0;
    for (int32_t i = 0; i >= 0;) {
        int32_t next = symbol[i].next; // read first: n may be i, places only move to the left
        symbol[n++] = symbol[i];
        i = next;
    }
    s->n = n;
    return 0;
}

// The symbols that merging starts from; 1: it ends there too.
static int split(const struct bpe *b, struct bpe_scratch *s, const char *piece, size_t size,
                 struct err *e)
{
    s->n = 0;
    s->dropped = 0;
    if (MEM_GROW(s->symbol, s->capacity, size + 1, "a piece of text", e) < 0)
        return -1;
    if (b->ignore_merges) {
        int64_t id = vocabulary_find(&b->words, piece, size);
        if (id >= 0)
            return symbol_add(s, (uint32_t)id, size), 1;
    }
    if (b->byte_pair && size > 1 && size <= SHORT_MAX)
        return merge_bytes(b, s, piece, size), 1;
    if (b->byte_level)
        split_bytes(b, s, piece, size);
    else if (split_chars(b, s, piece, size, e) < 0)
        return -1;
    return s->n < 2;
}

static int encode_new(const struct bpe *b, struct bpe_scratch *s, const char *piece, size_t size,
                      struct err *e)
{
    int result = split(b, s, piece, size, e);
    if (result != 0)
        return result < 0 ? -1 : 0;
    if (s->n <= SHORT_MAX)
        return merge_short(b, s), 0;
    return merge_long(b, s, e);
}

size_t bpe_part_end(const struct bpe *b, const char *piece, size_t size, size_t at)
{
    if (b->joins && size - at > PART) {
        for (at += PART; at < size; at++)
            if (!b->joins[(unsigned char)piece[at - 1]][(unsigned char)piece[at]])
                return at;
        return size;
    }
    if (!b->cuts)
        return size;
    while (starts_marked(piece + at, size - at))
        at += MARK;
    const char *next = at < size ? memmem(piece + at, size - at, word_mark, MARK) : NULL;
    return next ? (size_t)(next - piece) : size;
}

// ---- The cache of words -------------------------------------------------------------------------

static inline uint64_t load(const char *p, size_t size)
{
    uint64_t v = 0;
    memcpy(&v, p, size);
    return v;
}

// Pieces are short: a hash that is inlined, from loads that overlap at the end.
static inline uint64_t word_hash(const char *p, size_t size)
{
    const uint64_t k = 0x9E3779B97F4A7C15u;
    uint64_t h = size;
    if (size >= 8) {
        for (size_t i = 0; i + 8 < size; i += 8) {
            h = (h ^ load(p + i, 8)) * k;
            h ^= h >> 32;
        }
        h = (h ^ load(p + size - 8, 8)) * k;
    } else if (size >= 4) {
        h = (h ^ load(p, 4) << 8 ^ load(p + size - 4, 4) << 32) * k;
    } else {
        h = (h ^ load(p, 1) << 8 ^ load(p + size / 2, 1) << 16 ^ load(p + size - 1, 1) << 24) * k;
    }
    return h ^ h >> 32;
}

static inline int same_word(const struct bpe_word *w, const char *p, size_t size)
{
    if (w->size != size)
        return 0;
    if (size < 8) {
        for (size_t i = 0; i < size; i++)
            if (w->text[i] != p[i])
                return 0;
        return 1;
    }
    for (size_t i = 0; i + 8 < size; i += 8)
        if (load(w->text + i, 8) != load(p + i, 8))
            return 0;
    return load(w->text + size - 8, 8) == load(p + size - 8, 8);
}

// Words with the same place stand in pairs, the one that was used last in front.
static inline struct bpe_word *cache_pair(const struct bpe_scratch *s, const char *piece,
                                          size_t size)
{
    return s->cache + 2 * (word_hash(piece, size) & (((size_t)1 << CACHE_BITS) - 1));
}

void bpe_prefetch(const struct bpe_scratch *s, const char *piece, size_t size)
{
    if (s->cache && size <= WORD_BYTES - TOKEN_BYTES)
        __builtin_prefetch(cache_pair(s, piece, size));
}

static uint32_t *word_ids(struct bpe_word *w)
{
    return (uint32_t *)(void *)(w->text + WORD_BYTES) - w->n;
}

int bpe_find(const struct bpe_scratch *s, const char *piece, size_t size, struct bpe_known *out)
{
    if (!s->cache || size > WORD_BYTES - TOKEN_BYTES)
        return 0;
    struct bpe_word *w = cache_pair(s, piece, size);
    if (!same_word(w, piece, size)) {
        if (!same_word(w + 1, piece, size))
            return 0;
        struct bpe_word swap = w[0];
        w[0] = w[1];
        w[1] = swap;
    }
    out->n = w->n;
    out->id = word_ids(w);
    out->size = (const uint8_t *)out->id - w->n;
    return 1;
}

static int cache_open(struct bpe_scratch *s, struct err *e)
{
    const size_t bytes = sizeof *s->cache << (CACHE_BITS + 1);
    s->cache = aligned_alloc(sizeof *s->cache, bytes);
    if (!s->cache)
        return err_memory(e, bytes, "a cache of words");
    memset(s->cache, 0, bytes);
    return 0;
}

static int remember(struct bpe_scratch *s, const char *piece, size_t size, struct err *e)
{
    if (s->dropped || size + TOKEN_BYTES * s->n > WORD_BYTES)
        return 0;
    if (!s->cache && cache_open(s, e) < 0)
        return -1;
    struct bpe_word *w = cache_pair(s, piece, size);
    if (w->size)
        w[1] = w[0];
    w->size = (uint8_t)size;
    w->n = (uint8_t)s->n;
    memcpy(w->text, piece, size);
    uint32_t *id = word_ids(w);
    uint8_t *length = (uint8_t *)id - s->n;
    for (size_t i = 0; i < s->n; i++) {
        id[i] = s->symbol[i].id;
        length[i] = (uint8_t)s->symbol[i].size;
    }
    return 0;
}

void bpe_scratch_trim(struct bpe_scratch *s)
{
    if (s->capacity <= KEPT && s->heap_capacity <= KEPT)
        return;
    free(s->symbol);
    free(s->heap);
    s->symbol = NULL;
    s->heap = NULL;
    s->capacity = s->heap_capacity = s->n = s->heap_n = 0;
}

int bpe_encode(const struct bpe *b, struct bpe_scratch *s, const char *piece, size_t size,
               struct err *e)
{
    return encode_new(b, s, piece, size, e) < 0 ? -1 : remember(s, piece, size, e);
}
