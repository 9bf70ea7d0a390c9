// SPDX-License-Identifier: MIT
// The training step: three updates of each reference case, the policy losses and their gradients,
// micro-batches, normalisation, what is not finite, states.
#include "model_kit.h"

#include "train/checkpoint.h"

#define METHODS SHARED "/golden/methods"

static const float *expected_of(const struct reference *r, const char *what, const char *name)
{
    char key[400];
    snprintf(key, sizeof key, "%s.%s", what, name);
    const struct safetensors_entry *t = safetensors_find(&r->expected, key);
    CHECK(t != NULL);
    return t ? (const float *)safetensors_data(&r->expected, t) : NULL;
}

// The README's comparison of parameters after the steps.
static void compare_parameters(const struct reference *r, const char *what)
{
    const json_t *noise = json_object_get(json_object_get(r->json, "fp32_noise"), what);
    int exact = !strcmp(what, "adamw_large_eps");
    for (size_t i = 0; i < r->model->n_parameters; i++) {
        const struct parameter *p = &r->model->parameter[i];
        const float *want = expected_of(r, what, p->name), *got = r->model->master + p->offset;
        size_t n = p->rows * p->cols, moved = 0;
        double squares = 0, most = 0;
        if (!want)
            return;
        for (size_t k = 0; k < n; k++) {
            double d = fabs((double)got[k] - (double)want[k]);
            squares += d * d;
            most = fmax(most, d);
            moved += d > 1e-5;
        }
        double rms = sqrt(squares / (double)n);
        if (exact) {
            double limit = 20 * number_at(noise, "parameter_max", p->name) + 1e-6;
            CHECK_NEAR(most, 0, limit);
        } else {
            double limit = 20 * number_at(noise, "parameter_rms", p->name) + 1e-6;
            CHECK_NEAR(rms, 0, limit);
            double few = 3 * number_at(noise, "above_1e-5", p->name) + 0.005 * (double)n;
            if ((double)moved > few)
                printf("# %s: %zu of %zu elements moved, %.0f may; largest difference %.3g\n",
                       p->name, moved, n, few, most);
            CHECK((double)moved <= few);
        }
    }
}

static void set_options(struct trainer_options *o, const json_t *case_json, const char *what)
{
    const json_t *c = json_object_get(case_json, what);
    *o = trainer_defaults;
    o->scheduler = SCHEDULE_CONSTANT;
    o->optim = !strcmp(what, "rmsprop") ? OPTIMIZER_RMSPROP : OPTIMIZER_ADAMW;
    o->learning_rate = number_at(c, "lr", NULL);
    o->epsilon = number_at(c, "eps", NULL);
    o->weight_decay = number_at(c, "weight_decay", NULL);
    o->max_grad_norm = number_at(c, "max_grad_norm", NULL);
    if (o->optim == OPTIMIZER_ADAMW) {
        o->beta1 = number_at(c, "beta1", NULL);
        o->beta2 = number_at(c, "beta2", NULL);
    }
}

static void check_steps(const char *path, const char *what, int64_t micro)
{
    struct reference r;
    if (reference_open(&r, path) < 0) {
        CHECK(!"opened");
        return;
    }
    const json_t *c = json_object_get(r.json, what);
    if (c) {
        struct trainer_options o;
        struct trainer t;
        struct loss loss;
        struct token_objective objective;
        struct step_report report;
        struct examples x = load_examples(json_object_get(r.json, "sequences"));
        const json_t *noise = json_object_get(json_object_get(r.json, "fp32_noise"), what);
        set_options(&o, r.json, what);
        o.micro_batch_tokens = micro;
        CHECK(loss_init(&loss, "nll", &e) == 0);
        CHECK(trainer_init(&t, r.model, &r.device, &o, 0, &e) == 0);
        token_objective_init(&objective, &loss, r.model, &r.device, &o);
        for (size_t step = 0; step < 4; step++) {
            if (step == 3)
                compare_parameters(&r, what);
            CHECK(trainer_step(&t, x.example, x.n, &objective.objective, &report, &e) == 0);
            CHECK_NEAR(report.loss, element(json_object_get(c, "losses"), step),
                       tolerance(number_at(noise, "loss", NULL)));
            if (step < 3)
                CHECK_NEAR(report.grad_norm, element(json_object_get(c, "grad_norms"), step),
                           tolerance(number_at(noise, "grad_norm", NULL)));
            if (step == 0)
                CHECK_NEAR(report.accuracy, number_at(r.json, "mean_token_accuracy", NULL), 1e-9);
        }
        CHECK(t.num_tokens == 4 * x.trained);
        printf("# %s: three steps of %s\n", path, what);
        token_objective_release(&objective);
        trainer_release(&t);
        free_examples(&x);
    }
    reference_close(&r);
}

