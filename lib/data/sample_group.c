// SPDX-License-Identifier: MIT
#include "data/sample_group.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The first of several names of one thing that is there, and under which name.
static const json_t *either(const json_t *object, const char *const *names, const char **found)
{
    for (; *names; names++) {
        const json_t *v = json_object_get(object, *names);
        if (v && !json_is_null(v)) {
            *found = *names;
            return v;
        }
    }
    return NULL;
}

static int wrong(struct err *e, const char *key, const char *reason)
{
    return err_set(e, STATUS_FAILED, "key `%s`: %s", key, reason);
}

static int take_id(const json_t *v, const char *key, size_t at, uint32_t *id, struct err *e)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > UINT32_MAX)
        return err_set(e, STATUS_FAILED, "key `%s`: at %zu: not a token id", key, at);
    *id = (uint32_t)json_integer_value(v);
    return 0;
}

static int take_prompt_ids(struct sample_group *g, const json_t *ids, const char *key,
                           struct err *e)
{
    if (!json_is_array(ids) || json_is_array(json_array_get(ids, 0)))
        return wrong(e, key, "not a list of token ids");
    g->n_prompt = json_array_size(ids);
    if (MEM_GROW(g->prompt, g->prompt_capacity, g->n_prompt + 1, "a prompt", e) < 0)
        return -1;
    for (size_t i = 0; i < g->n_prompt; i++)
        if (take_id(json_array_get(ids, i), key, i, &g->prompt[i], e) < 0)
            return -1;
    return 0;
}

// The ids of a prompt may stand in each of a server's choices.
static int ids_of_choices(const json_t *object, const json_t **ids, struct err *e)
{
    const json_t *choices = json_object_get(object, "choices"), *choice;
    size_t i;
    json_array_foreach(choices, i, choice)
    {
        const json_t *own = json_object_get(choice, "prompt_token_ids");
        if (i && !(own && *ids ? json_equal(own, *ids) : own == *ids))
            return wrong(e, "prompt_token_ids", "not the same in all choices");
        *ids = own;
    }
    return 0;
}

static int take_prompt(struct sample_group *g, const json_t *object, struct err *e)
{
    static const char *const names[] = {"prompt_token_ids", "prompt_ids", NULL};
    const char *key = names[0];
    const json_t *text = json_object_get(object, "prompt"), *ids = either(object, names, &key);
    if (!ids && ids_of_choices(object, &ids, e) < 0)
        return -1;
    if (ids && !json_is_null(ids))
        return take_prompt_ids(g, ids, key, e);
    if (!text)
        return wrong(e, key, "missing: which prompt?");
    if (!json_is_string(text))
        return wrong(e, "prompt",
                     "not a text: of messages the ids are needed (`prompt_token_ids`)");
    g->text = json_string_value(text);
    g->text_size = json_string_length(text);
    return 0;
}

// What a list has for one token: a number, a list of one, {"logprob": X}, or vLLM's {"ID": X or
// {"logprob": X}} of the most likely tokens with the drawn one among them.
static const json_t *entry_of(const json_t *v, uint32_t id)
{
    char name[16];
    if (json_is_array(v) && json_array_size(v) == 1)
        return json_array_get(v, 0);
    if (!json_is_object(v) || json_is_number(json_object_get(v, "logprob")))
        return v;
    snprintf(name, sizeof name, "%" PRIu32, id);
    return json_object_get(v, name);
}

static int take_logp(const json_t *v, const char *key, size_t at, uint32_t id, float *logp,
                     struct err *e)
{
    const json_t *x = entry_of(v, id);
    if (json_is_object(x))
        x = json_object_get(x, "logprob");
    if (!json_is_number(x))
        return err_set(e, STATUS_FAILED,
                       "key `%s`: at %zu: no log-probability of the drawn token %" PRIu32, key, at,
                       id);
    *logp = (float)json_number_value(x);
    // A little above 0 is what rounding makes of probability 1.
    if (!isfinite(*logp) || *logp > 1e-3f)
        return err_set(e, STATUS_FAILED, "key `%s`: at %zu: %g is not a log-probability", key, at,
                       json_number_value(x));
    return 0;
}

// A server's object of lists: text completions have token_logprobs, chats content.
static const json_t *list_in(const json_t *logprobs)
{
    static const char *const names[] = {"token_logprobs", "content", NULL};
    const char *ignored;
    return json_is_object(logprobs) ? either(logprobs, names, &ignored) : logprobs;
}

static int take_finish(const json_t *v, const char **finish, struct err *e)
{
    static const char *const known[] = {"stop", "length", ""};
    const char *text = v && !json_is_null(v) ? json_string_value(v) : "";
    for (size_t i = 0; text && i < sizeof known / sizeof *known; i++)
        if (!strcmp(text, known[i])) {
            *finish = known[i];
            return 0;
        }
    return err_set(e, STATUS_FAILED, "key `finish_reason`: '%s' is neither stop nor length",
                   text ? text : "something else than text");
}

