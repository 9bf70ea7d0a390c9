// SPDX-License-Identifier: MIT
// Model directories as results: they appear whole or not at all, and a policy's directory lives: a
// trainer replaces it in one atomic step a generation, while others read it.
//
//   PATH           the model; densepath.json in it holds the generation
//   PATH.partial   being written (or a run that was stopped and can be resumed): the empty file
//                  densepath.partial in it tells that it is of our making
//   PATH.lock      held by the program that writes PATH
//   PATH.old       for an instant, where the file system cannot exchange two names
//   PATH.replaced  what --overwrite replaces by a policy, until that is finished
//
// What a program may write over is the business of claim.h.
#ifndef MODEL_DIRECTORY_H
#define MODEL_DIRECTORY_H

#include "base/error.h"
#include <jansson.h>
#include <stdint.h>

struct directory_output {
    char *path, *partial;
    int fd; // of the partial directory
};

// Prepares PATH.partial; what a killed run left there is removed first unless `keep`. Refuses a
// PATH.partial that was not made by this suite. overwrite: the result may take the place of another
// one, which a run that goes on with `keep` remembers.
MUST_CHECK int directory_begin(struct directory_output *o, const char *path, int keep,
                               int overwrite, struct err *e);
// Whether PATH.partial was begun with `overwrite`.
int directory_may_overwrite(const char *path);

enum directory_end {
    DIRECTORY_NEW,       // nothing may be there
    DIRECTORY_OVERWRITE, // what is there is removed
    DIRECTORY_NEXT,      // it becomes PATH/previous
};
// PATH.partial becomes PATH, atomically. Then the files and directories `transient` (NULL at the
// end, or NULL), which only a run that goes on needs, go away; not with DIRECTORY_NEXT. A failure
// leaves what was made in PATH.partial, and says so.
MUST_CHECK int directory_commit(struct directory_output *o, enum directory_end end,
                                const char *const *transient, struct err *e);
// Ends what a crash broke off in directory_commit or left after directory_set_aside. Under the
// lock. transient: NULL for a policy, which lives with them.
MUST_CHECK int directory_mend(const char *path, const char *const *transient, struct err *e);
// Whether it may have something to do: 1, with what is left there in left [PATH_MAX], or 0.
MUST_CHECK int directory_is_broken(const char *path, char *left, struct err *e);
// PATH becomes PATH.replaced, from which directory_mend brings it back while there is no PATH;
// directory_forget removes it.
MUST_CHECK int directory_set_aside(const char *path, struct err *e);
MUST_CHECK int directory_forget(const char *path, struct err *e);

extern const char directory_note_name[], directory_marker[], directory_old[], directory_partial[],
    directory_previous[];
// From the heap, or NULL: PATH without slashes at its end, then the suffix; the folder it lies in.
char *directory_beside(const char *path, const char *suffix, struct err *e);
char *directory_parent(const char *path, struct err *e);
int directory_is_mount(const char *path);
// Whether the disk of PATH has room for so many bytes.
MUST_CHECK int directory_check_room(const char *path, double bytes, struct err *e);

// Removes a directory of this suite's making with all it holds; fine if it does not exist.
MUST_CHECK int directory_remove(const char *path, struct err *e);
void directory_close(struct directory_output *o); // leaves PATH.partial where it is
void directory_abort(struct directory_output *o); // removes it

// densepath.json of a directory.
struct directory_note {
    uint64_t generation;
    int finished;           // no further generation will come
    json_t *history;        // array of provenance lines, or NULL
    char run[24];           // fingerprint of the settings of the run that made it; "": not told
    const json_t *training; // written only: how the run chose this model; NULL: not told. Borrowed
    int sealed;             // read: it has a checksum
};
// An absent file reads as zeros, one that is not what its checksum says is refused. `at`: the
// directory's descriptor.
MUST_CHECK int directory_read_note(int at, struct directory_note *note, struct err *e);
MUST_CHECK int directory_write_note(int at, const struct directory_note *note, struct err *e);
void directory_release_note(struct directory_note *note);

// The lock of a program that writes PATH.
struct policy_lock {
    int fd;
    char *path;
};
// Takes the lock; refuses when another program holds it, and names that no directory can get.
MUST_CHECK int policy_lock_take(struct policy_lock *l, const char *path, struct err *e);
// Tells followers that the directory now shows the generation to start from.
MUST_CHECK int policy_lock_ready(struct policy_lock *l, struct err *e);
void policy_lock_release(struct policy_lock *l); // and removes the file
// Whether somebody follows the policy right now.
int policy_is_followed(const struct policy_lock *l);
// Tells the trainer that this process follows its policy; a descriptor to close at the end, or -1.
MUST_CHECK int policy_attach(const char *path, struct err *e);
// Waits until the policy at PATH has `generation` (or, with start != 0, until a trainer is ready,
// and sets *generation to the one it shows) and opens that directory: its descriptor. Returns -1 on
// failure: the trainer died, or our own reader has gone. -2: the policy is finished and the
// generation will not come.
MUST_CHECK int policy_follow(const char *path, uint64_t *generation, int start, struct err *e);

#endif
