//! The trait of `flip` is not imported.

use postbox_compile_fail::*;

fn main() {
    let protocol = DatagramProtocol::new(JsonSerializer::<u8, String>::new());
    let _ = protocol.flip();
}
