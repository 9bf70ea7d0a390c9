// SPDX-License-Identifier: MIT
// Small models with random weights: every family that is read, and every switch of the decoder's
// description at least once.
#ifndef FAMILY_KIT_H
#define FAMILY_KIT_H

#include "model_kit.h"

#include <sys/stat.h>

struct small_family {
    const char *name, *json; // what config.json says beside or instead of the common keys
};

#define ROPE(text) "'rope_parameters':{'rope_theta':10000.0,'rope_type':" text "}"
#define FOUR       "1.0,1.1,1.3,1.5"
#define GPT2       "'n_embd':32,'n_head':4,'n_layer':2,'n_positions':64,'n_inner':20,"

KIT const struct small_family small_families[] = {
    {"llama", "'model_type':'llama'"},
    {"llama_bias",
     "'model_type':'llama','attention_bias':true,'mlp_bias':true,'hidden_act':'gelu'"},
    {"llama_tied", "'model_type':'llama','tie_word_embeddings':true,'hidden_act':'relu'"},
    {"llama_dynamic",
     "'model_type':'llama','max_position_embeddings':9," ROPE("'dynamic','factor':3.0")},
    {"llama_longrope",
     "'model_type':'llama'," ROPE("'longrope','factor':4.0,'original_max_position_embeddings':10,"
                                  "'short_factor':[" FOUR "],'long_factor':[1.2,2.0,3.5,5.0]")},
    {"llama_yarn", "'model_type':'llama'," ROPE("'yarn','factor':4.0,"
                                                "'original_max_position_embeddings':16")},
    {"mistral", "'model_type':'mistral','sliding_window':5,'head_dim':6"},
    {"qwen2", "'model_type':'qwen2','use_sliding_window':true,'sliding_window':4,"
              "'max_window_layers':1"},
    {"qwen3", "'model_type':'qwen3','head_dim':10"},
    {"gemma", "'model_type':'gemma','head_dim':8,'tie_word_embeddings':true"},
    {"gemma2", "'model_type':'gemma2','head_dim':8,'sliding_window':4,'query_pre_attn_scalar':12,"
               "'attn_logit_softcapping':2.0,'final_logit_softcapping':3.0"},
    {"gemma3", "'model_type':'gemma3_text','head_dim':8,'sliding_window':4,"
               "'query_pre_attn_scalar':12,'layer_types':['sliding_attention','full_attention']"},
    {"gpt2", "'model_type':'gpt2'," GPT2 "'tie_word_embeddings':true"},
    {"gpt2_inverse", "'model_type':'gpt2'," GPT2 "'scale_attn_by_inverse_layer_idx':true"},
    {"gpt_neo", "'model_type':'gpt_neo','num_heads':4,'num_layers':2,'window_size':4,"
                "'attention_types':[[['global','local'],1]]"},
    {"gpt_neox", "'model_type':'gpt_neox'"},
    {"gpt_neox_sequential", "'model_type':'gpt_neox','use_parallel_residual':false,"
                            "'rotary_pct':0.5"},
    {"phi", "'model_type':'phi'"},
    {"phi_norms", "'model_type':'phi','qk_layernorm':true,'hidden_act':'quick_gelu'"},
    {"phi3", "'model_type':'phi3','pad_token_id':0"},
    {"phi3_longrope", "'model_type':'phi3','pad_token_id':0,'original_max_position_embeddings':10,"
                      "'rope_scaling':{'type':'longrope','short_factor':[" FOUR
                      "],'long_factor':[1.2,2.0,3.5,5.0]}"},
    {"stablelm", "'model_type':'stablelm','use_qkv_bias':true"},
    {"stablelm_parallel", "'model_type':'stablelm','use_parallel_residual':true,"
                          "'qk_layernorm':true"},
    {"gpt_bigcode", "'model_type':'gpt_bigcode'," GPT2 "'multi_query':true"},
    {"gpt_bigcode_heads", "'model_type':'gpt_bigcode'," GPT2 "'multi_query':false"},
    {"starcoder2", "'model_type':'starcoder2','sliding_window':5,'hidden_act':'relu2'"},
    {"falcon_7b", "'model_type':'falcon','ffn_hidden_size':20"},
    {"falcon_40b", "'model_type':'falcon','ffn_hidden_size':20,'new_decoder_architecture':true,"
                   "'num_kv_heads':2"},
    {"falcon_sequential", "'model_type':'falcon','ffn_hidden_size':20,'multi_query':false,"
                          "'parallel_attn':false,'bias':true"},
    {"falcon_alibi", "'model_type':'falcon','ffn_hidden_size':20,'multi_query':false,"
                     "'parallel_attn':false,'bias':true,'alibi':true"},
    {"olmo2", "'model_type':'olmo2'"},
    {"smollm3", "'model_type':'smollm3','no_rope_layers':[0,1]"},
    {"granite", "'model_type':'granite','embedding_multiplier':3.0,'logits_scaling':2.5,"
                "'residual_multiplier':0.4,'attention_multiplier':0.3"},
    {"cohere", "'model_type':'cohere','logit_scale':0.6,'tie_word_embeddings':true"},
    {"arcee", "'model_type':'arcee','mlp_bias':true"},
    {"seed_oss", "'model_type':'seed_oss','head_dim':6"},
    {"ministral", "'model_type':'ministral','head_dim':6,'sliding_window':4,"
                  "'layer_types':['full_attention','sliding_attention']"},
    {"ernie4_5", "'model_type':'ernie4_5','head_dim':6,'use_bias':true"},
    {"glm", "'model_type':'glm','head_dim':8"},
    {"glm4", "'model_type':'glm4','head_dim':8,'attention_bias':false"},
    {"exaone4", "'model_type':'exaone4','sliding_window':5,'sliding_window_pattern':2"},
    {"hunyuan_v1_dense", "'model_type':'hunyuan_v1_dense','head_dim':8,"
                         "'rope_scaling':{'type':'dynamic','alpha':40.0,'factor':1.0}"},
    {"cohere2", "'model_type':'cohere2','logit_scale':0.6,'sliding_window':5,"
                "'sliding_window_pattern':2"},
    {"granitemoehybrid",
     "'model_type':'granitemoehybrid','num_local_experts':0,'shared_intermediate_size':20,"
     "'layer_types':['attention','attention'],'embedding_multiplier':3.0,"
     "'residual_multiplier':0.4,'attention_multiplier':0.3"},
    {"olmo3", "'model_type':'olmo3','sliding_window':5,'layer_types':['sliding_attention',"
              "'full_attention'],'rope_parameters':{'full_attention':{'rope_type':'yarn',"
              "'factor':4.0,'original_max_position_embeddings':16},'sliding_attention':"
              "{'rope_type':'default','rope_theta':1000.0}}"},
    {"nemotron", "'model_type':'nemotron','mlp_bias':true"},
    {"ministral3", "'model_type':'ministral3','head_dim':8," ROPE(
                       "'yarn','factor':4.0,'original_max_position_embeddings':6,"
                       "'llama_4_scaling_beta':0.4")},
    {"olmo", "'model_type':'olmo','clip_qkv':0.7,'attention_bias':true"},
    {"nanochat", "'model_type':'nanochat','final_logit_softcapping':2.0"},
    {"opt", "'model_type':'opt','ffn_dim':20"},
    {"opt_350m", "'model_type':'opt','ffn_dim':20,'do_layer_norm_before':false,"
                 "'word_embed_proj_dim':12,'tie_word_embeddings':true"},
    {"opt_bare", "'model_type':'opt','ffn_dim':20,'enable_bias':false,"
                 "'layer_norm_elementwise_affine':false,'word_embed_proj_dim':48"},
    {"cohere_norms", "'model_type':'cohere','logit_scale':0.6,'use_qk_norm':true"},
};
enum { SMALL_FAMILIES = sizeof small_families / sizeof *small_families };

