//! Runs this program again, under callgrind.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use clap::ValueEnum;
use postbox_server::BoxError;

use crate::cases::Case;

/// Counts the instructions of one run.
pub(crate) fn count(case: Case, rounds: u64, keep: Option<&Path>) -> Result<u64, BoxError> {
    let folder = keep.map_or_else(std::env::temp_dir, Path::to_owned);
    fs::create_dir_all(&folder)?;
    let process = if keep.is_some() {
        0
    } else {
        std::process::id()
    };
    let output = folder.join(match process {
        0 => format!("callgrind.{}.{rounds}", name(case)),
        id => format!("callgrind.{}.{rounds}.{id}", name(case)),
    });
    let run = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg("--toggle-collect=*send_uncounted*")
        .arg("--toggle-collect=*collect_uncounted*")
        .arg("--collect-atstart=yes") // the options before it turn that off
        .arg(format!("--callgrind-out-file={}", output.display()))
        .arg(std::env::current_exe()?)
        .arg(format!("--case={}", name(case)))
        .arg(format!("--rounds={rounds}"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind does not run ({error}): is it installed?"))?;
    if !run.status.success() {
        let log = String::from_utf8_lossy(&run.stderr);
        return Err(format!("{} failed: {}\n{log}", name(case), run.status).into());
    }
    let text = fs::read_to_string(&output)?;
    if keep.is_none() {
        fs::remove_file(&output)?;
    }
    if !text.contains("budget::round::run") || text.contains("uncounted") {
        return Err("callgrind did not find the functions to leave out: no symbols?".into());
    }
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = total.ok_or("callgrind's output has no total")?;
    Ok(total.trim().parse()?)
}

/// The case's name on the command line.
pub(crate) fn name(case: Case) -> String {
    case.to_possible_value()
        .map_or_else(String::new, |value| value.get_name().into())
}
