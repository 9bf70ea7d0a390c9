// SPDX-License-Identifier: MIT
#include "tokenize/token_decoder_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "tokenize/unicode.h"

enum { DEPTH_MAX = 16 };

void string_list_init(struct string_list *l)
{
    memset(l, 0, sizeof *l);
    buffer_init(&l->text, 0);
}

void string_list_release(struct string_list *l)
{
    buffer_release(&l->text);
    free(l->end);
    string_list_init(l);
}

void string_list_clear(struct string_list *l)
{
    buffer_clear(&l->text);
    l->n = 0;
}

int string_list_close(struct string_list *l, struct err *e)
{
    if (MEM_GROW(l->end, l->capacity, l->n + 1, "tokens", e) < 0)
        return -1;
    l->end[l->n++] = l->text.size;
    return 0;
}

const char *string_list_at(const struct string_list *l, size_t i, size_t *size)
{
    size_t start = i ? l->end[i - 1] : 0;
    *size = l->end[i] - start;
    return l->text.data ? l->text.data + start : "";
}

void decoder_free(struct token_decoder *d)
{
    if (!d)
        return;
    for (int i = 0; i < d->n; i++) {
        pattern_free(d->step[i].pattern);
        free(d->step[i].text);
        free(d->step[i].delimiter);
    }
    free(d);
}

static int take_text(struct decoder_step *s, const json_t *value, const char *key,
                     const char *fallback, const char *name, struct err *e)
{
    const json_t *v = json_object_get(value, key);
    const char *text = json_is_string(v) ? json_string_value(v) : fallback;
    if (!text)
        return err_set(e, STATUS_FAILED, "%s: decoder: key `%s`: not a string", name, key);
    s->size = json_is_string(v) ? json_string_length(v) : strlen(text);
    s->text = mem_alloc(s->size + 1, 1, "a decoder", e);
    if (!s->text)
        return -1;
    memcpy(s->text, text, s->size);
    return 0;
}

static int parse_cleaning(struct decoder_step *s, int ctc, const json_t *value, const char *name,
                          struct err *e)
{
    const char *delimiter = "|";
    s->kind = ctc ? DECODE_CTC : DECODE_WORD_PIECE;
    s->cleans = 1;
    if (json_get_bool(value, "cleanup", &s->cleans, name, e) < 0 ||
        json_get_string(value, "word_delimiter_token", &delimiter, name, e) < 0)
        return -1;
    s->delimiter = strdup(delimiter);
    if (!s->delimiter)
        return err_memory(e, strlen(delimiter), "a decoder");
    return ctc ? take_text(s, value, "pad_token", "<pad>", name, e)
               : take_text(s, value, "prefix", "##", name, e);
}

static int parse_one(struct decoder_step *s, const char *type, const json_t *value,
                     const char *name, int *has_regex, struct err *e)
{
    if (!strcmp(type, "ByteLevel"))
        return s->kind = DECODE_BYTE_LEVEL, 0;
    if (!strcmp(type, "ByteFallback"))
        return s->kind = DECODE_BYTE_FALLBACK, 0;
    if (!strcmp(type, "Fuse"))
        return s->kind = DECODE_FUSE, 0;
    if (!strcmp(type, "Replace")) {
        s->kind = DECODE_REPLACE;
        const json_t *pattern = json_object_get(value, "pattern");
        *has_regex |= json_object_get(pattern, "Regex") != NULL ||
                      json_string_length(json_object_get(pattern, "String")) == 0;
        s->pattern = pattern_from_json(pattern, name, e);
        return s->pattern ? take_text(s, value, "content", NULL, name, e) : -1;
    }
    if (!strcmp(type, "Strip")) {
        s->kind = DECODE_STRIP;
        return json_get_int(value, "start", &s->start, name, e) < 0 ||
                       json_get_int(value, "stop", &s->stop, name, e) < 0
                   ? -1
                   : take_text(s, value, "content", " ", name, e);
    }
    if (!strcmp(type, "Metaspace")) {
        const char *scheme = "always";
        int prefix = 1;
        s->kind = DECODE_METASPACE;
        if (json_get_string(value, "prepend_scheme", &scheme, name, e) < 0 ||
            json_get_bool(value, "add_prefix_space", &prefix, name, e) < 0)
            return -1;
        s->keeps_first = !strcmp(scheme, "never") || (!strcmp(scheme, "always") && !prefix);
        return take_text(s, value, "replacement", "\xE2\x96\x81", name, e);
    }
    if (!strcmp(type, "BPEDecoder")) {
        s->kind = DECODE_SUFFIX;
        return take_text(s, value, "suffix", "</w>", name, e);
    }
    if (!strcmp(type, "WordPiece") || !strcmp(type, "CTC"))
        return parse_cleaning(s, !strcmp(type, "CTC"), value, name, e);
    return err_set(e, STATUS_FAILED, "%s: key `decoder`: type `%s` is not supported", name, type);
}

