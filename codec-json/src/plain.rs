/// Whether a string stands in JSON as it is: no quote, no backslash, no control character.
///
/// Eight bytes are looked at in one step, and so are the last eight, which may be among them again.
#[inline]
pub(crate) fn is_plain(text: &[u8]) -> bool {
    let Some(last) = text.last_chunk() else {
        return is_short_plain(text);
    };
    let (words, _) = text.as_chunks();
    words
        .iter()
        .chain([last])
        .all(|word| is_plain_word(u64::from_ne_bytes(*word)))
}

/// The same for up to 7 bytes.
#[inline]
fn is_short_plain(text: &[u8]) -> bool {
    match (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            let [first, last] = [first, last].map(|half| u64::from(u32::from_ne_bytes(*half)));
            is_plain_word(first << 32 | last)
        }
        _ => text
            .iter()
            .all(|byte| *byte >= b' ' && *byte != b'"' && *byte != b'\\'),
    }
}

/// Whether none of eight bytes needs an escape.
///
/// A byte below `n` borrows when `n` is subtracted, which shows in its highest bit. (It may also
/// show in the bytes above it, but only where there is such a byte.)
#[inline]
fn is_plain_word(word: u64) -> bool {
    const fn each(byte: u8) -> u64 {
        u64::from_ne_bytes([byte; 8])
    }

    let control = word.wrapping_sub(each(b' '));
    let quote = (word ^ each(b'"')).wrapping_sub(each(1));
    let backslash = (word ^ each(b'\\')).wrapping_sub(each(1));
    (control | quote | backslash) & !word & each(0x80) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p3_each_byte_that_needs_an_escape_is_seen_at_any_place_and_no_other() {
        for len in 1..20 {
            for at in 0..len {
                for byte in 0..=u8::MAX {
                    for around in [b' ', b'!', b'#', b'[', b']', b'x', 0x7f, 0x80, 0xff] {
                        let mut text = vec![around; len];
                        text[at] = byte;
                        let is_escaped = byte < b' ' || byte == b'"' || byte == b'\\';
                        assert_eq!(is_plain(&text), !is_escaped, "{text:?}");
                    }
                }
            }
        }
        assert!(is_plain(b""));
    }
}
