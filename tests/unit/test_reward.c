// SPDX-License-Identifier: MIT
#include "test.h"

#include "base/json.h"
#include "base/rng.h"
#include "reward/reward.h"

#include <fcntl.h>
#include <stdlib.h>

#define GOLDEN SHARED "/golden/methods/methods.json"
enum { TOKENS_MAX = 256, SEQUENCES_MAX = 32 };

static struct reward_options plain(void)
{
    struct reward_options o;
    reward_options_init(&o);
    return o;
}

static double token(const struct reward_options *o, double policy, double reference)
{
    return reward_token(o, policy, &reference, 1);
}

static void token_rewards(void)
{
    struct reward_options o = plain();
    CHECK(token(&o, -1, -3) == 2);
    double two[2] = {log(0.1), log(0.3)};
    CHECK_NEAR(reward_token(&o, log(0.4), two, 2), log(0.4 / 0.2), 1e-15);
    CHECK(reward_token(&o, -1.5, NULL, 0) == -1.5);
    o.floor = 0.03;
    CHECK_NEAR(token(&o, log(0.5), log(0.07)), log(0.5 / 0.1), 1e-15);
    CHECK_NEAR(token(&o, log(0.5), -INFINITY), log(0.5 / 0.03), 1e-15);
    CHECK_NEAR(token(&o, log(0.03), -90), 0, 1e-12);
    // Each reference has its own floor.
    CHECK_NEAR(reward_token(&o, 0, two, 2), -log((0.13 + 0.33) / 2), 1e-15);
}

static void implausible_and_extreme_tokens(void)
{
    struct reward_options o = plain();
    o.min_logp = -5;
    CHECK(token(&o, -6, -9) == 0);
    CHECK(token(&o, -4, -9) == 5);
    CHECK(token(&o, -6, -4) == -2);
    CHECK(token(&o, -5, -9) == 4); // less than, not less or equal
    double two[2] = {-9, -4};
    CHECK(reward_token(&o, -6, two, 2) != 0);
    // The floor lifts a reference, but not over --min-logp.
    o.floor = 0.03;
    CHECK(token(&o, -6, -9) == 0);
    o = plain();
    o.clip_low = -1;
    o.clip_high = 2;
    CHECK(token(&o, -1, -9) == 2 && token(&o, -9, -1) == -1 && token(&o, -1, -2) == 1);
}

static void values_that_are_not_finite_show(void)
{
    struct reward_options o = plain();
    CHECK(!isfinite(token(&o, -1, -INFINITY)));
    CHECK(!isfinite(token(&o, -INFINITY, -INFINITY)));
    double two[2] = {-1, NAN};
    CHECK(isnan(reward_token(&o, -1, two, 2)));
    double gone[2] = {-INFINITY, -INFINITY};
    CHECK(!isfinite(reward_token(&o, -1, gone, 2)));
}

static void returns(void)
{
    struct reward_options o = plain();
    double r[3] = {1, -2, 4}, g[3];
    reward_return(&o, 3, r, g);
    CHECK(g[0] == 3 && g[1] == 2 && g[2] == 4);
    o.gamma = 0.5;
    reward_return(&o, 3, r, g);
    CHECK(g[0] == 1 && g[1] == 0 && g[2] == 4);
    o.gamma = 0;
    reward_return(&o, 3, r, g);
    CHECK(g[0] == 1 && g[1] == -2 && g[2] == 4);
    o = plain();
    o.credit = CREDIT_SEQUENCE;
    reward_return(&o, 3, r, g);
    CHECK(g[0] == 3 && g[1] == 3 && g[2] == 3);
    o.credit = CREDIT_UNIFORM;
    reward_return(&o, 3, r, g);
    CHECK(g[0] == 1 && g[1] == 1 && g[2] == 1);
    o.credit = CREDIT_LAST;
    reward_return(&o, 3, r, g);
    CHECK(g[0] == 0 && g[1] == 0 && g[2] == 3);
    for (o.credit = CREDIT_TOKEN; o.credit <= CREDIT_LAST; o.credit++)
        reward_return(&o, 0, r, g); // nothing to do, nothing touched
}

struct batch {
    size_t n, tokens, culprit;
    struct reward_sequence sequence[SEQUENCES_MAX];
    double reward[TOKENS_MAX], value[TOKENS_MAX];
};

