// SPDX-License-Identifier: MIT
#include "train/schedule.h"
#include "base/json.h"

#include <math.h>
#include <string.h>

const char *const schedule_types[] = {
    "constant",   "constant_with_warmup", "linear",
    "cosine",     "cosine_with_restarts", "cosine_with_min_lr",
    "polynomial", "inverse_sqrt",         "warmup_stable_decay",
    NULL,
};

// Parameters that a type takes from its JSON object; NULL-ended.
static const char *const *parameter_names(enum schedule_type type)
{
    static const char *const none[] = {NULL};
    static const char *const cycles[] = {"num_cycles", NULL};
    static const char *const minimum[] = {"num_cycles", "min_lr", "min_lr_rate", NULL};
    static const char *const polynomial[] = {"power", "lr_end", NULL};
    static const char *const root[] = {"timescale", NULL};
    static const char *const stable[] = {"num_decay_steps", "min_lr_ratio", "num_cycles", NULL};
    switch (type) {
    case SCHEDULE_COSINE:
    case SCHEDULE_COSINE_WITH_RESTARTS:
        return cycles;
    case SCHEDULE_COSINE_WITH_MIN_LR:
        return minimum;
    case SCHEDULE_POLYNOMIAL:
        return polynomial;
    case SCHEDULE_INVERSE_SQRT:
        return root;
    case SCHEDULE_WARMUP_STABLE_DECAY:
        return stable;
    default:
        return none;
    }
}

static int check_keys(enum schedule_type type, json_t *object, struct err *e)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        const char *const *known = parameter_names(type);
        while (*known && strcmp(*known, key) != 0)
            known++;
        if (!*known)
            return err_set(e, STATUS_USAGE, "schedule %s has no parameter `%s`",
                           schedule_types[type], key);
    }
    return 0;
}

static int read_parameters(struct schedule *s, json_t *object, struct err *e)
{
    const char *name = "schedule parameters";
    double min_lr = NAN, min_lr_rate = NAN, min_lr_ratio = NAN;
    if (check_keys(s->type, object, e) < 0 ||
        json_get_real(object, "num_cycles", &s->num_cycles, name, e) < 0 ||
        json_get_real(object, "power", &s->power, name, e) < 0 ||
        json_get_real(object, "lr_end", &s->lr_end, name, e) < 0 ||
        json_get_real(object, "timescale", &s->timescale, name, e) < 0 ||
        json_get_real(object, "min_lr", &min_lr, name, e) < 0 ||
        json_get_real(object, "min_lr_rate", &min_lr_rate, name, e) < 0 ||
        json_get_real(object, "min_lr_ratio", &min_lr_ratio, name, e) < 0 ||
        json_get_int(object, "num_decay_steps", &s->num_decay_steps, name, e) < 0)
        return -1;
    if (!isnan(min_lr) && !isnan(min_lr_rate))
        return err_set(e, STATUS_USAGE, "min_lr and min_lr_rate cannot be used together");
    if (!isnan(min_lr) && s->base_lr > 0)
        s->min_lr_rate = min_lr / s->base_lr;
    else if (!isnan(min_lr_rate))
        s->min_lr_rate = min_lr_rate;
    else if (!isnan(min_lr_ratio))
        s->min_lr_rate = min_lr_ratio;
    return 0;
}

// What must hold beyond types, so that schedule_lr never divides by 0.
static int check_schedule(const struct schedule *s, struct err *e)
{
    if (s->warmup_steps < 0 || s->total_steps < 0)
        return err_set(e, STATUS_USAGE, "steps of a schedule cannot be negative");
    if (s->type == SCHEDULE_COSINE_WITH_MIN_LR && isnan(s->min_lr_rate))
        return err_set(e, STATUS_USAGE, "cosine_with_min_lr needs min_lr or min_lr_rate");
    if (s->type == SCHEDULE_POLYNOMIAL && !(s->base_lr > s->lr_end))
        return err_set(e, STATUS_USAGE,
                       "polynomial: the learning rate %g must be above lr_end = %g", s->base_lr,
                       s->lr_end);
    if (s->type == SCHEDULE_INVERSE_SQRT && !(s->timescale > 0))
        return err_set(e, STATUS_USAGE, "inverse_sqrt: timescale must be above 0");
    if (s->type == SCHEDULE_WARMUP_STABLE_DECAY &&
        (s->num_decay_steps < 0 || s->warmup_steps > s->total_steps ||
         s->num_decay_steps > s->total_steps - s->warmup_steps))
        return err_set(e, STATUS_USAGE,
                       "warmup_stable_decay needs num_decay_steps between 0 and the steps after "
                       "the warm-up");
    return 0;
}

