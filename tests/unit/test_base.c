// SPDX-License-Identifier: MIT
#include "test.h"

#include "base/intern.h"
#include "base/json.h"
#include "base/mapped.h"
#include "base/memory.h"
#include "base/named_number.h"
#include "base/number.h"
#include "base/rng.h"
#include "base/shown.h"
#include "base/signals.h"
#include "base/thread.h"
#include "base/utf8.h"

#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

// Known answers of Random123 (kat_vectors, philox4x32 10).
static void philox_matches_published_vectors(void)
{
    uint32_t out[4];
    uint32_t zero[4] = {0}, key0[2] = {0};
    rng_philox(zero, key0, out);
    CHECK(out[0] == 0x6627e8d5 && out[1] == 0xe169c58d && out[2] == 0xbc57ac4c &&
          out[3] == 0x9b00dbd8);
    uint32_t ones[4] = {~0u, ~0u, ~0u, ~0u}, key1[2] = {~0u, ~0u};
    rng_philox(ones, key1, out);
    CHECK(out[0] == 0x408f276d && out[1] == 0x41c83b0e && out[2] == 0xa20bc7c6 &&
          out[3] == 0x6d5451fd);
    uint32_t pi[4] = {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344};
    uint32_t keypi[2] = {0xa4093822, 0x299f31d0};
    rng_philox(pi, keypi, out);
    CHECK(out[0] == 0xd16cfe09 && out[1] == 0x94fdcceb && out[2] == 0x5001e420 &&
          out[3] == 0x24126ea1);
}

static void rng_moments(void)
{
    struct rng r;
    rng_init(&r, 7, RNG_TEST, 1, 2);
    double sum = 0, squares = 0, uniform = 0;
    enum { N = 200000 };
    for (int i = 0; i < N; i++) {
        double x = rng_normal(&r);
        sum += x;
        squares += x * x;
        uniform += rng_uniform(&r);
    }
    CHECK_NEAR(sum / N, 0, 0.01);
    CHECK_NEAR(squares / N, 1, 0.02);
    CHECK_NEAR(uniform / N, 0.5, 0.005);
}

static void floats_print_shortest_and_read_back(void)
{
    struct rng r;
    rng_init(&r, 1, RNG_TEST, 0, 0);
    for (int i = 0; i < 200000; i++) {
        uint32_t bits = rng_u32(&r);
        float x;
        memcpy(&x, &bits, 4);
        if (isnan(x))
            continue;
        char text[NUMBER_MAX], shorter[400];
        int n = number_from_f32(x, text);
        float back = strtof(text, NULL);
        if (memcmp(&back, &x, 4) != 0) {
            CHECK(!"reads back");
            printf("# %s\n", text);
            return;
        }
        // One significant digit fewer must not read back.
        int digits = 0;
        for (int k = 0; k < n && text[k] != 'e'; k++)
            digits += text[k] >= '0' && text[k] <= '9' && (digits || text[k] != '0');
        if (digits > 6 && strchr(text, '.')) {
            snprintf(shorter, sizeof shorter, "%.*g", digits - 1, (double)x);
            CHECK(strtof(shorter, NULL) != x);
        }
    }
    char text[NUMBER_MAX];
    number_from_f32(0.1f, text);
    CHECK_TEXT(text, "0.1");
    number_from_f32(1e-45f, text); // subnormal: one digit is enough
    CHECK_TEXT(text, "1e-45");
    number_from_f32(-0.0f, text);
    CHECK_TEXT(text, "-0");
    number_from_f32(1.0f / 0.0f, text);
    CHECK_TEXT(text, "1e999");
}

static void numbers_parse_strictly(void)
{
    double x;
    int64_t i;
    uint64_t u;
    CHECK(number_to_f64("1.5", &x) == 0 && x == 1.5);
    CHECK(number_to_f64("1.5x", &x) < 0 && number_to_f64("", &x) < 0 &&
          number_to_f64("nan", &x) < 0);
    CHECK(number_to_f64(" 1", &x) < 0 && number_to_f64("0x10", &x) < 0 &&
          number_to_f64("inf", &x) < 0);
    CHECK(number_to_i64("-12", &i) == 0 && i == -12);
    CHECK(number_to_i64("9223372036854775808", &i) < 0 && number_to_i64("1.0", &i) < 0);
    CHECK(number_to_size("64K", &u) == 0 && u == 65536);
    CHECK(number_to_size("64k", &u) < 0 && number_to_size("99999999999G", &u) < 0);
    CHECK(number_to_fraction("1/3", &x) == 0 && x > 0.333 && x < 0.334);
    CHECK(number_to_fraction("half", &x) == 0 && x == 0.5);
    CHECK(number_to_fraction("1.5", &x) < 0 && number_to_fraction("0", &x) < 0);
}

