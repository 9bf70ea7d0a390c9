// SPDX-License-Identifier: MIT
// Weights of every family: made, found by their names, taken apart where they are fused, and
// written again as they were.
#include "model_kit.h"

#include <sys/stat.h>

#define CONFIGS "tests/fixtures/configs"

static void put(int at, const char *name, const void *data, size_t n)
{
    int fd = openat(at, name, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    CHECK(fd >= 0 && write(fd, data, n) == (ssize_t)n);
    close(fd);
}

static void same_file(const struct scratch *a, const struct scratch *b, const char *name)
{
    struct buffer x, y;
    buffer_init(&x, 1 << 24);
    buffer_init(&y, 1 << 24);
    CHECK(io_read_regular(a->fd, name, &x, &e) == 0 && io_read_regular(b->fd, name, &y, &e) == 0);
    CHECK(x.size == y.size && memcmp(x.data, y.data, x.size) == 0);
    buffer_release(&x);
    buffer_release(&y);
}

// A fresh model of the fixture NAME; KEY (NULL: none) of its config.json becomes VALUE (JSON).
static void make(const struct scratch *d, const char *name, const char *key, const char *value)
{
    char path[200];
    struct scratch from;
    scratch_make(&from);
    snprintf(path, sizeof path, CONFIGS "/%s.json", name);
    json_t *config = json_parse_file(AT_FDCWD, path, 1 << 20, &e);
    if (key)
        json_object_set_new(config, key, json_loads(value, JSON_DECODE_ANY, NULL));
    char *text = json_dumps(config, 0);
    put(from.fd, "config.json", text, strlen(text));
    if (model_init(from.path, d->fd, 5, NULL, &e) < 0) {
        printf("# %s: %s\n", name, e.text);
        CHECK(!"made");
    }
    free(text);
    json_decref(config);
    scratch_remove(&from);
}

// ---- editing files ----

struct edit {
    const char *name;    // of a tensor that goes, or that `to` or `add` are about
    const char *rename;  // its new name
    const char *copy_of; // a further tensor of that content
    const char *type;    // ... of another type, of zeros
    size_t bytes, dim;   // ... and so many bytes in one dimension
    float change;        // added to the first value of an F32 tensor, or of a copy
    int drop;
};

static void put_size(int fd, size_t size)
{
    unsigned char prefix[8];
    for (int i = 0; i < 8; i++)
        prefix[i] = (unsigned char)((uint64_t)size >> (8 * i));
    CHECK(write(fd, prefix, 8) == 8);
}

// model.safetensors with the changes of `edit` (n of them).
static void rewrite(const struct scratch *d, const struct edit *edit, size_t n)
{
    struct safetensors s;
    CHECK(safetensors_open(&s, d->fd, "model.safetensors", &e) == 0);
    struct safetensors_entry *entry = calloc(s.n + n, sizeof *entry);
    const unsigned char **data = calloc(s.n + n, sizeof *data);
    float *shift = calloc(s.n + n, sizeof *shift);
    static const unsigned char zeros[4096];
    size_t count = 0, size;
    for (size_t i = 0; i < s.n; i++) {
        entry[count] = s.entry[i];
        data[count] = safetensors_data(&s, &s.entry[i]);
        int drop = 0;
        for (size_t k = 0; k < n; k++)
            if (edit[k].name && !strcmp(edit[k].name, s.entry[i].name)) {
                drop |= edit[k].drop;
                if (edit[k].rename)
                    entry[count].name = (char *)edit[k].rename;
                if (!edit[k].copy_of)
                    shift[count] = edit[k].change;
            }
        count += (size_t)!drop;
    }
    for (size_t k = 0; k < n; k++) {
        if (!edit[k].copy_of && !edit[k].type)
            continue;
        if (edit[k].copy_of) {
            const struct safetensors_entry *of = safetensors_find(&s, edit[k].copy_of);
            CHECK(of != NULL);
            entry[count] = *of;
            data[count] = safetensors_data(&s, of);
            shift[count] = edit[k].change;
        } else {
            entry[count] = (struct safetensors_entry){
                .n_dims = 1, .dim = {edit[k].dim}, .bytes = edit[k].bytes};
            snprintf(entry[count].type, sizeof entry[count].type, "%s", edit[k].type);
            data[count] = zeros;
        }
        entry[count++].name = (char *)edit[k].name;
    }
    char *header = safetensors_header(entry, count, s.metadata, &size, &e);
    int fd = openat(d->fd, "new", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    put_size(fd, size);
    CHECK(write(fd, header, size) == (ssize_t)size);
    for (size_t i = 0; i < count; i++) {
        unsigned char *copy = malloc(entry[i].bytes + 1);
        memcpy(copy, data[i], entry[i].bytes);
        if (shift[i] != 0) {
            float first;
            memcpy(&first, copy, sizeof first);
            first += shift[i];
            memcpy(copy, &first, sizeof first);
        }
        CHECK(write(fd, copy, entry[i].bytes) == (ssize_t)entry[i].bytes);
        free(copy);
    }
    close(fd);
    free(header);
    free(entry);
    free(data);
    free(shift);
    safetensors_close(&s);
    CHECK(renameat(d->fd, "new", d->fd, "model.safetensors") == 0);
}

// ---- every family ----

static void each_config(void (*check)(const char *name))
{
    DIR *directory = opendir(CONFIGS);
    struct dirent *entry;
    size_t n = 0;
    while (directory && (entry = readdir(directory))) {
        size_t length = strlen(entry->d_name);
        char name[100];
        if (length < 6 || length > 90 || strcmp(entry->d_name + length - 5, ".json") != 0)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)length - 5, entry->d_name);
        int was = test_failed;
        test_failed = 0;
        check(name);
        if (test_failed)
            printf("# ... with %s\n", name);
        test_failed |= was;
        n++;
    }
    CHECK(n > 25);
    if (directory)
        closedir(directory);
}

