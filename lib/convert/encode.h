// SPDX-License-Identifier: MIT
// Converts records to a token stream with a loss mask, to their rendered text, or to text for
// people.
#ifndef CONVERT_ENCODE_H
#define CONVERT_ENCODE_H

#include "data/corpus.h"
#include "data/example.h"
#include "data/record.h"

extern const char *const encode_train_names[];       // of enum record_train
extern const char *const encode_boundary_names[];    // of enum example_boundary
extern const char *const encode_truncation_names[];  // of enum example_truncation
extern const char *const encode_sample_names[];      // of enum corpus_sample
extern const char *const encode_instruction_names[]; // of enum instruction_form
extern const char *const encode_turns_names[];       // of `each_turn`
extern const char *const encode_left_out_names[];    // of `whole_only`

struct encode_options {
    const char *model;         // directory with the tokenizer
    const char *template_file; // a chat template in place of the model's, or NULL
    const char *fields;        // "OURS=THEIRS,...", or NULL
    const char *roles;         // the same of roles
    const char *keep;          // "A,B": fields that become sequence columns, or NULL
    const char *now;           // what a chat template reads as the time, or NULL
    enum record_format format;
    enum record_train train;
    enum corpus_sample sample;
    enum instruction_form instruction;
    enum example_boundary boundary;
    enum example_truncation truncation;
    size_t max_length;     // 0: no limit
    int special;           // special tokens: 1, 0, or -1: for texts, not for rendered chats
    int drops_untrained;   // 0: a record that has nothing to train is an error
    int drops_bad;         // 0: a record that cannot be read or rendered is an error
    int keeps_duplicates;  // a second beginning or end token stays
    int joins_parts;       // contents that are lists of parts become one text
    int each_turn;         // a record for each answer of a chat
    int whole_only;        // what a template leaves out is an error
    int prompts;           // the prompt only
    int continues;         // the last message of rendered chats is not ended
    int generation_prompt; // end rendered chats with the sign that an answer comes
    int offsets;           // columns `start` and `end`
    int render, marked;    // in place of a stream: JSON lines of text; text for people
    const char *output;    // NULL: standard output
    int verbose;
    uint64_t seed; // for the provenance, as the command line
    int argc;
    char **argv;
};

// Reads the files `path` [n] (none: standard input) to the end; two records with one id are an
// error. Says on standard error what it found and left out.
MUST_CHECK int encode_run(const struct encode_options *o, char *const *path, size_t n,
                          struct err *e);

#endif