static void add(struct batch *b, uint32_t group, size_t n, const double *reward)
{
    struct reward_sequence *s = &b->sequence[b->n++];
    *s = (struct reward_sequence){.start = b->tokens, .n = n, .group = group};
    for (size_t t = 0; t < n; t++) {
        b->reward[b->tokens++] = reward[t];
        s->total += reward[t];
    }
}

static int advantages(struct batch *b, const struct reward_options *o, struct err *e)
{
    struct reward_batch batch = {b->sequence, b->n, 16};
    for (size_t i = 0; i < b->n; i++)
        reward_return(o, b->sequence[i].n, b->reward + b->sequence[i].start,
                      b->value + b->sequence[i].start);
    return reward_advantage(o, &batch, b->value, &b->culprit, e);
}

static int with(struct batch *b, int baseline, int whiten)
{
    struct err e;
    struct reward_options o = plain();
    o.baseline = baseline;
    o.whiten = whiten;
    return advantages(b, &o, &e);
}

// Two prompts, interleaved; a sequence without tokens that must not count.
static void small_batch_by_hand(void)
{
    struct batch b = {0};
    add(&b, 0, 2, (double[]){1, 1});
    add(&b, 1, 1, (double[]){7});
    add(&b, 0, 0, NULL);
    add(&b, 0, 1, (double[]){4});
    add(&b, 1, 1, (double[]){3});
    // Returns: 2 1 | 7 | - | 4 | 3
    CHECK(with(&b, BASELINE_NONE, WHITEN_NONE) == 0);
    CHECK(b.value[0] == 2 && b.value[1] == 1 && b.value[4] == 3);
    CHECK(with(&b, BASELINE_BATCH, WHITEN_NONE) == 0);
    CHECK_NEAR(b.value[0], 2 - 3.4, 1e-15);
    CHECK(with(&b, BASELINE_PROMPT, WHITEN_NONE) == 0);
    CHECK_NEAR(b.value[1], 1 - 3, 1e-15);
    CHECK_NEAR(b.value[2], 7 - 5, 1e-15);
    CHECK(with(&b, BASELINE_LOO, WHITEN_NONE) == 0);
    CHECK_NEAR(b.value[0], 2 - 4, 1e-15);
    CHECK_NEAR(b.value[3], 4 - 2, 1e-15);
    CHECK_NEAR(b.value[4], 3 - 7, 1e-15);
    CHECK(with(&b, BASELINE_POSITION, WHITEN_NONE) == 0);
    CHECK_NEAR(b.value[0], 2 - 3, 1e-15);
    CHECK_NEAR(b.value[1], 0, 1e-15); // alone at its position
    CHECK_NEAR(b.value[2], 7 - 5, 1e-15);
    CHECK(with(&b, BASELINE_PROMPT_TOKENS, WHITEN_NONE) == 0);
    CHECK_NEAR(b.value[0], 2 - 7 / 3.0, 1e-15);
    CHECK(with(&b, BASELINE_NONE, WHITEN_POSITION) == 0);
    CHECK_NEAR(b.value[0], (2 - 4) / sqrt(3.5 + 1e-8), 1e-12); // 2 7 4 3 of all prompts
    CHECK_NEAR(b.value[1], 0, 1e-15);
    CHECK(with(&b, BASELINE_NONE, WHITEN_PROMPT) == 0);
    CHECK_NEAR(b.value[2], 2 / sqrt(4 + 1e-8), 1e-12);
    CHECK(with(&b, BASELINE_NONE, WHITEN_GRPO) == 0);
    CHECK_NEAR(b.value[2], 2 / (sqrt(8) + 1e-4), 1e-12);
    // Baseline, then whitening of what is left.
    CHECK(with(&b, BASELINE_LOO, WHITEN_BATCH) == 0);
    double x[5] = {-2, -3, 4, 2, -4}, mean = -0.6, v = 0;
    for (int i = 0; i < 5; i++)
        v += (x[i] - mean) * (x[i] - mean) / 5;
    for (int i = 0; i < 5; i++)
        CHECK_NEAR(b.value[i], (x[i] - mean) / sqrt(v + 1e-8), 1e-12);
}

