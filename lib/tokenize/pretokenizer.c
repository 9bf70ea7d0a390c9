// SPDX-License-Identifier: MIT
#include "tokenize/pretokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "tokenize/splitter.h"
#include "tokenize/unicode.h"

enum { STEPS_MAX = 64, DEPTH_MAX = 16 };

enum cut_kind { CUT_PATTERN, CUT_CHARS, CUT_METASPACE, CUT_BYTE_LEVEL, CUT_SPLITTER };
enum behavior { REMOVED, ISOLATED, MERGED_WITH_PREVIOUS, MERGED_WITH_NEXT, CONTIGUOUS };
enum scheme { PREPEND_ALWAYS, PREPEND_FIRST, PREPEND_NEVER };

struct pretokenizer_step {
    enum cut_kind kind;
    enum behavior behavior;
    int invert;
    struct pattern *pattern; // CUT_PATTERN; CUT_BYTE_LEVEL where the built-in pattern is on
    int (*is_match)(uint32_t c);
    uint32_t delimiter; // with is_match NULL
    enum scheme scheme;
    char replacement[8];
    size_t replacement_size;
    int split, add_prefix_space;
    enum splitter_kind splitter; // CUT_SPLITTER
    size_t length;               // with SPLITTER_FIXED_LENGTH
};

// Sequences are flattened.
struct pretokenizer {
    struct pretokenizer_step step[STEPS_MAX];
    int n;
    int byte_level; // index of the ByteLevel step, -1: none
};

// GPT-2's pattern (Radford et al., 2019), which ByteLevel has built in.
static const char byte_level_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

void pretokenizer_free(struct pretokenizer *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->n; i++)
        pattern_free(p->step[i].pattern);
    free(p);
}

int pretokenizer_is_byte_level(const struct pretokenizer *p)
{
    return p && p->byte_level >= 0;
}

static int refuse(const char *name, const char *what, const char *value, struct err *e)
{
    return err_set(e, STATUS_FAILED, "%s: key `pre_tokenizer`: %s `%s` is not supported", name,
                   what, value);
}

static int parse_behavior(const json_t *value, const char *name, enum behavior *out, struct err *e)
{
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious",
                                        "MergedWithNext", "Contiguous"};
    const char *text = "Isolated";
    if (json_get_string(value, "behavior", &text, name, e) < 0)
        return -1;
    for (int i = 0; i < 5; i++)
        if (!strcmp(text, names[i]))
            return *out = (enum behavior)i, 0;
    return refuse(name, "behavior", text, e);
}

static int parse_metaspace(struct pretokenizer_step *s, const json_t *value, const char *name,
                           struct err *e)
{
    const char *text = "\xE2\x96\x81", *scheme = "always";
    int prefix = 1;
    s->kind = CUT_METASPACE;
    s->split = 1;
    if (json_get_string(value, "replacement", &text, name, e) < 0 ||
        json_get_string(value, "prepend_scheme", &scheme, name, e) < 0 ||
        json_get_bool(value, "add_prefix_space", &prefix, name, e) < 0 ||
        json_get_bool(value, "split", &s->split, name, e) < 0)
        return -1;
    size_t bad;
    s->replacement_size = strlen(text);
    if (!*text || utf8_sequence(text, s->replacement_size, &bad) != s->replacement_size)
        return refuse(name, "replacement", text, e);
    memcpy(s->replacement, text, s->replacement_size);
    if (!strcmp(scheme, "first"))
        s->scheme = PREPEND_FIRST;
    else if (!strcmp(scheme, "never"))
        s->scheme = PREPEND_NEVER;
    else if (!strcmp(scheme, "always")) // old files say add_prefix_space
        s->scheme = prefix ? PREPEND_ALWAYS : PREPEND_NEVER;
    else
        return refuse(name, "prepend_scheme", scheme, e);
    s->pattern = pattern_literal(s->replacement, s->replacement_size, e);
    s->behavior = MERGED_WITH_NEXT;
    return s->pattern ? 0 : -1;
}

static int parse_byte_level(struct pretokenizer *p, struct pretokenizer_step *s,
                            const json_t *value, const char *name, struct err *e)
{
    int use_regex = 1;
    s->kind = CUT_BYTE_LEVEL;
    s->behavior = ISOLATED;
    s->add_prefix_space = 1;
    if (p->byte_level >= 0)
        return refuse(name, "a second", "ByteLevel", e);
    p->byte_level = p->n;
    if (json_get_bool(value, "add_prefix_space", &s->add_prefix_space, name, e) < 0 ||
        json_get_bool(value, "use_regex", &use_regex, name, e) < 0)
        return -1;
    if (use_regex) {
        s->pattern = pattern_regex(byte_level_pattern, sizeof byte_level_pattern - 1, name, e);
        return s->pattern ? 0 : -1;
    }
    return 0;
}

