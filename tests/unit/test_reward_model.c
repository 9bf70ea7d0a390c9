// SPDX-License-Identifier: MIT
// Reward models: the loss of pairs, gradients through the whole model, the head's place in a
// checkpoint.
#include "family_kit.h"

#include "base/rng.h"
#include "infer/reward_scorer.h"
#include "train/reward_objective.h"

#define GOLDEN SHARED "/golden/methods/methods.json"
enum { MOST = 32 };

struct side {
    uint32_t token[MOST];
    float reward[MOST], gradient[MOST];
    struct completion c;
};

static void use(struct side *s, size_t n)
{
    s->c = (struct completion){s->token, s->reward, s->gradient, n};
}

static void load_side(struct side *s, const json_t *pair, const char *name)
{
    char key[64];
    size_t n = 0, i;
    json_t *x;
    snprintf(key, sizeof key, "tokens_%s", name);
    json_array_foreach(json_object_get(pair, key), i, x) s->token[n++] =
        (uint32_t)json_integer_value(x);
    snprintf(key, sizeof key, "reward_%s", name);
    json_array_foreach(json_object_get(pair, key), i, x) s->reward[i] = (float)json_number_value(x);
    use(s, n);
}

static void check_gradient(const struct side *s, const json_t *expected)
{
    CHECK(json_array_size(expected) == s->c.n);
    for (size_t t = 0; t < s->c.n; t++)
        CHECK_NEAR(s->gradient[t], element(expected, t), 1e-7);
}

static void golden_pairs(void)
{
    NEED(GOLDEN);
    json_t *file = json_parse_file(AT_FDCWD, GOLDEN, 1 << 20, &e);
    CHECK(file != NULL);
    const json_t *golden = json_object_get(file, "bradley_terry");
    const json_t *list = json_object_get(golden, "pairs");
    size_t n = json_array_size(list);
    CHECK(n == 5);
    for (int pad = 0; pad < 3; pad++)
        for (int reduction = 0; reduction < 2; reduction++) {
            struct bradley_terry b = {LEVEL_TOKEN, pad, reduction};
            struct side y[5], other[5];
            struct alignment at[5];
            double divisor = 0, value = 0;
            char key[64];
            snprintf(key, sizeof key, "%s_%s", bradley_terry_pads[pad],
                     reduction == REDUCTION_TOKENS ? "token_mean" : "pair_mean");
            const json_t *expected = json_object_get(golden, key);
            for (size_t i = 0; i < n; i++) {
                const json_t *pair = json_array_get(list, i);
                load_side(&y[i], pair, "demonstration");
                load_side(&other[i], pair, "sample");
                at[i] = bradley_terry_align(&b, y[i].token, y[i].c.n, other[i].token, other[i].c.n);
                if (pad != PAD_SHORTER) {
                    CHECK_NEAR((double)at[i].first, number_at(pair, "first", NULL), 0);
                    CHECK_NEAR((double)at[i].end, number_at(pair, "end", NULL), 0);
                }
                divisor += bradley_terry_weight(&b, at[i]);
            }
            for (size_t i = 0; i < n; i++) {
                value += bradley_terry_loss(&b, at[i], 1 / divisor, &y[i].c, &other[i].c);
                check_gradient(&y[i],
                               json_array_get(json_object_get(expected, "grad_demonstration"), i));
                check_gradient(&other[i],
                               json_array_get(json_object_get(expected, "grad_sample"), i));
            }
            CHECK_NEAR(value, number_at(expected, "value", NULL), 1e-7);
        }
    json_decref(file);
}

static double pair_loss(const struct bradley_terry *b, const struct side *y,
                        const struct side *other)
{
    struct alignment at = bradley_terry_align(b, y->token, y->c.n, other->token, other->c.n);
    return bradley_terry_loss(b, at, 0.3, &y->c, &other->c);
}

