//! Control messages: what comes beside a datagram's bytes.

use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::super::LocalAddr;

/// Room for the control messages of one received datagram.
///
/// Ours take 176 bytes at most: IPv4's and IPv6's local address, a segment size, a time, TTL and
/// TOS. A socket that its user made may have others switched on, which come first (other time
/// stamps, drop counts, marks: 24 to 64 bytes each). Memory that no message reaches is never
/// touched.
pub(super) const RECV_ROOM: usize = 512;

/// Room for the control messages of one datagram to send: a source address and a segment size.
pub(super) const SEND_ROOM: usize = 64;

/// Bytes aligned for control messages.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control<const ROOM: usize>(pub(super) [u8; ROOM]);

impl<const ROOM: usize> Control<ROOM> {
    pub(super) const EMPTY: Self = Self([0; ROOM]);
}

const _: () = assert!(align_of::<Control<8>>() >= align_of::<libc::cmsghdr>());
const _: () = assert!(space(size_of::<libc::in6_pktinfo>()) + space(2) <= SEND_ROOM);

/// What control messages carry: plain integers and nothing else.
///
/// # Safety
///
/// Any bytes have to be a valid value, and the type must have no padding.
pub(super) unsafe trait Plain: Copy {}
// SAFETY: integers.
unsafe impl Plain for libc::c_int {}
// SAFETY: an integer.
unsafe impl Plain for u16 {}
// SAFETY: an integer.
unsafe impl Plain for i64 {}
// SAFETY: an i32 and two u32.
unsafe impl Plain for libc::in_pktinfo {}
// SAFETY: sixteen bytes and a u32.
unsafe impl Plain for libc::in6_pktinfo {}

/// Returns the length of the header, with the padding before the data.
const fn header_len() -> usize {
    // SAFETY: it computes a number.
    unsafe { libc::CMSG_LEN(0) as usize }
}

/// Returns what a message with this much data takes, with the padding after it.
const fn space(data: usize) -> usize {
    // SAFETY: it computes a number.
    unsafe { libc::CMSG_SPACE(data as libc::c_uint) as usize }
}

/// Reads a value from the front of `data`, or `None` if that is too short.
pub(super) fn read<T: Plain>(data: &[u8]) -> Option<T> {
    let data = data.get(..size_of::<T>())?;
    // SAFETY: `data` has the size of a `T`, alignment is not needed, and any bytes are a `T`.
    Some(unsafe { data.as_ptr().cast::<T>().read_unaligned() })
}

/// The control messages that the kernel wrote, as (level, kind, data).
pub(super) struct Messages<'a>(pub(super) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = (libc::c_int, libc::c_int, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.len() < header_len() {
            return None;
        }
        // SAFETY: `header_len` bytes are there, at least a cmsghdr, which is integers only;
        // alignment is not needed.
        let header = unsafe { self.0.as_ptr().cast::<libc::cmsghdr>().read_unaligned() };
        #[allow(clippy::unnecessary_cast)] // u32 with musl
        let len = header.cmsg_len as usize;
        let data = self.0.get(header_len()..len)?;
        let next = space(data.len()).min(self.0.len());
        self.0 = &self.0[next..];
        Some((header.cmsg_level, header.cmsg_type, data))
    }
}

/// What the control messages of one datagram said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Notes {
    pub(super) local: Option<LocalAddr>,
    pub(super) segment: Option<usize>,
}

impl Notes {
    /// Reads all messages. `remote` tells IPv4 from IPv4 in IPv6's clothes.
    pub(super) fn read(messages: Messages<'_>, remote: &SocketAddr) -> Self {
        let mut notes = Self::default();
        let mut from_v4 = false;
        for (level, kind, data) in messages {
            match (level, kind) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    // A dual-stack socket tells IPv4 in both ways; this one knows the
                    // interface's own address.
                    if let Some(info) = read::<libc::in_pktinfo>(data) {
                        notes.local = Some(local_v4(&info, remote.is_ipv6()));
                        from_v4 = true;
                    }
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if !from_v4 => {
                    notes.local = read::<libc::in6_pktinfo>(data).map(|info| local_v6(&info));
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let segment = read::<libc::c_int>(data).and_then(|n| usize::try_from(n).ok());
                    notes.segment = segment.filter(|n| *n > 0);
                }
                _ => {}
            }
        }
        notes
    }
}

fn local_v4(info: &libc::in_pktinfo, mapped: bool) -> LocalAddr {
    let ip = |addr: libc::in_addr| {
        let ip = Ipv4Addr::from(addr.s_addr.to_ne_bytes());
        if mapped {
            IpAddr::V6(ip.to_ipv6_mapped())
        } else {
            IpAddr::V4(ip)
        }
    };
    // The header's destination may be a broadcast or multicast address, from which nothing can
    // be sent; the other one is the address that the kernel itself would answer from.
    let own = info.ipi_spec_dst;
    LocalAddr {
        asked: ip(info.ipi_addr),
        reply_from: (own.s_addr != 0).then(|| ip(own)),
        interface: 0,
    }
}

fn local_v6(info: &libc::in6_pktinfo) -> LocalAddr {
    let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
    let multicast = ip.is_multicast();
    LocalAddr {
        asked: IpAddr::V6(ip),
        reply_from: (!multicast).then_some(IpAddr::V6(ip)),
        interface: if multicast || ip.is_unicast_link_local() {
            #[allow(clippy::unnecessary_cast)] // i32 on some targets
            {
                info.ipi6_ifindex as u32
            }
        } else {
            0
        },
    }
}

/// Writes control messages one after the other.
pub(super) struct Writer<'a> {
    room: &'a mut Control<SEND_ROOM>,
    len: usize,
}

