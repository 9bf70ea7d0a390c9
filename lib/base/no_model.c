// SPDX-License-Identifier: MIT
#include "base/no_model.h"
#include "base/io.h"
#include "base/json.h"
#include "base/listing.h"
#include "base/model_folder.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WAY_SIZE = 768, NAME_SIZE = 256, REF_MAX = 128 };

// Weights that are not read, by their suffix, and what makes safetensors of them.
static const struct other_form {
    const char *suffix, *form, *way;
} other_forms[] = {
    {".bin", "PyTorch's pickled weights",
     "load the model in transformers and save it with save_pretrained()"},
    {".pt", "PyTorch's pickled weights",
     "load them into the model in transformers and save it with save_pretrained()"},
    {".pth", "PyTorch's pickled weights",
     "load them into the model in transformers and save it with save_pretrained()"},
    {".ckpt", "PyTorch's pickled weights",
     "load them into the model in transformers and save it with save_pretrained()"},
    {".gguf", "GGUF, of llama.cpp", "`model import FILE -o DIR` makes a model directory of it"},
    {".h5", "TensorFlow's weights",
     "load the model in transformers (from_tf) and save it with save_pretrained()"},
    {".msgpack", "Flax's weights",
     "load the model in transformers (from_flax) and save it with save_pretrained()"},
    {".onnx", "ONNX, a graph to run", "take the model that it was exported from"},
    {".npz", "NumPy's arrays",
     "convert them to a transformers model, saved with save_pretrained()"},
};

static const struct other_form *other_form(const char *name)
{
    for (size_t i = 0; i < sizeof other_forms / sizeof *other_forms; i++)
        if (listing_ends(name, other_forms[i].suffix))
            return &other_forms[i];
    return NULL;
}

// What a folder holds, as far as it tells what it is.
struct contents {
    char other[NAME_SIZE];       // weights in another form
    char safetensors[NAME_SIZE]; // the first by name that is no adapter
    char inner[NAME_SIZE];       // a folder with a config.json: the last checkpoint, or the first
    int cache, adapter, config, index, weights, tokenizer, snapshots, sharded, n;
};

static void keep_first(char *kept, const char *name)
{
    if (!*kept || strcmp(name, kept) < 0)
        snprintf(kept, NAME_SIZE, "%s", name);
}

// The number N of checkpoint-N, as trainers call them; -1 for other names.
static long checkpoint_number(const char *name)
{
    const char *dash = strrchr(name, '-');
    if (strncmp(name, "checkpoint", 10) != 0 || !dash || !isdigit((unsigned char)dash[1]))
        return -1;
    return strtol(dash + 1, NULL, 10);
}

static void take_folder(int at, const char *name, struct contents *c)
{
    char config[NAME_SIZE + 16];
    snprintf(config, sizeof config, "%s/config.json", name);
    c->snapshots |= !strcmp(name, "snapshots");
    c->cache |= !strncmp(name, "models--", 8);
    c->sharded |= !strncmp(name, "global_step", 11);
    if (!io_exists(at, config))
        return;
    long number = checkpoint_number(name), best = checkpoint_number(c->inner);
    if (number > best)
        snprintf(c->inner, NAME_SIZE, "%s", name);
    else if (number == best && best < 0)
        keep_first(c->inner, name);
}

static void take_file(const char *name, struct contents *c)
{
    static const char *const tokenizers[] = {"tokenizer.json", "tokenizer.model", NULL};
    static const char *const states[] = {"training_args.bin", "optimizer.pt", "scheduler.pt",
                                         "optimizer.bin", NULL};
    c->config |= !strcmp(name, "config.json");
    c->index |= !strcmp(name, "model.safetensors.index.json");
    c->weights |= !strcmp(name, "model.safetensors");
    c->adapter |= !strcmp(name, "adapter_config.json");
    c->sharded |= !strcmp(name, "zero_to_fp32.py");
    c->tokenizer |= listing_has(tokenizers, name);
    if (listing_has(states, name) || !strncmp(name, "rng_state", 9) ||
        !strncmp(name, "adapter_", 8))
        return;
    if (listing_ends(name, ".safetensors"))
        keep_first(c->safetensors, name);
    else if (other_form(name))
        keep_first(c->other, name);
}

