//! Taking back the escapes with which servers write what clients sent.

/// Writes `text` without its escapes to `out`: `\xHH` of nginx and Apache, `\"`, `\\`, `\/`, `\b`, `\f`, `\n`, `\r`,
/// `\t`, `\v` and `\uHHHH` of JSON. What is no escape stays as it is. Returns how many bytes it wrote, `None` when
/// `out` is too short.
pub fn take_back(text: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut written = 0;
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        let (byte, behind) = match (first, behind) {
            (b'\\', behind) => escaped(behind).unwrap_or((b'\\', behind)),
            (byte, behind) => (*byte, behind),
        };
        *out.get_mut(written)? = byte;
        written += 1;
        rest = behind;
    }
    Some(written)
}

/// What stands for the escape whose backslash was before `text`, and what is behind it.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [b'x', high, low, behind @ ..] => Some((hex(*high)? << 4 | hex(*low)?, behind)),
        // Servers write only control characters like this.
        [b'u', b'0', b'0', high, low, behind @ ..] => Some((hex(*high)? << 4 | hex(*low)?, behind)),
        [letter, behind @ ..] => {
            let byte = match letter {
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'v' => 11,
                b'"' | b'\\' | b'/' => *letter,
                _ => return None,
            };
            Some((byte, behind))
        }
        [] => None,
    }
}

fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_every_server_are_taken_back() {
        for (text, expected) in [
            (&br"/a\x22b\xC5\xbe"[..], &b"/a\"b\xC5\xBE"[..]),
            (br#"/a\"b\\c\/\t"#, b"/a\"b\\c/\t"),
            (br"\u001f\u12", b"\x1f\\u12"),
            (br"/\xg0\q\", br"/\xg0\q\"),
            (b"", b""),
        ] {
            let mut out = [0; 32];
            let written = take_back(text, &mut out).unwrap();
            assert_eq!(&out[..written], expected);
        }
        assert_eq!(take_back(b"abc", &mut [0; 2]), None);
    }
}
