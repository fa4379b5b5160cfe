//! Compiles the schema, with a compiler in Rust (no `protoc` has to be installed), and makes
//! programs of the code on the repository's first page, which the documentation's tests compile.

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

/// Each program as it is; and what is no program, as the body of a function behind the first one,
/// with the imports that the page leaves out.
fn first_page(page: &str) -> Result<String, &'static str> {
    let blocks = page.split("```rust\n").skip(1);
    let code = blocks.filter_map(|block| Some(block.split_once("```")?.0));
    let (programs, parts): (Vec<_>, Vec<_>) = code.partition(|code| code.contains("fn main()"));
    let [server, _client] = programs[..] else {
        return Err("the first page has to have two programs: a server and its client");
    };
    let mut tests: Vec<String> = programs.iter().map(|code| test(code)).collect();
    tests.extend(parts.iter().map(|part| {
        test(&format!(
            "{server}\n\
             use {{postbox::RecvError, std::time::Duration}};\n\
             async fn part(\n\
                 protocol: DatagramProtocol<JsonSerializer<Reply, Ask>>,\n\
                 client: Client<Reply>,\n\
                 mut asks: Requests<Ask>,\n\
             ) -> Result<(), BoxError> {{\n{part}Ok(())\n}}"
        ))
    }));
    Ok(tests.concat())
}

fn test(code: &str) -> String {
    format!("```no_run\n{code}\n```\n\n")
}
