// SPDX-License-Identifier: MIT
#include "test.h"

#include "base/json.h"
#include "train/schedule.h"

#include <fcntl.h>
#include <stdlib.h>

#define GOLDEN SHARED "/golden/schedules/schedules.json"

static int type_of(const char *name)
{
    for (int i = 0; schedule_types[i]; i++)
        if (!strcmp(schedule_types[i], name))
            return i;
    return -1;
}

static void equal_transformers(void)
{
    NEED(GOLDEN);
    struct err e;
    json_t *file = json_parse_file(AT_FDCWD, GOLDEN, 1 << 20, &e);
    CHECK(file != NULL);
    double lr = json_number_value(json_object_get(file, "learning_rate"));
    int64_t total = json_integer_value(json_object_get(file, "total_steps"));
    json_t *rows = json_object_get(file, "rows"), *row;
    size_t i, rows_seen = 0;
    json_array_foreach(rows, i, row)
    {
        const char *name = json_string_value(json_object_get(row, "schedule"));
        char *parameters = json_dumps(json_object_get(row, "parameters"), 0);
        json_t *ratio = json_object_get(row, "warmup_ratio"), *x;
        int64_t warmup = json_integer_value(json_object_get(row, "warmup_steps"));
        if (ratio)
            CHECK(schedule_warmup(0, json_number_value(ratio), total) == warmup);
        struct schedule s;
        CHECK(schedule_init(&s, type_of(name), lr, warmup, total, parameters, &e) == 0);
        free(parameters);
        size_t step;
        json_array_foreach(json_object_get(row, "lr"), step, x)
            CHECK_NEAR(schedule_lr(&s, (int64_t)step), json_number_value(x), 1e-15);
        rows_seen++;
    }
    CHECK(rows_seen >= 24);
    json_decref(file);
}

static double at(enum schedule_type type, int64_t warmup, const char *parameters, int64_t step)
{
    struct err e;
    struct schedule s;
    CHECK(schedule_init(&s, type, 8, warmup, 100, parameters, &e) == 0);
    return schedule_lr(&s, step);
}

// Values that follow from the definitions.
static void corner_points(void)
{
    CHECK_NEAR(at(SCHEDULE_CONSTANT, 10, NULL, 0), 8, 0);
    CHECK_NEAR(at(SCHEDULE_CONSTANT_WITH_WARMUP, 10, NULL, 5), 4, 0);
    CHECK_NEAR(at(SCHEDULE_LINEAR, 20, NULL, 0), 0, 0);
    CHECK_NEAR(at(SCHEDULE_LINEAR, 20, NULL, 20), 8, 0);
    CHECK_NEAR(at(SCHEDULE_LINEAR, 20, NULL, 60), 4, 0);
    CHECK_NEAR(at(SCHEDULE_LINEAR, 20, NULL, 100), 0, 0);
    CHECK_NEAR(at(SCHEDULE_LINEAR, 20, NULL, 500), 0, 0);
    CHECK_NEAR(at(SCHEDULE_COSINE, 0, NULL, 50), 4, 1e-15);
    CHECK_NEAR(at(SCHEDULE_COSINE_WITH_RESTARTS, 0, "{\"num_cycles\": 4}", 25), 8, 1e-15);
    CHECK_NEAR(at(SCHEDULE_COSINE_WITH_MIN_LR, 0, "{\"min_lr\": 2}", 100), 2, 1e-15);
    CHECK_NEAR(at(SCHEDULE_COSINE_WITH_MIN_LR, 0, "{\"min_lr_rate\": 0.5}", 50), 6, 1e-15);
    CHECK_NEAR(at(SCHEDULE_POLYNOMIAL, 0, "{\"power\": 2, \"lr_end\": 0}", 50), 2, 1e-15);
    CHECK_NEAR(at(SCHEDULE_POLYNOMIAL, 0, "{\"lr_end\": 1}", 1000), 1, 1e-15);
    CHECK_NEAR(at(SCHEDULE_INVERSE_SQRT, 25, NULL, 100), 4, 1e-15);
    CHECK_NEAR(at(SCHEDULE_WARMUP_STABLE_DECAY, 10, "{\"num_decay_steps\": 20}", 79), 8, 0);
    CHECK_NEAR(at(SCHEDULE_WARMUP_STABLE_DECAY, 10, "{\"num_decay_steps\": 20}", 90), 4, 1e-15);
    CHECK_NEAR(at(SCHEDULE_WARMUP_STABLE_DECAY, 10, "{\"num_decay_steps\": 20}", 100), 0, 0);
}

static void a_run_of_no_steps_has_a_rate(void)
{
    struct err e;
    for (int type = 0; schedule_types[type]; type++) {
        struct schedule s;
        const char *parameters = type == SCHEDULE_COSINE_WITH_MIN_LR    ? "{\"min_lr\":0}"
                                 : type == SCHEDULE_WARMUP_STABLE_DECAY ? "{\"num_decay_steps\":0}"
                                                                        : NULL;
        CHECK(schedule_init(&s, type, 1, 0, 0, parameters, &e) == 0);
        CHECK(isfinite(schedule_lr(&s, 0)) && isfinite(schedule_lr(&s, 5)));
    }
}

static void refuses(void)
{
    struct err e;
    struct schedule s;
    CHECK(schedule_init(&s, SCHEDULE_LINEAR, 1, 0, 9, "{\"power\":1}", &e) < 0);
    CHECK(e.status == STATUS_USAGE && strstr(e.text, "power"));
    CHECK(schedule_init(&s, SCHEDULE_POLYNOMIAL, 1, 0, 9, "{\"power\":\"x\"}", &e) < 0);
    CHECK(e.status == STATUS_USAGE);
    CHECK(schedule_init(&s, SCHEDULE_POLYNOMIAL, 1, 0, 9, "[1]", &e) < 0);
    CHECK(schedule_init(&s, SCHEDULE_POLYNOMIAL, 1, 0, 9, "{", &e) < 0);
    CHECK(schedule_init(&s, SCHEDULE_POLYNOMIAL, 1e-8, 0, 9, NULL, &e) < 0);
    CHECK(schedule_init(&s, SCHEDULE_COSINE_WITH_MIN_LR, 1, 0, 9, NULL, &e) < 0);
    CHECK(schedule_init(&s, SCHEDULE_WARMUP_STABLE_DECAY, 1, 0, 9, NULL, &e) < 0);
    CHECK(schedule_init(&s, SCHEDULE_WARMUP_STABLE_DECAY, 1, 5, 9, "{\"num_decay_steps\":5}", &e) <
          0);
    CHECK(schedule_init(&s, SCHEDULE_LINEAR, 1, -1, 9, NULL, &e) < 0);
}

static void warmup_options(void)
{
    CHECK(schedule_warmup(7, 0.5, 20) == 7);
    CHECK(schedule_warmup(0, 0.13, 20) == 3);
    CHECK(schedule_warmup(0, 0, 20) == 0);
}

int main(void)
{
    RUN(equal_transformers);
    RUN(corner_points);
    RUN(a_run_of_no_steps_has_a_rate);
    RUN(refuses);
    RUN(warmup_options);
    return test_end();
}
