// SPDX-License-Identifier: MIT
#include "train/online.h"
#include "stream/filter.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int online_prove(const char *input, int *is_file, struct err *e)
{
    struct stat st;
    uint64_t sequences, tokens;
    int from_stdin = !input || !strcmp(input, "-");
    const char *path = from_stdin ? "/proc/self/fd/0" : input;
    *is_file = stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
               (!from_stdin || lseek(STDIN_FILENO, 0, SEEK_CUR) == 0);
    return *is_file ? filter_check(path, &sequences, &tokens, e) : 0;
}

int online_open(struct online *s, const char *input, const char *tokenizer, struct err *e)
{
    if (!(s->reader = stream_reader_open(input, e)))
        return -1;
    s->where = stream_reader_name(s->reader);
    if (header_copy(&s->header, stream_reader_header(s->reader), e) < 0 ||
        header_check_tokenizer(&s->header, tokenizer, s->where, e) < 0)
        return -1;
    return frame_init(&s->frame, &s->header, e);
}

void online_release(struct online *s)
{
    stream_reader_close(s->reader);
    frame_release(&s->frame);
    if (s->header.column)
        header_release(&s->header);
    memset(s, 0, sizeof *s);
}

int online_next(struct online *s, struct err *e)
{
    return stream_reader_next(s->reader, &s->frame, e);
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
