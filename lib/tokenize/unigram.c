// SPDX-License-Identifier: MIT
#include "tokenize/unigram.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/utf8.h"

static const double unk_penalty = 10; // below the least probable token

static int build_trie(struct unigram *u, const struct vocabulary *tokens, struct err *e)
{
    struct trie_word *list = mem_alloc(u->n + 1, sizeof *list, "a vocabulary", e);
    size_t n = 0;
    if (!list)
        return -1;
    for (uint32_t id = 0; id < u->n; id++) {
        size_t size;
        const char *text = vocabulary_text(tokens, id, &size);
        if (text && u->word[id].usable)
            list[n++] = (struct trie_word){text, (uint32_t)size, id};
    }
    int result = trie_build(&u->trie, list, n, e);
    free(list);
    return result;
}

int unigram_init(struct unigram *u, const struct vocabulary *tokens, struct unigram_word *word,
                 size_t n, int64_t unk, int byte_fallback, struct err *e)
{
    memset(u, 0, sizeof *u);
    u->word = word;
    u->n = n;
    u->unk = unk;
    u->byte_fallback = byte_fallback;
    u->unk_score = INFINITY;
    for (size_t i = 0; i < n; i++)
        if (word[i].score < u->unk_score)
            u->unk_score = word[i].score;
    u->unk_score -= unk_penalty;
    for (int i = 0; i < 256; i++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", i);
        int64_t id = vocabulary_find(tokens, name, 6);
        u->fallback_id[i] = id < 0 || (size_t)id >= n ? UINT32_MAX : (uint32_t)id;
    }
    return build_trie(u, tokens, e);
}

void unigram_release(struct unigram *u)
{
    trie_release(&u->trie);
    free(u->word);
    memset(u, 0, sizeof *u);
}

void unigram_scratch_init(struct unigram_scratch *s)
{
    memset(s, 0, sizeof *s);
}

void unigram_scratch_release(struct unigram_scratch *s)
{
    free(s->node);
    free(s->token);
    unigram_scratch_init(s);
}

// The better of two ways to come to a place stays; the first of equal ones.
static void offer(const struct unigram *u, struct unigram_node *node, double score, size_t start,
                  uint32_t id)
{
    if (u->sentencepiece)
        score = (double)(float)score;
    if (node->start != UINT32_MAX && !(score > node->score))
        return;
    node->score = score;
    node->start = (uint32_t)start;
    node->id = id;
}

static double score_of(const struct unigram *u, uint32_t id, size_t length)
{
    if (u->sentencepiece && u->user[id])
        return (double)((float)length * 0.1f - 0.1f); // so that it is taken, the longer the rather
    return u->word[id].score;
}

static int fill(const struct unigram *u, struct unigram_scratch *s, const char *piece, size_t size,
                struct err *e)
{
    for (size_t i = 0; i <= size; i++)
        s->node[i] = (struct unigram_node){0, UINT32_MAX, 0};
    for (size_t at = 0, next; at < size; at = next) {
        double here = s->node[at].score;
        uint32_t node = 0;
        int single = 0; // a token is this character alone
        next = at;
        utf8_next(piece, &next);
        for (size_t i = at; i < size;) {
            node = trie_step(&u->trie, node, (unsigned char)piece[i++]);
            if (!node)
                break;
            uint32_t id = u->trie.node[node].value;
            if (id == TRIE_NONE)
                continue;
            offer(u, &s->node[i], here + score_of(u, id, i - at), at, id);
            single |= i == next;
        }
        if (single)
            continue;
        if (u->unk < 0)
            return err_set(e, STATUS_FAILED, "an unknown character, and key `unk_id` is not set");
        offer(u, &s->node[next], here + u->unk_score, at, (uint32_t)u->unk);
    }
    return 0;
}

static int add(struct unigram_scratch *s, uint32_t id, size_t start, size_t end, struct err *e)
{
    if (s->n == s->token_capacity &&
        MEM_GROW(s->token, s->token_capacity, s->n + 1, "tokens", e) < 0)
        return -1;
    s->token[s->n++] = (struct unigram_token){id, (uint32_t)start, (uint32_t)end};
    return 0;
}

// Unknown characters as bytes, where each has a token; -1 and 1 as elsewhere, 0: not so.
static int add_bytes(const struct unigram *u, struct unigram_scratch *s, const char *piece,
                     size_t start, size_t end, struct err *e)
{
    if (!u->byte_fallback)
        return 0;
    for (size_t i = start; i < end; i++)
        if (u->fallback_id[(unsigned char)piece[i]] == UINT32_MAX)
            return 0;
    for (size_t i = end; i-- > start;) // the list is still the wrong way round
        if (add(s, u->fallback_id[(unsigned char)piece[i]], start, end, e) < 0)
            return -1;
    return 1;
}

static int add_unknown(const struct unigram *u, const struct vocabulary *tokens,
                       struct unigram_scratch *s, const char *piece, size_t start, size_t end,
                       struct err *e)
{
    // A run of characters that are unknown one by one may be a token as a whole.
    int64_t id = vocabulary_find(tokens, piece + start, end - start);
    if (id >= 0 && (size_t)id < u->n)
        return add(s, (uint32_t)id, start, end, e);
    int bytes = add_bytes(u, s, piece, start, end, e);
    return bytes ? bytes : add(s, (uint32_t)u->unk, start, end, e);
}

int unigram_encode(const struct unigram *u, const struct vocabulary *tokens,
                   struct unigram_scratch *s, const char *piece, size_t size, struct err *e)
{
    s->n = 0;
    if (MEM_GROW(s->node, s->node_capacity, size + 1, "a piece of text", e) < 0 ||
        fill(u, s, piece, size, e) < 0)
        return -1;
    // From the end back; neighbours that are unknown make one (SentencePiece's reader sees to that
    // by itself).
    for (size_t end = size, start; end > 0; end = start) {
        start = s->node[end].start;
        uint32_t id = s->node[end].id;
        if (u->sentencepiece || u->unk < 0 || id != (uint32_t)u->unk) {
            if (add(s, id, start, end, e) < 0)
                return -1;
            continue;
        }
        while (start > 0 && s->node[start].id == (uint32_t)u->unk)
            start = s->node[start].start;
        if (add_unknown(u, tokens, s, piece, start, end, e) < 0)
            return -1;
    }
    for (size_t i = 0, k = s->n; i < k; i++) {
        struct unigram_token swap = s->token[i];
        s->token[i] = s->token[--k];
        s->token[k] = swap;
    }
    return 0;
}
