// SPDX-License-Identifier: MIT
#include "base/signals.h"
#include "base/litter.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// What wraps a program (timeout, a pipeline's script) may pass one Ctrl-C on a second time.
enum { SAME_PRESS_MS = 250 };

static atomic_int stop_requested;
static _Atomic int64_t pressed; // when Ctrl-C came first, in ms; 0: it has not
static int stop_pipe[2] = {-1, -1};
static void (*_Atomic before_end)(void);

static void end(int number)
{
    void (*fn)(void) = atomic_load(&before_end);
    if (fn)
        fn();
    litter_remove();
    signal(number, SIG_DFL);
    raise(number); // when the handler returns
}

static int is_second_press(void)
{
    struct timespec now;
    int64_t none = 0;
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 + 1;
    return !atomic_compare_exchange_strong(&pressed, &none, ms) && ms - none > SAME_PRESS_MS;
}

static void stop(int number)
{
    int saved = errno;
    if (number == SIGINT && is_second_press()) {
        end(number);
    } else if (!atomic_exchange(&stop_requested, 1)) {
        ssize_t written = write(stop_pipe[1], "", 1);
        (void)written; // the flag is set
    }
    errno = saved;
}

// `always`: also where the parent has had it ignored, as a shell does with the SIGINT of what it
// starts in the background.
static void handle(int number, void (*fn)(int), int flags, int always)
{
    struct sigaction old, action = {.sa_handler = fn, .sa_flags = flags};
    // It ends by the first that came: of one press of Ctrl-C and the keeper's SIGTERM just behind
    // it by the press, of which no shell says anything.
    sigfillset(&action.sa_mask);
    if (sigaction(number, NULL, &old) == 0 && (always || old.sa_handler != SIG_IGN))
        sigaction(number, &action, NULL);
}

void signals_init(int with_stop)
{
    static const int ending[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGXCPU};
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    for (size_t i = 0; i < sizeof ending / sizeof *ending; i++)
        handle(ending[i], end, SA_RESTART, 0);
    if (!with_stop)
        return;
    if (pipe2(stop_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
        stop_pipe[0] = stop_pipe[1] = -1;
    // Without SA_RESTART: a read that waits comes back.
    handle(SIGINT, stop, 0, 1);
    handle(SIGTERM, stop, 0, 1);
    handle(SIGHUP, stop, 0, 0);
    handle(SIGXCPU, stop, 0, 0);
}

int signals_stop_requested(void)
{
    return atomic_load_explicit(&stop_requested, memory_order_relaxed);
}

int signals_check_stop(struct err *e)
{
    return signals_stop_requested() ? err_set(e, STATUS_AGAIN, "stopped by a signal") : 0;
}

int signals_interruptible(int on)
{
    handle(SIGINT, on ? stop : end, SA_RESTART, 0);
    atomic_store(&pressed, 0);
    return atomic_exchange(&stop_requested, 0);
}

int signals_stop_fd(void)
{
    return stop_pipe[0];
}

void signals_before_end(void (*fn)(void))
{
    atomic_store(&before_end, fn);
}

int signals_exit_status(int status)
{
    if (status == STATUS_PIPE)
        end(SIGPIPE);
    return status;
}