static void check_training(const char *path)
{
    check_steps(path, "adamw", 4096);
    check_steps(path, "adamw", 1);
    check_steps(path, "adamw_large_eps", 4096);
    check_steps(path, "rmsprop", 4096);
}

// The samples of golden/methods as examples with the columns that the loss wants.
static const json_t *column_source(const json_t *sample, const char *column, const char *advantage)
{
    if (!strncmp(column, "logp:", 5))
        return json_object_get(sample, !strcmp(column, "logp:half") ? "lp_half" : "lp_sft");
    const json_t *credit = json_object_get(json_object_get(sample, "credit"), advantage);
    return credit ? credit : json_object_get(json_object_get(sample, "advantage"), advantage);
}

// Which samples a loss is about; pairs stand behind each other, the demonstration first.
enum subset { ALL, PAIRS, DEMONSTRATIONS };

struct method {
    const char *name, *loss, *advantage, *kl, *reference;
    enum subset subset;
    int by_sequence;
    double beta, alpha, offset, temperature;
};

// The numbers of those samples.
static size_t choose(const json_t *methods, enum subset subset, size_t *chosen)
{
    const json_t *pairs = json_object_get(methods, "pairs");
    size_t n = 0;
    if (subset == ALL)
        for (; n < json_array_size(json_object_get(methods, "samples")); n++)
            chosen[n] = n;
    for (size_t i = 0; subset != ALL && i < json_array_size(pairs); i++) {
        chosen[n++] = (size_t)number_at(json_array_get(pairs, i), "demonstration", NULL);
        if (subset == PAIRS)
            chosen[n++] = (size_t)number_at(json_array_get(pairs, i), "sample", NULL);
    }
    return n;
}

static struct examples method_examples(const json_t *methods, const struct loss *loss,
                                       const struct method *method)
{
    size_t chosen[64];
    const char *advantage = method->advantage;
    struct examples x = {.n = choose(methods, method->subset, chosen)};
    x.example = calloc(x.n, sizeof *x.example);
    for (size_t i = 0; i < x.n; i++) {
        const json_t *s = json_array_get(json_object_get(methods, "samples"), chosen[i]);
        uint32_t *token;
        size_t n = load_tokens(json_object_get(s, "tokens"), &token);
        size_t n_prompt = (size_t)number_at(s, "n_prompt", NULL);
        uint8_t *mask = calloc(n, 1);
        memset(mask + n_prompt, 1, n - n_prompt);
        x.example[i].sequence = (struct sequence){.token = token, .mask = mask, .n = n};
        x.trained += n - n_prompt;
        for (size_t k = 0; k < loss->n_columns; k++) {
            float *column = calloc(n, sizeof *column);
            const char *name = loss_column(loss, k);
            const json_t *from = column_source(s, name, advantage);
            for (size_t t = n_prompt; t < n && (advantage || !strncmp(name, "logp:", 5)); t++)
                column[t] = (float)element(from, t - n_prompt);
            x.example[i].column[k] = column;
        }
    }
    return x;
}

