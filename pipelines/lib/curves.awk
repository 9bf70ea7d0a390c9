# SPDX-License-Identifier: MIT
# Curves of runs as figures of HTML with inline SVG, and figures that tell of each curve.
#
#     awk -f curves.awk -v figures=FILE -v rows=10 TABLE...
#
# Each TABLE is a run: a line of names, the first `step`, then a line an update: numbers, or nothing.
# A figure per metric in the order of `order`, then of any other name; eval_NAME is drawn with NAME,
# dashed. To the file `figures` goes a line for each run and metric that has values: run (from 1),
# metric, values, first, last, least, at which step, greatest, at which step, mean over the last tenth of
# the updates, sum. To ROWS.N, N the run, go the names and about ten lines of its table.
#
# Of more than 600 updates a curve has 300 points, each the mean of equally many steps, and a band from
# the least to the greatest of their values; the page says so.

BEGIN {
    FS = OFS = "\t"
    points = 300
    order = "loss reward reward_std kl kl_sequence entropy mean_token_accuracy grad_norm learning_rate completion_length tokens_per_second"
    width = 480; height = 240; left = 56; right = 12; top = 10; bottom = 36
    # First look: how many updates each table has, and which steps.
    for (i = 1; i < ARGC; i++) {
        n = line = evals = 0
        while ((getline text < ARGV[i]) > 0) {
            if (!line++) {
                split(text, name, "\t")
                continue
            }
            split(text, cell, "\t")
            if (!n++)
                first_step[i] = cell[1]
            last_step[i] = cell[1]
        }
        close(ARGV[i])
        updates[i] = n
    }
    runs = ARGC - 1
}

FNR == 1 {
    run++
    columns = NF
    for (i = 2; i <= NF; i++) {
        metric[i] = $i
        known[$i] = 1
        is_eval[i] = $i ~ /^eval_/
    }
    header[run] = $0
    thin = updates[run] > 2 * points
    span = last_step[run] - first_step[run] + 1
    if (span < 1)
        span = 1
    tail = updates[run] - int((updates[run] + 9) / 10)
    next
}

{
    bucket = thin ? int(($1 - first_step[run]) * points / span) : FNR - 2
    # Steps that are out of order.
    if (thin && (bucket < 0 || bucket >= points))
        bucket = bucket < 0 ? 0 : points - 1
    if (bucket > most[run])
        most[run] = bucket
    for (i = 2; i <= columns; i++) {
        if ($i == "")
            continue
        x = $i + 0
        m = run SUBSEP metric[i]
        if (!(m in count)) {
            count[m] = 0
            first[m] = least[m] = greatest[m] = $i
            least_at[m] = greatest_at[m] = $1
        }
        count[m]++
        sum[m] += x
        last[m] = $i
        if (x < least[m] + 0) { least[m] = $i; least_at[m] = $1 }
        if (x > greatest[m] + 0) { greatest[m] = $i; greatest_at[m] = $1 }
        if (FNR - 1 > tail) { tail_sum[m] += x; tail_count[m]++ }
        b = m SUBSEP bucket
        if (!(b in in_bucket) || x < low[b])
            low[b] = x
        if (!(b in in_bucket) || x > high[b])
            high[b] = x
        in_bucket[b]++
        bucket_sum[b] += x
        bucket_step[b] += $1
    }
}

# ---- drawing

