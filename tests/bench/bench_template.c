// SPDX-License-Identifier: MIT
// How many chats are rendered in a second of one core's time, the JSON read beforehand.
//   bench_template TEMPLATE CHATS.jsonl ROUNDS   ->  "RENDERED_A_SECOND SPANS_A_SECOND MB_A_SECOND"
// CHATS.jsonl holds {"messages": [...]} records. The second rate is that of rendering with the
// assistant's spans; the third that of the text.
#include "base/io.h"
#include "base/signals.h"
#include "data/chat.h"
#include "data/corpus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct chats {
    json_t **object;
    size_t n, capacity;
};

static int read_chats(struct chats *c, char *path, struct err *e)
{
    struct corpus corpus;
    struct corpus_entry entry;
    int more = corpus_open(&corpus, &path, 1, e);
    while (more >= 0 && (more = corpus_next(&corpus, &entry, e)) > 0) {
        json_t *object = corpus_parse(&entry, e);
        if (!object || mem_grow((void **)&c->object, &c->capacity, c->n + 1, sizeof *c->object,
                                "chats", e) < 0)
            more = -1;
        else
            c->object[c->n++] = object;
    }
    corpus_close(&corpus);
    return more;
}

// Chats a second, the best of all rounds; -1. *bytes: of the text of one round.
static double rate(const struct chat *chat, const struct chats *c, int rounds, int with_spans,
                   size_t *bytes, struct err *e)
{
    struct buffer out;
    struct span_list spans;
    double best = 0;
    buffer_init(&out, 0);
    span_list_init(&spans);
    for (int round = 0; round < rounds && best >= 0; round++) {
        clock_t start = clock();
        *bytes = 0;
        for (size_t i = 0; i < c->n && best >= 0; i++) {
            struct chat_request request = {.messages = json_object_get(c->object[i], "messages")};
            spans.n = 0;
            buffer_clear(&out);
            if ((with_spans ? chat_render_spans(chat, &request, &out, &spans, e)
                            : chat_render(chat, &request, &out, e)) < 0)
                best = -1;
            *bytes += out.size;
        }
        double now = (double)c->n * CLOCKS_PER_SEC / (double)(clock() - start);
        best = best < 0 || now < best ? best : now;
    }
    buffer_release(&out);
    span_list_release(&spans);
    return best;
}

static int run(char **argv, struct err *e)
{
    struct buffer source;
    struct chats chats = {0};
    struct chat *chat = NULL;
    double plain = -1, marked = -1;
    size_t bytes = 0;
    buffer_init(&source, 1 << 22);
    if (io_read_file(argv[1], &source, e) == 0 && read_chats(&chats, argv[2], e) == 0)
        chat = chat_open_source(source.data, source.size, argv[1], NULL, e);
    if (chat)
        plain = rate(chat, &chats, atoi(argv[3]), 0, &bytes, e);
    if (plain >= 0)
        marked = rate(chat, &chats, atoi(argv[3]), 1, &bytes, e);
    if (marked >= 0)
        printf("%.0f %.0f %.1f\n", plain, marked, plain * (double)bytes / (double)chats.n * 1e-6);
    chat_close(chat);
    for (size_t i = 0; i < chats.n; i++)
        json_decref(chats.object[i]);
    free(chats.object);
    buffer_release(&source);
    return marked >= 0 ? 0 : -1;
}

int main(int argc, char **argv)
{
    struct err e;
    if (argc != 4) {
        fprintf(stderr, "bench_template TEMPLATE CHATS.jsonl ROUNDS\n");
        return 2;
    }
    message_program("bench_template");
    return run(argv, &e) < 0 ? signals_exit_status(message_fail(&e)) : 0;
}
