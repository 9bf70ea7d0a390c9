// SPDX-License-Identifier: MIT
// Subnormal numbers as zeros, read and written, in the thread that calls: what the instruction for
// pairs of bf16 does by itself, for loops that do the same without it. On processors other than
// x86-64 nothing changes: there subnormal numbers count.
#ifndef OPS_CPU_FLUSH_H
#define OPS_CPU_FLUSH_H

#if defined(__x86_64__)
#include <xmmintrin.h>
static inline unsigned flush_begin(void)
{
    enum { FLUSH = 0x8000, ZEROS = 0x0040 };
    unsigned before = _mm_getcsr();
    _mm_setcsr(before | FLUSH | ZEROS);
    return before;
}
static inline void flush_end(unsigned before)
{
    _mm_setcsr(before);
}
#else
static inline unsigned flush_begin(void)
{
    return 0;
}
static inline void flush_end(unsigned before)
{
}
#endif

#endif
