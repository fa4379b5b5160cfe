//! What control messages tell of a datagram where a server asks for it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::cmsg::{Messages, read};
use crate::transport::{Ecn, InfoAsked, PacketInfo};

impl PacketInfo {
    /// Reads what is asked for, whatever else the socket's user has switched on.
    pub(super) fn read(messages: Messages<'_>, asked: InfoAsked) -> Self {
        let mut info = Self::default();
        for (level, kind, data) in messages {
            match (level, kind) {
                (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS) if asked.kernel_time => {
                    info.kernel_time = time(data);
                }
                (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT)
                    if asked.hop_limit =>
                {
                    let hops = read::<libc::c_int>(data);
                    info.hop_limit = hops.and_then(|hops| u8::try_from(hops).ok());
                }
                // One byte, of IPv4.
                (libc::IPPROTO_IP, libc::IP_TOS) if asked.ecn => {
                    info.ecn = data.first().copied().map(Ecn::from_bits);
                }
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) if asked.ecn => {
                    info.ecn = read::<libc::c_int>(data).map(|class| Ecn::from_bits(class as u8));
                }
                _ => {}
            }
        }
        info
    }
}

/// Seconds and nanoseconds, of four or eight bytes each as the system has them.
fn time(data: &[u8]) -> Option<SystemTime> {
    let (secs, nanos) = data.split_at_checked(data.len() / 2)?;
    let number = |half: &[u8]| match half.len() {
        4 => read::<i32>(half).map(i64::from),
        _ => read::<i64>(half),
    };
    let (secs, nanos) = (number(secs)?, number(nanos)?);
    let nanos = u32::try_from(nanos).ok().filter(|n| *n < 1_000_000_000)?;
    UNIX_EPOCH.checked_add(Duration::new(u64::try_from(secs).ok()?, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: InfoAsked = InfoAsked {
        kernel_time: true,
        hop_limit: true,
        ecn: true,
    };

    #[test]
    fn h19_the_time_is_read_in_both_sizes_and_no_nonsense_is() {
        let both = |secs: i64, nanos: i64| {
            let long = [secs.to_ne_bytes(), nanos.to_ne_bytes()].concat();
            let short = [(secs as i32).to_ne_bytes(), (nanos as i32).to_ne_bytes()].concat();
            assert_eq!(time(&long), time(&short));
            time(&long)
        };
        let some = Duration::new(7, 999_999_999);
        assert_eq!(both(7, 999_999_999), Some(UNIX_EPOCH + some));
        for (secs, nanos) in [(7, 1_000_000_000), (7, -1), (-1, 7)] {
            assert_eq!(both(secs, nanos), None);
        }
        for len in [0, 1, 7, 9, 15] {
            assert_eq!(time(&vec![1; len]), None);
        }
    }

    #[test]
    fn h19_whatever_the_bytes_reading_ends_inside_them() {
        for stated in 0..64_usize {
            for (level, kind) in [
                (libc::SOL_SOCKET, libc::SO_TIMESTAMPNS),
                (libc::IPPROTO_IP, libc::IP_TTL),
                (libc::IPPROTO_IP, libc::IP_TOS),
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
            ] {
                let mut bytes = stated.to_ne_bytes().to_vec();
                bytes.extend(level.to_ne_bytes());
                bytes.extend(kind.to_ne_bytes());
                bytes.resize(48, 0xff);
                let info = PacketInfo::read(Messages(&bytes), ALL);
                assert_eq!((info.kernel_time, info.hop_limit), (None, None));
            }
        }
    }
}
