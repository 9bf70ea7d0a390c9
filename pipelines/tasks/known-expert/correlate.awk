# SPDX-License-Identifier: MIT
# Two columns of numbers: their correlation after Pearson and after Spearman (ranks; ties share the
# mean of theirs), `-` where one does not vary.
{
    x[NR] = $1 + 0
    y[NR] = $2 + 0
}

# r[i] = rank of v[i]: heap sort of positions.
function rank(v, r, n,    order, i, j, k, start, last, child, keep) {
    for (i = 1; i <= n; i++)
        order[i] = i
    start = int(n / 2) + 1
    last = n
    while (last > 1) {
        if (start > 1)
            keep = order[--start]
        else {
            keep = order[last]
            order[last--] = order[1]
        }
        i = start
        while ((child = 2 * i) <= last) {
            if (child < last && v[order[child]] < v[order[child + 1]])
                child++
            if (v[keep] >= v[order[child]])
                break
            order[i] = order[child]
            i = child
        }
        order[i] = keep
    }
    for (i = 1; i <= n; i = j) {
        for (j = i; j <= n && v[order[j]] == v[order[i]]; j++)
            ;
        for (k = i; k < j; k++)
            r[order[k]] = (i + j - 1) / 2
    }
}

function pearson(a, b, n,    i, mean_a, mean_b, aa, bb, ab) {
    for (i = 1; i <= n; i++) {
        mean_a += a[i] / n
        mean_b += b[i] / n
    }
    for (i = 1; i <= n; i++) {
        aa += (a[i] - mean_a) ^ 2
        bb += (b[i] - mean_b) ^ 2
        ab += (a[i] - mean_a) * (b[i] - mean_b)
    }
    return aa > 0 && bb > 0 ? sprintf("%.6f", ab / sqrt(aa * bb)) : "-"
}

END {
    rank(x, rank_x, NR)
    rank(y, rank_y, NR)
    print pearson(x, y, NR) "\t" pearson(rank_x, rank_y, NR)
}
