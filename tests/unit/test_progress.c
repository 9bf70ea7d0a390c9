// SPDX-License-Identifier: MIT
// Progress and the board, with times that the tests give.
#include "test.h"

#include "base/progress.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char folder[] = "/tmp/densepath-progress.XXXXXX";

// A run of its own: started at 100, total units.
static struct progress run_of(int64_t total)
{
    return (struct progress){.unit = "update",
                             .total = total,
                             .exact = 1,
                             .started = 100,
                             .measured = 100,
                             .printed = 100};
}

static void durations(void)
{
    char text[32];
    duration_print(text, 0);
    CHECK_TEXT(text, "0:00");
    duration_print(text, 71.6);
    CHECK_TEXT(text, "1:12");
    duration_print(text, 3599.4);
    CHECK_TEXT(text, "59:59");
    duration_print(text, 3723);
    CHECK_TEXT(text, "1:02:03");
    duration_print(text, 360000);
    CHECK_TEXT(text, "100:00:00");
    duration_print(text, -5);
    CHECK_TEXT(text, "0:00");
    duration_print(text, NAN);
    CHECK_TEXT(text, "0:00");
}

static void says_where_it_is(void)
{
    char text[200];
    struct progress p = run_of(935);
    progress_advance(&p, 404, 172);
    progress_print(&p, text, sizeof text, "loss 2.8191");
    CHECK_TEXT(text, "update 404/935  43 %  loss 2.8191");
    p.exact = 0;
    progress_print(&p, text, sizeof text, "");
    CHECK_TEXT(text, "update 404/~935  43 %");
    p.total = 0;
    progress_print(&p, text, sizeof text, "");
    CHECK_TEXT(text, "update 404");
    p.total = 400; // an estimate that was too low is no total
    progress_print(&p, text, sizeof text, "");
    CHECK_TEXT(text, "update 404");
    CHECK(progress_left(&p, 172) < 0);
}

static void says_what_it_took(void)
{
    char text[64];
    struct progress p = run_of(0);
    p.started = clock_seconds() - 7200;
    progress_closing(&p, 7200 * 1000, text);
    CHECK(strncmp(text, "2:00:0", 6) == 0);
    CHECK(strstr(text, " 1000 tokens/s") || strstr(text, " 999 tokens/s"));
}

static void time_left_follows_the_rate(void)
{
    struct progress p = run_of(1000);
    CHECK(progress_left(&p, 101) < 0); // nothing is done yet
    for (int i = 1; i <= 100; i++)
        progress_advance(&p, i, 100 + i);
    CHECK_NEAR(progress_left(&p, 200), 900, 1e-6);
    CHECK_NEAR(progress_left(&p, 200.5), 899.5, 1e-6); // within a unit it runs on
    // Ten times as fast: after two minutes that is the rate.
    for (int i = 1; i <= 600; i++)
        progress_advance(&p, 100 + i, 200 + i * 0.1);
    CHECK(progress_left(&p, 260) < 300 * 0.2 && progress_left(&p, 260) > 300 * 0.1);
    // The rate is not an average over all of the run: that would say 300 * 160 / 700.
    CHECK(progress_left(&p, 260) < 300 * 160.0 / 700);
}

static void a_resumed_run_counts_its_own_time(void)
{
    struct progress p = run_of(1000);
    progress_resume(&p, 900); // an earlier run did those
    progress_advance(&p, 910, 110);
    CHECK_NEAR(progress_left(&p, 110), 90, 1e-6);
}

static void messages_become_rarer(void)
{
    struct progress p = run_of(0);
    int lines = 0;
    CHECK(!progress_due(&p, 129) && progress_due(&p, 130));
    for (int now = 100; now <= 100 + 36000; now++)
        if (progress_due(&p, now)) {
            double since = now - p.printed;
            CHECK(since >= 30 && since <= 601);
            p.printed = now;
            lines++;
        }
    CHECK(lines > 60 && lines < 100); // of ten hours
}