static void a_single_sample_is_refused(void)
{
    struct batch b = {0};
    add(&b, 0, 1, (double[]){1});
    add(&b, 0, 1, (double[]){2});
    add(&b, 1, 1, (double[]){3});
    add(&b, 1, 0, NULL);
    CHECK(with(&b, BASELINE_LOO, WHITEN_NONE) < 0 && b.culprit == 2);
    CHECK(with(&b, BASELINE_NONE, WHITEN_PROMPT) < 0 && b.culprit == 2);
    CHECK(with(&b, BASELINE_NONE, WHITEN_GRPO) < 0 && b.culprit == 2);
    CHECK(with(&b, BASELINE_PROMPT, WHITEN_BATCH) == 0);
    CHECK(with(&b, BASELINE_POSITION, WHITEN_POSITION) == 0);
}

static void an_empty_batch_is_fine(void)
{
    struct batch b = {0};
    for (int baseline = BASELINE_NONE; baseline <= BASELINE_PROMPT_TOKENS; baseline++)
        for (int whiten = WHITEN_NONE; whiten <= WHITEN_GRPO; whiten++)
            CHECK(with(&b, baseline, whiten) == 0);
    add(&b, 0, 0, NULL);
    for (int baseline = BASELINE_NONE; baseline <= BASELINE_PROMPT_TOKENS; baseline++)
        for (int whiten = WHITEN_NONE; whiten <= WHITEN_GRPO; whiten++)
            CHECK(with(&b, baseline, whiten) == 0);
}

// What has no variance becomes 0 and not a division by 0; a large common offset is no harm.
static void whitening_is_stable(void)
{
    struct batch b = {0};
    add(&b, 0, 2, (double[]){0, 5});
    add(&b, 0, 1, (double[]){5});
    CHECK(with(&b, BASELINE_NONE, WHITEN_BATCH) == 0);
    CHECK(b.value[0] == 0 && b.value[1] == 0 && b.value[2] == 0);
    CHECK(with(&b, BASELINE_NONE, WHITEN_GRPO) == 0);
    CHECK(b.value[0] == 0);
    memset(&b, 0, sizeof b);
    add(&b, 0, 1, (double[]){1e8 + 1});
    add(&b, 0, 1, (double[]){1e8 - 1});
    CHECK(with(&b, BASELINE_NONE, WHITEN_BATCH) == 0);
    CHECK_NEAR(b.value[0], 1, 1e-8);
}

static void options_that_contradict(void)
{
    struct err e;
    struct reward_options o = plain();
    CHECK(reward_options_check(&o, &e) == 0);
    CHECK(!reward_needs_batch(&o) && !reward_needs_prompt(&o));
    o.whiten = WHITEN_POSITION;
    CHECK(reward_needs_batch(&o) && !reward_needs_prompt(&o));
    o.baseline = BASELINE_POSITION;
    CHECK(reward_needs_prompt(&o));
    o = plain();
    o.gamma = 0.9;
    o.credit = CREDIT_UNIFORM;
    CHECK(reward_options_check(&o, &e) < 0 && e.status == STATUS_USAGE);
    o = plain();
    o.clip_low = 1;
    o.clip_high = 0;
    CHECK(reward_options_check(&o, &e) < 0);
    o = plain();
    o.whiten = WHITEN_GRPO;
    o.baseline = BASELINE_LOO;
    CHECK(reward_options_check(&o, &e) < 0);
    o = plain();
    o.floor = -0.1;
    CHECK(reward_options_check(&o, &e) < 0);
}

// ------------------------------------------------------------------------- golden values

static size_t numbers(const json_t *array, double *out)
{
    size_t i;
    json_t *x;
    json_array_foreach(array, i, x) out[i] = json_number_value(x);
    return json_array_size(array);
}

static void check_array(const json_t *expected, const double *got, double tolerance)
{
    double want[TOKENS_MAX];
    size_t n = numbers(expected, want);
    CHECK(n > 0);
    for (size_t i = 0; i < n; i++)
        CHECK_NEAR(got[i], want[i], tolerance);
}

static void load(const json_t *file, struct batch *b)
{
    size_t i;
    json_t *s;
    json_array_foreach(json_object_get(file, "samples"), i, s)
    {
        double reward[TOKENS_MAX];
        size_t n = numbers(json_object_get(s, "reward"), reward);
        add(b, (uint32_t)json_integer_value(json_object_get(s, "prompt")), n, reward);
    }
}

