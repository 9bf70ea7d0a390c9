// SPDX-License-Identifier: MIT
#include "base/board.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 32, VERSION = 0x44504232 };

enum slot_state { SLOT_FREE, SLOT_LIVE, SLOT_LEFT }; // left: its records are still told

struct board_slot {
    int32_t state, pid, group;
    int32_t shown;          // its line is to be drawn
    uint64_t terminal;      // device of stderr
    uint64_t input, output; // the pipes at standard input and output, by inode; 0: no pipe
    double passed; // records written for each one read, where no more is known; 0: see line
    struct board_line line;
};

// The file. A lock on byte 0 is held while it is read and written, one on byte 1 + i by the owner
// of slot i for as long as it lives.
struct board {
    int64_t version;
    double drawn; // when the lines were drawn last
    struct board_slot slot[SLOTS];
};

// This process.
static struct {
    int joined, show;
    int fd, slot;   // -1: the board cannot be reached
    double passed;  // see board_pass
    int drawn;      // without a board: the own line is on the screen
    char path[300]; // of the file
    struct board_slot own;
    double last; // drawn, without a board
} me = {.fd = -1, .slot = -1};

double clock_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void duration_print(char out[32], double seconds)
{
    long long s = seconds > 0 && seconds < 1e12 ? llround(seconds) : 0;
    if (s < 3600)
        snprintf(out, 32, "%lld:%02lld", s / 60, s % 60);
    else
        snprintf(out, 32, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
}

// Leaves out from the end what is beyond `room`: whole figures, as two blanks stand between them.
static void cut_line(char *head, int room)
{
    if ((int)strlen(head) <= room)
        return;
    int end = room;
    while (end > 0 && !(head[end] == ' ' && head[end + 1] == ' '))
        end--;
    head[end > 0 ? end : room] = '\0';
}

void board_print(char *out, size_t size, const struct board_line *line, int pad, int width,
                 double now)
{
    char head[256], tail[96], time[32];
    duration_print(time, now - line->started);
    int n = snprintf(tail, sizeof tail, "  %s elapsed", time);
    if (line->ends > 0) {
        duration_print(time, line->ends - now);
        n += snprintf(tail + n, sizeof tail - (size_t)n, "  %s left", time);
    }
    if (*line->name)
        snprintf(head, sizeof head, "%-*s  %s", pad, line->name, line->text);
    else
        snprintf(head, sizeof head, "%s", line->text);
    // In a narrow window the times are what is left.
    int room = width - 1 - n;
    cut_line(head, room > 0 ? room : 0);
    snprintf(out, size, "%s%s", head, room < 0 ? tail + 2 : tail);
    if (width > 0 && (size_t)width <= size)
        out[width - 1] = '\0';
}

// ---------------------------------------------------------------------------------- locks

// With OFD locks a lock belongs to the open file, so threads and later opens do not drop it.
static int lock(int fd, short type, off_t at)
{
    struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
    return fcntl(fd, F_OFD_SETLK, &l);
}

static int is_locked(int fd, off_t at)
{
    struct flock l = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
    return fcntl(fd, F_OFD_GETLK, &l) == 0 && l.l_type != F_UNLCK;
}

// A holder needs microseconds, unless it was stopped or its terminal was: then do without.
static int enter(int fd, int tries)
{
    const struct timespec pause = {.tv_nsec = 2000000};
    while (lock(fd, F_WRLCK, 0) < 0) {
        if (--tries <= 0)
            return -1;
        nanosleep(&pause, NULL);
    }
    return 0;
}

static int read_board(int fd, struct board *b)
{
    ssize_t n = pread(fd, b, sizeof *b, 0);
    if (n != (ssize_t)sizeof *b || b->version != VERSION) {
        if (n > 0 && b->version != VERSION)
            return -1; // of another version, which may be running
        memset(b, 0, sizeof *b);
        b->version = VERSION;
    }
    for (int i = 0; i < SLOTS; i++) {
        struct board_line *l = &b->slot[i].line;
        l->name[sizeof l->name - 1] = l->text[sizeof l->text - 1] = '\0';
        if (b->slot[i].state == SLOT_LIVE && i != me.slot && !is_locked(fd, 1 + i))
            b->slot[i].state = SLOT_FREE; // killed
    }
    return 0;
}

static void write_board(int fd, const struct board *b)
{
    ssize_t written = pwrite(fd, b, sizeof *b, 0);
    (void)written; // a board cut short is an empty one
}

// ---------------------------------------------------------------------------------- drawing

int board_terminal(void)
{
    const char *kind = getenv("TERM");
    return isatty(STDERR_FILENO) && kind && *kind && strcmp(kind, "dumb") != 0;
}

// A job in the background must not draw over the shell's prompt.
static int in_background(void)
{
    pid_t front = tcgetpgrp(STDERR_FILENO);
    return front > 0 && front != getpgrp();
}

static void put(const char *text, size_t size)
{
    ssize_t written = write(STDERR_FILENO, text, size);
    (void)written; // nowhere left to complain
}

struct screen {
    char text[SLOTS * 520 + 2048];
    size_t n;
};

static void add(struct screen *s, const char *text, size_t size)
{
    if (size > sizeof s->text - s->n)
        size = sizeof s->text - s->n;
    memcpy(s->text + s->n, text, size);
    s->n += size;
}

static int by_pid(const void *a, const void *b)
{
    int32_t x = (*(struct board_slot *const *)a)->pid, y = (*(struct board_slot *const *)b)->pid;
    return (x > y) - (x < y);
}

// The lines below the cursor, in the order in which a shell starts the programs of a pipeline, and
// the cursor back to where it was.
static void add_lines(struct screen *s, struct board_slot **slot, int n, double now)
{
    struct winsize size = {0};
    char line[512];
    int pad = 0;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
        size.ws_col = 80;
    if (size.ws_row > 0 && n > size.ws_row - 1)
        n = size.ws_row - 1; // what scrolled away could not be drawn over
    for (int i = 0; i < n; i++) {
        int length = (int)strlen(slot[i]->line.name);
        pad = length > pad ? length : pad;
    }
    for (int i = 0; i < n; i++) {
        board_print(line, sizeof line, &slot[i]->line, pad, size.ws_col, now);
        add(s, "\r\n", 2);
        add(s, line, strlen(line));
    }
    if (n > 0)
        add(s, line, (size_t)snprintf(line, sizeof line, "\033[%dA\r", n));
}

static int is_drawn(const struct board_slot *s)
{
    return s->state == SLOT_LIVE && s->shown && s->group == me.own.group &&
           s->terminal == me.own.terminal;
}

// `message`: goes above the lines.
static void draw(struct board *b, const char *message, size_t size, double now)
{
    struct board_slot *slot[SLOTS];
    struct screen s = {.n = 0};
    int n = 0;
    for (int i = 0; i < SLOTS; i++)
        if (is_drawn(&b->slot[i]))
            slot[n++] = &b->slot[i];
    qsort(slot, (size_t)n, sizeof *slot, by_pid);
    if (n > 0 || size == 0)
        add(&s, "\r\033[J", 4);
    add(&s, message, size);
    add_lines(&s, slot, n, now);
    put(s.text, s.n);
    b->drawn = now;
}

// Ctrl-C, Ctrl-Z: the shell's prompt must not stand above old lines.
static void erase(void)
{
    put("\r\033[J", 4);
}

static void erase_and_suspend(int signal_number)
{
    (void)signal_number;
    erase();
    raise(SIGSTOP);
}

static void watch_suspension(void)
{
    struct sigaction old, action = {.sa_handler = erase_and_suspend, .sa_flags = SA_RESTART};
    if (sigaction(SIGTSTP, NULL, &old) == 0 && old.sa_handler == SIG_DFL)
        sigaction(SIGTSTP, &action, NULL);
}

// ---------------------------------------------------------------------------------- the board

static void fill_path(void)
{
    const char *directory = getenv("XDG_RUNTIME_DIR");
    if (!directory || access(directory, W_OK) < 0)
        directory = getenv("TMPDIR");
    if (!directory || access(directory, W_OK) < 0)
        directory = "/tmp";
    snprintf(me.path, sizeof me.path, "%s/densepath-%ld-%ld", directory, (long)geteuid(),
             (long)getsid(0));
}

static uint64_t pipe_at(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode) ? (uint64_t)st.st_ino : 0;
}