static int read_contents(int at, struct contents *c)
{
    struct stat st;
    int fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);
    const char *name;
    *c = (struct contents){.n = 0};
    if (!listing) {
        if (fd >= 0)
            close(fd);
        return -1;
    }
    while (listing_next(listing, &name) > 0) {
        if (strlen(name) >= NAME_SIZE || fstatat(at, name, &st, 0) < 0)
            continue;
        c->n++;
        if (S_ISDIR(st.st_mode))
            take_folder(at, name, c);
        else
            take_file(name, c);
    }
    closedir(listing);
    return 0;
}

// The path of the snapshot that refs/main of a repository in the hub's cache names, or NULL.
static char *snapshot_of(const char *repository)
{
    struct err ignored;
    struct buffer ref;
    char *path = io_path(repository, "refs/main", &ignored), *out = NULL;
    buffer_init(&ref, REF_MAX);
    if (path && io_read_regular(AT_FDCWD, path, &ref, &ignored) == 0 && ref.size) {
        size_t n = strcspn(ref.data, "/\n");
        struct stat st;
        if (asprintf(&out, "%s/snapshots/%.*s", repository, (int)n, ref.data) < 0)
            out = NULL;
        if (out && (!n || stat(out, &st) < 0)) {
            free(out);
            out = NULL;
        }
    }
    buffer_release(&ref);
    free(path);
    return out;
}

static void say_snapshot(const char *path, char *way)
{
    char *snapshot = snapshot_of(path);
    if (snapshot)
        snprintf(way, WAY_SIZE, "a folder of the hub's cache: its model is -m %s", snapshot);
    else
        snprintf(
            way, WAY_SIZE,
            "a folder of the hub's cache, without the snapshot that its refs/main names: give one "
            "of %s/snapshots, or fetch the model again (`hf download`)",
            path);
    free(snapshot);
}

static void say_adapter(int at, char *way)
{
    struct err ignored;
    json_t *j = json_parse_file(at, "adapter_config.json", 1 << 20, &ignored);
    const char *base = json_string_value(json_object_get(j, "base_model_name_or_path"));
    snprintf(way, WAY_SIZE,
             "this is an adapter (LoRA, PEFT): merge it into its base model%s%.200s%s first "
             "(merge_and_unload() in PEFT, then save_pretrained())",
             base ? ", " : "", base ? base : "", base ? "," : "");
    json_decref(j);
}

// Of a folder without weights that are read: those that are there.
static int say_other_weights(const struct contents *c, char *way)
{
    const struct other_form *form = other_form(c->other);
    if (!strncmp(c->safetensors, "model-", 6))
        snprintf(way, WAY_SIZE, "there is %s: the index that names the parts has to be there too",
                 c->safetensors);
    else if (*c->safetensors)
        snprintf(way, WAY_SIZE,
                 "there is %s: weights are read from model.safetensors, in transformers' layout",
                 c->safetensors);
    else if (form)
        snprintf(way, WAY_SIZE, "%s (%s) is not read: %s", c->other, form->form, form->way);
    else if (c->sharded)
        snprintf(way, WAY_SIZE,
                 "a training state of DeepSpeed: zero_to_fp32.py, which it saves beside it, makes "
                 "weights of it");
    return *way != 0;
}

// Of a folder without its config.json.
static void say_unconfigured(const char *path, const struct contents *c, char *way)
{
    if (c->cache)
        snprintf(way, WAY_SIZE, "the hub's cache: a model in it is a folder models--ORG--NAME");
    else if (*c->inner)
        snprintf(way, WAY_SIZE, "a folder with a model in it: -m %s/%s", path, c->inner);
    else if (c->weights)
        snprintf(way, WAY_SIZE,
                 "weights alone do not say how they are put together: the model's config.json has "
                 "to be there too");
    else if (!say_other_weights(c, way) && c->tokenizer)
        snprintf(way, WAY_SIZE, "a tokenizer without a model");
    else if (!c->n)
        snprintf(way, WAY_SIZE, "the directory is empty");
}