static int parse_step(struct pretokenizer *p, const json_t *value, const char *name, int depth,
                      struct err *e);

static int parse_sequence(struct pretokenizer *p, const json_t *value, const char *name, int depth,
                          struct err *e)
{
    const json_t *list = json_object_get(value, "pretokenizers");
    if (!json_is_array(list))
        return err_set(e, STATUS_FAILED, "%s: pre_tokenizer: key `pretokenizers`: not a list",
                       name);
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v) if (parse_step(p, v, name, depth + 1, e) < 0) return -1;
    return 0;
}

static int parse_fixed_length(struct pretokenizer_step *s, const json_t *value, const char *name,
                              struct err *e)
{
    int64_t length = 5;
    s->splitter = SPLITTER_FIXED_LENGTH;
    if (json_get_int(value, "length", &length, name, e) < 0)
        return -1;
    if (length < 1)
        return err_set(e, STATUS_FAILED, "%s: pre_tokenizer: key `length`: not above 0", name);
    s->length = (size_t)length;
    return 0;
}

static int parse_one(struct pretokenizer *p, struct pretokenizer_step *s, const char *type,
                     const json_t *value, const char *name, struct err *e)
{
    if (!strcmp(type, "Split")) {
        s->pattern = pattern_from_json(json_object_get(value, "pattern"), name, e);
        return !s->pattern || parse_behavior(value, name, &s->behavior, e) < 0 ||
                       json_get_bool(value, "invert", &s->invert, name, e) < 0
                   ? -1
                   : 0;
    }
    if (!strcmp(type, "ByteLevel"))
        return parse_byte_level(p, s, value, name, e);
    if (!strcmp(type, "Metaspace"))
        return parse_metaspace(s, value, name, e);
    s->kind = CUT_SPLITTER;
    if (!strcmp(type, "Whitespace"))
        return s->splitter = SPLITTER_WORDS, 0;
    if (!strcmp(type, "BertPreTokenizer"))
        return s->splitter = SPLITTER_BERT, 0;
    if (!strcmp(type, "UnicodeScripts"))
        return s->splitter = SPLITTER_SCRIPTS, 0;
    if (!strcmp(type, "FixedLength"))
        return parse_fixed_length(s, value, name, e);
    s->kind = CUT_CHARS;
    if (!strcmp(type, "WhitespaceSplit")) {
        s->is_match = unicode_is_space;
        s->behavior = REMOVED;
        return 0;
    }
    if (!strcmp(type, "Digits")) {
        int individual = 0;
        s->is_match = unicode_is_numeric;
        if (json_get_bool(value, "individual_digits", &individual, name, e) < 0)
            return -1;
        s->behavior = individual ? ISOLATED : CONTIGUOUS;
        return 0;
    }
    if (!strcmp(type, "Punctuation")) {
        s->is_match = unicode_is_punctuation;
        return parse_behavior(value, name, &s->behavior, e);
    }
    if (!strcmp(type, "CharDelimiterSplit")) {
        const char *text = "";
        size_t bad, i = 0;
        if (json_get_string(value, "delimiter", &text, name, e) < 0)
            return -1;
        if (!*text || utf8_sequence(text, strlen(text), &bad) != strlen(text))
            return refuse(name, "delimiter", text, e);
        s->delimiter = utf8_next(text, &i);
        s->behavior = REMOVED;
        return 0;
    }
    return refuse(name, "type", type, e);
}

static int parse_step(struct pretokenizer *p, const json_t *value, const char *name, int depth,
                      struct err *e)
{
    const char *type = "";
    if (json_get_string(value, "type", &type, name, e) < 0)
        return -1;
    if (depth > DEPTH_MAX || p->n == STEPS_MAX)
        return err_set(e, STATUS_FAILED, "%s: key `pre_tokenizer`: too many steps", name);
    if (!strcmp(type, "Sequence"))
        return parse_sequence(p, value, name, depth, e);
    struct pretokenizer_step *s = &p->step[p->n];
    // Counted at once, so that a step that fails half-way is released with the others.
    int result = parse_one(p, s, type, value, name, e);
    p->n++;
    if (result == 0 && p->byte_level >= 0 && s->kind == CUT_METASPACE)
        return refuse(name, "beside ByteLevel, type", type, e);
    return result;
}

