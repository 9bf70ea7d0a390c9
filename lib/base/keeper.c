// SPDX-License-Identifier: MIT
#include "base/keeper.h"
#include "base/error.h"
#include "base/io.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    LOOK_AGAIN_MS = 20,
    FAR = 60, // descriptors below are the script's
};

// One of the two. What is left by those who die becomes its child.
struct keeper {
    sigset_t watched, before;    // signals: those that it waits for, and the mask it was begun with
    struct sigaction interrupts; // what SIGINT did before
    pid_t child;
    int has_keeper; // the child is the other one
    int status;     // of the child, as waitpid tells it
    int ended;      // it has
    int ending;     // and so must all others
    int number;     // of the signal that told so, or 0
    int saved;      // one of them has ended with its state saved
    pid_t *told;
    size_t n_told, room;
};

struct process {
    pid_t pid, parent;
    int ours;
};

static int read_process(const char *pid, struct process *p)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n < 0 ? 0 : n] = 0;
    // pid (name) state parent: the name may hold brackets.
    char *end = strrchr(text, ')');
    *p = (struct process){.pid = (pid_t)atol(pid)};
    return end && sscanf(end + 1, " %*c %d", &p->parent) == 1;
}

// All processes that are there, in *list, to be freed; how many.
static size_t all_processes(struct process **list)
{
    size_t n = 0, room = 0;
    DIR *proc = opendir("/proc");
    *list = NULL;
    for (struct dirent *entry; proc && (entry = readdir(proc));) {
        if (!isdigit((unsigned char)*entry->d_name))
            continue;
        if (n == room) {
            room = 2 * room + 256;
            struct process *more = realloc(*list, room * sizeof **list);
            if (!more)
                break;
            *list = more;
        }
        n += (size_t)read_process(entry->d_name, &(*list)[n]);
    }
    if (proc)
        closedir(proc);
    return n;
}

static int is_told(const struct keeper *k, pid_t pid)
{
    for (size_t i = 0; i < k->n_told; i++)
        if (k->told[i] == pid)
            return 1;
    return 0;
}

// Once each, or as often as there is no memory to remember it.
static void tell(struct keeper *k, pid_t pid)
{
    if (is_told(k, pid))
        return;
    kill(pid, SIGTERM);
    if (k->n_told == k->room) {
        size_t room = 2 * k->room + 64;
        pid_t *more = realloc(k->told, room * sizeof *more);
        if (!more)
            return;
        k->told = more;
        k->room = room;
    }
    k->told[k->n_told++] = pid;
}

// The child first: a command begins no others then, and a keeper does the rest. Of the others the
// youngest first, for the last program of a pipe is to hear of its end before the stream that it
// reads breaks off.
static void tell_all(struct keeper *k)
{
    struct process *list;
    pid_t self = getpid();
    if (!k->ended)
        tell(k, k->child);
    if (!k->ended && k->has_keeper)
        return;
    size_t n = all_processes(&list);
    for (int found = 1; found;) {
        found = 0;
        for (size_t i = 0; i < n; i++) {
            int ours = list[i].ours || list[i].parent == self;
            for (size_t j = 0; j < n && !ours; j++)
                ours = list[j].ours && list[j].pid == list[i].parent;
            found |= ours && !list[i].ours;
            list[i].ours = ours;
        }
    }
    for (size_t i = n; i-- > 0;)
        if (list[i].ours)
            tell(k, list[i].pid);
    free(list);
}

// Takes the statuses of those that have ended; whether there are others.
static int reap(struct keeper *k)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid < 0 && errno == EINTR)
            continue;
        if (pid <= 0)
            return pid == 0;
        k->saved |= k->ending && WIFEXITED(status) && WEXITSTATUS(status) == STATUS_AGAIN;
        if (pid != k->child)
            continue;
        k->ended = 1;
        k->status = status;
        k->ending |= WIFSIGNALED(status);
    }
}

