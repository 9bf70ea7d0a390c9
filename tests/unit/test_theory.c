// SPDX-License-Identifier: MIT
// The theory behind the methods, on decision processes that are enumerated: what dense rewards are,
// what they leave unchanged, and what the losses of the family have in common.
#include "mdp.h"

#include "loss/loss.h"
#include "reward/reward.h"

#include <stdlib.h>

static const double gammas[] = {1, 0.9, 0.5, 0};
enum { GAMMAS = sizeof gammas / sizeof *gammas };

// r(s, a) = Q(s, a) - gamma V(s'), the inverse soft Bellman operator.
static void soft_rewards(const double *q, double gamma, double *reward)
{
    double v[STATES];
    mdp_values(q, v);
    for (size_t s = 0; s < STATES; s++)
        for (size_t a = 0; a < ACTIONS && mdp_depth(s) < HORIZON; a++)
            reward[s * ACTIONS + a] = q[s * ACTIONS + a] - gamma * v[mdp_next(s, a)];
}

// ---------------------------------------------------------------------------------- 1, 2

static void logits_are_values_and_log_probabilities(void)
{
    double q[CELLS], v[STATES], logp[CELLS], reward[CELLS], back[CELLS];
    mdp_fill(q, 1, 2);
    mdp_values(q, v);
    mdp_logp(q, logp);
    for (size_t s = 0; s < STATES; s++) {
        double sum = 0;
        for (size_t a = 0; a < ACTIONS; a++)
            sum += exp(logp[s * ACTIONS + a]);
        CHECK_NEAR(sum, 1, 1e-12);
    }
    // At gamma 1 the reward is the log-probability and the difference of two potentials.
    soft_rewards(q, 1, reward);
    for (size_t s = 0; s < STATES; s++)
        for (size_t a = 0; a < ACTIONS && !mdp_ends(s); a++)
            CHECK_NEAR(reward[s * ACTIONS + a], logp[s * ACTIONS + a] + v[s] - v[mdp_next(s, a)],
                       1e-12);
    // It is the inverse: solving for that reward gives the logits back, at any gamma.
    for (int k = 0; k < GAMMAS; k++) {
        soft_rewards(q, gammas[k], reward);
        mdp_solve(reward, v, gammas[k], 1, back);
        for (size_t s = 0; s < STATES; s++)
            for (size_t a = 0; a < ACTIONS && !mdp_ends(s); a++)
                CHECK_NEAR(back[s * ACTIONS + a], q[s * ACTIONS + a], 1e-11);
    }
}

// ---------------------------------------------------------------------------------- 3, 5

struct pair {
    double q[2][CELLS], logp[2][CELLS], v[2][STATES], reward[2][CELLS];
    double gamma, largest; // of what telescoping fails by
    size_t paths;
};

static void pair_make(struct pair *p, double gamma)
{
    memset(p, 0, sizeof *p);
    p->gamma = gamma;
    for (int m = 0; m < 2; m++) {
        mdp_fill(p->q[m], (uint64_t)(7 + m), 1.5);
        mdp_values(p->q[m], p->v[m]);
        mdp_logp(p->q[m], p->logp[m]);
        soft_rewards(p->q[m], gamma, p->reward[m]);
    }
}

static void telescopes_path(void *arg, const struct path *y)
{
    struct pair *p = arg;
    const double *v = p->v[0], g = p->gamma;
    double ends = v[y->state[0]] - v[y->state[y->n]], beyond = 0;
    for (size_t t = 1; t <= y->n; t++)
        beyond += (1 - g) * v[y->state[t]];
    double sum = mdp_sum(p->reward[0], y, 1), likelihood = mdp_sum(p->logp[0], y, 1);
    CHECK_NEAR(sum, likelihood + ends + beyond, 1e-11);
    p->largest = fmax(p->largest, fabs(sum - likelihood - ends));
    // Discounted on both sides it holds at any gamma.
    CHECK_NEAR(mdp_sum(p->reward[0], y, g),
               mdp_sum(p->logp[0], y, g) + v[y->state[0]] -
                   pow(g, (double)y->n) * v[y->state[y->n]],
               1e-11);
    p->paths++;
}

static void telescoping(void)
{
    for (int k = 0; k < GAMMAS; k++) {
        struct pair p;
        pair_make(&p, gammas[k]);
        mdp_each(telescopes_path, &p);
        CHECK(p.paths == 31); // 1 + 2 + 4 that end early, 8 * 3 at the horizon
        CHECK(gammas[k] == 1 ? p.largest < 1e-11 : p.largest > 0.1);
    }
}