int pretokenizer_parse(const json_t *value, const char *name, struct pretokenizer **out,
                       struct err *e)
{
    *out = NULL;
    if (!value || json_is_null(value))
        return 0;
    struct pretokenizer *p = mem_alloc(1, sizeof *p, "a pre-tokenizer", e);
    if (!p)
        return -1;
    p->byte_level = -1;
    if (parse_step(p, value, name, 0, e) < 0) {
        pretokenizer_free(p);
        return -1;
    }
    *out = p;
    return 0;
}

static int piece_add(struct piece_list *l, size_t start, size_t end, struct err *e)
{
    if (l->n == l->capacity && MEM_GROW(l->piece, l->capacity, l->n + 1, "pieces of text", e) < 0)
        return -1;
    l->piece[l->n++] = (struct piece){(uint32_t)start, (uint32_t)end};
    return 0;
}

// Collects the cuts of one piece. Empty cuts are kept until the end (they take part in merging with
// neighbours) and dropped by `finish`.
struct cutter {
    const struct pretokenizer_step *step;
    struct piece_list *out;
    size_t first; // of this piece in `out`
    int previous; // the cut before was a match
    struct err *e;
};

static int cut(struct cutter *c, size_t start, size_t end, int is_match)
{
    struct piece *last = c->out->n > c->first ? &c->out->piece[c->out->n - 1] : NULL;
    int previous = c->previous;
    is_match ^= c->step->invert;
    c->previous = is_match;
    switch (c->step->behavior) {
    case REMOVED:
        return is_match ? 0 : piece_add(c->out, start, end, c->e);
    case CONTIGUOUS:
        if (last && is_match == previous)
            return last->end = (uint32_t)end, 0;
        return piece_add(c->out, start, end, c->e);
    case MERGED_WITH_PREVIOUS:
        if (last && is_match && !previous)
            return last->end = (uint32_t)end, 0;
        return piece_add(c->out, start, end, c->e);
    default: // ISOLATED; MERGED_WITH_NEXT is merged from the right when all are known
        return piece_add(c->out, start, end, c->e);
    }
}

// Cuts come as they are; a gap is joined to the match after it unless that is followed by a match:
// seen from the right, a match goes to the gap right of it. Which cuts are matches alternates with
// the gaps, so the flags are kept in step with the list.
static int cut_merged_with_next(struct cutter *c, const unsigned char *flags)
{
    struct piece *list = c->out->piece + c->first;
    size_t n = c->out->n - c->first, out = n;
    int previous = 0;
    for (size_t i = n; i-- > 0;) {
        if (flags[i] && !previous && out < n)
            list[out].start = list[i].start;
        else
            list[--out] = list[i];
        previous = flags[i];
    }
    memmove(list, list + out, (n - out) * sizeof *list);
    c->out->n = c->first + n - out;
    return 0;
}

struct flag_list {
    unsigned char *flag;
    size_t n, capacity;
};

static int cut_flagged(struct cutter *c, struct flag_list *flags, size_t start, size_t end,
                       int is_match)
{
    if (c->step->behavior == MERGED_WITH_NEXT) {
        if (MEM_GROW(flags->flag, flags->capacity, flags->n + 1, "pieces of text", c->e) < 0)
            return -1;
        flags->flag[flags->n++] = (unsigned char)(is_match ^ c->step->invert);
    }
    return cut(c, start, end, is_match);
}

static int cut_by_pattern(struct cutter *c, struct flag_list *flags, const struct slice *text,
                          struct piece piece, struct pattern_scratch *scratch)
{
    // The pattern sees the piece alone: look-around stops at its ends.
    const char *data = text->data + piece.start;
    size_t size = piece.end - piece.start, done = 0, at = 0, start, end;
    for (int any = 0; at <= size; any = 1) {
        int found = pattern_find(c->step->pattern, scratch, data, size, at, &start, &end, c->e);
        if (found < 0)
            return -1;
        if (!found)
            break;
        if (any && start == end && end == done) { // nothing, right behind a match, is no match
            if (at >= size)
                break;
            utf8_next(data, &at);
            continue;
        }
        if ((start > done && cut_flagged(c, flags, piece.start + done, piece.start + start, 0)) ||
            cut_flagged(c, flags, piece.start + start, piece.start + end, 1))
            return -1;
        done = at = end;
    }
    return done < size ? cut_flagged(c, flags, piece.start + done, piece.end, 0) : 0;
}