function escape(s) {
    gsub(/&/, "\\&amp;", s)
    gsub(/</, "\\&lt;", s)
    gsub(/>/, "\\&gt;", s)
    gsub(/"/, "\\&quot;", s)
    return s
}

function floor(x) { return x < int(x) ? int(x) - 1 : int(x) }
function power(e) { return exp(e * log(10)) }

# The distance of about `n` ticks over `range`: 1, 2 or 5 times a power of ten.
function nice(range, n,    e, f) {
    e = floor(log(range / n) / log(10) + 1e-9)
    f = range / n / power(e)
    return (f <= 1.0001 ? 1 : f <= 2.0001 ? 2 : f <= 5.0001 ? 5 : 10) * power(e)
}

# The number of a tick, as short as its distance to the next one allows.
function label(x, distance, largest,    digits, unit, suffix, e) {
    if (x < distance / 1e6 && x > -distance / 1e6)
        return "0"
    unit = 1; suffix = ""
    if (largest >= 1e6) { unit = 1e6; suffix = "M" }
    else if (largest >= 1e4) { unit = 1e3; suffix = "k" }
    else if (largest < 1e-2) {
        e = floor(log(largest) / log(10) + 1e-9)
        unit = power(e); suffix = "e" e
    }
    if (largest >= 1e10)
        return sprintf("%.3g", x)
    digits = -floor(log(distance / unit) / log(10) + 1e-6)
    return sprintf("%.*f%s", digits > 0 ? digits : 0, x / unit, suffix)
}

function sx(step) { return left + (step - x0) / (x1 - x0) * (width - left - right) }
function sy(value) { return top + (y1 - value) / (y1 - y0) * (height - top - bottom) }

function look(r, name,    m) {
    m = r SUBSEP name
    if (!(m in count))
        return
    if (!seen || least[m] + 0 < y0) y0 = least[m] + 0
    if (!seen || greatest[m] + 0 > y1) y1 = greatest[m] + 0
    if (!seen || first_step[r] < x0) x0 = first_step[r] + 0
    if (!seen || last_step[r] > x1) x1 = last_step[r] + 0
    seen = 1
}

function x_tick(step, distance,    x) {
    x = sx(step)
    printf "<path class=\"axis\" d=\"M%.1f %dv4\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"%s\">%s</text>\n", x, height - bottom, x, height - bottom + 17, (x > width - right - 14 ? "end" : "middle"), label(step, distance, x1)
}

function y_tick(value, distance,    y) {
    y = sy(value)
    printf "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", left, y, width - right, left - 6, y + 4, label(value, distance, y1 > -y0 ? y1 : -y0)
}

# Ticks are few, whatever the numbers are.
function axes(    distance, from, i) {
    distance = nice(y1 - y0, 4)
    from = floor(y0 / distance)
    for (i = 0; i < 12; i++)
        if ((from + i) * distance >= y0 - distance / 1e6 && (from + i) * distance <= y1 + distance / 1e6)
            y_tick((from + i) * distance, distance)
    distance = nice(x1 - x0, 5)
    if (distance < 1)
        distance = 1
    from = floor(x0 / distance)
    for (i = 0; i < 12; i++)
        if ((from + i) * distance >= x0 - distance / 1e6 && (from + i) * distance <= x1 + distance / 1e6)
            x_tick((from + i) * distance, distance)
    printf "<path class=\"axis\" d=\"M%d %dH%d\"/><text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">update</text>\n", left, height - bottom, width - right, (left + width - right) / 2, height - 4
}

# The curve of one run; `dashed` with its points.
function curve(r, name, class, dashed,    m, b, i, n, line, up, down, x, y, every, marks) {
    m = r SUBSEP name
    if (!(m in count))
        return
    n = 0; line = up = down = marks = ""
    every = int(count[m] * runs / 120) + 1
    if (every > points / 20 && updates[r] > 2 * points)
        every = int(points * runs / 120) + 1
    for (b = 0; b <= most[r]; b++) {
        i = m SUBSEP b
        if (!((i) in in_bucket))
            continue
        x = sx(bucket_step[i] / in_bucket[i]); y = sy(bucket_sum[i] / in_bucket[i])
        line = line sprintf("%s%.1f %.1f", n ? " " : "M", x, y)
        up = up sprintf("%s%.1f %.1f", n ? " " : "M", x, sy(high[i]))
        down = sprintf(" %.1f %.1f", x, sy(low[i])) down
        if (dashed || count[m] == 1)
            marks = marks sprintf("<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\"/>", class, x, y)
        if (n % every == 0 || count[m] == 1)
            marks = marks sprintf("<circle class=\"tip\" cx=\"%.1f\" cy=\"%.1f\" r=\"5\"><title>%s %.6g, update %d</title></circle>", x, y, escape(name), bucket_sum[i] / in_bucket[i], bucket_step[i] / in_bucket[i])
        n++
    }
    if (updates[r] > 2 * points && n > 1)
        printf "<path class=\"band %s\" d=\"%s%sz\"/>\n", class, up, down
    if (n > 1)
        printf "<path class=\"line %s%s\" d=\"%s\"/>\n", class, dashed ? " dashed" : "", line
    print marks
}

function figure(name,    r, beside, margin) {
    beside = "eval_" name
    seen = 0
    for (r = 1; r <= runs; r++) {
        look(r, name)
        look(r, beside)
    }
    if (!seen)
        return
    done[name] = done[beside] = 1
    if (y0 == y1) {
        constants = constants sprintf("%s<code>%s</code> %s", constants == "" ? "" : ", ", escape(name), sprintf("%.6g", y0))
        return
    }
    # Room for the ends of a curve, not below 0 for what never is.
    margin = (y1 - y0) * 0.04
    y1 += margin
    y0 -= y0 >= 0 && y0 < margin ? y0 : margin
    if (x0 == x1) { x0 -= 0.5; x1 += 0.5 }
    print "<figure><figcaption>" escape(name) ((beside in known) && (name in known) ? " <span class=\"key\">dashed: eval</span>" : "") "</figcaption>"
    printf "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s by update\">\n", width, height, escape(name)
    axes()
    for (r = 1; r <= runs; r++)
        curve(r, name, "c" (r - 1) % 10, 0)
    for (r = 1; r <= runs; r++)
        curve(r, beside, runs == 1 ? "c1" : "c" (r - 1) % 10, 1)
    print "</svg></figure>"
}

# The names and about ten lines, of those that have an evaluation if there are some.
function some_rows(r,    n, kept, text, cell, i, wanted, evaluated, candidates, at, out, last_text) {
    out = rows "." r
    print header[r] > out
    n = split(header[r], cell, "\t")
    delete column
    for (i = 2; i <= n; i++)
        column[i] = cell[i] ~ /^eval_/
    candidates = 0
    (getline text < ARGV[r])
    while ((getline text < ARGV[r]) > 0) {
        split(text, cell, "\t")
        for (i = 2; i <= n; i++)
            if (column[i] && cell[i] != "") { candidates++; break }
    }
    close(ARGV[r])
    evaluated = candidates >= 4
    if (!evaluated)
        candidates = updates[r]
    at = kept = 0
    (getline text < ARGV[r])
    for (i = 1; (getline text < ARGV[r]) > 0; i++) {
        if (evaluated) {
            split(text, cell, "\t")
            wanted = 0
            for (n = 2; n in column; n++)
                if (column[n] && cell[n] != "") wanted = 1
        } else
            wanted = 1
        # Evenly, the last of them included.
        if (wanted && int(++at * 10 / candidates) > kept || i == 1 || i == updates[r]) {
            if (wanted)
                kept = int(at * 10 / candidates)
            print text > out
        }
    }
    close(ARGV[r])
    close(out)
}

END {
    n = split(order, name, " ")
    for (i = 1; i <= n; i++)
        if (name[i] in known || ("eval_" name[i]) in known)
            figure(name[i])
    skip["epoch"] = skip["num_tokens"] = skip["step_time"] = skip["generation"] = 1
    # Others by their order in the tables.
    for (r = 1; r <= runs; r++) {
        n = split(header[r], name, "\t")
        for (i = 2; i <= n; i++)
            if (!(name[i] in done) && !(name[i] in skip) && name[i] !~ /^eval_/)
                figure(name[i])
        for (i = 2; i <= n; i++)
            if (!(name[i] in done) && !(name[i] in skip))
                figure(name[i])
    }
    if (constants != "")
        print "<p class=\"note\">The same in all updates: " constants ".</p>"
    for (r = 1; r <= runs; r++) {
        if (updates[r] > 2 * points)
            long = 1
        n = split(header[r], name, "\t")
        for (i = 2; i <= n; i++) {
            m = r SUBSEP name[i]
            if (m in count)
                print r, name[i], count[m], first[m], last[m], least[m], least_at[m], greatest[m], greatest_at[m], (m in tail_count) ? sprintf("%.9g", tail_sum[m] / tail_count[m]) : "", sprintf("%.12g", sum[m]) > figures
        }
        some_rows(r)
    }
    if (long)
        print "<p class=\"note\">Of runs with more than " 2 * points " updates a curve has " points " points: the mean of each " points "th part of the run, in a band from the least to the greatest value there.</p>"
}
