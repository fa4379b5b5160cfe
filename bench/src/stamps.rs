//! Questions that carry when they were asked, and answers that say when the question came.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use socket2::Socket;

use crate::mmsg::{self, Along, Batch};

/// Three times of eight bytes: asked; received, as the kernel says; and answered, by the clock that
/// the server reads itself. As NTP's T1, T2 and T3.
pub const LEN: usize = 24;

/// Nanoseconds since the Unix epoch.
pub fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The answer to a question, for this time that the kernel told.
pub fn answer(question: &[u8], received: u64) -> [u8; LEN] {
    let mut answer = [0; LEN];
    let asked = question.len().min(8);
    answer[..asked].copy_from_slice(&question[..asked]);
    answer[8..16].copy_from_slice(&received.to_be_bytes());
    answer[16..].copy_from_slice(&nanos(SystemTime::now()).to_be_bytes());
    answer
}

/// Reads the three times of an answer.
pub fn times(answer: &[u8]) -> Option<[u64; 3]> {
    let time = |at: usize| Some(u64::from_be_bytes(answer.get(at..at + 8)?.try_into().ok()?));
    Some([time(0)?, time(8)?, time(16)?])
}

/// The bare loop: batched system calls, and nothing else.
///
/// # Errors
///
/// The system's own.
pub fn serve(socket: &Socket, stop: &AtomicBool) -> io::Result<()> {
    mmsg::tell_times(socket)?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let mut batch = Batch::new(64, LEN, Along::Time);
    while !stop.load(Ordering::Relaxed) {
        let received = match batch.receive(socket, true) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        for slot in 0..received {
            let answer = answer(batch.payload(slot), batch.time(slot).unwrap_or(0));
            batch.set_payload(slot, &answer);
            batch.set_nothing(slot);
        }
        let mut sent = 0;
        while sent < received {
            sent += batch.send(socket, sent, received)?;
        }
    }
    Ok(())
}
