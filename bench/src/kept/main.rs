//! Stops servers, and floods others, and looks whether what was sent to them is kept.
//!
//! ```text
//! cargo run --release -p postbox-bench --bin kept
//! cargo run --release -p postbox-bench --bin kept -- --times 5 --case lookup
//! ```
//!
//! Fails unless everything holds that docs/reliability.md says of it.

#[cfg(target_os = "linux")]
fn main() -> Result<(), postbox_server::BoxError> {
    use clap::Parser;
    use postbox_bench::kept;

    #[derive(Debug, Parser)]
    #[command(about = "Stops servers", args_conflicts_with_subcommands = true)]
    struct Arguments {
        #[command(flatten)]
        args: kept::Args,
        #[command(subcommand)]
        command: Option<Command>,
    }

    #[derive(Debug, clap::Subcommand)]
    enum Command {
        /// The server that is stopped
        #[command(hide = true)]
        Serve(kept::Target),
    }

    let arguments = Arguments::parse();
    match arguments.command {
        Some(Command::Serve(target)) => kept::serve(&target),
        None => kept::run(&arguments.args),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("the load generator needs Linux");
    std::process::exit(1);
}
