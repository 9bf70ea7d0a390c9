// SPDX-License-Identifier: MIT
// Numbers of GGUF files, which are fp32, for people.
#ifndef EXCHANGE_SHORTEST_H
#define EXCHANGE_SHORTEST_H

// Of an fp32 number the double that prints shortest and is nearest to it: 1e-05, not
// 9.99999974737875e-06. Another number stays as it is.
double shortest(double x);

#endif
