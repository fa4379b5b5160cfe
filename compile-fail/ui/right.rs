//! The program that the others get wrong.

use postbox::{Flip, UdpClient};
use postbox_compile_fail::*;

fn main() {
    let _ = Server::builder_fn(protocol(), greet);
    let protocol = DatagramProtocol::new(JsonSerializer::<u8, String>::new());
    let _ = UdpClient::connect("localhost:9000", protocol.flip());
}
