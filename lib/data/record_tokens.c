// SPDX-License-Identifier: MIT
// Records that are token ids already.
#include "data/record.h"

#include <inttypes.h>

enum { IGNORED = -100 }; // a label that is not trained

static int wrong(const struct record_settings *s, struct err *e, const char *name,
                 const char *reason)
{
    return err_set(e, STATUS_FAILED, "key `%s`: %s", record_field_name(s, name), reason);
}

// A list as long as the ids, or NULL: absent. -1 when it is another thing.
static int list_field(const struct record_settings *s, const json_t *object, const char *name,
                      size_t n, const json_t **list, struct err *e)
{
    *list = record_field(s, object, name);
    if (!*list)
        return 0;
    if (!json_is_array(*list))
        return wrong(s, e, name, "not a list");
    return json_array_size(*list) == n ? 0 : wrong(s, e, name, "not as long as the ids");
}

// 0 or 1, as a whole number, a real one or a boolean; -1: another thing.
static int flag(const json_t *v)
{
    double x = json_is_boolean(v) ? json_is_true(v) : json_is_number(v) ? json_number_value(v) : -1;
    return x == 0 ? 0 : x == 1 ? 1 : -1;
}

// Clears the mask where a list of 0 and 1 does.
static int apply_flags(struct record *r, const struct record_settings *s, const char *name,
                       const json_t *list, struct err *e)
{
    for (size_t i = 0; i < r->n; i++) {
        int on = flag(json_array_get(list, i));
        if (on < 0)
            return wrong(s, e, name, "neither 0 nor 1");
        r->mask[i] &= (uint8_t)on;
    }
    return 0;
}

static int apply_labels(struct record *r, const struct record_settings *s, const json_t *labels,
                        struct err *e)
{
    for (size_t i = 0; i < r->n; i++) {
        const json_t *v = json_array_get(labels, i);
        json_int_t label = json_integer_value(v);
        if (!json_is_integer(v) || (label != IGNORED && label != (json_int_t)r->id[i]))
            return err_set(
                e, STATUS_FAILED,
                "key `%s`: at %zu neither the token's id nor -100: a token is learned as "
                "it stands",
                record_field_name(s, "labels"), i);
        r->mask[i] &= label != IGNORED;
    }
    return 0;
}

// Padding stands at either end and is left out.
static int drop_padding(struct record *r, const struct record_settings *s, const json_t *attention,
                        struct err *e)
{
    size_t begin = 0, end = r->n;
    for (size_t i = 0; i < r->n; i++)
        if (flag(json_array_get(attention, i)) < 0)
            return wrong(s, e, "attention_mask", "neither 0 nor 1");
    while (begin < end && !flag(json_array_get(attention, begin)))
        begin++;
    while (end > begin && !flag(json_array_get(attention, end - 1)))
        end--;
    for (size_t i = begin; i < end; i++) {
        if (!flag(json_array_get(attention, i)))
            return wrong(s, e, "attention_mask", "a 0 between tokens: nothing here skips one");
        r->id[i - begin] = r->id[i];
        r->mask[i - begin] = r->mask[i];
    }
    r->n = end - begin;
    return 0;
}

static int take_ids(struct record *r, const struct record_settings *s, const json_t *ids,
                    struct err *e)
{
    if (!json_is_array(ids))
        return wrong(s, e, "input_ids", ids ? "not a list" : "missing");
    r->n = json_array_size(ids);
    if (MEM_GROW(r->id, r->id_capacity, r->n + 1, "tokens", e) < 0 ||
        MEM_GROW(r->mask, r->mask_capacity, r->n + 1, "a loss mask", e) < 0)
        return -1;
    for (size_t i = 0; i < r->n; i++) {
        const json_t *v = json_array_get(ids, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > UINT32_MAX)
            return err_set(e, STATUS_FAILED, "key `%s`: at %zu: not a token id",
                           record_field_name(s, "input_ids"), i);
        r->id[i] = (uint32_t)json_integer_value(v);
        r->mask[i] = 1;
    }
    return 0;
}

int record_read_tokens(struct record *r, const struct record_settings *s, const json_t *object,
                       struct err *e)
{
    const json_t *labels, *attention, *completion, *assistant;
    enum record_train train = record_train_of(s);
    if (take_ids(r, s, record_field(s, object, "input_ids"), e) < 0 ||
        list_field(s, object, "labels", r->n, &labels, e) < 0 ||
        list_field(s, object, "attention_mask", r->n, &attention, e) < 0 ||
        list_field(s, object, "completion_mask", r->n, &completion, e) < 0 ||
        list_field(s, object, "assistant_masks", r->n, &assistant, e) < 0)
        return -1;
    r->is_tokens = r->open_end = 1;
    if (train == RECORD_TRAIN_COMPLETION && !completion && !labels)
        return wrong(s, e, "completion_mask", "missing, and --train-on completion needs it");
    if (train == RECORD_TRAIN_ASSISTANT && !assistant && !labels)
        return wrong(s, e, "assistant_masks", "missing, and --train-on assistant needs it");
    // Labels say all there is to say; masks go together.
    if (train != RECORD_TRAIN_ALL &&
        (labels ? apply_labels(r, s, labels, e) < 0
                : (completion && apply_flags(r, s, "completion_mask", completion, e) < 0) ||
                      (assistant && apply_flags(r, s, "assistant_masks", assistant, e) < 0)))
        return -1;
    if (attention && drop_padding(r, s, attention, e) < 0)
        return -1;
    for (size_t i = 0; s->prompts && i < r->n; i++)
        if (r->mask[i])
            r->n = i;
    return 0;
}
