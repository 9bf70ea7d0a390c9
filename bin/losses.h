// SPDX-License-Identifier: MIT
// The options of a program that has losses to choose from: --loss and the parameters of those
// losses, all of it from what the losses say of themselves (loss/loss.h).
#ifndef BIN_LOSSES_H
#define BIN_LOSSES_H

#include "base/option.h"
#include "loss/loss.h"

#include <stdio.h>
#include <string.h>

enum { LOSSES_MAX = 32, LOSS_HELP_MAX = 2048 };

// Of the losses of one use; names NULL-ended.
struct loss_options {
    int choice;
    const char *names[LOSSES_MAX + 1];
    char help[LOSS_HELP_MAX];
    struct loss_parameters parameters; // as shown: defaults of the first loss that has one
    int given[LOSS_PARAMETERS];
    char parameter_help[LOSS_PARAMETERS][LOSS_HELP_MAX];
};

static inline void loss_help_add(char *help, const char *before, const char *text)
{
    size_t used = strlen(help);
    snprintf(help + used, LOSS_HELP_MAX - used, "%s%s", used ? before : "", text);
}

// What parameter i is: the losses that have it, then what it is to them.
static inline void loss_parameter_help(struct loss_options *o, int i, enum loss_use use)
{
    const struct loss_kind *k;
    const char *last = NULL;
    for (size_t at = 0; (k = loss_at(at)); at++) {
        const char *help = k->takes[i].help;
        if (k->use != use || !help)
            continue;
        if (!last)
            o->parameters.value[i] = k->takes[i].value;
        if (last && strcmp(last, help) != 0)
            loss_help_add(o->parameter_help[i], ": ", last);
        loss_help_add(o->parameter_help[i], last && strcmp(last, help) != 0 ? "; " : ", ", k->name);
        last = help;
    }
    if (last)
        loss_help_add(o->parameter_help[i], ": ", last);
}

// The place of these options in a program's table, which loss_options_init fills.
#define LOSS_SLOT    OPT_GROUP(NULL)
#define OPTIONS_LOSS LOSS_SLOT, LOSS_SLOT, LOSS_SLOT, LOSS_SLOT, LOSS_SLOT
_Static_assert(LOSS_PARAMETERS == 4, "OPTIONS_LOSS has a slot for --loss and each parameter");

static inline void loss_names(struct loss_options *o, enum loss_use use)
{
    const struct loss_kind *k;
    size_t n = 0;
    for (size_t at = 0; (k = loss_at(at)) && n < LOSSES_MAX; at++)
        if (k->use == use) {
            o->names[n++] = k->name;
            loss_help_add(o->help, "; ", k->name);
            loss_help_add(o->help, ": ", k->formula);
        }
}

// Puts the options of the losses of one use into the slots of a table; slots that none of them
// needs go away.
static inline void loss_options_init(struct loss_options *o, enum loss_use use,
                                     struct option_spec *table)
{
    struct option_spec *slot = table, *rest, *end;
    while (slot->kind != OPTION_GROUP || slot->help)
        slot++;
    rest = slot + 1 + LOSS_PARAMETERS;
    for (end = rest; end->kind != OPTION_END; end++)
        ;
    loss_names(o, use);
    *slot++ = (struct option_spec)OPT_CHOICE("loss", &o->choice, o->names, o->help);
    for (int i = 0; i < LOSS_PARAMETERS; i++) {
        const struct loss_parameter_spec *p = &loss_parameter_specs[i];
        o->parameters.value[i] = p->value;
        loss_parameter_help(o, i, use);
        if (!o->parameter_help[i][0])
            continue;
        *slot = (struct option_spec)OPT_REAL(p->name, &o->parameters.value[i], "X", p->low, p->high,
                                             o->parameter_help[i]);
        slot++->given = &o->given[i];
    }
    memmove(slot, rest, (size_t)(end + 1 - rest) * sizeof *slot);
}

// After parsing: the name of the loss and its parameters, its own defaults where nothing was given.
// A parameter that the loss does not have changes nothing, and is named.
static inline const char *loss_options_take(const struct loss_options *o,
                                            struct loss_parameters *parameters)
{
    const struct loss_kind *k = loss_find(o->names[o->choice]);
    *parameters = o->parameters;
    for (int i = 0; i < LOSS_PARAMETERS; i++) {
        if (!k->takes[i].help && o->given[i])
            message_note("--%s changes nothing: the loss %s has none", loss_parameter_specs[i].name,
                         k->name);
        if (k->takes[i].help && !o->given[i])
            parameters->value[i] = k->takes[i].value;
    }
    return k->name;
}

#endif
