//! Compiles the schema, with a compiler in Rust (no `protoc` has to be installed), and makes
//! programs of the code on the repository's first page and in its guide, which the documentation's
//! tests compile.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["sum.proto"], ["proto"])?;
    prost_build::Config::new().compile_fds(files)?;

    let mut pages = vec![PathBuf::from("../README.md")];
    println!("cargo:rerun-if-changed=../docs");
    for file in fs::read_dir("../docs")? {
        pages.extend(Some(file?.path()).filter(|path| path.extension() == Some("md".as_ref())));
    }
    pages[1..].sort();

    let mut tests = String::new();
    let mut server = None;
    for page in &pages {
        for code in code_of(page)? {
            let server = server.get_or_insert_with(|| code.clone()); // the first page's
            tests += &test(server, &code);
        }
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("pages.md"), tests)?;
    Ok(())
}

fn code_of(page: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    println!("cargo:rerun-if-changed={}", page.display());
    let page = fs::read_to_string(page)?;
    let blocks = page.split("```rust\n").skip(1);
    let code = blocks.filter_map(|block| Some(block.split_once("```")?.0.to_owned()));
    Ok(code.collect())
}

/// A program as it is, and a test as a program that is run. What is neither stands in a function
/// behind the first page's server, whose protocol, client and requests it is given.
fn test(server: &str, code: &str) -> String {
    if code.contains("fn main()") {
        return format!("```no_run\n{code}```\n\n");
    }
    let tests = [
        ("#[tokio::test]", "#[tokio::main]"),
        (
            "#[tokio::test(start_paused = true)]",
            "#[tokio::main(flavor = \"current_thread\", start_paused = true)]",
        ),
    ];
    let tests = tests.iter().find_map(|(test, main)| {
        let (items, test) = code.split_once(&format!("{test}\nasync fn "))?;
        Some((items, main, test))
    });
    if let Some((items, main, test)) = tests {
        let body = test.split_once('(').map_or(test, |(_name, rest)| rest);
        format!("```\n{items}{main}\nasync fn main({body}```\n\n")
    } else {
        format!(
            "```no_run\n\
             {server}\n\
             async fn part(\n\
                 protocol: DatagramProtocol<JsonSerializer<Reply, Ask>>,\n\
                 client: Client<Reply>,\n\
                 mut asks: Requests<Ask>,\n\
             ) -> Result<(), BoxError> {{\n{code}Ok(())\n}}\n```\n\n"
        )
    }
}
