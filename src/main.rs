//! The `openclaw` program: arguments in, exit code out.

fn main() {}
