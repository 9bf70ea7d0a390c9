// SPDX-License-Identifier: MIT
#include "tokenize/pattern_dfa.h"

#include <ctype.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/memory.h"
#include "tokenize/unicode.h"

enum {
    SETS_MAX = 64, // different sets of characters
    ITEMS_MAX = 8192,
    TREE_MAX = 4096,
    NODES_MAX = 1024,
    STATES_MAX = 1024,
    CLASSES_MAX = 256,
    DEPTH_MAX = 200,
    REPEAT_MAX = 256,
    CHAR_MAX_CODE = 0x10FFFF,
    PAGE = 256,
    PAGES = (CHAR_MAX_CODE + 1) / PAGE,
};
static const size_t steps_max = 50000000; // of attempts that fail, besides one a character
#define END_OF_TEXT CLASSES_MAX

struct pattern_dfa {
    uint8_t ascii[128];   // classes of characters
    uint16_t page[PAGES]; // of code point / PAGE: its row in `class`
    uint8_t (*class)[PAGE];
    size_t n_pages, page_capacity;
    unsigned n_classes;
    // next[state + class]: what state follows, times 2; plus 1 where a match ends before this
    // character. States are places in the table; 0 is the dead one.
    uint32_t *next;
    uint8_t *ends; // by state / n_classes: a match ends at the end of the text
    uint32_t start;
};

// ---- The pattern as a tree ----------------------------------------------------------------------

// A set of characters: ranges, or all of some general categories, or all but these.
struct set_item {
    uint32_t low, high;
    uint32_t categories; // bit by utf8proc_category_t; 0: a range
    int white, negative; // with `white`: White_Space
};
struct set {
    int negative;
    int first, n; // items
};

enum tree_kind { EMPTY, CHARS, SEQUENCE, EITHER, REPEAT, LOOK };
struct tree {
    enum tree_kind kind;
    int set; // CHARS, LOOK
    int a, b;
    int least, most, lazy; // REPEAT; most -1: no limit
    int negative;          // LOOK
};

struct pattern_parser {
    const char *s, *end;
    struct set set[SETS_MAX];
    int n_sets;
    struct set_item item[ITEMS_MAX];
    int n_items;
    struct tree tree[TREE_MAX];
    int n_trees;
    int caseless, depth;
};

// All parse functions return -1 for what is beyond the subset.
static int parse_alternatives(struct pattern_parser *p);

static int tree_add(struct pattern_parser *p, struct tree t)
{
    if (p->n_trees == TREE_MAX)
        return -1;
    p->tree[p->n_trees] = t;
    return p->n_trees++;
}

static int item_add(struct pattern_parser *p, struct set_item item)
{
    if (p->n_items == ITEMS_MAX)
        return -1;
    p->item[p->n_items++] = item;
    return 0;
}

static int range_add(struct pattern_parser *p, uint32_t low, uint32_t high)
{
    return item_add(p, (struct set_item){.low = low, .high = high});
}

static uint32_t category_bits(const char *name, size_t size)
{
    static const char names[][3] = {"Cn", "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd",
                                    "Nl", "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm",
                                    "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co"};
    uint32_t bits = 0;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if ((size == 1 || size == 2) && !memcmp(names[i], name, size))
            bits |= 1u << i;
    return bits;
}

// \p{Name} or \P{Name}, from behind the backslash.
static int parse_property(struct pattern_parser *p)
{
    int negative = *p->s == 'P';
    if (p->end - p->s < 4 || p->s[1] != '{')
        return -1;
    const char *name = p->s + 2, *close = memchr(name, '}', (size_t)(p->end - name));
    if (!close)
        return -1;
    size_t size = (size_t)(close - name);
    p->s = close + 1;
    if (size == 11 && !memcmp(name, "White_Space", 11))
        return item_add(p, (struct set_item){.white = 1, .negative = negative});
    uint32_t bits = category_bits(name, size);
    return bits ? item_add(p, (struct set_item){.categories = bits, .negative = negative}) : -1;
}