// What the trainer's step finds as loss, norm and gradient, against the reference's.
static void check_method(const struct method *method, const json_t *j, int64_t micro)
{
    struct reference r = {0};
    if (reference_open_model(&r, METHODS "/policy") < 0 ||
        safetensors_open(&r.expected, AT_FDCWD, METHODS "/gradients.safetensors", &e) < 0) {
        CHECK(!"opened");
        return;
    }
    struct loss loss;
    struct token_objective objective;
    struct trainer t;
    struct trainer_options o = trainer_defaults;
    struct step_report report;
    o.learning_rate = 0;
    o.scheduler = SCHEDULE_CONSTANT;
    o.micro_batch_tokens = micro;
    o.temperature = method->temperature;
    CHECK(loss_init(&loss, method->loss, &e) == 0);
    loss.parameters.value[LOSS_CLIPRANGE] = 0.2;
    if (method->beta > 0)
        loss.parameters.value[LOSS_BETA] = method->beta;
    if (method->alpha > 0) {
        loss.parameters.value[LOSS_ALPHA] = method->alpha;
        loss.parameters.value[LOSS_OFFSET] = method->offset;
    }
    loss.by_sequence |= method->by_sequence;
    if (method->reference)
        CHECK(loss_set_reference(&loss, method->reference, &e) == 0);
    if (method->kl)
        CHECK(loss_set_kl(&loss, method->kl, &e) == 0);
    struct examples x = method_examples(j, &loss, method);
    if (method->subset == ALL)
        CHECK(x.trained == (size_t)number_at(j, "n_trained", NULL));
    CHECK(trainer_init(&t, r.model, &r.device, &o, 0, &e) == 0);
    token_objective_init(&objective, &loss, r.model, &r.device, &o);
    objective.entropy = 1;
    CHECK(trainer_step(&t, x.example, x.n, &objective.objective, &report, &e) == 0);
    const json_t *want = json_object_get(json_object_get(j, "losses"), method->name);
    const json_t *noise = json_object_get(j, "fp32_noise");
    CHECK_NEAR(report.loss, number_at(want, "value", NULL),
               tolerance(number_at(noise, "loss", method->name)));
    CHECK_NEAR(report.grad_norm, number_at(want, "grad_norm", NULL),
               fmax(1e-6, 20 * number_at(noise, "grad_max", method->name)) *
                   sqrt((double)r.model->n_values) / 10);
    if (method->subset == ALL && !method->temperature)
        CHECK_NEAR(report.entropy, number_at(json_object_get(j, "losses"), "entropy", "value"),
                   2e-5);
    if (!strcmp(method->name, "kl_k3"))
        CHECK_NEAR(report.kl, number_at(want, "value", NULL), 1e-6);
    if (!strcmp(method->name, "ppo_clip"))
        CHECK_NEAR(report.clipped, number_at(j, "ppo_clip_fraction", NULL), 1e-9);
    double worst = 0, limit = fmax(1e-6, 20 * number_at(noise, "grad_max", method->name));
    for (size_t i = 0; i < r.model->n_parameters; i++) {
        const struct parameter *p = &r.model->parameter[i];
        const float *g = expected_of(&r, method->name, p->name);
        for (size_t k = 0; g && k < p->rows * p->cols; k++)
            worst = fmax(worst, fabs((double)g[k] - (double)r.model->gradient[p->offset + k]));
    }
    CHECK_NEAR(worst, 0, limit);
    printf("# %s: gradient off by %.2g (allowed %.2g)\n", method->name, worst, limit);
    token_objective_release(&objective);
    trainer_release(&t);
    free_examples(&x);
    reference_close(&r);
}

