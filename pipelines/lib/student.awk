# SPDX-License-Identifier: MIT
# Intervals of a mean by Student's t, for `awk -f student.awk -f ...`.
BEGIN {
    # 0.975 quantiles with 1, 2, ... degrees of freedom.
    split("12.706 4.303 3.182 2.776 2.571 2.447 2.365 2.306 2.262 2.228 2.201 2.179 2.160 2.145 " \
        "2.131 2.120 2.110 2.101 2.093 2.086 2.080 2.074 2.069 2.064 2.060 2.056 2.052 2.048 " \
        "2.045 2.042", student_t, " ")
}
# Half the 95 % interval of the mean of n > 1 values; `squares`: sum of their squared distances from it.
function student_half(squares, n) {
    return (n <= 31 ? student_t[n - 1] : 1.96) * sqrt(squares / (n - 1) / n)
}
