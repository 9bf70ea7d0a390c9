// SPDX-License-Identifier: MIT
// A token stream in any form. One that is whole is written again, as binary and as its twin, and
// both must be read as the same stream.
#include "kit.h"

#include "base/io.h"
#include "toks/copy.h"

// A name in the folder.
static const char *place(const char *name)
{
    static char path[2][300];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", fuzz_folder(), name);
    return path[turn];
}

// The twin of what stands at `path` into `text`; 0 or -1.
static int twin(const char *path, struct buffer *text, struct err *e)
{
    const char *to = place("twin");
    unlink(to); // an input before
    if (copy_to_jsonl(path, to, 0, e) < 0)
        return -1;
    buffer_clear(text);
    MUST(io_read_file(to, text, e) == 0);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buffer once, again;
    struct err e;
    uint64_t sequences, tokens, n, m;
    const char *path = fuzz_file(0, data, size);
    int whole = filter_check(path, &sequences, &tokens, &e) == 0;
    buffer_init(&once, 0);
    buffer_init(&again, 0);
    int result = twin(path, &once, &e);
    MUST((result == 0) == whole);
    if (whole) {
        const char *binary = place("binary");
        unlink(binary); // an input before
        MUST(copy_to_binary(path, binary, -1, &e) == 0);
        MUST(filter_check(binary, &n, &m, &e) == 0 && n == sequences && m == tokens);
        MUST(twin(binary, &again, &e) == 0);
        MUST(once.size == again.size && memcmp(once.data, again.data, once.size) == 0);
        MUST(twin(fuzz_file(1, once.data, once.size), &again, &e) == 0);
        MUST(once.size == again.size && memcmp(once.data, again.data, once.size) == 0);
    }
    buffer_release(&once);
    buffer_release(&again);
    return 0;
}
