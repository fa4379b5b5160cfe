//! V13: servers are restarted under load, as processes. Nothing is measured here.

use std::process::Command;

/// Few enough questions are open for the socket to hold them all, so each has to be answered, and
/// once, however slow the machine is. Handlers run at each stop.
fn restarted(way: &str) -> String {
    let some = format!(
        "--restarts 5 --rate 1000000 --window 64 --pause 0 --answers 500 --look-up 5 --way {way}"
    );
    let run = Command::new(env!("CARGO_BIN_EXE_restarts"))
        .args(some.split_whitespace())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&run.stdout).into_owned();
    let errors = String::from_utf8_lossy(&run.stderr);
    assert!(output.ends_with("ok\n"), "{output}{errors}");
    assert!(run.status.success());
    let row = output
        .lines()
        .find(|line| line.contains(way) && line.starts_with('|'));
    row.unwrap().to_owned()
}

/// The cells of the table: way, restarts, asked, lost, answered twice.
fn check(way: &str) {
    let row = restarted(way);
    let cells: Vec<&str> = row.split('|').map(str::trim).collect();
    assert_eq!(cells[2], "5", "{row}");
    assert!(cells[3].parse::<u64>().unwrap() >= 6 * 500, "{row}");
    assert_eq!(cells[4..6], ["0", "0"], "{row}");
}

#[test]
fn v13_no_question_is_lost_or_answered_twice_by_a_server_that_follows_another() {
    check("hand-over");
}

#[test]
fn v13_no_question_is_lost_or_answered_twice_by_servers_that_overlap() {
    check("overlap");
}
