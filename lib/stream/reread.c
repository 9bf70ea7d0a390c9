// SPDX-License-Identifier: MIT
#include "stream/reread.h"
#include "stream/parts.h"

#include <string.h>
#include <sys/stat.h>

static int is_regular(const char *path)
{
    struct stat st;
    return path && strcmp(path, "-") != 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

int reread_open(struct reread *t, const char *path, int keep, struct err *e)
{
    memset(t, 0, sizeof *t);
    t->path = path;
    t->keep = keep || !is_regular(path);
    return filter_open(&t->pass, path, e);
}

// The file may not be the one that was read first.
static int check_end(const struct reread *t, struct err *e)
{
    if (stream_reader_sequences(t->pass.reader) == t->n_sequences)
        return 0;
    return err_set(e, STATUS_FAILED, "%s: changed while it was read",
                   stream_reader_name(t->pass.reader));
}

int reread_next(struct reread *t, struct frame **f, struct err *e)
{
    int more;
    if (t->second && t->keep) {
        if (t->next == t->pass.n_held)
            return 0;
        *f = t->pass.held[t->next++];
        return 1;
    }
    if (t->keep) {
        more = filter_hold_next(&t->pass, f, e);
    } else {
        more = filter_next(&t->pass, e);
        *f = &t->pass.frame;
    }
    if (more == 0 && !t->second)
        t->n_sequences = stream_reader_sequences(t->pass.reader);
    else if (t->second && (more == 0 || stream_reader_sequences(t->pass.reader) > t->n_sequences))
        return check_end(t, e) < 0 ? -1 : more;
    return more;
}

int reread_again(struct reread *t, struct err *e)
{
    t->second = 1;
    t->next = 0;
    if (t->keep)
        return 0;
    stream_reader_close(t->pass.reader);
    t->pass.reader = stream_reader_open(t->path, e);
    if (!t->pass.reader)
        return -1;
    // The output's header may have gained columns at its end, the stream must not have.
    struct stream_header h;
    if (header_copy(&h, &t->pass.header, e) < 0)
        return -1;
    while (h.n_columns > stream_reader_header(t->pass.reader)->n_columns)
        header_remove_column(&h, (int)h.n_columns - 1);
    int result = header_agree(&h, stream_reader_header(t->pass.reader), e);
    header_release(&h);
    return result < 0 ? err_prefix(e, "%s: changed while it was read", t->path) : 0;
}

void reread_release(struct reread *t)
{
    filter_release(&t->pass);
}
