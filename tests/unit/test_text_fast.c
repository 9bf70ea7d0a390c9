// SPDX-License-Identifier: MIT
// Each fast path of tokenizing against the plain one beside it.
#include "test.h"

#include "base/json.h"
#include "base/json_read.h"
#include "base/json_scan.h"
#include "base/json_wide.h"
#include "tokenize/bpe.h"
#include "tokenize/normalizer.h"
#include "tokenize/pattern.h"
#include "tokenize/tokenizer.h"
#include "tokenize/unicode.h"
#include "tokenize/unicode_nfc.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <utf8proc.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

static uint64_t seed = 0x853C49E6748FEA9Bu;

static unsigned random_below(unsigned n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % n;
}

// Characters that patterns and normal forms care about.
static const char *const signs[] = {"a",
                                    "b",
                                    "s",
                                    "S",
                                    "t",
                                    "T",
                                    "k",
                                    "K",
                                    "l",
                                    "v",
                                    "e",
                                    "r",
                                    "m",
                                    "d",
                                    "z",
                                    "X",
                                    "0",
                                    "1",
                                    "9",
                                    " ",
                                    " ",
                                    " ",
                                    "\t",
                                    "\n",
                                    "\n",
                                    "\r",
                                    "'",
                                    "'",
                                    "\"",
                                    ".",
                                    ",",
                                    "-",
                                    "_",
                                    "/",
                                    "=",
                                    "(",
                                    "<",
                                    "é",
                                    "e\xCC\x81",
                                    "ß",
                                    "ſ",
                                    "K",
                                    "ж",
                                    "й",
                                    "ά",
                                    "中",
                                    "文",
                                    "。",
                                    "ひ",
                                    "ー",
                                    "한",
                                    "\xE1\x84\x80\xE1\x85\xA1",
                                    "😀",
                                    "👩‍💻",
                                    "\xEF\xB8\x8F",
                                    "٣",
                                    "½",
                                    "Ⅳ",
                                    "²",
                                    "\xC2\xA0",
                                    "\xE3\x80\x80",
                                    "\xE2\x80\xA8",
                                    "\xC2\x85",
                                    "ǅ",
                                    "ʰ",
                                    "\xCC\xA7",
                                    "\xCC\x80",
                                    "\xE0\xA6\xBE",
                                    "\xF0\x9D\x9F\x8E",
                                    "\xF3\xA0\x80\x81",
                                    "ẞ",
                                    "\xE2\x84\xAB",
                                    "ệ",
                                    "\xF0\x91\x84\xA7"};

static size_t random_text(char *out, size_t most, unsigned kinds)
{
    size_t size = 0, n = random_below((unsigned)most);
    unsigned first = random_below(COUNT(signs));
    while (n--) {
        // Runs of few signs are where patterns and merges have something to do.
        const char *s = signs[(first + random_below(kinds) * 7) % COUNT(signs)];
        memcpy(out + size, s, strlen(s));
        size += strlen(s);
    }
    out[size] = 0;
    return size;
}

// All matches of a text by both matchers.
static int same_matches(const struct pattern *p, struct pattern_scratch *s, const char *text,
                        size_t size)
{
    struct err e;
    for (size_t at = 0; at <= size;) {
        size_t a = 0, b = 0, c = 0, d = 0;
        int x = pattern_find(p, s, text, size, at, &a, &b, &e);
        int y = pattern_find_plain(p, s, text, size, at, &c, &d, &e);
        if (x != y || (x == 1 && (a != c || b != d)))
            return 0;
        if (x != 1)
            return x == 0;
        at = b;
        if (a == b) {
            if (at == size)
                break;
            utf8_next(text, &at);
        }
    }
    return 1;
}

