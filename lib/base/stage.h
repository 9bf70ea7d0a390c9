// SPDX-License-Identifier: MIT
// A program as a stage of a pipeline's script. DENSEPATH_STAGE in its environment says that it is
// one: where the program before it failed, and has said why, it has nothing to add. Its value is
// the path of a file without a name, which the keeper opens (keeper.h): who has said something puts
// a mark there, so that the script can tell whether anyone has. Other values say no more than that.
#ifndef BASE_STAGE_H
#define BASE_STAGE_H

enum stage_mark {
    STAGE_SAID = 'm',  // an error was told
    STAGE_SILENT = 's' // one was not
};

// Whether what the descriptor gives, a pipe that ended without a byte, has been explained by who
// was to write it.
int stage_is_explained(int fd);
// What cannot be written is passed over.
void stage_leave(enum stage_mark mark);

#endif