static void ratio_path(void *arg, const struct path *y)
{
    struct pair *p = arg;
    struct reward_options o;
    reward_options_init(&o);
    double reward[HORIZON], returns[HORIZON], potentials = 0;
    for (size_t t = 0; t < y->n; t++) {
        size_t cell = y->state[t] * ACTIONS + y->action[t];
        reward[t] = reward_token(&o, p->logp[0][cell], &p->logp[1][cell], 1);
    }
    reward_return(&o, y->n, reward, returns);
    double ratio = log(exp(mdp_sum(p->logp[0], y, 1)) / exp(mdp_sum(p->logp[1], y, 1)));
    CHECK_NEAR(returns[0], ratio, 1e-11);
    for (int m = 0; m < 2; m++)
        potentials += (m ? -1 : 1) * (p->v[m][y->state[0]] - p->v[m][y->state[y->n]]);
    CHECK_NEAR(mdp_sum(p->reward[0], y, 1) - mdp_sum(p->reward[1], y, 1), ratio + potentials,
               1e-11);
}

static void rewards_sum_to_the_likelihood_ratio(void)
{
    struct pair p;
    pair_make(&p, 1);
    mdp_each(ratio_path, &p);
}

// ---------------------------------------------------------------------------------- 6

struct sign {
    struct pair p;
    double expected[2]; // of the sum of rewards, over paths of either policy
    double total[2];    // of probabilities
};

static void sign_path(void *arg, const struct path *y)
{
    struct sign *s = arg;
    double reward = mdp_sum(s->p.logp[0], y, 1) - mdp_sum(s->p.logp[1], y, 1);
    for (int m = 0; m < 2; m++) {
        double probability = exp(mdp_sum(s->p.logp[m], y, 1));
        s->expected[m] += probability * reward;
        s->total[m] += probability;
    }
}

static void reward_is_the_divergence(void)
{
    struct sign s = {0};
    pair_make(&s.p, 1);
    mdp_each(sign_path, &s);
    CHECK_NEAR(s.total[0], 1, 1e-12);
    CHECK_NEAR(s.total[1], 1, 1e-12);
    // The divergence of sequences, by the chain rule: that of tokens, where the policy comes by.
    double kl[STATES], reverse[STATES], reach[2][STATES], sum[2] = {0, 0};
    reference_divergence(s.p.q[0], s.p.q[1], STATES, ACTIONS, kl, reverse);
    for (int m = 0; m < 2; m++)
        mdp_reach(s.p.logp[m], reach[m]);
    for (size_t i = 0; i < STATES; i++)
        if (!mdp_ends(i)) {
            sum[0] += reach[0][i] * kl[i];
            sum[1] += reach[1][i] * reverse[i];
        }
    CHECK(sum[0] > 0.1 && sum[1] > 0.1);
    CHECK_NEAR(s.expected[0], sum[0], 1e-11);
    CHECK_NEAR(s.expected[1], -sum[1], 1e-11);
}

// ---------------------------------------------------------------------------------- 7

static size_t best_action(const double *row)
{
    size_t best = 0;
    for (size_t a = 1; a < ACTIONS; a++)
        best = row[a] > row[best] ? a : best;
    return best;
}

// How far the optimal policies of two rewards are from one another.
struct shaping {
    double soft;  // largest difference of a probability
    size_t hard;  // states with another best action
    double shift; // largest |Q - Q' - potential|
};

static struct shaping compare(const double *reward, const double *shaped, const double *potential,
                              double gamma)
{
    struct shaping out = {0};
    double none[STATES] = {0};
    for (int soft = 0; soft < 2; soft++) {
        double a[CELLS], b[CELLS], log_a[CELLS], log_b[CELLS];
        mdp_solve(reward, none, gamma, soft, a);
        mdp_solve(shaped, none, gamma, soft, b);
        mdp_logp(a, log_a);
        mdp_logp(b, log_b);
        for (size_t s = 0; s < STATES; s++) {
            if (mdp_ends(s))
                continue;
            out.hard += !soft && best_action(a + s * ACTIONS) != best_action(b + s * ACTIONS);
            for (size_t i = s * ACTIONS; i < (s + 1) * ACTIONS; i++) {
                out.shift = fmax(out.shift, fabs(a[i] - b[i] - potential[s]));
                if (soft)
                    out.soft = fmax(out.soft, fabs(exp(log_a[i]) - exp(log_b[i])));
            }
        }
    }
    return out;
}

