//! What the figures were measured on.

use procfs::sys::kernel::Version;
use procfs::{CpuInfo, Current, LoadAverage, ProcResult};

/// One line on the processor, the kernel and what else matters.
pub(crate) fn describe() -> ProcResult<String> {
    let cpus = CpuInfo::current()?;
    let model = cpus.model_name(0).unwrap_or("unknown processor");
    let is_virtual = cpus.flags(0).is_some_and(|all| all.contains(&"hypervisor"));
    let Version {
        major,
        minor,
        patch,
    } = Version::current()?;
    Ok(format!(
        "{model}, {} processors{}, Linux {major}.{minor}.{patch}",
        cpus.num_cores(),
        if is_virtual {
            ", a virtual machine"
        } else {
            ""
        },
    ))
}

/// How this program was started: the main one, or another of this package.
pub(crate) fn command(program: Option<&str>) -> String {
    let mut command = String::from("cargo run --release -p postbox-bench");
    if let Some(program) = program {
        command += &format!(" --bin {program}");
    }
    let mut separator = " --";
    for argument in std::env::args().skip(1) {
        command += &format!("{separator} {argument}");
        separator = "";
    }
    command
}

/// Others who want a processor now: more than one makes all figures doubtful.
pub(crate) fn load_average() -> ProcResult<f32> {
    Ok(LoadAverage::current()?.one)
}
