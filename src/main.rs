//! The `openclaw` program: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(openclaw::cli::run(std::env::args_os().skip(1)))
}