static void policy_losses(void)
{
    NEED(METHODS "/methods.json");
    static const struct method methods[] = {
        {"sft", "nll", .subset = ALL},
        {"dft", "dft", .subset = ALL},
        {"sft_temperature_0_6", "nll", .temperature = 0.6},
        {"sft_temperature_1_7", "nll", .temperature = 1.7},
        {"reinforce", "reinforce", .advantage = "gamma_1"},
        {"reinforce_gamma_0_9", "reinforce", .advantage = "gamma_0.9"},
        {"reinforce_whitened", "reinforce", .advantage = "batch_whiten_population"},
        {"reinforce_rloo", "reinforce", .advantage = "rloo"},
        {"ppo_clip", "ppo-clip", .advantage = "batch_whiten_population"},
        {"kl_k3", "reinforce", .kl = "sft:1"},
        {"spin_logistic", "logistic", .reference = "sft", .subset = PAIRS},
        {"spin_hinge", "hinge", .reference = "sft", .subset = PAIRS},
        {"gsil_bernoulli", "gsil-bernoulli", .reference = "sft", .subset = PAIRS},
        {"gsil_brier", "gsil-brier", .reference = "sft", .subset = PAIRS},
        {"gsil_hinge", "gsil-hinge", .reference = "sft", .subset = PAIRS},
        {"gsil_kliep", "gsil-kliep", .reference = "sft", .subset = PAIRS},
        {"gsil_lsif", "gsil-lsif", .reference = "sft", .subset = PAIRS},
#define WIDE .reference = "sft", .subset = PAIRS, .alpha = 0.1, .offset = 0.5
        {"gsil_bernoulli_wide", "gsil-bernoulli", WIDE},
        {"gsil_brier_wide", "gsil-brier", WIDE},
        {"gsil_hinge_wide", "gsil-hinge", WIDE},
        {"gsil_kliep_wide", "gsil-kliep", WIDE},
        {"gsil_lsif_wide", "gsil-lsif", WIDE},
#define TOKEN    .reference = "half", .beta = 0.1
#define SEQUENCE .reference = "half", .beta = 0.02, .by_sequence = 1, .subset = DEMONSTRATIONS
        {"fsft_token_tv", "tv", TOKEN},
        {"fsft_token_chi2", "chi2", TOKEN},
        {"fsft_token_hellinger", "hellinger", TOKEN},
        {"fsft_token_js", "js", TOKEN},
        {"fsft_token_kl", "kl", TOKEN},
        {"fsft_sequence_tv", "tv", SEQUENCE},
        {"fsft_sequence_chi2", "chi2", SEQUENCE},
        {"fsft_sequence_hellinger", "hellinger", SEQUENCE},
        {"fsft_sequence_js", "js", SEQUENCE},
        {"fsft_sequence_kl", "kl", SEQUENCE},
    };
    json_t *j = json_parse_file(AT_FDCWD, METHODS "/methods.json", 64 << 20, &e);
    CHECK(j != NULL);
    for (size_t i = 0; j && i < sizeof methods / sizeof *methods; i++)
        for (int64_t micro = 1; micro <= 4096; micro *= 64)
            check_method(&methods[i], j, micro);
    json_decref(j);
}

// A trainer on the model of the tree.
struct bench {
    struct reference r;
    struct trainer t;
    struct loss loss;
    struct token_objective objective;
    struct examples x;
};

static int bench_open(struct bench *b, const struct trainer_options *o)
{
    if (reference_open_fixture(&b->r) < 0 || loss_init(&b->loss, NULL, &e) < 0 ||
        trainer_init(&b->t, b->r.model, &b->r.device, o, 100, &e) < 0) {
        CHECK(!"opened");
        return -1;
    }
    token_objective_init(&b->objective, &b->loss, b->r.model, &b->r.device, o);
    b->x = load_examples(json_object_get(b->r.json, "sequences"));
    return 0;
}

static void bench_close(struct bench *b)
{
    token_objective_release(&b->objective);
    trainer_release(&b->t);
    free_examples(&b->x);
    reference_close(&b->r);
}

static int bench_step(struct bench *b, enum normalize normalize, double constant,
                      struct step_report *report)
{
    b->objective.normalize = normalize;
    b->objective.constant = constant;
    return trainer_step(&b->t, b->x.example, b->x.n, &b->objective.objective, report, &e);
}

static struct trainer_options brisk(void)
{
    struct trainer_options o = trainer_defaults;
    o.learning_rate = 1e-2;
    o.epsilon = 1e-3;
    o.weight_decay = 0.1;
    o.warmup_steps = 2;
    return o;
}

// Cutting the step into passes changes the order of sums, not the result.
static void micro_batches_agree(void)
{
    static const int64_t sizes[] = {4096, 30, 12, 1};
    struct trainer_options o = brisk();
    struct bench first;
    struct step_report report;
    if (bench_open(&first, &o) < 0)
        return;
    for (int step = 0; step < 5; step++)
        CHECK(bench_step(&first, NORMALIZE_TOKENS, 0, &report) == 0);
    for (int k = 1; k < 4; k++) {
        struct bench other;
        o.micro_batch_tokens = sizes[k];
        if (bench_open(&other, &o) < 0)
            return;
        for (int step = 0; step < 5; step++)
            CHECK(bench_step(&other, NORMALIZE_TOKENS, 0, &report) == 0);
        double worst = 0;
        for (size_t i = 0; i < first.r.model->n_flat; i++) {
            double a = (double)first.r.model->master[i], b = (double)other.r.model->master[i];
            worst = fmax(worst, fabs(a - b) / fmax(1, fabs(a)));
        }
        CHECK_NEAR(worst, 0, 1e-6);
        bench_close(&other);
    }
    bench_close(&first);
}