static void describe_process(void)
{
    struct stat st;
    me.own.state = SLOT_LIVE;
    me.own.pid = (int32_t)getpid();
    me.own.group = (int32_t)getpgrp();
    me.own.terminal =
        isatty(STDERR_FILENO) && fstat(STDERR_FILENO, &st) == 0 ? (uint64_t)st.st_rdev : 0;
    me.own.input = pipe_at(STDIN_FILENO);
    me.own.output = pipe_at(STDOUT_FILENO);
}

// Opens and locks the board at me.path. /tmp is everyone's: nothing but a file of our own will do.
// -1, in *fd too: none. *fd is set before the lock is taken, so that a handler finds who has it.
static int open_board(int *fd, int flags, int tries)
{
    struct stat st;
    for (int i = 0; i < 3; i++) {
        *fd = open(me.path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | flags, 0600);
        if (*fd < 0)
            return -1;
        int ours = fstat(*fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid();
        if (ours && enter(*fd, tries) == 0) {
            if (fstat(*fd, &st) == 0 && st.st_nlink == 1)
                return 0;
            ours = st.st_nlink == 0; // removed meanwhile by the last to leave: make a new one
        }
        int failed = *fd;
        *fd = -1;
        close(failed);
        if (!ours)
            return -1;
    }
    return -1;
}

// A free slot, or that of a program that has left.
static int take_slot(const struct board *b, int fd)
{
    static const int32_t wanted[] = {SLOT_FREE, SLOT_LEFT};
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < SLOTS; i++)
            if (b->slot[i].state == wanted[k] && lock(fd, F_WRLCK, 1 + i) == 0)
                return i;
    return -1;
}