static int64_t parse_hex(struct pattern_parser *p)
{
    int braces = p->s < p->end && *p->s == '{', digits = 0;
    int64_t c = 0;
    p->s += braces;
    while (p->s < p->end && isxdigit((unsigned char)*p->s) && digits < (braces ? 6 : 2)) {
        char d = *p->s++;
        c = c * 16 + (isdigit((unsigned char)d) ? d - '0' : (d | 32) - 'a' + 10);
        digits++;
    }
    if (!digits || c > CHAR_MAX_CODE || (braces && (p->s == p->end || *p->s++ != '}')))
        return -1;
    return c;
}

// One character, escaped or not; -1 for an escape that is no single character.
static int64_t parse_char(struct pattern_parser *p)
{
    static const char letters[] = "nrtfae", codes[] = "\n\r\t\f\a\x1B";
    size_t bad, n;
    if (p->s == p->end)
        return -1;
    if (*p->s != '\\') {
        if (!(n = utf8_sequence(p->s, (size_t)(p->end - p->s), &bad)))
            return -1;
        size_t i = 0;
        int64_t c = utf8_next(p->s, &i);
        p->s += n;
        return c;
    }
    if (++p->s == p->end || (unsigned char)*p->s >= 0x80)
        return -1;
    char c = *p->s++;
    if (c == 'x')
        return parse_hex(p);
    const char *known = c ? strchr(letters, c) : NULL;
    if (known)
        return codes[known - letters];
    return isalnum((unsigned char)c) ? -1 : c;
}

// A range with its other cases where these are asked for: ASCII only.
static int cased_add(struct pattern_parser *p, uint32_t low, uint32_t high)
{
    if (range_add(p, low, high) < 0 || (p->caseless && high >= 0x80))
        return -1;
    for (uint32_t c = low; p->caseless && c <= high; c++) {
        uint32_t other = c ^ 32;
        if (!isalpha((int)c))
            continue;
        if (range_add(p, other, other) < 0 || ((c | 32) == 's' && range_add(p, 0x17F, 0x17F) < 0) ||
            ((c | 32) == 'k' && range_add(p, 0x212A, 0x212A) < 0))
            return -1;
    }
    return 0;
}

static int set_close(struct pattern_parser *p, int first, int negative)
{
    struct set new = {negative, first, p->n_items - first};
    for (int i = 0; i < p->n_sets; i++) { // the same again?
        const struct set *old = &p->set[i];
        if (old->negative == negative && old->n == new.n &&
            !memcmp(p->item + old->first, p->item + first, (size_t) new.n * sizeof *p->item)) {
            p->n_items = first;
            return i;
        }
    }
    if (p->n_sets == SETS_MAX)
        return -1;
    p->set[p->n_sets] = new;
    return p->n_sets++;
}

static int at_property(const struct pattern_parser *p)
{
    return p->end - p->s >= 2 && p->s[0] == '\\' && (p->s[1] | 32) == 'p';
}

// A part of [...]: a property, a character or a range.
static int parse_member(struct pattern_parser *p)
{
    if (at_property(p)) {
        p->s++;
        return p->caseless ? -1 : parse_property(p);
    }
    if (*p->s == '[') // [:alpha:]
        return -1;
    int64_t low = parse_char(p), high = low;
    if (low < 0)
        return -1;
    if (p->end - p->s >= 2 && p->s[0] == '-' && p->s[1] != ']') {
        p->s++;
        if (*p->s == '[' || at_property(p) || (high = parse_char(p)) < low)
            return -1;
    }
    return cased_add(p, (uint32_t)low, (uint32_t)high);
}

static int parse_class(struct pattern_parser *p)
{
    int first = p->n_items, negative = 0;
    p->s++;
    if (p->s < p->end && *p->s == '^') {
        negative = 1;
        p->s++;
    }
    for (int k = 0;; k++) {
        if (p->s == p->end)
            return -1;
        if (*p->s == ']' && k) {
            p->s++;
            return set_close(p, first, negative);
        }
        if (parse_member(p) < 0)
            return -1;
    }
}

