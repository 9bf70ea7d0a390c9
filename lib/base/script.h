// SPDX-License-Identifier: MIT
// Options of shell scripts, parsed as those of programs are. A script states its table once, as
// text:
//
//     Usage: select [OPTION...] -m SFT -o OUT DEMONSTRATIONS [-- SFT-TRAIN-OPTION...]
//     Train SFT further on the demonstrations that the reward ranks highest.
//
//       -m, --model SFT      sft             text!       made by `sft`
//           --floor EPS      floor=0.03      real 0 1    floor under the reference's probability;
//                                                        0: the paper's formula
//           --json           json            flag        print one JSON object
//     %common seed threads
//     %operands 1 1 one file of demonstrations is needed
//     %rest sft-train
//
//     What follows -- goes to sft-train.
//
// The text before the first option and after the last one is printed by --help unchanged; a line
// between two options is a heading. An option has four columns, separated by two or more spaces
// (further lines continue the last one):
//     option     as in --help: `-x, --name ARGUMENT`; the choices of `choice` are A|B|C
//     variable   =VALUE: its default, quoted if it is white space; of a flag, its value when given
//                (yes)
//     kind       flag, text, file (a text: one that the script writes, which is tried at once),
//                int [LOW [HIGH]], real [LOW [HIGH]], choice, list (repeatable; the variable is an
//                array); `!`: required, `?`: a text that may be empty
//     help
// %common NAME...  options that several scripts have, in the same words: metrics, overwrite,
//                  save-minutes, seed, threads, timeout. After them come those that every script
//                  has: --config, --quiet and --verbose.
// %records [NAME...]  options of tok that say how records are read, all or those; the array
//                  `records` has those that were given, as tok takes them
// %operands MIN MAX SENTENCE  how many (`*`: any number), and the error message otherwise
// %rest PROGRAM    the program that receives the words after `--`; without it they are operands
// Other lines that begin with `%` and a word are not for this parser and are skipped.
#ifndef BASE_SCRIPT_H
#define BASE_SCRIPT_H

#include "base/error.h"

// Reads the table of the script NAME from `table` and parses argv (argv[0] is skipped). Prints
// help, the version, the list of options and usage errors as program_start does. Then the script
// has to do what is written to `out`: assignments for eval (the variables, `operands`, `rest`,
// `quiet`, `verbose`), or to exit. Returns the exit status.
int script_options(const char *name, int argc, char **argv, int table, int out);

#endif