static void leave_at_exit(void)
{
    board_leave(0);
}

void board_join(int show)
{
    struct board b;
    if (me.joined)
        return;
    describe_process();
    me.own.passed = me.passed;
    me.joined = 1;
    me.show = show && board_terminal();
    if (me.show)
        watch_suspension();
    if (!me.show && !me.own.input && !me.own.output)
        return; // nobody to tell anything
    fill_path();
    if (open_board(&me.fd, O_CREAT, 10) < 0)
        return;
    if (read_board(me.fd, &b) == 0 && (me.slot = take_slot(&b, me.fd)) >= 0) {
        b.slot[me.slot] = me.own;
        write_board(me.fd, &b);
        lock(me.fd, F_UNLCK, 0);
        atexit(leave_at_exit);
    } else {
        close(me.fd);
        me.fd = -1;
    }
}

static void leave_board(struct board *b)
{
    int others = 0;
    b->slot[me.slot] = me.own;
    b->slot[me.slot].state = SLOT_LEFT;
    b->slot[me.slot].shown = 0;
    if (me.show && me.own.shown && !in_background())
        draw(b, "", 0, clock_seconds());
    for (int i = 0; i < SLOTS; i++)
        others += b->slot[i].state == SLOT_LIVE;
    if (others)
        write_board(me.fd, b);
    else
        unlink(me.path);
}

void board_end(void)
{
    static struct board b; // a handler's stack may be small
    int others = 0;
    if (me.show)
        erase();
    // The signal may have come while it joined: then the file may be there and its slot not.
    int fd = me.fd;
    int entered = fd >= 0 ? enter(fd, 50) : me.joined && *me.path ? open_board(&fd, 0, 50) : -1;
    if (entered < 0 || read_board(fd, &b) < 0)
        return;
    if (me.slot >= 0)
        b.slot[me.slot].state = SLOT_FREE;
    for (int i = 0; i < SLOTS; i++)
        others += b.slot[i].state == SLOT_LIVE;
    if (others)
        write_board(fd, &b);
    else
        unlink(me.path);
    lock(fd, F_UNLCK, 0); // what else the handler does may take longer than others wait
}

