//! In which order the pairing files of one save reach the disk, so that a crash at any point leaves
//! a state that somebody could have wanted.
//!
//! Within a layer (devices, nodes) an operation names the file that goes first: `paired` when it
//! approves (a crash between the two leaves a stale request), `pending` when it removes (a crash
//! leaves the record without its request). A batch that does both in one layer writes `paired`
//! first: a request that outlives its record for a moment is harmless, an approval that lost both
//! is not. The directories are synced between the two.
//!
//! Invitations go before everything else: a crash leaves one that is bound to the device it let in, or was
//! let go of by the device that was removed, never one that serves twice. A device that joins by one is
//! written after its commands, so that a device on the disk has all that it joined with.
//!
//! The pairing switch depends on none of them.

use std::collections::BTreeSet;

use crate::pairing::Part;

/// The two files of each layer, the approved records first.
const LAYERS: [[Part; 2]; 2] = [
    [Part::DevicesPaired, Part::DevicesPending],
    [Part::NodesPaired, Part::NodesPending],
];

/// The parts to write, each once, in steps between which the directories are synced.
pub(super) fn write_order(operations: &[Vec<Part>]) -> Vec<Vec<Part>> {
    let changed: BTreeSet<Part> = operations.iter().flatten().copied().collect();
    let mut first = Vec::new();
    let mut second = Vec::new();
    for [paired, pending] in LAYERS {
        match (changed.contains(&paired), changed.contains(&pending)) {
            (true, true) => {
                let paired_first = operations
                    .iter()
                    .any(|parts| comes_before(parts, paired, pending));
                first.push(if paired_first { paired } else { pending });
                second.push(if paired_first { pending } else { paired });
            }
            (true, false) => first.push(paired),
            (false, true) => first.push(pending),
            (false, false) => {}
        }
    }
    if changed.contains(&Part::Switch) {
        first.push(Part::Switch);
    }
    let invitations: Vec<Part> = changed
        .iter()
        .copied()
        .filter(|part| part.is_invitation())
        .collect();
    let joins = operations.iter().any(|parts| {
        parts.iter().any(|part| part.is_invitation())
            && parts.contains(&Part::NodesPaired)
            && parts.contains(&Part::DevicesPaired)
    });
    let mut devices = Vec::new();
    if joins {
        if let Some(place) = first.iter().position(|part| *part == Part::DevicesPaired) {
            devices.push(first.remove(place));
        }
    }
    // What became of requests says only what already happened.
    if changed.contains(&Part::Resolved) {
        second.push(Part::Resolved);
    }
    [invitations, first, devices, second]
        .into_iter()
        .filter(|step| !step.is_empty())
        .collect()
}

fn comes_before(parts: &[Part], earlier: Part, later: Part) -> bool {
    let position = |wanted| parts.iter().position(|part| *part == wanted);
    matches!((position(earlier), position(later)), (Some(one), Some(other)) if one < other)
}

#[cfg(test)]
mod tests {
    use super::*;

    use Part::{Bootstrap, DevicesPaired, DevicesPending, NodesPaired, NodesPending, Resolved};

    #[test]
    fn the_order_on_the_disk_is_the_one_that_a_crash_may_interrupt() {
        let approve = vec![DevicesPaired, DevicesPending];
        let remove = vec![DevicesPending, NodesPending, NodesPaired, DevicesPaired];
        let approve_node = vec![NodesPaired, NodesPending];
        for (operations, expected) in [
            (vec![], vec![]),
            (vec![vec![Resolved]], vec![vec![Resolved]]),
            (
                vec![vec![DevicesPending, Resolved]],
                vec![vec![DevicesPending], vec![Resolved]],
            ),
            (vec![vec![DevicesPending]], vec![vec![DevicesPending]]),
            (
                vec![approve.clone()],
                vec![vec![DevicesPaired], vec![DevicesPending]],
            ),
            (
                vec![remove.clone()],
                vec![
                    vec![DevicesPending, NodesPending],
                    vec![DevicesPaired, NodesPaired],
                ],
            ),
            (
                vec![remove.clone(), approve.clone()],
                vec![
                    vec![DevicesPaired, NodesPending],
                    vec![DevicesPending, NodesPaired],
                ],
            ),
            (
                vec![approve_node, vec![DevicesPending], vec![NodesPending]],
                vec![vec![DevicesPending, NodesPaired], vec![NodesPending]],
            ),
            (
                vec![vec![DevicesPending], vec![DevicesPaired]],
                vec![vec![DevicesPending], vec![DevicesPaired]],
            ),
            (
                vec![vec![
                    Bootstrap,
                    DevicesPaired,
                    DevicesPending,
                    NodesPaired,
                    NodesPending,
                ]],
                vec![
                    vec![Bootstrap],
                    vec![NodesPaired],
                    vec![DevicesPaired],
                    vec![DevicesPending, NodesPending],
                ],
            ),
            (
                vec![vec![Bootstrap], vec![DevicesPaired, DevicesPending]],
                vec![vec![Bootstrap], vec![DevicesPaired], vec![DevicesPending]],
            ),
        ] {
            assert_eq!(write_order(&operations), expected, "{operations:?}");
        }
    }
}
