// SPDX-License-Identifier: MIT
// The files that make up a Hugging Face model directory, by their names.
#ifndef BASE_MODEL_FOLDER_H
#define BASE_MODEL_FOLDER_H

#include "base/error.h"

int model_folder_is_weights(const char *name); // in whatever format
int model_folder_is_part(const char *name);    // also configuration, tokenizer and card
// Notes the model's files in the directory `at` as inputs of this process, also those that it does
// not read: none becomes an output (base/touched.h). Other files there may.
MUST_CHECK int model_folder_note(int at, struct err *e);

#endif
