//! The checksum: what passes ends with the SHA-256 of what stands before it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use postbox_fuzz::{Input, decode, write};
use postbox_protocol::{ChecksumSerializer, RawSerializer};
use sha2::{Digest, Sha256};

const SERIALIZER: ChecksumSerializer<RawSerializer> = ChecksumSerializer::new(RawSerializer);

fuzz_target!(|data: &[u8]| {
    passes_if_right(data);

    let mut input = Input(data);
    let damage = input.damage();
    let packet = input.packet();
    let datagram = write(&SERIALIZER, &packet).expect("bytes can be sent");
    assert_eq!(datagram, [&packet, &Sha256::digest(&packet)[..]].concat());
    assert!(passes_if_right(&datagram));

    // What is damaged may be right again: a packet may hold another with its sum.
    passes_if_right(&damage.of(&datagram));
});

fn passes_if_right(datagram: &[u8]) -> bool {
    let received = decode(&SERIALIZER, datagram, 512 + datagram.len());
    let right = datagram
        .split_last_chunk::<32>()
        .is_some_and(|(rest, sum)| Sha256::digest(rest)[..] == sum[..]);
    match received {
        Ok(packet) => assert!(right && datagram.starts_with(&packet)),
        Err(_) => assert!(!right),
    }
    right
}
