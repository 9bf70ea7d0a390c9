# SPDX-License-Identifier: MIT
# The tables of `table`, from lines task, arm, seed, measure, value (tabs; `-` for no value), with
# -f student.awk before it. `table` checks the variables and sets all of them.
function fail(reason) {
    gsub(/[[:cntrl:]]/, "?", reason)
    printf "%s: %s\n", me, reason | "cat >&2"
    close("cat >&2")
    exit failed = 1
}
function add_arm(task, a) {
    if (!(task in arms))
        tasks[++n_tasks] = task
    if (!((task, a) in number)) {
        number[task, a] = ++arms[task]
        arm[task, arms[task]] = a
    }
}
function add_seed(task, s) {
    if (!((task, s) in seed_there))
        seed[task, ++n_seeds[task]] = s
    seed_there[task, s]
}
BEGIN {
    bases = split(against, base, ",")
    n_only = split(only, list, ",")
    for (i = 1; i <= n_only; i++)
        wanted[list[i]]
    title["sft"] = "SFT"
    title["continued"] = "SFT continued"
    title["dpr-half"] = "DPR, reference half"
    while (beside != "" && (getline line < beside) > 0) {
        if (line ~ /^#/)
            continue
        if (split(line, f, "\t") != 5)
            fail(beside ": not arm, measure, what, mean, half")
        what[f[1], f[2]] = f[3]
        earlier[f[1], f[2]] = f[4]
        earlier_half[f[1], f[2]] = f[5]
    }
    while (asked != "" && (getline line < asked) > 0) {
        split(line, f, "\t")
        add_arm(f[1], f[2])
        add_seed(f[1], f[3])
        title[f[2]] = f[4]
        runs[++n_runs] = f[1] "\t" f[2] "\t" f[3]
    }
    while (cost != "" && (getline line < cost) > 0) {
        if (split(line, f, "\t") != 9)
            fail(cost ": not task, arm, seed and six figures")
        for (k = 1; k <= 6; k++)
            if (f[3 + k] != "-") {
                spent[f[1], f[2], k] += f[3 + k]
                spenders[f[1], f[2], k]++
            }
    }
}
NF != 5 { fail("line " NR ": not task, arm, seed, measure, value") }
($1, $2, $3, $4) in seen { fail("line " NR ": seed " $3 " of " $2 " has " $4 " twice") }
{
    seen[$1, $2, $3, $4]
    done[$1 "\t" $2 "\t" $3]
    there[$1, $2]
    add_arm($1, $2)
    add_seed($1, $3)
    if (!(($1, $4) in measured) && (!n_only || $4 in wanted)) {
        measured[$1, $4]
        measure[$1, ++n_measures[$1]] = $4
    }
    if ($5 != "-")
        x[$1, $2, $3, $4] = $5
}
# Sets mean, half, n and better (differences above 0): of x, or of differences to `minus`.
function measure_of(a, m, minus,    i, s, v, sum, squares) {
    n = sum = squares = better = 0
    for (i = 1; i <= n_seeds[task]; i++) {
        s = seed[task, i]
        if (!((task, a, s, m) in x) || (minus != "" && !((task, minus, s, m) in x)))
            continue
        v = x[task, a, s, m] - (minus == "" ? 0 : x[task, minus, s, m])
        n++
        lowest = n == 1 || v < lowest ? v : lowest
        highest = n == 1 || v > highest ? v : highest
        sum += v
        better += v > 0
        worse += v < 0
        values[n] = v
    }
    mean = n ? sum / n : 0
    for (i = 1; i <= n; i++)
        squares += (values[i] - mean) ^ 2
    half = n > 1 ? student_half(squares, n) : -1
}
# With two seeds Student's t is 12.7, and what it makes of scores between 0 and 1 says nothing.
function few() { return spread == "range" || n_seeds[task] == 2 }
function short(v, minus) {
    v = sprintf(minus == "" ? "%.2f" : "%+.2f", v)
    return v == "-0.00" ? "+0.00" : v
}
function cell(a, m, minus) {
    measure_of(a, m, minus)
    if (!n || a == minus)
        return "-"
    if (few() && claims == "")
        return short(mean, minus) (n < 2 ? "" : " " short(lowest, minus) ".." short(highest, minus))
    return sprintf(minus == "" ? "%.3f%s" : "%+.3f%s", mean, half < 0 ? "" : sprintf(" ± %.3f", half))
}
function named(a) { return a in title ? title[a] : a }
function lower(m) { return m ~ /↓$/ }
# An earlier figure, and where ours lies to its interval.
function next_to(a, m,    difference, text) {
    if (!((a, m) in earlier))
        return "-"
    difference = what[a, m] == "difference"
    text = sprintf(difference ? "- SFT %+.3f" : "%.3f", earlier[a, m])
    if (earlier_half[a, m] == "-")
        return text
    measure_of(a, m, difference ? base[1] : "")
    if (!n)
        return text
    return text sprintf(" ± %.3f  ", earlier_half[a, m]) \
        (mean > earlier[a, m] + earlier_half[a, m] ? "above" : \
            mean < earlier[a, m] - earlier_half[a, m] ? "below" : "inside")
}
function width(text) { # in characters
    gsub(/[\200-\277]/, "", text)
    return length(text)
}
function pad(text, to) { return text sprintf("%" (to > width(text) ? to - width(text) : 1) "s", "") }
function print_text(    i, b, k, a, m, line) {
    if (n_tasks > 1)
        printf "%s%s: ", (at > 1 ? "\n" : ""), task
    printf "%d seed%s; %s; differences paired by seed\n", n_seeds[task], n_seeds[task] == 1 ? "" : "s", \
        n_seeds[task] == 1 ? "too few for an interval" : \
        n_seeds[task] == 2 ? "too few for an interval: mean lowest..highest" : \
        few() ? "mean lowest..highest" : "mean ± half the 95 % interval"
    gap = few() ? 19 : 17
    for (k = 1; k <= n_measures[task]; k++) {
        m = measure[task, k]
        line = pad("\n" (m == "sampled" ? "sampled at temperature 1" : m), 28) pad("score", few() ? 16 : 17)
        for (b = 1; b <= bases; b++)
            line = line pad("- " named(base[b]), gap)
        if (beside != "")
            line = line "before"
        sub(/ +$/, "", line)
        print line
        for (i = 1; i <= arms[task]; i++) {
            a = arm[task, i]
            if (k > 1 && !((task, a) in there))
                continue
            line = pad("  " named(a), 27) pad((task, a) in there ? cell(a, m, "") : "missing", few() ? 16 : 17)
            for (b = 1; b <= bases; b++)
                line = line pad(cell(a, m, base[b]), gap)
            if (beside != "")
                line = line next_to(a, m)
            measure_of(a, m, "")
            if (n && n < n_seeds[task])
                line = line "(" n " seed" (n == 1 ? "" : "s") ")"
            sub(/ +$/, "", line)
            print line
        }
    }
    print_cost()
    print_names()
    print_best()
}
function print_cost(    i, k, line) {
    if (cost == "")
        return
    printf "\n%s%s%s%s%s%s%s\n", pad("cost, mean per seed", 27), pad("tokens: trained", 16), \
        pad("sampled", 9), pad("scored", 9), pad("updates", 8), pad("CPU s", 7), "MiB"
    for (i = 1; i <= arms[task]; i++) {
        a = arm[task, i]
        line = pad("  " named(a), 27)
        split("16 9 9 8 7 7", wide, " ")
        for (k = 1; k <= 6; k++)
            line = line pad(spending(a, k), wide[k])
        sub(/ +$/, "", line)
        print line
    }
}
# What --arms calls them.
function print_names(    i, a, line, word) {
    if (asked == "")
        return
    line = "\nnames:"
    for (i = 1; i <= arms[task]; i++) {
        a = arm[task, i]
        word = " " a " (" named(a) ")" (i < arms[task] ? "," : "")
        if (width(line word) > 80) {
            print line
            line = " "
        }
        line = line word
    }
    print line
}
# The arm that came out best by the first measure, and by how much: in no stronger words than the
# interval of its difference to the first arm of --against allows.
function print_best(    i, a, m, sign, best, top, told, same, verdict, asked_arms, at_first) {
    m = measure[task, 1]
    sign = lower(m) ? -1 : 1
    same = 1
    for (i = 1; i <= arms[task]; i++) {
        a = arm[task, i]
        measure_of(a, m, "")
        if (!n)
            continue
        if (asked_arms++ == 0 || sign * mean > top) {
            best = a
            top = sign * mean
        }
        same = same && lowest == highest && mean == (asked_arms == 1 ? mean : at_first)
        if (asked_arms == 1)
            at_first = mean
    }
    if (asked_arms < 2)
        return
    printf "\n%s", n_tasks > 1 ? task ": " : ""
    if (same) {
        printf "every arm scores the same, %.3f: see compare --check, or train longer\n", top * sign
        return
    }
    measure_of(best, m, "")
    told = sprintf("highest: %s%s, %s %.3f", named(best), named(best) == best ? "" : " (" best ")", m, mean)
    if (lower(m))
        sub(/^highest/, "lowest", told)
    if (best != base[1]) {
        measure_of(best, m, base[1])
        verdict = n < 3 ? "not told apart: " n " seed" (n == 1 ? " is" : "s are") " too few" : verdict_of(sign)
        if (n)
            told = told sprintf(", %+.3f%s over %s: %s", mean, n < 3 || few() ? "" : sprintf(" ± %.3f", half), \
                named(base[1]), verdict)
        if (verdict == "better")
            told = told "\n  (not corrected for being the best of " asked_arms ")"
    }
    print told
}
function verdict_of(sign) {
    return sign * mean - half > 0 ? "better" : sign * mean + half < 0 ? "worse" : "not told apart"
}
function spending(a, k) {
    if (!spenders[task, a, k])
        return "-"
    return sprintf(k < 5 ? "%.0f" : "%.1f", spent[task, a, k] / spenders[task, a, k])
}
function print_markdown(    i, b, k, a, m, line) {
    printf "%s### %s\n\n%d seed%s; mean %s, paired by seed; in brackets: in how many seeds it is better.\n", \
        (at > 1 ? "\n" : ""), task, n_seeds[task], n_seeds[task] == 1 ? "" : "s",
        few() ? "lowest..highest seed" : "± half of the 95 % interval"
    for (k = 1; k <= n_measures[task]; k++) {
        m = measure[task, k]
        line = "\n| " m " | score |"
        for (b = 1; b <= bases; b++)
            line = line " − " named(base[b]) " |"
        print line
        line = "|---|---|"
        for (b = 1; b <= bases; b++)
            line = line "---|"
        print line
        for (i = 1; i <= arms[task]; i++) {
            a = arm[task, i]
            if (k > 1 && !((task, a) in there))
                continue
            measure_of(a, m, "")
            line = "| " named(a) (n && n < n_seeds[task] ? " (" n " of " n_seeds[task] " seeds)" : "") " | "
            line = line ((task, a) in there ? cell(a, m, "") : "missing") " |"
            for (b = 1; b <= bases; b++) {
                worse = 0
                line = line " " cell(a, m, base[b])
                line = line (n && a != base[b] ? " (" (lower(m) ? worse : better) "/" n ")" : "") " |"
            }
            print line
        }
    }
    if (cost == "")
        return
    print "\n| cost, mean per seed | tokens trained | sampled | scored | updates | CPU s | MiB |\n|---|---|---|---|---|---|---|"
    for (i = 1; i <= arms[task]; i++) {
        a = arm[task, i]
        line = "| " named(a) " |"
        for (k = 1; k <= 6; k++)
            line = line " " spending(a, k) " |"
        print line
    }
}
function print_tsv(    i, b, k, a, m) {
    for (i = 1; i <= arms[task]; i++)
        for (k = 1; k <= n_measures[task]; k++)
            for (b = 0; b <= bases; b++) {
                a = arm[task, i]
                m = measure[task, k]
                measure_of(a, m, b ? base[b] : "")
                if (n && a != base[b])
                    printf "%s\t%s\t%s\t%s\t%d\t%.6g\t%s\t%d\n", task, a, m, b ? base[b] : "-", n, mean, \
                        half < 0 ? "-" : sprintf("%.6g", half), better
            }
}
function object(a, m, minus) {
    measure_of(a, m, minus)
    if (!n || a == minus)
        return "null"
    return sprintf("{\"n\":%d,\"mean\":%.6g,\"half\":%s,\"above_0\":%d}", n, mean,
        half < 0 ? "null" : sprintf("%.6g", half), better)
}
function print_json(    i, b, k, a, m, names) {
    split("trained sampled scored updates seconds memory", names, " ")
    for (i = 1; i <= arms[task]; i++) {
        a = arm[task, i]
        printf "{\"task\":\"%s\",\"arm\":\"%s\"", task, a
        for (k = 1; k <= n_measures[task]; k++) {
            m = measure[task, k]
            printf ",\"%s\":%s", m, object(a, m, "")
            for (b = 1; b <= bases; b++)
                printf ",\"%s - %s\":%s", m, base[b], object(a, m, base[b])
        }
        if (cost != "") {
            printf ",\"cost\":{"
            for (k = 1; k <= 6; k++)
                printf "%s\"%s\":%s", (k > 1 ? "," : ""), names[k], spenders[task, a, k] ? spending(a, k) : "null"
            printf "}"
        }
        print "}"
    }
}
# Each claim on each task by the score, sampled and greedy, or by --measures. What the verdict says is
# that of one interval, however many there are.
function print_claims(    line, f, fields, k, m, sign, verdict, said) {
    if (format == "text")
        print "differences paired by seed, ± half the 95 % interval; not corrected for how many there are\n"
    if (format == "markdown")
        print "| claim | task | measure | arms | difference | |\n|---|---|---|---|---|---|"
    while ((getline line < claims) > 0) {
        if (line ~ /^#/)
            continue
        fields = split(line, f, "\t")
        if (fields != 3 && fields != 4)
            fail(claims ": not claim, arm, arm and perhaps a reservation")
        for (at = 1; at <= n_tasks; at++) {
            task = tasks[at]
            for (k = 1; k <= n_measures[task]; k++) {
                m = measure[task, k]
                if (!n_only && m != "sampled" && m != "greedy")
                    continue
                measure_of(f[2], m, f[3])
                if (!n)
                    continue
                sign = lower(m) ? -1 : 1
                verdict = half < 0 ? "one seed" : verdict_of(sign)
                if (format != "tsv")
                    verdict = verdict (half < 0 ? "" : " (" n " seeds)") (f[4] == "" ? "" : ", " f[4])
                if (format == "tsv")
                    printf "%s\t%s\t%s\t%s\t%s\t%d\t%.6g\t%s\t%s\n", f[1], task, m, f[2], f[3], n, mean, \
                        half < 0 ? "-" : sprintf("%.6g", half), verdict
                else if (format == "markdown")
                    printf "| %s | %s | %s | %s − %s | %s | %s |\n", f[1], task, m, f[2], f[3], \
                        cell(f[2], m, f[3]), verdict
                else {
                    if (f[1] != said)
                        print (said == "" ? "" : "\n") f[1]
                    said = f[1]
                    printf "%s%s%s%s%s\n", pad("  " task, 18), pad(m, 10), \
                        pad(f[2] " - " f[3], 36), pad(cell(f[2], m, f[3]), 17), verdict
                }
            }
        }
    }
}
END {
    if (failed)
        exit 1
    if (missing != "") {
        for (i = 1; i <= n_runs; i++)
            if (!(runs[i] in done))
                print runs[i]
        exit
    }
    if (!NR && !n_runs)
        fail("no results")
    if (claims != "") {
        print_claims()
        exit
    }
    for (at = 1; at <= n_tasks; at++) {
        task = tasks[at]
        if (format == "json")
            print_json()
        else if (format == "tsv")
            print_tsv()
        else if (format == "markdown")
            print_markdown()
        else
            print_text()
    }
}