static void check_slope(const struct bradley_terry *b, struct side *y, struct side *other,
                        struct side *moved, size_t t)
{
    const float h = 1.0f / 512, before = moved->reward[t];
    pair_loss(b, y, other);
    double gradient = (double)moved->gradient[t];
    moved->reward[t] = before + h;
    double high = pair_loss(b, y, other);
    moved->reward[t] = before - h;
    double low = pair_loss(b, y, other);
    moved->reward[t] = before;
    CHECK_NEAR((high - low) / ((double)(before + h) - (double)(before - h)), gradient, 2e-6);
}

static void slopes_by_finite_differences(void)
{
    struct rng r;
    rng_init(&r, 1, RNG_TEST, 5, 0);
    for (int round = 0; round < 120; round++) {
        struct bradley_terry b = {round % 2, round / 2 % 3, round / 6 % 2};
        struct side side[2];
        for (int k = 0; k < 2; k++) {
            use(&side[k], 1 + rng_below(&r, 9));
            for (size_t t = 0; t < side[k].c.n; t++) {
                side[k].token[t] = (uint32_t)rng_below(&r, 2); // often the same beginning
                side[k].reward[t] = (float)rng_normal(&r);
            }
        }
        for (int k = 0; k < 2; k++)
            for (size_t t = 0; t < side[k].c.n; t++)
                check_slope(&b, &side[0], &side[1], &side[k], t);
    }
}

static void extremes_stay_finite(void)
{
    struct side y, other;
    struct bradley_terry b = {LEVEL_SEQUENCE, PAD_HOLD, REDUCTION_PAIRS};
    use(&y, 1);
    use(&other, 2);
    y.token[0] = other.token[0] = other.token[1] = 3;
    for (int sign = -1; sign <= 1; sign += 2) {
        y.reward[0] = (float)(sign * 1e4);
        other.reward[0] = 7;
        other.reward[1] = (float)(-sign * 1e4);
        struct alignment at = bradley_terry_align(&b, y.token, 1, other.token, 2);
        CHECK_NEAR(bradley_terry_loss(&b, at, 1, &y.c, &other.c), sign > 0 ? 0 : 2e4, 1e-9);
        CHECK_NEAR(y.gradient[0], sign > 0 ? 0 : -1, 1e-9);
        CHECK(other.gradient[0] == 0); // not the last token
        CHECK_NEAR(other.gradient[1], sign > 0 ? 0 : 1, 1e-9);
    }
}

// A reward model made from the tree's own language model, with a head that is not zero.
struct reward_model {
    struct scratch scratch;
    struct device device;
    struct model *model;
    struct trainer trainer;
};

static const struct trainer_options still = {.learning_rate = 0,
                                             .scheduler = SCHEDULE_CONSTANT,
                                             .optim = OPTIMIZER_SGD,
                                             .micro_batch_tokens = 30};

static void reward_model_open(struct reward_model *r)
{
    memset(r, 0, sizeof *r);
    scratch_make(&r->scratch);
    struct model *base = model_open(FIXTURE, &e);
    CHECK(base && model_save_as_reward(base, r->scratch.fd, 3, &e) == 0);
    model_close(base);
    CHECK(model_open(r->scratch.path, &e) == NULL && strstr(e.text, "reward model"));
    r->model = model_open_reward(r->scratch.path, &e);
    CHECK(r->model != NULL && device_open(&r->device, "cpu", PRODUCTS_FP32, &e) == 0);
    r->model->config.padding = -1; // whose embedding would get no gradient
    CHECK(trainer_init(&r->trainer, r->model, &r->device, &still, 0, &e) == 0);
}

static void reward_model_close(struct reward_model *r)
{
    trainer_release(&r->trainer);
    model_close(r->model);
    device_release(&r->device);
    scratch_remove(&r->scratch);
}

static const struct parameter *find_role(const struct model *m, enum tensor_role role)
{
    for (size_t i = 0; i < m->n_parameters; i++)
        if (m->parameter[i].role == role)
            return &m->parameter[i];
    return NULL;
}