static const char *const fast_patterns[] = {
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+"
    "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| "
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    "\\p{N}{1,3}",
    "[一-龥぀-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}"
    "\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    "[\\r\\n]",
    "\\s?\\p{L}+",
    "\\s?\\p{P}+",
    "[\\p{L}--]", // a hyphen among others
    "a|ab|abc",
    "abc|ab|a",
    "(?:a|ab)(?:c|bcd|)",
    "(a|b)*?s",
    "a{2,3}?b|a",
    "a*",
    "(?:s|st)+t?",
    ".+",
    "[^\\S\\n]+",
    "\\w+|[^\\w\\s]+",
    "(?=\\p{L})..",
    "k+(?=K)|S(?!t)",
    "(?i:[s-t]k?)x?",
    "[[:alpha:]]?", // beyond the subset: only the answer counts
    "(?<=a)b|\\bs",
    "a++b|s?+t",
    "(?:a?)*b",
    "(?!\\s\\s).",
};
enum { SUBSET = 24 }; // of these the first so many

static void patterns(void)
{
    struct pattern_scratch s;
    struct err e;
    char text[4096];
    CHECK(pattern_scratch_init(&s, &e) == 0);
    for (size_t i = 0; i < COUNT(fast_patterns); i++) {
        const char *source = fast_patterns[i];
        struct pattern *p = pattern_regex(source, strlen(source), "test", &e);
        CHECK(p != NULL);
        if (!p)
            continue;
        if (i < SUBSET && !pattern_is_fast(p))
            printf("# %s: not compiled\n", source);
        CHECK(i >= SUBSET || pattern_is_fast(p));
        int differs = 0;
        for (int k = 0; k < 3000 && !differs; k++) {
            size_t size = random_text(text, 60, 1 + random_below(COUNT(signs)));
            differs = !same_matches(p, &s, text, size);
        }
        if (differs)
            printf("# %s differs on `%s`\n", source, text);
        CHECK(!differs);
        pattern_free(p);
    }
    pattern_scratch_release(&s);
}

// Every character there is, by every class that tokenizers name.
static void classes_of_all_characters(void)
{
    static const char *const classes[] = {"\\s",
                                          "\\S",
                                          "\\p{L}",
                                          "\\P{L}",
                                          "\\p{N}",
                                          "\\p{M}",
                                          "\\p{P}",
                                          "\\p{S}",
                                          "\\p{Lu}",
                                          "\\p{Ll}",
                                          "\\p{Lt}",
                                          "\\p{Lm}",
                                          "\\p{Lo}",
                                          "\\p{Nd}",
                                          "\\w",
                                          "\\W",
                                          "\\d",
                                          "[^\\s\\p{L}\\p{N}]",
                                          "[^\\r\\n\\p{L}\\p{N}]",
                                          "[a-zé-]",
                                          "(?i:[ks])",
                                          ".",
                                          "[\\p{L}\\p{M}]"};
    struct pattern_scratch s;
    struct err e;
    CHECK(pattern_scratch_init(&s, &e) == 0);
    for (size_t i = 0; i < COUNT(classes); i++) {
        struct pattern *p = pattern_regex(classes[i], strlen(classes[i]), "test", &e);
        unsigned differ = 0, last = 0;
        CHECK(p && pattern_is_fast(p));
        for (uint32_t c = 0; p && c < 0x110000; c++) {
            char text[4];
            size_t a, b;
            if (c >= 0xD800 && c < 0xE000)
                continue;
            size_t n = utf8_put(c, text);
            if (pattern_find(p, &s, text, n, 0, &a, &b, &e) !=
                pattern_find_plain(p, &s, text, n, 0, &a, &b, &e)) {
                differ++;
                last = c;
            }
        }
        if (differ)
            printf("# %s: %u characters differ, U+%04X among them\n", classes[i], differ, last);
        CHECK(differ == 0);
        pattern_free(p);
    }
    pattern_scratch_release(&s);
}

// A pattern that fails at every place after a long way must not take for ever.
static void hopeless_patterns_are_given_up(void)
{
    struct pattern_scratch s;
    struct err e;
    size_t a, b, size = 1 << 20;
    char *text = malloc(size);
    struct pattern *p = pattern_regex("a+b", 3, "test", &e);
    CHECK(p && text && pattern_scratch_init(&s, &e) == 0);
    memset(text, 'a', size);
    CHECK(pattern_find(p, &s, text, size, 0, &a, &b, &e) < 0);
    CHECK(pattern_find(p, &s, text, 2000, 0, &a, &b, &e) == 0);
    pattern_scratch_release(&s);
    pattern_free(p);
    free(text);
}

