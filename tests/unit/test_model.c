// SPDX-License-Identifier: MIT
// The decoder against reference values (transformers in float64) and against itself.
#include "test.h"

#include "base/json.h"
#include "base/thread.h"
#include "model/head.h"

#include <fcntl.h>
#include <stdlib.h>

static struct err e;

struct reference {
    char path[256];
    json_t *json;
    struct safetensors expected;
    struct model *model;
    struct device device;
    struct decoder decoder;
    struct arena arena;
};

static int reference_open(struct reference *r, const char *name)
{
    snprintf(r->path, sizeof r->path, SHARED "/golden/%s", name);
    char file[400];
    snprintf(file, sizeof file, "%s/case.json", r->path);
    r->json = json_parse_file(AT_FDCWD, file, 64 << 20, &e);
    snprintf(file, sizeof file, "%s/expected.safetensors", r->path);
    int ok = r->json && safetensors_open(&r->expected, AT_FDCWD, file, &e) == 0;
    snprintf(file, sizeof file, "%s/model", r->path);
    r->model = ok ? model_open(file, &e) : NULL;
    if (!r->model) {
        printf("# %s\n", e.text);
        return -1;
    }
    device_open(&r->device, "cpu", &e);
    decoder_init(&r->decoder, r->model, &r->device);
    arena_init(&r->arena);
    return 0;
}

static void reference_close(struct reference *r)
{
    json_decref(r->json);
    safetensors_close(&r->expected);
    decoder_release(&r->decoder);
    model_close(r->model);
    device_release(&r->device);
    arena_release(&r->arena);
}

static double number_at(const json_t *j, const char *a, const char *b)
{
    j = json_object_get(j, a);
    return json_number_value(b ? json_object_get(j, b) : j);
}

static double tolerance(double noise)
{
    double t = 20 * noise;
    return t < 1e-6 ? 1e-6 : t > 2e-4 ? 2e-4 : t;
}

static size_t load_tokens(const json_t *list, uint32_t **out)
{
    size_t n = json_array_size(list);
    *out = calloc(n + 1, sizeof **out);
    for (size_t i = 0; i < n; i++)
        (*out)[i] = (uint32_t)json_integer_value(json_array_get(list, i));
    return n;
}

static size_t load_mask(const json_t *list, uint8_t **out)
{
    size_t n = json_array_size(list);
    *out = calloc(n + 1, 1);
    for (size_t i = 0; i < n; i++)
        (*out)[i] = (uint8_t)json_integer_value(json_array_get(list, i));
    return n;
}

// All sequences of the case in one batch; mask 0: every position.
static size_t pack_all(struct reference *r, struct packer *p, int trained)
{
    const json_t *sequences = json_object_get(r->json, "sequences");
    size_t total = 0, wanted = 0;
    for (size_t i = 0; i < json_array_size(sequences); i++)
        total += json_array_size(json_object_get(json_array_get(sequences, i), "tokens"));
    packer_init(p, &r->arena, total, json_array_size(sequences), &e);
    for (size_t i = 0; i < json_array_size(sequences); i++) {
        const json_t *s = json_array_get(sequences, i);
        uint32_t *token;
        uint8_t *mask;
        size_t n = load_tokens(json_object_get(s, "tokens"), &token);
        load_mask(json_object_get(s, "mask"), &mask);
        wanted += packer_add(p, &(struct sequence){token, trained ? mask : NULL, n});
        free(token);
        free(mask);
    }
    return wanted;
}

static void check_scores(struct reference *r)
{
    struct packer p;
    struct batch b;
    size_t wanted = pack_all(r, &p, 0);
    packer_batch(&p, &b);
    CHECK(decoder_forward(&r->decoder, &b, NULL, 0, &e) == 0);
    float *logp = calloc(wanted, sizeof *logp), *entropy = calloc(wanted, sizeof *entropy);
    struct head_result out = {.logp = logp, .entropy = entropy};
    CHECK(head_score(&r->device, r->model, r->decoder.hidden, p.target, wanted, &out, &e) == 0);
    const json_t *sequences = json_object_get(r->json, "sequences");
    double limit = tolerance(number_at(r->json, "fp32_noise", "logprob"));
    double limit_entropy = tolerance(number_at(r->json, "fp32_noise", "entropy"));
    size_t at = 0;
    for (size_t i = 0; i < json_array_size(sequences); i++) {
        const json_t *s = json_array_get(sequences, i);
        const json_t *expected = json_object_get(s, "logprob");
        for (size_t t = 0; t < json_array_size(expected); t++, at++) {
            CHECK_NEAR(logp[at], json_number_value(json_array_get(expected, t)), limit);
            CHECK_NEAR(entropy[at],
                       json_number_value(json_array_get(json_object_get(s, "entropy"), t)),
                       limit_entropy);
        }
    }
    CHECK(at == wanted);
    free(logp);
    free(entropy);
}

