"""HPACK (RFC 7541): decodes what a server says, and encodes fields literally, so that any name and value can be sent,
also ones that no library would."""

# Code lengths of the symbols 0 to 255 and EOS (RFC 7541, appendix B), as length and how often in a row. The code is
# canonical, so that the lengths say it all.
_LENGTHS = """13 23 28*7 24 30 28*2 30 28*8 30 28*9 6 10*2 12 13 6 8 11 10*2 8 11 8 6*3 5*3 6*7 7 8 15 6 12 10 13 6 7*22 8
7 8 13 19 13 14 6 15 5 6 5 6 5 6*3 5 7*2 6*3 5 6 7 6 5*2 6 7*5 15 11 14 13 28 20 22 20*2 22*3 23 22 23*5 24 23 24*2 22 23
24 23*4 21 22 23 22 23*2 24 22 21 20 22*2 23*2 21 23 22*2 24 21 22 23*2 21*2 22 21 23 22 23*2 20 22*3 23 22*2 23 26*2 20
19 22 23 22 25 26*3 27*2 26 24 25 19 21 26 27*2 26 27 24 21*2 26*2 28 27*3 20 24 20 21 22 21*2 23 22*2 25*2 24*2 26 23 26
27 26*2 27*5 28 27*5 26 30"""

STATIC = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
    ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""),
    ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
    ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
    ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
    ("www-authenticate", ""),
]


def _codes():
    lengths = []
    for item in _LENGTHS.split():
        length, _, count = item.partition("*")
        lengths += [int(length)] * int(count or 1)
    codes, code, before = {}, 0, 0
    for symbol in sorted(range(257), key=lambda symbol: (lengths[symbol], symbol)):
        code <<= lengths[symbol] - before
        before = lengths[symbol]
        codes[(before, code)] = symbol
        code += 1
    return codes


_CODES = _codes()


def _unpack(data):
    out, code, length = bytearray(), 0, 0
    for byte in data:
        for bit in range(7, -1, -1):
            code, length = code << 1 | byte >> bit & 1, length + 1
            symbol = _CODES.get((length, code))
            if symbol is not None:
                out.append(symbol & 0xFF)
                code = length = 0
    return bytes(out)


def integer(value, prefix, first=0):
    """An integer behind the bits `first`."""
    limit = (1 << prefix) - 1
    if value < limit:
        return bytes([first | value])
    out, value = bytearray([first | limit]), value - limit
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def string(text):
    """A string, not packed."""
    return integer(len(text), 7) + text


def encode(headers):
    """A header block in which every field is a literal that is not indexed."""
    return b"".join(b"\x00" + string(name) + string(value) for name, value in headers)


class Decoder:
    """Keeps the dynamic table of one connection."""

    def __init__(self):
        self.table, self.size_max = [], 4096

    def decode(self, block):
        """The fields of a block, as text."""
        headers, at = [], 0
        while at < len(block):
            byte = block[at]
            if byte & 0x80:
                index, at = _integer(block, at, 7)
                headers.append(self._field(index))
            elif byte & 0xC0 == 0x40:
                field, at = self._literal(block, at, 6)
                headers.append(field)
                self.table.insert(0, field)
                self._evict()
            elif byte & 0xE0 == 0x20:
                self.size_max, at = _integer(block, at, 5)
                self._evict()
            else:
                field, at = self._literal(block, at, 4)
                headers.append(field)
        return headers

    def _field(self, index):
        return STATIC[index - 1] if index <= len(STATIC) else self.table[index - len(STATIC) - 1]

    def _literal(self, block, at, prefix):
        index, at = _integer(block, at, prefix)
        if index:
            name = self._field(index)[0]
        else:
            name, at = _string(block, at)
        value, at = _string(block, at)
        return (name, value), at

    def _evict(self):
        while sum(len(n) + len(v) + 32 for n, v in self.table) > self.size_max:
            self.table.pop()


def _integer(block, at, prefix):
    limit = (1 << prefix) - 1
    value, at = block[at] & limit, at + 1
    if value < limit:
        return value, at
    shift = 0
    while True:
        byte, at = block[at], at + 1
        value, shift = value + ((byte & 127) << shift), shift + 7
        if not byte & 128:
            return value, at


def _string(block, at):
    packed = block[at] & 0x80
    length, at = _integer(block, at, 7)
    data = block[at:at + length]
    return (_unpack(data) if packed else data).decode("latin-1"), at + length
