// SPDX-License-Identifier: MIT
// What a disk may hold after a power cut, from the record of a run (record.h).
//
//   replay START RECORD list             the states that differ, a line each: DONE-NAMED WAY
//   replay START RECORD shown NAME       the numbers DONE after which readers may see another NAME
//   replay START RECORD make STATE FOLDER
//
// START is the folder as the run found it, all of it on the disk. The cut comes when DONE changes
// are made. What was synced by then is there. Names reach the disk in their order, as on file
// systems with a journal: those of the first NAMED changes have, at least as far as a synced folder
// demands. Of what was written to files and not synced there is, by WAY, `all`; `none`; `half`, the
// first half of the changes and of the next write; `zeros`, the new size without the new bytes. So
// a name may be there before the bytes of its file.
#define _GNU_SOURCE
#include "record.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct bytes {
    unsigned char *data;
    size_t size, room;
};

struct file {
    struct bytes first; // at the start
    struct bytes now;   // of the state that is made
    struct file *next;
};

struct node {
    char name[RECORD_NAME];
    struct file *file; // NULL: a folder
    struct node *child, *next;
};

struct change {
    struct record r;
    const unsigned char *data;
    struct file *file;
};

enum way { ALL, NONE, HALF, ZEROS, WAYS };
static const char *const way_name[WAYS] = {"all", "none", "half", "zeros"};

static struct file *files;
static struct change *change;
static size_t n_changes;

static void stop(const char *what, const char *name)
{
    fprintf(stderr, "replay: %s: %s\n", what, name);
    exit(1);
}

static void *grown(void *p, size_t size)
{
    p = realloc(p, size ? size : 1);
    if (!p)
        stop("out of memory", "replay");
    return p;
}

static void resize(struct bytes *b, size_t size)
{
    if (size > b->room)
        b->data = grown(b->data, b->room = 2 * size);
    if (size > b->size)
        memset(b->data + b->size, 0, size - b->size);
    b->size = size;
}

static void put(struct bytes *b, size_t at, const unsigned char *data, size_t size)
{
    if (at + size > b->size)
        resize(b, at + size);
    memcpy(b->data + at, data, size);
}

static void read_whole(int fd, struct bytes *out)
{
    unsigned char piece[1 << 16];
    for (ssize_t n; (n = read(fd, piece, sizeof piece)) > 0;)
        put(out, out->size, piece, (size_t)n);
}

static struct file *new_file(void)
{
    struct file *f = grown(NULL, sizeof *f);
    memset(f, 0, sizeof *f);
    f->next = files;
    return files = f;
}

// ---- names ----

static struct node *new_node(const char *name, struct file *file)
{
    struct node *n = grown(NULL, sizeof *n);
    memset(n, 0, sizeof *n);
    snprintf(n->name, sizeof n->name, "%s", name);
    n->file = file;
    return n;
}

static void free_node(struct node *n)
{
    while (n) {
        struct node *next = n->next;
        free_node(n->child);
        free(n);
        n = next;
    }
}

// Where the pointer to PATH is, or would be: at the end of its folder's list.
static struct node **place(struct node *root, const char *path)
{
    struct node **at = &root->child;
    for (;;) {
        size_t n = strcspn(path, "/");
        while (*at && (strncmp((*at)->name, path, n) != 0 || (*at)->name[n]))
            at = &(*at)->next;
        if (!path[n])
            return at;
        if (!*at)
            stop("no such folder", path);
        at = &(*at)->child;
        path += n + 1;
    }
}

static struct node *take(struct node *root, const char *path)
{
    struct node **at = place(root, path), *n = *at;
    if (n) {
        *at = n->next;
        n->next = NULL;
    }
    return n;
}

static void give(struct node *root, const char *path, struct node *n)
{
    const char *slash = strrchr(path, '/');
    free_node(take(root, path));
    snprintf(n->name, sizeof n->name, "%s", slash ? slash + 1 : path);
    *place(root, path) = n;
}

static void rename_node(struct node *root, const struct record *r)
{
    struct node *n = take(root, r->path);
    struct node *other = r->kind == RECORD_EXCHANGE ? take(root, r->to) : NULL;
    if (!n)
        stop("no such name", r->path);
    give(root, r->to, n);
    if (other)
        give(root, r->path, other);
}

static int is_of_names(const struct record *r)
{
    return r->kind == RECORD_CREATE || r->kind == RECORD_RENAME || r->kind == RECORD_EXCHANGE ||
           r->kind == RECORD_LINK || r->kind == RECORD_REMOVE || r->kind == RECORD_FOLDER;
}

