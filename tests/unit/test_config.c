// SPDX-License-Identifier: MIT
// What config.json says, family by family: descriptions, defaults, rotary positions, and what is
// refused by its name.
#include "model_kit.h"

#include "model/activation.h"
#include "model/family.h"

#define CONFIGS "tests/fixtures/configs/"

static void put(int at, const char *name, const char *text)
{
    int fd = openat(at, name, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
}

// The fixture NAME with `changes`: an object in JSON (quotes may be single); null sets null, and
// the string "-" removes the key.
static json_t *changed(const char *name, const char *changes)
{
    char path[200], *text = strdup(changes ? changes : "{}");
    snprintf(path, sizeof path, CONFIGS "%s.json", name);
    for (char *at = text; *at; at++)
        *at = *at == '\'' ? '"' : *at;
    json_t *config = json_parse_file(AT_FDCWD, path, 1 << 20, &e);
    json_t *object = json_loads(text, 0, NULL), *value;
    const char *key;
    CHECK(config && object);
    json_object_foreach(object, key, value)
    {
        if (json_is_string(value) && !strcmp(json_string_value(value), "-"))
            json_object_del(config, key);
        else
            json_object_set(config, key, value);
    }
    json_decref(object);
    free(text);
    return config;
}

static int read_object(struct model_config *c, const struct scratch *d, const json_t *config)
{
    char *text = json_dumps(config, 0);
    put(d->fd, "config.json", text);
    int result = config_read(c, d->fd, &e);
    free(text);
    return result;
}

static int read_changed(struct model_config *c, const char *name, const char *changes)
{
    struct scratch d;
    scratch_make(&d);
    json_t *config = changed(name, changes);
    int result = read_object(c, &d, config);
    json_decref(config);
    scratch_remove(&d);
    return result;
}

static void takes(struct model_config *c, const char *name, const char *changes)
{
    if (read_changed(c, name, changes) == 0)
        return;
    printf("# %s with %s: %s\n", name, changes ? changes : "nothing", e.text);
    CHECK(!"taken");
}

static void refuses(const char *name, const char *changes, const char *reason)
{
    struct model_config c;
    int result = read_changed(&c, name, changes);
    if (result == 0)
        config_release(&c);
    if (result == 0 || !strstr(e.text, reason) || e.status != STATUS_FAILED) {
        printf("# %s with %s: %s\n", name, changes, result == 0 ? "taken" : e.text);
        CHECK(!"refused by name");
    }
}

static size_t tensors_of_layer(const struct model_config *c)
{
    size_t n = 0;
    for (int role = ROLE_LAYER_FIRST; role < ROLE_COUNT; role++)
        n += c->has[role];
    return n;
}

// A line that says what was read.
static const char *line_of(const struct model_config *c, char *out, size_t size)
{
    static const char *const fusion[] = {"apart", "blocks", "groups"};
    static const char *const norm[] = {"none", "shared", "each", "wide"};
    size_t n = 0;
    n += (size_t)snprintf(out + n, size - n, "kv %zu of %zu, ff %zu %s, positions %zu, %s, %s",
                          c->kv_heads, c->head_dim, c->intermediate, activation_name(c->activation),
                          c->max_position, fusion[c->fusion], norm[c->head_norm]);
    n += (size_t)snprintf(out + n, size - n, ", %zu a layer%s%s%s%s, scale %.4f",
                          tensors_of_layer(c), c->tied ? ", tied" : "",
                          c->parallel ? ", parallel" : "", c->norm_centred ? ", centred" : "",
                          c->alibi ? ", alibi" : "", (double)c->layer[0].scale);
    for (size_t i = 0; i < c->n_ropes; i++)
        n += (size_t)snprintf(out + n, size - n, ", %s of %zu", config_rope_name(c->rope[i].type),
                              c->rope[i].dims);
    n += (size_t)snprintf(out + n, size - n, ",");
    for (size_t i = 0; i < c->layers; i++)
        n += (size_t)snprintf(out + n, size - n, " %d/%zu", c->layer[i].rope, c->layer[i].window);
    return out;
}

static void every_family_is_described(void)
{
    static const struct {
        const char *name, *line;
    } want[] = {
        {"llama-old", "kv 2 of 6, ff 40 silu, positions 64, apart, none, 9 a layer, tied, scale "
                      "0.4082, llama3 of 6, 0/0 0/0 0/0"},
        {"llama-yarn", "kv 2 of 8, ff 40 silu, positions 64, apart, none, 16 a layer, scale "
                       "0.3536, yarn of 8, 0/0 0/0 0/0"},
        {"mistral", "kv 2 of 8, ff 40 silu, positions 64, apart, none, 9 a layer, scale 0.3536, "
                    "default of 8, 0/8 0/8 0/8"},
        {"qwen2", "kv 2 of 6, ff 40 silu, positions 64, apart, none, 12 a layer, tied, scale "
                  "0.4082, default of 6, 0/0 0/6 0/6"},
        {"qwen3", "kv 2 of 8, ff 40 silu, positions 64, apart, shared, 11 a layer, scale 0.3536, "
                  "default of 8, 0/0 0/0 0/0"},
        {"gemma", "kv 1 of 8, ff 40 gelu_pytorch_tanh, positions 64, apart, none, 9 a layer, tied, "
                  "scale 0.3536, default of 8, 0/0 0/0 0/0"},
        {"gemma2", "kv 2 of 8, ff 40 gelu_pytorch_tanh, positions 64, apart, none, 11 a layer, "
                   "tied, scale 0.2887, default of 8, 0/6 0/0 0/6"},
        {"gemma3", "kv 2 of 8, ff 40 gelu_pytorch_tanh, positions 64, apart, shared, 13 a layer, "
                   "tied, scale 0.3162, linear of 8, default of 8, 1/6 0/0 1/6"},
        {"gpt2", "kv 4 of 6, ff 96 gelu_pytorch_tanh, positions 32, blocks, none, 12 a layer, "
                 "tied, centred, scale 0.4082, -1/0 -1/0 -1/0"},
        {"gpt_bigcode", "kv 1 of 6, ff 40 gelu_pytorch_tanh, positions 32, blocks, none, 12 a "
                        "layer, tied, centred, scale 0.4082, -1/0 -1/0 -1/0"},
        {"gpt_bigcode-mha", "kv 4 of 6, ff 96 gelu, positions 32, groups, none, 12 a layer, "
                            "centred, scale 0.4082, -1/0 -1/0 -1/0"},
        {"gpt_neo", "kv 4 of 6, ff 96 gelu_pytorch_tanh, positions 32, apart, none, 13 a layer, "
                    "tied, centred, scale 1.0000, -1/0 -1/6 -1/6"},
        {"gpt_neox", "kv 4 of 6, ff 40 gelu, positions 64, groups, none, 12 a layer, parallel, "
                     "centred, scale 0.4082, default of 4, 0/0 0/0 0/0"},
        {"gpt_neox-sequential", "kv 4 of 6, ff 40 gelu_pytorch_tanh, positions 64, groups, none, "
                                "10 a layer, centred, scale 0.4082, linear of 4, 0/0 0/0"},
        {"phi", "kv 4 of 10, ff 40 gelu_pytorch_tanh, positions 64, apart, none, 14 a layer, "
                "parallel, centred, scale 0.3162, default of 4, 0/0 0/0 0/0"},
        {"phi-norms", "kv 2 of 6, ff 40 gelu_pytorch_tanh, positions 64, apart, shared, 18 a "
                      "layer, tied, parallel, centred, scale 0.4082, default of 4, 0/0 0/0 0/0"},
        {"phi3", "kv 2 of 8, ff 40 silu, positions 64, blocks, none, 6 a layer, tied, scale "
                 "0.3536, longrope of 6, 0/24 0/24 0/24"},
        {"stablelm", "kv 4 of 8, ff 40 silu, positions 64, apart, none, 14 a layer, centred, scale "
                     "0.3536, default of 2, 0/0 0/0 0/0"},
        {"stablelm-parallel", "kv 2 of 8, ff 40 silu, positions 64, apart, each, 11 a layer, "
                              "parallel, centred, scale 0.3536, default of 4, 0/0 0/0 0/0"},
        {"starcoder2", "kv 2 of 6, ff 40 gelu_pytorch_tanh, positions 64, apart, none, 16 a layer, "
                       "tied, centred, scale 0.4082, default of 6, 0/8 0/8 0/8"},
        {"falcon-7b", "kv 1 of 8, ff 128 gelu, positions 2048, blocks, none, 6 a layer, tied, "
                      "parallel, centred, scale 0.3536, default of 8, 0/0 0/0"},
        {"falcon-40b", "kv 2 of 8, ff 128 gelu, positions 2048, groups, none, 8 a layer, tied, "
                       "parallel, centred, scale 0.3536, default of 8, 0/0 0/0"},
        {"falcon-11b", "kv 2 of 8, ff 128 gelu, positions 64, groups, none, 6 a layer, parallel, "
                       "centred, scale 0.3536, default of 8, 0/0 0/0"},
        {"falcon-rw", "kv 4 of 8, ff 128 gelu, positions 2048, groups, none, 12 a layer, tied, "
                      "centred, alibi, scale 0.3536, -1/0 -1/0"},
        {"olmo2", "kv 2 of 6, ff 40 silu, positions 64, apart, wide, 11 a layer, scale 0.4082, "
                  "default of 6, 0/0 0/0 0/0"},
        {"smollm3", "kv 2 of 6, ff 40 silu, positions 64, apart, none, 9 a layer, tied, scale "
                    "0.4082, default of 6, 0/0 0/0 0/0 -1/0"},
        {"granite", "kv 2 of 6, ff 40 silu, positions 64, apart, none, 9 a layer, tied, scale "
                    "0.4000, default of 6, 0/0 0/0 0/0"},
        {"cohere", "kv 2 of 6, ff 40 silu, positions 64, apart, each, 10 a layer, tied, parallel, "
                   "centred, scale 0.4082, default of 6, 0/0 0/0 0/0"},
        {"arcee", "kv 2 of 6, ff 40 relu2, positions 64, apart, none, 10 a "
                  "layer, scale 0.4082, yarn of 6, 0/0 0/0 0/0"},
        {"cohere2", "kv 2 of 8, ff 40 silu, positions 64, apart, none, 8 a "
                    "layer, tied, parallel, centred, scale 0.3536, default of 8, "
                    "0/6 0/6 0/6 -1/0"},
        {"ernie4_5", "kv 2 of 8, ff 40 silu, positions 64, apart, none, 16 a "
                     "layer, tied, scale 0.3536, default of 8, 0/0 0/0 0/0"},
        {"exaone4", "kv 2 of 8, ff 40 silu, positions 64, apart, shared, 11 a "
                    "layer, scale 0.3536, llama3 of 8, 0/6 0/6 0/6 -1/0"},
        {"glm", "kv 2 of 8, ff 40 silu, positions 64, apart, none, 11 a "
                "layer, scale 0.3536, default of 4, 0/0 0/0 0/0"},
        {"glm4", "kv 2 of 8, ff 40 silu, positions 64, apart, none, 10 a "
                 "layer, scale 0.3536, default of 4, 0/0 0/0 0/0"},
        {"granitemoehybrid", "kv 2 of 6, ff 40 silu, positions 64, apart, none, 8 a "
                             "layer, tied, scale 0.4000, default of 6, 0/0 0/0 0/0"},
        {"hunyuan_v1_dense", "kv 2 of 8, ff 40 silu, positions 64, apart, shared, 11 a "
                             "layer, tied, scale 0.3536, default of 8, 0/0 0/0 0/0"},
        {"ministral", "kv 2 of 8, ff 40 silu, positions 64, apart, none, 9 a "
                      "layer, scale 0.3536, default of 8, 0/6 0/0 0/6"},
        {"seed_oss", "kv 2 of 8, ff 40 silu, positions 64, apart, none, 12 a "
                     "layer, scale 0.3536, default of 8, 0/0 0/0 0/0"},
        {"olmo3", "kv 2 of 6, ff 40 silu, positions 64, apart, wide, 11 a "
                  "layer, scale 0.4082, yarn of 6, default of 6, 1/6 1/6 1/6 "
                  "0/0"},
        {"nemotron", "kv 2 of 8, ff 40 relu2, positions 64, apart, none, 10 a "
                     "layer, centred, scale 0.3536, default of 4, 0/0 0/0 0/0"},
        {"ministral3", "kv 2 of 8, ff 40 silu, positions 64, apart, none, 9 a "
                       "layer, scale 0.3536, yarn of 8, 0/0 0/0 0/0"},
        {"olmo", "kv 2 of 6, ff 40 silu, positions 64, apart, none, 9 a "
                 "layer, centred, scale 0.4082, default of 6, 0/0 0/0 0/0"},
        {"nanochat", "kv 2 of 6, ff 40 relu2, positions 64, apart, shared, 10 a "
                     "layer, scale 0.4082, default of 6, 0/0 0/0 0/0"},
        {"opt", "kv 4 of 6, ff 40 relu, positions 32, apart, none, 16 a "
                "layer, tied, centred, scale 0.4082, -1/0 -1/0 -1/0"},
        {"opt-350m", "kv 4 of 6, ff 40 relu, positions 32, apart, none, 16 a "
                     "layer, tied, centred, scale 0.4082, -1/0 -1/0 -1/0"},
        {"opt-galactica", "kv 4 of 6, ff 40 gelu, positions 32, apart, none, 8 a "
                          "layer, tied, centred, scale 0.4082, -1/0 -1/0 -1/0"},
        {"gemma3-folder", "kv 2 of 8, ff 40 gelu_pytorch_tanh, positions 64, apart, "
                          "shared, 13 a layer, tied, scale 0.3162, linear of 8, "
                          "default of 8, 1/6 0/0 1/6"},
        {"mistral3", "kv 2 of 8, ff 40 silu, positions 64, apart, none, 9 a "
                     "layer, scale 0.3536, yarn of 8, 0/0 0/0 0/0"},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        struct model_config c;
        char line[500];
        takes(&c, want[i].name, NULL);
        CHECK_TEXT(line_of(&c, line, sizeof line), want[i].line);
        config_release(&c);
    }
}

static void multipliers_and_caps(void)
{
    struct model_config c;
    takes(&c, "granite", NULL);
    CHECK_NEAR((double)c.embedding_scale, 12, 0);
    CHECK_NEAR((double)c.logit_scale, 1 / 8.0, 0);
    CHECK_NEAR((double)c.residual_scale, 0.22, 1e-8);
    config_release(&c);
    takes(&c, "granite", "{'attention_multiplier':'-','residual_multiplier':'-'}");
    CHECK(c.layer[1].scale == 1 && c.residual_scale == 1); // not 1 / sqrt(head_dim)
    config_release(&c);
    takes(&c, "gemma2", NULL);
    CHECK_NEAR((double)c.embedding_scale, sqrt(24), 1e-6);
    CHECK(c.score_softcap == 5 && c.logit_softcap == 8 && c.norm_offset == 1);
    config_release(&c);
    takes(&c, "gemma2", "{'attn_logit_softcapping':'-','final_logit_softcapping':'-'}");
    CHECK(c.score_softcap == 50 && c.logit_softcap == 30);
    config_release(&c);
    takes(&c, "gemma2", "{'attn_logit_softcapping':null,'final_logit_softcapping':null}");
    CHECK(c.score_softcap == 0 && c.logit_softcap == 0);
    config_release(&c);
    takes(&c, "gemma3", "{'attn_logit_softcapping':5.0,'final_logit_softcapping':4.0}");
    CHECK(c.score_softcap == 0 && c.logit_softcap == 4); // attention of Gemma 3 does not look
    config_release(&c);
    takes(&c, "cohere", NULL);
    CHECK(c.logit_scale == 0.5f && c.rope_interleaved);
    config_release(&c);
    takes(&c, "cohere", "{'logit_scale':'-','use_qk_norm':'-'}");
    CHECK(c.logit_scale == 0.0625f && c.head_norm == HEAD_NORM_NONE && !c.has[ROLE_KEY_NORM]);
    config_release(&c);
    takes(&c, "gpt2", NULL);
    for (size_t l = 0; l < 3; l++)
        CHECK_NEAR((double)c.layer[l].scale, 1 / sqrt(6) / (double)(l + 1), 1e-7);
    CHECK(c.conv1d && c.has[ROLE_POSITIONS] && !c.has[ROLE_HEAD]);
    config_release(&c);
    takes(&c, "gpt2", "{'scale_attn_weights':false,'scale_attn_by_inverse_layer_idx':false}");
    CHECK(c.layer[2].scale == 1);
    config_release(&c);
    takes(&c, "falcon-rw", NULL);
    CHECK(c.alibi && c.n_ropes == 0);
    config_release(&c);
}

// Layers without rotary positions, and no rotary at all where no layer has it.
static void layers_without_rope(void)
{
    struct model_config c;
    takes(&c, "exaone4", NULL);
    CHECK(c.layer[0].rope == 0 && c.layer[3].rope == -1 && c.n_ropes == 1);
    config_release(&c);
    takes(&c, "exaone4", "{'sliding_window':null,'layer_types':'-','sliding_window_pattern':'-'}");
    CHECK(c.layer[0].rope == 0 && c.layer[3].rope == 0);
    config_release(&c);
    takes(&c, "cohere2", "{'sliding_window_pattern':1}");
    CHECK(c.layer[0].rope == -1 && c.n_ropes == 0);
    config_release(&c);
    takes(&c, "granitemoehybrid",
          "{'position_embedding_type':null,'shared_intermediate_size':'-'}");
    CHECK(c.layer[2].rope == -1 && c.n_ropes == 0 && c.intermediate == 1024);
    config_release(&c);
    takes(&c, "granitemoehybrid",
          "{'layer_types':'-','layers_block_type':['attention',"
          "'full_attention','attention'],'attention_multiplier':'-'}");
    CHECK(c.layer[2].rope == 0 && c.layer[2].scale == 1 && c.residual_scale == 0.22f);
    config_release(&c);
}

// One rotary for layers with a window, one for the others; queries scaled by position.
static void rotary_by_layer(void)
{
    struct model_config c;
    takes(&c, "olmo3", NULL);
    CHECK(c.n_ropes == 2 && c.rope[0].type == ROPE_YARN && c.rope[0].attention_factor == 1.2);
    CHECK(c.rope[1].type == ROPE_DEFAULT && c.rope[1].theta == 500000);
    CHECK(c.layer[0].rope == 1 && c.layer[3].rope == 0);
    config_release(&c);
    takes(&c, "ministral3", NULL);
    CHECK(c.query_beta == 0.2 && c.query_period == 16 && c.rope[0].attention_factor == 1);
    config_release(&c);
    takes(&c, "ministral3", "{'rope_parameters':'-'}");
    CHECK(c.query_beta == 0.1 && c.query_period == 16384);
    config_release(&c);
}

// Where norms stand, without tensors too; widths and positions of OPT.
static void norms_and_ends(void)
{
    struct model_config c;
    size_t rows, cols;
    takes(&c, "olmo", NULL);
    CHECK(c.norm_bare && c.has[ROLE_FINAL_NORM] && c.norm_eps == 1e-5f && c.clip_qkv == 8);
    CHECK(family_shape(&c, ROLE_FINAL_NORM, &rows, &cols) == 0);
    config_release(&c);
    takes(&c, "olmo", "{'clip_qkv':null}");
    CHECK(c.clip_qkv == 0);
    config_release(&c);
    takes(&c, "nanochat", "{'final_logit_softcapping':'-'}");
    CHECK(c.has[ROLE_EMBEDDING_NORM] && c.rope_reversed && c.logit_softcap == 15);
    config_release(&c);
    takes(&c, "nanochat", "{'final_logit_softcapping':null}");
    CHECK(c.logit_softcap == 0);
    config_release(&c);
    takes(&c, "opt", "{'word_embed_proj_dim':'-'}");
    CHECK(!c.norm_sums && c.has[ROLE_FINAL_NORM] && !c.has[ROLE_MLP_POST_NORM]);
    CHECK(!c.has[ROLE_PROJECT_IN] && c.end_width == 24 && c.initializer_range == 0.3);
    CHECK(family_shape(&c, ROLE_POSITIONS, &rows, &cols) == 2 && rows == 34 && cols == 24);
    config_release(&c);
    takes(&c, "opt", "{'_remove_final_layer_norm':true}");
    CHECK(!c.has[ROLE_FINAL_NORM] && c.has[ROLE_MLP_NORM]);
    config_release(&c);
    takes(&c, "opt-350m", NULL);
    CHECK(c.norm_sums && !c.has[ROLE_FINAL_NORM] && !c.has[ROLE_MLP_NORM]);
    CHECK(family_shape(&c, ROLE_EMBEDDING, &rows, &cols) == 2 && rows == 48 && cols == 16);
    CHECK(family_shape(&c, ROLE_PROJECT_OUT, &rows, &cols) == 2 && rows == 16 && cols == 24);
    CHECK(family_shape(&c, ROLE_MLP_POST_NORM_BIAS, &rows, &cols) == 1 && cols == 24);
    config_release(&c);
    takes(&c, "opt-galactica", NULL);
    CHECK(c.norm_bare && c.has[ROLE_MLP_NORM] && !c.has[ROLE_MLP_NORM_BIAS]);
    CHECK(!c.has[ROLE_UP_BIAS] && c.activation == ACTIVATION_GELU);
    config_release(&c);
}

// The text model of a multimodal folder.
static void folders(void)
{
    struct model_config c;
    char name[256];
    takes(&c, "gemma3-folder", NULL);
    CHECK_TEXT(c.model_type, "gemma3");
    CHECK(c.tied && c.n_eos == 2 && is_eos(&c, 5) && c.dtype == DTYPE_F32);
    CHECK_TEXT(family_name(&c, ROLE_QUERY, 1, 0, name, sizeof name),
               "language_model.model.layers.1.self_attn.q_proj.weight");
    CHECK_TEXT(family_architecture(&c, HEAD_VOCABULARY), "Gemma3ForConditionalGeneration");
    CHECK_TEXT(family_architecture(&c, HEAD_REWARD), "Gemma3ForSequenceClassification");
    config_release(&c);
    takes(&c, "gemma3-folder",
          "{'architectures':['Gemma3ForSequenceClassification'],'id2label':{'0':'x'}}");
    CHECK(c.head == HEAD_REWARD && !c.has[ROLE_HEAD]);
    CHECK_TEXT(family_name(&c, ROLE_REWARD_HEAD, 0, 0, name, sizeof name), "score.weight");
    config_release(&c);
    // Stops that are null outside are those of the text model; its padding counts, or its class's.
    takes(&c, "gemma3-folder",
          "{'eos_token_id':null,'pad_token_id':7,'text_config':{'vocab_size':48,'hidden_size':24,"
          "'intermediate_size':40,'num_hidden_layers':3,'eos_token_id':9}}");
    CHECK(c.n_eos == 1 && is_eos(&c, 9) && c.padding == 0);
    config_release(&c);
    // As sparse as the files of the hub.
    takes(&c, "gemma3-folder",
          "{'text_config':{'hidden_size':2560,'intermediate_size':10240,'num_hidden_layers':34,"
          "'rope_scaling':{'factor':8.0,'rope_type':'linear'},'sliding_window':1024}}");
    CHECK(c.vocab == 262208 && c.heads == 8 && c.kv_heads == 4 && c.head_dim == 256);
    CHECK(c.layer[0].window == 1024 && c.layer[5].window == 0 && c.layer[33].scale == 1 / 16.0f);
    CHECK(c.rope[0].theta == 1e6 && c.rope[0].factor == 8 && c.rope[1].theta == 1e4);
    config_release(&c);
    takes(&c, "mistral3", NULL);
    CHECK(family_architecture(&c, HEAD_REWARD) == NULL);
    CHECK(!c.tied && c.query_beta == 0.2 && c.n_eos == 1);
    config_release(&c);
    // Absent outside it is true, whatever the text model says.
    takes(&c, "mistral3", "{'tie_word_embeddings':'-'}");
    CHECK(c.tied);
    config_release(&c);
    takes(&c, "mistral3",
          "{'text_config':{'vocab_size':48,'hidden_size':24,'intermediate_size':40,"
          "'num_hidden_layers':3,'num_attention_heads':8,'head_dim':4,'sliding_window':null}}");
    CHECK(c.kv_heads == 8 && c.query_period == 0); // mistral
    config_release(&c);
}

// Absent and null are not the same.
static void absent_keys(void)
{
    static const struct {
        const char *name, *changes;
        size_t kv_heads, head_dim, positions;
        int tied;
    } want[] = {
        {"llama-old", "{'num_key_value_heads':'-'}", 4, 6, 64, 1},
        {"llama-old", "{'num_key_value_heads':null,'max_position_embeddings':'-'}", 4, 6, 2048, 1},
        {"llama-old", "{'tie_word_embeddings':'-','head_dim':null}", 2, 6, 64, 0},
        {"mistral", "{'num_key_value_heads':'-','num_attention_heads':16}", 8, 8, 64, 0},
        {"mistral", "{'num_key_value_heads':null,'head_dim':null}", 4, 6, 64, 0},
        {"mistral", "{'max_position_embeddings':'-'}", 2, 8, 131072, 0},
        {"qwen2", "{'num_key_value_heads':'-','num_attention_heads':32,'hidden_size':64}", 32, 2,
         64, 1},
        {"qwen3", "{'head_dim':'-'}", 2, 128, 64, 0},
        {"gemma", "{'head_dim':'-','tie_word_embeddings':false}", 1, 256, 64, 0},
        {"gemma2", "{'head_dim':'-','num_key_value_heads':'-'}", 4, 256, 64, 1},
        {"gemma3", "{'max_position_embeddings':'-'}", 2, 8, 131072, 1},
        {"smollm3", "{'num_key_value_heads':'-','max_position_embeddings':'-'}", 4, 6, 32768, 1},
        {"starcoder2", "{'num_key_value_heads':'-'}", 2, 6, 64, 1},
        {"gpt2", "{'n_positions':'-'}", 4, 6, 1024, 1},
        {"gpt2", "{'n_embd':'-','hidden_size':24,'n_layer':'-','num_hidden_layers':3}", 4, 6, 32,
         1},
        {"cohere", "{'num_key_value_heads':'-','max_position_embeddings':'-'}", 4, 6, 8192, 1},
        {"falcon-40b", "{'num_kv_heads':'-'}", 4, 8, 2048, 1},
        {"falcon-7b", "{'num_kv_heads':3}", 1, 8, 2048, 1},
        {"phi3", "{'num_key_value_heads':'-'}", 4, 8, 64, 1},
        {"arcee", "{'num_key_value_heads':'-','max_position_embeddings':'-'}", 4, 6, 4096, 0},
        {"cohere2", "{'num_key_value_heads':'-','head_dim':'-'}", 4, 6, 64, 1},
        {"ernie4_5", "{'num_key_value_heads':'-','head_dim':'-','tie_word_embeddings':'-'}", 2, 128,
         64, 1},
        {"ernie4_5", "{'num_key_value_heads':null,'head_dim':null}", 4, 6, 64, 1},
        {"exaone4", "{'num_key_value_heads':'-','num_attention_heads':32}", 32, 8, 64, 0},
        {"glm4", "{'num_key_value_heads':'-','head_dim':'-','max_position_embeddings':'-'}", 2, 128,
         131072, 0},
        {"hunyuan_v1_dense", "{'tie_word_embeddings':'-'}", 2, 8, 64, 0},
        {"ministral", "{'num_key_value_heads':'-','num_attention_heads':16}", 8, 8, 64, 0},
        {"seed_oss", "{'num_key_value_heads':'-','num_attention_heads':8,'head_dim':'-'}", 8, 128,
         64, 0},
        {"ministral3", "{'num_attention_heads':8,'num_key_value_heads':'-','head_dim':'-'}", 8, 128,
         64, 0},
        {"nemotron", "{'max_position_embeddings':'-','head_dim':'-','kv_channels':'-'}", 2, 6, 4096,
         0},
        {"olmo3", "{'num_key_value_heads':'-'}", 4, 6, 64, 0},
        {"seed_oss", "{'num_key_value_heads':null,'head_dim':null}", 4, 6, 64, 0},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        struct model_config c;
        takes(&c, want[i].name, want[i].changes);
        if (c.kv_heads != want[i].kv_heads || c.head_dim != want[i].head_dim ||
            c.max_position != want[i].positions || c.tied != want[i].tied) {
            printf("# %s with %s: %zu, %zu, %zu, %d\n", want[i].name, want[i].changes, c.kv_heads,
                   c.head_dim, c.max_position, c.tied);
            CHECK(!"the default");
        }
        config_release(&c);
    }
}

// Keys that say together where a rotary position turns to.
static const char *const rotary[] = {"rope_parameters",       "rope_scaling", "rope_theta",
                                     "partial_rotary_factor", "rotary_pct",   "rotary_emb_base",
                                     "rope_local_base_freq"};

static void drop(json_t *config, const char *key)
{
    json_object_del(config, key);
    for (size_t i = 0; !strcmp(key, rotary[0]) && i < sizeof rotary / sizeof *rotary; i++)
        json_object_del(config, rotary[i]);
}

// Whether all that was read is the same.
static int same_config(const struct model_config *a, const struct model_config *b)
{
    struct model_config x = *a, y = *b;
    if (a->layers != b->layers || a->n_ropes != b->n_ropes ||
        memcmp(a->layer, b->layer, a->layers * sizeof *a->layer) != 0)
        return 0;
    x.layer = y.layer = NULL;
    for (size_t i = 0; i < a->n_ropes; i++) {
        if (!a->rope[i].short_factor != !b->rope[i].short_factor)
            return 0;
        x.rope[i].short_factor = y.rope[i].short_factor = NULL;
        x.rope[i].long_factor = y.rope[i].long_factor = NULL;
    }
    return !memcmp(&x, &y, sizeof x);
}

// Without the key, and with what transformers' class has for it.
static void check_default(const struct scratch *d, const char *name, const json_t *config,
                          const char *key, json_t *value, size_t *compared)
{
    struct model_config without, with;
    json_t *a = json_copy((json_t *)config), *b = json_copy((json_t *)config);
    drop(a, key);
    drop(b, key);
    json_object_set(b, key, value);
    int result = read_object(&without, d, a);
    int missing = result < 0 && strstr(e.text, "is missing"); // which is never wrong
    int other = read_object(&with, d, b);
    if (result == 0 && other == 0 && same_config(&without, &with))
        (*compared)++;
    else if (!missing && (result == 0 || other == 0)) {
        printf("# %s without %s: %s\n", name, key, result < 0 || other < 0 ? e.text : "another");
        CHECK(!"the default");
    }
    if (result == 0)
        config_release(&without);
    if (other == 0)
        config_release(&with);
    json_decref(a);
    json_decref(b);
}

// tests/fixtures/config_defaults.json is written by .ci/config_read_keys.py.
static void defaults_of_transformers(void)
{
    struct scratch d;
    struct dirent **entry;
    scratch_make(&d);
    json_t *all = json_parse_file(AT_FDCWD, "tests/fixtures/config_defaults.json", 1 << 20, &e);
    int n = scandir(CONFIGS, &entry, NULL, alphasort);
    size_t compared = 0, families = 0;
    for (int i = 0; i < n; i++) {
        char name[100];
        size_t length = strlen(entry[i]->d_name);
        snprintf(name, sizeof name, "%.*s", length > 5 ? (int)length - 5 : 0, entry[i]->d_name);
        free(entry[i]);
        json_t *config = *name && name[0] != '.' ? changed(name, "{'vocab_size':300000}") : NULL;
        const json_t *type = json_object_get(config, "model_type");
        json_t *defaults = json_object_get(all, type ? json_string_value(type) : ""), *value;
        const char *key;
        families += defaults != NULL;
        json_object_foreach(defaults, key, value)
        {
            if (strcmp(key, "eos_token_id") != 0) // padding_and_stops
                check_default(&d, name, config, key, value, &compared);
        }
        json_decref(config);
    }
    CHECK(families > 40 && compared > 600);
    printf("# %zu defaults of %zu configurations\n", compared, families);
    if (n >= 0)
        free(entry);
    json_decref(all);
    scratch_remove(&d);
}

// Configurations that public code, tests and documentation print: read, or refused for what they
// say.
static void published(void)
{
    struct scratch d;
    scratch_make(&d);
    json_t *all = json_parse_file(AT_FDCWD, "tests/fixtures/published.json", 1 << 20, &e), *one;
    size_t i;
    json_array_foreach(all, i, one)
    {
        struct model_config c;
        const char *reason = json_string_value(json_object_get(one, "refused"));
        const char *line = json_string_value(json_object_get(one, "read"));
        char text[5000];
        int result = read_object(&c, &d, json_object_get(one, "config"));
        if (result == 0)
            line_of(&c, text, sizeof text); // `read` has the first layers
        if (result == 0 ? !line || strncmp(line, text, strlen(line)) != 0
                        : !reason || !strstr(e.text, reason)) {
            printf("# %s: %s\n", json_string_value(json_object_get(one, "name")),
                   result < 0 ? e.text : text);
            CHECK(!"as it says");
        }
        if (result == 0)
            config_release(&c);
    }
    CHECK(i > 35);
    json_decref(all);
    scratch_remove(&d);
}

static void windows(void)
{
    static const struct {
        const char *name, *changes;
        size_t window[4];
    } want[] = {
        {"mistral", "{'sliding_window':'-'}", {4096, 4096, 4096}},
        {"mistral", "{'sliding_window':null}", {0, 0, 0}},
        {"qwen2", "{'use_sliding_window':false}", {0, 0, 0}},
        {"qwen2", "{'use_sliding_window':'-'}", {0, 0, 0}},
        {"qwen2", "{'max_window_layers':'-'}", {0, 0, 0}},
        {"qwen2", "{'max_window_layers':0,'sliding_window':'-'}", {4096, 4096, 4096}},
        {"qwen2",
         "{'layer_types':['sliding_attention','full_attention','full_attention']}",
         {6, 0, 0}},
        {"gemma2",
         "{'layer_types':['full_attention','full_attention','sliding_attention']}",
         {0, 0, 6}},
        {"gemma2", "{'sliding_window':'-','sliding_window_size':4096}", {4096, 0, 4096}},
        {"gemma3", "{'sliding_window_pattern':'-'}", {6, 6, 6}},
        {"gemma3", "{'sliding_window_pattern':1}", {0, 0, 0}},
        {"phi3", "{'sliding_window':'-'}", {0, 0, 0}},
        {"ministral", "{'sliding_window':'-','layer_types':'-'}", {4096, 4096, 4096}},
        {"ministral", "{'sliding_window':null,'layer_types':'-'}", {0, 0, 0}},
        {"exaone4",
         "{'sliding_window':null,'layer_types':'-','sliding_window_pattern':'-'}",
         {0, 0, 0, 0}},
        {"olmo3", "{'layer_types':'-','sliding_window':'-'}", {4096, 4096, 4096, 0}},
        {"ministral3", "{'sliding_window':5,'layer_types':['full_attention']}", {5, 5, 5}},
        {"exaone4", "{'layer_types':'-','sliding_window_pattern':2}", {6, 0, 6, 0}},
        {"exaone4",
         "{'layer_types':'-','sliding_window_pattern':'-','sliding_window':'-'}",
         {4096, 4096, 4096, 0}},
        {"cohere2", "{'sliding_window':'-','sliding_window_pattern':3}", {4096, 4096, 0, 4096}},
        {"starcoder2", "{'sliding_window':null}", {0, 0, 0}},
        {"gpt_neo",
         "{'attention_types':[[['local','global'],1],[['local'],1]],'attention_layers':'-'}",
         {6, 0, 6}},
        {"gpt_neo", "{'window_size':'-'}", {0, 256, 256}},
        {"gpt_neo",
         "{'attention_types':'-','num_layers':24,'attention_layers':'-','hidden_size':8}",
         {0, 6, 0, 6}},
        {"smollm3",
         "{'use_sliding_window':true,'sliding_window':5,'layer_types':'-'}",
         {0, 0, 0, 5}},
        {"smollm3", "{'no_rope_layers':null,'no_rope_layer_interval':2}", {0, 0, 0, 0}},
        {"llama-old",
         "{'layer_types':['full_attention','full_attention','full_attention']}",
         {0, 0, 0}},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        struct model_config c;
        takes(&c, want[i].name, want[i].changes);
        for (size_t l = 0; l < c.layers && l < 4; l++)
            if (c.layer[l].window != want[i].window[l]) {
                printf("# %s with %s: layer %zu has %zu\n", want[i].name, want[i].changes, l,
                       c.layer[l].window);
                CHECK(!"the window");
            }
        config_release(&c);
    }
    struct model_config c;
    takes(&c, "smollm3", "{'no_rope_layers':'-','no_rope_layer_interval':2}");
    for (size_t l = 0; l < 4; l++)
        CHECK(c.layer[l].rope == (l % 2 ? -1 : 0));
    config_release(&c);
}

// ---- rotary positions ----

static double plain(double theta, size_t k, size_t dims)
{
    return pow(theta, -2.0 * (double)k / (double)dims);
}

static void check_frequencies(const struct model_config *c, size_t rope, size_t length,
                              const double *want)
{
    float f[ROPE_DIMS_MAX / 2];
    config_rope_frequencies(c, &c->rope[rope], length, f);
    for (size_t k = 0; k < c->rope[rope].dims / 2; k++)
        CHECK_NEAR((double)f[k] / want[k], 1, 5e-7);
}

static void rotary_types(void)
{
    struct model_config c;
    double want[8];
    takes(&c, "falcon-11b", NULL);
    for (size_t k = 0; k < 4; k++)
        want[k] = plain(500042, k, 8);
    check_frequencies(&c, 0, 1, want);
    check_frequencies(&c, 0, 100000, want);
    config_release(&c);
    // linear; half of 6 dimensions are 3, which are rounded up, and the exponents are those of 3
    takes(&c, "gpt_neox-sequential", NULL);
    want[0] = 0.5;
    want[1] = plain(10000, 1, 3) / 2;
    check_frequencies(&c, 0, 1, want);
    config_release(&c);
    // llama3: bands at wave lengths 4 and 16
    takes(&c, "llama-old", NULL);
    for (size_t k = 0; k < 3; k++) {
        double f = plain(500000, k, 6), wave = 2 * M_PI / f, smooth = (16 / wave - 1) / (4 - 1);
        want[k] = wave < 4 ? f : wave > 16 ? f / 8 : (1 - smooth) * f / 8 + smooth * f;
    }
    check_frequencies(&c, 0, 1, want);
    CHECK(want[0] < 1 && want[0] > 1.0 / 8);
    config_release(&c);
    // yarn: between two dimensions
    takes(&c, "llama-yarn", NULL);
    double low = floor(8 * log(16 / (16 * 2 * M_PI)) / (2 * log(10000)));
    double high = ceil(8 * log(16 / (2 * M_PI)) / (2 * log(10000)));
    low = low < 0 ? 0 : low;
    for (size_t k = 0; k < 4; k++) {
        double ramp = fmin(fmax(((double)k - low) / (high - low), 0), 1), f = plain(10000, k, 8);
        want[k] = f / 4 * ramp + f * (1 - ramp);
    }
    check_frequencies(&c, 0, 1000, want);
    CHECK_NEAR(c.rope[0].attention_factor, (0.1 * log(4) + 1) / (0.08 * log(4) + 1), 1e-12);
    config_release(&c);
    // between broken dimensions, without truncation
    takes(&c, "llama-yarn",
          "{'rope_parameters':{'rope_type':'yarn','factor':3,'rope_theta':100.0,'truncate':false,"
          "'original_max_position_embeddings':128,'beta_fast':8}}");
    low = 8 * log(128 / (8 * 2 * M_PI)) / (2 * log(100));
    high = 8 * log(128 / (2 * M_PI)) / (2 * log(100));
    for (size_t k = 0; k < 4; k++) {
        double ramp = fmin(fmax(((double)k - low) / (high - low), 0), 1), f = plain(100, k, 8);
        want[k] = f / 3 * ramp + f * (1 - ramp);
    }
    check_frequencies(&c, 0, 1, want);
    CHECK_NEAR(c.rope[0].attention_factor, 0.1 * log(3) + 1, 1e-12);
    config_release(&c);
    // longrope: two sets of frequencies, one factor of cos and sin
    takes(&c, "phi3", NULL);
    static const double factors[2][3] = {{1, 1.1, 1.3}, {1.5, 2.5, 6}};
    for (int is_long = 0; is_long < 2; is_long++) {
        for (size_t k = 0; k < 3; k++)
            want[k] = plain(10000, k, 6) / factors[is_long][k];
        check_frequencies(&c, 0, is_long ? 17 : 16, want);
    }
    CHECK_NEAR(c.rope[0].attention_factor, sqrt(1 + log(4) / log(16)), 1e-12);
    config_release(&c);
    // dynamic: theta grows from max_position_embeddings on
    takes(&c, "llama-old", "{'rope_scaling':{'type':'dynamic','factor':2.0},'rope_theta':10000.0}");
    CHECK(c.rope[0].original_max_position == 64);
    for (int is_long = 0; is_long < 2; is_long++) {
        double theta = is_long ? 10000 * pow(2.0 * 100 / 64 - 1, 6.0 / 4) : 10000;
        for (size_t k = 0; k < 3; k++)
            want[k] = plain(theta, k, 6);
        check_frequencies(&c, 0, is_long ? 100 : 64, want);
    }
    config_release(&c);
    // Gemma 3: the scaling is that of the global layers
    takes(&c, "gemma3", NULL);
    CHECK(c.n_ropes == 2 && c.rope[1].type == ROPE_DEFAULT);
    for (size_t k = 0; k < 4; k++)
        want[k] = plain(1000000, k, 8) / 8;
    check_frequencies(&c, 0, 1, want);
    for (size_t k = 0; k < 4; k++)
        want[k] = plain(10000, k, 8);
    check_frequencies(&c, 1, 1, want);
    config_release(&c);
}

static void rotary_keys(void)
{
    static const struct {
        const char *name, *changes;
        enum rope_type type;
        double theta, factor, original, attention;
        size_t dims;
    } want[] = {
        // rope_scaling takes the place of rope_parameters, theta and all
        {"llama-yarn", "{'rope_scaling':{'type':'linear','factor':2.0}}", ROPE_LINEAR, 10000, 2, 64,
         1, 8},
        {"llama-yarn", "{'rope_scaling':{'type':'linear','factor':2.0},'rope_theta':5000}",
         ROPE_LINEAR, 5000, 2, 64, 1, 8},
        {"olmo2", "{'rope_scaling':{'type':'linear','factor':2.0}}", ROPE_LINEAR, 10000, 2, 64, 1,
         6},
        {"olmo2", "{'rope_scaling':{}}", ROPE_DEFAULT, 500000, 1, 64, 1, 6},
        {"olmo2", "{'rope_scaling':null,'rope_theta':7}", ROPE_DEFAULT, 500000, 1, 64, 1, 6},
        {"olmo2", "{'rope_parameters':'-'}", ROPE_DEFAULT, 10000, 1, 64, 1, 6},
        {"llama-old", "{'rope_scaling':{'rope_type':'default','type':'yarn'}}", ROPE_DEFAULT,
         500000, 1, 64, 1, 6},
        {"llama-old", "{'rope_scaling':{'rope_theta':123.0}}", ROPE_DEFAULT, 123, 1, 64, 1, 6},
        {"smollm3", "{'rope_theta':'-'}", ROPE_DEFAULT, 2000000, 1, 64, 1, 6},
        {"cohere", "{'rope_theta':'-'}", ROPE_DEFAULT, 500000, 1, 64, 1, 6},
        {"llama-old", "{'rope_scaling':{'type':'yarn','factor':4}}", ROPE_YARN, 500000, 4, 64,
         0.1 * 1.3862943611198906 + 1, 6},
        {"llama-old",
         "{'rope_scaling':{'type':'yarn','factor':null,'original_max_position_embeddings':16}}",
         ROPE_YARN, 500000, 4, 16, 0.1 * 1.3862943611198906 + 1, 6},
        {"llama-old", "{'rope_scaling':{'type':'yarn','factor':4,'attention_factor':0.7}}",
         ROPE_YARN, 500000, 4, 64, 0.7, 6},
        {"llama-old", "{'rope_scaling':{'type':'yarn','factor':4,'mscale':0.5}}", ROPE_YARN, 500000,
         4, 64, 0.1 * 1.3862943611198906 + 1, 6},
        // outside wins
        {"llama-old",
         "{'original_max_position_embeddings':32,'rope_scaling':{'type':'yarn','factor':4,"
         "'original_max_position_embeddings':16}}",
         ROPE_YARN, 500000, 4, 32, 0.1 * 1.3862943611198906 + 1, 6},
        {"phi3",
         "{'rope_scaling':{'type':'yarn','short_factor':[1,1,1],'long_factor':[1,1,1],'factor':1}}",
         ROPE_LONGROPE, 10000, 1, 16, 1, 6},
        {"phi3", "{'rope_scaling':null,'partial_rotary_factor':'-'}", ROPE_DEFAULT, 10000, 1, 16, 1,
         8},
        {"hunyuan_v1_dense", "{'rope_scaling':{'type':'dynamic','alpha':64}}", ROPE_DEFAULT,
         2560000, 1, 64, 1, 8},
        {"hunyuan_v1_dense", "{'rope_scaling':{'type':'dynamic','factor':3}}", ROPE_DYNAMIC, 10000,
         3, 64, 1, 8},
        {"ministral3", "{'rope_parameters':'-'}", ROPE_YARN, 1000000, 16, 16384, 1, 8},
        {"nemotron", "{'partial_rotary_factor':'-'}", ROPE_DEFAULT, 10000, 1, 64, 1, 4},
        {"ernie4_5", "{'rope_parameters':'-'}", ROPE_DEFAULT, 500000, 1, 64, 1, 8},
        {"glm", "{'partial_rotary_factor':'-'}", ROPE_DEFAULT, 10000, 1, 64, 1, 4},
        {"glm", "{'partial_rotary_factor':null}", ROPE_DEFAULT, 10000, 1, 64, 1, 8},
        {"gpt_neox", "{'rotary_pct':'-'}", ROPE_DEFAULT, 10000, 1, 64, 1, 2},
        // an odd number of dimensions is rounded up
        {"gpt_neox", "{'hidden_size':40}", ROPE_DEFAULT, 10000, 1, 64, 1, 6},
        {"phi", "{'partial_rotary_factor':'-'}", ROPE_DEFAULT, 10000, 1, 64, 1, 6},
        {"stablelm", "{'partial_rotary_factor':'-'}", ROPE_DEFAULT, 10000, 1, 64, 1, 2},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        struct model_config c;
        takes(&c, want[i].name, want[i].changes);
        const struct rope_config *r = &c.rope[0];
        if (c.n_ropes != 1 || r->type != want[i].type ||
            fabs(r->theta / want[i].theta - 1) > 1e-12 ||
            fabs(r->factor - want[i].factor) > 1e-12 ||
            r->original_max_position != want[i].original || r->dims != want[i].dims ||
            fabs(r->attention_factor - want[i].attention) > 1e-12) {
            printf("# %s with %s: type %d, %g, factor %g from %g, times %g, %zu\n", want[i].name,
                   want[i].changes, (int)r->type, r->theta, r->factor, r->original_max_position,
                   r->attention_factor, r->dims);
            CHECK(!"read so");
        }
        config_release(&c);
    }
    struct model_config c;
    takes(&c, "gpt_neox", "{'hidden_size':40}");
    float f[3];
    config_rope_frequencies(&c, &c.rope[0], 1, f); // and the exponents are those of 5
    CHECK_NEAR((double)f[1] / pow(10000, -2 / 5.0), 1, 5e-7);
    config_release(&c);
    takes(&c, "gemma3", "{'rope_scaling':'-','rope_theta':'-','rope_local_base_freq':'-'}");
    CHECK(c.rope[0].theta == 1000000 && c.rope[1].theta == 10000);
    config_release(&c);
    takes(&c, "gemma3",
          "{'rope_scaling':'-','rope_parameters':{'full_attention':{'rope_type':'default',"
          "'rope_theta':5.0},'sliding_attention':{'rope_type':'linear','factor':2.0}}}");
    CHECK(c.rope[0].theta == 5 && c.rope[1].theta == 10000 && c.rope[1].type == ROPE_LINEAR);
    config_release(&c);
}

// ---- refusals ----

static void what_changes_numbers_is_refused(void)
{
    static const struct {
        const char *name, *changes, *reason;
    } cases[] = {
        {"llama-old", "{'model_type':'llama4_text'}", "`model_type`: 'llama4_text'"},
        {"llama-old", "{'model_type':'mixtral'}",
         "arcee, cohere, cohere2, ernie4_5, exaone4, falcon, gemma, gemma2, gemma3_text, "
         "glm, glm4, gpt2, gpt_bigcode, gpt_neo, gpt_neox, granite, granitemoehybrid, "
         "hunyuan_v1_dense, llama, ministral, ministral3, mistral, nanochat, nemotron, "
         "olmo, olmo2, olmo3, opt, phi, phi3, qwen2, qwen3, seed_oss, smollm3, stablelm, "
         "starcoder2"},
        {"llama-old", "{'model_type':'a-name-that-is-longer-than-any-family-has'}", "`model_type`"},
        {"llama-old", "{'hidden_act':'mish'}", "`hidden_act`: 'mish'"},
        {"gpt2", "{'activation_function':'tanh'}", "`activation_function`"},
        {"gemma2", "{'hidden_activation':'laplace'}", "`hidden_activation`"},
        {"gemma2", "{'hidden_act':'relu'}", "`hidden_act`"},
        {"gemma", "{'hidden_activation':'relu'}", "`hidden_activation`"},
        {"falcon-7b", "{'activation':'linear'}", "`activation`"},
        {"llama-old", "{'quantization_config':{'quant_method':'gptq'}}", "`quantization_config`"},
        {"llama-old", "{'compression_config':{'bits':4}}", "`compression_config`"},
        {"olmo", "{'rms_norm_eps':1e-5}", "`rms_norm_eps`"},
        {"olmo", "{'clip_qkv':-1}", "`clip_qkv`"},
        {"nanochat", "{'final_logit_softcapping':0}", "`final_logit_softcapping`"},
        {"opt", "{'word_embed_proj_dim':0}", "`word_embed_proj_dim`"},
        {"opt", "{'rope_theta':10000}", "`rope_theta`"},
        {"nemotron", "{'num_key_value_heads':'-'}", "`num_key_value_heads` is missing"},
        {"nemotron", "{'kv_channels':16}", "`kv_channels`: 16, where this model has 8"},
        {"hunyuan_v1_dense", "{'attention_head_dim':6}", "`attention_head_dim`"},
        {"nemotron", "{'rms_norm_eps':1e-5}", "`rms_norm_eps`"},
        {"ministral3",
         "{'rope_parameters':{'rope_type':'yarn','factor':2,"
         "'original_max_position_embeddings':16}}",
         "`llama_4_scaling_beta`"},
        {"ministral3",
         "{'rope_parameters':{'rope_type':'yarn','factor':2,'llama_4_scaling_beta':0.1}}",
         "`original_max_position_embeddings`"},
        {"olmo3", "{'rope_theta':10000}", "`rope_theta`"},
        {"olmo3", "{'rope_parameters':{'rope_type':'default'}}", "`rope_parameters`"},
        {"olmo3", "{'sliding_window':null}", "`sliding_window`"},
        {"ministral", "{'head_dim':null}", "`head_dim` is missing"},
        {"hunyuan_v1_dense", "{'head_dim':'-'}", "`head_dim` is missing"},
        {"hunyuan_v1_dense", "{'rope_scaling':{'type':'dynamic','alpha':-1}}", "`alpha`"},
        {"hunyuan_v1_dense", "{'rope_scaling':{'type':'yarn','factor':2,'alpha':4}}", "`alpha`"},
        {"exaone4", "{'layer_types':'-'}", "`sliding_window_pattern`"},
        {"exaone4", "{'layer_types':'-','sliding_window_pattern':0}", "`sliding_window_pattern`"},
        {"exaone4", "{'sliding_window':null}", "`sliding_window`"},
        {"cohere2", "{'sliding_window':null}", "`sliding_window`"},
        {"cohere2", "{'use_parallel_block':false}", "`use_parallel_block`"},
        {"cohere2", "{'rotary_pct':0.5}", "`rotary_pct`"},
        {"cohere2", "{'use_embedding_sharing':false}", "`use_embedding_sharing`"},
        {"granitemoehybrid", "{'layer_types':'-'}", "mamba in all layers"},
        {"granitemoehybrid", "{'layer_types':['attention','mamba','attention']}", "'mamba'"},
        {"granitemoehybrid", "{'layer_types':['attention','attention']}", "2 entries for 3"},
        {"granitemoehybrid", "{'num_local_experts':'-'}", "8 experts"},
        {"granitemoehybrid", "{'num_local_experts':4}", "4 experts"},
        {"granitemoehybrid", "{'normalization_function':'layernorm'}", "`normalization_function`"},
        {"gemma3-folder", "{'text_config':'-'}", "`text_config` is missing"},
        {"gemma3-folder", "{'text_config':{'model_type':'llama'}}",
         "`text_config`: its `model_type`"},
        {"mistral3", "{'quantization_config':{'quant_method':'fp8'}}", "`quantization_config`"},
        {"mistral3", "{'architectures':['Mistral3ForSequenceClassification']}",
         "reward models of type ministral3"},
        {"cohere", "{'architectures':['CohereForSequenceClassification']}",
         "reward models of type cohere"},
        {"cohere2", "{'architectures':['Cohere2ForSequenceClassification']}",
         "reward models of type cohere2"},
        {"ernie4_5", "{'architectures':['Ernie4_5ForSequenceClassification']}",
         "reward models of type ernie4_5"},
        {"granitemoehybrid", "{'architectures':['GraniteMoeHybridForSequenceClassification']}",
         "reward models of type granitemoehybrid"},
        {"nanochat", "{'architectures':['NanoChatForSequenceClassification']}",
         "reward models of type nanochat"},
        {"gemma3-folder", "{'architectures':['Gemma3ForSequenceClassification']}", "2 labels"},
        // keys that transformers reads for the family or for all, and this version does not
        {"llama-old", "{'is_causal':false}", "`is_causal`"},
        {"llama-old", "{'per_layer_config':{'1':{'hidden_size':8}}}", "`per_layer_config`"},
        {"llama-old", "{'attention_chunk_size':4}", "`attention_chunk_size`"},
        {"gpt2", "{'reorder_and_upcast_attn':7}", "`reorder_and_upcast_attn`"},
        {"llama-old", "{'rope_scaling':{'rope_type':'linear','factor':2,'beta_fast':'x'}}",
         "`beta_fast`"},
        {"llama-old", "{'a b':1}", "`a b`"},
        {"llama-old", "{'sliding_window':8}", "`sliding_window`"},
        {"llama-old", "{'layer_types':['full_attention','sliding_attention','full_attention']}",
         "`layer_types`"},
        {"llama-old", "{'pruned_heads':{'0':[1]}}", "`pruned_heads`"},
        {"llama-old", "{'is_encoder_decoder':true}", "`is_encoder_decoder`"},
        {"gemma", "{'use_bidirectional_attention':true}", "`use_bidirectional_attention`"},
        {"gpt2", "{'add_cross_attention':true}", "`add_cross_attention`"},
        {"gpt2", "{'rope_theta':10000}", "`rope_theta`"},
        {"gpt2", "{'hidden_size':32}", "`hidden_size`"},
        {"gpt2", "{'num_key_value_heads':2}", "`num_key_value_heads`"},
        {"gpt2", "{'head_dim':8}", "`head_dim`"},
        {"phi3", "{'full_attn_mod':2}", "`full_attn_mod`"},
        {"stablelm", "{'rotary_scaling_factor':2.0}", "`rotary_scaling_factor`"},
        {"stablelm", "{'head_dim':16}", "`head_dim`"},
        {"starcoder2", "{'norm_type':'rmsnorm'}", "`norm_type`"},
        {"starcoder2", "{'mlp_type':'gated'}", "`mlp_type`"},
        {"starcoder2", "{'scale_attn_weights':false}", "`scale_attn_weights`"},
        {"starcoder2", "{'layer_norm_epsilon':0.001}", "`layer_norm_epsilon`"},
        {"falcon-7b", "{'num_ln_in_parallel_attn':2}", "`num_ln_in_parallel_attn`"},
        {"falcon-40b", "{'num_ln_in_parallel_attn':3}", "`num_ln_in_parallel_attn`"},
        {"falcon-40b", "{'parallel_attn':false}", "`parallel_attn`"},
        {"falcon-11b", "{'ff_factor':3}", "`ff_factor`"},
        {"falcon-rw", "{'num_kv_heads':2}", "`num_kv_heads`"},
        {"gemma2", "{'sliding_window_size':7}", "`sliding_window_size`"},
        {"gemma2", "{'query_pre_attn_scalar':0}", "`query_pre_attn_scalar`"},
        {"gemma2", "{'attn_logit_softcapping':-1.0}", "`attn_logit_softcapping`"},
        {"gemma2", "{'sliding_window':null}", "`sliding_window`"},
        {"granite", "{'logits_scaling':0}", "`logits_scaling`"},
        {"granite", "{'architectures':['GraniteForSequenceClassification']}", "`architectures`"},
        {"gpt2-reward", "{'id2label':{'0':'a','1':'b'}}", "2 labels"},
        {"gpt2-reward", "{'id2label':'-'}", "2 labels"},
        // rotary positions
        {"llama-old", "{'rope_scaling':{'rope_type':'mrope'}}", "`rope_type`: 'mrope'"},
        {"llama-old", "{'rope_scaling':{'rope_type':'yarn'}}", "`factor`"},
        {"llama-old", "{'rope_scaling':{'rope_type':'linear','factor':-2}}", "`factor`"},
        {"llama-old", "{'rope_scaling':{'rope_type':'llama3','factor':8}}", "`low_freq_factor`"},
        {"llama-old", "{'rope_scaling':{'rope_type':'linear','factor':2,'alpha':1}}", "`alpha`"},
        {"llama-old", "{'rope_scaling':{'rope_type':'longrope','factor':2}}", "`short_factor`"},
        {"llama-old",
         "{'rope_scaling':{'rope_type':'longrope','factor':2,'short_factor':[1,1],"
         "'long_factor':[1,1,1]}}",
         "`short_factor`"},
        {"llama-old",
         "{'rope_scaling':{'rope_type':'longrope','factor':2,'short_factor':[1,1,0],"
         "'long_factor':[1,1,1]}}",
         "`short_factor`"},
        {"llama-old", "{'rope_scaling':'linear'}", "`rope_scaling`"},
        {"llama-old", "{'rope_scaling':{'rope_type':7}}", "`rope_type`"},
        {"llama-old", "{'rope_theta':0}", "`rope_theta`"},
        {"llama-old", "{'rope_theta':'10000'}", "`rope_theta`"},
        {"llama-old", "{'partial_rotary_factor':0.5}", "`partial_rotary_factor`"},
        {"phi", "{'partial_rotary_factor':2.0}", "`partial_rotary_factor`"},
        {"phi", "{'partial_rotary_factor':0.01}", "2 .. 1024"},
        {"phi3", "{'rope_scaling':{'type':'linear','factor':2}}", "`rope_type`"},
        {"gpt_neox", "{'rope_theta':5000}", "`rope_theta`"},
        {"gpt_neox", "{'partial_rotary_factor':0.25}", "`partial_rotary_factor`"},
        {"gemma3", "{'rope_parameters':{'rope_type':'default'}}", "`rope_parameters`"},
        {"qwen3", "{'rope_parameters':{'full_attention':{'rope_theta':5}}}", "`full_attention`"},
        // layers
        {"qwen2", "{'layer_types':['full_attention']}", "1 entries for 3 layers"},
        {"qwen2", "{'layer_types':'full_attention'}", "`layer_types`"},
        {"qwen2", "{'layer_types':['full_attention','full_attention','linear_attention']}",
         "'linear_attention'"},
        {"qwen2",
         "{'use_sliding_window':false,'layer_types':['full_attention','full_attention',"
         "'sliding_attention']}",
         "`sliding_window`"},
        {"qwen2", "{'sliding_window':0}", "`sliding_window`"},
        {"smollm3", "{'no_rope_layers':[1,1]}", "2 entries for 4 layers"},
        {"smollm3", "{'no_rope_layers':[1,1,2,1]}", "`no_rope_layers`"},
        {"smollm3", "{'no_rope_layer_interval':0}", "`no_rope_layer_interval`"},
        {"gpt_neo", "{'attention_types':[[['global'],2]]}", "2 entries for 3 layers"},
        {"gpt_neo", "{'attention_types':[[['global'],1000000000000]]}", "more than the 3 layers"},
        {"gpt_neo", "{'attention_types':[[['band'],3]]}", "'band'"},
        {"gpt_neo", "{'attention_types':[[[],3]]}", "`attention_types`"},
        {"gpt_neo", "{'attention_types':7,'attention_layers':'-'}", "`attention_types`"},
        {"gpt_neo", "{'attention_layers':['local','local','local']}", "`attention_layers`"},
        // sizes
        {"gpt2", "{'n_embd':'-'}", "`n_embd` is missing"},
        {"gpt2", "{'n_embd':0}", "`n_embd`"},
        {"gpt2", "{'n_head':5}", "not a multiple"},
        {"gpt_neo", "{'num_layers':5000}", "`num_layers`"},
        {"falcon-40b", "{'num_kv_heads':3}", "not a multiple"},
        {"llama-old", "{'num_attention_heads':1048576,'head_dim':16384}", "heads of"},
        {"llama-old", "{'rms_norm_eps':-1}", "`rms_norm_eps`"},
        {"llama-old", "{'tie_word_embeddings':1}", "`tie_word_embeddings`"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuses(cases[i].name, cases[i].changes, cases[i].reason);
}

// Keys that transformers does not read for the family change no number there either: they are
// named.
static void what_nobody_reads_is_let_through(void)
{
    static const struct {
        const char *name, *changes, *named;
    } cases[] = {
        {"llama-old", "{}", ""},
        {"llama-old", "{'is_llama_config':true,'rope_interleaved':false}", "is_llama_config"},
        {"llama-old", "{'activation':'swiglu','num_experts':8}", "activation, num_experts"},
        {"llama-old", "{'a_new_idea':0}", "a_new_idea"},
        {"llama-old", "{'rope_scaling':{'rope_type':'linear','factor':2,'finetuned':true}}",
         "finetuned"},
        {"mistral", "{'attention_bias':true}", "attention_bias"},
        {"cohere2", "{'use_qk_norm':true}", "use_qk_norm"},
        {"gpt2", "{'scale_embeddings':true}", "scale_embeddings"},
        {"opt", "{'layer_norm_eps':1e-5}", "layer_norm_eps"},
        {"phi3", "{'lm_head_bias':true}", "lm_head_bias"},
        {"gemma3-folder", "{'audio_config':{'layers':3}}", "audio_config"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model_config c;
        takes(&c, cases[i].name, cases[i].changes);
        if (strcmp(c.unread, cases[i].named) != 0)
            printf("# %s with %s: '%s'\n", cases[i].name, cases[i].changes, c.unread);
        CHECK(!strcmp(c.unread, cases[i].named));
        config_release(&c);
    }
    // A long list ends with dots.
    char changes[4096] = "{";
    for (int i = 0; i < 60; i++)
        snprintf(changes + strlen(changes), sizeof changes - strlen(changes), "%s'unknown_%d':%d",
                 i ? "," : "", i, i);
    struct model_config c;
    takes(&c, "llama-old", strcat(changes, "}"));
    size_t n = strlen(c.unread);
    CHECK(n > 350 && n < sizeof c.unread && !strcmp(c.unread + n - 5, ", ..."));
    config_release(&c);
}

// Keys that hub files have and no number depends on, and unknown ones that are switched off.
static void what_changes_nothing_is_taken(void)
{
    static const char *const keys[] = {
        "'_name_or_path':'org/model'",
        "'_attn_implementation_autoset':true",
        "'_flash_attn_2_enabled':true",
        "'auto_map':{'AutoConfig':'x.Y'}",
        "'temperature':0.7,'top_p':0.9,'top_k':50,'do_sample':true,'max_length':20",
        "'repetition_penalty':1.1,'no_repeat_ngram_size':0,'num_beams':1,'length_penalty':1.0",
        "'bad_words_ids':[[1]],'suppress_tokens':[1],'forced_eos_token_id':2",
        "'task_specific_params':{'x':{'y':1}}",
        "'id2label':{'0':'LABEL_0','1':'LABEL_1'},'label2id':{'LABEL_0':0,'LABEL_1':1}",
        "'problem_type':'regression','finetuning_task':'x'",
        "'torchscript':false,'pruned_heads':{},'chunk_size_feed_forward':0",
        "'output_attentions':true,'output_hidden_states':true,'return_dict':true",
        "'tokenizer_class':'LlamaTokenizer','transformers_version':'3.0'",
        "'unsloth_version':'2025.1','unsloth_fixed':true",
        "'pretraining_tp':4,'use_cache':false,'gradient_checkpointing':true",
        "'classifier_dropout':0.1,'classifier_bias':true,'summary_type':'mean'",
        "'initializer_factor':1.0,'initializer_cutoff_factor':2.0",
        "'hidden_dropout':0.1,'attention_dropout':0.1,'resid_pdrop':0.1",
        "'dtype':'bfloat16','torch_dtype':'float16'",
        "'bos_token_id':null,'pad_token_id':-1,'sep_token_id':7,'unk_token_id':0",
        "'max_sequence_length':4096,'model_max_length':4096,'n_ctx':64",
        "'quantization_config':null",
        "'unheard_of':null",
        "'unheard_of':false",
        "'unheard_of':''",
        "'unheard_of':[]",
        "'unheard_of':{}",
        "'attention_bias':false,'mlp_bias':false,'qk_layernorm':false",
        "'use_bidirectional_attention':false,'add_cross_attention':false",
    };
    static const char *const fixtures[] = {"llama-old", "qwen3", "gpt2", "falcon-40b", "gemma3"};
    for (size_t f = 0; f < sizeof fixtures / sizeof *fixtures; f++)
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
            struct model_config c;
            char changes[200];
            snprintf(changes, sizeof changes, "{%s}", keys[i]);
            takes(&c, fixtures[f], changes);
            config_release(&c);
        }
}

static void padding_and_stops(void)
{
    struct model_config c;
    takes(&c, "llama-yarn", NULL);
    CHECK(c.padding == 0 && c.n_eos == 1);
    config_release(&c);
    takes(&c, "llama-old", NULL);
    CHECK(c.padding == -1 && c.n_eos == 3 && is_eos(&c, 4) && !is_eos(&c, 1));
    config_release(&c);
    takes(&c, "glm4", "{'vocab_size':160000,'eos_token_id':'-','pad_token_id':'-'}");
    CHECK(c.n_eos == 0 && c.padding == 151329); // stops are those of the files alone
    config_release(&c);
    takes(&c, "glm4", "{'vocab_size':160000,'pad_token_id':null}");
    CHECK(c.padding == -1);
    config_release(&c);
    takes(&c, "glm4", "{'pad_token_id':'-'}"); // beyond the vocabulary
    CHECK(c.padding == -1);
    config_release(&c);
    takes(&c, "llama-old", "{'pad_token_id':-1}"); // torch counts from the end
    CHECK(c.padding == 47);
    config_release(&c);
    takes(&c, "gpt2", "{'pad_token_id':0}"); // its embedding knows no padding
    CHECK(c.padding == -1);
    config_release(&c);
    takes(&c, "gpt2-reward", NULL);
    CHECK(c.head == HEAD_REWARD && c.has[ROLE_REWARD_HEAD] && !c.has[ROLE_HEAD]);
    config_release(&c);
}

static void names_of_tensors(void)
{
    struct model_config c;
    char name[256];
    takes(&c, "falcon-40b", NULL);
    CHECK_TEXT(family_name(&c, ROLE_ATTENTION_NORM, 1, 0, name, sizeof name),
               "transformer.h.1.ln_attn.weight");
    config_release(&c);
    takes(&c, "falcon-11b", NULL);
    CHECK_TEXT(family_name(&c, ROLE_ATTENTION_NORM, 1, 0, name, sizeof name),
               "transformer.h.1.input_layernorm.weight");
    config_release(&c);
    takes(&c, "stablelm-parallel", NULL);
    CHECK(family_is_per_head(c.family, ROLE_KEY_NORM));
    CHECK_TEXT(family_name(&c, ROLE_KEY_NORM, 2, 1, name, sizeof name),
               "model.layers.2.self_attn.k_layernorm.norms.1.weight");
    config_release(&c);
    takes(&c, "cohere", NULL);
    size_t rows, cols;
    CHECK(family_shape(&c, ROLE_QUERY_NORM, &rows, &cols) == 2 && rows == 4 && cols == 6);
    CHECK(family_shape(&c, ROLE_KEY_NORM, &rows, &cols) == 2 && rows == 2);
    CHECK(family_shape(&c, ROLE_MLP_NORM, &rows, &cols) == 0);
    config_release(&c);
    takes(&c, "gpt2", NULL);
    CHECK(family_shape(&c, ROLE_QKV, &rows, &cols) == 2 && rows == 24 && cols == 72);
    CHECK(family_shape(&c, ROLE_DOWN, &rows, &cols) == 2 && rows == 96 && cols == 24);
    config_release(&c);
    takes(&c, "olmo2", NULL);
    CHECK(family_shape(&c, ROLE_KEY_NORM, &rows, &cols) == 1 && cols == 12);
    config_release(&c);
}

int main(void)
{
    RUN(every_family_is_described);
    RUN(multipliers_and_caps);
    RUN(layers_without_rope);
    RUN(rotary_by_layer);
    RUN(folders);
    RUN(norms_and_ends);
    RUN(absent_keys);
    RUN(defaults_of_transformers);
    RUN(published);
    RUN(windows);
    RUN(rotary_types);
    RUN(rotary_keys);
    RUN(what_changes_numbers_is_refused);
    RUN(what_nobody_reads_is_let_through);
    RUN(what_changes_nothing_is_taken);
    RUN(padding_and_stops);
    RUN(names_of_tensors);
    return test_end();
}
