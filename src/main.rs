//! The `openclaw` program: arguments in, exit code out.

use std::process::ExitCode;

use openclaw::config::Environment;

fn main() -> ExitCode {
    let arguments = std::env::args_os().skip(1);
    ExitCode::from(openclaw::cli::run(arguments, Environment::capture()))
}
