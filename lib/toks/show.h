// SPDX-License-Identifier: MIT
// Text coloured by a token column, for a terminal or as one HTML file: toks show.
#ifndef TOKS_SHOW_H
#define TOKS_SHOW_H

#include "base/io.h"
#include "stream/frame.h"

// Appends the bytes that a token stands for (may be a part of a character); `first`: it begins its
// sequence. 0 or -1.
typedef int show_piece(void *arg, uint32_t token, int first, struct buffer *out, struct err *e);

enum show_form { SHOW_PLAIN, SHOW_COLOR_256, SHOW_COLOR_24, SHOW_HTML };

struct show {
    enum show_form form;
    int column;       // numeric, per token
    double low, high; // colours are full at these; NaN: from the values
    const char *title;
    show_piece *piece;
    void *arg; // for `piece`
};

struct rgb {
    unsigned char r, g, b;
};

// Where both signs occur: orange below 0, white at 0, blue above; otherwise from white to blue.
// Values beyond low .. high have the colour of the end. The text on it is black.
struct rgb show_color(double value, double low, double high);
// Prints all sequences of the frame.
MUST_CHECK int show_print(const struct show *s, const struct frame *f, struct output *out,
                          struct err *e);

#endif
