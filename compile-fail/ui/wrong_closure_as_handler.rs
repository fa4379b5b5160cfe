//! A closure is no `Handler`.

use postbox_compile_fail::*;

fn main() {
    let _ = Server::builder(protocol(), greet);
}
