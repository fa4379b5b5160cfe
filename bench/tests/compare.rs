//! The comparison and the growth run, and write what they say they do. What they find is not looked
//! at.

use std::path::PathBuf;
use std::process::Command;

use super::rows;

/// Runs the program with these arguments, and answers the folder with what it has written.
fn run(folder: &str, arguments: &str) -> PathBuf {
    let folder = format!("{folder}-{}", std::process::id());
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(folder);
    let _ = std::fs::remove_dir_all(&out); // of an earlier run
    let run = Command::new(env!("CARGO_BIN_EXE_postbox-bench"))
        .args(arguments.split(' '))
        .arg("--out")
        .arg(&out)
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    out
}

fn is_svg(file: PathBuf) {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(
        text.starts_with("<svg") && text.ends_with("</svg>\n"),
        "{text}"
    );
}

#[test]
fn every_server_is_compared() {
    let arguments = "compare --rounds 1 --seconds 0.05 --warm-up 0.05 --clients 10 --waiting 100";
    let out = run("compare", arguments);
    let rows = rows(out.join("compare.md"));
    for name in [
        "Postbox",
        "Postbox, conversations",
        "tokio loop",
        "UdpFramed",
        "task per client",
    ] {
        assert_eq!(
            rows.iter().filter(|row| *row == name).count(),
            2,
            "{rows:?}"
        );
    }
    assert!(
        rows.iter().any(|row| row == "recvmmsg/sendmmsg, serde"),
        "{rows:?}"
    );
    is_svg(out.join("compare-raw-64-10.svg"));
    is_svg(out.join("compare-json-small-10.svg"));
}

#[test]
fn bursts_are_compared() {
    let out = run(
        "bursts",
        "compare --bursts --rounds 1 --seconds 0.05 --warm-up 0.05 --name bursts",
    );
    let rows = rows(out.join("bursts.md"));
    assert!(
        rows.iter().any(|row| row == "recvmmsg/sendmmsg, offloads"),
        "{rows:?}"
    );
    assert!(rows.iter().any(|row| row == "Postbox"), "{rows:?}");
}

#[test]
fn growth_is_measured() {
    let some = "--clients 1,100 --payload 0,60000 --waiting 0,100";
    let out = run(
        "growth",
        &format!("growth --rounds 1 --seconds 0.05 {some}"),
    );
    let rows = rows(out.join("growth.md"));
    assert_eq!(
        rows.iter().filter(|row| *row == "60000").count(),
        3,
        "{rows:?}"
    );
    for file in ["clients-cpu", "payload-p99", "waiting-memory"] {
        is_svg(out.join(format!("growth-{file}.svg")));
    }
}
