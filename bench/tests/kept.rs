//! Servers are stopped, and flooded, and keep what they have to. Nothing is measured here.

use std::process::Command;

#[test]
fn what_was_sent_is_kept() {
    let some = "--times 1 --seconds 0.3 --case answer --case lookup --case talk --case deadline \
                --case hand-over --case burst --case beside-greedy --case one-port-key";
    let run = Command::new(env!("CARGO_BIN_EXE_kept"))
        .args(some.split_whitespace())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&run.stdout);
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(output.ends_with("ok\n"), "{output}{errors}");
    assert!(run.status.success());
}
