// SPDX-License-Identifier: MIT
// Tokenizes the lines of a file, one by one, on one thread:
//     bench_tokenizer DIR FILE [TIMES]
// and prints processor seconds (the least of TIMES passes), bytes and tokens.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/io.h"
#include "tokenize/tokenizer.h"

static double processor_time(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// A pass over all lines; -1: failed.
static int pass(const struct tokenizer *t, struct tokenizer_worker *w, const struct buffer *text,
                struct token_list *out, size_t *tokens, struct err *e)
{
    const char *p = text->data, *end = p + text->size;
    for (*tokens = 0; p < end;) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop)
            stop = end;
        out->n = 0;
        if (tokenizer_encode_by(t, w, p, (size_t)(stop - p), 0, out, e) < 0)
            return -1;
        *tokens += out->n;
        p = stop + 1;
    }
    return 0;
}

static int measure(const char *directory, const char *file, int times, struct err *e)
{
    struct buffer text;
    struct token_list out;
    double best = 1e30;
    size_t tokens = 0;
    struct tokenizer_worker *w = NULL;
    buffer_init(&text, (size_t)1 << 30);
    token_list_init(&out);
    struct tokenizer *t = tokenizer_open(directory, e);
    int result = t ? io_read_regular(AT_FDCWD, file, &text, e) : -1;
    for (int i = 0; result == 0 && i < times; i++) {
        w = tokenizer_worker_open(e); // each pass with a cold cache
        double begin = processor_time();
        result = w ? pass(t, w, &text, &out, &tokens, e) : -1;
        double seconds = processor_time() - begin;
        best = seconds < best ? seconds : best;
        tokenizer_worker_close(w);
    }
    if (result == 0)
        printf("%.6f %zu %zu\n", best, text.size, tokens);
    tokenizer_close(t);
    token_list_release(&out);
    buffer_release(&text);
    return result;
}

int main(int argc, char **argv)
{
    struct err e;
    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: bench_tokenizer DIR FILE [TIMES]\n");
        return 2;
    }
    if (measure(argv[1], argv[2], argc > 3 ? atoi(argv[3]) : 1, &e) < 0) {
        fprintf(stderr, "bench_tokenizer: %s\n", e.text);
        return 1;
    }
    return 0;
}