// A source whose memory the arena must not touch: numbers in place of addresses.
static size_t source_given, source_live;

static void *source_alloc(void *owner, size_t bytes)
{
    CHECK(owner == &source_given);
    source_live += bytes;
    source_given += bytes;
    return bytes > 1 << 24 ? NULL : (void *)(uintptr_t)(source_given << 32);
}

static void source_free(void *owner, void *p, size_t bytes)
{
    CHECK(owner == &source_given && p);
    source_live -= bytes;
}

static void arena_of_memory_that_is_not_its_own(void)
{
    static const struct arena_source source = {source_alloc, source_free};
    struct arena a;
    struct err e;
    arena_init_from(&a, &source, &source_given);
    for (int i = 0; i < 40; i++)
        CHECK(((uintptr_t)arena_alloc(&a, 10000, 1, &e) & 63) == 0);
    arena_clear(&a); // one block from here on
    size_t given = source_given;
    char *first = arena_alloc(&a, 10000, 1, &e);
    struct arena_mark mark = arena_mark(&a);
    for (int i = 0; i < 39; i++)
        CHECK(arena_alloc(&a, 10000, 1, &e));
    arena_rewind(&a, mark);
    CHECK(arena_alloc(&a, 1, 1, &e) == first + 10048 && source_given == given);
    CHECK(arena_alloc(&a, 1 << 25, 1, &e) == NULL && e.status == STATUS_MEMORY);
    source_live -= (1 << 25); // which it did not give
    arena_release(&a);
    CHECK(source_live == 0);
    CHECK(arena_alloc(&a, 100, 1, &e) && source_live > 0); // from the same source
    arena_release(&a);
    CHECK(source_live == 0);
}

static void arena_reuses_and_rewinds(void)
{
    struct arena a;
    struct err e;
    arena_init(&a);
    char *first = arena_alloc(&a, 100, 1, &e);
    struct arena_mark mark = arena_mark(&a);
    for (int i = 0; i < 100; i++)
        memset(arena_alloc(&a, 10000, 1, &e), i, 10000);
    arena_rewind(&a, mark);
    memset(first, 1, 100);
    arena_clear(&a);
    CHECK(arena_alloc(&a, SIZE_MAX / 2, 8, &e) == NULL && e.status == STATUS_MEMORY);
    CHECK(((uintptr_t)arena_alloc(&a, 3, 1, &e) & 63) == 0);
    arena_release(&a);
}

static void add_items(void *arg, size_t begin, size_t end, int worker)
{
    int *hits = arg;
    for (size_t i = begin; i < end; i++)
        __atomic_fetch_add(&hits[i], 1, __ATOMIC_RELAXED);
}

static void threads_visit_each_item_once(void)
{
    enum { N = 1000 };
    static int hits[N];
    struct err e;
    for (int threads = 1; threads <= 5; threads++) {
        CHECK(threads_set(threads, &e) == 0 && threads_count() == threads);
        for (int round = 0; round < 300; round++) {
            memset(hits, 0, sizeof hits);
            threads_for(N, 7, add_items, hits);
            int wrong = 0;
            for (int i = 0; i < N; i++)
                wrong += hits[i] != 1;
            CHECK(wrong == 0);
        }
    }
    CHECK(threads_set(-1, &e) < 0 && e.status == STATUS_USAGE);
    CHECK(threads_set(1, &e) == 0);
}

