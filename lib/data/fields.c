// SPDX-License-Identifier: MIT
#include "data/fields.h"

#include <stdlib.h>
#include <string.h>

const char *const record_format_names[] = {
    "auto",       "text",         "messages", "prompt-completion", "instruction", "sharegpt",
    "preference", "pretokenized", NULL};

void record_fields_release(struct record_fields *f)
{
    for (int i = 0; i < f->n; i++) {
        free(f->ours[i]);
        free(f->theirs[i]);
    }
    f->n = 0;
}

// "OURS=THEIRS,...", OURS one of `known` (NULL: any).
static int parse_names(struct record_fields *f, const char *text, const char *option,
                       const char *const *known, struct err *e)
{
    f->n = 0;
    while (*text) {
        size_t n = strcspn(text, ","), name = strcspn(text, "=,"), i = 0;
        while (known && known[i] && (strlen(known[i]) != name || memcmp(known[i], text, name) != 0))
            i++;
        if (known && !known[i])
            return err_set(e, STATUS_USAGE, "%s: no field `%.*s` is known", option, (int)name,
                           text);
        if (!name || name >= n || name + 1 == n)
            return err_set(e, STATUS_USAGE, "%s: `%.*s` is not OURS=THEIRS", option, (int)n, text);
        if (f->n == RECORD_FIELDS_MAX)
            return err_set(e, STATUS_USAGE, "%s: more than %d names", option, RECORD_FIELDS_MAX);
        f->ours[f->n] = strndup(text, name);
        f->theirs[f->n] = strndup(text + name + 1, n - name - 1);
        f->n++;
        if (!f->ours[f->n - 1] || !f->theirs[f->n - 1])
            return err_memory(e, n, "names");
        text += n + (text[n] == ',');
    }
    return 0;
}

int record_fields_parse(struct record_fields *f, const char *text, struct err *e)
{
    static const char *const known[] = {"id",
                                        "text",
                                        "messages",
                                        "prompt",
                                        "completion",
                                        "instruction",
                                        "input",
                                        "output",
                                        "tools",
                                        "documents",
                                        "chat_template_kwargs",
                                        "chosen",
                                        "rejected",
                                        "conversations",
                                        "system",
                                        "role",
                                        "content",
                                        "from",
                                        "value",
                                        "input_ids",
                                        "labels",
                                        "attention_mask",
                                        "completion_mask",
                                        "assistant_masks",
                                        NULL};
    return parse_names(f, text, "--fields", known, e);
}

int record_roles_parse(struct record_fields *f, const char *text, struct err *e)
{
    return parse_names(f, text, "--roles", NULL, e);
}

const char *record_field_name(const struct record_settings *s, const char *name)
{
    for (int i = 0; i < s->fields.n; i++)
        if (!strcmp(s->fields.ours[i], name))
            return s->fields.theirs[i];
    return name;
}

const json_t *record_field(const struct record_settings *s, const json_t *object, const char *name)
{
    const json_t *v = json_object_get(object, record_field_name(s, name));
    return json_is_null(v) ? NULL : v;
}

enum record_train record_train_of(const struct record_settings *s)
{
    if (s->train != RECORD_TRAIN_DEFAULT)
        return s->train;
    switch (s->format) {
    case RECORD_TEXT:
        return RECORD_TRAIN_ALL;
    case RECORD_MESSAGES:
    case RECORD_SHAREGPT:
        return RECORD_TRAIN_ASSISTANT;
    case RECORD_PRETOKENIZED:
        return RECORD_TRAIN_DEFAULT;
    default:
        return RECORD_TRAIN_COMPLETION;
    }
}
