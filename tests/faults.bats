#!/usr/bin/env bats
# The fault runs themselves: they notice what a program does wrong, and some real runs pass. All of them:
# make faults.
# shellcheck disable=SC2030,SC2031,SC2154
bats_require_minimum_version 1.5.0
load helpers

setup() {
    cd "$BATS_TEST_TMPDIR" || return
    faults=$BATS_TEST_DIRNAME/faults/run
}

# A program that writes `zout` in one of several ways, and cases of it.
wrong_program() {
    cat >wrong.c <<'END'
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static const char *way;
static int is(const char *word) { return !strcmp(way, word); }
static int fail(const char *what, int status)
{
    fprintf(stderr, "wrong: %s: %s\n", what, strerror(errno));
    if (is("talkative"))
        fprintf(stderr, "wrong: so it is\n");
    if (!is("untidy"))
        unlink("zout.new");
    return is("odd") ? 7 : is("liar") ? 0 : status;
}
int main(int argc, char **argv)
{
    way = argv[1];
    char *text = malloc(6);
    if (!text && !is("crash"))
        return fail("out of memory", 4);
    strcpy(text, "whole\n");
    int fd = open("zout.new", O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (fd < 0)
        return fail("zout.new", 1);
    int done = 0, n;
    while (done < 6 && (n = write(fd, text + done, 6 - done)) != 0)
        if (n > 0)
            done += n;
        else if (errno != EINTR && !is("careless") && !is("endless"))
            return fail(is("vague") ? "file" : "zout.new", 1);
        else if (is("careless"))
            break;
        else if (is("endless"))
            for (;;)
                sleep(1);
    if (!is("unsynced") && fsync(fd) < 0)
        return fail("zout.new", 1);
    return rename("zout.new", "zout") < 0 ? fail("zout", 1) : 0;
}
END
    mkdir bin
    "${CC:-gcc}" -w -o bin/wrong wrong.c
    cat >cases.bash <<'END'
inputs() { :; }
exception() { :; }
use() { program=wrong before=(sh -c 'echo old >zout') command=(wrong "$1"); }
for way in right talkative untidy odd liar crash careless endless vague unsynced; do
    eval "case_$way() { use $way; }"
done
END
}

finds() { # WAY WHAT: a run that failed, and why
    grep -qE -- "--at [^ ]* $1 .*$2" <<<"$output" || { echo "not found: $1: $2"; return 1; }
}

@test "what a program does wrong when a call fails is noticed" {
    wrong_program
    export BIN=$PWD/bin CASES_FILE=$PWD/cases.bash
    run -1 "$faults" right talkative untidy odd liar crash careless vague
    finds talkative '2 lines'
    finds untidy 'something is left'
    finds odd 'status 7'
    finds liar 'status 0 with another result'
    finds crash 'status 139'
    finds careless 'status 0 with another result'
    finds vague 'not named: zout'
    [[ $output != *'--at '*' right '* ]]
    # Every point has its run: of write 4, of the others 1 or 2.
    [[ $output =~ right\ +9\ +9\ +2\ +6\ +1\ +0\ +0\ +0 ]]
    # One run of the list, alone; and one that never ends.
    run -1 "$faults" --at system:2:EIO careless
    [[ $output == *'status 0 with another result'* ]]
    FAULT_SECONDS=1 run -1 "$faults" --at system:2:EIO endless
    [[ $output == *endless* ]]
}

@test "a rename before the data is noticed" {
    wrong_program
    export BIN=$PWD/bin CASES_FILE=$PWD/cases.bash
    run -1 "$faults" --cut right unsynced
    finds unsynced 'neither an old nor a new result'
    [[ $output != *'--at '*' right '* ]]
}

@test "some points of some programs" {
    ! grep -q __asan_init "$BIN/toks" || skip "a sanitizer has its own malloc"
    run -0 "$faults" --most 8 toks-cat sft-train
    run -0 "$faults" --cut --most 8 reinforce-over
}
