"""What the answers of readers.py are made of."""

import random

MIB = 1 << 20
# Each MiB of an answer is this one.
BLOCK = random.Random(1).getrandbits(8 * MIB).to_bytes(MIB, 'little')
