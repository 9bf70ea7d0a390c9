// SPDX-License-Identifier: MIT
#include "commands.h"

#include "base/memory.h"
#include "base/named_number.h"
#include "toks/mix.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void tell(const char *name, uint64_t records, uint64_t available)
{
    if (records <= available)
        message_note("%s: %" PRIu64 " of %" PRIu64 " records", name, records, available);
    else
        message_note("%s: %" PRIu64 " records, each of %" PRIu64 " about %.1f times", name, records,
                     available, (double)records / (double)available);
}

// "A.toks:2", or "A.toks" of weight 1. The text behind the last colon is a weight if it looks like
// one.
static int parse_source(char *text, struct mix_source *source, struct err *e)
{
    static const struct named_form form = {NULL, "STREAM:WEIGHT", 1e-9, 1e9};
    struct named_number n;
    char *colon = strrchr(text, ':');
    *source = (struct mix_source){text, 1};
    if (!colon || !colon[1] || colon[1 + strspn(colon + 1, "+-.0123456789eE")])
        return 0;
    if (named_number(&n, text, &form, e) < 0)
        return -1;
    source->weight = n.number;
    text[n.size] = 0;
    return 0;
}

static void release(struct mix_source *source, int n)
{
    for (int i = 0; i < n; i++)
        free((char *)source[i].path);
    free(source);
}

// The words themselves stay as they were typed, for the provenance.
static struct mix_source *parse_sources(const struct operands *o, struct err *e)
{
    struct mix_source *source = mem_alloc((size_t)o->n, sizeof *source, "streams", e);
    for (int i = 0; source && i < o->n; i++) {
        char *text = strdup(o->text[i]);
        int result =
            text ? parse_source(text, &source[i], e) : err_memory(e, strlen(o->text[i]), "a name");
        if (result == 0)
            continue;
        free(text);
        release(source, i);
        return NULL;
    }
    return source;
}

static int run_mix(struct call *c, struct mix *mix)
{
    struct mix_source *source = parse_sources(&c->operands, &c->e);
    if (!source)
        return toks_failed(&c->e);
    mix->source = source;
    mix->n = c->operands.n;
    int result = mix_run(mix, toks_common.output, &c->line, tell, &c->e);
    release(source, mix->n);
    return toks_done(c, result);
}

int toks_mix(struct call *c)
{
    static int ids = MERGE_PREFIX, repeat;
    static int64_t records;
    static const struct option_spec options[] = {
        OPT_INT('n', "records", &records, "N", 0, 1e15,
                "records in all; 0: as many as the weights allow with no record twice, or with "
                "--repeat as few as have each record once"),
        OPT_FLAG(0, "repeat", &repeat,
                 "start a stream over that has too few records; those of the second time are "
                 "called ID.1"),
        OPT_CHOICE("ids", &ids, merge_ids_names,
                   "the number of its stream and a colon stand before each id (prefix); an id that "
                   "occurs twice is an error (unique); ids stay as they are (keep)"),
        OPTIONS_COMMON(&toks_common)};
    static const struct program program = {
        .name = "toks mix",
        .operands = "STREAM[:WEIGHT]...",
        .summary = "Mix streams in proportion to their weights.",
        .details =
            "A weight is 1 if none is given. --seed decides which records of a stream are drawn, "
            "without replacement, and how the streams alternate; the records of one stream keep "
            "their order. Named files are read twice and never held in memory; piped input is.",
        .examples = "  toks mix chats.toks:2 sums.toks:1 --seed 7 > both.toks\n"
                    "  toks mix chats.toks:0.9 sums.toks:0.1 -n 50000 --repeat > both.toks\n",
        .options = options,
        .operands_min = 1,
        .operands_max = -1};
    int status = toks_start(c, &program, c->argc);
    if (status >= 0)
        return status;
    struct mix mix = {.records = (uint64_t)records,
                      .repeat = repeat,
                      .ids = (enum merge_ids)ids,
                      .seed = toks_common.seed};
    return run_mix(c, &mix);
}