// The set that one atom stands for: a class, a property, a dot, a character.
static int parse_set(struct pattern_parser *p)
{
    int first = p->n_items;
    if (p->s == p->end)
        return -1;
    if (*p->s == '[')
        return parse_class(p);
    if (at_property(p)) {
        p->s++;
        return p->caseless || parse_property(p) < 0 ? -1 : set_close(p, first, 0);
    }
    if (*p->s == '.') {
        p->s++;
        return range_add(p, '\n', '\n') < 0 ? -1 : set_close(p, first, 1);
    }
    if (strchr("^$()|*+?", *p->s))
        return -1;
    int64_t c = parse_char(p);
    return c < 0 || cased_add(p, (uint32_t)c, (uint32_t)c) < 0 ? -1 : set_close(p, first, 0);
}

static int starts(const struct pattern_parser *p, const char *with)
{
    size_t n = strlen(with);
    return (size_t)(p->end - p->s) >= n && !memcmp(p->s, with, n);
}

static int close_group(struct pattern_parser *p)
{
    return p->s < p->end && *p->s++ == ')' ? 0 : -1;
}

static int parse_look(struct pattern_parser *p)
{
    int negative = p->s[2] == '!';
    p->s += 3;
    int set = parse_set(p);
    return set < 0 || close_group(p) < 0
               ? -1
               : tree_add(p, (struct tree){.kind = LOOK, .set = set, .negative = negative});
}

static int parse_group(struct pattern_parser *p)
{
    if (starts(p, "(?=") || starts(p, "(?!"))
        return parse_look(p);
    int caseless = p->caseless;
    if (starts(p, "(?i:")) {
        p->caseless = 1;
        p->s += 4;
    } else if (starts(p, "(?:")) {
        p->s += 3;
    } else if (starts(p, "(?") || starts(p, "(*")) {
        return -1;
    } else {
        p->s++;
    }
    if (++p->depth > DEPTH_MAX)
        return -1;
    int t = parse_alternatives(p);
    p->depth--;
    p->caseless = caseless;
    return t < 0 || close_group(p) < 0 ? -1 : t;
}

static int parse_number(struct pattern_parser *p)
{
    int n = 0, digits = 0;
    while (p->s < p->end && isdigit((unsigned char)*p->s) && n <= REPEAT_MAX) {
        n = n * 10 + (*p->s++ - '0');
        digits++;
    }
    return digits && n <= REPEAT_MAX ? n : -1;
}

// {n}, {n,} or {n,m}
static int parse_interval(struct pattern_parser *p, struct tree *t)
{
    p->s++;
    t->least = t->most = parse_number(p);
    if (t->least < 0 || p->s == p->end)
        return -1;
    if (*p->s == ',') {
        p->s++;
        if (p->s < p->end && *p->s == '}')
            t->most = -1;
        else if ((t->most = parse_number(p)) < t->least)
            return -1;
    }
    return p->s < p->end && *p->s++ == '}' ? 0 : -1;
}

static int can_be_empty(const struct pattern_parser *p, int i)
{
    const struct tree *t = &p->tree[i];
    switch (t->kind) {
    case CHARS:
        return 0;
    case SEQUENCE:
        return can_be_empty(p, t->a) && can_be_empty(p, t->b);
    case EITHER:
        return can_be_empty(p, t->a) || can_be_empty(p, t->b);
    case REPEAT:
        return t->least == 0 || can_be_empty(p, t->a);
    default:
        return 1;
    }
}

static int parse_repeat(struct pattern_parser *p, int atom)
{
    while (p->s < p->end && *p->s && strchr("*+?{", *p->s)) {
        struct tree t = {.kind = REPEAT, .a = atom, .least = *p->s == '+', .most = -1};
        if (*p->s == '{') {
            if (parse_interval(p, &t) < 0)
                return -1;
        } else {
            t.most = *p->s++ == '?' ? 1 : -1;
        }
        if (can_be_empty(p, atom)) // what such loops do is the matcher's own affair
            return -1;
        if (p->s < p->end && *p->s == '?') {
            t.lazy = 1;
            p->s++;
        } else if (p->s < p->end && *p->s == '+') { // possessive
            return -1;
        }
        if ((atom = tree_add(p, t)) < 0)
            return -1;
    }
    return atom;
}