// The loop over micro-batches: all sequences in order, groups in one piece, as many of them as the
// limit holds and at least one, those without a wanted position left out.
static void check_micro_batches(struct bench *b, size_t limit, size_t group, int after)
{
    enum { N = 8 };
    static const size_t length[N] = {5, 9, 3, 3, 17, 2, 4, 6};
    static const uint32_t token[17] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17};
    static const uint8_t none[17] = {0};
    struct sequence s[N];
    struct pass p;
    size_t seen = 0, end = 0, before = 0;
    for (size_t i = 0; i < N; i++)
        s[i] = (struct sequence){token, i / 2 == 1 ? none : NULL, length[i], 0};
    pass_init(&p, b->r.model, &b->r.device);
    p.batch_tokens = limit;
    p.group = group;
    p.after = after;
    pass_begin(&p, s, N);
    int more;
    while ((more = pass_next(&p, &e)) > 0) {
        size_t rows = 0, next = 0;
        CHECK(p.first >= end && p.first % group == 0 && (p.n % group == 0 || p.first + p.n == N));
        for (size_t i = 0; i < p.n; i++)
            rows += length[p.first + i] - (after ? 0 : 1);
        for (size_t i = 0; i < group && p.first + p.n + i < N; i++)
            next += length[p.first + p.n + i] - (after ? 0 : 1);
        CHECK(rows <= limit || p.n <= group);
        CHECK(p.first + p.n == N || rows + next > limit);
        for (size_t i = end; i < p.first; i++)
            CHECK(s[i].mask == none);
        CHECK(p.batch.n_wanted > 0 && pass_forward(&p, 0, &e) == 0);
        before = p.batch.n;
        seen += p.batch.n_wanted;
        end = p.first + p.n;
    }
    CHECK(more == 0 && end == N && before > 0 && seen == 4 + 8 + 16 + 1 + 3 + 5);
    pass_release(&p);
}

static void micro_batches_are_whole(void)
{
    struct trainer_options o = brisk();
    struct bench b;
    if (bench_open(&b, &o) < 0)
        return;
    for (size_t limit = 1; limit < 60; limit++)
        for (size_t group = 1; group <= 3; group++)
            for (int after = 0; after < 2; after++)
                check_micro_batches(&b, limit, group, after);
    // What the model cannot take is refused by its number.
    static const uint32_t good[] = {1, 2}, bad[] = {1, 40};
    struct sequence s[] = {{good, NULL, 2, 0}, {bad, NULL, 2, 0}};
    pass_begin(&b.t.pass, s, 2);
    CHECK(pass_next(&b.t.pass, &e) < 0 && b.t.pass.where == 1 && strstr(e.text, "vocabulary"));
    b.t.pass.positions = 1;
    static const uint32_t far[] = {1, 2, 3};
    struct sequence t[] = {{good, NULL, 2, 0}, {far, NULL, 3, 0}};
    pass_begin(&b.t.pass, t, 2);
    CHECK(pass_next(&b.t.pass, &e) < 0 && b.t.pass.where == 1 && strstr(e.text, "3 tokens"));
    bench_close(&b);
}

// Bit for bit.
static void threads_agree(void)
{
    struct trainer_options o = brisk();
    struct bench one, more;
    struct step_report a, b;
    for (int n = 2; n <= 3; n++) {
        if (bench_open(&one, &o) < 0 || bench_open(&more, &o) < 0)
            return;
        for (int step = 0; step < 4; step++) {
            CHECK(threads_set(1, &e) == 0 && bench_step(&one, NORMALIZE_TOKENS, 0, &a) == 0);
            CHECK(threads_set(n, &e) == 0 && bench_step(&more, NORMALIZE_TOKENS, 0, &b) == 0);
            CHECK(a.loss == b.loss && a.grad_norm == b.grad_norm);
        }
        CHECK(memcmp(one.r.model->master, more.r.model->master,
                     one.r.model->n_flat * sizeof(float)) == 0);
        bench_close(&one);
        bench_close(&more);
    }
    CHECK(threads_set(2, &e) == 0);
}

