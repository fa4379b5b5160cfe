//! The messages of docs/compiler-errors.md. Each program of `ui` makes one mistake, and the file
//! beside it has what the compiler says. `TRYBUILD=overwrite` writes those files anew, which a new
//! compiler may need: its words are in them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn mistakes_are_told_as_they_were() {
    let cases = trybuild::TestCases::new();
    cases.pass("ui/right.rs");
    cases.compile_fail("ui/wrong_*.rs");
}

/// A block of messages belongs to the program that was linked before it, in its section. A section may
/// have none: the programs have all features, so none of them can show one that is off.
#[test]
fn the_page_quotes_what_the_compiler_says() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(here.join("../docs/compiler-errors.md")).expect("the page");
    let mut linked = BTreeSet::new();
    let mut said = None::<String>;
    let mut quoting = false;
    for line in page.lines() {
        if line.starts_with("```") {
            quoting = line == "```text";
        } else if quoting {
            let is_said = said.as_ref().is_none_or(|said| said.contains(line));
            assert!(is_said, "nobody says: {line}");
        } else if line.starts_with("## ") {
            said = None;
        } else if let Some((_, rest)) = line.split_once("../compile-fail/ui/")
            && let Some((name, _)) = rest.split_once(".rs)")
        {
            let file = here.join("ui").join(format!("{name}.stderr"));
            said = Some(fs::read_to_string(file).expect("what the compiler says"));
            linked.insert(format!("{name}.rs"));
        }
    }
    let programs = fs::read_dir(here.join("ui")).expect("the programs");
    let programs: BTreeSet<String> = programs
        .map(|entry| {
            entry
                .expect("a file")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| name.starts_with("wrong_") && name.ends_with(".rs"))
        .collect();
    assert_eq!(linked, programs, "the page has every program");
}