void board_leave(int64_t records)
{
    struct board b;
    if (records > 0) {
        me.own.line.records = records;
        me.own.line.exact = 1;
    }
    if (me.fd >= 0 && enter(me.fd, 50) == 0) {
        if (read_board(me.fd, &b) == 0)
            leave_board(&b);
        lock(me.fd, F_UNLCK, 0);
    } else if (me.drawn) {
        put("\r\033[J", 4);
    }
    if (me.fd >= 0)
        close(me.fd);
    me.fd = me.slot = -1;
    me.joined = me.drawn = me.own.shown = 0;
}

static void show_alone(double now)
{
    struct board_slot *own = &me.own;
    struct screen s = {.n = 0};
    if (!own->shown || now - me.last < 0.1)
        return;
    me.last = now;
    me.drawn = 1;
    add(&s, "\r\033[J", 4);
    add_lines(&s, &own, 1, now);
    put(s.text, s.n);
}

void board_show(const struct board_line *line)
{
    struct board b;
    double now = clock_seconds();
    me.own.line = *line;
    me.own.shown = me.show && !in_background();
    if (me.fd < 0) {
        show_alone(now);
        return;
    }
    if (enter(me.fd, 1) < 0)
        return; // the next one will do
    if (read_board(me.fd, &b) == 0) {
        b.slot[me.slot] = me.own;
        if (me.own.shown && !(now - b.drawn >= 0 && now - b.drawn < 0.1))
            draw(&b, "", 0, now);
        write_board(me.fd, &b);
    }
    lock(me.fd, F_UNLCK, 0);
}

// The slot of the program that writes into the pipe.
static const struct board_slot *find_writer(const struct board *b, uint64_t pipe)
{
    for (int i = 0; i < SLOTS; i++)
        if (b->slot[i].state != SLOT_FREE && pipe && b->slot[i].output == pipe)
            return &b->slot[i];
    return NULL;
}

int64_t board_upstream(int *exact)
{
    struct board b;
    double records = 0, each = 1;
    if (me.fd < 0 || !me.own.input || enter(me.fd, 1) < 0)
        return 0;
    if (read_board(me.fd, &b) == 0) {
        const struct board_slot *s = find_writer(&b, me.own.input);
        for (int i = 0; i < SLOTS && s && s->passed > 0; i++) {
            each *= s->passed;
            s = find_writer(&b, s->input);
        }
        if (s && s->passed == 0) {
            records = each * (double)s->line.records;
            *exact = s->line.exact != 0;
        }
    }
    lock(me.fd, F_UNLCK, 0);
    return llround(records);
}

void board_pass(double each)
{
    me.passed = each;
    board_join(0);
}

// A program without a slot (its options were wrong, say) still must not write into the lines.
static int message_above(int fd, const char *text, size_t size)
{
    struct board b;
    int result = read_board(fd, &b);
    if (result == 0) {
        draw(&b, text, size, clock_seconds());
        write_board(fd, &b);
    }
    lock(fd, F_UNLCK, 0);
    return result;
}

void board_message(const char *text, size_t size)
{
    int done = 0;
    if (board_terminal() && !in_background()) {
        if (!me.joined)
            describe_process();
        int fd = me.fd >= 0 && enter(me.fd, 50) == 0 ? me.fd : -1;
        if (me.fd < 0) {
            fill_path();
            open_board(&fd, 0, 50);
        }
        done = fd >= 0 && message_above(fd, text, size) == 0;
        if (fd >= 0 && fd != me.fd)
            close(fd);
        if (!done && me.drawn)
            put("\r\033[J", 4);
    }
    if (!done)
        put(text, size);
}