static double own_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// The first chunk of the caller waits for the other's beginning, and has nothing to do then.
static void other_sleeps(void *arg, size_t begin, size_t end, int worker)
{
    atomic_int *begun = arg;
    if (worker > 0) {
        atomic_store(begun, 1);
        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    } else if (begin < 2) {
        while (!atomic_load(begun))
            nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
}

static void threads_that_wait_leave_their_processor(void)
{
    struct err e;
    atomic_int begun = 0;
    CHECK(threads_set(2, &e) == 0);
    double start = own_seconds();
    threads_for(2, 1, other_sleeps, &begun);
    CHECK(atomic_load(&begun) && own_seconds() - start < 0.1);
    CHECK(threads_set(1, &e) == 0);
}

enum { LINKS = 40, STEPS = 50 };
struct chain {
    atomic_size_t count[LINKS];
    size_t sum[STEPS]; // changed by one link after another
};

static void link_goes_on(void *arg, size_t begin, size_t end, int worker)
{
    struct chain *c = arg;
    for (size_t i = begin; i < end; i++)
        for (size_t k = 0; k < STEPS; k++) {
            if (i > 0 && !threads_await(&c->count[i - 1], k + 1))
                return;
            for (int pause = 0; pause < 100 && i % 2 == 0; pause++)
                sched_yield(); // the odd ones would be first
            c->sum[k] = c->sum[k] * 3 + i;
            atomic_store(&c->count[i], k + 1);
        }
}

static void threads_await_earlier_chunks(void)
{
    static struct chain one, many;
    struct err e;
    CHECK(threads_set(1, &e) == 0);
    threads_for(LINKS, 1, link_goes_on, &one);
    for (int threads = 2; threads <= 5; threads++)
        for (size_t grain = 1; grain <= 7; grain += 3) {
            memset(&many, 0, sizeof many);
            CHECK(threads_set(threads, &e) == 0);
            threads_for(LINKS, grain, link_goes_on, &many);
            CHECK(!memcmp(many.sum, one.sum, sizeof one.sum));
        }
    CHECK(threads_set(1, &e) == 0);
}

struct stopped {
    int hits, at; // chunks that ran; the one that is struck
};

static void strike_one(void *arg, size_t begin, size_t end, int worker)
{
    struct stopped *s = arg;
    s->hits++;
    if (begin == (size_t)s->at)
        raise(SIGTERM);
}

// In a process of its own, where a stop was requested for good.
static void stop_and_count(void)
{
    struct stopped s = {.at = 10};
    struct err err;
    signals_init(1);
    CHECK(!signals_stop_requested() && signals_check_stop(&err) == 0);
    threads_interruptible();
    threads_for(100, 1, strike_one, &s);
    CHECK(s.hits == 11 && threads_interrupted() && signals_stop_requested());
    atomic_size_t count = 7;
    CHECK(threads_await(&count, 7) && !threads_await(&count, 8));
    CHECK(signals_check_stop(&err) < 0 && err.status == STATUS_AGAIN);
    CHECK(threads_uninterruptible() == 1);
    // What must be whole is.
    CHECK(!threads_interrupted());
    threads_for(100, 1, strike_one, &s);
    CHECK(s.hits == 111);
    threads_interruptible();
    CHECK(threads_uninterruptible() == 0);
}

// Returns how it ended. `body` may fail checks.
static int in_child(void (*body)(void))
{
    int status = 0;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        body();
        fflush(stdout);
        _exit(test_failed);
    }
    CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
    return status;
}

static void two_presses(void)
{
    signals_init(1);
    raise(SIGINT);
    usleep(400000);
    raise(SIGINT);
}

// What is not Ctrl-C may come as often as it likes.
static void one_press(void)
{
    signals_init(1);
    raise(SIGINT);
    raise(SIGTERM);
    raise(SIGHUP);
    raise(SIGTERM);
    CHECK(signals_stop_requested());
}

static void ignored_hangup(void)
{
    signal(SIGHUP, SIG_IGN);
    signals_init(1);
    raise(SIGHUP);
    CHECK(!signals_stop_requested());
}

