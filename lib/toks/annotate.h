// SPDX-License-Identifier: MIT
// Columns from outside: a command is asked about each record and answers with values of columns
// (toks annotate).
#ifndef TOKS_ANNOTATE_H
#define TOKS_ANNOTATE_H

#include "stream/filter.h"

// Appends what the command is asked about a record: one JSON object in one line, with its `id`.
typedef int annotate_question(void *arg, const struct frame *f, size_t i, struct buffer *out,
                              struct err *e);

struct annotate {
    char *const *command; // NULL at its end
    const char *columns;  // "score,answer:string,weight:token" or NULL: as the first answer shows
    const char *journal;  // path or NULL
    double timeout;       // seconds without an answer, while there are questions; 0: no limit
    double patience;      // seconds of silence until the command's input is closed; 0: never
    size_t in_flight;     // most questions without an answer
    annotate_question *question; // NULL: the record's twin
    void *arg;                   // for `question`
    const char *form;            // of the questions, for the journal: "twin", "text"
};

struct annotate_stats {
    uint64_t records;
    uint64_t journal; // answers of these that the journal had
    uint64_t runs;    // of the command
};

// The command gets the records in order and must answer each, in this order, by one line with a
// JSON object that has the same `id`. What else goes wrong with it is an error with STATUS_FAILED
// that names the record, and the output has no END.
MUST_CHECK int annotate_run(const struct annotate *how, const char *input, const char *output,
                            const struct provenance *line, struct annotate_stats *stats,
                            struct err *e);

#endif
