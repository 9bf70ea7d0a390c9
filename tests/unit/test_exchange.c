// SPDX-License-Identifier: MIT
// Models to GGUF files and back: names, order of values, types, ways to cut text.
#include "test.h"

#include "base/io.h"
#include "base/memory.h"
#include "exchange/hyper.h"
#include "exchange/layout.h"
#include "exchange/mix.h"
#include "exchange/splitting.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>

#define CONFIGS "tests/fixtures/configs"

static struct model_config read_config(const char *name)
{
    struct model_config c;
    struct err e;
    int at = open(CONFIGS, O_RDONLY | O_DIRECTORY);
    int result = config_read_file(&c, at, name, &e);
    CHECK(result == 0);
    close(at);
    return c;
}

// The line of names.txt that begins so, with a blank in front of each word and behind the last.
static char *line_of(const char *begin)
{
    struct err e;
    struct buffer text;
    buffer_init(&text, 0);
    CHECK(io_read_file("tests/fixtures/gguf/names.txt", &text, &e) == 0);
    char *found = NULL;
    for (char *rest = text.data, *line; !found && (line = strsep(&rest, "\n")) && *line;)
        if (!strncmp(line, begin, strlen(begin)))
            CHECK(asprintf(&found, " %s ", line) > 0);
    buffer_release(&text);
    return found;
}

static int has_word(const char *line, const char *word, int size)
{
    char padded[300];
    snprintf(padded, sizeof padded, " %.*s ", size, word);
    return line && strstr(line, padded);
}

// "blk.7.attn_q.weight" as names.txt has it: "blk.{bid}.attn_q".
static void plain_name(char *out, size_t size, const char *name)
{
    const char *rest = strncmp(name, "blk.7.", 6) ? name : name + 6;
    snprintf(out, size, "%s%.100s", rest == name ? "" : "blk.{bid}.", rest);
    *strrchr(out, '.') = 0;
}

static void check_names(const struct architecture *a, const struct model_config *c)
{
    char begin[64], plain[2 * STEM_NAME];
    struct layout l;
    snprintf(begin, sizeof begin, "tensors %s ", a->name);
    char *known = line_of(begin);
    CHECK(known != NULL);
    for (int role = 0; role < ROLE_COUNT; role++)
        if (layout_of(&l, c, a, (enum tensor_role)role, 7) == 0) {
            plain_name(plain, sizeof plain, l.name);
            // The package's list lacks heads that its reader takes.
            int known_there = has_word(known, plain, (int)strlen(plain)) || role == ROLE_HEAD;
            if (!known_there) {
                test_failed = 1;
                printf("# %s: %s\n", a->name, plain);
            }
        }
    free(known);
}

// 0: llama.cpp does not compute the model.
static int check_keys(const struct architecture *a, const struct model_config *c)
{
    struct err e;
    const char *key;
    json_t *value, *keys = hyper_keys(c, a, &e);
    char *known = line_of("keys ");
    json_object_foreach(keys, key, value)
    {
        if (!has_word(known, key, (int)strlen(key))) {
            test_failed = 1;
            printf("# %s: %s\n", a->name, key);
        }
    }
    if (keys)
        check_names(a, c);
    free(known);
    json_decref(keys);
    return keys != NULL;
}

static void names_and_keys_are_those_of_the_package(void)
{
    DIR *folder = opendir(CONFIGS);
    int rows = 0;
    for (const struct dirent *f; folder && (f = readdir(folder));) {
        if (f->d_name[0] == '.')
            continue;
        struct model_config c = read_config(f->d_name);
        const struct architecture *a = architecture_of_family(&c);
        if (a) {
            rows += check_keys(a, &c);
        }
        config_release(&c);
    }
    if (folder)
        closedir(folder);
    CHECK(rows >= 20);
}

// A tensor's values 0, 1, ... in the file's order [n]; and back they are as they were.
static float *lay_out(const char *config, enum tensor_role role, size_t n)
{
    struct model_config c = read_config(config);
    struct layout l;
    float *file = calloc(n, sizeof *file), *ours = calloc(n, sizeof *ours);
    CHECK(layout_of(&l, &c, architecture_of_family(&c), role, 0) == 0);
    CHECK(l.rows * l.cols == n && !layout_is_plain(&l));
    for (size_t i = 0; i < n; i++)
        ours[i] = (float)i;
    if (l.rows * l.cols == n) {
        layout_to_file(&l, file, ours);
        float *back = calloc(n, sizeof *back);
        layout_from_file(&l, back, file);
        CHECK(!memcmp(ours, back, n * sizeof *ours));
        free(back);
    }
    free(ours);
    config_release(&c);
    return file;
}

