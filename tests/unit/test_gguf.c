// SPDX-License-Identifier: MIT
// GGUF files: tests/fixtures/gguf, which the gguf Python package has written and read.
#include "test.h"

#include "base/io.h"
#include "base/memory.h"
#include "gguf/file.h"
#include "gguf/pack.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>

static const char small_path[] = "tests/fixtures/gguf/small.gguf";

static struct buffer read_all(const char *path)
{
    struct err e;
    struct buffer text;
    buffer_init(&text, 0);
    CHECK(io_read_file(path, &text, &e) == 0);
    return text;
}

// Bytes written as hexadecimal digits, in place: their number.
static size_t from_hex(char *text)
{
    size_t n = strlen(text) / 2;
    for (size_t i = 0; i < n; i++) {
        char digits[3] = {text[2 * i], text[2 * i + 1], 0};
        text[i] = (char)strtol(digits, NULL, 16);
    }
    return n;
}

static const struct block_type *type_of(const char *name)
{
    for (uint32_t i = 0; i < GGUF_TYPES; i++)
        if (block_type(i) && !strcmp(block_type(i)->name, name))
            return block_type(i);
    return NULL;
}

static void check_unpacked(const char *name, char *blocks, char *values)
{
    static float out[4096];
    const struct block_type *type = type_of(name);
    size_t bytes = from_hex(blocks), n = from_hex(values) / sizeof *out;
    CHECK(type && type->unpack && n <= 4096);
    if (!type || !type->unpack || n > 4096)
        return;
    CHECK(bytes / type->bytes * type->values == n);
    type->unpack(out, (const unsigned char *)blocks, n);
    if (memcmp(out, values, n * sizeof *out) != 0) {
        test_failed = 1;
        printf("# %s: other values\n", name);
    }
}

static void blocks_unpack_to_the_bits_of_the_reference(void)
{
    struct buffer text = read_all("tests/fixtures/gguf/blocks.txt");
    int types = 0;
    for (char *rest = text.data, *line; (line = strsep(&rest, "\n")) && *line;) {
        char *what = strsep(&line, " "), *name = strsep(&line, " "), *from = strsep(&line, " ");
        if (strcmp(what, "unpack") != 0)
            continue;
        check_unpacked(name, from, line);
        types++;
    }
    CHECK(types == 14);
    buffer_release(&text);
}

static void check_packed(const char *name, char *values, char *blocks)
{
    static unsigned char out[4096];
    size_t n = from_hex(values) / sizeof(float), bytes = from_hex(blocks);
    const struct block_type *type = type_of(name);
    CHECK(type && n / type->values * type->bytes == bytes && bytes <= sizeof out);
    pack_blocks((enum gguf_type)(type - block_type(0)), out, (const float *)(void *)values, n);
    CHECK(!memcmp(out, blocks, bytes));
}

static void values_pack_to_the_bits_of_the_reference(void)
{
    struct buffer text = read_all("tests/fixtures/gguf/blocks.txt");
    int types = 0;
    for (char *rest = text.data, *line; (line = strsep(&rest, "\n")) && *line;) {
        char *what = strsep(&line, " "), *name = strsep(&line, " "), *from = strsep(&line, " ");
        float aligned[4096 / sizeof(float)];
        if (strcmp(what, "pack") != 0)
            continue;
        CHECK(strlen(from) < sizeof aligned);
        memcpy(aligned, from, strlen(from) + 1);
        check_packed(name, (char *)aligned, line);
        types++;
    }
    CHECK(types == 3);
    buffer_release(&text);
}

enum { SAMPLES = 16 * GGUF_SUPER };

// Of numbers like weights: normal, parts of other sizes, one with an offset.
static void make_samples(float *x)
{
    uint64_t state = 1;
    for (size_t i = 0; i < SAMPLES; i++) {
        float sum = 0;
        for (int k = 0; k < 12; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            sum += (float)(state >> 40) / (float)(1 << 24);
        }
        x[i] = (sum - 6) * (i / 64 % 2 ? 0.02f : 0.005f) + (i / GGUF_SUPER == 3 ? 0.1f : 0);
    }
}

// Root of the mean squared error, over that of the values.
static double loss_of(enum gguf_type type, const float *x, float *back)
{
    static unsigned char packed[SAMPLES * 2];
    double off = 0, all = 0;
    pack_blocks(type, packed, x, SAMPLES);
    block_type(type)->unpack(back, packed, SAMPLES);
    for (size_t i = 0; i < SAMPLES; i++) {
        off += ((double)back[i] - (double)x[i]) * ((double)back[i] - (double)x[i]);
        all += (double)x[i] * (double)x[i];
    }
    return sqrt(off / all);
}

