// SPDX-License-Identifier: MIT
// A script whose processes end with it. A shell that is killed leaves running what it has started,
// and one that is told to end while it waits for a program ends after that, or at once without it.
#ifndef BASE_KEEPER_H
#define BASE_KEEPER_H

// Runs a command under two processes, of which this one is the first. When it, the second or the
// command itself is ended by a signal, all that the command has started gets SIGTERM (trainers save
// their state), and they wait for its end. DENSEPATH_KEPT in the command's environment is the
// number of a descriptor: a line there is the path of a folder, which is removed at the
// end. DENSEPATH_STAGE is the path of an empty file without a name (stage.h). Returns the command's
// exit status, or where they had to end STATUS_AGAIN if anyone did with it; dies of the signal that
// the command died of, or that told this process to end where the command then broke off with
// STATUS_FAILED, or as a shell that SIGTERM ended.
int keeper_run(char *const *argv);

#endif
