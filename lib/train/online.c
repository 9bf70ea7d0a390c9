// SPDX-License-Identifier: MIT
#include "train/online.h"
#include "base/hash.h"
#include "stream/filter.h"
#include "stream/parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int online_prove(struct online *s, const char *input, int *is_file, struct err *e)
{
    struct stat st;
    uint64_t tokens;
    int from_stdin = !input || !strcmp(input, "-");
    const char *path = from_stdin ? "/proc/self/fd/0" : input;
    int there = stat(path, &st) == 0;
    if (!there && errno != ENOENT)
        return err_errno(e, from_stdin ? "standard input" : input);
    *is_file =
        there && S_ISREG(st.st_mode) && (!from_stdin || lseek(STDIN_FILENO, 0, SEEK_CUR) == 0);
    return *is_file ? filter_check(path, &s->sequences, &tokens, e) : 0;
}

static int is_followed(const json_t *line)
{
    const char *program = json_string_value(json_object_get(line, "program"));
    const json_t *argument;
    size_t i;
    if (program && !strcmp(program, "rollout"))
        json_array_foreach(json_object_get(line, "args"), i,
                           argument) if (json_is_string(argument) &&
                                         !strcmp(json_string_value(argument), "--follow")) return 1;
    return 0;
}

static void find_life(struct online *s)
{
    const json_t *line;
    size_t i;
    s->step = header_find(&s->header, "step");
    if (s->step < 0 || s->header.column[s->step].type != COLUMN_U32 ||
        s->header.column[s->step].per != PER_SEQUENCE)
        return;
    json_array_foreach(s->header.provenance, i, line) s->lives |= is_followed(line);
}

int online_is_past(const struct online *s, size_t i)
{
    return s->frame.column[s->step].u32[i] < s->skip_steps;
}

int online_open(struct online *s, const char *input, const char *tokenizer, struct err *e)
{
    if (!(s->reader = stream_reader_open(input, e)))
        return -1;
    s->where = stream_reader_name(s->reader);
    if (header_copy(&s->header, stream_reader_header(s->reader), e) < 0 ||
        header_check_tokenizer(&s->header, tokenizer, s->where, e) < 0)
        return -1;
    find_life(s);
    return frame_init(&s->frame, &s->header, e);
}

void online_release(struct online *s)
{
    stream_reader_close(s->reader);
    frame_release(&s->frame);
    free(s->open);
    if (s->header.column)
        header_release(&s->header);
    memset(s, 0, sizeof *s);
}

int online_next(struct online *s, struct err *e)
{
    return stream_reader_next(s->reader, &s->frame, e);
}

// The values of the first record's tokens, or of the record, in one column.
static int add_values(const struct frame *f, int column, struct buffer *b, struct err *e)
{
    const struct column *c = &f->header->column[column];
    size_t size;
    if (c->type == COLUMN_STRING) {
        const char *text = frame_string(f, column, 0, &size);
        return buffer_append(b, text, size + 1, e);
    }
    const uint8_t *data = f->column[column].u8;
    size_t first = c->per == PER_TOKEN ? f->start[0] : 0,
           n = c->per == PER_TOKEN ? frame_length(f, 0) : 1, width = column_type_size(c->type);
    return buffer_append(b, data + first * width, n * width, e);
}

int online_identify(struct online *s, struct err *e)
{
    struct buffer b;
    buffer_init(&b, 0);
    // As it came: `header` has this run's line of provenance too.
    int result = header_print(stream_reader_header(s->reader), &b, e);
    if (result == 0 && !s->lives)
        result = buffer_printf(&b, e, "%llu", (unsigned long long)s->sequences);
    for (size_t i = 0; i < s->header.n_columns && result == 0 && !s->lives; i++)
        result = add_values(&s->frame, (int)i, &b, e);
    if (result == 0)
        hash_fingerprint(hash_bytes(b.data, b.size), s->identity);
    buffer_release(&b);
    return result;
}

int64_t online_batch_size(const struct online *s)
{
    const json_t *sampling = s->header.sampling;
    json_int_t prompts = json_integer_value(json_object_get(sampling, "batch_size"));
    json_int_t samples = json_integer_value(json_object_get(sampling, "num_generations"));
    int known = prompts > 0 && samples > 0 && prompts < (1 << 24) && samples < (1 << 24) &&
                prompts * samples < (1 << 24) && header_find(&s->header, "step") >= 0;
    return known ? prompts * samples : 0;
}
