// SPDX-License-Identifier: MIT
#include "loss/loss.h"
#include "base/named_number.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define ROW(name) &loss_##name,
static const struct loss_kind *const kinds[] = {LOSS_KINDS(ROW)};
enum { KINDS = sizeof kinds / sizeof *kinds };

const struct loss_parameter_spec loss_parameter_specs[LOSS_PARAMETERS] = {
    [LOSS_CLIPRANGE] = {"cliprange", 0, 1e6, 0.2},
    [LOSS_BETA] = {"beta", 1e-300, 1e300, 0.1},
    [LOSS_ALPHA] = {"alpha", 1e-300, 1e300, 0},
    [LOSS_OFFSET] = {"offset", -1e300, 1e300, 2},
};

const struct loss_kind *loss_at(size_t i)
{
    return i < KINDS ? kinds[i] : NULL;
}

const struct loss_kind *loss_find(const char *name)
{
    for (int i = 0; i < KINDS; i++)
        if (!strcmp(kinds[i]->name, name))
            return kinds[i];
    return NULL;
}

int loss_init(struct loss *l, const char *name, struct err *e)
{
    *l = (struct loss){.kind = name ? loss_find(name) : &loss_nll};
    if (!l->kind)
        return err_set(e, STATUS_USAGE, "--loss: there is no loss '%s'", name);
    for (int i = 0; i < LOSS_PARAMETERS; i++)
        l->parameters.value[i] =
            l->kind->takes[i].help ? l->kind->takes[i].value : loss_parameter_specs[i].value;
    l->by_sequence = !l->kind->pointwise;
    while (l->n_columns < LOSS_COLUMNS_MAX && l->kind->columns[l->n_columns])
        l->n_columns++;
    return 0;
}

int loss_needs_reference(const struct loss *l)
{
    for (size_t i = 0; i < LOSS_COLUMNS_MAX && l->kind->columns[i]; i++)
        if (!strcmp(l->kind->columns[i], LOSS_REFERENCE))
            return 1;
    return 0;
}

int loss_set_reference(struct loss *l, const char *name, struct err *e)
{
    if (!name) {
        if (!l->by_sequence)
            return err_set(e, STATUS_USAGE,
                           "--loss %s: the policy itself cannot be its frozen side token by token",
                           l->kind->name);
        l->frozen_self = 1;
        l->n_columns = 0;
        return 0;
    }
    size_t length = strlen(name);
    if (length == 0 || length > sizeof l->reference - sizeof LOSS_REFERENCE)
        return err_set(e, STATUS_USAGE, "--reference: '%s' is no name of a column", name);
    snprintf(l->reference, sizeof l->reference, LOSS_REFERENCE "%s", name);
    return 0;
}

const char *loss_column(const struct loss *l, size_t i)
{
    assert(i < l->n_columns);
    if (l->has_kl && i + 1 == l->n_columns)
        return l->kl_column;
    const char *name = l->kind->columns[i];
    return strcmp(name, LOSS_REFERENCE) ? name : l->reference;
}

int loss_set_kl(struct loss *l, const char *text, struct err *e)
{
    static const struct named_form form = {"kl", "NAME:COEF", 0, INFINITY};
    struct named_number n;
    if (named_number(&n, text, &form, e) < 0)
        return -1;
    if (n.size > sizeof l->kl_column - sizeof LOSS_REFERENCE)
        return err_set(e, STATUS_USAGE, "--kl: a name of more than %zu bytes",
                       sizeof l->kl_column - sizeof LOSS_REFERENCE);
    if (l->by_sequence)
        return err_set(e, STATUS_USAGE, "--kl: not with the loss %s", l->kind->name);
    if (l->has_kl || l->n_columns == LOSS_COLUMNS_MAX)
        return err_set(e, STATUS_USAGE, "--kl: one term at most");
    snprintf(l->kl_column, sizeof l->kl_column, LOSS_REFERENCE "%.*s", (int)n.size, n.name);
    l->kl_coefficient = n.number;
    l->n_columns++;
    l->has_kl = 1;
    return 0;
}

static int check_columns(const struct loss *l, const struct loss_tokens *t,
                         struct loss_stats *stats, struct err *e)
{
    for (size_t k = 0; k < l->n_columns; k++)
        for (size_t i = 0; i < t->n; i++)
            if (!isfinite(t->column[k][i])) {
                stats->where = i;
                return err_set(e, STATUS_FAILED, "`%s` is %s", loss_column(l, k),
                               isnan(t->column[k][i]) ? "null" : "infinite");
            }
    return 0;
}

static void weigh(const struct loss_tokens *t, float *value, float *c)
{
    for (size_t i = 0; t->weight && i < t->n; i++) {
        value[i] *= t->weight[i];
        c[i] *= t->weight[i];
    }
}

int loss_evaluate(const struct loss *l, const struct loss_tokens *t, float *value, float *c,
                  struct loss_stats *stats, struct err *e)
{
    assert(l->kind->pointwise);
    if (check_columns(l, t, stats, e) < 0)
        return -1;
    l->kind->pointwise(&l->parameters, t, value, c, stats);
    weigh(t, value, c);
    double sum = 0;
    for (size_t i = 0; i < t->n; i++)
        sum += (double)value[i];
    stats->value += sum;
    if (l->has_kl)
        stats->kl += loss_kl_add(l->kl_estimator, l->kl_coefficient, t, t->column[l->n_columns - 1],
                                 value, c);
    for (size_t i = 0; i < t->n; i++)
        if (!isfinite(value[i]) || !isfinite(c[i])) {
            stats->where = i;
            return err_set(e, STATUS_FAILED, "the loss is not finite");
        }
    return 0;
}

int loss_evaluate_sequences(const struct loss *l, const struct loss_sequences *s, double *value,
                            double *c, struct loss_stats *stats, size_t *where, struct err *e)
{
    assert(l->kind->sequences && (l->kind->use != LOSS_ON_PAIRS || s->n % 2 == 0));
    l->kind->sequences(&l->parameters, s, value, c, stats);
    for (size_t i = 0; i < s->n; i++) {
        *where = i;
        if (!isfinite(value[i]) || !isfinite((float)c[i]))
            return err_set(e, STATUS_FAILED, "the loss %s is not finite at a log-ratio of %g",
                           l->kind->name, s->log_ratio[i]);
        stats->value += value[i];
    }
    return 0;
}