static void shape(const double *reward, const double *potential, double gamma, double *shaped)
{
    for (size_t s = 0; s < STATES; s++)
        for (size_t a = 0; a < ACTIONS && mdp_depth(s) < HORIZON; a++)
            shaped[s * ACTIONS + a] =
                reward[s * ACTIONS + a] + gamma * potential[mdp_next(s, a)] - potential[s];
}

static void potentials_change_no_optimum(void)
{
    for (int k = 0; k < GAMMAS; k++) {
        double reward[CELLS], shaped[CELLS], potential[CELLS], free_ends[CELLS];
        memset(shaped, 0, sizeof shaped);
        mdp_fill(reward, 3, 1);
        mdp_fill(free_ends, 4, 3);
        for (size_t s = 0; s < STATES; s++)
            potential[s] = mdp_ends(s) ? 0 : free_ends[s];
        shape(reward, potential, gammas[k], shaped);
        struct shaping same = compare(reward, shaped, potential, gammas[k]);
        CHECK(same.soft < 1e-12 && same.hard == 0 && same.shift < 1e-11);
        if (gammas[k] == 0)
            continue;
        // What is no potential does change it: one with another discount, one that does not vanish
        // at the end.
        shape(reward, potential, gammas[k] / 2, shaped);
        struct shaping other = compare(reward, shaped, potential, gammas[k]);
        CHECK(other.soft > 0.1 && other.hard > 0);
        shape(reward, free_ends, gammas[k], shaped);
        other = compare(reward, shaped, free_ends, gammas[k]);
        CHECK(other.soft > 0.1 && other.hard > 0);
    }
}

// The log-probability as a reward, and the soft Bellman reward with the values of last states, have
// the same soft-optimal policy: the model. (They differ by the potential V.)
static void log_probability_is_shaped_reward(void)
{
    double q[CELLS], v[STATES], logp[CELLS], reward[CELLS], none[STATES] = {0};
    double a[CELLS], b[CELLS], log_a[CELLS], log_b[CELLS];
    mdp_fill(q, 5, 2);
    mdp_values(q, v);
    mdp_logp(q, logp);
    soft_rewards(q, 1, reward);
    mdp_solve(logp, none, 1, 1, a);
    mdp_solve(reward, v, 1, 1, b);
    mdp_logp(a, log_a);
    mdp_logp(b, log_b);
    for (size_t s = 0; s < STATES; s++)
        for (size_t i = s * ACTIONS; i < (s + 1) * ACTIONS && !mdp_ends(s); i++) {
            CHECK_NEAR(log_a[i], logp[i], 1e-11);
            CHECK_NEAR(log_b[i], logp[i], 1e-11);
        }
}

// ---------------------------------------------------------------------------------- 4: IQ-Learn

enum phi { HELLINGER, KL, KL_FIX, JS, TV, CHI2, PHIS };
static const double alpha = 0.5;

static double phi_slope(enum phi phi, double r)
{
    switch (phi) {
    case HELLINGER:
        return 1 / ((1 + r) * (1 + r));
    case KL:
        return exp(-r - 1);
    case KL_FIX:
        return exp(-r);
    case JS:
        return exp(-r) / (2 - exp(-r));
    default:
        return 1;
    }
}

static double phi_value(enum phi phi, double r)
{
    switch (phi) {
    case HELLINGER:
        return r / (1 + r);
    case KL:
        return -exp(-r - 1);
    case KL_FIX:
        return 1 - exp(-r);
    case JS:
        return log(2 - exp(-r));
    default:
        return r;
    }
}

static double penalty(enum phi phi, double r)
{
    return phi == CHI2 ? r * r / (4 * alpha) : 0;
}

// IQ-Learn's offline loss over cells that an expert visits with the weights `visits`:
// -E phi(Q - gamma V') + E (V - gamma V') + chi2's penalty, where V is logsumexp Q, or the log of
// the reference's mean of e^Q. Adds its gradient in q to `gradient` (NULL: not asked for), by phi'.
struct iq {
    enum phi phi;
    double gamma;
    const double *visits;    // [CELLS]
    const double *reference; // [CELLS] log-probabilities, or NULL
};

static void iq_values(const struct iq *l, const double *q, double *v, double *soft)
{
    double z[CELLS];
    for (size_t i = 0; i < CELLS; i++)
        z[i] = q[i] + (l->reference ? l->reference[i] : 0);
    mdp_values(z, v);
    mdp_logp(z, soft); // dV / dQ, as logarithms
}

