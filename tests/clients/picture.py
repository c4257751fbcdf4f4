"""A picture that is made and found again by its colour."""

import os
import struct
import subprocess
import tempfile
import zlib

COLOUR = (0, 205, 190)
"""Most of the picture; no client uses this colour for anything else."""

INK = (20, 40, 60)
SIZE = 96


def face(scale=1):
    """A face on a coloured ground, as PNG; so many times as large."""

    def dot(x, y):
        eye = min((x - 34) ** 2, (x - 62) ** 2) + (y - 38) ** 2 < 36
        mouth = 20**2 < (x - 48) ** 2 + (y - 50) ** 2 < 26**2 and y > 58
        return INK if eye or mouth else COLOUR

    side = SIZE * scale
    line = lambda y: b"".join(bytes(dot(x // scale, y)) for x in range(side))
    rows = b"".join((b"\0" + line(y)) * scale for y in range(SIZE))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def coloured(path):
    """How many dots of a picture have the colour, nearly."""
    colour = "#%02x%02x%02x" % COLOUR
    count = ["convert", path, "-alpha", "off", "-fuzz", "4%", "-fill", "black", "+opaque", colour, "-fuzz", "4%"]
    count += ["-fill", "white", "-opaque", colour, "-colorspace", "gray", "-format", "%[fx:mean*w*h]", "info:"]
    done = subprocess.run(count, capture_output=True, text=True, check=False)
    try:
        return round(float(done.stdout))
    except ValueError:
        return 0


def is_face(data):
    """Whether this is the picture, perhaps written anew and in another size."""
    with tempfile.NamedTemporaryFile(suffix=".img") as file:
        file.write(data)
        file.flush()
        size = subprocess.run(["identify", "-format", "%w %h", file.name], capture_output=True, text=True, check=False)
        if len(size.stdout.split()) != 2:
            return False
        width, height = map(int, size.stdout.split())
        return os.path.getsize(file.name) > 0 and coloured(file.name) > 0.7 * width * height
