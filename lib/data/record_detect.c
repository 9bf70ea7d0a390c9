// SPDX-License-Identifier: MIT
// What a record looks like.
#include "data/preference.h"
#include "data/record.h"

#include <string.h>

static int has(const struct record_settings *s, const json_t *object, const char *name)
{
    return record_field(s, object, name) != NULL;
}

// Formats in the order in which they are looked for: whoever holds the fields of two is the first
// of them. `whole` is not needed where prompts alone are wanted.
static const struct form {
    enum record_format format;
    const char *key, *whole;
} forms[] = {{RECORD_PRETOKENIZED, "input_ids", NULL},
             {RECORD_PREFERENCE, "chosen", "rejected"},
             {RECORD_MESSAGES, "messages", NULL},
             {RECORD_SHAREGPT, "conversations", NULL},
             {RECORD_PROMPT_COMPLETION, "prompt", "completion"},
             {RECORD_TEXT, "text", NULL},
             {RECORD_INSTRUCTION, "instruction", "output"}};
enum { FORMS = sizeof forms / sizeof *forms };

static int fits(const struct record_settings *s, const json_t *object, const struct form *f)
{
    if (f->format == RECORD_PREFERENCE)
        return preference_detect(s, object);
    return has(s, object, f->key) && (!f->whole || s->prompts || has(s, object, f->whole));
}

static int say_keys(struct buffer *keys, const json_t *object, struct err *e)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        if (buffer_printf(keys, e, "%s`%.40s`", keys->size ? ", " : "", key) < 0)
            return -1;
        if (keys->size > 300)
            return buffer_string(keys, ", ...", e);
    }
    return 0;
}

// The first of `names` (NULL at the end) that the object has as text.
static const char *find_text(const json_t *object, const char *const *names)
{
    for (; *names; names++)
        if (json_is_string(json_object_get(object, *names)))
            return *names;
    return NULL;
}

// The key of a list of objects that may be the records of a file wrapped into one object.
static const char *find_records(const json_t *object)
{
    const char *key, *found = NULL;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        if (!json_is_object(json_array_get(value, 0)) ||
            (json_array_size(value) == 1 && json_object_size(object) > 1))
            continue;
        if (found)
            return NULL;
        found = key;
    }
    return found;
}

// How common other names would become ours.
static void remedy(char *out, size_t size, const json_t *object)
{
    static const char *const prompts[] = {"prompt", "question", "query", "problem",
                                          "inputs", "input",    NULL};
    static const char *const answers[] = {"completion", "answer", "response", "solution",
                                          "output",     "target", "targets",  NULL};
    static const char *const instructions[] = {"instruction", NULL};
    static const char *const texts[] = {"content", "story", "document", "body", NULL};
    const char *instruction = find_text(object, instructions);
    const char *prompt = find_text(object, prompts), *answer = find_text(object, answers);
    const char *text = find_text(object, texts);
    if (prompt && answer && !strcmp(prompt, "prompt"))
        snprintf(out, size, "--fields completion=%s", answer);
    else if (instruction && answer)
        snprintf(out, size, "--fields output=%s", answer);
    else if (prompt && answer)
        snprintf(out, size, "--fields prompt=%s,completion=%s", prompt, answer);
    else if (instruction || (prompt && !strcmp(prompt, "prompt")))
        snprintf(out, size, "there is no answer: --prompts writes the %s alone",
                 instruction ? "instruction" : "prompt");
    else if (text || answer)
        snprintf(out, size, "--fields text=%s", text ? text : answer);
    else if ((text = find_records(object)))
        snprintf(out, size, "the records stand below: jq -c '.[\"%.60s\"][]'", text);
    else
        snprintf(out, size, "--fields OURS=THEIRS, or reshape the records with jq");
}

// The half of a format that the record has by a name of --fields, and the one that it lacks: 0
// where there is no such format.
static int find_half(const struct record_settings *s, const json_t *object, const char **there,
                     const char **missing)
{
    for (const struct form *f = forms; f < forms + FORMS; f++) {
        if (!f->whole || has(s, object, f->key) == has(s, object, f->whole))
            continue;
        *there = has(s, object, f->key) ? f->key : f->whole;
        *missing = *there == f->key ? f->whole : f->key;
        if (strcmp(record_field_name(s, *there), *there) != 0)
            return 1;
    }
    return 0;
}

