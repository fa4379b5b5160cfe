//! One program for all tests of this package. It needs Linux, as what it runs does.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)] // also in the helpers of tests

mod compare;
mod kept;
mod reliability;
mod restarts;

use std::path::PathBuf;

/// The rows of the tables in a file: their first cells.
fn rows(file: PathBuf) -> Vec<String> {
    let text = std::fs::read_to_string(file).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| "));
    rows.filter_map(|row| Some(row.split_once('|')?.0.trim().to_owned()))
        .collect()
}
