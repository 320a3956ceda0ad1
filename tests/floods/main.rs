//! The attack scripts at full size: a gateway in a small home is to survive all of them.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

use support::flood::{calls, requests, sockets};

#[test]
fn ten_thousand_sockets_without_credentials() {
    sockets::many(10_000, 50);
}

#[test]
fn ten_thousand_sockets_from_one_address() {
    sockets::many(10_000, 1);
}

#[test]
fn a_gigabyte_before_any_hello() {
    sockets::bytes(1_000_000_000, 16);
}

#[test]
fn peers_that_trickle_in_every_phase() {
    sockets::slowloris();
}

#[test]
fn guessing_at_secrets_and_tokens() {
    calls::guesses(2_000, 20);
}

#[test]
fn a_node_that_calls_what_it_may_not() {
    calls::unauthorized_calls(200);
}

#[test]
fn twenty_thousand_invokes_at_a_silent_node() {
    calls::invokes(20_000);
}

#[test]
fn a_hundred_thousand_requests_of_an_operator() {
    calls::requests(100_000);
}

#[test]
fn two_hundred_thousand_requests_of_an_operator_that_reads_nothing() {
    calls::deaf_requests(200_000);
}

#[test]
fn ten_thousand_fresh_keys_that_ask_to_join() {
    requests::fresh_keys(10_000);
}

#[test]
fn ten_thousand_fresh_keys_without_the_secret() {
    requests::fresh_keys_without_the_secret(10_000);
}
