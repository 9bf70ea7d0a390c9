// SPDX-License-Identifier: MIT
#include "ask/columns.h"
#include "ask/speaker.h"
#include "test.h"

#include <stdlib.h>

enum { WIDTH = COLUMN_LEAST };

// The rows of texts of which so many bytes more come each time.
static char *rows_of(const char *const *text, size_t n, size_t pace)
{
    struct text_column c[4] = {{0}};
    struct buffer out;
    struct err e;
    int ended = 0;
    buffer_init(&out, 0);
    for (size_t shown = pace; !ended; shown += pace) {
        ended = 1;
        for (size_t i = 0; i < n; i++) {
            size_t size = strlen(text[i]);
            c[i].text = text[i];
            c[i].size = shown < size ? shown : size;
            while (c[i].size < size && (text[i][c[i].size] & 0xc0) == 0x80)
                c[i].size++;
            c[i].ended = c[i].size == size;
            ended &= c[i].ended;
        }
        CHECK(columns_rows(c, n, WIDTH, &out, &e) == 0);
    }
    return out.data;
}

// However the texts come, the rows are the same.
static void check_rows(const char *const *text, size_t n, const char *rows)
{
    for (size_t pace = 1; pace < 90; pace += 11) {
        char *got = rows_of(text, n, pace);
        CHECK_TEXT(got ? got : "", rows);
        free(got);
    }
}

static void texts_stand_side_by_side(void)
{
    check_rows((const char *const[]){"one two three four five six seven", "1\n\n2"}, 2,
               "one two three four five  | 1\n"
               "six seven                |\n"
               "                         | 2\n");
    check_rows((const char *const[]){"a", "b", "c d"}, 3,
               "a                        | b                        | c d\n");
    check_rows((const char *const[]){"", "b"}, 2, "                         | b\n");
    check_rows((const char *const[]){"", ""}, 2, "");
}

static void a_row_ends_at_a_blank_or_where_it_must(void)
{
    check_rows((const char *const[]){"123456789 123456789 1234   67"}, 1,
               "123456789 123456789 1234\n67\n");
    check_rows((const char *const[]){"aaaaaaaaaa bbbbbbbbbb cccccc"}, 1,
               "aaaaaaaaaa bbbbbbbbbb\ncccccc\n");
    check_rows((const char *const[]){"abcdefghijklmnopqrstuvwxyz"}, 1,
               "abcdefghijklmnopqrstuvwx\nyz\n");
    check_rows((const char *const[]){"a\tb                             c"}, 1, "a b\nc\n");
    check_rows((const char *const[]){"                           c"}, 1, "\nc\n");
    check_rows((const char *const[]){"a\n"}, 1, "a\n");
}

// Wide characters take two cells, combining ones none, and stay with what they stand on.
static void cells_are_counted(void)
{
    CHECK(columns_cells("e\xcc\x81", 3) == 1);
    CHECK(columns_cells("\xe6\xbc\xa2\xe5\xad\x97", 6) == 4);
    check_rows((const char *const[]){"\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2"
                                     "\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2"
                                     "\xe6\xbc\xa2x\xe6\xbc\xa2",
                                     "e\xcc\x81"},
               2,
               "\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2"
               "\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2"
               "\xe6\xbc\xa2x  | e\xcc\x81\n\xe6\xbc\xa2                       |\n");
    check_rows((const char *const[]){"abcdefghijklmnopqrstuvwe\xcc\x81x"}, 1,
               "abcdefghijklmnopqrstuvwe\xcc\x81\nx\n");
}

static void columns_have_room_or_are_none(void)
{
    CHECK(columns_width(80, 2) == 38);
    CHECK(columns_width(80, 3) == 24);
    CHECK(columns_width(77, 3) == 0);
    CHECK(columns_width(40, 2) == 0);
    CHECK(columns_width(0, 2) == 0);
    CHECK(columns_width(60000, 100) == 0);
}

static void labels_tell_apart(void)
{
    struct speaker s[4] = {
        {.directory = "out/a/"}, {.directory = "b"}, {.directory = "old/b"}, {.directory = "/"}};
    struct err e;
    CHECK(speakers_label(s, 4, &e) == 0);
    CHECK_TEXT(s[0].label, "a");
    CHECK_TEXT(s[1].label, "b");
    CHECK_TEXT(s[2].label, "old/b");
    CHECK_TEXT(s[3].label, "/");
    for (int i = 0; i < 4; i++)
        free(s[i].label);
}

int main(void)
{
    RUN(texts_stand_side_by_side);
    RUN(a_row_ends_at_a_blank_or_where_it_must);
    RUN(cells_are_counted);
    RUN(columns_have_room_or_are_none);
    RUN(labels_tell_apart);
    return test_end();
}
