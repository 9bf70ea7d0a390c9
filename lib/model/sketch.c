// SPDX-License-Identifier: MIT
#include "model/sketch.h"
#include "base/io.h"
#include "base/model_folder.h"
#include "model/model_bind.h"
#include "ops/host.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char config_name[] = "config.json";

// The folder of a configuration, a descriptor, and the configuration's name in it.
static int open_folder(const char *path, const char **name, struct err *e)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return err_errno(e, path);
    const char *slash = strrchr(path, '/');
    char *folder = S_ISDIR(st.st_mode) ? strdup(path)
                   : slash             ? strndup(path, (size_t)(slash - path) + 1)
                                       : strdup(".");
    *name = S_ISDIR(st.st_mode) ? config_name : slash ? slash + 1 : path;
    if (!folder)
        return err_memory(e, strlen(path), "a path");
    int at = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (at < 0)
        err_errno(e, folder);
    free(folder);
    return at;
}

// Whether the folder has a configuration, and no weights beside it.
static int is_bare(int at, struct err *e)
{
    static const char *const weights[] = {"model.safetensors", "model.safetensors.index.json"};
    int result = io_look(at, config_name, e);
    for (int i = 0; i < 2 && result > 0; i++) {
        int there = io_look(at, weights[i], e);
        result = there < 0 ? -1 : !there;
    }
    return result;
}

// Whether a file may be JSON: other files are told what they are by who opens models.
static int is_object(const char *path)
{
    char text[64];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n < 0 ? 0 : n] = 0;
    return text[strspn(text, " \t\r\n")] == '{';
}

int sketch_is_one(const char *path, struct err *e)
{
    const char *name;
    struct stat st;
    if (stat(path, &st) < 0)
        return 0;
    if (!S_ISDIR(st.st_mode))
        return S_ISREG(st.st_mode) && is_object(path);
    int at = open_folder(path, &name, e);
    if (at < 0)
        return -1;
    int result = is_bare(at, e);
    close(at);
    return result < 0 ? err_prefix(e, "%s", path) : result;
}

// A file that has no name anywhere.
static int make_shard(struct model *m, int filled, struct err *e)
{
    static const char name[] = "weights made up in memory";
    m->shard = mem_alloc(1, sizeof *m->shard, "shards", e);
    m->shard_name = mem_alloc(1, sizeof *m->shard_name, "shards", e);
    if (!m->shard || !m->shard_name)
        return -1;
    m->n_shards = 1;
    int fd = memfd_create("sketch", MFD_CLOEXEC);
    if (fd < 0)
        return err_errno(e, name);
    if (model_write_sketch(&m->config, fd, name, filled, e) < 0) {
        close(fd);
        return -1;
    }
    return safetensors_open_fd(&m->shard[0], fd, name, e);
}

static int read_config(struct model *m, const char *path, struct err *e)
{
    const char *name = config_name;
    if ((m->directory = open_folder(path, &name, e)) < 0)
        return -1;
    int alone = strcmp(name, config_name) != 0;
    int result = alone ? config_read_file(&m->config, m->directory, name, e)
                       : config_read(&m->config, m->directory, e);
    // Some messages begin with the file's own name, some with the one that it has as a rule.
    int named = alone && result < 0 && !strncmp(e->text, name, strlen(name));
    return result < 0 && !named ? err_prefix(e, "%s", path) : result;
}

struct model *sketch_open(const char *path, int filled, struct err *e)
{
    struct model *m = mem_alloc(1, sizeof *m, "a model", e);
    if (!m)
        return NULL;
    m->directory = -1;
    m->device = &device_host;
    m->sketched = 1;
    m->path = strdup(path);
    int result = m->path ? read_config(m, path, e) : err_memory(e, strlen(path), "a path");
    m->family = m->config.family;
    if (result == 0)
        result = make_shard(m, filled, e);
    if (result == 0)
        result = bind_parameters(m, e);
    if (result == 0)
        return m;
    model_close(m);
    return NULL;
}
