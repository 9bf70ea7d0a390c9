// SPDX-License-Identifier: MIT
#include "exchange/splitting.h"

#include <string.h>

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORDS        "[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define SIGNS        " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
#define SPACES       "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
// Words by the case of their letters.
#define LOWER_WORDS                                                                                \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
#define UPPER_WORDS                                                                                \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*"
#define SIGNS_OR_PATHS " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*"

static const char llama3[] = CONTRACTIONS "|" WORDS "|\\p{N}{1,3}|" SIGNS "|" SPACES;
static const char qwen2[] = CONTRACTIONS "|" WORDS "|\\p{N}|" SIGNS "|" SPACES;
static const char tekken[] = LOWER_WORDS "|" UPPER_WORDS "|\\p{N}|" SIGNS_OR_PATHS "|" SPACES;
static const char gpt4o[] = LOWER_WORDS CONTRACTIONS "?|" UPPER_WORDS CONTRACTIONS
                                                     "?|\\p{N}{1,3}|" SIGNS_OR_PATHS "|" SPACES;
static const char deepseek_cjk[] = "[\xe4\xb8\x80-\xe9\xbe\xa5\xe3\x81\x80-\xe3\x82\x9f"
                                   "\xe3\x82\xa0-\xe3\x83\xbf]+";
static const char deepseek[] =
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?"
    "[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|" SPACES;
static const char seed[] = CONTRACTIONS "|" WORDS "|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" SPACES;

#define BY(p)                                                                                      \
    {                                                                                              \
        {STEP_SPLIT, p},                                                                           \
        {                                                                                          \
            STEP_BYTES, NULL                                                                       \
        }                                                                                          \
    }
#define GPT2                                                                                       \
    {                                                                                              \
        {                                                                                          \
            STEP_GPT2, NULL                                                                        \
        }                                                                                          \
    }
#define DIGITS_GPT2                                                                                \
    {                                                                                              \
        {STEP_DIGITS, NULL},                                                                       \
        {                                                                                          \
            STEP_GPT2, NULL                                                                        \
        }                                                                                          \
    }
#define DEEPSEEK                                                                                   \
    {                                                                                              \
        {STEP_SPLIT, "\\p{N}{1,3}"}, {STEP_SPLIT, deepseek_cjk}, {STEP_SPLIT, deepseek},           \
        {                                                                                          \
            STEP_BYTES, NULL                                                                       \
        }                                                                                          \
    }

// The first that fits is what an export is called.
static const struct splitting rows[] = {
    {.name = "gpt-2", .step = GPT2},
    {.name = "olmo", .nfc = 1, .step = GPT2},
    {.name = "smollm", .step = DIGITS_GPT2},
    {.name = "command-r", .nfc = 1, .step = DIGITS_GPT2},
    {.name = "llama-bpe", .whole_words = 1, .begins = 1, .step = BY(llama3)},
    {.name = "dbrx", .step = BY(llama3)},
    {.name = "qwen2", .nfc = 1, .step = BY(qwen2)},
    {.name = "stablelm2", .step = BY(qwen2)},
    {.name = "tekken", .whole_words = 1, .begins = 1, .step = BY(tekken)},
    {.name = "gpt-4o", .step = BY(gpt4o)},
    {.name = "deepseek-v3", .step = DEEPSEEK},
    {.name = "seed-coder", .step = BY(seed)},
    {.name = "falcon",
     .step = {{STEP_PUNCTUATION, NULL},
              {STEP_GPT2, NULL},
              {STEP_NUMBERS, NULL},
              {STEP_SPLIT, "[0-9][0-9][0-9]"}}},
    // Other names for the same.
    {.name = "phi-2", .step = GPT2},
    {.name = "mpt", .step = GPT2},
    {.name = "jais", .step = GPT2},
    {.name = "exaone4", .step = GPT2},
    {.name = "mellum", .step = GPT2},
    {.name = "a.x-4.0", .step = GPT2},
    {.name = "trillion", .step = GPT2},
    {.name = "granite-docling", .step = GPT2},
    {.name = "starcoder", .step = DIGITS_GPT2},
    {.name = "refact", .step = DIGITS_GPT2},
    {.name = "codeshell", .step = DIGITS_GPT2},
    {.name = "exaone", .step = DIGITS_GPT2},
    {.name = "minerva-7b", .step = DIGITS_GPT2},
    {.name = "llama3", .whole_words = 1, .begins = 1, .step = BY(llama3)},
    {.name = "llama-v3", .whole_words = 1, .begins = 1, .step = BY(llama3)},
    {.name = "falcon3", .whole_words = 1, .begins = 1, .step = BY(llama3)},
    {.name = "pixtral", .whole_words = 1, .begins = 1, .step = BY(llama3)},
    {.name = "lfm2", .whole_words = 1, .begins = 1, .step = BY(llama3)},
    {.name = "smaug-bpe", .step = BY(llama3)},
    {.name = "chatglm-bpe", .step = BY(llama3)},
    {.name = "glm4", .whole_words = 1, .step = BY(llama3)},
    {.name = "deepseek-r1-qwen", .step = BY(qwen2)},
    {.name = "hunyuan", .step = BY(qwen2)},
    {.name = "megrez", .step = BY(qwen2)},
    {.name = "llama4", .step = BY(gpt4o)},
    {.name = "hunyuan-dense", .step = DEEPSEEK},
};
enum { ROWS = sizeof rows / sizeof *rows };