static void rename_by(struct node *root, const struct change *c)
{
    switch (c->r.kind) {
    case RECORD_CREATE:
        give(root, c->r.path, new_node("", c->file));
        break;
    case RECORD_LINK:
        give(root, c->r.to, new_node("", c->file));
        break;
    case RECORD_RENAME:
    case RECORD_EXCHANGE:
        rename_node(root, &c->r);
        break;
    case RECORD_REMOVE:
        free_node(take(root, c->r.path));
        break;
    case RECORD_FOLDER:
        give(root, c->r.path, new_node("", NULL));
        break;
    default:
        break;
    }
}

// ---- what was there, and what was done ----

static struct node *read_folder(int at, const char *path)
{
    struct node *folder = new_node("", NULL);
    int fd = openat(at, path, O_RDONLY | O_DIRECTORY);
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);
    if (!listing)
        stop("no such folder", path);
    for (struct dirent *entry; (entry = readdir(listing));) {
        struct stat st;
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        struct node *n = NULL;
        if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode)) {
            n = read_folder(fd, entry->d_name);
        } else {
            int in = openat(fd, entry->d_name, O_RDONLY);
            n = new_node("", new_file());
            read_whole(in, &n->file->first);
            close(in);
        }
        give(folder, entry->d_name, n);
    }
    closedir(listing);
    return folder;
}

static struct node *copy_node(const struct node *from)
{
    struct node *n = new_node(from->name, from->file), **end = &n->child;
    for (const struct node *c = from->child; c; c = c->next, end = &(*end)->next)
        *end = copy_node(c);
    return n;
}

struct number {
    uint64_t inode;
    struct file *file;
};

static struct number *number;
static size_t n_numbers;

static struct file *numbered(uint64_t inode)
{
    for (size_t i = n_numbers; i-- > 0;)
        if (number[i].inode == inode)
            return number[i].file;
    return NULL;
}

static struct file *let(uint64_t inode, struct file *file)
{
    number = grown(number, (n_numbers + 1) * sizeof *number);
    number[n_numbers++] = (struct number){inode, file};
    return file;
}

// Which file each change is of; what was done to others, outside, is left out.
static void read_changes(const struct bytes *log, const struct node *start)
{
    struct node *live = copy_node(start);
    for (size_t at = 0; at + sizeof(struct record) <= log->size;) {
        struct change c = {.data = log->data + at + sizeof c.r};
        memcpy(&c.r, log->data + at, sizeof c.r);
        at += sizeof c.r + (c.r.kind == RECORD_WRITE ? c.r.size : 0);
        struct node *there = c.r.kind == RECORD_OPEN ? *place(live, c.r.path) : NULL;
        if (c.r.kind == RECORD_CREATE || c.r.kind == RECORD_NAMELESS)
            c.file = let(c.r.inode, new_file());
        else if (there)
            c.file = let(c.r.inode, there->file);
        else if (c.r.inode)
            c.file = numbered(c.r.inode);
        if (c.r.inode && !c.file && c.r.kind != RECORD_SYNC_FOLDER)
            continue;
        rename_by(live, &c);
        change = grown(change, (n_changes + 1) * sizeof *change);
        change[n_changes++] = c;
    }
    free_node(live);
}

// ---- states ----

struct state {
    size_t done, named;
    enum way way;
};

static void write_by(struct bytes *b, const struct change *c, size_t size)
{
    if (c->r.kind == RECORD_WRITE)
        put(b, (size_t)c->r.offset, c->data, size);
    else if (c->r.kind == RECORD_TRUNCATE)
        resize(b, (size_t)c->r.offset);
}

static void make_bytes(struct file *f, const struct state *s)
{
    size_t synced = 0, open = 0, seen = 0;
    for (size_t i = 0; i < s->done; i++)
        if (change[i].file == f && change[i].r.kind == RECORD_SYNC)
            synced = i;
    for (size_t i = synced; i < s->done; i++)
        open += change[i].file == f &&
                (change[i].r.kind == RECORD_WRITE || change[i].r.kind == RECORD_TRUNCATE);
    resize(&f->now, 0);
    put(&f->now, 0, f->first.data, f->first.size);
    size_t end = s->way == NONE || s->way == ZEROS ? synced : s->done, whole = 0;
    for (size_t i = 0; i < end; i++) {
        const struct change *c = &change[i];
        if (c->file != f || (c->r.kind != RECORD_WRITE && c->r.kind != RECORD_TRUNCATE))
            continue;
        if (s->way == HALF && i >= synced && seen++ >= open / 2) {
            write_by(&f->now, c, (size_t)c->r.size / 2);
            break;
        }
        write_by(&f->now, c, (size_t)c->r.size);
    }
    for (size_t i = 0; s->way == ZEROS && i < s->done; i++)
        if (change[i].file == f && change[i].r.kind == RECORD_TRUNCATE)
            whole = (size_t)change[i].r.offset;
        else if (change[i].file == f && change[i].r.kind == RECORD_WRITE &&
                 (size_t)change[i].r.offset + change[i].r.size > whole)
            whole = (size_t)change[i].r.offset + change[i].r.size;
    if (s->way == ZEROS && whole > f->now.size)
        resize(&f->now, whole);
}