static void add_value_slope(double *gradient, const double *soft, size_t s, double weight)
{
    for (size_t i = s * ACTIONS; i < (s + 1) * ACTIONS; i++)
        gradient[i] += weight * exp(soft[i]);
}

static double iq_loss(const struct iq *l, const double *q, double *gradient)
{
    double v[STATES], soft[CELLS], loss = 0;
    iq_values(l, q, v, soft);
    for (size_t s = 0; s < STATES; s++)
        for (size_t a = 0; a < ACTIONS && mdp_depth(s) < HORIZON; a++) {
            size_t i = s * ACTIONS + a, next = mdp_next(s, a);
            double w = l->visits[i], r = q[i] - l->gamma * v[next];
            if (w == 0)
                continue;
            loss += w * (-phi_value(l->phi, r) + penalty(l->phi, r) + v[s] - l->gamma * v[next]);
            if (!gradient)
                continue;
            double slope = -phi_slope(l->phi, r) + (l->phi == CHI2 ? r / (2 * alpha) : 0);
            gradient[i] += w * slope;
            add_value_slope(gradient, soft, next, -w * l->gamma * (slope + 1));
            add_value_slope(gradient, soft, s, w);
        }
    return loss;
}

// How often an expert comes by each cell.
static void expert_visits(uint64_t seed, double *visits)
{
    double q[CELLS], logp[CELLS], reach[STATES];
    mdp_fill(q, seed, 1);
    mdp_logp(q, logp);
    mdp_reach(logp, reach);
    for (size_t i = 0; i < CELLS; i++)
        visits[i] = mdp_ends(i / ACTIONS) ? 0 : reach[i / ACTIONS] * exp(logp[i]);
}

// Token NLL and its gradient, as the trainer has it: c (onehot - softmax), c from the loss.
static double sft_loss(const double *q, const double *visits, double *gradient)
{
    double logp[CELLS], loss = 0;
    struct loss nll;
    struct loss_stats stats = {0};
    struct err e;
    CHECK(loss_init(&nll, NULL, &e) == 0);
    mdp_logp(q, logp);
    for (size_t i = 0; i < CELLS; i++) {
        float lp = (float)logp[i], value, c;
        struct loss_tokens t = {.n = 1, .lp = &lp};
        if (visits[i] == 0)
            continue;
        CHECK(loss_evaluate(&nll, &t, &value, &c, &stats, &e) == 0);
        CHECK(value == -lp);
        loss += visits[i] * -logp[i];
        size_t s = i / ACTIONS;
        gradient[i] += visits[i] * (double)c;
        add_value_slope(gradient, logp, s, -visits[i] * (double)c);
    }
    return loss;
}

static void identity_phi_is_supervised_training(void)
{
    for (int k = 0; k < GAMMAS; k++) {
        double q[CELLS], visits[CELLS], a[CELLS] = {0}, b[CELLS] = {0};
        mdp_fill(q, 11, 1.5);
        expert_visits(12, visits);
        struct iq l = {TV, gammas[k], visits, NULL};
        CHECK_NEAR(iq_loss(&l, q, a), sft_loss(q, visits, b), 1e-12);
        for (size_t i = 0; i < CELLS; i++)
            CHECK_NEAR(a[i], b[i], 1e-13);
    }
}

// Logits whose rewards lie where every phi is defined (r > -ln 2).
static void mild_logits(const struct iq *l, double *q)
{
    double v[STATES], soft[CELLS], reward[CELLS], none[STATES] = {0};
    mdp_fill(reward, 21, 0.2);
    mdp_solve(reward, none, l->gamma, 1, q);
    // Last states have a value of their own: 0.
    for (size_t i = 0; i < CELLS; i++)
        if (mdp_ends(i / ACTIONS) || mdp_depth(i / ACTIONS) == HORIZON)
            q[i] = -log(ACTIONS);
    iq_values(l, q, v, soft);
    for (size_t s = 0; s < STATES; s++)
        for (size_t a = 0; a < ACTIONS && !mdp_ends(s); a++)
            CHECK(q[s * ACTIONS + a] - l->gamma * v[mdp_next(s, a)] > -0.69);
}