// No farther than those of ggml's quantize_row_..._ref, whose losses on these numbers these are.
static void packed_values_lose_no_more_than_the_reference(void)
{
    static float x[SAMPLES], back[SAMPLES];
    static const struct {
        enum gguf_type type;
        double most;
    } types[] = {{GGUF_Q8_0, 0.003620}, {GGUF_Q5_0, 0.028531}, {GGUF_Q5_1, 0.018815},
                 {GGUF_Q4_K, 0.039291}, {GGUF_Q5_K, 0.019711}, {GGUF_Q6_K, 0.011894}};
    make_samples(x);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        double loss = loss_of(types[i].type, x, back);
        CHECK(loss <= types[i].most);
    }
}

// Zeros, equal numbers, one far away, numbers that scales cannot reach or that are none.
static void what_is_packed_is_finite(void)
{
    static const float some[] = {0, 1, -1, 1e-30f, 3e38f, -3e38f, NAN, INFINITY};
    static const enum gguf_type types[] = {GGUF_Q8_0, GGUF_Q5_0, GGUF_Q5_1,
                                           GGUF_Q4_K, GGUF_Q5_K, GGUF_Q6_K};
    float x[GGUF_SUPER], back[GGUF_SUPER];
    unsigned char packed[GGUF_SUPER * 2];
    for (size_t k = 0; k < 64; k++)
        for (size_t t = 0; t < sizeof types / sizeof *types; t++) {
            for (int i = 0; i < GGUF_SUPER; i++)
                x[i] = i % 16 == 5 ? some[k / 8] : some[k % 8];
            pack_blocks(types[t], packed, x, GGUF_SUPER);
            block_type(types[t])->unpack(back, packed, GGUF_SUPER);
            for (int i = 0; i < GGUF_SUPER; i++)
                CHECK(isfinite(back[i]));
            if (k == 0)
                CHECK(back[0] == 0 && back[5] == 0);
        }
}

static void a_file_says_what_was_written(void)
{
    struct gguf g;
    struct err e;
    struct gguf_text text, *texts;
    int64_t i = 0;
    double x = 0, *numbers;
    int yes = 0;
    size_t n;
    CHECK(gguf_open(&g, small_path, &e) == 0);
    CHECK(g.version == 3 && g.n_tensors == 2 && g.n_values == 15);
    static const struct {
        const char *key;
        int64_t value;
    } whole[] = {{"t.u8", 200},        {"t.i8", -3},           {"t.u16", 60000},
                 {"t.i16", -300},      {"t.i32", -70000},      {"t.u32", 4000000000},
                 {"t.u64", 1LL << 40}, {"t.i64", -(1LL << 40)}};
    for (size_t k = 0; k < sizeof whole / sizeof *whole; k++) {
        CHECK(gguf_get_int(&g, whole[k].key, &i, &e) == 1);
        CHECK(i == whole[k].value);
    }
    CHECK(gguf_get_real(&g, "t.f32", &x, &e) == 1 && x == 0.1f);
    CHECK(gguf_get_real(&g, "t.f64", &x, &e) == 1 && x == 0.1);
    CHECK(gguf_get_bool(&g, "t.bool", &yes, &e) == 1 && yes == 1);
    CHECK(gguf_get_text(&g, "t.text", &text, &e) == 1);
    CHECK(text.n == 6 && !memcmp(text.s, "gr\303\274\303\237", 6));
    CHECK(gguf_get_texts(&g, "t.texts", &texts, &n, &e) == 1 && n == 3);
    CHECK(texts[1].n == 0 && texts[2].n == 2 && texts[2].s[1] == 'c');
    CHECK(gguf_get_reals(&g, "t.ints", &numbers, &n, &e) == 1 && n == 3 && numbers[1] == -2);
    CHECK(gguf_get_int(&g, "t.none", &i, &e) == 0);
    CHECK(gguf_get_int(&g, "t.f32", &i, &e) == -1);
    CHECK_TEXT(e.text, "tests/fixtures/gguf/small.gguf: key 't.f32' is not a whole number");
    free(texts);
    free(numbers);
    gguf_close(&g);
}