static struct node *make_names(const struct node *start, size_t named)
{
    struct node *root = copy_node(start);
    for (size_t i = 0; i < named; i++)
        rename_by(root, &change[i]);
    return root;
}

static uint64_t sum(uint64_t h, const void *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        h = (h ^ ((const unsigned char *)data)[i]) * 1099511628211u;
    return h;
}

// Whatever the order of the names.
static uint64_t sum_of(const struct node *n, uint64_t above)
{
    uint64_t own = sum(above, n->name, strlen(n->name) + 1), all = own;
    if (n->file)
        return sum(own, n->file->now.data, n->file->now.size);
    for (const struct node *c = n->child; c; c = c->next)
        all += sum_of(c, own) * 31;
    return all;
}

static void write_node(int at, const struct node *n)
{
    if (n->file) {
        int fd = openat(at, n->name, O_WRONLY | O_CREAT | O_TRUNC, 0666);
        if (fd < 0 || write(fd, n->file->now.data, n->file->now.size) != (ssize_t)n->file->now.size)
            stop("cannot be written", n->name);
        close(fd);
        return;
    }
    int fd = mkdirat(at, n->name, 0777) == 0 ? openat(at, n->name, O_RDONLY | O_DIRECTORY) : -1;
    if (fd < 0)
        stop("cannot be made", n->name);
    for (const struct node *c = n->child; c; c = c->next)
        write_node(fd, c);
    close(fd);
}

static void make(const struct node *start, const struct state *s, const char *folder)
{
    for (struct file *f = files; f; f = f->next)
        make_bytes(f, s);
    struct node *root = make_names(start, s->named);
    snprintf(root->name, sizeof root->name, "%s", folder);
    write_node(AT_FDCWD, root);
    free_node(root);
}

static void list_of(const struct node *start, struct state s, uint64_t **seen, size_t *n)
{
    struct node *root = make_names(start, s.named);
    uint64_t value = sum_of(root, 1469598103934665603u);
    free_node(root);
    for (size_t i = 0; i < *n; i++)
        if ((*seen)[i] == value)
            return;
    *seen = grown(*seen, (*n + 1) * sizeof **seen);
    (*seen)[(*n)++] = value;
    printf("%zu-%zu %s\n", s.done, s.named, way_name[s.way]);
}

// Right before something is synced the disk may hold most.
static void list(const struct node *start)
{
    uint64_t *seen = NULL;
    size_t n = 0, forced = 0;
    for (size_t done = 0; done <= n_changes; done++) {
        int syncs = done < n_changes && (change[done].r.kind == RECORD_SYNC ||
                                         change[done].r.kind == RECORD_SYNC_FOLDER);
        for (struct state s = {.done = done}; (syncs || done == n_changes) && s.way < WAYS;
             s.way++) {
            for (struct file *f = files; f; f = f->next)
                make_bytes(f, &s);
            for (s.named = forced; s.named <= done; s.named++)
                if (s.named == forced || is_of_names(&change[s.named - 1].r))
                    list_of(start, s, &seen, &n);
        }
        if (done < n_changes && change[done].r.kind == RECORD_SYNC_FOLDER)
            forced = done + 1;
    }
    free(seen);
}

static int is_under(const char *path, const char *name)
{
    size_t n = strlen(name);
    return !strncmp(path, name, n) && (!path[n] || path[n] == '/');
}

static void shown(const char *name)
{
    printf("0\n");
    for (size_t i = 0; i < n_changes; i++)
        if (is_of_names(&change[i].r) &&
            (is_under(change[i].r.path, name) || is_under(change[i].r.to, name)))
            printf("%zu\n", i + 1);
    printf("%zu\n", n_changes);
}

int main(int argc, char **argv)
{
    struct bytes log = {0};
    if (argc < 4)
        stop("usage", "replay START RECORD list | shown NAME | make DONE-NAMED WAY FOLDER");
    struct node *start = read_folder(AT_FDCWD, argv[1]);
    int fd = open(argv[2], O_RDONLY);
    if (fd < 0)
        stop("no such record", argv[2]);
    read_whole(fd, &log);
    read_changes(&log, start);
    if (!strcmp(argv[3], "list")) {
        list(start);
    } else if (!strcmp(argv[3], "shown") && argc == 5) {
        shown(argv[4]);
    } else if (!strcmp(argv[3], "make") && argc == 7) {
        struct state s = {.way = ALL};
        if (sscanf(argv[4], "%zu-%zu", &s.done, &s.named) != 2 || s.done > n_changes ||
            s.named > s.done)
            stop("no such state", argv[4]);
        while (s.way < WAYS && strcmp(way_name[s.way], argv[5]) != 0)
            s.way++;
        make(start, &s, argv[6]);
    } else {
        stop("no such command", argv[3]);
    }
    return 0;
}