static void stops_and_ends(void)
{
    int status = in_child(stop_and_count);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    status = in_child(two_presses);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    status = in_child(one_press);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    status = in_child(ignored_hangup);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

// What is read where there is no file any more, by the thread that is not the first. Each of two
// has one chunk: whoever is there waits for the other.
struct cut {
    const unsigned char *data;
    atomic_int threads;
};

static void read_what_is_gone(void *arg, size_t begin, size_t end, int worker)
{
    struct cut *c = arg;
    atomic_fetch_add(&c->threads, 1);
    while (atomic_load(&c->threads) < 2)
        sched_yield();
    while (gettid() == getpid())
        pause();
    *(volatile const unsigned char *)c->data;
}

static void begin_reading(int fd, int said)
{
    struct err e;
    message_program("reader");
    struct mapped *m = mapped_open(fd, "weights", &e);
    if (!m || ftruncate(fd, 0) < 0 || dup2(said, STDERR_FILENO) < 0 || threads_set(2, &e) < 0)
        _exit(99);
    struct cut c = {.data = m->data};
    alarm(60); // a signal that is lost is no hang
    threads_for(2, 1, read_what_is_gone, &c);
    _exit(98);
}

static void a_mapped_file_that_shrinks_under_a_worker_thread(void)
{
    char name[] = "/tmp/densepath-cut.XXXXXX", text[200] = "";
    int fd = mkstemp(name), said[2], status;
    CHECK(fd >= 0 && unlink(name) == 0 && ftruncate(fd, 10000) == 0 && pipe(said) == 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        begin_reading(fd, said[1]);
    close(said[1]);
    CHECK(read(said[0], text, sizeof text - 1) > 0);
    CHECK_TEXT(text, "reader: weights changed while it was read\n");
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == STATUS_FAILED);
    close(said[0]);
    close(fd);
}

static void json_takes_whole_numbers_of_any_size(void)
{
    static const char text[] =
        "{\"a\":9007199254740993,\"b\":1000000000000000019884624838656,"
        "\"c\":\"12345678901234567890 \\\" 1\",\"d\":[-18446744073709551616]}";
    struct err e;
    json_t *j = json_parse(text, sizeof text - 1, "text", &e);
    CHECK(j != NULL);
    CHECK(json_integer_value(json_object_get(j, "a")) == 9007199254740993);
    CHECK(json_real_value(json_object_get(j, "b")) == 1e30);
    CHECK_TEXT(json_string_value(json_object_get(j, "c")), "12345678901234567890 \" 1");
    CHECK(json_real_value(json_array_get(json_object_get(j, "d"), 0)) == -18446744073709551616.0);
    json_decref(j);
    CHECK(json_parse("{\"a\":1,\"a\":2}", 13, "twice", &e) == NULL);
}

static void utf8_is_checked(void)
{
    static const char *const good[] = {"",
                                       "abc",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const wrong[] = {"\x80",
                                        "\xc0\x80",
                                        "\xc1\xbf",
                                        "\xe0\x9f\xbf",
                                        "\xed\xa0\x80",
                                        "\xf0\x8f\xbf\xbf",
                                        "\xf4\x90\x80\x80",
                                        "\xf5\x80\x80\x80",
                                        "\xc3",
                                        "\xe2\x82",
                                        "\xff"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        CHECK(utf8_valid_prefix(good[i], strlen(good[i])) == strlen(good[i]));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(utf8_valid_prefix(wrong[i], strlen(wrong[i])) < strlen(wrong[i]));
}

static void utf8_characters_go_there_and_back(void)
{
    static const uint32_t code[] = {0, 'a', 0x7F, 0x80, 0x7FF, 0x800, 0xFFFD, 0x10000, 0x10FFFF};
    enum { N = sizeof code / sizeof *code };
    char text[4 * N];
    size_t size = 0, at = 0, bad;
    for (size_t i = 0; i < N; i++)
        size += utf8_put(code[i], text + size);
    CHECK(utf8_valid_prefix(text, size) == size && utf8_length(text, size) == N);
    const char *s = text, *end = text + size;
    for (size_t i = 0; i < N; i++) {
        CHECK(utf8_offset(text, size, i) == at);
        CHECK(utf8_sequence(s, (size_t)(end - s), &bad) ==
              (size_t)(i < N - 1 ? utf8_offset(text, size, i + 1) : size) - at);
        CHECK(utf8_next(text, &at) == code[i]);
        CHECK(utf8_step(&s, end) == code[i] && s == text + at);
    }
    for (size_t i = N; i-- > 0;)
        CHECK(utf8_step_back(text, &end) == code[i]);
    CHECK(end == text);
    // Three of four bytes: one replacement character; two characters where the second byte is
    // wrong.
    CHECK(utf8_sequence("\xf0\x90\x80", 3, &bad) == 0 && bad == 3);
    CHECK(utf8_sequence("\xe0\x80\x80", 3, &bad) == 0 && bad == 1);
    s = "\xf0\x90";
    end = s + 2;
    utf8_step(&s, end);
    CHECK(s <= end); // also where the text breaks off
}

static void strings_are_numbered(void)
{
    struct err e;
    struct intern g;
    intern_init(&g);
    char name[16];
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3000; i++) {
            int n = snprintf(name, sizeof name, "p%d", i % 1000);
            CHECK(intern_number(&g, name, (size_t)n, &e) == i % 1000);
        }
        CHECK(intern_number(&g, "", 0, &e) == 1000);
        CHECK(intern_number(&g, "p", 1, &e) == 1001);
        CHECK(intern_number(&g, "", 0, &e) == 1000);
        CHECK(g.n == 1002);
        intern_clear(&g);
    }
    intern_release(&g);
}

static int split_number(const char *text, const char *name, double number)
{
    static const struct named_form form = {"kl", "NAME:COEF", 0, INFINITY};
    struct named_number n;
    struct err e;
    return named_number(&n, text, &form, &e) == 0 && n.size == strlen(name) &&
           !memcmp(n.name, name, n.size) && n.number == number;
}

static void names_with_numbers_are_read_strictly(void)
{
    static const struct named_form form = {"kl", "NAME:COEF", 0, INFINITY},
                                   first = {"mix", "ALPHA:COLUMN", 0, 1},
                                   operand = {NULL, "DIR:WEIGHT", -INFINITY, INFINITY};
    struct named_number n;
    struct err e;
    CHECK(split_number("sft:0.1", "sft", 0.1));
    CHECK(split_number("/a:b/c:1e-3", "/a:b/c", 1e-3));
    CHECK(split_number("a::0", "a:", 0));
    CHECK(split_number("::2", ":", 2));
    static const char *const wrong[] = {"",     "sft",   ":1",      "sft:",  "sft:-1", "sft:x",
                                        "a:1 ", "a: 1",  "a:0x1p3", "a:nan", "a:inf",  "a:1e999",
                                        "a:1:", "a:1,5", "1",       ":",     "a:--1",  "a:+-1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(named_number(&n, wrong[i], &form, &e) < 0 && e.status == STATUS_USAGE);
    CHECK(named_number(&n, "sft:-1", &form, &e) < 0 &&
          !strcmp(e.text, "--kl: 'sft:-1' is not NAME:COEF with COEF of 0 or more"));
    CHECK(named_number(&n, "a:-0.5", &operand, &e) == 0 && n.size == 1 && n.number == -0.5);
    CHECK(named_number(&n, "a", &operand, &e) < 0 && !strcmp(e.text, "'a' is not DIR:WEIGHT"));

    CHECK(number_named(&n, "0.25:logp:sft", &first, &e) == 0 && n.number == 0.25 && n.size == 8 &&
          !strcmp(n.name, "logp:sft"));
    CHECK(number_named(&n, "1:a", &first, &e) == 0 && number_named(&n, "0::", &first, &e) == 0);
    static const char *const bad[] = {"", "0.5", "0.5:", ":a", "a:0.5", "1.5:a", "-1:a", "0.5x:a"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(number_named(&n, bad[i], &first, &e) < 0 && e.status == STATUS_USAGE);
    CHECK(number_named(&n, "2:a", &first, &e) < 0 &&
          !strcmp(e.text, "--mix: '2:a' is not ALPHA:COLUMN with ALPHA in 0 .. 1"));
    char digits[80] = "0.";
    memset(digits + 2, '1', 70);
    strcpy(digits + 72, ":a");
    CHECK(number_named(&n, digits, &first, &e) < 0);
}

static int shows(const char *text, size_t size, const char *want)
{
    struct shown s = shown(text, size);
    if (strcmp(s.text, want) != 0)
        printf("# %s\n", s.text);
    return !strcmp(s.text, want);
}

static void texts_from_outside_are_shown_masked_and_short(void)
{
    CHECK(shows("gsm8k-17/0", 10, "gsm8k-17/0") && shows("", 0, "") && shows("é中😀", 9, "é中😀"));
    // Escape sequences, of seven bits and of eight; line breaks; NUL, DEL; U+009B; U+202E, U+2066.
    CHECK(shows("a\x1b[2J\x1b]0;x\ab", 11, "a?[2J?]0;x?") && shows("a\x9b"
                                                                   "2Jb",
                                                                   5, "a?2Jb"));
    CHECK(shows("a\nb\r\tc\0d\x7f", 9, "a?b??c?d?") && shows("\xc2\x9b"
                                                             "31m",
                                                             5, "?31m"));
    CHECK(shows("a\xe2\x80\xae"
                "b\xe2\x81\xa6",
                8, "a?b?") &&
          shows("\xe2\x80\xa8", 3, "?"));
    // Not UTF-8: a byte alone, an overlong one, a surrogate, one beyond all, one cut at the end.
    CHECK(shows("\xff"
                "a\x80",
                3, "?a?") &&
          shows("\xc0\xaf", 2, "??"));
    CHECK(shows("\xed\xa0\x80", 3, "???") && shows("\xf5\x80\x80\x80", 4, "????"));
    CHECK(shows("abc\xe4\xb8", 5, "abc?") && shows("\xf0\x9f\x98", 3, "?"));

    char text[10000], want[SHOWN_BYTES + 4];
    memset(text, 'x', sizeof text);
    memset(want, 'x', SHOWN_BYTES);
    want[SHOWN_BYTES] = 0;
    CHECK(shows(text, SHOWN_BYTES, want));
    strcpy(want + SHOWN_BYTES, "...");
    CHECK(shows(text, SHOWN_BYTES + 1, want) && shows(text, sizeof text, want));
    // A character of three bytes that would end behind the limit is left out whole.
    for (size_t before = SHOWN_BYTES - 2; before < SHOWN_BYTES; before++) {
        memset(text, 'x', sizeof text);
        memset(want, 'x', before);
        memcpy(text + before, "中", 3);
        strcpy(want + before, "...");
        CHECK(shows(text, sizeof text, want));
    }
    memset(text, '\x1b', sizeof text);
    memset(want, '?', SHOWN_BYTES);
    strcpy(want + SHOWN_BYTES, "...");
    CHECK(shows(text, sizeof text, want));
}

static void records_have_one_name(void)
{
    char id[10000];
    memset(id, 'i', sizeof id);
    CHECK(!strcmp(shown_record("a\nb", 3, 7).text, "record `a?b`"));
    CHECK(!strcmp(shown_record(NULL, 0, 7).text, "record 7"));
    CHECK(!strcmp(shown_record(id, 0, UINT64_MAX).text, "record 18446744073709551615"));
    struct shown s = shown_record(id, sizeof id, 1);
    CHECK(strlen(s.text) == SHOWN_BYTES + sizeof "record `...`" - 1 &&
          !strcmp(s.text + SHOWN_BYTES + sizeof "record `" - 1, "...`"));
    char line[] = "a\x1b"
                  "b\xc2\x9b"
                  "c\xe4\xb8";
    shown_mask(line);
    CHECK(!strcmp(line, "a?b?c?"));
}

// Limits of the headers that only our own code can break.
static void limits_are_defended(void)
{
    struct rng r;
    struct arena a, b;
    struct err e;
    char text[NUMBER_MAX];
    rng_init(&r, 1, RNG_TEST, 0, 0);
    arena_init(&a);
    arena_init(&b);
    CHECK(arena_alloc(&a, 10, 1, &e) && arena_alloc(&b, 10, 1, &e));
    struct arena_mark mark = arena_mark(&a);
    CHECK_DIES(rng_below(&r, 0));
    CHECK_DIES(number_from_f32(NAN, text));
    CHECK_DIES(arena_rewind(&b, mark));
    CHECK_DIES(err_set(NULL, STATUS_FAILED, "lost"));
    arena_release(&a);
    arena_release(&b);
}

int main(void)
{
    RUN(philox_matches_published_vectors);
    RUN(rng_moments);
    RUN(floats_print_shortest_and_read_back);
    RUN(numbers_parse_strictly);
    RUN(names_with_numbers_are_read_strictly);
    RUN(texts_from_outside_are_shown_masked_and_short);
    RUN(records_have_one_name);
    RUN(arena_reuses_and_rewinds);
    RUN(arena_of_memory_that_is_not_its_own);
    RUN(threads_visit_each_item_once);
    RUN(threads_that_wait_leave_their_processor);
    RUN(threads_await_earlier_chunks);
    RUN(stops_and_ends);
    RUN(a_mapped_file_that_shrinks_under_a_worker_thread);
    RUN(json_takes_whole_numbers_of_any_size);
    RUN(utf8_is_checked);
    RUN(utf8_characters_go_there_and_back);
    RUN(strings_are_numbered);
    RUN(limits_are_defended);
    return test_end();
}
