# SPDX-License-Identifier: GPL-2.0
"""Tables of firmware that describe memory devices, as machines with memory boards have them."""

import struct


def package(body):
    """With its length in front, which counts itself."""
    n = len(body) + 1
    if n < 1 << 6:
        return bytes([n]) + body
    n += 1
    if n < 1 << 12:
        return bytes([0x40 | n & 15, n >> 4]) + body
    n += 1
    return bytes([0x80 | n & 15, n >> 4 & 255, n >> 12]) + body


def name(segment, data):
    return b"\x08" + segment + data


def method(segment, body):
    return b"\x14" + package(segment + b"\x00" + body)


def memory_device(number, base, size, node):
    """Device (GMnn): PNP0C80 with one range; _STA says present, also after an _EJ0."""
    crs = struct.pack("<BHBBBQQQQQ", 0x8a, 0x2b, 0, 0x0c, 0x03, 0, base, base + size - 1, 0, size)
    crs += b"\x79\x00"
    return b"\x5b\x82" + package(
        b"GM%02d" % number +
        name(b"_HID", b"\x0c\x41\xd0\x0c\x80") +
        name(b"_UID", bytes([0x0a, 0x40 + number])) +
        name(b"_PXM", bytes([0x0a, node])) +
        name(b"_CRS", b"\x11" + package(bytes([0x0a, len(crs)]) + crs)) +
        method(b"_STA", b"\xa4\x0a\x0f") +
        method(b"_EJ0", b""))


def table(devices):
    """The SSDT with memory devices (base, size, node), for QEMU's -acpitable file=."""
    aml = b"\x10" + package(b"\\_SB_" + b"".join(
        memory_device(number, *device) for number, device in enumerate(devices)))
    ssdt = bytearray(struct.pack("<4sIBB6s8sI4sI", b"SSDT", 36 + len(aml), 2, 0, b"GMFS  ",
                                 b"MEMDEV  ", 1, b"GMFS", 1) + aml)
    ssdt[9] = -sum(ssdt) & 0xff
    return bytes(ssdt)
