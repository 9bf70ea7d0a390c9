// SPDX-License-Identifier: MIT
// Terms that look at whole distributions, in the training step: their values and gradients.
#include "model_kit.h"

#include "infer/exact_terms.h"

// A trainer on the model of the tree, its terms against the same model from which a step led away.
struct bench {
    struct reference r;
    struct trainer t;
    struct loss loss;
    struct token_objective objective;
    struct exact_terms exact;
    struct examples x;
    char other[128]; // "DIR:COEF" is made of this
    struct scratch s;
};

static struct trainer_options still(void)
{
    struct trainer_options o = trainer_defaults;
    o.scheduler = SCHEDULE_CONSTANT;
    o.optim = OPTIMIZER_SGD;
    o.learning_rate = 0;
    o.max_grad_norm = 0;
    return o;
}

// The model of the tree with every weight moved, saved.
static void make_other(struct bench *b)
{
    struct model *m = model_open(FIXTURE, &e);
    CHECK(m && model_train(m, &e) == 0);
    for (size_t i = 0; i < m->n_flat; i++)
        m->master[i] += 0.1f * sinf((float)i);
    CHECK(model_save(m, b->s.fd, NULL, &e) == 0);
    model_close(m);
}

static int bench_open(struct bench *b)
{
    memset(b, 0, sizeof *b);
    scratch_make(&b->s);
    make_other(b);
    struct trainer_options o = still();
    if (reference_open_fixture(&b->r) < 0 || loss_init(&b->loss, NULL, &e) < 0 ||
        trainer_init(&b->t, b->r.model, &b->r.device, &o, 0, &e) < 0) {
        CHECK(!"opened");
        return -1;
    }
    token_objective_init(&b->objective, &b->loss, b->r.model, &b->r.device, &o);
    b->x = load_examples(json_object_get(b->r.json, "sequences"));
    return 0;
}

static void bench_close(struct bench *b)
{
    token_objective_release(&b->objective);
    trainer_release(&b->t);
    exact_terms_release(&b->exact);
    free_examples(&b->x);
    reference_close(&b->r);
    scratch_remove(&b->s);
}

// Terms with these coefficients; NAN: without the term.
static void set_terms(struct bench *b, double kl, double reverse, double bonus)
{
    char forth[160], back[160];
    snprintf(forth, sizeof forth, "%s:%.17g", b->s.path, kl);
    snprintf(back, sizeof back, "%s:%.17g", b->s.path, reverse);
    exact_terms_release(&b->exact);
    CHECK(exact_terms_open(&b->exact, isnan(kl) ? NULL : forth, isnan(reverse) ? NULL : back, bonus,
                           b->r.model, &b->r.device, &e) == 0);
    b->objective.exact = exact_terms_any(&b->exact) ? &b->exact : NULL;
}

static struct step_report step(struct bench *b)
{
    struct step_report report;
    b->objective.entropy = 1;
    CHECK(trainer_step(&b->t, b->x.example, b->x.n, &b->objective.objective, &report, &e) == 0);
    return report;
}

static void values_add_up(void)
{
    struct bench b;
    if (bench_open(&b) < 0)
        return;
    struct step_report plain = step(&b);
    set_terms(&b, 0.3, 0.7, 0.2);
    struct step_report with = step(&b);
    CHECK(with.kl_exact > 0.01 && with.kl_exact_reverse > 0.01);
    CHECK_NEAR(with.loss,
               plain.loss + 0.3 * with.kl_exact + 0.7 * with.kl_exact_reverse - 0.2 * plain.entropy,
               2e-6);
    // Each alone has the values it has in company.
    set_terms(&b, 1, NAN, 0);
    struct step_report alone = step(&b);
    CHECK(alone.kl_exact == with.kl_exact);
    CHECK_NEAR(alone.loss, plain.loss + with.kl_exact, 2e-6);
    set_terms(&b, NAN, 1, 0);
    alone = step(&b);
    CHECK(alone.kl_exact_reverse == with.kl_exact_reverse);
    CHECK_NEAR(alone.loss, plain.loss + with.kl_exact_reverse, 2e-6);
    bench_close(&b);
}

