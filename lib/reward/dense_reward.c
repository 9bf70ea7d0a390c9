// SPDX-License-Identifier: MIT
#include "reward/dense_reward.h"
#include "base/memory.h"
#include "base/named_number.h"
#include "base/number.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void dense_reward_init(struct dense_reward *d)
{
    memset(d, 0, sizeof *d);
    reward_options_init(&d->options);
    d->group = "prompt";
    d->prefix_share = 0.2;
}

void dense_reward_release(struct dense_reward *d)
{
    for (int i = 0; i < d->n_references; i++)
        free(d->reference[i]);
    d->n_references = 0;
    for (int i = 0; i < d->n_kl; i++)
        free(d->kl_name[i]);
    d->n_kl = 0;
}

int dense_reward_set_references(struct dense_reward *d, const char *text, struct err *e)
{
    if (!strcmp(text, "none"))
        return 0;
    for (;;) {
        size_t n = strcspn(text, ",");
        if (n == 0)
            return err_set(e, STATUS_USAGE, "a reference has no name");
        if (d->n_references == REWARD_REFERENCES_MAX)
            return err_set(e, STATUS_USAGE, "more than %d references", REWARD_REFERENCES_MAX);
        char *name = strndup(text, n);
        if (!name)
            return err_memory(e, n + 1, "references");
        d->reference[d->n_references++] = name;
        if (!text[n])
            return 0;
        text += n + 1;
    }
}

int dense_reward_set_mix(struct dense_reward *d, const char *text, struct err *e)
{
    static const struct named_form form = {"mix", "ALPHA:COLUMN", 0, 1};
    struct named_number n;
    if (number_named(&n, text, &form, e) < 0)
        return -1;
    d->has_mix = 1;
    d->mix_alpha = n.number;
    d->mix_column = n.name;
    return 0;
}

int dense_reward_add_kl(struct dense_reward *d, const char *text, struct err *e)
{
    static const struct named_form form = {"kl", "NAME:COEF", -INFINITY, INFINITY};
    struct named_number n;
    if (named_number(&n, text, &form, e) < 0)
        return -1;
    if (d->n_kl == DENSE_REWARD_KL_MAX)
        return err_set(e, STATUS_USAGE, "--kl: more than %d times", DENSE_REWARD_KL_MAX);
    char *name = strndup(n.name, n.size);
    if (!name)
        return err_memory(e, n.size, "options");
    d->kl_coefficient[d->n_kl] = n.number;
    d->kl_name[d->n_kl++] = name;
    return 0;
}

int dense_reward_set_clip(struct dense_reward *d, const char *text, struct err *e)
{
    char low[64];
    size_t n = strcspn(text, ",");
    if (!text[n] || n >= sizeof low)
        return err_set(e, STATUS_USAGE, "--clip-reward: '%s' is not LO,HI", text);
    memcpy(low, text, n);
    low[n] = 0;
    if (number_to_f64(low, &d->options.clip_low) < 0 ||
        number_to_f64(text + n + 1, &d->options.clip_high) < 0)
        return err_set(e, STATUS_USAGE, "--clip-reward: '%s' is not LO,HI", text);
    return 0;
}
