//! What is known between two flushes, and how it is written.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use crate::wire::{Datagram, Metric, Value};

/// The most names, of all four kinds together.
const NAMES: usize = 10_000;
/// The most values, of all sets together.
const MEMBERS: usize = 100_000;
/// After so many flushes a gauge that nobody sets is forgotten: its name makes room for another.
const QUIET_FLUSHES: u32 = 60;

#[derive(Debug, Clone, Default)]
pub struct Metrics {
    counters: BTreeMap<String, f64>,
    gauges: BTreeMap<String, Gauge>,
    timers: BTreeMap<String, Timer>,
    sets: BTreeMap<String, HashSet<String>>,
    members: usize,
    metrics: u64,
    bad_lines: u64,
    over_bound: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Gauge {
    value: f64,
    quiet: u32,
}

#[derive(Debug, Clone, Copy)]
struct Timer {
    /// Of what was measured, and of what that stands for.
    samples: f64,
    count: f64,
    sum: f64,
    lower: f64,
    upper: f64,
}

impl Metrics {
    pub fn add(&mut self, datagram: Datagram) {
        self.bad_lines += datagram.bad_lines;
        for Metric { name, value } in datagram.metrics {
            match self.add_one(name, value) {
                Some(()) => self.metrics += 1,
                None => self.over_bound += 1,
            }
        }
    }

    /// `None` over a bound.
    fn add_one(&mut self, name: String, value: Value) -> Option<()> {
        let room = self.names() < NAMES;
        match value {
            Value::Count(count) => *entry(&mut self.counters, name, room)? += count,
            Value::Gauge(value) => {
                *entry(&mut self.gauges, name, room)? = Gauge { value, quiet: 0 };
            }
            Value::GaugeChange(change) => {
                let gauge = entry(&mut self.gauges, name, room)?;
                *gauge = Gauge {
                    value: gauge.value + change,
                    quiet: 0,
                };
            }
            Value::Time(value, count) => {
                let timer = entry(&mut self.timers, name, room)?;
                timer.samples += 1.0;
                timer.count += count;
                timer.sum += value;
                timer.lower = timer.lower.min(value);
                timer.upper = timer.upper.max(value);
            }
            Value::Member(member) => {
                let set = entry(&mut self.sets, name, room)?;
                if !set.contains(&member) {
                    if self.members == MEMBERS {
                        return None;
                    }
                    set.insert(member);
                    self.members += 1;
                }
            }
        }
        Some(())
    }

    fn names(&self) -> usize {
        self.counters.len() + self.gauges.len() + self.timers.len() + self.sets.len()
    }

    /// Takes what is to be written now. Gauges stay as they are; everything else begins anew.
    pub fn take(&mut self) -> Self {
        let mut gauges = self.gauges.clone();
        gauges.retain(|_, gauge| gauge.quiet < QUIET_FLUSHES);
        for gauge in gauges.values_mut() {
            gauge.quiet += 1;
        }
        let next = Self {
            gauges,
            ..Self::default()
        };
        std::mem::replace(self, next)
    }
}

impl Default for Timer {
    fn default() -> Self {
        Self {
            samples: 0.0,
            count: 0.0,
            sum: 0.0,
            lower: f64::INFINITY,
            upper: f64::NEG_INFINITY,
        }
    }
}

/// What is known of a name, or a new one if there is room.
fn entry<T: Default>(map: &mut BTreeMap<String, T>, name: String, room: bool) -> Option<&mut T> {
    match room || map.contains_key(&name) {
        true => Some(map.entry(name).or_default()),
        false => None,
    }
}

/// A line for each name, and one that ends them.
impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, count) in &self.counters {
            writeln!(f, "counter {name} {count}")?;
        }
        for (name, gauge) in &self.gauges {
            writeln!(f, "gauge {name} {}", gauge.value)?;
        }
        for (name, timer) in &self.timers {
            let (lower, upper, count) = (timer.lower, timer.upper, timer.count);
            let mean = timer.sum / timer.samples;
            writeln!(
                f,
                "timer {name} count {count} lower {lower} mean {mean} upper {upper}"
            )?;
        }
        for (name, set) in &self.sets {
            writeln!(f, "set {name} {}", set.len())?;
        }
        writeln!(
            f,
            "flush metrics {} bad_lines {} over_bound {}",
            self.metrics, self.bad_lines, self.over_bound
        )
    }
}