// The loss's slope along its own gradient is the gradient's length.
static void gradients_by_differences(void)
{
    static const double terms[][3] = {{5, NAN, 0}, {NAN, 5, 0}, {NAN, NAN, 5}, {2, 3, 4}};
    for (size_t k = 0; k < sizeof terms / sizeof *terms; k++) {
        struct bench b;
        if (bench_open(&b) < 0)
            return;
        set_terms(&b, terms[k][0], terms[k][1], terms[k][2]);
        struct model *m = b.r.model;
        float *at = malloc(m->n_flat * sizeof *at), *g = malloc(m->n_flat * sizeof *g);
        memcpy(at, m->master, m->n_flat * sizeof *at);
        double norm = step(&b).grad_norm, loss[2], reach = 2e-3;
        memcpy(g, m->gradient, m->n_flat * sizeof *g);
        for (int side = 0; side < 2; side++) {
            for (size_t i = 0; i < m->n_flat; i++)
                m->master[i] = (float)(at[i] + (side ? 1 : -1) * reach * g[i] / norm);
            loss[side] = step(&b).loss;
        }
        CHECK_NEAR((loss[1] - loss[0]) / (2 * reach) / norm, 1, 2e-3);
        free(at);
        free(g);
        bench_close(&b);
    }
}

static float *gradient_of(struct bench *b)
{
    step(b);
    float *g = malloc(b->r.model->n_flat * sizeof *g);
    return memcpy(g, b->r.model->gradient, b->r.model->n_flat * sizeof *g);
}

static double apart(const struct bench *b, const float *g, const float *h)
{
    double most = 0;
    for (size_t i = 0; i < b->r.model->n_flat; i++)
        most = fmax(most, fabs((double)g[i] - (double)h[i]));
    return most;
}

static void company_changes_nothing(void)
{
    struct bench b;
    if (bench_open(&b) < 0)
        return;
    float *plain = gradient_of(&b);
    set_terms(&b, 0, 0, 0); // measured only
    float *measured = gradient_of(&b);
    CHECK(apart(&b, plain, measured) == 0);
    set_terms(&b, 0.5, 0.25, 0.1);
    float *with = gradient_of(&b);
    CHECK(apart(&b, plain, with) > 1e-3);
    // Two models that are the same in another place.
    struct model *second = model_open(b.s.path, &e);
    CHECK(second != NULL && !b.exact.frozen[1].model);
    b.exact.frozen[1].model = second;
    b.exact.frozen[1].reverse = b.exact.frozen[0].reverse;
    b.exact.frozen[0].reverse = 0;
    decoder_init(&b.exact.frozen[1].decoder, second, &b.r.device);
    float *two = gradient_of(&b);
    CHECK(apart(&b, with, two) < 1e-6);
    for (size_t micro = 1; micro < 60; micro += 13) {
        b.t.pass.batch_tokens = micro;
        float *small = gradient_of(&b);
        CHECK(apart(&b, with, small) < 2e-6);
        free(small);
    }
    b.t.pass.batch_tokens = 1024;
    for (int n = 1; n <= 3; n++) {
        CHECK(threads_set(n, &e) == 0);
        float *threads = gradient_of(&b);
        CHECK(apart(&b, two, threads) == 0);
        free(threads);
    }
    CHECK(threads_set(2, &e) == 0);
    free(plain);
    free(measured);
    free(with);
    free(two);
    bench_close(&b);
}

static void refuses(void)
{
    struct bench b;
    if (bench_open(&b) < 0)
        return;
    static const struct {
        const char *kl, *reverse;
        int status;
    } bad[] = {
        {"absent:1", NULL, STATUS_FAILED},   {NULL, "absent:1", STATUS_FAILED},
        {"nothing", NULL, STATUS_USAGE},     {FIXTURE ":x", NULL, STATUS_USAGE},
        {FIXTURE ":-1", NULL, STATUS_USAGE}, {NULL, FIXTURE ":nan", STATUS_USAGE},
        {FIXTURE ":1", ":1", STATUS_USAGE},  {FIXTURE ":1", FIXTURE ":-1", STATUS_USAGE},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct exact_terms t;
        CHECK(exact_terms_open(&t, bad[i].kl, bad[i].reverse, 0, b.r.model, &b.r.device, &e) < 0);
        CHECK((int)e.status == bad[i].status);
        exact_terms_release(&t);
    }
    bench_close(&b);
}

int main(void)
{
    CHECK(threads_set(2, &e) == 0);
    RUN(values_add_up);
    RUN(gradients_by_differences);
    RUN(company_changes_nothing);
    RUN(refuses);
    return test_end();
}
