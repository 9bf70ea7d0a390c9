// SPDX-License-Identifier: MIT
#include "base/mapped.h"
#include "base/board.h"
#include "base/memory.h"
#include "base/shown.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

// The handler reads this list in whatever thread the signal comes; the main thread alone changes
// it, one pointer at a time.
static _Atomic(struct mapped *) first;

static void on_bus_error(int signal_number, siginfo_t *info, void *context)
{
    const unsigned char *at = info->si_addr;
    (void)context;
    for (const struct mapped *m = atomic_load(&first); m; m = m->next)
        if (m->data && at >= m->data && (size_t)(at - m->data) < m->size) {
            int i = file_mark_holds(&m->mark, m->fd);
            ssize_t written = write(STDERR_FILENO, m->line[i], m->length[i]);
            (void)written; // nowhere left to complain
            _exit(STATUS_FAILED);
        }
    signal(signal_number, SIG_DFL); // none of ours: it happens again, and ends the program
}

static void watch_bus_errors(void)
{
    static int watched;
    struct sigaction action;
    if (watched)
        return;
    watched = 1;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGBUS, &action, NULL);
}

// The whole line, as message_fail would print it, since the handler can format nothing.
static int make_line(struct mapped *m, int i, const char *what, struct err *e)
{
    static const char erase[] = "\r\033[J"; // status lines that are on the screen
    char text[1400];
    snprintf(text, sizeof text - 1, "%s: %s%s", message_name(), m->name, what);
    shown_mask(text);
    int n = asprintf(&m->line[i], "%s%s\n", board_terminal() ? erase : "", text);
    if (n < 0) {
        m->line[i] = NULL;
        return err_memory(e, sizeof text, "a message");
    }
    m->length[i] = (size_t)n;
    return 0;
}

static int map(struct mapped *m, const char *name, struct err *e)
{
    m->name = strdup(name);
    if (!m->name)
        return err_memory(e, strlen(name), "a file name");
    if (make_line(m, 0, " changed while it was read", e) < 0 ||
        make_line(m, 1, ": it can no longer be read", e) < 0 ||
        file_mark_take(&m->mark, m->fd, name, e) < 0)
        return -1;
    m->size = (size_t)m->mark.size;
    if (!m->size)
        return 0;
    void *data = mmap(NULL, m->size, PROT_READ, MAP_SHARED, m->fd, 0);
    if (data == MAP_FAILED)
        return err_errno(e, name);
    m->data = data;
    return 0;
}

struct mapped *mapped_open(int fd, const char *name, struct err *e)
{
    struct mapped *m = mem_alloc(1, sizeof *m, "a mapped file", e);
    if (!m) {
        close(fd);
        return NULL;
    }
    m->fd = fd;
    if (map(m, name, e) < 0) {
        mapped_close(m);
        return NULL;
    }
    watch_bus_errors();
    m->next = atomic_load(&first);
    atomic_store(&first, m);
    return m;
}

static void leave_list(const struct mapped *m)
{
    struct mapped *at = atomic_load(&first);
    if (at == m) {
        atomic_store(&first, m->next);
        return;
    }
    while (at && at->next != m)
        at = at->next;
    if (at)
        at->next = m->next;
}

void mapped_close(struct mapped *m)
{
    if (!m)
        return;
    leave_list(m);
    if (m->data)
        munmap((void *)m->data, m->size);
    close(m->fd);
    free(m->line[0]);
    free(m->line[1]);
    free(m->name);
    free(m);
}

void mapped_let_go(const struct mapped *m)
{
    if (m->data)
        madvise((void *)m->data, m->size, MADV_DONTNEED); // advice: nothing is lost without it
}

void mapped_settle(struct mapped *m)
{
    m->settled = 1;
    mapped_let_go(m);
}

int mapped_check(const struct mapped *m, struct err *e)
{
    return file_mark_check(&m->mark, m->fd, m->name, e);
}

int mapped_unchanged(struct err *e)
{
    for (const struct mapped *m = atomic_load(&first); m; m = m->next)
        if (!m->settled && mapped_check(m, e) < 0)
            return -1;
    return 0;
}