int schedule_init(struct schedule *s, enum schedule_type type, double base_lr, int64_t warmup_steps,
                  int64_t total_steps, const char *parameters, struct err *e)
{
    *s = (struct schedule){
        .type = type,
        .base_lr = base_lr,
        .warmup_steps = warmup_steps,
        .total_steps = total_steps,
        .num_cycles = type == SCHEDULE_COSINE_WITH_RESTARTS ? 1 : 0.5,
        .power = 1,
        .lr_end = 1e-7,
        .min_lr_rate = type == SCHEDULE_COSINE_WITH_MIN_LR ? NAN : 0,
        .timescale = warmup_steps > 0 ? (double)warmup_steps : 10000,
        .num_decay_steps = -1,
    };
    if (parameters) {
        json_t *object = json_parse(parameters, strlen(parameters), "schedule parameters", e);
        if (!object) {
            e->status = STATUS_USAGE;
            return -1;
        }
        int failed = json_is_object(object)
                         ? read_parameters(s, object, e)
                         : err_set(e, STATUS_USAGE, "schedule parameters: not a JSON object");
        json_decref(object);
        if (failed < 0) {
            e->status = STATUS_USAGE;
            return -1;
        }
    }
    return check_schedule(s, e);
}

int64_t schedule_warmup(int64_t warmup_steps, double warmup_ratio, int64_t total_steps)
{
    if (warmup_steps > 0)
        return warmup_steps;
    return (int64_t)ceil(warmup_ratio * (double)total_steps);
}

// Half a cosine wave: 1 at `turns` = 0, 0 at 0.5.
static double wave(double turns)
{
    double y = 0.5 * (1 + cos(2 * M_PI * turns));
    return y > 0 ? y : 0;
}

// From `low` to 1 as y goes from 0 to 1.
static double raised(double y, double low)
{
    return y * (1 - low) + low;
}

static double polynomial(const struct schedule *s, double progress)
{
    if (progress > 1)
        progress = 1;
    double y = pow(1 - progress, s->power);
    return ((s->base_lr - s->lr_end) * y + s->lr_end) / s->base_lr;
}

// `after` steps after the warm-up.
static double stable_decay(const struct schedule *s, int64_t after)
{
    int64_t stable = s->total_steps - s->warmup_steps - s->num_decay_steps;
    if (after < stable)
        return 1;
    if (after >= stable + s->num_decay_steps)
        return s->min_lr_rate;
    double progress = (double)(after - stable) / (double)s->num_decay_steps;
    return raised(wave(s->num_cycles * progress), s->min_lr_rate);
}

static double factor(const struct schedule *s, int64_t step)
{
    if (s->type == SCHEDULE_CONSTANT)
        return 1;
    if (step < s->warmup_steps) {
        double rise = (double)step / (double)s->warmup_steps;
        return s->type == SCHEDULE_WARMUP_STABLE_DECAY ? raised(rise, s->min_lr_rate) : rise;
    }
    int64_t after = step - s->warmup_steps, decay = s->total_steps - s->warmup_steps;
    double progress = (double)after / (double)(decay > 1 ? decay : 1);
    switch (s->type) {
    case SCHEDULE_LINEAR:
        return progress < 1 ? 1 - progress : 0;
    case SCHEDULE_COSINE:
        return wave(s->num_cycles * progress);
    case SCHEDULE_COSINE_WITH_RESTARTS:
        return progress < 1 ? wave(0.5 * fmod(s->num_cycles * progress, 1)) : 0;
    case SCHEDULE_COSINE_WITH_MIN_LR:
        return raised(wave(s->num_cycles * progress), s->min_lr_rate);
    case SCHEDULE_POLYNOMIAL:
        return polynomial(s, progress);
    case SCHEDULE_INVERSE_SQRT:
        return 1 / sqrt(((double)after + s->timescale) / s->timescale);
    case SCHEDULE_WARMUP_STABLE_DECAY:
        return stable_decay(s, after);
    default:
        return 1;
    }
}

double schedule_lr(const struct schedule *s, int64_t step)
{
    return s->base_lr * factor(s, step);
}