static void a_line_fits_its_window(void)
{
    char out[400];
    struct board_line line = {.name = "sft-train", .started = 100, .ends = 270};
    snprintf(line.text, sizeof line.text, "update 404/935  43 %%  loss 2.8191  8152 tokens/s");
    board_print(out, sizeof out, &line, 0, 200, 172);
    CHECK_TEXT(out, "sft-train  update 404/935  43 %  loss 2.8191  8152 tokens/s"
                    "  1:12 elapsed  1:38 left");
    board_print(out, sizeof out, &line, 14, 200, 172);
    CHECK(strstr(out, "sft-train       update 404/935") == out);
    board_print(out, sizeof out, &line, 0, 80, 172);
    CHECK_TEXT(out, "sft-train  update 404/935  43 %  loss 2.8191  1:12 elapsed  1:38 left");
    for (int width = 2; width < 120; width++) {
        board_print(out, sizeof out, &line, 0, width, 172);
        CHECK((int)strlen(out) < width);
        CHECK(width < 40 || strstr(out, "1:12 elapsed  1:38 left"));
    }
    line.ends = 0;
    board_print(out, sizeof out, &line, 0, 30, 172);
    CHECK_TEXT(out, "sft-train  1:12 elapsed");
}

// What a child does with `in` and `out` as its standard streams; its exit status.
static int in_child(int in, int out, int (*fn)(void))
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        if (in >= 0)
            dup2(in, STDIN_FILENO);
        if (out >= 0)
            dup2(out, STDOUT_FILENO);
        _exit(fn());
    }
    int status;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int boards(void) // files of boards that are there
{
    char command[200];
    snprintf(command, sizeof command, "exit $(ls %s | wc -l)", folder);
    return WEXITSTATUS(system(command));
}

// A line in a file, as soon as it is due and not before.
static int to_file(void)
{
    struct progress p;
    int in = open("/dev/null", O_RDONLY);
    dup2(in, STDIN_FILENO);
    dup2(in, STDOUT_FILENO);
    progress_init(&p, "update", 10);
    progress_update(&p, 1, "loss %.1f", 9.0);
    p.started -= 40;
    p.printed -= 40;
    p.measured -= 40;
    p.due = 0;
    progress_update(&p, 5, "loss %.1f", 2.5);
    p.due = 0;
    progress_update(&p, 6, "loss %.1f", 2.0);
    progress_end(&p);
    return 0;
}

static void a_file_gets_whole_lines(void)
{
    char path[100], text[400] = "";
    snprintf(path, sizeof path, "%s.log", folder);
    int saved = dup(STDERR_FILENO), fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    dup2(fd, STDERR_FILENO);
    CHECK(in_child(-1, -1, to_file) == 0);
    dup2(saved, STDERR_FILENO);
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    CHECK(n > 0);
    const char *begin = "densepath: update 5/10  50 %  loss 2.5  0:4"; // of the seconds only this
    CHECK(strncmp(text, begin, strlen(begin)) == 0);
    CHECK(strstr(text, " elapsed  0:4") && strstr(text, " left\n") == text + n - 6);
    CHECK(strchr(text, '\n') == text + n - 1);
    close(saved);
    close(fd);
    unlink(path);
}

static int pipes[2][2]; // from the program before to this one; from this one: be done

static int writes_40_records(void)
{
    struct progress p;
    char done;
    progress_init(&p, "record", 40);
    if (write(STDOUT_FILENO, "x", 1) != 1 || read(pipes[1][0], &done, 1) != 1)
        return 1;
    progress_update(&p, 37, "%s", "");
    progress_end(&p);
    return write(STDOUT_FILENO, "x", 1) != 1;
}

