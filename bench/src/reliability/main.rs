//! Attacks a server, and looks at what its good clients notice of it.
//!
//! ```text
//! cargo run --release -p postbox-bench --bin reliability
//! cargo run --release -p postbox-bench --bin reliability -- --seconds 5 --case b --case e
//! ```
//!
//! Fails unless every bound of docs/reliability.md is met.

#[cfg(target_os = "linux")]
fn main() -> Result<(), postbox_server::BoxError> {
    use clap::Parser;
    use postbox_bench::reliability;

    #[derive(Debug, Parser)]
    #[command(about = "Attacks a server", args_conflicts_with_subcommands = true)]
    struct Arguments {
        #[command(flatten)]
        args: reliability::Args,
        #[command(subcommand)]
        command: Option<Command>,
    }

    #[derive(Debug, clap::Subcommand)]
    enum Command {
        /// The server that is attacked
        #[command(hide = true)]
        Serve(reliability::Target),
    }

    let arguments = Arguments::parse();
    match arguments.command {
        Some(Command::Serve(target)) => reliability::serve(&target),
        None => reliability::run(&arguments.args),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("the load generator needs Linux");
    std::process::exit(1);
}