// A byte-level model of random merges over four letters, in an order that need not make sense.
static int random_model(struct bpe *b, struct vocabulary *v, int all_bytes)
{
    struct err e;
    struct buffer merges;
    struct json_scan scan;
    char names[600][24];
    int n = 0;
    buffer_init(&merges, 0);
    vocabulary_init(v);
    for (int i = 0; i < 256; i++) {
        char text[4];
        if (!all_bytes && (i < 'a' || i > 'e'))
            continue;
        size_t size = utf8_put(byte_alphabet_char((unsigned char)i), text);
        CHECK(vocabulary_add(v, text, size, (uint32_t)vocabulary_count(v), &e) == 0);
        if (i >= 'a' && i < 'e')
            snprintf(names[n++], sizeof *names, "%c", i);
    }
    CHECK(buffer_append(&merges, "[", 1, &e) == 0);
    for (int i = 0; i < 500; i++) {
        const char *x = names[random_below((unsigned)n)], *y = names[random_below((unsigned)n)];
        if (strlen(x) + strlen(y) >= 12)
            continue;
        if (n < 600) {
            char joined[24];
            snprintf(joined, sizeof joined, "%s%s", x, y);
            memcpy(names[n], joined, sizeof joined);
            if (vocabulary_find(v, names[n], strlen(names[n])) < 0)
                CHECK(vocabulary_add(v, names[n], strlen(names[n]), (uint32_t)vocabulary_count(v),
                                     &e) == 0);
            n++;
        }
        buffer_printf(&merges, &e, "%s\"%s %s\"", merges.size > 1 ? "," : "", x, y);
    }
    CHECK(buffer_append(&merges, "]", 1, &e) == 0);
    json_scan_init(&scan, merges.data, merges.size, "test", &e);
    json_t *value = json_object();
    int result = bpe_init(b, value, &scan, v, 1, &e);
    json_scan_release(&scan);
    json_decref(value);
    buffer_release(&merges);
    return result;
}

// The ranks of the merges of all pairs, as tokenizer.json has them: of a pair that comes twice the
// later counts.
static int32_t *all_ranks(const struct bpe *b, size_t tokens)
{
    int32_t *rank = malloc(tokens * tokens * sizeof *rank);
    CHECK(rank != NULL);
    for (size_t i = 0; i < tokens * tokens; i++)
        rank[i] = INT32_MAX;
    for (size_t i = 0; i < b->n_merges; i++)
        rank[b->merge[i].left * tokens + b->merge[i].right] = (int32_t)i;
    return rank;
}

// The definition: as long as two neighbours merge, the first pair of the lowest rank does.
static void merge_plainly(const struct bpe *b, const int32_t *rank, size_t tokens, const char *word,
                          size_t size, struct bpe_scratch *s)
{
    struct err e;
    CHECK(MEM_GROW(s->symbol, s->capacity, size, "a word", &e) == 0);
    for (s->n = 0; s->n < size; s->n++)
        s->symbol[s->n] =
            (struct bpe_symbol){.id = b->byte_id[(unsigned char)word[s->n]], .size = 1};
    for (;;) {
        int32_t best = INT32_MAX;
        size_t at = 0;
        for (size_t i = 0; i + 1 < s->n; i++) {
            int32_t here = rank[s->symbol[i].id * tokens + s->symbol[i + 1].id];
            if (here < best)
                best = here, at = i;
        }
        if (best == INT32_MAX)
            return;
        s->symbol[at].id = b->merge[best].id;
        s->symbol[at].size += s->symbol[at + 1].size;
        s->n--;
        memmove(s->symbol + at + 1, s->symbol + at + 2, (s->n - at - 1) * sizeof *s->symbol);
    }
}

