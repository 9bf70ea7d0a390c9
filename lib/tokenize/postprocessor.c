// SPDX-License-Identifier: MIT
#include "tokenize/postprocessor.h"

#include <string.h>

#include "base/json.h"

enum { DEPTH_MAX = 16 };

static int refuse(const char *name, const char *what, struct err *e)
{
    return err_set(e, STATUS_FAILED, "%s: key `post_processor`: %s", name, what);
}

static int add_id(uint32_t *list, size_t *n, const json_t *id, const char *name, struct err *e)
{
    if (!json_is_integer(id) || json_integer_value(id) < 0 ||
        json_integer_value(id) >= (json_int_t)1 << 24)
        return refuse(name, "a token id is not one", e);
    if (*n == AFFIX_MAX)
        return refuse(name, "too many special tokens", e);
    list[(*n)++] = (uint32_t)json_integer_value(id);
    return 0;
}

// What is in front goes before what is there, what is at the end behind it.
static int surround(struct postprocessor *p, const uint32_t *front, size_t n_front,
                    const uint32_t *back, size_t n_back, const char *name, struct err *e)
{
    if (p->n_prefix + n_front > AFFIX_MAX || p->n_suffix + n_back > AFFIX_MAX)
        return refuse(name, "too many special tokens", e);
    memmove(p->prefix + n_front, p->prefix, p->n_prefix * sizeof *p->prefix);
    memcpy(p->prefix, front, n_front * sizeof *front);
    memcpy(p->suffix + p->n_suffix, back, n_back * sizeof *back);
    p->n_prefix += n_front;
    p->n_suffix += n_back;
    return 0;
}

static int parse_template(struct postprocessor *p, const json_t *value, const char *name,
                          struct err *e)
{
    const json_t *single = json_object_get(value, "single");
    const json_t *specials = json_object_get(value, "special_tokens");
    if (!json_is_array(single))
        return refuse(name, "`single` is not a list", e);
    uint32_t front[AFFIX_MAX], back[AFFIX_MAX];
    size_t n_front = 0, n_back = 0, i, k;
    int seen = 0;
    json_t *item, *id;
    json_array_foreach(single, i, item)
    {
        const json_t *special = json_object_get(item, "SpecialToken");
        const char *which = json_string_value(
            json_object_get(special ? special : json_object_get(item, "Sequence"), "id"));
        if (!which)
            return refuse(name, "a part of `single` has no id", e);
        if (!special) {
            if (strcmp(which, "A") != 0 || seen++)
                return refuse(name, "`single` is not one text A with tokens around it", e);
            continue;
        }
        const json_t *ids = json_object_get(json_object_get(specials, which), "ids");
        if (!json_is_array(ids))
            return err_set(e, STATUS_FAILED,
                           "%s: key `post_processor`: `special_tokens` has no ids of `%s`", name,
                           which);
        json_array_foreach(ids, k, id) if (add_id(seen ? back : front, seen ? &n_back : &n_front,
                                                  id, name, e) < 0) return -1;
    }
    if (!seen)
        return refuse(name, "`single` leaves the text out", e);
    return surround(p, front, n_front, back, n_back, name, e);
}

// RobertaProcessing and BertProcessing: ["token", id] around the text.
static int parse_pair(struct postprocessor *p, const json_t *value, const char *name, struct err *e)
{
    uint32_t cls[AFFIX_MAX], sep[AFFIX_MAX];
    size_t n_cls = 0, n_sep = 0;
    if (add_id(cls, &n_cls, json_array_get(json_object_get(value, "cls"), 1), name, e) < 0 ||
        add_id(sep, &n_sep, json_array_get(json_object_get(value, "sep"), 1), name, e) < 0)
        return -1;
    return surround(p, cls, n_cls, sep, n_sep, name, e);
}

static int parse_trim(struct postprocessor *p, const json_t *value, const char *name, struct err *e)
{
    int trims = 1, prefix = 1;
    if (json_get_bool(value, "trim_offsets", &trims, name, e) < 0 ||
        json_get_bool(value, "add_prefix_space", &prefix, name, e) < 0)
        return -1;
    if (trims) {
        p->trims = 1;
        p->add_prefix_space = prefix;
    }
    return 0;
}

static int parse(struct postprocessor *p, const json_t *value, const char *name, int depth,
                 struct err *e)
{
    const char *type = "";
    if (json_get_string(value, "type", &type, name, e) < 0)
        return -1;
    if (depth > DEPTH_MAX)
        return refuse(name, "nested too deep", e);
    if (!strcmp(type, "ByteLevel"))
        return parse_trim(p, value, name, e);
    if (!strcmp(type, "TemplateProcessing"))
        return parse_template(p, value, name, e);
    if (!strcmp(type, "RobertaProcessing"))
        return parse_trim(p, value, name, e) < 0 ? -1 : parse_pair(p, value, name, e);
    if (!strcmp(type, "BertProcessing"))
        return parse_pair(p, value, name, e);
    if (strcmp(type, "Sequence") != 0)
        return err_set(e, STATUS_FAILED, "%s: key `post_processor`: type `%s` is not supported",
                       name, type);
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(value, "processors"), i,
                       item) if (parse(p, item, name, depth + 1, e) < 0) return -1;
    return 0;
}

int postprocessor_parse(struct postprocessor *p, const json_t *value, const char *name,
                        struct err *e)
{
    memset(p, 0, sizeof *p);
    if (!value || json_is_null(value))
        return 0;
    return parse(p, value, name, 0, e);
}
