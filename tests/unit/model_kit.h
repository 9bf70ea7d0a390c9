// SPDX-License-Identifier: MIT
// What the tests of models share: reference cases, small streams, directories to spoil.
#ifndef MODEL_KIT_H
#define MODEL_KIT_H

#include "test.h"

#include "base/io.h"
#include "base/json.h"
#include "base/thread.h"
#include "model/generate.h"
#include "model/head.h"
#include "train/token_objective.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>

#define KIT     __attribute__((unused)) static
#define FIXTURE "tests/fixtures/model"

KIT struct err e;

KIT int is_eos(const struct model_config *c, uint32_t token)
{
    for (size_t i = 0; i < c->n_eos; i++)
        if (c->eos[i] == token)
            return 1;
    return 0;
}

// A model with the values that a reference computed with it.
struct reference {
    char path[256];
    json_t *json;
    struct safetensors expected;
    struct model *model;
    struct device device;
    struct decoder decoder;
    struct arena arena;
};

KIT int reference_open_model(struct reference *r, const char *path)
{
    r->model = model_open(path, &e);
    if (!r->model || device_open(&r->device, "cpu", PRODUCTS_FP32, &e) < 0) {
        printf("# %s\n", e.text);
        return -1;
    }
    decoder_init(&r->decoder, r->model, &r->device);
    arena_init(&r->arena);
    return 0;
}

// The case in the directory PATH: its model, and what was computed with it.
KIT int reference_open(struct reference *r, const char *path)
{
    char file[400];
    memset(r, 0, sizeof *r);
    snprintf(r->path, sizeof r->path, "%s", path);
    snprintf(file, sizeof file, "%s/case.json", r->path);
    r->json = json_parse_file(AT_FDCWD, file, 64 << 20, &e);
    snprintf(file, sizeof file, "%s/expected.safetensors", r->path);
    if (!r->json || safetensors_open(&r->expected, AT_FDCWD, file, &e) < 0) {
        printf("# %s\n", e.text);
        return -1;
    }
    snprintf(file, sizeof file, "%s/model", r->path);
    return reference_open_model(r, file);
}

KIT const char *golden_path; // of the case that runs
KIT void (*golden_check)(const char *path);

KIT void golden_run(void)
{
    if (!golden_path)
        SKIP("needs the cases of " SHARED "/golden, or of $GOLDEN");
    golden_check(golden_path);
}

// A test for each directory with a case.json in `set`; returns how many there are.
KIT int each_case(const char *set, const char *what)
{
    struct dirent **entry;
    int n = scandir(set, &entry, NULL, alphasort), found = 0;
    for (int i = 0; i < n; i++) {
        char path[400], file[420], name[400];
        snprintf(path, sizeof path, "%s/%.100s", set, entry[i]->d_name);
        snprintf(file, sizeof file, "%s/case.json", path);
        snprintf(name, sizeof name, "%s_%.100s", what, entry[i]->d_name);
        golden_path = path;
        if (access(file, R_OK) == 0) {
            test_run(name, golden_run);
            found++;
        }
        free(entry[i]);
    }
    if (n >= 0)
        free(entry);
    golden_path = NULL;
    return found;
}

KIT void golden_few(void)
{
    CHECK(!"all cases of the tree");
}

// A test for each case of the tree, and for each in $GOLDEN.
KIT void each_golden(const char *what, void (*check)(const char *path))
{
    golden_check = check;
    if (each_case("tests/fixtures/reference", what) < 20)
        test_run(what, golden_few);
    if (!each_case(getenv("GOLDEN") ? getenv("GOLDEN") : SHARED "/golden", what))
        test_run(what, golden_run);
}

// The model of the tree itself.
KIT int reference_open_fixture(struct reference *r)
{
    memset(r, 0, sizeof *r);
    snprintf(r->path, sizeof r->path, FIXTURE);
    r->json = json_parse_file(AT_FDCWD, FIXTURE ".json", 1 << 20, &e);
    return r->json ? reference_open_model(r, FIXTURE) : -1;
}

KIT void reference_close(struct reference *r)
{
    json_decref(r->json);
    if (r->expected.map)
        safetensors_close(&r->expected);
    decoder_release(&r->decoder);
    model_close(r->model);
    device_release(&r->device);
    arena_release(&r->arena);
}

KIT double number_at(const json_t *j, const char *a, const char *b)
{
    j = json_object_get(j, a);
    return json_number_value(b ? json_object_get(j, b) : j);
}

KIT double element(const json_t *list, size_t i)
{
    return json_number_value(json_array_get(list, i));
}

// What another correct fp32 program may be off, see the golden set's README.
KIT double tolerance(double noise)
{
    double t = 20 * noise;
    return t < 1e-6 ? 1e-6 : t > 2e-4 ? 2e-4 : t;
}

KIT size_t load_tokens(const json_t *list, uint32_t **out)
{
    size_t n = json_array_size(list);
    *out = calloc(n + 1, sizeof **out);
    for (size_t i = 0; i < n; i++)
        (*out)[i] = (uint32_t)json_integer_value(json_array_get(list, i));
    return n;
}

KIT size_t load_mask(const json_t *list, uint8_t **out)
{
    size_t n = json_array_size(list);
    *out = calloc(n + 1, 1);
    for (size_t i = 0; i < n; i++)
        (*out)[i] = (uint8_t)json_integer_value(json_array_get(list, i));
    return n;
}

// Sequences as a trainer takes them; columns are allocated as needed.
struct examples {
    struct trainer_example *example;
    size_t n, trained;
};