KIT json_t *small_config(const struct small_family *f)
{
    static const char common[] =
        "{'vocab_size':37,'hidden_size':32,'intermediate_size':20,'num_hidden_layers':2,"
        "'num_attention_heads':4,'num_key_value_heads':2,'max_position_embeddings':64,"
        "'tie_word_embeddings':false,'initializer_range':0.25,'eos_token_id':2,'pad_token_id':null,"
        "%s}";
    char text[2048];
    snprintf(text, sizeof text, common, f->json);
    for (char *at = text; *at; at++)
        *at = *at == '\'' ? '"' : *at;
    json_t *j = json_loads(text, 0, NULL);
    // Keys of other names take the place of the common ones.
    if (json_object_get(j, "n_embd") || json_object_get(j, "ffn_dim") ||
        !strncmp(f->name, "falcon", 6)) {
        json_object_del(j, "intermediate_size");
        json_object_del(j, "num_key_value_heads");
    }
    if (json_object_get(j, "n_embd")) {
        json_object_del(j, "hidden_size");
        json_object_del(j, "num_hidden_layers");
        json_object_del(j, "num_attention_heads");
        json_object_del(j, "max_position_embeddings");
    }
    if (!strncmp(f->name, "gpt_neo", 7))
        json_object_del(j, "num_key_value_heads");
    if (json_object_get(j, "num_layers")) {
        json_object_del(j, "num_hidden_layers");
        json_object_del(j, "num_attention_heads");
    }
    return j;
}

// Opens the family's model in a scratch directory, with all parameters random.
KIT int small_open(struct reference *r, struct scratch *s, const struct small_family *f)
{
    memset(r, 0, sizeof *r);
    snprintf(r->path, sizeof r->path, "%s", f->name);
    scratch_make(s);
    json_t *j = small_config(f);
    char config[100], file[120], path[100];
    snprintf(config, sizeof config, "%s/config", s->path);
    snprintf(file, sizeof file, "%s/config.json", config);
    snprintf(path, sizeof path, "%s/model", s->path);
    CHECK(mkdir(config, 0777) == 0 && mkdir(path, 0777) == 0);
    int to = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int result = j && json_dump_file(j, file, 0) == 0 ? 0 : -1;
    if (result == 0)
        result = model_init(config, to, 7, NULL, &e);
    json_decref(j);
    close(to);
    if (result < 0 || reference_open_model(r, path) < 0 || model_train(r->model, &e) < 0) {
        printf("# %s: %s\n", f->name, e.text);
        CHECK(!"opened");
        return -1;
    }
    struct rng rng;
    rng_init(&rng, 3, RNG_TEST, 0, 0);
    for (size_t i = 0; i < r->model->n_parameters; i++) {
        const struct parameter *p = &r->model->parameter[i];
        for (size_t k = 0; k < p->cols && p->rows == 1; k++)
            r->model->master[p->offset + k] += 0.3f * (float)rng_normal(&rng);
    }
    return 0;
}

KIT void small_close(struct reference *r, struct scratch *s)
{
    reference_close(r);
    scratch_remove(s);
}

KIT const struct small_family *small_family; // of the test that runs
KIT void (*small_check)(const struct small_family *f);

KIT void small_run(void)
{
    small_check(small_family);
}

// A test for each of them.
KIT void each_family(const char *what, void (*check)(const struct small_family *f))
{
    small_check = check;
    for (size_t i = 0; i < SMALL_FAMILIES; i++) {
        char name[100];
        small_family = &small_families[i];
        snprintf(name, sizeof name, "%s_%s", what, small_family->name);
        test_run(name, small_run);
    }
}

#endif
