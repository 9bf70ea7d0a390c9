// SPDX-License-Identifier: MIT
#include "model/misnamed.h"

#include <stdio.h>
#include <string.h>

enum { NAME_SIZE = 256 };

// Parts that wrappers put into the names of a state_dict(), and what was saved before it was
// unwrapped.
static const struct wrapper {
    const char *part, *who, *way;
} wrappers[] = {
    {"base_layer.", "PEFT (an adapter that is not merged)",
     "merge_and_unload() before save_pretrained()"},
    {"base_model.model.", "PEFT", "merge_and_unload() before save_pretrained()"},
    {"_orig_mod.", "torch.compile",
     "save the model that was compiled, or take the part out of the names"},
    {"_fsdp_wrapped_module.", "FSDP", "save a full state dict, or take the part out of the names"},
    {"_checkpoint_wrapped_module.", "activation checkpointing", "take the part out of the names"},
    {"pretrained_model.", "TRL's models with a value head", "save their pretrained_model"},
    {"module.", "DataParallel and DeepSpeed",
     "save the model's .module, or take the part out of the names"},
};
enum { WRAPPERS = sizeof wrappers / sizeof *wrappers };

// NAME without all parts of wrappers; the first of the table that it had, or NULL.
static const struct wrapper *unwrap(const char *name, char *out, size_t size)
{
    const struct wrapper *found = NULL;
    snprintf(out, size, "%s", name);
    for (size_t i = 0; i < WRAPPERS; i++) {
        size_t n = strlen(wrappers[i].part);
        for (char *at = out; (at = strstr(at, wrappers[i].part));) {
            if (at > out && at[-1] != '.') {
                at++;
                continue;
            }
            memmove(at, at + n, strlen(at + n) + 1);
            found = found ? found : &wrappers[i];
        }
    }
    return found;
}

// Whether NAME ends in `.WANTED`.
static int is_below(const char *name, const char *wanted)
{
    size_t n = strlen(name), k = strlen(wanted);
    return n > k && name[n - k - 1] == '.' && !strcmp(name + n - k, wanted);
}

static int same_tensor(const struct model *m, const char *name, const char *wanted)
{
    size_t base = strlen(m->family->base);
    return !strcmp(name, wanted) ||
           (!strncmp(wanted, m->family->base, base) && !strcmp(name, wanted + base));
}

static int tell(const struct model *m, const char *name, const char *there, struct err *e)
{
    char bare[NAME_SIZE];
    const struct wrapper *w = unwrap(there, bare, sizeof bare);
    if (w && same_tensor(m, bare, name))
        return err_set(e, STATUS_FAILED,
                       "tensor `%s` is missing: it is there as `%.200s`, as %s would have it: %s",
                       name, there, w->who, w->way);
    if (is_below(there, name))
        return err_set(
            e, STATUS_FAILED,
            "tensor `%s` is missing: it is there as `%.200s`: take the `%.*s` off the names", name,
            there, (int)(strlen(there) - strlen(name)), there);
    return 0;
}

int misnamed_missing(const struct model *m, const char *name, struct err *e)
{
    const char *first = NULL;
    for (size_t i = 0; i < m->n_shards; i++)
        for (size_t k = 0; k < m->shard[i].n; k++) {
            const char *there = m->shard[i].entry[k].name;
            if (tell(m, name, there, e) < 0)
                return -1;
            first = first ? first : there;
        }
    return err_set(e, STATUS_FAILED, "tensor `%s` is missing (one that is there: `%.200s`)", name,
                   first ? first : "none");
}