KIT struct examples load_examples(const json_t *sequences)
{
    struct examples x = {calloc(json_array_size(sequences), sizeof *x.example),
                         json_array_size(sequences), 0};
    for (size_t i = 0; i < x.n; i++) {
        const json_t *s = json_array_get(sequences, i);
        uint32_t *token;
        uint8_t *mask;
        size_t n = load_tokens(json_object_get(s, "tokens"), &token);
        load_mask(json_object_get(s, "mask"), &mask);
        x.example[i].sequence = (struct sequence){.token = token, .mask = mask, .n = n};
        x.trained += sequence_wanted(&x.example[i].sequence);
    }
    return x;
}

KIT void free_examples(struct examples *x)
{
    for (size_t i = 0; i < x->n; i++) {
        free((void *)x->example[i].sequence.token);
        free((void *)x->example[i].sequence.mask);
        for (int k = 0; k < LOSS_COLUMNS_MAX; k++)
            free((void *)x->example[i].column[k]);
    }
    free(x->example);
}

// Log-probabilities (and entropies) of all tokens but the first of one sequence: [n - 1].
KIT int score_one(struct reference *r, const uint32_t *token, size_t n, float *logp, float *entropy)
{
    struct packer p;
    struct batch b;
    struct head_result out = {.logp = logp, .entropy = entropy};
    arena_clear(&r->arena);
    if (packer_init(&p, &r->arena, n, 1, &e) < 0)
        return -1;
    packer_add(&p, &(struct sequence){.token = token, .n = n});
    packer_batch(&p, &b);
    if (decoder_forward(&r->decoder, &b, NULL, 0, &e) < 0)
        return -1;
    return head_score(&r->device, r->model, r->decoder.hidden, p.target, b.n_wanted, NULL, &out,
                      &e);
}

// Logits after each of the n tokens, [n, vocab]; to be freed.
KIT float *logits_of(struct reference *r, const uint32_t *token, size_t n)
{
    size_t vocab = r->model->config.vocab;
    struct packer p;
    struct batch b;
    // One token more, so that the last row is wanted too.
    uint32_t *longer = calloc(n + 1, sizeof *longer);
    memcpy(longer, token, n * sizeof *token);
    float *logits = calloc(n * vocab, sizeof *logits);
    arena_clear(&r->arena);
    CHECK(packer_init(&p, &r->arena, n + 1, 1, &e) == 0);
    packer_add(&p, &(struct sequence){.token = longer, .n = n + 1, .beyond = 1});
    packer_batch(&p, &b);
    CHECK(b.n_wanted == n);
    CHECK(decoder_forward(&r->decoder, &b, NULL, 0, &e) == 0);
    CHECK(head_logits(&r->device, r->model, r->decoder.hidden, n, logits, &e) == 0);
    free(longer);
    return logits;
}

KIT double log_sum_exp(const float *z, size_t n)
{
    double most = z[0], sum = 0;
    for (size_t i = 1; i < n; i++)
        most = z[i] > most ? z[i] : most;
    for (size_t i = 0; i < n; i++)
        sum += exp(z[i] - most);
    return most + log(sum);
}

// Theory, items 1 and 3 (gamma 1 and below): rewards read off the logits.
KIT void check_soft_rewards(struct reference *r, const uint32_t *token, size_t n)
{
    size_t vocab = r->model->config.vocab;
    float *z = logits_of(r, token, n), *logp = calloc(n, sizeof *logp);
    double *v = calloc(n + 1, sizeof *v);
    CHECK(score_one(r, token, n, logp, NULL) == 0);
    double total = 0, off = 0;
    for (size_t t = 0; t < n; t++)
        v[t] = log_sum_exp(z + t * vocab, vocab);
    for (size_t t = 0; t + 1 < n; t++) {
        double q = z[t * vocab + token[t + 1]];
        off = fmax(off, fabs((double)logp[t] - (q - v[t])));
        total += (double)logp[t];
    }
    CHECK_NEAR(off, 0, 2e-5);
    static const double gammas[] = {1, 0.9, 0.5};
    for (int k = 0; k < 3; k++) {
        // sum of gamma^t r_t, r_t = Q_t - gamma V_{t+1}, is sum gamma^t log pi_t + V_0 - gamma^T
        // V_T
        double gamma = gammas[k], rewards = 0, logs = 0, power = 1, plain = 0, beyond = 0;
        for (size_t t = 0; t + 1 < n; t++, power *= gamma) {
            double reward = (double)z[t * vocab + token[t + 1]] - gamma * v[t + 1];
            rewards += power * reward;
            logs += power * (double)logp[t];
            plain += reward;
            beyond += (1 - gamma) * v[t + 1];
        }
        CHECK_NEAR(rewards, logs + v[0] - power * v[n - 1], 1e-5 * (double)n);
        // without discounting the sum itself, telescoping fails by exactly the (1 - gamma) V terms
        CHECK_NEAR(plain, total + v[0] - v[n - 1] + beyond, 1e-5 * (double)n);
    }
    free(z);
    free(logp);
    free(v);
}

// A scratch directory, removed with everything in it.
struct scratch {
    char path[64];
    int fd;
};

KIT void scratch_make(struct scratch *s)
{
    snprintf(s->path, sizeof s->path, "/tmp/densepath-test-XXXXXX");
    CHECK(mkdtemp(s->path) != NULL);
    s->fd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

KIT void scratch_remove(struct scratch *s)
{
    close(s->fd);
    CHECK(io_remove_tree(AT_FDCWD, s->path, &e) == 0);
}

#endif
