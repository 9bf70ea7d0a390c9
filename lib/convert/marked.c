// SPDX-License-Identifier: MIT
#include "convert/marked.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <unistd.h>

// What a run of tokens is: it begins and ends where this changes.
enum look { PLAIN = 0, TRAINED = 1, ACROSS = 2, SPECIAL = 4 };

struct marker {
    const struct tokenizer *t;
    struct output *o;
    const struct marked *m;
    int colours;
};

static int put(const struct marker *k, const char *text, struct err *e)
{
    return output_printf(k->o, e, "%s", text);
}

static int begin_look(const struct marker *k, int look, struct err *e)
{
    if (!k->colours || look == PLAIN)
        return 0;
    return output_printf(k->o, e, "\033[%s%sm",
                         look & ACROSS    ? "97;41"
                         : look & TRAINED ? "30;42"
                                          : "2",
                         look & SPECIAL ? ";4" : "");
}

static int end_look(const struct marker *k, int look, struct err *e)
{
    return k->colours && look != PLAIN ? put(k, "\033[0m", e) : 0;
}

// A newline ends the ground's colour, or it would fill the terminal's line.
static int put_newline(const struct marker *k, int look, struct err *e)
{
    if (look & TRAINED && put(k, "\u23CE", e) < 0)
        return -1;
    return end_look(k, look, e) < 0 || put(k, "\n", e) < 0 || begin_look(k, look, e) < 0 ? -1 : 0;
}

// Control characters and broken bytes are spelled out.
static int put_safe(const struct marker *k, const char *text, size_t size, int look, struct err *e)
{
    for (size_t i = 0; i < size;) {
        size_t bad, n = utf8_sequence(text + i, size - i, &bad), next = i;
        uint32_t c = n ? utf8_next(text, &next) : 0;
        int plain = n && (c == '\t' || (c >= 0x20 && c != 0x7F && (c < 0x80 || c > 0x9F)));
        int result = c == '\n' && n ? put_newline(k, look, e)
                     : plain        ? output_write(k->o, text + i, n, e)
                                    : output_printf(k->o, e, "\\x%02X", (unsigned char)text[i]);
        if (result < 0)
            return -1;
        i += plain ? n : 1;
    }
    return 0;
}

// Decoding leaves it out: it stands for no text.
static int is_special(const struct marker *k, uint32_t id, struct buffer *scratch, int *special,
                      struct err *e)
{
    buffer_clear(scratch);
    if (tokenizer_decode(k->t, &id, 1, 1, scratch, e) < 0)
        return -1;
    size_t without = scratch->size;
    buffer_clear(scratch);
    if (tokenizer_decode(k->t, &id, 1, 0, scratch, e) < 0)
        return -1;
    *special = without == 0 && scratch->size > 0;
    return 0;
}

static int look_of(const struct marker *k, size_t i, struct buffer *scratch, int *look,
                   struct err *e)
{
    int special = 0;
    if (k->colours && is_special(k, k->m->token[i], scratch, &special, e) < 0)
        return -1;
    *look = (k->m->mask[i] ? TRAINED : 0) | (k->m->across && k->m->across[i] ? ACROSS : 0) |
            (special ? SPECIAL : 0);
    return 0;
}

// The brackets between two looks, where there are no colours.
static int put_brackets(const struct marker *k, int from, int to, struct err *e)
{
    if (k->colours)
        return 0;
    return ((from & ACROSS) && !(to & ACROSS) && put(k, "\u27EB", e) < 0) ||
                   ((from & TRAINED) && !(to & TRAINED) && put(k, "\u27E7", e) < 0) ||
                   (!(from & TRAINED) && (to & TRAINED) && put(k, "\u27E6", e) < 0) ||
                   (!(from & ACROSS) && (to & ACROSS) && put(k, "\u27EA", e) < 0)
               ? -1
               : 0;
}

static int put_runs(const struct marker *k, struct buffer *run, struct buffer *scratch,
                    struct err *e)
{
    const struct marked *m = k->m;
    int before = PLAIN, look = PLAIN, next;
    if (m->n && look_of(k, 0, scratch, &look, e) < 0)
        return -1;
    for (size_t i = 0; i < m->n; before = look, look = next) {
        buffer_clear(run);
        next = look;
        do
            if (tokenizer_piece(k->t, m->token[i], i == 0, run, e) < 0 ||
                (++i < m->n && look_of(k, i, scratch, &next, e) < 0))
                return -1;
        while (i < m->n && next == look);
        if (put_brackets(k, before, look, e) < 0 || begin_look(k, look, e) < 0 ||
            put_safe(k, run->data ? run->data : "", run->size, look, e) < 0 ||
            end_look(k, look, e) < 0)
            return -1;
    }
    return put_brackets(k, before, PLAIN, e);
}

static int put_title(const struct marker *k, struct err *e)
{
    const struct marked *m = k->m;
    size_t trained = 0, across = 0;
    for (size_t i = 0; i < m->n; i++) {
        trained += m->mask[i] != 0;
        across += m->across && m->across[i];
    }
    if (output_printf(k->o, e, "# %.*s: %zu tokens, %zu trained", (int)m->id_size, m->id, m->n,
                      trained) < 0 ||
        (across && output_printf(k->o, e, ", %zu across the boundary", across) < 0) ||
        (m->cut && output_printf(k->o, e, ", %zu cut off", m->cut) < 0) ||
        (m->empty_answer && put(k, ", empty answer", e) < 0) ||
        (m->no_stop && put(k, ", the stop token is not trained", e) < 0))
        return -1;
    return put(k, "\n", e);
}

static int has_colours(const struct output *o)
{
    return !o->path && isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
}

int marked_print(const struct tokenizer *t, struct output *o, const struct marked *m, struct err *e)
{
    const struct marker k = {t, o, m, has_colours(o)};
    struct buffer run, scratch;
    buffer_init(&run, 0);
    buffer_init(&scratch, 0);
    int result = put_title(&k, e);
    if (result == 0)
        result = put_runs(&k, &run, &scratch, e);
    buffer_release(&run);
    buffer_release(&scratch);
    return result < 0 ? -1 : put(&k, "\n", e);
}
