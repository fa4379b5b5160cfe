//! Postbox and what one would use instead: the same load on each in turn, round after round.

mod contender;
mod written;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use postbox_protocol::BoxError;

use crate::document::Document;
use crate::echo::{self, Codec, Style};
use crate::measure::{self, Sample, Times};
use crate::peers::Peer;
use crate::{machine, report};
use contender::Contender;

/// What to compare, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Rounds, each with every server in turn.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Clients; several numbers make several tables.
    #[arg(long, value_delimiter = ',', default_value = "1000")]
    clients: Vec<usize>,
    /// Unanswered requests of each client.
    #[arg(long, default_value_t = 1)]
    window: usize,
    /// Unanswered requests in all, at most.
    #[arg(long, default_value_t = 10_000)]
    in_flight: usize,
    /// Bytes of a raw request.
    #[arg(long, default_value_t = 64)]
    payload: usize,
    /// The document of a JSON request.
    #[arg(long, value_enum, default_value_t = Size::Small)]
    document: Size,
    /// How requests are read: raw or json.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Codec::Raw, Codec::Json])]
    codec: Vec<Codec>,
    /// How long handlers live, where there are handlers.
    #[arg(long, value_enum, value_delimiter = ',')]
    #[arg(default_values_t = [Style::Oneshot, Style::Session])]
    style: Vec<Style>,
    /// Only these servers, and Postbox.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Peer>,
    /// One client whose raw requests leave as one message each (64 of them, unless there is a
    /// --window), with segmentation offloads at both ends.
    #[arg(long)]
    bursts: bool,
    /// Postbox without segmentation offloads.
    #[arg(long, conflicts_with = "bursts")]
    no_offloads: bool,
    /// Tokio's multi-thread runtime for all that use tokio.
    #[arg(long)]
    multi: bool,
    /// A Python that has EasyNetwork (and uvloop).
    #[arg(long)]
    python: Option<PathBuf>,
    /// Seconds of one measurement.
    #[arg(long, default_value_t = 1.5)]
    seconds: f64,
    /// Seconds of the same load before it.
    #[arg(long, default_value_t = 0.4)]
    warm_up: f64,
    /// Conversations that wait while memory is measured; 0 leaves that out.
    #[arg(long, default_value_t = 20_000)]
    waiting: usize,
    /// A look at it: 3 rounds of half a second.
    #[arg(long)]
    quick: bool,
    /// Writes the tables and a plot for each into this folder.
    #[arg(long)]
    out: Option<PathBuf>,
    /// The name of the file with the tables; those of the plots begin with it.
    #[arg(long, default_value = "compare")]
    name: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Size {
    /// 114 bytes
    Small,
    /// 1,048 bytes
    Large,
}

/// Measures, prints tables, and writes them.
///
/// # Errors
///
/// If a server does not start or answer, or a file cannot be written.
pub fn run(args: &Args) -> Result<(), BoxError> {
    let mut args = args.clone();
    if args.quick {
        (args.rounds, args.seconds, args.warm_up) = (3, 0.5, 0.2);
    }
    if let Some(codec) = args
        .codec
        .iter()
        .find(|codec| !matches!(codec, Codec::Raw | Codec::Json))
    {
        return Err(format!("the peers know raw and json, not {codec:?}").into());
    }
    if args.bursts {
        (args.codec, args.clients, args.waiting) = (vec![Codec::Raw], vec![1], 0);
        args.window = if args.window == 1 { 64 } else { args.window };
    }
    let begin_load = machine::load_average()?;
    if begin_load > 0.5 {
        eprintln!(
            "others are at work here (load average {begin_load}): the figures will not be right"
        );
    }
    let mut text = written::preface(&args, begin_load)?;
    print!("{text}");
    for &codec in &args.codec {
        for &clients in &args.clients {
            let rows = table(&args, codec, clients)?;
            let title = args.title(codec, clients);
            let table = written::table(&title, &rows);
            print!("{table}");
            text += &table;
            if let Some(out) = &args.out {
                std::fs::create_dir_all(out)?;
                let name = format!("{}-{}-{clients}.svg", args.name, args.short_name(codec));
                std::fs::write(out.join(&name), written::plot(&title, &rows))?;
                text += &format!("\n![{title}]({name})\n");
            }
        }
    }
    if let Some(out) = &args.out {
        std::fs::write(out.join(format!("{}.md", args.name)), text)?;
        println!("\nwritten to {}", out.display());
    }
    Ok(())
}

