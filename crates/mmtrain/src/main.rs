//! The `mmtrain` binary: command line, wiring, exit codes.
//!
//! The only crate that reads arguments and environment, prints, and exits.

mod adapters;
mod allocator;
mod blocks;
mod boxes;
mod cli;
mod commands;
mod conversations;
mod fail;
mod fetch;
mod holdings;
mod inputs;
mod irregular;
mod model_dir;
mod number_type;
mod origin;
mod parity;
mod preprocess;
mod progress;
mod report;
mod room;
mod run_dir;
mod setup;
mod shown;
mod signals;
mod sizes;
mod source;
mod stage;
mod terminal;
mod unused;
mod vocabulary;
mod watchdog;
mod weights;

use std::io::{IsTerminal, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};
use commands::Context;
use stage::Stage;
use terminal::said;

fn main() -> ExitCode {
    allocator::keep_freed_memory();
    signals::outlive_large_files();
    let cli = Cli::parse();
    start_logging(cli.verbose, cli.quiet);
    ended(catch_unwind(AssertUnwindSafe(|| run(cli))))
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let context = Context { device: cli.device, quiet: cli.quiet };
    match cli.command {
        Command::Pretrain(args) => commands::train::run(&context, Stage::Pretrain, &args),
        Command::Sft(args) => commands::train::run(&context, Stage::Sft, &args),
        Command::Dpo(args) => commands::train::run(&context, Stage::Dpo, &args),
        Command::Generate(args) => commands::generate::run(&context, &args),
        Command::Chat(args) => commands::chat::run(&context, &args),
        #[cfg(feature = "serve")]
        Command::Serve(args) => commands::serve::run(&context, &args),
        Command::Eval(args) => commands::eval::run(&context, &args),
        Command::Parity(args) => commands::parity::run(&context, &args),
        Command::Inspect(args) => commands::inspect::run(&args),
        Command::Plan(args) => commands::plan::run(&context, &args),
        Command::Bench(args) => commands::bench::run(&context, &args),
        Command::Doctor(args) => commands::doctor::run(&context, &args),
        Command::Export(args) => commands::export::run(&args),
        Command::Quantize(args) => commands::quantize::run(&context, &args),
        #[cfg(feature = "fetch")]
        Command::Fetch(args) => commands::fetch::run(&context, &args),
        Command::Data(command) => commands::data::run(&command),
        Command::Config(command) => commands::config::run(&command),
    }
}

/// The exit code of a command; a panic, whose place has been printed by then, is a bug.
fn ended(command: std::thread::Result<anyhow::Result<ExitCode>>) -> ExitCode {
    match command {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => report_error(&error),
        Err(_) => {
            let mut out = std::io::stderr().lock();
            let _ = writeln!(out, "error: a bug ended the command; checkpoints that were announced are whole");
            let _ = writeln!(out, "hint: please report the lines above, with RUST_BACKTRACE=1 set");
            ExitCode::from(1)
        }
    }
}

fn start_logging(verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "info",
        (false, _) => "debug",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("MMTRAIN_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    // A reader of the log that went away must not end a run: what cannot be written would be reported by a print that panics.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time();
    log.with_ansi(std::io::stderr().is_terminal()).log_internal_errors(false).init();
}

/// One line what and where, one line what to do.
fn report_error(error: &anyhow::Error) -> ExitCode {
    let mut out = std::io::stderr().lock();
    let message = error.to_string();
    for (number, line) in message.lines().enumerate() {
        let lead =
            if number == 0 || !line.starts_with("hint:") && message.contains("\nhint:") { "error: " } else { "" };
        let _ = writeln!(out, "{lead}{}", said(line));
    }
    for cause in error.chain().skip(1).map(ToString::to_string).filter(|cause| !message.contains(cause.as_str())) {
        let _ = writeln!(out, "  because: {}", said(&cause));
    }
    if let Some(hint) = fail::hint(error) {
        let _ = writeln!(out, "hint: {}", said(&hint));
    }
    ExitCode::from(fail::exit_code(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_with_the_code_of_a_bug() {
        let panicked = catch_unwind(|| -> anyhow::Result<ExitCode> { panic!("of a test") });
        assert_eq!(ended(panicked), ExitCode::from(1));
        assert_eq!(ended(Ok(Ok(ExitCode::from(75)))), ExitCode::from(75));
    }
}
