// SPDX-License-Identifier: MIT
#include "train/drawn.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { HOW_MAX = 256 };

// Settings of lib/infer/rollout.c with what they are where they change nothing.
static const struct {
    const char *key, *name;
    double plain;
} settings[] = {{"temperature", "temperature", 1},
                {"top_k", "top-k", 0},
                {"top_p", "top-p", 1},
                {"min_p", "min-p", 0},
                {"repetition_penalty", "repetition penalty", 1}};

static void add(char *how, const char *name, const char *value)
{
    size_t used = strlen(how);
    snprintf(how + used, HOW_MAX - used, "%s%s %s", used ? ", " : "", name, value);
}

// "temperature 0.6, top-p 0.9", or "".
static void tell(const json_t *sampling, char *how)
{
    char value[32];
    how[0] = 0;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        const json_t *x = json_object_get(sampling, settings[i].key);
        if (!json_is_number(x) || json_number_value(x) == settings[i].plain)
            continue;
        snprintf(value, sizeof value, "%g", json_number_value(x));
        add(how, settings[i].name, value);
    }
    if (json_is_string(json_object_get(sampling, "contrast")))
        add(how, "contrast", json_string_value(json_object_get(sampling, "contrast")));
}

static int is_greedy(const json_t *sampling)
{
    const json_t *x = json_object_get(sampling, "temperature");
    return json_is_number(x) && json_number_value(x) == 0;
}

static int refuse(const char *how, const char *where, struct err *e)
{
    return err_set(e, STATUS_USAGE,
                   "%s: the samples are not drawn from the policy's own distribution (%s): --is "
                   "token or --is sequence weighs them by importance sampling, --is none takes "
                   "them as they are; or draw them at temperature 1, without truncation",
                   where, how[0] ? how : "column logp:sampled");
}

// Keys and values were rounded: what drew is another model than the policy, and logp:rollout is
// that model's.
static int refuse_rounded(const json_t *sampling, const struct importance *w, const char *where,
                          struct err *e)
{
    if (w->level == IMPORTANCE_NONE || !json_object_get(sampling, "kv_cache"))
        return 0;
    return err_set(e, STATUS_USAGE,
                   "%s: rollout --kv-cache-dtype drew the samples with rounded keys and values: "
                   "they and logp:rollout are not the policy's own; --is none takes them as they "
                   "are",
                   where);
}

int drawn_find(struct token_columns *c, const struct importance *w, const struct stream_header *h,
               const char *where, struct err *e)
{
    static const char *const names[] = {"logp:rollout", "logp:sampled"};
    int weighs = w->level == IMPORTANCE_TOKEN || w->level == IMPORTANCE_SEQUENCE;
    char how[HOW_MAX];
    c->n = 0;
    if (refuse_rounded(h->sampling, w, where, e) < 0)
        return -1;
    tell(h->sampling, how);
    int sampled = header_find(h, "logp:sampled") >= 0, differs = sampled || how[0];
    if (differs && w->level == IMPORTANCE_REFUSE)
        return refuse(how, where, e);
    if (weighs && is_greedy(h->sampling))
        return err_set(e, STATUS_USAGE,
                       "%s: --is: the samples are the most likely tokens (temperature 0), which no "
                       "weight makes samples of the policy; --is none takes them as they are",
                       where);
    // A header that tells of plain sampling leaves nothing to weigh.
    if (weighs ? !differs && h->sampling : !sampled || header_find(h, "logp:rollout") < 0)
        return 0;
    c->mask = header_require(h, "mask", COLUMN_U8, PER_TOKEN, where, e);
    if (c->mask < 0)
        return -1;
    for (; c->n < 2; c->n++) {
        c->name[c->n] = names[c->n];
        c->index[c->n] = header_require(h, names[c->n], COLUMN_F32, PER_TOKEN, where, e);
        if (c->index[c->n] < 0)
            return -1;
    }
    return 0;
}

int drawn_check(const struct token_columns *c, const struct frame *f, size_t i, const char *where,
                struct err *e)
{
    const uint8_t *mask = f->column[c->mask].u8;
    const float *policy = f->column[c->index[DRAWN_POLICY]].f32;
    const float *sampler = f->column[c->index[DRAWN_SAMPLER]].f32;
    for (size_t t = f->start[i] + 1; t < f->start[i + 1]; t++) {
        int given = isnan(policy[t]) && isnan(sampler[t]);
        if (mask[t] && !given && !(isfinite(policy[t]) && isfinite(sampler[t])))
            return err_set(e, STATUS_STREAM,
                           "%s: %s: trained token %zu has no weight: %s is null or infinite", where,
                           frame_record(f, i).text, t - f->start[i],
                           c->name[isfinite(policy[t]) ? DRAWN_SAMPLER : DRAWN_POLICY]);
    }
    return 0;
}