static void round_trip(const char *name)
{
    static const char *const types[] = {"\"float32\"", "\"bfloat16\"", "\"float16\"",
                                        "\"float64\""};
    for (int i = 0; i < 4; i++)
        for (int trained = 0; trained < 2; trained++) {
            struct scratch d, again;
            scratch_make(&d);
            scratch_make(&again);
            make(&d, name, "dtype", types[i]);
            struct model *m = model_open_any(d.path, &e);
            if (!m) {
                printf("# %s\n", e.text);
                CHECK(!"opened");
            }
            CHECK(m && m->n_unused == 0 && m->n_parameters == m->shard[0].n);
            CHECK(m && (!trained || model_train(m, &e) == 0));
            CHECK(m && model_save(m, again.fd, NULL, &e) == 0);
            same_file(&d, &again, "model.safetensors");
            same_file(&d, &again, "config.json");
            model_close(m);
            scratch_remove(&d);
            scratch_remove(&again);
        }
}

// What transformers saved comes back too, every file of it.
static void reference_comes_back(const char *path)
{
    char directory[400];
    struct scratch d = {.fd = -1}, again;
    snprintf(directory, sizeof directory, "%s/model", path);
    d.fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(d.fd >= 0);
    for (int trained = 0; trained < 2; trained++) {
        scratch_make(&again);
        struct model *m = model_open(directory, &e);
        CHECK(m && (!trained || model_train(m, &e) == 0) && model_save(m, again.fd, NULL, &e) == 0);
        struct dirent *entry;
        DIR *list = opendir(directory);
        while (list && (entry = readdir(list)))
            if (entry->d_name[0] != '.')
                same_file(&d, &again, entry->d_name);
        if (list)
            closedir(list);
        model_close(m);
        scratch_remove(&again);
    }
    close(d.fd);
}

static void every_family_comes_back(void)
{
    each_config(round_trip);
}

static float value(const struct tensor *t, size_t row, size_t col)
{
    size_t at = t->transposed ? col * tensor_pitch(t) + row : row * tensor_pitch(t) + col;
    return ((const float *)t->data)[at];
}

// Every view must lie inside a parameter, values, gradients and all; a full set of roles must be
// there whatever the files' layout.
static void check_views(const struct model *m)
{
    const struct model_config *c = &m->config;
    for (size_t l = 0; l < c->layers; l++)
        for (int role = ROLE_LAYER_FIRST; role < ROLE_COUNT; role++) {
            const struct tensor *t = &m->layer[l][role];
            if (!t->data)
                continue;
            const float *first = t->data;
            size_t last = t->transposed ? (t->cols - 1) * tensor_pitch(t) + t->rows - 1
                                        : (t->rows - 1) * tensor_pitch(t) + t->cols - 1;
            int inside = 0;
            for (size_t i = 0; i < m->n_parameters; i++) {
                const struct parameter *p = &m->parameter[i];
                const float *from = m->master + p->offset;
                inside |= p->layer == (int)l && first >= from &&
                          first + last < from + p->rows * p->cols &&
                          t->grad - m->gradient == first - m->master;
            }
            CHECK(inside);
        }
    for (size_t l = 0; l < c->layers; l++) {
        const struct tensor *t = m->layer[l];
        CHECK(t[ROLE_ATTENTION_OUT].data && t[ROLE_DOWN].data && t[ROLE_UP].data);
        CHECK(t[ROLE_UP].rows == c->intermediate && t[ROLE_UP].cols == c->hidden);
        CHECK(t[ROLE_DOWN].rows == c->hidden && t[ROLE_DOWN].cols == c->intermediate);
        if (c->fusion == FUSION_GROUPS) {
            CHECK(t[ROLE_QKV].rows == (c->heads + 2 * c->kv_heads) * c->head_dim);
            continue;
        }
        CHECK(t[ROLE_QUERY].rows == c->heads * c->head_dim && t[ROLE_QUERY].cols == c->hidden);
        CHECK(t[ROLE_VALUE].rows == c->kv_heads * c->head_dim && t[ROLE_VALUE].cols == c->hidden);
    }
}

