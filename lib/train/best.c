// SPDX-License-Identifier: MIT
#include "train/best.h"
#include "base/io.h"
#include "base/listing.h"
#include "model/directory.h"
#include "train/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const best_places[] = {"best.0", "best.1", NULL};

int best_watches(const struct best_options *o)
{
    return o->patience > 0 || o->load;
}

int best_check(const struct best_options *o, const char *eval_path, int64_t eval_steps,
               struct err *e)
{
    const char *asked = o->patience ? "--early-stopping-patience"
                        : o->load   ? "--load-best-model-at-end"
                                    : NULL;
    if (o->threshold_given && !o->patience)
        return err_set(e, STATUS_USAGE,
                       "--early-stopping-threshold needs --early-stopping-patience");
    if (o->metric_given && !asked)
        return err_set(e, STATUS_USAGE,
                       "--metric-for-best-model needs --early-stopping-patience or "
                       "--load-best-model-at-end");
    if (asked && !eval_path)
        return err_set(e, STATUS_USAGE, "%s needs --eval-stream", asked);
    if (asked && !eval_steps)
        return err_set(e, STATUS_USAGE,
                       "%s needs --eval-steps: without it there is no evaluation before the end",
                       asked);
    return 0;
}

void best_init(struct best *b)
{
    *b =
        (struct best){.value = NAN, .last = NAN, .step = -1, .loss = NAN, .place = -1, .saved = -1};
}

static int is_better(const struct best_options *o, double a, double b)
{
    return listing_ends(o->metric, "loss") ? a < b : a > b;
}

int best_see(struct best *b, const struct best_options *o, double value, int64_t step)
{
    int first = b->step < 0, better = first || is_better(o, value, b->value);
    int counts = first || (better && fabs(value - b->value) > o->threshold);
    b->last = value;
    b->without = counts ? 0 : b->without + 1;
    if (!better)
        return 0;
    b->value = value;
    b->step = step;
    return 1;
}

int best_is_over(const struct best *b, const struct best_options *o)
{
    return o->patience > 0 && b->without >= o->patience;
}

static int open_folder(int at, const char *name, struct err *e)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? err_errno(e, name) : fd;
}

int best_begin(struct best *b, int at, struct err *e)
{
    int place = b->saved == 0;
    const char *name = best_places[place];
    b->place = -1;
    if (io_remove_tree(at, name, e) < 0 || io_make_directory(at, name, e) < 0)
        return -1;
    b->place = place;
    return open_folder(at, name, e);
}

int best_was_saved(struct best *b, int at, struct err *e)
{
    b->saved = b->place;
    for (int i = 0; best_places[i]; i++)
        if (i != b->saved && io_remove_tree(at, best_places[i], e) < 0)
            return -1;
    return 0;
}

void best_forget_place(struct best *b)
{
    b->place = -1;
}

static int install_files(int from, int to, const char *const *left, struct err *e);

// A second name of a file, or where the file system has none, or no more, a copy.
static int install_file(int from, int to, const char *name, struct err *e)
{
    if (io_remove_tree(to, name, e) < 0)
        return -1;
    return linkat(from, name, to, name, 0) == 0 ? 0 : io_copy_file(from, name, to, name, e);
}

static int install_folder(int from, int to, const char *name, struct err *e)
{
    if (io_remove_tree(to, name, e) < 0 || io_make_directory(to, name, e) < 0)
        return -1;
    int in = open_folder(from, name, e), out = in < 0 ? -1 : open_folder(to, name, e);
    int result = out < 0 ? -1 : install_files(in, out, NULL, e);
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return result < 0 ? err_prefix(e, "%s", name) : 0;
}

static int install_entry(int from, int to, const char *name, struct err *e)
{
    struct stat st;
    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_errno(e, name);
    return S_ISDIR(st.st_mode) ? install_folder(from, to, name, e)
                               : install_file(from, to, name, e);
}

static int install_files(int from, int to, const char *const *left, struct err *e)
{
    int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = 0, more = 0;
    DIR *directory = fd < 0 ? NULL : fdopendir(fd);
    const char *name;
    if (!directory) {
        err_errno(e, "a folder");
        if (fd >= 0)
            close(fd);
        return -1;
    }
    while (result == 0 && (more = listing_next(directory, &name)) > 0)
        if (!listing_has(left, name))
            result = install_entry(from, to, name, e);
    if (more < 0)
        result = err_errno(e, "a folder");
    closedir(directory);
    return result;
}

int best_install(const struct best *b, int at, struct err *e)
{
    const char *const left[] = {directory_note_name, "README.md", NULL};
    int fd = open_folder(at, best_places[b->place], e);
    int result = fd < 0 ? -1 : install_files(fd, at, left, e);
    if (fd >= 0)
        close(fd);
    return result < 0 ? err_prefix(e, "%s", best_places[b->place]) : 0;
}

static json_t *files_of(const struct best *b, int at, struct err *e)
{
    if (b->place < 0)
        return json_object();
    int fd = open_folder(at, best_places[b->place], e);
    json_t *files = fd < 0 ? NULL : manifest_make(fd, NULL, e);
    if (fd >= 0)
        close(fd);
    if (!files)
        err_prefix(e, "%s", best_places[b->place]);
    return files;
}

json_t *best_to_json(const struct best *b, int at, struct err *e)
{
    json_t *files = files_of(b, at, e), *j;
    if (!files)
        return NULL;
    j = json_pack("{s:I, s:I, s:I, s:i, s:o}", "step", (json_int_t)b->step, "without",
                  (json_int_t)b->without, "num_tokens", (json_int_t)b->num_tokens, "place",
                  b->place, "files", files);
    const struct {
        const char *name;
        double value;
    } number[] = {{"value", b->value}, {"last", b->last}, {"loss", b->loss}};
    for (size_t i = 0; i < sizeof number / sizeof *number; i++)
        if (isfinite(number[i].value))
            json_object_set_new(j, number[i].name, json_real(number[i].value));
    if (!j)
        err_memory(e, 0, "a state");
    return j;
}

static double number_of(const json_t *then, const char *name)
{
    const json_t *j = json_object_get(then, name);
    return json_is_number(j) ? json_number_value(j) : NAN;
}

static int check_files(const struct best *b, const json_t *files, int at, struct err *e)
{
    if (b->place < 0)
        return 0;
    const char *name = best_places[b->place];
    if (!io_exists(at, name))
        return err_set(e, STATUS_FAILED,
                       "%s: is gone, and the state needs it: the run cannot go on; --overwrite "
                       "begins anew",
                       name);
    int fd = open_folder(at, name, e);
    int result = fd < 0 ? -1 : manifest_check(fd, files, e);
    if (fd >= 0)
        close(fd);
    return result < 0 ? err_prefix(e, "%s", name) : 0;
}

int best_from_json(struct best *b, const json_t *then, int at, struct err *e)
{
    best_init(b);
    if (!json_is_object(then))
        return 0;
    json_int_t place = json_integer_value(json_object_get(then, "place"));
    b->value = number_of(then, "value");
    b->last = number_of(then, "last");
    b->loss = number_of(then, "loss");
    b->step = json_integer_value(json_object_get(then, "step"));
    b->without = json_integer_value(json_object_get(then, "without"));
    b->num_tokens = (uint64_t)json_integer_value(json_object_get(then, "num_tokens"));
    b->place = b->saved = place == 0 || place == 1 ? (int)place : -1;
    return check_files(b, json_object_get(then, "files"), at, e);
}