static int same_symbols(const struct bpe_scratch *x, const struct bpe_scratch *y)
{
    int same = x->n == y->n;
    for (size_t i = 0; same && i < x->n; i++)
        same = x->symbol[i].id == y->symbol[i].id && x->symbol[i].size == y->symbol[i].size;
    return same;
}

static void merging(void)
{
    struct err e;
    int tried = 0, same = 0, found = 0;
    for (int model = 0; model < 40; model++) {
        struct bpe b;
        struct vocabulary v;
        struct bpe_scratch fast, plain;
        CHECK(random_model(&b, &v, model % 2) == 0);
        size_t tokens = vocabulary_count(&v);
        int32_t *rank = all_ranks(&b, tokens);
        bpe_scratch_init(&fast);
        bpe_scratch_init(&plain);
        for (int k = 0; k < 300; k++) {
            char word[512];
            // Up to a word of the cache, a short piece, a long one.
            size_t size = 1 + random_below(k % 3 == 0 ? 20 : k % 3 == 1 ? 128 : 500);
            unsigned letters = 1 + random_below(4);
            for (size_t i = 0; i < size; i++)
                word[i] = (char)('a' + random_below(letters));
            CHECK(bpe_encode(&b, &fast, word, size, &e) == 0);
            merge_plainly(&b, rank, tokens, word, size, &plain);
            tried++;
            same += same_symbols(&fast, &plain);
            struct bpe_known known;
            if (!bpe_find(&fast, word, size, &known))
                continue;
            found++;
            int equal = known.n == plain.n;
            for (size_t i = 0; equal && i < plain.n; i++)
                equal = known.id[i] == plain.symbol[i].id && known.size[i] == plain.symbol[i].size;
            CHECK(equal);
        }
        bpe_scratch_release(&fast);
        bpe_scratch_release(&plain);
        free(rank);
        bpe_release(&b);
        vocabulary_release(&v);
    }
    printf("# %d words, %d equal, %d of them from the cache\n", tried, same, found);
    CHECK(tried == same && found > 1000);
}

// Long pieces are taken apart where no merge can join them: the same symbols as of the whole.
static void long_pieces(void)
{
    enum { SIZE = 200000 };
    struct err e;
    int cuts = 0, same = 0;
    char *word = malloc(SIZE);
    for (int model = 0; model < 12; model++) {
        struct bpe b;
        struct vocabulary v;
        struct bpe_scratch whole, part;
        CHECK(random_model(&b, &v, 1) == 0);
        bpe_scratch_init(&whole);
        bpe_scratch_init(&part);
        // The model knows letters of the front alone; the others join nothing.
        for (size_t i = 0; i < SIZE; i++)
            word[i] = (char)('a' + random_below(i % 1000 ? 4 : 26));
        CHECK(bpe_encode(&b, &whole, word, SIZE, &e) == 0);
        size_t n = 0;
        int equal = 1;
        for (size_t at = 0, end; at < SIZE; at = end) {
            end = bpe_part_end(&b, word, SIZE, at);
            cuts += end < SIZE;
            CHECK(bpe_encode(&b, &part, word + at, end - at, &e) == 0);
            for (size_t i = 0; equal && i < part.n; i++, n++)
                equal = n < whole.n && whole.symbol[n].id == part.symbol[i].id &&
                        whole.symbol[n].size == part.symbol[i].size;
        }
        same += equal && n == whole.n;
        bpe_scratch_release(&whole);
        bpe_scratch_release(&part);
        bpe_release(&b);
        vocabulary_release(&v);
    }
    printf("# %d cuts\n", cuts);
    CHECK(same == 12 && cuts > 12);
    free(word);
}

// The full composition of what c decomposes to, all in one piece: c where it is in NFC.
static uint32_t recomposed(uint32_t c, uint32_t list[UNICODE_DECOMPOSED_MAX], size_t *n)
{
    *n = unicode_decompose(c, 0, list);
    uint32_t composed = list[0];
    for (size_t i = 1; composed && i < *n; i++)
        composed = unicode_compose(composed, list[i]);
    return composed;
}

