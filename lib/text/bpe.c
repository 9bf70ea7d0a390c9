// SPDX-License-Identifier: MIT
#include "text/bpe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "text/unicode.h"

enum {
    SHORT_MAX = 24,     // symbols up to which a plain scan for the best pair beats a heap
    CACHE_BITS = 14,    // words
    CACHE_KEY_MAX = 22, // bytes
    CACHE_IDS_MAX = 8,
};
static const uint64_t no_pair = UINT64_MAX;
static const uint32_t no_id = UINT32_MAX;

// A line of the cache; 64 bytes, so that a look-up touches one line of the processor's.
struct bpe_word {
    uint8_t size, n; // size 0: free
    char text[CACHE_KEY_MAX];
    uint32_t id[CACHE_IDS_MAX];
    uint8_t length[CACHE_IDS_MAX];
};

static size_t pair_slot(const struct bpe *b, uint64_t pair)
{
    uint64_t h = pair * 0x9E3779B97F4A7C15u;
    return (size_t)(h ^ h >> 32) & b->mask;
}

static const struct bpe_merge *find_merge(const struct bpe *b, uint32_t left, uint32_t right)
{
    uint64_t pair = (uint64_t)left << 32 | right;
    size_t i = pair_slot(b, pair);
    while (b->merge[i].pair != pair) {
        if (b->merge[i].pair == no_pair)
            return NULL;
        i = (i + 1) & b->mask;
    }
    return &b->merge[i];
}

static int alloc_merges(struct bpe *b, size_t n, struct err *e)
{
    struct bpe_merge *old = b->merge;
    size_t n_old = old ? b->mask + 1 : 0;
    b->merge = mem_alloc(n, sizeof *b->merge, "merges", e);
    if (!b->merge) {
        b->merge = old;
        return -1;
    }
    b->mask = n - 1;
    for (size_t i = 0; i < n; i++)
        b->merge[i].pair = no_pair;
    for (size_t k = 0; k < n_old; k++) {
        if (old[k].pair == no_pair)
            continue;
        size_t i = pair_slot(b, old[k].pair);
        while (b->merge[i].pair != no_pair)
            i = (i + 1) & b->mask;
        b->merge[i] = old[k];
    }
    free(old);
    return 0;
}

// A pair that comes twice keeps its later rank.
static int add_merge(struct bpe *b, uint32_t left, uint32_t right, uint32_t rank, uint32_t id,
                     struct err *e)
{
    if (2 * (b->n_merges + 1) > b->mask + 1 && alloc_merges(b, 2 * (b->mask + 1), e) < 0)
        return -1;
    uint64_t pair = (uint64_t)left << 32 | right;
    size_t i = pair_slot(b, pair);
    while (b->merge[i].pair != no_pair && b->merge[i].pair != pair)
        i = (i + 1) & b->mask;
    b->n_merges += b->merge[i].pair == no_pair;
    b->merge[i] = (struct bpe_merge){pair, rank, id};
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
    return add_merge(b, (uint32_t)l, (uint32_t)r, rank, (uint32_t)id, scan->e);
}

// One entry: "a b" or ["a", "b"].
static int read_merge(struct bpe *b, struct json_scan *scan, const struct vocabulary *tokens,
                      struct buffer text[3], uint32_t rank)
{
    if (json_scan_peek(scan) == '[') {
        scan->p++;
        if (json_scan_string(scan, &text[0]) < 0 || json_scan_expect(scan, ',') < 0 ||
            json_scan_string(scan, &text[1]) < 0 || json_scan_expect(scan, ']') < 0)
            return -1;
        return add_merge_text(b, scan, tokens, text[0].data, text[0].size, text[1].data,
                              text[1].size, &text[2], rank);
    }
    if (json_scan_string(scan, &text[0]) < 0)
        return -1;
    if (text[0].size >= 8 && !memcmp(text[0].data, "#version", 8))
        return 0;
    const char *space = memchr(text[0].data, ' ', text[0].size);
    if (!space)
        return merge_fail(scan, rank, "is not two parts");
    size_t left = (size_t)(space - text[0].data);
    if (memchr(space + 1, ' ', text[0].size - left - 1))
        return merge_fail(scan, rank, "is more than two parts");
    return add_merge_text(b, scan, tokens, text[0].data, left, space + 1, text[0].size - left - 1,
                          &text[2], rank);
}

static int read_merges(struct bpe *b, struct json_scan *scan, const struct vocabulary *tokens,
                       struct err *e)
{
    if (alloc_merges(b, 1024, e) < 0)
        return -1;
    if (!scan)
        return 0;
    struct buffer text[3];
    for (int i = 0; i < 3; i++)
        buffer_init(&text[i], 1 << 24);
    int more = json_scan_expect(scan, '['), first = 1;
    uint32_t rank = 0;
    if (more == 0)
        while ((more = json_scan_more(scan, ']', &first)) > 0) {
            if (buffer_reserve(&text[0], 1, e) < 0 || buffer_reserve(&text[1], 1, e) < 0 ||
                buffer_reserve(&text[2], 1, e) < 0 ||
                read_merge(b, scan, tokens, text, rank++) < 0) {
                more = -1;
                break;
            }
        }
    for (int i = 0; i < 3; i++)
        buffer_release(&text[i]);
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
    return 0;
}

