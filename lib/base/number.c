// SPDX-License-Identifier: MIT
#include "base/number.h"

#include <assert.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int number_from_f32(float value, char out[NUMBER_MAX])
{
    assert(!isnan(value));
    if (isinf(value))
        return snprintf(out, NUMBER_MAX, "%s", value < 0 ? "-1e999" : "1e999");
    // Most values are small whole numbers or need eight or nine digits: try the ends first.
    if (value == truncf(value) && fabsf(value) < 1e7f && !(value == 0 && signbit(value)))
        return snprintf(out, NUMBER_MAX, "%d", (int)value);
    // A normal float whose shortest form has fewer than six digits shows it at six, since %g drops
    // zeros at the end; a subnormal one may not.
    int n = 0;
    for (int digits = fabsf(value) < FLT_MIN ? 1 : 6; digits <= 9; digits++) {
        n = snprintf(out, NUMBER_MAX, "%.*g", digits, (double)value);
        if (digits == 9 || strtof(out, NULL) == value)
            break;
    }
    return n;
}

static int starts_well(const char *text)
{
    return (*text >= '0' && *text <= '9') || *text == '-' || *text == '+' || *text == '.';
}

int number_to_f64(const char *text, double *value)
{
    char *end;
    if (!starts_well(text) || strpbrk(text, "xXpPnN"))
        return -1;
    errno = 0;
    double x = strtod(text, &end);
    if (end == text || *end || !isfinite(x))
        return -1;
    *value = x;
    return 0;
}

int number_to_i64(const char *text, int64_t *value)
{
    char *end;
    if (!starts_well(text) || *text == '+' || *text == '.')
        return -1;
    errno = 0;
    long long x = strtoll(text, &end, 10);
    if (errno || end == text || *end)
        return -1;
    *value = x;
    return 0;
}

int number_to_u64(const char *text, uint64_t *value)
{
    char *end;
    if (*text < '0' || *text > '9')
        return -1;
    errno = 0;
    unsigned long long x = strtoull(text, &end, 10);
    if (errno || *end)
        return -1;
    *value = x;
    return 0;
}

int number_to_size(const char *text, uint64_t *value)
{
    char *end;
    if (*text < '0' || *text > '9')
        return -1;
    errno = 0;
    unsigned long long x = strtoull(text, &end, 10);
    if (errno)
        return -1;
    unsigned shift = 0;
    if (*end) {
        const char *place = strchr("KMG", *end);
        if (!place || end[1])
            return -1;
        shift = 10u * (unsigned)(place - "KMG" + 1);
    }
    if (x > UINT64_MAX >> shift)
        return -1;
    *value = (uint64_t)x << shift;
    return 0;
}

int number_to_fraction(const char *text, double *value)
{
    if (!strcmp(text, "half")) {
        *value = 0.5;
        return 0;
    }
    double top, bottom = 1;
    const char *slash = strchr(text, '/');
    if (slash) {
        char head[32];
        size_t n = (size_t)(slash - text);
        if (n >= sizeof head)
            return -1;
        memcpy(head, text, n);
        head[n] = 0;
        if (number_to_f64(head, &top) < 0 || number_to_f64(slash + 1, &bottom) < 0 || bottom <= 0)
            return -1;
    } else if (number_to_f64(text, &top) < 0) {
        return -1;
    }
    *value = top / bottom;
    return *value > 0 && *value <= 1 ? 0 : -1;
}
