// SPDX-License-Identifier: MIT
// What record.c writes and replay.c reads: one after the other, each with its data behind it.
#ifndef FAULTS_RECORD_H
#define FAULTS_RECORD_H

#include <stdint.h>

enum { RECORD_NAME = 512 };

enum record_kind {
    RECORD_CREATE,      // path, inode: a new file
    RECORD_OPEN,        // path, inode: one that was there, to be written
    RECORD_NAMELESS,    // inode: a new file without a name
    RECORD_WRITE,       // inode, offset, size; the data follow
    RECORD_TRUNCATE,    // inode; offset is its size now
    RECORD_SYNC,        // inode
    RECORD_SYNC_FOLDER, // path
    RECORD_RENAME,      // path, to
    RECORD_EXCHANGE,    // path, to
    RECORD_LINK,        // inode, to
    RECORD_REMOVE,      // path: a file, or an empty folder
    RECORD_FOLDER,      // path
};

struct record {
    uint64_t kind;
    uint64_t inode;
    int64_t offset;
    uint64_t size;
    char path[RECORD_NAME], to[RECORD_NAME]; // below the folder; "" is the folder itself
};

#endif
