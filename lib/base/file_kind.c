// SPDX-License-Identifier: MIT
#include "base/file_kind.h"

#include <string.h>

// Signatures as file(1) has them, from the formats' own descriptions.
struct signature {
    size_t at, size;
    const char *bytes;
    struct file_kind kind;
};

static const struct signature known[] = {
    {0,
     4,
     "PAR1",
     {"a Parquet file", FILE_KIND_DATA, "to_json() of the datasets library writes JSON lines"}},
    {0,
     6,
     "ARROW1",
     {"an Arrow file", FILE_KIND_DATA, "to_json() of the datasets library writes JSON lines"}},
    {0,
     4,
     "\xFF\xFF\xFF\xFF",
     {"an Arrow stream", FILE_KIND_DATA, "to_json() of the datasets library writes JSON lines"}},
    {0, 4, "PK\3\4", {"a zip archive", FILE_KIND_DATA, "unpack it"}},
    {257, 5, "ustar", {"a tar archive", FILE_KIND_DATA, "unpack it"}},
    {0, 6, "7z\xBC\xAF\x27\x1C", {"a 7-Zip archive", FILE_KIND_DATA, "unpack it"}},
    {0, 4, "Rar!", {"a RAR archive", FILE_KIND_DATA, "unpack it"}},
    {0, 2, "\x1F\x8B", {"compressed by gzip", FILE_KIND_DATA, "`gzip -dc` unpacks it"}},
    {0, 4, "\x28\xB5\x2F\xFD", {"compressed by zstd", FILE_KIND_DATA, "`zstd -dc` unpacks it"}},
    {0,
     5,
     "\xFD"
     "7zXZ",
     {"compressed by xz", FILE_KIND_DATA, "`xz -dc` unpacks it"}},
    {0, 3, "BZh", {"compressed by bzip2", FILE_KIND_DATA, "`bzip2 -dc` unpacks it"}},
    {0, 4, "\x04\x22\x4D\x18", {"compressed by lz4", FILE_KIND_DATA, "`lz4 -dc` unpacks it"}},
    {0, 2, "\xFF\xFE", {"UTF-16", FILE_KIND_DATA, "`iconv -f UTF-16 -t UTF-8` converts it"}},
    {0, 2, "\xFE\xFF", {"UTF-16", FILE_KIND_DATA, "`iconv -f UTF-16 -t UTF-8` converts it"}},
    {0, 16, "SQLite format 3", {"an SQLite database", FILE_KIND_DATA, NULL}},
    {0, 5, "%PDF-", {"a PDF document", FILE_KIND_DATA, NULL}},
    {0, 6, "\x93NUMPY", {"a NumPy array", FILE_KIND_DATA, NULL}},
    {0, 4, "Obj\1", {"an Avro file", FILE_KIND_DATA, NULL}},
    {0,
     4,
     "GGUF",
     {"a GGUF file", FILE_KIND_WEIGHTS,
      "`model import FILE -o DIR` makes a model directory of it"}},
    {0, 4, "\x89HDF", {"an HDF5 file", FILE_KIND_WEIGHTS, NULL}},
    {8, 2, "{\"", {"a safetensors file", FILE_KIND_WEIGHTS, NULL}},
    {0, 2, "\x80\2", {"a Python pickle", FILE_KIND_WEIGHTS, NULL}},
    {0, 2, "\x80\4", {"a Python pickle", FILE_KIND_WEIGHTS, NULL}},
    {0,
     20,
     "version https://git-",
     {"a pointer of Git LFS", FILE_KIND_POINTER, "`git lfs pull` fetches the file"}},
    {0, 14, "<!DOCTYPE html", {"an HTML page", FILE_KIND_TEXT, NULL}},
    {0, 14, "<!doctype html", {"an HTML page", FILE_KIND_TEXT, NULL}},
    {0, 5, "<html", {"an HTML page", FILE_KIND_TEXT, NULL}},
    {0, 5, "<?xml", {"an XML file", FILE_KIND_TEXT, NULL}},
};

// The archives of torch.save hold data.pkl first.
static int is_torch(const char *head, size_t size)
{
    static const char member[] = "data.pkl";
    return memmem(head, size, member, sizeof member - 1) != NULL;
}

// Before its JSON, safetensors has the JSON's length in eight bytes: text has no zeros there.
static int is_length(const char *head)
{
    return !head[6] && !head[7];
}

const struct file_kind *file_kind(const void *head, size_t size)
{
    static const struct file_kind torch = {"a PyTorch file", FILE_KIND_WEIGHTS, NULL};
    const char *bytes = head;
    size = size < FILE_KIND_BYTES ? size : FILE_KIND_BYTES;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const struct signature *s = &known[i];
        if (size < s->at + s->size || memcmp(bytes + s->at, s->bytes, s->size) != 0)
            continue;
        if (s->at == 8 && !is_length(bytes))
            continue;
        return bytes[1] == 'K' && is_torch(bytes, size) ? &torch : &s->kind;
    }
    return NULL;
}

int file_kind_fetched(const void *head, size_t size, const char *name, struct err *e)
{
    const struct file_kind *kind = size ? file_kind(head, size) : NULL;
    if (!kind || kind->use != FILE_KIND_POINTER)
        return 0;
    return err_set(e, STATUS_FAILED, "%s: %s: %s", name, kind->name, kind->way);
}