static void views_of(const char *name)
{
    struct scratch d;
    scratch_make(&d);
    make(&d, name, NULL, NULL);
    struct model *m = model_open_any(d.path, &e);
    CHECK(m && model_train(m, &e) == 0);
    if (m)
        check_views(m);
    model_close(m);
    scratch_remove(&d);
}

static void fused_tensors_are_taken_apart(void)
{
    each_config(views_of);
    struct scratch d;
    // Conv1D: columns of one matrix [in, out]; and query, key, value side by side.
    scratch_make(&d);
    make(&d, "gpt2", NULL, NULL);
    struct model *m = model_open(d.path, &e);
    CHECK(m != NULL);
    const struct safetensors_entry *t =
        safetensors_find(&m->shard[0], "transformer.h.1.attn.c_attn.weight");
    const float *file = (const float *)safetensors_data(&m->shard[0], t);
    for (size_t out = 0; out < 24; out++)
        for (size_t in = 0; in < 24; in++) {
            CHECK(value(&m->layer[1][ROLE_QUERY], out, in) == file[in * 72 + out]);
            CHECK(value(&m->layer[1][ROLE_KEY], out, in) == file[in * 72 + 24 + out]);
            CHECK(value(&m->layer[1][ROLE_VALUE], out, in) == file[in * 72 + 48 + out]);
        }
    t = safetensors_find(&m->shard[0], "transformer.h.1.mlp.c_fc.weight");
    file = (const float *)safetensors_data(&m->shard[0], t);
    CHECK(value(&m->layer[1][ROLE_UP], 95, 3) == file[3 * 96 + 95]);
    CHECK(m->layer[1][ROLE_VALUE_BIAS].cols == 24 && m->layer[1][ROLE_VALUE_BIAS].rows == 1);
    model_close(m);
    scratch_remove(&d);
    // Phi-3: rows of one matrix.
    scratch_make(&d);
    make(&d, "phi3", NULL, NULL);
    m = model_open(d.path, &e);
    CHECK(m != NULL);
    t = safetensors_find(&m->shard[0], "model.layers.2.self_attn.qkv_proj.weight");
    file = (const float *)safetensors_data(&m->shard[0], t);
    CHECK(value(&m->layer[2][ROLE_QUERY], 31, 5) == file[31 * 32 + 5]);
    CHECK(value(&m->layer[2][ROLE_KEY], 1, 5) == file[33 * 32 + 5]);
    CHECK(value(&m->layer[2][ROLE_VALUE], 15, 31) == file[63 * 32 + 31]);
    t = safetensors_find(&m->shard[0], "model.layers.2.mlp.gate_up_proj.weight");
    file = (const float *)safetensors_data(&m->shard[0], t);
    CHECK(value(&m->layer[2][ROLE_GATE], 1, 5) == file[1 * 32 + 5]);
    CHECK(value(&m->layer[2][ROLE_UP], 1, 5) == file[41 * 32 + 5]);
    model_close(m);
    scratch_remove(&d);
}

