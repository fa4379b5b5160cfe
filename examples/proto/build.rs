//! Compiles the schema, with a compiler in Rust (no `protoc` has to be installed), and makes one
//! program of the code on the repository's first page, which the documentation's tests compile.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["sum.proto"], ["proto"])?;
    prost_build::Config::new().compile_fds(files)?;

    println!("cargo:rerun-if-changed=../README.md");
    let page = fs::read_to_string("../README.md")?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("first_page.md"), first_page(&page)?)?;
    Ok(())
}

/// The server, and the client behind it: it uses the server's types.
fn first_page(page: &str) -> Result<String, &'static str> {
    let blocks = page.split("```rust").skip(1);
    let code: Vec<&str> = blocks
        .filter_map(|block| Some(block.split_once("```")?.0))
        .collect();
    let [server, client] = code[..] else {
        return Err("the first page has to have two blocks of Rust: a server and its client");
    };
    Ok(format!(
        "```no_run{server}\n\
         async fn client() -> Result<(), BoxError> {{\n{client}Ok(())\n}}\n```\n"
    ))
}