static int parse(struct token_decoder *d, const json_t *value, const char *name, int depth,
                 struct err *e)
{
    const char *type = "";
    if (json_get_string(value, "type", &type, name, e) < 0)
        return -1;
    if (depth > DEPTH_MAX || d->n == DECODER_STEPS_MAX)
        return err_set(e, STATUS_FAILED, "%s: key `decoder`: too many steps", name);
    if (strcmp(type, "Sequence") != 0)
        return parse_one(&d->step[d->n++], type, value, name, &d->has_regex, e);
    size_t i;
    json_t *v;
    json_array_foreach(json_object_get(value, "decoders"), i,
                       v) if (parse(d, v, name, depth + 1, e) < 0) return -1;
    return 0;
}

int decoder_parse(const json_t *value, const char *name, struct token_decoder **out, struct err *e)
{
    *out = NULL;
    if (!value || json_is_null(value))
        return 0;
    *out = mem_alloc(1, sizeof **out, "a decoder", e);
    if (!*out)
        return -1;
    if (parse(*out, value, name, 0, e) < 0) {
        decoder_free(*out);
        *out = NULL;
        return -1;
    }
    return 0;
}

static int put(struct string_list *to, const char *data, size_t size, struct err *e)
{
    return buffer_append(&to->text, data, size, e);
}

static int put_replacement(struct string_list *to, struct err *e)
{
    return put(to, "\xEF\xBF\xBD", 3, e);
}

static int put_lossy(struct string_list *to, const char *data, size_t size, struct err *e)
{
    for (size_t i = 0; i < size;) {
        size_t n = utf8_valid_prefix(data + i, size - i), bad;
        if (put(to, data + i, n, e) < 0)
            return -1;
        i += n;
        if (i == size)
            break;
        utf8_sequence(data + i, size - i, &bad);
        if (put_replacement(to, e) < 0)
            return -1;
        i += bad;
    }
    return 0;
}

int decoder_put_alphabet(struct buffer *to, const char *token, size_t size, struct err *e)
{
    size_t begin = to->size;
    for (size_t i = 0; i < size;) {
        int byte = byte_alphabet_byte(utf8_next(token, &i));
        char c = (char)byte;
        if (byte < 0) {
            to->size = begin;
            return buffer_append(to, token, size, e);
        }
        if (buffer_append(to, &c, 1, e) < 0)
            return -1;
    }
    return 0;
}