impl<'a> Writer<'a> {
    pub(super) fn new(room: &'a mut Control<SEND_ROOM>) -> Self {
        Self { room, len: 0 }
    }

    /// Returns how many bytes were written.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Asks the kernel to cut the bytes into datagrams of this size.
    pub(super) fn segment(&mut self, size: u16) {
        self.put(libc::SOL_UDP, libc::UDP_SEGMENT, size);
    }

    /// Asks the kernel to send from this address.
    pub(super) fn source(&mut self, local: &LocalAddr, remote: &SocketAddr) {
        if local.reply_from.is_none() && local.interface == 0 {
            return;
        }
        match (remote.ip(), local.reply_from.map(|ip| ip.to_canonical())) {
            (IpAddr::V6(to), source) if to.to_ipv4_mapped().is_none() => {
                let source = match source {
                    Some(IpAddr::V6(ip)) => ip,
                    _ => Ipv6Addr::UNSPECIFIED,
                };
                self.put(
                    libc::IPPROTO_IPV6,
                    libc::IPV6_PKTINFO,
                    libc::in6_pktinfo {
                        ipi6_addr: libc::in6_addr {
                            s6_addr: source.octets(),
                        },
                        ipi6_ifindex: local.interface as _,
                    },
                );
            }
            (_, Some(IpAddr::V4(source))) => self.put(
                libc::IPPROTO_IP,
                libc::IP_PKTINFO,
                libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr {
                        s_addr: u32::from_ne_bytes(source.octets()),
                    },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                },
            ),
            _ => {}
        }
    }

    fn put<T: Plain>(&mut self, level: libc::c_int, kind: libc::c_int, value: T) {
        let room = &mut self.room.0[self.len..][..space(size_of::<T>())];
        // SAFETY: a cmsghdr is integers, for which zero is a value.
        let mut header: libc::cmsghdr = unsafe { std::mem::zeroed() };
        header.cmsg_len = (header_len() + size_of::<T>()) as _;
        header.cmsg_level = level;
        header.cmsg_type = kind;
        // SAFETY: the slice holds header and value with their padding, as just checked, and
        // alignment is not needed.
        unsafe {
            room.as_mut_ptr()
                .cast::<libc::cmsghdr>()
                .write_unaligned(header);
            room.as_mut_ptr()
                .add(header_len())
                .cast::<T>()
                .write_unaligned(value);
        }
        self.len += space(size_of::<T>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(asked: &str, reply_from: Option<&str>, interface: u32) -> LocalAddr {
        LocalAddr {
            asked: asked.parse().unwrap(),
            reply_from: reply_from.map(|ip| ip.parse().unwrap()),
            interface,
        }
    }

    fn v6(ip: IpAddr) -> Ipv6Addr {
        match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        }
    }

    #[test]
    fn messages_are_found_among_others() {
        let remote: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let mut room = Control::EMPTY;
        let mut writer = Writer::new(&mut room);
        writer.put(libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 7_i32);
        writer.put(libc::SOL_UDP, libc::UDP_GRO, 1200_i32);
        let len = writer.len();
        let notes = Notes::read(Messages(&room.0[..len]), &remote);
        assert_eq!((notes.local, notes.segment), (None, Some(1200)));
    }

    #[test]
    fn h13_what_is_written_to_send_from_an_address() {
        for (local, remote, written) in [
            (local("10.0.0.255", Some("10.0.0.1"), 0), "10.0.0.9:9", 1),
            (
                local("::ffff:10.0.0.1", Some("::ffff:10.0.0.1"), 0),
                "[::ffff:10.0.0.9]:9",
                1,
            ),
            (local("fe80::1", Some("fe80::1"), 3), "[fe80::9%3]:9", 1),
            (local("ff02::1", None, 3), "[fe80::9%3]:9", 1),
            (local("10.0.0.255", None, 0), "10.0.0.9:9", 0),
        ] {
            let remote: SocketAddr = remote.parse().unwrap();
            let mut room = Control::EMPTY;
            let mut writer = Writer::new(&mut room);
            writer.source(&local, &remote);
            let len = writer.len();
            let messages: Vec<_> = Messages(&room.0[..len]).collect();
            assert_eq!(messages.len(), written, "{local:?}");
            // IPv4's form tells its source in the middle, IPv6's in front, then the interface.
            for (level, _, data) in messages {
                if level == libc::IPPROTO_IPV6 {
                    let info: libc::in6_pktinfo = read(data).unwrap();
                    let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                    assert_eq!(ip, local.reply_from.map_or(Ipv6Addr::UNSPECIFIED, v6));
                    #[allow(clippy::unnecessary_cast)] // i32 on some targets
                    let interface = info.ipi6_ifindex as u32;
                    assert_eq!(interface, local.interface);
                } else {
                    let info: libc::in_pktinfo = read(data).unwrap();
                    let ip = Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
                    assert_eq!(
                        Some(IpAddr::V4(ip)),
                        local.reply_from.map(|ip| ip.to_canonical())
                    );
                    assert_eq!(info.ipi_ifindex, 0);
                }
            }
        }
    }

    #[test]
    fn whatever_the_bytes_reading_ends_inside_them() {
        // Every length that a first message can state, in every amount of room.
        let remote: SocketAddr = "127.0.0.1:9".parse().unwrap();
        for stated in (0..100).chain([usize::MAX - 7, usize::MAX]) {
            let mut room = Control::<64>::EMPTY;
            room.0[..size_of::<usize>()].copy_from_slice(&stated.to_ne_bytes());
            for len in 0..=64 {
                let read: usize = Messages(&room.0[..len])
                    .map(|(_, _, data)| data.len())
                    .sum();
                assert!(read <= len);
                let _ = Notes::read(Messages(&room.0[..len]), &remote);
            }
        }
    }
}
