// SPDX-License-Identifier: MIT
#include "base/model_folder.h"
#include "base/listing.h"
#include "base/touched.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int model_folder_is_weights(const char *name)
{
    static const char *const suffix[] = {".safetensors", ".bin", ".pt",   ".pth",  ".ckpt",
                                         ".npz",         ".h5",  ".gguf", ".onnx", ".msgpack"};
    for (size_t i = 0; i < sizeof suffix / sizeof *suffix; i++)
        if (listing_ends(name, suffix[i]))
            return 1;
    return 0;
}

int model_folder_is_part(const char *name)
{
    static const char *const known[] = {"config.json",
                                        "generation_config.json",
                                        "densepath.json",
                                        "tokenizer.json",
                                        "tokenizer.model",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "vocab.json",
                                        "vocab.txt",
                                        "merges.txt",
                                        "chat_template.jinja",
                                        "chat_template.json",
                                        "README.md",
                                        "LICENSE",
                                        NULL};
    return listing_has(known, name) || model_folder_is_weights(name) ||
           listing_ends(name, ".index.json");
}

int model_folder_note(int at, struct err *e)
{
    struct stat st;
    int fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), result = 0, more = 0;
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);
    const char *name;
    if (!listing) { // which may be forbidden
        if (fd >= 0)
            close(fd);
        return 0;
    }
    while (result == 0 && (more = listing_next(listing, &name)) > 0)
        if (model_folder_is_part(name) && fstatat(at, name, &st, 0) == 0)
            result = touched_input(&st, name, e);
    if (more < 0)
        result = err_errno(e, "model directory");
    closedir(listing);
    return result;
}
