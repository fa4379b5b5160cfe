use std::fmt;
use std::io;

use bytes::BytesMut;

/// A writer at the end of a datagram, for serializers on libraries that write a few bytes at a
/// time. It never fails.
///
/// Small pieces are gathered on the stack: each write to the buffer itself costs as much as some
/// ten bytes, a fifth of what a small JSON document takes. What is gathered stands in the buffer
/// once the writer is dropped or flushed.
///
/// # Examples
///
/// ```
/// use std::io::Write;
///
/// use bytes::BytesMut;
/// use postbox_protocol::Append;
///
/// let mut datagram = BytesMut::from("temperature: ");
/// write!(Append::new(&mut datagram), "{:.1} °C", 21.5)?;
/// assert_eq!(datagram, "temperature: 21.5 °C");
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Append<'a> {
    buffer: &'a mut BytesMut,
    gathered: [u8; GATHERED],
    len: usize,
}

/// Bytes that are gathered before they are passed on.
const GATHERED: usize = 256;

impl<'a> Append<'a> {
    /// Returns a writer that appends to `buffer`.
    pub fn new(buffer: &'a mut BytesMut) -> Self {
        Self {
            buffer,
            gathered: [0; GATHERED],
            len: 0,
        }
    }

    #[inline]
    fn append(&mut self, bytes: &[u8]) {
        if !self.gather(bytes) {
            self.pass_on(bytes);
        }
    }

    /// Answers whether there was room.
    #[inline]
    fn gather(&mut self, bytes: &[u8]) -> bool {
        let end = self.len + bytes.len();
        let room = self.gathered.get_mut(self.len..end);
        if let Some(room) = room {
            room.copy_from_slice(bytes);
            self.len = end;
            return true;
        }
        false
    }

    /// Passes on what is gathered, and `bytes` behind it.
    #[cold]
    fn pass_on(&mut self, bytes: &[u8]) {
        let gathered = std::mem::take(&mut self.len);
        self.buffer.extend_from_slice(&self.gathered[..gathered]);
        self.buffer.extend_from_slice(bytes);
    }
}

impl io::Write for Append<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes);
        Ok(bytes.len())
    }

    // Spares the loop that the default runs for every few bytes.
    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.append(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on(&[]);
        Ok(())
    }
}

impl Drop for Append<'_> {
    fn drop(&mut self) {
        self.pass_on(&[]);
    }
}

impl fmt::Debug for Append<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Append")
            .field("buffer", &self.buffer)
            .field("gathered", &&self.gathered[..self.len])
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn p3_pieces_of_any_size_are_appended_in_their_order() {
        let sizes = [1, 254, 1, 0, 1, 255, 256, 257, 2, 1000, 3, 255, 2];
        let whole: Vec<u8> = (0..sizes.iter().sum()).map(|i: usize| i as u8).collect();
        for loops in [false, true] {
            let mut buffer = BytesMut::from("before");
            let mut append = Append::new(&mut buffer);
            let mut rest = &whole[..];
            for size in sizes {
                let (piece, after) = rest.split_at(size);
                match loops {
                    false => append.write_all(piece).unwrap(),
                    true => assert_eq!(append.write(piece).unwrap(), size),
                }
                rest = after;
            }
            drop(append);
            assert_eq!(buffer, [b"before", &whole[..]].concat());
        }
    }

    #[test]
    fn p3_what_is_gathered_is_appended_when_it_is_flushed_and_once() {
        let mut buffer = BytesMut::new();
        let mut append = Append::new(&mut buffer);
        append.write_all(b"one").unwrap();
        append.flush().unwrap();
        assert_eq!(append.buffer, "one");
        append.write_all(b"two").unwrap();
        assert_eq!(
            format!("{append:?}"),
            r#"Append { buffer: b"one", gathered: [116, 119, 111] }"#
        );
        drop(append);
        assert_eq!(buffer, "onetwo");
    }

    #[test]
    fn p3_small_pieces_are_gathered_and_large_ones_are_not() {
        let mut buffer = BytesMut::new();
        let mut append = Append::new(&mut buffer);
        append.write_all(&[1; 256]).unwrap();
        assert_eq!((append.buffer.len(), append.len), (0, 256));
        append.write_all(&[2]).unwrap();
        assert_eq!((append.buffer.len(), append.len), (257, 0));
    }
}
