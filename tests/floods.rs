//! The attack scripts at a size that fits into every test run; `make attack` runs them at full size.

use crate::support::flood::{calls, requests, sockets};

#[test]
fn sockets_without_credentials_keep_nobody_out() {
    sockets::many(800, 5);
}

#[test]
fn bytes_before_any_hello_are_bounded() {
    sockets::bytes(8_000_000, 4);
}

#[test]
fn nobody_holds_a_place_by_trickling() {
    sockets::slowloris();
}

#[test]
fn guessing_gets_nobody_in_and_locks_out_only_the_guesser() {
    calls::guesses(24, 2);
}

#[test]
fn a_node_that_calls_what_it_may_not_is_thrown_out() {
    calls::unauthorized_calls(2);
}

#[test]
fn invokes_at_a_silent_node_are_bounded() {
    calls::invokes(4_200);
}

#[test]
fn queued_requests_delay_nobody_out_of_bounds() {
    calls::requests(5_000);
}

#[test]
fn an_operator_that_reads_nothing_is_held_back() {
    calls::deaf_requests(20_000);
}

#[test]
fn fresh_keys_take_the_places_of_their_own_address_alone() {
    requests::fresh_keys(100);
}

#[test]
fn fresh_keys_without_the_secret_leave_no_request() {
    requests::fresh_keys_without_the_secret(30);
}
