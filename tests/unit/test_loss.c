// SPDX-License-Identifier: MIT
#include "test.h"

#include "base/json.h"
#include "base/rng.h"
#include "loss/bradley_terry.h"
#include "loss/importance.h"
#include "loss/loss.h"

#include <fcntl.h>
#include <stdlib.h>

#define GOLDEN SHARED "/golden/methods/methods.json"
enum { N = 200 };

struct data {
    float lp[N], a[N], b[N], c[N], value[N], grad[N];
    const float *weight; // NULL: none
};

static void fill(struct data *d)
{
    struct rng r;
    d->weight = NULL;
    rng_init(&r, 1, RNG_TEST, 77, 0);
    for (int i = 0; i < N; i++) {
        d->lp[i] = (float)(-3 * rng_uniform(&r));
        d->a[i] = (float)rng_normal(&r);
        d->b[i] = d->lp[i] + (float)(0.4 * rng_normal(&r));
        d->c[i] = d->lp[i] + (float)(0.4 * rng_normal(&r));
    }
}

static struct loss_tokens tokens_of(struct data *d)
{
    return (struct loss_tokens){
        .n = N, .lp = d->lp, .column = {d->a, d->b, d->c}, .weight = d->weight};
}

// c against a central difference of value. Skips tokens within the step of a kink.
static void check_derivative(struct loss *l, struct data *d, double kink)
{
    struct err e;
    struct loss_stats stats = {0};
    const float h = 1.0f / 256;
    float low[N], high[N], ignored[N], shifted[N];
    struct loss_tokens t = tokens_of(d);
    CHECK(loss_evaluate(l, &t, d->value, d->grad, &stats, &e) == 0);
    t.lp = shifted;
    for (int i = 0; i < N; i++)
        shifted[i] = d->lp[i] + h;
    CHECK(loss_evaluate(l, &t, high, ignored, &stats, &e) == 0);
    for (int i = 0; i < N; i++)
        shifted[i] = d->lp[i] - h;
    CHECK(loss_evaluate(l, &t, low, ignored, &stats, &e) == 0);
    for (int i = 0; i < N; i++) {
        double u = exp((double)d->lp[i] - d->b[i]);
        if (kink > 0 && (fabs(u - 1 + kink) < 0.01 || fabs(u - 1 - kink) < 0.01))
            continue;
        double slope = ((double)high[i] - low[i]) / ((double)(d->lp[i] + h) - (d->lp[i] - h));
        CHECK_NEAR(slope, d->grad[i], 4e-4 * (1 + fabs(d->grad[i])));
    }
}

static void derivatives_by_finite_differences(void)
{
    struct err e;
    struct data d;
    struct loss l;
    fill(&d);
    CHECK(loss_init(&l, NULL, &e) == 0);
    CHECK(l.n_columns == 0);
    check_derivative(&l, &d, 0);
    CHECK(loss_init(&l, "reinforce", &e) == 0);
    check_derivative(&l, &d, 0);
    CHECK(loss_init(&l, "ppo-clip", &e) == 0);
    check_derivative(&l, &d, l.parameters.value[LOSS_CLIPRANGE]);
    CHECK(loss_set_kl(&l, "half:0.7", &e) == 0);
    CHECK(l.n_columns == 3);
    CHECK_TEXT(loss_column(&l, 0), "advantage");
    CHECK_TEXT(loss_column(&l, 1), "logp:rollout");
    CHECK_TEXT(loss_column(&l, 2), "logp:half");
    check_derivative(&l, &d, l.parameters.value[LOSS_CLIPRANGE]);
}

