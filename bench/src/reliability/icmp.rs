//! A forged ICMP error (RFC 792): *the port that you have sent to is not open*.

use std::net::SocketAddrV4;

const ICMP: usize = 8;
const IP: usize = 20;
const UDP: usize = 8;

/// Its length.
pub(super) const LEN: usize = ICMP + IP + UDP;

/// Writes one about a datagram from `server` to `client`, of which it quotes the headers.
pub(super) fn port_unreachable(server: SocketAddrV4, client: SocketAddrV4) -> [u8; LEN] {
    let mut bytes = [0; LEN];
    bytes[0] = 3; // destination unreachable
    bytes[1] = 3; // its port
    let ip = &mut bytes[ICMP..];
    ip[0] = 0x45; // version 4, a header of five words
    ip[2..4].copy_from_slice(&((IP + UDP) as u16).to_be_bytes());
    ip[8] = 64; // hops
    ip[9] = 17; // UDP
    ip[12..16].copy_from_slice(&server.ip().octets());
    ip[16..20].copy_from_slice(&client.ip().octets());
    let udp = &mut ip[IP..];
    udp[0..2].copy_from_slice(&server.port().to_be_bytes());
    udp[2..4].copy_from_slice(&client.port().to_be_bytes());
    udp[4..6].copy_from_slice(&(UDP as u16).to_be_bytes());
    let sum = checksum(&bytes);
    bytes[2..4].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2);
    let mut sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_what_has_one_is_zero() {
        let server = SocketAddrV4::new([127, 0, 0, 1].into(), 9000);
        let client = SocketAddrV4::new([127, 1, 2, 3].into(), 40_000);
        let error = port_unreachable(server, client);
        assert_eq!(checksum(&error), 0);
        assert_eq!(&error[..2], [3, 3]);
        assert_eq!(error[ICMP + 12..ICMP + 20], [127, 0, 0, 1, 127, 1, 2, 3]);
    }

    #[test]
    fn the_checksum_is_that_of_rfc_1071() {
        // The example of its section 3, whose sum is ddf2.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&bytes), !0xddf2);
    }
}