static void tensors_lie_where_the_file_says(void)
{
    struct gguf g;
    struct err e;
    float a[6], b[64];
    CHECK(gguf_open(&g, small_path, &e) == 0);
    const struct gguf_tensor *t = gguf_find_tensor(&g, "a"), *u = gguf_find_tensor(&g, "b");
    CHECK(t && t->n_dims == 2 && t->dim[0] == 3 && t->dim[1] == 2);
    CHECK(gguf_unpack(&g, t, 0, 6, a, &e) == 0 && a[0] == 0 && a[5] == 5);
    CHECK(u && u->values == 128 && u->bytes == 4 * 34);
    CHECK(gguf_unpack(&g, u, 64, 64, b, &e) == 0 && b[0] != 0 && fabsf(b[0]) < 4);
    CHECK(!gguf_find_tensor(&g, "c"));
    gguf_close(&g);
}

// ---- files that are broken ----

// A file in memory. 0 where it is refused, with a line that names it.
static int opens(struct gguf *g, const void *data, size_t size, struct err *e)
{
    char path[64];
    int fd = memfd_create("gguf", MFD_CLOEXEC);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    int result = gguf_open(g, path, e);
    close(fd);
    CHECK(result == 0 || (strstr(e->text, path) && !strchr(e->text, '\n')));
    return result == 0;
}

// Reads all that an opened file holds.
static void read_through(struct gguf *g)
{
    static float out[1 << 16];
    struct err e;
    for (size_t i = 0; i < g->n_values; i++) {
        const char *key = g->value[i].key;
        struct gguf_text text, *texts = NULL;
        int64_t whole;
        double x, *numbers = NULL;
        int yes;
        size_t n;
        if (gguf_get_int(g, key, &whole, &e) + gguf_get_real(g, key, &x, &e) +
                gguf_get_bool(g, key, &yes, &e) + gguf_get_text(g, key, &text, &e) +
                gguf_get_texts(g, key, &texts, &n, &e) + gguf_get_reals(g, key, &numbers, &n, &e) >
            0)
            CHECK(n < 1 << 16 || (!texts && !numbers));
        free(texts);
        free(numbers);
    }
    for (size_t i = 0; i < g->n_tensors; i++) {
        struct gguf_tensor *t = &g->tensor[i];
        CHECK(t->offset + t->bytes <= g->file->size && t->values < 1 << 16);
        if (t->type->unpack)
            CHECK(gguf_unpack(g, t, 0, t->values, out, &e) == 0);
    }
}

static void every_cut_is_refused(void)
{
    struct buffer file = read_all(small_path);
    struct gguf g;
    struct err e;
    size_t opened = 0;
    for (size_t n = 0; n < file.size; n++)
        if (opens(&g, file.data, n, &e)) {
            opened++;
            read_through(&g);
            gguf_close(&g);
        }
    // What fills up the last tensor may be absent.
    CHECK(opened == 24);
    buffer_release(&file);
}

static void every_flipped_byte_is_refused_or_harmless(void)
{
    struct buffer file = read_all(small_path);
    struct gguf g;
    struct err e;
    for (size_t i = 0; i < file.size; i++)
        for (int bit = 0; bit < 9; bit++) {
            int flip = bit == 8 ? 0xff : 1 << bit;
            file.data[i] = (char)(file.data[i] ^ flip);
            if (opens(&g, file.data, file.size, &e)) {
                read_through(&g);
                gguf_close(&g);
            }
            file.data[i] = (char)(file.data[i] ^ flip);
        }
    buffer_release(&file);
}

// A file from pieces.
struct made {
    unsigned char data[1024];
    size_t n;
};

static void put(struct made *m, uint64_t x, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        m->data[m->n++] = (unsigned char)(x >> 8 * i);
}

static void put_text(struct made *m, const char *s)
{
    put(m, strlen(s), 8);
    memcpy(m->data + m->n, s, strlen(s));
    m->n += strlen(s);
}

static void begin(struct made *m, uint32_t version, uint64_t tensors, uint64_t keys)
{
    m->n = 0;
    memcpy(m->data, "GGUF", 4);
    m->n = 4;
    put(m, version, 4);
    put(m, tensors, 8);
    put(m, keys, 8);
}

static void put_tensor(struct made *m, const char *name, uint64_t rows, uint64_t cols,
                       uint32_t type, uint64_t offset)
{
    put_text(m, name);
    put(m, 2, 4);
    put(m, cols, 8);
    put(m, rows, 8);
    put(m, type, 4);
    put(m, offset, 8);
}

static void refused(const struct made *m, const char *why)
{
    struct gguf g;
    struct err e = {.text = ""};
    int opened = opens(&g, m->data, m->n, &e);
    CHECK(!opened);
    if (opened)
        gguf_close(&g);
    else if (!strstr(e.text, why)) {
        test_failed = 1;
        printf("# '%s' does not say '%s'\n", e.text, why);
    }
}