// Of a head of 6 rows, rows 0 and 3, 1 and 4, 2 and 5 turn together: in the file they are
// neighbours.
static void queries_and_keys_lie_in_pairs(void)
{
    static const int row[6] = {0, 3, 1, 4, 2, 5}, entry[8] = {0, 4, 1, 5, 2, 6, 3, 7};
    float *keys = lay_out("llama-old.json", ROLE_KEY, 12 * 24);
    for (int i = 0; i < 12; i++)
        CHECK(keys[i * 24 + 5] == (float)((i / 6 * 6 + row[i % 6]) * 24 + 5));
    float *bias = lay_out("llama-yarn.json", ROLE_QUERY_BIAS, 32);
    for (int i = 0; i < 32; i++)
        CHECK(bias[i] == (float)(i / 8 * 8 + entry[i % 8]));
    free(keys);
    free(bias);
}

// q q k v, q q k v: in the file q q q q k k v v.
static void groups_lie_by_kind(void)
{
    static const int head[8] = {0, 1, 4, 5, 2, 6, 3, 7};
    float *qkv = lay_out("falcon-40b.json", ROLE_QKV, 64 * 32);
    for (int i = 0; i < 64; i++)
        CHECK(qkv[i * 32 + 3] == (float)((head[i / 8] * 8 + i % 8) * 32 + 3));
    free(qkv);
}

static void matrices_lie_by_rows_of_outputs_and_norms_count_from_0(void)
{
    float *up = lay_out("gpt2.json", ROLE_UP, 96 * 24),
          *norm = lay_out("gemma.json", ROLE_MLP_NORM, 24);
    CHECK(up[1] == 96 && up[24] == 1 && up[95 * 24 + 23] == 96 * 24 - 1);
    CHECK(norm[0] == 1 && norm[23] == 24);
    free(up);
    free(norm);
}

// ---- types ----

static enum gguf_type type_in(const char *mix, const struct model_config *c, enum tensor_role role,
                              size_t layer)
{
    struct layout l;
    struct err e;
    CHECK(layout_of(&l, c, architecture_of_family(c), role, layer) == 0);
    return mix_type(mix_find(mix, &e), &l, layer);
}

// As in published files of a Llama of 32 layers.
static void the_mix_is_llama_cpps(void)
{
    static const char more[] = "11110010010010010010010010011111";
    struct model_config c = read_config("llama-old.json");
    c.hidden = c.end_width = 256;
    c.intermediate = 512;
    c.layers = 32;
    for (size_t i = 0; i < 32; i++) {
        enum gguf_type wanted = more[i] == '1' ? GGUF_Q6_K : GGUF_Q4_K;
        CHECK(type_in("q4_k_m", &c, ROLE_VALUE, i) == wanted);
        CHECK(type_in("q4_k_m", &c, ROLE_DOWN, i) == wanted);
        CHECK(type_in("q4_k_m", &c, ROLE_UP, i) == GGUF_Q4_K);
    }
    CHECK(type_in("q4_k_m", &c, ROLE_EMBEDDING, 0) == GGUF_Q6_K); // the head too
    CHECK(type_in("q4_k_m", &c, ROLE_MLP_NORM, 0) == GGUF_F32);
    CHECK(type_in("q8_0", &c, ROLE_UP, 0) == GGUF_Q8_0);
    c.intermediate = 96; // no whole super-blocks
    CHECK(type_in("q4_k_m", &c, ROLE_DOWN, 0) == GGUF_Q8_0);
    CHECK(type_in("q4_k_m", &c, ROLE_DOWN, 4) == GGUF_Q5_0);
    c.intermediate = 40; // nor blocks
    CHECK(type_in("q4_k_m", &c, ROLE_DOWN, 0) == GGUF_F16);
    CHECK(type_in("q8_0", &c, ROLE_DOWN, 0) == GGUF_F16);
    config_release(&c);
}

// ---- ways to cut a text into words ----

static void ways_to_cut_are_found_again(void)
{
    static const char *const names[] = {
        "gpt-2",  "olmo",      "smollm", "command-r",  "llama-bpe",   "dbrx",  "qwen2",
        "tekken", "stablelm2", "gpt-4o", "seed-coder", "deepseek-v3", "falcon"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct splitting *s = splitting_find(names[i], strlen(names[i]));
        CHECK(s != NULL);
        json_t *pre = splitting_pre_tokenizer(s), *nfc = json_pack("{s:s}", "type", "NFC");
        const struct splitting *found = splitting_match(pre, s->nfc ? nfc : NULL, s->whole_words);
        CHECK(found == s);
        json_decref(pre);
        json_decref(nfc);
    }
    CHECK(!splitting_find("default", 7));
    CHECK(!splitting_match(NULL, NULL, 0));
}

int main(void)
{
    RUN(names_and_keys_are_those_of_the_package);
    RUN(queries_and_keys_lie_in_pairs);
    RUN(groups_lie_by_kind);
    RUN(matrices_lie_by_rows_of_outputs_and_norms_count_from_0);
    RUN(the_mix_is_llama_cpps);
    RUN(ways_to_cut_are_found_again);
    return test_end();
}