static void head_in_a_checkpoint(void)
{
    struct reward_model r;
    reward_model_open(&r);
    const struct parameter *head = find_role(r.model, ROLE_REWARD_HEAD);
    CHECK(head && head->rows == 1 && head->cols == r.model->config.hidden && head->n_dims == 2);
    CHECK_TEXT(head->name, "score.weight");
    CHECK(!find_role(r.model, ROLE_HEAD) && r.model->n_unused == 0);
    for (size_t i = 0; i < head->cols; i++)
        CHECK(r.model->master[head->offset + i] == 0);
    // All the rest is the language model's.
    struct model *base = model_open(FIXTURE, &e);
    for (size_t i = 0; i < base->n_parameters; i++) {
        const struct parameter *p = &base->parameter[i];
        if (p->role == ROLE_HEAD)
            continue;
        float *a = calloc(p->rows * p->cols, sizeof *a), *b = calloc(p->rows * p->cols, sizeof *b);
        size_t k = 0;
        while (k < r.model->n_parameters && strcmp(r.model->parameter[k].name, p->name) != 0)
            k++;
        CHECK(k < r.model->n_parameters);
        CHECK(model_values(base, i, a, &e) == 0 && model_values(r.model, k, b, &e) == 0);
        CHECK(!memcmp(a, b, p->rows * p->cols * sizeof *a));
        free(a);
        free(b);
    }
    model_close(base);
    json_t *config = json_parse_file(r.scratch.fd, "config.json", 1 << 20, &e);
    CHECK(json_integer_value(json_object_get(config, "pad_token_id")) == 3);
    CHECK(json_object_size(json_object_get(config, "id2label")) == 1);
    json_decref(config);
    reward_model_close(&r);
}

// Pairs of random completions of one prompt.
enum { PAIRS = 5 };
struct random_pairs {
    uint32_t token[2 * PAIRS][40];
    uint8_t mask[40];
    struct trainer_example example[2 * PAIRS];
    struct pair pair[PAIRS];
};

static void fill_pairs(struct random_pairs *p)
{
    struct rng r;
    memset(p, 0, sizeof *p);
    rng_init(&r, 3, RNG_TEST, 9, 0);
    for (size_t t = 3; t < 40; t++)
        p->mask[t] = t != 5; // a hole among the trained tokens
    for (size_t i = 0; i < (size_t)2 * PAIRS; i++) {
        size_t n = 4 + rng_below(&r, i == 0 ? 36 : 12);
        for (size_t t = 0; t < n; t++)
            p->token[i][t] = t < 4 ? (uint32_t)t + 1 : (uint32_t)rng_below(&r, 40);
        p->example[i].sequence = (struct sequence){.token = p->token[i], .mask = p->mask, .n = n};
    }
    for (size_t i = 0; i < PAIRS; i++)
        p->pair[i] = (struct pair){{2 * i + i % 2, 2 * i + 1 - i % 2}};
}

// The loss by the other way: the scorer's rewards.
static double scored_loss(struct reward_model *r, const struct random_pairs *p,
                          const struct bradley_terry *b)
{
    struct reward_scorer scorer;
    struct sequence sequence[2 * PAIRS];
    float reward[2 * PAIRS * 40];
    size_t first[2 * PAIRS], wanted = 0, where;
    struct reward_stats f;
    for (size_t i = 0; i < (size_t)2 * PAIRS; i++) {
        first[i] = wanted;
        sequence[i] = p->example[i].sequence;
        wanted += sequence_wanted(&sequence[i]);
    }
    reward_scorer_init(&scorer, r->model, &r->device);
    CHECK(reward_scorer_run(&scorer, sequence, (size_t)2 * PAIRS, reward, NULL, &where, &e) == 0);
    reward_scorer_release(&scorer);
    CHECK(reward_measure(p->example, p->pair, PAIRS, b, reward, first, &f, &e) == 0);
    return f.loss;
}

