//! Random inputs against everything that reads what a stranger sends: frames, connect params, params of
//! methods, the head of an HTTP request, shell scripts, answers of DNS servers, and words that somebody pastes; and
//! against what reads files that somebody edited: the configuration and the state directory. Seeded, so that every run can be repeated; blind to coverage,
//! but it knows the structure of what it changes.
//!
//! `make test` tries a few thousand inputs of a fixed seed; `make fuzz TIME=60` tries as many as fit.

pub mod configs;
pub mod dns;
pub mod mutate;
pub mod states;
pub mod targets;
pub mod words;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use mutate::Dice;
use targets::Target;

/// Guards against inputs that take quadratic time; ordinary ones take microseconds.
const SLOW: Duration = Duration::from_secs(2);

/// Tries inputs until `enough`; the number tried, or the first input that fails with what it broke.
pub fn campaign(
    target: &Target,
    seed: u64,
    mut enough: impl FnMut(u64) -> bool,
) -> Result<u64, (Vec<u8>, String)> {
    let mut dice = Dice::new(seed);
    let corpus = target.corpus();
    let mut tried = 0;
    for input in &corpus {
        examine(target, input).map_err(|why| (input.clone(), why))?;
    }
    while !enough(tried) {
        let input = (target.vary)(&corpus, &mut dice);
        examine(target, &input).map_err(|why| (input, why))?;
        tried += 1;
    }
    Ok(tried)
}

/// Runs one input; why it fails, if it does.
pub fn examine(target: &Target, input: &[u8]) -> Result<(), String> {
    let begun = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.check)(input)));
    let took = begun.elapsed();
    match outcome {
        Ok(result) => result?,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            return Err(format!("panic: {}", text.unwrap_or_default()));
        }
    }
    if took > SLOW {
        return Err(format!("{} bytes took {took:?}", input.len()));
    }
    Ok(())
}

/// Inputs of each target in the ordinary tests.
#[cfg(test)]
const TRIED: u64 = 3_000;

#[test]
fn a_few_thousand_strange_inputs_break_nothing() {
    for target in &targets::TARGETS {
        // Those that write files take their time.
        let most = if target.name == "states" {
            TRIED / 10
        } else {
            TRIED
        };
        let tried = campaign(target, 0x05ea_5eed, |tried| tried == most);
        if let Err((input, why)) = tried {
            panic!(
                "{}: {why}\n{:?}",
                target.name,
                String::from_utf8_lossy(&input)
            );
        }
    }
    states::tidy();
}

#[test]
fn the_corpus_reaches_what_it_is_for() {
    for target in &targets::TARGETS {
        let corpus = target.corpus();
        let good = corpus
            .iter()
            .filter(|input| (target.accepts)(input))
            .count();
        assert!(
            good > 2 && corpus.len() > good,
            "{}: {good} of {} are accepted",
            target.name,
            corpus.len()
        );
        // A good part of what is made of them must still get past the first check.
        let mut dice = Dice::new(7);
        let inputs = (0..500).map(|_| (target.vary)(&corpus, &mut dice));
        let deep = inputs.filter(|input| (target.accepts)(input)).count();
        assert!((25..475).contains(&deep), "{}: {deep} of 500", target.name);
    }
}
