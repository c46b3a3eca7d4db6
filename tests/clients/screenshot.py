"""Screenshots of a page in a headless Chromium, and their pixels, without any package."""

import base64
import struct
import zlib


def set_screen(browser, width, scheme):
    """Shows the current page on a screen of this width with this color scheme."""
    session = browser.session
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.call("Emulation.setEmulatedMedia", session, features=features)
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.call("Emulation.setDeviceMetricsOverride", session, **screen)


def take(browser):
    """Returns the whole current page as an `Image`."""
    options = {"format": "png", "captureBeyondViewport": True, "optimizeForSpeed": True}
    taken = browser.call("Page.captureScreenshot", browser.session, **options)
    return Image(base64.b64decode(taken["data"]))


class Image:
    """A decoded PNG of 8-bit colors, as Chromium makes them."""

    def __init__(self, png):
        self.png = png
        if png[:8] != b"\x89PNG\r\n\x1a\n":
            raise ValueError("not a PNG")
        position, compressed = 8, b""
        while position < len(png):
            length, kind = struct.unpack(">I4s", png[position : position + 8])
            content = png[position + 8 : position + 8 + length]
            if kind == b"IHDR":
                self.width, self.height, depth, color = struct.unpack(">IIBB", content[:10])
                if depth != 8 or color not in (2, 6) or content[12] != 0:
                    raise ValueError(f"a PNG with depth {depth} and color type {color}")
                self.channels = 3 if color == 2 else 4
            elif kind == b"IDAT":
                compressed += content
            position += length + 12
        self.rows = self.unfiltered(zlib.decompress(compressed))

    def unfiltered(self, filtered):
        """Returns the bytes of each row. A row begins with the number of the filter that was applied to it."""
        rows, size, step = [], self.width * self.channels, self.channels
        above = bytes(size)
        for start in range(0, len(filtered), size + 1):
            kind = filtered[start]
            row = bytearray(filtered[start + 1 : start + 1 + size])
            if kind == 2:
                # The usual one, without the loop for the others.
                row = bytes((one + other) & 0xFF for one, other in zip(row, above))
            elif kind != 0:
                for at in range(size):
                    left = row[at - step] if at >= step else 0
                    corner = above[at - step] if at >= step else 0
                    row[at] = (row[at] + predicted(kind, left, above[at], corner)) & 0xFF
            above = bytes(row)
            rows.append(above)
        return rows

    def color(self, x, y):
        """Returns the color of one pixel."""
        at = x * self.channels
        return tuple(self.rows[y][at : at + 3])

    def colors(self, left, top, width, height):
        """Returns the number of pixels of each color in a rectangle."""
        counts = {}
        for y in range(max(top, 0), min(top + height, self.height)):
            for x in range(max(left, 0), min(left + width, self.width)):
                color = self.color(x, y)
                counts[color] = counts.get(color, 0) + 1
        return counts


def predicted(kind, left, above, corner):
    """Returns what the filter of this number adds to a byte: the one at the left, a mean, or the nearest to an estimate."""
    if kind == 1:
        return left
    if kind == 3:
        return (left + above) // 2
    estimate = left + above - corner
    distances = [abs(estimate - left), abs(estimate - above), abs(estimate - corner)]
    return (left, above, corner)[distances.index(min(distances))]
