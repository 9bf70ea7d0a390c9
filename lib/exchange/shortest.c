// SPDX-License-Identifier: MIT
#include "exchange/shortest.h"

#include <stdio.h>
#include <stdlib.h>

double shortest(double x)
{
    char text[40];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        double y = strtod(text, NULL);
        if ((float)y == (float)x && (double)(float)x == x)
            return y;
    }
    return x;
}
