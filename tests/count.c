// SPDX-License-Identifier: MIT
// Stands before jansson (LD_PRELOAD) and counts how often a program looks into an object or a list:
// what a test can say of the growth of work, whatever the machine's speed. COUNT names the file
// that gets the number at the end.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned long long looks;

#define REAL(result, name, ...) ((result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

json_t *json_object_get(const json_t *object, const char *key)
{
    static json_t *(*real)(const json_t *, const char *);
    looks++;
    if (!real)
        real = REAL(json_t *, json_object_get, const json_t *, const char *);
    return real(object, key);
}

json_t *json_array_get(const json_t *array, size_t i)
{
    static json_t *(*real)(const json_t *, size_t);
    looks++;
    if (!real)
        real = REAL(json_t *, json_array_get, const json_t *, size_t);
    return real(array, i);
}

void *json_object_iter_next(json_t *object, void *at)
{
    static void *(*real)(json_t *, void *);
    looks++;
    if (!real)
        real = REAL(void *, json_object_iter_next, json_t *, void *);
    return real(object, at);
}

__attribute__((destructor)) static void tell(void)
{
    const char *path = getenv("COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (!file)
        return;
    fprintf(file, "%llu\n", looks);
    fclose(file);
}
