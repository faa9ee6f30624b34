"""Bodies that are no JSON, or odd JSON. Genuine senders have sent all of it, and signed it: it has to be stored as it is
or refused, and never to be answered 5xx."""

JSON = [
    b"", b" ", b"null", b"true", b"0", b"-0", b'""', b"[]", b"{}", b"\xef\xbb\xbf{}", b"\xff\xfe{\x00}\x00", b"\xff",
    b"\xc0\xaf", b"\xed\xa0\x80", b'{"id":"\xff"}', b'{"id":"\\ud800"}', b'{"id":"\\udc00\\ud800"}', b'{"id":"\\u0000"}',
    b'{"id":NaN}', b'{"id":-Infinity}', b'{"id":1e400}', b'{"id":-1e-400}', b'{"id":123456789012345678901234567890}',
    b'{"id":1,}', b'[1,]', b'{"id":1}{"id":2}', b'{"id":1} x', b"{'id':1}", b"{id:1}", b'{"id":1', b'{"id"', b'{"id":',
    b'"', b"[", b"{", b"]", b"}", b"[[[[", b'{"id":"a\nb"}', b'{"id":"\x00"}', b"\x00", b'{"id":01}', b'{"id":+1}',
    b'{"id":.5}', b'{"id":1.}', b'{"id":0x1}', b'{"id":"\\x41"}', b'{"id":"\\"}', b'{"":1}', b'{"id":{"id":{"id":1}}}',
    b'{"id":[1]}', b'{"id":null}', b'{"id":true}', b'{"action":null}', b'{"action":[]}', b'{"action":{"a":1}}',
    b'{"action":"\\u202egnp"}', b'{"action":"' + b"a" * 70000 + b'"}', b"[" * 500 + b"]" * 500, b"// comment\n{}",
    b"<xml/>", b"a=b&c=d", b"--x\r\n\r\n--x--", b"\r\n", b"\xf0\x9f\x98\x80", b'{"e":"\xf0\x9f\x98\x80\\ud83d\\ude00"}',
    b'{"id":"a","id":"b"}', b'{"a":"' + b"\\u0041" * 5000 + b'"}', b"1" * 100000, b'{"a":' * 200 + b"1" + b"}" * 200,
]