static int take_sample(struct sample_group *g, const json_t *ids, const char *ids_key,
                       const json_t *logprobs, const char *logp_key, const json_t *finish,
                       struct err *e)
{
    if (!ids)
        return wrong(e, ids_key, "missing: a text does not tell which tokens were drawn");
    if (!logprobs)
        return wrong(e, logp_key, "missing: how likely were the tokens when they were drawn?");
    const json_t *list = list_in(logprobs);
    size_t n = json_array_size(ids), from = g->n_tokens;
    if (!json_is_array(ids) || n == 0)
        return wrong(e, ids_key, "not a list with a token id");
    if (!json_is_array(list))
        return wrong(e, logp_key,
                     "neither a list nor an object with `token_logprobs` or `content`");
    if (json_array_size(list) != n)
        return wrong(e, logp_key, "not as long as the token ids");
    if (MEM_GROW(g->token, g->token_capacity, from + n, "tokens", e) < 0 ||
        MEM_GROW(g->logp, g->logp_capacity, from + n, "log-probabilities", e) < 0 ||
        MEM_GROW(g->sample, g->sample_capacity, g->n + 1, "samples", e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (take_id(json_array_get(ids, i), ids_key, i, &g->token[from + i], e) < 0 ||
            take_logp(json_array_get(list, i), logp_key, i, g->token[from + i], &g->logp[from + i],
                      e) < 0)
            return -1;
    g->n_tokens = from + n;
    g->sample[g->n].end = g->n_tokens;
    return take_finish(finish, &g->sample[g->n++].finish, e);
}

static const char *const id_names[] = {"token_ids", "completion_ids", NULL};
static const char *const logp_names[] = {"logprobs", "sampling_per_token_logps", "sampling_logps",
                                         NULL};

// Of an object that is one sample.
static int take_object(struct sample_group *g, const json_t *x, struct err *e)
{
    const char *ids_key = id_names[0], *logp_key = logp_names[0];
    const json_t *ids = either(x, id_names, &ids_key), *logp = either(x, logp_names, &logp_key);
    return take_sample(g, ids, ids_key, logp, logp_key, json_object_get(x, "finish_reason"), e);
}

// The object itself has the lists, of one sample or of several.
static int take_flat(struct sample_group *g, const json_t *object, struct err *e)
{
    const char *ids_key = id_names[0], *logp_key = logp_names[0];
    const json_t *ids = either(object, id_names, &ids_key);
    const json_t *logp = either(object, logp_names, &logp_key);
    const json_t *finish = json_object_get(object, "finish_reason"), *x;
    size_t i;
    if (!json_is_array(json_array_get(ids, 0)))
        return take_object(g, object, e);
    if (!json_is_array(logp) || json_array_size(logp) != json_array_size(ids))
        return wrong(e, logp_key, "not as many lists as there are samples");
    if (finish && !json_is_null(finish) && json_array_size(finish) != json_array_size(ids))
        return wrong(e, "finish_reason", "not as many as there are samples");
    json_array_foreach(ids, i, x)
    {
        if (take_sample(g, x, ids_key, json_array_get(logp, i), logp_key, json_array_get(finish, i),
                        e) < 0)
            return err_prefix(e, "sample %zu", i);
    }
    return 0;
}

static int take_samples(struct sample_group *g, const json_t *object, struct err *e)
{
    static const char *const lists[] = {"outputs", "choices", NULL};
    const char *key = NULL, *ignored;
    const json_t *list = either(object, lists, &key), *x;
    size_t i;
    if (!list)
        return take_flat(g, object, e);
    if (either(object, id_names, &ignored) ||
        (key == lists[0] && json_object_get(object, lists[1])))
        return wrong(e, key, "beside other samples: which are meant?");
    if (!json_is_array(list) || !json_array_size(list))
        return wrong(e, key, "not a list with a sample");
    json_array_foreach(list, i, x)
    {
        if (take_object(g, x, e) < 0)
            return err_prefix(e, "key `%s`, %zu", key, i);
    }
    return 0;
}

int sample_group_read(struct sample_group *g, const json_t *object, struct err *e)
{
    g->n = g->n_tokens = g->n_prompt = 0;
    g->text = NULL;
    return take_prompt(g, object, e) < 0 || take_samples(g, object, e) < 0 ? -1 : 0;
}

void sample_group_init(struct sample_group *g)
{
    memset(g, 0, sizeof *g);
}

void sample_group_release(struct sample_group *g)
{
    free(g->prompt);
    free(g->token);
    free(g->logp);
    free(g->sample);
    sample_group_init(g);
}