// What a folder is whose config.json, weights or tokenizer are missing.
static void say_folder(int at, const char *path, char *way)
{
    struct contents c;
    if (read_contents(at, &c) < 0)
        return;
    int has_weights = c.weights || c.index;
    if (c.snapshots)
        say_snapshot(path, way);
    else if (c.adapter && !has_weights && !*c.safetensors && !*c.other)
        say_adapter(at, way);
    else if (!c.config)
        say_unconfigured(path, &c, way);
    else if (has_weights && !c.tokenizer)
        snprintf(way, WAY_SIZE, "take that of the model that it was made from");
    else if (!has_weights && !say_other_weights(&c, way))
        snprintf(way, WAY_SIZE, "a configuration without weights: `model init` makes new ones");
}

// Whether the directory of the file is a model's, with weights that are read; then it is in
// `folder`.
static int is_in_model(const char *path, char *folder)
{
    const char *slash = strrchr(path, '/');
    struct contents c;
    snprintf(folder, WAY_SIZE / 2, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
    int at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int found = at >= 0 && read_contents(at, &c) == 0 && c.config && (c.weights || c.index);
    if (at >= 0)
        close(at);
    return found;
}

static void say_file(const char *path, char *way)
{
    const char *name = strrchr(path, '/');
    const struct other_form *form = other_form(name ? name + 1 : path);
    char folder[WAY_SIZE / 2];
    if (is_in_model(path, folder))
        snprintf(way, WAY_SIZE, "a file of a model: -m %s", folder);
    else if (form)
        snprintf(way, WAY_SIZE, "a file (%s), which is not read: %s", form->form, form->way);
    else
        snprintf(way, WAY_SIZE,
                 "a model is the directory that holds config.json, model.safetensors and "
                 "tokenizer.json");
}

// Where programs that fetch from the hub keep what they fetched; from the heap, or NULL.
static char *hub_cache(void)
{
    static const struct {
        const char *variable, *below;
    } place[] = {{"HF_HUB_CACHE", ""},
                 {"HUGGINGFACE_HUB_CACHE", ""},
                 {"HF_HOME", "/hub"},
                 {"XDG_CACHE_HOME", "/huggingface/hub"},
                 {"HOME", "/.cache/huggingface/hub"}};
    char *out;
    for (size_t i = 0; i < sizeof place / sizeof *place; i++) {
        const char *value = getenv(place[i].variable);
        if (value && *value)
            return asprintf(&out, "%s%s", value, place[i].below) < 0 ? NULL : out;
    }
    return NULL;
}

// Whether NAME may be one of the hub: ORG/NAME, or NAME of the first models.
static int may_be_hub_name(const char *name)
{
    struct stat st;
    size_t slashes = 0, n = strlen(name), first = strcspn(name, "/");
    char *org = n && *name != '.' && *name != '/' ? strndup(name, first) : NULL;
    int may = org && name[n - 1] != '/' && (first == n || stat(org, &st) < 0);
    for (size_t i = 0; i < n; i++) {
        slashes += name[i] == '/';
        may &= isalnum((unsigned char)name[i]) || strchr("._-/", name[i]);
    }
    free(org);
    return may && slashes <= 1 && !model_folder_is_weights(name);
}

static void say_hub(const char *name, char *way)
{
    const char *slash = strchr(name, '/');
    char *cache = hub_cache(), *repository = NULL, *snapshot = NULL;
    if (cache && asprintf(&repository, "%s/models--%.*s%s%s", cache, (int)strcspn(name, "/"), name,
                          slash ? "--" : "", slash ? slash + 1 : "") < 0)
        repository = NULL;
    if (repository)
        snapshot = snapshot_of(repository);
    if (snapshot)
        snprintf(way, WAY_SIZE, "the hub's cache has a model of this name: -m %s", snapshot);
    else if (slash)
        snprintf(way, WAY_SIZE,
                 "models are directories; one of this name on the hub is fetched with `hf download "
                 "%s --local-dir DIR`, then -m DIR",
                 name);
    free(snapshot);
    free(repository);
    free(cache);
}

int no_model_explain(const char *path, struct err *e)
{
    char way[WAY_SIZE] = "";
    struct stat st;
    int at = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!*path)
        snprintf(way, sizeof way, "the name is empty");
    else if (at >= 0)
        say_folder(at, path, way);
    else if (stat(path, &st) == 0)
        say_file(path, way);
    else if (may_be_hub_name(path))
        say_hub(path, way);
    if (at >= 0)
        close(at);
    size_t used = strlen(e->text);
    if (*way)
        snprintf(e->text + used, sizeof e->text - used, ": %s", way);
    return -1;
}