static int follows(void)
{
    struct progress p;
    char done;
    if (read(STDIN_FILENO, &done, 1) != 1)
        return 1;
    progress_init(&p, "update", 0);
    progress_follow(&p, 1 / 16.0);
    p.due = 0;
    progress_update(&p, 1, "%s", "");
    if (p.total != 3 || !p.exact || boards() != 1) // 40 / 16, rounded up
        return 2;
    if (write(pipes[1][1], "x", 1) != 1 || read(STDIN_FILENO, &done, 1) != 1)
        return 3;
    int exact = 0;
    if (board_upstream(&exact) != 37 || !exact) // it has left, and said what it wrote
        return 4;
    progress_end(&p);
    return boards() == 0 ? 0 : 5;
}

static void totals_come_down_the_pipeline(void)
{
    CHECK(pipe(pipes[0]) == 0 && pipe(pipes[1]) == 0);
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(pipes[0][1], STDOUT_FILENO);
        _exit(writes_40_records());
    }
    CHECK(in_child(pipes[0][0], -1, follows) == 0);
    int status = -1;
    waitpid(pid, &status, 0);
    CHECK(status == 0);
    for (int i = 0; i < 4; i++)
        close(pipes[i / 2][i % 2]);
}

static int dies(void)
{
    struct progress p;
    progress_init(&p, "record", 40);
    return 7; // without progress_end, as if it was killed
}

static int takes_over(void)
{
    struct progress p;
    int exact;
    progress_init(&p, "record", 0);
    if (board_upstream(&exact) != 0)
        return 1; // the dead one's slot is free
    progress_end(&p);
    return boards() == 0 ? 0 : 2;
}

static void the_dead_leave_nothing(void)
{
    CHECK(pipe(pipes[0]) == 0);
    CHECK(in_child(-1, pipes[0][1], dies) == 7);
    CHECK(boards() == 1);
    CHECK(in_child(pipes[0][0], -1, takes_over) == 0);
    close(pipes[0][0]);
    close(pipes[0][1]);
}

// Somebody who was stopped holds the lock, or the file is not a board of ours: nothing hangs.
static int goes_on(void)
{
    struct progress p;
    double start = clock_seconds();
    progress_init(&p, "record", 10);
    for (int i = 1; i <= 10; i++) {
        p.due = 0;
        progress_update(&p, i, "%s", "");
    }
    progress_end(&p);
    return clock_seconds() - start > 20;
}

static void a_stopped_neighbour_stops_nobody(void)
{
    char path[200];
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 0, .l_len = 1};
    snprintf(path, sizeof path, "%s/densepath-%ld-%ld", folder, (long)geteuid(), (long)getsid(0));
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    CHECK(fd >= 0 && fcntl(fd, F_OFD_SETLK, &l) == 0);
    CHECK(pipe(pipes[0]) == 0);
    alarm(60);
    CHECK(in_child(-1, pipes[0][1], goes_on) == 0);
    CHECK(write(fd, "not a board", 11) == 11);
    l.l_type = F_UNLCK;
    CHECK(fcntl(fd, F_OFD_SETLK, &l) == 0);
    CHECK(in_child(-1, pipes[0][1], goes_on) == 0);
    CHECK(unlink(path) == 0 && symlink("/etc/hostname", path) == 0);
    CHECK(in_child(-1, pipes[0][1], goes_on) == 0);
    CHECK(unlink(path) == 0);
    alarm(0);
    close(fd);
    close(pipes[0][0]);
    close(pipes[0][1]);
}

int main(void)
{
    if (!mkdtemp(folder))
        return 1;
    setenv("XDG_RUNTIME_DIR", folder, 1);
    RUN(durations);
    RUN(says_where_it_is);
    RUN(says_what_it_took);
    RUN(time_left_follows_the_rate);
    RUN(a_resumed_run_counts_its_own_time);
    RUN(messages_become_rarer);
    RUN(a_line_fits_its_window);
    RUN(a_file_gets_whole_lines);
    RUN(totals_come_down_the_pipeline);
    RUN(the_dead_leave_nothing);
    RUN(a_stopped_neighbour_stops_nobody);
    rmdir(folder);
    return test_end();
}
