//! How the cost of a datagram grows: with clients, with its size, with conversations that wait.

mod series;
mod written;

use std::path::PathBuf;
use std::time::Duration;

use postbox_protocol::BoxError;

use crate::machine;
use crate::measure::Times;

/// How much to measure.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Rounds; the medians of them are told.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// Unanswered requests in all, at most, however many clients there are: the kernel's buffers
    /// must hold them.
    #[arg(long, default_value_t = 4_096)]
    in_flight: usize,
    /// Numbers of clients.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "1,10,100,1000,10000,100000"
    )]
    clients: Vec<usize>,
    /// Sizes of a datagram.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "0,64,256,1024,4096,16384,60000"
    )]
    payload: Vec<usize>,
    /// Numbers of waiting conversations.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "0,1000,10000,100000,1000000"
    )]
    waiting: Vec<usize>,
    /// A look at it: one round of half a second, and no million.
    #[arg(long)]
    quick: bool,
    /// Writes growth.md and the plots into this folder.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Measures, prints tables, and writes them.
///
/// # Errors
///
/// If a server does not start or answer, or a file cannot be written.
pub fn run(args: &Args) -> Result<(), BoxError> {
    let mut args = args.clone();
    if args.quick {
        (args.rounds, args.seconds) = (1, 0.5);
        args.waiting.retain(|waiting| *waiting < 1_000_000);
    }
    let times = Times {
        warm_up: Duration::from_millis(300),
        measured: Duration::from_secs_f64(args.seconds),
    };
    let mut text = format!(
        "On {}; load average at the start {:.2}.\nCommand: `{}`\n\n\
         Raw datagrams over loopback, the server on one processor; medians of {} rounds of {} s.\n\
         *Lost*: not answered within a second, or with something else, in all rounds.\n",
        machine::describe()?,
        machine::load_average()?,
        machine::command(None),
        args.rounds,
        args.seconds
    );
    print!("{text}");
    let growths = [
        series::clients(&args, times)?,
        series::payload(&args, times)?,
        series::waiting(&args, times)?,
    ];
    for growth in &growths {
        let table = written::table(growth);
        print!("{table}");
        text += &table;
        if let Some(out) = &args.out {
            std::fs::create_dir_all(out)?;
            for (name, svg) in written::plots(growth) {
                std::fs::write(out.join(&name), svg)?;
                text += &format!("\n![{}]({name})\n", growth.title);
            }
        }
    }
    if let Some(out) = &args.out {
        std::fs::write(out.join("growth.md"), text)?;
        println!("\nwritten to {}", out.display());
    }
    Ok(())
}
