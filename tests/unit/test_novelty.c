// SPDX-License-Identifier: MIT
#include "test.h"

#include "base/rng.h"
#include "reward/novelty.h"

#include <math.h>
#include <string.h>

enum { WIDTH = 6, FEATURES = 3, STATES = 200 };

static void draw(struct rng *r, float *state)
{
    for (int i = 0; i < WIDTH; i++)
        state[i] = (float)rng_normal(r);
}

// At the least squares the residuals are orthogonal to every input, and no other predictor is
// better.
static void fits_by_least_squares(void)
{
    struct novelty v;
    struct err e;
    struct rng r;
    static float state[STATES][WIDTH];
    rng_init(&r, 1, RNG_TEST, 0, 0);
    CHECK(novelty_init(&v, WIDTH, FEATURES, 7, &e) == 0);
    for (int s = 0; s < STATES; s++) {
        draw(&r, state[s]);
        novelty_add(&v, state[s]);
    }
    CHECK(v.n == STATES);
    CHECK(novelty_fit(&v, 1e-12, &e) == 0);
    double best = 0, residual[WIDTH + 1] = {0};
    for (int s = 0; s < STATES; s++) {
        best += novelty_error(&v, state[s]); // leaves input and feature of this state
        double predicted = 0;
        for (int i = 0; i <= WIDTH; i++)
            predicted += v.input[i] * v.fit[i * FEATURES];
        for (int i = 0; i <= WIDTH; i++)
            residual[i] += v.input[i] * (predicted - v.feature[0]);
    }
    for (int i = 0; i <= WIDTH; i++)
        CHECK_NEAR(residual[i], 0, 1e-8);
    CHECK(best > 0);
    for (int i = 0; i <= WIDTH; i++) {
        double other = 0;
        v.fit[i * FEATURES + 1] += 0.01;
        for (int s = 0; s < STATES; s++)
            other += novelty_error(&v, state[s]);
        v.fit[i * FEATURES + 1] -= 0.01;
        CHECK(other > best);
    }
    novelty_release(&v);
}

// A scaled state is the same state.
static void length_does_not_count(void)
{
    struct novelty v;
    struct err e;
    struct rng r;
    float a[WIDTH], b[WIDTH], zero[WIDTH] = {0};
    rng_init(&r, 2, RNG_TEST, 0, 0);
    CHECK(novelty_init(&v, WIDTH, FEATURES, 7, &e) == 0);
    for (int s = 0; s < STATES; s++) {
        draw(&r, a);
        novelty_add(&v, a);
    }
    novelty_add(&v, zero);
    CHECK(novelty_fit(&v, 1e-4, &e) == 0);
    for (int i = 0; i < WIDTH; i++)
        b[i] = 3 * a[i];
    CHECK_NEAR(novelty_error(&v, a), novelty_error(&v, b), 1e-6);
    CHECK(isfinite(novelty_error(&v, zero)));
    novelty_release(&v);
}

// One state again and again: without a ridge there is no predictor, with one there is.
static void one_state(void)
{
    struct novelty v;
    struct err e;
    float a[WIDTH] = {1, 2, 3, 4, 5, 6};
    CHECK(novelty_init(&v, WIDTH, FEATURES, 7, &e) == 0);
    for (int s = 0; s < 4; s++)
        novelty_add(&v, a);
    CHECK(novelty_fit(&v, 1e-9, &e) == 0);
    CHECK_NEAR(novelty_error(&v, a), 0, 1e-12);
    novelty_release(&v);
    CHECK(novelty_init(&v, WIDTH, FEATURES, 7, &e) == 0);
    CHECK(novelty_fit(&v, 1e-9, &e) < 0);
    CHECK(e.status == STATUS_FAILED);
    novelty_release(&v);
}

int main(void)
{
    RUN(fits_by_least_squares);
    RUN(length_does_not_count);
    RUN(one_state);
    return test_end();
}
