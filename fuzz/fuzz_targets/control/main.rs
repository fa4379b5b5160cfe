//! Control messages, which the kernel puts beside a datagram: reading ends inside the bytes.
//!
//! It is the code with `unsafe` that takes bytes apart, so it is built here from the server's own
//! file, with the little that it needs of the server written down again.
#![no_main]

mod sys;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use postbox_fuzz::Input;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LocalAddr {
    asked: IpAddr,
    reply_from: Option<IpAddr>,
    interface: u32,
}

fuzz_target!(|data: &[u8]| {
    for remote in ["127.0.0.1:9", "[::1]:9"] {
        sys::reads_any(data, remote.parse().expect("an address"));
    }
    let mut input = Input(data);
    let kinds = input.byte();
    let mut address = |bit: u8| -> IpAddr {
        let mut bytes = [0; 16];
        bytes.fill_with(|| input.byte());
        match kinds & bit {
            0 => Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]).into(),
            _ => Ipv6Addr::from(bytes).into(),
        }
    };
    let local = LocalAddr {
        asked: address(1),
        reply_from: Some(address(2)).filter(|_| kinds & 4 != 0),
        interface: u32::from(kinds >> 4),
    };
    let remote = (address(8), 9).into();
    sys::writes_and_reads(&local, remote, input.u16());
});
