//! The types of the serializer are in the client's order.

use postbox_compile_fail::*;

fn main() {
    let protocol = DatagramProtocol::new(JsonSerializer::<Ask, Reply>::new());
    let _ = Server::builder_fn(protocol, greet);
}