static int cut_by_char(struct cutter *c, struct flag_list *flags, const struct slice *text,
                       struct piece piece)
{
    size_t done = piece.start;
    for (size_t i = piece.start; i < piece.end;) {
        size_t at = i;
        uint32_t ch = utf8_next(text->data, &i);
        if (!(c->step->is_match ? c->step->is_match(ch) : ch == c->step->delimiter))
            continue;
        if ((done < at && cut_flagged(c, flags, done, at, 0) < 0) ||
            cut_flagged(c, flags, at, i, 1) < 0)
            return -1;
        done = i;
    }
    return done < piece.end ? cut_flagged(c, flags, done, piece.end, 0) : 0;
}

// What most tokenizers ask for, matches and gaps as pieces of their own: the same with nothing to
// remember. Pieces that would be empty are left out at once.
static int cut_isolated(const struct pretokenizer_step *step, const struct slice *text,
                        struct piece piece, struct pretokenizer_scratch *s, struct err *e)
{
    const char *data = text->data + piece.start;
    size_t size = piece.end - piece.start, done = 0, at = 0, start, end;
    while (at < size) {
        int found = pattern_find(step->pattern, &s->pattern, data, size, at, &start, &end, e);
        if (found < 0)
            return -1;
        if (!found)
            break;
        if ((start > done && piece_add(&s->next, piece.start + done, piece.start + start, e) < 0) ||
            (end > start && piece_add(&s->next, piece.start + start, piece.start + end, e) < 0))
            return -1;
        done = at = end;
        if (start == end && at < size)
            utf8_next(data, &at);
    }
    return done < size ? piece_add(&s->next, piece.start + done, piece.end, e) : 0;
}

static int cut_by_splitter(struct cutter *c, const struct slice *text, struct piece piece)
{
    size_t at = 0, start, end;
    while (splitter_next(c->step->splitter, c->step->length, text->data + piece.start,
                         piece.end - piece.start, &at, &start, &end))
        if (piece_add(c->out, piece.start + start, piece.start + end, c->e) < 0)
            return -1;
    return 0;
}

// Cuts every piece of s->pieces by one step.
static int run_cut(const struct pretokenizer_step *step, const struct slice *text,
                   struct pretokenizer_scratch *s, struct err *e)
{
    struct flag_list flags = {0};
    int result = 0;
    s->next.n = 0;
    for (size_t i = 0; result == 0 && i < s->pieces.n; i++) {
        if (step->pattern && step->behavior == ISOLATED) {
            result = cut_isolated(step, text, s->pieces.piece[i], s, e);
            continue;
        }
        struct cutter c = {step, &s->next, s->next.n, 0, e};
        flags.n = 0;
        result = step->kind == CUT_SPLITTER ? cut_by_splitter(&c, text, s->pieces.piece[i])
                 : step->pattern ? cut_by_pattern(&c, &flags, text, s->pieces.piece[i], &s->pattern)
                                 : cut_by_char(&c, &flags, text, s->pieces.piece[i]);
        if (result == 0 && step->behavior == MERGED_WITH_NEXT)
            result = cut_merged_with_next(&c, flags.flag);
    }
    free(flags.flag);
    size_t n = 0;
    for (size_t i = 0; i < s->next.n; i++) // empty ones go
        if (s->next.piece[i].start < s->next.piece[i].end)
            s->next.piece[n++] = s->next.piece[i];
    s->next.n = n;
    struct piece_list swap = s->pieces;
    s->pieces = s->next;
    s->next = swap;
    return result;
}

// What goes in front of a piece, where anything does.
static int wants_prefix(const struct pretokenizer_step *step, const struct slice *text,
                        struct piece p)
{
    const char *data = text->data + p.start;
    if (step->kind == CUT_BYTE_LEVEL)
        return step->add_prefix_space && data[0] != ' ';
    if (step->scheme == PREPEND_NEVER ||
        (step->scheme == PREPEND_FIRST && slice_from(text, p.start) != 0))
        return 0;
    if (data[0] == ' ')
        return 0; // becomes the replacement
    return p.end - p.start < step->replacement_size ||
           memcmp(data, step->replacement, step->replacement_size) != 0;
}

