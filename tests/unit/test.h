// SPDX-License-Identifier: MIT
// Unit tests: a program a room, TAP on stdout.
//   static void adds(void) { CHECK(1 + 1 == 2); }
//   int main(void) { RUN(adds); return test_end(); }
#ifndef TEST_H
#define TEST_H

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int test_count, test_failures, test_failed;
static const char *test_skipped;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            test_failed = 1;                                                                       \
            printf("# %s:%d: %s\n", __FILE__, __LINE__, #condition);                               \
        }                                                                                          \
    } while (0)

#define CHECK_NEAR(a, b, tolerance)                                                                \
    do {                                                                                           \
        double near_a = (a), near_b = (b);                                                         \
        if (!(fabs(near_a - near_b) <= (tolerance))) {                                             \
            test_failed = 1;                                                                       \
            printf("# %s:%d: %s = %.9g, %s = %.9g, apart by %.3g\n", __FILE__, __LINE__, #a,       \
                   near_a, #b, near_b, fabs(near_a - near_b));                                     \
        }                                                                                          \
    } while (0)

#define CHECK_TEXT(a, b)                                                                           \
    do {                                                                                           \
        const char *text_a = (a), *text_b = (b);                                                   \
        if (strcmp(text_a, text_b) != 0) {                                                         \
            test_failed = 1;                                                                       \
            printf("# %s:%d: '%s' is not '%s'\n", __FILE__, __LINE__, text_a, text_b);             \
        }                                                                                          \
    } while (0)

// The statement breaks a limit that an assertion defends.
#define CHECK_DIES(statement)                                                                      \
    do {                                                                                           \
        fflush(stdout);                                                                            \
        pid_t dies_pid = fork();                                                                   \
        if (dies_pid == 0) {                                                                       \
            alarm(60);                                                                             \
            setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});                                        \
            if (freopen("/dev/null", "w", stderr))                                                 \
                statement;                                                                         \
            _exit(0);                                                                              \
        }                                                                                          \
        int dies_status = 0;                                                                       \
        if (dies_pid < 0 || waitpid(dies_pid, &dies_status, 0) != dies_pid ||                      \
            !WIFSIGNALED(dies_status) || WTERMSIG(dies_status) != SIGABRT) {                       \
            test_failed = 1;                                                                       \
            printf("# %s:%d: %s goes on\n", __FILE__, __LINE__, #statement);                       \
        }                                                                                          \
    } while (0)

// Leaves the test; the reason is printed.
#define SKIP(reason)                                                                               \
    do {                                                                                           \
        test_skipped = (reason);                                                                   \
        return;                                                                                    \
    } while (0)

// The test data beside the tree; tests that need them SKIP when they are absent.
#define SHARED "../shared"
#define NEED(path)                                                                                 \
    do {                                                                                           \
        if (access(path, R_OK) != 0)                                                               \
            SKIP("needs " path);                                                                   \
    } while (0)

#define RUN(name) test_run(#name, name)

__attribute__((unused)) static void test_run(const char *name, void (*fn)(void))
{
    test_failed = 0;
    test_skipped = NULL;
    fn();
    test_count++;
    test_failures += test_failed;
    printf("%sok %d - %s", test_failed ? "not " : "", test_count, name);
    if (test_skipped && !test_failed)
        printf(" # skip %s", test_skipped);
    printf("\n");
    fflush(stdout);
}

__attribute__((unused)) static int test_end(void)
{
    printf("1..%d\n", test_count);
    return test_failures != 0;
}

#endif
