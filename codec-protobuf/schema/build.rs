//! Compiles the schema. It needs no `protoc`: protox is a compiler in Rust.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=everything.proto");
    let files = protox::compile(["everything.proto"], ["."])?;
    prost_build::Config::new()
        // Sorted, so that a message has one encoding.
        .btree_map(["."])
        .compile_fds(files)?;
    Ok(())
}