// By token: rho = beta (lp - reference), far below the ends of hellinger and js too.
static void divergences_by_finite_differences(void)
{
    static const char *const names[] = {"tv", "chi2", "hellinger", "js", "kl"};
    struct err e;
    struct data d;
    struct loss l;
    fill(&d);
    for (int i = 0; i < N; i++)
        d.a[i] = d.lp[i] + 80 * ((float)i / N - 0.2f);
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        CHECK(loss_init(&l, names[k], &e) == 0);
        CHECK(loss_needs_reference(&l) && !l.by_sequence);
        CHECK(loss_set_reference(&l, "half", &e) == 0);
        CHECK_TEXT(loss_column(&l, 0), "logp:half");
        struct loss_stats stats = {0};
        struct loss_tokens t = tokens_of(&d);
        float high[N], low[N], lp[N], ignored[N];
        const float h = 1.0f / 512;
        CHECK(loss_evaluate(&l, &t, d.value, d.grad, &stats, &e) == 0);
        CHECK((stats.clipped > 0) == (k >= 2));
        t.lp = lp;
        for (int i = 0; i < N; i++)
            lp[i] = d.lp[i] + h;
        CHECK(loss_evaluate(&l, &t, high, ignored, &stats, &e) == 0);
        for (int i = 0; i < N; i++)
            lp[i] = d.lp[i] - h;
        CHECK(loss_evaluate(&l, &t, low, ignored, &stats, &e) == 0);
        for (int i = 0; i < N; i++) {
            double slope = ((double)high[i] - low[i]) / (2 * (double)h);
            CHECK_NEAR(slope, d.grad[i], 0.01 * fabs(d.grad[i]) + 1e-3);
            CHECK(d.grad[i] >= -10.001f); // beta times the steepest slope
        }
    }
}

enum { SEQUENCES = 24 };

static void sequence_losses_by_finite_differences(void)
{
    struct err e;
    const struct loss_kind *kind;
    int kinds = 0;
    struct loss l;
    struct rng r;
    double log_ratio[SEQUENCES], value[SEQUENCES], c[SEQUENCES], other[SEQUENCES],
        ignored[SEQUENCES];
    rng_init(&r, 1, RNG_TEST, 78, 0);
    for (int i = 0; i < SEQUENCES; i++)
        log_ratio[i] = 8 * rng_normal(&r);
    struct loss_sequences s = {SEQUENCES, log_ratio};
    for (size_t k = 0; (kind = loss_at(k)); k++) {
        struct loss_stats stats = {0};
        size_t where;
        if (!kind->sequences)
            continue;
        CHECK(loss_init(&l, kind->name, &e) == 0);
        kinds++;
        l.by_sequence = 1;
        if (kind->use == LOSS_ON_PAIRS && kind->takes[LOSS_ALPHA].help)
            l.parameters.value[LOSS_ALPHA] = 0.1;
        CHECK(loss_evaluate_sequences(&l, &s, value, c, &stats, &where, &e) == 0);
        for (int i = 0; i < SEQUENCES; i++) {
            double sum[2] = {0}, was = log_ratio[i], h = 1e-5;
            for (int side = 0; side < 2; side++) {
                log_ratio[i] = was + (side ? h : -h);
                CHECK(loss_evaluate_sequences(&l, &s, other, ignored, &stats, &where, &e) == 0);
                for (int n = 0; n < SEQUENCES; n++)
                    sum[side] += other[n];
            }
            log_ratio[i] = was;
            CHECK_NEAR((sum[1] - sum[0]) / (2 * h), c[i], 1e-6 * (1 + fabs(c[i])));
        }
    }
    CHECK(kinds >= 12);
}