static void norms_of_heads(void)
{
    struct scratch d;
    scratch_make(&d);
    make(&d, "stablelm-parallel", NULL, NULL); // a tensor a head
    struct model *m = model_open(d.path, &e);
    CHECK(m && model_train(m, &e) == 0);
    for (size_t i = 0; i < m->n_parameters; i++)
        if (!strcmp(m->parameter[i].name, "model.layers.1.self_attn.k_layernorm.norms.1.weight")) {
            CHECK(m->parameter[i].head == 1);
            CHECK(m->head_norm[1 * 6 + 4 + 1].data == m->master + m->parameter[i].offset);
            CHECK(m->head_norm[1 * 6 + 4 + 1].grad == m->gradient + m->parameter[i].offset);
            CHECK(m->head_norm[1 * 6 + 4 + 1].cols == 8);
        }
    model_close(m);
    scratch_remove(&d);
    scratch_make(&d);
    make(&d, "cohere", NULL, NULL); // a row a head
    m = model_open(d.path, &e);
    CHECK(m && model_train(m, &e) == 0);
    const struct tensor *whole = &m->layer[2][ROLE_KEY_NORM];
    CHECK(whole->rows == 2 && whole->cols == 6);
    CHECK(m->head_norm[2 * 6 + 4 + 1].data == (const float *)whole->data + 6);
    CHECK(m->head_norm[2 * 6 + 4 + 1].grad == whole->grad + 6);
    CHECK(m->head_norm[2 * 6 + 4 + 1].rows == 1 && m->head_norm[2 * 6 + 4 + 1].cols == 6);
    CHECK(((const float *)m->head_norm[0].data)[0] == 1); // a matrix, and a norm all the same
    model_close(m);
    scratch_remove(&d);
}

static void fresh_weights(void)
{
    struct scratch d;
    scratch_make(&d);
    make(&d, "gemma2", NULL, NULL);
    struct model *m = model_open(d.path, &e);
    CHECK(m && ((const float *)m->globals[ROLE_FINAL_NORM].data)[3] == 0); // 1 + 0
    model_close(m);
    scratch_remove(&d);
    scratch_make(&d);
    make(&d, "gpt2", "n_layer", "8");
    m = model_open(d.path, &e);
    CHECK(m && ((const float *)m->globals[ROLE_FINAL_NORM].data)[3] == 1);
    double square[2] = {0, 0};
    for (size_t i = 0; m && i < 24 * 96; i++) {
        square[0] += pow((double)((const float *)m->layer[0][ROLE_UP].data)[i], 2) / (24 * 96);
        square[1] += pow((double)((const float *)m->layer[0][ROLE_DOWN].data)[i], 2) / (24 * 96);
    }
    CHECK_NEAR(sqrt(square[0]), 0.3, 0.02);
    CHECK_NEAR(sqrt(square[1]), 0.3 / 4, 0.005); // what adds to the residual stream: / sqrt(2 n)
    model_close(m);
    scratch_remove(&d);
}

// ---- names ----

static struct model *edited(const struct scratch *d, const char *name, const struct edit *edit,
                            size_t n)
{
    make(d, name, NULL, NULL);
    rewrite(d, edit, n);
    return model_open_any(d->path, &e);
}

static void keeps(const struct scratch *d, struct model *m)
{
    struct scratch again;
    scratch_make(&again);
    CHECK(model_train(m, &e) == 0 && model_save(m, again.fd, NULL, &e) == 0);
    same_file(d, &again, "model.safetensors");
    scratch_remove(&again);
}

// The name that a tensor may have instead: without that of the base model, or in a multimodal
// folder with the other one; NULL: none.
static const char *other_name(const char *name, char *out, size_t size)
{
    static const char text[] = "language_model.", body[] = "language_model.model.";
    if (!strncmp(name, body, sizeof body - 1))
        snprintf(out, size, "model.language_model.%s", name + sizeof body - 1);
    else if (!strncmp(name, text, sizeof text - 1))
        snprintf(out, size, "%s", name + sizeof text - 1);
    else if (strncmp(name, "lm_head", 7) != 0 && strncmp(name, "score", 5) != 0 &&
             strncmp(name, "embed_out", 9) != 0)
        snprintf(out, size, "%s", strchr(name, '.') + 1);
    else
        return NULL;
    return out;
}

// Files saved from the base model alone, as those of GPT-2 on the hub.
static void prefix_of(const char *name)
{
    struct scratch d;
    struct safetensors s;
    scratch_make(&d);
    make(&d, name, NULL, NULL);
    CHECK(safetensors_open(&s, d.fd, "model.safetensors", &e) == 0);
    struct edit *edit = calloc(s.n, sizeof *edit);
    char(*other)[200] = calloc(s.n, sizeof *other);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        const char *rename = other_name(s.entry[i].name, other[i], sizeof other[i]);
        if (rename)
            edit[n++] = (struct edit){.name = s.entry[i].name, .rename = rename};
    }
    rewrite(&d, edit, n);
    struct model *m = model_open_any(d.path, &e);
    if (!m)
        printf("# %s\n", e.text);
    CHECK(m && m->n_parameters == s.n && m->n_unused == 0);
    if (m)
        keeps(&d, m);
    model_close(m);
    free(edit);
    free(other);
    safetensors_close(&s);
    scratch_remove(&d);
}

