//! Restarts a server over and over while it is asked, and counts what was lost.
//!
//! ```text
//! cargo run --release -p postbox-bench --bin restarts
//! cargo run --release -p postbox-bench --bin restarts -- --way hand-over --restarts 20
//! ```
//!
//! Fails if a way that hands the socket over loses a question, or has one answered twice:
//! docs/running.md.

#[cfg(target_os = "linux")]
fn main() -> Result<(), postbox_server::BoxError> {
    use clap::Parser;
    use postbox_bench::restarts;

    #[derive(Debug, Parser)]
    #[command(about = "Restarts servers", args_conflicts_with_subcommands = true)]
    struct Arguments {
        #[command(flatten)]
        args: restarts::Args,
        #[command(subcommand)]
        command: Option<Command>,
    }

    #[derive(Debug, clap::Subcommand)]
    enum Command {
        /// The server that is restarted
        #[command(hide = true)]
        Serve(restarts::Target),
    }

    let arguments = Arguments::parse();
    match arguments.command {
        Some(Command::Serve(target)) => restarts::serve(&target),
        None => restarts::run(&arguments.args),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("it restarts servers on Linux alone");
    std::process::exit(1);
}
