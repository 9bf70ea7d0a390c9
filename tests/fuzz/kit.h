// SPDX-License-Identifier: MIT
// What the fuzz targets share: input as files in memory, and what one run may not do.
#ifndef FUZZ_KIT_H
#define FUZZ_KIT_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// What must hold whatever the input was.
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);          \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

// A file in memory that a path leads to; one a `slot`, written anew at each call.
enum { FUZZ_SLOTS = 2 };
__attribute__((unused)) static const char *fuzz_file(int slot, const void *data, size_t size)
{
    static struct fuzz_memory {
        int fd;
        char path[64];
    } file[FUZZ_SLOTS];
    struct fuzz_memory *f = &file[slot];
    if (!f->path[0]) {
        f->fd = memfd_create("fuzz", MFD_CLOEXEC);
        MUST(f->fd >= 0);
        snprintf(f->path, sizeof f->path, "/proc/self/fd/%d", f->fd);
    }
    MUST(ftruncate(f->fd, 0) == 0);
    MUST(pwrite(f->fd, data, size, 0) == (ssize_t)size);
    return f->path;
}

// A folder of this process, in memory where TMPDIR is; removed at its end.
static char fuzz_folder_path[256];

__attribute__((unused)) static void fuzz_remove_folder(void)
{
    char command[300];
    snprintf(command, sizeof command, "rm -rf '%s'", fuzz_folder_path);
    if (system(command) != 0)
        fprintf(stderr, "%s stays\n", fuzz_folder_path);
}

__attribute__((unused)) static const char *fuzz_folder(void)
{
    if (!fuzz_folder_path[0]) {
        const char *parent = getenv("TMPDIR");
        int n = snprintf(fuzz_folder_path, sizeof fuzz_folder_path, "%s/fuzz-XXXXXX",
                         parent ? parent : "/tmp");
        MUST((size_t)n < sizeof fuzz_folder_path && mkdtemp(fuzz_folder_path));
        atexit(fuzz_remove_folder);
    }
    return fuzz_folder_path;
}

// Writes NAME in the folder; NULL removes it.
__attribute__((unused)) static void fuzz_write(const char *name, const void *data, size_t size)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
    if (!data) {
        unlink(path);
        return;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    MUST(fd >= 0);
    MUST(write(fd, data, size) == (ssize_t)size);
    close(fd);
}

// Several texts in one input stand behind one another with a NUL between: takes the first off.
struct fuzz_text {
    const char *s;
    size_t n;
};
__attribute__((unused)) static int fuzz_take(struct fuzz_text *rest, struct fuzz_text *text)
{
    if (!rest->s)
        return 0;
    const char *nul = memchr(rest->s, 0, rest->n);
    *text = *rest;
    if (!nul) {
        *rest = (struct fuzz_text){NULL, 0};
        return 1;
    }
    text->n = (size_t)(nul - rest->s);
    *rest = (struct fuzz_text){nul + 1, rest->n - text->n - 1};
    return 1;
}

// Takes a text off into the file NAME of the folder; there is none where the input has no more.
__attribute__((unused)) static void fuzz_take_file(struct fuzz_text *rest, const char *name)
{
    struct fuzz_text text;
    if (fuzz_take(rest, &text))
        fuzz_write(name, text.s, text.n);
    else
        fuzz_write(name, NULL, 0);
}

#endif
