# SPDX-License-Identifier: MIT
# From lines `seed, label, value, value...` (tabs; `-` for no value) to a line a label, in their
# order: label, then of each value the mean over the seeds and half its 95 % interval (Student's t),
# `-` where there is none. With -f student.awk before it.
BEGIN {
    FS = OFS = "\t"
}
{
    if (!($2 in values)) {
        values[$2] = NF - 2
        label[++labels] = $2
    }
    for (k = 3; k <= NF; k++)
        if ($k != "-") {
            i = ++n[$2, k]
            x[$2, k, i] = $k
            sum[$2, k] += $k
        }
}
function mean_and_half(of, k,    m, mean, squares, i) {
    m = n[of, k]
    if (!m)
        return "-\t-"
    mean = sum[of, k] / m
    for (i = 1; i <= m; i++)
        squares += (x[of, k, i] - mean) ^ 2
    if (m < 2)
        return mean "\t-"
    return mean "\t" student_half(squares, m)
}
END {
    for (l = 1; l <= labels; l++) {
        line = label[l]
        for (k = 3; k < 3 + values[label[l]]; k++)
            line = line OFS mean_and_half(label[l], k)
        print line
    }
}
