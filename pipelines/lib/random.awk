# SPDX-License-Identifier: MIT
# Random numbers of the generators, for `awk -f`.
# Two multiplicative generators together (L'Ecuyer, CACM 1988). Every product is below 2^53, so that
# each awk gives the same numbers. Another `stream` of a seed is other numbers.
function random_seed(seed, stream,    i) {
    random_x = 1 + (seed * 1000003 + 12345) % 2147483562
    random_y = 1 + (seed * 7654321 + 54321 + stream) % 2147483398
    for (i = 0; i < 20; i++)
        random_draw()
}

function random_draw() {
    random_x = 40014 * random_x % 2147483563
    random_y = 40692 * random_y % 2147483399
    return (random_x - random_y + 2147483562) % 2147483562
}

# In [0, 1), a whole number in 0 .. k - 1, and the normal distribution (Box-Muller).
function random_uniform() { return random_draw() / 2147483562 }
function random_below(k) { return int(random_uniform() * k) }
function random_normal(    u) {
    u = 1 - random_uniform()
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * random_uniform())
}