// Along a direction of length 1: the slope of the loss (a difference of fourth order, because the
// fp32 loss has a noise of 1e-7) is the gradient's part in that direction.
static void check_direction(struct reward_model *r, const struct random_pairs *p,
                            const struct bradley_terry *b, const float *gradient,
                            const float *direction)
{
    struct model *m = r->model;
    double length = 0, expected = 0, value[4];
    CHECK(r->device.ops->sum_squares(&r->device, direction, m->n_flat, &length, &e) == 0);
    length = sqrt(length);
    float *before = calloc(m->n_flat, sizeof *before);
    memcpy(before, m->master, m->n_flat * sizeof *before);
    static const double step[4] = {-4e-3, -2e-3, 2e-3, 4e-3};
    for (size_t i = 0; i < m->n_flat; i++)
        expected += (double)gradient[i] * (double)direction[i] / length;
    for (int k = 0; k < 4; k++) {
        for (size_t i = 0; i < m->n_flat; i++)
            m->master[i] = (float)((double)before[i] + step[k] * (double)direction[i] / length);
        value[k] = scored_loss(r, p, b);
    }
    memcpy(m->master, before, m->n_flat * sizeof *before);
    double slope = (8 * (value[2] - value[1]) - (value[3] - value[0])) / (12 * step[2]);
    CHECK_NEAR(slope, expected, 1e-4 * (1 + fabs(expected)));
    free(before);
}

// An update from the pairs.
static struct step_report reward_step(struct reward_model *r, const struct random_pairs *p,
                                      const struct bradley_terry *b)
{
    struct trainer_example example[2 * PAIRS];
    struct reward_objective objective;
    struct step_report report;
    for (size_t i = 0; i < PAIRS; i++) {
        example[2 * i] = p->example[p->pair[i].member[PAIR_PREFERRED]];
        example[2 * i + 1] = p->example[p->pair[i].member[PAIR_OTHER]];
    }
    reward_objective_init(&objective, b);
    CHECK(trainer_step(&r->trainer, example, (size_t)2 * PAIRS, &objective.objective, &report,
                       &e) == 0);
    CHECK(objective.stats.pairs == PAIRS && objective.stats.loss == report.loss);
    reward_objective_release(&objective);
    return report;
}

static void gradient_through_the_model(void)
{
    struct reward_model r;
    static struct random_pairs p;
    struct rng random;
    reward_model_open(&r);
    fill_pairs(&p);
    rng_init(&random, 4, RNG_TEST, 1, 0);
    struct model *m = r.model;
    const struct parameter *head = find_role(m, ROLE_REWARD_HEAD);
    // With a head of zeros: the loss is ln 2, and only the head has a gradient.
    struct bradley_terry b = {LEVEL_TOKEN, PAD_HOLD, REDUCTION_PAIRS};
    struct step_report report = reward_step(&r, &p, &b);
    CHECK_NEAR(report.loss, log(2), 1e-7);
    for (size_t i = 0; i < m->n_flat; i++)
        if (i < head->offset || i >= head->offset + head->cols)
            CHECK(m->gradient[i] == 0);
    CHECK(report.grad_norm > 0.01);
    for (size_t i = 0; i < head->cols; i++)
        m->master[head->offset + i] = (float)(0.5 * rng_normal(&random));
    float *gradient = calloc(m->n_flat, sizeof *gradient);
    float *direction = calloc(m->n_flat, sizeof *direction);
    for (int round = 0; round < 7; round++) {
        b = (struct bradley_terry){round == 6, round % 3, round / 3 % 2};
        report = reward_step(&r, &p, &b);
        CHECK_NEAR(report.loss, scored_loss(&r, &p, &b), 1e-6);
        memcpy(gradient, m->gradient, m->n_flat * sizeof *gradient);
        check_direction(&r, &p, &b, gradient, gradient);
        for (size_t i = 0; i < m->n_parameters; i++) {
            // one tensor at a time
            memset(direction, 0, m->n_flat * sizeof *direction);
            for (size_t k = 0; k < m->parameter[i].rows * m->parameter[i].cols; k++)
                direction[m->parameter[i].offset + k] = (float)rng_normal(&random);
            if (round == 0 || round == 6)
                check_direction(&r, &p, &b, gradient, direction);
        }
    }
    free(gradient);
    free(direction);
    reward_model_close(&r);
}