// By the definition: combining class 0, in NFC by itself, and never the second of a composition,
// which are the last characters of what composed ones decompose to.
static void characters_in_nfc(void)
{
    unsigned missing = 0, careful = 0, listed = 0;
    uint32_t list[UNICODE_DECOMPOSED_MAX];
    size_t n;
    unsigned char *second = calloc(0x110000, 1);
    CHECK(second != NULL);
    for (uint32_t c = 0; c < 0x110000; c++)
        if ((c < 0xD800 || c >= 0xE000) && recomposed(c, list, &n) == c && n > 1)
            second[list[n - 1]] = 1;
    for (uint32_t c = 0; c < 0x110000; c++) {
        int in_table = 0;
        if (c >= 0xD800 && c < 0xE000)
            continue;
        for (size_t i = 0; i < COUNT(unicode_not_in_nfc) && c < UNICODE_NFC_END; i++)
            in_table |= c >= unicode_not_in_nfc[i][0] && c <= unicode_not_in_nfc[i][1];
        int in_nfc = !unicode_combining_class(c) && !second[c] && recomposed(c, list, &n) == c;
        missing += !in_nfc && !in_table;
        careful += in_nfc && in_table;
        listed += (unsigned)in_table;
    }
    CHECK(missing == 0 && careful < 100 && listed > 1500);
    free(second);
}

static void normal_form(void)
{
    static const char source[] = "{\"type\":\"NFC\"}";
    struct err e;
    struct normalizer *n;
    struct aligned_pair buffers;
    struct pattern_scratch s;
    char text[4096];
    json_t *value = json_loads(source, 0, NULL);
    CHECK(normalizer_parse(value, "test", &n, &e) == 0 && pattern_scratch_init(&s, &e) == 0);
    aligned_pair_init(&buffers);
    int changed = 0;
    for (int k = 0; k < 20000; k++) {
        size_t size = random_text(text, 40, 1 + random_below(COUNT(signs)));
        utf8proc_uint8_t *want = utf8proc_NFC((const utf8proc_uint8_t *)text);
        struct slice whole = {.data = text, .size = size};
        CHECK(normalizer_run(n, &whole, &buffers, &s, &e) == 0);
        CHECK(whole.size == strlen((char *)want) && !memcmp(whole.data, want, whole.size));
        changed += whole.data != text;
        // Places are those of characters, in order, and cover all that is left.
        uint32_t last = 0;
        for (size_t i = 0; whole.from && i < whole.size; i++) {
            CHECK(whole.from[i] >= last && whole.to[i] > whole.from[i] && whole.to[i] <= size);
            last = whole.from[i];
        }
        free(want);
    }
    CHECK(changed > 1000 && changed < 19000);
    aligned_pair_release(&buffers);
    pattern_scratch_release(&s);
    normalizer_free(n);
    json_decref(value);
}

