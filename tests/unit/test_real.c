// SPDX-License-Identifier: MIT
// Real weights, real tokenizers: ids and log-probabilities of whole texts against a table that was
// computed in double.
#include "model_kit.h"

#include "infer/scorer.h"
#include "tokenize/tokenizer.h"

enum { TEXTS_MAX = 16, IDS_MAX = 512 };

struct table {
    json_t *text[TEXTS_MAX]; // the beginning, where the table cuts a long text
    int cut[TEXTS_MAX];
    uint32_t id[TEXTS_MAX][IDS_MAX], best[TEXTS_MAX][IDS_MAX];
    double logp[TEXTS_MAX][IDS_MAX], entropy[TEXTS_MAX][IDS_MAX];
    size_t n[TEXTS_MAX], texts;
};

static void read_row(struct table *t, const char *line)
{
    unsigned text, pos, id, best;
    char piece[200], logp[40], entropy[40], argmax[40];
    if (sscanf(line, "%u\t%u\t%u\t%199[^\t]\t%39s\t%39s\t%39s", &text, &pos, &id, piece, logp,
               entropy, argmax) != 7 ||
        text >= TEXTS_MAX || pos >= IDS_MAX || pos != t->n[text]) {
        printf("# %s", line);
        CHECK(!"a row");
        return;
    }
    t->id[text][pos] = id;
    t->logp[text][pos] = strtod(logp, NULL);
    t->entropy[text][pos] = strtod(entropy, NULL);
    best = (unsigned)strtoul(argmax, NULL, 10);
    t->best[text][pos] = best;
    t->n[text]++;
    if (text >= t->texts)
        t->texts = text + 1;
}

// A JSON string, which may break off.
static void read_text(struct table *t, unsigned i, char *json)
{
    json[strcspn(json, "\n")] = 0;
    t->text[i] = json_loads(json, JSON_DECODE_ANY, NULL);
    if (!t->text[i]) {
        t->cut[i] = 1;
        strcat(json, "\"");
        t->text[i] = json_loads(json, JSON_DECODE_ANY, NULL);
    }
}

static void read_table(struct table *t, const char *path)
{
    char line[8192];
    FILE *f = fopen(path, "r");
    CHECK(f != NULL);
    while (f && fgets(line, sizeof line, f)) {
        unsigned text;
        char *quoted = strstr(line, " text \"");
        if (line[0] != '#')
            read_row(t, line);
        else if (quoted && sscanf(line, "# text %u", &text) == 1 && text < TEXTS_MAX)
            read_text(t, text, quoted + 6);
    }
    if (f)
        fclose(f);
}

static void check_ids(const struct table *t, const char *directory)
{
    struct tokenizer *tokenizer = tokenizer_open(directory, &e);
    CHECK(tokenizer != NULL);
    for (size_t i = 0; tokenizer && i < t->texts; i++) {
        struct token_list ids;
        struct buffer whole;
        token_list_init(&ids);
        buffer_init(&whole, 1 << 20);
        CHECK(t->text[i] != NULL);
        const char *text = json_string_value(t->text[i]);
        size_t size = json_string_length(t->text[i]);
        if (t->cut[i]) { // the rest of the text from its ids
            CHECK(tokenizer_decode(tokenizer, t->id[i], t->n[i], 1, &whole, &e) == 0);
            CHECK(whole.size > size && memcmp(whole.data, text, size) == 0);
            text = whole.data;
            size = whole.size;
        }
        CHECK(tokenizer_encode(tokenizer, text, size, TOKENIZER_SPECIAL, &ids, &e) == 0);
        CHECK(ids.n == t->n[i] && memcmp(ids.id, t->id[i], ids.n * sizeof *ids.id) == 0);
        buffer_release(&whole);
        token_list_release(&ids);
    }
    tokenizer_close(tokenizer);
}

// All texts in packed batches; then each alone, with the same bits.
static void check_values(const struct table *t, struct reference *r)
{
    struct scorer s;
    struct sequence sequence[TEXTS_MAX];
    size_t rows = 0, at = 0, where;
    for (size_t i = 0; i < t->texts; i++) {
        sequence[i] = (struct sequence){.token = t->id[i], .n = t->n[i]};
        rows += sequence_wanted(&sequence[i]);
    }
    float *logp = calloc(rows, sizeof *logp), *entropy = calloc(rows, sizeof *entropy);
    uint32_t *best = calloc(rows, sizeof *best);
    struct head_result out = {.logp = logp, .entropy = entropy, .best = best};
    scorer_init(&s, r->model, &r->device);
    CHECK(scorer_run(&s, sequence, t->texts, &out, &where, &e) == 0);
    double worst = 0;
    for (size_t i = 0; i < t->texts; i++) {
        float alone[IDS_MAX];
        CHECK(score_one(r, t->id[i], t->n[i], alone, NULL) == 0);
        CHECK(memcmp(alone, logp + at, (t->n[i] - 1) * sizeof *alone) == 0);
        for (size_t k = 1; k < t->n[i]; k++, at++) {
            worst = fmax(worst, fabs((double)logp[at] - t->logp[i][k]));
            CHECK_NEAR((double)logp[at], t->logp[i][k], 1e-4);
            CHECK_NEAR((double)entropy[at], t->entropy[i][k], 1e-4);
            CHECK(best[at] == t->best[i][k]);
        }
    }
    CHECK(at == rows);
    printf("# %s: %zu tokens, log-probabilities off by %.2g\n", r->model->path, rows, worst);
    for (size_t i = 0; i < t->texts; i++)
        check_soft_rewards(r, t->id[i], t->n[i]);
    scorer_release(&s);
    free(logp);
    free(entropy);
    free(best);
}

static void check_real(const char *directory, const char *table)
{
    struct table *t = calloc(1, sizeof *t);
    struct reference r = {0};
    read_table(t, table);
    CHECK(t->texts > 0);
    check_ids(t, directory);
    if (reference_open_model(&r, directory) == 0)
        check_values(t, &r);
    else
        CHECK(!"opened");
    for (size_t i = 0; i < t->texts; i++)
        json_decref(t->text[i]);
    reference_close(&r);
    free(t);
}

static void stories(void)
{
    NEED(SHARED "/data/golden/stories260k.tsv");
    check_real(SHARED "/data/hf-stories260k", SHARED "/data/golden/stories260k.tsv");
}

static void babyllama(void)
{
    NEED(SHARED "/data/golden/babyllama-tok105.tsv");
    check_real(SHARED "/data/hf-babyllama-tok105", SHARED "/data/golden/babyllama-tok105.tsv");
}

int main(void)
{
    CHECK(threads_set(2, &e) == 0);
    RUN(stories);
    RUN(babyllama);
    return test_end();
}
