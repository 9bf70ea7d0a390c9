// SPDX-License-Identifier: MIT
// A data set's file. Its records are read as what they look like and as every other format, with
// and without a chat template, and cut into tokens; and as samples from elsewhere.
#include "kit.h"

#include "data/corpus.h"
#include "data/example.h"
#include "data/preference.h"
#include "data/sample_group.h"

#include <math.h>

// Bytes, a few merges, and two special tokens.
static const char *const templates[] = {
    "{% for m in messages %}{% if m.role == 'assistant' %}<a>{% generation %}{{ m.content }}<e>"
    "{% endgeneration %}{% else %}<{{ m.role }}>{{ m.content }}{% endif %}{{ m.tool_calls }}"
    "{% endfor %}{% if add_generation_prompt %}<a>{% endif %}",
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] | trim }}<e>\n"
    "{% for c in m.tool_calls or [] %}{{ c.function | tojson }}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"};
enum { TEMPLATES = 2, RECORDS_MAX = 16 };

static struct tokenizer *tokenizer;
static struct tokenizer_worker *worker;
static struct chat *chat[TEMPLATES];

static void write_tokenizer(void)
{
    struct buffer text;
    struct err e;
    buffer_init(&text, 0);
    MUST(buffer_printf(&text, &e,
                       "{\"added_tokens\": [{\"id\": 260, \"content\": \"<e>\", \"special\": true, "
                       "\"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                       "\"normalized\": false}], \"normalizer\": {\"type\": \"NFC\"}, "
                       "\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                       "\"trim_offsets\": true, \"use_regex\": true}, \"post_processor\": null, "
                       "\"decoder\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\", "
                       "\"vocab\": {") == 0);
    // The letters of ByteLevel: printable bytes stand for themselves, the others follow U+0100.
    for (unsigned byte = 0, other = 256; byte < 256; byte++) {
        int itself = (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
        MUST(buffer_printf(&text, &e, "\"\\u%04x\": %u, ", itself ? byte : other, byte) == 0);
        other += !itself;
    }
    MUST(buffer_printf(&text, &e,
                       "\"he\": 256, \"ll\": 257, \"\\u0120a\": 258, \"hell\": 259}, \"merges\": "
                       "[\"h e\", \"l l\", \"\\u0120 a\", \"he ll\"]}}") == 0);
    fuzz_write("tokenizer.json", text.data, text.size);
    static const char config[] = "{\"eos_token\": \"<e>\"}";
    fuzz_write("tokenizer_config.json", config, sizeof config - 1);
    buffer_release(&text);
}

static void release(void)
{
    for (int i = 0; i < TEMPLATES; i++)
        chat_close(chat[i]);
    tokenizer_worker_close(worker);
    tokenizer_close(tokenizer);
}

static void prepare(void)
{
    struct err e;
    if (tokenizer)
        return;
    write_tokenizer();
    tokenizer = tokenizer_open(fuzz_folder(), &e);
    worker = tokenizer_worker_open(&e);
    MUST(tokenizer && worker);
    for (int i = 0; i < TEMPLATES; i++) {
        chat[i] = chat_open_source(templates[i], strlen(templates[i]), "t", fuzz_folder(), &e);
        MUST(chat[i]);
    }
    atexit(release);
}

static void try_record(struct record *r, const struct record_settings *s)
{
    struct example_settings xs;
    struct example x;
    struct err e;
    MUST(r->prompt_size <= r->text.size);
    for (size_t i = 0; r->has_spans && i < r->spans.n; i++) {
        MUST(r->spans.span[i].start <= r->spans.span[i].end);
        MUST(r->spans.span[i].end <= r->text.size);
    }
    example_init(&x);
    MUST(example_settings_init(&xs, tokenizer, &e) == 0);
    xs.max_length = s->prompts ? 20 : 0;
    xs.truncation = TRUNCATE_LEFT;
    xs.boundary = s->prompts ? BOUNDARY_SEPARATE : BOUNDARY_JOINT;
    if (example_make(&x, &xs, worker, r, &e) == 0)
        for (size_t i = 0; i < x.tokens.n; i++) {
            MUST(x.tokens.id[i] < tokenizer_size(tokenizer));
            MUST(x.mask[i] <= 1);
        }
    example_settings_release(&xs);
    example_release(&x);
}

static void try_object(const struct record_settings *s, const json_t *object)
{
    struct err e;
    struct record r;
    record_init(&r);
    if (s->format != RECORD_PREFERENCE) {
        if (record_read(&r, s, object, &e) == 0)
            try_record(&r, s);
        record_release(&r);
        return;
    }
    for (int role = PREFERENCE_CHOSEN; role <= PREFERENCE_PROMPT; role++) {
        json_t *part = preference_part(s, object, (enum preference_role)role, &e);
        struct record_settings as = *s;
        struct buffer why;
        buffer_init(&why, 0);
        if (part && record_detect(part, &as, &as.format, &why, &e) == 0 &&
            as.format != RECORD_PREFERENCE && record_read(&r, &as, part, &e) == 0)
            try_record(&r, &as);
        buffer_release(&why);
        json_decref(part);
    }
    record_release(&r);
}

static void try_samples(const json_t *object)
{
    struct sample_group g;
    struct err e;
    sample_group_init(&g);
    // The second time into what the first has left.
    for (int i = 0; i < 2; i++)
        if (sample_group_read(&g, object, &e) == 0) {
            MUST(g.n > 0 && g.sample[g.n - 1].end == g.n_tokens);
            for (size_t t = 0; t < g.n_tokens; t++)
                MUST(isfinite(g.logp[t]));
        }
    sample_group_release(&g);
}

static void try_entry(const struct corpus_entry *entry)
{
    struct record_settings s = {0};
    struct buffer id;
    struct err e;
    json_t *object = corpus_parse(entry, &e);
    if (!object)
        return;
    buffer_init(&id, 0);
    if (record_id(&s, object, entry->number, &id, &e) < 0)
        buffer_clear(&id);
    buffer_release(&id);
    try_samples(object);
    for (int i = 0; i <= TEMPLATES; i++) {
        s.chat = i < TEMPLATES ? chat[i] : NULL;
        s.prompts = i == 1;
        s.add_generation_prompt = s.joins_parts = i == 1;
        s.texts_only = i == 2;
        s.continue_final_message = i == 0 && json_object_get(object, "continue_final_message");
        s.instruction = (enum instruction_form)i;
        enum record_format found = RECORD_AUTO;
        struct buffer why;
        buffer_init(&why, 0);
        if (record_detect(object, &s, &found, &why, &e) == 0)
            MUST(found != RECORD_AUTO && why.size > 0);
        buffer_release(&why);
        for (int format = RECORD_AUTO + 1; record_format_names[format]; format++) {
            s.format = (enum record_format)format;
            try_object(&s, object);
        }
    }
    json_decref(object);
}

static void try_plain(const struct corpus_entry *entry)
{
    struct record_settings s = {.format = RECORD_TEXT};
    struct record r;
    struct err e;
    record_init(&r);
    if (record_read_plain(&r, &s, entry->text, entry->size, &e) == 0)
        try_record(&r, &s);
    record_release(&r);
}

static void try_file(char *path, enum corpus_sample sample)
{
    struct corpus c;
    struct corpus_entry entry;
    struct err e;
    MUST(corpus_open(&c, &path, 1, &e) == 0);
    c.sample = sample;
    // The first records in full; the others only as they are told apart.
    for (size_t n = 0; corpus_next(&c, &entry, &e) > 0; n++) {
        MUST(entry.size <= CORPUS_RECORD_MAX && !entry.text[entry.size]);
        if (n < RECORDS_MAX && entry.is_plain)
            try_plain(&entry);
        else if (n < RECORDS_MAX && sample == SAMPLE_LINE)
            try_entry(&entry);
    }
    corpus_close(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    prepare();
    snprintf(path, sizeof path, "%s", fuzz_file(0, data, size));
    for (int sample = SAMPLE_LINE; sample <= SAMPLE_DOCUMENT; sample++)
        try_file(path, (enum corpus_sample)sample);
    return 0;
}
