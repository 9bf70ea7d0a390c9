// SPDX-License-Identifier: MIT
// What a folder holds, to be compared: `state FOLDER [NAME]` prints a line for each folder and file
// below, in the order of names, files with a sum of their bytes; of metrics.jsonl the lines,
// without what depends on the clock. NAME does not count.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const timed[] = {"\"step_time\":", "\"tokens_per_second\":"};
static const char *skipped = "";

static char *read_whole(const char *path, size_t *size)
{
    FILE *f = fopen(path, "re");
    char *data = NULL;
    *size = 0;
    if (!f || fseek(f, 0, SEEK_END) < 0) {
        perror(path);
        exit(1);
    }
    *size = (size_t)ftell(f);
    rewind(f);
    data = malloc(*size + 1);
    if (!data || fread(data, 1, *size, f) != *size) {
        perror(path);
        exit(1);
    }
    data[*size] = 0;
    fclose(f);
    return data;
}

static void print_metrics(const char *path)
{
    size_t size;
    char *data = read_whole(path, &size), *at = data;
    printf("- %s\n", path);
    while (*at) {
        size_t skip = 0;
        for (size_t i = 0; i < sizeof timed / sizeof *timed; i++)
            if (!strncmp(at, timed[i], strlen(timed[i])))
                skip = strcspn(at, ",}") + 1;
        if (!skip)
            putchar(*at);
        at += skip ? skip : 1;
    }
    free(data);
}

static void print_file(const char *path)
{
    const char *slash = strrchr(path, '/');
    size_t size;
    uint64_t sum = 1469598103934665603u;
    if (!strcmp(slash + 1, "metrics.jsonl")) {
        print_metrics(path);
        return;
    }
    char *data = read_whole(path, &size);
    for (size_t i = 0; i < size; i++)
        sum = (sum ^ (unsigned char)data[i]) * 1099511628211u;
    printf("f %s %016llx %zu\n", path, (unsigned long long)sum, size);
    free(data);
}

static int is_shown(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
           strcmp(entry->d_name, skipped) != 0;
}

static void print_folder(const char *path)
{
    struct dirent **entry;
    int n = scandir(path, &entry, is_shown, alphasort);
    for (int i = 0; i < n; i++) {
        char below[PATH_MAX];
        struct stat st;
        snprintf(below, sizeof below, "%s/%s", path, entry[i]->d_name);
        if (lstat(below, &st) == 0 && S_ISDIR(st.st_mode)) {
            printf("d %s\n", below);
            print_folder(below);
        } else if (S_ISREG(st.st_mode)) {
            print_file(below);
        } else {
            printf("? %s\n", below);
        }
        free(entry[i]);
    }
    free(entry);
}

int main(int argc, char **argv)
{
    if (argc < 2 || chdir(argv[1]) < 0) {
        fprintf(stderr, "usage: state FOLDER [NAME]\n");
        return 1;
    }
    if (argc > 2)
        skipped = argv[2];
    print_folder(".");
    return 0;
}