// Where functions end, and where exponentials would overflow.
static void extreme_gains(void)
{
    struct err e;
    struct loss l;
    size_t where;
    double log_ratio[4] = {1e6, -1e6, -1e6, 1e6}, value[4], c[4];
    struct loss_stats stats = {0};
    struct loss_sequences s = {4, log_ratio};
    CHECK(loss_init(&l, "logistic", &e) == 0 && l.by_sequence);
    CHECK(loss_evaluate_sequences(&l, &s, value, c, &stats, &where, &e) == 0);
    CHECK(value[0] == 0 && c[0] == 0 && c[1] == 0);
    CHECK_NEAR(value[2], 2e5, 1e-6);
    CHECK(c[2] == -0.1 && c[3] == 0.1);
    CHECK(loss_init(&l, "gsil-bernoulli", &e) == 0);
    CHECK(loss_evaluate_sequences(&l, &s, value, c, &stats, &where, &e) == 0);
    CHECK_NEAR(value[2], 1e4 - 2, 1e-6);
    CHECK(loss_init(&l, "gsil-lsif", &e) == 0);
    CHECK(loss_evaluate_sequences(&l, &s, value, c, &stats, &where, &e) < 0 && where == 0);
    log_ratio[0] = 0;
    CHECK(loss_evaluate_sequences(&l, &s, value, c, &stats, &where, &e) < 0 && where == 3);
    // The touching line: value and slope go on without a step.
    const double ends[] = {-0.9, -log(200.0 / 101), -1 - log(100.0)};
    const char *const names[] = {"hellinger", "js", "kl"};
    for (int k = 0; k < 3; k++) {
        CHECK(loss_init(&l, names[k], &e) == 0);
        l.parameters.value[LOSS_BETA] = 1;
        log_ratio[0] = ends[k] + 1e-9;
        log_ratio[1] = ends[k] - 1e-9;
        log_ratio[2] = ends[k] - 3;
        log_ratio[3] = -1e6;
        stats.clipped = 0;
        CHECK(loss_evaluate_sequences(&l, &s, value, c, &stats, &where, &e) == 0);
        CHECK(stats.clipped == 3);
        CHECK_NEAR(c[0], -100, 1e-3);
        CHECK_NEAR(c[1], -100, 1e-3);
        CHECK_NEAR(value[0], value[1], 1e-6);
        CHECK_NEAR(value[2] - value[1], 300, 1e-5);
    }
}

// The weight of dft is held fixed: c is not the derivative of the value.
static void dft_weighs(void)
{
    struct err e;
    struct loss l;
    struct loss_stats stats = {0};
    float lp[2] = {-0.5f, -3}, value[2], c[2];
    struct loss_tokens t = {.n = 2, .lp = lp};
    CHECK(loss_init(&l, "dft", &e) == 0 && !loss_needs_reference(&l));
    CHECK(loss_evaluate(&l, &t, value, c, &stats, &e) == 0);
    for (int i = 0; i < 2; i++) {
        CHECK_NEAR(c[i], -exp((double)lp[i]), 1e-7);
        CHECK_NEAR(value[i], -exp((double)lp[i]) * lp[i], 1e-7);
    }
}

static void clip_cuts_only_the_way_out(void)
{
    struct err e;
    struct loss l;
    struct loss_stats stats = {0};
    float lp[4], old[4] = {-1, -1, -1, -1}, a[4] = {1, -1, 1, -1}, value[4], c[4];
    for (int i = 0; i < 4; i++)
        lp[i] = -1 + logf(i < 2 ? 1.5f : 0.5f);
    struct loss_tokens t = {.n = 4, .lp = lp, .column = {a, old}};
    CHECK(loss_init(&l, "ppo-clip", &e) == 0);
    CHECK(loss_evaluate(&l, &t, value, c, &stats, &e) == 0);
    CHECK_NEAR(value[0], -1.2, 1e-6);
    CHECK_NEAR(value[1], 1.5, 1e-6);
    CHECK_NEAR(value[2], -0.5, 1e-6);
    CHECK_NEAR(value[3], 0.8, 1e-6);
    CHECK(c[0] == 0 && c[3] == 0);
    CHECK_NEAR(c[1], 1.5, 1e-6);
    CHECK_NEAR(c[2], -0.5, 1e-6);
    CHECK(stats.clipped == 2);
}

static void kl_is_exact_near_zero(void)
{
    float lp = -1, ref = -1 - 0x1p-12f, value = 0, c = 0;
    double d = 0x1p-12;
    struct loss_tokens t = {.n = 1, .lp = &lp};
    double k3 = loss_kl_add(KL_K3, 2, &t, &ref, &value, &c);
    CHECK_NEAR(k3, d * d / 2 - d * d * d / 6, 1e-15);
    CHECK_NEAR(value, 2 * k3, 1e-14);
    CHECK_NEAR(c, 2 * (d - d * d / 2), 1e-10);
}

static double kl_value(enum kl_estimator estimator, double d)
{
    return estimator == KL_K1 ? d : estimator == KL_K2 ? d * d / 2 : exp(-d) - 1 + d;
}