static int parse_sequence(struct pattern_parser *p)
{
    int whole = -1;
    while (p->s < p->end && *p->s != '|' && *p->s != ')') {
        int t, set;
        if (*p->s == '(')
            t = parse_group(p);
        else
            t = (set = parse_set(p)) < 0 ? -1
                                         : tree_add(p, (struct tree){.kind = CHARS, .set = set});
        if (t < 0 || (t = parse_repeat(p, t)) < 0)
            return -1;
        whole = whole < 0 ? t : tree_add(p, (struct tree){.kind = SEQUENCE, .a = whole, .b = t});
        if (whole < 0)
            return -1;
    }
    return whole < 0 ? tree_add(p, (struct tree){.kind = EMPTY}) : whole;
}

static int parse_alternatives(struct pattern_parser *p)
{
    int whole = parse_sequence(p);
    while (whole >= 0 && p->s < p->end && *p->s == '|') {
        p->s++;
        int b = parse_sequence(p);
        whole = b < 0 ? -1 : tree_add(p, (struct tree){.kind = EITHER, .a = whole, .b = b});
    }
    return whole;
}

// ---- Classes of characters ----------------------------------------------------------------------

static int item_has(const struct set_item *i, uint32_t c, unsigned category)
{
    if (i->white)
        return unicode_is_space(c) != i->negative;
    if (i->categories)
        return (i->categories >> category & 1) != (unsigned)i->negative;
    return c >= i->low && c <= i->high;
}