static void names_without_the_base(void)
{
    each_config(prefix_of);
    struct scratch d;
    scratch_make(&d);
    struct model *m = edited(
        &d, "gpt_neox", &(struct edit){.name = "embed_out.weight", .rename = "lm_head.weight"}, 1);
    CHECK(m && m->n_unused == 0);
    if (m)
        keeps(&d, m);
    model_close(m);
    scratch_remove(&d);
}

static void tied_heads(void)
{
    static const char head[] = "lm_head.weight", embedding[] = "model.embed_tokens.weight";
    struct scratch d;
    // The file repeats the embedding: tied, and written twice again.
    scratch_make(&d);
    struct model *m =
        edited(&d, "llama-old", &(struct edit){.name = head, .copy_of = embedding}, 1);
    CHECK(m && m->config.tied && m->tied_head && m->n_unused == 0);
    CHECK(m && m->globals[ROLE_HEAD].data == m->globals[ROLE_EMBEDDING].data);
    if (m) {
        keeps(&d, m);
        struct scratch again;
        scratch_make(&again);
        m->master[0] += 1;
        CHECK(model_save(m, again.fd, NULL, &e) == 0);
        struct model *changed = model_open(again.path, &e);
        CHECK(changed && changed->config.tied && changed->tied_head);
        model_close(changed);
        scratch_remove(&again);
    }
    model_close(m);
    scratch_remove(&d);
    // Another head: it counts, as in transformers.
    scratch_make(&d);
    m = edited(&d, "llama-old", &(struct edit){.name = head, .copy_of = embedding, .change = 1}, 1);
    CHECK(m && !m->config.tied && m->globals[ROLE_HEAD].data != m->globals[ROLE_EMBEDDING].data);
    CHECK(m && value(&m->globals[ROLE_HEAD], 0, 0) == value(&m->globals[ROLE_EMBEDDING], 0, 0) + 1);
    if (m)
        keeps(&d, m);
    model_close(m);
    scratch_remove(&d);
    // The head alone stands for both.
    scratch_make(&d);
    m = edited(&d, "llama-old", &(struct edit){.name = embedding, .rename = head}, 1);
    CHECK(m && m->config.tied && m->n_unused == 0);
    CHECK(m && m->globals[ROLE_HEAD].data == m->globals[ROLE_EMBEDDING].data);
    if (m)
        keeps(&d, m);
    model_close(m);
    scratch_remove(&d);
    // Not tied, and no head.
    scratch_make(&d);
    m = edited(&d, "llama-yarn", &(struct edit){.name = head, .drop = 1}, 1);
    CHECK(!m && strstr(e.text, "`lm_head.weight` is missing"));
    model_close(m);
    scratch_remove(&d);
    // Half precision beside fp32: compared by value.
    scratch_make(&d);
    m = edited(&d, "llama-old", &(struct edit){.name = head, .type = "F16", .bytes = 4, .dim = 2},
               1);
    CHECK(!m && strstr(e.text, "lm_head.weight")); // not even the shape
    model_close(m);
    scratch_remove(&d);
}

