//! The attacks run, and are told of in the page. Whether the bounds are met is not looked at: others
//! use the machine too.

use std::path::PathBuf;
use std::process::Command;

use super::rows;

#[test]
fn attacks_are_told_in_the_page() {
    let page = format!("reliability-{}.md", std::process::id());
    let page = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(page);
    let place = "before\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nafter\n";
    std::fs::write(&page, place).unwrap();
    let some = "--seconds 0.1 --compute 1 --case - --case e --case h";
    let run = Command::new(env!("CARGO_BIN_EXE_reliability"))
        .args(some.split(' '))
        .arg("--page")
        .arg(&page)
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&run.stdout);
    // It says so if and only if everything was met.
    assert_eq!(output.ends_with("ok\n"), run.status.success(), "{output}");
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(
        text.starts_with("before\n") && text.ends_with("\nafter\n"),
        "{text}"
    );
    assert!(!text.contains("old"), "{text}");
    let rows = rows(page);
    for name in ["-: nothing", "e: garbage, within", "h: waiting at once"] {
        assert!(rows.iter().any(|row| row == name), "{rows:?}");
    }
    assert!(!rows.iter().any(|row| row.starts_with('b')), "{rows:?}");
}
