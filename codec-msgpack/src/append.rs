use std::io;

use bytes::BytesMut;

/// Lets rmp-serde write to the end of a buffer. It never fails.
pub(crate) struct Append<'a>(pub(crate) &'a mut BytesMut);

impl io::Write for Append<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    // Spares the loop that the default runs for every few bytes.
    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
