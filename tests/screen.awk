# What a terminal shows of a transcript: as much of one as status lines need. Prints the screen each
# time that it is about to be erased or that the cursor goes up, a line "----" behind it, and at the
# end what has stayed on it.
#     awk -v WIDTH=100 -f screen.awk TRANSCRIPT
function put(c) {
    if (column == WIDTH) {
        column = 0
        row++
    }
    line[row] = sprintf("%-" column "s", substr(line[row], 1, column)) c substr(line[row], column + 2)
    column++
    if (row > last)
        last = row
}
function show(    i) {
    for (i = 0; i <= last; i++)
        print line[i]
}
BEGIN {
    RS = "\001" # the whole of it
    if (!WIDTH)
        WIDTH = 80
}
{
    n = length($0)
    for (i = 1; i <= n; i++) {
        c = substr($0, i, 1)
        if (c == "\r") {
            column = 0
        } else if (c == "\n") {
            row++
            if (row > last)
                last = row
        } else if (c == "\033") {
            number = ""
            i++ # the bracket
            while ((c = substr($0, ++i, 1)) ~ /[0-9]/)
                number = number c
            if (c == "A") {
                show()
                print "----"
                row -= number
            } else if (c == "J") {
                line[row] = substr(line[row], 1, column)
                for (; last > row; last--)
                    delete line[last]
            } else {
                print "screen.awk: unknown sequence " c > "/dev/stderr"
                exit 1
            }
        } else {
            put(c)
        }
    }
}
END {
    if (line[last] == "")
        last-- # the cursor's
    show()
}
