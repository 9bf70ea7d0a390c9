// SPDX-License-Identifier: MIT
// model.safetensors of a small fixed config.json; or, where the input begins with a brace,
// model.safetensors.index.json beside two shards that are in order.
#include "kit.h"

#include "model/model.h"

#include <math.h>

static const char config[] =
    "{\"model_type\": \"llama\", \"vocab_size\": 8, \"hidden_size\": 4, \"intermediate_size\": 6, "
    "\"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"num_key_value_heads\": 1, "
    "\"head_dim\": 2, \"max_position_embeddings\": 16, \"hidden_act\": \"silu\", "
    "\"tie_word_embeddings\": true}";

// What config.json asks for: in the first shard, and in the second; one tensor in both.
struct shape {
    const char *name;
    size_t rows, cols;
};
static const struct shape first[] = {{"model.embed_tokens.weight", 8, 4},
                                     {"model.layers.0.input_layernorm.weight", 0, 4},
                                     {"model.layers.0.self_attn.q_proj.weight", 4, 4},
                                     {"model.layers.0.self_attn.k_proj.weight", 2, 4},
                                     {"model.layers.0.self_attn.v_proj.weight", 2, 4},
                                     {"model.layers.0.self_attn.o_proj.weight", 4, 4},
                                     {"model.norm.weight", 0, 4},
                                     {NULL, 0, 0}};
static const struct shape second[] = {{"model.layers.0.post_attention_layernorm.weight", 0, 4},
                                      {"model.layers.0.mlp.gate_proj.weight", 6, 4},
                                      {"model.layers.0.mlp.up_proj.weight", 6, 4},
                                      {"model.layers.0.mlp.down_proj.weight", 4, 6},
                                      {"model.norm.weight", 0, 4},
                                      {NULL, 0, 0}};

static void write_shard(const char *name, const struct shape *shape)
{
    char text[2048], file[4096] = {0};
    size_t n = 0, at = 0;
    for (const struct shape *s = shape; s->name; s++) {
        size_t bytes = 4 * (s->rows ? s->rows : 1) * s->cols;
        n += (size_t)snprintf(text + n, sizeof text - n, "%c\"%s\":{\"dtype\":\"F32\",\"shape\":[",
                              s == shape ? '{' : ',', s->name);
        if (s->rows)
            n += (size_t)snprintf(text + n, sizeof text - n, "%zu,", s->rows);
        n += (size_t)snprintf(text + n, sizeof text - n, "%zu],\"data_offsets\":[%zu,%zu]}",
                              s->cols, at, at + bytes);
        at += bytes;
    }
    n += (size_t)snprintf(text + n, sizeof text - n, "}");
    while (n % 8)
        text[n++] = ' ';
    MUST(n < sizeof text && 8 + n + at <= sizeof file);
    uint64_t size = n;
    memcpy(file, &size, 8);
    memcpy(file + 8, text, n);
    fuzz_write(name, file, 8 + n + at);
}

static void prepare(void)
{
    static int prepared;
    if (prepared)
        return;
    fuzz_write("config.json", config, sizeof config - 1);
    write_shard("a.safetensors", first);
    write_shard("b.safetensors", second);
    prepared = 1;
}

// Every value is read, once as it stands and once as a training program does.
static void read_values(struct model *m)
{
    struct err e;
    char fingerprint[24];
    float sum = 0;
    MUST(m->n_values < 1 << 10);
    float *out = calloc(m->n_values, sizeof *out);
    MUST(out);
    for (size_t i = 0; i < m->n_parameters; i++) {
        const struct parameter *p = &m->parameter[i];
        MUST((uintptr_t)safetensors_data(p->file, p->entry) % dtype_size(p->entry->dtype) == 0);
        MUST(!p->entry->elsewhere);
        MUST(model_values(m, i, out, &e) == 0);
        sum += out[0];
    }
    for (size_t i = 0; i < m->n_shards; i++)
        for (size_t j = 0; j < m->shard[i].n; j++) {
            const struct safetensors_entry *t = &m->shard[i].entry[j];
            const unsigned char *bytes = safetensors_data(&m->shard[i], t);
            if (t->bytes)
                sum += bytes[0] + bytes[t->bytes - 1];
        }
    MUST(model_fingerprint(m, fingerprint, &e) == 0);
    MUST(model_train(m, &e) == 0 && mapped_unchanged(&e) == 0);
    free(out);
    MUST(!isinf(sum) || sum != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char single[] = "model.safetensors", index[] = "model.safetensors.index.json";
    int is_index = size && data[0] == '{';
    struct err e;
    prepare();
    fuzz_write(is_index ? single : index, NULL, 0);
    fuzz_write(is_index ? index : single, data, size);
    struct model *m = model_open(fuzz_folder(), &e);
    if (m)
        read_values(m);
    model_close(m);
    return 0;
}
