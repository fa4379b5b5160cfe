//! Zstandard: nothing beyond the bound is inflated, and what is read is what the library reads.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use postbox_fuzz::{Input, decode, read_back, write};
use postbox_protocol::{CompressionError, RawSerializer, ZstdSerializer};

const BOUNDS: [usize; 6] = [0, 1, 300, 4096, 65_536, 1 << 20];

static SERIALIZERS: LazyLock<[ZstdSerializer<RawSerializer>; 6]> = LazyLock::new(|| {
    let one = ZstdSerializer::new(RawSerializer);
    BOUNDS.map(|bound| one.clone().with_max_len(bound))
});

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let which = input.byte();
    let bound = BOUNDS[usize::from(which / 4) % 6];
    let serializer = &SERIALIZERS[usize::from(which / 4) % 6];
    let read = |datagram: &[u8]| {
        // The buffer, at most twice while it is made larger, and what the serializer within
        // returns.
        let most = 1024 + 3 * bound;
        let packet = match decode(serializer, datagram, most) {
            Ok(packet) => packet,
            Err(error) => return Err(error.downcast::<CompressionError>().expect("its own")),
        };
        assert!(packet.len() <= bound);
        assert_eq!(
            zstd::bulk::decompress(datagram, bound).expect("a frame"),
            packet
        );
        read_back(serializer, &packet);
        for wrong in [&datagram[..datagram.len() - 1], &[datagram, b"\0"].concat()] {
            let error = decode(serializer, wrong, most).expect_err("not one whole frame");
            assert!(error.is::<CompressionError>());
        }
        Ok(packet)
    };

    match which % 4 {
        0 => drop(read(input.0)),
        1 => drop(read(&[b"\x28\xb5\x2f\xfd", input.0].concat())),
        // A frame that does not tell its length, with any blocks.
        2 => drop(read(&[b"\x28\xb5\x2f\xfd\0\x58", input.0].concat())),
        _ => {
            let level = i32::from(input.byte() % 24) - 4;
            let damage = input.damage();
            let packet = Bytes::from(input.0.repeat(1 + usize::from(which / 24)));
            let sender = serializer.clone().with_level(level);
            match write(&sender, &packet) {
                Ok(datagram) => {
                    assert_eq!(read(&datagram).expect("it was sent"), packet);
                    drop(read(&damage.of(&datagram)));
                }
                Err(error) => {
                    let error: Box<CompressionError> = error.downcast().expect("its own");
                    assert!(error.is_too_large() && packet.len() > bound);
                }
            }
        }
    }
});
