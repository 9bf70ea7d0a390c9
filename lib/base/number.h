// SPDX-License-Identifier: MIT
// Numbers as text, both ways, strictly.
#ifndef BASE_NUMBER_H
#define BASE_NUMBER_H

#include <stddef.h>
#include <stdint.h>

enum { NUMBER_MAX = 32 };

// Writes the fewest digits that read back to the same float, and a NUL; returns the length.
// Infinity prints as 1e999 (JSON has no word for it); NaN must not come here.
int number_from_f32(float value, char out[NUMBER_MAX]);
// Whole-string parsers: 0, or -1 when the text is anything but one number in range.
int number_to_f64(const char *text, double *value);
int number_to_i64(const char *text, int64_t *value);
int number_to_u64(const char *text, uint64_t *value);
// Accepts K, M, G suffixes (powers of 1024): 64K, 1M.
int number_to_size(const char *text, uint64_t *value);
// 1/3, 0.25, half (0.5): a fraction in (0, 1].
int number_to_fraction(const char *text, double *value);

#endif