void bpe_release(struct bpe *b)
{
    free(b->merge);
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

// Few symbols: look for the best pair again after each merge.
static void merge_short(const struct bpe *b, struct bpe_scratch *s)
{
    const struct bpe_merge *pair[SHORT_MAX]; // of i and i + 1
    size_t n = s->n;
    struct bpe_symbol *symbol = s->symbol;
    for (size_t i = 0; i + 1 < n; i++)
        pair[i] = find_merge(b, symbol[i].id, symbol[i + 1].id);
    for (;;) {
        size_t best = SHORT_MAX;
        uint32_t rank = UINT32_MAX;
        for (size_t i = 0; i + 1 < n; i++)
            if (pair[i] && pair[i]->rank < rank) {
                rank = pair[i]->rank;
                best = i;
            }
        if (best == SHORT_MAX)
            break;
        symbol[best].id = pair[best]->id;
        symbol[best].size += symbol[best + 1].size;
        n--;
        for (size_t i = best + 1; i < n; i++) {
            symbol[i] = symbol[i + 1];
            pair[i - 1] = pair[i];
        }
        if (best + 1 < n)
            pair[best] = find_merge(b, symbol[best].id, symbol[best + 1].id);
        if (best > 0)
            pair[best - 1] = find_merge(b, symbol[best - 1].id, symbol[best].id);
    }
    s->n = n;
}

// A binary heap of (rank << 32 | place): the smallest is the next merge.
static int heap_push(struct bpe_scratch *s, uint64_t key, struct err *e)
{
    if (mem_grow((void **)&s->heap, &s->heap_capacity, s->heap_n + 1, sizeof *s->heap, "merging",
                 e) < 0)
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
    const struct bpe_merge *m =
        find_merge(b, s->symbol[left].id, s->symbol[s->symbol[left].next].id);
    return m ? heap_push(s, (uint64_t)m->rank << 32 | (uint32_t)left, e) : 0;
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
        const struct bpe_merge *m = find_merge(b, symbol[left].id, symbol[right].id);
        if (!m || m->rank != key >> 32)
            continue;
        symbol[left].id = m->id;
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

static int encode_new(const struct bpe *b, struct bpe_scratch *s, const char *piece, size_t size,
                      struct err *e)
{
    if (mem_grow((void **)&s->symbol, &s->capacity, size + 1, sizeof *s->symbol, "a piece of text",
                 e) < 0)
        return -1;
    s->n = 0;
    s->dropped = 0;
    if (b->ignore_merges) {
        int64_t id = vocabulary_find(&b->words, piece, size);
        if (id >= 0)
            return symbol_add(s, (uint32_t)id, size), 0;
    }
    if (b->byte_level)
        split_bytes(b, s, piece, size);
    else if (split_chars(b, s, piece, size, e) < 0)
        return -1;
    if (s->n < 2)
        return 0;
    if (s->n <= SHORT_MAX)
        return merge_short(b, s), 0;
    return merge_long(b, s, e);
}

size_t bpe_part_end(const struct bpe *b, const char *piece, size_t size, size_t at)
{
    if (!b->cuts)
        return size;
    while (starts_marked(piece + at, size - at))
        at += MARK;
    const char *next = at < size ? memmem(piece + at, size - at, word_mark, MARK) : NULL;
    return next ? (size_t)(next - piece) : size;
}

static int cache_ready(struct bpe_scratch *s, struct err *e)
{
    if (!s->cache)
        s->cache = mem_alloc((size_t)1 << CACHE_BITS, sizeof *s->cache, "a cache of words", e);
    return s->cache ? 0 : -1;
}

int bpe_encode(const struct bpe *b, struct bpe_scratch *s, const char *piece, size_t size,
               struct err *e)
{
    if (size > CACHE_KEY_MAX)
        return encode_new(b, s, piece, size, e);
    if (cache_ready(s, e) < 0 || mem_grow((void **)&s->symbol, &s->capacity, CACHE_IDS_MAX,
                                          sizeof *s->symbol, "a piece of text", e) < 0)
        return -1;
    struct bpe_word *word = &s->cache[hash_bytes(piece, size) >> (64 - CACHE_BITS)];
    if (word->size == size && !memcmp(word->text, piece, size)) {
        s->n = word->n;
        s->dropped = 0;
        for (size_t i = 0; i < word->n; i++) {
            s->symbol[i].id = word->id[i];
            s->symbol[i].size = word->length[i];
        }
        return 0;
    }
    if (encode_new(b, s, piece, size, e) < 0)
        return -1;
    if (s->n > CACHE_IDS_MAX || s->dropped)
        return 0;
    word->size = (uint8_t)size;
    word->n = (uint8_t)s->n;
    memcpy(word->text, piece, size);
    for (size_t i = 0; i < s->n; i++) {
        word->id[i] = s->symbol[i].id;
        word->length[i] = (uint8_t)s->symbol[i].size;
    }
    return 0;
}
