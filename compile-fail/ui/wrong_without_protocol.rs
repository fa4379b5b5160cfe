//! A serializer is not yet a protocol object.

use postbox_compile_fail::*;

fn main() {
    let _ = Server::builder_fn(JsonSerializer::<Reply, Ask>::new(), greet);
}
