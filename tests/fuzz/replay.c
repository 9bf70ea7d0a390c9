// SPDX-License-Identifier: MIT
// Runs a fuzz target once over files, without clang: the seeds and past findings of tests/fuzz/NAME
// where the program is called test_fuzz_NAME, or the files it is given. TAP on standard output;
// what crashes, or takes longer than it may, breaks off.
#include "kit.h"

#include <dirent.h>
#include <errno.h>

enum { SECONDS_A_FILE = 60 };

static int replay(const char *path, int number)
{
    char *data = NULL;
    size_t size = 0;
    FILE *in = fopen(path, "rb"), *out = open_memstream(&data, &size);
    if (!in || !out) {
        printf("not ok %d - %s: %s\n", number, path, strerror(errno));
        return 1;
    }
    for (int c; (c = getc(in)) != EOF;)
        putc(c, out);
    fclose(in);
    fclose(out);
    // Of this size and no more, so that a sanitizer sees what reads past the end.
    uint8_t *copy = malloc(size ? size : 1);
    MUST(copy);
    memcpy(copy, data, size);
    free(data);
    printf("# %s\n", path);
    fflush(stdout);
    alarm(SECONDS_A_FILE);
    LLVMFuzzerTestOneInput(copy, size);
    alarm(0);
    free(copy);
    printf("ok %d - %s\n", number, path);
    return 0;
}

static int visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

int main(int argc, char **argv)
{
    static const char prefix[] = "test_fuzz_";
    const char *name = strstr(program_invocation_short_name, prefix);
    int number = 0, failed = 0;
    for (int i = 1; i < argc; i++)
        failed |= replay(argv[i], ++number);
    struct dirent **list = NULL;
    char folder[256];
    snprintf(folder, sizeof folder, "tests/fuzz/%.200s", name ? name + sizeof prefix - 1 : "");
    int n = argc > 1 ? 0 : scandir(folder, &list, visible, alphasort);
    if (n < 0 || number + n == 0) {
        printf("not ok %d - %s has no files\n", ++number, folder);
        failed = 1;
    }
    for (int i = 0; i < n; i++) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", folder, list[i]->d_name);
        failed |= replay(path, ++number);
        free(list[i]);
    }
    free(list);
    printf("1..%d\n", number);
    return failed;
}
