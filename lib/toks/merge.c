// SPDX-License-Identifier: MIT
#include "toks/merge.h"
#include "stream/parts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const merge_ids_names[] = {
    [MERGE_UNIQUE] = "unique", [MERGE_PREFIX] = "prefix", [MERGE_KEEP] = "keep", NULL};

void merge_init(struct merge *m, enum merge_ids ids)
{
    memset(m, 0, sizeof *m);
    m->ids = ids;
    id_set_init(&m->seen);
    buffer_init(&m->text, 0);
}

void merge_release(struct merge *m)
{
    if (m->frame.header)
        frame_release(&m->frame);
    id_set_release(&m->seen);
    buffer_release(&m->text);
}

int merge_header(struct stream_header *to, const struct stream_reader *reader, struct err *e)
{
    const struct stream_header *from = stream_reader_header(reader);
    if (header_agree(to, from, e) < 0)
        return err_prefix(e, "%s", stream_reader_name(reader));
    if (!to->tokenizer && from->tokenizer && !(to->tokenizer = strdup(from->tokenizer)))
        return err_memory(e, strlen(from->tokenizer), "a fingerprint");
    if (to->vocab_size < 0)
        to->vocab_size = from->vocab_size;
    if (to->sampling && !(from->sampling && json_equal(to->sampling, from->sampling))) {
        json_decref(to->sampling);
        to->sampling = NULL;
    }
    return header_add_lines(to, from, e);
}

int merge_start(struct merge *m, struct stream_header *h, struct err *e)
{
    // What refers to a record must follow it.
    static const char *const names[MERGE_ID_COLUMNS] = {"id", "prompt", "pair", "group"};
    for (int i = 0; i < MERGE_ID_COLUMNS; i++) {
        int k = header_find(h, names[i]);
        if (k >= 0 && h->column[k].type == COLUMN_STRING)
            m->column[m->n_columns++] = k;
    }
    return frame_init(&m->frame, h, e);
}

// "STREAM:" before and ".PASS" behind the text of a column of the last record.
static int rename_text(struct merge *m, const struct frame *f, size_t i, int column, int stream,
                       uint64_t pass, struct err *e)
{
    char before[32] = "", behind[32] = "";
    size_t size;
    const char *text = frame_string(f, column, i, &size);
    if (!size)
        return 0;
    if (m->ids == MERGE_PREFIX)
        snprintf(before, sizeof before, "%d:", stream);
    if (pass && column == COLUMN_ID)
        snprintf(behind, sizeof behind, ".%" PRIu64, pass);
    buffer_clear(&m->text);
    if (buffer_append(&m->text, before, strlen(before), e) < 0 ||
        buffer_append(&m->text, text, size, e) < 0 ||
        buffer_append(&m->text, behind, strlen(behind), e) < 0)
        return -1;
    return frame_set_string(&m->frame, column, m->text.data, m->text.size, e);
}

// The id of record i of `of`, which came as record k of `f`.
static int check_new(struct merge *m, const struct frame *of, size_t i, const struct frame *f,
                     size_t k, const char *name, struct err *e)
{
    size_t size;
    if (m->ids == MERGE_KEEP)
        return 0;
    const char *id = frame_string(of, COLUMN_ID, i, &size);
    int fresh = id_set_add(&m->seen, id, size, e);
    if (fresh)
        return fresh < 0 ? -1 : 0;
    return err_set(e, STATUS_STREAM, "%s: %s: a second one with this id%s", name,
                   frame_record(f, k).text,
                   m->ids == MERGE_UNIQUE
                       ? " (--ids prefix puts the number of its stream before each, --ids keep "
                         "leaves them)"
                       : "");
}

int merge_add(struct merge *m, const struct frame *f, size_t i, int stream, uint64_t pass,
              const char *name, struct err *e)
{
    if (frame_append(&m->frame, f, i, e) < 0)
        return -1;
    if (m->ids == MERGE_PREFIX || (pass && m->ids != MERGE_KEEP))
        for (int k = 0; k < m->n_columns; k++)
            if (rename_text(m, f, i, m->column[k], stream, pass, e) < 0)
                return -1;
    return check_new(m, &m->frame, m->frame.n_sequences - 1, f, i, name, e);
}

int merge_frame(struct merge *m, struct frame *f, int stream, const char *name, struct frame **out,
                struct err *e)
{
    int copy = m->ids == MERGE_PREFIX;
    *out = copy ? &m->frame : f;
    frame_clear(&m->frame);
    for (size_t i = 0; i < f->n_sequences; i++)
        if (copy ? merge_add(m, f, i, stream, 0, name, e) < 0
                 : check_new(m, f, i, f, i, name, e) < 0)
            return -1;
    return 0;
}
