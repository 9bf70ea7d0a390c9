// SPDX-License-Identifier: MIT
#include "reward/dense_reward.h"
#include "base/memory.h"
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
    char number[64];
    size_t n = strcspn(text, ":");
    if (!text[n] || !text[n + 1] || n >= sizeof number)
        return err_set(e, STATUS_USAGE, "--mix: '%s' is not ALPHA:COLUMN", text);
    memcpy(number, text, n);
    number[n] = 0;
    if (number_to_f64(number, &d->mix_alpha) < 0 || !(d->mix_alpha >= 0 && d->mix_alpha <= 1))
        return err_set(e, STATUS_USAGE, "--mix: '%s' is not a number in 0 .. 1", number);
    d->has_mix = 1;
    d->mix_column = text + n + 1;
    return 0;
}

int dense_reward_add_kl(struct dense_reward *d, const char *text, struct err *e)
{
    const char *colon = strrchr(text, ':');
    double coefficient;
    if (!colon || colon == text)
        return err_set(e, STATUS_USAGE, "--kl: '%s' is not NAME:COEF", text);
    if (number_to_f64(colon + 1, &coefficient) < 0 || !isfinite(coefficient))
        return err_set(e, STATUS_USAGE, "--kl: '%s' is not a number", colon + 1);
    if (d->n_kl == DENSE_REWARD_KL_MAX)
        return err_set(e, STATUS_USAGE, "--kl: more than %d times", DENSE_REWARD_KL_MAX);
    char *name = strndup(text, (size_t)(colon - text));
    if (!name)
        return err_memory(e, strlen(text), "options");
    d->kl_coefficient[d->n_kl] = coefficient;
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
