//! What the figures were measured on.

use std::fs;

/// One line on the processor, the kernel and what else matters.
pub(crate) fn describe() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown processor", |rest| {
            rest.trim_start_matches([' ', '\t', ':'])
        });
    let processors = info
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let kernel = read("/proc/sys/kernel/osrelease");
    // What follows names a build.
    let kernel = kernel.split(['-', '\n']).next().unwrap_or_default();
    let virtual_machine = if info.contains(" hypervisor") {
        ", a virtual machine"
    } else {
        ""
    };
    format!("{model}, {processors} processors{virtual_machine}, Linux {kernel}")
}

/// How this program was started.
pub(crate) fn command() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    format!(
        "cargo run --release -p postbox-bench -- {}",
        arguments.join(" ")
    )
}

/// Others who want a processor now: more than one makes all figures doubtful.
pub(crate) fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let first = text.split(' ').next().and_then(|first| first.parse().ok());
    first.unwrap_or(0.0)
}
