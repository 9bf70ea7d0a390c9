// SPDX-License-Identifier: MIT
// Is it UTF-8? Text in streams must be, or its JSON twin could not hold it.
#ifndef STREAM_UTF8_H
#define STREAM_UTF8_H

#include <stddef.h>

// Bytes of the longest valid prefix (RFC 3629: no surrogates, nothing overlong); == size when all
// is well.
size_t utf8_valid(const char *text, size_t size);

#endif