// Which sets the character is in.
static uint64_t signature(const struct pattern_parser *p, uint32_t c, unsigned category)
{
    uint64_t bits = 0;
    for (int k = 0; k < p->n_sets; k++) {
        const struct set *s = &p->set[k];
        int has = 0;
        for (int i = 0; !has && i < s->n; i++)
            has = item_has(&p->item[s->first + i], c, category);
        bits |= (uint64_t)(has != s->negative) << k;
    }
    return bits;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

// Where a set may begin or end, apart from changes of category.
static size_t find_borders(const struct pattern_parser *p, uint32_t *border)
{
    static const uint32_t white[] = {9,      14,     32,     33,     0x85,   0x86,   0xA0,
                                     0xA1,   0x1680, 0x1681, 0x2000, 0x200B, 0x2028, 0x202A,
                                     0x202F, 0x2030, 0x205F, 0x2060, 0x3000, 0x3001};
    size_t n = sizeof white / sizeof *white;
    memcpy(border, white, sizeof white);
    for (int i = 0; i < p->n_items; i++) {
        if (p->item[i].white || p->item[i].categories)
            continue;
        border[n++] = p->item[i].low;
        border[n++] = p->item[i].high + 1;
    }
    qsort(border, n, sizeof *border, by_value);
    border[n] = UINT32_MAX;
    return n;
}

struct classifier {
    const struct pattern_parser *p;
    uint64_t signature[CLASSES_MAX]; // of each class
    unsigned n;
    unsigned last; // class
};

static int class_of(struct classifier *k, uint32_t c, unsigned category)
{
    uint64_t bits = signature(k->p, c, category);
    for (k->last = 0; k->last < k->n; k->last++)
        if (k->signature[k->last] == bits)
            return 0;
    if (k->n == CLASSES_MAX)
        return -1;
    k->signature[k->n++] = bits;
    return 0;
}

// Planes without characters, and those for private use, are one block.
static uint32_t block_size(uint32_t c)
{
    int uniform = c >= 0x40000 && (c & 0xFFFFu) < 0xFF00 && !(c >= 0xE0000 && c < 0xE1000);
    return uniform ? PAGE : 1;
}

static int page_add(struct pattern_dfa *d, const uint8_t *class, struct err *e)
{
    if (MEM_GROW(d->class, d->page_capacity, d->n_pages + 1, "a pattern", e) < 0)
        return -1;
    memcpy(d->class[d->n_pages++], class, PAGE);
    return 0;
}

static int is_uniform(const uint8_t *class)
{
    return !memcmp(class, class + 1, PAGE - 1);
}

// Fills the tables of classes; 1 when there are too many.
static int classify(struct pattern_dfa *d, struct classifier *k, const uint32_t *border,
                    struct err *e)
{
    int shared[CLASSES_MAX]; // the page that is all of this class
    unsigned category = UINT32_MAX;
    uint8_t class[PAGE];
    memset(shared, -1, sizeof shared);
    for (uint32_t c = 0; c <= CHAR_MAX_CODE;) {
        uint32_t n = block_size(c);
        unsigned now = (unsigned)utf8proc_category((utf8proc_int32_t)c);
        int changes = now != category;
        while (*border < c + n) {
            changes |= *border++ <= c;
            if (border[-1] > c)
                return 1; // a range of the pattern ends inside a block that is taken whole
        }
        category = now;
        if (changes && class_of(k, c, category) < 0)
            return 1;
        memset(class + c % PAGE, (int)k->last, n);
        c += n;
        if (c % PAGE)
            continue;
        int uniform = is_uniform(class);
        if (!uniform || shared[class[0]] < 0) {
            if (uniform)
                shared[class[0]] = (int)d->n_pages;
            d->page[c / PAGE - 1] = (uint16_t)d->n_pages;
            if (page_add(d, class, e) < 0)
                return -1;
        } else {
            d->page[c / PAGE - 1] = (uint16_t)shared[class[0]];
        }
    }
    d->n_classes = k->n;
    memcpy(d->ascii, d->class[d->page[0]], sizeof d->ascii);
    return 0;
}

// ---- Threads ------------------------------------------------------------------------------------

enum op { OP_CHARS, OP_SPLIT, OP_LOOK, OP_MATCH };
struct thread_node {
    enum op op;
    int set, negative;
    int a, b; // what follows; of OP_SPLIT `a` is preferred
};
struct thread_program {
    struct thread_node node[NODES_MAX];
    int n;
};

static int node_add(struct thread_program *g, struct thread_node node)
{
    if (g->n == NODES_MAX)
        return -1;
    g->node[g->n] = node;
    return g->n++;
}

static int split(struct thread_program *g, int body, int after, int lazy)
{
    return node_add(g, (struct thread_node){
                           .op = OP_SPLIT, .a = lazy ? after : body, .b = lazy ? body : after});
}

static int emit(struct thread_program *g, const struct tree *trees, int i, int after);

static int emit_repeat(struct thread_program *g, const struct tree *trees, const struct tree *t,
                       int after)
{
    int at = after;
    if (t->most < 0) { // a loop: the split first, its body leads back to it
        int loop = split(g, 0, after, t->lazy);
        int body = loop < 0 ? -1 : emit(g, trees, t->a, loop);
        if (body < 0)
            return -1;
        *(t->lazy ? &g->node[loop].b : &g->node[loop].a) = body;
        at = loop;
    }
    for (int k = t->least; at >= 0 && k < t->most; k++) { // from the last one on
        int body = emit(g, trees, t->a, at);
        at = body < 0 ? -1 : split(g, body, after, t->lazy);
    }
    for (int k = 0; at >= 0 && k < t->least; k++)
        at = emit(g, trees, t->a, at);
    return at;
}

// The node where tree i begins, when `after` follows it; -1: the program is too long.
static int emit(struct thread_program *g, const struct tree *trees, int i, int after)
{
    const struct tree *t = &trees[i];
    int a, b;
    switch (t->kind) {
    case EMPTY:
        return after;
    case CHARS:
        return node_add(g, (struct thread_node){.op = OP_CHARS, .set = t->set, .a = after});
    case LOOK:
        return node_add(g, (struct thread_node){
                               .op = OP_LOOK, .set = t->set, .negative = t->negative, .a = after});
    case SEQUENCE:
        b = emit(g, trees, t->b, after);
        return b < 0 ? -1 : emit(g, trees, t->a, b);
    case EITHER:
        b = emit(g, trees, t->b, after);
        a = b < 0 ? -1 : emit(g, trees, t->a, after);
        return a < 0 ? -1 : split(g, a, b, 0);
    default:
        return emit_repeat(g, trees, t, after);
    }
}

// ---- States -------------------------------------------------------------------------------------

// A state is a list of nodes in order of preference, before look-ahead is decided.
struct state_nodes {
    int16_t node[NODES_MAX];
    int n;
};

struct maker {
    const struct thread_program *g;
    const struct classifier *k;
    uint16_t *node; // the lists of all states, one after the other
    size_t n_nodes, capacity;
    size_t from[STATES_MAX + 1];
    int n;
    uint8_t seen[NODES_MAX], queued[NODES_MAX];
    int16_t stack[2 * NODES_MAX + 2];
};

static int in_set(const struct maker *m, int set, int class)
{
    return class != END_OF_TEXT && (m->k->signature[class] >> set & 1);
}

// What follows state `from` when a character of the class comes: *to, and whether a match ends
// before it.
static int advance(struct maker *m, int from, int class, struct state_nodes *to)
{
    memset(m->seen, 0, sizeof m->seen);
    memset(m->queued, 0, sizeof m->queued);
    to->n = 0;
    for (size_t i = m->from[from]; i < m->from[from + 1]; i++) {
        int depth = 0;
        m->stack[depth++] = (int16_t)m->node[i];
        while (depth) {
            int at = m->stack[--depth];
            const struct thread_node *node = &m->g->node[at];
            if (m->seen[at]++)
                continue;
            if (node->op == OP_MATCH)
                return 1; // what is less preferred ends here
            if (node->op == OP_SPLIT) {
                m->stack[depth++] = (int16_t)node->b;
                m->stack[depth++] = (int16_t)node->a;
            } else if (node->op == OP_LOOK) {
                if (in_set(m, node->set, class) != node->negative)
                    m->stack[depth++] = (int16_t)node->a;
            } else if (in_set(m, node->set, class) && !m->queued[node->a]++) {
                to->node[to->n++] = (int16_t)node->a;
            }
        }
    }
    return 0;
}

// The state with this list, a new one if need be; -2: too many.
static int state_of(struct maker *m, const struct state_nodes *l, struct err *e)
{
    for (int s = 0; s < m->n; s++) {
        size_t n = m->from[s + 1] - m->from[s], i = 0;
        while (n == (size_t)l->n && i < n && m->node[m->from[s] + i] == l->node[i])
            i++;
        if (i == n && n == (size_t)l->n)
            return s;
    }
    if (m->n == STATES_MAX)
        return -2;
    if (MEM_GROW(m->node, m->capacity, m->n_nodes + (size_t)l->n + 1, "a pattern", e) < 0)
        return -1;
    for (int i = 0; i < l->n; i++)
        m->node[m->n_nodes++] = (uint16_t)l->node[i];
    m->from[m->n + 1] = m->n_nodes;
    return m->n++;
}

// 1: too many states.
static int make_states(struct pattern_dfa *d, struct maker *m, int start, struct err *e)
{
    struct state_nodes l = {.n = 0};
    size_t rows = 0, room = 0;
    int state = state_of(m, &l, e); // the dead one
    l.node[l.n++] = (int16_t)start;
    if (state < 0 || state_of(m, &l, e) < 0)
        return -1;
    d->start = d->n_classes;
    for (int s = 0; s < m->n; s++) {
        if (MEM_GROW(d->next, room, (size_t)(s + 1) * d->n_classes, "a pattern", e) < 0 ||
            MEM_GROW(d->ends, rows, (size_t)s + 1, "a pattern", e) < 0)
            return -1;
        for (unsigned c = 0; c < d->n_classes; c++) {
            int ends = advance(m, s, (int)c, &l);
            if ((state = state_of(m, &l, e)) < 0)
                return state == -2 ? 1 : -1;
            d->next[(unsigned)s * d->n_classes + c] =
                (uint32_t)state * d->n_classes * 2 + (uint32_t)ends;
        }
        d->ends[s] = (uint8_t)advance(m, s, END_OF_TEXT, &l);
    }
    return 0;
}

// 1: beyond the subset.
static int build_states(struct pattern_dfa *d, const struct pattern_parser *p,
                        const struct classifier *k, int root, struct err *e)
{
    struct thread_program *g = mem_alloc(1, sizeof *g, "a pattern", e);
    struct maker *m = mem_alloc(1, sizeof *m, "a pattern", e);
    int result = g && m ? 0 : -1;
    if (result == 0) {
        int match = node_add(g, (struct thread_node){.op = OP_MATCH});
        int start = emit(g, p->tree, root, match);
        m->g = g;
        m->k = k;
        result = start < 0 ? 1 : make_states(d, m, start, e);
        free(m->node);
    }
    free(g);
    free(m);
    return result;
}

static int build(struct pattern_dfa *d, struct pattern_parser *p, struct err *e)
{
    int root = parse_alternatives(p);
    if (root < 0 || p->s < p->end)
        return 1;
    struct classifier *k = mem_alloc(1, sizeof *k, "a pattern", e);
    uint32_t *border = mem_alloc(2 * (size_t)p->n_items + 32, sizeof *border, "a pattern", e);
    int result = k && border ? 0 : -1;
    if (result == 0) {
        k->p = p;
        find_borders(p, border);
        result = classify(d, k, border, e);
    }
    if (result == 0)
        result = build_states(d, p, k, root, e);
    free(k);
    free(border);
    return result;
}

int pattern_dfa_build(const char *source, size_t size, struct pattern_dfa **out, struct err *e)
{
    struct pattern_parser *p = mem_alloc(1, sizeof *p, "a pattern", e);
    struct pattern_dfa *d = mem_alloc(1, sizeof *d, "a pattern", e);
    int result = p && d ? 0 : -1;
    *out = NULL;
    if (result == 0) {
        p->s = source;
        p->end = source + size;
        result = build(d, p, e);
    }
    free(p);
    if (result == 0)
        *out = d;
    else
        pattern_dfa_free(d);
    return result < 0 ? -1 : 0;
}

void pattern_dfa_free(struct pattern_dfa *d)
{
    if (!d)
        return;
    free(d->class);
    free(d->next);
    free(d->ends);
    free(d);
}

// ---- Matching -----------------------------------------------------------------------------------

// The class of the character at *i, which moves behind it.
static inline unsigned next_class(const struct pattern_dfa *d, const char *text, size_t *i)
{
    unsigned char byte = (unsigned char)text[*i];
    if (byte < 0x80) {
        ++*i;
        return d->ascii[byte];
    }
    uint32_t c = utf8_next(text, i);
    return d->class[d->page[c / PAGE]][c % PAGE];
}

// Where the match that begins at `at` ends, -1: none does. *stop: where that was clear.
static inline int64_t match_at(const struct pattern_dfa *d, const char *text, size_t size,
                               size_t at, size_t *stop)
{
    uint32_t state = d->start;
    int64_t end = -1;
    size_t i = at;
    while (i < size) {
        size_t here = i;
        uint32_t next = d->next[state + next_class(d, text, &i)];
        if (next & 1)
            end = (int64_t)here;
        state = next >> 1;
        if (!state) {
            *stop = here;
            return end;
        }
    }
    *stop = size;
    return d->ends[state / d->n_classes] ? (int64_t)size : end;
}

int pattern_dfa_find(const struct pattern_dfa *d, const char *text, size_t size, size_t at,
                     size_t *start, size_t *end)
{
    for (size_t steps = 0;;) {
        size_t stop;
        int64_t hit = match_at(d, text, size, at, &stop);
        if (hit >= 0) {
            *start = at;
            *end = (size_t)hit;
            return 1;
        }
        if (at >= size)
            return 0;
        if ((steps += stop - at) > steps_max)
            return -1;
        utf8_next(text, &at);
    }
}
