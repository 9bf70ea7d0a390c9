// SPDX-License-Identifier: MIT
#include "toks/command.h"
#include "base/io.h"
#include "base/progress.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PIECE = 1 << 16, LINE_MIB = 64 };

void command_init(struct command *c, char *const *argv)
{
    memset(c, 0, sizeof *c);
    c->argv = argv;
    c->in = c->out = -1;
    buffer_init(&c->questions, 0);
    buffer_init(&c->answers, 0);
}

static void shut(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void command_release(struct command *c)
{
    shut(&c->in);
    shut(&c->out);
    pid_t group = c->pid;
    if (group) {
        kill(-group, SIGTERM);
        int gone = command_wait(c, 0.5) >= 0;
        kill(-group, SIGKILL); // its children too
        if (!gone)
            command_wait(c, 1e9);
    }
    buffer_release(&c->questions);
    buffer_release(&c->answers);
}

// In the child, between fork and exec: nothing that allocates.
static void become(char *const *argv, int in, int out, int report, pid_t parent)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM); // our death by signal is its end too
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    if (getppid() == parent && dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0)
        execvp(argv[0], argv);
    int error = errno;
    if (write(report, &error, sizeof error) < 0)
        _exit(126);
    _exit(127);
}

static int open_pipes(int fd[6], struct err *e)
{
    for (int i = 0; i < 6; i++)
        fd[i] = -1;
    for (int i = 0; i < 6; i += 2)
        if (pipe2(fd + i, O_CLOEXEC) < 0)
            return err_errno(e, "a pipe");
    return 0;
}

// fd: a pipe to the command, one from it, and one that tells why it could not be executed.
static int fork_command(struct command *c, const int fd[6], struct err *e)
{
    pid_t parent = getpid();
    c->pid = fork();
    if (c->pid < 0) {
        c->pid = 0;
        return err_errno(e, c->argv[0]);
    }
    if (c->pid == 0)
        become(c->argv, fd[0], fd[3], fd[5], parent);
    setpgid(c->pid, c->pid); // whoever is first
    return 0;
}

int command_start(struct command *c, struct err *e)
{
    int fd[6], error, result = open_pipes(fd, e);
    if (result == 0)
        result = fork_command(c, fd, e);
    shut(&fd[0]);
    shut(&fd[3]);
    shut(&fd[5]);
    if (result == 0 && read(fd[4], &error, sizeof error) == sizeof error) {
        command_wait(c, 1e9);
        errno = error;
        result = err_errno(e, c->argv[0]);
    }
    shut(&fd[4]);
    if (result < 0) {
        shut(&fd[1]);
        shut(&fd[2]);
        return -1;
    }
    c->in = fd[1];
    c->out = fd[2];
    fcntl(c->in, F_SETFL, O_NONBLOCK);
    fcntl(c->out, F_SETFL, O_NONBLOCK);
    buffer_clear(&c->questions);
    buffer_clear(&c->answers);
    c->asked = c->read = c->searched = 0;
    return 0;
}

int command_ask(struct command *c, const char *line, size_t size, struct err *e)
{
    if (c->asked == c->questions.size) {
        buffer_clear(&c->questions);
        c->asked = 0;
    }
    return buffer_append(&c->questions, line, size, e);
}

size_t command_pending(const struct command *c)
{
    return c->questions.size - c->asked;
}

size_t command_rest(const struct command *c)
{
    return c->answers.size - c->read;
}

// The first line break of what has come, or NULL.
static const char *line_end(struct command *c)
{
    size_t rest = command_rest(c);
    if (c->searched >= rest)
        return NULL;
    const char *from = c->answers.data + c->read;
    const char *end = memchr(from + c->searched, '\n', rest - c->searched);
    c->searched = end ? (size_t)(end - from) : rest;
    return end;
}

int command_has_line(struct command *c)
{
    return line_end(c) != NULL;
}

int command_line(struct command *c, const char **line, size_t *size)
{
    const char *end = line_end(c);
    if (!end)
        return 0;
    *line = c->answers.data + c->read;
    *size = c->searched;
    c->read += *size + 1;
    c->searched = 0;
    return 1;
}

void command_no_more(struct command *c)
{
    shut(&c->in);
}

static int hand_over(struct command *c, struct err *e)
{
    ssize_t n = write(c->in, c->questions.data + c->asked, command_pending(c));
    if (n >= 0) {
        c->asked += (size_t)n;
        return 1;
    }
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    if (errno != EPIPE)
        return err_errno(e, c->argv[0]);
    shut(&c->in); // what it has read it may still answer
    return 1;
}

static int take(struct command *c, struct err *e)
{
    size_t rest = command_rest(c);
    if (c->read) {
        if (rest)
            memmove(c->answers.data, c->answers.data + c->read, rest);
        c->answers.size = rest;
        c->read = 0;
    }
    if (rest > (size_t)LINE_MIB << 20)
        return err_set(e, STATUS_FAILED,
                       "the command `%s` wrote more than %d MiB without a line break: an answer is "
                       "one line",
                       c->argv[0], LINE_MIB);
    if (buffer_reserve(&c->answers, PIECE, e) < 0)
        return -1;
    ssize_t n = read(c->out, c->answers.data + rest, PIECE);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : err_errno(e, c->argv[0]);
    c->answers.size += (size_t)n;
    if (n == 0)
        shut(&c->out);
    return 1;
}

int command_talk(struct command *c, double seconds, struct err *e)
{
    int asks = c->in >= 0 && command_pending(c) > 0;
    // An idle input is not looked at: that it was closed shows when there is something to ask.
    struct pollfd fd[2] = {{c->out, POLLIN, 0}, {asks ? c->in : -1, POLLOUT, 0}};
    if (c->out < 0 && !asks)
        return 0;
    if (seconds > 0.25)
        seconds = 0.25; // our own reader may go meanwhile
    if (poll(fd, 2, (int)(1000 * seconds)) < 0)
        return errno == EINTR ? 0 : err_errno(e, c->argv[0]);
    if (io_reader_gone())
        return err_set(e, STATUS_PIPE, "standard output: its reader has exited");
    int moved = 0, result;
    if (fd[1].revents) {
        if ((result = hand_over(c, e)) < 0)
            return -1;
        moved |= result;
    }
    if (fd[0].revents) {
        if ((result = take(c, e)) < 0)
            return -1;
        moved |= result;
    }
    return moved;
}

int command_wait(struct command *c, double seconds)
{
    double end = clock_seconds() + seconds;
    for (long pause = 100000;; pause = pause < 20000000 ? 2 * pause : pause) {
        int status;
        pid_t done = waitpid(c->pid, &status, WNOHANG);
        if (done == c->pid) {
            c->pid = 0;
            return status;
        }
        if ((done < 0 && errno != EINTR) || clock_seconds() > end)
            return -1;
        nanosleep(&(struct timespec){0, pause}, NULL);
    }
}

void command_describe(int status, char *text, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(text, size, "was killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(text, size, "ended with status %d", WEXITSTATUS(status));
}