static void kl_estimates(void)
{
    static const enum kl_estimator all[] = {KL_K1, KL_K2, KL_K3};
    static const char *const names[] = {"k1", "k2", "k3"};
    for (int k = 0; k < 3; k++) {
        CHECK_TEXT(kl_estimators[all[k]], names[k]);
        for (float lp = -5; lp < 0; lp += 0.37f) {
            float ref = -2.2f, value = 10, c = 20;
            double d = (double)lp - (double)ref, h = 1e-5;
            double slope = (kl_value(all[k], d + h) - kl_value(all[k], d - h)) / (2 * h);
            struct loss_tokens t = {.n = 1, .lp = &lp};
            CHECK_NEAR(loss_kl_add(all[k], 0.5, &t, &ref, &value, &c), kl_value(all[k], d), 1e-6);
            CHECK_NEAR(value, 10 + 0.5 * kl_value(all[k], d), 1e-5);
            CHECK_NEAR(c, 20 + 0.5 * slope, 1e-5);
        }
    }
}

// A weight is a factor of the value, of its derivative and of the sums, the KL's too.
static void tokens_have_weights(void)
{
    struct err e;
    struct data d;
    struct loss l;
    struct loss_stats plain = {0}, weighed = {0}, sums = {0};
    float weight[N], value[N], c[N];
    fill(&d);
    CHECK(loss_init(&l, "ppo-clip", &e) == 0 && loss_set_kl(&l, "half:0.7", &e) == 0);
    for (int i = 0; i < N; i++)
        weight[i] = (float)(i % 5) / 2;
    struct loss_tokens t = tokens_of(&d);
    CHECK(loss_evaluate(&l, &t, value, c, &plain, &e) == 0);
    d.weight = weight;
    check_derivative(&l, &d, l.parameters.value[LOSS_CLIPRANGE]);
    for (int i = 0; i < N; i++) {
        CHECK_NEAR(d.value[i], (double)weight[i] * value[i], 1e-6);
        CHECK_NEAR(d.grad[i], (double)weight[i] * c[i], 1e-6);
        double away = (double)d.lp[i] - (double)d.c[i];
        sums.kl += (double)weight[i] * kl_value(KL_K3, away);
        sums.value += (double)weight[i] * (value[i] - 0.7 * kl_value(KL_K3, away));
    }
    t = tokens_of(&d);
    CHECK(loss_evaluate(&l, &t, value, c, &weighed, &e) == 0);
    CHECK_NEAR(weighed.kl, sums.kl, 1e-4);
    CHECK_NEAR(weighed.value, sums.value, 1e-4);
    CHECK(weighed.clipped == plain.clipped && fabs(weighed.kl - plain.kl) > 1e-3);
}

