//! The client sends what the server only receives: `Ask` cannot be written.

use postbox::{Flip, UdpClient};
use postbox_compile_fail::*;

fn main() {
    let _ = UdpClient::connect("localhost:9000", protocol().flip());
}
