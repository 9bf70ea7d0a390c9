// SPDX-License-Identifier: MIT
// What the programs of one pipeline tell each other: the status line of each on the terminal that
// they share, and how many records each will write. A small file in $XDG_RUNTIME_DIR (else $TMPDIR,
// else /tmp), one per session, holds a slot for each program; the last to leave removes it. Nothing
// here fails or waits: a program that cannot reach the board shows its own line only, and the slot
// of one that was killed is free again, because the kernel drops its lock.
//
// On the screen the cursor rests on an empty line above the status lines. So whoever prints, one of
// us or not, prints above them, and the next drawing starts from wherever the cursor is then: no
// position has to be remembered, and a killed program can leave none that is wrong.
#ifndef BASE_BOARD_H
#define BASE_BOARD_H

#include <stddef.h>
#include <stdint.h>

double clock_seconds(void); // monotonic, the same for all processes

// What a program's slot says. Times are of clock_seconds.
struct board_line {
    char name[32];  // of the program
    char text[200]; // where it is
    double started;
    double ends;            // when it will be done; 0: unknown
    int64_t records, exact; // that its output will hold in all; 0: unknown; exact or an estimate
};

// All are for one process, which has one line. Takes a slot; `show`: draws on the terminal.
void board_join(int show);
// `records` that were written in all; 0: as the line said. Idempotent.
void board_leave(int64_t records);
// For the handler of a signal that ends the program: takes the lines from the screen and leaves.
void board_end(void);
// 1 when stderr is a terminal that lines can be drawn on.
int board_terminal(void);
// Sets the line; draws all of them unless that was done less than a tenth of a second ago.
void board_show(const struct board_line *line);
// The records that the program at the other end of standard input will have written; 0: unknown.
int64_t board_upstream(int *exact);
// For a program without a line of its own that writes `each` records for each one that it reads:
// those behind it in the pipeline learn what those before it tell.
void board_pass(double each);
// Writes a message, whole lines, to stderr: above the status lines where there are any.
void board_message(const char *text, size_t size);

// "1:12", "1:02:03".
void duration_print(char out[32], double seconds);
// One line of at most width - 1 columns: name padded to `pad`, text cut where there is no room, the
// time that has passed and the time that is left.
void board_print(char *out, size_t size, const struct board_line *line, int pad, int width,
                 double now);

#endif