static void json_records(void)
{
    static const char *const parts[] = {"{",
                                        "}",
                                        "[",
                                        "]",
                                        ",",
                                        ":",
                                        "\"",
                                        "\"a\"",
                                        "\"b\"",
                                        "\"text\"",
                                        "1",
                                        "-1.5e3",
                                        "0",
                                        "true",
                                        "null",
                                        "false",
                                        " ",
                                        "\n",
                                        "\\n",
                                        "\\u00e9",
                                        "\\ud83d\\ude00",
                                        "\\ud83d",
                                        "é",
                                        "01",
                                        "1e999",
                                        "123456789012345678901",
                                        "-0",
                                        "\"\\\"\"",
                                        "\x01",
                                        "\xFF",
                                        "-",
                                        ".5",
                                        "\\",
                                        "\"\\u0000\"",
                                        "{\"a\":1}",
                                        "[1,2]",
                                        "\"longer text with nothing in it\"",
                                        "\"a\":"};
    int read = 0, agree = 0, tried = 20000, doubted = 0;
    for (int k = 0; k < tried; k++) {
        char text[512] = "";
        size_t n = 1 + random_below(12);
        int wrapped = k % 2;
        if (wrapped)
            strcat(text, "{\"a\":");
        for (size_t i = 0; i < n; i++)
            strcat(text, parts[random_below(COUNT(parts))]);
        if (wrapped)
            strcat(text, "}");
        size_t flags = JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY;
        json_error_t error;
        json_t *x = json_read(text, strlen(text), 0);
        json_t *y = json_loadb(text, strlen(text), flags, &error);
        // Numbers beyond 64 bits are reals to us; then jansson at least agrees that it is JSON.
        if (!y && json_error_code(&error) == json_error_numeric_overflow &&
            (y = json_loadb(text, strlen(text), flags | JSON_DECODE_INT_AS_REAL, NULL)))
            agree += x != NULL;
        else
            agree += !x || json_equal(x, y);
        doubted += !x && y;
        read += x != NULL;
        json_decref(x);
        json_decref(y);
    }
    printf("# %d texts, %d read, %d left to the other reader though good\n", tried, read, doubted);
    CHECK(agree == tried && read > 500 && doubted < 50);
    static const char whole[] =
        "{\"id\":7,\"text\":\"a\\u00e9\\ud83d\\ude00\\n\\\"é\",\"x\":[1.5,null]}";
    json_t *x = json_read(whole, sizeof whole - 1, 0);
    CHECK(x && !strcmp(json_string_value(json_object_get(x, "text")), "aé😀\n\"é"));
    json_decref(x);
}

// What the scanner says of one text: the error, or "" and its string.
static const char *scanned(const char *text, size_t size, char *string)
{
    static struct err e;
    struct json_scan s;
    const char *found = "";
    size_t n = 0;
    json_scan_init(&s, text, size, "x", &e);
    if (json_scan_expect(&s, '[') == 0 && json_scan_string(&s, &found, &n) == 0 &&
        json_scan_expect(&s, ',') == 0 && json_scan_skip(&s) == 0 && json_scan_expect(&s, ']') == 0)
        e.text[0] = 0;
    snprintf(string, 32, "%.*s", (int)n, found);
    json_scan_release(&s);
    return e.text;
}

static void scanning(void)
{
    static const char *const cases[][3] = {
        {"[\"a\\u00e9\\n\", {\"k\": [1, -2.5e3, true, null]}]", "", "aé\n"},
        {"[\"plain é\",\n0]", "", "plain é"},
        {"[\"a\"\n\n 1]", "x:3: not valid JSON: no ','", "a"},
        {"[\"a\xC3\", 1]", "x:1: not valid JSON: not UTF-8", NULL},
        {"\n[\"\\ud83d\", 1]", "x:2: not valid JSON: half a surrogate pair", NULL},
        {"[\"\\x\", 1]", "x:1: not valid JSON: a bad escape", NULL},
        {"[\"a", "x:1: not valid JSON: a string without its end", NULL},
        {"[\"a\tb\", 1]", "x:1: not valid JSON: a string without its end", NULL},
        {"[\"a\", 01]", "x:1: not valid JSON: not a number", "a"},
        {"[\"a\", 1.]", "x:1: not valid JSON: not a number", "a"},
        {"[\"a\", 1e999]", "x:1: not a number", "a"},
        {"[\"a\", NaN]", "x:1: not valid JSON: no number", "a"},
        {"[\"a\", [1,]]", "x:1: not valid JSON: no number", "a"},
    };
    char string[32], deep[600] = "[\"a\",";
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *said = scanned(cases[i][0], strlen(cases[i][0]), string);
        CHECK(!strcmp(said, cases[i][1]));
        CHECK(!cases[i][2] || !strcmp(string, cases[i][2]));
    }
    memset(deep + 5, '[', 300);
    CHECK(!strcmp(scanned(deep, strlen(deep), string), "x:1: nested too deep"));
    // A text ends where its size says.
    CHECK(!strcmp(scanned("[\"a\", 1]", 7, string), "x:1: not valid JSON: no ']'"));
}