static void every_phi_by_differences(void)
{
    for (int phi = 0; phi < PHIS; phi++) {
        for (double r = -0.6; r < 3; r += 0.1)
            CHECK_NEAR(phi_slope(phi, r),
                       (phi_value(phi, r + 1e-6) - phi_value(phi, r - 1e-6)) / 2e-6, 1e-8);
        for (int k = 0; k < GAMMAS; k++) {
            double q[CELLS], visits[CELLS], gradient[CELLS] = {0};
            expert_visits(13, visits);
            struct iq l = {phi, gammas[k], visits, NULL};
            mild_logits(&l, q);
            iq_loss(&l, q, gradient);
            for (size_t i = 0; i < CELLS; i++) {
                double kept = q[i], h = 1e-5;
                q[i] = kept + h;
                double up = iq_loss(&l, q, NULL);
                q[i] = kept - h;
                double down = iq_loss(&l, q, NULL);
                q[i] = kept;
                CHECK_NEAR(gradient[i], (up - down) / (2 * h), 1e-9);
            }
        }
    }
}

// The f-divergence losses of supervised training: g(rho), rho = lp - lp_ref.
static double divergence_loss(enum phi phi, double rho)
{
    switch (phi) {
    case HELLINGER:
        return -rho / (1 + rho);
    case KL:
        return exp(-rho - 1);
    case JS:
        return -log(2 - exp(-rho));
    case CHI2:
        return -rho + rho * rho / (4 * alpha);
    default:
        return -rho;
    }
}

// With Q = lp - lp_ref, and V the log of the reference's mean of e^Q, V is 0 everywhere: what is
// left of IQ-Learn's loss is g(rho), in value and, through a policy's logits, in gradient.
static double implied(const struct iq *l, const double *policy, double *plain)
{
    double logp[CELLS], q[CELLS], v[STATES], soft[CELLS];
    mdp_logp(policy, logp);
    for (size_t i = 0; i < CELLS; i++)
        q[i] = logp[i] - l->reference[i];
    iq_values(l, q, v, soft);
    *plain = 0;
    for (size_t i = 0; i < CELLS; i++) {
        CHECK(fabs(v[i / ACTIONS]) < 1e-12);
        *plain += l->visits[i] * divergence_loss(l->phi, q[i]);
    }
    return iq_loss(l, q, NULL);
}

static void divergence_losses_are_iq_learn(void)
{
    static const enum phi all[] = {HELLINGER, KL, JS, TV, CHI2};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++) {
        double reference[CELLS], logits[CELLS], policy[CELLS], visits[CELLS], nll[CELLS] = {0};
        mdp_fill(logits, 31, 0.1);
        mdp_logp(logits, reference);
        mdp_fill(policy, 32, 0.1);
        expert_visits(33, visits);
        struct iq l = {all[k], 1, visits, reference};
        sft_loss(policy, visits, nll);
        double plain, start = implied(&l, policy, &plain), sharpest = 0;
        CHECK_NEAR(start, plain, 1e-12);
        for (size_t i = 0; i < CELLS; i++) {
            double kept = policy[i], h = 1e-5, g[2], loss[2];
            for (int side = 0; side < 2; side++) {
                policy[i] = kept + (side ? h : -h);
                loss[side] = implied(&l, policy, &g[side]);
            }
            policy[i] = kept;
            CHECK_NEAR((loss[1] - loss[0]) / (2 * h), (g[1] - g[0]) / (2 * h), 1e-9);
            sharpest = fmax(sharpest, fabs((g[1] - g[0]) / (2 * h) - nll[i]));
        }
        // Total variation is SFT, whatever the reference; the others are not.
        CHECK(all[k] == TV ? sharpest < 1e-9 : sharpest > 1e-3);
    }
}

// ---------------------------------------------------------------------------------- more

static void softmax3(const double *z, double *p)
{
    double lse;
    reference_log_softmax(z, 1, 3, NULL, &lse, NULL, NULL);
    for (int i = 0; i < 3; i++)
        p[i] = exp(z[i] - lse);
}

// Three actions, the demonstration is one of them, the reference is uniform, the reward lies in
// 0 .. R. Both objectives are climbed for so long that they stand still.
static void explicit_reward_keeps_what_training_gives_away(void)
{
    static const double bounds[] = {0.5, 1, 2, 5};
    for (int k = 0; k < 4; k++) {
        double R = bounds[k], reward[3] = {R / 2, R / 2, R / 3}, logits[3] = {0}, p[3];
        for (int step = 0; step < 200000; step++) {
            softmax3(reward, p);
            for (int i = 0; i < 3; i++) {
                reward[i] += 0.5 * ((i == 0) - p[i]);
                reward[i] = fmin(R, fmax(0, reward[i]));
            }
            softmax3(logits, p);
            for (int i = 0; i < 3; i++)
                logits[i] += 0.5 * ((i == 0) - p[i]);
        }
        softmax3(reward, p);
        CHECK_NEAR(p[0], exp(R) / (exp(R) + 2), 1e-12);
        CHECK(reward[0] == R && reward[1] == 0 && reward[2] == 0);
        softmax3(logits, p);
        CHECK(p[0] > 0.9999);
    }
}