static void rewards_stand_at_their_tokens(void)
{
    struct reward_model r;
    static struct random_pairs p;
    struct reward_scorer scorer;
    float whole[40], part[40];
    size_t where;
    reward_model_open(&r);
    fill_pairs(&p);
    const struct parameter *head = find_role(r.model, ROLE_REWARD_HEAD);
    for (size_t i = 0; i < head->cols; i++)
        r.model->master[head->offset + i] = (float)i - 9;
    reward_scorer_init(&scorer, r.model, &r.device);
    struct sequence s = p.example[0].sequence;
    size_t n = sequence_wanted(&s);
    CHECK(n > 12);
    CHECK(reward_scorer_run(&scorer, &s, 1, whole, NULL, &where, &e) == 0);
    // A later token changes no reward before it; the token itself does.
    for (size_t cut = 4; cut < s.n; cut++) {
        if (!s.mask[cut])
            continue;
        struct sequence shorter = {.token = s.token, .mask = s.mask, .n = cut + 1};
        CHECK(reward_scorer_run(&scorer, &shorter, 1, part, NULL, &where, &e) == 0);
        CHECK(!memcmp(part, whole, sequence_wanted(&shorter) * sizeof *part));
    }
    uint32_t last = p.token[0][s.n - 1];
    p.token[0][s.n - 1] = last == 7 ? 8 : 7;
    CHECK(reward_scorer_run(&scorer, &s, 1, part, NULL, &where, &e) == 0);
    CHECK(!memcmp(part, whole, (n - 1) * sizeof *part) && part[n - 1] != whole[n - 1]);
    // The weights of attention are shares of the wanted tokens, and rewards do not depend on them.
    float weight[40], again[40];
    CHECK(reward_scorer_run(&scorer, &s, 1, again, weight, &where, &e) == 0);
    CHECK(!memcmp(part, again, n * sizeof *part));
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)weight[i];
    CHECK_NEAR(sum, 1, 1e-6);
    reward_scorer_release(&scorer);
    reward_model_close(&r);
}

// The sum of all rewards of the sequences, and with `back` its gradient.
static double total_reward(struct model *m, struct decoder *d, const struct sequence *s, size_t n,
                           int back)
{
    struct arena arena;
    struct packer p;
    struct batch b;
    float reward[64], ones[64];
    double sum = 0;
    arena_init(&arena);
    CHECK(packer_init(&p, &arena, 64, n, &e) == 0);
    p.after = 1;
    for (size_t i = 0; i < n; i++)
        packer_add(&p, &s[i]);
    packer_batch(&p, &b);
    CHECK(decoder_forward(d, &b, NULL, back, &e) == 0 &&
          head_reward(d->device, m, d->hidden, b.n_wanted, reward, &e) == 0);
    for (size_t i = 0; i < b.n_wanted; i++) {
        sum += (double)reward[i];
        ones[i] = 1;
    }
    float *dhidden = calloc(b.n_wanted * m->config.end_width, sizeof *dhidden);
    if (back)
        CHECK(head_reward_backward(d->device, m, d->hidden, b.n_wanted, ones, dhidden, &e) == 0 &&
              decoder_backward(d, &b, dhidden, &e) == 0);
    free(dhidden);
    arena_release(&arena);
    return sum;
}

