//! How often each part of the admission check refused.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The parts that are counted singly. A check that makes up names could else fill the memory.
const PARTS: usize = 16;

/// What further parts are counted as.
const OTHERS: &str = "others";

/// How often each part refused a datagram of one worker, which alone adds to it.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    parts: [Part; PARTS],
    others: AtomicU64,
}

#[derive(Debug, Default)]
struct Part {
    /// Set by its first refusal.
    name: OnceLock<&'static str>,
    count: AtomicU64,
}

impl Refusals {
    /// A part has refused a datagram.
    #[inline]
    pub(crate) fn add(&self, part: &'static str) {
        let [first, ..] = &self.parts;
        match first.name.get() {
            Some(name) if std::ptr::eq(*name, part) => add_one(&first.count),
            _ => self.add_after_all(part),
        }
    }

    /// The same where it is not the first.
    #[inline(never)]
    fn add_after_all(&self, part: &'static str) {
        let is_its = |one: &&Part| {
            let name = *one.name.get_or_init(|| part);
            std::ptr::eq(name, part) || name == part
        };
        let found = self.parts.iter().find(is_its);
        add_one(found.map_or(&self.others, |part| &part.count));
    }

    /// Adds these to the sums of others, which stay sorted by name.
    pub(crate) fn add_to(&self, sums: &mut Vec<(&'static str, u64)>) {
        let named = self
            .parts
            .iter()
            .filter_map(|part| Some((*part.name.get()?, &part.count)));
        for (name, count) in named.chain([(OTHERS, &self.others)]) {
            let count = count.load(Ordering::Relaxed);
            match sums.binary_search_by_key(&name, |(name, _)| *name) {
                Ok(at) => sums[at].1 += count,
                Err(at) if count > 0 => sums.insert(at, (name, count)),
                Err(_) => {}
            }
        }
    }
}

/// As the only one who does: no read-modify-write instruction.
#[inline]
fn add_one(count: &AtomicU64) {
    let before = count.load(Ordering::Relaxed);
    count.store(before.wrapping_add(1), Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(all: &[&Refusals]) -> Vec<(&'static str, u64)> {
        let mut sums = Vec::new();
        all.iter().for_each(|refusals| refusals.add_to(&mut sums));
        sums
    }

    #[test]
    fn l6_refusals_are_counted_by_name_over_all_workers() {
        let (one, two) = (Refusals::default(), Refusals::default());
        assert_eq!(told(&[&one, &two]), []);
        for part in ["rate", "check", "rate"] {
            one.add(part);
        }
        let same_name_elsewhere: &'static str = String::from("rate").leak();
        two.add(same_name_elsewhere);
        two.add("networks");
        assert_eq!(
            told(&[&one, &two]),
            [("check", 1), ("networks", 1), ("rate", 3)]
        );
    }

    #[test]
    fn l6_names_without_end_take_no_memory_without_end() {
        let refusals = Refusals::default();
        for number in 0..100 {
            for _ in 0..2 {
                refusals.add(format!("part {number:02}").leak());
            }
        }
        let told = told(&[&refusals]);
        assert_eq!(told.len(), PARTS + 1);
        assert_eq!(told[0], (OTHERS, 2 * (100 - PARTS as u64)));
        assert!(told[1..].iter().all(|(_, count)| *count == 2));
    }
}