// Fields that may be absent do not make a format.
static int is_part(const char *name)
{
    for (const struct form *f = forms; f < forms + FORMS; f++)
        if (!strcmp(name, f->key) || (f->whole && !strcmp(name, f->whole)))
            return 1;
    return 0;
}

// What --fields says, and the record has not: the text for "there are KEYS; ...", or an empty one.
static void say_absent(char *out, size_t size, const struct record_settings *s,
                       const json_t *object)
{
    const char *there, *missing;
    *out = 0;
    for (int i = 0; i < s->fields.n; i++)
        if (is_part(s->fields.ours[i]) && !json_object_get(object, s->fields.theirs[i])) {
            snprintf(out, size, "`%.40s`, which --fields names as %.40s, is not there",
                     s->fields.theirs[i], s->fields.ours[i]);
            return;
        }
    if (find_half(s, object, &there, &missing))
        snprintf(out, size, "%s is `%.40s` by --fields, but %s is missing: name it too", there,
                 record_field_name(s, there), missing);
}

static int unknown(const json_t *object, const struct record_settings *s, struct err *e)
{
    struct buffer keys;
    char advice[160], absent[200];
    buffer_init(&keys, 600);
    if (json_object_get(object, "densepath"))
        err_set(e, STATUS_FAILED, "a token stream, not records (tok -d reads it)");
    else if (say_keys(&keys, object, e) == 0) {
        remedy(advice, sizeof advice, object);
        say_absent(absent, sizeof absent, s, object);
        err_set(e, STATUS_FAILED, "no known format: %s%s; %s (%s)",
                keys.size ? "there are " : "there is nothing in it", keys.size ? keys.data : "",
                *absent ? absent
                        : "wanted are `messages`, `conversations`, `prompt` and `completion`, "
                          "`text`, `instruction` and `output`, `chosen` and `rejected`, or "
                          "`input_ids`",
                advice);
    }
    buffer_release(&keys);
    return -1;
}

static int say_why(struct buffer *why, const struct form *f, const struct record_settings *s,
                   const json_t *object, struct err *e)
{
    if (buffer_printf(why, e, "`%s`", record_field_name(s, f->key)) < 0 ||
        (f->whole && has(s, object, f->whole) &&
         buffer_printf(why, e, " and `%s`", record_field_name(s, f->whole)) < 0))
        return -1;
    for (const struct form *other = f + 1; other < forms + FORMS; other++)
        if (fits(s, object, other))
            return buffer_printf(why, e, "; --format %s would fit too",
                                 record_format_names[other->format]);
    return 0;
}

int record_detect(const json_t *object, const struct record_settings *s, enum record_format *format,
                  struct buffer *why, struct err *e)
{
    for (const struct form *f = forms; f < forms + FORMS; f++) {
        if (!fits(s, object, f))
            continue;
        *format = f->format;
        // Answers that are good or bad, one a record: all of them would be learned.
        if (f->format == RECORD_PROMPT_COMPLETION && !s->prompts &&
            json_is_boolean(json_object_get(object, "label")))
            return err_set(e, STATUS_FAILED,
                           "`label` says which answers are wanted (unpaired preference data), and "
                           "nothing here reads it (select the records, or --format "
                           "prompt-completion)");
        return say_why(why, f, s, object, e);
    }
    return unknown(object, s, e);
}

int record_is_chat(const json_t *object, const struct record_settings *s)
{
    switch (s->format) {
    case RECORD_MESSAGES:
    case RECORD_SHAREGPT:
        return 1;
    case RECORD_PROMPT_COMPLETION:
        return json_is_array(record_field(s, object, "prompt"));
    case RECORD_PREFERENCE:
        return preference_is_chat(s, object);
    case RECORD_INSTRUCTION:
        return s->instruction == INSTRUCTION_CHAT;
    default:
        return 0;
    }
}