static void keep(struct keeper *k)
{
    for (;;) {
        struct timespec pause = {0, LOOK_AGAIN_MS * 1000000L};
        int number = sigtimedwait(&k->watched, NULL, k->ending ? &pause : NULL);
        if (number > 0 && number != SIGCHLD)
            k->ending = k->number = number;
        int more = reap(k);
        if (!more || (k->ended && !k->ending))
            return;
        if (k->ending)
            tell_all(k);
    }
}

static void watch(struct keeper *k)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD};
    struct sigaction usual = {.sa_handler = SIG_DFL};
    sigemptyset(&k->watched);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaddset(&k->watched, numbers[i]);
    sigprocmask(SIG_BLOCK, &k->watched, &k->before);
    // As trainers have it: also where a shell has started us in the background, with SIGINT
    // ignored. SIGHUP may be ignored, for nohup.
    sigaction(SIGINT, &usual, &k->interrupts);
    sigaction(SIGCHLD, &usual, NULL);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
}

// Forks; returns 0 in the child, with the signals as they were before.
static pid_t fork_child(struct keeper *k)
{
    pid_t parent = getpid();
    k->child = fork();
    if (k->child != 0)
        return k->child;
    sigaction(SIGINT, &k->interrupts, NULL);
    sigprocmask(SIG_SETMASK, &k->before, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) // it has gone already
        raise(SIGTERM);
    return 0;
}

// The status to exit with.
static int outcome(const struct keeper *k)
{
    if (k->saved)
        return STATUS_AGAIN;
    // What was told to end, and broke off, has no status of its own; nor has a shell that ended by
    // the signal it was told with.
    int exited = WIFEXITED(k->status) ? WEXITSTATUS(k->status) : STATUS_DONE;
    int broke_off = exited == STATUS_FAILED || exited == 128 + SIGTERM;
    int number = WIFSIGNALED(k->status) ? WTERMSIG(k->status) : broke_off ? k->number : 0;
    if (!number)
        return WEXITSTATUS(k->status);
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, number);
    signal(number, SIG_DFL);
    prctl(PR_SET_DUMPABLE, 0); // the child has left a core, if anyone
    raise(number);
    sigprocmask(SIG_UNBLOCK, &one, NULL);
    return 128 + number;
}

// A file without a name that all have open, its descriptor behind `prefix` in the environment.
static int open_shared(const char *variable, const char *prefix, struct err *e)
{
    char text[64];
    int low = memfd_create(variable, MFD_CLOEXEC);
    int fd = low < 0 ? -1 : fcntl(low, F_DUPFD, FAR);
    if (low >= 0)
        close(low);
    snprintf(text, sizeof text, "%s%d", prefix, fd);
    return fd < 0 || setenv(variable, text, 1) < 0 ? err_errno(e, "a descriptor") : fd;
}

static int remove_folder(int name_fd, struct err *e)
{
    char path[PATH_MAX];
    ssize_t n = pread(name_fd, path, sizeof path - 1, 0);
    path[n < 1 ? 0 : n - 1] = 0; // without its line break
    return *path ? io_remove_tree(AT_FDCWD, path, e) : 0;
}

int keeper_run(char *const *argv)
{
    struct keeper k = {0};
    struct err e;
    // The folder is not of this process's making: a script may need none.
    int folder = open_shared("DENSEPATH_KEPT", "", &e);
    if (folder < 0 || open_shared("DENSEPATH_STAGE", "/proc/self/fd/", &e) < 0)
        return message_fail(&e);
    for (int i = 0; i < 2; i++) {
        k = (struct keeper){.has_keeper = i == 0};
        watch(&k);
        pid_t pid = fork_child(&k);
        if (pid < 0) {
            err_errno(&e, argv[0]);
            return message_fail(&e);
        }
        if (pid > 0)
            break;
        if (i == 1) {
            execvp(argv[0], argv);
            err_errno(&e, argv[0]);
            _exit(message_fail(&e));
        }
    }
    keep(&k);
    free(k.told);
    // The second does it first. Both: either may be killed.
    if (remove_folder(folder, &e) < 0)
        message_fail(&e);
    return outcome(&k);
}
