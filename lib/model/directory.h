// SPDX-License-Identifier: MIT
// Model directories as results: they appear whole or not at all, and a policy's directory lives: a
// trainer replaces it in one atomic step a generation, while others read it.
//
//   PATH           the model; densepath.json in it holds the generation
//   PATH.partial   being written (or a run that was stopped and can be resumed)
//   PATH.lock      held by the trainer of a living policy
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
// PATH that exists and was not made by this suite (no densepath.json in it).
MUST_CHECK int directory_begin(struct directory_output *o, const char *path, int keep,
                               struct err *e);
// PATH.partial becomes PATH, atomically; what PATH was before is removed, or becomes PATH/previous
// with `keep_previous`.
MUST_CHECK int directory_commit(struct directory_output *o, int keep_previous, struct err *e);
void directory_close(struct directory_output *o); // leaves PATH.partial where it is
void directory_abort(struct directory_output *o); // removes it

// densepath.json of a directory.
struct directory_note {
    uint64_t generation;
    int finished;    // no further generation will come
    json_t *history; // array of provenance lines, or NULL
};
// An absent file reads as zeros. `at`: the directory's descriptor.
MUST_CHECK int directory_read_note(int at, struct directory_note *note, struct err *e);
MUST_CHECK int directory_write_note(int at, const struct directory_note *note, struct err *e);
void directory_release_note(struct directory_note *note);

// A trainer's lock on a living policy.
struct policy_lock {
    int fd;
    char *path;
};
// Takes the lock; refuses when another trainer holds it.
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
