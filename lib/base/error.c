// SPDX-License-Identifier: MIT
#include "base/error.h"
#include "base/board.h"
#include "base/shown.h"
#include "base/stage.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static const char *program_name = "densepath";
static int program_quiet;

int err_set(struct err *e, enum status status, const char *format, ...)
{
    assert(e);
    va_list ap;
    va_start(ap, format);
    e->status = status;
    e->explained = 0;
    vsnprintf(e->text, sizeof e->text, format, ap);
    va_end(ap);
    return -1;
}

int err_errno(struct err *e, const char *what)
{
    int code = errno;
    enum status status = code == EPIPE    ? STATUS_PIPE
                         : code == ENOMEM ? STATUS_MEMORY
                                          : STATUS_FAILED;
    return err_set(e, status, "%s: %s", what, strerror(code));
}

int err_memory(struct err *e, size_t bytes, const char *what)
{
    return bytes ? err_set(e, STATUS_MEMORY, "out of memory: %zu bytes for %s", bytes, what)
                 : err_set(e, STATUS_MEMORY, "out of memory for %s", what);
}

static _Atomic(const char *) lost; // a static text
static atomic_size_t lost_bytes;

void err_lost(size_t bytes, const char *what)
{
    atomic_store(&lost_bytes, bytes);
    atomic_store(&lost, what);
}

int err_whole(struct err *e)
{
    const char *what = atomic_load(&lost);
    return what ? err_memory(e, atomic_load(&lost_bytes), what) : 0;
}

int err_prefix(struct err *e, const char *format, ...)
{
    assert(e);
    char text[sizeof e->text];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof text)
        n = (int)sizeof text - 1;
    size_t room = sizeof text - (size_t)n;
    if (room > 3)
        snprintf(text + n, room, ": %.*s", (int)(room - 3), e->text);
    memcpy(e->text, text, sizeof text);
    return -1;
}

void message_program(const char *name)
{
    program_name = name;
}

const char *message_name(void)
{
    return program_name;
}

void message_quiet(int quiet)
{
    program_quiet = quiet;
}

static void print_line(const char *kind, const char *format, va_list ap)
{
    char line[1400];
    int n = snprintf(line, sizeof line - 2, "%s: %s", program_name, kind);
    if (n < 0)
        return;
    vsnprintf(line + n, sizeof line - 1 - (size_t)n, format, ap);
    // File names come from outside: nothing in them may move the cursor or start a new line.
    shown_mask(line);
    size_t length = strlen(line);
    line[length++] = '\n';
    board_message(line, length);
}

int message_is_quiet(void)
{
    return program_quiet;
}

void message_note(const char *format, ...)
{
    if (program_quiet)
        return;
    va_list ap;
    va_start(ap, format);
    print_line("", format, ap);
    va_end(ap);
}

void message_warn(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    print_line("warning: ", format, ap);
    va_end(ap);
}

static void print_plain(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    print_line("", format, ap);
    va_end(ap);
}

int message_fail(const struct err *e)
{
    struct err memory;
    if (e->status == STATUS_PIPE)
        return e->status;
    if (e->explained && err_whole(&memory) == 0) {
        stage_leave(STAGE_SILENT);
        return e->status;
    }
    stage_leave(STAGE_SAID);
    if (e->status == STATUS_MEMORY || e->status == STATUS_AGAIN || err_whole(&memory) == 0) {
        print_plain("%s", e->text);
        return e->status;
    }
    // What is said to be wrong with the data need not be.
    print_plain("%s; after that: %s", memory.text, e->text);
    return memory.status;
}