static void what_is_not_sound_is_refused_by_name(void)
{
    struct made m;
    begin(&m, 1, 0, 0);
    refused(&m, "GGUF version 1: only 2 and 3 are read");
    begin(&m, 0x03000000, 0, 0);
    refused(&m, "big-endian");
    begin(&m, 3, UINT64_MAX, 0);
    refused(&m, "impossible numbers");
    begin(&m, 3, 0, 1);
    put_text(&m, "k");
    put(&m, 13, 4);
    put(&m, 0, 8);
    refused(&m, "key 'k': its value is of no kind");
    begin(&m, 3, 0, 1);
    put_text(&m, "k");
    put(&m, KIND_ARRAY, 4);
    put(&m, KIND_U64, 4);
    put(&m, UINT64_MAX / 8 + 2, 8); // wraps to 8 bytes
    put(&m, 0, 8);
    refused(&m, "key 'k': its value is cut short");
    begin(&m, 3, 0, 2);
    for (int i = 0; i < 2; i++) {
        put_text(&m, "k");
        put(&m, KIND_U8, 4);
        put(&m, 1, 1);
    }
    refused(&m, "key 'k': it stands twice");
    begin(&m, 3, 0, 1);
    put_text(&m, "general.alignment");
    put(&m, KIND_U32, 4);
    put(&m, 24, 4);
    refused(&m, "general.alignment");
}

static void tensors_that_cannot_be_are_refused_by_name(void)
{
    static const struct {
        uint64_t rows, cols;
        uint32_t type;
        uint64_t offset;
        const char *why;
    } bad[] = {
        {1, 32, 99, 0, "tensor 'x': its type 99 is not known"},
        {1, 33, GGUF_Q8_0, 0, "tensor 'x': its rows are no whole blocks"},
        {1, 0, GGUF_F32, 0, "tensor 'x': its shape is impossible"},
        {UINT64_MAX / 2, 4, GGUF_F32, 0, "tensor 'x': its shape is impossible"},
        {1, 8, GGUF_F32, 4, "tensor 'x': its data are not aligned"},
        {1, 8, GGUF_F32, 64, "tensor 'x': its data are beyond the end"},
        {1, 8, GGUF_F32, UINT64_MAX - 31, "tensor 'x': its data are beyond the end"},
    };
    struct made m;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        begin(&m, 3, 1, 0);
        put_tensor(&m, "x", bad[i].rows, bad[i].cols, bad[i].type, bad[i].offset);
        while (m.n % 32)
            put(&m, 0, 1);
        put(&m, 0, 32);
        refused(&m, bad[i].why);
    }
    for (int same_name = 0; same_name < 2; same_name++) {
        begin(&m, 3, 2, 0);
        put_tensor(&m, "x", 1, 16, GGUF_F32, 0);
        put_tensor(&m, same_name ? "x" : "y", 1, 8, GGUF_F32, same_name ? 64 : 32);
        while (m.n % 32)
            put(&m, 0, 1);
        for (int i = 0; i < 12; i++)
            put(&m, 0, 8);
        refused(&m, same_name ? "tensor 'x': it stands twice" : "overlap");
    }
}

static void a_type_that_is_not_unpacked_is_named(void)
{
    struct made m;
    struct gguf g;
    struct err e;
    float out[256];
    begin(&m, 2, 1, 0);
    put_tensor(&m, "x", 1, 256, 16, 0);
    while (m.n % 32)
        put(&m, 0, 1);
    for (int i = 0; i < 9; i++)
        put(&m, 0, 8);
    CHECK(opens(&g, m.data, m.n, &e) && g.version == 2);
    CHECK(gguf_unpack(&g, &g.tensor[0], 0, 256, out, &e) == -1);
    CHECK(strstr(e.text, "tensor 'x' is of type IQ2_XXS, which is not read: F32, F16, Q4_0,") !=
          NULL);
    gguf_close(&g);
}

int main(void)
{
    RUN(blocks_unpack_to_the_bits_of_the_reference);
    RUN(values_pack_to_the_bits_of_the_reference);
    RUN(packed_values_lose_no_more_than_the_reference);
    RUN(what_is_packed_is_finite);
    RUN(a_file_says_what_was_written);
    RUN(tensors_lie_where_the_file_says);
    RUN(every_cut_is_refused);
    RUN(every_flipped_byte_is_refused_or_harmless);
    RUN(what_is_not_sound_is_refused_by_name);
    RUN(tensors_that_cannot_be_are_refused_by_name);
    RUN(a_type_that_is_not_unpacked_is_named);
    return test_end();
}
