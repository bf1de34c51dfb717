"""numpy: products of matrices, random numbers, a growing result."""
import os

import numpy

scale = float(os.environ.get("SCALE", "1"))
generator = numpy.random.default_rng(7)
matrix = generator.random((300, 300))
print("START", flush=True)
total = 0.0
for step in range(int(60 * scale)):
    matrix = matrix @ matrix.T
    matrix /= numpy.abs(matrix).max()
    matrix += generator.random((300, 300)) * 0.01
    total += float(numpy.sort(matrix, axis=None)[step % 1000])
print(f"RESULT {total:.9e} {matrix.trace():.9e}")
