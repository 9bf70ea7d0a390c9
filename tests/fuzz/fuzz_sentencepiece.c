// SPDX-License-Identifier: MIT
// tokenizer.model, in a folder that has no tokenizer.json; or, where the input begins with a brace,
// tokenizer_config.json and, after NULs, added_tokens.json and special_tokens_map.json beside a
// model that is in order.
#include "fuzz_tokenizer.h"

struct piece {
    const char *text;
    char type;
};
static const struct piece pieces[] = {
    {"<unk>", 2}, {"<s>", 3}, {"</s>", 3}, {"<0x0A>", 6},  {"<0xC3>", 6}, {"\u2581", 1}, {"h", 1},
    {"e", 1},     {"l", 1},   {"o", 1},    {"\u2581h", 1}, {"ll", 1},     {"<mask>", 4}, {"he", 5}};

static size_t add_piece(char *to, const struct piece *p, float score)
{
    char *s = to;
    size_t n = strlen(p->text);
    *s++ = 0x0a; // a piece: its text, score and type
    *s++ = (char)(n + 9);
    *s++ = 0x0a;
    *s++ = (char)n;
    memcpy(s, p->text, n);
    s += n;
    *s++ = 0x15;
    memcpy(s, &score, 4);
    s += 4;
    *s++ = 0x18;
    *s++ = p->type;
    return (size_t)(s - to);
}

static void write_model(void)
{
    // model_type BPE, byte_fallback
    static const char trainer[] = {0x12, 5, 0x18, 2, (char)0x98, 2, 1};
    char model[1024];
    size_t n = 0;
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        n += add_piece(model + n, &pieces[i], -(float)i);
    memcpy(model + n, trainer, sizeof trainer);
    fuzz_write("tokenizer.model", model, n + sizeof trainer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const files[] = {"tokenizer_config.json", "added_tokens.json",
                                        "special_tokens_map.json"};
    struct fuzz_text rest = {(const char *)data, size};
    struct err e;
    if (size == 0 || data[0] != '{') {
        fuzz_write("tokenizer.model", data, size);
        rest.s = NULL;
    } else {
        write_model();
    }
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        fuzz_take_file(&rest, files[i]);
    struct tokenizer *t = tokenizer_open(fuzz_folder(), &e);
    if (t)
        try_tokenizer(t);
    tokenizer_close(t);
    return 0;
}
