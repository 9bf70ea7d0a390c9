// SPDX-License-Identifier: MIT
// Checked input and output. Every write and close is checked; a named output file or directory
// appears complete or not at all.
#ifndef BASE_IO_H
#define BASE_IO_H

#include "base/error.h"
#include "base/memory.h"
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>

// "-" or NULL is standard input; refuses directories, and what is an output of this process too
// (base/touched.h). Returns a file descriptor or -1.
MUST_CHECK int io_open_input(const char *path, struct err *e);
const char *io_name(const char *path); // "-" or NULL: "standard input"
// Reads until `size` bytes or the end; returns the bytes read or -1.
int64_t io_read(int fd, void *data, size_t size, const char *name, struct err *e);
MUST_CHECK int io_write(int fd, const void *data, size_t size, const char *name, struct err *e);
// Appends the whole file to `out` (NUL after it). A file beyond the buffer's limit is an error.
MUST_CHECK int io_read_file(const char *path, struct buffer *out, struct err *e);
MUST_CHECK int io_read_fd(int fd, const char *name, struct buffer *out, struct err *e);
// For files of directories that others made, relative to `at` (AT_FDCWD or a descriptor): refuses
// what is not a regular file, and never waits for a pipe's writer. A failure leaves errno.
MUST_CHECK int io_open_regular(int at, const char *path, struct err *e);
MUST_CHECK int io_read_regular(int at, const char *path, struct buffer *out, struct err *e);

// A sink: standard output ("-" or NULL), a device or pipe that exists or an open descriptor
// (/dev/stdout, /dev/fd/N), which are written to, or a file that appears under its name only at
// output_commit; before that it has no name where the file system allows (O_TMPFILE), so that even
// kill -9 leaves nothing behind. A symbolic link stays, and what it leads to is made or replaced.
// A file that is an input of this process is refused (base/touched.h). What replaces a file is on
// the disk before, and so is the name when output_commit returns.
struct output {
    int fd;
    const char *path; // kept by reference; NULL for standard output
    char *target;     // path behind its links
    struct stat old;  // of the file that was there; inode 0: none
    char *temporary;  // name of the unfinished file, where one was needed
    int atomic;       // appears at commit
    int synced;       // by output_sync
    unsigned char *data;
    size_t used;
};

// Whether output_open, or with `in_place` io_open_in_place, could write PATH, which stays as it is:
// for the start of a program that opens it later.
MUST_CHECK int output_try(const char *path, int in_place, struct err *e);
MUST_CHECK int output_open(struct output *o, const char *path, struct err *e);
// As output_open, and refuses to write binary data to a terminal.
MUST_CHECK int output_open_binary(struct output *o, const char *path, struct err *e);
MUST_CHECK int output_write(struct output *o, const void *data, size_t size, struct err *e);
int output_printf(struct output *o, struct err *e, const char *format, ...) ERR_PRINTF(3, 4);
MUST_CHECK int output_flush(struct output *o, struct err *e); // to the reader of a pipe
// Flushes; what appears at commit is on the disk then, and little is left that can fail.
MUST_CHECK int output_sync(struct output *o, struct err *e);
MUST_CHECK int output_commit(struct output *o, struct err *e); // flush, check, close, rename
void output_abort(struct output *o); // after a failure: leaves nothing; idempotent
const char *output_name(const struct output *o);

// For what grows in place (metrics, journals): opens PATH for writing with `mode` (O_WRONLY or
// O_RDWR, perhaps O_APPEND), makes it where it is not there, never cuts it. Refused and followed as
// by output_open. A descriptor or -1; close it with io_close_in_place.
MUST_CHECK int io_open_in_place(const char *path, int mode, struct err *e);
int io_close_in_place(int fd);

// Directories. Paths are relative to `at` (AT_FDCWD or a directory's descriptor).
MUST_CHECK int io_make_directory(int at, const char *path, struct err *e); // fine if it exists
MUST_CHECK int io_remove_tree(int at, const char *path, struct err *e); // fine if it does not exist
// 1 also where it cannot be known: whoever then opens it tells why.
int io_exists(int at, const char *path);
int io_look(int at, const char *path, struct err *e); // 1: it exists; 0: it does not; -1
MUST_CHECK int io_write_file(int at, const char *path, const void *data, size_t size,
                             struct err *e);
MUST_CHECK int io_copy_file(int from_at, const char *from, int to_at, const char *to,
                            struct err *e);
// "DIR/NAME" from the heap, or NULL.
char *io_path(const char *directory, const char *name, struct err *e);

// 1 when standard output is a pipe that nobody reads any more.
int io_reader_gone(void);
// Waits until fd can be read. -1 (STATUS_PIPE) when the reader of standard output goes meanwhile: a
// filter that waits for input must not outlive the program behind it; -1 (STATUS_AGAIN) when a stop
// is requested.
MUST_CHECK int io_wait_readable(int fd, struct err *e);

#endif
