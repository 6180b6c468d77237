#!/bin/sh
# Checks total.sh; ends with 1 at the first difference.
check() {
    expected=$1
    shift
    found=$(sh ./total.sh "$@")
    if [ "$found" != "$expected" ]; then
        echo "total.sh $*: expected $expected, found $found"
        exit 1
    fi
}
check 0
check 5 5
check 6 1 2 3
check -1 2 -3
echo "all tests pass"