const struct splitting *splitting_find(const char *name, size_t n)
{
    for (size_t i = 0; i < ROWS; i++)
        if (strlen(rows[i].name) == n && !memcmp(rows[i].name, name, n))
            return &rows[i];
    return NULL;
}

json_t *splitting_byte_level(int use_regex)
{
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0,
                     "trim_offsets", use_regex, "use_regex", use_regex);
}

static json_t *step_json(const struct splitting *s, int i)
{
    switch (s->step[i].kind) {
    case STEP_SPLIT:
        return json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex",
                         s->step[i].pattern, "behavior", "Isolated", "invert", 0);
    case STEP_DIGITS:
    case STEP_NUMBERS:
        return json_pack("{s:s, s:b}", "type", "Digits", "individual_digits",
                         s->step[i].kind == STEP_DIGITS);
    case STEP_PUNCTUATION:
        return json_pack("{s:s, s:s}", "type", "Punctuation", "behavior", "Contiguous");
    default:
        return splitting_byte_level(s->step[i].kind == STEP_GPT2);
    }
}

json_t *splitting_pre_tokenizer(const struct splitting *s)
{
    if (!s->step[1].kind)
        return step_json(s, 0);
    json_t *list = json_array();
    for (int i = 0; i < SPLITTING_STEPS && s->step[i].kind; i++)
        json_array_append_new(list, step_json(s, i));
    return json_pack("{s:s, s:o}", "type", "Sequence", "pretokenizers", list);
}

static int is_text(const json_t *object, const char *key, const char *wanted)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text && !strcmp(text, wanted);
}

static int is_true(const json_t *object, const char *key, int absent)
{
    const json_t *value = json_object_get(object, key);
    return value ? json_is_true(value) : absent;
}

// Whether the object is that step; what only moves offsets does not count.
static int is_step(const json_t *o, const struct splitting *s, int i)
{
    int byte_level = is_text(o, "type", "ByteLevel") && !is_true(o, "add_prefix_space", 1);
    switch (s->step[i].kind) {
    case STEP_SPLIT:
        return is_text(o, "type", "Split") && is_text(o, "behavior", "Isolated") &&
               !is_true(o, "invert", 0) &&
               is_text(json_object_get(o, "pattern"), "Regex", s->step[i].pattern);
    case STEP_DIGITS:
    case STEP_NUMBERS:
        return is_text(o, "type", "Digits") &&
               is_true(o, "individual_digits", 0) == (s->step[i].kind == STEP_DIGITS);
    case STEP_PUNCTUATION:
        return is_text(o, "type", "Punctuation") && is_text(o, "behavior", "Contiguous");
    case STEP_GPT2:
    case STEP_BYTES:
        return byte_level && is_true(o, "use_regex", 1) == (s->step[i].kind == STEP_GPT2);
    default:
        return 0;
    }
}

static int has_steps(const json_t *pre_tokenizer, const struct splitting *s)
{
    const json_t *list = is_text(pre_tokenizer, "type", "Sequence")
                             ? json_object_get(pre_tokenizer, "pretokenizers")
                             : NULL;
    int n = 0;
    while (n < SPLITTING_STEPS && s->step[n].kind)
        n++;
    if (!list)
        return n == 1 && is_step(pre_tokenizer, s, 0);
    if (json_array_size(list) != (size_t)n)
        return 0;
    for (int i = 0; i < n; i++)
        if (!is_step(json_array_get(list, (size_t)i), s, i))
            return 0;
    return 1;
}

const struct splitting *splitting_match(const json_t *pre_tokenizer, const json_t *normalizer,
                                        int whole_words)
{
    int nfc = is_text(normalizer, "type", "NFC");
    const struct splitting *second = NULL;
    if (normalizer && !json_is_null(normalizer) && !nfc)
        return NULL;
    for (size_t i = 0; i < ROWS; i++) {
        if (rows[i].whole_words != whole_words || !has_steps(pre_tokenizer, &rows[i]))
            continue;
        if (rows[i].nfc == nfc)
            return &rows[i];
        if (!second)
            second = &rows[i]; // NFC is not known there
    }
    return second;
}