static void golden_rewards_and_returns(void)
{
    NEED(GOLDEN);
    struct err e;
    json_t *file = json_parse_file(AT_FDCWD, GOLDEN, 1 << 20, &e), *s;
    CHECK(file != NULL);
    size_t i;
    json_array_foreach(json_object_get(file, "samples"), i, s)
    {
        double sft[TOKENS_MAX], half[TOKENS_MAX], r[TOKENS_MAX], both[TOKENS_MAX], g[TOKENS_MAX];
        size_t n = numbers(json_object_get(s, "lp_sft"), sft);
        numbers(json_object_get(s, "lp_half"), half);
        struct reward_options o = plain();
        for (size_t t = 0; t < n; t++) {
            double two[2] = {sft[t], half[t]};
            r[t] = token(&o, sft[t], half[t]);
            both[t] = -reward_token(&o, 0, two, 2);
        }
        check_array(json_object_get(s, "reward"), r, 1e-14);
        check_array(json_object_get(s, "lp_two_references"), both, 1e-14);
        json_t *credit = json_object_get(s, "credit");
        static const struct {
            const char *name;
            int credit;
            double gamma;
        } modes[] = {{"gamma_1", CREDIT_TOKEN, 1},     {"gamma_0.9", CREDIT_TOKEN, 0.9},
                     {"gamma_0.5", CREDIT_TOKEN, 0.5}, {"gamma_0", CREDIT_TOKEN, 0},
                     {"sequence", CREDIT_SEQUENCE, 1}, {"uniform", CREDIT_UNIFORM, 1},
                     {"last", CREDIT_LAST, 1}};
        for (size_t k = 0; k < sizeof modes / sizeof *modes; k++) {
            o.credit = modes[k].credit;
            o.gamma = modes[k].gamma;
            reward_return(&o, n, r, g);
            check_array(json_object_get(credit, modes[k].name), g, 1e-13);
        }
    }
    json_decref(file);
}

static void golden_advantages(void)
{
    NEED(GOLDEN);
    struct err e;
    json_t *file = json_parse_file(AT_FDCWD, GOLDEN, 1 << 20, &e), *s;
    CHECK(file != NULL);
    static struct batch b;
    load(file, &b);
    CHECK(b.tokens == 85);
    static const struct {
        const char *name;
        int credit, baseline, whiten, sample;
    } modes[] = {
        {"batch_center", CREDIT_TOKEN, BASELINE_BATCH, WHITEN_NONE, 0},
        {"batch_whiten_population", CREDIT_TOKEN, BASELINE_NONE, WHITEN_BATCH, 0},
        {"batch_whiten_sample", CREDIT_TOKEN, BASELINE_NONE, WHITEN_BATCH, 1},
        {"group_center_tokens", CREDIT_TOKEN, BASELINE_PROMPT_TOKENS, WHITEN_NONE, 0},
        {"group_whiten_tokens", CREDIT_TOKEN, BASELINE_NONE, WHITEN_PROMPT, 0},
        {"group_center_return", CREDIT_TOKEN, BASELINE_PROMPT, WHITEN_NONE, 0},
        {"rloo", CREDIT_TOKEN, BASELINE_LOO, WHITEN_NONE, 0},
        {"group_center_position", CREDIT_TOKEN, BASELINE_POSITION, WHITEN_NONE, 0},
        {"grpo", CREDIT_SEQUENCE, BASELINE_NONE, WHITEN_GRPO, 0},
    };
    for (size_t k = 0; k < sizeof modes / sizeof *modes; k++) {
        struct reward_options o = plain();
        o.credit = modes[k].credit;
        o.baseline = modes[k].baseline;
        o.whiten = modes[k].whiten;
        o.sample_variance = modes[k].sample;
        CHECK(advantages(&b, &o, &e) == 0);
        size_t i;
        json_array_foreach(json_object_get(file, "samples"), i, s)
            check_array(json_object_get(json_object_get(s, "advantage"), modes[k].name),
                        b.value + b.sequence[i].start, 1e-12);
    }
    json_decref(file);
}

int main(void)
{
    RUN(token_rewards);
    RUN(implausible_and_extreme_tokens);
    RUN(values_that_are_not_finite_show);
    RUN(returns);
    RUN(small_batch_by_hand);
    RUN(a_single_sample_is_refused);
    RUN(an_empty_batch_is_fine);
    RUN(whitening_is_stable);
    RUN(options_that_contradict);
    RUN(golden_rewards_and_returns);
    RUN(golden_advantages);
    return test_end();
}