// Probabilities 1/2, 1/4, 4/5 under the policy and 1/4, 1/2, 4/5 under the sampler: ratios 2, 1/2
// and 1. The first token has no probability.
static void importance_weights(void)
{
    const float policy[] = {NAN, -0.693147181f, -1.386294361f, -0.223143551f};
    const float sampler[] = {NAN, -1.386294361f, -0.693147181f, -0.223143551f};
    const uint8_t all[] = {1, 1, 1, 1}, some[] = {0, 1, 0, 1}, none[] = {1, 0, 0, 0};
    const struct {
        struct importance how;
        const uint8_t *mask;
        double weight[4], sum;
        size_t outside, ratios;
    } want[] = {
        {{IMPORTANCE_TOKEN, IMPORTANCE_TRUNCATE, 0, 3}, all, {1, 2, 0.5, 1}, 3.5, 0, 3},
        {{IMPORTANCE_TOKEN, IMPORTANCE_TRUNCATE, 0.75, 1.5}, all, {1, 1.5, 0.75, 1}, 3.25, 2, 3},
        {{IMPORTANCE_TOKEN, IMPORTANCE_MASK, 0.75, 1.5}, all, {1, 0, 0, 1}, 1, 2, 3},
        {{IMPORTANCE_TOKEN, IMPORTANCE_MASK, 0, INFINITY}, some, {1, 2, 1, 1}, 3, 0, 2},
        {{IMPORTANCE_SEQUENCE, IMPORTANCE_TRUNCATE, 0, 3}, all, {1, 1, 1, 1}, 3, 0, 1},
        {{IMPORTANCE_SEQUENCE, IMPORTANCE_TRUNCATE, 0, 1.5}, some, {1, 1.5, 1, 1.5}, 3, 1, 1},
        {{IMPORTANCE_SEQUENCE, IMPORTANCE_MASK, 0, 1.5}, some, {1, 0, 1, 0}, 0, 1, 1},
        {{IMPORTANCE_SEQUENCE, IMPORTANCE_MASK, 2.5, 9}, some, {1, 0, 1, 0}, 0, 1, 1},
        {{IMPORTANCE_SEQUENCE, IMPORTANCE_TRUNCATE, 2.5, 9}, none, {1, 1, 1, 1}, 0, 0, 0},
        {{IMPORTANCE_NONE, IMPORTANCE_TRUNCATE, 0, 3}, some, {-1, -1, -1, -1}, 0, 0, 0},
    };
    for (size_t k = 0; k < sizeof want / sizeof *want; k++) {
        struct importance_stats s = {0};
        float weight[] = {-1, -1, -1, -1};
        importance_weigh(&want[k].how, 4, want[k].mask, policy, sampler, weight, &s);
        for (int i = 0; i < 4; i++)
            CHECK_NEAR(weight[i], want[k].weight[i], 1e-6);
        CHECK_NEAR(s.weight, want[k].sum, 1e-6);
        CHECK(s.outside == want[k].outside && s.ratios == want[k].ratios);
        CHECK(s.tokens == (want[k].mask == all ? 3 : want[k].mask == some ? 2 : 0));
        // log 2 up and down, or up alone; the sampler is below the policy there.
        CHECK_NEAR(s.difference, (want[k].mask == all ? 2 : want[k].mask == some) * log(2), 1e-6);
        CHECK_NEAR(s.kl, want[k].mask == some ? -log(2) : 0, 1e-6);
    }
    // A token without a probability was given: it counts 1, and is no part of a sequence's ratio.
    struct importance how = {IMPORTANCE_SEQUENCE, IMPORTANCE_TRUNCATE, 0, 3};
    struct importance_stats s = {0};
    const float given[] = {NAN, NAN, -0.693147181f, -0.223143551f};
    float weight[4];
    importance_weigh(&how, 4, all, policy, given, weight, &s);
    CHECK(s.tokens == 2 && s.ratios == 1);
    CHECK_NEAR(weight[1], 1, 0);
    CHECK_NEAR(weight[2], 0.5, 1e-6);
    CHECK_NEAR(s.kl, log(2), 1e-6);
}

static void refuses(void)
{
    struct err e;
    struct loss l;
    CHECK(loss_init(&l, "nothing", &e) < 0 && e.status == STATUS_USAGE);
    CHECK(loss_init(&l, "reinforce", &e) == 0);
    CHECK(loss_set_kl(&l, "sft", &e) < 0);
    CHECK(loss_set_kl(&l, ":1", &e) < 0);
    CHECK(loss_set_kl(&l, "sft:-1", &e) < 0);
    CHECK(loss_set_kl(&l, "sft:x", &e) < 0);
    CHECK(loss_set_kl(&l, "sft:1", &e) == 0);
    CHECK(loss_set_kl(&l, "sft:1", &e) < 0);
    CHECK(loss_init(&l, "logistic", &e) == 0 && loss_set_kl(&l, "sft:1", &e) < 0);
    CHECK(loss_set_reference(&l, "", &e) < 0);
    CHECK(loss_set_reference(&l, NULL, &e) == 0 && l.n_columns == 0);
    CHECK(loss_init(&l, "tv", &e) == 0 && loss_set_reference(&l, NULL, &e) < 0);
    CHECK(loss_init(&l, "reinforce", &e) == 0 && loss_set_kl(&l, "sft:1", &e) == 0);
    float lp[2] = {-1, -2}, a[2] = {1, NAN}, ref[2] = {-1, -1}, value[2], c[2];
    struct loss_tokens t = {.n = 2, .lp = lp, .column = {a, ref}};
    struct loss_stats stats = {0};
    CHECK(loss_evaluate(&l, &t, value, c, &stats, &e) < 0 && e.status == STATUS_FAILED);
    CHECK(stats.where == 1 && strstr(e.text, "advantage"));
    a[1] = 1;
    ref[1] = 1e30f;
    CHECK(loss_evaluate(&l, &t, value, c, &stats, &e) < 0 && strstr(e.text, "not finite"));
}