static void normalisers(void)
{
    struct trainer_options o = trainer_defaults;
    struct step_report by_token, by_sequence, by_constant;
    o.learning_rate = 0;
    struct bench b;
    if (bench_open(&b, &o) < 0)
        return;
    CHECK(bench_step(&b, NORMALIZE_TOKENS, 0, &by_token) == 0);
    CHECK(bench_step(&b, NORMALIZE_SEQUENCES, 0, &by_sequence) == 0);
    CHECK(bench_step(&b, NORMALIZE_CONSTANT, 50, &by_constant) == 0);
    double sum = by_token.loss * (double)b.x.trained;
    CHECK_NEAR(by_sequence.loss, sum / (double)b.x.n, 1e-9);
    CHECK_NEAR(by_constant.loss, sum / (50 * (double)b.x.n), 1e-9);
    double norm = by_token.grad_norm * (double)b.x.trained;
    CHECK_NEAR(by_sequence.grad_norm * (double)b.x.n / norm, 1, 1e-6);
    CHECK_NEAR(by_constant.grad_norm * 50 * (double)b.x.n / norm, 1, 1e-6);
    bench_close(&b);
}

// A sequence without a trained token changes nothing, whatever it is packed with.
static void untrained_sequences_add_nothing(void)
{
    struct trainer_options o = brisk();
    struct bench b, c;
    struct step_report report;
    if (bench_open(&b, &o) < 0 || bench_open(&c, &o) < 0)
        return;
    struct trainer_example mixed[8];
    static const uint32_t token[] = {1, 2, 3, 4};
    static const uint8_t mask[] = {0, 0, 0, 0}, only_first[] = {1, 0, 0, 0};
    mixed[0] = (struct trainer_example){.sequence = {.token = token, .mask = mask, .n = 4}};
    memcpy(mixed + 1, b.x.example, b.x.n * sizeof *mixed);
    mixed[b.x.n + 1] =
        (struct trainer_example){.sequence = {.token = token, .mask = only_first, .n = 4}};
    CHECK(trainer_step(&b.t, mixed, b.x.n + 2, &b.objective.objective, &report, &e) == 0);
    CHECK(bench_step(&c, NORMALIZE_TOKENS, 0, &report) == 0);
    CHECK(memcmp(b.r.model->master, c.r.model->master, b.r.model->n_flat * sizeof(float)) == 0);
    CHECK(trainer_step(&b.t, mixed, 1, &b.objective.objective, &report, &e) < 0);
    CHECK(strstr(e.text, "no trained token") != NULL);
    bench_close(&b);
    bench_close(&c);
}

static void not_finite_changes_nothing(void)
{
    struct trainer_options o = brisk();
    struct bench b;
    struct step_report report;
    if (bench_open(&b, &o) < 0)
        return;
    CHECK(bench_step(&b, NORMALIZE_TOKENS, 0, &report) == 0);
    size_t bytes = b.r.model->n_flat * sizeof(float);
    float *before = malloc(bytes);
    for (int k = 0; k < 3; k++) {
        const struct parameter *p = &b.r.model->parameter[(size_t)k * 5];
        float *value = b.r.model->master + p->offset + 5 * p->cols % (p->rows * p->cols);
        float was = *value;
        *value = k == 1 ? INFINITY : NAN;
        memcpy(before, b.r.model->master, bytes);
        CHECK(bench_step(&b, NORMALIZE_TOKENS, 0, &report) < 0);
        CHECK(strstr(e.text, "not finite") || strstr(e.text, "not a number"));
        CHECK(memcmp(before, b.r.model->master, bytes) == 0 && b.t.step == 1);
        *value = was;
    }
    CHECK(bench_step(&b, NORMALIZE_TOKENS, 0, &report) == 0);
    free(before);
    bench_close(&b);
}

