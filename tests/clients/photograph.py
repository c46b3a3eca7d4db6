#!/usr/bin/env python3
"""Write pictures like those of a phone with 12 megapixels, which decoders find no shortcuts in.

    photograph.py FOLDER

Every pixel has the noise of a sensor in the dark. `photograph.jpg` lies on its side, as the EXIF metadata says, and has
about 5 MB; `photograph.png` is the same picture with all of its noise, of 28 MB.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 4032, 3024
ORIENTATION = 0x0112
NOISE = 10.0


def picture():
    random = np.random.default_rng(12)
    right = np.linspace(0, 9, WIDTH, dtype=np.float32)
    down = np.linspace(0, 5, HEIGHT, dtype=np.float32)[:, np.newaxis]
    light = 128 + 70 * np.sin(right + down * down)
    channels = [
        light * tint + NOISE * random.standard_normal((HEIGHT, WIDTH), dtype=np.float32)
        for tint in (1.0, 0.9, 0.7)
    ]
    return Image.fromarray(np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8))


def main(folder):
    image = picture()
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    image.save(Path(folder) / "photograph.jpg", quality=93, exif=exif)
    image.save(Path(folder) / "photograph.png", compress_level=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
