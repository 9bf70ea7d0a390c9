// SPDX-License-Identifier: MIT
#include "test.h"

#include "base/io.h"
#include "train/best.h"
#include "train/evaluation.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct best_options by_loss = {.patience = 2, .metric = "eval_loss"};

// What is said of each evaluation in turn: the best update so far, and how many came since that
// were no improvement.
static void follow(const struct best_options *o, const double *value, size_t n, const int64_t *step,
                   const int64_t *without)
{
    struct best b;
    best_init(&b);
    for (size_t i = 0; i < n; i++) {
        int64_t before = b.step;
        CHECK(best_see(&b, o, value[i], (int64_t)i) == (b.step != before));
        CHECK(b.step == step[i]);
        CHECK(b.without == without[i]);
        CHECK(b.last == value[i]);
        CHECK(best_is_over(&b, o) == (o->patience && without[i] >= o->patience));
    }
}

static void smaller_losses(void)
{
    follow(&by_loss, (double[]){3, 2, 2, 2.5, 1, 4, 5}, 7, (int64_t[]){0, 1, 1, 1, 4, 4, 4},
           (int64_t[]){0, 0, 1, 2, 0, 1, 2});
    const struct best_options never = {.load = 1, .metric = "eval_loss"};
    follow(&never, (double[]){1, 2, 3, 4}, 4, (int64_t[]){0, 0, 0, 0}, (int64_t[]){0, 1, 2, 3});
}

static void larger_others(void)
{
    const struct best_options o = {.patience = 3, .metric = "eval_accuracy"};
    follow(&o, (double[]){0.5, 0.4, 0.6, 0.6}, 4, (int64_t[]){0, 0, 2, 2}, (int64_t[]){0, 1, 0, 1});
}

// A small gain is the best, and what the next one is compared with, but no improvement: as in
// EarlyStoppingCallback and Trainer of transformers.
static void threshold(void)
{
    const struct best_options o = {.patience = 2, .threshold = 0.25, .metric = "eval_loss"};
    follow(&o, (double[]){2, 1.875, 1.75, 1.25, 1}, 5, (int64_t[]){0, 1, 2, 3, 4},
           (int64_t[]){0, 1, 2, 0, 1});
}

static int folder(char *path)
{
    strcpy(path, "/tmp/densepath-best-XXXXXX");
    CHECK(mkdtemp(path) != NULL);
    int fd = open(path, O_RDONLY | O_DIRECTORY);
    CHECK(fd >= 0);
    return fd;
}

static int write_text(int at, const char *name, const char *text)
{
    int fd = openat(at, name, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    int done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return done;
}

static int has_text(int at, const char *name, const char *text)
{
    char got[64] = "";
    int fd = openat(at, name, O_RDONLY);
    ssize_t n = fd >= 0 ? read(fd, got, sizeof got - 1) : -1;
    if (fd >= 0)
        close(fd);
    return n >= 0 && !strcmp(got, text);
}

static void put(struct best *b, int at, const char *text)
{
    struct err e;
    int fd = best_begin(b, at, &e);
    CHECK(fd >= 0);
    CHECK(write_text(fd, "weights", text));
    close(fd);
}

// Whatever comes after a state is saved, what it refers to stays as it was.
static void what_a_state_refers_to_stays(void)
{
    struct best b, again;
    struct err e;
    char path[64];
    int at = folder(path);
    best_init(&b);
    b.loss = 0.1; // no short number in binary
    put(&b, at, "first");
    best_see(&b, &by_loss, 1. / 3, 7);
    json_t *state = best_to_json(&b, at, &e);
    CHECK(state != NULL);
    CHECK(best_was_saved(&b, at, &e) == 0);
    put(&b, at, "second");
    put(&b, at, "third");
    CHECK(best_from_json(&again, state, at, &e) == 0);
    CHECK(again.step == 7 && again.value == 1. / 3 && again.loss == 0.1 && again.without == 0);
    CHECK(again.place == again.saved && again.place >= 0);
    CHECK(best_install(&again, at, &e) == 0);
    CHECK(has_text(at, "weights", "first"));
    // The next state lets go of it.
    CHECK(best_was_saved(&b, at, &e) == 0);
    CHECK(best_from_json(&again, state, at, &e) < 0);
    CHECK(best_install(&b, at, &e) == 0);
    CHECK(has_text(at, "weights", "third"));
    // One that is other than it was is refused.
    json_decref(state);
    CHECK((state = best_to_json(&b, at, &e)) != NULL);
    int fd = openat(at, best_places[b.place], O_RDONLY | O_DIRECTORY);
    CHECK(unlinkat(fd, "weights", 0) == 0);
    CHECK(write_text(fd, "weights", "other"));
    CHECK(best_from_json(&again, state, at, &e) < 0 && strstr(e.text, "weights"));
    close(fd);
    json_decref(state);
    close(at);
    CHECK(io_remove_tree(AT_FDCWD, path, &e) == 0);
}

static void needs(void)
{
    struct err e;
    struct best_options o = {.patience = 1, .metric = "eval_loss"};
    CHECK(best_check(&o, "x", 5, &e) == 0);
    CHECK(best_check(&o, NULL, 0, &e) < 0 && e.status == STATUS_USAGE);
    CHECK(strstr(e.text, "--early-stopping-patience needs --eval-stream") != NULL);
    CHECK(best_check(&o, "x", 0, &e) < 0 && strstr(e.text, "needs --eval-steps") != NULL);
    o = (struct best_options){.load = 1, .metric = "eval_loss", .threshold_given = 1};
    CHECK(best_check(&o, "x", 5, &e) < 0);
    o.threshold_given = 0;
    CHECK(best_check(&o, "x", 5, &e) == 0);
    CHECK(best_check(&o, "x", 0, &e) < 0);
    o = (struct best_options){.metric = "eval_loss"};
    CHECK(best_check(&o, NULL, 0, &e) == 0);
}

static void when_due(void)
{
    struct evaluation_options o = {.path = "x", .steps = 3};
    CHECK(evaluation_due(&o, 3, 0) && !evaluation_due(&o, 4, 0) && evaluation_due(&o, 4, 1));
    o.steps = 0;
    CHECK(!evaluation_due(&o, 3, 0) && evaluation_due(&o, 3, 1));
    o.path = NULL;
    CHECK(!evaluation_due(&o, 3, 1));
}

int main(void)
{
    RUN(smaller_losses);
    RUN(larger_others);
    RUN(threshold);
    RUN(what_a_state_refers_to_stays);
    RUN(needs);
    RUN(when_due);
    return test_end();
}