static void other_tensors(void)
{
    static const struct {
        const char *fixture;
        struct edit edit;
        const char *refused; // NULL: taken, and counted
    } cases[] = {
        {"gpt2", {.name = "transformer.h.0.attn.bias", .type = "F32", .bytes = 16, .dim = 4}, NULL},
        {"gpt2", {.name = "h.0.attn.masked_bias", .type = "F32", .bytes = 4, .dim = 1}, NULL},
        {"gpt_neo",
         {.name = "transformer.h.0.attn.attention.bias", .type = "BOOL", .bytes = 4, .dim = 4},
         NULL},
        {"gpt_neox",
         {.name = "gpt_neox.layers.1.attention.masked_bias", .type = "F32", .bytes = 4, .dim = 1},
         NULL},
        {"gpt_neox",
         {.name = "gpt_neox.layers.1.attention.rotary_emb.inv_freq",
          .type = "F32",
          .bytes = 8,
          .dim = 2},
         NULL},
        {"llama-old",
         {.name = "model.layers.0.self_attn.rotary_emb.inv_freq",
          .type = "F32",
          .bytes = 8,
          .dim = 2},
         NULL},
        {"llama-old",
         {.name = "model.rotary_emb.inv_freq", .type = "F32", .bytes = 8, .dim = 2},
         NULL},
        {"llama-old", {.name = "v_head.summary.weight", .type = "F32", .bytes = 8, .dim = 2}, NULL},
        {"llama-old", {.name = "score.weight", .type = "F32", .bytes = 8, .dim = 2}, NULL},
        {"llama-old",
         {.name = "model.layers.3.input_layernorm.weight", .type = "F32", .bytes = 8, .dim = 2},
         "beyond the 3 of config.json"},
        {"gpt2",
         {.name = "h.12.mlp.c_fc.weight", .type = "F32", .bytes = 8, .dim = 2},
         "beyond the 3"},
        {"llama-old",
         {.name = "model.layers.9.self_attn.rotary_emb.inv_freq",
          .type = "F32",
          .bytes = 8,
          .dim = 2},
         NULL},
        {"llama-old",
         {.name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
          .type = "F32",
          .bytes = 8,
          .dim = 2},
         "is an adapter's"},
        {"llama-old",
         {.name = "model.layers.0.self_attn.q_proj.lora_B.weight",
          .type = "BF16",
          .bytes = 8,
          .dim = 4},
         "is an adapter's"},
        {"gpt2",
         {.name = "transformer.h.0.adapter.down.weight", .type = "I8", .bytes = 8, .dim = 8},
         "is an adapter's"},
        {"llama-old",
         {.name = "module.model.layers.0.mlp.gate_proj.weight",
          .type = "F32",
          .bytes = 8,
          .dim = 2},
         "module.model.layers.0"},
        {"llama-old",
         {.name = "layers.1.mlp.gate_proj.weight", .type = "F32", .bytes = 8, .dim = 2},
         "layers.1.mlp"},
        {"llama-old",
         {.name = "model.layers.1.mlp.gate_proj.weight_scale", .type = "F32", .bytes = 4, .dim = 1},
         "weight_scale"},
        {"llama-old",
         {.name = "model.mask_proj.weight", .type = "F32", .bytes = 8, .dim = 2},
         "mask_proj"},
        {"llama-old", {.name = "submodel.weight", .type = "F32", .bytes = 8, .dim = 2}, NULL},
        {"gpt2-reward", {.name = "lm_head.weight", .type = "F32", .bytes = 8, .dim = 2}, NULL},
        {"llama-old",
         {.name = "model.layers.1.self_attn.q_proj.bias", .type = "F32", .bytes = 8, .dim = 2},
         "q_proj.bias"},
        {"llama-old",
         {.name = "model.layers.1.self_attn.q_norm.weight", .type = "F32", .bytes = 8, .dim = 2},
         "q_norm.weight"},
        {"llama-old",
         {.name = "model.layers.2.mlp.experts.0.w1.weight", .type = "BF16", .bytes = 8, .dim = 4},
         "experts"},
        {"llama-old",
         {.name = "model.norm.bias", .type = "F32", .bytes = 8, .dim = 2},
         "model.norm.bias"},
        {"llama-old",
         {.name = "lm_head.bias", .type = "F32", .bytes = 8, .dim = 2},
         "lm_head.bias"},
        {"mistral",
         {.name = "model.layers.0.self_attn.o_proj.bias", .type = "F32", .bytes = 8, .dim = 2},
         "o_proj.bias"},
        // A multimodal folder's other tensors stay what they are; those of the text are judged.
        {"gemma3-folder",
         {.name = "vision_tower.vision_model.encoder.layers.9.mlp.fc1.weight",
          .type = "F32",
          .bytes = 8,
          .dim = 2},
         NULL},
        {"gemma3-folder",
         {.name = "model.vision_tower.layers.0.weight", .type = "F32", .bytes = 8, .dim = 2},
         NULL},
        {"mistral3",
         {.name = "multi_modal_projector.linear_1.weight", .type = "BF16", .bytes = 8, .dim = 4},
         NULL},
        {"gemma3-folder",
         {.name = "language_model.model.layers.1.mlp.gate_proj.bias",
          .type = "F32",
          .bytes = 8,
          .dim = 2},
         "gate_proj.bias"},
        {"gemma3-folder",
         {.name = "model.language_model.layers.3.mlp.gate_proj.weight",
          .type = "F32",
          .bytes = 8,
          .dim = 2},
         "beyond the 3"},
        {"gemma3-folder",
         {.name = "lm_head.bias", .type = "F32", .bytes = 8, .dim = 2},
         "lm_head.bias"},
        {"mistral3",
         {.name = "language_model.score.weight", .type = "F32", .bytes = 8, .dim = 2},
         "score.weight"},
        {"mistral3",
         {.name = "vision_tower.layers.0.q.lora_A.weight", .type = "F32", .bytes = 8, .dim = 2},
         "is an adapter's"},
        {"olmo",
         {.name = "model.norm.weight", .type = "F32", .bytes = 8, .dim = 2},
         "model.norm.weight"},
        {"gpt2",
         {.name = "transformer.h.0.crossattention.c_attn.weight",
          .type = "F32",
          .bytes = 8,
          .dim = 2},
         "crossattention"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scratch d;
        scratch_make(&d);
        struct model *m = edited(&d, cases[i].fixture, &cases[i].edit, 1);
        int right = cases[i].refused
                        ? !m && strstr(e.text, cases[i].refused) != NULL
                        : m && m->n_unused == 1 && !strcmp(m->unused[0]->name, cases[i].edit.name);
        if (!right) {
            printf("# %s: %s: %s\n", cases[i].fixture, cases[i].edit.name, m ? "taken" : e.text);
            CHECK(!"what is right");
        }
        if (m)
            keeps(&d, m);
        model_close(m);
        scratch_remove(&d);
    }
}

// Biases that no layer has are 0; one layer without them is a broken file.
static void absent_biases(void)
{
    static const struct edit all[] = {
        {.name = "transformer.h.0.attn.c_attn.bias", .drop = 1},
        {.name = "transformer.h.1.attn.c_attn.bias", .drop = 1},
        {.name = "transformer.h.2.attn.c_attn.bias", .drop = 1},
        {.name = "transformer.ln_f.bias", .drop = 1},
    };
    struct scratch d;
    scratch_make(&d);
    struct model *m = edited(&d, "gpt2", all, 4);
    CHECK(m && !m->config.has[ROLE_QKV_BIAS] && !m->layer[0][ROLE_KEY_BIAS].data);
    CHECK(m && !m->globals[ROLE_FINAL_NORM_BIAS].data && m->layer[0][ROLE_UP_BIAS].data);
    if (m)
        keeps(&d, m);
    model_close(m);
    m = edited(&d, "gpt2", all, 2);
    CHECK(!m && strstr(e.text, "c_attn.bias` is missing"));
    model_close(m);
    m = edited(&d, "gpt2", &(struct edit){.name = "transformer.h.1.ln_1.weight", .drop = 1}, 1);
    CHECK(!m && strstr(e.text, "h.1.ln_1.weight` is missing"));
    model_close(m);
    scratch_remove(&d);
}

// ---- values ----

// fp64 values that fp32 does not have, and NaNs of half precision, stay what they are; what is
// trained is written.
static void bytes_of_unchanged_values(void)
{
    static const char *const types[] = {"\"float64\"", "\"bfloat16\"", "\"float16\""};
    for (int k = 0; k < 3; k++) {
        struct scratch d, again;
        struct buffer file, saved;
        scratch_make(&d);
        scratch_make(&again);
        make(&d, "qwen2", "dtype", types[k]);
        buffer_init(&file, 1 << 24);
        buffer_init(&saved, 1 << 24);
        CHECK(io_read_regular(d.fd, "model.safetensors", &file, &e) == 0);
        uint64_t header = 0;
        memcpy(&header, file.data, 8);
        for (size_t at = 8 + header; at + 8 <= file.size; at += 8) {
            double third = 1.0 / 3 + (double)at;
            static const uint16_t nan[4] = {0x7fc1, 0xffa5, 0x7f81, 0x3f81};
            memcpy(file.data + at, k ? (const void *)nan : (const void *)&third, 8);
        }
        put(d.fd, "model.safetensors", file.data, file.size);
        struct model *m = model_open(d.path, &e);
        CHECK(m != NULL);
        if (m)
            keeps(&d, m);
        // One value changes, and no other.
        if (m) {
            m->master[0] = 2;
            CHECK(model_save(m, again.fd, NULL, &e) == 0);
        }
        CHECK(io_read_regular(again.fd, "model.safetensors", &saved, &e) == 0);
        size_t size = k ? 2 : 8, at = m->parameter[0].entry->offset + 8 + header;
        double two = 2;
        static const uint16_t half[] = {0x4000, 0x4000}; // 2 in both
        CHECK(!memcmp(saved.data + at, k ? (const void *)half : (const void *)&two, size));
        memcpy(saved.data + at, file.data + at, size);
        CHECK(saved.size == file.size && !memcmp(saved.data, file.data, file.size));
        model_close(m);
        buffer_release(&file);
        buffer_release(&saved);
        scratch_remove(&d);
        scratch_remove(&again);
    }
}

static void positions_end_where_they_are_learned(void)
{
    struct scratch d;
    scratch_make(&d);
    make(&d, "gpt2", NULL, NULL);
    struct model *m = model_open(d.path, &e);
    CHECK(m && model_positions(m) == 32 && model_reach(m, 32, &e) == 0);
    CHECK(m && model_reach(m, 33, &e) < 0 && strstr(e.text, "33") && strstr(e.text, "32"));
    model_close(m);
    scratch_remove(&d);
    scratch_make(&d);
    make(&d, "falcon-rw", NULL, NULL);
    m = model_open(d.path, &e);
    CHECK(m && model_positions(m) > 100000 && model_reach(m, 300, &e) == 0);
    // Slopes 1/4, 1/16, 1/64, 1/256 of 4 heads; positions have 8 bits.
    size_t pitch = m->key_bias_positions;
    CHECK(pitch >= 300 && m->key_bias[0] == 0 && m->key_bias[1] == 0.25f);
    CHECK(m->key_bias[pitch + 5] == 5.0f / 16 && m->key_bias[3 * pitch + 255] == 255.0f / 256);
    CHECK(m->key_bias[257] == 64 && m->key_bias[259] == 65);
    CHECK(model_reach(m, 2000, &e) == 0 && m->key_bias_positions >= 2000);
    model_close(m);
    scratch_remove(&d);
    scratch_make(&d); // more heads, finer slopes
    make(&d, "falcon-rw", "num_attention_heads", "8");
    m = model_open(d.path, &e);
    CHECK(m && model_reach(m, 1, &e) == 0);
    CHECK(m && m->key_bias[1] == 0.5f);
    model_close(m);
    scratch_remove(&d);
}

// A configuration that claims more than the files hold.
static void claims(void)
{
    static const struct {
        const char *name, *key, *value;
    } cases[] = {
        {"stablelm-parallel", "num_hidden_layers", "4096"},
        {"cohere", "num_attention_heads", "1048576"},
        {"llama-old", "num_hidden_layers", "4096"},
        {"gpt2", "n_positions", "268435456"},
        {"falcon-40b", "ffn_hidden_size", "1048576"},
        {"phi3", "vocab_size", "16777216"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scratch d;
        scratch_make(&d);
        make(&d, cases[i].name, NULL, NULL);
        json_t *config = json_parse_file(d.fd, "config.json", 1 << 20, &e);
        json_object_set_new(config, cases[i].key, json_loads(cases[i].value, JSON_DECODE_ANY, 0));
        if (!strcmp(cases[i].name, "cohere")) {
            json_object_set_new(config, "head_dim", json_integer(1));
            json_object_set_new(config, "num_key_value_heads", json_integer(1048576));
        }
        char *text = json_dumps(config, 0);
        put(d.fd, "config.json", text, strlen(text));
        struct model *m = model_open(d.path, &e);
        CHECK(m == NULL && strstr(e.text, d.path) && e.status == STATUS_FAILED);
        model_close(m);
        free(text);
        json_decref(config);
        scratch_remove(&d);
    }
}

static void reward_models(void)
{
    static const char *const names[] = {"gpt2",       "phi",    "gpt_neox", "llama-yarn",
                                        "falcon-40b", "gemma3", "opt-350m", "gemma3-folder"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct scratch d, to;
        scratch_make(&d);
        scratch_make(&to);
        make(&d, names[i], NULL, NULL);
        struct model *m = model_open(d.path, &e);
        CHECK(m && model_save_as_reward(m, to.fd, 0, &e) == 0);
        struct model *r = model_open_reward(to.path, &e);
        if (!r)
            printf("# %s: %s\n", names[i], e.text);
        CHECK(r && r->n_unused == 0 && r->globals[ROLE_REWARD_HEAD].cols == m->config.end_width);
        CHECK(r && !r->globals[ROLE_HEAD_BIAS].data);
        model_close(r);
        model_close(m);
        scratch_remove(&d);
        scratch_remove(&to);
    }
    static const char *const without[] = {"granite",  "granitemoehybrid", "cohere",  "cohere2",
                                          "ernie4_5", "nanochat",         "mistral3"};
    for (size_t i = 0; i < sizeof without / sizeof *without; i++) {
        struct scratch d, to;
        scratch_make(&d);
        scratch_make(&to);
        make(&d, without[i], NULL, NULL);
        struct model *m = model_open(d.path, &e);
        CHECK(m && model_save_as_reward(m, to.fd, 0, &e) < 0 &&
              strstr(e.text, m->config.model_type));
        model_close(m);
        scratch_remove(&d);
        scratch_remove(&to);
    }
}

int main(void)
{
    RUN(every_family_comes_back);
    each_golden("comes_back", reference_comes_back);
    RUN(fused_tensors_are_taken_apart);
    RUN(norms_of_heads);
    RUN(fresh_weights);
    RUN(names_without_the_base);
    RUN(tied_heads);
    RUN(other_tensors);
    RUN(absent_biases);
    RUN(bytes_of_unchanged_values);
    RUN(positions_end_where_they_are_learned);
    RUN(claims);
    RUN(reward_models);
    return test_end();
}
