"""Add the length to an mp3 without it; libsndfile would guess the length, and truncate longer files."""

import re
from collections.abc import Iterator
from mmap import ACCESS_READ, mmap
from os import PathLike

# Layer III, by index in the frame header [1]_.
#
# .. [1] ISO/IEC 11172-3:1993 and 13818-3:1998.
_KBIT = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG 1
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG 2 and 2.5
}
_HERTZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_SYNC = re.compile(rb"\xff[\xe2-\xff][^\xff]")


def with_length(source: str | PathLike[str] | bytes) -> bytes | None:
    """Return the content of a file with an added Info frame; None if it has one already, or has no frame."""
    if isinstance(source, bytes):
        return _tagged(source)
    with open(source, "rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as content:
        return _tagged(content)


def _tagged(content: mmap | bytes) -> bytes | None:
    frames = _frames(content, _skip_id3(content))
    first = next(frames, None)
    if first is None or any(tag in content[first : first + 200] for tag in (b"Xing", b"Info", b"VBRI")):
        return None
    n_frames = 1 + sum(1 for _ in frames)
    version, mono = (content[first + 1] >> 3) & 3, content[first + 3] >> 6 == 3
    side = {(True, True): 17, (True, False): 32, (False, True): 9, (False, False): 17}[version == 3, mono]
    # A frame large enough for the tag, without a checksum after the header.
    header = bytes([255, content[first + 1] | 1, 0x90 | (content[first + 2] & 0x0C), content[first + 3]])
    tag = header + bytes(side) + b"Info" + (1).to_bytes(4, "big") + n_frames.to_bytes(4, "big")
    return content[:first] + tag.ljust(_size(header), b"\0") + content[first:]


def _skip_id3(content: mmap | bytes) -> int:
    """Return the end of the ID3 tags; a size has seven bits per byte."""
    begin = 0
    while content[begin : begin + 3] == b"ID3":
        size = [byte & 0x7F for byte in content[begin + 6 : begin + 10]]
        begin += 10 + sum(bits << 7 * i for i, bits in enumerate(reversed(size)))
    return begin


def _frames(content: mmap | bytes, at: int) -> Iterator[int]:
    """Yield the start of each complete frame; other bytes are skipped."""
    while (found := _SYNC.search(content, at)) is not None:
        at = found.start()
        size = _size(content[at : at + 4])
        if size == 0 or at + size > len(content):
            at += 1
            continue
        yield at
        at += size


def _size(header: bytes) -> int:
    """Return the size of a Layer III frame in bytes, 0 if the header is invalid."""
    version, layer = (header[1] >> 3) & 3, (header[1] >> 1) & 3
    rate, bits = (header[2] >> 2) & 3, header[2] >> 4
    if len(header) < 4 or version == 1 or layer != 1 or rate == 3 or bits in (0, 15):
        return 0
    padding, unit = (header[2] >> 1) & 1, 144_000 if version == 3 else 72_000
    return unit * _KBIT[version == 3][bits] // _HERTZ[version][rate] + padding
