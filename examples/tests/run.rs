//! Runs every example, and compares what it prints with what its header promises.
//!
//! `cargo test -p postbox-examples` builds the examples first. With `--test it` it does not.
#![allow(clippy::unwrap_used)] // also in the helpers of tests

use std::env::{self, consts::EXE_SUFFIX};
use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// For an example that hangs: they take less than a second.
const LIMIT: Duration = Duration::from_secs(60);

macro_rules! examples {
    ($($name:ident)+) => {
        const NAMES: &[&str] = &[$(stringify!($name)),+];

        $(
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        )+
    };
}

examples! {
    background_server
    client_context
    client_metadata
    error_handling
    lossy_network
    minimum_requirements
    rate_limits
    refuse_datagrams
    server_object
    service_initialization
    several_receives
    simple_request_handler
    three_codecs
    timeouts
}

#[test]
fn no_example_is_forgotten() {
    let mut found: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|file| Some(file.strip_suffix(".rs")?.to_owned()))
        .collect();
    found.sort();
    assert_eq!(found, NAMES);

    let list = fs::read_to_string(folder().join("README.md")).unwrap();
    for name in NAMES {
        let link = format!("[`{name}`]({name}.rs)");
        assert!(list.contains(&link), "{link} is missing in README.md");
    }
}

#[track_caller]
fn run(name: &str) {
    let program = built(name);
    let mut child = Command::new(program)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let output = read(child.stdout.take());
    let errors = read(child.stderr.take());
    let Ok(printed) = output.recv_timeout(LIMIT) else {
        let _ = child.kill();
        panic!("{name} does not end by itself");
    };
    let status = child.wait().expect("it ends");

    // Shown if the test fails.
    eprintln!(
        "{name} said on standard error:\n{}",
        errors.recv().unwrap_or_default()
    );
    assert_eq!(
        printed,
        promised(name),
        "what {name} prints is not what its header says"
    );
    assert!(status.success(), "{name} ended with {status}");
}

/// Reads all that a program prints, and sends it when the program ends.
fn read(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let mut pipe = pipe.expect("it is piped");
    let (done, text) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        done.send(String::from_utf8_lossy(&bytes).into_owned())
    });
    text
}

/// The program, which must not be older than its source.
#[track_caller]
fn built(name: &str) -> PathBuf {
    let here = env::current_exe().unwrap(); // target/debug/deps/it-0123456789abcdef
    let profile = here.parent().and_then(|deps| deps.parent()).unwrap();
    let program = profile.join("examples").join(format!("{name}{EXE_SUFFIX}"));
    let built = fs::metadata(&program).and_then(|program| program.modified());
    let written = fs::metadata(source(name)).and_then(|source| source.modified());
    assert!(
        built.is_ok_and(|built| built >= written.unwrap()),
        "{name} is not built: run `cargo test -p postbox-examples`"
    );
    program
}

/// The output in the header of an example, after the command that runs it.
#[track_caller]
fn promised(name: &str) -> String {
    let source = fs::read_to_string(source(name)).unwrap();
    let header = source.lines().map_while(|line| line.strip_prefix("//!"));
    let mut session = header
        .skip_while(|line| *line != " ```text")
        .skip(1)
        .take_while(|line| *line != " ```")
        .map(|line| line.strip_prefix(' ').unwrap_or(line));

    let command = session.next().expect("a text block");
    let wanted = format!("$ cargo run -p postbox-examples --example {name}");
    assert_eq!(command, wanted);
    session.map(|line| format!("{line}\n")).collect()
}

fn source(name: &str) -> PathBuf {
    folder().join(format!("{name}.rs"))
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