static int decode_byte_level(const struct string_list *from, struct string_list *to, struct err *e)
{
    struct buffer bytes;
    buffer_init(&bytes, 0);
    int result = buffer_reserve(&bytes, 1, e);
    for (size_t i = 0; result == 0 && i < from->n; i++) {
        size_t size;
        const char *token = string_list_at(from, i, &size);
        result = decoder_put_alphabet(&bytes, token, size, e);
    }
    if (result == 0)
        result = put_lossy(to, bytes.data, bytes.size, e);
    buffer_release(&bytes);
    return result < 0 ? -1 : string_list_close(to, e);
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

int decoder_fallback_byte(const char *token, size_t size)
{
    if (size != 6 || memcmp(token, "<0x", 3) != 0 || token[5] != '>')
        return -1;
    int high = hex_digit(token[3]), low = hex_digit(token[4]);
    if (token[3] == '+' && low >= 0)
        return low; // as the reference's number parser reads it
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

static int close_bytes(struct string_list *to, struct buffer *run, struct err *e)
{
    if (run->size == 0)
        return 0;
    if (utf8_valid_prefix(run->data, run->size) == run->size) {
        if (put(to, run->data, run->size, e) < 0 || string_list_close(to, e) < 0)
            return -1;
    } else {
        for (size_t i = 0; i < run->size; i++)
            if (put_replacement(to, e) < 0 || string_list_close(to, e) < 0)
                return -1;
    }
    buffer_clear(run);
    return 0;
}

static int decode_byte_fallback(const struct string_list *from, struct string_list *to,
                                struct err *e)
{
    struct buffer run;
    buffer_init(&run, 0);
    int result = 0;
    for (size_t i = 0; result == 0 && i < from->n; i++) {
        size_t size;
        const char *token = string_list_at(from, i, &size);
        int byte = decoder_fallback_byte(token, size);
        char c = (char)byte;
        if (byte >= 0)
            result = buffer_append(&run, &c, 1, e);
        else if (close_bytes(to, &run, e) < 0 || put(to, token, size, e) < 0)
            result = -1;
        else
            result = string_list_close(to, e);
    }
    if (result == 0)
        result = close_bytes(to, &run, e);
    buffer_release(&run);
    return result;
}

// Appends `token` with `what` replaced.
static int replace_text(struct buffer *to, const char *token, size_t size, const char *what,
                        size_t what_size, const char *by, size_t by_size, struct err *e)
{
    const char *end = token + size;
    while (token < end) {
        const char *hit = what_size ? memmem(token, (size_t)(end - token), what, what_size) : NULL;
        size_t n = hit ? (size_t)(hit - token) : (size_t)(end - token);
        if (buffer_append(to, token, n, e) < 0 || (hit && buffer_append(to, by, by_size, e) < 0))
            return -1;
        token += n + (hit ? what_size : 0);
    }
    return 0;
}

static int replace_in(struct buffer *text, const char *what, const char *by, struct err *e)
{
    struct buffer out;
    if (text->size == 0)
        return 0;
    buffer_init(&out, 0);
    int result = replace_text(&out, text->data, text->size, what, strlen(what), by, strlen(by), e);
    struct buffer swap = *text;
    *text = out;
    buffer_release(&swap);
    return result;
}

// The blanks that a tokenizer of words and signs leaves in English text.
static int clean(struct buffer *text, struct err *e)
{
    static const char *const pairs[][2] = {
        {" .", "."},   {" ?", "?"},     {" !", "!"},     {" ,", ","},
        {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},   {" do not", " don't"},
        {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
        if (replace_in(text, pairs[i][0], pairs[i][1], e) < 0)
            return -1;
    return 0;
}

static int put_clean(const struct decoder_step *s, struct string_list *to, struct buffer *token,
                     struct err *e)
{
    if (s->cleans && clean(token, e) < 0)
        return -1;
    if (s->cleans && s->kind == DECODE_CTC && replace_in(token, s->delimiter, " ", e) < 0)
        return -1;
    if (s->kind == DECODE_CTC && token->size == 0)
        return 0;
    return buffer_append(&to->text, token->data ? token->data : "", token->size, e) < 0
               ? -1
               : string_list_close(to, e);
}

// WordPiece: what continues a word loses its sign, all else gets a blank in front.
static int word_piece(const struct decoder_step *s, const char *token, size_t size, int first,
                      struct buffer *out, struct err *e)
{
    if (!first && size >= s->size && !memcmp(token, s->text, s->size)) {
        token += s->size;
        size -= s->size;
    } else if (!first && buffer_append(out, " ", 1, e) < 0) {
        return -1;
    }
    return buffer_append(out, token, size, e);
}

// CTC (Graves et al., 2006): a token that repeats the one before it goes, and so does padding.
static int decode_cleaning(const struct decoder_step *s, const struct string_list *from,
                           struct string_list *to, struct err *e)
{
    struct buffer text;
    const char *last = NULL;
    size_t last_size = 0;
    int result = 0;
    buffer_init(&text, 0);
    for (size_t i = 0; result == 0 && i < from->n; i++) {
        size_t size;
        const char *token = string_list_at(from, i, &size);
        int same = last && size == last_size && !memcmp(token, last, size);
        last = token;
        last_size = size;
        buffer_clear(&text);
        if (s->kind == DECODE_CTC && same)
            continue;
        result = s->kind == DECODE_CTC
                     ? replace_text(&text, token, size, s->text, s->size, "", 0, e)
                     : word_piece(s, token, size, i == 0, &text, e);
        if (result == 0)
            result = put_clean(s, to, &text, e);
    }
    buffer_release(&text);
    return result;
}

static int replace_pattern(const struct decoder_step *s, struct buffer *to, const char *token,
                           size_t size, struct pattern_scratch *scratch, struct err *e)
{
    size_t done = 0, at = 0, start, end;
    if (size == 0)
        return 0;
    for (int any = 0; at <= size; any = 1) {
        int found = pattern_find(s->pattern, scratch, token, size, at, &start, &end, e);
        if (found < 0)
            return -1;
        if (!found)
            break;
        if (any && start == end && end == done) { // nothing, right behind a match, is no match
            if (at >= size)
                break;
            utf8_next(token, &at);
            continue;
        }
        if (buffer_append(to, token + done, start - done, e) < 0 ||
            buffer_append(to, s->text, s->size, e) < 0)
            return -1;
        done = at = end;
    }
    return buffer_append(to, token + done, size - done, e);
}

static void strip(const struct decoder_step *s, int at_start, int at_stop, const char **token,
                  size_t *size)
{
    for (int64_t k = 0; at_start && k < s->start && s->size && *size >= s->size &&
                        !memcmp(*token, s->text, s->size);
         k++) {
        *token += s->size;
        *size -= s->size;
    }
    for (int64_t k = 0; at_stop && k < s->stop && s->size && *size >= s->size &&
                        !memcmp(*token + *size - s->size, s->text, s->size);
         k++)
        *size -= s->size;
}

int decoder_token(const struct decoder_step *s, const char *token, size_t size, int first, int last,
                  struct pattern_scratch *scratch, struct buffer *to, struct err *e)
{
    switch (s->kind) {
    case DECODE_REPLACE:
        return replace_pattern(s, to, token, size, scratch, e);
    case DECODE_STRIP:
        strip(s, 1, 1, &token, &size);
        return buffer_append(to, token, size, e);
    case DECODE_METASPACE:
        return replace_text(to, token, size, s->text, s->size, " ", !first || s->keeps_first, e);
    default: // DECODE_SUFFIX
        return replace_text(to, token, size, s->text, s->size, " ", !last, e);
    }
}

int decoder_step_run(const struct decoder_step *s, const struct string_list *from,
                     struct string_list *to, struct pattern_scratch *scratch, struct err *e)
{
    if (s->kind == DECODE_BYTE_LEVEL)
        return decode_byte_level(from, to, e);
    if (s->kind == DECODE_BYTE_FALLBACK)
        return decode_byte_fallback(from, to, e);
    if (s->kind == DECODE_WORD_PIECE || s->kind == DECODE_CTC)
        return decode_cleaning(s, from, to, e);
    if (s->kind == DECODE_FUSE)
        return put(to, from->text.data ? from->text.data : "", from->text.size, e) < 0
                   ? -1
                   : string_list_close(to, e);
    for (size_t i = 0; i < from->n; i++) {
        size_t size;
        const char *token = string_list_at(from, i, &size);
        if (decoder_token(s, token, size, i == 0, i + 1 == from->n, scratch, &to->text, e) < 0 ||
            string_list_close(to, e) < 0)
            return -1;
    }
    return 0;
}

static int join_with_blanks(const struct string_list *tokens, struct buffer *out, struct err *e)
{
    for (size_t i = 0; i < tokens->n; i++) {
        size_t size;
        const char *token = string_list_at(tokens, i, &size);
        if ((i && buffer_append(out, " ", 1, e) < 0) || buffer_append(out, token, size, e) < 0)
            return -1;
    }
    return 0;
}

int decoder_run(const struct token_decoder *d, struct string_list *tokens, struct buffer *out,
                struct err *e)
{
    if (!d)
        return join_with_blanks(tokens, out, e);
    struct string_list next;
    struct pattern_scratch scratch = {0};
    string_list_init(&next);
    if (d->has_regex && pattern_scratch_init(&scratch, e) < 0)
        return -1;
    int result = buffer_reserve(&tokens->text, 1, e);
    for (int i = 0; result == 0 && i < d->n; i++) {
        string_list_clear(&next);
        result = decoder_step_run(&d->step[i], tokens, &next, &scratch, e);
        struct string_list swap = *tokens;
        *tokens = next;
        next = swap;
    }
    pattern_scratch_release(&scratch);
    string_list_release(&next);
    if (result == 0 && tokens->text.size)
        result = buffer_append(out, tokens->text.data, tokens->text.size, e);
    return result;
}

static int piece_step(const struct decoder_step *s, const char *token, size_t size, int first,
                      struct pattern_scratch *scratch, struct buffer *to, struct err *e)
{
    if (s->kind == DECODE_BYTE_LEVEL)
        return decoder_put_alphabet(to, token, size, e);
    if (s->kind == DECODE_STRIP) {
        strip(s, first, 0, &token, &size);
        return buffer_append(to, token, size, e);
    }
    if (s->kind == DECODE_BYTE_FALLBACK || s->kind == DECODE_FUSE) {
        int byte = s->kind == DECODE_FUSE ? -1 : decoder_fallback_byte(token, size);
        char c = (char)byte;
        return byte < 0 ? buffer_append(to, token, size, e) : buffer_append(to, &c, 1, e);
    }
    if (s->kind == DECODE_WORD_PIECE)
        return word_piece(s, token, size, first, to, e);
    if (s->kind == DECODE_CTC)
        return replace_text(to, token, size, s->text, s->size, "", 0, e);
    if (utf8_valid_prefix(token, size) != size) // patterns see whole characters only
        return buffer_append(to, token, size, e);
    return decoder_token(s, token, size, first, 0, scratch, to, e);
}

int decoder_piece(const struct token_decoder *d, const char *token, size_t size, int first,
                  struct buffer *out, struct err *e)
{
    if (!d)
        return buffer_append(out, token, size, e);
    struct buffer turn[2];
    struct pattern_scratch scratch = {0};
    buffer_init(&turn[0], 0);
    buffer_init(&turn[1], 0);
    if (d->has_regex && pattern_scratch_init(&scratch, e) < 0)
        return -1;
    int result = buffer_append(&turn[0], token, size, e), now = 0;
    for (int i = 0; result == 0 && i < d->n; i++, now ^= 1) {
        buffer_clear(&turn[!now]);
        result = piece_step(&d->step[i], turn[now].data ? turn[now].data : "", turn[now].size,
                            first, &scratch, &turn[!now], e);
    }
    if (result == 0 && turn[now].size)
        result = buffer_append(out, turn[now].data, turn[now].size, e);
    pattern_scratch_release(&scratch);
    buffer_release(&turn[0]);
    buffer_release(&turn[1]);
    return result;
}
