//! Compiles the schema. It needs no `protoc`: protox is a compiler in Rust.

use std::error::Error;
use std::path::PathBuf;

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=everything.proto");
    let files = protox::compile(["everything.proto"], ["."])?;
    let output = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(output.join("descriptors.bin"), files.encode_to_vec())?;
    prost_build::Config::new()
        // Sorted, so that a message has one encoding.
        .btree_map(["."])
        .compile_fds(files)?;
    Ok(())
}
