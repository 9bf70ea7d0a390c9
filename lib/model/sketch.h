// SPDX-License-Identifier: MIT
// A model of which only the configuration is there: its tensors have names, shapes and types, but
// their values are a hole, or made up in memory. For planning: nothing of it is ever saved.
#ifndef MODEL_SKETCH_H
#define MODEL_SKETCH_H

#include "model/model.h"

// Whether PATH is a JSON file (a configuration of any name), or a directory with config.json and
// without weights that can be read. 0 also where nothing is. -1: *e.
MUST_CHECK int sketch_is_one(const char *path, struct err *e);
// Opens it as model_open_any opens a model. filled: the weights are numbers, and take memory as a
// file's do once they are read; otherwise no value may be read. A file's folder is looked at for
// generation_config.json alone. NULL: *e.
struct model *sketch_open(const char *path, int filled, struct err *e);

#endif
