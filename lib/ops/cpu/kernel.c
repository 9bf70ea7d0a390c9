// SPDX-License-Identifier: MIT
#include "ops/cpu/kernel.h"

#include <stdlib.h>
#include <string.h>

static int usable(const struct kernels *k)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (k == &kernels_avx512bf16 && !__builtin_cpu_supports("avx512bf16"))
        return 0;
    if (k == &kernels_avx512 || k == &kernels_avx512bf16)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("fma");
    if (k == &kernels_avx2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return k == &kernels_base;
}

const struct kernels *kernels_choose(struct err *e)
{
    static const struct kernels *const all[] = {
#if defined(__x86_64__)
        &kernels_avx512bf16,
        &kernels_avx512,
        &kernels_avx2,
#endif
        &kernels_base,
    };
    const char *wanted = getenv("DENSEPATH_KERNELS");
    int known = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        int named = wanted && !strcmp(wanted, all[i]->name);
        known |= named;
        if (usable(all[i]) && (!wanted || named))
            return all[i];
    }
    err_set(e, STATUS_USAGE, "DENSEPATH_KERNELS=%s: %s", wanted,
            known ? "this processor does not have them"
                  : "there are base, avx2, avx512 and avx512bf16");
    return NULL;
}
