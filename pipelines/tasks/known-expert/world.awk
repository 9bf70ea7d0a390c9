# SPDX-License-Identifier: MIT
# A world whose expert is known exactly, for `awk -f ../../lib/random.awk -f world.awk -f ...`.
#
# world_make fills, for mode m, symbols s (the one before) and n (the next), and position t from 0
# (0 first, `world_horizon` is the end):
#   world_R[m, s, n]      the true reward ~ N(0, 1)
#   world_V[m, t, s]      soft value: V_t(s) = log sum_n exp(R + V_t+1(n)), V at the horizon 0
#   world_P[m, t, s, n]   the expert, exp(R + V_t+1(n) - V_t(s))
#   world_J[m, t, s]      its mean return from there; world_best, the highest return
function world_make(seed, horizon, symbols, modes,    m, s, n, t, q, top, sum) {
    world_horizon = horizon
    world_symbols = symbols
    world_modes = modes
    random_seed(seed, 7)
    for (m = 0; m < modes; m++)
        for (s = 0; s < symbols; s++)
            for (n = 0; n < symbols; n++)
                world_R[m, s, n] = random_normal()
    for (m = 0; m < modes; m++)
        for (t = horizon; t >= 0; t--)
            for (s = 0; s < symbols; s++) {
                world_V[m, t, s] = world_J[m, t, s] = world_best[m, t, s] = 0
                if (t == horizon)
                    continue
                top = world_R[m, s, 0] + world_V[m, t + 1, 0]
                for (n = 0; n < symbols; n++) {
                    q[n] = world_R[m, s, n] + world_V[m, t + 1, n]
                    if (q[n] > top)
                        top = q[n]
                }
                sum = 0
                for (n = 0; n < symbols; n++)
                    sum += exp(q[n] - top)
                world_V[m, t, s] = top + log(sum)
                for (n = 0; n < symbols; n++) {
                    world_P[m, t, s, n] = exp(q[n] - world_V[m, t, s])
                    world_J[m, t, s] += world_P[m, t, s, n] * (world_R[m, s, n] + world_J[m, t + 1, n])
                    sum = world_R[m, s, n] + world_best[m, t + 1, n]
                    if (n == 0 || sum > world_best[m, t, s])
                        world_best[m, t, s] = sum
                }
            }
}

# The letters of symbols, and back: -1 for what is none.
function world_letter(s) { return substr("abcdefghijkl", s + 1, 1) }
function world_symbol(letter,    s) {
    s = letter == "" ? 0 : index(substr("abcdefghijkl", 1, world_symbols), letter)
    return s - 1
}