/// A server with what was found.
struct Row {
    contender: Contender,
    samples: Vec<Sample>,
    memory: Option<f64>,
}

fn table(args: &Args, codec: Codec, clients: usize) -> Result<Vec<Row>, BoxError> {
    let payload = args.request(codec)?;
    let load = measure::load(clients, args.window, args.in_flight, payload.clone());
    let times = Times {
        warm_up: Duration::from_secs_f64(args.warm_up),
        measured: Duration::from_secs_f64(args.seconds),
    };
    let with_clients = |contender| Row {
        contender,
        samples: Vec::new(),
        memory: None,
    };
    let contenders = contender::all(
        args,
        codec,
        clients.max(args.waiting) + 1_000,
        payload.len(),
    );
    let mut rows: Vec<Row> = contenders.into_iter().map(with_clients).collect();
    let mut failed = HashSet::new();
    for round in 1..=args.rounds {
        for Row {
            contender, samples, ..
        } in &mut rows
        {
            if failed.contains(&contender.name) {
                continue;
            }
            let order = &contender.order;
            let sample = if args.bursts {
                measure::under_bursts(order, &load, times)
            } else {
                measure::under_load(order, args.python.as_deref(), &load, times)
            };
            match sample {
                Ok(sample) => {
                    eprintln!(
                        "round {round}/{}, {clients} clients, {:?}: {:<28} {:>8}/s",
                        args.rounds,
                        codec,
                        contender.name,
                        report::short(sample.answers_per_second)
                    );
                    samples.push(sample);
                }
                // A peer that is not there is left out; we are.
                Err(error) if contender.order.peer != Peer::Postbox => {
                    eprintln!("{} is left out: {error}", contender.name);
                    failed.insert(contender.name.clone());
                }
                Err(error) => return Err(error),
            }
        }
    }
    rows.retain(|row| !row.samples.is_empty());
    let waiting = measure::load(args.waiting, 1, 256, payload);
    for row in rows
        .iter_mut()
        .filter(|row| row.contender.waits && args.waiting > 0)
    {
        eprintln!(
            "memory of {} waiting clients: {}",
            args.waiting, row.contender.name
        );
        let order = &row.contender.order;
        let memory = measure::memory_per_waiting_client(order, args.python.as_deref(), &waiting);
        match memory {
            Ok(memory) => row.memory = Some(memory),
            Err(error) => eprintln!("not measured: {error}"),
        }
    }
    Ok(rows)
}

impl Args {
    fn request(&self, codec: Codec) -> Result<Vec<u8>, BoxError> {
        match (codec, self.document) {
            (Codec::Raw, _) => Ok(vec![b'x'; self.payload]),
            (_, Size::Small) => echo::datagram(codec, &Document::small()),
            (_, Size::Large) => echo::datagram(codec, &Document::large()),
        }
    }

    fn title(&self, codec: Codec, clients: usize) -> String {
        let what = match (codec, self.document) {
            (Codec::Raw, _) => format!("Raw, {} bytes", self.payload),
            (_, Size::Small) => String::from("JSON, 114 bytes"),
            (_, Size::Large) => String::from("JSON, 1,048 bytes"),
        };
        let one = if clients == 1 { "client" } else { "clients" };
        let bursts = if self.bursts { " in bursts" } else { "" };
        let runtime = if self.multi {
            ", multi-thread runtime"
        } else {
            ""
        };
        format!(
            "{what}, {clients} {one}{bursts}, window {}{runtime}",
            self.window
        )
    }

    fn short_name(&self, codec: Codec) -> String {
        let mut name = match (codec, self.document) {
            (Codec::Raw, _) => format!("raw-{}", self.payload),
            (_, Size::Small) => String::from("json-small"),
            (_, Size::Large) => String::from("json-large"),
        };
        if self.window > 1 {
            name += &format!("-window-{}", self.window);
        }
        if self.bursts {
            name += "-bursts";
        }
        if self.multi {
            name += "-multi";
        }
        name
    }
}
