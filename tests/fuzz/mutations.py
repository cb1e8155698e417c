"""Valid bytes, spoilt: cut, doubled, overwritten, spliced with what parsers find hard."""

from hypothesis import strategies as st

_NASTY = st.sampled_from(
    [
        *(b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b'"', b"{", b"}", b"[", b"]]", b",", b"-1", b"1e999"),
        *(b"NaN", b"Infinity", b"null", b"true", b"9" * 400, b"[" * 3000, b"../../etc/passwd", b"\x1b[31m"),
        *(b"1_0", b"0x10", b"1979-05-27", b"'''", b"\\u0000", b"\\ud800", b"model_file", b"__proto__"),
    ]
)


@st.composite
def spoilt(draw: st.DrawFn, valid: bytes) -> bytes:
    """`valid` after one to four changes, each at a random place."""
    data = valid
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 40))
        patch = draw(st.one_of(_NASTY, st.binary(max_size=20), st.just(data[at : at + length])))
        data = data[:at] + patch + data[at + draw(st.sampled_from([0, length])) :]
    return data
