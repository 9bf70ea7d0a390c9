# Helpers of all bats files.
BIN=${BIN:-$BATS_TEST_DIRNAME/../bin}
SHARED=${SHARED:-$BATS_TEST_DIRNAME/../../shared}

need() { # PATH: skips the test where it is absent
    [ -e "$1" ] || skip "needs $1"
}
