//! Breadth-first search with shortest traces.

use std::collections::HashSet;

use crate::model::World;

pub enum Verdict {
    Holds { states: usize },
    Fails { what: String, trace: Vec<String> },
}

/// A search that grows beyond this was given too large a configuration: it is no proof, so it is a failure.
const STATES_MAX: usize = 6_000_000;

pub fn search(start: World) -> Verdict {
    // For each number where it came from, and for each number where it came from: memory for the trace without copies.
    let mut seen: HashSet<u128> = HashSet::new();
    let mut from: Vec<(u32, String)> = vec![(0, String::new())];
    seen.insert(start.fingerprint());
    let mut layer = vec![(0_u32, start)];
    while !layer.is_empty() {
        let mut next_layer = Vec::new();
        for (number, world) in layer {
            for (label, next) in world.successors() {
                if !seen.insert(next.fingerprint()) {
                    continue;
                }
                assert!(
                    from.len() < STATES_MAX,
                    "more than {STATES_MAX} states: choose a smaller configuration"
                );
                let id = u32::try_from(from.len()).expect("below the maximum");
                from.push((number, label));
                if let Err(what) = next.check() {
                    return Verdict::Fails {
                        what,
                        trace: trace(&from, id),
                    };
                }
                next_layer.push((id, next));
            }
        }
        layer = next_layer;
    }
    Verdict::Holds { states: from.len() }
}

fn trace(from: &[(u32, String)], mut at: u32) -> Vec<String> {
    let mut steps = Vec::new();
    while at != 0 {
        let (before, label) = &from[at as usize];
        steps.push(label.clone());
        at = *before;
    }
    steps.reverse();
    steps
        .iter()
        .enumerate()
        .map(|(n, s)| format!("{:>3} {s}", n + 1))
        .collect()
}