// The gradient of the sum of rewards along a direction in the space of all weights.
static void check_reward_direction(struct model *m, struct decoder *d, const struct sequence *s,
                                   size_t n)
{
    struct rng rng;
    double along = 0, h = 1e-4, sides[2];
    float *was = malloc(m->n_flat * sizeof *was);
    memcpy(was, m->master, m->n_flat * sizeof *was);
    CHECK(model_clear_gradient(m, &e) == 0);
    total_reward(m, d, s, n, 1);
    for (int side = 0; side < 2; side++) {
        rng_init(&rng, 4, RNG_TEST, 0, 0);
        for (size_t i = 0; i < m->n_flat; i++) {
            double step = (rng_u32(&rng) & 1 ? h : -h) * (side ? -1 : 1);
            m->master[i] = (float)((double)was[i] + step);
            if (!side)
                along += step / h * (double)m->gradient[i];
        }
        sides[side] = total_reward(m, d, s, n, 0);
    }
    memcpy(m->master, was, m->n_flat * sizeof *was);
    CHECK_NEAR(along, (sides[0] - sides[1]) / (2 * h), 0.04 * fmax(1, fabs(along)));
    free(was);
}

static void check_rewards(struct reference *r, struct sequence s[2])
{
    struct reward_scorer scorer;
    float both[64], alone[64], weight[64];
    uint32_t many[70] = {0};
    size_t where, first = sequence_wanted(&s[0]), second = sequence_wanted(&s[1]);
    reward_scorer_init(&scorer, r->model, &r->device);
    CHECK(reward_scorer_run(&scorer, s, 2, both, NULL, &where, &e) == 0);
    for (size_t i = 0; i < 2; i++) {
        double sum = 0;
        size_t n = i ? second : first;
        CHECK(reward_scorer_run(&scorer, &s[i], 1, alone, weight, &where, &e) == 0);
        CHECK(!memcmp(alone, both + (i ? first : 0), n * sizeof *alone));
        for (size_t k = 0; k < n; k++)
            sum += (double)weight[k];
        CHECK_NEAR(sum, 1, 1e-6);
    }
    // Learned positions end somewhere: the last token has a position too.
    struct sequence two[2] = {s[0], {.token = many, .n = 65}};
    int learned = r->model->config.has[ROLE_POSITIONS];
    float most[128];
    CHECK(reward_scorer_run(&scorer, two, 2, most, NULL, &where, &e) == (learned ? -1 : 0));
    CHECK(!learned || where == 1);
    two[1].n = 64;
    CHECK(reward_scorer_run(&scorer, two, 2, most, NULL, &where, &e) == 0);
    reward_scorer_release(&scorer);
}

// Every family of which transformers has a reward model.
static void check_family(const struct small_family *f)
{
    static const uint32_t a[] = {1, 5, 9, 14, 30, 7, 7, 3, 22, 36, 11, 4, 8, 19, 21, 2, 33},
                          b[] = {1, 5, 9, 20, 21};
    struct sequence s[2] = {{.token = a, .n = 17}, {.token = b, .n = 5}};
    struct reference base, r = {0};
    struct scratch scratch, reward;
    scratch_make(&reward);
    if (small_open(&base, &scratch, f) == 0) {
        int known = base.model->family->architecture[HEAD_REWARD] != NULL;
        CHECK(model_save_as_reward(base.model, reward.fd, 35, &e) == (known ? 0 : -1));
        r.model = known ? model_open_reward(reward.path, &e) : NULL;
        CHECK(!known || (r.model && device_open(&r.device, "cpu", PRODUCTS_FP32, &e) == 0 &&
                         model_train(r.model, &e) == 0));
        if (r.model) {
            const struct parameter *head = find_role(r.model, ROLE_REWARD_HEAD);
            for (size_t i = 0; i < head->cols; i++)
                r.model->master[head->offset + i] = (float)i / 7 - 2;
            decoder_init(&r.decoder, r.model, &r.device);
            check_rewards(&r, s);
            check_reward_direction(r.model, &r.decoder, s, 2);
        }
        reference_close(&r);
    }
    small_close(&base, &scratch);
    scratch_remove(&reward);
}

int main(void)
{
    RUN(golden_pairs);
    RUN(slopes_by_finite_differences);
    RUN(extremes_stay_finite);
    RUN(head_in_a_checkpoint);
    RUN(gradient_through_the_model);
    RUN(rewards_stand_at_their_tokens);
    each_family("rewards", check_family);
    return test_end();
}
