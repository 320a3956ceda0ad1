//! The program from outside: commands typed, frames sent by hand, files looked at.

#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

mod admission;
mod approval;
mod approvals;
mod attacks;
mod audit;
mod bad_input;
mod commands;
mod device_tokens;
mod dns;
mod doctor;
mod endurance;
mod exec_approvals;
mod exec_policy;
mod floods;
mod fuzz;
mod gateway_probe;
mod guards;
mod installing;
mod join_keys;
mod joining;
mod logging;
mod main_job;
mod metrics;
mod node_run;
mod packaged_units;
mod pairing_switch;
mod pruning;
mod reload;
mod reload_proxies;
mod remote_mode;
mod requirements;
mod restart;
mod revocation;
mod runs;
mod secrecy;
mod services;
mod sessions;
mod setup_codes;
mod shell_reading;
mod shipped;
mod silent_ssh;
mod socket_activation;
mod ssh_tunnel;
mod stalled;
mod state_files;
mod tls;
mod transfer;
mod watching;