// Rewrites the pieces: a prefix in front, blanks replaced (Metaspace).
static int run_rewrite(const struct pretokenizer_step *step, struct slice *text,
                       struct pretokenizer_scratch *s, struct err *e)
{
    int metaspace = step->kind == CUT_METASPACE;
    const char *prefix = metaspace ? step->replacement : " ";
    size_t prefix_size = metaspace ? step->replacement_size : 1;
    struct aligned *out = aligned_pair_next(&s->buffers);
    for (size_t i = 0; i < s->pieces.n; i++) {
        struct piece p = s->pieces.piece[i];
        size_t start = out->size, from = p.start;
        if (wants_prefix(step, text, p) &&
            aligned_put(out, prefix, prefix_size, slice_from(text, p.start),
                        slice_to(text, p.start), e) < 0)
            return -1;
        for (size_t k = p.start; metaspace && k < p.end; k++) {
            if (text->data[k] != ' ')
                continue;
            if (aligned_copy(out, text, from, k, e) < 0 ||
                aligned_put(out, prefix, prefix_size, slice_from(text, k), slice_to(text, k), e) <
                    0)
                return -1;
            from = k + 1;
        }
        if (aligned_copy(out, text, from, p.end, e) < 0)
            return -1;
        s->pieces.piece[i] = (struct piece){(uint32_t)start, (uint32_t)out->size};
    }
    *text = aligned_view(out);
    return 0;
}

static int run_step(const struct pretokenizer_step *step, struct slice *text,
                    struct pretokenizer_scratch *s, struct err *e)
{
    int rewrites =
        step->kind == CUT_METASPACE || (step->kind == CUT_BYTE_LEVEL && step->add_prefix_space);
    if (rewrites && run_rewrite(step, text, s, e) < 0)
        return -1;
    if (step->kind == CUT_METASPACE && !step->split)
        return 0;
    if (step->kind == CUT_BYTE_LEVEL && !step->pattern)
        return 0;
    return run_cut(step, text, s, e);
}

// Steps behind ByteLevel see the byte alphabet in place of the text: the cuts are made there and
// brought back.
static int run_on_alphabet(const struct pretokenizer *p, const struct slice *text,
                           struct pretokenizer_scratch *s, struct err *e)
{
    struct aligned spelled;
    aligned_init(&spelled);
    struct slice view;
    int result = 0;
    for (size_t i = 0; result == 0 && i < s->pieces.n; i++) {
        struct piece *piece = &s->pieces.piece[i];
        size_t start = spelled.size;
        for (size_t k = piece->start; result == 0 && k < piece->end; k++)
            result = aligned_put_char(&spelled, byte_alphabet_char((unsigned char)text->data[k]),
                                      (uint32_t)k, (uint32_t)k + 1, e);
        *piece = (struct piece){(uint32_t)start, (uint32_t)spelled.size};
    }
    view = aligned_view(&spelled);
    for (int i = p->byte_level + 1; result == 0 && i < p->n; i++)
        result = run_step(&p->step[i], &view, s, e);
    for (size_t i = 0; result == 0 && i < s->pieces.n; i++) {
        struct piece *piece = &s->pieces.piece[i];
        piece->end = spelled.to[piece->end - 1];
        piece->start = spelled.from[piece->start];
    }
    aligned_release(&spelled);
    return result;
}

int pretokenizer_scratch_init(struct pretokenizer_scratch *s, struct err *e)
{
    memset(s, 0, sizeof *s);
    aligned_pair_init(&s->buffers);
    return pattern_scratch_init(&s->pattern, e);
}

void pretokenizer_scratch_release(struct pretokenizer_scratch *s)
{
    aligned_pair_release(&s->buffers);
    free(s->pieces.piece);
    free(s->next.piece);
    pattern_scratch_release(&s->pattern);
    memset(s, 0, sizeof *s);
}

int pretokenizer_run(const struct pretokenizer *p, struct slice *text,
                     struct pretokenizer_scratch *s, struct err *e)
{
    s->pieces.n = 0;
    if (text->size == 0)
        return 0;
    if (piece_add(&s->pieces, 0, text->size, e) < 0)
        return -1;
    int last = !p ? 0 : p->byte_level >= 0 ? p->byte_level + 1 : p->n;
    for (int i = 0; i < last; i++)
        if (run_step(&p->step[i], text, s, e) < 0)
            return -1;
    return p && last < p->n ? run_on_alphabet(p, text, s, e) : 0;
}
