//! zlib: nothing beyond the bound is inflated, and what is read is what the stream says.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};
use libfuzzer_sys::fuzz_target;
use postbox_fuzz::{Input, decode, read_back, write};
use postbox_protocol::{CompressionError, RawSerializer, ZlibSerializer};

const BOUNDS: [usize; 5] = [0, 1, 300, 4096, 65_536];

/// One for each level and each bound, since their tables are large.
static SERIALIZERS: LazyLock<[[ZlibSerializer<RawSerializer>; 5]; 10]> = LazyLock::new(|| {
    std::array::from_fn(|level| {
        let one = ZlibSerializer::new(RawSerializer).with_level(level as u32);
        BOUNDS.map(|bound| one.clone().with_max_len(bound))
    })
});

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let which = input.byte();
    let bound = BOUNDS[usize::from(which / 4) % 5];
    let serializer = &SERIALIZERS[6][usize::from(which / 4) % 5];
    let read = |datagram: &[u8]| {
        // The buffer while it grows, what the serializer within returns, and the first time the
        // decompressor.
        let most = (64 << 10) + 3 * bound + datagram.len();
        let packet = match decode(serializer, datagram, most) {
            Ok(packet) => packet,
            Err(error) => return Err(error.downcast::<CompressionError>().expect("its own")),
        };
        assert!(packet.len() <= bound);
        read_back(serializer, &packet);
        for wrong in [&datagram[..datagram.len() - 1], &[datagram, b"\0"].concat()] {
            let error = decode(serializer, wrong, most).expect_err("not one whole stream");
            assert!(error.is::<CompressionError>());
        }
        Ok(packet)
    };

    match which % 4 {
        0 => drop(read(input.0)),
        1 | 2 => {
            // Whatever inflates, with the head and the checksum that it needs.
            let deflated = input.0;
            let mut packet = Vec::with_capacity(2 * BOUNDS[4]);
            let mut plain = Decompress::new(false);
            let status = plain.decompress_vec(deflated, &mut packet, FlushDecompress::Finish);
            let whole = plain.total_in() == deflated.len() as u64;
            let datagram = [b"\x78\x9c", deflated, &adler32(&packet).to_be_bytes()].concat();
            let read = read(&datagram);
            if !whole || !matches!(status, Ok(Status::StreamEnd)) {
                // More than there is room for here is more than is allowed.
                assert!(read.is_err());
            } else if packet.len() > bound {
                assert!(read.expect_err("too much").is_too_large());
            } else {
                assert_eq!(read.expect("a stream"), packet);
            }
        }
        _ => {
            let level = usize::from(input.byte() % 10);
            let damage = input.damage();
            let packet = Bytes::from(input.0.repeat(1 + usize::from(which / 24)));
            match write(&SERIALIZERS[level][usize::from(which / 4) % 5], &packet) {
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

fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1, 0), |(a, b), byte| {
        let a = (a + u32::from(*byte)) % 65_521;
        (a, (b + a) % 65_521)
    });
    b << 16 | a
}
