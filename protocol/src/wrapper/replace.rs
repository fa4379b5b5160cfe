use bytes::BytesMut;

/// Replaces what stands in the buffer from `start` on with what `write` makes of it.
///
/// `write` gets those bytes and `room` bytes to write to, and returns how many it wrote. The room
/// is taken behind the bytes, in the same buffer, so that nothing is allocated once the engine's
/// buffer has grown to the size of its datagrams.
///
/// # Errors
///
/// Fails as `write` does. What stands before `start` is as it was.
pub(crate) fn replace<E>(
    buffer: &mut BytesMut,
    start: usize,
    room: usize,
    write: impl FnOnce(&[u8], &mut [u8]) -> Result<usize, E>,
) -> Result<(), E> {
    let end = buffer.len();
    buffer.resize(end + room, 0);
    let (old, new) = buffer[start..].split_at_mut(end - start);
    let written = write(old, new)?;
    buffer.copy_within(end..end + written, start);
    buffer.truncate(start + written);
    Ok(())
}