// Concatenates one array of every sample; `name` may be a path of two keys.
static size_t gather(const json_t *file, const char *key, const char *sub, float *out)
{
    size_t n = 0, i, k;
    json_t *sample, *x;
    json_array_foreach(json_object_get(file, "samples"), i, sample)
    {
        json_t *array = json_object_get(sample, key);
        json_array_foreach(sub ? json_object_get(array, sub) : array, k, x) out[n++] =
            (float)json_number_value(x);
    }
    return n;
}

static void check_golden(const json_t *file, const char *name, const char *loss, const char *kl,
                         struct loss_tokens t)
{
    struct err e;
    struct loss l;
    struct loss_stats stats = {0};
    float value[N], c[N];
    CHECK(loss_init(&l, loss, &e) == 0);
    if (kl)
        CHECK(loss_set_kl(&l, kl, &e) == 0);
    CHECK(loss_evaluate(&l, &t, value, c, &stats, &e) == 0);
    const json_t *expected = json_object_get(json_object_get(file, "losses"), name);
    double sum = kl ? stats.kl : stats.value, n = (double)t.n;
    CHECK_NEAR(sum / n, json_number_value(json_object_get(expected, "value")), 2e-6);
    if (!strcmp(name, "ppo_clip"))
        CHECK_NEAR(stats.clipped / n, json_number_value(json_object_get(file, "ppo_clip_fraction")),
                   1e-12);
}

static void golden_values(void)
{
    NEED(GOLDEN);
    struct err e;
    json_t *file = json_parse_file(AT_FDCWD, GOLDEN, 1 << 20, &e);
    CHECK(file != NULL);
    float policy[N], sft[N], g[N];
    size_t n = gather(file, "lp_policy", NULL, policy);
    CHECK(n == 85 && gather(file, "lp_sft", NULL, sft) == n);
    struct loss_tokens t = {.n = n, .lp = policy, .column = {g, sft}};
    check_golden(file, "sft", "nll", NULL, t);
    gather(file, "credit", "gamma_1", g);
    check_golden(file, "reinforce", "reinforce", NULL, t);
    gather(file, "credit", "gamma_0.9", g);
    check_golden(file, "reinforce_gamma_0_9", "reinforce", NULL, t);
    gather(file, "advantage", "rloo", g);
    check_golden(file, "reinforce_rloo", "reinforce", NULL, t);
    gather(file, "advantage", "batch_whiten_population", g);
    check_golden(file, "reinforce_whitened", "reinforce", NULL, t);
    check_golden(file, "ppo_clip", "ppo-clip", NULL, t);
    check_golden(file, "kl_k3", "reinforce", "sft:1", t);
    json_decref(file);
}

// Limits of the headers that only our own code can break.
static void limits_are_defended(void)
{
    struct err e;
    struct loss l;
    double x[3] = {0}, value[3], c[3];
    size_t where;
    struct loss_stats stats = {0};
    struct loss_sequences s = {.n = 3, .log_ratio = x};
    CHECK(loss_init(&l, "nll", &e) == 0 && !l.kind->sequences);
    CHECK_DIES(loss_column(&l, l.n_columns));
    CHECK_DIES(MAY_FAIL(loss_evaluate_sequences(&l, &s, value, c, &stats, &where, &e) < 0));
    CHECK(loss_init(&l, "logistic", &e) == 0 && l.kind->use == LOSS_ON_PAIRS);
    CHECK_DIES(MAY_FAIL(loss_evaluate_sequences(&l, &s, value, c, &stats, &where, &e) < 0));
    struct bradley_terry b = {0};
    uint32_t token = 1;
    CHECK_DIES(bradley_terry_align(&b, &token, 0, &token, 1));
}

int main(void)
{
    RUN(derivatives_by_finite_differences);
    RUN(divergences_by_finite_differences);
    RUN(sequence_losses_by_finite_differences);
    RUN(extreme_gains);
    RUN(dft_weighs);
    RUN(clip_cuts_only_the_way_out);
    RUN(kl_is_exact_near_zero);
    RUN(kl_estimates);
    RUN(tokens_have_weights);
    RUN(importance_weights);
    RUN(refuses);
    RUN(golden_values);
    RUN(limits_are_defended);
    return test_end();
}