// A state brings everything back: the next steps give the same bits.
static void states_go_on(void)
{
    for (int optim = OPTIMIZER_ADAMW; optim <= OPTIMIZER_SGD; optim++) {
        struct trainer_options o = brisk();
        struct bench b, c;
        struct step_report report;
        struct scratch s;
        json_t *then = NULL, *now = json_pack("{s:i, s:f}", "seed", 3, "rate", 0.1);
        o.optim = optim;
        if (bench_open(&b, &o) < 0 || bench_open(&c, &o) < 0)
            return;
        scratch_make(&s);
        for (int step = 0; step < 3; step++)
            CHECK(bench_step(&b, NORMALIZE_TOKENS, 0, &report) == 0);
        CHECK(checkpoint_save(s.fd, "state", &b.t, now, &e) == 0);
        CHECK(!io_exists(s.fd, "state.new"));
        CHECK(checkpoint_load(s.fd, "state", &c.t, &then, &e) == 0);
        CHECK(c.t.step == 3 && c.t.num_tokens == 3 * b.x.trained);
        CHECK(checkpoint_agrees(then, now, &e) == 0);
        json_object_set_new(now, "seed", json_integer(4));
        CHECK(checkpoint_agrees(then, now, &e) < 0 && strstr(e.text, "`seed`"));
        for (int step = 0; step < 3; step++)
            CHECK(bench_step(&b, NORMALIZE_TOKENS, 0, &report) == 0 &&
                  bench_step(&c, NORMALIZE_TOKENS, 0, &report) == 0);
        CHECK(memcmp(b.r.model->master, c.r.model->master, b.r.model->n_flat * sizeof(float)) == 0);
        json_decref(then);
        json_decref(now);
        bench_close(&b);
        bench_close(&c);
        scratch_remove(&s);
    }
}

static void spoil(int fd, const char *name, const unsigned char *data, size_t n, size_t at,
                  int byte)
{
    int out = openat(fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    CHECK(write(out, data, n) == (ssize_t)n);
    unsigned char b = (unsigned char)byte;
    if (at < n)
        CHECK(pwrite(out, &b, 1, (off_t)at) == 1);
    close(out);
}

// States that were cut, or belong to another model or optimizer, are refused.
static void states_are_checked(void)
{
    struct trainer_options o = brisk(), plain = brisk();
    struct bench b, c;
    struct scratch s;
    json_t *settings = json_object(), *then = NULL;
    plain.optim = OPTIMIZER_RMSPROP;
    if (bench_open(&b, &o) < 0 || bench_open(&c, &plain) < 0)
        return;
    scratch_make(&s);
    CHECK(checkpoint_save(s.fd, "rmsprop", &c.t, settings, &e) == 0);
    CHECK(checkpoint_load(s.fd, "rmsprop", &b.t, &then, &e) < 0 && !then);
    CHECK(strstr(e.text, "another model or optimizer") != NULL);
    CHECK(checkpoint_save(s.fd, "state", &b.t, settings, &e) == 0);
    struct buffer whole;
    buffer_init(&whole, 1 << 24);
    int fd = openat(s.fd, "state", O_RDONLY);
    CHECK(fd >= 0 && io_read_fd(fd, "state", &whole, &e) == 0);
    close(fd);
    for (size_t n = 0; n < whole.size; n += n < 1000 ? 1 : 4999) {
        spoil(s.fd, "cut", (const unsigned char *)whole.data, n, SIZE_MAX, 0);
        then = NULL;
        CHECK(checkpoint_load(s.fd, "cut", &b.t, &then, &e) < 0 && !then);
    }
    buffer_release(&whole);
    json_decref(settings);
    bench_close(&b);
    bench_close(&c);
    scratch_remove(&s);
}

int main(void)
{
    CHECK(threads_set(2, &e) == 0);
    each_golden("trains", check_training);
    RUN(policy_losses);
    RUN(micro_batches_agree);
    RUN(micro_batches_are_whole);
    RUN(threads_agree);
    RUN(normalisers);
    RUN(untrained_sequences_add_nothing);
    RUN(not_finite_changes_nothing);
    RUN(states_go_on);
    RUN(states_are_checked);
    return test_end();
}
