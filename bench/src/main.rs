//! Compares Postbox with what one would use instead, and measures how its cost grows.
//!
//! ```text
//! cargo run --release -p postbox-bench -- compare --quick
//! cargo run --release -p postbox-bench -- growth --quick
//! ```

#[cfg(target_os = "linux")]
fn main() -> Result<(), postbox_server::BoxError> {
    use clap::Parser;
    use postbox_bench::{compare, growth, peers};

    #[derive(Debug, Parser)]
    #[command(about = "Measures Postbox")]
    enum Command {
        /// Postbox and its peers in turn, under the same load
        Compare(compare::Args),
        /// What a datagram costs as clients, payloads and conversations grow
        Growth(growth::Args),
        /// One server, for those who measure
        #[command(hide = true)]
        Serve(peers::Order),
    }

    match Command::parse() {
        Command::Compare(args) => compare::run(&args),
        Command::Growth(args) => growth::run(&args),
        Command::Serve(order) => peers::serve(&order),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("the load generator needs Linux");
    std::process::exit(1);
}