// Whole numbers of any size come back as they were written.
static void wide_numbers(void)
{
    static const char *const same[] = {
        "[9223372036854775807,9223372036854775808,-9223372036854775808,-9223372036854775809]",
        "{\"a\":{\"b\":[1,10000000000000000000000000000000000000000]},\"\\\"\":\"x\"}",
        "18446744073709551616"};
    struct err e;
    struct buffer out;
    buffer_init(&out, 0);
    for (size_t i = 0; i < COUNT(same); i++) {
        json_t *value = json_read(same[i], strlen(same[i]), 1);
        buffer_clear(&out);
        CHECK(value && json_print(value, &out, &e) == 0 && out.size == strlen(same[i]) &&
              !memcmp(out.data, same[i], out.size));
        CHECK(json_has_wide(value));
        json_decref(value);
    }
    // Python reads no more digits, and no number begins with a 0.
    char digits[JSON_WIDE_DIGITS + 2];
    memset(digits, '1', sizeof digits);
    digits[sizeof digits - 1] = 0;
    CHECK(!json_read(digits, JSON_WIDE_DIGITS + 1, 1));
    json_t *most = json_read(digits, JSON_WIDE_DIGITS, 1);
    CHECK(json_wide_digits(most) && strlen(json_wide_digits(most)) == JSON_WIDE_DIGITS);
    json_decref(most);
    // Where a real will do they are reals, whatever stands beside them.
    json_t *real = json_parse("[1e2, 18446744073709551616, 9223372036854775807]", 48, "x", &e);
    CHECK(json_real_value(json_array_get(real, 1)) == 0x1p64 &&
          json_integer_value(json_array_get(real, 2)) == INT64_MAX);
    json_decref(real);
    CHECK(!json_parse("[18446744073709551616,,]", 24, "x", &e) && !strstr(e.text, "too big"));
    digits[0] = '0';
    CHECK(!json_read(digits, 30, 1) && !json_parse_exact("[018446744073709551616]", 23, "x", &e));
    buffer_release(&out);
}

// A warm cache gives what a cold one gives, and long runs take no more than their share.
static void long_texts(void)
{
    NEED("tests/fixtures/tokenizers/qwen2/tokenizer.json");
    static const char *const units[] = {"a", " ", "\n",        "é",   "中",
                                        "0", "=", "e\xCC\x81", "ab ", "'"};
    struct err e;
    struct tokenizer *t = tokenizer_open("tests/fixtures/tokenizers/qwen2", &e);
    CHECK(t != NULL);
    for (size_t u = 0; t && u < COUNT(units); u++) {
        struct buffer text;
        struct token_list cold, warm;
        buffer_init(&text, 0);
        token_list_init(&cold);
        token_list_init(&warm);
        for (int i = 0; i < 300000; i++)
            CHECK(buffer_string(&text, units[u], &e) == 0);
        clock_t begin = clock();
        struct tokenizer_worker *w = tokenizer_worker_open(&e);
        CHECK(w &&
              tokenizer_encode_by(t, w, text.data, text.size, TOKENIZER_EXTENT, &cold, &e) == 0);
        CHECK(tokenizer_encode_by(t, w, text.data, text.size, TOKENIZER_EXTENT, &warm, &e) == 0);
        CHECK(cold.n == warm.n && !memcmp(cold.id, warm.id, cold.n * sizeof *cold.id));
        CHECK(cold.n && cold.start[0] == 0 && cold.end[cold.n - 1] == text.size);
        double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
        if (seconds > 5)
            printf("# %s: %.1f s\n", units[u], seconds);
        CHECK(seconds < 30); // quadratic would be hours
        tokenizer_worker_close(w);
        token_list_release(&cold);
        token_list_release(&warm);
        buffer_release(&text);
    }
    tokenizer_close(t);
}

int main(void)
{
    RUN(patterns);
    RUN(classes_of_all_characters);
    RUN(hopeless_patterns_are_given_up);
    RUN(merging);
    RUN(long_pieces);
    RUN(characters_in_nfc);
    RUN(normal_form);
    RUN(json_records);
    RUN(scanning);
    RUN(wide_numbers);
    RUN(long_texts);
    return test_end();
}