static void check_logits(struct reference *r)
{
    const struct safetensors_entry *t = safetensors_find(&r->expected, "logits");
    const float *expected = (const float *)safetensors_data(&r->expected, t);
    const json_t *s = json_array_get(json_object_get(r->json, "sequences"), 0);
    uint32_t *token;
    size_t n = load_tokens(json_object_get(s, "tokens"), &token), vocab = r->model->config.vocab;
    struct packer p;
    struct batch b;
    packer_init(&p, &r->arena, n + 1, 1, &e);
    packer_add(&p, &(struct sequence){token, NULL, n + 1}); // one more, so that the last row is wanted too
    packer_batch(&p, &b);
    float *logits = calloc(n * vocab, sizeof *logits);
    CHECK(decoder_forward(&r->decoder, &b, NULL, 0, &e) == 0);
    CHECK(head_logits(&r->device, r->model, r->decoder.hidden, n, logits, &e) == 0);
    double worst = 0, limit = tolerance(number_at(r->json, "fp32_noise", "logits"));
    for (size_t i = 0; i < n * vocab; i++)
        worst = fmax(worst, fabs(logits[i] - expected[i]));
    CHECK_NEAR(worst, 0, limit);
    printf("# %s: logits off by %.2g (allowed %.2g)\n", r->path, worst, limit);
    free(token);
    free(logits);
}

static int mean_nll(void *arg, size_t first, size_t n, const float *logp, float *c, struct err *err)
{
    for (size_t i = 0; i < n; i++)
        c[i] = -1.0f / (float)*(size_t *)arg;
    return 0;
}

static void check_gradients(struct reference *r)
{
    struct packer p;
    struct batch b;
    size_t wanted = pack_all(r, &p, 1);
    packer_batch(&p, &b);
    CHECK(model_train(r->model, &e) == 0);
    CHECK(decoder_forward(&r->decoder, &b, NULL, 1, &e) == 0);
    float *logp = calloc(wanted, sizeof *logp);
    float *dhidden = calloc(wanted * r->model->config.hidden, sizeof *dhidden);
    struct head_result out = {.logp = logp};
    CHECK(head_train(&r->device, r->model, r->decoder.hidden, p.target, wanted, &out, mean_nll,
                     &wanted, dhidden, &e) == 0);
    CHECK(decoder_backward(&r->decoder, &b, dhidden, &e) == 0);
    double loss = 0, squares = 0;
    for (size_t i = 0; i < wanted; i++)
        loss -= logp[i] / (double)wanted;
    CHECK_NEAR(loss, number_at(r->json, "mean_nll", NULL), 2e-5);
    size_t compared = 0;
    double worst = 0, limit = 20 * number_at(r->json, "fp32_noise", "grad_max");
    for (size_t i = 0; i < r->model->n_parameters; i++) {
        const struct parameter *q = &r->model->parameter[i];
        char name[300];
        snprintf(name, sizeof name, "grad.%s", q->name);
        const struct safetensors_entry *t = safetensors_find(&r->expected, name);
        CHECK(t != NULL);
        if (!t)
            continue;
        const float *expected = (const float *)safetensors_data(&r->expected, t);
        const float *got = r->model->gradient + q->offset;
        for (size_t k = 0; k < q->rows * q->cols; k++) {
            worst = fmax(worst, fabs(got[k] - expected[k]));
            squares += (double)got[k] * got[k];
        }
        compared++;
    }
    CHECK(compared == r->model->n_parameters);
    CHECK_NEAR(worst, 0, fmax(limit, 1e-6));
    printf("# %s: %zu gradients off by %.2g (allowed %.2g)\n", r->path, compared, worst, limit);
    free(logp);
    free(dhidden);
}

static void reference_case(const char *name)
{
    struct reference r = {0};
    if (reference_open(&r, name) < 0) {
        CHECK(!"opened");
        return;
    }
    check_logits(&r);
    check_scores(&r);
    check_gradients(&r);
    reference_close(&r);
}

#define REFERENCE(name)                                                                            \
    static void matches_##name(void)                                                               \
    {                                                                                              \
        NEED(SHARED "/golden/" #name "/case.json");                                                \
        reference_case(#name);                                                                     \
    }
REFERENCE(llama)
REFERENCE(llama_tied)
REFERENCE(llama_bias)
REFERENCE(llama_rope_llama3)

int main(void)
{
    threads_set(2, &e);
    RUN(matches_llama);
    RUN(matches_llama_tied);
    RUN(matches_llama_bias);
    RUN(matches_llama_rope_llama3);
    return test_end();
}