// The expected gradient of -log pi_train over sequences of pi_sample, in the logits.
struct own_samples {
    double logp_sample[CELLS], soft[CELLS], temperature, gradient[CELLS], total;
};

static void own_samples_path(void *arg, const struct path *y)
{
    struct own_samples *o = arg;
    double probability = exp(mdp_sum(o->logp_sample, y, 1));
    o->total += probability;
    for (size_t t = 0; t < y->n; t++) {
        o->gradient[y->state[t] * ACTIONS + y->action[t]] -= probability / o->temperature;
        add_value_slope(o->gradient, o->soft, y->state[t], probability / o->temperature);
    }
}

static void cooled(const double *q, double temperature, double *out)
{
    for (size_t i = 0; i < CELLS; i++)
        out[i] = q[i] / temperature;
}

static void own_samples_teach_by_their_temperature(void)
{
    static const double pairs[][2] = {{1, 1}, {0.6, 0.6}, {1.7, 1.7}, {0.6, 1}, {0.9, 1}, {1, 0.6}};
    for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++) {
        struct own_samples o = {.temperature = pairs[k][1]};
        double q[CELLS], z[CELLS], most = 0;
        mdp_fill(q, 41, 1);
        cooled(q, pairs[k][0], z);
        mdp_logp(z, o.logp_sample);
        cooled(q, pairs[k][1], z);
        mdp_logp(z, o.soft);
        mdp_each(own_samples_path, &o);
        CHECK_NEAR(o.total, 1, 1e-12);
        for (size_t i = 0; i < CELLS; i++)
            most = fmax(most, fabs(o.gradient[i]));
        if (pairs[k][0] == pairs[k][1]) {
            CHECK(most < 1e-12);
            continue;
        }
        // Colder samples scale the logits of every state up (a descent's part along them is a lower
        // temperature), warmer ones down.
        CHECK(most > 1e-3);
        double reach[STATES];
        mdp_reach(o.logp_sample, reach);
        for (size_t s = 0; s < STATES; s++) {
            double along = 0;
            for (size_t i = s * ACTIONS; i < (s + 1) * ACTIONS; i++)
                along -= q[i] * o.gradient[i];
            if (reach[s] > 0 && !mdp_ends(s))
                CHECK(pairs[k][0] < pairs[k][1] ? along > 0 : along < 0);
        }
    }
}

// The optimum of E r - (1/a) KL to a model, one step at a time, with r the difference of two
// log-probabilities is logit extrapolation: pi ~ pi_sft^(1 + a) pi_ref^-a.
static void extrapolation_is_the_regularised_optimum(void)
{
    struct pair p;
    pair_make(&p, 1);
    for (double a = 0; a < 3; a += 0.5) {
        double z[CELLS], best[CELLS], steered[CELLS], wanted[CELLS];
        for (size_t i = 0; i < CELLS; i++) {
            double r = p.logp[0][i] - p.logp[1][i];
            z[i] = p.logp[0][i] + a * r; // Gibbs: pi_sft e^(a r)
            best[i] = p.q[0][i] + a * (p.q[0][i] - p.q[1][i]);
        }
        mdp_logp(z, wanted);
        mdp_logp(best, steered);
        for (size_t i = 0; i < CELLS; i++)
            CHECK_NEAR(steered[i], wanted[i], 1e-12);
    }
}

int main(void)
{
    RUN(logits_are_values_and_log_probabilities);
    RUN(telescoping);
    RUN(rewards_sum_to_the_likelihood_ratio);
    RUN(reward_is_the_divergence);
    RUN(potentials_change_no_optimum);
    RUN(log_probability_is_shaped_reward);
    RUN(identity_phi_is_supervised_training);
    RUN(every_phi_by_differences);
    RUN(divergence_losses_are_iq_learn);
    RUN(explicit_reward_keeps_what_training_gives_away);
    RUN(own_samples_teach_by_their_temperature);
    RUN(extrapolation_is_the_regularised_optimum);
    return test_end();
}
